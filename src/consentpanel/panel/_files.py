"""The panel's own files, which a browser keeps as long as they stay the same."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import attrs

from consentpanel.panel._http import Request, Response, answer

_KINDS = {
    "panel.css": ("static", "text/css; charset=utf-8"),
    "panel.js": ("static", "text/javascript; charset=utf-8"),
    "openapi.json": ("", "application/json; charset=utf-8"),
}
NAMES = frozenset(_KINDS)


@attrs.frozen
class File:
    """A file of the package.

    Attributes:
        kind: Its type.
        content: Its bytes.
        digest: Names these bytes.
    """

    kind: str
    content: bytes = attrs.field(repr=False)
    digest: str


@cache
def file_of(name: str) -> File:
    """A file of the package, read once."""
    folder, kind = _KINDS[name]
    content = (Path(__file__).parent / folder / name).read_bytes()
    return File(kind, content, hashlib.sha256(content).hexdigest()[:16])


def address_of(mount: str, name: str) -> str:
    """Where a file is: under another address once it is another one."""
    return f"{mount}/{name}?v={file_of(name).digest}"


def respond(request: Request) -> Response:
    """Answers with a file, or that it is still the same (RFC 9110, 13.1.2)."""
    found = file_of(request.name)
    tag = f'"{found.digest}"'
    is_named = request.asked("v") == found.digest
    kept = "public, max-age=31536000, immutable" if is_named else "no-cache"
    headers = (("ETag", tag), ("Cache-Control", kept))
    asked = {each.strip().removeprefix("W/") for each in request.header("if-none-match").split(",")}
    if tag in asked or "*" in asked:
        return answer(304, found.kind, b"", *headers)
    return answer(200, found.kind, found.content, *headers)
