"""The threads and connections by which background consumers of equal settings deliver together."""

from __future__ import annotations

import inspect
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from consentpanel._log import LOGGER, asked_by
from consentpanel._messages.decision import Reason
from consentpanel.transport._ends import has_ended, watch
from consentpanel.transport._holding import Held
from consentpanel.transport._http import UNAUTHORIZED, shared
from consentpanel.transport._threaded import ThreadedBuffer
from consentpanel.transport._waiting import ENDPOINTS, Account, Waiting, settle, vendor_error

#: Seconds after which a thread that has nothing to do ends; the next message starts one.
_IDLE = 2.0


class Courier(ThreadedBuffer):
    """One queue, and threads that send from it, for all background consumers of equal settings.

    A thread starts when there is something to send, more when there is more, and ends when there is nothing.

    Args:
        buffer: The class that takes the arguments, and knows their defaults.
        given: The arguments by name.
        max_queued: The most messages that wait or are on their way.
        max_queued_bytes: The most bytes of JSON of these.
        linger: Seconds that a batch waits to become full.
        connections: The most threads.

    Raises:
        ConfigurationError: An argument cannot work.
    """

    def __init__(
        self,
        buffer: type,
        given: Mapping[str, Any],
        *,
        max_queued: int,
        max_queued_bytes: int,
        linger: float,
        connections: int,
    ) -> None:
        self._open(buffer, given)
        self._buffer = buffer
        self._max_queued, self._max_queued_bytes = max_queued, max_queued_bytes
        self._most_held = max_queued
        self._linger, self._connections = linger, connections
        self._accounts: weakref.WeakSet[Account] = weakref.WeakSet()
        self._reset()
        watch(self)

    def _reset(self) -> None:
        super()._reset()
        #: By endpoint: since when a batch waits.
        self._oldest = dict.fromkeys(ENDPOINTS, 0.0)
        self._idle = 0
        #: How many looks at what is held there were, whether there is one, and whether one is wanted.
        self._looks = 0
        self._is_looking = self._is_look_wanted = False
        #: What all of its consumers have queued.
        self.whole = Account()
        for account in self._accounts:
            account.begin(self.whole)

    def with_consumer(self, consumer: Any) -> Courier:
        """This courier with another consumer; one of its own when other consumers share this one."""
        if len(self._accounts) < 2:
            self._consumer = consumer
            return self
        defaults = {name: each.default for name, each in inspect.signature(self._buffer).parameters.items()}
        endpoint = "import" if self._imports_events else "track"
        given = {**defaults, "max_size": self._max_size, "consumer": consumer, "endpoint": endpoint}
        apart = Courier(
            self._buffer,
            given,
            max_queued=self._max_queued,
            max_queued_bytes=self._max_queued_bytes,
            linger=self._linger,
            connections=self._connections,
        )
        apart.exit_timeout = self.exit_timeout
        return apart

    def open_account(self) -> Account:
        """An account of one more consumer; while somebody holds it open, threads may wait for work."""
        account = Account(self.whole)
        self._accounts.add(account)
        return account

    def put(self, endpoint: str, message: Waiting, account: Account, timeout: float) -> None:
        """Queues a message. Without room after `timeout` seconds it is dropped and counted.

        Raises:
            MixpanelException: The account is closed.
        """
        with self._lock:
            if account.is_closed:
                raise vendor_error(endpoint, f"{endpoint}: the consumer is closed; this message is not accepted")
            if message.hold_for and not self._threads:
                self._start()
        if message.hold_for:
            self._holding.add(endpoint, message, account)
            with self._lock:
                self._changed.notify_all()
            if has_ended():
                self.end()
            return
        self._go_before(endpoint, message)
        with self._lock:
            given_up = [] if self._has_room() else self._give_up_oldest(ENDPOINTS)
            is_taken = self._changed.wait_for(lambda: account.is_closed or self._has_room(), timeout)
            is_taken = is_taken and not account.is_closed
            if is_taken:
                queue = self._lines[endpoint].queue
                if not queue:
                    self._oldest[endpoint] = time.monotonic()
                try:
                    message.enter(account)
                    queue.append(message)
                except BaseException:
                    # A time limit of a job may interrupt at any point: what is counted is there to be settled.
                    if not any(each is message for each in queue):
                        settle([message])
                    raise
                is_full = len(queue) >= self._sizes[endpoint]
                if not self._threads or (is_full and not self._idle):
                    self._start()
                if len(queue) == 1 or is_full:
                    self._changed.notify_all()
            else:
                message.enter(account)
                given_up += settle([message])
            self._count_lost(given_up)
        for each in given_up:
            each.lose(Reason.QUEUE_FULL if each is message else Reason.REGISTRY_ERROR)
        if not is_taken:
            LOGGER.debug("a message to %s found the queue full", endpoint)
        elif has_ended():
            # No thread starts any more.
            self._send_here()
            self.end()

    def flush(self, account: Account, timeout: float) -> bool:
        """Sends what waits now; whether all that an account has queued has arrived, or waits for the registry alone."""
        with self._lock:
            self._flushes += 1
            self._wake()
            looks = self._want_look()
            try:
                for line in self._lines.values():
                    line.ask_again()
                return self._changed.wait_for(lambda: self._looks >= looks and self._is_flushed(account), timeout)
            finally:
                self._flushes -= 1

    def close(self, account: Account, timeout: float) -> str:  # type: ignore[override]
        """Accepts no more for an account, and gives up what is left after that time; what was given up, or nothing.

        Args:
            account: Of one consumer.
            timeout: Seconds.
        """
        account.is_closed = True
        until = time.monotonic() + timeout
        self._look_once(timeout / 2)
        self._holding.end(lambda each: each.account is account)
        problem = self._finish(account, max(0.0, until - time.monotonic()))
        with self._lock:
            account.is_gone = True
            ending = list(self._threads) if self._may_end() else []
            self._changed.notify_all()
        for thread in ending:
            if thread is not threading.current_thread():
                # Not for long: one that still waits for the vendor ends with the process.
                thread.join(0.2)
        return problem

    def end(self) -> None:
        """Delivers what waits before the process ends, and reports what could not be. It may go on all the same."""
        until = time.monotonic() + self.exit_timeout
        if self._holding:
            self._look_once(self.exit_timeout / 2)
            self._holding.end()
        left = max(0.0, until - time.monotonic())
        if self.whole.waiting and (problem := self._finish(self.whole, left, is_end=True)):
            LOGGER.warning("the process ends: %s", problem)

    def _finish(self, account: Account, timeout: float, *, is_end: bool = False) -> str:
        """Has what waits for an account sent, and gives up what is left after that time; what was, or nothing."""
        with self._lock:
            self._flushes += 1
            self._wake()
            self._changed.wait_for(lambda: not account.waiting and self._is_told(), timeout)
            self._flushes -= 1
            left, unanswered = self._leave(account)
            # What is on its way may still arrive: it is counted when its sending fails, if anybody is there then.
            on_its_way = account.waiting
            if is_end:
                for endpoint, line in self._lines.items():
                    left += self._settle(endpoint, line.on_its_way)
            self._count_lost([*left, *unanswered])
            self._changed.notify_all()
        for message in left:
            message.lose(Reason.NOT_DELIVERED)
        for message in unanswered:
            message.lose(Reason.REGISTRY_ERROR)
        if left or unanswered or on_its_way:
            count = len(left) + len(unanswered)
            which = "of these" if is_end else "and"
            return f"{count} messages were not delivered, {which} {on_its_way} are still on their way"
        return ""

    def _take_released(self, held: Held) -> None:
        with self._lock:
            if held.account is not None:
                held.message.enter(held.account)
            super()._take_released(held)
            if not self._threads:
                self._start()
            self._changed.notify_all()

    def _want_look(self) -> int:
        """Has a thread look at what is held; how many looks there have to be then. Under the lock."""
        if not self._holding:
            return 0
        if not self._idle:
            self._start()
        if not self._threads:
            self.look_at_held()
            return 0
        self._is_look_wanted = True
        self._changed.notify_all()
        # One that has begun may have asked before the answer came.
        return self._looks + 1 + self._is_looking

    def _look_once(self, timeout: float) -> None:
        with self._lock:
            looks = self._want_look()
            self._changed.wait_for(lambda: self._looks >= looks, timeout)

    def _look(self) -> None:
        with self._lock:
            self._is_look_wanted, self._is_looking = False, True
        try:
            self.look_at_held()
        finally:
            with self._lock:
                self._looks += 1
                self._is_looking = False
                self._changed.notify_all()

    def _wake(self) -> None:
        """Has what waits sent now: by a thread, or here where the system gives none. Under the lock."""
        if self.whole.waiting and not self._threads:
            self._start()
            if not self._threads:
                self._send_here()
        self._changed.notify_all()

    def _send_here(self) -> None:
        for endpoint in ENDPOINTS:
            while batch := self._taken(endpoint):
                if self._tried(endpoint, batch) is not None:
                    break

    def _leave(self, account: Account) -> tuple[list[Waiting], list[Waiting]]:
        """Takes out what waits for an account: what only the vendor keeps, and that of which nobody could tell."""
        left: list[Waiting] = []
        unanswered: list[Waiting] = []
        for line in self._lines.values():
            unanswered += settle(message for message in line.unanswered if message.is_of(account))
            theirs = settle(message for message in line.queue if message.is_of(account))
            (unanswered if line.is_silent else left).extend(theirs)
            line.sweep()
        return left, unanswered

    @property
    def has_room(self) -> bool:
        """Whether a message would be queued at once, as far as can be told without waiting."""
        return self._has_room()

    def _has_room(self) -> bool:
        return self.whole.waiting < self._max_queued and self.whole.size < self._max_queued_bytes

    def _is_flushed(self, account: Account) -> bool:
        """Whether nothing of an account waits but for an answer of the registry."""
        if not account.waiting:
            return self._is_told()
        return not any(
            message.account is account and not message.is_settled
            for line in self._lines.values()
            for message in (*line.on_its_way, *(() if line.is_silent else line.queue))
        )

    def _is_closed(self) -> bool:
        """Whether no consumer could queue more."""
        return all(account.is_closed for account in self._accounts)

    def _may_end(self) -> bool:
        """Whether no consumer could queue more, and nothing waits."""
        return not self.whole.waiting and self._is_closed()

    def _new_thread(self, name: str) -> threading.Thread:
        return threading.Thread(target=self._work, name=name, daemon=True)

    def _work(self) -> None:
        try:
            while (found := self._awaited()) is not None:
                if found[1]:
                    self._tried(*found)
                else:
                    self._look()
        finally:
            self.leave()

    def _awaited(self) -> tuple[str, list[Waiting]] | None:
        """Waits for a batch that may go now, and takes it; None when there was nothing to do for a while.

        An empty one when it is time to look at what is held.
        """
        with self._lock:
            while (endpoint := self._next()) is None:
                if not self._is_looking and (self._is_look_wanted or self._holding.is_due()):
                    return "", []
                pause = self._pause()
                is_woken = True
                if not (is_over := pause is None and self._may_end()):
                    self._idle += 1
                    is_woken = self._changed.wait(_IDLE if pause is None else pause)
                    self._idle -= 1
                if is_over or (pause is None and not is_woken and not self.whole.waiting):
                    # Before the lock is left: what comes next has to start another one.
                    self.leave()
                    return None
            return endpoint, self._taken(endpoint)

    def _taken(self, endpoint: str) -> list[Waiting]:
        with self._lock:
            batch = self._lines[endpoint].take(self._sizes[endpoint])
            self._oldest[endpoint] = time.monotonic()
            return batch

    def _tried(self, endpoint: str, batch: Sequence[Waiting]) -> BaseException | None:
        """Sends a batch, and keeps what failed; why it failed."""
        try:
            failure: BaseException | None = self._deliver(endpoint, batch)
        except BaseException as error:  # noqa: BLE001 - a thread that ends would end delivery; the batch is kept
            failure = error
        if failure is not None:
            self._keep(endpoint, batch, failure)
        return failure

    def _next(self) -> str | None:
        """An endpoint with a batch that may go now."""
        present = time.monotonic()
        for endpoint, line in self._lines.items():
            if line.is_due():
                line.ask_again()
            if not line.queue or line.is_silent or present < self._not_before[endpoint]:
                continue
            if line.on_its_way and (line.keeps_order or self._failures[endpoint]):
                continue
            if line.waiting >= self._sizes[endpoint] or self._flushes or self._is_closed():
                return endpoint
            if present - self._oldest[endpoint] >= self._linger:
                return endpoint
        return None

    def _pause(self) -> float | None:
        """Seconds until a queue may be ready; None when all are empty."""
        present = time.monotonic()
        ready = [
            max(self._not_before[endpoint], 0.0 if self._flushes else self._oldest[endpoint] + self._linger)
            for endpoint, line in self._lines.items()
            if line.queue and not line.is_silent
        ]
        if self._holding:
            ready.append(self._holding.due_at)
        ready += [line.ask_at for line in self._lines.values() if line.unanswered or line.is_silent]
        # Never nothing: a queue may be ready and have to wait for the batch before it.
        return max(0.005, min(ready) - present) if ready else None

    def _keep(self, endpoint: str, batch: Sequence[Waiting], error: BaseException) -> None:
        """Puts back what could not be sent, at the front, and pauses."""
        with self._lock:
            unwanted = self._take_back(endpoint, batch)
            gone = [message for message in batch if message.account is not None and message.account.is_gone]
            given_up = self._settle(endpoint, gone)
            self._count_lost(given_up)
            failure = self._note_failure(endpoint, error)
            self._lines[endpoint].put_back(batch, at_end=failure.status in UNAUTHORIZED)
            self._changed.notify_all()
        for message in unwanted:
            message.discard()
        for message in given_up:
            message.lose(Reason.NOT_DELIVERED)
        LOGGER.debug("a batch to %s was not delivered and is tried again: %s%s", endpoint, failure, asked_by())


_SHARED: weakref.WeakValueDictionary[tuple[object, ...], Courier] = weakref.WeakValueDictionary()


def courier_of(buffer: type, given: Mapping[str, Any], **settings: Any) -> Courier:
    """The courier for some arguments: the one of all consumers with the same, unless one was given a consumer of its own.

    Args:
        buffer: The class that takes the arguments, and knows their defaults.
        given: The arguments by name.
        settings: The keywords of `Courier`.

    Raises:
        ConfigurationError: An argument cannot work.
    """
    return shared(_SHARED, given, lambda: Courier(buffer, given, **settings), **settings)
