"""How packages hand on their public names: each by its package, and some at first use only."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import FunctionType
from typing import Any


def name_all(namespace: Mapping[str, Any]) -> None:
    """Says of each class and function in ``__all__`` that it comes from the package it is imported from.

    So pickles, tracebacks and help never name a private module.

    Args:
        namespace: The globals of the package or module that exports them.
    """
    for name in namespace["__all__"]:
        rename(namespace.get(name), name, namespace["__name__"])


def rename(thing: object, name: str, package: str) -> None:
    """Says of one class or function that it comes from its package, or from ``consentpanel`` when that exports it."""
    if isinstance(thing, (type, FunctionType)):
        thing.__module__ = "consentpanel" if name in sys.modules["consentpanel"].__all__ else package


def at_first_use(
    namespace: dict[str, Any], homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package whose names are loaded when they are used.

    Args:
        namespace: The globals of the package.
        homes: From a name to the module below the package in which it is written.
    """
    package = namespace["__name__"]

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(import_module(f"{package}.{homes[name]}"), name)
        rename(found, name, package)
        if getattr(found, "__module__", None) in {package, "consentpanel"}:
            # Not what a test has put there for a while.
            namespace[name] = found
        return found

    return find, lambda: sorted({*namespace, *namespace["__all__"]})
