"""A form that asks for consent: a yes or a no for each purpose, none of them set beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms

from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose
from consentpanel._visits import Visit

_LABELS = {
    "analytics": "May we measure how you use this site?",
    "profiles": "May we keep a profile of you with our analytics provider?",
    "feature_flags": "May we ask our analytics provider which variant of a page to show you?",
}


class ConsentForm(forms.Form):
    """Asks for each purpose, with neither answer easier to give than the other.

    Args:
        arguments: As Django's form takes them.
        purposes: The purposes; the three built-in ones when left out.
        labels: What is asked, by purpose.
        keywords: As Django's form takes them.

    Example:
        >>> from consentpanel.django.forms import ConsentForm
        >>> form = ConsentForm({"analytics": "yes", "profiles": "no"}, purposes=["analytics", "profiles"])
        >>> form.is_valid(), form.answers
        (True, {'analytics': True, 'profiles': False})
    """

    def __init__(
        self,
        *arguments: Any,
        purposes: Iterable[str] = BUILT_IN_PURPOSES,
        labels: dict[str, str] | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        asked = {**_LABELS, **(labels or {})}
        for purpose in map(Purpose, purposes):
            self.fields[str(purpose)] = forms.ChoiceField(
                choices=[("yes", "Yes"), ("no", "No")],
                widget=forms.RadioSelect,
                label=asked.get(purpose, str(purpose)),
            )

    @property
    def answers(self) -> dict[str, bool]:
        """The answers by purpose, once the form is valid."""
        return {name: said == "yes" for name, said in self.cleaned_data.items()}

    def save(self, consent: Visit, **fields: Any) -> None:
        """Records the answers.

        Args:
            consent: Whose they are: ``request.consent``.
            fields: As for `RequestConsent.answer`, such as ``source=``.

        Raises:
            ConsentPanelError: As `RequestConsent.answer`.
        """
        consent.answer(self.answers, **fields)
