"""Pages that ask for consent, track, and let people log in and out."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model, login, logout
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path

from consentpanel import RegistryError


def answer(request: Any) -> HttpResponse:
    request.consent.answer({name: value == "yes" for name, value in request.POST.items()})
    return HttpResponse(request.consent.subject_id)


def page(request: Any) -> HttpResponse:
    return HttpResponse(request.consent.track("Viewed").reason.value)


async def later(request: Any) -> HttpResponse:
    if request.method == "POST":
        await request.consent.aanswer(analytics=True)
    status = await request.consent.astatus("analytics")
    decision = await request.consent.atrack("Viewed")
    return HttpResponse(f"{status.value} {decision.reason.value}")


def status(request: Any) -> HttpResponse:
    return HttpResponse(request.consent.status("analytics").value)


def banner(request: Any) -> HttpResponse:
    text = "{% load consentpanel %}{% consent_banner %}"
    return HttpResponse(Template(text).render(RequestContext(request)))


def withdraw(request: Any) -> HttpResponse:
    request.consent.withdraw()
    return HttpResponse()


def log_in(request: HttpRequest, name: str) -> HttpResponse:
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user)
    return HttpResponse(str(user.pk))


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


def rolled_back(request: Any) -> HttpResponse:
    with transaction.atomic():
        request.consent.answer(analytics=True)
        transaction.set_rollback(True)
    return HttpResponse()


async def wrong(request: Any) -> HttpResponse:
    decision = request.consent.track("Viewed")
    try:
        said = request.consent.subject_id
    except RegistryError as error:
        said = f"{type(error).__name__}: {error}"
    return HttpResponse(f"{decision.reason.value} {said}")


def untouched(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [
    path("admin/", admin.site.urls),
    path("privacy/", include("consentpanel.django.urls")),
    path("answer", answer),
    path("banner", banner),
    path("page", page),
    path("later", later),
    path("status", status),
    path("withdraw", withdraw),
    path("in/<name>", log_in),
    path("out", log_out),
    path("untouched", untouched),
    path("rolled-back", rolled_back),
    path("wrong", wrong),
]
