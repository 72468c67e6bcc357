"""The registry's own connections to somebody's database, and what its failures mean."""

from __future__ import annotations

import math
import os
import random
import re
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any, TypeVar, cast

from sqlalchemy import MetaData, create_engine, event, orm
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool, Pool, QueuePool, SingletonThreadPool, StaticPool

from consentpanel._forks import ForkGate
from consentpanel.errors import ConfigurationError
from consentpanel.registry._db_failures import meaning_of, told

_T = TypeVar("_T")

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,30}", re.ASCII)
#: How often a write of our own is tried when others are in its way.
_TRIES = 5
#: Not the one of the module: its state is the application's.
_CHANCE = random.SystemRandom()

#: The databases whose statements `_sql_statements` knows.
DIALECTS = ("postgresql", "mysql", "mariadb", "sqlite")
#: The names of one of them.
MYSQL = ("mysql", "mariadb")


class OwnEngine:
    """An engine with connections of its own to the database of another one.

    The pool has the settings of the other one's, and connects as that does. Parameters, which are ids, are in no log.

    Args:
        name: The argument's name, for errors.
        given: An engine, or a URL.
        timeout: Seconds to wait for a connection and, where the server can limit it, for a statement; None for no limit.
        is_async: Whether it is used by greenlets in an event loop.

    Raises:
        ConfigurationError: It is neither, no driver is there, or the database is of another kind.
    """

    def __init__(self, name: str, given: Engine | URL | str, timeout: float | None, *, is_async: bool = False) -> None:
        #: Pools of the parent's connections, which a child must neither use nor close.
        self._inherited: list[Any] = []
        self._is_own = True
        self.is_closed = False
        if isinstance(given, Engine):
            # A database in memory lives in the one connection of its pool.
            self._is_own = not isinstance(given.pool, (StaticPool, SingletonThreadPool))
            self.engine = _of_engine(given, timeout) if self._is_own else _beside(given)
        elif isinstance(given, (str, URL)):
            self.engine = _of_url(name, given, timeout)
        else:
            raise ConfigurationError(
                f"{name} must be an Engine of SQLAlchemy's or a URL, not {type(given).__name__}"
                + ("; an AsyncEngine belongs to AsyncSQLAlchemyRegistry" if "Async" in type(given).__name__ else "")
            )
        dialect = self.engine.dialect
        if dialect.name not in DIALECTS:
            raise ConfigurationError(f"{name} must be of {', '.join(DIALECTS)}, not {dialect.name}")
        if dialect.is_async and not is_async:
            raise ConfigurationError(f"{name} has a driver of asyncio's, which belongs to AsyncSQLAlchemyRegistry")
        self._is_async = is_async
        #: What tells this database from another: engines of one URL may connect to different schemas.
        self.identity: object = id(given.pool) if isinstance(given, Engine) else self.engine.url
        self._given = given
        if self._is_own and dialect.name != "sqlite":
            event.listen(self.engine.pool, "connect", _limiting(self.engine, timeout))
        if self._is_own and not is_async:
            weakref.finalize(self, self.engine.dispose)
        _ALIVE.add(self)

    @property
    def is_shared(self) -> bool:
        """Whether its connection is the application's, which may be in the middle of a transaction."""
        return not self._is_own

    def close(self) -> None:
        """Closes its connections; those of an engine that was given stay as they are."""
        self.is_closed = True
        if self._is_own:
            self.engine.dispose()

    def open(self) -> None:
        """Opens what was closed: connections are made when they are needed."""
        self.is_closed = False

    def restart_in_child(self) -> None:
        """Begins with no connection: those there belong to the parent."""
        if self._is_own:
            self._inherited.append(self.engine.pool)
            self.engine.dispose(close=False)

    def close_before_fork(self) -> None:
        """Closes what is open of a SQLite file: a child would take the parent's locks for its own."""
        if self._is_own and self.engine.dialect.name == "sqlite" and not self._is_async:
            self.engine.dispose()


_ALIVE: weakref.WeakSet[OwnEngine] = weakref.WeakSet()
#: Nobody forks while a thread is in the middle of a use of SQLite (https://www.sqlite.org/howtocorrupt.html, section 2.6).
GATE = ForkGate()


def _before_fork() -> None:
    GATE.before_fork()
    for each in list(_ALIVE):
        each.close_before_fork()


def _after_in_child() -> None:
    GATE.after_in_child()
    for each in list(_ALIVE):
        each.restart_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=GATE.after_in_parent, after_in_child=_after_in_child)


def _of_engine(given: Engine, timeout: float | None) -> Engine:
    own = given.pool.recreate()
    if timeout is not None and isinstance(own, QueuePool):
        # The pool's own limit, 30 seconds unless told otherwise, would be a request's.
        own._timeout = min(own._timeout, timeout)  # noqa: SLF001 - it has no setter
    # What is written is committed by the registry, however the engine's own connections do that.
    options = {name: value for name, value in given.get_execution_options().items() if name != "isolation_level"}
    return Engine(own, given.dialect, given.url, hide_parameters=True, execution_options=options)


def _beside(given: Engine) -> Engine:
    """An engine over the connections of another one, which leaves their transactions alone."""
    dialect = copy(given.dialect)
    for name in ("do_begin", "do_commit", "do_rollback"):
        setattr(dialect, name, _nothing)
    if isinstance(given.pool, StaticPool):
        lent = given.raw_connection()
        connection: Any = lent.dbapi_connection
        lent.close()
        pool: Pool = StaticPool(lambda: connection, reset_on_return=None)
    else:
        # Of each thread the one that it has; to give it back does nothing while the application has it too.
        pool = NullPool(cast("Any", given.raw_connection), reset_on_return=None)
    return Engine(pool, dialect, given.url, hide_parameters=True, execution_options=given.get_execution_options())


def _nothing(_: Any) -> None:
    """Done by whom the connection belongs to."""


def _of_url(name: str, given: str | URL, timeout: float | None) -> Engine:
    problem = ""
    try:
        url = make_url(given)
        options: dict[str, Any] = {} if timeout is None else {"connect_args": _connecting(url, timeout)}
        engine = create_engine(url, hide_parameters=True, **options)
        if isinstance(engine.pool, QueuePool) and timeout is not None:
            engine.pool._timeout = timeout  # noqa: SLF001 - only some pools take it
    except ImportError as error:
        problem = f"the database's driver is not installed: {error.name}"
    except NoSuchModuleError:
        problem = f"{name} names no database that SQLAlchemy knows"
    except (ArgumentError, ValueError):
        problem = f"{name} is no URL of SQLAlchemy's"
    else:
        return engine
    # Without the cause, which quotes the URL and its password.
    raise ConfigurationError(problem)


def _connecting(url: URL, timeout: float) -> dict[str, Any]:
    backend, driver = url.get_backend_name(), url.get_driver_name()
    if backend == "postgresql" and driver in {"psycopg", "psycopg2"}:
        return {"connect_timeout": math.ceil(timeout)}
    if driver == "pymysql":
        return {"connect_timeout": math.ceil(timeout), "read_timeout": math.ceil(timeout) + 1}
    return {}


def _limiting(engine: Engine, timeout: float | None) -> Callable[[Any, Any], None]:
    limits = _LIMITS[engine.dialect.name](timeout) if timeout is not None else []

    def limit(connection: Any, _: Any) -> None:
        if engine.dialect.name in MYSQL:
            # A transaction sees what others have committed; and is one, whatever the application's engine says.
            engine.dialect.set_isolation_level(connection, "READ COMMITTED")
            for name in ("_read_timeout", "_write_timeout"):
                # PyMySQL takes them with its connections alone.
                if timeout is not None and getattr(connection, name, timeout) is None:
                    setattr(connection, name, math.ceil(timeout) + 1)
        for statement in limits:
            # MySQL and MariaDB each lack a variable of the other.
            with suppress(Exception):
                cursor = connection.cursor()
                try:
                    cursor.execute(statement)
                finally:
                    cursor.close()
                connection.commit()

    return limit


def _postgresql(timeout: float) -> list[str]:
    return [f"SET statement_timeout = {int(timeout * 1000)}"]


def _mysql(timeout: float) -> list[str]:
    return [
        f"SET SESSION max_statement_time = {timeout}",
        f"SET SESSION max_execution_time = {int(timeout * 1000)}",
        f"SET SESSION innodb_lock_wait_timeout = {max(1, int(timeout))}",
    ]


_LIMITS: dict[str, Callable[[float], list[str]]] = {"postgresql": _postgresql, "mysql": _mysql, "mariadb": _mysql}


def check_place(schema: object, table_prefix: object) -> None:
    """Checks where tables are to be, and what their names begin with.

    Raises:
        ConfigurationError: One of them cannot be.
    """
    if not isinstance(table_prefix, str) or _PREFIX.fullmatch(table_prefix) is None:
        raise ConfigurationError("table_prefix must be up to 31 ASCII letters, digits and underscores, no digit first")
    if schema is not None and (not isinstance(schema, str) or not schema):
        raise ConfigurationError("schema must be a non-empty str or None")


def make_tables(
    engine: Engine, metadata: MetaData, pause: Callable[[float], None] = time.sleep, **options: Any
) -> None:
    """Makes the tables that are not there yet.

    Args:
        engine: What has the connections.
        metadata: The tables.
        pause: Waits so many seconds.
        options: Of SQLAlchemy's for the connection.

    Raises:
        SQLAlchemyError: The database failed.
    """
    for left in reversed(range(_TRIES)):
        try:
            with writing(engine) as connection, connection.begin():
                metadata.create_all(connection.execution_options(**options))
        except SQLAlchemyError:
            # Another process makes them too.
            if not left:
                raise
            pause(0.2)
        else:
            return


def reading(engine: Engine) -> Connection:
    """A connection for one question, without a transaction where that saves ways to the server.

    Drivers of MySQL and MariaDB ask the server to change it, and a connection that broke meanwhile is then not told as such.
    """
    if engine.dialect.name in MYSQL or engine.dialect.do_rollback is _nothing:
        return engine.connect()
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def writing(engine: Engine) -> Connection:
    """A connection for a transaction of our own, which sees what others have committed."""
    if engine.dialect.name == "postgresql":
        return engine.connect().execution_options(isolation_level="READ COMMITTED")
    if engine.dialect.name == "sqlite" and engine.dialect.do_rollback is not _nothing:
        return engine.connect().execution_options(isolation_level="SERIALIZABLE")
    return engine.connect()


def committed(engine: Engine, act: Callable[[Connection], _T], pause: Callable[[float], None] = time.sleep) -> _T:
    """What comes of an act in a transaction of our own, which is tried again when others are in its way.

    Raises:
        SQLAlchemyError: The database failed; it may have committed all the same when the connection broke at that moment.
    """
    left = _TRIES
    while True:
        left -= 1
        is_committing = False
        try:
            with writing(engine) as connection, connection.begin() as transaction:
                answer = act(connection)
                is_committing = True
                transaction.commit()
                return answer
        except DBAPIError as error:
            # Once it was asked to commit, only a refusal says that it has not.
            may_be_done = is_committing and not is_rolled_back(error)
            if may_be_done or not left or not (is_rolled_back(error) or is_disconnect(error)):
                raise
            pause(0.01 * (_TRIES - left) * (1 + _CHANCE.random()))


def asked_twice(ask: Callable[[], _T]) -> _T:
    """The answer to a question, asked again where its connection broke while it was idle; all that are as old are replaced with it."""
    try:
        return ask()
    except DBAPIError as error:
        if not is_disconnect(error):
            raise
    return ask()


def is_autocommitting(connection: Connection) -> bool:
    """Whether each statement on a connection of somebody's is committed alone."""
    if connection.dialect.name == "sqlite":
        raw: Any = connection.connection.driver_connection
        # Of one for which somebody says BEGIN the level is None too.
        return getattr(raw, "isolation_level", "") is None and not getattr(raw, "in_transaction", True)
    raw = connection.connection.dbapi_connection
    told = getattr(raw, "autocommit", None)
    if callable(told):
        # As drivers of MySQL tell it.
        told = raw.get_autocommit() if hasattr(raw, "get_autocommit") else None
    return told is True


def begin_on_sqlite(connection: Connection) -> None:
    """Begins the transaction that SQLAlchemy takes for begun: Python's driver waits with it, and a savepoint would commit.

    See https://docs.sqlalchemy.org/en/20/dialects/sqlite.html, "Enabling Non-Legacy SQLite Transactional Modes".
    """
    # Of asyncio's drivers SQLAlchemy shows the inner one apart.
    raw: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite" and not getattr(raw, "in_transaction", True):
        connection.exec_driver_sql("BEGIN")


def connection_of(session: Any, connection: Any, dialect: str) -> Connection:
    """The connection of somebody's transaction, which is given by its session or by itself.

    Raises:
        ConfigurationError: It is none, of another kind of database, or commits each statement alone.
        SQLAlchemyError: The session cannot tell.
    """
    if session is not None and not isinstance(session, (orm.Session, orm.scoped_session)):
        raise ConfigurationError(f"session= must be a Session of SQLAlchemy's, not {_kind_of(session)}")
    found = connection if session is None else session.connection()
    if not isinstance(found, Connection):
        raise ConfigurationError(f"connection= must be a Connection of SQLAlchemy's, not {_kind_of(connection)}")
    if found.dialect.name != dialect and not {found.dialect.name, dialect} <= set(MYSQL):
        raise ConfigurationError(f"the transaction is of {found.dialect.name}, and this of {dialect}")
    if is_autocommitting(found):
        raise ConfigurationError(
            "the connection commits each statement alone (AUTOCOMMIT): there is no transaction to be in"
        )
    refuse_streaming(found)
    return found


def refuse_streaming(connection: Connection) -> None:
    """Leaves alone a connection from which rows are read as they come: another statement would end that.

    Raises:
        ConfigurationError: It is one.
    """
    options = connection.get_execution_options()
    # As PyMySQL tells it.
    result = getattr(connection.connection.driver_connection, "_result", None)
    if options.get("stream_results") or options.get("yield_per") or getattr(result, "unbuffered_active", False):
        raise ConfigurationError(
            "the connection streams rows (stream_results, yield_per, SSCursor), and can do nothing else: stream on one of its own"
        )


def _kind_of(thing: object) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__


def under_savepoint(theirs: Connection, act: Callable[[], _T]) -> _T:
    """What comes of an act in somebody's transaction, which goes on whatever fails."""
    begin_on_sqlite(theirs)
    try:
        with theirs.begin_nested():
            return act()
    except SQLAlchemyError as error:
        outer = theirs.get_transaction()
        if is_rolled_back(error) and outer is not None and theirs.dialect.name in MYSQL:
            # The server has ended all of it, and the caller must not take the rest for done: until it is taken back nothing goes on.
            theirs.invalidate(error)
        raise


def is_disconnect(error: DBAPIError) -> bool:
    """Whether the connection broke: the next one may be well."""
    return bool(error.connection_invalidated)


def cause_of(error: SQLAlchemyError) -> str:
    """What failed, by its types alone because texts hold ids, and what helps where that is known."""
    return told(
        error,
        getattr(error, "orig", None),
        no_table="call create_tables(), or run the migration",
        too_long="timeout: where your own transaction holds the person, give it with session=",
    )


def is_rolled_back(error: BaseException) -> bool:
    """Whether the server has taken the whole transaction back, because another was in its way."""
    return meaning_of(getattr(error, "orig", None)) == "rolled_back"
