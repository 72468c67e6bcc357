"""Messages of people who were never asked, held until they answer, for a while at most."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
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

    Args:
        lock: The buffer's, which a signal handler of the same thread passes.
        most: The most messages; the oldest make room.
    """

    def __init__(self, lock: threading.RLock, most: int) -> None:
        self._lock = lock
        self._most = most
        self._held: deque[Held] = deque()
        self._bytes = 0
        #: When to look for answers again, by `time.monotonic`.
        self.look_at = 0.0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, endpoint: str, message: Waiting, account: Account | None = None) -> None:
        """Holds a message."""
        given_up = []
        with self._lock:
            self._bytes += message.size
            while self._held and (len(self._held) >= self._most or self._bytes > _MOST_BYTES):
                oldest = self._held.popleft()
                self._bytes -= oldest.message.size
                given_up.append(oldest)
            present = time.monotonic()
            if not self._held:
                self.look_at = present + _LOOK
            self._held.append(Held(endpoint, message, account, present + message.hold_for))
        _give_up(given_up)

    def take(self, is_meant: Callable[[Held], bool]) -> list[Held]:
        """Takes out those that are meant; their tickets are still to be told."""
        with self._lock:
            taken = [each for each in list(self._held) if is_meant(each)]
            gone = {id(each.message) for each in taken}
            if gone:
                self._held = deque(each for each in self._held if id(each.message) not in gone)
                self._bytes = sum(each.message.size for each in self._held)
        return taken

    def end(self, is_meant: Callable[[Held], bool] = lambda _: True) -> None:
        """Gives up those that are meant: nobody has answered for them, and will not be waited for any more."""
        _give_up(self.take(is_meant))

    def is_due(self) -> bool:
        """Whether it is time to look for answers."""
        return bool(self._held) and time.monotonic() >= self.look_at

    def answered(self) -> list[Held]:
        """Takes out what people have agreed to by now; what they have not, or not in time, is given up."""
        begun = time.monotonic()
        self.end(lambda each: each.until <= begun)
        held = list(self._held)
        found = answers_about([each.message for each in held])
        answers = {id(each.message): answer for each, answer in zip(held, found, strict=True) if answer is not None}
        ended = time.monotonic()
        self.look_at = ended + max(_LOOK, _RELAXED * (ended - begun))
        # What somebody has purged meanwhile is not there any more.
        taken = self.take(lambda each: id(each.message) in answers)
        for each in taken:
            if not answers[id(each.message)]:
                each.message.discard()
            elif each.message.ticket is not None:
                each.message.ticket.release()
        return [each for each in taken if answers[id(each.message)]]


def _give_up(held: Iterable[Held]) -> None:
    for each in held:
        each.message.lose(Reason.NOT_ANSWERED)
