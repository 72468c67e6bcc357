"""The few errors that consentpanel raises, each named for what the caller can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentpanel._public import public

if TYPE_CHECKING:
    from consentpanel._messages.decision import Decision


@public("consentpanel")
class ConsentPanelError(Exception):
    """The parent of every error that consentpanel raises on its own account.

    Example:
        >>> issubclass(ConfigurationError, ConsentPanelError)
        True
    """


@public("consentpanel")
class ConfigurationError(ConsentPanelError, ValueError):
    """What was configured cannot work; the text names the argument, what came and what was expected.

    Raised when a client, a policy, a registry or a transport is built, never by a tracking call
    (contract rule 1.8).
    """


@public("consentpanel")
class InvalidRecordError(ConsentPanelError, ValueError):
    """A consent record, or a question about one, is malformed: a naive time, an empty id, a wrong type."""


@public("consentpanel")
class RegistryError(ConsentPanelError):
    """A registry could not answer or could not write. The gate treats it as a denial (contract rule 2.6)."""


@public("consentpanel")
class MessageError(ConsentPanelError):
    """A message was not sent because something failed, and the client was built with ``on_error="raise"``.

    Attributes:
        decision: The `Decision` that says why. It holds no personal value (contract rule 4.2).
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"message not sent: {decision.reason.value}")
        self.decision = decision

    def __reduce__(self) -> tuple[type[MessageError], tuple[Decision]]:
        return (type(self), (self.decision,))
