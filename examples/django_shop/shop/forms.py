"""The form of an order."""

from __future__ import annotations

from django import forms

from shop.models import Order


class OrderForm(forms.ModelForm):  # type: ignore[type-arg]
    """An order."""

    class Meta:
        model = Order
        fields = ("product", "quantity", "email")
