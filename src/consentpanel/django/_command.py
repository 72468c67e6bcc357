"""What the commands of `manage.py` have in common: a job of the command line, for the client of the setting."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter

from consentpanel._jobs._job import Job
from consentpanel._jobs._usage import UsageError
from consentpanel.django import conf
from consentpanel.errors import ConsentPanelError


class JobCommand(BaseCommand):
    """A job; its exit code is that of the command line: 0, 1 when it found something wrong, 2 for wrong usage."""

    job: ClassVar[Job]

    def create_parser(self, prog_name: str, subcommand: str, **keywords: Any) -> CommandParser:
        """The parser, whose help has the description of the job and its exit codes as they are written."""
        self.help = self.job.description
        said = {"formatter_class": _Help, "epilog": self.job.exit_codes}
        return super().create_parser(prog_name, subcommand, **{**said, **keywords})

    def add_arguments(self, parser: CommandParser) -> None:
        """Declares the options of the job."""
        # Only a name of the client: help is for a project too whose setting is not finished.
        self.job.declare(parser, _THE_CLIENT)

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
                code = self.job.run(argparse.Namespace(**options))
            except UsageError as error:
                raise CommandError(str(error), returncode=2) from None
        if code:
            raise SystemExit(code)


class _Help(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


_THE_CLIENT = object()
