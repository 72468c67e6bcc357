"""The same with Django's own test runner: `python manage.py test`."""

from __future__ import annotations

from django.test import TestCase

from consentpanel.testing import ConsentPanelTestMixin


class OrderTest(ConsentPanelTestMixin, TestCase):
    """An order, before and after consent."""

    def order(self) -> None:
        # A TestCase never commits, so what waits for the commit is run here.
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post("/", {"product": "coffee", "quantity": "1", "email": "ann@shop.example"})

    def test_a_denial_is_obeyed(self) -> None:
        self.client.post("/consent/", {"analytics": "deny"})
        self.order()
        self.consentpanel_outbox.assert_nothing_sent()

    def test_a_grant_is_obeyed(self) -> None:
        self.client.post("/consent/", {"analytics": "grant"})
        self.order()
        self.consentpanel_outbox.assert_tracked("Order placed", properties={"product": "coffee"})
