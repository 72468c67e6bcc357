"""The page on which a visitor answers, and takes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from consentpanel._log import note_failure
from consentpanel.django.forms import ConsentForm
from consentpanel.errors import ConsentPanelError


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def panel(request: Any) -> HttpResponse:
    """Asks for consent, tells what was answered so far, and records the answer."""
    given = request.POST or None
    if given is not None and given.get("all") in {"yes", "no"}:
        # Of the banner's two buttons.
        given = dict.fromkeys(ConsentForm().fields, given["all"])
    form = ConsentForm(given)
    if request.method == "POST" and form.is_valid():
        return _done(request, lambda: form.save(request.consent, source="panel"))
    return _page(request, form)


@never_cache
@require_POST
def withdraw(request: Any) -> HttpResponse:
    """Takes back everything."""
    return _done(request, lambda: request.consent.withdraw(source="panel"))


def _done(request: Any, act: Callable[[], object]) -> HttpResponse:
    try:
        act()
    except ConsentPanelError as error:
        note_failure("recording an answer", error)
        return _page(request, ConsentForm(), status=503)
    return redirect("consentpanel:panel")


def _page(request: Any, form: ConsentForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "has_failed": status != 200}
    return render(request, "consentpanel/panel.html", context, status=status)
