"""The forms in which personal data may hide in a text: other digits, invisible characters, escapes."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any
from urllib.parse import unquote

from consentpanel._messages.wire import dumps

#: How often a text is percent-decoded.
ROUNDS = 3
#: How many texts of JSON inside a text of JSON are opened.
_DEEPEST = 3

# Default_Ignorable_Code_Point of Unicode: what a reader does not see.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
#: The full stop that a resolver takes for a dot (RFC 3490, section 3.1) and that NFKC leaves as it is.
_DOTS = {0x3002: "."}


def in_ascii_digits(text: str) -> str:
    """The text with every decimal digit of Unicode written in ASCII; as long as before."""
    if text.isascii():
        return text
    return _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


def is_escaped(text: str) -> bool:
    """Whether percent-decoding changes the text."""
    return "%" in text and _ESCAPE.search(text) is not None


def visible(text: str) -> str:
    """The text in Unicode's form NFKC, without characters that nobody sees."""
    if text.isascii():
        return text
    return in_ascii_digits(unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))).translate(_DOTS)


def span_in(text: str, start: int, end: int) -> tuple[int, int]:
    r"""Where a span of `visible(text)` stands in the text itself; the whole text when that cannot be told.

    Example:
        >>> span_in("to \uff41\u200bda@shop.example!", 3, 19)
        (3, 20)
    """
    parts: list[str] = []
    places: list[int] = []
    at = 0
    while at < len(text):
        until = at + 1
        while until < len(text) and unicodedata.combining(text[until]):
            until += 1
        part = visible(text[at:until])
        parts.append(part)
        places += [at] * len(part)
        at = until
    if "".join(parts) != visible(text):
        return 0, len(text)
    return places[start], places[end] if end < len(places) else len(text)


def decoded(text: str) -> tuple[list[str], bool]:
    """The text after each round of percent-decoding, also with each ``+`` as a space; and whether it came to rest."""
    texts: list[str] = []
    for _ in range(ROUNDS):
        if not is_escaped(text):
            break
        text = unquote(text)
        texts.append(visible(text))
        if "+" in text:
            texts.append(visible(text.replace("+", " ")))
    return texts, not is_escaped(text)


def strings_in(text: str) -> list[str]:
    """The strings, keys and numbers of a text that is a JSON object or list, and of such texts inside it."""
    found: list[str] = []
    _open(text, found, 0)
    return found


def _open(text: str, found: list[str], depth: int) -> None:
    if depth >= _DEEPEST or text.lstrip()[:1] not in ("{", "["):
        return
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            found.extend(node)
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, str):
            found.append(node)
            _open(node, found, depth + 1)
        elif not isinstance(node, bool) and node is not None:
            found.append(dumps(node))
