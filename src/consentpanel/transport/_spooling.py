"""A consumer that has each message on the disk before a call returns, so that no end of a process loses one."""

from __future__ import annotations

import os
import weakref
from typing import Any

from consentpanel._checks import seconds
from consentpanel.errors import ConfigurationError
from consentpanel.transport._delivery import VENDOR_HOST
from consentpanel.transport._http import shared
from consentpanel.transport._keeping import DAY, KeepingConsumer, settings_of
from consentpanel.transport._spool import Spool
from consentpanel.transport._spool_file import DURABILITIES, SpoolFile


class SpoolConsumer(KeepingConsumer):
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
        connections: The most threads that send at a time, up to 32. 0 leaves it to other processes: this one then only writes.

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
        keep_for: float = 5 * DAY,
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
        settings = settings_of(given)
        file = SpoolFile(path, durability, seconds("timeout", timeout))
        spool = shared(
            _SHARED,
            given,
            lambda: Spool(SpoolConsumer, given, file, **settings),
            path=file.path,
            durability=durability,
            **settings,
        )
        self._open(spool, given)


_SHARED: weakref.WeakValueDictionary[tuple[object, ...], Spool] = weakref.WeakValueDictionary()
