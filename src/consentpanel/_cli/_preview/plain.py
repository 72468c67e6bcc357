"""The usual properties of an event, judged together: what is surely kept as it is, and what no rule names."""

from __future__ import annotations

import re
import time
from typing import Any

import attrs

from consentpanel._cli._names import shown_step
from consentpanel._messages.message import Message
from consentpanel._messages.shapes import is_in_shape
from consentpanel._messages.wire import MAX_BYTES, Wire
from consentpanel._mixpanel.names import IDS, is_id_name
from consentpanel._mixpanel.structure import PROPERTIES, STRUCTURE, Shape
from consentpanel.policy import FieldPolicy, PolicyResult
from consentpanel.policy._apply import Application, RefusedError
from consentpanel.policy._compile import Compiled
from consentpanel.policy._detect.normalize import forms
from consentpanel.policy._paths import written

_STRUCTURE = STRUCTURE["events"][PROPERTIES]
_WIRE = Wire()
_NOTHING = PolicyResult(properties={}, dropped={}, changed={})
_FLAT = frozenset({str, int, bool, float, type(None)})
#: Beyond, an int or float may not be written as it is.
_LARGEST = 10**15
_MOST_REMEMBERED = 1_000
_LONGEST = 100
#: In a name, what may be an id in another spelling.
_OTHER_SPELLING = re.compile(r"[0-9A-Fa-f-]{32}|[+%]")
#: An ``$insert_id`` in which no detector finds anything, and a letter of an id that cannot stand in one.
_HEXADECIMAL = re.compile(r"[0-9a-f]{32}")
_NO_HEXADECIMAL = re.compile(r"[g-zG-Z]")
#: Seconds: a time after 1972 is one, and no number of milliseconds.
_EARLIEST = 10**8


@attrs.frozen
class Plain:
    """The properties of an event, sorted.

    Attributes:
        kept: The paths of those that are surely kept as they are.
        unnamed: The paths of those that no rule names.
        others: The rest, which the policy judges.
        result: What it says of them.
    """

    kept: list[str]
    unnamed: list[str]
    others: dict[str, Any]
    result: PolicyResult


@attrs.frozen
class _Event:
    rules: Compiled
    kept: set[str] = attrs.Factory(set)
    unnamed: dict[str, str] = attrs.Factory(dict)
    others: set[str] = attrs.Factory(set)
    special: set[str] = attrs.Factory(set)


class PlainEvents:
    """Sorts the properties of events by what is surely known of them; tests hold it to what the policy says.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: FieldPolicy) -> None:
        self._policy = policy
        self._events: dict[str | None, _Event] = {}
        self._started = time.time()

    def of(self, event: str | None, properties: dict[str, Any]) -> Plain | None:
        """The properties, sorted; None where the policy has to judge all of them."""
        known = self._events.get(event) or self._learn_event(event)
        ids = {name: properties[name] for name in properties.keys() & IDS}
        if self._policy.keeps_all or known.rules.id_paths or not all(map(_is_usual_id, ids.values())):
            return None
        kept: list[str] = []
        unnamed: list[str] = []
        values: list[Any] = []
        others: dict[str, Any] = {}
        for name, value in properties.items():
            if name in known.kept and type(value) in _FLAT and _is_usual(value):
                kept.append(name)
                values.append(value)
            elif name in known.unnamed:
                unnamed.append(name)
            elif name in _STRUCTURE and self._is_in_shape(_STRUCTURE[name], value, ids):
                if name not in ids:
                    kept.append(name)
            else:
                others[name] = value
                if name not in known.others:
                    is_learnt = self._learn(name, known)
                    if not is_learnt:
                        return None
        detection = known.rules.detection
        if detection is not None and not detection.are_clean(values):
            return None
        if unnamed:
            text = "\n".join(unnamed).lower()
            if any(each.lower() in text for each in ids.values()):
                return None
        result = _NOTHING
        if others and not known.special.isdisjoint(others):
            others.update(ids)
            result = self._policy.apply_event(event, others)
        else:
            kept += ids
            if others:
                result = self._applied(event, known, others, tuple(ids.values()))
        return Plain(kept, [known.unnamed[name] for name in unnamed], others, result)

    def _applied(self, event: str | None, known: _Event, others: dict[str, Any], ids: tuple[str, ...]) -> PolicyResult:
        """What the rules say of properties none of which is structural: nothing else of the message has to be looked at."""
        applied = self._policy.applied_to(Message("events", {}, _WIRE, event=event, persons=ids))
        try:
            left = applied.properties(others, known.rules.tree)
        except RefusedError as refused:
            return PolicyResult(properties={}, dropped={str(refused): str(refused.cause)}, changed={}, refused=True)
        return PolicyResult(
            properties=left,
            dropped={path: str(cause) for path, cause in applied.dropped.items()},
            changed={path: str(cause) for path, cause in applied.changed.items()},
        )

    def _is_in_shape(self, shape: Shape, value: Any, ids: dict[str, str]) -> bool:
        """Whether a structural property is surely kept."""
        if shape is Shape.MOMENT:
            return type(value) is int and _EARLIEST < value < self._started
        if shape is Shape.INSERT_ID:
            is_random = type(value) is str and _HEXADECIMAL.fullmatch(value) is not None
            return is_random and all(map(_NO_HEXADECIMAL.search, ids.values()))
        if shape is Shape.LIBRARY or shape is Shape.VERSION:
            return is_in_shape(shape, value, ids.values())
        return shape is Shape.ID

    def _learn_event(self, event: str | None) -> _Event:
        known = _Event(self._policy.compiled("events", event))
        if len(self._events) < _MOST_REMEMBERED:
            self._events[event] = known
        return known

    def _learn(self, name: str, known: _Event) -> bool:
        """Finds out of which kind a property is, which counts from the next record on; False when too many are known."""
        if len(known.kept) + len(known.unnamed) + len(known.others) >= _MOST_REMEMBERED:
            return False
        path = written(name)
        # A name that is shown otherwise may stand for several.
        is_shown = len(name) < _LONGEST and name.isascii() and "@" not in name and shown_step(path) == path
        if is_shown and name in known.rules.plain and path == name:
            known.kept.add(name)
        elif is_shown and _is_unnamed(name, path, known.rules):
            known.unnamed[name] = path
        else:
            known.others.add(name)
        if name in _STRUCTURE or is_id_name(name):
            known.special.add(name)
        return True


def _is_unnamed(name: str, path: str, rules: Compiled) -> bool:
    return (
        name not in _STRUCTURE
        and rules.tree.of_key(name) is None
        and not is_id_name(name)
        and not forms(name)[0]
        and not _OTHER_SPELLING.search(name)
        and Application(Message("events", {}, _WIRE), None, own=rules.detection).path(name) == path
    )


def _is_usual(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return len(value) < MAX_BYTES
    return not (kind is int or kind is float) or -_LARGEST < value < _LARGEST


def _is_usual_id(value: Any) -> bool:
    return type(value) is str and 0 < len(value) < _LONGEST and value.isascii() and value.isprintable()
