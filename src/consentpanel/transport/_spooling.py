"""A consumer that has each message on the disk before a call returns, so that no end of a process loses one."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection
from typing import Any, NoReturn

from typing_extensions import Self

from consentpanel._checks import seconds, whole_number
from consentpanel.errors import ConfigurationError
from consentpanel.transport._delivery import VENDOR_HOST
from consentpanel.transport._http import shared
from consentpanel.transport._spool import Spool
from consentpanel.transport._spool_file import DURABILITIES, SpoolFile, Summary
from consentpanel.transport._ticket import Client, Restorer
from consentpanel.transport._waiting import vendor_error, waiting_message

_DAY = 86_400.0


class SpoolConsumer:
    """Writes each message into a SQLite file before `send` returns, from which threads deliver it.

    What a call answered with ``sent`` survives the end of the process, also by SIGKILL. It is delivered by a thread of
    whichever process has a client with this file, or by ``python -m consentpanel deliver``. Many processes of one machine
    may share a file: a batch belongs to one of them at a time, by a lease that ends by itself. Put it on a local disk.

    The file holds messages as the policy left them, whom each names and for which purposes, and no address and no credentials.
    It can be read and written by its owner alone (mode 0600). Ids in it are those that the application uses, also where the
    vendor gets pseudonyms: consent is asked for again before a message leaves, of the client with the message's project token.
    `withdraw` in any process erases what waits for the person. What was delivered is erased from the file and its write-ahead log.

    Updates of profiles keep their order. What the vendor refuses for good is told as ``rejected_by_vendor`` and kept as a dead
    letter until `keep_for` is over. What is older than `keep_for` is told as ``too_old``. When the vendor had taken a batch and
    only the answer was lost, or the process ended before it was noted, it gets the batch twice: events are then
    de-duplicated by their ``$insert_id``; ``$add`` and ``$append`` count twice.

    Args:
        path: The file; made when it does not exist. Its directory must exist.
        max_size: The most messages in one batch: 1 to 2,000.
        events_url: Address for events, instead of the one at `api_host`.
        people_url: Address for user profiles, likewise.
        import_url: Address for imports, likewise.
        request_timeout: Seconds that a whole request may take, however little at a time the vendor answers.
        groups_url: Address for group profiles, likewise.
        api_host: The vendor's host, such as ``"api-eu.mixpanel.com"``.
        retry_limit: How many times a request is tried again at once, before the batch waits.
        retry_backoff_factor: Seconds that the waits between these tries start from.
        verify_cert: Whether the vendor's certificate is verified.
        credentials: A `mixpanel.ServiceAccountCredentials`, used for imports. Needs mixpanel 5.2 or newer.
        consumer: The consumer that sends the batches, instead of the vendor's over HTTP; then none of the arguments
            from `events_url` to `credentials`, nor `gzip_imports` and `project_secret`, may be given. Threads call it at the same time.
        endpoint: Where events go: ``"track"``, as the vendor's consumers send them, or ``"import"``, which the vendor recommends
            for servers: compressed JSON with ``strict=1``, so that it checks each event and names what it refuses, which gives the
            observers a second `Decision`. With `credentials`, or `project_secret`, or else the project's token.
        project_secret: The project's secret for imports, which the vendor retires in March 2027 in favour of `credentials`.
        gzip_imports: Whether imports are sent as compressed JSON with ``strict=1``. Needs `credentials`.
        keep_for: Seconds after which a message is lost: 5 days unless told otherwise, as long as the vendor's ``/track`` takes
            events. With more, an event that has waited longer goes to ``/import``, with the project's token if with nothing else.
        max_bytes: Bytes of the file from which on `send` drops messages, which their `Decision` says (``queue_full``).
        durability: ``"process"``: a message survives the end of the process, and those of the last moments may be gone after a
            power cut. ``"full"``: it survives a power cut too; each call then waits for the disk.
        linger: Seconds that a batch waits to become full.
        timeout: The most seconds that `send` waits for another writer of the file; a message that cannot be written
            then is dropped, which its `Decision` says (``not_kept``).
        flush_timeout: The most seconds that `flush` waits.
        exit_timeout: The most seconds that the end of the process waits; what is left stays in the file.
        connections: The most threads that send at a time, 1 to 32.

    Raises:
        ConfigurationError: An argument cannot work, or the file is of another kind.

    Example:
        >>> from consentpanel import SpoolConsumer
        >>> from consentpanel.testing import FakeTransport
        >>> vendor = FakeTransport()
        >>> with SpoolConsumer("spool.db", consumer=vendor) as consumer:
        ...     consumer.send("events", '{"event": "Viewed", "properties": {"token": "T", "distinct_id": "user-1"}}')
        >>> len(vendor.events)
        1
    """

    #: Tells a client that nobody has to wait for a flush.
    sends_by_itself = True
    #: Tells a client that consent is asked for again before a message leaves.
    judges_again = True
    #: Tells a client that it keeps messages for other processes, which judge them again.
    keeps_for_others = True

    def __init__(
        self,
        path: str | os.PathLike[str],
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
        keep_for: float = 5 * _DAY,
        max_bytes: int = 1_000_000_000,
        durability: str = "process",
        linger: float = 0.5,
        timeout: float = 5.0,
        flush_timeout: float = 5.0,
        exit_timeout: float = 10.0,
        connections: int = 4,
    ) -> None:
        given = locals()
        if durability not in DURABILITIES:
            raise ConfigurationError(f"durability must be one of {', '.join(map(repr, DURABILITIES))}")
        if isinstance(keep_for, bool) or not isinstance(keep_for, (int, float)) or not 0 < keep_for <= 365 * _DAY:
            raise ConfigurationError("keep_for must be a number of seconds above 0 and at most a year")
        seconds("request_timeout", request_timeout)
        self._flush_timeout = seconds("flush_timeout", flush_timeout)
        settings: dict[str, Any] = {
            "linger": seconds("linger", linger),
            "connections": whole_number("connections", connections, 1, 32),
            "keep_for": float(keep_for),
            "max_bytes": whole_number("max_bytes", max_bytes, 1_000_000),
        }
        file = SpoolFile(path, durability, seconds("timeout", timeout))
        self._takes_credentials = any(each is not None for each in (consumer, credentials, project_secret))
        self._spool = shared(
            _SHARED,
            given,
            lambda: Spool(SpoolConsumer, given, file, **settings),
            path=file.path,
            durability=durability,
            **settings,
        )
        self._spool.exit_timeout = max(self._spool.exit_timeout, seconds("exit_timeout", exit_timeout))
        self._exit_timeout = exit_timeout
        self._is_closed = False
        self._spool.users.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{' (closed)' if self._is_closed else ''}>"

    def attach(self, client: Client) -> None:
        """Lets messages of a client's project be delivered by this process; called by the client.

        Args:
            client: The client.
        """
        self._spool.attach(client)

    @property
    def _consumer(self) -> Any:
        """The consumer that sends the batches."""
        return self._spool.consumer

    @property
    def waiting(self) -> int:
        """How many messages wait in the file, whoever wrote them.

        Raises:
            MixpanelException: The file fails.
        """
        return self._spool.waiting()

    @property
    def dropped(self) -> int:
        """How many messages this process has given up: no room, no disk, or too old."""
        return self._spool.dropped

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        """Write a message into the file; it is there when this returns.

        Args:
            endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
            json_message: One message, as JSON.
            api_key: As in the vendor's consumers; not kept, because the file holds no credentials.
            api_secret: Likewise.

        Raises:
            MixpanelException: The endpoint is unknown, the message is no text, or the consumer is closed; or an import comes
                with credentials of its own to a consumer without `credentials` or `project_secret`.
        """
        message = waiting_message(endpoint, json_message, api_key, api_secret)
        if self._is_closed:
            raise vendor_error(endpoint, f"{endpoint}: the consumer is closed; this message is not accepted")
        if endpoint == "imports" and not self._takes_credentials:
            text = "a spool keeps no credentials: imports need SpoolConsumer(credentials=) or project_secret=, or a consumer that has them"
            raise vendor_error(endpoint, f"{endpoint}: {text}")
        self._spool.put(endpoint, message)

    #: Tells a client that what may not leave yet is kept back here: not by what a subclass, or a test, puts in the place of `send`.
    holds_back = send

    def summary(self) -> Summary:
        """What the file holds, and nothing of the messages; for the command line.

        Raises:
            MixpanelException: The file fails.
        """
        return self._spool.summary()

    def erase(self, client: Client, asked: str) -> Any:
        """Keep a request to erase a person until the vendor has taken it, and try it once now; for clients.

        Args:
            client: The client.
            asked: What is kept of it.

        Returns:
            The requests that were made; None for one that waits.

        Raises:
            MixpanelException: The file fails: nothing is kept.
        """
        return self._spool.erase(client, asked)

    def look_at_held(self, subject_id: object = None) -> None:
        """Have leave what a person, or everybody, has agreed to by now; for clients."""
        self._spool.look_at_held(subject_id)

    def flush(self, timeout: float | None = None) -> None:
        """Deliver what waits now, and wait until it has arrived.

        Args:
            timeout: The most seconds to wait; `flush_timeout` when left out.

        Raises:
            MixpanelException: Not everything arrived in time; what did not is kept, and tried again.
        """
        if not self._spool.flush(self._flush_timeout if timeout is None else timeout):
            cause = f" ({self._spool.last_cause})" if self._spool.last_cause else ""
            raise vendor_error(None, f"{self.waiting} messages are not delivered yet, and are kept{cause}")

    def purge(self, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """Erase what waits for a person, whichever process wrote it.

        A batch that is on its way at this moment cannot be called back; when its sending fails, what it holds for
        this person is not tried again.

        Args:
            subject_id: The person: a `str`, an `int` or a `UUID`.
            purposes: Only what stands on one of these; None for all that waits.

        Returns:
            How many messages were erased.

        Raises:
            InvalidRecordError: `subject_id` is not an id.
            MixpanelException: The file fails.
        """
        return self._spool.purge(subject_id, purposes)

    def purge_of(self, client: Restorer | None, subject_id: object, purposes: Collection[str] | None = None) -> int:
        """As `purge`, of a client's project and registry: others may know another person by the same id; for clients."""
        return self._spool.purge_of(client, subject_id, purposes)

    def close(self, timeout: float | None = None) -> None:
        """Accept no more, and deliver what waits. What is left after that time stays in the file.

        Args:
            timeout: The most seconds to wait; `exit_timeout` when left out.

        Raises:
            MixpanelException: Something is left in the file.
        """
        self._is_closed = True
        try:
            self.flush(self._exit_timeout if timeout is None else timeout)
        finally:
            self._spool.users.discard(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SpoolConsumer cannot be pickled or copied: build it in the worker, on the same file")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_SHARED: weakref.WeakValueDictionary[tuple[object, ...], Spool] = weakref.WeakValueDictionary()
