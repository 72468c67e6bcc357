"""`consent_export` asks the vendor for all that it holds about people."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from consentpanel._jobs import privacy
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """`consent_export` asks the vendor for all that it holds about people."""

    help = privacy.EXPORT

    def declare(self, parser: CommandParser, client: Any) -> None:
        """Declares the options."""
        privacy.add_arguments(parser, client)

    def carry_out(self, arguments: argparse.Namespace) -> int:
        """Does the job."""
        return privacy.export(arguments)
