"""The same with Django's own test runner: `python manage.py test`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.test import TestCase, override_settings

from consentpanel.testing import ConsentPanelTestMixin
from shop.analytics import shop_config


class OrderTest(ConsentPanelTestMixin, TestCase):
    """An order, before and after consent."""

    @classmethod
    def setUpClass(cls) -> None:
        """Keep the consent of the tests out of the shop's own registry."""
        super().setUpClass()
        directory = TemporaryDirectory(ignore_cleanup_errors=True)
        cls.addClassCleanup(directory.cleanup)
        registry = str(Path(directory.name, "consent.db"))
        with override_settings(CONSENT_REGISTRY=registry, MIXPANEL_TOKEN="TOKEN"):
            shop_config().ready()
        cls.addClassCleanup(shop_config().registry.close)

    def setUp(self) -> None:
        super().setUp()
        self.client.post("/consent/", {"analytics": "deny"})
        self.visitor_id = self.client.session["visitor_id"]

    def order(self) -> None:
        # A TestCase never commits, so what waits for the commit is run here.
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post("/", {"product": "coffee", "quantity": "1", "email": "ann@shop.example"})

    def test_a_denial_is_obeyed(self) -> None:
        self.order()
        self.consentpanel_outbox.assert_nothing_sent()

    def test_a_grant_is_obeyed(self) -> None:
        shop_config().registry.grant(self.visitor_id, policy_version=settings.PRIVACY_POLICY_VERSION)
        self.order()
        self.consentpanel_outbox.assert_tracked("Order placed", distinct_id=self.visitor_id)
