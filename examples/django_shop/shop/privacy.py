"""What the shop sends about its customers, and what it tells them of that: both from the same policy."""

from __future__ import annotations

import datetime as dt

from consentpanel import FieldPolicy, keep
from consentpanel.transparency import Controller, Notice, Transfer, Vendor, notice

TO_ORDER = {
    "en": "to see what is bought, and to order enough of it",
    "de": "um zu sehen, was gekauft wird, und genug davon zu bestellen",
    "fr": "pour voir ce qui est acheté et en commander assez",
}
TO_ADD_UP = {
    "en": "to add up the day’s sales",
    "de": "um die Umsätze des Tages zu addieren",
    "fr": "pour additionner les ventes du jour",
}
PAID = {"en": "what you paid", "de": "was Sie bezahlt haben", "fr": "ce que vous avez payé"}

# A field that the model gets later, or has today without a rule here, such as `email`, is not sent.
POLICY = FieldPolicy(
    events={
        "product": keep(one_of=["tea", "coffee"], reason=TO_ORDER),
        "quantity": keep(type=int, reason=TO_ORDER, example=2),
        "total": keep(type=float, label=PAID, reason=TO_ADD_UP, example=9.0),
        "currency": keep(one_of=["EUR"], reason=TO_ADD_UP),
    },
    unplanned_events="drop",
    planned_events=["Signed up", "Order placed", "Receipt sent"],
)
SAFEGUARD = {
    "en": "the standard contractual clauses of the European Commission",
    "de": "die Standardvertragsklauseln der Europäischen Kommission",
    "fr": "les clauses contractuelles types de la Commission européenne",
}
VENDOR = Vendor(
    region="EU",
    role="processor",
    transfer=Transfer(countries=("US",), safeguard=SAFEGUARD, link="https://mixpanel.com/legal/dpa"),
    retention_days=365,
    targets_behaviour=False,
    uses_cookies={"consentpanel": 180},
    in_browser=False,
)
CONSENT = {
    "en": "The legal basis is your consent, Article 6(1)(a) GDPR.",
    "de": "Rechtsgrundlage ist Ihre Einwilligung, Artikel 6 Absatz 1 Buchstabe a DSGVO.",
    "fr": "La base légale est votre consentement, article 6, paragraphe 1, point a) du RGPD.",
}
AUTHORITY = {
    "en": "the Data Protection Commission",
    "de": "der irischen Datenschutzbehörde",
    "fr": "la Data Protection Commission",
}


def privacy_notice(language: str = "en") -> Notice:
    """What visitors are told, from the policy that is in force."""
    return notice(
        POLICY,
        publish=True,
        strict=True,
        uses_flags=False,
        language=language,
        service="Teahouse",
        controller=Controller(name="Teahouse Ltd", address="1 Leaf Street, Dublin 2, Ireland"),
        contact="privacy@shop.example",
        authority=AUTHORITY,
        vendor=VENDOR,
        purposes={"analytics": TO_ORDER},
        legal_bases={"analytics": CONSENT},
        is_required=False,
        records_kept=3 * 365,
        works_without_consent=True,
        automated_decisions=False,
        choices_url="https://shop.example/privacy/",
        date=dt.date(2026, 11, 1),
    )
