"""Text of anybody's, made harmless for a terminal and a page."""

from __future__ import annotations

import re

# Controls, line separators, halves of surrogate pairs, and what reorders or hides text (Unicode, 23; UTS 55). The joiners
# and the soft hyphen stay: words are written with them.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    r"""The text in one line, with an escape in the place of each character that is no letter, mark, sign or space.

    Example:
        >>> printable("a\x1b[31m\nb\u202e")
        'a\\x1b[31m\\nb\\u202e'
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable_json(text: str) -> str:
    """JSON that was written with its letters as they are, with an escape in the place of what `printable` escapes."""
    lines = (_HIDDEN.sub(lambda found: _escaped(found[0]), line) for line in text.split("\n"))
    return "\n".join(lines)


def _escaped(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
