"""The shop, as a visitor's browser sees it, and what of the visit leaves it."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from mixpanel import MixpanelException
from shop import create_app

from consentpanel import ConsentStatus, Purpose

if TYPE_CHECKING:
    from pathlib import Path

    from consentpanel.testing import FakeTransport

ORDER = {"product": "tea", "quantity": "2", "email": "ann@shop.example"}


class Browser:
    """A browser that fills in forms: it loads the page first, and sends the page's token back."""

    def __init__(self, registry_path: Path) -> None:
        self.app = create_app({"CONSENT_REGISTRY": str(registry_path), "MIXPANEL_TOKEN": "TOKEN", "TESTING": True})
        self.client = self.app.test_client()

    def submit(self, address: str, fields: dict[str, str]) -> int:
        page = self.client.get(address, base_url="https://localhost").text
        token = re.search(r'name="form_token" value="([^"]+)"', page)
        assert token
        return self.post(address, {**fields, "form_token": token[1]})

    def post(self, address: str, fields: dict[str, str]) -> int:
        return self.client.post(address, data=fields, base_url="https://localhost").status_code

    @property
    def visitor_id(self) -> str:
        with self.client.session_transaction(base_url="https://localhost") as session:
            visitor_id: str = session["visitor_id"]
        return visitor_id


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path / "consent.db")


def test_an_order_is_tracked_after_consent(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    assert browser.submit("/consent", {"analytics": "grant"}) == HTTPStatus.FOUND
    assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    consentpanel_outbox.assert_tracked(
        "Order placed",
        distinct_id=browser.visitor_id,
        properties={"product": "tea", "quantity": 2, "total": 9.0, "currency": "EUR"},
    )


def test_the_address_of_the_receipt_is_not_sent(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    browser.submit("/consent", {"analytics": "grant"})
    browser.submit("/", ORDER)
    assert len(consentpanel_outbox.messages) == 1
    assert not any("ann@shop.example" in message.raw for message in consentpanel_outbox.messages)


@pytest.mark.parametrize("answers", [[], ["deny"], ["grant", "deny"]], ids=["not asked", "denied", "withdrawn"])
def test_an_order_without_consent_is_taken_and_not_tracked(
    browser: Browser, consentpanel_outbox: FakeTransport, answers: list[str]
) -> None:
    for answer in answers:
        browser.submit("/consent", {"analytics": answer})
    assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    consentpanel_outbox.assert_nothing_sent()


def test_consent_is_recorded_with_its_source_and_policy_version(browser: Browser) -> None:
    browser.submit("/consent", {"analytics": "deny"})
    (record,) = browser.app.extensions["consent_registry"].history(browser.visitor_id)
    assert (record.status, record.purpose) == (ConsentStatus.DENIED, Purpose.ANALYTICS)
    assert (record.source, record.policy_version) == ("consent-form", "2026-05-01")


def test_a_form_without_its_token_is_refused(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    browser.submit("/consent", {"analytics": "grant"})
    for wrong in ({}, {"form_token": "wrong"}, {"form_token": "\N{SNOWMAN}"}):
        assert browser.post("/", {**ORDER, **wrong}) == HTTPStatus.FORBIDDEN
    consentpanel_outbox.assert_nothing_sent()


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        ("/consent", {}),
        ("/consent", {"analytics": "perhaps"}),
        ("/", {**ORDER, "product": "gold"}),
        ("/", {**ORDER, "quantity": "many"}),
        ("/", {**ORDER, "quantity": "-1"}),
        ("/", {**ORDER, "email": ""}),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(
    browser: Browser, consentpanel_outbox: FakeTransport, address: str, fields: dict[str, str]
) -> None:
    browser.submit("/consent", {"analytics": "grant"})
    assert browser.submit(address, fields) == HTTPStatus.BAD_REQUEST
    consentpanel_outbox.assert_nothing_sent()


def test_an_unreachable_vendor_breaks_no_order_and_leaks_nothing_into_the_log(
    browser: Browser, consentpanel_outbox: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    browser.submit("/consent", {"analytics": "grant"})
    consentpanel_outbox.fail(times=1, error=MixpanelException("refused: ann@shop.example"))
    with caplog.at_level(logging.DEBUG):
        assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    assert "could not be reported" in caplog.text
    assert "ann@shop.example" not in caplog.text
    assert browser.visitor_id not in caplog.text
