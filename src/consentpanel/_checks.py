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


def seconds(name: str, value: object) -> float:
    """The value when it is a number of seconds above 0.

    Raises:
        ConfigurationError: It is not; the text names the argument.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 86_400:
        raise ConfigurationError(f"{name} must be a number of seconds above 0")
    return float(value)
