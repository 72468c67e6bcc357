"""Judges records, and says of each property what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from consentpanel._cli._names import cut, shown_step
from consentpanel._cli._preview.plain import PlainEvents
from consentpanel._cli._preview.records import Record, Scope, Unjudged
from consentpanel._cli._preview.tally import MAX_SAMPLES, Sample, Tally, Verdict
from consentpanel.policy import FieldPolicy, PolicyResult
from consentpanel.policy._detect.ids import Ids
from consentpanel.policy._paths import written
from consentpanel.transparency._printable import printable

_MAX_SHOWN = 60
_MOST_REMEMBERED = 10_000
_MISSING = object()


class Judging:
    """Judges the records of a scope, and counts what becomes of them.

    Args:
        policy: Judges them.
        tally: Is told.
        with_samples: Whether a few values of each property are kept to be shown.
    """

    def __init__(self, policy: FieldPolicy, tally: Tally, *, with_samples: bool = False) -> None:
        self.tally = tally
        self._policy = policy
        self._with_samples = with_samples
        is_plain = tally.scope is Scope.EVENTS and not with_samples
        self._plain = PlainEvents(policy) if is_plain else None
        self._shown: dict[str, str] = {}

    def add(self, record: Record | Unjudged) -> None:
        """Judge a record and count it."""
        tally = self.tally
        if isinstance(record, Unjudged):
            tally.add_unjudged(record)
            return
        plain = None if self._plain is None else self._plain.of(record.event, record.properties)
        left = record.properties if plain is None else plain.others
        result = self._judge(record.event, left) if plain is None else plain.result
        tally.judged += 1
        tally.refused += result.refused
        event = None
        if tally.by_event and record.event is not None:
            event = tally.add_event(_shown_event(record.event, record.subject))
        if plain is not None and not result.refused:
            for path in plain.kept:
                tally.count(event, path).kept += 1
            for path in plain.unnamed:
                tally.count(event, path).dropped["unnamed"] += 1
        for shown, verdict in self._verdicts(left, result).items():
            count = tally.count(event, shown)
            count.add(verdict)
            if self._with_samples and count is not tally.others and len(count.samples) < MAX_SAMPLES:
                sample = self._sample(record, result, verdict)
                if sample not in count.samples:
                    count.samples.append(sample)

    def _judge(self, event: str | None, properties: dict[str, Any]) -> PolicyResult:
        if self.tally.scope is Scope.PEOPLE:
            return self._policy.apply_people(properties)
        if self.tally.scope is Scope.GROUPS:
            return self._policy.apply_group(properties)
        return self._policy.apply_event(event, properties)

    def _verdicts(self, judged: dict[str, Any], result: PolicyResult) -> dict[str, Verdict]:
        """What became of each property, by the name it is shown under.

        A name that stands for several (the items of a list, keys that are hidden) has the worst: dropped, changed, kept.
        """
        names = self._named(judged)
        found: dict[str, Verdict] = {}
        for properties in self._named(result.properties):
            for path in _leaves(properties):
                if not _is_in(path, result.changed):
                    path = path.removesuffix("[]")  # noqa: PLW2901 (a rule for a list holds for its scalars)
                    found[self._path(path, names)] = Verdict(path)
        for path, action in result.changed.items():
            found[self._path(path, names)] = Verdict(path, changed=action)
        for path, cause in result.dropped.items():
            found[self._path(path, names)] = Verdict(path, dropped=cause)
        return found

    def _named(self, properties: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The mappings from names to values: the properties themselves, or those under each operator of a profile."""
        if self.tally.scope is Scope.EVENTS:
            return [properties]
        return [named for named in properties.values() if isinstance(named, dict)]

    def _path(self, path: str, names: list[Mapping[str, Any]]) -> str:
        shown = self._shown.get(path)
        if shown is None:
            shown = _shown_path(path, names)
            # What an address or a cut hides depends on the record.
            if "@" not in path and not path.endswith("…") and len(self._shown) < _MOST_REMEMBERED:
                self._shown[path] = shown
        return shown

    def _sample(self, record: Record, result: PolicyResult, verdict: Verdict) -> Sample:
        before = self._first(record.properties, verdict.path)
        return Sample(before, None if verdict.dropped else self._first(result.properties, verdict.path))

    def _first(self, properties: Mapping[str, Any], path: str) -> str:
        for named in self._named(properties):
            value = next(_values_at(named, path), _MISSING)
            if value is not _MISSING:
                return _shown_value(value)
        return "?"


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
