"""The pages of the shop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib.auth import login
from django.db import transaction
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from shop.analytics import about
from shop.forms import ConsentForm, OrderForm, SignUpForm
from shop.tasks import send_receipt

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
@transaction.atomic
def sign_up(request: Any) -> HttpResponse:
    """Make an account: the account, the answer and what is reported are kept together, or none of them."""
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        request.consent.answer(analytics=form.cleaned_data["analytics"] == "grant", source="sign-up")
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
        request.consent.track("Order placed", about(placed))
        transaction.on_commit(partial(send_receipt.delay, placed.pk, request.consent.subject_id))
        return redirect("thanks")
    return render(request, "shop/order.html", {"form": form})


@require_GET
def thanks(request: HttpRequest) -> HttpResponse:
    """Say thank you; the order itself is not shown."""
    return render(request, "shop/thanks.html")
