"""Messages of people who were never asked, held until they answer, for a while at most."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from consentpanel._messages.decision import Reason
from consentpanel.transport._waiting import Account, Waiting, answers_about

#: The most messages that a buffer without a limit of its own holds.
MOST_HELD = 10_000
#: Seconds between two looks for answers, at least, and how many times as long as the last look took.
_LOOK, _RELAXED = 1.0, 20.0
#: Bytes of JSON that are held at most.
_MOST_BYTES = 64_000_000


class Held(NamedTuple):
    """One message that is held.

    Attributes:
        endpoint: Where it goes when it may.
        message: The message, on no account yet.
        account: Of the consumer that has taken it; None in a buffer of its own.
        until: When it is given up, by `time.monotonic`.
    """

    endpoint: str
    message: Waiting
    account: Account | None
    until: float


class Holding:
    """The held messages of one buffer: bounded, and in memory.

    A message is here, or where it waits for its turn, or settled, and never in none of these: nothing can interrupt it out of
    existence. What is iterated is a copy, because a signal handler may add more between any two steps.

    Args:
        lock: The buffer's, which a signal handler of the same thread passes.
        most: The most messages; the oldest make room.
    """

    def __init__(self, lock: threading.RLock, most: int) -> None:
        self._lock = lock
        self._most = most
        self._held: dict[int, Held] = {}
        self._bytes = 0
        #: When to look for answers again, and when the first is to be given up, by `time.monotonic`.
        self._look_at = 0.0
        self._next_end = math.inf

    def __len__(self) -> int:
        return len(self._held)

    @property
    def due_at(self) -> float:
        """When there is something to look at, by `time.monotonic`."""
        return min(self._look_at, self._next_end) if self._held else math.inf

    def is_due(self, *, ends_alone: bool = False) -> bool:
        """Whether it is time to look: for answers, or only for what is to be given up."""
        return bool(self._held) and time.monotonic() >= (self._next_end if ends_alone else self.due_at)

    def add(self, endpoint: str, message: Waiting, account: Account | None = None) -> None:
        """Holds a message."""
        present = time.monotonic()
        until = present + message.hold_for
        with self._lock:
            if not self._held:
                self._look_at, self._bytes = present + _LOOK, 0
            self._bytes += message.size
            self._next_end = min(self._next_end, until)
            held = list(self._held.values())
            size = self._bytes
            oldest: list[Held] = []
            while held[len(oldest) :] and (len(held) - len(oldest) >= self._most or size > _MOST_BYTES):
                size -= held[len(oldest)].message.size
                oldest.append(held[len(oldest)])
            self._held[id(message)] = Held(endpoint, message, account, until)
        for each in oldest:
            self._give_up(each)

    def are_there(self, is_meant: Callable[[Held], bool]) -> bool:
        """Whether some are meant."""
        return any(is_meant(each) for each in list(self._held.values()))

    def end(self, is_meant: Callable[[Held], bool] = lambda _: True) -> None:
        """Gives up those that are meant: nobody has answered for them, and will not be waited for any more."""
        for each in list(self._held.values()):
            if is_meant(each):
                self._give_up(each)

    def discard(self, is_meant: Callable[[Held], bool]) -> int:
        """Discards those that are meant, for want of consent; how many."""
        count = 0
        for each in list(self._held.values()):
            if is_meant(each) and self._took(each):
                each.message.discard()
                count += 1
        return count

    def forget(self) -> None:
        """Forgets all, and tells nobody."""
        self._held.clear()

    def look(self, put: Callable[[Held], None], is_meant: Callable[[Held], bool] | None = None) -> None:
        """Has leave what people have agreed to by now; what they have not, or not in time, is given up.

        Args:
            put: Lets one wait for its turn; under the lock.
            is_meant: Which are looked at; all when left out.
        """
        begun = time.monotonic()
        held = list(self._held.values())
        if is_meant is not None:
            held = [each for each in held if is_meant(each)]
        # What is over is asked about too: the answer may have come in time.
        for each, answer in zip(held, answers_about([each.message for each in held]), strict=True):
            if answer:
                self._let_go(each, put)
            elif answer is False:
                self.discard(lambda one, each=each: one is each)  # type: ignore[misc]
            elif each.until <= begun:
                self._give_up(each)
        if is_meant is None:
            ended = time.monotonic()
            left = list(self._held.values())
            self._look_at = ended + max(_LOOK, _RELAXED * (ended - begun))
            self._next_end = min((each.until for each in left), default=math.inf)
            self._bytes = sum(each.message.size for each in left)

    def look_at_ends(self, put: Callable[[Held], None]) -> None:
        """As `look`, of those alone whose time is over."""
        present = time.monotonic()
        self.look(put, lambda each: each.until <= present)
        self._next_end = min((each.until for each in list(self._held.values())), default=math.inf)

    def _let_go(self, held: Held, put: Callable[[Held], None]) -> None:
        with self._lock:
            # What somebody has purged meanwhile is not there any more.
            if id(held.message) not in self._held:
                return
            if not held.message.is_settled:
                put(held)
            self._held.pop(id(held.message), None)
        if held.message.ticket is not None:
            held.message.ticket.release()

    def _took(self, held: Held) -> bool:
        return self._held.pop(id(held.message), None) is not None

    def _give_up(self, held: Held) -> None:
        if self._took(held):
            held.message.lose(Reason.NOT_ANSWERED)
