"""What a value becomes on the wire: the JSON tree that a serializer would write (contract rule 3.6)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, cast

import mixpanel

MAX_BYTES = 1_048_576
"""The vendor refuses a message of 1 MB of JSON or more; ours is ASCII, so characters are bytes."""
MAX_DEPTH = 32

KEY_NOT_TEXT = "key_not_text"


class NotOnWireError(Exception):
    """A value has no form on the wire. `cause` says why, in one word; the value is not kept."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Wire:
    """How one client writes values: the vendor's JSON with the client's serializer.

    Args:
        serializer: The `json.JSONEncoder` subclass that the client was given.
    """

    __slots__ = ("_serializer", "is_plain")

    def __init__(self, serializer: Callable[..., json.JSONEncoder] = mixpanel.DatetimeSerializer) -> None:
        self._serializer = serializer
        self.is_plain = (
            isinstance(serializer, type)
            and issubclass(serializer, json.JSONEncoder)
            and serializer.__init__ is json.JSONEncoder.__init__
            and serializer.encode is json.JSONEncoder.encode
            and serializer.iterencode is json.JSONEncoder.iterencode
        )
        """Whether the serializer differs from the standard one in `default` alone."""

    def writes(self, serializer: object) -> bool:
        """Whether this is the wire of that serializer."""
        return self._serializer is serializer

    def tree(self, value: object, *, allow_nan: bool = False) -> Any:
        """The JSON tree of a value: exact dict, list, str, int, float, bool and None all the way down.

        Args:
            value: Any object.
            allow_nan: Whether NaN and infinities pass, as they do with the vendor's client.

        Raises:
            NotOnWireError: The value cannot be written, is not finite, holds itself, is too deep or too large.
        """
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value
        if kind is float and (allow_nan or math.isfinite(value)):  # type: ignore[arg-type]
            return value
        if self.is_plain:
            return _Walk(self._serializer, allow_nan).tree(value, 1)
        # The serializer's own way of writing knows no bounds, so that shared parts could multiply.
        _Measure(json.JSONEncoder, allow_nan=True).tree(value, 1)
        try:
            written = json.loads(self.text(value))
        except Exception:  # noqa: BLE001 - the serializer is the user's; whatever it raises, the value is not writable
            written = None
            failed = True
        else:
            failed = False
        if failed:
            raise NotOnWireError("unserialisable")
        return _Walk(json.JSONEncoder, allow_nan).tree(written, 1)

    def text(self, value: object) -> str:
        """The JSON of a value exactly as the vendor's client writes it, whatever the serializer raises."""
        return mixpanel.json_dumps(value, cls=self._serializer)  # type: ignore[no-any-return]

    def fault(self, value: object) -> Exception | None:
        """What the vendor's client raises for a value that cannot be written; None when it can."""
        try:
            self.text(value)
        except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it as the vendor would
            return error
        return None


dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""Writes a JSON tree as the vendor's client would, without building an encoder for each message."""


class _Walk:
    """One value taken apart, under one budget of size, so that shared parts cannot multiply."""

    def __init__(self, serializer: Callable[..., json.JSONEncoder], allow_nan: bool) -> None:
        self._serializer = serializer
        self._allow_nan = allow_nan
        self._budget = MAX_BYTES
        self._open: set[int] = set()
        self._encoder: json.JSONEncoder | None = None

    def tree(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            self._charge(len(value) + 2)
            return value
        if kind is int:
            return self._integer(value)
        if kind is bool or value is None:
            self._charge(4)
            return value
        if kind is float:
            return self._number(value)
        if issubclass(kind, str):
            return self.tree(str.__str__(value), depth)
        if issubclass(kind, int):
            return self._integer(int.__index__(value))
        if issubclass(kind, float):
            return self._number(float.__float__(value))
        return self._container(value, kind, depth)

    def _container(self, value: Any, kind: type, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise NotOnWireError("too_deep")
        if id(value) in self._open:
            raise NotOnWireError("cycle")
        self._open.add(id(value))
        self._charge(2)
        try:
            if issubclass(kind, dict):
                entries = list(value.items()) if kind is dict else _entries(value)
                return {self._key(key): self.tree(item, depth + 1) for key, item in entries}
            if issubclass(kind, list):
                return [self.tree(item, depth + 1) for item in list(list.__iter__(value))]
            if issubclass(kind, tuple):
                return [self.tree(item, depth + 1) for item in tuple.__iter__(value)]
            return self.tree(self._default(value), depth + 1)
        finally:
            self._open.discard(id(value))

    def _default(self, value: object) -> object:
        failed = False
        written: object = None
        try:
            if self._encoder is None:
                self._encoder = self._serializer(separators=(",", ":"))
            written = self._encoder.default(value)
        except Exception:  # noqa: BLE001 - the serializer is the user's; its exception may hold the value
            failed = True
        if failed:
            raise NotOnWireError("unserialisable")
        return written

    def _key(self, key: object) -> str:
        text = key_text(key)
        if text is None:
            raise NotOnWireError(KEY_NOT_TEXT)
        self._charge(len(text) + 3)
        return text

    def _integer(self, value: int) -> int:
        if not can_write(value):
            raise NotOnWireError("unserialisable")
        self._charge(1 + value.bit_length() // 4)
        return value

    def _number(self, value: float) -> float:
        if not self._allow_nan and not math.isfinite(value):
            raise NotOnWireError("not_finite")
        self._charge(3)
        return value

    def _charge(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise NotOnWireError("too_large")


class _Measure(_Walk):
    """Takes a value apart for its size and depth alone; what can be written, the serializer says."""

    def _default(self, value: object) -> object:
        del value
        return None

    def _key(self, key: object) -> str:
        del key
        return ""

    def _integer(self, value: int) -> int:
        self._charge(1)
        return value


def _entries(mapping: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """The entries of somebody's own kind of dict, as `json` asks for them."""
    failed = False
    entries: list[tuple[Any, Any]] = []
    try:
        entries = [(key, item) for key, item in islice(mapping.items(), MAX_BYTES)]
    except Exception:  # noqa: BLE001 - the class is the user's; its exception may hold the value
        failed = True
    if failed:
        raise NotOnWireError("unserialisable")
    return entries


def can_write(number: int) -> bool:
    """Whether the interpreter writes an int in digits: it refuses thousands of them."""
    if -_BIG < number < _BIG:
        return True
    try:
        int.__repr__(number)
    except ValueError:
        return False
    return True


_BIG = 1 << 1023


def key_text(key: object) -> str | None:
    """The name that a mapping's key has on the wire, as `json` writes it; None for a key that it refuses."""
    kind = type(key)
    if kind is str:
        return key  # type: ignore[return-value]
    if issubclass(kind, str):
        return str.__str__(cast("str", key))
    if kind is bool or key is None or (isinstance(key, int) and can_write(key)):
        return json.dumps(key)
    if issubclass(kind, float):
        return json.dumps(key)
    return None


def with_text_keys(mapping: Mapping[Any, Any]) -> tuple[dict[str, Any], bool]:
    """A mapping by the names its keys have on the wire, and whether a key that has none was left out.

    A key may be a `str` subclass or Enum whose hash is not its text's, so it is not found until it is made a plain one.
    """
    if type(mapping) is dict:
        for key in mapping:
            if type(key) is not str:
                break
        else:
            return mapping, False
    named: dict[str, Any] = {}
    left_out = False
    for key, value in list(mapping.items()):
        text = key_text(key)
        if text is None:
            left_out = True
        else:
            named[text] = value
    return named, left_out
