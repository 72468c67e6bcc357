"""The same with Django's own test runner: `python manage.py test`."""

from __future__ import annotations

from django.test import TestCase

from consentpanel.testing import ConsentPanelTestMixin


class OrderTest(ConsentPanelTestMixin, TestCase):
    """An order, before and after consent."""

    def say(self, *, analytics: bool) -> None:
        # As the panel's own page does: with the answer goes what it is to.
        shown = self.client.get("/privacy/api").json()
        answer = {name: shown[name] for name in ("notice_version", "language", "shown", "who")}
        answer["answers"] = {"analytics": analytics}
        self.client.post("/privacy/api", answer, content_type="application/json")

    def order(self) -> None:
        # A TestCase never commits, so what waits for the commit is run here.
        with self.captureOnCommitCallbacks(execute=True):
            self.client.post("/", {"product": "coffee", "quantity": "1", "email": "ann@shop.example"})

    def test_a_denial_is_obeyed(self) -> None:
        self.say(analytics=False)
        self.order()
        self.consentpanel_outbox.assert_nothing_sent()

    def test_a_grant_is_obeyed(self) -> None:
        self.say(analytics=True)
        self.order()
        self.consentpanel_outbox.assert_tracked("Order placed", properties={"product": "coffee"})
