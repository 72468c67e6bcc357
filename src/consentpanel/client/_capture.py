"""The capture: has the vendor's code build a record, and picks it up before it is text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from consentpanel._messages.convert import TooManyItemsError
from consentpanel._messages.decision import Reason
from consentpanel._messages.message import NO_PRESENT, Captured, Message, take_apart
from consentpanel._messages.wire import MAX_BYTES


class _AsIs:
    """The serializer of a capture: leaves a record as it is, since it is judged before it is written."""

    def __init__(self, **_: object) -> None:
        """Takes and ignores what `json` hands to an encoder."""

    def encode(self, record: object) -> object:
        return record


class Capture:
    """Stands in for the client while the vendor's code builds a record, and takes the record from it."""

    __slots__ = ("_client", "_token", "credentials", "endpoint", "present", "record")

    _serializer = _AsIs

    def __init__(self, client: Any, endpoint: str) -> None:
        self._client = client
        self._token = client._token  # the vendor's private hooks are its seam
        self.present: object = NO_PRESENT
        self.endpoint = endpoint
        self.record: object = None
        self.credentials: object = None

    @property
    def _consumer(self) -> Capture:
        return self

    def _now(self) -> object:
        self.present = self._client._now()
        return self.present

    def send(self, endpoint: str, record: object, credentials: object = None) -> None:
        """Takes what the vendor's client would hand to its consumer."""
        self.endpoint, self.record, self.credentials = endpoint, record, credentials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def captured(
    client: Any,
    vendor: Callable[..., object],
    arguments: tuple[Any, ...],
    properties: Mapping[str, Any] | None,
    meta: Mapping[str, Any] | None,
    *,
    ids: tuple[object, ...] = (),
    endpoint: str = "events",
) -> tuple[Message, object]:
    """The message that a call of the vendor's client would send, taken apart; and its credentials.

    Args:
        client: The guarded client, whose token, hooks and wire are used.
        vendor: The vendor's method.
        arguments: What it is given before the properties.
        properties: What it is given as properties, or as the update.
        meta: What it is given as ``meta``.
        ids: The ids that the caller named.
        endpoint: Where the message goes when the vendor's code does not get as far as to say so.
    """
    capture = Capture(client, endpoint)
    wire = client._wire
    problem = ""
    # Suppressed, because mapping and hooks are the user's and their exceptions may hold values.
    with suppress(Exception):
        # The vendor's client ignores what is false, of properties those of an event.
        problem = problem_of("meta", meta)
        meta = meta or None
        problem = problem_of(_NOUNS[endpoint], properties)
        properties = (properties or None) if endpoint == "events" else properties
        problem = problem_of("meta", meta) or problem_of(_NOUNS[endpoint], properties)
        # Copies, because the caller's own may change in another thread: what is judged is what is sent.
        said, more = plain(properties), plain(meta)
        vendor(capture, *arguments, said, more or None)
        record, text, dropped = capture.record, "", {}
        if not wire.is_plain and isinstance(record, Mapping):
            record, text, dropped = wire.written(record)
        message = take_apart(
            Captured(
                capture.endpoint,
                record,
                wire,
                present=capture.present,
                named=ids,
                replaced=said if more else None,
                default_of=client._default_of,
                text=text,
                dropped=dropped,
            )
        )
        return message, capture.credentials
    return Message(capture.endpoint, {}, wire, fault=Reason.INVALID_MESSAGE, problem=problem), None


_NOUNS = {"events": "properties", "people": "the update", "groups": "the update"}


def problem_of(name: str, value: object) -> str:
    """What is wrong with an argument that has to be a mapping; empty for nothing."""
    # Suppressed, because a class may answer even these with an exception.
    with suppress(Exception):
        if value is None or isinstance(value, Mapping):
            return ""
    kind = "something else"
    with suppress(Exception):
        kind = type(value).__name__
    return f"{name} must be a mapping, not {kind}"


def plain(mapping: object) -> dict[Any, Any] | None:
    """A copy of a mapping, for the vendor's code to read.

    Raises:
        TypeError: It is neither None nor a mapping.
        TooManyItemsError: It has more keys than anybody would send.
        Exception: Whatever a mapping of the user's raises.
    """
    if mapping is None:
        return None
    if not isinstance(mapping, Mapping):
        raise TypeError("not a mapping")
    if isinstance(mapping, dict) and type(mapping).__iter__ is dict.__iter__:
        return dict(mapping)
    # As `dict()` reads it, but one without an end ends.
    copy = {key: mapping[key] for key in islice(mapping.keys(), MAX_BYTES)}
    if len(copy) == MAX_BYTES:
        raise TooManyItemsError("more than anybody would send")
    return copy
