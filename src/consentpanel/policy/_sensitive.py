"""Names that close a key below a deep keep: what logs a person in or pays for them."""

from __future__ import annotations

import re

#: Each closes a key that is it or has it among its words, in any spelling: ``api_key``, ``userApiKey``, ``X-API-Keys``.
SENSITIVE_NAMES = (
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "api key",
    "apikey",
    "access key",
    "private key",
    "authorization",
    "bearer",
    "credential",
    "cookie",
    "session id",
    "sessionid",
    "jsessionid",
    "phpsessid",
    "session key",
    "csrf",
    "xsrf",
    "csrfmiddlewaretoken",
    "jwt",
    "otp",
    "totp",
    "one time code",
    "cvv",
    "cvc",
    "ssn",
    "social security",
    "credit card",
    "creditcard",
    "card number",
    "cardnumber",
    "iban",
)

# A name in the middle of a word is none: `secretary`, `is_authenticated`, `author`.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_TERMS = tuple(f" {name} " for name in SENSITIVE_NAMES)
_LONGEST_NAME = 256


def is_sensitive(key: str) -> bool:
    """Whether a key is closed by its name.

    Example:
        >>> [is_sensitive(key) for key in ("accessToken", "API-Keys", "author", "secretary", "is_authenticated")]
        [True, True, False, False, False]
    """
    if len(key) > _LONGEST_NAME:
        return True  # nobody names a property so
    words = [word.casefold() for word in _WORD.findall(key)]
    text = f" {' '.join(words)} "
    singular = f" {' '.join(word.removesuffix('s') if len(word) > 3 else word for word in words)} "
    return any(term in text or term in singular for term in _TERMS)
