"""The shop, as a visitor's browser sees it, and what of the visit leaves it."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from mixpanel import MixpanelException
from shop.models import Order

from consentpanel import ConsentStatus, Purpose
from consentpanel.django import DjangoRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consentpanel.testing import FakeTransport

ACCOUNT = {"username": "ann", "password1": "correct horse battery", "password2": "correct horse battery"}
ORDER = {"product": "tea", "quantity": "2", "email": "ann@shop.example"}


class Browser:
    """A browser that fills in forms: it loads the page first, and sends the page's token back."""

    def __init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True)

    def submit(self, address: str, fields: dict[str, str], page_at: str = "") -> int:
        page = self.client.get(page_at or address)
        token = page.cookies["csrftoken"].value
        return self.client.post(address, {**fields, "csrfmiddlewaretoken": token}).status_code

    @property
    def visitor_id(self) -> str:
        visitor_id: str = self.client.get("/thanks/").wsgi_request.consent.subject_id
        return visitor_id


@pytest.fixture
def browser() -> Iterator[Browser]:
    yield Browser()
    Order.objects.all().delete()
    User.objects.all().delete()


def test_an_order_is_tracked_after_consent(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    assert browser.submit("/consent/", {"analytics": "grant"}) == HTTPStatus.FOUND
    assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    consentpanel_outbox.assert_tracked(
        "Order placed",
        distinct_id=browser.visitor_id,
        properties={"product": "tea", "quantity": 2, "total": 9.0, "currency": "EUR"},
    )


def test_the_address_of_the_receipt_is_not_sent(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    browser.submit("/consent/", {"analytics": "grant"})
    browser.submit("/", ORDER)
    assert Order.objects.get().email == "ann@shop.example"
    assert [message.event for message in consentpanel_outbox.events] == ["Order placed", "Receipt sent"]
    assert not any("ann@shop.example" in message.raw for message in consentpanel_outbox.messages)


@pytest.mark.parametrize("answers", [[], ["deny"], ["grant", "deny"]], ids=["not asked", "denied", "withdrawn"])
def test_an_order_without_consent_is_taken_and_not_tracked(
    browser: Browser, consentpanel_outbox: FakeTransport, answers: list[str]
) -> None:
    for answer in answers:
        browser.submit("/consent/", {"analytics": answer})
    assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    assert Order.objects.count() == 1
    consentpanel_outbox.assert_nothing_sent()


def test_consent_is_recorded_with_its_source_and_policy_version(browser: Browser) -> None:
    browser.submit("/consent/", {"analytics": "deny"})
    (record,) = DjangoRegistry().history(browser.visitor_id)
    assert (record.status, record.purpose) == (ConsentStatus.DENIED, Purpose.ANALYTICS)
    assert (record.source, record.policy_version) == ("consent-form", "2026-05-01")


def test_a_form_without_its_token_records_no_consent(browser: Browser) -> None:
    assert browser.client.post("/consent/", {"analytics": "grant"}).status_code == HTTPStatus.FORBIDDEN
    assert "consentpanel" not in browser.client.cookies


def test_consent_has_no_answer_ticked_in_advance(browser: Browser) -> None:
    assert b"checked" not in browser.client.get("/consent/").content


def test_an_order_that_is_rolled_back_is_not_tracked(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    browser.submit("/consent/", {"analytics": "grant"})
    with transaction.atomic():
        browser.submit("/", ORDER)
        transaction.set_rollback(True)
    assert Order.objects.count() == 0
    consentpanel_outbox.assert_nothing_sent()


def test_a_sign_up_keeps_account_answer_and_report_together(
    browser: Browser, consentpanel_outbox: FakeTransport
) -> None:
    assert browser.submit("/sign-up/", {**ACCOUNT, "analytics": "grant"}) == HTTPStatus.FOUND
    who = str(User.objects.get().pk)
    consentpanel_outbox.assert_tracked("Signed up", distinct_id=who)
    (record,) = DjangoRegistry().history(who)
    assert record.source == "sign-up"


def test_a_visitors_answer_becomes_the_accounts_at_log_in_and_the_next_person_inherits_nothing(
    browser: Browser, consentpanel_outbox: FakeTransport
) -> None:
    user = User.objects.create_user("ann", password=ACCOUNT["password1"])
    browser.submit("/consent/", {"analytics": "grant"})
    assert browser.submit("/log-in/", {"username": "ann", "password": ACCOUNT["password1"]}) == HTTPStatus.FOUND
    browser.submit("/", ORDER)
    consentpanel_outbox.assert_tracked("Order placed", distinct_id=str(user.pk))
    assert browser.submit("/log-out/", {}, page_at="/") == HTTPStatus.FOUND
    before = len(consentpanel_outbox.messages)
    browser.submit("/", ORDER)
    assert len(consentpanel_outbox.messages) == before


def test_who_takes_back_is_not_tracked_any_more(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    browser.submit("/sign-up/", {**ACCOUNT, "analytics": "grant"})
    assert browser.submit("/privacy/withdraw", {}, page_at="/privacy/") == HTTPStatus.SEE_OTHER
    before = len(consentpanel_outbox.messages)
    browser.submit("/", ORDER)
    assert len(consentpanel_outbox.messages) == before


def test_an_unreachable_vendor_breaks_no_order_and_leaks_nothing_into_the_log(
    browser: Browser, consentpanel_outbox: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    browser.submit("/consent/", {"analytics": "grant"})
    consentpanel_outbox.fail(times=1, error=MixpanelException("refused: ann@shop.example"))
    with caplog.at_level(logging.DEBUG):
        assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    assert "ann@shop.example" not in caplog.text
    assert browser.visitor_id not in caplog.text
