"""The header ``Set-Cookie`` of the visitors' cookie, for what has no framework that writes it, and what a cache is told of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http.cookies import SimpleCookie
from typing import Any

from consentpanel._visits.consent import Visit
from consentpanel._visits.cookie import VisitorCookie


def set_cookie(visit: Visit, *, is_secure: bool) -> str | None:
    """What a response is to say of the visitors' cookie (RFC 6265, 4.1); None for nothing."""
    cookie = visit.cookie
    value = visit.cookie_to_set
    if value is None and not visit.is_cookie_over:
        return None
    written: SimpleCookie = SimpleCookie({cookie.name: value or ""})
    said = written[cookie.name]
    for name, each in _attributes(cookie, is_secure=is_secure).items():
        said[name] = each
    if value is None:
        said["max-age"], said["expires"] = 0, "Thu, 01 Jan 1970 00:00:00 GMT"
    return said.OutputString()


def _attributes(cookie: VisitorCookie, *, is_secure: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "max-age": cookie.max_age,
        "path": cookie.path,
        "samesite": cookie.same_site,
        "httponly": True,
        "secure": cookie.is_secure or is_secure,
    }
    return found if cookie.domain is None else {**found, "domain": cookie.domain}


def sets_cookie(visit: Visit) -> bool:
    """Whether the response says something of the visitors' cookie."""
    return visit.cookie_to_set is not None or visit.is_cookie_over


#: Headers that speak to caches on the way alone, and go before ``Cache-Control`` there (RFC 9213).
_OF_CACHES = re.compile(r"surrogate-control|(.+-)?cdn-cache-control")
_DIRECTIVE = re.compile(r'([^\s,="]+)(?:\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,]*))?')
#: What lets a cache keep a response for several people, or for ever.
_FOR_SEVERAL = frozenset({"public", "s-maxage", "proxy-revalidate", "immutable", "private"})


def for_one(headers: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """What is to be said of caches where a response sets the visitors' cookie, which nobody else may get out of one.

    ``Set-Cookie`` does not keep a cache from keeping a response (RFC 9111, 7.3).

    Args:
        headers: Those of the response.

    Returns:
        By name the headers to set, or None for one to take away.
    """
    said = list(headers)
    found: dict[str, str | None] = {name: None for name, _ in said if _OF_CACHES.fullmatch(name.lower())}
    control = ", ".join(value for name, value in said if name.lower() == "cache-control")
    directives = [(match[1].lower(), match[2], match[0]) for match in _DIRECTIVE.finditer(control)]
    # With names of headers behind it, `private` is about those alone.
    if not any(name == "no-store" or (name == "private" and value is None) for name, value, _ in directives):
        kept = [text for name, _, text in directives if name not in _FOR_SEVERAL]
        found["Cache-Control"] = ", ".join(["private", *kept])
    return found


def with_cookie(
    headers: Iterable[tuple[str, str]], visit: Visit, *, is_secure: bool, is_kept: bool = True
) -> list[tuple[str, str]]:
    """The headers of a response, with what it says of the visitors' cookie.

    Args:
        headers: Those of the application.
        visit: The request's.
        is_secure: Whether it came by HTTPS.
        is_kept: Whether a cache may keep it, which is then told what it depends on.
    """
    found = list(headers)
    if is_kept and sets_cookie(visit):
        changed = {name.lower(): (name, value) for name, value in for_one(found).items()}
        found = [(name, value) for name, value in found if name.lower() not in changed]
        found += [(name, value) for name, value in changed.values() if value is not None]
    if (cookie := set_cookie(visit, is_secure=is_secure)) is not None:
        found.append(("Set-Cookie", cookie))
    return _varying(found, ("Cookie", "Sec-GPC")) if is_kept and visit.was_asked and not visit.is_for_all else found


def _varying(headers: list[tuple[str, str]], names: Iterable[str]) -> list[tuple[str, str]]:
    """Headers of a response that say by which ones of the request it varies (RFC 9110, 12.5.5)."""
    said = [part.strip() for name, value in headers if name.lower() == "vary" for part in value.split(",")]
    lower = {each.lower() for each in said}
    if "*" in lower:
        return headers
    said += [each for each in names if each.lower() not in lower]
    return [*((name, value) for name, value in headers if name.lower() != "vary"), ("Vary", ", ".join(said))]
