"""Names a public class or function by the package that it is imported from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T", bound=Callable[..., object])


def public(home: str) -> Callable[[_T], _T]:
    """A decorator that sets ``__module__``, so that pickles, tracebacks and help never name a private module.

    Args:
        home: The package, such as ``"consentpanel.registry"``.
    """

    def named(thing: _T) -> _T:
        thing.__module__ = home
        return thing

    return named
