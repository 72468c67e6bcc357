"""The express lane: recognises the plain messages that the gate would let through untouched, and writes them.

One person, now, and nothing but scalars under names that a rule plainly keeps. Whatever else a message holds, the
answer is None and the gate judges it. Property tests hold the lane to the gate's answer and the vendor's bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder as _encoder
from typing import Any, Protocol

import mixpanel

from consentpanel._gate.judge import MAX_PROPERTIES
from consentpanel._messages.shapes import is_insert_id
from consentpanel._messages.wire import MAX_BYTES
from consentpanel._mixpanel.names import DICT_OPERATORS
from consentpanel.policy._detect.detection import Detection

_TEXT = frozenset({str})
_NUMBERS = frozenset({int, float})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_VERSION = mixpanel.__version__


class Client(Protocol):
    """The hooks of the vendor's client that the lane uses, as the vendor's own code does."""

    _token: Any

    def _now(self) -> Any: ...
    def _make_insert_id(self) -> Any: ...


def event_text(
    client: Client,
    subject: str,
    event: str,
    properties: dict[Any, Any] | None,
    plain: frozenset[str],
    detection: Detection | None,
) -> str | None:
    """The JSON that the vendor's client would write of an event that needs no gate, or None.

    Args:
        client: Whose event it is.
        subject: The person, whose consent is known.
        event: The event's name.
        properties: Its properties; none of them structural.
        plain: Names of the properties that may be sent as they are.
        detection: What must find nothing in their values.
    """
    if properties and not _is_plain(properties, plain, detection):
        return None
    token, present, insert_id = client._token, client._now(), client._make_insert_id()  # noqa: SLF001 - the vendor's hooks
    is_usual = type(token) is str and type(present) in _NUMBERS
    if not is_usual or not is_insert_id(insert_id, (subject,)):
        return None
    names = {
        "token": token,
        "distinct_id": subject,
        "time": present,
        "$insert_id": insert_id,
        "mp_lib": "python",
        "$lib_version": _VERSION,
    }
    if properties:
        names.update(properties)
    return _written({"event": event, "properties": names}) if len(names) <= MAX_PROPERTIES else None


def update_text(
    client: Client, message: dict[Any, Any], plain: frozenset[str], detection: Detection | None
) -> tuple[str, str] | None:
    """The person and the JSON of a profile update that needs no gate, or None.

    Args:
        client: Whose update it is.
        message: The update: a ``$distinct_id`` and one operator.
        plain: Names of the properties that may be sent as they are.
        detection: What must find nothing in their values.
    """
    if len(message) != 2 or "$distinct_id" not in message:
        return None
    subject = message["$distinct_id"]
    operator = next(reversed(message))
    properties = message[operator]
    token, present = client._token, client._now()  # noqa: SLF001 - the vendor's hooks
    if (
        type(subject) is type(token) is str
        and subject
        and operator in DICT_OPERATORS
        and type(present) in _NUMBERS
        and type(properties) is dict
        and properties
        and _is_plain(properties, plain, detection)
        and _TEXT.issuperset(map(type, message))
    ):
        text = _written({"$token": token, "$time": present, **message})
        return None if text is None else (subject, text)
    return None


def _is_plain(properties: dict[Any, Any], plain: frozenset[str], detection: Detection | None) -> bool:
    return (
        len(properties) <= MAX_PROPERTIES
        and plain.issuperset(properties)
        # A str subclass can be equal to one text and be written as another.
        and _TEXT.issuperset(map(type, properties))
        and _SCALARS.issuperset(map(type, properties.values()))
        and (detection is None or detection.are_clean(properties.values()))
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
