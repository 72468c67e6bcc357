"""The ways to make a value coarser: bucket, date, address prefix, decimals, band."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from consentpanel._checks import whole_number
from consentpanel._messages.times import read_time
from consentpanel.errors import ConfigurationError


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _number(value: Any) -> float:
    """A number, or the number that a text says; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    if isinstance(value, str) and len(value) > 64:  # no number that anybody wrote, and `float` reads any length
        raise ValueError
    number = float(value) if isinstance(value, str) else value
    if not math.isfinite(number):
        raise ValueError
    return number


def _into_buckets(width: Any) -> Callable[[Any], Any]:
    if not _is_finite(width) or width <= 0:
        raise ConfigurationError("bucket must be a number above 0")
    exact = Fraction(repr(width))

    def coarsen(value: Any) -> Any:
        # In binary floats 0.3 lies below the bucket of 0.3, and a large int moves to another bucket.
        lower = Fraction(repr(_number(value))) // exact * exact
        return int(lower) if isinstance(width, int) else float(lower)

    return coarsen


# How many characters of YYYY-MM-DD say it (ISO 8601).
_DATE_PARTS = {"day": 10, "month": 7, "year": 4}


def _into_dates(part: Any) -> Callable[[Any], Any]:
    if not isinstance(part, str) or part not in _DATE_PARTS:
        raise ConfigurationError("time must be 'day', 'month' or 'year'")

    def coarsen(value: Any) -> Any:
        moment = read_time(value)
        return moment.date().isoformat()[: _DATE_PARTS[part]]

    return coarsen


def _into_prefixes(bits: Any) -> Callable[[Any], Any]:
    # True takes away the last octet, and of IPv6 what lies inside one site, which has a /48 at most (RFC 6177).
    four, six = (24, 48) if bits is True else bits if isinstance(bits, tuple) and len(bits) == 2 else (None, None)
    for length, longest in ((four, 32), (six, 128)):
        if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= longest:
            raise ConfigurationError("ip must be True, or a tuple of the bits to keep, such as (24, 48)")

    def coarsen(value: Any) -> Any:
        if not isinstance(value, str):
            raise TypeError
        # An address has at most 45 characters (RFC 4291, 2.2); a longer text is none, or names a zone.
        address = ipaddress.ip_address(value.strip()[:64])
        if isinstance(address, ipaddress.IPv6Address):
            # A 6to4 address (RFC 3056) holds the whole IPv4 address in its first 48 bits.
            address = address.ipv4_mapped or address.sixtofour or address
        if isinstance(address, ipaddress.IPv4Address):
            return str(ipaddress.IPv4Network((int(address), four), strict=False).network_address)
        return str(ipaddress.IPv6Network((int(address), six), strict=False).network_address)

    return coarsen


def _into_decimals(decimals: Any) -> Callable[[Any], Any]:
    places = whole_number("decimals", decimals, 0)
    if places > 12:  # a float holds 15 digits, and a coordinate has three before the point
        raise ConfigurationError("decimals must be at most 12")
    return lambda value: round(float(_number(value)), places)


def _into_bands(bands: Any) -> Callable[[Any], Any]:
    ends = tuple(bands) if isinstance(bands, Sequence) and not isinstance(bands, (str, bytes)) else ()
    if not ends or not all(map(_is_finite, ends)) or any(high <= low for low, high in pairwise(ends)):
        raise ConfigurationError("bands must be rising numbers, such as (18, 25, 35)")
    whole = all(isinstance(end, int) for end in ends)

    def label(low: float, high: float) -> str:
        return f"{low}-{high - 1}" if whole else f"{low}-{high}"

    def coarsen(value: Any) -> Any:
        number = _number(value)
        if number < ends[0]:
            return f"<{ends[0]}"
        for low, high in pairwise(ends):
            if number < high:
                return label(low, high)
        return f"{ends[-1]}+"

    return coarsen


WAYS: Mapping[str, Callable[[Any], Callable[[Any], Any]]] = {
    "bucket": _into_buckets,
    "time": _into_dates,
    "ip": _into_prefixes,
    "decimals": _into_decimals,
    "bands": _into_bands,
}
