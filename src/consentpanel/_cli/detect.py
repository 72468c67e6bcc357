"""`detect`: where personal data is in records or text, by kinds and counts and never by its values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from consentpanel._cli._detect.findings import Findings, PathCount
from consentpanel._cli._input.framing import ARRAY_NOT_LOG, UnreadableInputError, frames
from consentpanel._cli._input.progress import Progress
from consentpanel._cli._input.source import EMPTY, name_of, opened_input
from consentpanel._jobs._job import Job
from consentpanel._jobs._saying import complain, say, say_json
from consentpanel._jobs._usage import usable

DESCRIPTION = """\
Read records or text, and say which detectors find what kind of personal data, property by property.
No value is printed. The detectors are those that look into the values which a policy keeps.

FILE holds lines of JSON, a JSON array, or text; a line that is no JSON is text. It may be compressed by gzip."""
EPILOG = (
    "exit codes: 0 nothing was found; 1 something was, or not all could be read, or there is no record; 2 wrong usage."
)

_WIDTH = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="what is read; - or nothing reads what is piped to standard input"
    )
    parser.add_argument("--text", action="store_true", help="take each line for text, whatever it looks like")
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")
    parser.add_argument(
        "--progress", action="store_true", help="tell the progress also when standard error is no terminal"
    )


def run(arguments: argparse.Namespace) -> int:
    """Looks at every record and prints what was found.

    Returns:
        0 when nothing was found, 1 when something was, or not all could be read, or there is nothing.

    Raises:
        UsageError: The file cannot be used.
    """
    findings = Findings()
    unread = 0
    with opened_input(arguments.file) as (stream, size), usable(name_of(arguments.file), UnreadableInputError):
        progress = Progress(sys.stderr, is_shown=arguments.progress or sys.stderr.isatty(), size=size)
        for frame in frames(stream, on_bytes=progress.read, array=None if arguments.text else ARRAY_NOT_LOG):
            progress.records += 1
            if frame.text is None:
                unread += 1
                progress.interrupt()
                complain(f"line {frame.line:,}: {frame.problem}")
            else:
                # Bytes that are no UTF-8 hide nothing that stands around them.
                findings.add(frame.text.decode(errors="replace"), is_text=arguments.text)
        progress.done()
    if arguments.json:
        say_json(as_json(findings, unread))
    else:
        say(*as_text(findings, unread))
    if not (findings.records or unread):
        complain(f"{name_of(arguments.file)}: {EMPTY}")
        return 1
    return 0 if findings.is_clean and not unread else 1


def as_text(findings: Findings, unread: int) -> Iterator[str]:
    """The lines of the report for people."""
    rows = [(path, count) for path, count in sorted(findings.paths.items()) if count.kinds]
    if findings.others.kinds:
        rows.append(("(others)", findings.others))
    if rows:
        yield f"{'PROPERTY':<{_WIDTH}} {'VALUES':>9}  FOUND IN"
    for path, count in rows:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(count.kinds.items()))
        if len(path) > _WIDTH:
            yield path
            path = ""  # noqa: PLW2901 (it has a line of its own)
        yield f"{path:<{_WIDTH}} {count.values or '-':>9}  {kinds}"
    if rows:
        yield ""
    texts = f", {findings.texts:,} of them text" if findings.texts else ""
    what = "record" if findings.records == 1 else "records"
    yield f"{findings.records:,} {what}{texts}: personal data in {findings.found:,} of {findings.values:,} values"
    if unread:
        yield f"{unread:,} could not be read"


def as_json(findings: Findings, unread: int) -> dict[str, Any]:
    """The report for machines: paths where nothing was found are in it too."""
    return {
        "records": findings.records,
        "texts": findings.texts,
        "values": findings.values,
        "found": findings.found,
        "unread": unread,
        "paths": [{"path": path, **_counts(count)} for path, count in sorted(findings.paths.items())],
        "other_paths": _counts(findings.others) if findings.others.values else None,
    }


def _counts(count: PathCount) -> dict[str, Any]:
    return {"values": count.values, "kinds": dict(sorted(count.kinds.items()))}


JOB = Job(
    name="detect",
    summary="say where personal data is in records or text",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
)
