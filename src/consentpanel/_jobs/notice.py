"""`python -m consentpanel notice`: writes the notice to visitors, or checks the one that is published."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from consentpanel._jobs._job import Job
from consentpanel._jobs._loading import load
from consentpanel._jobs._saying import say, say_json, write
from consentpanel._jobs._usage import UsageError, usable
from consentpanel.errors import ConfigurationError
from consentpanel.transparency import Change, Notice, compare
from consentpanel.transparency._files import read_text

DESCRIPTION = """\
Write the notice to visitors from the live policy, or check the one that is published.

NOTICE is a Notice, or a function that takes a language and returns one:

    def privacy_notice(language="en"):
        return notice(POLICY, contact="privacy@shop.example", language=language, ...)"""
EPILOG = "exit codes: 0 it was written, or says what the policy does; 1 the file says something else; 2 wrong usage."
_WRITERS: Mapping[str, Callable[[Notice], str]] = {
    "html": Notice.to_html,
    "md": Notice.to_markdown,
    "json": Notice.to_json,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "notice", metavar="NOTICE", help="MODULE:ATTRIBUTE of a Notice, or of a function that makes one"
    )
    parser.add_argument("--language", help="the language that the function is asked for")
    parser.add_argument("--format", choices=tuple(_WRITERS), help="the form on standard output (md when left out)")
    parser.add_argument("--json", action="store_true", help="say as JSON what --write or --check did")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", nargs="+", metavar="FILE", help="write these files; the suffix says in which form")
    what.add_argument("--check", nargs="+", metavar="FILE", help="compare these files with what would be written")


def run(arguments: argparse.Namespace) -> int:
    """Writes, checks or prints.

    Returns:
        0, or 1 when a checked file says something else.

    Raises:
        UsageError: Something named cannot be used.
    """
    if arguments.json and not (arguments.check or arguments.write):
        raise UsageError("--json says what --write or --check did; the notice itself as JSON is --format json")
    notice = _made(load("NOTICE", arguments.notice, object), arguments)
    if arguments.check:
        checked = [_checked(notice, Path(file)) for file in arguments.check]
        if arguments.json:
            said = [attrs.asdict(each) for each in checked]
            say_json({"version": notice.version, "checked": said})
        else:
            for each in checked:
                say(*each.lines(notice.version))
        return 0 if all(each.is_right for each in checked) else 1
    if arguments.write:
        for file in arguments.write:
            text = _writer(file)(notice)
            with usable(Path(file), OSError):
                write(Path(file), text)
        if arguments.json:
            say_json({"version": notice.version, "written": arguments.write})
        return 0
    sys.stdout.write(_WRITERS[arguments.format or "md"](notice))
    return 0


def _made(found: object, arguments: argparse.Namespace) -> Notice:
    if callable(found) and not isinstance(found, Notice):
        with usable(f"{arguments.notice} made no notice", Exception):
            found = found(arguments.language) if arguments.language else found()
    elif arguments.language:
        raise UsageError("--language needs a function that takes a language")
    if not isinstance(found, Notice):
        raise UsageError(f"{arguments.notice} must be a Notice or make one, not {type(found).__name__}")
    return found


def _writer(file: str) -> Callable[[Notice], str]:
    writer = _WRITERS.get(Path(file).suffix.removeprefix("."))
    if writer is None:
        raise UsageError(f"{file}: the suffix must be one of {', '.join(f'.{each}' for each in _WRITERS)}")
    return writer


@attrs.frozen
class _Checked:
    """A file that is published, and whether it says what the policy does."""

    file: str
    is_right: bool
    changes: Sequence[Change] = ()

    def lines(self, version: str) -> list[str]:
        """The same for people."""
        if self.is_right:
            return [f"{self.file}: says what the policy does ({version})"]
        first = f"{self.file}: does not say what the policy does; what it would say has version {version}"
        needs = {True: "needs consent anew", False: "needs no consent"}
        return [first, *(f"    {needs[change.needs_consent]}: {change.text}" for change in self.changes)]


def _checked(notice: Notice, file: Path) -> _Checked:
    with usable(file, OSError):
        published = read_text(file)
    if published == _writer(str(file))(notice):
        return _Checked(str(file), is_right=True)
    changes: Sequence[Change] = ()
    if file.suffix == ".json":
        with suppress(ConfigurationError):
            changes = compare(published, notice).changes
    return _Checked(str(file), is_right=False, changes=changes)


JOB = Job(
    name="notice",
    summary="write the notice to visitors, or check the one that is published",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
)
