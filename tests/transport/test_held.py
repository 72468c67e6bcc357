"""Messages of people who were never asked wait, and leave only if these agree that they may (contract rule 8.10)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
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
def test_an_event_of_the_past_is_not_held_because_consent_must_have_held_then(shop: Shop) -> None:
    # rule 2.8
    mp = shop.client()
    assert mp.track(WHO, "Viewed", {"time": time.time() - 3600}).outcome == "dropped"
    assert mp.import_data("key", WHO, "Viewed", time.time() - 400 * 86_400).outcome == "dropped"


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


@every_kind
def test_an_answer_that_a_registry_of_five_methods_no_longer_tells_is_no_silence(shop: Shop) -> None:
    # By rule 2.4 a grant that has expired is unknown.
    registry = FiveMethods()
    past = datetime.now(timezone.utc) - timedelta(days=400)
    registry.inner.grant(WHO, covers_held=True, recorded_at=past, expires_at=past + timedelta(days=365))
    mp = shop.client(registry=registry)
    assert mp.track(WHO, "Viewed").reason == "no_consent"
    shop.registry.record(ConsentRecord(WHO, Purpose.ANALYTICS, ConsentStatus.UNKNOWN))
    assert shop.client().track(WHO, "Viewed").reason == "no_consent"


class NoHistory:
    def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        return ConsentStatus.UNKNOWN


@every_kind
@pytest.mark.parametrize("registry", [NoHistory(), lambda subject, purpose: None], ids=["class", "function"])
def test_a_registry_without_a_history_holds_nothing_and_says_so_once(
    shop: Shop, registry: Any, caplog: pytest.LogCaptureFixture
) -> None:
    consentpanel.reset()
    mp = shop.client(registry=registry)
    for _ in range(3):
        assert mp.track(WHO, "Viewed").reason == "no_consent"
    assert len([record for record in caplog.records if "history(subject_id)" in record.getMessage()]) == 1


@every_kind
def test_a_no_after_the_release_and_before_the_sending_counts_though_a_yes_follows(shop: Shop) -> None:
    if isinstance(shop.build(), FakeTransport):
        pytest.skip("it sends at once")
    mp = shop.client()
    mp.track(WHO, "Viewed")
    shop.registry.grant(WHO, covers_held=True)
    shop.vendor.fail(times=None)
    with suppress(mixpanel.MixpanelException):
        mp.flush()
    shop.registry.deny(WHO)
    shop.registry.grant(WHO)
    shop.vendor.fail(times=0)
    end = time.monotonic() + 10
    while shop.said()[-1] != ("dropped", "withdrawn") and time.monotonic() < end:
        with suppress(mixpanel.MixpanelException):
            mp.flush()
    assert shop.vendor.messages == []
    assert shop.said()[-1] == ("dropped", "withdrawn")


@every_kind
def test_who_had_agreed_before_need_not_say_so_again(shop: Shop) -> None:
    mp = shop.client(purposes={"Ad clicked": ("analytics", "targeting")})
    shop.registry.grant(WHO, "analytics")
    shop.registry.grant("account")
    assert mp.track(WHO, "Ad clicked").outcome == "held"
    assert mp.alias("account", "visitor").outcome == "held"
    shop.registry.grant(WHO, "targeting", covers_held=True)
    shop.registry.grant("visitor", covers_held=True)
    mp.flush()
    assert {message.event for message in shop.vendor.events} == {"Ad clicked", "$create_alias"}


@every_kind
def test_a_registry_that_fails_for_one_of_two_questions_loses_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # rules 2.6 and 8.4
    mp = shop.client(purposes={"Ad clicked": ("analytics", "targeting")})
    mp.track(WHO, "Ad clicked")
    real = MemoryRegistry.standing

    def fail(self: Any, subject_id: Any, purpose: str, **keywords: Any) -> Any:
        if purpose == "targeting":
            raise OSError("down")
        return real(self, subject_id, purpose, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryRegistry, "standing", fail)
        patch.setattr(MemoryRegistry, "standings", None)
        mp.flush()
    assert shop.said() == [("held", "awaiting_consent")]
    shop.registry.grant(WHO, "analytics", "targeting", covers_held=True)
    mp.flush()
    shop.vendor.assert_tracked("Ad clicked")


@every_kind
def test_an_answer_that_came_in_time_counts_when_it_is_looked_at_later(shop: Shop) -> None:
    mp = shop.client(hold_for=0.5)
    mp.track(WHO, "Viewed")
    shop.registry.grant(WHO, covers_held=True)
    time.sleep(0.6)
    mp.flush()
    shop.vendor.assert_tracked("Viewed")


@every_kind
def test_of_two_updates_of_a_profile_the_later_one_arrives_later(shop: Shop) -> None:
    # rule 8.2
    mp = shop.client()
    mp.people_set(WHO, {"plan": "free"})
    shop.registry.grant(WHO, covers_held=True)
    mp.people_set(WHO, {"plan": "pro"})
    mp.flush()
    said = [message.properties["$set"]["plan"] for message in shop.vendor.people]
    assert said == (["pro", "free"] if isinstance(mp._consumer, FakeTransport) else ["free", "pro"])


@every_kind
def test_a_profile_that_was_deleted_does_not_come_back(shop: Shop) -> None:
    mp = shop.client()
    if isinstance(mp._consumer, FakeTransport):
        pytest.skip("it keeps no order")
    mp.people_set(WHO, {"plan": "free"})
    mp.people_delete(WHO)
    shop.registry.grant(WHO, covers_held=True)
    mp.flush()
    assert [list(message.properties) for message in shop.vendor.people] == [["$delete"]]
    assert ("dropped", "not_answered") in shop.said()


@pytest.mark.parametrize("where", ["instance", "seal", "class"])
@pytest.mark.parametrize("shop", ["buffered", "background", "spool"], indirect=True)
def test_nothing_is_held_by_a_consumer_whose_send_somebody_has_replaced(
    shop: Shop, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A copy of the text would be sent at once, or without anybody being asked again.
    mp = shop.client()
    consumer = mp._sealed._SealedTransport__consumer  # type: ignore[attr-defined]
    real = type(consumer).send

    def copies(*arguments: Any) -> None:
        *mine, endpoint, text = arguments[:3] if where == "class" else (consumer, *arguments[:2])
        real(*mine, endpoint, json.dumps(json.loads(text)))

    if where == "class":
        monkeypatch.setattr(type(consumer), "send", copies)
    else:
        (consumer if where == "instance" else mp._consumer).send = copies
    assert mp.track(WHO, "Viewed").reason == "no_consent"
    monkeypatch.undo()
    mp.flush()
    assert shop.vendor.messages == []


class Slow(MemoryRegistry):
    """Takes its time over several people."""

    pause = 0.05

    def standings(self, *arguments: Any, **keywords: Any) -> Any:
        time.sleep(self.pause)
        return super().standings(*arguments, **keywords)


@pytest.mark.parametrize("shop", ["background", "spool"], indirect=True)
def test_what_is_over_during_a_look_is_told_as_well(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    # rules 4.1 and 4.4
    for module in (_holding, _spool):
        monkeypatch.setattr(module, "_LOOK", 0.02)
        monkeypatch.setattr(module, "_RELAXED", 0.1)
    shop.registry = Slow()
    mp = shop.client(hold_for=0.15)
    for number in range(60):
        mp.track(f"visitor-{number}", "Viewed")
        time.sleep(0.01)
    time.sleep(0.2)
    mp.flush()
    assert mp.stats() == {"dropped": {"not_answered": 60}}
    assert len(shop.told) == 120


def test_processes_of_two_projects_leave_to_each_other_what_they_hold(tmp_path: Path) -> None:
    told: dict[str, list[Decision]] = {"ONE": [], "TWO": []}
    consumers = [SpoolConsumer(tmp_path / "spool.db", consumer=FakeTransport(), linger=9) for _ in told]
    clients = [
        Mixpanel(
            token, each, registry=MemoryRegistry(), policy=FieldPolicy(), observers=[told[token].append],
            while_unknown="hold", hold_for=0.05,
        )
        for token, each in zip(told, consumers, strict=True)
    ]  # fmt: skip
    for mp in clients:
        mp.track(WHO, "Viewed")
    time.sleep(0.1)
    for mp in (*clients, *reversed(clients)):
        mp.flush()
    assert [[str(each.reason) for each in said] for said in told.values()] == [["awaiting_consent", "not_answered"]] * 2
    for each in consumers:
        each.close()


def test_what_another_process_lets_leave_or_erases_is_counted_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # rule 4.4
    registry, vendor = MemoryRegistry(), FakeTransport()
    told: list[list[Decision]] = [[], []]
    consumers = [SpoolConsumer(tmp_path / "spool.db", consumer=vendor, linger=9) for _ in told]
    one, other = (
        Mixpanel(
            "T", each, registry=registry, policy=FieldPolicy(), observers=[said.append], while_unknown="hold"
        )
        for each, said in zip(consumers, told, strict=True)
    )  # fmt: skip
    for number in range(5):
        one.track(f"visitor-{number}", "Viewed")
    for number in range(5):
        (registry.grant if number < 3 else registry.deny)(
            f"visitor-{number}", **({"covers_held": True} if number < 3 else {})
        )
    other.flush()
    assert len(vendor.events) == 3
    monkeypatch.setattr(_spool, "_SELDOM", 0.0)
    consumers[0]._spool._next_look["rare"] = 0.0
    one.flush()
    assert one.stats() == {"sent": {"consent_granted": 3}, "dropped": {"withdrawn": 2}}
    assert [str(each.outcome) for each in told[0]] == ["held"] * 5
    assert sorted(str(each.outcome) for each in told[1]) == ["dropped"] * 2 + ["sent"] * 3
    for each in consumers:
        each.close()


def test_a_flush_waits_for_what_was_agreed_to_while_a_thread_looks() -> None:
    registry, vendor = MemoryRegistry(), FakeTransport()

    def dawdle(decision: Decision) -> None:
        if decision:
            time.sleep(0.001)

    consumer = BackgroundConsumer(consumer=vendor, linger=0.05)
    mp = Mixpanel(
        "T", consumer, registry=registry, policy=FieldPolicy(), observers=[dawdle], while_unknown="hold"
    )  # fmt: skip
    for number in range(300):
        mp.track(f"visitor-{number}", "Viewed")
    for number in range(300):
        registry.grant(f"visitor-{number}", covers_held=True)
    time.sleep(0.5)
    consumer.flush(30)
    assert len(vendor.events) == 300
    assert mp.stats() == {"sent": {"consent_granted": 300}}
    consumer.close()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals of POSIX")
@pytest.mark.parametrize("shop", ["buffered", "background"], indirect=True)
def test_a_signal_handler_that_tracks_disturbs_no_look_and_no_withdrawal(shop: Shop) -> None:
    # rule 8.5
    mp = shop.client()
    calls = []
    for number in range(1_000):
        mp.track(f"visitor-{number}", "Viewed")

    def handle(*_: object) -> None:
        calls.append(mp.track(f"late-{len(calls)}", "Viewed").outcome)

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for number in range(60):
            mp.withdraw(f"visitor-{number}")
        mp.flush()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(calls) == {"held"}
    assert mp.stats() == {"held": {"awaiting_consent": 940 + len(calls)}, "dropped": {"withdrawn": 60}}


def test_a_slow_registry_keeps_a_flush_and_the_end_no_longer_than_they_may_wait() -> None:
    # rule 5.2
    registry = Slow()
    consumer = BackgroundConsumer(consumer=FakeTransport(), flush_timeout=0.2, exit_timeout=0.2, linger=0.01)
    mp = Mixpanel("T", consumer, registry=registry, policy=FieldPolicy(), while_unknown="hold")
    for number in range(2):
        mp.track(f"visitor-{number}", "Viewed")
    Slow.pause = 3.0
    try:
        begun = time.monotonic()
        with pytest.raises(mixpanel.MixpanelException):
            mp.flush()
        consumer.close()
        assert time.monotonic() - begun < 2.5
    finally:
        Slow.pause = 0.05
    assert mp.stats() == {"dropped": {"not_answered": 2}}


def test_opt_in_looks_at_what_is_held_for_that_person_alone(shop: Shop) -> None:
    mp = shop.client()
    for number in range(50):
        mp.track(f"visitor-{number}", "Viewed")
    asked: list[int] = []
    real = MemoryRegistry.standings

    def counting(self: Any, subject_ids: Any, *arguments: Any, **keywords: Any) -> Any:
        asked.append(len(list(subject_ids)))
        return real(self, subject_ids, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryRegistry, "standings", counting)
        mp.opt_in("visitor-7", covers_held=True)
    assert sum(asked) < 50


def test_a_flush_of_a_file_looks_at_all_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spool, "MAX_BATCH_MESSAGES", 3)
    registry, vendor = MemoryRegistry(), FakeTransport()
    consumer = SpoolConsumer(tmp_path / "spool.db", consumer=vendor, linger=9)
    mp = Mixpanel("TOKEN", consumer, registry=registry, policy=FieldPolicy(), while_unknown="hold")
    for number in range(20):
        mp.track(f"visitor-{number}", "Viewed")
    registry.grant("visitor-19", covers_held=True)
    mp.flush()
    assert [message.distinct_id for message in vendor.events] == ["visitor-19"]
    consumer.close()


def test_the_child_of_a_fork_counts_nothing_that_its_parent_holds(shop: Shop) -> None:
    mp = shop.client()
    mp.track(WHO, "Viewed")
    child = os.fork()
    if not child:
        os._exit(bool(mp.stats().get("held")))
    assert os.waitpid(child, 0)[1] == 0


def test_what_another_process_lets_leave_and_this_one_delivers_is_counted_as_sent(tmp_path: Path) -> None:
    # rule 4.4
    registry, vendor = MemoryRegistry(), FakeTransport()
    consumers = [SpoolConsumer(tmp_path / "spool.db", consumer=vendor, linger=9) for _ in range(2)]
    one, other = (
        Mixpanel("T", each, registry=registry, policy=FieldPolicy(), while_unknown="hold") for each in consumers
    )
    one.track(WHO, "Viewed")
    registry.grant(WHO, covers_held=True)
    other._sealed.release(WHO)
    one.flush()
    assert len(vendor.events) == 1
    assert one.stats() == {"sent": {"consent_granted": 1}}
    for each in consumers:
        each.close()


@pytest.mark.parametrize("kind", ["BufferedConsumer", "BackgroundConsumer"])
def test_what_would_be_held_at_the_end_of_the_process_is_told(tmp_path: Path, kind: str) -> None:
    program = f"""
import atexit
def late():
    print(mp.track("visitor", "Late").reason)
atexit.register(late)
from consentpanel import {kind}, FieldPolicy, Mixpanel
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
mp = Mixpanel("T", {kind}(consumer=FakeTransport()), registry=MemoryRegistry(), policy=FieldPolicy(),
    observers=[lambda decision: print(decision.event, decision.reason)], while_unknown="hold")
print(mp.track("visitor", "Early").reason)
"""
    env = {"PYTHONPATH": str(Path(consentpanel.__file__).parents[1])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    said = done.stdout.splitlines()
    assert said[:3] == ["Early awaiting_consent", "awaiting_consent", "Early not_answered"]
    assert said[-1] == "not_answered"
