"""What the shop may tell the vendor about an order: the allow-list, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.forms.models import model_to_dict

from consentpanel import FieldPolicy, keep

if TYPE_CHECKING:
    from shop.models import Order

# A field that the model gets later, or has today without a rule here, such as `email`, is not sent.
POLICY = FieldPolicy(events={"product": keep(), "quantity": keep(), "total": keep(), "currency": keep()})


def about(order: Order) -> dict[str, Any]:
    """The properties of an order."""
    return {**model_to_dict(order, exclude=["id"]), "total": float(order.total), "currency": "EUR"}
