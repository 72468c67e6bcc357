"""`python -m consentpanel scan`: what a code base tells the vendor, by its syntax alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from consentpanel._jobs._job import Job
from consentpanel._jobs._loading import load
from consentpanel._jobs._saying import create, say, say_json
from consentpanel._jobs._usage import usable
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy
from consentpanel.transparency import Scan, scan
from consentpanel.transparency._scan.coverage import Used, as_json, drafted, unused_rules, used_in

DESCRIPTION = """\
List every event and property that a code base sends with the client, and where; nothing of it is run.

Names that are made at run time are told to be, never guessed."""
EPILOG = (
    "exit codes: 0 all files were read; 1 some could not be, a policy would be written over, or what --fail-on says;"
    " 2 wrong usage."
)
_MOST_PLACES = 3


def add_arguments(parser: argparse.ArgumentParser, path: str | None = None, policy: object = None) -> None:
    """Declares the options.

    Args:
        parser: Takes them.
        path: The folder that is meant when none is said; None where one has to be.
        policy: The policy that is meant when none is said.
    """
    if path is None:
        parser.add_argument("path", metavar="PATH", help="a folder, or one file")
    else:
        parser.add_argument("path", nargs="?", default=path, metavar="PATH", help="a folder, or one file; the project")
    parser.add_argument(
        "--client",
        action="append",
        default=[],
        metavar="EXPRESSION",
        help="one more object that has the client's methods, as the code names it: analytics, clients['eu']",
    )
    parser.add_argument("--policy", default=policy, metavar="MODULE:ATTRIBUTE", help="the policy to hold it against")
    parser.add_argument("--write-policy", metavar="FILE", help="draft an allow-list in code; an existing file stays")
    parser.add_argument(
        "--fail-on", choices=("doubtful",), help="end with 1 also where something may be sent that cannot be read"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def run(arguments: argparse.Namespace) -> int:
    """Scans and prints.

    Returns:
        0, or 1 when a file could not be read or written, or something is doubtful and that was asked for.

    Raises:
        UsageError: The path or the policy cannot be used.
    """
    policy = load("--policy", arguments.policy, FieldPolicy) if arguments.policy is not None else None
    with usable("PATH", OSError), usable("--client", ConfigurationError):
        found = scan(arguments.path, arguments.client)
    if arguments.json:
        say_json(as_json(found, policy))
    else:
        say(*_lines(found, policy))
    if arguments.write_policy:
        file = Path(arguments.write_policy)
        with usable(file, OSError):
            is_new = create(file, drafted(found))
        if not is_new:
            say(f"{file} exists, and stays as it is")
            return 1
        say(f"{file}: a first policy; read each line before you use it")
    return 1 if found.unread or (arguments.fail_on and found.doubtful) else 0


def _lines(found: Scan, policy: FieldPolicy | None) -> Iterator[str]:
    used = used_in(found, policy)
    named = {each.event for each in used}
    # The first call of each event without properties.
    bare = {event: call for call in reversed(found.calls) for event in call.events if event not in named}
    for event, call in bare.items():
        used.append(Used(scope="events", event=event, path="", places=(f"{call.file}:{call.line}",)))
    used.sort(key=lambda each: (each.scope, each.event or "", each.path))
    for (scope, event), group in groupby(used, key=lambda each: (each.scope, each.event)):
        yield ""
        yield scope if event is None else f"{scope}: {event}"
        yield from map(_line, group)
    yield from _listed("made at run time, look yourself", _dynamic(found))
    personal = (call for call in found.calls if call.id_category is not None)
    lines = (f"{call.file}:{call.line}  {call.method}: {call.id_category}" for call in personal)
    yield from _listed("ids that are personal by their names", lines)
    yield from _listed(
        "perhaps sent, look yourself; a client is named with --client",
        (f"{f}:{n}  {text}" for f, n, text in found.doubtful),
    )
    if policy is not None:
        yield from _listed("rules that no call uses, as far as names are written down", unused_rules(found, policy))
    yield from _listed("not read", (f"{file}: {problem}" for file, problem in found.unread))
    yield ""
    events = {event for call in found.calls for event in call.events}
    yield (
        f"{len(found.calls)} calls in {found.files} files: {len(events)} names of events, "
        f"{len({(each.scope, each.path) for each in used if each.path})} properties, "
        f"{len({(each.scope, each.path) for each in used if each.category})} of them personal by their names"
    )


def _line(each: Used) -> str:
    where = ", ".join(each.places[:_MOST_PLACES]) + (", ..." if len(each.places) > _MOST_PLACES else "")
    notes = [note for note in (each.action and ("dropped" if each.is_dropped else each.action), each.category) if note]
    return f"  {each.path or '(no properties)':32} {'; '.join(notes):32} {where}".rstrip()


def _dynamic(found: Scan) -> Iterator[str]:
    for call in found.calls:
        what = ["the event's name"] * call.has_other_events + ["properties"] * call.has_other_properties
        if what:
            yield f"{call.file}:{call.line}  {call.method}: {' and '.join(what)}"


def _listed(title: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if not number:
            yield from ("", title)
        yield f"  {line}"


JOB = Job(
    name="scan",
    summary="list what a code base sends, by its syntax alone",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
)
