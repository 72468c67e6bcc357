"""What the vendor's client itself could have written under a structural name: only that passes without a rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import datetime, timedelta, timezone
from typing import Any

from consentpanel._consent.records import now
from consentpanel._messages.times import moment_of
from consentpanel._mixpanel.structure import LIBRARIES, Shape

#: Gives the value that the vendor's client would write for a name; None when it would write none.
DefaultOf = Callable[[str], Any]


def no_default(name: str) -> None:
    """A `DefaultOf` for a message that no client of the vendor's would complete."""
    del name


# https://developer.mixpanel.com/reference/import-events: at most 36 of these characters, no event before 1971.
_INSERT_ID = re.compile(r"[A-Za-z0-9-]{1,36}")
_VERSION = re.compile(r"\d{1,3}\.\d{1,3}(?:\.\d{1,3})?(?:[.\-]?(?:a|b|rc|alpha|beta|dev|post)\.?\d{0,3})?", re.ASCII)
_FIRST_MOMENT = datetime(1971, 1, 1, tzinfo=timezone.utc)
_AHEAD = timedelta(days=1)
_MAX_GROUP = 255
#: A shorter id may be a part of anything by chance.
_SHORTEST_PART = 6


def is_insert_id(value: object, ids: Collection[str]) -> bool:
    """Whether a value can be an ``$insert_id``: at most 36 of ``[A-Za-z0-9-]``, in which nobody's id stands."""
    if type(value) is not str or _INSERT_ID.fullmatch(value) is None:
        return False
    lowered, squashed = f"-{value.lower()}-", _squashed(value)
    # In a random one any short text stands by chance.
    runs = () if _RANDOM.fullmatch(value) else [run.lstrip("0") for run in _RUN.findall(lowered)]
    return not any(
        f"-{each.lower()}-" in lowered or short in (squashed if len(short) >= _SHORTEST_PART else runs)
        for each in ids
        for short in [_squashed(each)]
    )


# With a letter and no row of zeros: what is filled up to that length is an id in other clothes.
_RANDOM = re.compile("(?=.*[A-Fa-f])(?!.*0{6})(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})")
_RUN = re.compile("[0-9]+|[a-z]+")


def _squashed(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def is_in_shape(shape: Shape, value: object, ids: Collection[str], own: object = None) -> bool:
    """Whether a value is one that the vendor's client could have written, so that nothing else travels under its name.

    Args:
        shape: What stands under the name.
        value: Its JSON tree.
        ids: The ids that the message names.
        own: What the client would write there now.

    Example:
        >>> [is_in_shape(Shape.LIBRARY, value, ()) for value in ("python", "ada")]
        [True, False]
        >>> [is_in_shape(Shape.MOMENT, value, ()) for value in (1_700_000_000, "noon", 4_420_794_609)]
        [True, False, False]
    """
    if shape is Shape.MOMENT:
        return _is_moment(value) or (type(value) in {int, float} and type(own) in {int, float} and value == own)
    if shape is Shape.SWITCH:
        return type(value) is bool
    if shape is Shape.GROUP and type(value) in {int, float, bool}:
        return True
    if shape.is_id:
        return True
    return type(value) is str and _TEXTS[shape](value, ids, own)


_TEXTS: dict[Shape, Callable[[str, Collection[str], object], bool]] = {
    Shape.TOKEN: lambda text, _, own: text == own,
    Shape.LIBRARY: lambda text, ids, own: text == own or (text in LIBRARIES and text not in ids),
    Shape.VERSION: lambda text, ids, own: text == own or (_VERSION.fullmatch(text) is not None and text not in ids),
    Shape.INSERT_ID: lambda text, ids, _: is_insert_id(text, ids),
    Shape.GROUP: lambda text, _, __: 0 < len(text) <= _MAX_GROUP,
}


def _is_moment(value: object) -> bool:
    moment = moment_of(value)
    return moment is not None and _FIRST_MOMENT <= moment <= now() + _AHEAD
