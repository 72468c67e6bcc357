"""The tables of consent in somebody's database, by SQLAlchemy Core."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, PrimaryKeyConstraint, String, Table, Text
from sqlalchemy.dialects.mysql import VARBINARY
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from consentpanel._consent.ids import MAX_ID_LENGTH
from consentpanel.registry._sql_engine import MYSQL


class Exact(TypeDecorator[str]):
    """A text that is equal to another only byte for byte, on every database.

    PostgreSQL compares so in the collation ``C``, SQLite by itself. On MySQL and MariaDB a text is equal to one of
    other case, accents or trailing spaces in nearly every collation, so its UTF-8 bytes are kept: a literal such as
    ``WHERE subject_id = 'user-1'`` finds them all the same.

    Args:
        length: The most characters.
    """

    #: Migrations that Alembic writes name it so.
    __module__ = "consentpanel.registry.sqlalchemy"

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in MYSQL:
            return dialect.type_descriptor(VARBINARY(self._length * 4))
        collation = "C" if dialect.name == "postgresql" else None
        return dialect.type_descriptor(String(self._length, collation=collation))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        return value.encode("utf-8") if dialect.name in MYSQL and value is not None else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        return value.decode("utf-8") if isinstance(value, bytes) else value

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:  # noqa: ARG002 - SQLAlchemy's signature
        return self


class Tables:
    """Records, which only grow; the present standing of each person and purpose; and the end of each person's chain.

    Args:
        schema: The schema of the database in which they are; None for its default.
        prefix: What their names begin with.
    """

    def __init__(self, schema: str | None, prefix: str) -> None:
        self.metadata = MetaData(schema=schema)
        self.record = self._table(
            f"{prefix}record",
            # Its place in the person's chain, from 0: with it the key is unique, and a history is one range of it.
            Column("position", BigInteger, nullable=False, autoincrement=False),
            Column("purpose", Exact(64), nullable=False),
            Column("status", String(16), nullable=False),
            # Microseconds since 1970 in UTC: no session's time zone and no type's precision changes them.
            Column("recorded_at", BigInteger, nullable=False),
            Column("expires_at", BigInteger),
            *(Column(name, Text) for name in ("policy_version", "source", "jurisdiction")),
            Column("evidence", Text, nullable=False),
            Column("record_id", Text, nullable=False),
            *(Column(name, Text) for name in ("language", "event_type", "actor")),
            Column("schema_version", Text, nullable=False),
            Column("link", String(64), nullable=False),
            key=("position",),
        )
        self.standing = self._table(
            f"{prefix}standing",
            Column("purpose", Exact(64), nullable=False),
            Column("status", String(16), nullable=False),
            # From when the record counts that decides: a denial counts as later than a grant of a fast clock.
            Column("counts_from", BigInteger, nullable=False),
            Column("recorded_at", BigInteger, nullable=False),
            Column("expires_at", BigInteger),
            Column("policy_version", Text),
            key=("purpose",),
        )
        self.chain = self._table(
            f"{prefix}chain",
            Column("length", BigInteger, nullable=False),
            Column("link", String(64), nullable=False),
            Column("latest_at", BigInteger),
        )

    def _table(self, name: str, *columns: Column[Any], key: tuple[str, ...] = ()) -> Table:
        person: tuple[Column[Any], ...] = (
            Column("scope", Exact(64), nullable=False),
            Column("subject_id", Exact(MAX_ID_LENGTH), nullable=False),
        )
        constraint = PrimaryKeyConstraint("scope", "subject_id", *key)
        options: dict[str, Any] = {f"{each}_charset": "utf8mb4" for each in MYSQL}
        options |= {f"{each}_engine": "InnoDB" for each in MYSQL}
        return Table(name, self.metadata, *person, *columns, constraint, **options)
