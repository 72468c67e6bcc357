"""The header ``Set-Cookie`` of the visitors' cookie, for what has no framework that writes it."""

from __future__ import annotations

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
