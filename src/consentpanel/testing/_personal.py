"""What looks like personal data in a message, told by place and kind, never by value."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from consentpanel._vendor import PERSONAL
from consentpanel.testing._assertions import path_text, walk
from consentpanel.testing._sent import SentMessage

_STRUCTURAL = frozenset({"token", "$token", "$insert_id", "mp_lib", "$lib_version", "time", "$time"})
_OFF = (0, "0")

_EMAIL = re.compile(r"[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_PHONES = (
    re.compile(r"(?<![\w.])\+\d(?:[ ().\-/]{0,2}\d){6,14}(?!\d)", re.ASCII),
    re.compile(r"(?<![\w.+-])\(?\d{3}\)?[ .-]{1,2}\d{3}[ .-]\d{4}(?![\w-])", re.ASCII),
    re.compile(r"(?<![\w.+-])\(?0\d{1,4}\)?[ /-]{1,2}\d{2,8}(?:[ -]?\d{2,4}){0,4}(?![\w:-])", re.ASCII),
    re.compile(r"(?<![\w.+-])0[1-9]\d{8,9}(?![\w-])", re.ASCII),
)
_FEWEST_DIGITS = 9
_LARGEST_BYTE = 255
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{2,39}(?:\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])", re.ASCII)


def personal_places(number: int, message: SentMessage) -> Iterator[str]:
    """Each place in a message that looks personal, with its kind.

    Args:
        number: The message's number among all, for the text.
        message: The message.
    """
    for path, name, value in walk(message.payload):
        kind = _kind_of(name, value)
        if kind is not None:
            yield f"#{number} to {message.endpoint}: {path_text(map(_shown, path))}: {kind}"


def _kind_of(name: str, value: object) -> str | None:
    if name in PERSONAL and not (name in {"ip", "$ip"} and value in _OFF):
        return "a personal property of the vendor"
    in_name = kind_of_text(name)
    if in_name is not None:
        return f"{in_name} in the name of a property"
    if not isinstance(value, str):
        return None
    kind = kind_of_text(value)
    return kind if name not in _STRUCTURAL or kind == "an e-mail address" else None


def kind_of_text(text: str) -> str | None:
    """The kind of personal data that a text seems to hold, or None.

    Example:
        >>> kind_of_text("call +49 30 1234567"), kind_of_text("2026-05-01T10:00:00"), kind_of_text("fe80::1")
        ('a telephone number', None, 'an IP address')
    """
    if "@" in text and _EMAIL.search(text):
        return "an e-mail address"
    if any(_is_ip(found[0]) for pattern in (_IPV4, _IPV6) for found in pattern.finditer(text)):
        return "an IP address"
    if any(_is_phone(found[0]) for pattern in _PHONES for found in pattern.finditer(text)):
        return "a telephone number"
    return None


def _is_ip(text: str) -> bool:
    if text == "::" or (":" not in text and "." not in text):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # With leading zeros it is no valid address, but nobody writes four such numbers for anything else.
        return ":" not in text and all(int(part) <= _LARGEST_BYTE for part in text.split("."))
    return True


def _is_phone(text: str) -> bool:
    return text.startswith("+") or sum(character.isdigit() for character in text) >= _FEWEST_DIGITS


def _shown(name: str) -> str:
    """The name of a property, unless it is personal itself."""
    kind = kind_of_text(name)
    return name if kind is None else f"<{kind}>"
