"""The shop, as a visitor's browser sees it, and what of the visit leaves it."""

from __future__ import annotations

import logging
import re
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import privacy
import pytest
import shop
from mixpanel import MixpanelException
from shop import create_app

from consentpanel import ConsentRecord, ConsentStatus, FieldPolicy, PrivacyRequests, Purpose, TaskStatus, keep
from consentpanel.__main__ import main
from consentpanel.flask import mixpanel
from consentpanel.registry import SQLAlchemyRegistry
from consentpanel.testing import FakePrivacyAPI
from consentpanel.transparency import Promises, audit

if TYPE_CHECKING:
    from consentpanel.testing import FakeTransport

ORDER = {"product": "tea", "quantity": "2", "email": "ann@shop.example"}


class Browser:
    """A browser that fills in forms: it loads the page first, and sends the page's token back."""

    def __init__(self, database: Path, settings: dict[str, str] | None = None) -> None:
        given = {"CONSENTPANEL_DATABASE": f"sqlite:///{database}", "CONSENTPANEL_TOKEN": "TOKEN", "TESTING": True}
        self.app = create_app({**given, **(settings or {})})
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
    (record,) = browser.history()
    assert (record.status, record.purpose) == (ConsentStatus.DENIED, Purpose.ANALYTICS)
    assert (record.source, record.policy_version) == ("consent-form", shop.PRIVACY_POLICY_VERSION)


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


# What is published, what is promised, and what is done


HERE = Path(__file__).parent
PUBLISHED = [str(HERE / "published" / name) for name in ("notice.html", "notice.json")]
AUDIT = ["audit", "--policy", "privacy:POLICY", "--vendor", "privacy:VENDOR", "--promises", str(HERE / "promises.toml")]
CHECK = ["notice", "privacy:privacy_notice", "--check", *PUBLISHED]


def test_the_published_notice_says_what_the_policy_does() -> None:
    # After a change that was read and approved: python -m consentpanel notice shop:privacy_notice --write published/...
    assert main(CHECK) == 0


def test_the_promises_are_kept(browser: Browser) -> None:
    assert main(AUDIT) == 0
    promises = Promises.from_toml(HERE / "promises.toml")
    with browser.app.app_context():
        assert {breach.severity for breach in audit(mixpanel, promises, vendor=privacy.VENDOR)} <= {"warning"}


def test_a_rule_that_changes_alone_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rules = {
        **privacy.POLICY.rules("events"),
        "email": keep(label="your e-mail address", reason="to send offers", personal=True),
    }
    monkeypatch.setattr(privacy, "POLICY", FieldPolicy(events=rules))
    assert main(CHECK) == 1
    assert "needs consent anew: analytics: events['email'] is sent now" in capsys.readouterr().out
    assert main(AUDIT) == 1
    assert "error: events['email']" in capsys.readouterr().out


def test_a_promise_that_changes_alone_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promises = tmp_path / "promises.toml"
    promises.write_text((HERE / "promises.toml").read_text().replace("retention_days = 365", "retention_days = 30"))
    assert main([*AUDIT[:-1], str(promises)]) == 1
    assert "The vendor keeps the data for 365 days, and 30 were promised." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("language", "title"), [("de-DE,de", "Welche Daten wir an Mixpanel senden"), ("en", "What we send")]
)
def test_a_visitor_reads_what_is_shared(browser: Browser, language: str, title: str) -> None:
    page = browser.client.get("/privacy", headers={"Accept-Language": language}).text
    assert f"<h1>{title}" in page
    assert ("was Sie gekauft haben" if language.startswith("de") else "what you bought") in page


def test_a_withdrawal_is_followed_to_the_erasure_at_the_vendor(
    tmp_path: Path, consentpanel_outbox: FakeTransport
) -> None:
    with FakePrivacyAPI() as vendor:
        settings = {"MIXPANEL_OAUTH_TOKEN": "OAUTH", "MIXPANEL_PRIVACY_HOST": vendor.url}
        browser = Browser(tmp_path / "consent.db", settings)
        browser.submit("/consent", {"analytics": "grant"})
        browser.submit("/", ORDER)
        browser.submit("/consent", {"analytics": "deny"})
        last = browser.history()[-1]
        (number,) = last.evidence["deletion_requests"]
        assert vendor.tasks[number]["distinct_ids"] == [consentpanel_outbox.events[0].distinct_id]
        vendor.finish(number)
        privacy = PrivacyRequests("TOKEN", "OAUTH", region="EU", host=vendor.url)
        assert privacy.look_up_deletion(number).status is TaskStatus.SUCCESS


def test_a_vendor_that_fails_does_not_break_a_withdrawal(tmp_path: Path, consentpanel_outbox: FakeTransport) -> None:
    with FakePrivacyAPI() as vendor:
        vendor.fail(500)
        settings = {"MIXPANEL_OAUTH_TOKEN": "OAUTH", "MIXPANEL_PRIVACY_HOST": vendor.url}
        browser = Browser(tmp_path / "consent.db", settings)
        browser.submit("/consent", {"analytics": "grant"})
        assert browser.submit("/consent", {"analytics": "deny"}) == HTTPStatus.FOUND
        browser.submit("/", ORDER)
    consentpanel_outbox.assert_nothing_sent()
