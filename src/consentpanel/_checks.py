"""Checks of arguments that stand in several places. Each error names the argument, what came and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from consentpanel.errors import ConfigurationError


def several(name: str, what: str, given: object) -> tuple[Any, ...]:
    """The values; ConfigurationError, which names the argument and what it must be, for a text or a single value."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{name} must be {what}, not {type(given).__name__}")
    return tuple(given)


def several_texts(name: str, what: str, given: object) -> tuple[str, ...]:
    """As `several`, of non-empty texts alone."""
    texts = several(name, what, given)
    if not all(isinstance(text, str) and text for text in texts):
        raise ConfigurationError(f"{name} must hold non-empty str")
    return texts


def whole_number(name: str, value: object, least: int, most: int | None = None) -> int:
    """The value when it is an int within its limits.

    Raises:
        ConfigurationError: It is not; the text names the argument.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(f"{name} must be an int, not {type(value).__name__}")
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"{least} to {most}"
        raise ConfigurationError(f"{name} must be {limits}, not {value}")
    return value


def seconds(name: str, value: Any, *, may_be_zero: bool = False) -> float:
    """The value when it is a number of seconds above 0, or from 0 on, and at most a day.

    Raises:
        ConfigurationError: It is not; the text names the argument.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and (0 < value <= 86_400 or (may_be_zero and value == 0)):
        return float(value)
    lowest = ", 0 or more," if may_be_zero else " above 0"
    raise ConfigurationError(f"{name} must be a number of seconds{lowest} and at most a day")


#: What is said of an address in the place of a host.
NO_HOST = "api_host must be a host such as api-eu.mixpanel.com, not a URL"


def host(value: object) -> None:
    """Refuses what is no host, such as a URL.

    Raises:
        ConfigurationError: It is none.
    """
    if not isinstance(value, str) or not value.strip() or not {"/", " "}.isdisjoint(value):
        raise ConfigurationError(NO_HOST if isinstance(value, str) else f"{NO_HOST} or {type(value).__name__}")
