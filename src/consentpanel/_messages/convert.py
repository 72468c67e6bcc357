"""What becomes of a value that neither JSON nor the user's serializer knows."""

from __future__ import annotations

import dataclasses
import uuid
from collections import deque
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from datetime import date, time
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import Any

import attrs

#: An iterator, set or view with more items drops its property.
MAX_ITEMS = 1000


class TooManyItemsError(ValueError):
    """An iterator has more items than anybody would send."""


def converted(value: object) -> Any:
    """A simpler value that says the same: text, a list or a dict, whose parts may need converting in turn.

    A lazy string, `UUID`, `Decimal` and `bytes` become text, an `Enum` its value, a date or time ISO 8601 text, a
    dataclass or attrs class a dict by its fields, another mapping a dict, a set, generator, deque or view a list.

    Raises:
        TypeError: There is none. The text does not quote the value.
        TooManyItemsError: It has more than 1,000 items.
        Exception: Whatever a class of the user's raises when it is read.

    Example:
        >>> converted(Decimal("9.90")), converted({2, 1}), converted(date(2026, 5, 17))
        ('9.90', [1, 2], '2026-05-17')
    """
    text = text_of(value)
    if text is not None:
        return text
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    kind: type[Any] = type(value)
    if attrs.has(kind):
        return {field.name: getattr(value, field.name) for field in attrs.fields(kind)}
    if isinstance(value, Mapping):
        return dict(_few(iter(value.items())))
    if isinstance(value, (set, frozenset)):
        return _in_order(_few(iter(value)))
    if isinstance(value, (Iterator, deque, KeysView, ValuesView, ItemsView)):
        return _few(iter(value))
    raise TypeError("no JSON form")


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


def text_of(value: object) -> str | None:
    """The text of a value that is one in all but type; None for another.

    Raises:
        Exception: Whatever the value's own class raises.
    """
    for kind, text in _TEXTS:
        if isinstance(value, kind):
            return text(value)
    # A proxy may claim to be a str by its __class__ alone.
    if isinstance(value, str) or not _LAZY_TEXTS.isdisjoint(each.__name__ for each in type(value).__mro__):
        return str.__str__(str(value))
    return None


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
