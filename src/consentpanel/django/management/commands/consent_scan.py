"""`consent_scan` lists what the project sends, by its syntax alone."""

from __future__ import annotations

from contextlib import suppress

from django.conf import settings
from django.core.management.base import CommandParser

from consentpanel._jobs import scan
from consentpanel.django import conf
from consentpanel.django._command import JobCommand
from consentpanel.errors import ConfigurationError


class Command(JobCommand):
    """The command."""

    job = scan.JOB

    def add_arguments(self, parser: CommandParser) -> None:
        """Declares the options: the project and its policy are meant when nothing else is said."""
        policy = None
        # Help is for a project too whose setting is not finished.
        with suppress(ConfigurationError):
            policy = conf.options().policy
        scan.add_arguments(parser, path=str(getattr(settings, "BASE_DIR", ".")), policy=policy)
