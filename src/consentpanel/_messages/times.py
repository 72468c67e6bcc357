"""Reads the times that the vendor takes: seconds or milliseconds since 1970, or ISO 8601 text."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECONDS_FROM = 1e11
# Shorter digits may as well be a year or a date ("2026", "20260131"); the vendor takes no time before 1971.
_NUMBER = re.compile(r"[+-]?\d{9,20}(?:\.\d{1,20})?", re.ASCII)
_ISO = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)


def read_time(value: Any) -> datetime:
    """The moment that a time on the wire says, in UTC.

    Args:
        value: A number, or its text of nine digits or more: seconds since 1970 UTC, or milliseconds from 1e11 on,
            as the vendor reads it; or an ISO 8601 text, in UTC when it names no offset.

    Raises:
        ValueError: It says no moment between the years 1 and 9999. The text holds no part of the value.

    Example:
        >>> read_time(0), read_time("2026-01-31T12:00:00+01:00")
        (datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc), datetime.datetime(2026, 1, 31, 11, 0, tzinfo=datetime.timezone.utc))
    """
    # A subclass of str may answer for another text than the one it is written as.
    moment = _from_text(str.__str__(value)) if isinstance(value, str) else _from_number(value)
    if moment is None:
        raise ValueError("not a time")
    return moment


def moment_of(value: object) -> datetime | None:
    """The moment that a message's own ``time`` says: a number of seconds, or of milliseconds from 1e11 on.

    Returns:
        The moment, in UTC; None for anything else, which nobody can judge.

    Example:
        >>> moment_of(86_400), moment_of("1970-01-02")
        (datetime.datetime(1970, 1, 2, 0, 0, tzinfo=datetime.timezone.utc), None)
    """
    return _from_number(value)


def _from_text(text: str) -> datetime | None:
    text = text.strip() if len(text) <= 64 else ""
    if _NUMBER.fullmatch(text):
        return _from_number(float(text))
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    micros = int((found[7] or "0").ljust(6, "0")[:6])
    zone = found[8]
    offset = timedelta()
    if zone and zone not in "Zz":
        digits = zone[1:].replace(":", "")
        hours, minutes = int(digits[:2]), int(digits[2:])
        if hours > 23 or minutes > 59:
            return None
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
    try:
        return datetime(year, month, day, hour, minute, second, micros, timezone.utc) - offset
    except (ValueError, OverflowError):
        return None


def _from_number(number: object) -> datetime | None:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    try:
        seconds = float(int.__index__(number)) if isinstance(number, int) else float.__float__(number)
        if not math.isfinite(seconds):
            return None
        return _EPOCH + timedelta(seconds=seconds / 1000 if abs(seconds) >= _MILLISECONDS_FROM else seconds)
    except OverflowError:
        return None
