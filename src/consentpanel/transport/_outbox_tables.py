"""The tables of an outbox in somebody's database, by SQLAlchemy: PostgreSQL, MariaDB, MySQL or SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, PrimaryKeyConstraint, String, Table, Text
from sqlalchemy import Connection as SQLConnection
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import InvalidRequestError, PendingRollbackError, SQLAlchemyError
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
from consentpanel.transport._message_store import Connection, Names, New
from consentpanel.transport._shared_store import NOW, Dialect, SharedStore, ahead
from consentpanel.transport._waiting import vendor_error

_T = TypeVar("_T")

#: From which version on rows can be passed by that somebody else has locked.
_SKIPS = {"postgresql": (9, 5), "mysql": (8, 0, 1), "mariadb": (10, 6)}


class OutboxTables(SharedStore):
    """Messages that wait in a database that many machines share.

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
        names = Names(*(quoted(tables[name]) for name in ("waiting", "dead", "held", "named", "erasure")))
        super().__init__(names, quoted(tables["lane"]))

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

    @property
    def dialect(self) -> Dialect:
        found = self.engine.dialect.name
        return "mysql" if found in MYSQL else cast("Dialect", found)

    def look_at_the_server(self) -> tuple[int, bool]:
        return self._translated(lambda: asked_twice(self._look))

    def _look(self) -> tuple[int, bool]:
        dialect: Any = self.engine.dialect
        with reading(self.engine) as connection:
            offset = ahead(lambda: int(connection.exec_driver_sql(NOW[self.dialect]).scalar_one()))
            kind = "mariadb" if getattr(dialect, "is_mariadb", False) else self.dialect
            return offset, dialect.server_version_info >= _SKIPS[kind]

    def read(self, act: Callable[[Connection], _T]) -> _T:
        def read() -> _T:
            with reading(self.engine) as connection:
                return act(_Adapter(connection))

        self.see_the_server()
        return self._translated(lambda: asked_twice(read))

    def write(self, act: Callable[[Connection], _T]) -> _T:
        theirs: SQLConnection | None = self.borrowed
        if theirs is not None:
            return self._translated(lambda: under_savepoint(theirs, lambda: act(_Adapter(theirs))))

        def write(connection: SQLConnection) -> _T:
            if self.dialect == "sqlite":
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

    def has_in(self, theirs: SQLConnection, number: int) -> bool:
        """Whether a message is still there, or held, within somebody's transaction."""
        return self.has(_Adapter(theirs), number)

    def close(self) -> None:
        """Closes the outbox's own connections; those of an engine that was given stay open."""
        self._own.close()

    def _translated(self, act: Callable[[], _T]) -> _T:
        """What a use of the database answers; failures are told by their type alone, because their texts hold ids."""
        if self._own.is_closed:
            raise vendor_error(None, "the outbox is closed")
        problem: Exception
        try:
            if self.dialect != "sqlite":
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
