"""Where consent is kept: the protocol, and the registries that come with the package."""

from consentpanel.registry._protocol import ConsentRegistry
from consentpanel.registry.cached import CachedRegistry
from consentpanel.registry.callable import CallableRegistry
from consentpanel.registry.memory import MemoryRegistry
from consentpanel.registry.sqlite import SQLiteRegistry

__all__ = ["CachedRegistry", "CallableRegistry", "ConsentRegistry", "MemoryRegistry", "SQLiteRegistry"]
