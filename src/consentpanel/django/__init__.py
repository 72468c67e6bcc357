"""At home in Django: one app, one setting, one middleware (extra ``django``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from consentpanel._exports import at_first_use
from consentpanel.errors import ConfigurationError

try:
    import_module("django")
except ImportError:
    raise ConfigurationError("consentpanel.django needs Django: pip install 'consentpanel[django]'") from None

if TYPE_CHECKING:
    from consentpanel.django.registry import DjangoRegistry
    from consentpanel.django.signals import consent_granted, consent_withdrawn

__all__ = ["DjangoRegistry", "consent_granted", "consent_withdrawn"]

# At first use: models can be imported only when Django's apps are there.
__getattr__, __dir__ = at_first_use(
    globals(), {"DjangoRegistry": "registry", "consent_granted": "signals", "consent_withdrawn": "signals"}
)
