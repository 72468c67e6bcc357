"""What a registry asks of Redis and makes of the answers, without asking: one set of plans for every driver.

A plan yields commands that may go to the server together, gets the answer of each, and returns what came of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, unquote

import attrs

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification, verified
from consentpanel._consent.records import ConsentRecord
from consentpanel._consent.standing import Standing, standing_of
from consentpanel.errors import RegistryError
from consentpanel.registry._appending import End, Present, appended
from consentpanel.registry._objections import outliving

_T = TypeVar("_T")

Command: TypeAlias = "tuple[Any, ...]"
Plan: TypeAlias = Generator[Sequence[Command], Sequence[Any], _T]

#: People in one batch of commands.
_AT_ONCE = 10_000
#: How often a write is tried when others write about the same person.
_TRIES = 100
#: The field of a person's hash that holds the end of the chain; no purpose is empty.
_END = ""

#: Appends while the chain ends where it did. KEYS: for each person hash and list. ARGV: for each person the end that is
#: expected, the number of fields, fields and values, the number of records, the records.
_APPEND = """
local at = 1
for person = 1, #KEYS / 2 do
  if (redis.call('HGET', KEYS[2 * person - 1], '') or '') ~= ARGV[at] then return 0 end
  at = at + 2 + 2 * tonumber(ARGV[at + 1])
  at = at + 1 + tonumber(ARGV[at])
end
at = 1
for person = 1, #KEYS / 2 do
  local fields = tonumber(ARGV[at + 1])
  at = at + 2
  for _ = 1, fields do
    redis.call('HSET', KEYS[2 * person - 1], ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  local records = tonumber(ARGV[at])
  for place = at + 1, at + records do redis.call('RPUSH', KEYS[2 * person], ARGV[place]) end
  at = at + 1 + records
end
return 1
"""
#: Erases while the chain ends where it did. KEYS: hash and list. ARGV: the end that is expected.
_ERASE = """
if (redis.call('HGET', KEYS[1], '') or '') ~= ARGV[1] then return -1 end
local count = redis.call('LLEN', KEYS[2])
redis.call('DEL', KEYS[1], KEYS[2])
return count
"""


class Plans:
    """The plans for one prefix.

    Args:
        prefix: What every key begins with.
        required: The oldest policy version under which a grant still holds; None accepts any.
        max_age: How long answers are good for.
        is_cluster: Whether people may be on different servers: then what is written is whole for each person.
    """

    def __init__(self, prefix: str, required: str | None, max_age: MaxAge | None, *, is_cluster: bool) -> None:
        self._prefix, self._required, self._max_age, self._is_cluster = prefix, required, max_age, is_cluster

    def standings(
        self, scope: str, keys: Iterable[str], purpose: str, moment: datetime | None
    ) -> Plan[dict[str, Standing]]:
        """The standing of those of whom there is a record, now or at a moment; one way to the server for 10,000 people."""
        several = list(dict.fromkeys(keys))
        found: dict[str, Standing] = {}
        for first in range(0, len(several), _AT_ONCE):
            some = several[first : first + _AT_ONCE]
            if moment is None:
                answers = yield [("HGET", self._places(scope, key)[0], _field(purpose)) for key in some]
                for key, answer in zip(some, answers, strict=True):
                    if answer is not None:
                        present = Present(*json.loads(answer))
                        found[key] = present.standing(purpose, self._required, self._max_age)
                continue
            answers = yield [("LRANGE", self._places(scope, key)[1], 0, -1) for key in some]
            for key, rows in zip(some, answers, strict=True):
                records = (_record(row) for row in rows)
                said = [record for record in records if record.purpose == purpose and record.recorded_at <= moment]
                if said:
                    found[key] = standing_of(said, at=moment, max_age=self._max_age)
        return found

    def ends_at(self, scope: str, key: str, purpose: str) -> Plan[datetime | None]:
        """When the grant that decides now ends; None for never, and for no grant."""
        (answer,) = yield [("HGET", self._places(scope, key)[0], _field(purpose))]
        return None if answer is None else Present(*json.loads(answer)).ends_at(purpose, self._max_age)

    def history(self, scope: str, key: str) -> Plan[list[ConsentRecord]]:
        """The records of one person, in the order of writing."""
        (rows,) = yield [("LRANGE", self._places(scope, key)[1], 0, -1)]
        return [_record(row) for row in rows]

    def verify(self, scope: str, key: str) -> Plan[Verification]:
        """Whether the chain of one person is whole."""
        now, past = self._places(scope, key)
        (before,) = yield [("HGET", now, _END)]
        while True:
            # Written of or forgotten between two questions is no break.
            rows, after = yield [("LRANGE", past, 0, -1), ("HGET", now, _END)]
            if before == after:
                break
            before = after
        end = None if after is None else End(*json.loads(after))
        return verified(map(_linked, rows), scope, None if end is None else (end.length, end.link))

    def append(self, scope: str, records: Iterable[ConsentRecord], *, is_stamped_here: bool) -> Plan[None]:
        """Appends records, chained, with the standing that they make: all or none, on a cluster for each person."""
        by_person: dict[str, list[ConsentRecord]] = {}
        for record in records:
            by_person.setdefault(record.subject_id, []).append(record)
        together = [[key] for key in by_person] if self._is_cluster else [list(by_person)]
        for keys in together:
            yield from self._append_at_once(scope, {key: by_person[key] for key in keys}, is_stamped_here)

    def _append_at_once(
        self, scope: str, by_person: dict[str, list[ConsentRecord]], is_stamped_here: bool
    ) -> Plan[None]:
        for _ in range(_TRIES):
            asked = []
            for key, records in by_person.items():
                fields = dict.fromkeys(_field(record.purpose) for record in records)
                asked.append(("HMGET", self._places(scope, key)[0], _END, *fields))
            known = yield asked
            places: list[str] = []
            written: list[Any] = []
            ends = []
            for (key, records), (end, *present) in zip(by_person.items(), known, strict=True):
                purposes = dict.fromkeys(str(record.purpose) for record in records)
                counting = {
                    purpose: Present(*json.loads(each)).counts_from
                    for purpose, each in zip(purposes, present, strict=True)
                    if each is not None
                }
                before = End.of_nobody(scope) if end is None else End(*json.loads(end))
                done = appended(before, counting, records, is_stamped_here=is_stamped_here)
                changed = [(_field(purpose), _json(attrs.astuple(each))) for purpose, each in done.present.items()]
                ends.append(_json(attrs.astuple(done.end)))
                changed.append((_END, ends[-1]))
                rows = [_json([its_link, record.as_dict()]) for record, its_link in done.records]
                places += self._places(scope, key)
                written += [_text(end), len(changed), *(each for pair in changed for each in pair), len(rows), *rows]
            (is_done,) = yield [("EVAL", _APPEND, len(places), *places, *written)]
            if is_done == 1:
                return
            if is_done is None:
                # The answer was lost; whether it was done shows where the chain ends.
                now = yield [("HGET", self._places(scope, key)[0], _END) for key in by_person]
                if [_text(end) for end in now] == ends:
                    return
        raise RegistryError("the records were not appended: too many write about the same person")

    def forget(self, scope: str, key: str, tags: list[str]) -> Plan[int]:
        """Erases the records of one person, and keeps what outlives them; how many were erased."""
        now, past = self._places(scope, key)
        for _ in range(_TRIES):
            end, rows = yield [("HGET", now, _END), ("LRANGE", past, 0, -1)]
            for tag in tags if rows else ():
                # Before the person is erased: whatever fails in between, the denial is there.
                yield from self._keep(scope, tag, [_record(row) for row in rows])
            (count,) = yield [("EVAL", _ERASE, 2, now, past, _text(end))]
            if count is not None and count >= 0:
                return int(count)
        raise RegistryError("not everything was erased: too many write about the same person")

    def _keep(self, scope: str, tag: str, said: list[ConsentRecord]) -> Plan[None]:
        before = yield from self.history(scope, tag)
        kept = outliving(tag, said, before)
        if kept == before:
            return
        now, past = self._places(scope, tag)
        (end,) = yield [("HGET", now, _END)]
        yield [("EVAL", _ERASE, 2, now, past, _text(end))]
        if kept:
            yield from self._append_at_once(scope, {tag: kept}, False)  # noqa: FBT003 - its own

    def _places(self, scope: str, key: str) -> tuple[str, str]:
        """A person's hash of what holds now and list of records, both in one hash slot."""
        # What stands in braces decides the slot (Redis Cluster specification, "Hash tags").
        person = f"{self._prefix}{{{quote(scope, safe='')}/{quote(key, safe='')}}}"
        return f"{person}:now", f"{person}:records"


def _field(purpose: str) -> str:
    return quote(purpose)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _text(answer: str | bytes | None) -> str:
    """An answer as text, whatever the client makes of it; all that is kept is ASCII."""
    return "" if answer is None else answer.decode("ascii") if isinstance(answer, bytes) else answer


def _record(row: str | bytes) -> ConsentRecord:
    _, fields = json.loads(row)
    return ConsentRecord.from_dict(fields)


def _linked(row: str | bytes) -> tuple[ConsentRecord | None, str | None]:
    """A record and its link; None for what somebody has made of it."""
    try:
        its_link, fields = json.loads(row)
        return ConsentRecord.from_dict(fields), its_link
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, None


def people_of_keys(keys: Iterator[Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Tenant and id of those whose hashes are among the keys of a Redis server, each once or more."""
    pattern = re.compile(re.escape(prefix) + r"\{([^/}]*)/([^}]*)\}:now")
    for key in keys:
        found = pattern.fullmatch(key.decode("ascii", "replace") if isinstance(key, bytes) else key)
        if found is not None:
            yield unquote(found[1]), unquote(found[2])
