"""Tools for the tests of applications that use consentpanel, and of registries that others write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consentpanel.testing._fake import FakeTransport
    from consentpanel.testing._mixin import ConsentPanelTestMixin
    from consentpanel.testing._privacy_api import FakePrivacyAPI
    from consentpanel.testing._promises import assert_keeps_promises
    from consentpanel.testing._sent import SentMessage
    from consentpanel.testing.registry_contract import RegistryContract

__all__ = [
    "ConsentPanelTestMixin",
    "FakePrivacyAPI",
    "FakeTransport",
    "RegistryContract",
    "SentMessage",
    "assert_keeps_promises",
]

_HOMES = {
    "ConsentPanelTestMixin": "_mixin",
    "FakePrivacyAPI": "_privacy_api",
    "FakeTransport": "_fake",
    "RegistryContract": "registry_contract",
    "SentMessage": "_sent",
    "assert_keeps_promises": "_promises",
}


def __getattr__(name: str) -> object:
    # Not imported above: the pytest plugin lives in this package and is loaded by every pytest run.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
