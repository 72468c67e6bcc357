"""Counts what the detectors find in texts and in values of JSON, in bounded memory and without keeping any of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs

from consentpanel._cli._names import cut, shown_step
from consentpanel.policy._detect.detection import STANDARD, kind_in_name
from consentpanel.policy._detect.matchers import text_of
from consentpanel.policy._paths import written

#: The path of a line that is no JSON.
TEXT = "(text)"
#: Stands in a path for the names of the properties that are there.
NAMES = "(keys)"
#: Most paths that are counted one by one; the names in a file may be endless.
MAX_PATHS = 1_000

_MOST_STEPS = 10_000


@attrs.define
class PathCount:
    """How many values stood at a path, and in how many of them each kind was found."""

    values: int = 0
    kinds: Counter[str] = attrs.field(factory=Counter)


@attrs.define
class Findings:
    """What was found in all records.

    Args:
        max_paths: Most paths that are counted one by one; the others are counted together.

    Attributes:
        records: How many records were looked at.
        texts: How many of them are no JSON, and were looked at as text.
        values: How many values, names not among them.
        found: In how many values something was found.
        paths: The counts by path.
        others: The count of the paths beyond `max_paths`, all together.
    """

    max_paths: int = MAX_PATHS
    records: int = attrs.field(init=False, default=0)
    texts: int = attrs.field(init=False, default=0)
    values: int = attrs.field(init=False, default=0)
    found: int = attrs.field(init=False, default=0)
    paths: dict[str, PathCount] = attrs.field(init=False, factory=dict)
    others: PathCount = attrs.field(init=False, factory=PathCount)
    _steps: dict[tuple[str, str], str] = attrs.field(init=False, factory=dict, repr=False)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not any(count.kinds for count in (*self.paths.values(), self.others))

    def add(self, record: str, *, is_text: bool = False) -> None:
        """Looks at a record.

        Args:
            record: A line, or an element of an array.
            is_text: Whether it is text also where it is JSON.
        """
        self.records += 1
        value = _MISSING if is_text else _decoded(record)
        if value is _MISSING:
            self.texts += 1
            self._add_value(TEXT, record)
            return
        leaves = list(self._leaves(value))
        # One look for all, since most records hold nothing.
        is_clean = STANDARD.are_clean([value for _, value in leaves])
        for path, scalar in leaves:
            self._add_value(path, scalar, is_clean=is_clean)

    def _add_value(self, path: str, value: Any, *, is_clean: bool = False) -> None:
        count = self._count(path)
        count.values += 1
        self.values += 1
        if is_clean or isinstance(value, bool) or value is None:
            return
        text = value if isinstance(value, str) else text_of(value)
        kinds = {finding.kind for finding in STANDARD.find(text)}
        count.kinds.update(kinds)
        self.found += bool(kinds)

    def _count(self, path: str) -> PathCount:
        count = self.paths.get(path)
        if count is None:
            if len(self.paths) >= self.max_paths:
                return self.others
            count = self.paths[path] = PathCount()
        return count

    def _leaves(self, value: Any) -> Iterator[tuple[str, Any]]:
        """Each value that holds no others, with its path in the policy's language; names are looked at on the way."""
        waiting = [("", value)]
        while waiting:
            path, value = waiting.pop()
            if isinstance(value, dict):
                for key, inner in value.items():
                    kind = kind_in_name(key)
                    if kind is not None:
                        self._count(_joined(path, NAMES)).kinds[kind] += 1
                    waiting.append((self._step(path, key, kind), inner))
            elif isinstance(value, list):
                inside = cut(f"{path}[]")
                waiting.extend((inside, each) for each in value)
            else:
                yield path or TEXT, value

    def _step(self, path: str, key: str, kind: str | None) -> str:
        known = self._steps.get((path, key))
        if known is None:
            step = shown_step(written(key)) if kind is None else f"<redacted:{kind}>"
            known = _joined(path, step)
            if len(self._steps) < _MOST_STEPS:
                self._steps[path, key] = known
        return known


_MISSING = object()


def _joined(path: str, step: str) -> str:
    return cut(f"{path}.{step}" if path else step)


def _decoded(record: str) -> Any:
    try:
        return json.loads(record)
    except (ValueError, RecursionError):
        return _MISSING
