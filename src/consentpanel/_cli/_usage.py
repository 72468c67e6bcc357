"""The error of a command that was called wrongly."""

from __future__ import annotations


class UsageError(Exception):
    """A command cannot do what its arguments ask for; the text is for the person who typed them."""
