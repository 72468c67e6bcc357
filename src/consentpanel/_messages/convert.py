"""What becomes of a value that neither JSON nor the user's serializer knows."""

from __future__ import annotations

import dataclasses
import sys
import uuid
from collections import deque
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from numbers import Integral, Real
from typing import Any, cast

import attrs

from consentpanel._consent.ids import joined

#: An iterator, set or view with more items drops its property.
MAX_ITEMS = 1000


class TooManyItemsError(ValueError):
    """An iterator has more items than anybody would send."""


def as_number(value: object) -> int | float | None:
    """The JSON number that says the same as a number of another type; None for what is a number of JSON or none at all.

    Example:
        >>> as_number(Decimal("9.99")), as_number(Decimal(3)), as_number(3), as_number("3")
        (9.99, 3, None, None)
    """
    if type(value) in _OF_JSON:
        return None
    try:
        if isinstance(value, (int, float)) or not isinstance(value, (Decimal, Real)):
            return None
        if isinstance(value, Integral):
            return int(value)
        number = float(value)  # the vendor keeps no more digits
    except Exception:  # noqa: BLE001 - the class is the user's; its exception may hold the value
        return None
    return int(number) if isinstance(value, Decimal) and number.is_integer() and abs(number) < _EXACT else number


_EXACT = 2**53
_OF_JSON = frozenset({int, float, bool, str, type(None)})


def converted(value: object) -> Any:
    """A simpler value that says the same: text, a list or a dict, whose parts may need converting in turn.

    A lazy string, `UUID`, `Decimal` and `bytes` become text, an `Enum` its value, a date or time ISO 8601 text, a
    `timedelta` its seconds, a scalar of numpy or pandas the Python value, a dataclass or attrs class a dict by its fields,
    another mapping a dict, a set, generator, deque or view a list.

    Raises:
        TypeError: There is none. The text does not quote the value.
        TooManyItemsError: It has more than 1,000 items.
        Exception: Whatever a class of the user's raises when it is read.

    Example:
        >>> converted(Decimal("9.90")), converted({2, 1}), converted(date(2026, 5, 17))
        ('9.90', [1, 2], '2026-05-17')
    """
    simple = _simple(value)
    if simple is not value:
        return simple
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    kind: type[Any] = type(value)
    if attrs.has(kind):
        return {field.name: getattr(value, field.name) for field in attrs.fields(kind)}
    if isinstance(value, Mapping):
        return dict(_few(iter(value.items())))
    if isinstance(value, (set, frozenset)):
        return _in_order(_few(iter(value)))
    if isinstance(value, _READ_ONCE):
        return _few(iter(value))
    raise TypeError("no JSON form")


def _simple(value: Any) -> Any:
    """A scalar as a simpler one, an `Enum` as its value; the value itself when it is neither."""
    kind: type[Any] = type(value)
    if kind.__name__ in _MISSING and kind.__module__.startswith("pandas."):
        return None
    text = text_of(value)
    if text is not None:
        return text
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if kind.__module__ == "numpy" and issubclass(kind, sys.modules["numpy"].generic):
        # Those of times count nanoseconds, of which a datetime knows none.
        return (value.astype(f"{kind.__name__}[us]") if kind.__name__ in _NUMPY_TIMES else value).item()
    number = as_number(value)
    return value if number is None else number


_MISSING = frozenset({"NaTType", "NAType"})
_NUMPY_TIMES = frozenset({"datetime64", "timedelta64"})


_TEXTS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (uuid.UUID, uuid.UUID.__str__),
    (Decimal, Decimal.__str__),
    ((bytes), bytes.decode),
    (bytearray, bytearray.decode),
    (date, lambda moment: moment.isoformat()),
    (time, lambda moment: moment.isoformat()),
)

# Django's, Babel's and Flask-Babel's lazy texts, none of which is a str; no import, for none need be installed.
_LAZY_TEXTS = frozenset({"Promise", "LazyProxy", "LazyString", "_LazyString"})


def _is_lazy(kind: type) -> bool:
    return not _LAZY_TEXTS.isdisjoint(each.__name__ for each in kind.__mro__)


def text_of(value: object) -> str | None:
    """The text of a value that is one in all but type; None for another.

    Raises:
        Exception: Whatever the value's own class raises.
    """
    for kind, text in _TEXTS:
        if isinstance(value, kind):
            return text(value)
    if issubclass(type(value), str):
        return str.__str__(cast("str", value))
    # A proxy may claim to be a str by its __class__ alone.
    if isinstance(value, str) or _is_lazy(type(value)):
        return str.__str__(str(value))
    return None


def items_of(value: object) -> list[Any] | None:
    """The items of a list, tuple or set, whatever a subclass would iterate over; None for anything else."""
    kind = type(value)
    base = next((each for each in (list, tuple, set, frozenset) if issubclass(kind, each)), None)
    return None if base is None else list(base.__iter__(value))  # type: ignore[arg-type]


def items_once(value: object) -> object:
    """The items of a generator or view, which can be read again; any other value as it is."""
    if isinstance(value, _READ_ONCE):
        # Suppressed, because the class is the user's and its exception may hold values.
        with suppress(Exception):
            return _few(iter(value))
    return value


_READ_ONCE = (Iterator, deque, KeysView, ValuesView, ItemsView)


def name_of(value: object) -> str | None:
    """The text of a name that is a `str`, a lazy text or an `Enum` of texts; None for anything else."""
    kind = type(value)
    if not issubclass(kind, (str, Enum)) and not _is_lazy(kind):
        return None
    return joined(str.__str__(value)) if isinstance(value, str) and issubclass(kind, str) else key_of(value)


def key_of(key: object) -> str | None:
    """The text of a mapping's key that JSON refuses; None when it has none."""
    try:
        text = text_of(key)
        plain = key.value if text is None and isinstance(key, Enum) else text
    except Exception:  # noqa: BLE001 - the class is the user's; its exception may hold the value
        return None
    return str.__str__(plain) if isinstance(plain, str) else None


def _few(items: Iterator[Any]) -> list[Any]:
    found = list(islice(items, MAX_ITEMS + 1))
    if len(found) > MAX_ITEMS:
        raise TooManyItemsError("more than 1,000 items")
    return found


def _in_order(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return items
