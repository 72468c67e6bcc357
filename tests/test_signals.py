"""A signal handler may track, grant, withdraw or flush in the middle of any of our code: nothing hangs, nothing is lost."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consentpanel import (
    BackgroundConsumer,
    BufferedConsumer,
    ConsentStatus,
    FieldPolicy,
    Mixpanel,
    MixpanelException,
    Outcome,
)
from consentpanel.registry import CachedRegistry, MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers"),
    pytest.mark.slow,
]

REGISTRIES: dict[str, Callable[[Any], Any]] = {
    "memory": lambda path: MemoryRegistry(),
    "cached": lambda path: CachedRegistry(MemoryRegistry(), ttl=0.0001, max_size=2),
    "SQLite": lambda path: SQLiteRegistry(path / "consent.db"),
}
CONSUMERS: dict[str, Callable[[FakeTransport], Any]] = {
    "each by itself": lambda vendor: vendor,
    "BufferedConsumer": lambda vendor: BufferedConsumer(max_size=3, consumer=vendor),
    "BackgroundConsumer": lambda vendor: BackgroundConsumer(
        max_size=3, consumer=vendor, linger=0.001, flush_timeout=0.01
    ),
}


class Alarms:
    """Calls a handler again and again, between any two instructions of the test."""

    _PAUSE = 0.0005

    def __init__(self) -> None:
        self._handler: Callable[[], object] | None = None

    def start(self, handler: Callable[[], object]) -> None:
        self._handler = handler
        signal.setitimer(signal.ITIMER_REAL, self._PAUSE)

    def stop(self) -> None:
        self._handler = None
        signal.setitimer(signal.ITIMER_REAL, 0)

    def ring(self, *_: object) -> None:
        handler = self._handler
        if handler is not None:
            handler()
        # Only now, or a handler that is slower than the timer would never let the test go on.
        if self._handler is not None:
            signal.setitimer(signal.ITIMER_REAL, self._PAUSE)


@pytest.fixture
def alarms() -> Iterator[Alarms]:
    alarms = Alarms()
    before = signal.signal(signal.SIGALRM, alarms.ring)
    # What hangs is to end, and to say where.
    faulthandler.dump_traceback_later(180, exit=True)
    yield alarms
    alarms.stop()
    signal.signal(signal.SIGALRM, before)
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_handler_that_tracks_and_records_neither_hangs_nor_loses(
    kind: str, consumer: str, alarms: Alarms, tmp_path: Any
) -> None:
    # rule 8.5
    vendor = FakeTransport(asks_again=False)
    registry = REGISTRIES[kind](tmp_path)
    mp = Mixpanel("T", CONSUMERS[consumer](vendor), registry=registry, policy=FieldPolicy())
    registry.grant("user-1")
    registry.grant("user-2")
    outcomes: list[Outcome] = []

    def handler() -> None:
        registry.grant("user-2", "analytics")
        outcomes.append(mp.track("user-2", "Interrupted").outcome)
        # What a thread of ours needs to send may be held by the very code that the handler interrupts.
        with contextlib.suppress(MixpanelException):
            mp.flush()

    alarms.start(handler)
    for _ in range(300):
        registry.grant("user-1", "analytics")
        outcomes.append(mp.track("user-1", "Went on").outcome)
    alarms.stop()
    mp.close()
    assert len(vendor.events) == outcomes.count(Outcome.SENT) == len(outcomes) > 300


def test_a_withdrawal_in_a_handler_holds_whatever_it_interrupted(alarms: Alarms) -> None:
    # rules 2.4 and 8.5
    registry = MemoryRegistry()
    withdrawn: set[str] = set()
    present = ["user-0"]

    def handler() -> None:
        registry.deny(present[0])
        withdrawn.add(present[0])

    alarms.start(handler)
    number = 0
    while len(withdrawn) < 200:
        number += 1
        present[0] = f"user-{number}"
        registry.grant(present[0])
    alarms.stop()
    for subject in withdrawn:
        said = [record for record in registry.history(subject) if record.purpose == "analytics"]
        assert registry.status(subject, "analytics") is said[-1].status


def test_a_withdrawal_in_a_handler_stays_though_the_handler_ends_the_program(alarms: Alarms, tmp_path: Path) -> None:
    # rules 2.4 and 8.5
    path = tmp_path / "consent.db"
    registry = SQLiteRegistry(path)
    registry.grant("user-1")
    # Another worker writes, so that a write here waits.
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def handler() -> None:
        alarms.stop()
        registry.deny("user-1")
        raise SystemExit

    ending = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    ending.start()
    alarms.start(handler)
    with pytest.raises(SystemExit):
        registry.grant("user-2")
    ending.join()
    assert registry.status("user-1", "analytics") is ConsentStatus.DENIED
    assert registry.history("user-2") == []
