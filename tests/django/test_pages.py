"""The admin, the template tags, and the plain page of a Django project (contract rules 10.7 and 10.8)."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("django")
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client, override_settings

from consentpanel import ConsentStatus, FieldPolicy
from consentpanel.django import DjangoRegistry
from consentpanel.testing import FakeTransport

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN


@pytest.fixture(autouse=True)
def vendor(on_sqlite: str) -> Iterator[FakeTransport]:
    from django.apps import apps

    for model in apps.get_app_config("consentpanel").get_models():
        model._base_manager.all().delete()
    get_user_model().objects.all().delete()
    vendor = FakeTransport()
    with override_settings(CONSENTPANEL={"TOKEN": "T", "POLICY": FieldPolicy(), "CONSUMER": vendor}):
        yield vendor


@pytest.fixture
def registry() -> DjangoRegistry:
    registry = DjangoRegistry()
    registry.grant("user-1", "analytics", source="signup")
    registry.grant("user-10", "analytics")
    registry.deny("=cmd|' /C calc'!A0", "analytics")
    return registry


def staff(*permissions: str) -> Client:
    user = get_user_model().objects.create(username="staff", is_staff=True)
    for each in ("view_record", *permissions):
        user.user_permissions.add(Permission.objects.get(codename=each))
    client = Client()
    client.force_login(user)
    return client


PAGE = "/admin/consentpanel/record/"


def people_on(response: Any) -> list[str]:
    assert response.status_code == 200
    return re.findall(r'field-person[^>]*><a href="\?q=[^"]*">([^<]*)</a>', response.content.decode())


def selected(client: Client, action: str, subject_id: str, **more: str) -> Any:
    from consentpanel.django.models import Record

    numbers = [str(each) for each in Record.objects.filter(subject_id=subject_id).values_list("pk", flat=True)]
    return client.post(PAGE, {"action": action, "_selected_action": numbers, **more})


def test_records_can_be_read_and_found_by_an_exact_id(registry):  # rule 10.7
    client = staff()
    assert len(people_on(client.get(PAGE))) == 3
    assert people_on(client.get(PAGE, {"q": "user-1"})) == ["user-1"]
    assert people_on(client.get(PAGE, {"q": "user"})) == []
    assert people_on(client.get(PAGE, {"status": "granted"})) == ["user-10", "user-1"]
    assert client.get(f"{PAGE}add/").status_code == 403
    from consentpanel.django.models import Record

    number = Record.objects.get(subject_id="user-1").pk
    assert client.get(f"{PAGE}{number}/change/").status_code == 200
    assert client.post(f"{PAGE}{number}/change/", {"status": "denied"}).status_code == 403
    assert client.post(f"{PAGE}{number}/delete/", {"post": "yes"}).status_code == 403
    assert registry.verify("user-1")


def test_withdrawing_and_forgetting_need_a_permission_and_a_confirmation(registry, vendor):  # rule 10.7
    reader = staff()
    for action in ("withdraw", "forget"):
        selected(reader, action, "user-1", confirmed="yes")
    assert registry.status("user-1", "analytics") is GRANTED
    get_user_model().objects.all().delete()
    officer = staff("withdraw_consent", "forget_subject")
    for action in ("withdraw", "forget"):
        asked = selected(officer, action, "user-1")
        assert "user-1" in asked.content.decode()
    assert len(registry.history("user-1")) == 1
    selected(officer, "withdraw", "user-1", confirmed="yes")
    assert {registry.status("user-1", each) for each in ("analytics", "profiles")} == {DENIED}
    assert registry.history("user-1")[-1].source == "admin"
    selected(officer, "forget", "user-1", confirmed="yes")
    assert registry.history("user-1") == []
    assert registry.status("user-10", "analytics") is GRANTED


def test_records_can_be_downloaded_without_formulas(registry):  # rule 10.7
    response = selected(staff(), "export", "=cmd|' /C calc'!A0")
    rows = list(csv.DictReader(response.content.decode().splitlines()))
    assert [(each["subject_id"], each["status"]) for each in rows] == [("'=cmd|' /C calc'!A0", "denied")]


def rendered(text: str, client: Client) -> str:
    request = client.get("/status").wsgi_request
    return Template("{% load consentpanel %}" + text).render(Context({"request": request, "csrf_token": "T"}))


def test_a_template_shows_by_consent(vendor):  # rule 10.8
    text = "{% if_consent 'analytics' %}yes{% else %}no{% endif_consent %}{% if_consent p %}P{% endif_consent %}"
    browser = Client()
    assert rendered(text, browser) == "no"
    browser.post("/answer", {"analytics": "yes", "targeting": "no"})
    assert rendered(text, browser) == "yes"
    assert Template("{% load consentpanel %}" + text).render(Context()) == "no"
    with pytest.raises(TemplateSyntaxError):
        Template("{% load consentpanel %}{% if_consent %}{% endif_consent %}")


def test_the_browser_is_told_the_state_by_a_script_that_runs_nothing(vendor):  # rule 10.8
    browser = Client()
    browser.post("/answer", {"analytics": "yes"})
    said = rendered("{% consent_state %}", browser)
    assert said.startswith('<script id="consent-state" type="application/json">')
    assert json.loads(said.partition(">")[2].partition("<")[0]) == {
        "analytics": "granted",
        "profiles": "unknown",
        "feature_flags": "unknown",
    }


def test_consent_is_in_every_template_that_wants_it(vendor):  # rule 10.8
    from consentpanel.django.context_processors import consent

    request = Client().get("/status").wsgi_request
    assert consent(request) == {"consent": request.consent}
    assert consent(object()) == {}
