"""A vendor message taken apart: its endpoint, whom it names, when it happened, what it says."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, cast

import attrs

from consentpanel._consent.ids import subject_key
from consentpanel._consent.records import now
from consentpanel._messages.convert import as_number, items_of, items_once, key_of, name_of
from consentpanel._messages.decision import Cause, Reason
from consentpanel._messages.shapes import DefaultOf, no_default
from consentpanel._messages.times import moment_of
from consentpanel._messages.wire import Wire, named_by_text
from consentpanel._mixpanel.names import (
    DEVICE_IDS,
    DICT_OPERATORS,
    IDS,
    PERSON_ID_LISTS,
    REMOVALS,
    TARGETING_KEY,
    TIMES,
    id_name,
    is_id_name,
)
from consentpanel._mixpanel.structure import STRUCTURE, TOP, Shape
from consentpanel.errors import InvalidRecordError

EVENT_ENDPOINTS = frozenset({"events", "imports"})
#: Stands for a remote feature flag, whose context goes to the vendor in a URL.
FLAGS = "flags"
ENDPOINTS = EVENT_ENDPOINTS | {"people", "groups"}

_IDS_AND_TIMES = IDS | TIMES
NO_PRESENT = object()
#: The vendor takes fewer than 255 items in a list, and fewer than 255 properties a message.
MAX_ITEMS = 254


@attrs.define(eq=False, repr=False)
class Message:
    """One message on its way to the vendor. Mutable for speed; only `take_apart` changes one.

    Attributes:
        endpoint: The vendor's endpoint.
        record: The record, by the names that its keys have on the wire; ids are plain text or numbers.
        wire: How values are written.
        event: The event's name; None for a profile.
        properties: The properties of an event; empty for a profile.
        operators: The operators of a profile update that are there.
        persons: Lookup key of each person whom the message names.
        devices: Lookup key of each device id that it names.
        moments: The event's own times, when it has any but now.
        dropped: What could not be taken over, by path.
        default_of: Gives what the vendor's client writes for a structural name.
        text: The record as the client's serializer wrote it, when that has a way of writing of its own.
        is_malformed: Whether an operator of a profile update holds something else than properties.
        fault: Why this cannot be judged; None when it can.
        problem: The argument at fault, the type that came and what was expected; never a value.
        refused: The texts of what was given for an id and is none, so that no name that holds one is told.
    """

    endpoint: str
    record: dict[str, Any]
    wire: Wire
    event: str | None = None
    properties: dict[str, Any] = attrs.Factory(dict)
    operators: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    moments: tuple[datetime, ...] = ()
    dropped: dict[str, Cause] = attrs.Factory(dict)
    default_of: DefaultOf = no_default
    text: str = ""
    is_malformed: bool = False
    fault: Reason | None = None
    problem: str = ""
    refused: tuple[str, ...] = ()

    @property
    def is_event(self) -> bool:
        """Whether this is an event, not a profile."""
        return self.endpoint in EVENT_ENDPOINTS

    @property
    def scope(self) -> str:
        """The scope of the policy whose rules hold."""
        return "events" if self.endpoint in EVENT_ENDPOINTS else self.endpoint

    @property
    def subjects(self) -> tuple[str, ...]:
        """Lookup keys of all whom the message names."""
        return self.persons + self.devices

    @property
    def names_too_many(self) -> bool:
        """Whether it names more people than the vendor takes items in a list: each would be looked for in every text."""
        return len(self.persons) + len(self.devices) > MAX_ITEMS

    @property
    def places(self) -> Mapping[str, Mapping[str, Shape]]:
        """The structural names of its top and of its properties."""
        return STRUCTURE[self.endpoint]

    def has_operator_in(self, record: Mapping[str, Any]) -> bool:
        """Whether something is left to do in what is left of a profile update."""
        return not record.keys() <= self.places[TOP].keys()

    @property
    def has_removal(self) -> bool:
        """Whether a part of it only takes data away."""
        return not REMOVALS.isdisjoint(self.operators)

    @property
    def is_removal(self) -> bool:
        """Whether all of it only takes data away."""
        return self.has_removal and self.record.keys() <= self.places[TOP].keys() | REMOVALS


@attrs.define(eq=False, repr=False)
class Captured:
    """A message as it was caught on its way to the vendor.

    Attributes:
        endpoint: The vendor's endpoint.
        record: The record that the vendor's client built, or that was read from JSON.
        wire: How the client writes values.
        present: The object that the record's ``time`` holds when it means now; a time that is another object
            was set by the caller.
        named: Ids that the caller named and that the record may not hold any more.
        replaced: Properties that the caller gave and that ``meta`` replaced.
        default_of: Gives what the vendor's client writes for a structural name.
        text: The record as the client's serializer wrote it, when that has a way of writing of its own.
        dropped: What the serializer could not write, by path.
        credentials: What the vendor's client hands to the consumer as `api_key`; None for nothing.
    """

    endpoint: str
    record: object
    wire: Wire
    present: object = NO_PRESENT
    named: tuple[object, ...] = ()
    replaced: Mapping[Any, Any] | None = None
    default_of: DefaultOf = no_default
    text: str = ""
    dropped: Mapping[str, Cause] = MappingProxyType({})
    credentials: object = None


def take_apart(captured: Captured) -> Message:
    """A message by its parts; pure. When it cannot be judged, its `fault` says why."""
    # Suppressed, because a mapping of the user's may raise, and have no end.
    with suppress(Exception):
        return _taken_apart(captured)
    problem = f"{_NOUNS.get(captured.endpoint, 'the message')} must be a mapping that can be read"
    return Message(captured.endpoint, {}, captured.wire, fault=Reason.INVALID_MESSAGE, problem=problem)


def _taken_apart(captured: Captured) -> Message:
    endpoint, record, wire, present = captured.endpoint, captured.record, captured.wire, captured.present
    if endpoint not in ENDPOINTS and endpoint != FLAGS:
        return Message(endpoint, {}, wire, fault=Reason.UNKNOWN_ENDPOINT)
    if not isinstance(record, Mapping):
        problem = f"{_NOUNS.get(endpoint, 'the message')} must be a mapping, not {type(record).__name__}"
        return Message(endpoint, {}, wire, fault=Reason.INVALID_MESSAGE, problem=problem)
    lost = dict(captured.dropped)
    plain = named_by_text(record, lost)
    message = Message(endpoint, plain, wire, dropped=lost, default_of=captured.default_of, text=captured.text)
    subjects = Subjects()
    for given in captured.named:
        subjects.person(given)
    if endpoint in EVENT_ENDPOINTS:
        _open_event(message, subjects, present)
    elif endpoint == FLAGS:
        message.properties = message.record
        subjects.collect(message.record)
        if TARGETING_KEY in message.record:
            message.record[TARGETING_KEY] = subjects.person(message.record[TARGETING_KEY])
    else:
        _open_profile(message, subjects)
    if captured.replaced:
        subjects.collect(named_by_text(captured.replaced, {}))
    message.persons = tuple(subjects.persons)
    message.devices = tuple(subjects.devices)
    message.refused = tuple(subjects.refused)
    if message.fault is None and (subjects.problem or not (subjects.persons or endpoint == "groups")):
        message.fault = Reason.INVALID_ID
        message.problem = subjects.problem or "the message names nobody: distinct_id must be a str, an int or a UUID"
    return message


_NOUNS = {FLAGS: "context", "people": "the update", "groups": "the update"}


def _open_event(message: Message, subjects: Subjects, present: object) -> None:
    record = message.record
    given = record.get("event")
    name = given if type(given) is str else name_of(given)
    if not name:
        message.fault = Reason.INVALID_MESSAGE
        message.problem = (
            f"event_name must be a non-empty str, not {'an empty one' if name == '' else type(given).__name__}"
        )
    else:
        message.event = record["event"] = name
    properties = record.get("properties")
    if not isinstance(properties, Mapping):
        message.fault = Reason.INVALID_MESSAGE
        message.problem = f"properties must be a mapping, not {type(properties).__name__}"
        return
    plain = message.properties = record["properties"] = named_by_text(properties, message.dropped)
    # The usual event names one id and no time of its own: nothing more to look for.
    if _IDS_AND_TIMES.isdisjoint(record):
        if plain.keys() & _IDS_AND_TIMES == _USUAL and is_present(plain["time"], present):
            subjects.collect_one(plain)
            return
    else:
        subjects.collect(record)
    subjects.collect(plain)
    if message.fault is None:
        _read_times(message, record, present)
        _read_times(message, plain, present)


_USUAL = {"distinct_id", "time"}
#: How old a time may be and still count as now: whole seconds precede a grant of the same second.
_PRESENT = timedelta(minutes=1)


def _open_profile(message: Message, subjects: Subjects) -> None:
    record = message.record
    is_group = message.endpoint == "groups"
    operators = []
    for key, value in list(record.items()):
        if key in DICT_OPERATORS:
            plain = _read(value, message.dropped, f"{key}.")
            if plain is None:
                message.is_malformed = True
                message.problem = f"{key} must be a mapping of properties, not {type(value).__name__}"
                continue
            record[key] = plain
            if key == "$add":
                record[key] = plain = {name: message.wire.number(each) for name, each in plain.items()}
            elif key == "$append" and isinstance(charge := plain.get("$transactions"), dict):
                charge = dict(charge)
                if "$amount" in charge:
                    charge["$amount"] = message.wire.number(charge["$amount"])
                plain["$transactions"] = charge
            if is_group:
                _leave_out_ids(plain, message.dropped)
            else:
                subjects.collect(plain)
            operators.append(key)
        elif key in REMOVALS:
            # A generator can be read once.
            record[key] = items_once(value)
            operators.append(key)
    if is_group:
        _leave_out_ids(record, message.dropped)
    else:
        subjects.collect(record)
    message.operators = tuple(operators)


def _read(value: object, dropped: dict[str, Cause], path: str) -> dict[str, Any] | None:
    """A copy of an operator's properties; None for what is no mapping, or one of the user's that cannot be read."""
    # Suppressed, because the class is the user's and its exception may hold the value.
    with suppress(Exception):
        return named_by_text(value, dropped, path) if isinstance(value, Mapping) else None
    return None


def _leave_out_ids(mapping: dict[str, Any], dropped: dict[str, Cause]) -> None:
    """A group is no person: ids of persons and devices have no place in it."""
    for name in [each for each in mapping if is_id_name(each)]:
        del mapping[name]
        dropped[name] = Cause.ID


def _read_times(message: Message, mapping: Mapping[str, Any], present: object) -> None:
    for name in TIMES & mapping.keys():
        value = mapping[name]
        if is_present(value, present):
            continue
        moment = moment_of(value)
        if moment is None:
            message.fault = Reason.INVALID_TIME
            message.problem = f"{name} must be a number of seconds or milliseconds, not {type(value).__name__}"
        elif now() - moment >= _PRESENT:
            message.moments = (*message.moments, moment)


def is_present(value: object, present: object) -> bool:
    """Whether a time is the one that the vendor's client wrote for now, as an object or read back from JSON."""
    return value is present or (type(value) in _NUMBERS and type(present) in _NUMBERS and value == present)


_NUMBERS = frozenset({int, float})


class Subjects:
    """Collects the ids that a message names, and writes each as it goes on the wire."""

    __slots__ = ("devices", "persons", "problem", "refused")

    def __init__(self, persons: Iterable[str] = (), devices: Iterable[str] = ()) -> None:
        self.persons = dict.fromkeys(persons)
        self.devices = dict.fromkeys(devices)
        self.problem = ""
        self.refused: list[str] = []

    def collect(self, mapping: dict[str, Any]) -> None:
        """Takes the ids that stand in a mapping, and puts each there as it goes on the wire."""
        for name in IDS & mapping.keys():
            mapping[name] = self.named(name, mapping[name])

    def collect_one(self, mapping: dict[str, Any]) -> None:
        """As `collect`, for a mapping that names a ``distinct_id`` alone."""
        value = mapping["distinct_id"]
        if type(value) is not str or value not in self.persons:
            mapping["distinct_id"] = self.person(value)

    def named(self, name: str, value: object) -> object:
        """An id by the name under which it stands, in any case, as it goes on the wire."""
        usual = id_name(name)
        if usual in DEVICE_IDS:
            return self._add(name, value, self.devices)
        if usual not in PERSON_ID_LISTS:
            return self.person(value, name)
        items = None if issubclass(type(value), (set, frozenset)) else items_of(value)
        if items is not None:
            return [self.person(item, name) for item in items]
        self.problem = f"{name} must be a list of ids, not {type(value).__name__}"
        self._refuse(value)
        return None

    def _refuse(self, value: object) -> None:
        """Notes the texts of what is no id, so that no name that holds one is told."""
        # Suppressed, because the class is the user's and its exception may hold the value.
        with suppress(Exception):
            number = as_number(value)
            inside = items_of(value) or (list(value) if isinstance(value, Mapping) else [value])
            for each in inside[:MAX_ITEMS]:
                kind = type(each)
                text = str.__str__(cast("str", each)) if issubclass(kind, str) else key_of(each)
                if text is None and number is None and isinstance(each, (int, float)):
                    number = each
                if text and not text.isspace():
                    self.refused.append(text)
            if number is not None:
                self.refused += {repr(number), repr(int(number))}

    def person(self, value: object, name: str = "distinct_id") -> object:
        """The id of a person, as it goes on the wire."""
        return self._add(name, value, self.persons)

    def _add(self, name: str, value: object, keys: dict[str, None]) -> object:
        try:
            key = subject_key(value)
        except InvalidRecordError as error:
            self.problem = f"{name}{str(error).removeprefix('id')}"
            self._refuse(value)
            return None
        keys[key] = None
        kind = type(value)
        if kind is str or kind is int:
            return value
        # What goes on the wire is the plain value, whatever a subclass's own methods would say.
        return int.__index__(value) if isinstance(value, int) and not isinstance(value, uuid.UUID) else key
