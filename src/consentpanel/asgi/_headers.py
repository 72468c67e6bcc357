"""What a response says of the visitors' cookie, and of what it depends on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from consentpanel._visits import Visit
from consentpanel._visits.set_cookie import set_cookie

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


def with_cookie(headers: Headers, visit: Visit, *, is_secure: bool, is_varying: bool) -> list[tuple[bytes, bytes]]:
    """The headers of a response, with what it says of the visitors' cookie.

    Args:
        headers: Those of the application.
        visit: The request's.
        is_secure: Whether it came by HTTPS.
        is_varying: Whether a cache may keep it, which is then told what it depends on.
    """
    found = list(headers)
    if (cookie := set_cookie(visit, is_secure=is_secure)) is not None:
        found.append((b"set-cookie", cookie.encode("latin-1")))
    return _varying(found, ("Cookie", "Sec-GPC")) if is_varying and visit.was_asked else found


def _varying(headers: list[tuple[bytes, bytes]], names: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """Headers of a response that say by which ones of the request it varies (RFC 9110, 12.5.5)."""
    said = [
        part.strip()
        for name, value in headers
        if name.lower() == b"vary"
        for part in value.decode("latin-1").split(",")
    ]
    lower = {each.lower() for each in said}
    if "*" in lower:
        return headers
    said += [each for each in names if each.lower() not in lower]
    return [
        *((name, value) for name, value in headers if name.lower() != b"vary"),
        (b"vary", ", ".join(said).encode("latin-1")),
    ]
