"""What a registry asks of a database and makes of the answers, without asking: one set of plans for every way to a database.

A plan yields the name of a statement and its values, gets the rows, and returns what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

import attrs

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification, verified
from consentpanel._consent.records import ConsentRecord
from consentpanel._consent.standing import Standing, standing_of
from consentpanel.registry._appending import End, Present, appended
from consentpanel.registry._objections import outliving
from consentpanel.registry._rows import COLUMNS, microseconds, readable, record_of, row_of

_T = TypeVar("_T")

#: The statements, by what they do. Their values have the names of columns, followed by ``_`` where they choose rows.
Statement: TypeAlias = Literal[
    # The present standing (`PRESENT`) of one person and purpose; of several people (their ids before it).
    "standing",
    "standings",
    # The records (`COLUMNS`) of several people for one purpose until a moment, by id and in the order of writing.
    "past",
    # The records of one person with their links, in the order of writing; and held, so that nobody else changes them.
    "history",
    "held_history",
    # The end of a person's chain (length, link, latest_at); held; and held after a row was made where there was none.
    "end",
    "held_end",
    "hold",
    # From when what decides counts, for each purpose of a person; held.
    "counting",
    # Adds records; writes the standing of purposes; moves the end of a chain; deletes one of length 0.
    "insert",
    "set_standing",
    "extend",
    "tidy",
    # Erases what there is of one person.
    "erase_records",
    "erase_standings",
    "erase_end",
    # The next 1,000 people after one, by tenant and id.
    "people",
]
Rows: TypeAlias = Sequence[Sequence[Any]]
Step: TypeAlias = "tuple[Statement, Mapping[str, Any] | list[dict[str, Any]]]"
Plan: TypeAlias = Generator[Step, Rows, _T]


def carried_out(plan: Plan[_T], execute: Callable[[Statement, Any], Rows]) -> _T:
    """What comes of a plan.

    Args:
        plan: The plan.
        execute: Executes a statement with values: its rows.
    """
    rows: Any = None
    while True:
        try:
            name, values = plan.send(rows)
        except StopIteration as end:
            answer: _T = end.value
            return answer
        rows = execute(name, values)


#: The columns of a present standing.
PRESENT = tuple(field.name for field in attrs.fields(Present))

#: People in one statement; a driver counts its parameters in 16 bits.
_AT_ONCE = 10_000


class Plans:
    """The plans for one registry.

    Args:
        required: The oldest policy version under which a grant still holds; None accepts any.
        max_age: How long answers are good for.
        is_held_at_once: Whether the statement ``"hold"`` gives the row that it holds.
        at_once: The most people in one statement.
    """

    def __init__(
        self, required: str | None, max_age: MaxAge | None, *, is_held_at_once: bool = False, at_once: int = _AT_ONCE
    ) -> None:
        self._required, self._max_age = required, max_age
        self._is_held_at_once = is_held_at_once
        self._at_once = at_once

    def standing(self, scope: str, key: str, purpose: str) -> Plan[Standing | None]:
        """The present standing of one person; None where nothing is recorded. One look-up by the primary key."""
        rows = yield "standing", {"scope_": scope, "subject_": key, "purpose_": purpose}
        return Present(*rows[0]).standing(purpose, self._required, self._max_age) if rows else None

    def standings(
        self, scope: str, keys: Iterable[str], purpose: str, moment: datetime | None
    ) -> Plan[dict[str, Standing]]:
        """The standing of those of whom there is a record, now or at a moment. One statement for 10,000 people."""
        several = list(dict.fromkeys(keys))
        found: dict[str, Standing] = {}
        for first in range(0, len(several), self._at_once):
            some = {"scope_": scope, "purpose_": purpose, "subjects_": several[first : first + self._at_once]}
            if moment is None:
                rows = yield "standings", some
                for row in rows:
                    found[row[0]] = Present(*row[1:]).standing(purpose, self._required, self._max_age)
                continue
            rows = yield "past", {**some, "until_": microseconds(moment)}
            said: dict[str, list[ConsentRecord]] = {}
            for row in rows:
                said.setdefault(row[0], []).append(record_of(row))
            found.update(
                (subject, standing_of(some, at=moment, max_age=self._max_age)) for subject, some in said.items()
            )
        return found

    def ends_at(self, scope: str, key: str, purpose: str) -> Plan[datetime | None]:
        """When the grant that decides now ends; None for never, and for no grant."""
        rows = yield "standing", {"scope_": scope, "subject_": key, "purpose_": purpose}
        present = Present(*rows[0]) if rows else None
        return None if present is None else present.ends_at(purpose, self._max_age)

    def history(self, scope: str, key: str) -> Plan[list[ConsentRecord]]:
        """The records of one person, in the order of writing."""
        rows = yield "history", {"scope_": scope, "subject_": key}
        return [record_of(row[:-1]) for row in rows]

    def people(self, scope: str, key: str) -> Plan[list[tuple[str, str]]]:
        """The next 1,000 people after one, by tenant and id."""
        rows = yield "people", {"scope_": scope, "subject_": key}
        return [(row[0], row[1]) for row in rows]

    def verify(self, scope: str, key: str) -> Plan[Verification]:
        """Whether the chain of one person is whole."""
        one = {"scope_": scope, "subject_": key}
        ends = yield "end", one
        while True:
            rows = yield "history", one
            before, ends = ends, (yield "end", one)
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
        counting: Any = yield "counting", one
        done = appended(end, dict(counting), records, is_stamped_here=is_stamped_here)
        yield (
            "insert",
            [
                {**dict(zip(COLUMNS, row_of(record), strict=True)), "scope": scope, "position": place, "link": its_link}
                for place, (record, its_link) in enumerate(done.records, end.length)
            ],
        )
        if done.present:
            place = {"scope": scope, "subject_id": key}
            rows = [{**place, "purpose": purpose, **attrs.asdict(each)} for purpose, each in done.present.items()]
            yield "set_standing", rows
        yield "extend", {**one, "length_": done.end.length, "link_": done.end.link, "latest_": done.end.latest_at}

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
            yield "tidy", {"scope_": scope, "subject_": tag}
        return len(said)

    def _held_records(self, scope: str, key: str) -> Plan[list[ConsentRecord]]:
        rows = yield "held_history", {"scope_": scope, "subject_": key}
        return [record_of(row[:-1]) for row in rows]

    def _erase(self, scope: str, key: str) -> Plan[None]:
        one = {"scope_": scope, "subject_": key}
        yield "erase_records", one
        yield "erase_standings", one
        yield "erase_end", one

    def _held(self, scope: str, key: str) -> Plan[End]:
        """The end of a person's chain, which nobody else changes until the transaction ends; made where there is none."""
        place = {"scope": scope, "subject_id": key}
        rows = yield "hold", {**place, **attrs.asdict(End.of_nobody(scope))}
        if not self._is_held_at_once:
            rows = yield "held_end", {"scope_": scope, "subject_": key}
        return End(*rows[0])
