"""`prune` forgets people of whom nothing was recorded for long, so that records are kept no longer than they are needed."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import attrs

from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.regime import Regime
from consentpanel._jobs._job import Job
from consentpanel._jobs._loading import add_client, for_client, load
from consentpanel._jobs._saying import agreed, complain, say, say_json
from consentpanel._jobs._usage import UsageError, usable
from consentpanel._visits import is_visitor
from consentpanel.client import Mixpanel
from consentpanel.errors import ConfigurationError, ConsentPanelError
from consentpanel.registry._objections import SOURCE
from consentpanel.registry._recording import StoredRegistry, innermost, keep_objections

DESCRIPTION = """\
Forget people of whom nothing was recorded for so many days: records are kept no longer than they are needed
(GDPR, Article 5(1)(e)).

Left are those of whom a grant still holds, and, where silence is taken for consent, those who have refused,
unless the registry keeps their objections (objection_key=). Nothing is asked of the vendor."""
EPILOG = "exit codes: 0 it was done; 1 the registry failed, or you said no; 2 wrong usage."

#: Days: a century.
_LONGEST = 36_500


def add_arguments(parser: argparse.ArgumentParser, client: object = None) -> None:
    """Declares the options; none for the client where that is given."""
    add_client(parser, client, "the Mixpanel client, whose registry is pruned")
    parser.add_argument(
        "--days", type=int, required=True, metavar="DAYS", help="forget whose last record is older than this"
    )
    parser.add_argument(
        "--visitors",
        action="store_true",
        help="only visitors without an account, and those with a grant too: give more days than their cookie lives",
    )
    parser.add_argument("--tenant", metavar="NAME", help="of a registry that keeps several: which one")
    parser.add_argument("--dry-run", action="store_true", help="say how many it would be, and forget nobody")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")


@for_client
def run(arguments: argparse.Namespace) -> int:
    """Forgets people.

    Args:
        arguments: The parsed options.

    Returns:
        0, or 1 when the registry failed, or nobody agreed.

    Raises:
        UsageError: The client cannot be used, or its registry cannot tell whom it knows.
    """
    settings = load("--client", arguments.client, Mixpanel)._guard.settings()  # noqa: SLF001 - the command works for the client
    if not 1 <= arguments.days <= _LONGEST:
        raise UsageError(f"--days must be from 1 to {_LONGEST}")
    registry: Any = settings.registry
    if not issubclass(type(innermost(registry)), StoredRegistry):
        raise UsageError(
            "the client's registry cannot tell of whom it has records; of an asynchronous one name a client with its synchronous like"
        )
    if arguments.tenant:
        with usable("--tenant", ConfigurationError):
            registry = registry.scoped(arguments.tenant)
    needs_denials = settings.regime is not Regime.OPT_IN and not keep_objections(registry, settings.policy.keyed)
    before = datetime.now(timezone.utc) - timedelta(days=arguments.days)
    judge = partial(_is_old, registry, before, is_of_visitors=arguments.visitors, needs_denials=needs_denials)
    done = _Done()
    try:
        inner = innermost(registry)
        mine = inner._scope  # noqa: SLF001 - the package's own
        old = [subject_id for tenant, subject_id in inner.people() if tenant == mine and judge(subject_id)]
        done.found = len(old)
        if not arguments.dry_run:
            if old and not agreed(f"Forget {_people(len(old))}?", is_sure=arguments.yes):
                done.problem = "nothing was done"
                old = []
            for subject_id in old:
                # Once more, because somebody may have answered meanwhile.
                if judge(subject_id):
                    registry.forget(subject_id)
                    done.forgotten += 1
    except ConsentPanelError as error:
        done.problem = str(error)
        complain(done.problem)
    if arguments.json:
        say_json(attrs.asdict(done))
    elif done.problem is None:
        say(
            f"{_people(done.found)} would be forgotten" if arguments.dry_run else f"{_people(done.forgotten)} forgotten"
        )
    return 0 if done.problem is None else 1


@attrs.define
class _Done:
    found: int = 0
    forgotten: int = 0
    problem: str | None = None


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"


def _is_old(registry: Any, before: datetime, subject_id: str, *, is_of_visitors: bool, needs_denials: bool) -> bool:
    """Whether nobody needs what is recorded of a person."""
    if is_of_visitors and not is_visitor(subject_id):
        return False
    inner = innermost(registry)
    records = inner.history(subject_id)
    if not records or max(each.recorded_at for each in records) >= before:
        return False
    # What is kept of those who are forgotten.
    if {each.source for each in records} == {SOURCE}:
        return False
    holding = {inner.status(subject_id, purpose) for purpose in {each.purpose for each in records}}
    if ConsentStatus.GRANTED in holding and not is_of_visitors:
        return False
    return not (ConsentStatus.DENIED in holding and needs_denials)


JOB = Job(
    name="prune",
    summary="forget people of whom nothing was recorded for long",
    description=DESCRIPTION,
    exit_codes=EPILOG,
    add_arguments=add_arguments,
    run=run,
    is_for_client=True,
)
