"""What the commands of `manage.py` have in common: a job of the command line, for the client of the setting."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from consentpanel._jobs._usage import UsageError
from consentpanel.django import conf
from consentpanel.errors import ConsentPanelError


class JobCommand(BaseCommand):
    """A job; its exit code is that of the command line: 0, 1 when it found something wrong, 2 for wrong usage."""

    #: Whether the job is done for the client of the setting.
    has_client = True

    def declare(self, parser: CommandParser, client: Any) -> None:
        """Declares the options.

        Args:
            parser: Takes them.
            client: The client of the setting; None where the job has none.
        """
        raise NotImplementedError

    def carry_out(self, arguments: argparse.Namespace) -> int:
        """Does the job.

        Returns:
            The exit code.

        Raises:
            UsageError: Something named cannot be used.
        """
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        # Only a name of it: help is for a project too whose setting is not finished.
        self.declare(parser, _THE_CLIENT if self.has_client else None)

    def handle(self, *_: Any, **options: Any) -> None:
        if options.get("client") is _THE_CLIENT:
            try:
                options["client"] = conf.current()
            except ConsentPanelError as error:
                raise CommandError(str(error), returncode=2) from None
        with ExitStack() as stack:
            # Where `call_command` was told so.
            for name, redirected in (("stdout", redirect_stdout), ("stderr", redirect_stderr)):
                if options.get(name) is not None:
                    stack.enter_context(redirected(options[name]))
            try:
                code = self.carry_out(argparse.Namespace(**options))
            except UsageError as error:
                raise CommandError(str(error), returncode=2) from None
        if code:
            raise SystemExit(code)


_THE_CLIENT = object()
