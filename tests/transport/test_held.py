"""Messages of people who were never asked wait, and leave only if these agree that they may (contract rule 8.10)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import mixpanel
import pytest

import consentpanel
from consentpanel import (
    BackgroundConsumer,
    BufferedConsumer,
    ConfigurationError,
    ConsentRecord,
    ConsentStatus,
    Decision,
    FieldPolicy,
    InvalidRecordError,
    Mixpanel,
    Purpose,
    Regime,
    SpoolConsumer,
    keep,
)
from consentpanel.registry import CachedRegistry, MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport
from consentpanel.transport import _holding, _spool

pytestmark = pytest.mark.usefixtures("_no_pause")
WHO = "visitor-4711"
KINDS = ("buffered", "background", "spool", "fake")


@attrs.define
class Shop:
    """A client that holds, the vendor behind it, and what its observers were told."""

    registry: MemoryRegistry
    vendor: FakeTransport
    build: Callable[..., Any]
    told: list[Decision] = attrs.Factory(list)

    def client(self, **given: Any) -> Mixpanel:
        keywords: dict[str, Any] = {
            "registry": self.registry,
            "policy": FieldPolicy(events={"plan": keep(), "ad": keep(purpose="targeting")}, people={"plan": keep()}),
            "observers": [self.told.append],
            "while_unknown": "hold",
        }
        return Mixpanel("TOKEN", self.build(), **{**keywords, **given})

    def said(self) -> list[tuple[str, str]]:
        return [(str(each.outcome), str(each.reason)) for each in self.told]


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    vendor = FakeTransport()
    kind = getattr(request, "param", "background")
    made: list[Any] = []

    def build() -> Any:
        made.append(
            {
                "buffered": lambda: BufferedConsumer(consumer=vendor),
                "background": lambda: BackgroundConsumer(consumer=vendor, linger=0.01),
                "spool": lambda: SpoolConsumer(tmp_path / "spool.db", consumer=vendor, linger=0.01),
                "fake": lambda: vendor,
            }[kind]()
        )
        return made[-1]

    yield Shop(MemoryRegistry(), vendor, build)
    for each in made:
        if kind != "fake":
            each.close()


every_kind = pytest.mark.parametrize("shop", KINDS, indirect=True)


@every_kind
def test_a_sign_up_leaves_with_its_own_time_once_the_visitor_agrees_that_it_may(shop: Shop) -> None:
    mp = shop.client()
    mp._now = lambda: 1_700_000_000  # type: ignore[method-assign]
    decision = mp.track(WHO, "Signed up", {"plan": "pro", "secret": "x"})
    assert (decision.outcome, decision.reason) == ("held", "awaiting_consent")
    assert decision.status is ConsentStatus.UNKNOWN
    assert not decision
    assert mp.people_set(WHO, {"plan": "pro"}).outcome == "held"
    mp.flush()
    assert shop.vendor.messages == []
    assert mp.stats() == {"held": {"awaiting_consent": 2}}
    shop.registry.grant(WHO, covers_held=True, source="signup-form")
    mp.flush()
    message = shop.vendor.assert_tracked("Signed up", distinct_id=WHO, properties={"plan": "pro"})
    assert message.properties["time"] == 1_700_000_000
    assert "secret" not in message.properties
    shop.vendor.assert_people_set(WHO, {"plan": "pro"})
    assert mp.stats() == {"redacted": {"consent_granted": 1}, "sent": {"consent_granted": 1}}
    assert sorted(shop.said()) == [
        ("held", "awaiting_consent"),
        ("held", "awaiting_consent"),
        ("redacted", "consent_granted"),
        ("sent", "consent_granted"),
    ]
    for record in shop.registry.history(WHO):
        assert record.evidence == {"held": True}


@every_kind
def test_a_grant_that_does_not_say_so_lets_nothing_leave_that_was_held(shop: Shop) -> None:
    mp = shop.client()
    mp.track(WHO, "Before")
    shop.registry.grant(WHO)
    assert mp.track(WHO, "After")
    mp.flush()
    assert [message.event for message in shop.vendor.events] == ["After"]
    shop.registry.grant(WHO, covers_held=True)
    mp.flush()
    shop.vendor.assert_tracked("Before")


@every_kind
def test_a_denial_erases_what_was_held_with_its_reason(shop: Shop) -> None:
    mp = shop.client()
    mp.track(WHO, "Viewed")
    shop.registry.grant(WHO, covers_held=True)
    shop.registry.deny(WHO)
    # However the next answer reads, that no came after the message.
    shop.registry.grant(WHO, covers_held=True)
    mp.flush()
    assert shop.vendor.messages == []
    assert shop.said() == [("held", "awaiting_consent"), ("dropped", "withdrawn")]
    assert mp.stats() == {"dropped": {"withdrawn": 1}}


@every_kind
def test_withdraw_erases_what_was_held_at_once(shop: Shop) -> None:
    mp = shop.client()
    mp.track(WHO, "Viewed")
    mp.track("another", "Viewed")
    mp.withdraw(WHO)
    shop.registry.grant(WHO, covers_held=True)
    shop.registry.grant("another", covers_held=True)
    mp.flush()
    assert [message.distinct_id for message in shop.vendor.messages if message.distinct_id == WHO] == []
    assert [message.distinct_id for message in shop.vendor.events] == ["another"]


@every_kind
def test_what_nobody_answers_for_is_given_up_after_hold_for(shop: Shop) -> None:
    mp = shop.client(hold_for=0.02)
    mp.track(WHO, "Viewed")
    time.sleep(0.03)
    shop.registry.grant(WHO, covers_held=True)
    mp.flush()
    assert shop.vendor.messages == []
    assert shop.said() == [("held", "awaiting_consent"), ("dropped", "not_answered")]
    assert mp.stats() == {"dropped": {"not_answered": 1}}


@every_kind
def test_opt_in_that_covers_it_sends_what_was_held(shop: Shop) -> None:
    mp = shop.client()
    mp.track(WHO, "Signed up")
    assert mp.opt_in(WHO, covers_held=True)
    mp.flush()
    assert {message.event for message in shop.vendor.events} == {"Signed up", "$opt_in"}


@every_kind
def test_only_somebody_who_was_never_asked_is_waited_for(shop: Shop) -> None:
    mp = shop.client()
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    shop.registry.deny("denied")
    shop.registry.grant("expired", recorded_at=yesterday, expires_at=yesterday + timedelta(hours=1))
    shop.registry.record(ConsentRecord("device", Purpose.ANALYTICS, ConsentStatus.DENIED))
    assert mp.track("denied", "Viewed").reason == "withdrawn"
    assert mp.track("expired", "Viewed").reason == "expired"
    assert mp.track(WHO, "Viewed", {"$device_id": "device"}).outcome == "dropped"
    assert mp.track("", "Viewed").reason == "invalid_id"
    assert "held" not in mp.stats()


@every_kind
def test_a_registry_that_fails_holds_nothing_and_loses_nothing_that_is_held(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    mp = shop.client()
    mp.track(WHO, "Held")
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise OSError("down")

        patch.setattr(MemoryRegistry, "standing", fail)
        patch.setattr(MemoryRegistry, "standings", fail)
        assert mp.track(WHO, "Lost").reason == "registry_error"
        mp.flush()
        assert shop.vendor.messages == []
    shop.registry.grant(WHO, covers_held=True)
    mp.flush()
    assert [message.event for message in shop.vendor.events] == ["Held"]


@every_kind
def test_each_person_of_a_message_has_to_agree(shop: Shop) -> None:
    mp = shop.client()
    assert mp.alias("account", WHO).outcome == "held"
    shop.registry.grant(WHO, covers_held=True)
    mp.flush()
    assert shop.vendor.messages == []
    shop.registry.grant("account", covers_held=True)
    mp.flush()
    assert [message.event for message in shop.vendor.events] == ["$create_alias"]


@every_kind
def test_a_property_that_is_bound_to_another_purpose_is_not_held_with_the_event(shop: Shop) -> None:
    # rule 3.14
    mp = shop.client()
    decision = mp.track(WHO, "Viewed", {"plan": "pro", "ad": "spring"})
    assert decision.dropped == {"ad": "no_consent"}
    shop.registry.grant(WHO, "analytics", "targeting", covers_held=True)
    mp.flush()
    message = shop.vendor.assert_tracked("Viewed", properties={"plan": "pro"})
    assert "ad" not in message.properties


@every_kind
def test_what_only_takes_data_away_is_sent_at_once(shop: Shop) -> None:
    # rule 2.9
    mp = shop.client()
    assert mp.people_unset(WHO, ["plan"])
    mp.flush()
    assert len(shop.vendor.people) == 1


@every_kind
def test_an_event_of_the_past_of_somebody_never_asked_waits_too(shop: Shop) -> None:
    # rule 2.8
    mp = shop.client()
    assert mp.track(WHO, "Viewed", {"time": time.time() - 3600}).outcome == "held"
    shop.registry.grant(WHO, covers_held=True)
    mp.flush()
    shop.vendor.assert_tracked("Viewed")


@every_kind
def test_where_silence_is_no_objection_nothing_is_held(shop: Shop) -> None:
    mp = shop.client(regime=Regime.OPT_OUT)
    assert mp.track(WHO, "Viewed").reason == "not_denied"


@every_kind
def test_without_hold_the_message_is_dropped_as_ever(shop: Shop) -> None:
    mp = shop.client(while_unknown="drop")
    assert mp.track(WHO, "Viewed").reason == "no_consent"
    shop.registry.grant(WHO, covers_held=True)
    mp.flush()
    assert shop.vendor.messages == []


def test_a_thread_looks_for_answers_by_itself(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_holding, "_LOOK", 0.02)
    mp = shop.client()
    mp.track(WHO, "Viewed")
    time.sleep(0.1)
    shop.registry.grant(WHO, covers_held=True)
    end = time.monotonic() + 10
    while not shop.vendor.messages and time.monotonic() < end:
        time.sleep(0.01)
    shop.vendor.assert_tracked("Viewed")


def test_the_oldest_make_room_and_are_told(registry_of_one: MemoryRegistry) -> None:
    told: list[Decision] = []
    vendor = FakeTransport()
    consumer = BufferedConsumer(consumer=vendor, max_size=1, max_buffered=3)
    mp = Mixpanel(
        "T",
        consumer,
        registry=registry_of_one,
        policy=FieldPolicy(),
        observers=[told.append],
        while_unknown="hold",
    )
    for number in range(5):
        mp.track(f"visitor-{number}", f"E{number}")
    assert [(each.event, str(each.reason)) for each in told if each.outcome == "dropped"] == [
        ("E0", "not_answered"),
        ("E1", "not_answered"),
    ]
    for number in range(5):
        registry_of_one.grant(f"visitor-{number}", covers_held=True)
    mp.flush()
    assert [message.event for message in vendor.events] == ["E2", "E3", "E4"]


@pytest.fixture
def registry_of_one() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.mark.parametrize("shop", ["buffered", "background"], indirect=True)
def test_the_end_of_a_buffer_gives_up_what_is_held_and_says_so(shop: Shop) -> None:
    mp = shop.client()
    mp.track(WHO, "Viewed")
    mp.track("agreed", "Viewed")
    shop.registry.grant("agreed", covers_held=True)
    mp.close()
    assert [message.distinct_id for message in shop.vendor.events] == ["agreed"]
    assert ("dropped", "not_answered") in shop.said()


def test_a_file_keeps_what_is_held_for_the_next_process(tmp_path: Path) -> None:
    SQLiteRegistry(tmp_path / "consent.db")
    program = """
import os, sys
from consentpanel import FieldPolicy, Mixpanel, SpoolConsumer
from consentpanel.registry import SQLiteRegistry
registry = SQLiteRegistry("consent.db")
mp = Mixpanel("TOKEN", SpoolConsumer("spool.db"), registry=registry, policy=FieldPolicy(), while_unknown="hold")
assert mp.track("visitor-4711", "Signed up").outcome == "held"
os._exit(0)
"""
    source = str(Path(consentpanel.__file__).parents[1])
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": source}, check=True)
    registry, vendor = SQLiteRegistry(tmp_path / "consent.db"), FakeTransport()
    told: list[Decision] = []
    consumer = SpoolConsumer(tmp_path / "spool.db", consumer=vendor)
    # This one need not hold itself to deliver what others hold.
    mp = Mixpanel("TOKEN", consumer, registry=registry, policy=FieldPolicy(), observers=[told.append])
    mp.flush()
    assert vendor.messages == []
    registry.grant(WHO, covers_held=True)
    mp.flush()
    vendor.assert_tracked("Signed up", distinct_id=WHO)
    consumer.close()
    assert [(str(each.outcome), each.event) for each in told] == [("sent", "Signed up")]
    assert WHO.encode() not in b"".join(each.read_bytes() for each in tmp_path.glob("spool.db*"))


def test_withdrawal_in_any_process_erases_what_a_file_holds(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    clients = [
        Mixpanel(
            "TOKEN",
            SpoolConsumer(tmp_path / "spool.db", consumer=FakeTransport(), linger=9),
            registry=registry,
            policy=FieldPolicy(),
            while_unknown="hold",
        )
        for _ in range(2)
    ]
    clients[0].track(WHO, "Viewed")
    assert WHO.encode() in b"".join(each.read_bytes() for each in tmp_path.glob("spool.db*"))
    assert clients[1].withdraw(WHO).discarded == 1
    for each in clients:
        each.close()
    assert WHO.encode() not in b"".join(each.read_bytes() for each in tmp_path.glob("spool.db*"))


def test_a_file_with_more_than_one_look_takes_is_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spool, "MAX_BATCH_MESSAGES", 3)
    registry, vendor = MemoryRegistry(), FakeTransport()
    consumer = SpoolConsumer(tmp_path / "spool.db", consumer=vendor, linger=9)
    mp = Mixpanel("TOKEN", consumer, registry=registry, policy=FieldPolicy(), while_unknown="hold")
    for number in range(8):
        mp.track(f"visitor-{number}", "Viewed")
    registry.grant("visitor-7", covers_held=True)
    for _ in range(4):
        consumer.look_at_held()
    mp.flush()
    assert [message.distinct_id for message in vendor.events] == ["visitor-7"]
    consumer.close()


@every_kind
def test_a_cached_registry_is_asked_for_the_words_of_the_grant(shop: Shop) -> None:
    cached = CachedRegistry(shop.registry, ttl=60)
    mp = shop.client(registry=cached)
    mp.track(WHO, "Viewed")
    cached.grant(WHO, covers_held=True)
    mp.flush()
    shop.vendor.assert_tracked("Viewed")


class Sender:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, endpoint: str, message: str) -> None:
        self.sent.append(message)


class SendsAtOnce(BackgroundConsumer):
    def __init__(self) -> None:
        super().__init__(consumer=FakeTransport())
        self.sent: list[str] = []

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        self.sent.append(json_message)


@pytest.mark.parametrize("make", [Sender, SendsAtOnce, mixpanel.BufferedConsumer, lambda: None])
def test_a_consumer_that_could_not_keep_a_message_back_is_refused(make: Any) -> None:
    # rule 1.8
    with pytest.raises(ConfigurationError, match="while_unknown"):
        Mixpanel("T", make(), registry=MemoryRegistry(), policy=FieldPolicy(), while_unknown="hold")


def test_where_nobody_could_see_that_before_the_message_is_dropped_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    consentpanel.reset()
    consentpanel.configure(registry=MemoryRegistry(), policy=FieldPolicy(), while_unknown="hold", hold_for=60)
    consumer = SendsAtOnce()
    mp = Mixpanel("T", consumer)
    assert mp.track(WHO, "Viewed").reason == "no_consent"
    assert mp.track(WHO, "Viewed").reason == "no_consent"
    assert consumer.sent == []
    assert len([record for record in caplog.records if "while_unknown" in record.getMessage()]) == 1
    mp._consumer = vendor = FakeTransport()
    assert mp.track(WHO, "Viewed").outcome == "held"
    assert vendor.messages == []
    consentpanel.reset()


@pytest.mark.parametrize(
    "arguments",
    [
        {"while_unknown": "keep"},
        {"while_unknown": True},
        {"hold_for": 0},
        {"hold_for": -1},
        {"hold_for": True},
        {"hold_for": "1h"},
    ],
)
def test_a_wrong_argument_is_a_configuration_error(arguments: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        Mixpanel("T", FakeTransport(), **arguments)


def test_only_a_grant_can_say_that_it_covers_what_was_held() -> None:
    registry = MemoryRegistry()
    with pytest.raises(InvalidRecordError, match="covers_held"):
        registry.deny(WHO, covers_held=True)
    with pytest.raises(InvalidRecordError, match="covers_held"):
        registry.grant(WHO, covers_held="yes")  # type: ignore[arg-type]
    registry.grant(WHO, covers_held=True, evidence={"form": "7"})
    assert registry.history(WHO)[-1].evidence == {"form": "7", "held": True}
    assert registry.history(WHO)[0].status is ConsentStatus.GRANTED


class FiveMethods:
    """A registry of somebody's, which knows the fields of a record alone."""

    def __init__(self) -> None:
        self.inner = MemoryRegistry()

    def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        return self.inner.status(subject_id, purpose, at=at)

    def statuses(self, subject_ids: Any, purpose: str, *, at: datetime | None = None) -> dict[Any, ConsentStatus]:
        return self.inner.statuses(subject_ids, purpose, at=at)

    def record(self, record: ConsentRecord) -> None:
        self.inner.record(record)

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        return self.inner.history(subject_id)

    def forget(self, subject_id: Any) -> None:
        self.inner.forget(subject_id)


@every_kind
def test_a_registry_of_five_methods_is_told_and_asked_in_its_own_words(shop: Shop) -> None:
    mp = shop.client(registry=FiveMethods())
    mp.track(WHO, "Viewed")
    mp.opt_in(WHO, covers_held=True)
    mp.flush()
    assert {message.event for message in shop.vendor.events} == {"Viewed", "$opt_in"}
