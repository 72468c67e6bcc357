"""What may be left of a URL: no user, no password, no fragment, and only the parameters that are named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus, urlsplit

#: The parameters of a campaign, which are kept when none is named.
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")

# Controls and spaces, which readers strip or encode, and the backslash, which some take for a slash (WHATWG URL, 4.4).
_ODD = re.compile(r"[\x00-\x20\x7f\\]")
# A number, or a UUID with or without its hyphens (RFC 9562, 4).
_ID = re.compile(r"\d+|[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
# An id may be percent-encoded more than once; the detectors decode as often.
_ROUNDS = 3
# HTTP asks servers to take URLs of at least 8,000 octets (RFC 9110, 4.1).
_LONGEST = 8_192


def without_personal_parts(text: str, parameters: frozenset[str], *, hides_ids: bool, keeps_fragment: bool) -> str:
    """A URL without the parts that may say who follows it; unchanged when it has none.

    Args:
        text: A URL with a host, or a path that starts with a slash.
        parameters: Names of the parameters that stay.
        hides_ids: Whether a segment of the path that is a number or a UUID, or holds an ``@``, becomes ``*``.
        keeps_fragment: Whether the fragment stays.

    Raises:
        ValueError: It is no such URL.
    """
    if len(text) > _LONGEST or _ODD.search(text):
        raise ValueError("not a URL")
    parts = urlsplit(text)
    if not (parts.netloc or (not parts.scheme and text.startswith("/"))):
        raise ValueError("not a URL")
    _ = parts.port  # raises for a port that is none
    host = parts.netloc.rpartition("@")[2]
    path = "/".join(_segment(segment, hides_ids=hides_ids) for segment in parts.path.split("/"))
    query = "&".join(_kept(parts.query.split("&"), parameters))
    # Put together by hand: `urlunsplit` may write the same URL in other bytes.
    left = [f"{text[: text.index(':')]}:" if parts.scheme else "", f"//{host}" if parts.netloc else "", path]
    if query:
        left.append(f"?{query}")
    if keeps_fragment and parts.fragment:
        left.append(f"#{parts.fragment}")
    return "".join(left)


def _kept(pieces: Iterable[str], parameters: frozenset[str]) -> Iterable[str]:
    return (piece for piece in pieces if unquote_plus(piece.partition("=")[0]) in parameters)


def _segment(segment: str, *, hides_ids: bool) -> str:
    name = segment.partition(";")[0]  # ;jsessionid=... is a session, not a place
    if not hides_ids:
        return name
    plain = name
    for _ in range(_ROUNDS):
        plain = unquote(plain)
    return "*" if "@" in plain or _ID.fullmatch(plain) else name
