"""Names that close a key below a deep keep: what logs a person in or pays for them."""

from __future__ import annotations

import re

#: Each closes a key that is it, has it among its words, in any spelling (``api_key``, ``userApiKey``, ``X-API-Keys``), or has
#: a word that ends in it (``accesstoken``).
SENSITIVE_NAMES = (
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "passwordhash",
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

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_CAPITALS = re.compile("[A-Z]{3,}")
_NAMES = frozenset(name.replace(" ", "") for name in SENSITIVE_NAMES)
# Other words end in these: `pallbearer`, `caliban`.
_ENDINGS = tuple(_NAMES - {"bearer", "iban"})
#: No other word begins so.
_BEGINNINGS = (
    "password",
    "passwd",
    "passphrase",
    "secretkey",
    "apikey",
    "accesskey",
    "privatekey",
    "creditcard",
    "cardnumber",
)
_MOST_LETTERS = max(map(len, _NAMES)) + len("s")
_LONGEST_KEY = 256


def is_sensitive(key: str) -> bool:
    """Whether a key is closed by its name.

    One of the names is several words of it, in any spelling, or ends one: people write compounds in one word, with what
    they are about last (`newpassword`). A name that begins a word or stands within it is none: `secretary`, `tokenize`.

    Args:
        key: The key, as `seen`.

    Example:
        >>> [is_sensitive(key) for key in ("accessToken", "API-Keys", "newpassword", "PassWord", "otp2")]
        [True, True, True, True, True]
        >>> [is_sensitive(key) for key in ("author", "secretary", "is_authenticated", "tokenize", "compass")]
        [False, False, False, False, False]
    """
    if len(key) > _LONGEST_KEY:
        return True  # nobody names a property so
    # In capitals with a small word behind (`OTPcode`) the last capital is the small word's, or not.
    if any(run.casefold() in _NAMES for run in _CAPITALS.findall(key)):
        return True
    words = [word.casefold() for word in _WORD.findall(key)]
    return any(
        word.startswith(_BEGINNINGS) or word.removesuffix("s").endswith(_ENDINGS) or _ends_in_name(words[:at])
        for at, word in enumerate(words, 1)
    )


def _ends_in_name(words: list[str]) -> bool:
    """Whether the last words together are one of the names, or its plural."""
    together = ""
    for word in reversed(words):
        together = word + together
        if len(together) > _MOST_LETTERS:
            return False
        if together in _NAMES or together.removesuffix("s") in _NAMES:
            return True
    return False
