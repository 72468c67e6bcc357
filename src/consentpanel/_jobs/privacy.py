"""`python -m consentpanel erase` and `export`: requests to the vendor for a support desk, which ask before they act."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from consentpanel._jobs._job import Job
from consentpanel._jobs._loading import add_client, for_client, load
from consentpanel._jobs._saying import agreed, complain, say, say_json
from consentpanel._jobs._usage import UsageError
from consentpanel.client import Mixpanel
from consentpanel.client._erasure import vendor_ids_of
from consentpanel.errors import ConsentPanelError
from consentpanel.privacy_requests import PrivacyRequests, PrivacyTask

_ERASE = """\
Record that people withdraw consent, and ask the vendor to delete all that it holds about them.

The client must have a registry that can record, and privacy=PrivacyRequests(...). Ids are yours; they are mapped as
the client maps them. Name them as arguments, or one a line on standard input, where no shell keeps them."""
_EXPORT = """\
Ask the vendor for all that it holds about people, to answer a request for access.

The answer is a link to a file, once the vendor has made it: look for it with --status."""
EPILOG = "exit codes: 0 it was done; 1 the vendor or the registry did not take it, or you said no; 2 wrong usage."


def add_arguments(parser: argparse.ArgumentParser, client: object = None) -> None:
    """Declares the options that both commands have; none for the client where that is given."""
    parser.add_argument(
        "ids", nargs="*", metavar="ID", help="a person's id, as your application knows it; standard input when left out"
    )
    add_client(parser, client, "the Mixpanel client")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--status", metavar="TASK", help="say how far a request is, and ask for nothing new")
    group.add_argument("--cancel", metavar="TASK", help="take a deletion back that the vendor has not begun")


@for_client
def erase(arguments: argparse.Namespace) -> int:
    """Erases people, or follows a request up.

    Raises:
        UsageError: The client cannot be used, or no id is named.
    """
    client, privacy = _loaded(arguments)

    def act(ids: Sequence[str], answer: _Answer) -> None:
        failed = 0
        for subject_id in ids:
            try:
                done = client.withdraw(subject_id, erase=True, source="support-desk")
            except ConsentPanelError:
                raise
            except Exception as error:  # noqa: BLE001 - a consumer is anybody's, and its text may hold ids
                failed += 1
                complain(f"the client's consumer failed: {type(error).__name__}")
            else:
                answer.add(done.erasure)
                if done.is_erasure_kept:
                    answer.kept += 1
                    complain("the vendor has not taken a request yet: it is kept, and tried again")
        if failed:
            raise ConsentPanelError(f"{failed} of {len(ids)} were not asked for; the denials are recorded: try again")

    question = "Record a denial for {} and ask the vendor to delete their data?"
    return _requested(arguments, privacy, privacy.look_up_deletion, question, act)


@for_client
def export(arguments: argparse.Namespace) -> int:
    """Asks for people's data, or follows a request up.

    Raises:
        UsageError: The client cannot be used, or no id is named.
    """
    client, privacy = _loaded(arguments)
    if arguments.cancel:
        raise UsageError("--cancel is for deletions; the vendor does not take an export back")

    def act(ids: Sequence[str], answer: _Answer) -> None:
        settings = client._guard.settings()  # noqa: SLF001 - the command works for the client
        answer.add(
            privacy.create_retrieval_of(each for subject_id in ids for each in vendor_ids_of(settings, subject_id))
        )

    question = "Ask the vendor for the data of {}?"
    return _requested(arguments, privacy, privacy.look_up_retrieval, question, act)


def _loaded(arguments: argparse.Namespace) -> tuple[Mixpanel, PrivacyRequests]:
    client = load("--client", arguments.client, Mixpanel)
    privacy = client._guard.settings().privacy  # noqa: SLF001 - the command works for the client
    if privacy is None:
        raise UsageError("the client has no privacy=PrivacyRequests(...)")
    return client, privacy


def _requested(
    arguments: argparse.Namespace,
    privacy: PrivacyRequests,
    look_up: Callable[[str], PrivacyTask],
    question: str,
    act: Callable[[Sequence[str], _Answer], None],
) -> int:
    """Follows a request up, or makes one when somebody agrees."""
    if arguments.status or arguments.cancel:
        return _attempt(arguments, lambda answer: _follow_up(arguments, privacy, look_up, answer))
    ids = _ids(arguments)

    def ask_and_act(answer: _Answer) -> None:
        if _agreed(arguments, question.format("1 person" if len(ids) == 1 else f"{len(ids):,} people")):
            act(ids, answer)
        else:
            answer.problem = "nothing was done"

    return _attempt(arguments, ask_and_act)


def _ids(arguments: argparse.Namespace) -> list[str]:
    # Closed, it is None.
    given: Sequence[str] = arguments.ids or (() if sys.stdin is None or sys.stdin.isatty() else _piped())
    ids = list(dict.fromkeys(each for each in given if each.strip()))
    if not ids:
        raise UsageError("name at least one ID, or pipe them to standard input")
    # Another person could be meant than the one whose id is written.
    odd = sum(each != each.strip() or not each.isprintable() for each in ids)
    if odd:
        raise UsageError(f"{odd} of the ids have white space around them, or characters that cannot be printed")
    return ids


def _piped() -> Sequence[str]:
    try:
        text = sys.stdin.read().removeprefix("\ufeff")
    except UnicodeDecodeError:
        pass
    else:
        # Not `splitlines`, which knows ten more ends of a line.
        return [line.removesuffix("\r") for line in text.split("\n")]
    # Raised here, so that the decoder's exception, which holds the ids, stays in no context.
    raise UsageError("standard input is not UTF-8")


def _agreed(arguments: argparse.Namespace, question: str) -> bool:
    if not arguments.yes and not arguments.ids:
        raise UsageError("ids from standard input need --yes, because the answer cannot come from there too")
    return agreed(question, is_sure=arguments.yes)


def _follow_up(
    arguments: argparse.Namespace,
    privacy: PrivacyRequests,
    look_up: Callable[[str], PrivacyTask],
    answer: _Answer,
) -> None:
    if arguments.cancel:
        privacy.cancel_deletion(arguments.cancel)
        answer.cancelled = arguments.cancel
        return
    answer.add((look_up(arguments.status),))


@attrs.define
class _Answer:
    """What the vendor took: told at once for people, who may not wait for the rest, and in one object for programs."""

    is_json: bool
    tasks: list[PrivacyTask] = attrs.field(factory=list)
    cancelled: str | None = None
    kept: int = 0
    problem: str | None = None

    def add(self, tasks: Sequence[PrivacyTask]) -> None:
        """More requests that the vendor knows."""
        self.tasks += tasks
        for task in () if self.is_json else tasks:
            ids = "" if task.count is None else f"  {task.count} id{'s' if task.count != 1 else ''} of the vendor's"
            say(f"{task.task_id}  {task.kind}  {task.status.value}{ids}")
            if task.link is not None:
                say(task.link)

    def end(self) -> None:
        """Says what is not said yet."""
        if self.is_json:
            said = {name: getattr(self, name) for name in ("cancelled", "kept", "problem")}
            say_json({"tasks": [_json_of(task) for task in self.tasks], **said})
        elif self.cancelled is not None:
            say(f"{self.cancelled}  taken back")


def _json_of(task: PrivacyTask) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "kind": task.kind,
        "status": task.status.value,
        "count": task.count,
        "requested": task.requested,
        "link": task.link,
    }


def _attempt(arguments: argparse.Namespace, act: Callable[[_Answer], None]) -> int:
    answer = _Answer(is_json=arguments.json)
    try:
        act(answer)
    except ConsentPanelError as error:
        answer.add(getattr(error, "created", ()))
        answer.problem = str(error)
        complain(answer.problem)
    except KeyboardInterrupt:
        # What the vendor took already has to be followed up.
        answer.problem = "it was interrupted"
        answer.end()
        raise
    answer.end()
    return 0 if answer.problem is None else 1


ERASE = Job(
    name="erase",
    summary="ask the vendor to delete all data of people",
    description=_ERASE,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=erase,
    is_for_client=True,
)


EXPORT = Job(
    name="export",
    summary="ask the vendor for all data of people",
    description=_EXPORT,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=export,
    is_for_client=True,
)
