"""`consent_deliver` delivers what waits in an outbox or a spool."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from consentpanel._jobs import spool
from consentpanel.django._command import JobCommand


class Command(JobCommand):
    """`consent_deliver` delivers what waits in an outbox or a spool."""

    help = spool.DELIVER

    def declare(self, parser: CommandParser, client: Any) -> None:
        """Declares the options."""
        spool.add_deliver_arguments(parser, client)

    def carry_out(self, arguments: argparse.Namespace) -> int:
        """Does the job."""
        return spool.deliver(arguments)
