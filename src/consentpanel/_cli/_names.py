"""Names of properties as a report may show them: the key of a dict can be a person's address or number, which is a value."""

from __future__ import annotations

import re

from consentpanel.transparency._printable import printable

#: Longest name or path that is shown.
MAX_NAME = 128

# Numbers of six digits or more, UUIDs and digests: what applications name people by; a year or a version is shorter.
_PERSONAL_KEY = re.compile(
    r"(?P<number>\+?[0-9]{6,})|(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})|(?P<hash>[0-9a-f]{16,})",
    re.ASCII | re.IGNORECASE,
)


def cut(path: str, longest: int = MAX_NAME) -> str:
    """A path that is at most so long."""
    return path if len(path) <= longest else path[: longest - 1] + "…"


def shown_step(step: str) -> str:
    """A step of a path, unless it is a number or digest by which people are named."""
    name = step.rstrip("[]")
    personal = _PERSONAL_KEY.fullmatch(name)
    return f"<{personal.lastgroup}>{step[len(name) :]}" if personal else printable(step)
