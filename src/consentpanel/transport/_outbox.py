"""A consumer that keeps each message in the application's database, in the transaction that the caller is in."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, Literal, cast

from typing_extensions import Unpack

from consentpanel._log import error_once
from consentpanel._messages.decision import Reason
from consentpanel._mixpanel import vendor
from consentpanel.errors import ConfigurationError
from consentpanel.transport._http import shared
from consentpanel.transport._keeping import KeepingConsumer, settings_of
from consentpanel.transport._message_store import New
from consentpanel.transport._shared_spool import Delivery, SharedSpool, delivery_of, is_needed_of
from consentpanel.transport._spooling import SpoolConsumer
from consentpanel.transport._ticket import Restorer, Ticket
from consentpanel.transport._waiting import vendor_error

try:
    import sqlalchemy
    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.util import greenlet_spawn

    from consentpanel.transport._outbox_events import Written, await_end
    from consentpanel.transport._outbox_tables import OutboxTables
    from consentpanel.transport._outbox_transactions import Transactions
except ImportError as error:
    raise ConfigurationError(
        f"SQLAlchemyOutbox needs SQLAlchemy 2: pip install 'consentpanel[sqlalchemy]' ({error.name} cannot be imported)"
    ) from None

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, scoped_session


#: Seconds to wait for an event loop.
_PATIENCE = 30.0
#: The drivers by which threads use a database that is asyncio's to the application.
_BLOCKING = {
    "asyncpg": "psycopg",
    "psycopg_async": "psycopg",
    "aiomysql": "pymysql",
    "asyncmy": "pymysql",
    "aiosqlite": "pysqlite",
}


class Outbox(SharedSpool):
    """The messages of one database, and threads that deliver them."""

    transactions: Transactions

    @property
    def tables(self) -> OutboxTables:
        """Where the messages are."""
        return cast("OutboxTables", self._store)

    def purge_of(self, client: Restorer | None, subject_id: object, purposes: Collection[str] | None = None) -> int:
        if self.tables.dialect != "sqlite":
            return super().purge_of(client, subject_id, purposes)
        # There nobody else can write before the caller's transaction ends.
        counts: list[int] = []

        def purge() -> None:
            with self.tables.lent(self.tables.asked(self.transactions.connection)):
                counts.append(super(Outbox, self).purge_of(client, subject_id, purposes))

        with suppress(ConfigurationError, vendor.MixpanelException):
            if self.transactions.loop() is None:
                purge()
            else:
                self.in_place(purge)
        return counts[0] if counts else super().purge_of(client, subject_id, purposes)

    def _append(self, new: New, ticket: Ticket | None) -> None:
        # Not in the event loop, which would wait for it.
        self.tables.see_the_server()
        self.in_place(lambda: self._append_here(new, ticket))

    def in_place(self, act: Callable[[], None]) -> None:
        """Does what uses the caller's transaction where that can be used.

        Raises:
            MixpanelException: The database failed, or nobody can tell which transaction it is; the log says what to do.
        """
        try:
            loop = self.transactions.loop()
            if loop is None:
                act()
            else:
                # Asyncio's connections are used in their loop alone, which waits for nothing here.
                _awaited(greenlet_spawn(act), loop)
        except ConfigurationError as error:
            error_once(str(error))
            raise vendor_error(None, str(error)) from None

    def _append_here(self, new: New, ticket: Ticket | None) -> None:
        theirs = self.tables.asked(self.transactions.connection)
        number = None if theirs is None else self.tables.put_in(theirs, new)
        if theirs is None or number is None:
            self._append_alone(new, ticket)
            return
        self._begun(number, ticket)
        await_end(
            theirs,
            Written(
                on_commit=lambda: self._committed(number, new),
                on_rollback=lambda: self._taken_back(number),
                on_doubt=lambda: self._doubt(number),
                is_there=lambda connection: self.tables.has_in(connection, number),
            ),
        )

    def await_commit(self, send: Callable[[], None], lose: Callable[[Reason], None]) -> None:
        """Has something sent once the caller's transaction has committed; at once where there is none."""
        found: list[Connection | None] = []
        try:
            self.in_place(lambda: found.append(self.tables.asked(self.transactions.connection)))
        except vendor.MixpanelException:
            lose(Reason.NOT_KEPT)
            return
        theirs = found[0]
        if theirs is None:
            send()
        else:
            await_end(theirs, Written(on_commit=send, on_rollback=lambda: lose(Reason.ROLLED_BACK)))


class SQLAlchemyOutbox(KeepingConsumer):
    """Writes each message as a row in the caller's transaction: it is sent if and only if that commits.

    The caller's transaction is the one that is open on the engine in this thread, task or greenlet: of a `Session`, or of a
    `Connection`. It can be given too, with `within`, and has to be where the outbox has a URL, where two are open at once, and
    where the session was begun in another thread than the call. A call outside of any transaction writes in one of its own.

    What was committed is delivered by a thread of whichever process has a client with this outbox, or by
    ``python -m consentpanel deliver``, many at once: a batch belongs to one of them at a time, by a lease that ends by itself, and
    of the updates of one person's profile the later one leaves later. All else is as for `SpoolConsumer`: consent is asked for again
    before a message leaves, `withdraw` in any process erases what waits for the person, what the vendor refuses for good
    becomes a dead letter, and what is older than `keep_for` is lost with a reason. What is rolled back is told as ``rolled_back``.

    The row is written under a savepoint, so that a failure leaves the caller's transaction as it was; the message is then dropped
    (``not_kept``). The tables hold messages as the policy left them, and no address and no credentials.

    Args:
        engine_or_url: The application's `Engine` or `AsyncEngine`, or a URL of SQLAlchemy's. Threads use connections of their
            own out of a pool with the engine's settings; a database in memory has none, and is refused.
        delivery_engine: What these threads use instead: an `Engine`, or a URL. For an `AsyncEngine` they use its URL with a
            driver that blocks (psycopg, PyMySQL, sqlite3), so give one where that needs more than the URL tells.
        schema: The schema of the tables; None for the database's default.
        table_prefix: What the names of the tables begin with.
        without_transaction: What becomes of a message outside of any transaction: ``"own"`` writes it in one of its own,
            ``"refuse"`` drops it (``not_kept``) with an error in the log, so that a transaction that was not found shows.
        timeout: Seconds for a connection, and for a statement where the server can limit it; None leaves the server's own limits.
        delivery: How it is delivered: the arguments of `SpoolConsumer` from `max_size` to `connections`, by name, with its
            defaults. `max_bytes` counts the messages that wait.

    Raises:
        ConfigurationError: An argument cannot work, or the database is of another kind.

    Example:
        >>> from sqlalchemy import create_engine
        >>> from sqlalchemy.orm import Session
        >>> from consentpanel import Mixpanel, SQLAlchemyOutbox
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> engine, vendor = create_engine("sqlite:///shop.db"), FakeTransport()
        >>> outbox = SQLAlchemyOutbox(engine, consumer=vendor)
        >>> outbox.create_tables()
        >>> registry = MemoryRegistry()
        >>> registry.grant("user-1")
        >>> mp = Mixpanel("TOKEN", outbox, registry=registry)
        >>> with Session(engine) as session, session.begin():
        ...     decision = mp.track("user-1", "Signed up")
        >>> mp.flush()
        >>> len(vendor.events)
        1
        >>> outbox.close()
    """

    _kind = "outbox"

    def __init__(
        self,
        engine_or_url: Engine | AsyncEngine | URL | str,
        *,
        delivery_engine: Engine | URL | str | None = None,
        schema: str | None = None,
        table_prefix: str = "consentpanel_",
        without_transaction: Literal["own", "refuse"] = "own",
        timeout: float | None = 5.0,
        **delivery: Unpack[Delivery],
    ) -> None:
        given, is_needed = delivery_of(type(self), delivery), is_needed_of(without_transaction)
        settings = settings_of(given)
        theirs = engine_or_url.sync_engine if isinstance(engine_or_url, AsyncEngine) else engine_or_url
        own = _blocking(theirs) if delivery_engine is None else delivery_engine
        tables = OutboxTables(own, schema, table_prefix, timeout)
        engine = theirs if isinstance(theirs, Engine) else None

        def build() -> Outbox:
            outbox = Outbox(SpoolConsumer, given, tables, **settings)
            outbox.transactions = Transactions(engine, tables.engine.dialect.name, is_needed=is_needed)
            return outbox

        where = (tables.identity, None if engine is None else id(engine), schema, table_prefix, timeout, is_needed)
        spool = shared(_SHARED, given, build, where=where, **settings)
        self._outbox = spool
        self._open(spool, given)

    @property
    def metadata(self) -> sqlalchemy.MetaData:
        """The tables, for Alembic's `target_metadata`."""
        return self._outbox.tables.metadata

    def create_tables(self) -> None:
        """Make the tables that are not there yet; for migrations see `metadata`.

        Raises:
            MixpanelException: The database failed.
        """
        self._outbox.tables.create_tables()

    def within(
        self, where: Session | scoped_session[Any] | AsyncSession | Connection | AsyncConnection | None
    ) -> AbstractContextManager[None]:
        """Say in which transaction messages are written until this ends.

        Args:
            where: A session, or a connection, of the same database; None for a transaction of each message's own, so that it
                is sent whatever becomes of the caller's. One of asyncio's is used inside of its `run_sync`.

        Returns:
            A context manager, which raises `ConfigurationError` for anything else.

        Example:
            >>> from sqlalchemy import create_engine
            >>> from consentpanel import SQLAlchemyOutbox
            >>> engine = create_engine("sqlite:///shop.db")
            >>> outbox = SQLAlchemyOutbox("sqlite:///shop.db")
            >>> outbox.create_tables()
            >>> with engine.begin() as connection, outbox.within(connection):
            ...     outbox.send("events", '{"event": "Viewed", "properties": {"token": "T", "distinct_id": "user-1"}}')
        """
        return self._outbox.transactions.within(where)

    def pin(self) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Makes of an act what another thread can do in the transaction in which this caller is now; for clients."""
        return self._outbox.transactions.pin()

    def await_commit(self, send: Callable[[], None], lose: Callable[[Reason], None]) -> Callable[[], bool] | None:
        """Has a message taken by another consumer once the caller's transaction has committed; for tests, by clients."""
        self._outbox.await_commit(send, lose)
        return None


_SHARED: weakref.WeakValueDictionary[tuple[object, ...], Outbox] = weakref.WeakValueDictionary()


def _awaited(appending: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> None:
    done = asyncio.run_coroutine_threadsafe(appending, loop)
    try:
        done.result(_PATIENCE)
    except FutureTimeoutError:
        done.cancel()
        raise vendor_error(None, "the outbox failed: the event loop of the transaction did not answer") from None


def _blocking(theirs: Engine | URL | str) -> Engine | URL | str:
    """What threads use: the engine itself, or the URL of one of asyncio's with a driver that blocks."""
    if not isinstance(theirs, Engine) or not theirs.dialect.is_async:
        return theirs
    driver = theirs.url.get_driver_name()
    return theirs.url.set(drivername=f"{theirs.url.get_backend_name()}+{_BLOCKING.get(driver, driver)}")
