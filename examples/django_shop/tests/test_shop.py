"""The shop, as a visitor's browser sees it, and what of the visit leaves it."""

from __future__ import annotations

import logging
import re
from html import unescape
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client, override_settings
from mixpanel import MixpanelException
from shop.models import Order
from shop.privacy import privacy_notice

from consentpanel import ConsentStatus, PrivacyRequests, Purpose
from consentpanel.django import DjangoRegistry
from consentpanel.testing import FakePrivacyAPI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consentpanel.testing import FakeTransport

ACCOUNT = {"username": "ann", "password1": "correct horse battery", "password2": "correct horse battery"}
ORDER = {"product": "tea", "quantity": "2", "email": "ann@shop.example"}


class Browser:
    """A browser that fills in forms: it loads the page first, and sends back what the page has hidden in them."""

    def __init__(self) -> None:
        self.client = Client(enforce_csrf_checks=True)

    def submit(self, address: str, fields: dict[str, str], page_at: str = "") -> int:
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', self.read(page_at or address))
        sent = {**{name: unescape(value) for name, value in hidden}, **fields}
        status: int = self.client.post(address, sent).status_code
        return status

    def read(self, address: str, language: str = "en") -> str:
        page: str = self.client.get(address, headers={"accept-language": language}).content.decode()
        return page

    def say(self, word: str) -> None:
        assert self.submit("/privacy/", {"answer.analytics": word}) == HTTPStatus.SEE_OTHER

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
    browser.say("yes")
    assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    consentpanel_outbox.assert_tracked(
        "Order placed",
        distinct_id=browser.visitor_id,
        properties={"product": "tea", "quantity": 2, "total": 9.0, "currency": "EUR"},
    )


def test_the_address_of_the_receipt_is_not_sent(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    browser.say("yes")
    browser.submit("/", ORDER)
    assert Order.objects.get().email == "ann@shop.example"
    assert [message.event for message in consentpanel_outbox.events] == ["Order placed", "Receipt sent"]
    assert not any("ann@shop.example" in message.raw for message in consentpanel_outbox.messages)


@pytest.mark.parametrize("answers", [[], ["no"], ["yes", "no"]], ids=["not asked", "denied", "withdrawn"])
def test_an_order_without_consent_is_taken_and_not_tracked(
    browser: Browser, consentpanel_outbox: FakeTransport, answers: list[str]
) -> None:
    for answer in answers:
        browser.say(answer)
    assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    assert Order.objects.count() == 1
    consentpanel_outbox.assert_nothing_sent()


def test_an_answer_is_recorded_with_its_source_version_and_language(browser: Browser) -> None:
    browser.say("no")
    (record,) = DjangoRegistry().history(browser.visitor_id)
    assert (record.status, record.purpose) == (ConsentStatus.DENIED, Purpose.ANALYTICS)
    assert (record.source, record.policy_version, record.language) == ("panel", privacy_notice().version, "en")


def test_a_form_without_its_token_records_no_consent(browser: Browser) -> None:
    assert browser.client.post("/privacy/", {"all": "yes"}).status_code == HTTPStatus.FORBIDDEN
    assert "consentpanel" not in browser.client.cookies


def test_each_page_asks_until_there_is_an_answer_and_leads_to_the_panel(browser: Browser) -> None:
    pages = "/", "/thanks/", "/log-in/", "/sign-up/"
    assert all("<section" in browser.read(page) for page in pages)
    assert "Das geschieht nur mit Ihrer Einwilligung" in browser.read("/", "de")
    assert browser.submit("/privacy/", {"all": "no"}, page_at="/") == HTTPStatus.SEE_OTHER
    assert not any("<section" in browser.read(page) for page in pages)
    assert all('<a href="/privacy/">' in browser.read(page) for page in pages)


@pytest.mark.parametrize(
    ("language", "label"),
    [("en", "what you paid"), ("de", "was Sie bezahlt haben"), ("fr", "ce que vous avez payé")],
)
def test_a_visitor_reads_what_is_sent(browser: Browser, language: str, label: str) -> None:
    for page in ("/privacy/", "/privacy/notice"):
        assert label in browser.read(page, language)


def test_an_order_that_is_rolled_back_is_not_tracked(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    browser.say("yes")
    with transaction.atomic():
        browser.submit("/", ORDER)
        transaction.set_rollback(True)
    assert Order.objects.count() == 0
    consentpanel_outbox.assert_nothing_sent()


def test_a_sign_up_keeps_account_answer_and_report_together(
    browser: Browser, consentpanel_outbox: FakeTransport
) -> None:
    browser.say("yes")
    assert browser.submit("/sign-up/", ACCOUNT) == HTTPStatus.FOUND
    who = str(User.objects.get().pk)
    consentpanel_outbox.assert_tracked("Signed up", distinct_id=who)
    (record,) = DjangoRegistry().history(who)
    assert record.status is ConsentStatus.GRANTED


def test_a_visitors_answer_becomes_the_accounts_at_log_in_and_the_next_person_inherits_nothing(
    browser: Browser, consentpanel_outbox: FakeTransport
) -> None:
    user = User.objects.create_user("ann", password=ACCOUNT["password1"])
    browser.say("yes")
    assert browser.submit("/log-in/", {"username": "ann", "password": ACCOUNT["password1"]}) == HTTPStatus.FOUND
    browser.submit("/", ORDER)
    consentpanel_outbox.assert_tracked("Order placed", distinct_id=str(user.pk))
    assert browser.submit("/log-out/", {}, page_at="/") == HTTPStatus.FOUND
    before = len(consentpanel_outbox.messages)
    browser.submit("/", ORDER)
    assert len(consentpanel_outbox.messages) == before


def test_who_takes_back_is_not_tracked_any_more_and_erased_at_the_vendor(
    browser: Browser, consentpanel_outbox: FakeTransport
) -> None:
    browser.say("yes")
    browser.submit("/sign-up/", ACCOUNT)
    with FakePrivacyAPI() as vendor:
        requests = PrivacyRequests("TOKEN", "OAUTH", region="EU", host=vendor.url)
        with override_settings(CONSENTPANEL={**settings.CONSENTPANEL, "PRIVACY": requests}):
            assert browser.submit("/privacy/erase", {}, page_at="/privacy/") == HTTPStatus.SEE_OTHER
        (asked,) = vendor.tasks.values()
    # Also what was sent about the visitor who became the account.
    account, visitor = asked["distinct_ids"]
    assert account == str(User.objects.get().pk)
    assert visitor.startswith("visitor-")
    before = len(consentpanel_outbox.messages)
    browser.submit("/", ORDER)
    assert len(consentpanel_outbox.messages) == before


def test_an_unreachable_vendor_breaks_no_order_and_leaks_nothing_into_the_log(
    browser: Browser, consentpanel_outbox: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    browser.say("yes")
    consentpanel_outbox.fail(times=1, error=MixpanelException("refused: ann@shop.example"))
    with caplog.at_level(logging.DEBUG):
        assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    assert "ann@shop.example" not in caplog.text
    assert browser.visitor_id not in caplog.text
