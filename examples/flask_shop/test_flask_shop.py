"""The shop, as a visitor's browser sees it, and what of the visit leaves it."""

from __future__ import annotations

import logging
import re
from contextlib import closing
from html import unescape
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import privacy
import pytest
from mixpanel import MixpanelException
from shop import create_app

from consentpanel import (
    BackgroundConsumer,
    ConsentRecord,
    ConsentStatus,
    FieldPolicy,
    PrivacyRequests,
    Purpose,
    TaskStatus,
    keep,
)
from consentpanel.registry import SQLAlchemyRegistry
from consentpanel.testing import FakePrivacyAPI, assert_keeps_promises
from consentpanel.transparency import Promises

if TYPE_CHECKING:
    from consentpanel.testing import FakeTransport

ORDER = {"product": "tea", "quantity": "2", "email": "ann@shop.example"}
SITE = "https://localhost"


class Browser:
    """A browser that fills in forms: it loads the page first, and sends back what the page has hidden in them."""

    def __init__(self, database: Path, **settings: Any) -> None:
        given = {"CONSENTPANEL_DATABASE": f"sqlite:///{database}", "CONSENTPANEL_TOKEN": "TOKEN", "TESTING": True}
        self.app = create_app({**given, **settings})
        self.client = self.app.test_client()

    def read(self, address: str, language: str = "en") -> str:
        return self.client.get(address, base_url=SITE, headers={"Accept-Language": language}).text

    def submit(self, address: str, fields: dict[str, str], page_at: str = "") -> int:
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', self.read(page_at or address))
        return self.post(address, {**{name: unescape(value) for name, value in hidden}, **fields})

    def post(self, address: str, fields: dict[str, str]) -> int:
        return self.client.post(address, data=fields, base_url=SITE, headers={"Referer": SITE}).status_code

    def say(self, word: str) -> None:
        assert self.submit("/privacy/", {"answer.analytics": word}) == HTTPStatus.SEE_OTHER

    def erase(self) -> None:
        assert self.submit("/privacy/erase", {}, page_at="/privacy/") == HTTPStatus.SEE_OTHER

    @property
    def visitor_id(self) -> str:
        cookie = self.client.get_cookie("consentpanel")
        assert cookie
        return f"visitor-{cookie.value.split('.')[1]}"

    def history(self) -> list[ConsentRecord]:
        with closing(SQLAlchemyRegistry(self.app.config["CONSENTPANEL_DATABASE"])) as registry:
            return registry.history(self.visitor_id)


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path / "consent.db")


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
    assert len(consentpanel_outbox.messages) == 1
    assert not any("ann@shop.example" in message.raw for message in consentpanel_outbox.messages)


@pytest.mark.parametrize("answers", [[], ["no"], ["yes", "no"]], ids=["not asked", "denied", "withdrawn"])
def test_an_order_without_consent_is_taken_and_not_tracked(
    browser: Browser, consentpanel_outbox: FakeTransport, answers: list[str]
) -> None:
    for answer in answers:
        browser.say(answer)
    assert browser.submit("/", ORDER) == HTTPStatus.FOUND
    consentpanel_outbox.assert_nothing_sent()


def test_each_page_asks_until_there_is_an_answer_and_leads_to_the_panel(browser: Browser) -> None:
    for page in ("/", "/thanks"):
        assert "<section" in browser.read(page)
    assert "Das geschieht nur mit Ihrer Einwilligung" in browser.read("/", "de")
    assert browser.submit("/privacy/", {"all": "no"}, page_at="/") == HTTPStatus.SEE_OTHER
    for page in ("/", "/thanks"):
        assert "<section" not in browser.read(page)
        assert '<a href="/privacy/">' in browser.read(page)


def test_an_answer_is_recorded_with_its_source_version_and_language(browser: Browser) -> None:
    browser.say("no")
    (record,) = browser.history()
    assert (record.status, record.purpose) == (ConsentStatus.DENIED, Purpose.ANALYTICS)
    notice = privacy.privacy_notice()
    assert (record.source, record.policy_version, record.language) == ("panel", notice.version, "en")


def test_who_agreed_to_another_notice_is_asked_again(browser: Browser, consentpanel_outbox: FakeTransport) -> None:
    browser.say("yes")
    after = Browser(Path(), **{**browser.app.config, "CONSENTPANEL_POLICY_VERSION": "a later one"})
    after.client = after.app.test_client()
    after.client.set_cookie("consentpanel", browser.client.get_cookie("consentpanel").value)  # type: ignore[union-attr]
    assert "<section" in after.read("/")
    after.submit("/", ORDER)
    consentpanel_outbox.assert_nothing_sent()


@pytest.mark.parametrize("address", ["/", "/privacy/"])
def test_a_form_without_its_token_is_refused(
    browser: Browser, consentpanel_outbox: FakeTransport, address: str
) -> None:
    browser.say("yes")
    for wrong in ({}, {"csrf_token": "wrong"}):
        assert browser.post(address, {**ORDER, **wrong}) == HTTPStatus.BAD_REQUEST
    consentpanel_outbox.assert_nothing_sent()


@pytest.mark.parametrize(
    "wrong", [{"product": "gold"}, {"quantity": "many"}, {"quantity": "-1"}, {"quantity": "21"}, {"email": ""}]
)
def test_an_order_that_makes_no_sense_is_refused(
    browser: Browser, consentpanel_outbox: FakeTransport, wrong: dict[str, str]
) -> None:
    browser.say("yes")
    assert browser.submit("/", {**ORDER, **wrong}) == HTTPStatus.BAD_REQUEST
    consentpanel_outbox.assert_nothing_sent()


class Down:
    """A vendor that cannot be reached."""

    def send(self, endpoint: str, json_message: str) -> None:
        raise MixpanelException(f"{endpoint} refused: {json_message}")


def test_an_unreachable_vendor_breaks_no_order_and_leaks_nothing_into_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = BackgroundConsumer(consumer=Down())
    browser = Browser(tmp_path / "consent.db", CONSENTPANEL_CONSUMER=consumer)
    browser.say("yes")
    with caplog.at_level(logging.DEBUG):
        assert browser.submit("/", ORDER) == HTTPStatus.FOUND
        with pytest.raises(MixpanelException, match="1 messages were not delivered"):
            consumer.close(timeout=0.5)
    assert "ann@shop.example" not in caplog.text
    assert browser.visitor_id not in caplog.text


# What is published, what is promised, and what is done


HERE = Path(__file__).parent
PROMISES = Promises.from_toml(HERE / "promises.toml")


def check_of_the_notice(browser: Browser) -> tuple[int, str]:
    published = [str(HERE / "published" / name) for name in ("notice.html", "notice.json")]
    check = browser.app.test_cli_runner().invoke(
        args=["consent", "notice", "privacy:privacy_notice", "--check", *published]
    )
    return check.exit_code, check.output


def test_the_published_notice_says_what_the_policy_does(browser: Browser) -> None:
    # After a change that was read and approved: flask --app shop consent notice privacy:privacy_notice --write published/...
    assert check_of_the_notice(browser)[0] == 0


def test_the_promises_are_kept() -> None:
    assert_keeps_promises(privacy.POLICY, PROMISES, vendor=privacy.VENDOR)


def test_a_rule_that_changes_alone_fails(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    email = keep(label="your e-mail address", reason="to send offers", personal=True)
    policy = FieldPolicy(events={**privacy.POLICY.rules("events"), "email": email})
    monkeypatch.setattr(privacy, "POLICY", policy)
    code, output = check_of_the_notice(browser)
    assert code == 1
    assert "needs consent anew: analytics: events['email'] is sent now" in output
    with pytest.raises(AssertionError, match=r"events\['email'\]"):
        assert_keeps_promises(policy, PROMISES, vendor=privacy.VENDOR)


def test_a_promise_that_changes_alone_fails() -> None:
    with pytest.raises(AssertionError, match="The vendor keeps the data for 365 days, and 30 were promised"):
        assert_keeps_promises(privacy.POLICY, attrs.evolve(PROMISES, retention_days=30), vendor=privacy.VENDOR)


@pytest.mark.parametrize(
    ("language", "title", "label"),
    [
        ("en", "What we send", "what you bought"),
        ("de-DE,de", "Welche Daten wir an Mixpanel senden", "was Sie gekauft haben"),
        ("fr", "Les données que nous envoyons à Mixpanel", "ce que vous avez acheté"),
    ],
)
def test_a_visitor_reads_what_is_sent(browser: Browser, language: str, title: str, label: str) -> None:
    page = browser.read("/privacy/notice", language)
    assert f"<h1>{title}" in page
    assert label in page
    assert label in browser.read("/privacy/", language)


def test_a_withdrawal_is_followed_to_the_erasure_at_the_vendor(
    tmp_path: Path, consentpanel_outbox: FakeTransport
) -> None:
    with FakePrivacyAPI() as vendor:
        requests = PrivacyRequests("TOKEN", "OAUTH", region="EU", host=vendor.url)
        browser = Browser(tmp_path / "consent.db", CONSENTPANEL_PRIVACY=requests)
        browser.say("yes")
        browser.submit("/", ORDER)
        browser.erase()
        (number,) = browser.history()[-1].evidence["deletion_requests"]
        assert vendor.tasks[number]["distinct_ids"] == [consentpanel_outbox.events[0].distinct_id]
        vendor.finish(number)
        assert requests.look_up_deletion(number).status is TaskStatus.SUCCESS
        browser.submit("/", ORDER)
        assert len(consentpanel_outbox.events) == 1


def test_a_vendor_that_fails_does_not_break_a_withdrawal(tmp_path: Path, consentpanel_outbox: FakeTransport) -> None:
    with FakePrivacyAPI() as vendor:
        vendor.fail(500)
        requests = PrivacyRequests("TOKEN", "OAUTH", region="EU", host=vendor.url)
        browser = Browser(tmp_path / "consent.db", CONSENTPANEL_PRIVACY=requests)
        browser.say("yes")
        browser.erase()
        browser.submit("/", ORDER)
    consentpanel_outbox.assert_nothing_sent()
