"""Secrets for keyed hashes: where they come from, and the one place that uses them."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable
from typing import TypeAlias, Union

from consentpanel.errors import ConfigurationError

#: The keyed hash of a text, HMAC-SHA-256 (RFC 2104) in hex.
Keyed: TypeAlias = Callable[[str], str]
#: The bytes, or a function that is called once for them.
Secret: TypeAlias = Union[bytes, Callable[[], bytes]]

# A key shorter than the hash makes HMAC weaker (RFC 2104, 3), and SHA-256 has 32 bytes.
SECRET_BYTES = 32


def from_environment(name: str) -> Secret:
    """A secret from an environment variable, read when a policy or an identity is built.

    Args:
        name: The variable; the UTF-8 bytes of its text are the secret, at least 32 of them.

    Raises:
        ConfigurationError: The variable's name is empty; at use, it is not set or shorter.

    Example:
        >>> import os
        >>> from consentpanel import FieldPolicy, pseudonymize
        >>> os.environ["ANALYTICS_SECRET"] = "2b7e151628aed2a6abf7158809cf4f3c"
        >>> policy = FieldPolicy(events={"plan": pseudonymize()}, secret=from_environment("ANALYTICS_SECRET"))
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError("from_environment() takes the name of a variable")

    def read() -> bytes:
        text = os.environ.get(name)
        if text is None:
            raise ConfigurationError(f"the environment variable {name} is not set, and is to hold a secret")
        return text.encode("utf-8", "surrogateescape")

    return read


def keyed_by(secret: object) -> Keyed:
    """The keyed hash under a secret, which stays in this closure: no `repr`, `vars` or pickle shows it.

    Raises:
        ConfigurationError: The secret is not bytes, or shorter than 32. The text does not quote it.
    """
    given = _called(secret) if callable(secret) else secret
    if not isinstance(given, bytes):
        raise ConfigurationError(f"secret must be bytes, or a function that returns them, not {type(given).__name__}")
    if len(given) < SECRET_BYTES:
        raise ConfigurationError(f"secret must have at least {SECRET_BYTES} bytes, not {len(given)}")

    def keyed(text: str) -> str:
        return hmac.new(given, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    return keyed


def fingerprint(keyed: Keyed | None) -> str | None:
    """Tells two secrets apart, and says nothing of either."""
    return None if keyed is None else keyed("")


def _called(secret: Callable[[], object]) -> object:
    problem = ""
    try:
        return secret()
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's function; its exception may hold the secret
        problem = type(error).__name__
    raise ConfigurationError(f"the function for the secret raised {problem}")
