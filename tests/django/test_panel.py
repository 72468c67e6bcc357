"""The panel in Django: mounted by one line of urls, with a template to override (rules 10.8, 12.2 and 12.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("django")
from django.conf import settings
from django.core.checks import run_checks
from django.db import connection, transaction
from django.template import Context, Template
from django.test import Client, override_settings
from django.urls import reverse

from consentpanel import ConfigurationError, ConsentStatus, FieldPolicy, PrivacyRequests
from consentpanel.cmp import Klaro
from consentpanel.django import DjangoRegistry
from consentpanel.django.forms import ConsentForm
from consentpanel.panel import Panel, Request, page_of
from consentpanel.testing import FakePrivacyAPI, FakeTransport
from consentpanel.transparency import notice

GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED
OWN = {"HTTP_SEC_FETCH_SITE": "same-origin"}


@pytest.fixture(autouse=True)
def vendor(on_sqlite: str, notice_in: Any) -> Iterator[FakeTransport]:
    from django.apps import apps

    for model in apps.get_app_config("consentpanel").get_models():
        model._base_manager.all().delete()
    vendor = FakeTransport()
    with override_settings(CONSENTPANEL=configured(vendor, NOTICE=notice_in)):
        yield vendor


def configured(vendor: FakeTransport, **more: Any) -> dict[str, Any]:
    return {"TOKEN": "T", "POLICY": FieldPolicy(), "CONSUMER": vendor, "STRICT_RECORDS": True, **more}


def form_of(page: Any) -> dict[str, str]:
    pairs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode())
    return {name: unescape(value) for name, value in pairs}


def who(browser: Client) -> Any:
    return browser.get("/status").wsgi_request.consent.subject_id  # type: ignore[attr-defined]


def rendered(text: str, browser: Client, **more: Any) -> str:
    request = browser.get("/status").wsgi_request
    return str(Template("{% load consentpanel %}" + text).render(Context({"request": request, **more})))


# rules 12.2 and 12.3: every answer is a record with what was shown, and needs the site's own token
def test_the_page_asks_and_records_and_takes_back():
    browser = Client(enforce_csrf_checks=True)
    page = browser.get("/privacy/", HTTP_ACCEPT_LANGUAGE="de")
    assert " checked" not in page.content.decode()
    assert '<html lang="de" dir="ltr">' in page.content.decode()
    assert page["Cache-Control"] == "no-store"
    assert {each.strip() for each in page["Vary"].split(",")} == {"Cookie", "Accept-Language", "Sec-GPC"}
    assert "consentpanel" not in browser.cookies
    fields = form_of(page)
    answers = {"answer.analytics": "yes", "answer.profiles": "no"}
    without = {name: each for name, each in fields.items() if name != "csrfmiddlewaretoken"}
    assert browser.post("/privacy/", without | answers, **OWN, content_type=FORM_TYPE).status_code == 403
    found = post(browser, "/privacy/", fields | answers)
    assert (found.status_code, found["Location"]) == (303, "/privacy/?done=saved")
    registry = DjangoRegistry()
    assert [(str(each.purpose), each.language, each.policy_version) for each in registry.history(who(browser))] == [
        ("profiles", "de", "4"),
        ("analytics", "de", "4"),
    ]
    assert post(browser, reverse("consentpanel:withdraw"), fields).status_code == 303
    assert registry.status(who(browser), "analytics") is DENIED
    assert registry.history(who(browser))[-1].source == "panel"


FORM_TYPE = "application/x-www-form-urlencoded"


def post(browser: Client, path: str, fields: dict[str, str], **more: Any) -> Any:
    from urllib.parse import urlencode

    return browser.post(path, urlencode(fields), content_type=FORM_TYPE, **more)


def test_a_page_of_another_site_is_refused_though_it_has_a_token():
    browser = Client(enforce_csrf_checks=True)
    fields = form_of(browser.get("/privacy/")) | {"all": "yes"}
    assert post(browser, "/privacy/", fields, HTTP_SEC_FETCH_SITE="cross-site").status_code == 403
    assert who(browser) is None


def test_programs_use_the_token_of_djangos_cookie():
    browser = Client(enforce_csrf_checks=True)
    state = browser.get("/privacy/api").json()
    given = {name: state[name] for name in ("notice_version", "language", "shown", "who")} | {"all": True}
    body = {"data": json.dumps(given), "content_type": "application/json"}
    assert browser.post("/privacy/api", **body, **OWN).status_code == 403
    token = browser.cookies["csrftoken"].value
    assert browser.post("/privacy/api", **body, HTTP_X_CSRFTOKEN=token, **OWN).json()["result"] == "saved"


def test_what_belongs_to_the_page_stands_below_it():
    browser = Client()
    for path in ("notice", "receipt", "api", "panel.css", "panel.js", "openapi.json"):
        assert browser.get(f"/privacy/{path}").status_code == 200
    assert browser.get("/privacy/nowhere").status_code == 404
    assert browser.put("/privacy/").status_code == 405
    # What is the same for all sets no cookie, and depends on none.
    assert "csrftoken" not in Client().get("/privacy/panel.css").cookies
    assert Client().get("/privacy/notice")["Vary"] == "Accept-Language"


def test_a_form_of_djangos_test_client_is_taken():
    browser = Client()
    fields = form_of(browser.get("/privacy/"))
    assert browser.post("/privacy/", fields | {"answer.analytics": "yes"}).status_code == 303
    assert DjangoRegistry().status(who(browser), "analytics") is GRANTED


def test_a_form_that_is_too_large_is_refused():
    browser = Client()
    assert browser.post("/privacy/", {"all": "y" * 70_000}, **OWN).status_code == 413
    assert who(browser) is None


# rule 12.2: the site's own language goes first, where it chooses one
def test_the_language_is_the_sites_where_it_has_a_choice():
    middleware = [*settings.MIDDLEWARE]
    middleware.insert(1, "django.middleware.locale.LocaleMiddleware")
    with override_settings(MIDDLEWARE=middleware, LANGUAGES=[("en", "English"), ("de", "German")]):
        browser = Client()
        browser.cookies[settings.LANGUAGE_COOKIE_NAME] = "de"
        assert '<html lang="de"' in browser.get("/privacy/", HTTP_ACCEPT_LANGUAGE="en").content.decode()


# rule 12.2: template blocks to override
def test_a_project_writes_a_page_of_its_own_around_the_parts(tmp_path: Path):
    (tmp_path / "consentpanel").mkdir()
    mine = '{% extends "consentpanel/panel.html" %}{% block before %}<nav>Tea</nav>{% endblock %}{% block history %}{% endblock %}'
    (tmp_path / "consentpanel" / "panel.html").write_text(mine)
    with override_settings(TEMPLATES=[{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]):
        page = Client().get("/privacy/").content.decode()
    assert "<nav>Tea</nav>" in page
    assert "Your answers so far" not in page
    assert 'name="answer.analytics"' in page


def test_the_page_is_the_one_without_a_framework(notice_in: Any):
    browser = Client()
    whole = browser.get("/privacy/").content.decode()
    whole = re.sub(r'<input type="hidden" name="csrfmiddlewaretoken"[^>]*>', "", whole)
    consent = browser.get("/status").wsgi_request.consent  # type: ignore[attr-defined]
    view = Panel(notice_in).view(Request(mount="/privacy"), consent)
    assert re.sub(r"\s+", "", whole) == re.sub(r"\s+", "", page_of(view))


# rule 10.8
def test_the_banner_asks_until_it_is_answered():
    browser = Client()
    banner = rendered("{% consent_banner %}", browser)
    assert re.findall(r"<button[^>]*>([^<]*)", banner) == ["No to all", "Yes to all"]
    assert 'name="csrfmiddlewaretoken"' in banner
    pairs = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', banner))
    assert post(browser, "/privacy/", pairs | {"all": "no"}, **OWN).status_code == 303
    assert rendered("{% consent_banner %}", browser).strip() == ""
    assert DjangoRegistry().status(who(browser), "analytics") is DENIED
    assert rendered("{% consent_link %}", browser) == '<a href="/privacy/">Privacy choices</a>'


# rules 10.8 and 12.2
def test_any_page_takes_the_sheet_and_the_script():
    browser = Client()
    head = rendered("{% consent_head nonce='n' %}", browser)
    assert re.findall(r'(?:href|src)="([^"?]*)', head) == ["/privacy/panel.css", "/privacy/panel.js"]
    assert head.count('nonce="n"') == 2
    assert rendered("{% consent_head %}", browser) in browser.get("/privacy/").content.decode()


# rule 10.8
def test_scripts_are_told_the_same_on_any_page():
    browser = Client()
    browser.post("/answer", {"analytics": "no"})
    told = rendered("{% consent_state %}", browser)
    assert told in browser.get("/privacy/").content.decode()
    assert json.loads(told.partition(">")[2].partition("<")[0])["analytics"] == "denied"
    assert 'id="other"' in rendered("{% consent_state 'other' %}", browser)


def test_scripts_are_told_without_a_panel_or_a_middleware():
    text = "{% load consentpanel %}{% consent_state %}"
    request = Client().get("/status").wsgi_request
    with override_settings(ROOT_URLCONF="django.contrib.auth.urls"):
        assert "unknown" in Template(text).render(Context({"request": request}))
    unknown = '{"analytics": "unknown", "feature_flags": "unknown", "profiles": "unknown"}'
    assert unknown in Template(text).render(Context())


# rule 10.8
def test_a_page_of_the_project_shows_the_questions_or_a_form_of_its_own():
    browser = Client()
    assert 'name="answer.analytics"' in rendered("{% consent_panel %}", browser)
    form = ConsentForm(purposes=["analytics"])
    own = rendered("{% consent_panel form %}", browser, form=form, csrf_token="T")
    assert 'name="analytics"' in own
    assert '<form method="post">' in own
    browser.post("/answer", {"analytics": "no"})
    assert "analytics: denied" in rendered("{% consent_panel form %}", browser, form=form)


def test_a_panel_of_the_projects_own_is_taken(vendor: FakeTransport, notice_in: Any):
    panel = Panel(notice_in, languages=("de",))
    with override_settings(CONSENTPANEL=configured(vendor, PANEL=panel)):
        assert '<html lang="de"' in Client().get("/privacy/").content.decode()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"NOTICE": 3}, "consentpanel.E011"),
        ({"PANEL": 3}, "consentpanel.E011"),
        ({"NOTICE": lambda language: None, "PANEL": Panel()}, "consentpanel.E011"),
        ({"NOTICE": "shop.nowhere.notice"}, "consentpanel.E001"),
        ({"PANEL_URL": "/about/"}, "consentpanel.W009"),
    ],
)
def test_a_setting_that_cannot_work_is_told_by_check(vendor: FakeTransport, said: dict[str, Any], code: str):
    with override_settings(CONSENTPANEL=configured(vendor, **said)):
        assert code in {each.id for each in run_checks(tags=["consentpanel"])}


def test_without_the_middleware_it_says_what_is_missing():
    middleware = [each for each in settings.MIDDLEWARE if "consentpanel" not in each]
    with override_settings(MIDDLEWARE=middleware), pytest.raises(ConfigurationError, match="MIDDLEWARE"):
        Client().get("/privacy/")


# rule 7.3: what the vendor is asked is in no transaction of the request's, which could not take it back
@pytest.mark.parametrize("is_down", [False, True])
def test_an_erasure_is_told_where_requests_are_atomic(vendor, notice_in, monkeypatch, is_down):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", bool(1))
    with FakePrivacyAPI() as api:
        privacy = PrivacyRequests("TOKEN", "OAUTH", host=api.url)
        with override_settings(CONSENTPANEL=configured(vendor, NOTICE=notice_in, PRIVACY=privacy)):
            browser = Client()
            fields = form_of(browser.get("/privacy/"))
            post(browser, "/privacy/", fields | {"all": "yes"})
            if is_down:
                api.fail(500)
            found = post(browser, "/privacy/erase", fields)
            result = "erase_failed" if is_down else "erased"
            assert found["Location"] == f"/privacy/?done={result}"
            assert browser.get("/privacy/api?done=erased").json()["result"] == result
            assert DjangoRegistry().history(who(browser))[-1].evidence["erasure"] == "asked"


# rule 7.3: in somebody else's transaction it is asked for after the commit, and the next page tells what became of it
@pytest.mark.parametrize("is_down", [False, True])
def test_an_erasure_that_waits_for_a_commit_is_told_by_what_became_of_it(vendor, notice_in, is_down):
    with FakePrivacyAPI() as api:
        privacy = PrivacyRequests("TOKEN", "OAUTH", host=api.url)
        with override_settings(CONSENTPANEL=configured(vendor, NOTICE=notice_in, PRIVACY=privacy)):
            browser = Client()
            fields = form_of(browser.get("/privacy/"))
            post(browser, "/privacy/", fields | {"all": "yes"})
            if is_down:
                api.fail(500)
            with transaction.atomic():
                found = post(browser, "/privacy/erase", fields)
            assert found["Location"] == "/privacy/?done=erased"
            result = "erase_failed" if is_down else "erased"
            assert browser.get("/privacy/api?done=erased").json()["result"] == result


# rule 12.2: what a cache may keep for all is of nobody in particular
@pytest.mark.parametrize("path", ["notice", "panel.css", "openapi.json"])
def test_what_is_the_same_for_all_makes_no_visitor(vendor: FakeTransport, notice_in: Any, path: str):
    answers = [Klaro({"mixpanel": "analytics"})]
    with override_settings(CONSENTPANEL=configured(vendor, NOTICE=notice_in, STRICT_RECORDS=False, ANSWERS=answers)):
        browser = Client()
        browser.cookies["klaro"] = quote(json.dumps({"mixpanel": True}))
        found = browser.get(f"/privacy/{path}")
        assert found.status_code == 200
        assert "consentpanel" not in found.cookies
        assert "Cookie" not in found.get("Vary", "")
        assert "consentpanel" in browser.get("/privacy/").cookies


# rule 12.2: no cookie where nothing is asked
def test_a_token_is_made_only_for_a_form():
    browser = Client()
    fields = form_of(browser.get("/privacy/"))
    assert post(browser, "/privacy/", fields | {"all": "no"}, **OWN).status_code == 303
    del browser.cookies["csrftoken"]
    page = browser.get("/banner")
    assert b"<form" not in page.content
    assert "csrftoken" not in page.cookies
    assert "Cookie" in page["Vary"]
    assert "csrftoken" not in browser.get("/privacy/receipt").cookies
    assert "csrftoken" in Client().get("/banner").cookies


# rule 12.3: the banner works in a project that has no `CsrfViewMiddleware`, and so does a second page of it
@pytest.mark.parametrize("kept", [False, True])
def test_a_banner_brings_the_cookie_of_its_token(kept: bool):
    without = [each for each in settings.MIDDLEWARE if "Csrf" not in each]
    with override_settings(MIDDLEWARE=without, CSRF_USE_SESSIONS=kept):
        browser = Client(enforce_csrf_checks=True)
        fields = form_of(browser.get("/banner")) | {"all": "no"}
        browser.get("/banner")
        assert post(browser, "/privacy/", fields | {"csrfmiddlewaretoken": "x" * 64}, **OWN).status_code == 403
        assert post(browser, "/privacy/", fields, **OWN).status_code == 303
        assert DjangoRegistry().status(who(browser), "analytics") is DENIED


# rule 12.2: what is malformed is answered in a line, and nothing of it is logged
@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"--x\r\n", "multipart/form-data", 400),
        (b"--x\r\n", "multipart/form-data; boundary=" + "x" * 300, 400),
        (b"&".join(b"a%d=1" % number for number in range(2000)), FORM_TYPE, 400),
        (b"a=" + b"x" * 3_000_000, FORM_TYPE, 413),
    ],
)
@pytest.mark.parametrize("enforced", [True, False])
def test_a_form_that_cannot_be_read_is_refused_by_the_panel(body: bytes, kind: str, status: int, enforced: bool):
    with override_settings(DEBUG=True):
        found = Client(enforce_csrf_checks=enforced).post("/privacy/", data=body, content_type=kind, **OWN)
    assert found.status_code == status
    assert found["Content-Type"] == "text/plain; charset=utf-8"
    assert found["Cache-Control"] == "no-store"
    assert b"Traceback" not in found.content


def test_a_language_that_cannot_be_told_is_that_of_the_browser(vendor: FakeTransport, notice_in: Any):
    def broken() -> str:
        raise KeyError("language")

    with override_settings(CONSENTPANEL=configured(vendor, NOTICE=notice_in, LANGUAGE=broken)):
        page = Client().get("/privacy/", HTTP_ACCEPT_LANGUAGE="de")
    assert (page.status_code, '<html lang="de"' in page.content.decode()) == (200, True)


# rule 10.6: what cannot work is told before a request comes
def test_a_notice_that_cannot_be_made_is_told_by_the_checks(vendor: FakeTransport, notice_in: Any) -> None:
    def lacks(language: str) -> Any:
        return notice(FieldPolicy(), contact="x", publish=True, language=language)

    def fails(language: str) -> Any:
        raise ValueError(language)

    for made, found in ((notice_in, []), (lacks, ["consentpanel.E011"]), (fails, ["consentpanel.W010"])):
        with override_settings(CONSENTPANEL=configured(vendor, NOTICE=made)):
            said = [each for each in run_checks() if each.id in {"consentpanel.E011", "consentpanel.W010"}]
        assert [each.id for each in said] == found
        assert not said or made is fails or "controller=" in said[0].msg


def test_the_test_client_of_django_follows_an_answer(vendor: FakeTransport) -> None:
    browser = Client()
    found = browser.post("/privacy/", form_of(browser.get("/privacy/")) | {"all": "no"}, follow=True, **OWN)
    assert found.redirect_chain == [("/privacy/?done=saved", 303)]
