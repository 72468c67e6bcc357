"""The express lane: recognises the plain messages that the gate would let through untouched, and writes them.

One person, now, and nothing but scalars under names that a rule plainly keeps. Whatever else a message holds, the
answer is None and the gate judges it. A property test holds the two to the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder as _encoder
from typing import Any

from consentpanel._gate import MAX_PROPERTIES
from consentpanel._structure import is_insert_id
from consentpanel._vendor import DICT_OPERATORS
from consentpanel._wire import MAX_BYTES

_TEXT = frozenset({str})
_NUMBERS = frozenset({int, float})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_EVENT_NAMES = {"event", "properties"}
_UPDATE_NAMES = frozenset({"$token", "$time", "$distinct_id"})


def event_text(record: dict[Any, Any], subject: str, present: object, plain: frozenset[str]) -> str | None:
    """The JSON of an event that needs no gate, or None.

    Args:
        record: The record that the vendor's client built.
        subject: The person whose consent is known.
        present: The object that the record's ``time`` holds when it means now.
        plain: Names of the properties that may be sent as they are.
    """
    if record.keys() != _EVENT_NAMES:
        return None
    properties = record["properties"]
    if (
        type(properties) is dict
        and properties.get("distinct_id") is subject
        and properties.get("time") is present
        and type(present) in _NUMBERS
        and is_insert_id(properties.get("$insert_id"), (subject,))
        and _is_plain(properties, plain)
    ):
        return _written(record)
    return None


def update_text(record: dict[Any, Any], present: object, plain: frozenset[str]) -> tuple[str, str, str] | None:
    """The person, the operator and the JSON of a profile update that needs no gate, or None."""
    if len(record) != 4 or not record.keys() >= _UPDATE_NAMES:
        return None
    subject = record["$distinct_id"]
    operator = next(reversed(record))
    properties = record[operator]
    if (
        type(subject) is str
        and subject
        and operator in DICT_OPERATORS
        and record["$time"] is present
        and type(present) in _NUMBERS
        and type(record["$token"]) is str
        and type(properties) is dict
        and properties
        and _is_plain(properties, plain)
        and _TEXT.issuperset(map(type, record))
    ):
        text = _written(record)
        return None if text is None else (subject, operator, text)
    return None


def _is_plain(properties: dict[Any, Any], plain: frozenset[str]) -> bool:
    return (
        len(properties) <= MAX_PROPERTIES
        and plain.issuperset(properties)
        # A str subclass can be equal to one text and be written as another.
        and _TEXT.issuperset(map(type, properties))
        and _SCALARS.issuperset(map(type, properties.values()))
    )


def _written(record: dict[Any, Any]) -> str | None:
    try:
        text = _encode(record)
    except ValueError:  # NaN, an infinity or an int of thousands of digits: the gate says what becomes of it
        return None
    return text if len(text) < MAX_BYTES else None


def _encoder_of_strict_json() -> Callable[[Any], str]:
    # The standard library builds its C encoder anew for each text; one built once writes the same.
    build = getattr(_encoder, "c_make_encoder", None)
    if build is None:
        return json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False).encode
    refuse = json.JSONEncoder().default
    sort_keys = skip_keys = allow_nan = False
    write = build(None, refuse, _encoder.encode_basestring_ascii, None, ":", ",", sort_keys, skip_keys, allow_nan)

    def encode(record: Any) -> str:
        return "".join(write(record, 0))

    return encode


_encode = _encoder_of_strict_json()
