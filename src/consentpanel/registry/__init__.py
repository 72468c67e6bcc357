"""Where consent is kept: the protocol, and the registries that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentpanel.registry._protocol import ConsentRegistry
from consentpanel.registry.cached import CachedRegistry
from consentpanel.registry.callable import CallableRegistry
from consentpanel.registry.memory import MemoryRegistry

if TYPE_CHECKING:
    from consentpanel.registry.sqlite import SQLiteRegistry

__all__ = ["CachedRegistry", "CallableRegistry", "ConsentRegistry", "MemoryRegistry", "SQLiteRegistry"]


def __getattr__(name: str) -> object:
    # At first use: a process that keeps consent elsewhere need not load SQLite.
    if name != "SQLiteRegistry":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from consentpanel.registry.sqlite import SQLiteRegistry

    globals()[name] = SQLiteRegistry
    return SQLiteRegistry


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
