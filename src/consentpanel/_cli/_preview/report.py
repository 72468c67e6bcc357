"""The report of `preview`: for people at most 100 columns wide, and for machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from consentpanel._cli._preview.records import Scope
from consentpanel._cli._preview.tally import PropertyCount, Tally
from consentpanel._messages.decision import Cause

_WIDTH = 100
_NAME_WIDTH = 44
_HEADING = f"{'PROPERTY':<{_NAME_WIDTH}} {'RECORDS':>8} {'KEPT':>8} {'CHANGED':>8} {'DROPPED':>8}  HOW"

#: What needs no explanation: the word of the action that did it.
_SAID_BY_THE_RULE = frozenset(
    {Cause.REDACT, Cause.MASK, Cause.PSEUDONYMIZE, Cause.TRUNCATE, Cause.GENERALIZE, Cause.TRANSFORM, Cause.URL}
)


def as_text(tally: Tally, policy_name: str) -> list[str]:
    """The lines of the report for people. Values stand in it only if the tally kept samples."""
    what = "record" if tally.scope is Scope.EVENTS else "profile"
    lines = [f"{_counted(tally.judged, what)} judged by {policy_name}, scope {tally.scope}."]
    if tally.refused:
        lines.append(f"{tally.refused:,} of them would be dropped whole: a rule says refuse().")
    groups = _groups(tally)
    if tally.properties and not tally.by_event:
        lines.append(_summary(list(tally.properties.values())))
    for event, properties in groups.items():
        title = "" if event is None else f"{event}: {_counted(tally.events[event], what)}"
        lines += ["", *([title] if title else []), _HEADING]
        for path, count in sorted(properties.items()):
            lines += _rows(path, count)
    if tally.others.records:
        lines += ["", f"And the properties beyond the first {tally.max_properties:,}, together:", _HEADING]
        lines += _rows("(others)", tally.others)
    if tally.judged and not groups:
        lines += ["", "No property stands in them."]
    counts = [*tally.properties.values(), tally.others]
    causes = {Cause(cause) for count in counts for cause in (*count.changed, *count.dropped)}
    legend = [f"{cause}: {cause.meaning}" for cause in sorted(causes - _SAID_BY_THE_RULE)]
    if legend:
        lines += ["", *legend]
    if tally.unjudged:
        # Standard error has told which, as they came.
        lines += ["", f"{_counted(tally.unjudged, 'record')} could not be judged."]
    return lines


def as_json(tally: Tally, policy_name: str) -> dict[str, Any]:
    """The report for machines. Values stand in it only if the tally kept samples."""
    return {
        "policy": policy_name,
        "scope": tally.scope.value,
        "judged": tally.judged,
        "refused": tally.refused,
        "unjudged": tally.unjudged,
        "problems": [attrs.asdict(problem) for problem in tally.problems],
        "events": dict(tally.events) if tally.by_event else None,
        "properties": [
            {"event": event, "path": path, **_json_counts(count)}
            for event, properties in _groups(tally).items()
            for path, count in sorted(properties.items())
        ],
        "other_properties": _json_counts(tally.others) if tally.others.records else None,
    }


def _groups(tally: Tally) -> Mapping[str | None, Mapping[str, PropertyCount]]:
    groups: dict[str | None, dict[str, PropertyCount]] = {
        event: {} for event, _ in sorted(tally.events.items(), key=lambda item: (-item[1], item[0]))
    }
    for (event, path), count in tally.properties.items():
        groups.setdefault(event, {})[path] = count
    return groups


def _summary(counts: list[PropertyCount]) -> str:
    kept = sum(bool(count.kept) for count in counts)
    changed = sum(bool(count.changed) and not count.kept for count in counts)
    never = len(counts) - kept - changed
    return f"Properties: {kept:,} may be sent as they are, {changed:,} only changed, {never:,} never."


def _rows(path: str, count: PropertyCount) -> Iterator[str]:
    numbers = (count.records, count.kept, count.changed.total(), count.dropped.total())
    columns = " ".join(f"{f'{number:,}' if number else '-':>8}" for number in numbers)
    if len(path) > _NAME_WIDTH:
        yield path
        path = ""
    margin = _HEADING.index("HOW")
    first, *rest = _filled(_how(count.changed + count.dropped), _WIDTH - margin)
    yield f"{path:<{_NAME_WIDTH}} {columns}  {first}".rstrip()
    yield from (f"{'':<{margin}}{line}" for line in rest)
    for sample in count.samples:
        after = "(dropped)" if sample.after is None else sample.after
        yield f"    {sample.before}" if after == sample.before else f"    {sample.before} -> {after}"


def _how(causes: Mapping[str, int]) -> list[str]:
    if len(causes) == 1:
        return list(causes)
    return [f"{cause} {number:,}" for cause, number in sorted(causes.items())]


def _filled(words: list[str], width: int) -> list[str]:
    lines = [""]
    for word in words:
        candidate = f"{lines[-1]}, {word}" if lines[-1] else word
        if len(candidate) > width and lines[-1]:
            lines[-1] += ","
            lines.append(word)
        else:
            lines[-1] = candidate
    return lines


def _json_counts(count: PropertyCount) -> dict[str, Any]:
    counts = {"records": count.records, **attrs.asdict(count)}
    if not count.samples:
        del counts["samples"]
    return counts


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
