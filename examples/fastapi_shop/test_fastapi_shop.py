"""The shop, as a visitor's browser sees it, and what of the visit leaves it."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest
import shop
from fastapi.testclient import TestClient
from privacy import POLICY, privacy_notice

from consentpanel import PrivacyRequests, configure
from consentpanel.testing import FakePrivacyAPI, FakeTransport

ORDER = {"product": "tea", "quantity": 2, "email": "ann@shop.example"}
GPC = {"Sec-GPC": "1"}
SITE = "https://localhost"


@pytest.fixture
def browser(consentpanel_outbox: FakeTransport) -> Iterator[TestClient]:
    with TestClient(shop.app, base_url=SITE, headers={"Origin": SITE}) as browser:
        yield browser


def say(browser: TestClient, *, analytics: bool) -> None:
    """As the panel's own page does: with the answer goes what it is to."""
    shown = browser.get("/privacy/api").json()
    answer = {name: shown[name] for name in ("notice_version", "language", "shown", "who")}
    said = browser.post("/privacy/api", json={**answer, "answers": {"analytics": analytics}})
    assert said.json()["result"] == "saved"


def standing(browser: TestClient) -> bool | None:
    (purpose,) = browser.get("/privacy/api").json()["purposes"]
    answer: bool | None = purpose["answer"]
    return answer


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
    assert not str(who).startswith("visitor-")
    browser.post("/log-out")
    assert standing(browser) is None
    buy(browser)
    assert [message.event for message in consentpanel_outbox.events] == ["Signed up", "Order placed", "Receipt sent"]


def test_a_withdrawal_is_obeyed_and_followed_to_the_erasure_at_the_vendor(
    browser: TestClient, consentpanel_outbox: FakeTransport
) -> None:
    with FakePrivacyAPI() as vendor:
        # As MIXPANEL_OAUTH_TOKEN has it.
        configure(privacy=PrivacyRequests("TOKEN", "OAUTH", region="EU", host=vendor.url))
        say(browser, analytics=True)
        buy(browser)
        before = consentpanel_outbox.events
        who = browser.get("/privacy/api").json()["who"]
        assert browser.post("/privacy/api/erase", json={"who": who}).json()["result"] == "erased"
        (asked,) = vendor.tasks.values()
        assert asked["distinct_ids"] == [before[0].distinct_id]
        assert standing(browser) is False
        buy(browser)
        assert consentpanel_outbox.events == before


def test_global_privacy_control_is_obeyed(browser: TestClient, consentpanel_outbox: FakeTransport) -> None:
    say(browser, analytics=True)
    buy(browser, GPC)
    consentpanel_outbox.assert_nothing_sent()
    assert standing(browser) is False


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


@pytest.mark.parametrize(
    ("language", "title", "label"),
    [
        ("en", "What we send", "what you paid"),
        ("de", "Welche Daten wir an Mixpanel senden", "was Sie bezahlt haben"),
        ("fr", "Les données que nous envoyons à Mixpanel", "ce que vous avez payé"),
    ],
)
def test_a_visitor_reads_what_is_sent(browser: TestClient, language: str, title: str, label: str) -> None:
    accepts = {"Accept-Language": language}
    notice = browser.get("/privacy/notice", headers=accepts).text
    assert f"<h1>{title}" in notice
    for page in (notice, browser.get("/privacy/", headers=accepts).text):
        assert label in page


def test_the_notice_names_what_the_policy_lets_pass_and_consent_is_to_it() -> None:
    assert POLICY.rules("events").keys() <= set(privacy_notice().properties)
    assert shop.registry.required_policy_version == privacy_notice().version
