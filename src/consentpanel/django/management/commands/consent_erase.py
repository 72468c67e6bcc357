"""`consent_erase` records denials, and asks the vendor to delete what it holds about people."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from consentpanel._jobs import privacy
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """`consent_erase` records denials, and asks the vendor to delete what it holds about people."""

    help = privacy.DESCRIPTION

    def declare(self, parser: CommandParser, client: Any) -> None:
        """Declares the options."""
        privacy.add_arguments(parser, client)

    def carry_out(self, arguments: argparse.Namespace) -> int:
        """Does the job."""
        return privacy.erase(arguments)
