"""The pages of the shop."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from consentpanel import Purpose
from shop.analytics import order_placed, shop_config
from shop.forms import ConsentForm, OrderForm

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def _visitor_id(request: HttpRequest) -> str:
    visitor_id: str = request.session.setdefault("visitor_id", str(uuid.uuid4()))
    return visitor_id


@require_http_methods(["GET", "HEAD", "POST"])
def consent(request: HttpRequest) -> HttpResponse:
    """Ask for consent, and record the answer, whichever it is."""
    form = ConsentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        registry = shop_config().registry
        record = registry.grant if form.cleaned_data["analytics"] == "grant" else registry.deny
        record(
            _visitor_id(request),
            Purpose.ANALYTICS,
            source="consent-form",
            policy_version=settings.PRIVACY_POLICY_VERSION,
        )
        return redirect("order")
    return render(request, "shop/consent.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
def order(request: HttpRequest) -> HttpResponse:
    """Take an order; it is reported only once the database has it."""
    form = OrderForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            placed = form.save()
            transaction.on_commit(partial(order_placed, _visitor_id(request), placed))
        return redirect("thanks")
    return render(request, "shop/order.html", {"form": form})


@require_GET
def thanks(request: HttpRequest) -> HttpResponse:
    """Say thank you; the order itself is not shown."""
    return render(request, "shop/thanks.html")
