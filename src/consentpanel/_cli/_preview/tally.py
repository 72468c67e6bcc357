"""Counts what a policy does to each property of many records, in bounded memory and without keeping values."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from consentpanel._cli._names import cut, shown_step
from consentpanel._cli._preview.records import Record, Scope, Unjudged
from consentpanel.policy import FieldPolicy, PolicyResult
from consentpanel.policy._detect.ids import Ids
from consentpanel.policy._paths import written
from consentpanel.transparency._printable import printable

#: Most property paths that are counted one by one; the names in a file may be endless, or be people's.
MAX_PROPERTIES = 1_000
#: Most records that are listed among those that could not be judged.
MAX_LISTED = 20
#: Most values that are shown for a property, and only when they are asked for.
MAX_SAMPLES = 3

_MAX_SHOWN = 60
_MISSING = object()


@attrs.frozen
class Sample:
    """A value before and after the policy, as JSON that was cut short; `after` is None for a dropped one."""

    before: str
    after: str | None


@attrs.define
class PropertyCount:
    """In how many records a property was kept, changed or dropped, and by which action or for which cause."""

    kept: int = 0
    changed: Counter[str] = attrs.field(factory=Counter)
    dropped: Counter[str] = attrs.field(factory=Counter)
    samples: list[Sample] = attrs.field(factory=list, repr=False)

    @property
    def records(self) -> int:
        """In how many records the property stood."""
        return self.kept + self.changed.total() + self.dropped.total()

    def add(self, verdict: _Verdict) -> None:
        """Count one record."""
        if verdict.dropped:
            self.dropped[verdict.dropped] += 1
        elif verdict.changed:
            self.changed[verdict.changed] += 1
        else:
            self.kept += 1


@attrs.frozen
class _Verdict:
    """What became of one property in one record; neither cause means kept."""

    path: str
    changed: str | None = None
    dropped: str | None = None


@attrs.define
class Tally:
    """The count of one run.

    Args:
        policy: Judges the records.
        scope: Which part of it does.
        by_event: Whether properties are counted for each event apart.
        with_samples: Whether a few values of each property are kept to be shown.
        max_properties: Most paths that are counted one by one; the others are counted together.

    Attributes:
        judged: Records that were judged.
        refused: Those of them that the policy refuses whole; only the refusing property of these is counted.
        unjudged: Records that could not be judged.
        problems: The first of these.
        events: Judged records for each event; empty unless `by_event`.
        properties: The counts by event (None unless `by_event`) and path.
        others: The count of the properties beyond `max_properties`, all together.
    """

    policy: FieldPolicy
    scope: Scope
    by_event: bool = False
    with_samples: bool = False
    max_properties: int = MAX_PROPERTIES
    judged: int = attrs.field(init=False, default=0)
    refused: int = attrs.field(init=False, default=0)
    unjudged: int = attrs.field(init=False, default=0)
    problems: list[Unjudged] = attrs.field(init=False, factory=list)
    events: Counter[str] = attrs.field(init=False, factory=Counter)
    properties: dict[tuple[str | None, str], PropertyCount] = attrs.field(init=False, factory=dict)
    others: PropertyCount = attrs.field(init=False, factory=PropertyCount)

    def add(self, record: Record | Unjudged) -> None:
        """Judge a record and count it."""
        if isinstance(record, Unjudged):
            self.unjudged += 1
            if len(self.problems) < MAX_LISTED:
                self.problems.append(record)
            return
        result = self._judge(record)
        self.judged += 1
        self.refused += result.refused
        event = _shown_event(record.event, record.subject) if self.by_event and record.event is not None else None
        if event is not None:
            event = event if event in self.events or len(self.events) < self.max_properties else _OTHER_EVENTS
            self.events[event] += 1
        for shown, verdict in self._verdicts(record, result).items():
            count = self._count(event, shown)
            count.add(verdict)
            if self.with_samples and count is not self.others and len(count.samples) < MAX_SAMPLES:
                sample = self._sample(record, result, verdict)
                if sample not in count.samples:
                    count.samples.append(sample)

    def _judge(self, record: Record) -> PolicyResult:
        if self.scope is Scope.PEOPLE:
            return self.policy.apply_people(record.properties)
        if self.scope is Scope.GROUPS:
            return self.policy.apply_group(record.properties)
        return self.policy.apply_event(record.event, record.properties)

    def _verdicts(self, record: Record, result: PolicyResult) -> dict[str, _Verdict]:
        """What became of each property, by the name it is shown under.

        A name that stands for several (the items of a list, keys that are hidden) has the worst: dropped, changed, kept.
        """
        names = self._named(record.properties)
        found: dict[str, _Verdict] = {}
        for properties in self._named(result.properties):
            for path in _leaves(properties):
                if not _is_in(path, result.changed):
                    path = path.removesuffix("[]")  # noqa: PLW2901 (a rule for a list holds for its scalars)
                    found[_shown_path(path, names)] = _Verdict(path)
        for path, action in result.changed.items():
            found[_shown_path(path, names)] = _Verdict(path, changed=action)
        for path, cause in result.dropped.items():
            found[_shown_path(path, names)] = _Verdict(path, dropped=cause)
        return found

    def _named(self, properties: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The mappings from names to values: the properties themselves, or those under each operator of a profile."""
        if self.scope is Scope.EVENTS:
            return [properties]
        return [named for named in properties.values() if isinstance(named, dict)]

    def _count(self, event: str | None, path: str) -> PropertyCount:
        key = (event, path)
        count = self.properties.get(key)
        if count is None:
            if len(self.properties) >= self.max_properties:
                return self.others
            count = self.properties[key] = PropertyCount()
        return count

    def _sample(self, record: Record, result: PolicyResult, verdict: _Verdict) -> Sample:
        before = self._first(record.properties, verdict.path)
        return Sample(before, None if verdict.dropped else self._first(result.properties, verdict.path))

    def _first(self, properties: Mapping[str, Any], path: str) -> str:
        for named in self._named(properties):
            value = next(_values_at(named, path), _MISSING)
            if value is not _MISSING:
                return _shown_value(value)
        return "?"


_OTHER_EVENTS = "(other events)"


def _leaves(properties: Mapping[str, Any]) -> Iterator[str]:
    """The path of each value that holds no others, in the policy's language; a deep one is cut as the policy cuts it."""
    waiting: list[tuple[str, Any]] = [(written(name), value) for name, value in properties.items()]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict) and value:
            waiting.extend((cut(f"{path}.{written(key)}"), item) for key, item in value.items())
        elif isinstance(value, list) and value:
            inner = cut(f"{path}[]")
            waiting.extend((inner, item) for item in value)
        else:
            yield cut(path)


def _is_in(path: str, changed: Mapping[str, str]) -> bool:
    """Whether a path, or something that holds it, was changed."""
    return path in changed or any(path.startswith((f"{whole}.", f"{whole}[]")) for whole in changed)


def _shown_path(path: str, named: list[Mapping[str, Any]]) -> str:
    """A path as it may be printed: the key of a dict can be a person's address or number, which is a value."""
    is_cut = path.endswith("…")
    if "@" in path or is_cut:
        # An address has dots itself, and a path that was cut may have lost its @: only the top is sure to be a name.
        top = path.split(".", 1)[0].split("[", 1)[0]
        rest = "…" if is_cut else "<e-mail>"
        is_name = "@" not in top and any(top in names for names in named)
        return f"{_shown_name(top)}.{rest}" if is_name else rest
    return ".".join(map(shown_step, path.split(".")))


def _shown_name(name: str) -> str:
    return "<e-mail>" if "@" in name else shown_step(cut(name))


def _shown_event(event: str, subject: str) -> str:
    """The name of an event, unless the id of its person stands in it."""
    return "<id>" if subject and Ids((subject,)).are_in(event) else _shown_name(event)


def _shown_value(value: object) -> str:
    try:
        return cut(printable(json.dumps(value, ensure_ascii=False)), _MAX_SHOWN)
    except RecursionError:
        return "(nested too deeply)"


def _values_at(value: object, path: str) -> Iterator[object]:
    if not path:
        yield value
    elif isinstance(value, list):
        if path.startswith("[]"):
            rest = path[2:].removeprefix(".")
            for item in value:
                yield from _values_at(item, rest)
    elif isinstance(value, dict):
        for key, item in value.items():
            step = written(key)
            if path.startswith(step) and path[len(step) : len(step) + 1] in {"", ".", "["}:
                yield from _values_at(item, path[len(step) :].removeprefix("."))
