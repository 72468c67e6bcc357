"""How caches of many processes hear of each other's writes: by Redis, or by PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import socket
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from consentpanel._forks import Survivors
from consentpanel._log import note_failure, warn_rarely
from consentpanel.errors import ConfigurationError

#: Seconds after which a channel on which nothing comes is tried, and between two tries to open it.
_PATIENCE = 2.0
_PAUSE = 0.2
#: Seconds for which a write waits until it was told.
_WAIT = 1.0
#: PostgreSQL takes 8,000 bytes in a notice (its documentation, NOTIFY).
_AT_ONCE = 200


class Listener(Protocol):
    """A cache."""

    def hear(self, digests: Collection[str] | None, *, is_settled: bool) -> None:
        """Forgets the answers about some people, or about everybody; raises nothing."""


def digest_of(scope: str, subject_id: str) -> str:
    """What names a person on a channel: no id, and the same in every process."""
    return hashlib.sha256(f"{scope}\x1f{subject_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Invalidation(ABC):
    """A channel on which a process tells the others of whom it has written; for `CachedRegistry`.

    What goes over it are digests of ids, and whether the write is done.

    Args:
        channel: Its name; caches over other stores need another one, or hear what is no concern of theirs.

    Raises:
        ConfigurationError: The name is malformed.
    """

    def __init__(self, channel: str) -> None:
        if not isinstance(channel, str) or not channel.isidentifier() or not channel.isascii() or len(channel) > 60:
            raise ConfigurationError("channel must be a name of at most 60 ASCII letters, digits and underscores")
        self._channel = channel
        self._listeners: weakref.WeakSet[Any] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._teller: threading.Thread | None = None
        #: Texts, each with what is set once it was told; None ends the thread that tells.
        self._to_tell: queue.SimpleQueue[tuple[str, threading.Event | None] | None] = queue.SimpleQueue()
        # Re-entrant, because a signal handler may write in the middle of anything.
        self._lock = threading.RLock()
        self._is_heard = threading.Event()
        weakref.finalize(self, self._to_tell.put, None)
        _ALIVE.add(self)

    @property
    def is_standing(self) -> bool:
        """Whether this process hears the others at the moment."""
        return self._is_heard.is_set()

    def attach(self, listener: Listener) -> None:
        """Has a cache hear what others tell, while it lives."""
        with self._lock:
            self._listeners.add(listener)
        self.start()

    def start(self) -> None:
        """Begins to listen, in this process; nothing when it does already."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_listen, args=(weakref.ref(self),), name="consentpanel", daemon=True
                )
                self._thread.start()

    def wait(self, timeout: float = 5.0) -> bool:
        """Waits until this process hears the others; whether it does.

        Args:
            timeout: The most seconds to wait.
        """
        self.start()
        return self._is_heard.wait(timeout)

    def tell(self, digests: Iterable[str], *, is_settled: bool) -> None:
        """Tells the others of whom was written; raises nothing, for they ask again after their `ttl` all the same.

        Args:
            digests: Of whom.
            is_settled: Whether the write is done; one in an open transaction is not.
        """
        several = list(digests)
        is_told = threading.Event()
        for first in range(0, len(several), _AT_ONCE):
            text = json.dumps([several[first : first + _AT_ONCE], is_settled], separators=(",", ":"))
            self._to_tell.put((text, is_told if first + _AT_ONCE >= len(several) else None))
        if several:
            self._start_telling()
            # The write itself is done: a channel that hangs holds nobody up for long.
            is_told.wait(_WAIT)

    def _start_telling(self) -> None:
        with self._lock:
            if self._teller is None or not self._teller.is_alive():
                self._teller = threading.Thread(
                    target=_tell, args=(weakref.ref(self), self._to_tell), name="consentpanel", daemon=True
                )
                self._teller.start()

    @abstractmethod
    def _send(self, text: str) -> None:
        """Puts a text on the channel."""

    @abstractmethod
    def _received(self) -> Generator[str | None, None, None]:
        """What comes on the channel: first None, when it is open, and None at least every `_PATIENCE` seconds."""

    def _is_deserted(self) -> bool:
        """Whether no cache is left; then whoever comes starts another thread."""
        with self._lock:
            if len(self._listeners):
                return False
            self._thread = None
            self._is_heard.clear()
            return True

    def _hear(self, text: str) -> None:
        try:
            digests, is_settled = json.loads(text)
        except (ValueError, TypeError):
            digests, is_settled = None, True  # somebody else's: whom it is about nobody knows
        for listener in list(self._listeners):
            listener.hear(digests, is_settled=bool(is_settled))

    def _hear_of_everybody(self) -> None:
        for listener in list(self._listeners):
            listener.hear(None, is_settled=True)

    def _restart_in_child(self) -> None:
        had_thread, self._thread = self._thread is not None, None
        self._lock = threading.RLock()
        self._is_heard = threading.Event()
        self._teller, self._to_tell = None, queue.SimpleQueue()
        self._forget_connections()
        if had_thread:
            # What others tell meanwhile is not heard; the caches forget when the channel is open.
            self.start()

    def _forget_connections(self) -> None:  # noqa: B027 - not everybody has some
        """In a child: the parent's connections are the parent's."""


def _tell(
    reference: weakref.ref[Invalidation], texts: queue.SimpleQueue[tuple[str, threading.Event | None] | None]
) -> None:
    """Tells what is to be told, one after the other, while the invalidation lives."""
    while (found := texts.get()) is not None:
        text, is_told = found
        invalidation = reference()
        if invalidation is None:
            return
        try:
            invalidation._send(text)  # noqa: SLF001 - the same file
        except Exception as error:  # noqa: BLE001 - of any driver
            note_failure("telling other caches of a write", error)
        del invalidation
        if is_told is not None:
            is_told.set()


def _listen(reference: weakref.ref[Invalidation]) -> None:
    """Listens while the invalidation lives; a channel that breaks is opened again."""
    while (invalidation := reference()) is not None:
        thread = invalidation._thread  # noqa: SLF001 - the same file
        if thread is not threading.current_thread():
            return
        received: Generator[str | None, None, None] | None = None
        try:
            received = invalidation._received()  # noqa: SLF001 - the same file
            for text in received:
                if not invalidation.is_standing:
                    # What was told before nobody has heard here.
                    invalidation._hear_of_everybody()  # noqa: SLF001 - the same file
                    invalidation._is_heard.set()  # noqa: SLF001 - the same file
                if text is not None:
                    invalidation._hear(text)  # noqa: SLF001 - the same file
                elif invalidation._is_deserted():  # noqa: SLF001 - the same file
                    received.close()
                    return
        except Exception as error:  # noqa: BLE001 - of any driver
            invalidation._is_heard.clear()  # noqa: SLF001 - the same file
            warn_rarely(
                "caches of consent do not hear each other (%s): what others record shows after their ttl",
                type(error).__name__,
            )
        # The generator holds it too, and then nobody could let it go.
        del invalidation, received
        time.sleep(_PAUSE)


class RedisInvalidation(Invalidation):
    """Caches hear each other over a channel of Redis or Valkey.

    Args:
        client: A `redis.Redis`, which stays yours to close.
        channel: The channel's name.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        .. code-block:: python

            registry = CachedRegistry(registry, ttl=60, invalidation=RedisInvalidation(client))
    """

    def __init__(self, client: Any, *, channel: str = "consentpanel") -> None:
        if not callable(getattr(client, "pubsub", None)) or not callable(getattr(client, "publish", None)):
            raise ConfigurationError(f"client must be a redis.Redis, not {type(client).__name__}")
        if hasattr(client, "__aenter__"):
            raise ConfigurationError("client must not be one of asyncio's: threads listen and tell")
        super().__init__(channel)
        self._client = client

    def _send(self, text: str) -> None:
        self._client.publish(self._channel, text)

    def _received(self) -> Generator[str | None, None, None]:
        channel = self._client.pubsub()
        try:
            channel.subscribe(self._channel)
            until = time.monotonic() + 3 * _PATIENCE
            while True:
                found = channel.get_message(timeout=_PATIENCE)
                if found is None:
                    # An answer to it says that the connection is not half open.
                    channel.ping()
                    if time.monotonic() > until:
                        raise TimeoutError
                    yield None
                    continue
                until = time.monotonic() + 3 * _PATIENCE
                data = found["data"]
                if found["type"] == "message":
                    yield data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
                else:
                    if found["type"] == "subscribe":
                        # The client may have opened it again by itself, and what was told meanwhile is lost.
                        self._is_heard.clear()
                    yield None
        finally:
            with suppress(Exception):
                channel.close()


class PostgresInvalidation(Invalidation):
    """Caches hear each other by LISTEN and NOTIFY of PostgreSQL, over two connections of each process.

    Args:
        dsn: As psycopg 3 takes it, such as ``"postgresql://host/database"``; a URL of SQLAlchemy's works too. A pooler that
            hands out connections for single transactions cannot stand between.
        channel: The channel's name.

    Raises:
        ConfigurationError: An argument cannot work, or psycopg is not installed.

    Example:
        .. code-block:: python

            registry = CachedRegistry(registry, ttl=60, invalidation=PostgresInvalidation("postgresql://host/shop"))
    """

    def __init__(self, dsn: str, *, channel: str = "consentpanel") -> None:
        super().__init__(channel)
        if not isinstance(dsn, str) or not dsn:
            raise ConfigurationError("dsn must be a non-empty str")
        try:
            import psycopg
        except ImportError:
            raise ConfigurationError(
                "PostgresInvalidation needs psycopg 3: pip install 'consentpanel[postgresql]'"
            ) from None
        self._psycopg = psycopg
        self._dsn = dsn.replace("postgresql+psycopg://", "postgresql://", 1)
        #: The connection that tells; in a child also the parent's, which must be neither used nor closed.
        self._connections: list[Any] = []
        weakref.finalize(self, _close, self._connections, os.getpid())

    def _connect(self) -> Any:
        return self._psycopg.connect(self._dsn, autocommit=True, connect_timeout=5, **_WATCHED)

    def _send(self, text: str) -> None:
        # By the one thread that tells.
        for is_last in (False, True):
            try:
                if not self._connections:
                    self._connections.append(self._connect())
                with _watched(self._connections[-1]):
                    self._connections[-1].execute("SELECT pg_notify(%s, %s)", (self._channel, text))
            except self._psycopg.OperationalError:
                # Broken while it was idle; a new one may do.
                _close(self._connections, os.getpid())
                if is_last:
                    raise
            else:
                return

    def _received(self) -> Generator[str | None, None, None]:
        connection = self._connect()
        try:
            connection.execute(f"LISTEN {self._channel}")
            tried = time.monotonic()
            while True:
                yield None
                for notice in connection.notifies(timeout=_PATIENCE, stop_after=1):
                    yield notice.payload
                if time.monotonic() >= tried + _PATIENCE:
                    # It tells a connection that broke.
                    with _watched(connection):
                        connection.execute("SELECT 1")
                    tried = time.monotonic()
        finally:
            with suppress(Exception):
                connection.close()

    def _forget_connections(self) -> None:
        self._inherited = self._connections
        self._connections = []
        weakref.finalize(self, _close, self._connections, os.getpid())


#: How the system notices a connection whose other end is gone (libpq's documentation, parameter key words).
_WATCHED: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 6000,
}


@contextmanager
def _watched(connection: Any) -> Generator[None, None, None]:
    """Cuts a connection whose server does not answer: psycopg waits without end."""
    timer = threading.Timer(2 * _PATIENCE, _cut, (connection.fileno(),))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(number: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(number)) as end:
        end.shutdown(socket.SHUT_RDWR)


def _close(connections: list[Any], pid: int) -> None:
    while connections and pid == os.getpid():
        with suppress(Exception):
            connections.pop().close()


_ALIVE: Survivors[Invalidation] = Survivors(Invalidation._restart_in_child)  # noqa: SLF001 - the same file
