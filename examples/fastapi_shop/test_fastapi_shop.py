"""The shop, as a visitor's browser sees it, and what of the visit leaves it."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest
import shop
from fastapi.testclient import TestClient

from consentpanel.testing import FakeTransport

ORDER = {"product": "tea", "quantity": 2, "email": "ann@shop.example"}
GPC = {"Sec-GPC": "1"}


@pytest.fixture
def browser(consentpanel_outbox: FakeTransport) -> Iterator[TestClient]:
    with TestClient(shop.app, base_url="https://localhost") as browser:
        yield browser


def say(browser: TestClient, *, analytics: bool) -> None:
    assert browser.put("/consent", json={"analytics": analytics}).status_code == HTTPStatus.NO_CONTENT


def buy(browser: TestClient, headers: dict[str, str] | None = None) -> None:
    assert browser.post("/orders", json=ORDER, headers=headers).status_code == HTTPStatus.CREATED


def test_an_order_is_tracked_after_a_yes_and_without_the_address(
    browser: TestClient, consentpanel_outbox: FakeTransport
) -> None:
    say(browser, analytics=True)
    buy(browser)
    consentpanel_outbox.assert_tracked("Order placed", properties={"product": "tea", "quantity": 2, "total": 9.0})
    consentpanel_outbox.assert_tracked("Receipt sent")
    consentpanel_outbox.assert_no_personal_data()


@pytest.mark.parametrize("answers", [[], [False], [True, False]], ids=["not asked", "denied", "withdrawn"])
def test_an_order_without_consent_is_taken_and_not_tracked(
    browser: TestClient, consentpanel_outbox: FakeTransport, answers: list[bool]
) -> None:
    for answer in answers:
        say(browser, analytics=answer)
    buy(browser)
    consentpanel_outbox.assert_nothing_sent()


def test_the_answer_becomes_the_accounts_and_the_next_person_inherits_nothing(
    browser: TestClient, consentpanel_outbox: FakeTransport
) -> None:
    say(browser, analytics=True)
    assert browser.post("/accounts", json={"email": "ann@shop.example"}).status_code == HTTPStatus.CREATED
    assert "consentpanel" not in browser.cookies
    buy(browser)
    (who,) = {message.distinct_id for message in consentpanel_outbox.events}
    assert not who.startswith("visitor-")
    browser.post("/log-out")
    assert browser.get("/consent").json() == "unknown"
    buy(browser)
    assert [message.event for message in consentpanel_outbox.events] == ["Signed up", "Order placed", "Receipt sent"]


def test_everything_can_be_taken_back(browser: TestClient, consentpanel_outbox: FakeTransport) -> None:
    say(browser, analytics=True)
    assert browser.delete("/consent").status_code == HTTPStatus.NO_CONTENT
    assert browser.get("/consent").json() == "denied"
    buy(browser)
    assert consentpanel_outbox.events == []


def test_global_privacy_control_is_obeyed(browser: TestClient, consentpanel_outbox: FakeTransport) -> None:
    say(browser, analytics=True)
    buy(browser, GPC)
    consentpanel_outbox.assert_nothing_sent()
    assert browser.get("/consent").json() == "denied"


def test_a_websocket_is_tracked_as_its_visitor_has_said(
    browser: TestClient, consentpanel_outbox: FakeTransport
) -> None:
    for answer in (None, True):
        if answer is not None:
            say(browser, analytics=answer)
        with browser.websocket_connect("wss://localhost/questions") as opened:
            opened.send_text("Where is my tea?")
            opened.receive_text()
    assert [message.event for message in consentpanel_outbox.events] == ["Question asked"]


def test_a_visitor_reads_what_is_shared(browser: TestClient) -> None:
    page = browser.get("/privacy").text
    assert '<code class="path">product</code>' in page
