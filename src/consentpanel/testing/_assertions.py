"""How messages differ from what a test expects, in lines that a developer reads."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from consentpanel._consent.ids import subject_key
from consentpanel._messages.decision import Decision
from consentpanel._mixpanel.names import IDS
from consentpanel.testing._sent import SentMessage

_MOST_SHOWN = 5
_MISSING = object()


def search(
    messages: Iterable[SentMessage],
    distinct_id: object,
    properties: Mapping[str, Any] | None,
    operator: str | None = None,
) -> tuple[SentMessage | None, list[str]]:
    """The first message that matches; else, for each that does not, how it differs.

    Args:
        messages: Those to look at.
        distinct_id: The id expected; None for any.
        properties: A subset of the properties expected.
        operator: For profiles, the operator that holds the properties.
    """
    differences: list[str] = []
    for number, message in enumerate(messages, 1):
        have = message.properties if operator is None else message.properties[operator]
        found = list(_differences(message, have, distinct_id, properties or {}))
        if not found:
            return message, []
        differences.append(f"#{number} to {message.endpoint}: {'; '.join(found)}")
    return None, differences


def _differences(
    message: SentMessage, have: object, distinct_id: object, properties: Mapping[str, Any]
) -> Iterator[str]:
    if distinct_id is not None and str(distinct_id) != str(message.distinct_id):
        yield "another distinct_id" if message.distinct_id is not None else "no distinct_id"
    for name, expected in properties.items():
        value = have.get(name, _MISSING) if isinstance(have, Mapping) else _MISSING
        if value is _MISSING:
            yield f"{name!r} is missing"
        elif expected != value or _only_one_is_bool(expected, value):
            yield f"{name!r} is {reprlib.repr(value)}, expected {reprlib.repr(expected)}"


def _only_one_is_bool(expected: object, value: object) -> bool:
    # Python takes True for 1; the vendor does not.
    return isinstance(expected, (int, float)) and isinstance(expected, bool) is not isinstance(value, bool)


def missing(
    what: str,
    differences: Sequence[str],
    messages: Iterable[SentMessage],
    dropped: Iterable[Decision],
    waiting: int,
) -> AssertionError:
    """That nothing was sent that matches, and why.

    Args:
        what: What was looked for.
        differences: How each message that might have been it differs.
        messages: All that was sent.
        dropped: The decisions by which it may have been kept back.
        waiting: How many messages wait for a commit.
    """
    lines = [f"no {what} {'matches:' if differences else 'was sent'}", *differences[:_MOST_SHOWN]]
    if len(differences) > _MOST_SHOWN:
        lines.append(f"and {len(differences) - _MOST_SHOWN} more")
    if not differences:
        lines.append(f"sent: {sent_summary(messages)}")
    reasons = Counter(decision.reason.value for decision in dropped)
    if reasons:
        lines.append("dropped: " + ", ".join(f"{count} ({reason})" for reason, count in reasons.items()))
    if waiting:
        lines.append(f"waiting for a commit: {waiting}")
    return AssertionError("\n  ".join(lines))


def sent_summary(messages: Iterable[SentMessage]) -> str:
    """What was sent, by name and number, without a value."""
    counts = Counter(_title(message) for message in messages)
    return ", ".join(f"{title} ({count})" for title, count in counts.items()) or "nothing"


def _title(message: SentMessage) -> str:
    if message.event is not None:
        return f"{message.endpoint} {message.event!r}"
    return " ".join([message.endpoint, *message.properties])


def places_of(messages: Iterable[SentMessage], subject_id: object) -> list[str]:
    """Where messages name a person.

    Args:
        messages: Those to look at.
        subject_id: The person's id.

    Raises:
        InvalidRecordError: `subject_id` is not an id.
    """
    key = subject_key(subject_id)
    return [
        f"#{number} to {message.endpoint}: {path_text('[the id]' if part == key else part for part in path)}"
        for number, message in enumerate(messages, 1)
        for path, name, value in walk(message.payload)
        if _is_person(name, value, key)
    ]


def _is_person(name: str, value: object, key: str) -> bool:
    if name in IDS:
        return not isinstance(value, bool) and str(value) == key
    # A number is an ordinary value; only among ids does it name somebody.
    return not key.isdigit() and (name == key or (isinstance(value, str) and value == key))


def walk(payload: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Each value of a decoded record: its path, the name of the property it belongs to, and itself.

    A container is given before what it holds.
    """
    waiting: list[tuple[tuple[str, ...], str, Any]] = [((name,), name, value) for name, value in payload.items()]
    waiting.reverse()
    while waiting:
        path, name, value = waiting.pop()
        yield path, name, value
        if isinstance(value, dict):
            waiting += [((*path, inner), inner, held) for inner, held in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [((*path, f"[{at}]"), name, held) for at, held in reversed(list(enumerate(value)))]


def path_text(path: Iterable[str]) -> str:
    """A path in one piece, such as ``properties.items[0].sku``."""
    return ".".join(path).replace(".[", "[")
