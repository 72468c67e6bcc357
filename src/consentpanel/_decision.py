"""Where pickles look for decisions when they were made before each public name had a home."""

from consentpanel._messages.decision import Decision, Outcome, Reason

__all__ = ["Decision", "Outcome", "Reason"]
