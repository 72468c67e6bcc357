"""The tables of an outbox in somebody's database, by SQLAlchemy: PostgreSQL, MariaDB, MySQL or SQLite."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, PrimaryKeyConstraint, String, Table, Text
from sqlalchemy import Connection as SQLConnection
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import IntegrityError, InvalidRequestError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.types import TypeEngine

from consentpanel._checks import seconds
from consentpanel._mixpanel import vendor
from consentpanel.errors import ConfigurationError, ConsentPanelError, InvalidRecordError
from consentpanel.registry._sql_engine import (
    GATE,
    MYSQL,
    OwnEngine,
    asked_twice,
    cause_of,
    check_place,
    committed,
    make_tables,
    reading,
    under_savepoint,
)
from consentpanel.transport._message_store import Connection, MessageStore, Names, New, Row, present
from consentpanel.transport._waiting import vendor_error

_T = TypeVar("_T")

#: Seconds after which the server's clock is looked at again.
_SEEN = 60.0
#: How many times as long as it took to add up what waits it is not added up again.
_RELAXED = 20.0
#: Seconds from which on that is long.
_LONG = 0.05

#: Milliseconds since 1970 UTC by the server's clock, which is the same for all of its clients.
_NOW = {
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
    # Not by `unix_timestamp`, to which an hour of the autumn comes twice.
    "mysql": "SELECT timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000",
}
#: From which version on rows can be passed by that somebody else has locked.
_SKIPS = {"postgresql": (9, 5), "mysql": (8, 0, 1), "mariadb": (10, 6)}


class OutboxTables(MessageStore):
    """Messages that wait in a database that many machines share.

    Tokens and ids stand there as their digests, which are equal only byte for byte on every database; a message itself, and
    whom it names, as the policy left it.

    Args:
        engine_or_url: An `Engine`, or a URL of SQLAlchemy's.
        schema: The schema of the tables; None for the database's default.
        prefix: What the names of the tables begin with.
        timeout: Seconds for a connection, and for a statement where the server can limit it; None for no limit.

    Raises:
        ConfigurationError: An argument cannot work, or the database is of another kind.
    """

    def __init__(
        self, engine_or_url: Engine | URL | str, schema: str | None, prefix: str, timeout: float | None
    ) -> None:
        check_place(schema, prefix)
        self._own = OwnEngine("engine_or_url", engine_or_url, None if timeout is None else seconds("timeout", timeout))
        if self._own.is_shared:
            raise ConfigurationError(
                "an outbox needs connections of its own, and this engine has one for all: what waits for a commit could not be "
                "told from what was committed. Use a file instead of a database in memory"
            )
        self.metadata = MetaData(schema=schema)
        tables = _tables(self.metadata, prefix)
        quoted = self.engine.dialect.identifier_preparer.format_table
        super().__init__(Names(*(quoted(tables[name]) for name in ("waiting", "dead", "held", "named", "erasure"))))
        self._lane = quoted(tables["lane"])
        self._dialect = self.engine.dialect.name
        #: What the server's clock is ahead of `_elapsed`; None before it was asked, and where there is no server.
        self._offset: int | None = None
        self._seen_until = 0.0
        self._measured, self._measured_until = 0, 0.0
        self._lent = threading.local()
        #: Of which endpoints there is a row to hold.
        self._lanes: set[str] = set()

    @property
    def engine(self) -> Engine:
        """What has the connections of the outbox's own."""
        return self._own.engine

    def create_tables(self) -> None:
        """Makes the tables that are not there yet.

        Raises:
            MixpanelException: The database fails.
        """
        # Where the statements look for them, which are written out.
        self._translated(lambda: make_tables(self.engine, self.metadata, schema_translate_map=None))

    @contextmanager
    def lent(self, theirs: SQLConnection | None) -> Generator[None, None, None]:
        """Until this ends, this thread writes in somebody's transaction; in its own for None."""
        self._lent.connection = theirs
        try:
            yield
        finally:
            self._lent.connection = None

    def read(self, act: Callable[[Connection], _T]) -> _T:
        def read() -> _T:
            with reading(self.engine) as connection:
                return act(_Adapter(connection))

        self.see_the_server()
        return self._translated(lambda: asked_twice(read))

    def write(self, act: Callable[[Connection], _T]) -> _T:
        theirs: SQLConnection | None = getattr(self._lent, "connection", None)
        if theirs is not None:
            return self._translated(lambda: under_savepoint(theirs, lambda: act(_Adapter(theirs))))

        def write(connection: SQLConnection) -> _T:
            if self._dialect == "sqlite":
                # Whoever reads first and then wants to write would be refused at once when another has written meanwhile.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            return act(_Adapter(connection))

        self.see_the_server()
        return self._translated(lambda: committed(self.engine, write))

    @property
    def identity(self) -> object:
        """What tells this database from another."""
        return self._own.identity

    def asked(self, question: Callable[[], _T]) -> _T:
        """What the answer to a question about somebody's transaction is.

        Raises:
            ConfigurationError: What was given is no transaction of this database.
            MixpanelException: Nobody can tell.
        """
        return self._translated(question)

    def append_told(self, new: New, tell: Callable[[int], None]) -> None:
        """As `append`; its number is told before it is committed."""
        self.write(lambda connection: tell(self.put(connection, new)))

    def put_in(self, theirs: SQLConnection, new: New) -> int | None:
        """Writes a message into somebody's transaction, which goes on whatever fails.

        Returns:
            Its number; None when that transaction has just ended, as in a signal handler.

        Raises:
            MixpanelException: The database fails.
        """

        def put() -> int | None:
            try:
                return under_savepoint(theirs, lambda: self.put(_Adapter(theirs), new))
            except PendingRollbackError:
                raise
            except InvalidRequestError:
                return None

        return self._translated(put)

    def has(self, theirs: SQLConnection, number: int) -> bool:
        """Whether a message is still there, or held, within somebody's transaction."""
        tables = self.names.waiting, self.names.held
        queries = [f"SELECT 1 FROM {each} WHERE number = ?" for each in tables]
        return any(_Adapter(theirs).execute(query, (number,)).fetchone() is not None for query in queries)

    def size(self) -> int:
        """Bytes of the messages that wait; as they were a moment ago, where many do."""
        if time.monotonic() >= self._measured_until:
            names, begun = self.names, time.monotonic()
            parts = [f"SELECT coalesce(sum(size), 0) FROM {each}" for each in (names.waiting, names.held, names.dead)]
            self._measured = self.read(lambda each: sum(int(each.execute(part).fetchone()[0]) for part in parts))
            took = time.monotonic() - begun
            self._measured_until = time.monotonic() + (_RELAXED * took if took > _LONG else 0.0)
        return self._measured

    def present(self) -> int:
        # Not by this machine's clock, which somebody may set.
        return present() if self._offset is None else _elapsed() + self._offset

    def close(self) -> None:
        """Closes the outbox's own connections; those of an engine that was given stay open."""
        self._own.close()

    def inserted(self, connection: Connection, sql: str, values: Sequence[Any]) -> int:
        if self._dialect == "postgresql":
            return int(connection.execute(f"{sql} RETURNING number", values).fetchone()[0])
        return super().inserted(connection, sql, values)

    def name_of(self, text: str) -> str:
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def _each(self, connection: Connection, sql: str, values: Sequence[Any], numbers: Sequence[int]) -> None:
        if self._dialect in MYSQL:
            # One by one: of several MySQL may read the whole table, and wait for each row that others have not committed.
            connection.executemany(sql.replace("IN ({})", "= ?"), [(*values, number) for number in numbers])
        else:
            super()._each(connection, sql, values, numbers)

    def _row(self, fields: Sequence[Any]) -> Row:
        row = Row._make(fields)
        return row if row.token is None else row._replace(token=json.loads(row.kept)[0])

    def _whose_order(self, connection: Connection, endpoint: str, now: int) -> set[str] | None:
        # One caller at a time chooses, and each leaves out whom another one is about to tell of.
        self._take_lane(connection, endpoint)
        leased = f"SELECT number, subject FROM {self.names.waiting} WHERE endpoint = ? AND leased_until > ?"
        rows = connection.execute(leased, (endpoint, now)).fetchall()
        others = self._others(connection, [number for number, _ in rows])
        return {subject for _, subject in rows if subject is not None}.union(*others.values())

    def _take_lane(self, connection: Connection, endpoint: str) -> None:
        # On SQLite only one writes at a time.
        if self._dialect != "sqlite":
            taken = f"SELECT 1 FROM {self._lane} WHERE endpoint = ?{self._waited_for}"
            connection.execute(taken, (endpoint,)).fetchall()

    def _prepare_order(self, endpoint: str) -> None:
        if self._dialect == "sqlite" or endpoint in self._lanes:
            return
        if not self._is_there(f"SELECT 1 FROM {self._lane} WHERE endpoint = ?", (endpoint,)):
            into = f"INSERT INTO {self._lane} (endpoint) VALUES (?)"
            # Another process may just have made it.
            with suppress(IntegrityError):
                committed(self.engine, lambda connection: _Adapter(connection).execute(into, (endpoint,)))
        self._lanes.add(endpoint)

    def see_the_server(self) -> None:
        """Notes, once in a while, what the server's clock says, and what it can do.

        Raises:
            MixpanelException: The database fails.
        """
        if self._dialect == "sqlite" or time.monotonic() < self._seen_until:
            return
        self._translated(lambda: asked_twice(self._see))

    def _see(self) -> None:
        with reading(self.engine) as connection:
            before = _elapsed()
            said = connection.exec_driver_sql(_NOW["postgresql" if self._dialect == "postgresql" else "mysql"])
            self._offset = int(said.scalar_one()) - (before + _elapsed()) // 2
            dialect: Any = self.engine.dialect
            kind = "mariadb" if getattr(dialect, "is_mariadb", False) else self._dialect
            skips = dialect.server_version_info >= _SKIPS[kind]
        self._waited_for = " FOR UPDATE"
        self.passing_by = f" FOR UPDATE{' SKIP LOCKED' if skips else ''}"
        self._seen_until = time.monotonic() + _SEEN

    def _translated(self, act: Callable[[], _T]) -> _T:
        """What a use of the database answers; failures are told by their type alone, because their texts hold ids."""
        if self._own.is_closed:
            raise vendor_error(None, "the outbox is closed")
        problem: Exception
        try:
            if self._dialect != "sqlite":
                return act()
            with GATE:
                return act()
        except SQLAlchemyError as error:
            problem = vendor_error(None, f"the outbox failed: {cause_of(error)}")
            if isinstance(getattr(error, "orig", None), UnicodeError):
                problem = InvalidRecordError("an id or a text cannot be written as UTF-8")
        except UnicodeError:
            problem = InvalidRecordError("an id or a text cannot be written as UTF-8")
        except (ConsentPanelError, vendor.MixpanelException):
            raise
        except Exception as error:  # noqa: BLE001 - of a driver, or of a listener of the application's, whose text may hold values
            problem = vendor_error(None, f"the outbox failed: {type(error).__name__}")
        raise problem


def _elapsed() -> int:
    """Milliseconds since some moment, by a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


class _Adapter:
    """A connection of SQLAlchemy's whose statements have ``?`` for each value, whatever its driver takes."""

    def __init__(self, connection: SQLConnection) -> None:
        self._connection = connection
        self._style = connection.dialect.paramstyle

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        return self._connection.exec_driver_sql(_in_style(sql, self._style), tuple(values) or None)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        several = list(map(tuple, rows))
        return self._connection.exec_driver_sql(_in_style(sql, self._style), several) if several else None


@lru_cache(maxsize=1024)
def _in_style(sql: str, style: str) -> str:
    """A statement with the marks of PEP 249's `paramstyle`; no text in ours has a ``?`` or a ``%``."""
    if style == "qmark":
        return sql
    if style.startswith("numeric"):
        first, *others = sql.split("?")
        mark = "$" if "dollar" in style else ":"
        return first + "".join(f"{mark}{number}{part}" for number, part in enumerate(others, 1))
    return sql.replace("?", "%s")


def _tables(metadata: MetaData, prefix: str) -> dict[str, Table]:
    """The tables by what they are for."""
    digest = String(64)
    # Longer than MySQL's TEXT; and of another case, or with other accents, is another text.
    long: TypeEngine[str] = Text().with_variant(MEDIUMTEXT(collation="utf8mb4_bin"), *MYSQL)
    number: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")
    options: dict[str, Any] = {}
    for name in MYSQL:
        options |= {f"{name}_charset": "utf8mb4", f"{name}_engine": "InnoDB"}
    # So that no number is ever given twice.
    numbering: dict[str, Any] = {**options, "sqlite_autoincrement": True}

    def counting(name: str) -> Column[int]:
        return Column(name, BigInteger, nullable=False, server_default="0")

    def messages(name: str, *columns: Column[Any], indexes: Iterable[tuple[str, ...]], is_first: bool = False) -> Table:
        return Table(
            f"{prefix}{name}",
            metadata,
            Column("number", number, primary_key=True, autoincrement=is_first),
            Column("endpoint", String(16), nullable=False),
            Column("token", digest),
            Column("subject", digest),
            Column("kept", long, nullable=False),
            Column("message", long, nullable=False),
            Column("size", Integer, nullable=False),
            # Times are milliseconds since 1970 UTC.
            Column("created", BigInteger, nullable=False),
            Column("failure", Text),
            *columns,
            *(Index(f"ix_{prefix}{name}_{each[-1]}", *each) for each in indexes),
            **(numbering if is_first else options),
        )

    return {
        "waiting": messages(
            "outbox",
            *map(counting, ("available", "leased_until", "lease")),
            indexes=[("endpoint", "number"), ("subject",), ("created",)],
            is_first=True,
        ),
        # What fails for good.
        "dead": messages("outbox_dead", indexes=[("subject",), ("created",)]),
        # Of people who were never asked; `until` is when it is given up.
        "held": messages(
            "outbox_held", Column("until", BigInteger, nullable=False), indexes=[("subject",), ("until",)]
        ),
        # Of messages that name more than one person: the others.
        "named": Table(
            f"{prefix}outbox_named",
            metadata,
            Column("subject", digest, nullable=False),
            Column("number", BigInteger, nullable=False, autoincrement=False),
            PrimaryKeyConstraint("subject", "number"),
            Index(f"ix_{prefix}outbox_named_number", "number"),
            **options,
        ),
        # Whose row somebody holds chooses what leaves next, where that has to keep its order.
        "lane": Table(
            f"{prefix}outbox_lane",
            metadata,
            Column("endpoint", String(16), primary_key=True),
            **options,
        ),
        # `numbers` are the vendor's, once it has taken the request.
        "erasure": Table(
            f"{prefix}outbox_erasure",
            metadata,
            Column("number", number, primary_key=True, autoincrement=True),
            Column("token", digest, nullable=False),
            Column("asked", long, nullable=False),
            Column("numbers", Text),
            *map(counting, ("tries", "available", "leased_until")),
            **numbering,
        ),
    }
