"""The panel in Flask: mounted by `init_app`, with templates to override (rules 12.2 and 12.3)."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest

pytest.importorskip("flask")
from flask import Flask, render_template_string
from jinja2 import DictLoader

from consentpanel import ConfigurationError, ConsentStatus, InvalidRecordError
from consentpanel.flask import ConsentPanel, current_consent
from consentpanel.panel import Panel, Request, page_of
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

OWN = {"Sec-Fetch-Site": "same-origin"}
GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED


@pytest.fixture
def make(notice_in):
    """Makes an application with the panel."""

    def make(*, templates=(), before=lambda app: None, **options: Any) -> Flask:
        app = Flask("shop")
        app.secret_key = "k" * 32
        app.jinja_loader = DictLoader(dict(templates))
        app.add_url_rule("/who", "who", lambda: current_consent.subject_id or "")
        app.add_url_rule(
            "/page",
            "page",
            lambda: render_template_string("{{ consent_banner() }}|{{ consent_link() }}|{{ consent_state() }}"),
        )
        app.add_url_rule("/head", "head", lambda: render_template_string("{{ consent_head(nonce='n') }}"))
        before(app)
        given = {"token": "T", "registry": MemoryRegistry(strict_records=True), "consumer": FakeTransport()}
        ConsentPanel(app, **{**given, "notice": notice_in, **options})
        return app

    return make


def form_of(page: str) -> dict[str, str]:
    pairs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in pairs}


# rule 12.3: mounted by `init_app`
def test_the_panel_is_mounted_where_a_notice_is_configured(make):
    registry = MemoryRegistry(strict_records=True)
    browser = make(registry=registry).test_client()
    page = browser.get("/privacy/", headers={"Accept-Language": "de"})
    assert page.status_code == 200
    assert '<html lang="de" dir="ltr">' in page.text
    assert page.headers["Vary"] == "Cookie, Accept-Language, Sec-GPC"
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers
    fields = form_of(page.text) | {"answer.analytics": "yes", "answer.profiles": "no"}
    assert browser.post("/privacy/", data=fields).status_code == 403
    found = browser.post("/privacy/", data=fields, headers=OWN)
    assert (found.status_code, found.headers["Location"]) == (303, "/privacy/?done=saved")
    who = browser.get("/who").text
    assert [(str(each.purpose), each.language, each.policy_version) for each in registry.history(who)] == [
        ("profiles", "de", "4"),
        ("analytics", "de", "4"),
    ]
    assert browser.post("/privacy/withdraw", headers=OWN).status_code == 303
    assert registry.status(who, "analytics") is DENIED
    for path, status in (("notice", 200), ("receipt", 200), ("api", 200), ("panel.css", 200), ("nowhere", 404)):
        assert browser.get(f"/privacy/{path}").status_code == status
    assert browser.put("/privacy/").status_code == 405
    assert browser.head("/privacy/").status_code == 200


def test_nothing_is_mounted_unasked(make):
    app = make(notice=None)
    assert app.test_client().get("/privacy/").status_code == 404
    with app.test_request_context("/"):
        assert json.loads(render_template_string("{{ consent_state() }}").partition(">")[2].partition("<")[0]) == {
            "analytics": "unknown",
            "feature_flags": "unknown",
            "profiles": "unknown",
        }


def test_it_stands_where_the_configuration_says(make, notice_in):
    panel = Panel(notice_in, languages=("de",))
    app = make(notice=None, panel=panel, panel_url="/about/you/")
    browser = app.test_client()
    assert 'action="/about/you/"' in browser.get("/about/you/").text
    below = browser.get("/about/you/", environ_overrides={"SCRIPT_NAME": "/shop"})
    assert 'action="/shop/about/you/"' in below.text


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"notice": 3}, "CONSENTPANEL_NOTICE: notice must be"),
        ({"panel": "shop.nowhere.PANEL"}, "CONSENTPANEL_PANEL"),
        ({"panel": 3, "notice": None}, "CONSENTPANEL_PANEL must be a Panel"),
        ({"panel": Panel()}, "both given"),
        ({"panel_url": "privacy"}, "CONSENTPANEL_PANEL_URL must be a path"),
    ],
)
def test_a_configuration_that_cannot_work_is_told_at_the_start(make, options, match):
    with pytest.raises(ConfigurationError, match=match):
        make(**options)


# rule 12.2: template blocks to override
def test_an_application_writes_a_page_of_its_own_around_the_parts(make):
    mine = '{% extends "consentpanel/base.html" %}{% block before %}<nav>Tea</nav>{% endblock %}{% block history %}{% endblock %}'
    page = make(templates={"consentpanel/panel.html": mine}).test_client().get("/privacy/").text
    assert "<nav>Tea</nav>" in page
    assert "Your answers so far" not in page
    assert 'name="answer.analytics"' in page


def test_the_page_is_the_one_without_a_framework(make):
    app = make()
    whole = app.test_client().get("/privacy/").text
    with app.test_request_context("/privacy/"):
        view = app.extensions["consentpanel"].panel.view(
            Request(mount="/privacy"), current_consent._get_current_object()
        )
    assert re.sub(r"\s+", "", whole) == re.sub(r"\s+", "", page_of(view))


# rule 12.2: a banner fragment and a link at the foot
def test_any_page_may_ask_and_link(make):
    browser = make(language="de").test_client()
    banner, link, state = browser.get("/page").text.split("|")
    assert 'action="/privacy/"' in banner
    assert link == '<a href="/privacy/">[de] Privacy choices</a>'
    assert state.startswith('<script id="consent-state" type="application/json">')
    browser.post("/privacy/", data=form_of(banner) | {"all": "no"}, headers=OWN)
    banner, _, state = browser.get("/page").text.split("|")
    assert banner == ""
    said = state.partition(">")[2].partition("<")[0]
    assert json.loads(said)["analytics"] == "denied"
    # rule 10.8: scripts are told the same in the panel's page
    assert said in browser.get("/privacy/").text


# rules 10.8 and 12.2: the sheet and the script on any page, where the panel stands
def test_any_page_takes_the_sheet_and_the_script(make):
    browser = make(notice=None, panel=Panel(browser_purposes=("analytics",)), panel_url="/about/you").test_client()
    head = browser.get("/head").text
    assert re.findall(r'(?:href|src)="([^"?]*)', head) == ["/about/you/panel.css", "/about/you/panel.js"]
    assert head.count('nonce="n"') == 2
    assert 'data-consentpanel-purposes="analytics"' in head
    for address in re.findall(r'(?:href|src)="([^"]*)', head):
        assert "immutable" in browser.get(address).headers["Cache-Control"]


def test_a_banner_leaves_the_form_of_its_page_alone(make):
    def before(app):
        page = "{{ consent_banner() and '' }}{{ request.form['tea'] }}"
        app.add_url_rule("/buy", "buy", lambda: render_template_string(page), methods=["POST"])

    assert make(before=before).test_client().post("/buy", data={"tea": "Assam"}).text == "Assam"


# rule 12.2: CSRF-protected, also by what the application has
def test_the_token_of_flask_wtf_is_asked_for_and_sent_along(make):
    wtf = pytest.importorskip("flask_wtf")
    browser = make(before=wtf.CSRFProtect).test_client()
    fields = form_of(browser.get("/privacy/").text)
    assert fields["csrf_token"]
    without = {name: each for name, each in fields.items() if name != "csrf_token"} | {"all": "yes"}
    assert browser.post("/privacy/", data=without, headers=OWN).status_code == 400
    # The browser may be silent, since the token was checked.
    assert browser.post("/privacy/", data=fields | {"all": "yes"}).status_code == 303
    forged = {"Sec-Fetch-Site": "cross-site"}
    assert browser.post("/privacy/", data=fields | {"all": "no"}, headers=forged).status_code == 403
    assert [each["answer"] for each in browser.get("/privacy/api").json["purposes"]] == [True, None, True]


def test_programs_bring_the_token_of_flask_wtf_in_a_header(make):
    wtf = pytest.importorskip("flask_wtf")
    browser = make(before=wtf.CSRFProtect).test_client()
    token = form_of(browser.get("/privacy/").text)["csrf_token"]
    state = browser.get("/privacy/api").json
    given = {name: state[name] for name in ("notice_version", "language", "shown", "who")} | {"all": True}
    assert browser.post("/privacy/api", json=given, headers=OWN).status_code == 400
    found = browser.post("/privacy/api", json=given, headers={**OWN, "X-CSRFToken": token})
    assert found.json["result"] == "saved"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_flasks_test_client_is_taken(make, kind):
    browser = make().test_client()
    fields = form_of(browser.get("/privacy/").text) | {"all": "yes"}
    assert browser.post("/privacy/", data=fields, content_type=kind, headers=OWN).status_code == 303


def test_a_body_that_is_too_large_is_refused(make):
    browser = make().test_client()
    assert browser.post("/privacy/", data={"all": "y" * 70_000}, headers=OWN).status_code == 413


# rule 12.6: with a panel the adapter's own registry takes no grant without proof


def test_with_a_notice_the_registry_is_strict_and_answers_are_to_that_notice(make, notice_in, tmp_path):
    pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{tmp_path / 'consent.db'}"
    app = make(registry=None, database=url, notice=notice_in)
    panel = app.extensions["consentpanel"]
    with app.test_request_context():
        from consentpanel.flask import mixpanel

        registry = mixpanel._guard.settings().registry
        registry.create_tables()
        assert registry.strict_records
        with pytest.raises(InvalidRecordError, match="language"):
            current_consent.answer(analytics=True)
        current_consent.answer(analytics=True, language="en")
        (record,) = registry.history(current_consent.subject_id)
        assert record.policy_version == notice_in("en").version
    assert panel.visits.shown_version() == notice_in("en").version


@pytest.mark.parametrize(
    ("more", "strict"), [({"notice": None}, False), ({"strict_records": False}, False), ({}, True)]
)
def test_the_configuration_may_say_otherwise(make, tmp_path, more, strict):
    pytest.importorskip("sqlalchemy")
    app = make(registry=None, database=f"sqlite:///{tmp_path / 'consent.db'}", **more)
    assert app.extensions["consentpanel"].client._guard.settings().registry.strict_records is strict


def test_the_version_may_be_that_of_the_notice(make, notice_in):
    # rule 12.3
    app = make(policy_version="notice")
    assert app.extensions["consentpanel"].said.policy_version == notice_in("en").version
    with pytest.raises(ConfigurationError, match="CONSENTPANEL_NOTICE is missing"):
        make(policy_version="notice", notice=None)
    with pytest.raises(
        ConfigurationError, match="made no notice, which is needed before the client is: ZeroDivisionError"
    ):
        make(policy_version="notice", notice=lambda language: 1 / 0)


# rule 12.2: no cookie where nothing is asked, and none for a file
def test_a_token_is_made_only_for_a_form(make):
    wtf = pytest.importorskip("flask_wtf")
    app = make(before=wtf.CSRFProtect)
    browser = app.test_client()
    assert "session=" in str(browser.get("/page").headers.getlist("Set-Cookie"))
    fields = form_of(browser.get("/privacy/").text) | {"all": "no"}
    assert browser.post("/privacy/", data=fields, headers=OWN).status_code == 303
    browser.delete_cookie("session")
    page = browser.get("/page")
    assert page.text.startswith("|<a ")
    assert "Set-Cookie" not in page.headers
    for path in ("panel.css", "notice", "receipt"):
        assert "session=" not in str(app.test_client().get(f"/privacy/{path}").headers.getlist("Set-Cookie"))


# rule 12.2: a token is believed only where it was checked
def test_a_blueprint_that_flask_wtf_leaves_alone_is_not_taken_for_checked(make):
    wtf = pytest.importorskip("flask_wtf")
    app = make(before=wtf.CSRFProtect)
    app.extensions["csrf"].exempt(app.blueprints["consentpanel"])
    browser = app.test_client()
    fields = form_of(browser.get("/privacy/").text) | {"all": "no"}
    assert browser.post("/privacy/", data=fields).status_code == 403
    assert browser.post("/privacy/", data=fields, headers=OWN).status_code == 303


def test_a_language_that_cannot_be_told_is_that_of_the_browser(make):
    browser = make(language=lambda: {}["language"]).test_client()
    page = browser.get("/privacy/", headers={"Accept-Language": "de"})
    assert (page.status_code, '<html lang="de"' in page.text) == (200, True)
