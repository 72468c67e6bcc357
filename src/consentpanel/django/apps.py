"""The app of Django."""

from __future__ import annotations

from django.apps import AppConfig


class ConsentPanelConfig(AppConfig):
    """The app ``consentpanel``: nothing is opened, and no client built, before it is used."""

    name = "consentpanel.django"
    label = "consentpanel"
    verbose_name = "Consent"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Has the setting checked, and log-ins, deletions and tests that override the setting heard of."""
        from consentpanel.django import checks, conf, receivers

        checks.register()
        conf.connect()
        receivers.connect()
