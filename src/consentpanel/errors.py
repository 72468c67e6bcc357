"""The few errors that consentpanel raises, each named for what the caller can do about it."""

from __future__ import annotations

import sys

from consentpanel._exports import name_all


class ConsentPanelError(Exception):
    """The parent of every error that consentpanel raises on its own account.

    Example:
        >>> issubclass(ConfigurationError, ConsentPanelError)
        True
    """


class ConfigurationError(ConsentPanelError, ValueError):
    """What was configured cannot work; the text names the argument, what came and what was expected.

    Raised when a client, a policy, a registry or a transport is built, never by a tracking call.
    """


class InvalidRecordError(ConsentPanelError, ValueError):
    """A consent record, or a question about one, is malformed: a naive time, an empty id, a wrong type."""


class RegistryError(ConsentPanelError):
    """A registry could not answer or could not write. The gate treats it as a denial."""


def __getattr__(name: str) -> object:
    if name != "MessageError":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # It tells a decision, and so is written beside decisions, above this floor; the package knows where.
    return getattr(sys.modules["consentpanel"], name)


__all__ = ["ConfigurationError", "ConsentPanelError", "InvalidRecordError", "RegistryError"]
name_all(globals())
