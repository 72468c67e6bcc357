"""`consent_audit` holds the configuration to what the privacy policy promises."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from consentpanel._jobs import audit
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """`consent_audit` holds the configuration to what the privacy policy promises."""

    help = audit.DESCRIPTION

    def declare(self, parser: CommandParser, client: Any) -> None:
        """Declares the options."""
        audit.add_arguments(parser, client)

    def carry_out(self, arguments: argparse.Namespace) -> int:
        """Does the job."""
        return audit.run(arguments)
