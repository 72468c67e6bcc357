"""Several values as the argument of an action or a policy, checked."""

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
