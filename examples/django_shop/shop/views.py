"""The pages of the shop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib.auth import login
from django.contrib.auth.forms import UserCreationForm
from django.db import transaction
from django.forms.models import model_to_dict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from shop.forms import OrderForm
from shop.tasks import send_receipt

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def sign_up(request: Any) -> HttpResponse:
    """Make an account: it is the visitor's, with what they have answered, and is reported with it, or none of that."""
    form = UserCreationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        request.consent.track("Signed up")
        return redirect("order")
    return render(request, "shop/sign_up.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
@transaction.atomic
def order(request: Any) -> HttpResponse:
    """Take an order; it is reported only once the database has it."""
    form = OrderForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.customer = request.user if request.user.is_authenticated else None
        placed = form.save()
        fields = model_to_dict(placed, exclude=["id"])
        request.consent.track("Order placed", {**fields, "total": float(placed.total), "currency": "EUR"})
        transaction.on_commit(partial(send_receipt.delay, placed.pk, request.consent.subject_id))
        return redirect("thanks")
    return render(request, "shop/order.html", {"form": form})


@require_GET
def thanks(request: HttpRequest) -> HttpResponse:
    """Say thank you; the order itself is not shown."""
    return render(request, "shop/thanks.html")
