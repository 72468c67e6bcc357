"""One after the other: who clicks twice asks once."""

from __future__ import annotations

import threading
from collections.abc import Generator, Hashable
from contextlib import contextmanager

import attrs

from consentpanel._forks import Survivors

#: Seconds that the second waits for the first, which waits for the vendor.
_LONGEST = 6.0


@attrs.define(eq=False)
class _Turn:
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    there: int = 0


class Turns:
    """Lets one at a time do something, and one wait."""

    def __init__(self) -> None:
        self.restart_in_child()
        _ALIVE.add(self)

    @contextmanager
    def of(self, key: Hashable) -> Generator[bool, None, None]:
        """Waits for a turn; whether it has come. More than one do not wait: they would take the site's threads.

        Args:
            key: What is done, and for whom.
        """
        with self._lock:
            turn = self._turns.setdefault(key, _Turn())
            may_wait = turn.there < 2
            turn.there += 1
        has_come = False
        try:
            has_come = may_wait and turn.lock.acquire(timeout=_LONGEST)
            yield has_come
        finally:
            if has_come:
                turn.lock.release()
            with self._lock:
                turn.there -= 1
                if not turn.there:
                    self._turns.pop(key, None)

    def restart_in_child(self) -> None:
        """Nobody is there: those of the parent are not."""
        self._lock = threading.Lock()
        self._turns: dict[Hashable, _Turn] = {}


_ALIVE: Survivors[Turns] = Survivors(Turns.restart_in_child)
