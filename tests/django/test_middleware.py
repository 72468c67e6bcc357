"""A request's consent, the visitors' cookie, GPC, log-in and log-out (contract rules 10.3, 10.5 and 11.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("django")
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from consentpanel import AsyncMixpanel, BufferedConsumer, ConsentStatus, FieldPolicy, RegistryError
from consentpanel.asgi import ConsentMiddleware as ASGIConsentMiddleware
from consentpanel.cmp import Klaro
from consentpanel.django import DjangoRegistry, mixpanel
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
GPC = {"Sec-GPC": "1"}


@pytest.fixture(autouse=True)
def _tables(on_sqlite: str) -> None:
    from django.apps import apps

    for model in apps.get_app_config("consentpanel").get_models():
        model._base_manager.all().delete()
    get_user_model().objects.all().delete()


@pytest.fixture
def vendor() -> Iterator[FakeTransport]:
    vendor = FakeTransport()
    with override_settings(
        CONSENTPANEL={"TOKEN": "T", "POLICY": FieldPolicy(), "CONSUMER": vendor, "POLICY_VERSION": "3"}
    ):
        yield vendor


@pytest.fixture
def registry(vendor: Any) -> DjangoRegistry:
    return DjangoRegistry()


def text(response: Any) -> str:
    return str(response.content.decode())


def test_a_visitor_is_known_by_a_cookie_that_is_written_with_an_answer(vendor, registry):  # rule 10.3
    browser = Client()
    assert text(browser.get("/page")) == "no_consent"
    assert "consentpanel" not in browser.cookies
    response = browser.post("/answer", {"analytics": "yes", "profiles": "no"}, headers={"Accept-Language": "en"})
    who = text(response)
    cookie = response.cookies["consentpanel"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert who.startswith("visitor-")
    assert who not in cookie.value
    assert text(browser.get("/page")) == "consent_granted"
    vendor.assert_tracked("Viewed", distinct_id=who)
    assert "consentpanel" not in browser.get("/page").cookies
    records = {str(each.purpose): each for each in registry.history(who)}
    assert (records["analytics"].status, records["profiles"].status) == (GRANTED, DENIED)
    assert {each.policy_version for each in records.values()} == {"3"}
    assert {(each.source, each.event_type, each.language) for each in records.values()} == {
        ("website", "explicit", "en-us")
    }


def test_two_browsers_are_two_visitors_and_a_forged_cookie_is_nobody_s(vendor):
    one, other = Client(), Client()
    assert text(one.post("/answer", {"analytics": "yes"})) != text(other.post("/answer", {"analytics": "no"}))
    assert text(one.get("/page")) == "consent_granted"
    assert text(other.get("/page")) == "withdrawn"
    forged = one.cookies["consentpanel"].value
    for value in (
        forged[:-1] + ("A" if forged[-1] != "A" else "B"),
        forged[:20],
        "1..",
        "é",
        "1." + "0" * 32 + "." + "A" * 43,
    ):
        other.cookies["consentpanel"] = value
        assert text(other.get("/page")) == "no_consent"
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=["not a secret, for tests alone"]):
        assert text(one.get("/page")) == "consent_granted"
    with override_settings(SECRET_KEY="another"):
        assert text(one.get("/page")) == "no_consent"


def test_an_answer_that_is_none_is_refused(vendor):
    from django.test import RequestFactory

    from consentpanel import InvalidRecordError
    from consentpanel.django import ConsentMiddleware

    request: Any = RequestFactory().get("/")
    from django.http import HttpResponse

    ConsentMiddleware(lambda _: HttpResponse())(request)
    for wrong in ({}, {"analytics": None}, {"analytics": "yes"}, {"analytics": 0}):
        with pytest.raises(InvalidRecordError):
            request.consent.answer(wrong)
    assert request.consent.subject_id is None


def test_an_asynchronous_page_is_served_alike(vendor):
    async def visit() -> list[str]:
        browser = AsyncClient()
        said = [text(await browser.get("/later")), text(await browser.post("/later"))]
        return [*said, text(await browser.get("/later")), text(await browser.get("/later", headers=GPC))]

    assert async_to_sync(visit)() == [
        "unknown no_consent",
        "granted consent_granted",
        "granted consent_granted",
        "denied withdrawn",
    ]


def test_global_privacy_control_is_a_denial_that_is_recorded_once(vendor, registry):  # rule 10.3
    browser = Client()
    assert text(browser.get("/status", headers=GPC)) == "denied"
    assert "consentpanel" not in browser.cookies
    who = text(browser.post("/answer", {"analytics": "yes"}))
    assert text(browser.get("/status")) == "granted"
    # Whatever the page does.
    browser.get("/untouched", headers=GPC)
    browser.get("/untouched", headers=GPC)
    assert text(browser.get("/status")) == "denied"
    said = [(each.source, each.event_type) for each in registry.history(who) if each.purpose == "analytics"]
    assert said == [("website", "explicit"), ("gpc", "signal")]


def test_a_later_explicit_grant_stands_against_global_privacy_control(vendor, registry):  # rule 10.3
    browser = Client()
    browser.post("/answer", {"analytics": "yes"}, headers=GPC)
    assert text(browser.get("/page", headers=GPC)) == "consent_granted"
    other = Client()
    other.post("/answer", {"analytics": "yes"})
    other.get("/untouched", headers=GPC)
    who = text(other.post("/answer", {"analytics": "yes"}))
    assert text(other.get("/page", headers=GPC)) == "consent_granted"
    assert registry.status(who, "profiles") is DENIED


def test_the_purposes_of_global_privacy_control_can_be_said(vendor):
    with override_settings(CONSENTPANEL={"TOKEN": "T", "CONSUMER": vendor, "GPC": ("targeting",)}):
        browser = Client()
        browser.post("/answer", {"analytics": "yes", "targeting": "yes"})
        assert text(browser.get("/page", headers=GPC)) == "consent_granted"


def test_an_answer_becomes_the_account_s_at_log_in_and_nobody_inherits_it(vendor, registry):  # rule 10.5
    browser = Client()
    visitor = text(browser.post("/answer", {"analytics": "yes", "profiles": "no"}))
    first = text(browser.get("/in/ada"))
    assert registry.status(first, "analytics") is GRANTED
    assert [each.source for each in registry.history(first)] == ["login", "login"]
    assert browser.cookies["consentpanel"].value == ""
    assert text(browser.get("/page")) == "consent_granted"
    vendor.assert_tracked("Viewed", distinct_id=first)
    browser.get("/out")
    # The next person on the same device.
    assert text(browser.get("/status")) == "unknown"
    second = text(browser.get("/in/grace"))
    assert registry.history(second) == []
    assert text(browser.get("/page")) == "no_consent"
    assert [each.status for each in registry.history(visitor)] == [DENIED, GRANTED, UNKNOWN]


def test_what_somebody_answers_while_logged_out_is_not_the_last_account_s(vendor, registry):  # rule 10.5
    browser = Client()
    first = text(browser.get("/in/ada"))
    browser.get("/out")
    browser.post("/answer", {"analytics": "yes"})
    second = text(browser.get("/in/grace"))
    assert registry.status(first, "analytics") is UNKNOWN
    assert registry.status(second, "analytics") is GRANTED


def test_a_withdrawal_is_of_everything(vendor, registry):
    browser = Client()
    who = text(browser.post("/answer", {"analytics": "yes", "targeting": "yes"}))
    browser.post("/withdraw")
    assert {registry.status(who, each) for each in ("analytics", "profiles", "targeting")} == {DENIED}
    assert Client().post("/withdraw").status_code == 200


def test_a_user_who_is_deleted_is_forgotten(vendor, registry):  # rule 10.5
    user = get_user_model().objects.create(username="ada")
    who = str(user.pk)
    registry.grant(who)
    user.delete()
    assert registry.history(who) == []


def test_an_account_may_be_named_by_a_function(vendor, registry):
    with override_settings(CONSENTPANEL={"TOKEN": "T", "CONSUMER": vendor, "SUBJECT": lambda user: f"user-{user.pk}"}):
        browser = Client()
        who = text(browser.get("/in/ada"))
        browser.post("/answer", {"analytics": "yes"})
        assert registry.status(f"user-{who}", "analytics") is GRANTED


def test_a_buffer_is_flushed_after_the_response(vendor, registry):  # rule 10.3
    with override_settings(
        CONSENTPANEL={"TOKEN": "T", "POLICY": FieldPolicy(), "CONSUMER": BufferedConsumer(consumer=vendor)}
    ):
        browser = Client()
        browser.post("/answer", {"analytics": "yes"})
        browser.get("/page")
        assert len(vendor.events) == 1
        vendor.fail(times=1)
        assert browser.get("/page").status_code == 200
        mixpanel.flush()
    assert len(vendor.events) == 2


def test_what_was_asked_of_a_visitor_is_not_cached_for_others(vendor):
    browser = Client()
    assert "Cookie" in browser.get("/status").headers["Vary"]
    assert "Vary" not in browser.get("/untouched").headers


def test_a_copy_of_a_visitor_s_cookie_gives_nobody_anything(vendor, registry):  # rule 10.5
    browser, thief = Client(), Client()
    browser.post("/answer", {"analytics": "yes"})
    copy = browser.cookies["consentpanel"].value
    browser.get("/in/ada")
    thief.cookies["consentpanel"] = copy
    assert text(thief.get("/page")) == "no_consent"
    account = text(thief.get("/in/grace"))
    assert registry.history(account) == []


def opted_out(vendor: FakeTransport) -> Any:
    return override_settings(
        CONSENTPANEL={"TOKEN": "T", "POLICY": FieldPolicy(secret=b"s" * 32), "CONSUMER": vendor, "REGIME": "opt_out"}
    )


def test_the_signal_is_heeded_for_who_logs_in_by_the_request_that_has_it(vendor, registry):  # rule 10.3
    with opted_out(vendor):
        account = text(Client().get("/in/ada", headers=GPC))
        assert registry.status(account, "analytics") is DENIED


def test_a_visitor_who_takes_back_before_anything_was_asked_has_refused(vendor, registry):  # rule 10.3
    with opted_out(vendor):
        browser = Client()
        browser.post("/withdraw")
        account = text(browser.get("/in/ada"))
        assert registry.status(account, "analytics") is DENIED


@pytest.mark.parametrize("first", [GPC, {}])
def test_a_grant_in_spite_of_the_signal_stands_after_log_in(vendor, registry, first):  # rule 10.3
    browser = Client()
    browser.post("/answer", {"profiles": "no"})
    browser.get("/untouched", headers=GPC)
    browser.post("/answer", {"analytics": "yes"}, headers=first)
    account = text(browser.get("/in/ada", headers=GPC))
    browser.get("/untouched", headers=GPC)
    assert registry.status(account, "analytics") is GRANTED


def test_whoever_another_middleware_names_is_meant(vendor, registry):
    other = get_user_model().objects.create(username="grace")
    browser = Client()
    browser.get("/in/ada")
    request = browser.get("/untouched", headers=GPC).wsgi_request
    request.user = other
    assert request.consent.subject_id == str(other.pk)


def test_answers_that_cannot_be_carried_over_now_are_later(vendor, registry, monkeypatch):  # rule 10.5
    browser = Client()
    browser.post("/answer", {"analytics": "no"})
    with monkeypatch.context() as patched:
        patched.setattr(DjangoRegistry, "record_many", lambda *_: (_ for _ in ()).throw(RegistryError("away")))
        account = text(browser.get("/in/ada"))
    registry.grant(account, "profiles")
    assert registry.status(account, "analytics") is UNKNOWN
    assert text(browser.get("/page")) == "withdrawn"
    assert registry.status(account, "analytics") is DENIED
    assert browser.cookies["consentpanel"].value == ""


def test_no_cookie_is_written_where_nothing_was_recorded(vendor, registry, monkeypatch):  # rule 10.3
    browser = Client(raise_request_exception=False)
    monkeypatch.setattr(DjangoRegistry, "_write", lambda *_, **__: (_ for _ in ()).throw(RegistryError("away")))
    assert browser.post("/answer", {"analytics": "yes"}).status_code == 500
    assert "consentpanel" not in browser.cookies
    monkeypatch.undo()
    assert browser.post("/rolled-back").status_code == 200
    assert "consentpanel" not in browser.cookies


def test_a_proxy_of_a_user_is_forgotten_too(vendor, registry):  # rule 10.5
    class Customer(get_user_model()):  # type: ignore[misc]
        class Meta:
            proxy = True
            app_label = "auth"

    user = Customer.objects.create(username="ada")
    who = str(user.pk)
    registry.grant(who)
    user.delete()
    assert registry.history(who) == []


@pytest.mark.parametrize("answer", [1.5, "", ZeroDivisionError])
def test_a_function_that_fails_to_name_the_account_breaks_no_log_in_and_nothing_is_sent(vendor, registry, answer):
    def name(user: Any) -> Any:
        if isinstance(answer, type):
            raise answer
        return answer

    with override_settings(CONSENTPANEL={"TOKEN": "T", "CONSUMER": vendor, "SUBJECT": name}):
        browser = Client()
        browser.post("/answer", {"analytics": "yes"})
        assert browser.get("/in/ada").status_code == 200
        assert text(browser.get("/page")) == "registry_error"


def test_a_coroutine_that_does_not_await_is_told_so(vendor, registry):  # rule 10.3
    async def visit() -> str:
        browser = AsyncClient()
        await browser.get("/in/ada")
        return text(await browser.get("/wrong"))

    said = async_to_sync(visit)()
    assert said.startswith("registry_error RegistryError")
    assert "await" in said


# rule 11.2
async def test_the_middleware_of_asgi_goes_around_djangos_own_application() -> None:
    httpx = pytest.importorskip("httpx2")

    class Urls:
        urlpatterns = (path("answer", answered_by_the_scope),)

    vendor = FakeTransport()
    mp = AsyncMixpanel("TOKEN", vendor, registry=MemoryRegistry())
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=[], ALLOWED_HOSTS=["shop"]):
        transport = httpx.ASGITransport(app=ASGIConsentMiddleware(ASGIHandler(), client=mp))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as browser:
            assert (await browser.get("/answer")).text == "sent"
            assert "consentpanel" in browser.cookies
    assert len(vendor.events) == 1


async def answered_by_the_scope(request: Any) -> HttpResponse:
    consent = request.scope["state"]["consent"]
    await consent.answer(analytics=True)
    return HttpResponse((await consent.track("Visited")).outcome.value)


# rule 11.6
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_consent_tool_has_answered_is_recorded_once(registry, vendor, is_async):
    given = {"TOKEN": "T", "POLICY": FieldPolicy(), "CONSUMER": vendor, "ANSWERS": [Klaro({"mixpanel": "analytics"})]}
    with override_settings(CONSENTPANEL=given):
        ours = ""
        for answer, reason in (("true", "consent_granted"), ("true", "consent_granted"), ("false", "withdrawn")):
            # With a cookie before it of which parsers make nothing.
            header = f'odd={{"a": 1}}; klaro=%7B%22mixpanel%22%3A{answer}%7D{ours}'
            if is_async:
                response = async_to_sync(AsyncClient().get)("/page", headers={"Cookie": header})
            else:
                response = Client(HTTP_COOKIE=header).get("/page")
            assert text(response) == reason
            if "consentpanel" in response.cookies:
                ours = f"; consentpanel={response.cookies['consentpanel'].value}"
        assert [each.source for each in registry.history(vendor.events[0].distinct_id)] == ["klaro", "klaro"]
