"""The error of a command that was called wrongly."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager


class UsageError(Exception):
    """A command cannot do what its arguments ask for; the text is for the person who typed them."""


@contextmanager
def usable(what: object, *errors: type[BaseException]) -> Generator[None]:
    """Turns such an error of the block into a `UsageError` that names what cannot be used."""
    try:
        yield
    except errors as error:
        # An OSError's own text would name the file a second time.
        problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UsageError(f"{what}: {problem}") from None
