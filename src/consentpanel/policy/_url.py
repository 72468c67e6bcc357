"""What may be left of a URL: no user, no password, no fragment, and only the parameters that are named."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus, urlsplit

from consentpanel.policy._detect.normalize import ROUNDS, is_percent_encoded, visible

#: The parameters of a campaign, which are kept when none is named.
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")

# Controls and spaces, which readers strip or encode, and the backslash, which some take for a slash (WHATWG URL, 4.4).
_ODD = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|([^:\[\]]+))(?::[0-9]*)?")
# What no name of a host holds once it is decoded (WHATWG URL, 3.1, and what RFC 3986 calls sub-delims).
_NO_HOST = re.compile(r"[\s\x00-\x20!-,/:-@\[-^`{-\x7f]")
# A user inside: of a URL in the path or in a parameter, or where a server takes the path for a URL.
_USER_INSIDE = re.compile(r"[/\\:][/\\][^/\\?#]*@")
# ;jsessionid=... is a session, not a place; some servers decode before they look for it.
_SESSION = re.compile(r"(?:;|%(?:25)*3b)[^/]+", re.IGNORECASE)
_PARAMETER = re.compile(r"[&;][^&;]*")
# A number, or a UUID with or without its hyphens (RFC 9562, 4).
_ID = re.compile(r"\s*[-+]?\d+(?:[.,]\d+)*\s*|[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
# HTTP asks servers to take URLs of at least 8,000 octets (RFC 9110, 4.1).
_LONGEST = 8_192


def without_personal_parts(text: str, parameters: frozenset[str], *, hides_ids: bool, keeps_fragment: bool) -> str:
    """A URL without the parts that may say who follows it; unchanged when it has none.

    Args:
        text: A URL with a host, or a path that starts with one slash.
        parameters: Names of the parameters that stay.
        hides_ids: Whether a segment of the path that is a number or a UUID, or holds an ``@``, becomes ``*``.
        keeps_fragment: Whether the fragment stays.

    Raises:
        ValueError: It is no such URL, or a user may still stand in what would be left.
    """
    if len(text) > _LONGEST or _ODD.search(text):
        raise ValueError("not a URL")
    parts = urlsplit(text)
    # Where no host is, readers disagree about what stands behind two slashes.
    if not (parts.netloc or (not parts.scheme and text[:1] == "/" != text[1:2])):
        raise ValueError("not a URL")
    _ = parts.port  # raises for a port that is none
    host = parts.netloc.rpartition("@")[2]
    if parts.netloc and not _is_host(host):
        raise ValueError("not a URL")
    path = _SESSION.sub("", parts.path)
    if hides_ids:
        path = "/".join(map(_without_id, path.split("/")))
    before, *fragment = text.split("#", 1)
    # Put together by hand: `urlunsplit` may write the same URL in other bytes.
    left = [f"{text[: text.index(':')]}:" if parts.scheme else "", f"//{host}" if parts.netloc else "", path]
    query = _kept(parts.query, parameters)
    if query or (not parts.query and "?" in before):
        left.append(f"?{query}")
    if fragment and (keeps_fragment or not fragment[0]):
        left.append(f"#{fragment[0]}")
    whole = "".join(left)
    if _USER_INSIDE.search(_decoded(whole).partition("//")[2] if parts.netloc else _decoded(whole)):
        raise ValueError("a user in a URL")
    return whole


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and (found[1] is None or _NO_HOST.search(_decoded(found[1])) is None)


def _kept(query: str, parameters: frozenset[str]) -> str:
    # A semicolon parts parameters as well for some readers (HTML 4.01, B.2.2).
    each = _PARAMETER.findall(f"&{query}")
    kept = [one for one in each if unquote_plus(one[1:].partition("=")[0]) in parameters]
    # Signs between which there is nothing hold nothing to remove.
    return query if len(kept) == sum(len(one) > 1 for one in each) else "".join(kept)[1:]


def _without_id(segment: str) -> str:
    plain = _decoded(segment)
    return "*" if "@" in plain or any(map(_ID.fullmatch, plain.split("/"))) else segment


def _decoded(text: str) -> str:
    """What a reader sees, who may decode it more than once: as often as the detectors do.

    Raises:
        ValueError: It is still escaped then.
    """
    plain = visible(text)
    for _ in range(ROUNDS):
        if not is_percent_encoded(plain):
            return plain
        plain = visible(unquote(plain))
    if is_percent_encoded(plain):
        raise ValueError("escaped too often")
    return plain
