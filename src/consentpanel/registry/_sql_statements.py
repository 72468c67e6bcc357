"""The statements of `_plans` on somebody's database, by SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql import Executable

from consentpanel.registry._plans import PRESENT, Statement
from consentpanel.registry._rows import COLUMNS
from consentpanel.registry._sql_engine import MYSQL
from consentpanel.registry._sql_tables import Tables


def statements_of(tables: Tables, dialect: str) -> dict[Statement, Executable]:
    """The statements for one set of tables.

    Args:
        tables: The tables.
        dialect: SQLAlchemy's name of the database.
    """
    record, standing, chain = tables.record, tables.standing, tables.chain
    hold = _upsert(dialect, chain, {})
    if holds_at_once(dialect):
        hold = hold.returning(chain.c.length, chain.c.link, chain.c.latest_at)
    one: dict[str, Any] = {"scope": bindparam("scope_"), "subject_id": bindparam("subject_")}
    said = [record.c[name] for name in COLUMNS]
    deciding = [standing.c[name] for name in PRESENT]
    end = select(chain.c.length, chain.c.link, chain.c.latest_at).where(*_are(chain, one))
    history = select(*said, record.c.link).where(*_are(record, one)).order_by(record.c.position)
    return {
        "hold": hold,
        "end": end,
        "held_end": end.with_for_update(),
        # What is read to be written again is read as it is, not as it was when the transaction began.
        "counting": select(standing.c.purpose, standing.c.counts_from).where(*_are(standing, one)).with_for_update(),
        "standing": select(*deciding).where(*_are(standing, one), standing.c.purpose == bindparam("purpose_")),
        "standings": select(standing.c.subject_id, *deciding).where(
            standing.c.scope == bindparam("scope_"),
            standing.c.subject_id.in_(bindparam("subjects_", expanding=True)),
            standing.c.purpose == bindparam("purpose_"),
        ),
        "past": (
            select(*said)
            .where(
                record.c.scope == bindparam("scope_"),
                record.c.subject_id.in_(bindparam("subjects_", expanding=True)),
                record.c.purpose == bindparam("purpose_"),
                record.c.recorded_at <= bindparam("until_"),
            )
            .order_by(record.c.subject_id, record.c.position)
        ),
        "history": history,
        "held_history": history.with_for_update(),
        "insert": insert(record),
        "set_standing": _upsert(dialect, standing, dict(zip(PRESENT, PRESENT, strict=True))),
        "extend": (
            update(chain)
            .where(*_are(chain, one))
            .values(length=bindparam("length_"), link=bindparam("link_"), latest_at=bindparam("latest_"))
        ),
        "people": (
            select(chain.c.scope, chain.c.subject_id)
            .where(
                or_(
                    chain.c.scope > bindparam("scope_"),
                    and_(chain.c.scope == bindparam("scope_"), chain.c.subject_id > bindparam("subject_")),
                )
            )
            .order_by(chain.c.scope, chain.c.subject_id)
            .limit(1000)
        ),
        "tidy": delete(chain).where(*_are(chain, one), chain.c.length == 0),
        "erase_records": delete(record).where(*_are(record, one)),
        "erase_standings": delete(standing).where(*_are(standing, one)),
        "erase_end": delete(chain).where(*_are(chain, one)),
    }


def holds_at_once(dialect: str) -> bool:
    """Whether the statement ``"hold"`` gives the row that it holds."""
    return dialect == "postgresql"


def _are(table: Any, values: Mapping[str, Any]) -> list[Any]:
    return [table.c[name] == value for name, value in values.items()]


def _upsert(dialect: str, table: Any, changed: Mapping[str, str]) -> Any:
    """Inserts a row, or changes the one that is there; without changes it only holds it."""
    key = [column.name for column in table.primary_key]
    if dialect in MYSQL:
        statement = mysql.insert(table)
        values = {name: statement.inserted[name] for name in changed} or {"length": table.c.length}
        return statement.on_duplicate_key_update(**values)
    kind: Any = {"postgresql": postgresql, "sqlite": sqlite}[dialect]
    added = kind.insert(table)
    values = {name: added.excluded[name] for name in changed} or {"length": table.c.length}
    return added.on_conflict_do_update(index_elements=key, set_=values)
