"""What a test transport was sent, taken apart; and what the vendor would have refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from consentpanel._mixpanel import vendor
from consentpanel._mixpanel.names import OPERATORS

ENDPOINTS = ("events", "people", "groups", "imports")
EVENT_ENDPOINTS = ("events", "imports")
# The limits are those of https://developer.mixpanel.com/reference/import-events.
MAX_MESSAGE_BYTES = 1_048_576
MAX_BATCH_BYTES = 10 * MAX_MESSAGE_BYTES
MAX_BATCH_MESSAGES = 2_000
MAX_PROPERTIES = 254

_BLANK = re.compile(r"[ \t\n\r]*")


@attrs.frozen
class SentMessage:
    """One message as the vendor would have received it. Its repr shows no value.

    Attributes:
        endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
        event: The name of the event; None for a profile.
        distinct_id: The id that the message carries; None for a group, and where there is none.
        properties: The properties of an event; for a profile its operators, such as ``{"$set": {...}}``.
        payload: The whole decoded record.
        raw: The string that was sent; for a message of a batch, its part of that string.

    Example:
        >>> from consentpanel.testing import FakeTransport
        >>> vendor = FakeTransport()
        >>> vendor.send("people", '{"$token": "T", "$distinct_id": "user-1", "$set": {"plan": "pro"}}')
        >>> vendor.people[0].properties
        {'$set': {'plan': 'pro'}}
        >>> vendor.people[0]
        SentMessage(endpoint='people', event=None)
    """

    endpoint: str
    event: str | None
    distinct_id: str | int | None = attrs.field(repr=False)
    properties: Mapping[str, Any] = attrs.field(repr=False, hash=False)
    payload: Mapping[str, Any] = attrs.field(repr=False, hash=False)
    raw: str = attrs.field(repr=False)


def received(endpoint: object, json_message: object) -> list[SentMessage]:
    """The messages of one request, if the vendor would take it.

    Args:
        endpoint: The vendor's endpoint.
        json_message: One record, or a batch of up to 2,000, as JSON.

    Returns:
        One message for each record, in order.

    Raises:
        MixpanelException: The vendor would refuse the request. The text says why and quotes nothing of it.
    """
    if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
        raise vendor.MixpanelException(f"No such endpoint. Valid endpoints are {', '.join(ENDPOINTS)}")
    if not isinstance(json_message, str):
        raise vendor.MixpanelException(f"{endpoint}: the message must be a str, not {type(json_message).__name__}")
    if _bytes(json_message) > MAX_BATCH_BYTES:
        raise vendor.MixpanelException(f"{endpoint}: a request of more than 10 MB")
    try:
        records = list(_records(json_message))
    except (ValueError, RecursionError):
        records = None
    if records is None:
        raise vendor.MixpanelException(f"{endpoint}: the message is not JSON")
    if len(records) > MAX_BATCH_MESSAGES:
        raise vendor.MixpanelException(f"{endpoint}: a batch of {len(records)} messages; the vendor takes 2,000")
    return [_message(endpoint, raw, record) for raw, record in records]


def _records(text: str) -> Iterator[tuple[str, object]]:
    text = str.__str__(text)
    whole = json.loads(text)
    if not isinstance(whole, list):
        yield text, whole
        return
    decoder = json.JSONDecoder()
    at = _after_blank(text, text.index("[") + 1)
    while text[at] != "]":
        record, end = decoder.raw_decode(text, at)
        yield text[at:end], record
        at = _after_blank(text, end)
        if text[at] == ",":
            at = _after_blank(text, at + 1)


def _after_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _message(endpoint: str, raw: str, record: object) -> SentMessage:
    if not isinstance(record, dict):
        raise vendor.MixpanelException(f"{endpoint}: a record must be an object, not {type(record).__name__}")
    if _bytes(raw) >= MAX_MESSAGE_BYTES:
        raise vendor.MixpanelException(f"{endpoint}: a message of 1 MB or more")
    event, distinct_id, properties = (_event if endpoint in EVENT_ENDPOINTS else _profile)(endpoint, record)
    return SentMessage(
        endpoint=endpoint, event=event, distinct_id=distinct_id, properties=properties, payload=record, raw=raw
    )


#: The event's name, the id and the properties of a record.
_Parts = tuple[str | None, str | int | None, dict[str, Any]]


def _event(endpoint: str, record: dict[str, Any]) -> _Parts:
    properties = record.get("properties")
    if not isinstance(properties, dict):
        raise vendor.MixpanelException(f"{endpoint}: an event without properties, and so without a token")
    _refuse_without_token(endpoint, properties.get("token"))
    _refuse_too_many(endpoint, properties)
    name = record.get("event")
    event = name if isinstance(name, str) else None
    return event, _id(properties, "distinct_id", "$distinct_id"), properties


def _profile(endpoint: str, record: dict[str, Any]) -> _Parts:
    _refuse_without_token(endpoint, record.get("$token"))
    operators = {name: value for name, value in record.items() if name in OPERATORS}
    for value in operators.values():
        if isinstance(value, (dict, list)):
            _refuse_too_many(endpoint, value)
    distinct_id = _id(record, "$distinct_id", "distinct_id") if endpoint == "people" else None
    return None, distinct_id, operators


def _id(names: dict[str, Any], *candidates: str) -> str | int | None:
    found = (names[name] for name in candidates if names.get(name) is not None)
    value = next(found, None)
    return value if isinstance(value, (str, int)) else None


def _refuse_without_token(endpoint: str, token: object) -> None:
    if not isinstance(token, str) or not token:
        raise vendor.MixpanelException(f"{endpoint}: a message without a token")


def _refuse_too_many(endpoint: str, properties: dict[str, Any] | list[Any]) -> None:
    if len(properties) > MAX_PROPERTIES:
        text = f"{len(properties)} properties; the vendor takes fewer than 255"
        raise vendor.MixpanelException(f"{endpoint}: {text}")
