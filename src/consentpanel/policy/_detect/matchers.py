"""Where the built-in detectors find something in one form of a text, and how places become one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consentpanel.policy._detect.addresses import (
    emails,
    ipv4_addresses,
    ipv6_addresses,
    may_hold_secret,
    secrets,
    url_parameters,
)
from consentpanel.policy._detect.normalize import UNSPACED
from consentpanel.policy._detect.numbers import ibans, is_card, payment_cards, phones, us_ssns

REDACTED = "[redacted]"
#: The kind of a text that three rounds of percent-decoding do not bring to rest.
ENCODED = "encoded"

#: The kinds of personal data that are looked for unless a policy says otherwise.
KINDS = ("email", "phone", "payment_card", "iban", "ip_address", "us_ssn", "secret", "url_parameter")

#: A kind, and where: start and end.
Place = tuple[str, int, int]


def text_of(number: Any) -> str:
    """The JSON of a number; nothing for one with so many digits that Python may refuse to write it."""
    return repr(number) if isinstance(number, float) or -_LONG < number < _LONG else ""


def places_in(text: str) -> list[Place]:
    """What the built-in detectors find in a text with ASCII digits.

    A letter of a script without spaces may be part of an address, and ends every other word; in its place stands what ends
    a word and is no gap between digits.
    """
    found = _places_in(text)
    if not text.isascii():
        words = UNSPACED.sub("\x1f", text)
        if words != text:
            found += _places_in(words)
    return found


def _places_in(text: str) -> list[Place]:
    # Each is asked only when it could find something.
    if text.isdigit() and text.isascii():  # a superscript is a digit to Python, too
        return [("payment_card", 0, len(text))] if is_card(text) else []
    found: list[Place] = []
    if "@" in text:
        found += [("email", *span) for span in emails(text)]
    written = text.encode("ascii", "replace")
    if len(text) >= _SHORTEST_NUMBER:
        # As text again, in which Python finds a piece three times as fast as in bytes.
        digits = written.translate(_SHAPE, _GAPS).decode()
        if _EIGHT_DIGITS in digits or ("+" in text and _SEVEN_DIGITS in digits):
            found += [("phone", *span) for span in phones(text)]
            if _TWELVE_DIGITS in digits:
                found += [("payment_card", *span) for span in payment_cards(text)]
        if _EIGHT_DIGITS in digits or (len(text) >= _SHORTEST_IBAN and _TWO_DIGITS in digits):
            shape = written.translate(_SHAPE).decode()
            if _SSN in shape:
                found += [("us_ssn", *span) for span in us_ssns(text)]
            if _IBAN_INSIDE in shape or shape.startswith(_IBAN):
                found += [("iban", *span) for span in ibans(text)]
    if text.count(".") >= 3:
        found += [("ip_address", *span) for span in ipv4_addresses(text)]
    if ":" in text and ("::" in text or text.count(":") >= 6):
        found += [("ip_address", *span) for span in ipv6_addresses(text)]
    if len(text) >= _SHORTEST_SECRET and may_hold_secret(text, written):
        found += [("secret", *span) for span in secrets(text)]
    if "=" in text:
        found += [("url_parameter", *span) for span in url_parameters(text)]
    return found


#: What may stand between the digits of a number; a question mark stands for every character that is not ASCII.
_GAPS = b" .-/()?\t_"
# A text by the kinds of its characters: every digit is a 0, every letter an a, and the rest a hyphen.
_SHAPE = (
    bytes(ord("0" if chr(code).isdigit() else "a" if chr(code).isalpha() else "-") for code in range(128)) + b"-" * 128
)
# The least that a telephone number, a card, an SSN and an IBAN look like in that shape.
_TWO_DIGITS, _SEVEN_DIGITS, _EIGHT_DIGITS, _TWELVE_DIGITS = "0" * 2, "0" * 7, "0" * 8, "0" * 12
_SSN, _IBAN, _IBAN_INSIDE = "000-00-0000", "aa00", "-aa00"
_SHORTEST_NUMBER, _SHORTEST_IBAN = 7, 15
_SHORTEST_SECRET = 16
_LONG = 10**4300


def merged(places: Iterable[Place]) -> list[Place]:
    """Overlapping places as one, of the kind of the longest; of two as long, of the kind that errs less."""
    found: list[Place] = []
    rank = (0, 0)
    for kind, start, end in sorted(places, key=lambda place: place[1]):
        mine = end - start, -_DOUBTFUL.get(kind, 0)
        if found and start < found[-1][2]:
            before = found[-1]
            found[-1] = (kind if mine > rank else before[0], before[1], max(before[2], end))
            rank = max(rank, mine)
        else:
            found.append((kind, start, end))
            rank = mine
    return found


#: The kinds from the one with a check of its own to the one that is told by its shape.
_DOUBTFUL = {
    kind: doubt
    for doubt, kind in enumerate(
        ("iban", "email", "us_ssn", "payment_card", "ip_address", "url_parameter", "secret", "phone", ENCODED)
    )
}


def without(text: str, places: Iterable[Place]) -> str:
    """The text with each place redacted."""
    parts = []
    at = 0
    for _, start, end in merged(places):
        parts += [text[at:start], REDACTED]
        at = end
    return "".join((*parts, text[at:]))
