"""A registry in the database that the application has: PostgreSQL, MariaDB, MySQL or SQLite, by SQLAlchemy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import Self, Unpack

from consentpanel._checks import seconds
from consentpanel._consent.age import MaxAge
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel.errors import ConfigurationError, ConsentPanelError, InvalidRecordError, RegistryError
from consentpanel.registry._objections import ObjectionKey
from consentpanel.registry._planned import PlannedRegistry
from consentpanel.registry._records import Fields, checked_record

try:
    import sqlalchemy
    from sqlalchemy.engine import URL, Connection, Engine
    from sqlalchemy.exc import SQLAlchemyError

    from consentpanel.registry._plans import Plan, Plans, Rows, Statement, carried_out
    from consentpanel.registry._sql_engine import (
        GATE,
        OwnEngine,
        asked_twice,
        begin_on_sqlite,
        cause_of,
        check_place,
        committed,
        connection_of,
        make_tables,
        reading,
        under_savepoint,
    )
    from consentpanel.registry._sql_statements import holds_at_once, statements_of
    from consentpanel.registry._sql_tables import Exact as Exact  # noqa: PLC0414 - migrations name it by this module
    from consentpanel.registry._sql_tables import Tables
except ImportError as error:
    raise ConfigurationError(
        f"SQLAlchemyRegistry needs SQLAlchemy 2: pip install 'consentpanel[sqlalchemy]' ({error.name} cannot be imported)"
    ) from None

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, scoped_session

_T = TypeVar("_T")

_NO_UTF8 = "an id or a text of a record cannot be written as UTF-8"
#: Seconds for which what was written here is read where it was written, since a replica may lag.
_LAG = 60.0
#: The most people of whom that is known; of the others a replica is asked at once.
_NOTED = 100_000


#: Within which transactions is asked, by the tables: the sessions and connections.
_asked_within: ContextVar[dict[tuple[object, ...], tuple[Any, Any]] | None] = ContextVar("asked_within", default=None)


class SQLAlchemyRegistry(PlannedRegistry):
    """Keeps consent records in a database that many machines share. Safe for threads, processes and forks.

    Two tables hold the records, which only grow, and the present standing of each person and purpose; a third the end of each
    person's chain. They are written together, so that `status` is one look-up by a primary key however many records there
    are, and `statuses` one statement.

    Questions use connections of the registry's own, out of a pool with the settings of the engine's: nothing of a session
    is flushed, and a question that fails leaves the caller's transaction as it is. A database that is away, does not answer
    in `timeout`, or has no connection left is a `RegistryError`, which a client takes for a denial. A connection that broke
    while nobody used it is replaced without a word, so that a restart of the server needs none here.

    `record`, `record_many`, `grant`, `deny` and `forget` take ``session=`` or ``connection=``, and so do `withdraw`, `opt_out`
    and `opt_in` of the client: then what is written is part of the caller's transaction, under a savepoint.

    A server that is silent without closing the connection is noticed by the driver's own limits alone: PyMySQL gets them here;
    for PostgreSQL give the engine ``connect_args={"keepalives_idle": 5, "tcp_user_timeout": 5000}``. A database in memory is
    used in the one connection that the application has, and so in its transaction.

    Args:
        engine_or_url: An `Engine`, or a URL of SQLAlchemy's such as ``"postgresql+psycopg://host/database"``.
        schema: The schema of the tables; None for the database's default.
        table_prefix: What the names of the tables begin with.
        read_engine: A replica, `Engine` or URL, that answers questions. Of whom this object has written in the last minute
            the first database is asked, and so it is when the replica fails. What another process has written shows as late
            as the replica lags: a withdrawal too.
        timeout: Seconds for a connection, and for a statement where the server can limit it (PostgreSQL, MariaDB, MySQL).
            None leaves the server's own limits alone, as a pooler between needs that keeps no settings of a session.
        required_policy_version, max_age, strict_records, objection_key: As for `RecordingRegistry`.

    Raises:
        ConfigurationError: An argument cannot work, or the database is of another kind.

    Example:
        >>> from consentpanel.registry import SQLAlchemyRegistry
        >>> registry = SQLAlchemyRegistry("sqlite:///consent-of-customers.db")
        >>> registry.create_tables()
        >>> registry.grant("user-1", source="signup-form")
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.GRANTED: 'granted'>
        >>> registry.close()
    """

    #: Whether it is used by greenlets in an event loop.
    _is_async = False

    def __init__(
        self,
        engine_or_url: Engine | URL | str,
        *,
        schema: str | None = None,
        table_prefix: str = "consentpanel_",
        required_policy_version: str | None = None,
        read_engine: Engine | URL | str | None = None,
        timeout: float | None = 5.0,
        max_age: MaxAge | timedelta | None = None,
        strict_records: bool = False,
        objection_key: ObjectionKey | None = None,
    ) -> None:
        super().__init__(
            required_policy_version=required_policy_version,
            max_age=max_age,
            strict_records=strict_records,
            objection_key=objection_key,
        )
        check_place(schema, table_prefix)
        limit = None if timeout is None else seconds("timeout", timeout)
        self._tables = Tables(schema, table_prefix)
        self._own = OwnEngine("engine_or_url", engine_or_url, limit, is_async=self._is_async)
        self._replica = (
            None if read_engine is None else OwnEngine("read_engine", read_engine, limit, is_async=self._is_async)
        )
        dialect = self._engine.dialect.name
        self._statements = statements_of(self._tables, dialect)
        self._plans = Plans(self._required, self._max_age, is_held_at_once=holds_at_once(dialect))
        self._given = self._objections.fingerprints
        self._objections = self._objections.shared_with(self._place)
        #: Until when a replica is not asked of each person, who was written of here.
        self._written: dict[str, float] = {}
        # Re-entrant, because a signal handler may write in the middle of anything.
        self._lock = threading.RLock()
        self._busy = threading.local()

    @property
    def metadata(self) -> sqlalchemy.MetaData:
        """The tables, for Alembic's `target_metadata`."""
        return self._tables.metadata

    def create_tables(self) -> None:
        """Makes the tables that are not there yet; for migrations see `metadata`.

        Raises:
            RegistryError: The database failed.
        """
        self._translated(lambda: make_tables(self._engine, self.metadata, self._pause))

    def scoped(self, name: str) -> Self:
        """As `MemoryRegistry.scoped`: the same tables for one tenant."""
        tenant = super().scoped(name)
        tenant._written = {}  # noqa: SLF001 - its own class
        return tenant

    def prepare(self) -> None:
        """As `create_tables`; for copies."""
        self.create_tables()

    def record(
        self,
        record: ConsentRecord,
        *,
        session: Session | scoped_session[Any] | None = None,
        connection: Connection | None = None,
    ) -> None:
        """Appends a record; it is kept when this returns, or when the caller's transaction is committed.

        Args:
            record: What was said.
            session: A session whose transaction the record becomes part of.
            connection: A connection whose transaction it becomes part of.

        Raises:
            InvalidRecordError: It is not a `ConsentRecord`, or is refused.
            RegistryError: The database failed; nothing was appended.
        """
        checked = checked_record(record, is_strict=self._is_strict)
        self._keep([checked], session=session, connection=connection)

    def record_many(
        self,
        records: Iterable[ConsentRecord],
        *,
        session: Session | scoped_session[Any] | None = None,
        connection: Connection | None = None,
    ) -> None:
        """Appends all records, or none; the other arguments and errors are those of `record`."""
        checked = [checked_record(record, is_strict=self._is_strict) for record in records]
        self._keep(checked, session=session, connection=connection)

    def grant(
        self,
        subject_id: Any,
        *purposes: str,
        session: Session | scoped_session[Any] | None = None,
        connection: Connection | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """Records that a person consents, one record for each purpose, all or none.

        Args:
            subject_id: The data subject: a `str`, `int` or `UUID`.
            purposes: The purposes; the three built-in ones when none is named.
            session: A session whose transaction the records become part of.
            connection: A connection whose transaction they become part of.
            fields: As for `RecordingRegistry.grant`.

        Raises:
            InvalidRecordError: An argument is malformed.
            RegistryError: The database failed; nothing was appended.
        """
        self._say(ConsentStatus.GRANTED, subject_id, purposes, fields, session=session, connection=connection)

    def deny(
        self,
        subject_id: Any,
        *purposes: str,
        session: Session | scoped_session[Any] | None = None,
        connection: Connection | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """Records that a person refuses or withdraws consent; the arguments and errors are those of `grant`."""
        self._say(ConsentStatus.DENIED, subject_id, purposes, fields, session=session, connection=connection)

    def forget(
        self,
        subject_id: Any,
        *,
        session: Session | scoped_session[Any] | None = None,
        connection: Connection | None = None,
    ) -> int:
        """Erases all records of one person; with an `objection_key` a keyed hash stays of whose last word was no.

        The rows are gone for everybody who asks. When their bytes leave the disk is the server's concern: PostgreSQL's
        ``VACUUM``, InnoDB's purge, backups and replicas.

        Args:
            subject_id: The person: a `str`, `int` or `UUID`.
            session: A session whose transaction the erasure becomes part of.
            connection: A connection whose transaction it becomes part of.

        Returns:
            How many were erased.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The database failed.
        """
        return self._forget(subject_id, session=session, connection=connection)

    @contextmanager
    def within(
        self, *, session: Session | scoped_session[Any] | None = None, connection: Connection | None = None
    ) -> Generator[None, None, None]:
        """Answers questions as the caller's transaction sees it, until this ends: with what it has written of consent.

        So a message about somebody who agrees in the same transaction is let through. Only an outbox keeps such a message in
        that transaction (`SQLAlchemyOutbox`); another consumer may send it before you take the transaction back.

        Args:
            session: The session.
            connection: Or the connection.

        Raises:
            ConfigurationError: Both are given, or neither.

        Example:
            >>> from sqlalchemy import create_engine
            >>> from sqlalchemy.orm import Session
            >>> from consentpanel.registry import SQLAlchemyRegistry
            >>> engine = create_engine("sqlite:///consent-of-customers.db")
            >>> registry = SQLAlchemyRegistry(engine)
            >>> registry.create_tables()
            >>> with Session(engine) as session, registry.within(session=session):
            ...     registry.grant("user-2", source="sign-up form", session=session)
            ...     registry.status("user-2", "analytics")
            <ConsentStatus.GRANTED: 'granted'>
        """
        if (session is None) is (connection is None):
            raise ConfigurationError("give session= or connection=, one of them")
        token = _asked_within.set({**(_asked_within.get() or {}), self._place: (session, connection)})
        try:
            yield
        finally:
            _asked_within.reset(token)

    @property
    def is_within(self) -> bool:
        """Whether questions are answered here as a transaction sees it that is not committed yet."""
        given = _asked_within.get()
        return given is not None and self._place in given

    def close(self) -> None:
        """Closes the registry's own connections; it answers no more questions, unless ``with`` opens it again. The engine that was
        given stays open.
        """
        for own in filter(None, (self._own, self._replica)):
            own.close()

    def _open(self) -> None:
        for own in filter(None, (self._own, self._replica)):
            own.open()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __eq__(self, other: object) -> bool:
        """Whether the other one answers from the same tables in the same way."""
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        closed = " (closed)" if self._own.is_closed else ""
        return f"<{type(self).__name__} on {self._engine.dialect.name}{closed}>"

    def _key(self) -> tuple[object, ...]:
        read = None if self._replica is None else self._replica.identity
        return (
            self._own.identity,
            *self._store_of_consent,
            read,
            self._required,
            self._max_age,
            self._is_strict,
            self._given,
        )

    @property
    def _engine(self) -> Engine:
        return self._own.engine

    @property
    def _store_of_consent(self) -> tuple[object, ...]:
        return *self._place, self._scope

    @property
    def _place(self) -> tuple[object, ...]:
        """Tells these tables from those of another registry."""
        # Two databases in memory have one URL.
        is_shared = self._engine.dialect.name != "sqlite" or self._engine.url.database not in {None, "", ":memory:"}
        where = self._engine.url if is_shared else id(self._engine.pool)
        return where, self._tables.metadata.schema, self._tables.record.name

    def _ask(self, keys: Iterable[str], plan: Callable[[], Plan[_T]]) -> _T:
        """The answer to a question, by a connection of its own that sees what is committed; or within the caller's transaction."""
        given = _asked_within.get()
        if given is not None and (where := given.get(self._place)) is not None:
            return self._put(plan, *where)
        if self._replica is not None and keys and not self._has_written(keys):
            try:
                return self._asked(self._replica.engine, plan)
            except RegistryError:
                # The replica may be away while the first database is there.
                pass
        return self._asked(self._engine, plan)

    def _asked(self, engine: Engine, plan: Callable[[], Plan[_T]]) -> _T:
        def ask() -> _T:
            with reading(engine) as connection:
                return self._run(connection, plan())

        return self._translated(lambda: asked_twice(ask))

    def _do(
        self,
        keys: Iterable[str],
        plan: Callable[[], Plan[_T]],
        session: Session | scoped_session[Any] | None = None,
        connection: Connection | None = None,
        **_: Any,
    ) -> _T:
        """What comes of a plan that writes: in the caller's transaction, or in one of its own."""
        if session is not None and connection is not None:
            raise ConfigurationError("give session= or connection=, not both")
        keys = list(keys)
        try:
            if session is None and connection is None:
                return self._translated(lambda: self._done(plan))
            return self._put(plan, session, connection)
        finally:
            self._note_written(keys)

    def _put(self, plan: Callable[[], Plan[_T]], session: Any, connection: Any) -> _T:
        """What comes of a plan in the caller's transaction."""
        theirs = self._translated(lambda: connection_of(session, connection, self._engine.dialect.name))
        return self._translated(lambda: under_savepoint(theirs, lambda: self._run(theirs, plan())))

    def _done(self, plan: Callable[[], Plan[_T]]) -> _T:
        waiting: list[Callable[[], Plan[Any]]] | None = getattr(self._busy, "waiting", None)
        if waiting is not None:
            # A signal handler in the middle of a write: it would wait for the row that this very thread holds.
            waiting.append(plan)
            return None  # type: ignore[return-value]
        self._busy.waiting = waiting = []
        try:
            return self._tried(plan)
        finally:
            self._write_what_waits(waiting)

    def _write_what_waits(self, waiting: list[Callable[[], Plan[Any]]]) -> None:
        """Writes what signal handlers had to leave: all of it, whatever fails."""
        problem: Exception | None = None
        try:
            while waiting:
                try:
                    self._tried(waiting.pop(0))
                except Exception as error:  # noqa: BLE001 - raised below, when the others are written
                    problem = error
        finally:
            self._busy.waiting = None
        while waiting:
            # A handler came between the last look and the end of the mark.
            self._done(waiting.pop(0))
        if problem is not None:
            raise problem

    def _tried(self, plan: Callable[[], Plan[_T]]) -> _T:
        if self._own.is_shared:
            return self._done_beside(plan)
        return committed(self._engine, lambda connection: self._run(connection, plan()), self._pause)

    def _done_beside(self, plan: Callable[[], Plan[_T]]) -> _T:
        """In the one connection that the application has too: part of its transaction, if it is in one."""
        with self._engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            is_alone = not raw.in_transaction
            begin_on_sqlite(connection)
            try:
                with connection.begin_nested():
                    answer = self._run(connection, plan())
            except BaseException:
                if is_alone:
                    raw.rollback()
                raise
            if is_alone:
                raw.commit()
            return answer

    def _run(self, connection: Connection, plan: Plan[_T]) -> _T:
        """What comes of a plan whose statements are executed on a connection."""

        def execute(name: Statement, values: Any) -> Rows:
            result = connection.execute(self._statements[name], values)
            return result.all() if result.returns_rows else ()

        return carried_out(plan, execute)

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def _translated(self, act: Callable[[], _T]) -> _T:
        """What a use of the database answers; failures are told by their type alone, because their texts hold ids."""
        if self._own.is_closed:
            raise RegistryError("the registry is closed; `with`, or `async with`, opens it again")
        problem: ConsentPanelError
        try:
            if self._engine.dialect.name != "sqlite":
                return act()
            with GATE:
                return act()
        except SQLAlchemyError as error:
            problem = RegistryError(f"the database failed: {cause_of(error)}")
            if isinstance(getattr(error, "orig", None), UnicodeError):
                problem = InvalidRecordError(_NO_UTF8)
        except UnicodeError:
            problem = InvalidRecordError(_NO_UTF8)
        except (KeyError, TypeError, OverflowError) as error:
            problem = RegistryError(f"a row of the database is no consent record: {type(error).__name__}")
        except ConsentPanelError:
            raise
        except Exception as error:  # noqa: BLE001 - of a driver, or of a listener of the application's, whose text may hold values
            problem = RegistryError(f"the database failed: {type(error).__name__}")
        raise problem

    def _has_written(self, keys: Iterable[str]) -> bool:
        present = time.monotonic()
        with self._lock:
            return any(self._written.get(key, 0.0) > present for key in keys)

    def _note_written(self, keys: Iterable[str]) -> None:
        if self._replica is None:
            return
        until = time.monotonic() + _LAG
        with self._lock:
            for key in keys:
                self._written.pop(key, None)
                self._written[key] = until
            # The oldest first, as they were noted.
            while self._written and (len(self._written) > _NOTED or next(iter(self._written.values())) < until - _LAG):
                self._written.pop(next(iter(self._written)))
