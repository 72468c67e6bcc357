"""`preview`: what a policy would do to real records, before any is sent."""

from __future__ import annotations

import argparse
import sys

from consentpanel._cli._input.framing import UnreadableInputError, frames
from consentpanel._cli._input.progress import Progress
from consentpanel._cli._input.source import EMPTY, name_of, opened_input
from consentpanel._cli._preview.parallel import Work, tallies
from consentpanel._cli._preview.records import WHOLE_RECORD, RecordPaths, Scope, Unjudged, judgeable
from consentpanel._cli._preview.report import as_json, as_text
from consentpanel._cli._preview.tally import MAX_LISTED
from consentpanel._jobs._job import Job
from consentpanel._jobs._saying import complain, say, say_json
from consentpanel._jobs._usage import usable

DESCRIPTION = """\
Read records and say, property by property, in how many a policy would keep it, change it or drop it.
Nothing is sent, no consent is asked for, and no value is printed.

FILE is the vendor's raw export (a line of JSON for each event), or a JSON array, or lines of JSON, of any
records: say with --event, --distinct-id and --properties where these stand. It may be compressed by gzip.
"""
EPILOG = """\
A path names a key, or a key in a key: payload.actor. A single dot names the whole record.

exit codes: 0 every record was judged; 1 some could not be (they are told), or there is none; 2 wrong usage.
"""

_MOST_JOBS = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `preview`."""
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="the records; - or nothing reads what is piped to standard input"
    )
    parser.add_argument(
        "--policy", required=True, metavar="MODULE:ATTRIBUTE", help="the FieldPolicy, such as shop.analytics:POLICY"
    )
    parser.add_argument(
        "--scope",
        choices=[scope.value for scope in Scope],
        default=Scope.EVENTS.value,
        help="which rules of the policy: events (the default), people or groups",
    )
    parser.add_argument("--event", type=_path, metavar="PATH", help="where the event's name stands (event)")
    parser.add_argument(
        "--distinct-id", type=_path, metavar="PATH", help="where the person's id stands (properties.distinct_id)"
    )
    parser.add_argument("--properties", type=_path, metavar="PATH", help="where the properties stand (properties)")
    parser.add_argument("--by-event", action="store_true", help="count for each event apart")
    parser.add_argument("--show-values", action="store_true", help="print at most 3 values of each property")
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=1,
        metavar="N",
        help="judge in so many processes, each of which imports the policy (1)",
    )
    parser.add_argument(
        "--progress", action="store_true", help="tell the progress also when standard error is no terminal"
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge every record and print the report.

    Returns:
        0 when every record was judged, 1 when some could not be, or there is none.

    Raises:
        UsageError: The policy or the file cannot be used.
    """
    scope = Scope(arguments.scope)
    paths = RecordPaths.of(
        scope, event=arguments.event, distinct_id=arguments.distinct_id, properties=arguments.properties
    )
    work = Work(arguments.policy, scope, paths, arguments.by_event, arguments.show_values)
    judging = work.judging()
    tally = judging.tally
    with opened_input(arguments.file) as (stream, size), usable(name_of(arguments.file), UnreadableInputError):
        progress = Progress(sys.stderr, is_shown=arguments.progress or sys.stderr.isatty(), size=size)
        found = frames(stream, on_bytes=progress.read)
        if arguments.jobs > 1:
            for part in tallies(found, work, arguments.jobs):
                progress.records += part.judged + part.unjudged
                for number, problem in enumerate(part.problems, tally.unjudged + 1):
                    _warn(problem, number, progress)
                tally.merge(part)
        else:
            for frame in found:
                progress.records += 1
                record = judgeable(frame, scope, paths)
                judging.add(record)
                if isinstance(record, Unjudged):
                    _warn(record, tally.unjudged, progress)
        progress.done()
    if arguments.json:
        say_json(as_json(tally, arguments.policy))
    else:
        say(*as_text(tally, arguments.policy))
    if not (tally.judged or tally.unjudged):
        complain(f"{name_of(arguments.file)}: {EMPTY}")
        return 1
    return 1 if tally.unjudged else 0


def _path(text: str) -> str:
    if text != WHOLE_RECORD and not all(text.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path such as payload.actor")
    return text


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MOST_JOBS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_JOBS}")
    return int(text)


def _warn(record: Unjudged, number: int, progress: Progress) -> None:
    if number > MAX_LISTED:
        return
    progress.interrupt()
    complain(f"line {record.line:,}: {record.problem}")
    if number == MAX_LISTED:
        complain("further records that cannot be judged are only counted")


JOB = Job(
    name="preview",
    summary="say what a policy would do to real records",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
)
