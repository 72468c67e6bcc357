"""What a value becomes on the wire: the JSON tree that is judged and sent."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from itertools import islice
from typing import Any, NamedTuple, cast

from consentpanel._consent.ids import joined
from consentpanel._messages.convert import TooManyItemsError, as_number, converted, key_of
from consentpanel._messages.decision import Cause
from consentpanel._mixpanel import vendor

#: The vendor refuses a message of 1 MB of JSON or more; what is written here is ASCII, so that characters are bytes.
MAX_BYTES = 1_048_576
MAX_DEPTH = 32


class NotOnWireError(Exception):
    """A value has no form on the wire. `cause` says why; the value is not kept."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


class Wire:
    """How one client writes values: the vendor's JSON with the client's serializer.

    Args:
        serializer: The `json.JSONEncoder` subclass that the client was given.
    """

    __slots__ = ("_serializer", "is_plain")

    def __init__(self, serializer: Callable[..., json.JSONEncoder] = vendor.DatetimeSerializer) -> None:
        self._serializer = serializer
        self.is_plain = (
            isinstance(serializer, type)
            and issubclass(serializer, json.JSONEncoder)
            and serializer.__init__ is json.JSONEncoder.__init__
            and serializer.encode is json.JSONEncoder.encode
            and serializer.iterencode is json.JSONEncoder.iterencode
        )
        """Whether the serializer differs from the standard one in `default` alone."""

    def tree(self, value: object, *, allow_nan: bool = False, doubled: list[str] | None = None) -> Any:
        """The JSON tree of a value: exact dict, list, str, int, float, bool and None all the way down.

        The serializer is asked first; what it refuses is converted (`converted`).

        Args:
            value: Any object.
            allow_nan: Whether NaN and infinities pass, as they do with the vendor's client.
            doubled: Gets a line for each key that was left out because another one is written as the same.

        Raises:
            NotOnWireError: The value cannot be written, is not finite, holds itself, is too deep or too large.
        """
        kind = type(value)
        if kind is bool or value is None:
            return value
        if kind is str:
            return joined(value)  # type: ignore[arg-type]
        if kind is float and (allow_nan or math.isfinite(value)):  # type: ignore[arg-type]
            return value
        return _Tree(self._serializer, allow_nan, [] if doubled is None else doubled).tree(value, 1)

    def number(self, value: object) -> object:
        """What the vendor is to add up as a number of JSON, unless the serializer writes it; any other value as it is."""
        number = as_number(value)
        if number is not None:
            # Suppressed, because the serializer is the user's and its exception may hold the value.
            with contextlib.suppress(Exception):
                self._serializer(separators=(",", ":")).default(value)
                return value
        return value if number is None else number

    def written(self, record: Mapping[Any, Any]) -> Written:
        """A record as a serializer with its own `encode` or `iterencode` writes it: run first, its text judged.

        A property that it cannot write is left out and named.

        Args:
            record: The record that the vendor's client built.

        Returns:
            What the text says; a `record` of None when there is no text, or one that is no JSON object.
        """
        # Suppressed, because the serializer is the user's and its exception may hold the value.
        with contextlib.suppress(Exception):
            # The serializer's own way of writing knows no bounds, so that shared parts could multiply.
            _Measure(json.JSONEncoder, allow_nan=True, doubled=[]).tree(record, 1)
            text = self._text(record)
            said = parsed(text)
            if said is not None:
                return Written(said, text, {})
        with contextlib.suppress(Exception):
            dropped: dict[str, Cause] = {}
            text = self._text(self._writable(record, dropped))
            return Written(parsed(text), text, dropped)
        return Written(None, "", {})

    def _text(self, record: Mapping[Any, Any]) -> str:
        text = vendor.json_dumps(record, cls=self._serializer)
        if isinstance(text, (bytes, bytearray)):
            # As encoders that are faster than the standard library's write, and the vendor's client sends.
            return text.decode()
        # A plain one: what a subclass's own methods say is not what was judged.
        return str.__str__(text)

    def _writable(self, record: Mapping[Any, Any], dropped: dict[str, Cause]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in named_by_text(record, dropped).items():
            if isinstance(value, Mapping):
                kept[name] = {}
                for inner, said in named_by_text(value, dropped, "" if name == "properties" else f"{name}.").items():
                    self._keep(kept[name], inner, said, dropped)
            else:
                self._keep(kept, name, value, dropped)
        return kept

    def _keep(self, kept: dict[str, Any], name: str, value: object, dropped: dict[str, Cause]) -> None:
        doubled: list[str] = []
        try:
            kept[name] = self.tree(value, allow_nan=True, doubled=doubled)
        except NotOnWireError as error:
            dropped[name] = error.cause
        if doubled:
            dropped[f"{name}.{DOUBLED_KEYS}"] = Cause.DUPLICATE_KEY


class Written(NamedTuple):
    """What a serializer made of a record."""

    record: dict[str, Any] | None
    text: str
    dropped: dict[str, Cause]

    def __repr__(self) -> str:
        return f"Written({self.dropped!r})"


def parsed(text: str | bytes | bytearray) -> dict[str, Any] | None:
    """The JSON object that a text says; None for anything else, and when a key stands twice."""
    try:
        record = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Parsers differ in which one they take.
        raise ValueError("a key stands twice")
    return found


#: Writes a JSON tree as the vendor's client would, without building an encoder for each message.
dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class _Tree:
    """One value taken apart, under one budget of size, so that shared parts cannot multiply."""

    def __init__(self, serializer: Callable[..., json.JSONEncoder], allow_nan: bool, doubled: list[str]) -> None:
        self._serializer = serializer
        self._is_vendors = getattr(serializer, "default", None) is vendor.DatetimeSerializer.default
        self._allow_nan = allow_nan
        self._doubled = doubled
        self._budget = MAX_BYTES
        self._open: set[int] = set()
        self._encoder: json.JSONEncoder | None = None

    def tree(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            self._charge(len(value) + 2)
            return joined(value)
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
            raise NotOnWireError(Cause.TOO_DEEP)
        if id(value) in self._open:
            raise NotOnWireError(Cause.CYCLE)
        self._open.add(id(value))
        self._charge(2)
        try:
            if issubclass(kind, dict):
                return self._dict(list(value.items()) if kind is dict else _entries(value), depth)
            if issubclass(kind, list):
                return [self.tree(item, depth + 1) for item in list(list.__iter__(value))]
            if issubclass(kind, tuple):
                return [self.tree(item, depth + 1) for item in tuple.__iter__(value)]
            return self.tree(self._default(value), depth + 1)
        finally:
            self._open.discard(id(value))

    def _dict(self, entries: list[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        named: dict[str, Any] = {}
        twice: set[str] = set()
        for key, item in entries:
            name = self._key(key)
            if name in named:
                twice.add(name)
            named[name] = item
        for name in twice:
            del named[name]
            self._doubled.append(Cause.DUPLICATE_KEY)
        return {name: self.tree(item, depth + 1) for name, item in named.items()}

    def _default(self, value: object) -> object:
        # Suppressed, because serializer and class are the user's and their exceptions may hold the value.
        with contextlib.suppress(Exception):
            if self._encoder is None:
                self._encoder = self._serializer(separators=(",", ":"))
            if isinstance(value, datetime) and value.tzinfo is not None and not self._allow_nan and self._is_vendors:
                # The vendor's serializer would leave the offset out, and the vendor read another moment.
                value = value.astimezone(timezone.utc)
            return self._encoder.default(value)
        cause = Cause.UNSERIALISABLE
        with contextlib.suppress(Exception):
            try:
                return converted(value)
            except TooManyItemsError:
                cause = Cause.TOO_MANY_ITEMS
        raise NotOnWireError(cause)

    def _key(self, key: object) -> str:
        text = key_text(key)
        if text is None:
            raise NotOnWireError(Cause.KEY_NOT_TEXT)
        self._charge(len(text) + 3)
        return text

    def _integer(self, value: int) -> int:
        if not can_write(value):
            raise NotOnWireError(Cause.UNSERIALISABLE)
        self._charge(1 + value.bit_length() // 4)
        return value

    def _number(self, value: float) -> float:
        if not self._allow_nan and not math.isfinite(value):
            raise NotOnWireError(Cause.NOT_FINITE)
        self._charge(3)
        return value

    def _charge(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise NotOnWireError(Cause.TOO_LARGE)


class _Measure(_Tree):
    """Takes a value apart for its size and depth alone; what can be written, the serializer says."""

    def _dict(self, entries: list[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        for _, item in entries:
            self.tree(item, depth + 1)
        return {}

    def _default(self, value: object) -> object:
        del value
        return None

    def _integer(self, value: int) -> int:
        self._charge(1)
        return value


def _entries(mapping: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """The entries of somebody's own kind of dict, as `json` asks for them."""
    # Suppressed, because the class is the user's and its exception may hold the value.
    with contextlib.suppress(Exception):
        return [(key, item) for key, item in islice(mapping.items(), MAX_BYTES)]
    raise NotOnWireError(Cause.UNSERIALISABLE)


def says(text: str, judged: str) -> bool:
    """Whether JSON of a serializer's own way of writing says what was judged, to the last digit, and can be sent.

    Args:
        text: What the serializer wrote.
        judged: The text of `dumps` that was judged.
    """
    try:
        text.encode()  # half of a surrogate pair has no bytes
        return dumps(json.loads(text, parse_float=_as_judged)) == judged
    except ValueError:
        return False


def _as_judged(literal: str) -> float:
    number = float(literal)
    if float.__repr__(number) != literal:
        raise ValueError("digits that nobody judged")
    return number


def fits(text: str) -> bool:
    """Whether the vendor takes a message of that text: less than 1 MB of UTF-8."""
    return len(text) < MAX_BYTES and (text.isascii() or len(text.encode()) < MAX_BYTES)


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
    """The name that a mapping's key has on the wire; None for a key that has none."""
    kind = type(key)
    if issubclass(kind, str):
        return joined(str.__str__(cast("str", key)))
    if kind is bool or key is None or (issubclass(kind, int) and can_write(cast("int", key))):
        return json.dumps(key)
    if issubclass(kind, float):
        return json.dumps(key)
    return key_of(key)


UNNAMED_KEYS = "(a key that is not text)"
DOUBLED_KEYS = "(keys that are one on the wire)"


def named_by_text(mapping: Mapping[Any, Any], dropped: dict[str, Cause], path: str = "") -> dict[str, Any]:
    """A copy of a mapping, by the names its keys have on the wire.

    A key may be a `str` subclass or Enum whose hash is not its text's, so it is not found until it is made a plain one.

    Args:
        mapping: Any mapping.
        dropped: Gets a cause for keys that have no name, and for those that two keys share, which are left out.
        path: What stands before the keys in a path.
    """
    # The caller's own may change in another thread: what is judged is this copy.
    entries = list(islice(mapping.items(), MAX_BYTES))
    if len(entries) == MAX_BYTES:
        raise TooManyItemsError("more than anybody would send")
    named: dict[str, Any] = {}
    twice: set[str] = set()
    for key, value in entries:
        text = key if type(key) is str and key.isascii() else key_text(key)
        if text is None:
            dropped[path + UNNAMED_KEYS] = Cause.KEY_NOT_TEXT
        elif text in named:
            twice.add(text)
        else:
            named[text] = value
    for text in twice:
        del named[text]
        dropped[path + DOUBLED_KEYS] = Cause.DUPLICATE_KEY
    return named
