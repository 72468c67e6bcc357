"""Small pieces of HTML, escaped where they are made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape
from typing import Any

from consentpanel.transparency._printable import printable

# Not the space that does not break, which belongs to a language.
_SPACES = re.compile(r"[ \t-\r]+")
#: Addresses that a link may lead to; all else stays text.
_SCHEMES = ("https://", "http://", "mailto:")


def text(said: str) -> str:
    """Text, in which nothing is markup and nothing hides or reorders what stands beside it."""
    return escape(printable(_SPACES.sub(" ", said)))


def attributes(given: dict[str, str | bool | None]) -> str:
    """Attributes of an element; one that is True stands alone, one that is False or None is left out."""
    parts: list[str] = []
    for name, value in given.items():
        if value is True:
            parts.append(f" {name}")
        elif value is not None and value is not False:
            parts.append(f' {name}="{escape(printable(value))}"')
    return "".join(parts)


def element(name: str, content: str, /, **given: str | bool | None) -> str:
    """An element around content that is HTML already; ``class_`` is ``class``, and ``aria_label`` is ``aria-label``."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in given.items()}
    return f"<{name}{attributes(named)}>{content}</{name}>"


def void(name: str, /, **given: str | bool | None) -> str:
    """An element without content, such as an input."""
    return f"<{name}{attributes({key.rstrip('_').replace('_', '-'): value for key, value in given.items()})}>"


def joined(parts: Iterable[str]) -> str:
    """Several pieces, each in a line; those that are empty are left out."""
    return "\n".join(part for part in parts if part)


def linked(said: str, target: str) -> str:
    """Text in which an address, where it stands, is a link; one that no link may lead to stays text."""
    is_mail = "@" in target and not any(each in target for each in " :/?&<>\"'")
    address = f"mailto:{target}" if is_mail else target
    if not address.startswith(_SCHEMES):
        return text(said)
    return text(said).replace(text(target), element("a", text(target), href=address))


def json_in_page(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element, or begins a comment."""
    dumped = json.dumps(value, sort_keys=True)
    return dumped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
