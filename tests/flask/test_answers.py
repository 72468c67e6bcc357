"""What a browser's consent tool has answered, as a request brings it (contract rule 11.6), over the core of all frameworks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import attrs
import pytest

pytest.importorskip("flask")
from flask import Flask, request
from flask.testing import FlaskClient

from consentpanel import ConfigurationError, ConsentRecord, ConsentStatus, RegistryError
from consentpanel.cmp import TCF, Answers, Cookiebot, Klaro, OneTrust, Relay
from consentpanel.flask import ConsentPanel, current_consent
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

GPC = {"Sec-GPC": "1"}
START = datetime.now(timezone.utc) - timedelta(hours=2)
TCF_YES = "CQq8bIAQq8bIABjABBENCWFgAIPAAAAAAAYgAFABAAAAAA.IAKgBACA"


def moment(minutes: float) -> datetime:
    """So many minutes after the start, which was two hours ago: what is beyond is as far ahead of now."""
    ahead = timedelta(minutes=minutes - 120)
    return datetime.now(timezone.utc) + ahead if minutes > 120 else START + timedelta(minutes=minutes)


def onetrust(*, answer: bool, minutes: float = 0, gpc: int = 0, count: int = 1) -> str:
    """The cookies of OneTrust, so many minutes after the start."""
    at = moment(minutes).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"OptanonAlertBoxClosed={at}; OptanonConsent=isGpcEnabled={gpc}&interactionCount={count}&consentId=c-1"
        f"&groups={quote(f'C0001:1,C0002:{int(answer)}')}&AwaitingReconsent=false"
    )


class Shop:
    def __init__(self, *answers: Any, registry: Any = None, **options: Any) -> None:
        self.vendor, self.registry = FakeTransport(), registry or MemoryRegistry()
        self.app = Flask("shop")
        self.app.secret_key = "k" * 32
        self.app.add_url_rule("/visit", "visit", lambda: current_consent.track("Visited").outcome.value)
        self.app.add_url_rule("/status", "status", lambda: current_consent.status("analytics").value)
        self.app.add_url_rule("/log-out", "out", lambda: str(current_consent.log_out()))
        self.app.add_url_rule("/panel/<said>", view_func=self.panel)
        self.app.add_url_rule("/panel-of-profiles", view_func=self.panel_of_profiles)
        given = answers or (OneTrust({"C0002": "analytics"}),)
        ConsentPanel(
            self.app,
            token="TOKEN",
            registry=self.registry,
            consumer=self.vendor,
            answers=given,
            subject=lambda: request.headers.get("X-Account"),
            **options,
        )

        @self.app.post("/relay")
        def relayed() -> str:
            read = Relay({"A": "analytics"}, source="osano")
            return str(current_consent.relay(read, request.get_data(), request.content_type))

    @staticmethod
    def panel(said: str) -> str:
        current_consent.answer(analytics=said == "yes", source="panel")
        return current_consent.subject_id or ""

    @staticmethod
    def panel_of_profiles() -> str:
        current_consent.answer(profiles=False, source="panel")
        return ""

    def history(self, subject_id: str) -> list[tuple[str, str | None]]:
        return [(each.status.value, each.source) for each in self.registry.history(subject_id)]


class Browser:
    """A browser whose consent tool has written its cookies."""

    def __init__(self, shop: Shop) -> None:
        self.client: FlaskClient = shop.app.test_client(use_cookies=False)
        self.tool, self.cookie = "", ""

    def get(self, path: str, **headers: str) -> str:
        sent = "; ".join(filter(None, (self.tool, self.cookie)))
        response = self.client.get(path, headers={**headers, **({"Cookie": sent} if sent else {})})
        for written in response.headers.getlist("Set-Cookie"):
            self.cookie = "" if "Max-Age=0" in written else written.partition(";")[0]
        return response.text

    def post(self, body: str, content_type: str = "application/json") -> str:
        response = self.client.post(
            "/relay", data=body, content_type=content_type, headers={"Cookie": self.cookie} if self.cookie else {}
        )
        self.cookie = response.headers.get("Set-Cookie", self.cookie).partition(";")[0]
        return response.text

    @property
    def visitor(self) -> str:
        return f"visitor-{self.cookie.split('.')[1]}"


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def browser(shop: Shop) -> Browser:
    return Browser(shop)


# rule 11.6
def test_an_explicit_answer_is_recorded_once_for_the_visitors_own_id(shop: Shop, browser: Browser) -> None:
    browser.tool = onetrust(answer=True)
    assert [browser.get("/visit") for _ in range(3)] == ["sent"] * 3
    (record,) = shop.registry.history(browser.visitor)
    assert (record.status, record.source, record.event_type) == (ConsentStatus.GRANTED, "onetrust", "explicit")
    given_at = START.replace(microsecond=0).isoformat()
    assert record.evidence == {"asserted_by": "browser", "consent_id": "c-1", "given_at": given_at}


# rule 11.6
def test_a_changed_answer_is_recorded_and_what_a_tool_writes_before_an_answer_is_none(
    shop: Shop, browser: Browser
) -> None:
    browser.tool = onetrust(answer=True, count=0)
    assert browser.get("/visit") == "dropped"
    assert browser.cookie == ""
    for minute, answer in enumerate([True, False, True, True]):
        browser.tool = onetrust(answer=answer, minutes=minute)
        assert browser.get("/visit") == ("sent" if answer else "dropped")
    assert [status for status, _ in shop.history(browser.visitor)] == ["granted", "denied", "granted"]


# rule 11.6
@pytest.mark.parametrize("answer", [True, False])
def test_a_later_answer_on_the_panel_stands(shop: Shop, browser: Browser, answer: bool) -> None:
    browser.tool = onetrust(answer=answer)
    browser.get("/visit")
    browser.get(f"/panel/{'no' if answer else 'yes'}")
    for _ in range(2):
        assert browser.get("/visit") == ("dropped" if answer else "sent")
    assert len(shop.history(browser.visitor)) == 2
    # Until the tool is answered anew.
    browser.tool = onetrust(answer=answer, minutes=120.5)
    assert browser.get("/visit") == ("sent" if answer else "dropped")


def test_a_yes_of_the_future_is_none_yet_and_a_fast_clock_makes_no_old_answer_later_than_a_refusal(
    shop: Shop, browser: Browser
) -> None:
    browser.tool = onetrust(answer=True, minutes=600)
    assert browser.get("/visit") == "dropped"
    browser.tool = onetrust(answer=True, minutes=120.7)
    assert browser.get("/visit") == "sent"
    browser.get("/panel/no")
    assert [browser.get("/visit") for _ in range(2)] == ["dropped"] * 2


# rule 11.6
def test_a_yes_that_the_panel_has_given_before_is_not_given_again_after_a_withdrawal(
    shop: Shop, browser: Browser
) -> None:
    browser.get("/panel/yes")
    browser.tool = onetrust(answer=True, minutes=120.7)
    browser.get("/visit")
    browser.get("/panel/no")
    assert browser.get("/visit") == "dropped"


# rule 11.6
@pytest.mark.parametrize("order", [1, -1])
def test_of_two_tools_the_one_that_says_no_is_heard(order: int) -> None:
    readers = [OneTrust({"C0002": "analytics"}), Klaro({"mixpanel": "analytics"})][::order]
    shop = Shop(*readers)
    browser = Browser(shop)
    browser.tool = f"{onetrust(answer=True)}; klaro=" + quote('{"mixpanel":false}')
    assert [browser.get("/visit") for _ in range(3)] == ["dropped"] * 3
    assert shop.history(browser.visitor) == [("denied", "klaro")]


# rule 11.6
@pytest.mark.parametrize("path", ["/log-out-and-visit", "/log-in-and-visit"])
def test_in_the_request_that_ends_a_visit_the_tools_yes_is_nobodys(shop: Shop, browser: Browser, path: str) -> None:
    accounts = ["user-1"]
    shop.app.extensions["consentpanel"].said = attrs.evolve(
        shop.app.extensions["consentpanel"].said, subject=lambda: accounts[-1]
    )

    def log_out_and_visit() -> str:
        accounts.append(None)
        current_consent.log_out()
        return current_consent.track("Visited").outcome.value

    def log_in_and_visit() -> str:
        accounts.append("user-2")
        current_consent.log_in()
        return current_consent.track("Visited").outcome.value

    shop.app.add_url_rule("/log-out-and-visit", "a", log_out_and_visit)
    shop.app.add_url_rule("/log-in-and-visit", "b", log_in_and_visit)
    browser.get("/status")
    browser.tool = onetrust(answer=True)
    assert browser.get("/visit") == "sent"
    assert browser.get(path) == "dropped"
    assert browser.get("/visit") == "dropped"
    assert shop.history("user-2") == []


# rule 11.6
def test_what_was_somebody_elses_stays_so_when_the_browser_gets_a_new_visitor(shop: Shop, browser: Browser) -> None:
    browser.tool = onetrust(answer=True)
    browser.get("/visit")
    browser.get("/log-out")
    browser.get("/panel-of-profiles")
    assert browser.get("/visit") == "dropped"
    assert shop.history(browser.visitor) == [("denied", "panel")]


# rule 11.6
def test_a_person_who_was_forgotten_after_a_refusal_is_not_granted_by_a_tool() -> None:
    registry = MemoryRegistry(objection_key=b"k" * 32)
    registry.deny("user-1", "analytics")
    registry.forget("user-1")
    browser = Browser(Shop(registry=registry))
    browser.tool = onetrust(answer=True)
    assert browser.get("/visit", **{"X-Account": "user-1"}) == "dropped"


# rule 11.6
def test_a_registry_without_history_takes_a_tools_no_alone() -> None:
    class Short:
        def __init__(self) -> None:
            self.inner = MemoryRegistry()
            self.status, self.statuses, self.record = self.inner.status, self.inner.statuses, self.inner.record

    registry = Short()
    browser = Browser(Shop(registry=registry))
    browser.tool = onetrust(answer=True)
    account = {"X-Account": "user-1"}
    assert browser.get("/visit", **account) == "dropped"
    registry.inner.grant("user-1", recorded_at=START - timedelta(days=1))
    assert browser.get("/visit", **account) == "sent"
    browser.tool = onetrust(answer=False)
    assert [browser.get("/visit", **account) for _ in range(3)] == ["dropped"] * 3
    assert len(registry.inner.history("user-1")) == 4


# rule 11.6, rule 2.15
def test_a_yes_ages_from_when_it_was_given() -> None:
    registry = MemoryRegistry(max_age=timedelta(hours=3))
    browser = Browser(Shop(registry=registry))
    browser.tool = onetrust(answer=True)
    assert browser.get("/visit") == "sent"
    (record,) = registry.history(browser.visitor)
    assert record.expires_at == START.replace(microsecond=0) + timedelta(hours=3)
    other = Browser(Shop(registry=registry))
    other.tool = onetrust(answer=True, minutes=-90)
    assert other.get("/visit") == "dropped"
    old = Browser(Shop())
    old.tool = onetrust(answer=True, minutes=-60 * 24 * 200)
    assert old.get("/visit") == "dropped"


def test_a_request_from_another_site_which_leaves_cookies_out_makes_no_visitor(shop: Shop, browser: Browser) -> None:
    browser.tool = onetrust(answer=True)
    assert browser.get("/visit", **{"Sec-Fetch-Site": "cross-site"}) == "dropped"
    assert browser.cookie == ""
    assert browser.get("/visit", **{"Sec-Fetch-Site": "same-origin"}) == "sent"


# rule 11.6
def test_an_accounts_refusal_stands_and_a_browsers_no_is_heard(shop: Shop, browser: Browser) -> None:
    shop.registry.deny("user-1", "analytics")
    shop.registry.grant("user-2", "analytics", recorded_at=START - timedelta(days=1))
    browser.tool = onetrust(answer=True, minutes=120.5)
    assert browser.get("/visit", **{"X-Account": "user-1"}) == "dropped"
    browser.tool = onetrust(answer=False)
    assert browser.get("/visit", **{"X-Account": "user-2"}) == "dropped"
    assert shop.history("user-2") == [("granted", None), ("denied", "onetrust")]


# rule 11.6
def test_the_next_person_at_a_browser_does_not_inherit_what_its_tool_says(shop: Shop, browser: Browser) -> None:
    browser.tool = onetrust(answer=True)
    assert browser.get("/visit") == "sent"
    assert browser.get("/visit", **{"X-Account": "user-1"}) == "sent"
    assert shop.history("user-1") == [("granted", "login")]
    for path, account in (("/log-out", {}), ("/visit", {}), ("/visit", {"X-Account": "user-2"}), ("/visit", {})):
        assert browser.get(path, **account) in {"None", "dropped"}
    assert shop.history("user-2") == []
    browser.tool = onetrust(answer=True, minutes=120.7)
    assert browser.get("/visit", **{"X-Account": "user-2"}) == "sent"


def test_what_nobody_has_proved_is_obeyed_as_a_no_alone(shop: Shop, browser: Browser) -> None:
    browser.get("/panel/yes")
    browser.tool = onetrust(answer=False).partition("; ")[2]
    assert browser.get("/visit") == "dropped"
    assert shop.registry.history(browser.visitor)[-1].event_type == "signal"
    browser.tool = onetrust(answer=True).partition("; ")[2]
    assert browser.get("/visit") == "dropped"


def test_global_privacy_control_goes_before_a_yes_that_was_given_without_it(shop: Shop, browser: Browser) -> None:
    browser.tool = onetrust(answer=True)
    assert browser.get("/visit", **GPC) == "dropped"
    assert browser.get("/visit") == "dropped"
    assert [source for _, source in shop.history(browser.visitor)] == ["onetrust", "gpc", "gpc", "gpc"]
    other = Browser(shop)
    other.tool = onetrust(answer=True, gpc=1)
    assert other.get("/visit", **GPC) == "sent"


def test_a_tool_without_times_is_heard_where_its_answer_changes() -> None:
    shop = Shop(Klaro({"mixpanel": "analytics"}))
    browser = Browser(shop)
    for answer in ("true", "false", "true"):
        browser.tool = "klaro=" + quote(f'{{"mixpanel":{answer}}}')
        assert browser.get("/visit") == ("sent" if answer == "true" else "dropped")
    browser.get("/panel/no")
    assert browser.get("/visit") == "dropped"
    browser.get("/panel/yes")
    browser.tool = "klaro=" + quote('{"mixpanel":false}')
    assert browser.get("/visit") == "dropped"
    browser.get("/panel/yes")
    assert browser.get("/visit") == "sent"


def test_a_tool_that_tells_the_day_alone_is_heard_on_that_day_too() -> None:
    said: list[bool] = []
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)

    def of_the_day(_: object) -> Answers:
        return Answers({"analytics": said[-1]} if said else {}, is_explicit=True, given_at=today)

    browser = Browser(Shop(of_the_day))
    for answer in (True, False, True, False):
        said.append(answer)
        assert browser.get("/visit") == ("sent" if answer else "dropped")
    browser.get("/panel/yes")
    assert browser.get("/visit") == "sent"
    other = Browser(Shop(of_the_day))
    said.clear()
    other.get("/panel/yes")
    said.append(False)
    assert other.get("/visit") == "dropped"


def test_a_tcf_string_is_an_answer_too() -> None:
    browser = Browser(Shop(TCF({1: "analytics", 8: "analytics"})))
    browser.tool = f"euconsent-v2={TCF_YES}"
    assert browser.get("/visit") == "sent"


class Full(MemoryRegistry):
    """Answers, and records nothing any more."""

    is_full = False

    def deny(self, *arguments: Any, **fields: Any) -> None:
        self._must_have_room()
        super().deny(*arguments, **fields)

    def record_many(self, records: Any, **where: Any) -> None:
        self._must_have_room()
        super().record_many(records, **where)

    def _must_have_room(self) -> None:
        if self.is_full:
            raise RegistryError("the disk is full")


def test_a_no_that_cannot_be_recorded_is_obeyed_all_the_same() -> None:
    registry = Full()
    shop = Shop(registry=registry)
    browser = Browser(shop)
    browser.get("/panel/yes")
    registry.is_full = True
    browser.tool = onetrust(answer=False, minutes=120.5)
    assert (browser.get("/visit"), browser.get("/status")) == ("dropped", "denied")
    assert registry.status(browser.visitor, "analytics") is ConsentStatus.GRANTED
    registry.is_full = False
    assert browser.get("/visit") == "dropped"


@pytest.mark.parametrize("reader", [lambda _: 1 / 0, lambda _: {"analytics": True}, lambda _: None])
def test_a_reader_that_fails_breaks_no_request_and_grants_nothing(reader: Callable[[Any], Any], caplog: Any) -> None:
    browser = Browser(Shop(reader))
    browser.tool = "shop=ann@shop.example"
    assert browser.get("/visit") == "dropped"
    assert "a reader of a consent tool failed" in caplog.text
    assert "ann@" not in caplog.text


@pytest.mark.parametrize("wrong", ["OneTrust", OneTrust, [OneTrust], [None], 3])
def test_readers_that_cannot_be_called_are_refused_at_the_start(wrong: Any) -> None:
    app = Flask("shop")
    app.secret_key = "k"
    with pytest.raises(ConfigurationError):
        ConsentPanel(app, token="T", registry=MemoryRegistry(), consumer=FakeTransport(), answers=wrong)


def posted(*, answer: bool, is_explicit: bool = True, minutes: float = 0) -> str:
    at = moment(minutes).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return json.dumps({"answers": {"A": answer}, "isExplicit": is_explicit, "givenAt": at, "consentId": "c-1"})


# rule 11.6
def test_what_a_script_relays_is_recorded_as_what_a_cookie_says(shop: Shop, browser: Browser) -> None:
    assert browser.post(posted(answer=True, is_explicit=False)) == "False"
    assert browser.cookie == ""
    for minute, answer in enumerate([True, True, False]):
        assert browser.post(posted(answer=answer, minutes=minute)) == "True"
        assert browser.get("/visit") == ("sent" if answer else "dropped")
    assert shop.history(browser.visitor) == [("granted", "osano"), ("denied", "osano")]


# rule 11.6
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_page_of_another_site_relays_nothing(shop: Shop, browser: Browser, content_type: str) -> None:
    assert browser.post(posted(answer=True), content_type) == "False"
    assert browser.cookie == ""


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"answers": {"A": 1}, "isExplicit": true}',
        '{"answers": {"A": true}}',
        '{"answers": {"A": true}, "isExplicit": 1}',
        '{"answers": {"A": true, "A": false}, "isExplicit": true}',
        '{"answers": {"A": true}, "isExplicit": true, "more": 1}',
        '{"answers": {"A": true}, "isExplicit": true, "givenAt": "yesterday"}',
        '{"answers": {"A": true}, "isExplicit": true, "consentId": ""}',
        '{"answers": {"A": true}, "isExplicit": true}' + " " * 5000,
    ],
)
def test_a_body_that_is_odd_says_nothing(browser: Browser, body: str) -> None:
    read = Relay({"A": "analytics"}, source="osano")
    assert list(read(body).purposes.values()) == [None]
    assert read(body.encode()) == read(body)
    assert browser.post(body) == "False"


def test_no_cut_of_a_body_grants_anything() -> None:
    read = Relay({"A": "analytics"}, source="osano")
    whole = posted(answer=True)
    assert read(whole).purposes == {"analytics": True}
    for end in range(len(whole)):
        assert read(whole[:end]).purposes == {"analytics": None}
    assert read(b"\xff").purposes == read(None).purposes == {"analytics": None}


@pytest.mark.parametrize(
    "wrong", [{"groups": {}, "source": "x"}, {"groups": {"A": "a"}, "source": ""}, {"groups": {1: "a"}, "source": "x"}]
)
def test_a_relay_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Relay(**wrong)


# rule 11.6
def test_a_relayed_no_that_cannot_be_recorded_is_told_and_obeyed() -> None:
    registry = Full()
    shop = Shop(registry=registry)
    shop.app.config["PROPAGATE_EXCEPTIONS"] = True
    browser = Browser(shop)
    browser.get("/panel/yes")
    registry.is_full = True
    with pytest.raises(RegistryError, match="send it again"):
        browser.post(posted(answer=False, minutes=120.5))
    registry.is_full = False
    browser.post(posted(answer=False, minutes=120.5))
    assert browser.get("/visit") == "dropped"


# rule 11.6
def test_a_withdrawal_while_a_tools_yes_is_recorded_is_the_later_word() -> None:
    class Racing(MemoryRegistry):
        is_racing = False

        def history(self, subject_id: Any) -> list[ConsentRecord]:
            found = super().history(subject_id)
            if self.is_racing:
                self.is_racing = False
                self.deny(subject_id, "analytics", source="support")
            return found

    registry = Racing()
    browser = Browser(Shop(registry=registry))
    browser.get("/panel-of-profiles")
    registry.is_racing = True
    browser.tool = onetrust(answer=True)
    browser.get("/visit")
    assert browser.get("/visit") == "dropped"


# rule 11.6
def test_a_no_on_a_slow_clock_is_later_than_the_panels_yes_that_it_was_not_shown_at(browser: Browser) -> None:
    browser.get("/panel/yes")
    browser.tool = onetrust(answer=False, minutes=110)
    assert browser.get("/visit") == "dropped"


# rule 11.6
@pytest.mark.parametrize("order", [1, -1])
def test_of_two_tools_that_say_no_the_one_with_news_is_heard(order: int) -> None:
    readers = [OneTrust({"C0002": "analytics"}), Cookiebot({"statistics": "analytics"})]
    browser = Browser(Shop(*readers[::order]))
    browser.tool = onetrust(answer=False)
    browser.get("/visit")
    browser.get("/panel/yes")
    assert browser.get("/visit") == "sent"
    utc = int(moment(120.5).timestamp() * 1000)
    browser.tool += (
        "; CookieConsent={stamp:%27QUJD%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:false%2Cmarketing:false"
        f"%2Cmethod:%27explicit%27%2Cver:2%2Cutc:{utc}%2Cregion:%27de%27}}"
    )
    assert browser.get("/visit") == "dropped"


# rule 11.6
def test_what_an_account_was_shown_is_nobody_elses_where_its_session_just_ends(shop: Shop, browser: Browser) -> None:
    shop.registry.grant("user-1", "analytics")
    browser.tool = onetrust(answer=True)
    assert browser.get("/visit", **{"X-Account": "user-1"}) == "sent"
    for account in ({}, {"X-Account": "user-2"}):
        assert browser.get("/visit", **account) == "dropped"


# rule 11.6
def test_a_cookie_of_a_key_that_is_gone_makes_no_new_visitor_of_whoever_had_it(shop: Shop, browser: Browser) -> None:
    browser.tool, browser.cookie = onetrust(answer=True), "consentpanel=1." + "0" * 32 + "." + "A" * 43
    assert [browser.get("/visit") for _ in range(2)] == ["dropped"] * 2
    browser.tool = onetrust(answer=True, minutes=120.5)
    assert browser.get("/visit") == "sent"


# rule 11.6
def test_where_one_tool_cannot_be_read_no_yes_is_taken() -> None:
    browser = Browser(Shop(lambda _: 1 / 0, OneTrust({"C0002": "analytics"})))
    browser.tool = onetrust(answer=True)
    assert browser.get("/visit") == "dropped"


# rule 11.6
def test_one_of_an_accounts_browsers_does_not_undo_a_later_answer_by_what_it_said_long_ago(
    shop: Shop,
) -> None:
    account = {"X-Account": "user-1"}
    one, other = Browser(shop), Browser(shop)
    one.tool, other.tool = onetrust(answer=False, minutes=1), onetrust(answer=False)
    one.get("/visit", **account)
    one.get("/panel/yes", **account)
    for browser in (other, one, other):
        assert browser.get("/visit", **account) == "sent"
    assert len(shop.history("user-1")) == 2


def test_the_cookie_is_kept_for_as_long_as_from_the_last_answer(shop: Shop, browser: Browser) -> None:
    browser.get("/panel/yes")
    before = browser.cookie
    response = browser.client.get("/panel/no", headers={"Cookie": browser.cookie})
    assert before in response.headers["Set-Cookie"]
    assert "Set-Cookie" not in browser.client.get("/visit", headers={"Cookie": browser.cookie}).headers


# rules 11.6, 12.6: a registry that takes no grant without proof


def strict_shop(*answers: Any, version: str | None = "7") -> Shop:
    return Shop(*answers, registry=MemoryRegistry(required_policy_version=version, strict_records=True))


@pytest.mark.parametrize(
    ("read", "language", "version", "said"),
    [
        (OneTrust({"C0002": "analytics"}, language="de"), "de", "7", [("granted", "onetrust")]),
        (OneTrust({"C0002": "analytics"}), None, "7", []),
        (OneTrust({"C0002": "analytics"}, language="de"), "de", None, []),
    ],
)
def test_a_yes_is_taken_by_a_strict_registry_where_version_and_language_are_known(read, language, version, said):
    shop = strict_shop(read, version=version)
    browser = Browser(shop)
    browser.tool = onetrust(answer=True)
    browser.get("/visit")
    records = shop.registry.history(browser.visitor) if browser.cookie else []
    assert [(each.status.value, each.source) for each in records] == said
    assert {(each.language, each.policy_version) for each in records} == ({(language, version)} if said else set())


def test_a_strict_registry_takes_a_no_whoever_has_shown_what():
    shop = strict_shop(OneTrust({"C0002": "analytics"}))
    browser = Browser(shop)
    browser.tool = onetrust(answer=False)
    browser.get("/visit")
    assert shop.history(browser.visitor) == [("denied", "onetrust")]


def test_the_language_that_a_tool_writes_down_is_that_of_the_record():
    shop = strict_shop(TCF({1: "analytics", 8: "analytics"}, vendor=10))
    browser = Browser(shop)
    browser.tool = f"euconsent-v2={TCF_YES}"
    browser.get("/visit")
    assert [each.language for each in shop.registry.history(browser.visitor)] == ["en"]


def test_the_language_may_be_posted_with_a_relayed_answer():
    shop = strict_shop(lambda _: Answers())
    browser = Browser(shop)
    assert browser.post('{"answers": {"A": true}, "isExplicit": true, "language": "fr-CA"}') == "True"
    assert [each.language for each in shop.registry.history(browser.visitor)] == ["fr-CA"]
    assert browser.post('{"answers": {"A": false}, "isExplicit": true, "language": "no <tag>"}') == "False"
