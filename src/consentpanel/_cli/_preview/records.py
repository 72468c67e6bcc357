"""What one record of an export says: the event's name, whose it is, and the properties to be judged."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import attrs

from consentpanel._cli._input.framing import Frame
from consentpanel._consent.ids import subject_key
from consentpanel.errors import InvalidRecordError

#: The path that names the record itself, for records whose properties stand at the top.
WHOLE_RECORD = "."

_OPERATORS = frozenset({"$set", "$set_once", "$add", "$append", "$union", "$remove", "$unset", "$delete"})
_MISSING = object()


class Scope(str, Enum):
    """Which part of a policy judges the records."""

    EVENTS = "events"
    PEOPLE = "people"
    GROUPS = "groups"

    def __str__(self) -> str:
        return self.value


@attrs.frozen
class RecordPaths:
    """Where a record keeps what the client would be told: dotted paths into the record.

    The defaults are those of the vendor's raw exports.

    Example:
        >>> RecordPaths.of(Scope.EVENTS).distinct_id
        'properties.distinct_id'
        >>> RecordPaths.of(Scope.EVENTS, event="type", properties="payload").event
        'type'
    """

    event: str
    distinct_id: str
    properties: str

    @classmethod
    def of(
        cls, scope: Scope, *, event: str | None = None, distinct_id: str | None = None, properties: str | None = None
    ) -> RecordPaths:
        """The paths that are given, and for the others those of the vendor's export."""
        is_events = scope is Scope.EVENTS
        return cls(
            event=event or "event",
            distinct_id=distinct_id or ("properties.distinct_id" if is_events else "$distinct_id"),
            properties=properties or ("properties" if is_events else "$properties"),
        )


@attrs.frozen
class Record:
    """One record, ready to be judged.

    Attributes:
        line: The line on which it starts, from 1.
        event: The event's name; None for a profile.
        properties: The properties of an event, or the operators of a profile update.
    """

    line: int
    event: str | None
    properties: dict[str, Any] = attrs.field(repr=False)
    #: The person's id as text; empty where it is none, and of a group.
    subject: str = attrs.field(default="", repr=False)


@attrs.frozen
class Unjudged:
    """A record that cannot be judged, and why, in words without any value of it."""

    line: int
    problem: str


def judgeable(frame: Frame, scope: Scope, paths: RecordPaths) -> Record | Unjudged:
    """What a record of an export says.

    Args:
        frame: Its bytes.
        scope: Which part of the policy will judge it.
        paths: Where it keeps what is judged.
    """
    if frame.text is None:
        return Unjudged(frame.line, frame.problem or "not read")
    try:
        return _record(_decoded(frame.text), frame.line, scope, paths)
    except _UnusableError as unusable:
        return Unjudged(frame.line, str(unusable))


def _decoded(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode())
    except json.JSONDecodeError as error:
        problem = f"not JSON, at character {error.pos + 1:,} of the record"
        if error.pos >= len(error.doc):
            problem = "the JSON ends too early; outside an array, a record stands on one line"
    except UnicodeDecodeError:
        problem = "not UTF-8"
    except RecursionError:
        problem = "nested too deeply"
    except ValueError:
        problem = "a number is too long"
    else:
        if isinstance(value, dict):
            return value
        problem = f"a record must be an object, not {_kind(value)}"
    # Raised here, so that no parser's exception, which holds the record, stays in its context.
    raise _UnusableError(problem)


class _UnusableError(Exception):
    """A record cannot be judged; the text says why."""


def _record(value: dict[str, Any], line: int, scope: Scope, paths: RecordPaths) -> Record:
    event = _event(value, paths.event) if scope is Scope.EVENTS else None
    subject = ""
    if scope is not Scope.GROUPS:
        who = _at(value, paths.distinct_id)
        _check_id(who, paths.distinct_id)
        subject = str(who) if isinstance(who, (str, int)) else ""
    if scope is not Scope.EVENTS:
        operators = {name: value[name] for name in value.keys() & _OPERATORS}
        if operators:
            return Record(line, event, operators, subject)
    properties = _at(value, paths.properties)
    if not isinstance(properties, dict):
        raise _UnusableError(f"no object of properties at {paths.properties!r}: {_kind(properties)}")
    return Record(line, event, properties if scope is Scope.EVENTS else {"$set": properties}, subject)


def _event(value: dict[str, Any], path: str) -> str:
    event = _at(value, path)
    if not isinstance(event, str) or not event:
        raise _UnusableError(f"no event name at {path!r}: {_kind(event)}")
    return event


def _check_id(subject_id: object, path: str) -> None:
    # A client drops a message without a usable id whole, so its properties must not be counted as kept.
    try:
        subject_key(subject_id)
    except InvalidRecordError:
        raise _UnusableError(f"no usable id at {path!r}: {_kind(subject_id)}") from None


def _at(record: dict[str, Any], path: str) -> object:
    if path == WHOLE_RECORD:
        return record
    if path in record:
        return record[path]
    found: object = record
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return _MISSING
        found = found[name]
    return found


_KINDS: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


def _kind(value: object) -> str:
    if value is _MISSING:
        return "nothing there"
    if value in ("", {}, []):
        return f"an empty {_KINDS[type(value)].split()[-1]}"
    return _KINDS.get(type(value), "a number")
