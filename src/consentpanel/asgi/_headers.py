"""What a response says of the visitors' cookie, and of what it depends on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from consentpanel._visits import Visit, set_cookie

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]


def with_cookie(headers: Headers, visit: Visit, *, is_secure: bool, is_varying: bool) -> list[tuple[bytes, bytes]]:
    """The headers of a response, with what it says of the visitors' cookie.

    Args:
        headers: Those of the application.
        visit: The request's.
        is_secure: Whether it came by HTTPS.
        is_varying: Whether a cache may keep it, which is then told what it depends on.
    """
    said = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    found = set_cookie.with_cookie(said, visit, is_secure=is_secure, is_kept=is_varying)
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in found]
