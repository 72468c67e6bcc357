"""The shapes in which the vendor's structural properties pass without a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from consentpanel._mixpanel.names import FLAG_IDS, GROUP_NAMES, TIMES

#: Gives the value that the vendor's client would write for a name; None when it would write none.
DefaultOf = Callable[[str], Any]


def no_default(name: str) -> None:
    """A `DefaultOf` for a message that no client of the vendor's would complete."""
    del name


_MAX_TEXT = 64
_MAX_INSERT_ID = 36
_MAX_GROUP = 255
_SWITCHES = frozenset({"$ignore_time", "$ignore_alias"})


def is_insert_id(value: object, ids: Collection[str]) -> bool:
    """Whether a value can be an ``$insert_id``: at most 36 of ``[A-Za-z0-9-]``, and nobody's id."""
    return (
        type(value) is str
        and len(value) <= _MAX_INSERT_ID
        and value.isascii()
        and value.replace("-", "").isalnum()
        and value not in ids
    )


def is_in_shape(name: str, value: object, ids: Collection[str]) -> bool:
    """Whether a structural property has its own shape, so that nothing else can travel under its name.

    Args:
        name: The property.
        value: Its JSON tree.
        ids: The ids that the message names.

    Example:
        >>> is_in_shape("mp_lib", "python", ()), is_in_shape("time", "noon", ()), is_in_shape("$insert_id", "a b", ())
        (True, False, False)
    """
    if name in FLAG_IDS:
        return True
    if name in TIMES:
        return type(value) is int or (type(value) is float and math.isfinite(value))
    if name == "$insert_id":
        return is_insert_id(value, ids)
    if name in _SWITCHES:
        return type(value) is bool
    if name in GROUP_NAMES:
        return type(value) in {int, float, bool} or (type(value) is str and 0 < len(value) <= _MAX_GROUP)
    return type(value) is str and 0 < len(value) <= _MAX_TEXT and value.isprintable()
