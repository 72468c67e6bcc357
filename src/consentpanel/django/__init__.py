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
    from consentpanel.django.client import (
        alias_on_commit,
        group_delete_on_commit,
        group_remove_on_commit,
        group_set_on_commit,
        group_set_once_on_commit,
        group_union_on_commit,
        group_unset_on_commit,
        group_update_on_commit,
        mixpanel,
        people_append_on_commit,
        people_clear_charges_on_commit,
        people_delete_on_commit,
        people_increment_on_commit,
        people_remove_on_commit,
        people_set_on_commit,
        people_set_once_on_commit,
        people_track_charge_on_commit,
        people_union_on_commit,
        people_unset_on_commit,
        people_update_on_commit,
        track_on_commit,
    )
    from consentpanel.django.middleware import ConsentMiddleware, RequestConsent
    from consentpanel.django.outbox import DjangoOutbox
    from consentpanel.django.registry import DjangoRegistry
    from consentpanel.django.signals import consent_granted, consent_withdrawn

__all__ = [
    "ConsentMiddleware",
    "DjangoOutbox",
    "DjangoRegistry",
    "RequestConsent",
    "alias_on_commit",
    "consent_granted",
    "consent_withdrawn",
    "group_delete_on_commit",
    "group_remove_on_commit",
    "group_set_on_commit",
    "group_set_once_on_commit",
    "group_union_on_commit",
    "group_unset_on_commit",
    "group_update_on_commit",
    "mixpanel",
    "people_append_on_commit",
    "people_clear_charges_on_commit",
    "people_delete_on_commit",
    "people_increment_on_commit",
    "people_remove_on_commit",
    "people_set_on_commit",
    "people_set_once_on_commit",
    "people_track_charge_on_commit",
    "people_union_on_commit",
    "people_unset_on_commit",
    "people_update_on_commit",
    "track_on_commit",
]

_HOMES = {
    "ConsentMiddleware": "middleware",
    "RequestConsent": "middleware",
    "DjangoOutbox": "outbox",
    "DjangoRegistry": "registry",
    "consent_granted": "signals",
    "consent_withdrawn": "signals",
}
# At first use: models can be imported only when Django's apps are there.
__getattr__, __dir__ = at_first_use(globals(), {**dict.fromkeys(__all__, "client"), **_HOMES})
