"""The two forms of the shop: consent, and an order."""

from __future__ import annotations

from django import forms

from shop.models import Order


class ConsentForm(forms.Form):
    """A choice without a default: neither answer is easier to give than the other."""

    analytics = forms.ChoiceField(
        choices=[("grant", "Yes, measure my visit"), ("deny", "No, thank you")],
        widget=forms.RadioSelect,
        label="May we measure how you use the shop?",
    )


class OrderForm(forms.ModelForm):  # type: ignore[type-arg]
    """An order."""

    class Meta:
        model = Order
        fields = ("product", "quantity", "email")
