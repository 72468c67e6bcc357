"""`consent_prune` forgets people of whom nothing was recorded for long."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from consentpanel._jobs import prune
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """`consent_prune` forgets people of whom nothing was recorded for long."""

    help = prune.DESCRIPTION

    def declare(self, parser: CommandParser, client: Any) -> None:
        """Declares the options."""
        prune.add_arguments(parser, client)

    def carry_out(self, arguments: argparse.Namespace) -> int:
        """Does the job."""
        return prune.run(arguments)
