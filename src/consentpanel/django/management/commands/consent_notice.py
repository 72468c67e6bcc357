"""`consent_notice` writes the notice to visitors, or checks the one that is published."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from consentpanel._jobs import notice
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """`consent_notice` writes the notice to visitors, or checks the one that is published."""

    help = notice.DESCRIPTION
    has_client = False

    def declare(self, parser: CommandParser, client: Any) -> None:
        """Declares the options."""
        del client  # a notice is of a policy
        notice.add_arguments(parser)

    def carry_out(self, arguments: argparse.Namespace) -> int:
        """Does the job."""
        return notice.run(arguments)
