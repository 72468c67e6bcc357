"""The shop as a Django app; the analytics client is built once, when Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings

from consentpanel import BackgroundConsumer, Mixpanel
from consentpanel.registry import SQLiteRegistry
from shop.analytics import POLICY


class ShopConfig(AppConfig):
    """Holds the consent registry and the analytics client of the process."""

    name = "shop"
    registry: SQLiteRegistry
    mp: Mixpanel

    def ready(self) -> None:
        """Build both from the settings; a wrong configuration stops the start, not a request."""
        self.registry = SQLiteRegistry(
            settings.CONSENT_REGISTRY, required_policy_version=settings.PRIVACY_POLICY_VERSION
        )
        self.mp = Mixpanel(
            settings.MIXPANEL_TOKEN,
            BackgroundConsumer(api_host=settings.MIXPANEL_API_HOST),
            registry=self.registry,
            policy=POLICY,
        )
