"""What observers for metrics have in common: each thing that is told is written once, and whoever tells it is never kept waiting."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol, TypeVar

from consentpanel._forks import ForkGate, Survivors
from consentpanel._log import note_failure
from consentpanel._messages.decision import Decision

#: Names of the labels of a message; the values of each are few and fixed.
LABELS = ("outcome", "reason", "endpoint")
#: Bounds in seconds: from an answer of this process's own memory to a database that is about to give up.
BOUNDS = (0.00001, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


#: How much one thread writes of what others have told, and how much is kept while nobody can write.
_MOST_AT_ONCE, _MOST_KEPT = 1_000, 100_000
_T = TypeVar("_T")


def once_for(found: MutableMapping[_T, Watching], key: _T, make: Callable[[], Watching]) -> Watching:
    """The observer of a registry or meter, made when it is first asked for, by one thread."""
    # No fork meanwhile, or the child would have a lock that nobody frees.
    with _GATE, _MAKING:
        if key not in found:
            found[key] = make()
        return found[key]


_MAKING = threading.Lock()


class Queue(Protocol):
    """Where messages of clients wait."""

    @property
    def is_in_memory(self) -> bool:
        """Whether measuring it asks no file and no database."""
        ...

    def measure(self) -> tuple[int, float]:
        """How many messages wait, and for how many seconds the oldest has."""
        ...


class Watching:
    """An observer that writes into a library of metrics.

    Such libraries guard each number by a lock that is not re-entrant: a signal handler that tracks while this thread writes would
    wait for itself. So what is told is queued, and one thread at a time writes, without anybody waiting for that. No fork takes place
    meanwhile, or the child would have such a lock that nobody frees.

    Args:
        count: Counts a message by its outcome, reason and endpoint.
        time: Writes how many seconds a look-up took.
        written: Called when something was written.
    """

    def __init__(
        self,
        count: Callable[[str, str, str], object],
        time: Callable[[float], object],
        written: Callable[[], object] = lambda: None,
    ) -> None:
        self._count, self._time, self._written = count, time, written
        self._queues: weakref.WeakSet[Any] = weakref.WeakSet()
        self._begin()
        _ALIVE.add(self)

    def _begin(self) -> None:
        # In the child of a fork nobody holds the lock, and what was told before is the parent's to write.
        self._told: deque[tuple[str, str, str] | float] = deque(maxlen=_MOST_KEPT)
        self._writing = threading.Lock()

    def __call__(self, decision: Decision) -> None:
        self._told.append((decision.outcome.value, decision.reason.value, decision.endpoint))
        self._write()

    def looked_up(self, seconds: float) -> None:
        """Notes how long a look-up took."""
        self._told.append(seconds)
        self._write()

    def watch(self, queue: Queue) -> None:
        """Measures a queue from now on; two clients may have the same."""
        self._queues.add(queue)

    def measure(self, *, in_memory: bool = False) -> tuple[int, float] | None:
        """How many messages wait in all queues, and for how many seconds the oldest; None where one cannot tell.

        Args:
            in_memory: Whether only those are asked that ask no file and no database.
        """
        self._write()
        queues = [queue for queue in list(self._queues) if queue.is_in_memory or not in_memory]
        try:
            found = [queue.measure() for queue in queues]
        except Exception as error:  # noqa: BLE001 - a database may be away
            note_failure("the measure of a queue", error)
            return None
        return sum(count for count, _ in found), max((age for _, age in found), default=0.0)

    def _write(self) -> None:
        # Twice, because what came just before the release found the lock taken; not more, so that nobody writes for all others.
        for _ in range(2):
            if not self._told or not self._writing.acquire(blocking=False):
                return
            try:
                with _GATE:
                    for _ in range(min(len(self._told), _MOST_AT_ONCE)):
                        told = self._told.popleft()
                        self._time(told) if isinstance(told, (int, float)) else self._count(*told)
                    self._written()
            finally:
                self._writing.release()


_GATE = ForkGate()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_GATE.before_fork, after_in_parent=_GATE.after_in_parent, after_in_child=_GATE.after_in_child
    )
_ALIVE: Survivors[Watching] = Survivors(Watching._begin)  # noqa: SLF001 - the same file
