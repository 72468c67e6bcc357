"""The registry's own connections to somebody's database, and what its failures mean."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from consentpanel._forks import Survivors
from consentpanel.errors import ConfigurationError

#: The databases whose statements `_sql_plans` knows.
DIALECTS = ("postgresql", "mysql", "mariadb", "sqlite")


class OwnEngine:
    """An engine with connections of its own to the database of another one.

    The pool has the settings of the other one's, and connects as that does. Parameters, which are ids, are in no log.

    Args:
        name: The argument's name, for errors.
        given: An engine, or a URL.
        timeout: Seconds to wait for a connection and, where the server can limit it, for a statement; None for no limit.

    Raises:
        ConfigurationError: It is neither, no driver is there, or the database is of another kind.
    """

    def __init__(self, name: str, given: Engine | URL | str, timeout: float | None) -> None:
        #: Pools of the parent's connections, which a child must neither use nor close.
        self._inherited: list[Any] = []
        self._is_own = True
        self.is_closed = False
        if isinstance(given, Engine):
            # A database in memory lives in the one connection of its pool; NullPool has a new one for everybody.
            self._is_own = isinstance(given.pool, QueuePool)
            self.engine = _of_engine(given, timeout) if self._is_own else given.execution_options()
        elif isinstance(given, (str, URL)):
            self.engine = _of_url(name, given, timeout)
        else:
            raise ConfigurationError(
                f"{name} must be an Engine of SQLAlchemy's or a URL, not {type(given).__name__}"
                + ("; an AsyncEngine belongs to AsyncSQLAlchemyRegistry" if "Async" in type(given).__name__ else "")
            )
        if self.engine.dialect.name not in DIALECTS:
            raise ConfigurationError(f"{name} must be of {', '.join(DIALECTS)}, not {self.engine.dialect.name}")
        if self._is_own and timeout is not None and (limits := _LIMITS.get(self.engine.dialect.name)) is not None:
            event.listen(self.engine.pool, "connect", _limiting(limits(timeout)))
        if self._is_own:
            weakref.finalize(self, self.engine.dispose)
        _ALIVE.add(self)

    def close(self) -> None:
        """Closes its connections; those of an engine that was given stay as they are."""
        self.is_closed = True
        if self._is_own:
            self.engine.dispose()

    def restart_in_child(self) -> None:
        """Begins with no connection: those there belong to the parent."""
        if self._is_own:
            self._inherited.append(self.engine.pool)
            self.engine.dispose(close=False)


_ALIVE: Survivors[OwnEngine] = Survivors(OwnEngine.restart_in_child)


def _of_engine(given: Engine, timeout: float | None) -> Engine:
    own = given.pool.recreate()
    if timeout is not None:
        # The pool's own limit, 30 seconds unless told otherwise, would be a request's.
        own._timeout = min(own._timeout, timeout)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no setter
    return Engine(own, given.dialect, given.url, hide_parameters=True, execution_options=given.get_execution_options())


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


def _limiting(statements: list[str]) -> Callable[[Any, Any], None]:
    def limit(connection: Any, _: Any) -> None:
        for statement in statements:
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

#: Deadlock and failed serialization, in PostgreSQL (SQLSTATE) and in MySQL and MariaDB (error numbers).
_IN_THE_WAY = frozenset({"40P01", "40001", 1213})


def reading(engine: Engine) -> Connection:
    """A connection for one question, without a transaction where that saves ways to the server.

    Drivers of MySQL and MariaDB ask the server to change it, and a connection that broke meanwhile is then not told as such.
    """
    if engine.dialect.name in {"mysql", "mariadb"}:
        return engine.connect()
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def begin_on_sqlite(connection: Connection) -> None:
    """Begins the transaction that SQLAlchemy takes for begun: Python's driver waits with it, and a savepoint would commit.

    See https://docs.sqlalchemy.org/en/20/dialects/sqlite.html, "Enabling Non-Legacy SQLite Transactional Modes".
    """
    if connection.dialect.name == "sqlite" and not getattr(
        connection.connection.dbapi_connection, "in_transaction", True
    ):
        connection.exec_driver_sql("BEGIN")


def is_disconnect(error: DBAPIError) -> bool:
    """Whether the connection broke: the next one may be well."""
    return bool(error.connection_invalidated)


def is_worth_another_try(error: DBAPIError) -> bool:
    """Whether a transaction that was rolled back may work when it is tried again."""
    cause = error.orig
    code = getattr(cause, "sqlstate", None) or next(iter(getattr(cause, "args", ())), None)
    return is_disconnect(error) or code in _IN_THE_WAY
