"""Consent is asked for again before what waited leaves: once for each person, and a registry that fails loses nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from consentpanel import BackgroundConsumer, BufferedConsumer, Decision, FieldPolicy, Mixpanel, Reason, Regime, keep
from consentpanel._log import forget_warnings
from consentpanel.registry import CachedRegistry, MemoryRegistry
from consentpanel.testing import FakeTransport

pytestmark = pytest.mark.usefixtures("_no_pause")


class Failing:
    """Fails on demand, for everybody or for one person, and counts what it is asked."""

    def __init__(self) -> None:
        self.inner = MemoryRegistry()
        self.grant, self.deny = self.inner.grant, self.inner.deny
        self.record, self.history, self.forget = self.inner.record, self.inner.history, self.inner.forget
        self.is_down = False
        self.fails_for = ""
        #: How many more questions are answered; None for all.
        self.left: int | None = None
        self.asked: list[tuple[str, ...]] = []

    def _asked_about(self, *subjects: str) -> None:
        self.asked.append(subjects)
        if self.left is not None:
            self.left -= 1
        if self.is_down or self.fails_for in subjects or (self.left is not None and self.left < 0):
            raise OSError("the database is gone")

    def status(self, subject_id: Any, purpose: Any, *, at: Any = None) -> Any:
        self._asked_about(subject_id)
        return self.inner.status(subject_id, purpose, at=at)

    def statuses(self, subject_ids: Any, purpose: Any, *, at: Any = None) -> Any:
        self._asked_about(*subject_ids)
        return self.inner.statuses(subject_ids, purpose, at=at)


BUFFERS: dict[str, Callable[..., Any]] = {
    "BufferedConsumer": BufferedConsumer,
    "BackgroundConsumer": lambda **given: BackgroundConsumer(
        **{"linger": 9, "flush_timeout": 5, "exit_timeout": 0.2, **given}
    ),
}
each_buffer = pytest.mark.parametrize("kind", BUFFERS)


@pytest.fixture
def registry() -> Failing:
    registry = Failing()
    for number in range(60):
        registry.grant(f"user-{number}")
    return registry


@pytest.fixture
def vendor() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def build(registry: Failing, vendor: FakeTransport) -> Iterator[Callable[..., tuple[Mixpanel, list[Decision]]]]:
    opened = []

    def build(kind: str, *, registry: Any = registry, **more: Any) -> tuple[Mixpanel, list[Decision]]:
        limits = {name: more.pop(name) for name in ("max_size", "max_buffered", "max_queued", "linger") if name in more}
        consumer = BUFFERS[kind](consumer=vendor, **{"max_size": 500, **limits})
        opened.append(consumer)
        told: list[Decision] = []
        policy = FieldPolicy(events={"n": keep()}, people={"n": keep()})
        return Mixpanel("T", consumer, registry=registry, policy=policy, observers=[told.append], **more), told

    yield build
    for consumer in opened:
        with contextlib.suppress(Exception):
            consumer.close()


def numbers(vendor: FakeTransport) -> list[int]:
    return [event.properties["n"] for event in vendor.events]


@each_buffer
def test_a_registry_that_fails_during_a_flush_keeps_what_waits_in_its_order(
    kind: str, build: Any, registry: Failing, vendor: FakeTransport
) -> None:
    # rule 8.4
    mp, _ = build(kind)
    for number in range(50):
        mp.track(f"user-{number % 7}", "Seen", {"n": number})
    registry.is_down = True
    mp.flush()
    assert (vendor.messages, mp.stats()) == ([], {"queued": {"consent_granted": 50}})
    registry.is_down = False
    mp.flush()
    assert numbers(vendor) == list(range(50))
    assert mp.stats() == {"sent": {"consent_granted": 50}}


def test_what_waits_for_an_answer_leaves_by_itself_when_the_registry_is_well(
    build: Any, registry: Failing, vendor: FakeTransport
) -> None:
    # rule 8.4: "tried again with back-off"
    mp, _ = build("BackgroundConsumer", linger=0.01)
    registry.left = 1
    mp.track("user-1", "Seen", {"n": 1})
    mp.flush()
    registry.left = None
    arrived = threading.Event()
    vendor.send = lambda *given: arrived.set()  # type: ignore[method-assign]
    assert arrived.wait(9)


@each_buffer
def test_one_person_of_whom_nobody_can_tell_keeps_nobody_else_from_leaving(
    kind: str, build: Any, registry: Failing, vendor: FakeTransport
) -> None:
    # rule 8.4
    mp, _ = build(kind, max_size=5)
    for number in range(4):
        mp.track(f"user-{number % 2}", "Seen", {"n": number})
    registry.fails_for = "user-1"
    mp.flush()
    assert numbers(vendor) == [0, 2]
    registry.fails_for = ""
    mp.flush()
    assert numbers(vendor) == [0, 2, 1, 3]


@each_buffer
def test_only_an_answer_that_denies_discards(kind: str, build: Any, registry: Failing, vendor: FakeTransport) -> None:
    # rule 8.4
    mp, told = build(kind)
    mp.track("user-1", "Seen", {"n": 1})
    mp.track("user-2", "Seen", {"n": 2})
    registry.is_down = True
    mp.flush()
    registry.is_down = False
    registry.deny("user-1")
    mp.flush()
    assert numbers(vendor) == [2]
    assert [decision.reason for decision in told if not decision] == [Reason.WITHDRAWN]


@each_buffer
def test_what_waits_for_an_answer_is_purged(kind: str, build: Any, registry: Failing, vendor: FakeTransport) -> None:
    # rules 5.2 and 8.4
    mp, _ = build(kind)
    for number in range(6):
        mp.track(f"user-{number % 2}", "Seen", {"n": number})
    registry.is_down = True
    mp.flush()
    assert mp._consumer.purge("user-1") == 3
    registry.is_down = False
    mp.flush()
    assert numbers(vendor) == [0, 2, 4]


@each_buffer
def test_what_finds_no_room_pushes_out_the_oldest_of_which_nobody_can_tell(
    kind: str, build: Any, registry: Failing, vendor: FakeTransport
) -> None:
    # rule 8.4: "when the buffer's size ends that, they are lost with registry_error"
    room = {"max_buffered": 4} if kind == "BufferedConsumer" else {"max_queued": 4}
    mp, told = build(kind, max_size=4, **room)
    for number in range(6):
        registry.left = 1
        mp.track("user-1", "Seen", {"n": number})
        mp.flush()
    assert [decision.reason for decision in told if not decision] == [Reason.REGISTRY_ERROR] * 2
    registry.left = None
    mp.flush()
    assert numbers(vendor) == [2, 3, 4, 5]


def test_what_nobody_answered_until_the_end_is_lost_with_its_reason(build: Any, registry: Failing) -> None:
    # rules 8.1 and 8.4
    mp, told = build("BackgroundConsumer")
    mp.track("user-1", "Seen", {"n": 1})
    registry.is_down = True
    with pytest.raises(Exception, match="1 messages were not delivered"):
        mp.close()
    assert told[-1].reason is Reason.REGISTRY_ERROR
    assert mp.stats() == {"dropped": {"registry_error": 1}}


@each_buffer
def test_a_flush_asks_once_for_each_purpose_and_each_person(
    kind: str, build: Any, registry: Failing, vendor: FakeTransport
) -> None:
    # rule 8.4
    mp, _ = build(kind)
    for number in range(300):
        mp.track(f"user-{number % 60}", "Seen", {"n": number})
    registry.asked.clear()
    mp.flush()
    assert len(numbers(vendor)) == 300
    (subjects,) = registry.asked
    assert sorted(subjects) == sorted(f"user-{number}" for number in range(60))


# Questions outside of the call.

in_context = threading.local()


@contextlib.contextmanager
def app_context() -> Iterator[None]:
    in_context.is_there = True
    try:
        yield
    finally:
        in_context.is_there = False


def needs_context(subject_id: str, purpose: str) -> bool:
    if not getattr(in_context, "is_there", False):
        raise RuntimeError("Working outside of application context")
    return True


@each_buffer
def test_a_registry_that_needs_a_context_has_it_in_our_threads(kind: str, build: Any, vendor: FakeTransport) -> None:
    # rule 8.3
    mp, _ = build(kind, registry=needs_context, context=app_context)
    with app_context():
        for number in range(20):
            assert mp.track("user-1", "Seen", {"n": number})
    mp.flush()
    assert numbers(vendor) == list(range(20))


def test_a_regime_that_needs_a_context_has_it_in_our_threads(
    build: Any, registry: Failing, vendor: FakeTransport
) -> None:
    # rule 8.3
    def regime(subject_id: str) -> Regime:
        return Regime.OPT_OUT if needs_context(subject_id, "") else Regime.OPT_IN

    mp, _ = build("BackgroundConsumer", regime=regime, context=app_context)
    with app_context():
        assert mp.track("nobody", "Seen", {"n": 1})
    mp.flush()
    assert numbers(vendor) == [1]


@pytest.mark.parametrize("asked", ["registry", "regime", "context"])
def test_without_a_context_the_message_waits_and_the_log_names_the_remedy_once(
    asked: str, build: Any, registry: Failing, vendor: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    # rule 8.3
    def broken() -> Any:
        raise RuntimeError("no application")

    forget_warnings()

    given: dict[str, Any] = {"registry": needs_context}
    if asked == "regime":
        given = {"regime": lambda subject: Regime.OPT_OUT if needs_context(subject, "") else Regime.OPT_IN}
    if asked == "context":
        given = {"context": broken}
    mp, _ = build("BackgroundConsumer", **given)
    with app_context():
        assert mp.track("user-1" if asked != "regime" else "nobody", "Seen", {"n": 1})
    mp.flush()
    mp.flush()
    assert vendor.messages == []
    assert mp.stats()["queued"]
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "context=app.app_context" in error.getMessage()


@pytest.mark.parametrize("context", [5, "app", object()])
def test_a_context_that_is_none_names_the_argument(context: Any) -> None:
    # rule 8.3
    with pytest.raises(Exception, match="context must be a callable that returns a context manager"):
        Mixpanel("T", FakeTransport(), context=context)


def test_a_person_who_said_no_is_discarded_though_another_cannot_be_told(
    build: Any, registry: Failing, vendor: FakeTransport
) -> None:
    # rules 2.7 and 8.4
    mp, told = build("BufferedConsumer")
    assert mp.track("user-1", "Seen", {"n": 1, "$user_id": "user-2"})
    registry.deny("user-2")
    registry.fails_for = "user-1"
    mp.flush()
    assert told[-1].reason is Reason.WITHDRAWN
    assert json.dumps(vendor.messages, default=str) == "[]"


# A test shows what an application would lose.


def test_the_fake_transport_shows_a_registry_that_fails_outside_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    # rule 8.3
    forget_warnings()
    vendor = FakeTransport()
    mp = Mixpanel("T", vendor, registry=needs_context, policy=FieldPolicy())
    with app_context():
        decision = mp.track("user-1", "Seen")
    assert decision.reason is Reason.REGISTRY_ERROR
    assert vendor.messages == []
    with pytest.raises(AssertionError, match="registry_error"):
        vendor.assert_tracked("Seen")
    assert "context=app.app_context" in caplog.text
    mp = Mixpanel("T", vendor, registry=needs_context, policy=FieldPolicy(), context=app_context)
    with app_context():
        assert mp.track("user-1", "Seen")
    vendor.assert_tracked("Seen")


def test_the_outbox_shows_it_too(consentpanel_outbox: FakeTransport) -> None:
    # rule 8.3
    mp = Mixpanel("T", registry=needs_context, policy=FieldPolicy())
    with app_context():
        assert mp.people_set("user-1", {"n": 1}).reason is Reason.NOTHING_LEFT
        assert mp.track("user-1", "Seen").reason is Reason.REGISTRY_ERROR
    assert consentpanel_outbox.messages == []


def test_what_needs_nobodys_consent_is_not_asked_about_again() -> None:
    # rule 2.9
    vendor = FakeTransport()
    assert Mixpanel("T", vendor, registry=needs_context, policy=FieldPolicy()).people_unset("user-1", ["n"])
    assert len(vendor.people) == 1


def test_a_fake_transport_that_does_not_ask_again_takes_it() -> None:
    vendor = FakeTransport(asks_again=False)
    with app_context():
        assert Mixpanel("T", vendor, registry=needs_context, policy=FieldPolicy()).track("user-1", "Seen")
    assert len(vendor.events) == 1


def test_a_flush_over_a_cache_asks_once_for_all_who_are_not_remembered(vendor: FakeTransport) -> None:
    # rule 8.4
    registry = Failing()
    cached = CachedRegistry(registry, ttl=0.001)
    consumer = BufferedConsumer(max_size=500, consumer=vendor)
    mp = Mixpanel("T", consumer, registry=cached)
    for number in range(300):
        registry.grant(f"user-{number}")
        mp.track(f"user-{number}", "Viewed")
    time.sleep(0.01)
    registry.asked.clear()
    mp.flush()
    assert [len(subjects) for subjects in registry.asked] == [300]
    assert len(vendor.events) == 300
