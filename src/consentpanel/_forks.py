"""What must begin anew in the child of a fork: locks that another thread held, connections that two would write to."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Survivors(Generic[_T]):
    """The living objects of one kind, each of which begins anew in the child of a fork.

    Args:
        restart: Lets one of them begin anew.
    """

    def __init__(self, restart: Callable[[_T], None]) -> None:
        self._alive: weakref.WeakSet[_T] = weakref.WeakSet()
        self._restart = restart
        self.add = self._alive.add
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._restart_all)

    def __iter__(self) -> Iterator[_T]:
        return iter(list(self._alive))

    def __len__(self) -> int:
        return len(self._alive)

    def _restart_all(self) -> None:
        for each in self:
            self._restart(each)


class ForkGate:
    """Keeps a fork out while threads are in code whose own locks no child could ever free, such as SQLite's.

    Many threads may be inside. A thread that is inside already passes, so that a signal handler may.

    Args:
        patience: The most seconds that a fork waits for those inside; then it takes place.
    """

    def __init__(self, patience: float = 10.0) -> None:
        self._patience = patience
        self._begin()

    def _begin(self) -> None:
        # By the lock itself, whose entry no signal can interrupt half-way.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._mine = threading.local()
        self._inside = 0
        self._forks = 0

    def _is_forking(self) -> bool:
        return getattr(self._mine, "is_forking", False)

    def __enter__(self) -> None:
        depth = getattr(self._mine, "depth", 0)
        with self._lock:
            while self._forks and not depth and not self._is_forking():
                self._changed.wait()
            self._inside += 1
            self._mine.depth = depth + 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            self._mine.depth -= 1
            if self._forks:
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Waits until no other thread is inside, and lets none in."""
        until = time.monotonic() + self._patience
        # The thread that forks may close what it finds, or the garbage collector may do that in it.
        self._mine.is_forking = True
        with self._lock:
            self._forks += 1
            while self._inside > getattr(self._mine, "depth", 0):
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return

    def after_in_parent(self) -> None:
        """Lets threads in again."""
        self._mine.is_forking = False
        with self._lock:
            self._forks -= 1
            self._changed.notify_all()

    def after_in_child(self) -> None:
        """Begins anew: no other thread has come along."""
        depth = getattr(self._mine, "depth", 0)
        self._begin()
        # A handler that forks in the middle of it still has to leave, in the child too.
        self._inside = self._mine.depth = depth
