"""The forms of the shop: consent, an account, and an order."""

from __future__ import annotations

from django import forms
from django.contrib.auth.forms import UserCreationForm

from shop.models import Order


class ConsentForm(forms.Form):
    """A choice without a default: neither answer is easier to give than the other."""

    analytics = forms.ChoiceField(
        choices=[("grant", "Yes, measure my visit"), ("deny", "No, thank you")],
        widget=forms.RadioSelect,
        label="May we measure how you use the shop?",
    )


class SignUpForm(UserCreationForm, ConsentForm):  # type: ignore[type-arg]
    """An account, and the same choice."""


class OrderForm(forms.ModelForm):  # type: ignore[type-arg]
    """An order."""

    class Meta:
        model = Order
        fields = ("product", "quantity", "email")
