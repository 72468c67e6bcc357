"""`deliver` has what waits in a spool or an outbox delivered; `spool` tells what waits in a file, and nothing of the messages."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import consentpanel
from consentpanel._jobs._job import Job
from consentpanel._jobs._loading import add_client, load
from consentpanel._jobs._saying import complain, say, say_json
from consentpanel._jobs._usage import UsageError, usable
from consentpanel.errors import ConfigurationError

if TYPE_CHECKING:
    from consentpanel.transport._message_store import MessageStore

DESCRIPTION = (
    "Tell how much waits in the file of a spool, or in the database of an outbox, since when, and why it was not delivered; nothing\n"
    "of the messages."
)
_DELIVER = (
    "Deliver what waits in the file of a client's SpoolConsumer, or in the database of its outbox, as a process of its\n"
    "own: until it is told to end (SIGTERM, Ctrl-C), or once. The client has the registry, the addresses and the credentials; what\n"
    "waits has none of them."
)
EPILOG = "exit codes: 0 all is right; 1 something waits that could not be delivered, or there are dead letters, or erasures wait; 2 wrong usage."
#: Seconds between looks.
_LOOK = 1.0
_LEFT = {
    "waiting": "{:,} messages wait for an answer of the registry, or for another project",
    "dead_letters": "{:,} dead letters, which the vendor has refused for good",
    "erasures": "{:,} requests to erase a person, which the vendor has not taken yet",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``spool``."""
    parser.add_argument("path", metavar="PATH", help="the file, or the URL of the database")
    parser.add_argument("--schema", help="of an outbox: the schema of its tables")
    parser.add_argument(
        "--table-prefix", default="consentpanel_", help="of an outbox: what their names begin with (consentpanel_)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


def add_deliver_arguments(parser: argparse.ArgumentParser, client: object = None) -> None:
    """Adds the options of ``deliver``; none for the client where that is given."""
    add_client(parser, client, "the client with the SpoolConsumer or the outbox")
    parser.add_argument("--once", action="store_true", help="deliver what waits now, and end")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="with --once: how long to try (60)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, for other programs; without --once a line for each change"
    )


def run(arguments: argparse.Namespace) -> int:
    """Tells what waits in a file or a database.

    Args:
        arguments: The parsed options.

    Returns:
        0, or 1 when there are dead letters, or requests to erase a person that wait.

    Raises:
        UsageError: There is no such file, or it is no spool; or the database cannot be reached, or has no outbox.
    """
    # A URL holds a password.
    path, is_url = arguments.path, "://" in arguments.path
    with usable("the database" if is_url else path, ConfigurationError, consentpanel.MixpanelException):
        store = _outbox(arguments) if is_url else _file(path)
        summary, now = store.summary(), store.present()
        store.close()
    seconds = None if summary.oldest is None else max(0, now - summary.oldest) // 1000
    if arguments.json:
        said = {
            "waiting": summary.waiting,
            "bytes": summary.size,
            "oldest_seconds": seconds,
            "last_failure": summary.failure,
            "dead_letters": summary.dead,
            "held": summary.held,
            "erasures": summary.erasures,
        }
        say_json(said)
    else:
        age = "" if seconds is None else f", the oldest for {_duration(seconds)}"
        say(f"{summary.waiting:,} messages wait ({summary.size:,} bytes){age}")
        say(f"{summary.dead:,} dead letters, which the vendor has refused for good")
        if summary.held:
            say(f"{summary.held:,} messages are held for people who were never asked")
        if summary.erasures:
            say(f"{summary.erasures:,} requests to erase a person, which the vendor has not taken yet")
        if summary.failure:
            say(f"last failure: {summary.failure}")
    return 1 if summary.dead or summary.erasures else 0


def _file(path: str) -> MessageStore:
    from consentpanel.transport._spool_file import SpoolFile

    # Opening would make the file.
    if not os.path.isfile(path) or not os.path.getsize(path):  # noqa: PTH113, PTH202 - the path is a text
        raise UsageError(f"{path}: there is no such file, or it is empty")
    return SpoolFile(path)


def _outbox(arguments: argparse.Namespace) -> MessageStore:
    try:
        from consentpanel.transport._outbox_tables import OutboxTables
    except ImportError as error:
        raise UsageError(
            f"a database needs SQLAlchemy: pip install 'consentpanel[sqlalchemy]' ({error.name})"
        ) from None
    return OutboxTables(arguments.path, arguments.schema, arguments.table_prefix, 10.0)


def deliver(arguments: argparse.Namespace) -> int:
    """Delivers what waits.

    Args:
        arguments: The parsed options.

    Returns:
        0, or 1 when something could not be delivered.

    Raises:
        UsageError: There is no such client, or it has neither a `SpoolConsumer` nor an outbox.
    """
    client: Any = load("--client", arguments.client, consentpanel.Mixpanel, consentpanel.AsyncMixpanel)
    is_later = isinstance(client, consentpanel.AsyncMixpanel)
    spools = (client._client if is_later else client)._sealed.own_spools  # noqa: SLF001 - the package's own
    if not spools:
        raise UsageError("the client has no SpoolConsumer and no outbox: nothing waits")
    is_over = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        is_over.set()

    if arguments.once:
        work = partial(_once, spools, arguments.timeout, is_json=arguments.json)
    else:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        work = partial(_until, is_over, spools, is_json=arguments.json)
    # While its loop answers for an asynchronous registry.
    return asyncio.run(client._run_beside(work)) if is_later else work()  # noqa: SLF001 - the package's own


def _until(is_over: threading.Event, spools: list[consentpanel.SpoolConsumer], *, is_json: bool) -> int:
    def tell(state: str, problem: str = "") -> None:
        if is_json:
            say_json({"state": state, "problem": problem or None}, indent=None)
            sys.stdout.flush()
        elif state == "delivering":
            say(state)
        else:
            complain(problem or "all is delivered again")

    tell("delivering")
    said = ""
    while not is_over.wait(_LOOK):
        problem = _problem_of(spools, 30.0)
        if problem != said:
            tell("failing" if problem else "delivered again", problem)
            said = problem
    return 0


def _once(spools: list[consentpanel.SpoolConsumer], timeout: float, *, is_json: bool) -> int:
    problem = _problem_of(spools, timeout)
    # A store that has just failed is not asked for its numbers.
    counts = {} if problem else _counted(spools)
    problems = [text.format(counts[name]) for name, text in _LEFT.items() if counts.get(name)]
    if problem:
        problems = [problem]
    for each in problems:
        complain(each)
    if is_json:
        say_json({**counts, "problem": "; ".join(problems) or None})
    elif not problems:
        held = counts["held"]
        say(
            f"all is delivered; {held:,} messages are held for people who were never asked"
            if held
            else "all is delivered"
        )
    return 1 if problems else 0


def _counted(spools: list[consentpanel.SpoolConsumer]) -> dict[str, int]:
    found = [each.summary() for each in spools]
    return {
        "waiting": sum(each.waiting for each in spools),
        "held": sum(each.held for each in found),
        "dead_letters": sum(each.dead for each in found),
        "erasures": sum(each.erasures for each in found),
    }


def _problem_of(spools: list[consentpanel.SpoolConsumer], timeout: float) -> str:
    try:
        for each in spools:
            each.flush(timeout)
    except consentpanel.MixpanelException as error:
        return str(error)
    return ""


def _duration(seconds: int) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


DELIVER = Job(
    name="deliver",
    summary="have what waits in a spool delivered",
    description=_DELIVER,
    exit_codes=EPILOG,
    add_arguments=add_deliver_arguments,
    run=deliver,
    is_for_client=True,
)


SPOOL = Job(
    name="spool",
    summary="tell what waits in the file of a spool",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
)
