"""`python -m consentpanel erase` and `export`: requests to the vendor for a support desk, which ask before they act."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from consentpanel._cli._loading import load
from consentpanel._cli._usage import UsageError
from consentpanel.client import Mixpanel
from consentpanel.errors import ConsentPanelError
from consentpanel.privacy_requests import PrivacyRequests, PrivacyTask

DESCRIPTION = """\
Record that people withdraw consent, and ask the vendor to delete all that it holds about them.

The client must have a registry that can record, and privacy=PrivacyRequests(...). Ids are yours; they are mapped as
the client maps them. Name them as arguments, or one a line on standard input, where no shell keeps them."""
EXPORT = """\
Ask the vendor for all that it holds about people, to answer a request for access.

The answer is a link to a file, once the vendor has made it: look for it with --status."""
EPILOG = "exit codes: 0 it was done; 1 the vendor or the registry did not take it, or you said no; 2 wrong usage."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options that both commands have."""
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="a person's id, as your application knows it; standard input when left out"
    )
    parser.add_argument("--client", required=True, metavar="MODULE:ATTRIBUTE", help="the Mixpanel client")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--status", metavar="TASK", help="say how far a request is, and ask for nothing new")
    group.add_argument("--cancel", metavar="TASK", help="take a deletion back that the vendor has not begun")


def erase(arguments: argparse.Namespace) -> int:
    """Erases people, or follows a request up.

    Raises:
        UsageError: The client cannot be used, or no id is named.
    """
    client = load("--client", arguments.client, Mixpanel)
    privacy = _privacy(client)
    if arguments.status or arguments.cancel:
        return _attempt(lambda: _follow_up(privacy, "deletion", arguments))
    ids = _ids(arguments)
    if not _agreed(arguments, f"Record a denial for {_people(ids)} and ask the vendor to delete their data?"):
        return 1

    def act() -> None:
        for subject_id in ids:
            done = client.withdraw(subject_id, erase=True, source="support-desk")
            _print(done.erasure)

    return _attempt(act)


def export(arguments: argparse.Namespace) -> int:
    """Asks for people's data, or follows a request up.

    Raises:
        UsageError: The client cannot be used, or no id is named.
    """
    client = load("--client", arguments.client, Mixpanel)
    privacy = _privacy(client)
    if arguments.cancel:
        raise UsageError("--cancel is for deletions; the vendor does not take an export back")
    if arguments.status:
        return _attempt(lambda: _follow_up(privacy, "retrieval", arguments))
    ids = _ids(arguments)
    if not _agreed(arguments, f"Ask the vendor for the data of {_people(ids)}?"):
        return 1
    settings = client._guard.settings()  # noqa: SLF001 - the command works for the client

    def act() -> None:
        known = [each for subject_id in ids for each in settings.vendor_ids(subject_id)]
        _print(privacy.create_retrieval_of(known))

    return _attempt(act)


def _privacy(client: Mixpanel) -> PrivacyRequests:
    privacy = client._guard.settings().privacy  # noqa: SLF001 - the command works for the client
    if privacy is None:
        raise UsageError("--client: the client has no privacy=PrivacyRequests(...)")
    return privacy


def _ids(arguments: argparse.Namespace) -> list[str]:
    given: Sequence[str] = arguments.ids or (() if sys.stdin.isatty() else sys.stdin.read().splitlines())
    ids = list(dict.fromkeys(each.strip() for each in given if each.strip()))
    if not ids:
        raise UsageError("name at least one ID, or pipe them to standard input")
    return ids


def _agreed(arguments: argparse.Namespace, question: str) -> bool:
    if arguments.yes:
        return True
    if not arguments.ids:
        raise UsageError("ids from standard input need --yes, because the answer cannot come from there too")
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in {"y", "yes"}:
        return True
    print("nothing was done", file=sys.stderr)
    return False


def _follow_up(privacy: PrivacyRequests, kind: str, arguments: argparse.Namespace) -> None:
    if arguments.cancel:
        privacy.cancel_deletion(arguments.cancel)
        print(f"{arguments.cancel}  taken back")
        return
    look_up = privacy.look_up_deletion if kind == "deletion" else privacy.look_up_retrieval
    task = look_up(arguments.status)
    _print((task,))
    if task.link is not None:
        print(task.link)


def _print(tasks: Sequence[PrivacyTask]) -> None:
    for task in tasks:
        ids = "" if task.count is None else f"  {task.count} id{'s' if task.count != 1 else ''} of the vendor's"
        print(f"{task.task_id}  {task.kind}  {task.status.value}{ids}")


def _people(ids: Sequence[str]) -> str:
    return "1 person" if len(ids) == 1 else f"{len(ids):,} people"


def _attempt(act: Callable[[], None]) -> int:
    try:
        act()
    except ConsentPanelError as error:
        created = getattr(error, "created", ())
        _print(created)
        print(f"{error}", file=sys.stderr)
        return 1
    return 0
