"""A buffer in front of the vendor: safe from many threads, and asked about consent once more when it is flushed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from consentpanel._checks import whole_number
from consentpanel._log import LOGGER
from consentpanel._messages.decision import Reason
from consentpanel._mixpanel import vendor
from consentpanel.transport._delivery import VENDOR_HOST, Buffer
from consentpanel.transport._ends import has_ended, watch, watch_signal
from consentpanel.transport._http import DeliveryError, HttpConsumer
from consentpanel.transport._waiting import ENDPOINTS, Waiting, settle, vendor_error, waiting_message

#: Seconds that a flush waits for the one of another thread, at most.
_LONGEST_WAIT = 60.0
#: The same, at the end of the process.
_LAST_WAIT = 10.0


class BufferedConsumer(Buffer, vendor.BufferedConsumer):  # type: ignore[misc]
    """Keeps messages and sends them in batches; takes the place of `mixpanel.BufferedConsumer`.

    It differs from the vendor's in four ways: many threads may share one; a message that was delivered is never sent
    again by a later flush; a message that was not delivered stays, in its place; and consent is asked for again at the
    flush, so that what waited for somebody who has since withdrawn is discarded.

    A batch whose sending failed is kept and sent again by the next flush. When the vendor had taken it and only the
    answer was lost, it gets the batch twice: events are then de-duplicated by their ``$insert_id``, but ``$add`` and
    ``$append`` of a profile update count twice. A batch that is too large for the vendor (HTTP 413) is split. One that
    it refuses (HTTP 400) is halved, until what it refuses stands alone: that is not sent again, and gives the observers a
    second `Decision`. At the end of the process what waits is flushed, and what cannot be delivered told as lost.

    After `os.fork` the child starts with empty buffers, so that parent and child do not send the same messages.

    Args:
        max_size: Messages of one endpoint that start a flush by themselves, and the most in one batch: 1 to 2,000.
            (The vendor's class takes at most 50.)
        events_url: Address for events, instead of the one at `api_host`.
        people_url: Address for user profiles, likewise.
        import_url: Address for imports, likewise.
        request_timeout: Seconds that a whole request may take, however little at a time the vendor answers; None waits
            without limit.
        groups_url: Address for group profiles, likewise.
        api_host: The vendor's host, such as ``"api-eu.mixpanel.com"``.
        retry_limit: How many times a request is tried again after a connection error or an HTTP status of 5xx.
        retry_backoff_factor: Seconds that the waits between tries start from.
        verify_cert: Whether the vendor's certificate is verified.
        credentials: A `mixpanel.ServiceAccountCredentials`, used for imports. Needs mixpanel 5.2 or newer.
        consumer: The consumer that sends the batches, instead of a new `mixpanel.Consumer`; then none of the
            arguments from `events_url` to `credentials`, nor `gzip_imports` and `project_secret`, may be given.
        max_buffered: The most messages of one endpoint that wait at a time, at least `max_size`. When they are
            reached and a flush frees nothing, `send` raises and does not accept the message.
        endpoint: Where events go: ``"track"``, as the vendor's consumers send them, or ``"import"``, which the vendor recommends
            for servers: compressed JSON with ``strict=1``, so that it checks each event and names what it refuses, which gives the
            observers a second `Decision`. With `credentials`, or `project_secret`, or else the project's token.
        project_secret: The project's secret for imports, which the vendor retires in March 2027 in favour of `credentials`.
        gzip_imports: Whether imports are sent as compressed JSON with ``strict=1``, to which the vendor answers for
            each record. Needs a service account or an API secret.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel import BufferedConsumer
        >>> from consentpanel.testing import FakeTransport
        >>> vendor = FakeTransport()
        >>> with BufferedConsumer(max_size=500, consumer=vendor) as consumer:
        ...     consumer.send("events", '{"event": "Viewed", "properties": {"token": "T", "distinct_id": "user-1"}}')
        ...     len(vendor.events)
        0
        >>> len(vendor.events)
        1
    """

    def __init__(
        self,
        max_size: int = 50,
        events_url: str | None = None,
        people_url: str | None = None,
        import_url: str | None = None,
        request_timeout: float | None = None,
        groups_url: str | None = None,
        api_host: str = VENDOR_HOST,
        retry_limit: int = 4,
        retry_backoff_factor: float = 0.25,
        verify_cert: bool = True,
        credentials: Any = None,
        *,
        consumer: Any = None,
        endpoint: str = "track",
        project_secret: str | None = None,
        max_buffered: int = 10_000,
        gzip_imports: bool = False,
    ) -> None:
        self._open(BufferedConsumer, locals())
        self._max_buffered = self._most_held = whole_number("max_buffered", max_buffered, self._max_size)
        self._is_closed = False
        self._reset()
        watch(self)

    def _reset(self) -> None:
        super()._reset()
        self._flush_lock = threading.RLock()
        self._flushing: str | None = None
        #: How many of the messages at the front the flush has still to take.
        self._left = 0
        #: What the vendor refused for good, by endpoint, until somebody is told.
        self._refusals: dict[str, str] = {}

    def __repr__(self) -> str:
        waiting = {endpoint: len(line) for endpoint, line in self._lines.items()}
        return f"<{type(self).__name__} max_size={self._max_size} waiting={waiting}>"

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        """Add a message, and flush its endpoint when `max_size` is reached.

        A message from a client of this package is judged again when it is flushed. An ordinary string is not: it
        was judged by whoever hands it over.

        Args:
            endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
            json_message: One message, as JSON.
            api_key: The project's API key, or the vendor's tuple ``(api_key, api_secret)``.
            api_secret: The project's API secret.

        Raises:
            MixpanelException: The endpoint is unknown, the message is no text, the buffer is full or closed (the
                message is then not accepted), or the flush failed (the message is then kept).
        """
        message = waiting_message(endpoint, json_message, api_key, api_secret)
        if message.ticket is not None and message.hold_for:
            if self._is_closed:
                self._refuse_closed(endpoint)
            watch_signal()
            self._holding.add(endpoint, message)
            self._give_up_old()
            if has_ended():
                self.end()
            return
        self._go_before(endpoint, message)
        waiting = self._add(endpoint, message)
        if waiting == 1:
            # What has forked this process may have taken its signals back, as RQ does in each job.
            watch_signal()
        if waiting is None:
            failure = self._flush_one(endpoint)
            given_up: list[Waiting] = []
            with self._lock:
                waiting = self._add(endpoint, message)
                if waiting is None:
                    given_up = self._give_up_oldest([endpoint])
                    waiting = self._add(endpoint, message)
            for each in given_up:
                each.lose(Reason.REGISTRY_ERROR)
            if waiting is None:
                cause = "" if failure is None else f" ({failure})"
                text = f"{self._max_buffered} messages wait already; this one is not accepted{cause}"
                raise vendor_error(endpoint, f"{endpoint}: {text}")
        # Whoever flushes already will find it, or leaves it to the next.
        self._give_up_old()
        if waiting >= self._max_size and not self._lines[endpoint].is_quiet() and self._may_flush():
            self._flush_endpoint(endpoint)
        elif has_ended():
            self.end()

    #: Tells a client that what may not leave yet is kept back here: not by what a subclass, or a test, puts in the place of `send`.
    holds_back = send

    def flush(self) -> None:
        """Send everything that waits now, endpoint by endpoint, in order.

        An endpoint that fails does not keep the others from being flushed. What waits because the registry fails stays, in
        its order, and is asked about again by the next flush; no error is raised for that.

        Raises:
            MixpanelException: A batch was not delivered and is kept. The first failure is raised; its attribute
                `endpoint` names the endpoint. Unlike the vendor's, it does not carry the batch: a batch is full of
                personal data, and error reports travel.
        """
        self.look_at_held()
        failures = [(endpoint, self._flush_one(endpoint)) for endpoint in ENDPOINTS]
        for endpoint, failure in failures:
            self._raise_for(endpoint, failure)

    # Named here too, so that the reference lists it.
    purge = Buffer.purge

    def close(self) -> None:
        """Flush, and accept no more messages; a message after this would never be sent.

        Raises:
            MixpanelException: The flush failed. What was not delivered is kept: call `flush` or `close` again.
        """
        with self._lock:
            self._is_closed = True
        self.flush()
        self._holding.end()

    def end(self) -> None:
        """Flushes before the process ends, and reports as lost what was not delivered."""
        if not any(map(len, self._lines.values())) and not self._holding:
            return
        if isinstance(self._consumer, HttpConsumer):
            self._consumer.hurry()
        with suppress(Exception):
            self.look_at_held()
            for endpoint in ENDPOINTS:
                # Nobody waits for a vendor that does not answer once for each endpoint.
                if self._flush_one(endpoint, _LAST_WAIT) is not None:
                    break
        self._lose_all("the process ends: %d buffered messages were not delivered")

    def __del__(self) -> None:
        # Nobody could flush it any more; what waits is told, and not sent in the middle of anything.
        with suppress(Exception):
            self._lose_all("a buffer was collected: %d messages that waited in it were not delivered")

    def _lose_all(self, text: str) -> None:
        with self._lock:
            lines = self._lines.values()
            unanswered = settle(message for line in lines for message in line.unanswered)
            left = settle(message for line in lines for message in line.queue)
            for line in lines:
                line.sweep()
        self._holding.end()
        for reason, lost in ((Reason.REGISTRY_ERROR, unanswered), (Reason.NOT_DELIVERED, left)):
            for message in lost:
                message.lose(reason)
        if left or unanswered:
            LOGGER.warning(text, len(left) + len(unanswered))

    def _may_flush(self) -> bool:
        """Whether no other thread flushes at this moment."""
        may = self._flush_lock.acquire(blocking=False)
        if may:
            self._flush_lock.release()
        return may

    def _raise_for(self, endpoint: str, failure: str | None) -> None:
        refusal = self._refusals.pop(endpoint, None)
        cause, fate = (refusal, "is not sent again") if failure is None else (failure, "is kept")
        if cause is not None:
            raise vendor_error(endpoint, f"{endpoint}: a batch was not delivered and {fate} ({cause})")

    def _give_up_old(self) -> None:
        # No thread does; and a call does not wait for what the registry says of everybody.
        if self._holding and self._holding.is_due(ends_alone=True):
            self._holding.look_at_ends(self._take_released)

    def _refuse_closed(self, endpoint: str) -> None:
        raise vendor_error(endpoint, f"{endpoint}: the buffer is closed; this message is not accepted")

    def _add(self, endpoint: str, message: Waiting) -> int | None:
        """How many messages wait for a flush that has not begun, with this one; None when there is no room for it."""
        with self._lock:
            if self._is_closed:
                self._refuse_closed(endpoint)
            line = self._lines[endpoint]
            waiting = line.waiting
            if waiting + len(line.on_its_way) + len(line.unanswered) >= self._max_buffered:
                return None
            # Not the queue's own method, which takes texts as well.
            deque.append(line.queue, message)
            return waiting + 1 - (self._left if self._flushing == endpoint else 0)

    def _flush_endpoint(self, endpoint: str) -> None:
        # By the vendor's name, because subclasses call and override it.
        self._raise_for(endpoint, self._flush_one(endpoint))

    def _flush_one(self, endpoint: str, patience: float = _LONGEST_WAIT) -> str | None:
        """Flush one endpoint: what failed, or None. It raises nothing itself, because its frames hold the batch."""
        if self._flush_lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - as Condition does
            # This thread is flushing already: a registry, a consumer or a signal handler has called back into the buffer.
            return None
        # A signal handler may have interrupted code that holds what the thread that flushes waits for.
        if not self._flush_lock.acquire(timeout=0 if self._lock_is_mine() else patience):
            return "another thread is flushing"
        try:
            return self._flush_alone(endpoint)
        finally:
            self._flush_lock.release()

    def _lock_is_mine(self) -> bool:
        is_owned: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001 - as Condition does
        return is_owned()

    def _flush_alone(self, endpoint: str) -> str | None:
        if self._flushing is not None:
            # What a signal has ended in the middle is put back.
            self._end_flush(self._flushing)
        line = self._lines[endpoint]
        try:
            with self._lock:
                self._flushing = endpoint
                line.ask_again()
                # What arrives from now on waits for the next flush, or busy threads would keep this one for ever.
                self._left = len(line.queue)
            while self._left > 0 and not line.is_silent:
                with self._lock:
                    batch = line.take(min(self._left, self._max_size, self._sizes[endpoint]))
                    # An empty batch: somebody has purged what was left.
                    self._left -= len(batch) or self._left
                failure = self._deliver(endpoint, batch)
                if failure is not None:
                    return str(failure)
        finally:
            self._end_flush(endpoint)
        return None

    def _note_sent(self, endpoint: str, failure: DeliveryError | None) -> None:
        if failure is not None:
            self._refusals[endpoint] = str(failure)

    def _end_flush(self, endpoint: str) -> None:
        with self._lock:
            self._flushing = None
            self._left = 0
            line = self._lines[endpoint]
            unwanted = self._take_back(endpoint, line.on_its_way)
            line.put_back(line.on_its_way)
        for message in unwanted:
            message.discard()
