"""The command line: `consentpanel`, or `python -m consentpanel`."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import consentpanel
from consentpanel._cli import demo, detect, panel, preview
from consentpanel._cli.applications import add_app, client_given
from consentpanel._jobs import audit, notice, privacy, prune, registry, scan, spool
from consentpanel._jobs._job import WRONG_USAGE
from consentpanel._jobs._saying import complain
from consentpanel._jobs._usage import UsageError
from consentpanel.transparency._printable import printable

# What a shell reports of a program that a signal ended.
_INTERRUPTED = 128 + signal.SIGINT
_BROKEN_PIPE = 128 + 13

JOBS = (
    demo.JOB,
    preview.JOB,
    detect.JOB,
    notice.JOB,
    panel.JOB,
    scan.JOB,
    audit.JOB,
    privacy.ERASE,
    privacy.EXPORT,
    prune.JOB,
    spool.DELIVER,
    spool.SPOOL,
    registry.JOB,
)
_EPILOG = "exit codes: 0 all is right; 1 the job found something wrong; 2 wrong usage."


def main(argv: Sequence[str] | None = None, *, program: str = "consentpanel") -> int:
    """Run a command.

    Args:
        argv: The arguments; those of the process when left out.
        program: What was typed before them, for help and errors.

    Returns:
        The exit code: 0, 1 when the job found something wrong, 2 for wrong usage; 130 after Ctrl-C, and 141 when
        the reader of the output went away, as a shell reports them.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
    _print_anything()
    try:
        try:
            return _run(argv, program)
        finally:
            # Here, so that a reader that went away is noticed while it can still be handled.
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return _BROKEN_PIPE
    except OSError as error:
        _forget_output()
        complain(f"{program}: the output cannot be written: {error.strerror}")
        return WRONG_USAGE


def _run(argv: Sequence[str] | None, program: str) -> int:
    parser = _parser(program)
    arguments = parser.parse_args(argv)
    try:
        with client_given(arguments):
            code: int = arguments.run(arguments)
    except UsageError as error:
        complain(f"{parser.prog} {arguments.command}: {error}")
        return WRONG_USAGE
    return code


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description="A Mixpanel client that sends nothing about a person without that person's consent.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for job in JOBS:
        command = commands.add_parser(
            job.name,
            help=job.summary,
            description=job.description,
            epilog=job.exit_codes,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        job.declare(command)
        if job.is_for_client:
            add_app(command)
        command.set_defaults(run=job.run)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


class _Version(argparse.Action):
    # Not argparse's own: that one reads the package's metadata also when nobody asks.
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"consentpanel {consentpanel.__version__}")
        parser.exit()


def _print_anything() -> None:
    # A name in another script must not end the report on a terminal that cannot show it.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    # The interpreter flushes once more at its exit, and would complain of the same broken pipe.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
