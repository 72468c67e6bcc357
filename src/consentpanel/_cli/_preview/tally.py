"""Counts of what a policy does to each property of many records, in bounded memory and without values."""

from __future__ import annotations

from collections import Counter

import attrs

from consentpanel._cli._preview.records import Scope, Unjudged

#: Most property paths that are counted one by one; the names in a file may be endless, or be people's.
MAX_PROPERTIES = 1_000
#: Most records that are listed among those that could not be judged.
MAX_LISTED = 20
#: Most values that are shown for a property, and only when they are asked for.
MAX_SAMPLES = 3

_OTHER_EVENTS = "(other events)"


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

    def add(self, verdict: Verdict) -> None:
        """Count one record."""
        if verdict.dropped:
            self.dropped[verdict.dropped] += 1
        elif verdict.changed:
            self.changed[verdict.changed] += 1
        else:
            self.kept += 1

    def merge(self, later: PropertyCount) -> None:
        """Add the count of further records."""
        self.kept += later.kept
        self.changed += later.changed
        self.dropped += later.dropped
        new = [each for each in later.samples if each not in self.samples]
        self.samples += new[: MAX_SAMPLES - len(self.samples)]


@attrs.frozen
class Verdict:
    """What became of one property in one record; neither cause means kept."""

    path: str
    changed: str | None = None
    dropped: str | None = None


@attrs.define
class Tally:
    """The count of one run.

    Args:
        scope: Which part of the policy judged the records.
        by_event: Whether properties are counted for each event apart.
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

    scope: Scope
    by_event: bool = False
    max_properties: int = MAX_PROPERTIES
    judged: int = attrs.field(init=False, default=0)
    refused: int = attrs.field(init=False, default=0)
    unjudged: int = attrs.field(init=False, default=0)
    problems: list[Unjudged] = attrs.field(init=False, factory=list)
    events: Counter[str] = attrs.field(init=False, factory=Counter)
    properties: dict[tuple[str | None, str], PropertyCount] = attrs.field(init=False, factory=dict)
    others: PropertyCount = attrs.field(init=False, factory=PropertyCount)

    def add_unjudged(self, record: Unjudged) -> None:
        """Count a record that could not be judged."""
        self.unjudged += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append(record)

    def add_event(self, event: str, number: int = 1) -> str:
        """Count records of an event; its name, or what stands for many."""
        if event not in self.events and len(self.events) >= self.max_properties:
            event = _OTHER_EVENTS
        self.events[event] += number
        return event

    def count(self, event: str | None, path: str) -> PropertyCount:
        """The count of a property, which may be that of all others."""
        key = (event, path)
        count = self.properties.get(key)
        if count is None:
            if len(self.properties) >= self.max_properties:
                return self.others
            count = self.properties[key] = PropertyCount()
        return count

    def merge(self, later: Tally) -> None:
        """Add the count of the records that follow."""
        self.judged += later.judged
        self.refused += later.refused
        self.unjudged += later.unjudged
        self.problems += later.problems[: MAX_LISTED - len(self.problems)]
        names = {event: self.add_event(event, number) for event, number in later.events.items()}
        for (event, path), count in later.properties.items():
            mine = self.count(event if event is None else names[event], path)
            mine.merge(count if mine is not self.others else attrs.evolve(count, samples=[]))
        self.others.merge(later.others)
