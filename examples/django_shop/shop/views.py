"""The pages of the shop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from shop.analytics import about
from shop.forms import ConsentForm, OrderForm

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@require_http_methods(["GET", "HEAD", "POST"])
def consent(request: Any) -> HttpResponse:
    """Ask for consent, and record the answer, whichever it is."""
    form = ConsentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        request.consent.answer(analytics=form.cleaned_data["analytics"] == "grant", source="consent-form")
        return redirect("order")
    return render(request, "shop/consent.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
def order(request: Any) -> HttpResponse:
    """Take an order; it is reported only once the database has it."""
    form = OrderForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            request.consent.track_on_commit("Order placed", about(form.save()))
        return redirect("thanks")
    return render(request, "shop/order.html", {"form": form})


@require_GET
def thanks(request: HttpRequest) -> HttpResponse:
    """Say thank you; the order itself is not shown."""
    return render(request, "shop/thanks.html")
