"""A visitor's answers become the account's at log-in (rule 2.14), over every registry that keeps a history."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from consentpanel import (
    ConfigurationError,
    ConsentRecord,
    ConsentStatus,
    FieldPolicy,
    InvalidRecordError,
    Mixpanel,
    RegistryError,
    carry_over,
)
from consentpanel._consent.standing import in_order, standing_of
from consentpanel.registry import CachedRegistry, CallableRegistry, MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
PURPOSES = ("analytics", "profiles", "targeting")


class FiveMethods:
    """What anybody writes: nothing that the protocol does not ask for."""

    def __init__(self) -> None:
        self.records: list[ConsentRecord] = []

    def status(self, subject_id: str, purpose: str, *, at: Any = None) -> ConsentStatus:
        return standing_of(
            [r for r in self.records if (r.subject_id, r.purpose) == (subject_id, purpose)], at=at
        ).status

    def statuses(self, subject_ids: Any, purpose: str, *, at: Any = None) -> dict[Any, ConsentStatus]:
        return {each: self.status(each, purpose, at=at) for each in subject_ids}

    def record(self, record: ConsentRecord) -> None:
        self.records.append(record)

    def history(self, subject_id: str) -> list[ConsentRecord]:
        return in_order(record for record in self.records if record.subject_id == subject_id)

    def forget(self, subject_id: str) -> None:
        self.records = [record for record in self.records if record.subject_id != subject_id]


def _callable() -> CallableRegistry:
    inner = FiveMethods()
    return CallableRegistry(inner.status, record=inner.record, history=inner.history, forget=inner.forget)


KINDS = {
    "memory": lambda path: MemoryRegistry(),
    "SQLite": SQLiteRegistry,
    "five methods": lambda path: FiveMethods(),
    "functions": lambda path: _callable(),
    "cached memory": lambda path: CachedRegistry(MemoryRegistry(), ttl=60),
    "cached five methods": lambda path: CachedRegistry(FiveMethods(), ttl=60),
    "twice cached": lambda path: CachedRegistry(CachedRegistry(FiveMethods(), ttl=60), ttl=60),
}


@pytest.fixture(params=KINDS)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    registry = KINDS[request.param](tmp_path / "consent.db")
    yield registry
    if request.param == "SQLite":
        registry.close()


def said(registry: Any, subject_id: str, purpose: str, status: ConsentStatus, days: float = 1, **fields: Any) -> Any:
    moment = datetime.now(timezone.utc) - timedelta(days=days)
    record = ConsentRecord(subject_id, purpose, status, moment, **fields)
    registry.record(record)
    return record


def test_a_denial_always_carries_and_a_grant_where_the_account_has_not_answered(registry: Any) -> None:
    # rule 2.14
    for purpose, visitors, accounts in (
        ("analytics", DENIED, GRANTED),
        ("profiles", GRANTED, None),
        ("feature_flags", GRANTED, DENIED),
        ("targeting", DENIED, None),
        ("a", GRANTED, GRANTED),
        ("b", DENIED, DENIED),
        ("c", UNKNOWN, GRANTED),
        ("d", GRANTED, UNKNOWN),
    ):
        said(registry, "visitor", purpose, visitors, 2)
        if accounts is not None:
            said(registry, "account", purpose, accounts, 1)
    carried = carry_over(registry, "visitor", "account")
    assert {record.purpose: record.status for record in carried} == {
        "analytics": DENIED,
        "profiles": GRANTED,
        "targeting": DENIED,
        "b": DENIED,
        "d": GRANTED,
    }
    found = {
        purpose: registry.status("account", purpose) for purpose in ("analytics", "profiles", "feature_flags", "a")
    }
    assert found == {"analytics": DENIED, "profiles": GRANTED, "feature_flags": DENIED, "a": GRANTED}
    assert [record for record in registry.history("account") if record.source == "login"] == carried


def test_a_carried_record_names_the_first_one_and_keeps_what_was_granted(registry: Any) -> None:
    # rule 2.14
    end = datetime.now(timezone.utc) + timedelta(days=9)
    fields = {"expires_at": end, "policy_version": "7", "jurisdiction": "DE", "source": "banner", "evidence": {"a": 1}}
    first = said(registry, "visitor", "analytics", GRANTED, **fields)
    before = datetime.now(timezone.utc)
    (record,) = carry_over(registry, "visitor", "account")
    assert (record.subject_id, record.source) == ("account", "login")
    assert record.evidence == {"record_id": first.record_id, "visitor": "visitor"}
    assert (record.expires_at, record.policy_version, record.jurisdiction) == (end, "7", "DE")
    assert record.record_id != first.record_id
    assert before <= record.recorded_at <= datetime.now(timezone.utc)
    assert registry.history("visitor") == [first]


def test_twice_carries_nothing_new_and_a_later_answer_of_the_account_stays(registry: Any) -> None:
    # rule 2.14
    said(registry, "visitor", "analytics", DENIED)
    assert len(carry_over(registry, "visitor", "account")) == 1
    assert carry_over(registry, "visitor", "account") == []
    registry.record(ConsentRecord("account", "analytics", GRANTED))
    assert carry_over(registry, "visitor", "account") == []
    assert registry.status("account", "analytics") is GRANTED
    registry.record(ConsentRecord("visitor", "analytics", DENIED))
    assert len(carry_over(registry, "visitor", "account")) == 1
    assert registry.status("account", "analytics") is DENIED


def test_a_grant_that_has_ended_does_not_carry_and_a_denial_does(registry: Any) -> None:
    past = datetime.now(timezone.utc) - timedelta(hours=1)
    said(registry, "visitor", "analytics", GRANTED, expires_at=past)
    said(registry, "visitor", "profiles", DENIED, expires_at=past)
    said(registry, "visitor", "targeting", DENIED, 2)
    said(registry, "visitor", "targeting", GRANTED, 1, expires_at=past)
    assert [(each.purpose, each.status) for each in carry_over(registry, "visitor", "account")] == [
        ("profiles", DENIED)
    ]


@pytest.mark.parametrize("kind", [MemoryRegistry, SQLiteRegistry])
def test_a_grant_under_an_older_policy_does_not_carry(tmp_path: Path, kind: Any) -> None:
    place = () if kind is MemoryRegistry else (tmp_path / "consent.db",)
    registry = kind(*place, required_policy_version="2")
    registry.grant("visitor", "analytics", policy_version="1")
    registry.grant("visitor", "profiles", policy_version="2")
    assert [record.purpose for record in carry_over(registry, "visitor", "account")] == ["profiles"]


def test_a_denial_takes_effect_over_a_grant_of_a_fast_clock(registry: Any) -> None:
    # rule 2.4
    registry.record(ConsentRecord("account", "analytics", GRANTED, datetime.now(timezone.utc) + timedelta(seconds=50)))
    said(registry, "visitor", "analytics", DENIED)
    carry_over(registry, "visitor", "account")
    assert registry.status("account", "analytics") is DENIED


def test_a_client_stops_at_once_when_a_denial_was_carried_over(registry: Any) -> None:
    said(registry, "account", "analytics", GRANTED, 2)
    mp = Mixpanel("T", FakeTransport(), registry=registry, policy=FieldPolicy())
    assert mp.track("account", "A")
    said(registry, "visitor", "analytics", DENIED)
    carry_over(registry, "visitor", "account")
    assert not mp.track("account", "A")


def test_ids_may_be_numbers_and_uuids(registry: Any) -> None:
    visitor = UUID(int=7)
    said(registry, str(visitor), "analytics", DENIED)
    assert [record.subject_id for record in carry_over(registry, visitor, 42)] == ["42"]


@pytest.mark.parametrize(("one", "other"), [("a", "a"), (42, "42"), ("", "a"), ("a", None), ("a", True)])
def test_malformed_ids_and_one_id_twice_are_errors(registry: Any, one: Any, other: Any) -> None:
    with pytest.raises(InvalidRecordError):
        carry_over(registry, one, other)


def test_what_is_no_registry_and_one_without_a_history_are_errors() -> None:
    for wrong in (None, MemoryRegistry, {"a": True}):
        with pytest.raises(ConfigurationError):
            carry_over(wrong, "visitor", "account")
    for blind in (lambda subject_id, purpose: True, CachedRegistry(lambda subject_id, purpose: True, ttl=1)):
        with pytest.raises(RegistryError, match="history"):
            carry_over(blind, "visitor", "account")


class Failing(FiveMethods):
    def record(self, record: ConsentRecord) -> None:
        if len(self.records) == 3:
            raise OSError("ada-lovelace")
        super().record(record)


@pytest.mark.parametrize("wrap", [lambda registry: registry, lambda registry: CachedRegistry(registry, ttl=9)])
def test_a_registry_that_fails_half_way_says_how_many_were_recorded(wrap: Any) -> None:
    registry = Failing()
    for purpose in ("analytics", "profiles"):
        said(registry, "visitor", purpose, DENIED)
    with pytest.raises(
        RegistryError, match=r"^only 1 of 2 records were appended: Failing.record failed: OSError$"
    ) as caught:
        carry_over(wrap(registry), "visitor", "account")
    assert caught.value.__context__ is None
    assert "ada-lovelace" not in "".join(traceback.format_exception(caught.value))


def test_all_is_recorded_or_nothing_where_the_registry_can(tmp_path: Path) -> None:
    # rule 2.13
    with SQLiteRegistry(tmp_path / "consent.db") as registry:
        registry.deny("visitor")
        registry._database.use(
            lambda connection: connection.execute(
                "CREATE TRIGGER fail BEFORE INSERT ON consent_record WHEN new.purpose = 'feature_flags'"
                " BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        )
        with pytest.raises(RegistryError):
            carry_over(registry, "visitor", "account")
        assert registry.history("account") == []


class Lives(RuleBasedStateMachine):
    """A visitor and an account that answer and log in in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = MemoryRegistry()
        #: What was answered last on either side and is not yet carried.
        self.expected: dict[tuple[str, str], ConsentStatus] = {}
        self.fresh: set[str] = set()

    @rule(
        who=st.sampled_from(["visitor", "account"]),
        purpose=st.sampled_from(PURPOSES),
        status=st.sampled_from([GRANTED, DENIED]),
    )
    def answer(self, who: str, purpose: str, status: ConsentStatus) -> None:
        (self.registry.grant if status is GRANTED else self.registry.deny)(who, purpose)
        self.expected[who, purpose] = status
        if who == "visitor":
            self.fresh.add(purpose)

    @rule()
    def log_in(self) -> None:
        carried = {record.purpose: record.status for record in carry_over(self.registry, "visitor", "account")}
        due = {}
        for purpose in self.fresh:
            status = self.expected["visitor", purpose]
            if status is DENIED or ("account", purpose) not in self.expected:
                due[purpose] = status
                self.expected["account", purpose] = status
        # A grant that could not be carried may never be: the account has an answer of its own.
        self.fresh.clear()
        assert carried == due

    @invariant()
    def answers(self) -> None:
        for (who, purpose), status in self.expected.items():
            assert self.registry.status(who, purpose) is status


Lives.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestLives = Lives.TestCase


def test_a_denial_that_is_said_meanwhile_outlives_what_is_carried_over():
    # rule 2.14

    class Meanwhile(MemoryRegistry):
        says = False

        def history(self, subject_id):
            found = super().history(subject_id)
            if subject_id == "user-1" and self.says:
                self.deny("user-1", "analytics", source="gpc")
            return found

    registry = Meanwhile()
    registry.grant("visitor-7", "analytics")
    registry.says = True
    carry_over(registry, "visitor-7", "user-1")
    assert registry.status("user-1", "analytics") is ConsentStatus.DENIED
