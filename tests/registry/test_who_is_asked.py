"""Which method of a registry is asked, and what becomes of a withdrawal that a registry makes hard."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any
from unittest import mock

import pytest

from consentpanel import (
    BufferedConsumer,
    ConsentRecord,
    ConsentStatus,
    FieldPolicy,
    Mixpanel,
    Outcome,
    Reason,
    RegistryError,
    keep,
)
from consentpanel.registry import CachedRegistry, CallableRegistry, MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport

POLICY = FieldPolicy(events={"plan": keep()})
NOW = datetime.now(timezone.utc)


class AgeGate(MemoryRegistry):
    """A registry of the package with a word of its own."""

    def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        return ConsentStatus.DENIED if subject_id == "minor" else super().status(subject_id, purpose, at=at)


def test_a_subclass_that_overrides_status_is_asked_by_it() -> None:
    # rule 2.3
    registry = AgeGate()
    registry.grant("minor")
    registry.grant("user-1")
    for each in (registry, CachedRegistry(registry, ttl=5)):
        mp = Mixpanel("TOKEN", FakeTransport(), registry=each, policy=POLICY)
        assert mp.track("minor", "Paid").outcome is Outcome.DROPPED
        assert mp.alias("minor", "user-1").outcome is Outcome.DROPPED
        assert mp.track("user-1", "Paid").outcome is Outcome.SENT


def test_a_registry_is_looked_at_for_each_question() -> None:
    # rules 1.4 and 2.3: it may be a proxy for the one of a tenant, and a test may put another method over one
    class Proxy:
        def __getattr__(self, name: str) -> Any:
            return getattr(present[0], name)

    yes, no = MemoryRegistry(), MemoryRegistry()
    yes.grant("user-1")
    no.deny("user-1")
    present = [yes]
    mp = Mixpanel("TOKEN", FakeTransport(), registry=Proxy(), policy=POLICY)
    assert mp.track("user-1", "Paid")
    present[0] = no
    assert mp.track("user-1", "Paid").reason is Reason.WITHDRAWN
    direct = Mixpanel("TOKEN", FakeTransport(), registry=yes, policy=POLICY)
    assert direct.track("user-1", "Paid")
    with mock.patch.object(yes, "status", return_value=ConsentStatus.DENIED):
        assert direct.track("user-1", "Paid").reason is Reason.WITHDRAWN
    with mock.patch.object(yes, "standing", side_effect=OSError):
        assert direct.track("user-1", "Paid").reason is Reason.REGISTRY_ERROR
    assert direct.track("user-1", "Paid")
    with mock.patch.object(MemoryRegistry, "status", return_value=ConsentStatus.DENIED):
        assert direct.track("user-1", "Paid").reason is Reason.WITHDRAWN
    with mock.patch.object(MemoryRegistry, "standing", side_effect=OSError):
        assert direct.track("user-1", "Paid").reason is Reason.REGISTRY_ERROR
    assert direct.track("user-1", "Paid")


@pytest.mark.parametrize("kind", ["memory", "sqlite", "cached"])
def test_a_withdrawal_holds_whatever_time_it_is_given(kind: str, tmp_path: Any) -> None:
    # rules 2.3, 2.4 and 7.1
    with SQLiteRegistry(tmp_path / "consent.db") as file:
        inner: Any = file if kind == "sqlite" else MemoryRegistry()
        inner.grant("user-1")
        registry = CachedRegistry(inner, ttl=60) if kind == "cached" else inner
        mp = Mixpanel("TOKEN", FakeTransport(), registry=registry, policy=POLICY)
        mp.withdraw("user-1", recorded_at=NOW - timedelta(days=3))
        assert mp.track("user-1", "Paid").reason is Reason.WITHDRAWN


@pytest.mark.parametrize("history", [mock.Mock(side_effect=OSError), mock.Mock(return_value=["a row"])])
def test_a_withdrawal_is_recorded_though_the_history_cannot_be_read(history: mock.Mock) -> None:
    # rules 2.13 and 7.1: the call says so, and the denial holds
    records: list[ConsentRecord] = []
    registry = CallableRegistry(lambda *_: True, record=records.append, history=history)
    mp = Mixpanel("TOKEN", FakeTransport(), registry=registry, policy=POLICY, purposes={"Ad": "targeting"})
    with pytest.raises(RegistryError, match="recorded for analytics, profiles, feature_flags, targeting; what else"):
        mp.withdraw("user-1")
    assert {str(each.purpose) for each in records} == {"analytics", "profiles", "feature_flags", "targeting"}
    assert {each.status for each in records} == {ConsentStatus.DENIED}
    records.clear()
    mp.withdraw("user-1", ["analytics"])
    assert len(records) == 1


def test_a_registry_that_raises_an_error_of_ours_is_told_by_its_type() -> None:
    # rule 7.1
    other = Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry(), on_error="raise")

    class Registry:
        def status(self, subject_id: str, purpose: str, *, at: object = None) -> ConsentStatus:
            return ConsentStatus.GRANTED

        def record(self, record: ConsentRecord) -> None:
            other.track("", "Recorded")

    with pytest.raises(RegistryError, match=r"Registry\.record failed: MessageError") as raised:
        Mixpanel("TOKEN", FakeTransport(), registry=Registry(), policy=POLICY).withdraw("user-1")
    assert raised.value.__context__ is None


class P(str, Enum):
    ADS = "ads"


@pytest.mark.parametrize("kind", ["memory", "sqlite", "cached", "cached sqlite"])
def test_a_purpose_that_is_an_enum_of_texts_is_its_text(kind: str, tmp_path: Any) -> None:
    # rules 2.1, 2.12 and 7.1
    with SQLiteRegistry(tmp_path / "consent.db") as file:
        inner: Any = file if "sqlite" in kind else MemoryRegistry()
        registry = CachedRegistry(inner, ttl=60) if "cached" in kind else inner
        consumer = BufferedConsumer(consumer=FakeTransport())
        mp = Mixpanel("T", consumer, registry=registry, policy=POLICY, purposes={"Ad clicked": P.ADS})
        assert registry.status("u", P.ADS) is ConsentStatus.UNKNOWN
        assert registry.status("u", "ads") is ConsentStatus.UNKNOWN
        registry.grant("u", P.ADS)
        assert {registry.status("u", each) for each in (P.ADS, "ads")} == {ConsentStatus.GRANTED}
        assert registry.statuses(["u"], P.ADS) == {"u": ConsentStatus.GRANTED}
        assert registry.ends_at("u", P.ADS) is None
        assert mp.track("u", "Ad clicked")
        assert consumer.purge("u", [P.ADS]) == 1
        assert mp.withdraw("u", [P.ADS]).purposes == ("ads",)
        assert mp.track("u", "Ad clicked").reason is Reason.WITHDRAWN


class NotThereYet:
    """As a proxy over what an application sets up later."""

    registry: Any = None

    def __getattr__(self, name: str) -> Any:
        if self.registry is None:
            raise RuntimeError("db ada@shop.example")
        return getattr(self.registry, name)


def test_a_registry_that_is_not_there_yet_is_asked_when_it_is() -> None:
    # rules 1.8 and 7.1
    proxy = NotThereYet()
    consumer = BufferedConsumer(consumer=FakeTransport())
    mp = Mixpanel("T", consumer, registry=proxy, policy=POLICY)
    assert mp.track("user-1", "Paid").reason is Reason.REGISTRY_ERROR
    proxy.registry = MemoryRegistry()
    proxy.registry.grant("user-1")
    assert mp.track("user-1", "Paid")
    there, proxy.registry = proxy.registry, None
    with pytest.raises(RegistryError) as raised:
        mp.withdraw("user-1")
    assert "ada" not in str(raised.value)
    assert not consumer.purge("user-1")
    proxy.registry = there
    assert mp.withdraw("user-1").purposes
