"""A fork at any moment of any other thread leaves a child that does not hang in our locks or in opening our files."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consentpanel import BackgroundConsumer, BufferedConsumer, FieldPolicy, Mixpanel
from consentpanel._forks import ForkGate
from consentpanel.registry import CachedRegistry, MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the operating system has no fork"),
    pytest.mark.slow,
]

REGISTRIES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: MemoryRegistry(),
    "cached": lambda path: CachedRegistry(MemoryRegistry(), ttl=0.0001),
    "SQLite": lambda path: SQLiteRegistry(path / "consent.db"),
    "SQLite, cached": lambda path: CachedRegistry(SQLiteRegistry(path / "consent.db"), ttl=0.0001),
}
CONSUMERS: dict[str, Callable[[], Any]] = {
    "none": lambda: FakeTransport(asks_again=False),
    "BufferedConsumer": lambda: BufferedConsumer(max_size=5, consumer=FakeTransport(asks_again=False)),
    "BackgroundConsumer": lambda: BackgroundConsumer(consumer=FakeTransport(asks_again=False), linger=0.001),
}


def child(work: Callable[[], object]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        pid = os.fork()
    if pid:
        return pid
    try:
        # What hangs is killed by this, in C too.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing of the test run may go on in a child
        os._exit(1)


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("kind", REGISTRIES)
def test_no_child_of_a_busy_process_hangs(kind: str, consumer: str, tmp_path: Path) -> None:
    # rule 8.6
    registry = REGISTRIES[kind](tmp_path)
    registry.grant("user-1")
    mp = Mixpanel("T", CONSUMERS[consumer](), registry=registry, policy=FieldPolicy())
    is_over = threading.Event()

    def be_busy() -> None:
        while not is_over.is_set():
            mp.track("user-1", "Seen")
            registry.grant("user-1", "analytics")
            if "SQLite" in kind:
                SQLiteRegistry(tmp_path / "other.db").close()

    def use() -> None:
        registry.grant("user-2")
        if not mp.track("user-2", "Seen in a child"):
            raise AssertionError
        SQLiteRegistry(tmp_path / "child.db").close()
        mp.stats()

    threads = [threading.Thread(target=be_busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    codes = []
    for _ in range(12):
        time.sleep(0.002)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child(use), 0)[1]))
    is_over.set()
    for thread in threads:
        thread.join()
    mp.close()
    assert codes == [0] * 12


def test_a_fork_waits_for_those_inside_the_gate_and_lets_none_in() -> None:
    # rule 8.6
    gate, steps = ForkGate(), []
    inside, go_on = threading.Event(), threading.Event()

    def stay() -> None:
        with gate:
            inside.set()
            go_on.wait(9)
            steps.append("left")

    def come() -> None:
        with gate:
            steps.append("came")

    one, other = threading.Thread(target=stay), threading.Thread(target=come)
    one.start()
    inside.wait(9)
    threading.Timer(0.05, go_on.set).start()
    gate.before_fork()
    steps.append("forked")
    other.start()
    with gate:  # the one that forks may close what it finds
        steps.append("closed")
    gate.after_in_parent()
    for thread in (one, other):
        thread.join(9)
    assert steps == ["left", "forked", "closed", "came"]


def test_a_fork_waits_no_longer_than_its_patience_and_not_for_itself() -> None:
    # rule 8.6
    gate = ForkGate(patience=0.05)
    inside, go_on = threading.Event(), threading.Event()

    def stay() -> None:
        with gate:
            inside.set()
            go_on.wait(9)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(9)
    with gate:
        gate.before_fork()
        gate.after_in_parent()
    with gate:
        go_on.set()
    thread.join(9)
