"""A buffer that sends from threads of its own, so that no request waits for the vendor."""

from __future__ import annotations

import atexit
import multiprocessing.util
import threading
import time
from collections.abc import Sequence
from typing import Any

from consentpanel._checks import seconds, whole_number
from consentpanel._log import LOGGER, asked_by
from consentpanel._messages.decision import Reason
from consentpanel.transport._delivery import ALIVE, VENDOR_HOST, Buffer
from consentpanel.transport._http import DeliveryError, understood
from consentpanel.transport._line import pause_after
from consentpanel.transport._waiting import ENDPOINTS, Waiting, settle, vendor_error, waiting_message


class BackgroundConsumer(Buffer):
    """Takes messages into a bounded queue, and sends them in batches from threads of its own.

    As `BufferedConsumer` it asks for consent again before it sends, delivers no message twice, and loses none without
    saying so. `send` never waits for the vendor. It waits only for room in a full queue, at most `timeout` seconds;
    then the message is dropped, counted in `dropped`, and its `Decision` says ``queue_full``.

    After a failure (no answer, an answer that is none, HTTP 429 or 5xx) a batch is sent again after a pause with
    jitter, from 2 up to 60 seconds as the vendor asks, or what its ``Retry-After`` says. HTTP 413 splits the batch.
    HTTP 400 is never tried again: each message that it concerns gives the observers a second `Decision`,
    ``rejected_by_vendor``. When the vendor had taken a batch and only the answer was lost, it gets the batch twice:
    events are then de-duplicated by their ``$insert_id``; ``$add`` and ``$append`` count twice.

    Events and imports go over several connections. Updates of profiles go one batch after the other, in order. After
    `os.fork` the child starts with an empty queue and threads of its own; what waited is sent by the parent. At the
    end of the process it flushes for at most `exit_timeout` seconds, then reports what is left as ``not_delivered``.

    Args:
        max_size: The most messages in one batch: 1 to 2,000.
        events_url: Address for events, instead of the one at `api_host`.
        people_url: Address for user profiles, likewise.
        import_url: Address for imports, likewise.
        request_timeout: Seconds to wait for the vendor.
        groups_url: Address for group profiles, likewise.
        api_host: The vendor's host, such as ``"api-eu.mixpanel.com"``.
        retry_limit: How many times a request is tried again at once, before the batch pauses as described above.
        retry_backoff_factor: Seconds that the waits between these tries start from.
        verify_cert: Whether the vendor's certificate is verified.
        credentials: A `mixpanel.ServiceAccountCredentials`, used for imports. Needs mixpanel 5.2 or newer.
        consumer: The consumer that sends the batches, instead of the vendor's over HTTP; then none of the arguments
            from `events_url` to `credentials`, nor `gzip_imports`, may be given. Threads call it at the same time.
        gzip_imports: Whether imports are sent as compressed JSON with ``strict=1``, to which the vendor answers for
            each record. Needs a service account or an API secret.
        max_queued: The most messages that wait or are on their way.
        linger: Seconds that a batch waits to become full.
        timeout: The most seconds that `send` waits for room in the queue.
        flush_timeout: The most seconds that `flush` waits.
        exit_timeout: The most seconds that the end of the process waits.
        connections: How many threads send, 1 to 32.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel import BackgroundConsumer
        >>> from consentpanel.testing import FakeTransport
        >>> vendor = FakeTransport()
        >>> with BackgroundConsumer(consumer=vendor) as consumer:
        ...     consumer.send("events", '{"event": "Viewed", "properties": {"token": "T", "distinct_id": "user-1"}}')
        >>> len(vendor.events)
        1
    """

    #: Tells a client that nobody has to wait for a flush.
    sends_by_itself = True

    def __init__(
        self,
        max_size: int = 500,
        events_url: str | None = None,
        people_url: str | None = None,
        import_url: str | None = None,
        request_timeout: float = 10.0,
        groups_url: str | None = None,
        api_host: str = VENDOR_HOST,
        retry_limit: int = 0,
        retry_backoff_factor: float = 0.25,
        verify_cert: bool = True,
        credentials: Any = None,
        *,
        consumer: Any = None,
        gzip_imports: bool = False,
        max_queued: int = 10_000,
        linger: float = 0.5,
        timeout: float = 0.1,
        flush_timeout: float = 5.0,
        exit_timeout: float = 10.0,
        connections: int = 4,
    ) -> None:
        request_timeout = seconds("request_timeout", request_timeout)
        self._open(BackgroundConsumer, locals())
        self._max_queued = whole_number("max_queued", max_queued, self._max_size)
        self._connections = whole_number("connections", connections, 1, 32)
        self._linger = seconds("linger", linger)
        self._timeout = seconds("timeout", timeout)
        self._flush_timeout = seconds("flush_timeout", flush_timeout)
        self._exit_timeout = seconds("exit_timeout", exit_timeout)
        self._reset()
        ALIVE.add(self)
        # A child of multiprocessing leaves by os._exit, after which atexit has no say.
        multiprocessing.util.register_after_fork(self, _close_with_the_child)

    def _reset(self) -> None:
        super()._reset()
        #: By endpoint: when it may be tried again, how often it has failed in a row, since when a batch waits.
        self._not_before = dict.fromkeys(ENDPOINTS, 0.0)
        self._failures = dict.fromkeys(ENDPOINTS, 0)
        self._oldest = dict.fromkeys(ENDPOINTS, 0.0)
        self._last_cause = ""
        self._dropped = 0
        self._flushes = 0
        self._is_closed = False
        self._threads: list[threading.Thread] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} waiting={self.waiting} dropped={self._dropped}>"

    @property
    def waiting(self) -> int:
        """How many messages wait or are on their way."""
        return sum(map(len, self._lines.values()))

    @property
    def dropped(self) -> int:
        """How many messages were given up: no room, refused by the vendor, or left at the end of the process."""
        return self._dropped

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        """Queue a message. Without room after `timeout` seconds it is dropped and counted.

        Args:
            endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
            json_message: One message, as JSON.
            api_key: The project's API key, or the vendor's tuple ``(api_key, api_secret)``.
            api_secret: The project's API secret.

        Raises:
            MixpanelException: The endpoint is unknown, the message is no text, or the consumer is closed.
        """
        message = waiting_message(endpoint, json_message, api_key, api_secret)
        with self._changed:
            if self._is_closed:
                raise vendor_error(endpoint, f"{endpoint}: the consumer is closed; this message is not accepted")
            given_up = [] if self._has_room() else self._give_up_oldest(ENDPOINTS)
            self._dropped += len(given_up)
            is_taken = self._changed.wait_for(self._has_room, self._timeout) and not self._is_closed
            if is_taken:
                queue = self._lines[endpoint].queue
                if not queue:
                    self._oldest[endpoint] = time.monotonic()
                queue.append(message)
                if not self._threads:
                    self._start()
                if len(queue) == 1 or len(queue) >= self._sizes[endpoint]:
                    self._changed.notify_all()
            else:
                self._dropped += 1
        for each in given_up:
            each.lose(Reason.REGISTRY_ERROR)
        if not is_taken:
            LOGGER.debug("a message to %s found the queue full", endpoint)
            message.lose(Reason.QUEUE_FULL)

    def flush(self, timeout: float | None = None) -> None:
        """Send what waits now, and wait until it has arrived.

        Args:
            timeout: The most seconds to wait; `flush_timeout` when left out.

        Raises:
            MixpanelException: Not everything arrived in time; what did not is kept, and tried again.
        """
        with self._changed:
            self._flushes += 1
            self._changed.notify_all()
            try:
                for line in self._lines.values():
                    line.ask_again()
                done = self._changed.wait_for(self._is_flushed, self._flush_timeout if timeout is None else timeout)
            finally:
                self._flushes -= 1
            if not done:
                cause = f" ({self._last_cause})" if self._last_cause else ""
                raise vendor_error(None, f"{self.waiting} messages are not delivered yet, and are kept{cause}")

    # Named here too, so that the reference lists it.
    purge = Buffer.purge

    def close(self, timeout: float | None = None) -> None:
        """Accept no more, and send what waits. What is left after that time is given up, counted and reported.

        Args:
            timeout: The most seconds to wait; `exit_timeout` when left out.

        Raises:
            MixpanelException: Something was given up.
        """
        problem = self._close(self._exit_timeout if timeout is None else timeout)
        if problem:
            raise vendor_error(None, problem)

    def _close(self, timeout: float) -> str:
        """Closes; what could not be done, or nothing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_empty, timeout)
            left, unanswered = self._leave()
            # What is on its way may still arrive: it is counted when its sending fails.
            on_its_way = sum(len(line.on_its_way) for line in self._lines.values())
            self._dropped += len(left) + len(unanswered)
            threads, self._threads = self._threads, []
            self._changed.notify_all()
        for message in left:
            message.lose(Reason.NOT_DELIVERED)
        for message in unanswered:
            message.lose(Reason.REGISTRY_ERROR)
        for thread in threads:
            if thread is not threading.current_thread():
                # Not for long: one that still waits for the vendor ends with the process.
                thread.join(0.2)
        if left or unanswered or on_its_way:
            count = len(left) + len(unanswered)
            return f"closed with {count} messages not delivered and {on_its_way} still on their way"
        return ""

    def _leave(self) -> tuple[list[Waiting], list[Waiting]]:
        """Takes out all that waits: what only the vendor keeps, and that of which nobody could tell."""
        left: list[Waiting] = []
        unanswered: list[Waiting] = []
        for line in self._lines.values():
            unanswered += settle(line.unanswered)
            (unanswered if line.is_silent else left).extend(settle(line.queue))
            line.queue.clear()
            line.forget_settled()
        return left, unanswered

    def _has_room(self) -> bool:
        return self._is_closed or self.waiting < self._max_queued

    def _is_empty(self) -> bool:
        return self.waiting == 0

    def _is_flushed(self) -> bool:
        """Whether nothing waits but for an answer of the registry."""
        return not any(line.on_its_way or (line.queue and not line.is_silent) for line in self._lines.values())

    def _start(self) -> None:
        for number in range(self._connections):
            thread = threading.Thread(target=self._work, name=f"consentpanel-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (endpoint := self._next()) is None:
                    if self._is_closed and not self.waiting:
                        return
                    self._changed.wait(self._pause())
                batch = self._lines[endpoint].take(self._sizes[endpoint])
                self._oldest[endpoint] = time.monotonic()
            try:
                failure: BaseException | None = self._deliver(endpoint, batch)
            except BaseException as error:  # noqa: BLE001 - a thread that ends would end delivery; the batch is kept
                failure = error
            if failure is not None:
                self._keep(endpoint, batch, failure)

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
            is_ready = line.waiting >= self._sizes[endpoint] or self._flushes or self._is_closed
            if is_ready or present - self._oldest[endpoint] >= self._linger:
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
        ready += [line.ask_at for line in self._lines.values() if line.unanswered or line.is_silent]
        # Never nothing: a queue may be ready and have to wait for the batch before it.
        return max(0.005, min(ready) - present) if ready else None

    def _note_sent(self, endpoint: str, failure: DeliveryError | None, refused: int) -> None:  # noqa: ARG002 - both are told alike
        self._dropped += refused
        self._failures[endpoint] = 0
        self._not_before[endpoint] = 0.0

    def _keep(self, endpoint: str, batch: Sequence[Waiting], error: BaseException) -> None:
        """Puts back what could not be sent, at the front, and pauses."""
        failure = understood(error) if isinstance(error, Exception) else DeliveryError(type(error).__name__)
        with self._changed:
            unwanted = self._take_back(endpoint, batch)
            given_up = self._settle(endpoint, batch) if self._is_closed and not self._threads else []
            self._dropped += len(given_up)
            self._lines[endpoint].put_back(batch)
            self._last_cause = str(failure)
            pause = failure.retry_after or pause_after(self._failures[endpoint])
            self._not_before[endpoint] = time.monotonic() + pause
            self._failures[endpoint] += 1
            self._changed.notify_all()
        for message in unwanted:
            message.discard()
        for message in given_up:
            message.lose(Reason.NOT_DELIVERED)
        LOGGER.debug("a batch to %s was not delivered and is tried again: %s%s", endpoint, failure, asked_by())


def _close_all() -> None:
    for consumer in ALIVE:
        if isinstance(consumer, BackgroundConsumer) and consumer.waiting:
            problem = consumer._close(consumer._exit_timeout)  # noqa: SLF001 - the same file
            if problem:
                LOGGER.warning("the process ended: %s", problem)


def _close_with_the_child(consumer: BackgroundConsumer) -> None:
    # Without a priority it would not be called at the end of the child.
    multiprocessing.util.Finalize(consumer, _close_all, exitpriority=10)


atexit.register(_close_all)
