"""Tools for the tests of applications that use consentpanel, and of registries that others write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentpanel._exports import at_first_use

if TYPE_CHECKING:
    from consentpanel.testing._django_contract import DjangoRegistryContract
    from consentpanel.testing._fake import FakeTransport
    from consentpanel.testing._mixin import ConsentPanelTestMixin
    from consentpanel.testing._privacy_api import FakePrivacyAPI
    from consentpanel.testing._promises import assert_keeps_promises
    from consentpanel.testing._sent import SentMessage
    from consentpanel.testing.registry_contract import RegistryContract

__all__ = [
    "ConsentPanelTestMixin",
    "DjangoRegistryContract",
    "FakePrivacyAPI",
    "FakeTransport",
    "RegistryContract",
    "SentMessage",
    "assert_keeps_promises",
]

# At first use: the pytest plugin lives in this package and is loaded by every pytest run.
__getattr__, __dir__ = at_first_use(
    globals(),
    {
        "ConsentPanelTestMixin": "_mixin",
        "DjangoRegistryContract": "_django_contract",
        "FakePrivacyAPI": "_privacy_api",
        "FakeTransport": "_fake",
        "RegistryContract": "registry_contract",
        "SentMessage": "_sent",
        "assert_keeps_promises": "_promises",
    },
)
