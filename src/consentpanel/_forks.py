"""What must begin anew in the child of a fork: locks that another thread held, connections that two would write to."""

from __future__ import annotations

import os
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
