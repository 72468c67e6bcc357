"""Strict readings of what values hold: escapes, JSON, times, ids, pairs. What is not as the tool writes it is `Odd`."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn
from urllib.parse import unquote

from consentpanel._consent.ids import MAX_ID_LENGTH
from consentpanel._consent.records import json_depth, now

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: JavaScript's `JSON.stringify` writes an escape for a half of a pair alone.
_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,15}")
_TAG = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,3}", re.ASCII)
_MAX_DEPTH = 16
#: The first consent tools are younger; so is no number of milliseconds that a cut has made shorter.
_EARLIEST = datetime(2010, 1, 1, tzinfo=timezone.utc)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: How far ahead of this machine's clock that of a browser may be.
_AHEAD = timedelta(days=1)


class Odd(ValueError):  # noqa: N818 - it is no error of anybody who could mend it
    """A value that no tool has written like this; its text never says what it was."""


def unescaped(text: str) -> str:
    """The text with its percent escapes decoded once.

    Raises:
        ValueError: An escape is broken, or they are no UTF-8.
    """
    if _BROKEN_ESCAPE.search(text):
        raise Odd
    return unquote(text, errors="strict")


def json_object(value: str) -> dict[str, Any]:
    """The object of a JSON text as JavaScript writes it, raw or escaped; each key once, and only finite numbers.

    Raises:
        ValueError: It is none.
    """
    # Raw JSON keeps its per cent signs; decoding it as well would decode twice.
    text = value if value.startswith("{") else unescaped(value)
    if (
        _HALF_A_PAIR.search(text)
        or text.count("{") + text.count("[") > 10 * _MAX_DEPTH
        or json_depth(text) > _MAX_DEPTH
    ):
        raise Odd
    found = json.loads(text, object_pairs_hook=_unique, parse_int=whole, parse_float=_finite, parse_constant=_refused)
    if not isinstance(found, dict):
        raise Odd
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Odd
    return found


def _finite(text: str) -> float:
    found = float(text)
    if found in {float("inf"), float("-inf")}:
        raise Odd
    return found


def _refused(_: str) -> NoReturn:
    raise Odd


def whole(text: str) -> int:
    """A number of at most 15 ASCII digits, as JavaScript holds them exactly, which may be negative.

    Raises:
        ValueError: It is none.
    """
    if not _DIGITS.fullmatch(text.removeprefix("-")):
        raise Odd
    return int(text)


def moment(text: object) -> datetime:
    """A time as JavaScript's `toISOString` writes it.

    Raises:
        ValueError: It is none, or lies before consent tools or more than a day ahead.
    """
    found = _ISO.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Odd
    *parts, thousandths = map(int, found.groups())
    year, month, day, hour, minute, second = parts
    return _plausible(datetime(year, month, day, hour, minute, second, thousandths * 1000, tzinfo=timezone.utc))


def moment_of(number: object, *, per_second: int = 1000) -> datetime:
    """A time as a number since 1970.

    Args:
        number: The number, milliseconds unless said otherwise.
        per_second: How many are a second.

    Raises:
        ValueError: It is none, or lies before consent tools or more than a day ahead.
    """
    # The Boolean True is an int too.
    if type(number) is not int or not 0 <= number < 10**14:
        raise Odd
    return _plausible(_EPOCH + timedelta(milliseconds=number * 1000 // per_second))


def is_over(number: object) -> bool:
    """Whether a time in milliseconds has passed; None is none.

    Raises:
        ValueError: It is no whole number.
    """
    if number is None:
        return False
    if type(number) is not int:
        raise Odd
    return number <= now().timestamp() * 1000


def _plausible(found: datetime) -> datetime:
    if not _EARLIEST <= found <= now() + _AHEAD:
        raise Odd
    return found


def consent_id(text: object) -> str:
    """An id as tools make them.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(text, str) or not 0 < len(text) <= MAX_ID_LENGTH or not text.isascii() or not text.isprintable():
        raise Odd
    if text != text.strip():
        raise Odd
    return text


def language_tag(text: object) -> str:
    """A language, as sites name them (RFC 5646, 2.1).

    Raises:
        ValueError: It is none.
    """
    if not isinstance(text, str) or _TAG.fullmatch(text) is None:
        raise Odd
    return text


def pairs(text: str, between: str, within: str) -> dict[str, str]:
    """Pairs of a flat text, such as ``a:1,b:0``; each name once.

    Args:
        text: The text.
        between: What stands between pairs.
        within: What stands between a name and its value.

    Raises:
        ValueError: A pair has no name or nothing between, or a name is there twice and disagrees.
    """
    found: dict[str, str] = {}
    for pair in text.split(between):
        name, is_pair, value = pair.partition(within)
        if not name or not is_pair or found.setdefault(name, value) != value:
            raise Odd
    return found


def truth(value: object) -> bool:
    """A Boolean of JSON, and no number.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, bool):
        raise Odd
    return value


def texts(value: object) -> frozenset[str]:
    """The texts of a list of JSON; what else it holds is left out.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, list):
        raise Odd
    return frozenset(each for each in value if isinstance(each, str))
