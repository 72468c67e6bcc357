"""A consumer that has threads send, so that no request waits for the vendor."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from consentpanel._checks import seconds, whole_number
from consentpanel.transport._courier import courier_of
from consentpanel.transport._delivery import VENDOR_HOST
from consentpanel.transport._waiting import vendor_error, waiting_message

if TYPE_CHECKING:
    from consentpanel.transport._courier import Courier
    from consentpanel.transport._ticket import Restorer


class BackgroundConsumer:
    """Takes messages into a bounded queue, from which threads send them in batches.

    As `BufferedConsumer` it asks for consent again before it sends, delivers no message twice, and loses none without
    saying so. `send` never waits for the vendor. It waits only for room in a full queue, at most `timeout` seconds;
    then the message is dropped, counted in `dropped`, and its `Decision` says ``queue_full``.

    After a failure (no answer, an answer that is none, HTTP 429 or 5xx) a batch is sent again after a pause with
    jitter, from 2 up to 60 seconds as the vendor asks, or what its ``Retry-After`` says. HTTP 413 splits the batch.
    HTTP 400 halves it, until what the vendor refuses stands alone: that is never tried again, and gives the observers a
    second `Decision`, ``rejected_by_vendor``. When the vendor had taken a batch and only the answer was lost, it gets the batch twice:
    events are then de-duplicated by their ``$insert_id``; ``$add`` and ``$append`` count twice.

    Consumers with equal arguments share queue, threads and connections, so that one for each request costs little. A thread
    starts when there is something to send, and ends when there is nothing. Events and imports go over several connections.
    Updates of profiles go one batch after the other, in order. After `os.fork` the child starts with an empty queue and
    threads of its own; what waited is sent by the parent. At the end of the process it flushes for at most `exit_timeout`
    seconds, then reports what is left as ``not_delivered``; so it does before SIGTERM, where nobody else handles that.

    Args:
        max_size: The most messages in one batch: 1 to 2,000.
        events_url: Address for events, instead of the one at `api_host`.
        people_url: Address for user profiles, likewise.
        import_url: Address for imports, likewise.
        request_timeout: Seconds that a whole request may take, however little at a time the vendor answers.
        groups_url: Address for group profiles, likewise.
        api_host: The vendor's host, such as ``"api-eu.mixpanel.com"``.
        retry_limit: How many times a request is tried again at once, before the batch pauses as described above.
        retry_backoff_factor: Seconds that the waits between these tries start from.
        verify_cert: Whether the vendor's certificate is verified.
        credentials: A `mixpanel.ServiceAccountCredentials`, used for imports. Needs mixpanel 5.2 or newer.
        consumer: The consumer that sends the batches, instead of the vendor's over HTTP; then none of the arguments
            from `events_url` to `credentials`, nor `gzip_imports` and `project_secret`, may be given. Threads call it at the same time.
        endpoint: Where events go: ``"track"``, as the vendor's consumers send them, or ``"import"``, which the vendor recommends
            for servers: compressed JSON with ``strict=1``, so that it checks each event and names what it refuses, which gives the
            observers a second `Decision`. With `credentials`, or `project_secret`, or else the project's token.
        project_secret: The project's secret for imports, which the vendor retires in March 2027 in favour of `credentials`.
        gzip_imports: Whether imports are sent as compressed JSON with ``strict=1``, to which the vendor answers for
            each record. Needs a service account or an API secret.
        max_queued: The most messages that wait or are on their way.
        max_queued_bytes: The most bytes of JSON of these.
        linger: Seconds that a batch waits to become full.
        timeout: The most seconds that `send` waits for room in the queue.
        flush_timeout: The most seconds that `flush` waits.
        exit_timeout: The most seconds that the end of the process waits.
        connections: The most threads that send at a time, 1 to 32.

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
    #: Tells a client that consent is asked for again before a message leaves.
    judges_again = True

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
        endpoint: str = "track",
        project_secret: str | None = None,
        gzip_imports: bool = False,
        max_queued: int = 10_000,
        max_queued_bytes: int = 256_000_000,
        linger: float = 0.5,
        timeout: float = 0.1,
        flush_timeout: float = 5.0,
        exit_timeout: float = 10.0,
        connections: int = 4,
    ) -> None:
        request_timeout = seconds("request_timeout", request_timeout)
        self._timeout = seconds("timeout", timeout)
        self._flush_timeout = seconds("flush_timeout", flush_timeout)
        self._exit_timeout = seconds("exit_timeout", exit_timeout)
        self._courier = courier_of(
            BackgroundConsumer,
            locals(),
            max_queued=whole_number("max_queued", max_queued, max_size if isinstance(max_size, int) else 1),
            max_queued_bytes=whole_number("max_queued_bytes", max_queued_bytes, 1_000_000),
            linger=seconds("linger", linger),
            connections=whole_number("connections", connections, 1, 32),
        )
        self._courier.exit_timeout = max(self._courier.exit_timeout, self._exit_timeout)
        self._account = self._courier.open_account()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} waiting={self.waiting} dropped={self.dropped}>"

    @property
    def _consumer(self) -> Any:
        """The consumer that sends the batches."""
        return self._courier.consumer

    @_consumer.setter
    def _consumer(self, consumer: Any) -> None:
        courier = self._courier.with_consumer(consumer)
        if courier is not self._courier:
            self._courier, self._account = courier, courier.open_account()

    @property
    def own_queue(self) -> Courier:
        """Where messages wait, with those of consumers of equal arguments; for observers (`consentpanel.observers`)."""
        return self._courier

    @property
    def waiting(self) -> int:
        """How many messages of this consumer wait or are on their way."""
        return self._account.waiting

    @property
    def dropped(self) -> int:
        """How many messages were given up: no room, refused by the vendor, or left at the end of the process."""
        return self._account.dropped

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
        self._courier.put(endpoint, message, self._account, self._timeout)

    @property
    def has_room(self) -> bool:
        """Whether a message would be queued at once; for clients that must not wait."""
        return self._courier.has_room

    #: Tells a client that what may not leave yet is kept back here: not by what a subclass, or a test, puts in the place of `send`.
    holds_back = send

    def look_at_held(self, subject_id: object = None) -> None:
        """Have leave what a person, or everybody, has agreed to by now; for clients."""
        self._courier.look_at_held(subject_id)

    def flush(self, timeout: float | None = None) -> None:
        """Send what waits now, and wait until it has arrived.

        Args:
            timeout: The most seconds to wait; `flush_timeout` when left out.

        Raises:
            MixpanelException: Not everything arrived in time; what did not is kept, and tried again.
        """
        if not self._courier.flush(self._account, self._flush_timeout if timeout is None else timeout):
            last_cause = self._courier.last_cause
            cause = f" ({last_cause})" if last_cause else ""
            raise vendor_error(None, f"{self.waiting} messages are not delivered yet, and are kept{cause}")

    def purge(self, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """Discard what waits for a person, also what consumers of equal arguments have queued.

        A batch that is on its way at this moment cannot be called back; when its sending fails, what it holds for
        this person is discarded instead of kept.

        Args:
            subject_id: The person: a `str`, an `int` or a `UUID`.
            purposes: Only what stands on one of these; None for all that waits.

        Returns:
            How many messages were discarded.

        Raises:
            InvalidRecordError: `subject_id` is not an id.
        """
        return self._courier.purge(subject_id, purposes)

    def purge_of(self, client: Restorer | None, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """As `purge`, of a client's project and registry: others may know another person by the same id; for clients."""
        return self._courier.purge_of(client, subject_id, purposes)

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
        return self._courier.close(self._account, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
