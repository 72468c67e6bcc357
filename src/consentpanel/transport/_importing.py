"""Events on their way to the vendor's ``/import``, which checks each record and names what it refuses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from consentpanel.errors import ConfigurationError
from consentpanel.transport._waiting import Waiting

#: Where a buffer may send events: the vendor's ``/track`` or ``/import``.
TARGETS = ("track", "import")
#: Seconds from which on the vendor's ``/track`` takes no event (https://developer.mixpanel.com/reference/track-event), less
#: an hour for its clock and the way there.
TRACK_TAKES = 5 * 86_400 - 3_600
#: Seconds since 1970 from which on the vendor takes a time for milliseconds: 1973 in the one, 5138 in the other.
_MILLISECONDS = 10**11


def target(name: object) -> str:
    """The value of the argument `endpoint` of a buffer.

    Raises:
        ConfigurationError: It is not one of `TARGETS`.
    """
    if not isinstance(name, str) or name not in TARGETS:
        raise ConfigurationError(f"endpoint must be one of {', '.join(map(repr, TARGETS))}")
    return name


def as_import(text: str) -> str:
    """The JSON of an event as ``/import`` wants it: `distinct_id` is text and `time` a whole number, of milliseconds.

    Example:
        >>> as_import('{"event":"Paid","properties":{"distinct_id":7,"time":1700000000.25}}')
        '{"event":"Paid","properties":{"distinct_id":"7","time":1700000000250}}'
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return text
    properties = record.get("properties") if isinstance(record, dict) else None
    if not isinstance(properties, dict):
        return text
    moment, person = properties.get("time"), properties.get("distinct_id")
    is_whole = not isinstance(moment, float) or not math.isfinite(moment)
    if is_whole and type(person) is not int:
        return text
    if isinstance(moment, float) and not is_whole:
        properties["time"] = round(moment if abs(moment) >= _MILLISECONDS else moment * 1000)
    if type(person) is int:
        properties["distinct_id"] = str(person)
    return json.dumps(record, separators=(",", ":"))


def belongs_to_track(text: str) -> bool:
    """Whether an event is one that ``/track`` alone takes: those that join ids, which have neither `time` nor `$insert_id`.

    Example:
        >>> belongs_to_track('{"event": "$create_alias", "properties": {"distinct_id": "a", "alias": "b", "token": "T"}}')
        True
    """
    return _JOINS_IDS.match(text) is not None


_JOINS_IDS = re.compile(r'\s*\{\s*"event"\s*:\s*"\$(?:create_alias|identify)"')


def token_of(message: Waiting) -> str | None:
    """The token of the project that an event belongs to; None where it says none."""
    try:
        found: Any = json.loads(message.json_message)["properties"]["token"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def alike(messages: Sequence[Waiting]) -> Sequence[Waiting]:
    """The first of some messages that go together: to one place, with the same credentials."""
    first = (messages[0].is_imported, messages[0].credentials)
    for at, message in enumerate(messages):
        if (message.is_imported, message.credentials) != first:
            return messages[:at]
    return messages
