"""How long a page waits for the vendor, and how many pages do so at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import attrs

from consentpanel._forks import Survivors

_T = TypeVar("_T")
#: So many calls of one kind are on their way at a time in a process; the pages of a site share its threads with them.
AT_ONCE = 2


class TooBusyError(Exception):
    """The vendor was not asked: enough is on its way."""


class TooLateError(Exception):
    """The time is over, and nobody knows what the vendor makes of it."""


class Slots:
    """So many calls at a time."""

    def __init__(self) -> None:
        self.restart_in_child()
        _ALIVE.add(self)

    def take(self) -> None:
        """Takes one.

        Raises:
            TooBusyError: There is none.
        """
        if not self._free.acquire(blocking=False):
            raise TooBusyError

    def give_back(self) -> None:
        """Gives it back."""
        self._free.release()

    def restart_in_child(self) -> None:
        """All are free: the threads that hold some are the parent's."""
        self._free = threading.Semaphore(AT_ONCE)


_ALIVE: Survivors[Slots] = Survivors(Slots.restart_in_child)


@attrs.frozen
class Patience:
    """How long somebody waits.

    Attributes:
        slots: Of which a call needs one.
        until: Until when all calls together are waited for, by `time.monotonic`; None where a thread of its own waits.
    """

    slots: Slots
    until: float | None = None

    @property
    def left(self) -> float | None:
        """How many seconds are left; None for any number."""
        return None if self.until is None else self.until - time.monotonic()

    def ask(self, call: Callable[[], _T]) -> _T:
        """What a call brings.

        Raises:
            TooBusyError: There is no slot.
            TooLateError: It was not there in time.
            Exception: As the call raises it.
        """
        left = self.left
        if left is not None and left <= 0:
            raise TooLateError
        self.slots.take()
        done: list[Callable[[], _T]] = []

        def work() -> None:
            try:
                done.append(_outcome(call))
            finally:
                self.slots.give_back()

        if left is None:
            work()
        else:
            # A time-out of a connection begins anew with each byte, and none holds for the look-up of a name.
            asking = threading.Thread(target=work, name="consentpanel-vendor", daemon=True)
            try:
                asking.start()
            except RuntimeError:  # the interpreter ends, or the system has no more threads
                self.slots.give_back()
                raise TooBusyError from None
            asking.join(left)
        if not done:
            raise TooLateError
        return done[0]()


def _outcome(call: Callable[[], _T]) -> Callable[[], _T]:
    """What gives again what a call has brought, or raises what it has raised."""
    try:
        brought = call()
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        problem = error

        def fail() -> _T:
            raise problem

        return fail
    return lambda: brought


_CURRENT: ContextVar[Patience | None] = ContextVar("consentpanel_patience", default=None)


def current() -> Patience | None:
    """That of whoever runs this; None for somebody who waits for as long as it takes."""
    return _CURRENT.get()


@contextmanager
def having(patience: Patience | None) -> Generator[None, None, None]:
    """Lets all calls inside be waited for with so much patience."""
    token = _CURRENT.set(patience)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def for_seconds(slots: Slots, seconds: float) -> Patience:
    """Waits for so many seconds in all."""
    return Patience(slots, time.monotonic() + seconds)
