"""What a registry asks of a database and makes of the answers, without asking: one set of plans for every driver.

A plan yields statements with their parameters, gets the rows of each, and returns what came of it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import attrs
from sqlalchemy import and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql import Executable

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification, verified
from consentpanel._consent.records import ConsentRecord
from consentpanel._consent.standing import Standing, standing_of
from consentpanel.registry._appending import End, Present, appended
from consentpanel.registry._objections import outliving
from consentpanel.registry._rows import (
    COLUMNS,
    microseconds,
    readable,
    record_of,
    row_of,
)
from consentpanel.registry._sql_engine import MYSQL
from consentpanel.registry._sql_tables import Tables

_T = TypeVar("_T")

Rows: TypeAlias = Sequence[Sequence[Any]]
Step: TypeAlias = "tuple[Executable, Mapping[str, Any] | list[dict[str, Any]]]"
Plan: TypeAlias = Generator[Step, Rows, _T]

_PRESENT = tuple(field.name for field in attrs.fields(Present))

#: People in one statement; a driver counts its parameters in 16 bits.
_AT_ONCE = 10_000


class Plans:
    """The plans for one set of tables and one kind of database.

    Args:
        tables: The tables.
        dialect: SQLAlchemy's name of the database.
        required: The oldest policy version under which a grant still holds; None accepts any.
        max_age: How long answers are good for.
    """

    def __init__(self, tables: Tables, dialect: str, required: str | None, max_age: MaxAge | None) -> None:
        self._required, self._max_age = required, max_age
        record, standing, chain = self._record, self._now, self._chain = tables.record, tables.standing, tables.chain
        self._hold = _upsert(dialect, chain, {})
        self._is_held_at_once = dialect == "postgresql"
        if self._is_held_at_once:
            self._hold = self._hold.returning(chain.c.length, chain.c.link, chain.c.latest_at)
        self._set_standing = _upsert(
            dialect,
            standing,
            dict(zip(_PRESENT, _PRESENT, strict=True)),
        )
        one: dict[str, Any] = {"scope": bindparam("scope_"), "subject_id": bindparam("subject_")}
        said = [record.c[name] for name in COLUMNS]
        deciding = [standing.c[name] for name in _PRESENT]
        self._end = select(chain.c.length, chain.c.link, chain.c.latest_at).where(*_are(chain, one))
        self._held_end = self._end.with_for_update()
        # What is read to be written again is read as it is, not as it was when the transaction began.
        self._counting = (
            select(standing.c.purpose, standing.c.counts_from).where(*_are(standing, one)).with_for_update()
        )
        self._standing = select(*deciding).where(*_are(standing, one), standing.c.purpose == bindparam("purpose_"))
        self._standings = select(standing.c.subject_id, *deciding).where(
            standing.c.scope == bindparam("scope_"),
            standing.c.subject_id.in_(bindparam("subjects_", expanding=True)),
            standing.c.purpose == bindparam("purpose_"),
        )
        self._past = (
            select(*said)
            .where(
                record.c.scope == bindparam("scope_"),
                record.c.subject_id.in_(bindparam("subjects_", expanding=True)),
                record.c.purpose == bindparam("purpose_"),
                record.c.recorded_at <= bindparam("until_"),
            )
            .order_by(record.c.subject_id, record.c.position)
        )
        self._history = select(*said, record.c.link).where(*_are(record, one)).order_by(record.c.position)
        self._held_history = self._history.with_for_update()
        self._insert = insert(record)
        self._extend = (
            update(chain)
            .where(*_are(chain, one))
            .values(length=bindparam("length_"), link=bindparam("link_"), latest_at=bindparam("latest_"))
        )
        self._people = (
            select(chain.c.scope, chain.c.subject_id)
            .where(
                or_(
                    chain.c.scope > bindparam("scope_"),
                    and_(chain.c.scope == bindparam("scope_"), chain.c.subject_id > bindparam("subject_")),
                )
            )
            .order_by(chain.c.scope, chain.c.subject_id)
            .limit(1000)
        )
        self._tidy = delete(chain).where(*_are(chain, one), chain.c.length == 0)
        self._delete = [delete(each).where(*_are(each, one)) for each in (record, standing, chain)]

    def standing(self, scope: str, key: str, purpose: str) -> Plan[Standing | None]:
        """The present standing of one person; None where nothing is recorded. One look-up by the primary key."""
        rows = yield self._standing, {"scope_": scope, "subject_": key, "purpose_": purpose}
        return Present(*rows[0]).standing(purpose, self._required, self._max_age) if rows else None

    def standings(
        self, scope: str, keys: Iterable[str], purpose: str, moment: datetime | None
    ) -> Plan[dict[str, Standing]]:
        """The standing of those of whom there is a record, now or at a moment. One statement for 10,000 people."""
        several = list(dict.fromkeys(keys))
        found: dict[str, Standing] = {}
        for first in range(0, len(several), _AT_ONCE):
            some = {"scope_": scope, "purpose_": purpose, "subjects_": several[first : first + _AT_ONCE]}
            if moment is None:
                rows = yield self._standings, some
                for row in rows:
                    found[row[0]] = Present(*row[1:]).standing(purpose, self._required, self._max_age)
                continue
            rows = yield self._past, {**some, "until_": microseconds(moment)}
            said: dict[str, list[ConsentRecord]] = {}
            for row in rows:
                said.setdefault(row[0], []).append(record_of(row))
            found.update(
                (subject, standing_of(some, at=moment, max_age=self._max_age)) for subject, some in said.items()
            )
        return found

    def ends_at(self, scope: str, key: str, purpose: str) -> Plan[datetime | None]:
        """When the grant that decides now ends; None for never, and for no grant."""
        rows = yield self._standing, {"scope_": scope, "subject_": key, "purpose_": purpose}
        present = Present(*rows[0]) if rows else None
        return None if present is None else present.ends_at(purpose, self._max_age)

    def history(self, scope: str, key: str) -> Plan[list[ConsentRecord]]:
        """The records of one person, in the order of writing."""
        rows = yield self._history, {"scope_": scope, "subject_": key}
        return [record_of(row[:-1]) for row in rows]

    def people(self, scope: str, key: str) -> Plan[list[tuple[str, str]]]:
        """The next 1,000 people after one, by tenant and id."""
        rows = yield self._people, {"scope_": scope, "subject_": key}
        return [(row[0], row[1]) for row in rows]

    def verify(self, scope: str, key: str) -> Plan[Verification]:
        """Whether the chain of one person is whole."""
        one = {"scope_": scope, "subject_": key}
        ends = yield self._end, one
        while True:
            rows = yield self._history, one
            before, ends = ends, (yield self._end, one)
            # What is written or forgotten between two questions is no break.
            if [tuple(row) for row in before] == [tuple(row) for row in ends]:
                break
        end = (ends[0][0], ends[0][1]) if ends else None
        return verified(((readable(row[:-1]), row[-1]) for row in rows), scope, end)

    def append(self, scope: str, records: Iterable[ConsentRecord], *, is_stamped_here: bool) -> Plan[None]:
        """Appends records, chained, and writes the standing that they make; within one transaction.

        The row of the chain's end is held first, so that of two who write about one person the second waits; in the order
        of ids, so that two who write about several do not wait for each other.
        """
        by_person: dict[str, list[ConsentRecord]] = {}
        for record in records:
            by_person.setdefault(record.subject_id, []).append(record)
        ends = {}
        for key in sorted(by_person):
            ends[key] = yield from self._held(scope, key)
        for key, end in ends.items():
            yield from self._append_of_one(scope, key, by_person[key], end, is_stamped_here=is_stamped_here)

    def _append_of_one(
        self, scope: str, key: str, records: list[ConsentRecord], end: End, *, is_stamped_here: bool
    ) -> Plan[None]:
        one = {"scope_": scope, "subject_": key}
        counting: Any = yield self._counting, one
        done = appended(end, dict(counting), records, is_stamped_here=is_stamped_here)
        yield (
            self._insert,
            [
                {**dict(zip(COLUMNS, row_of(record), strict=True)), "scope": scope, "position": place, "link": its_link}
                for place, (record, its_link) in enumerate(done.records, end.length)
            ],
        )
        if done.present:
            place = {"scope": scope, "subject_id": key}
            rows = [{**place, "purpose": purpose, **attrs.asdict(each)} for purpose, each in done.present.items()]
            yield self._set_standing, rows
        yield self._extend, {**one, "length_": done.end.length, "link_": done.end.link, "latest_": done.end.latest_at}

    def forget(self, scope: str, key: str, tags: list[str]) -> Plan[int]:
        """Erases the records of one person, and keeps what outlives them; how many were erased. Within one transaction."""
        ends = {}
        for who in sorted({key, *tags}):
            ends[who] = yield from self._held(scope, who)
        said = yield from self._held_records(scope, key)
        for tag in tags if said else ():
            before = yield from self._held_records(scope, tag)
            kept = outliving(tag, said, before)
            if kept != before:
                yield from self._erase(scope, tag)
                ends[tag] = yield from self._held(scope, tag)
                if kept:
                    yield from self._append_of_one(scope, tag, kept, ends[tag], is_stamped_here=False)
        yield from self._erase(scope, key)
        for tag in tags:
            # Held above, where perhaps nothing was.
            yield self._tidy, {"scope_": scope, "subject_": tag}
        return len(said)

    def _held_records(self, scope: str, key: str) -> Plan[list[ConsentRecord]]:
        rows = yield self._held_history, {"scope_": scope, "subject_": key}
        return [record_of(row[:-1]) for row in rows]

    def _erase(self, scope: str, key: str) -> Plan[None]:
        for statement in self._delete:
            yield statement, {"scope_": scope, "subject_": key}

    def _held(self, scope: str, key: str) -> Plan[End]:
        """The end of a person's chain, which nobody else changes until the transaction ends; made where there is none."""
        place = {"scope": scope, "subject_id": key}
        rows = yield self._hold, {**place, **attrs.asdict(End.of_nobody(scope))}
        if not self._is_held_at_once:
            rows = yield self._held_end, {"scope_": scope, "subject_": key}
        return End(*rows[0])


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
