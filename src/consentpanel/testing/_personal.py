"""What looks like personal data in a message, told by place and kind, never by value."""

from __future__ import annotations

from collections.abc import Iterable

from consentpanel._mixpanel.names import PERSONAL
from consentpanel.policy import detect
from consentpanel.testing._assertions import path_text, walk
from consentpanel.testing._sent import SentMessage

_STRUCTURAL = frozenset({"token", "$token", "$insert_id", "mp_lib", "$lib_version", "time", "$time"})
_OFF = (0, "0")

_KINDS = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "payment_card": "a payment card's number",
    "iban": "an IBAN",
    "ip_address": "an IP address",
    "us_ssn": "a US social security number",
    "secret": "a secret",
    "url_parameter": "a personal parameter of a URL",
    "encoded": "a text that is encoded more than three times",
}


def personal_places(messages: Iterable[SentMessage]) -> list[str]:
    """Each place in messages that looks personal, with its kind."""
    return [
        f"#{number} to {message.endpoint}: {path_text(map(_shown, path))}: {kind}"
        for number, message in enumerate(messages, 1)
        for path, name, value in walk(message.payload)
        if (kind := _kind_of(name, value)) is not None
    ]


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
    """The kind of personal data that a text holds, or None (`consentpanel.policy.detect`).

    Example:
        >>> kind_of_text("call +49 30 1234567"), kind_of_text("2026-05-01T10:00:00"), kind_of_text("fe80::1")
        ('a telephone number', None, 'an IP address')
    """
    found = detect(text)
    return _KINDS[found[0].kind] if found else None


def _shown(name: str) -> str:
    """The name of a property, unless it is personal itself."""
    kind = kind_of_text(name)
    return name if kind is None else f"<{kind}>"
