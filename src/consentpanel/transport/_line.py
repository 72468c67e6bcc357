"""The messages of one endpoint in a buffer: those that wait, those on their way, and those of which nobody could tell."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from consentpanel.transport._waiting import Batch, Waiting, take_back, waiting_message

#: Seconds, as the vendor advises (https://docs.mixpanel.com/troubleshooting/errors/429-rate-limit-exceeded).
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 60.0

_CHANCE = random.SystemRandom()


#: Endpoints with one batch on its way at a time: of two updates of a profile the later one must arrive later.
_IN_ORDER = frozenset({"people", "groups"})


class _Queue(deque[Waiting]):
    """The messages of one endpoint that wait; a subclass of somebody's may append texts, as to the vendor's buffers."""

    def __init__(self, endpoint: str, lock: threading.RLock) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._lock = lock

    def append(self, message: Waiting | str) -> None:
        if isinstance(message, str):
            message = waiting_message(self._endpoint, message, None, None)
        with self._lock:
            super().append(message)

    def extend(self, messages: Iterable[Waiting | str]) -> None:
        for message in messages:
            self.append(message)


class Line:
    """The messages of one endpoint: those that wait, those on their way, and those of which nobody could tell.

    A message is in one of the three from `_Queue.append` until it is settled, so that nothing can interrupt it out of
    existence. Everything is done under the buffer's lock, which a signal handler of the same thread passes: between any two
    steps more may be appended, or purged.
    """

    __slots__ = (
        "_endpoint",
        "_settled",
        "_silences",
        "ask_at",
        "is_silent",
        "keeps_order",
        "on_its_way",
        "queue",
        "unanswered",
        "unanswered_subjects",
    )

    def __init__(self, endpoint: str, lock: threading.RLock) -> None:
        self.queue = _Queue(endpoint, lock)
        self._endpoint = endpoint
        self.keeps_order = endpoint in _IN_ORDER
        self.on_its_way: list[Waiting] = []
        self.unanswered: list[Waiting] = []
        self.unanswered_subjects: set[str] = set()
        #: When to ask again, how often in a row nobody answered, and whether the last batch got no answer at all.
        self.ask_at = 0.0
        self._silences = 0
        self.is_silent = False
        #: How many in the queue were purged: they stay there until their turn comes, which costs no search.
        self._settled = 0

    def __len__(self) -> int:
        return self.waiting + len(self.on_its_way) + len(self.unanswered)

    def __iter__(self) -> Iterator[Waiting]:
        return iter([*self.unanswered, *self.on_its_way, *self.queue])

    @property
    def waiting(self) -> int:
        """How many messages wait in the queue."""
        return len(self.queue) - self._settled

    def oldest(self) -> float | None:
        """Since when the oldest message is here, by `time.monotonic`; None for none."""
        # Those in the queue came one after the other.
        first = next((message for message in list(self.queue) if not message.is_settled), None)
        several = [*self.unanswered, *self.on_its_way, *([] if first is None else [first])]
        return min((message.since for message in several), default=None)

    def take(self, most: int) -> list[Waiting]:
        """Takes from the queue the messages at the front that one request can carry."""
        batch = Batch(self._endpoint)
        while len(batch.messages) < most and self.queue:
            message = self.queue[0]
            if not message.is_settled and not batch.has_room_for(message):
                break
            # In two places for a moment, rather than in none.
            self.on_its_way.append(message)
            first = self.queue.popleft()
            if first is not message:
                # A signal handler has made room, or put others before it.
                self.queue.appendleft(first)
            if message.is_settled or first is not message:
                self.on_its_way = [each for each in self.on_its_way if each is not message and not each.is_settled]
                self._settled = max(0, self._settled - message.is_settled)
            else:
                batch.add(message)
        return batch.messages

    def purge(self, is_theirs: Callable[[Waiting], bool]) -> list[Waiting]:
        """Takes back what waits and answers so; marks as unwanted what is on its way."""
        theirs = [message for message in self if is_theirs(message)]
        for message in theirs:
            message.is_unwanted = message.is_unwanted or message.is_on_its_way
        purged = take_back(message for message in theirs if not message.is_on_its_way)
        if purged:
            self.forget_settled()
            self._settled = sum(message.is_settled for message in list(self.queue))
        return purged

    def put_back(self, messages: Iterable[Waiting], *, at_end: bool = False) -> None:
        """Puts what is on its way, and was not settled, to the front again, in its order.

        Args:
            messages: Those that were on their way.
            at_end: Whether others are let past, where order does not count: the vendor refuses the token of these.
        """
        back = {id(message): message for message in messages if not (message.is_settled or message.is_unanswered)}
        self.on_its_way = [message for message in self.on_its_way if not message.is_settled and id(message) not in back]
        # An interrupted `take` has left some there.
        while self.queue and id(self.queue[0]) in back:
            self.queue.popleft()
        for message in back.values():
            message.is_on_its_way = False
        if at_end and not self.keeps_order:
            self.queue.extend(back.values())
        else:
            self.queue.extendleft(reversed(back.values()))

    def leave_unanswered(self, messages: Sequence[Waiting], *, all_of_batch: bool) -> None:
        """Sets aside messages of which nobody could tell whether they may go; none where each had an answer."""
        for message in messages:
            message.is_unanswered = True
            self.unanswered_subjects |= message.subjects
        if messages:
            self.unanswered += messages
            self.on_its_way = [message for message in self.on_its_way if not message.is_unanswered]
            self.ask_at = time.monotonic() + pause_after(self._silences)
        self.is_silent = all_of_batch and bool(messages)
        self._silences = self._silences + 1 if self.is_silent else 0

    def ask_again(self) -> None:
        """Puts those of which nobody could tell to the front again; where order counts, once nothing is on its way."""
        if self.keeps_order and self.on_its_way:
            return
        for message in reversed(list(self.unanswered)):
            # A signal handler that comes here too finds those that are left.
            if message.is_unanswered and not message.is_settled:
                message.is_unanswered = False
                self.queue.appendleft(message)
        self.unanswered = [message for message in self.unanswered if message.is_unanswered and not message.is_settled]
        self.is_silent = False
        self.unanswered_subjects = set()

    def is_due(self) -> bool:
        """Whether it is time to ask about those of which nobody could tell."""
        return bool(self.unanswered or self.is_silent) and time.monotonic() >= self.ask_at

    def is_quiet(self) -> bool:
        """Whether nobody answered, and it is too early to ask again."""
        return self.is_silent and time.monotonic() < self.ask_at

    def pop_unanswered(self) -> Waiting | None:
        """Takes out the oldest of which nobody could tell; None when there is none."""
        if self.unanswered:
            return self.unanswered.pop(0)
        # Where nobody answers at all, those behind wait for the same.
        while self.is_silent and self.queue:
            message = self.queue.popleft()
            if not message.is_settled:
                return message
            self._settled = max(0, self._settled - 1)
        return None

    def sweep(self) -> None:
        """Takes out of the queue what is settled, and drops it everywhere."""
        left = [message for message in self.queue if not message.is_settled]
        self.queue.clear()
        self.queue.extend(left)
        self._settled = 0
        self.forget_settled()

    def forget_settled(self) -> None:
        """Drops what is settled."""
        self.on_its_way = [message for message in self.on_its_way if not message.is_settled]
        self.unanswered = [message for message in self.unanswered if not message.is_settled]
        self.is_silent = self.is_silent and bool(self.unanswered)


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    # Jitter, so that many processes do not come back together; it needs no secret randomness.
    # Not the one of the module: its state is the application's.
    jitter = _CHANCE.uniform(1.0, 1.5)
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * float(2 ** min(failures, 10)) * jitter)
