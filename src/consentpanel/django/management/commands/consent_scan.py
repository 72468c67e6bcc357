"""`consent_scan` lists what the project sends, by its syntax alone."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from consentpanel._jobs import scan
from consentpanel.django import conf
from consentpanel.django._command import JobCommand
from consentpanel.errors import ConfigurationError


class Command(JobCommand):
    """`consent_scan` lists what the project sends, by its syntax alone."""

    help = scan.DESCRIPTION
    has_client = False

    def declare(self, parser: CommandParser, client: Any) -> None:
        """Declares the options."""
        del client  # it is the code that is read
        policy = None
        # Help is for a project too whose setting is not finished.
        with suppress(ConfigurationError):
            policy = conf.options().policy
        scan.add_arguments(parser, path=str(getattr(settings, "BASE_DIR", ".")), policy=policy)

    def carry_out(self, arguments: argparse.Namespace) -> int:
        """Does the job."""
        return scan.run(arguments)
