"""What the shop sends about its customers, and what it tells them of that: both from the same policy."""

from __future__ import annotations

import datetime as dt

from consentpanel import FieldPolicy, keep
from consentpanel.transparency import Controller, Notice, Transfer, Vendor, notice

PRODUCTS = ("tea", "coffee")
PRODUCT = {"en": "what you bought", "de": "was Sie gekauft haben", "fr": "ce que vous avez acheté"}
QUANTITY = {"en": "how many you bought", "de": "wie viel Sie gekauft haben", "fr": "la quantité achetée"}
TOTAL = {"en": "what you paid", "de": "was Sie bezahlt haben", "fr": "ce que vous avez payé"}
CURRENCY = {"en": "the currency", "de": "die Währung", "fr": "la devise"}
TO_SEE = {
    "en": "to see which products are bought",
    "de": "um zu sehen, welche Produkte gekauft werden",
    "fr": "pour voir quels produits sont achetés",
}
TO_ORDER = {
    "en": "to know how much to order",
    "de": "um zu wissen, wie viel zu bestellen ist",
    "fr": "pour savoir combien commander",
}
TO_ADD_UP = {
    "en": "to add up the day’s sales",
    "de": "um die Umsätze des Tages zu addieren",
    "fr": "pour additionner les ventes du jour",
}

# A field of the form without a rule here, such as `email`, is not sent.
POLICY = FieldPolicy(
    events={
        "product": keep(one_of=list(PRODUCTS), label=PRODUCT, reason=TO_SEE),
        "quantity": keep(type=int, label=QUANTITY, reason=TO_ORDER, example=2),
        "total": keep(type=float, label=TOTAL, reason=TO_ADD_UP, example=9.0),
        "currency": keep(one_of=["EUR"], label=CURRENCY, reason=TO_ADD_UP),
    },
    unplanned_events="drop",
    planned_events=["Order placed"],
)
VENDOR = Vendor(
    region="EU",
    role="processor",
    transfer=Transfer(
        countries=("US",),
        safeguard={
            "en": "the standard contractual clauses of the European Commission",
            "de": "die Standardvertragsklauseln der Europäischen Kommission",
            "fr": "les clauses contractuelles types de la Commission européenne",
        },
        link="https://mixpanel.com/legal/dpa",
    ),
    retention_days=365,
    targets_behaviour=False,
    uses_cookies={"consentpanel": 180},
    in_browser=False,
    allows_erasure=True,
)
CONSENT = {
    "en": "The legal basis is your consent, Article 6(1)(a) GDPR.",
    "de": "Rechtsgrundlage ist Ihre Einwilligung, Artikel 6 Absatz 1 Buchstabe a DSGVO.",
    "fr": "La base légale est votre consentement, article 6, paragraphe 1, point a) du RGPD.",
}


def privacy_notice(language: str = "en") -> Notice:
    """What visitors are told, from the policy that is in force.

    Args:
        language: ``"en"``, ``"de"`` or ``"fr"``.
    """
    return notice(
        POLICY,
        publish=True,
        strict=True,
        uses_flags=False,
        language=language,
        service="Teahouse",
        controller=Controller(name="Teahouse Ltd", address="1 Leaf Street, Dublin 2, Ireland"),
        contact="privacy@shop.example",
        authority={
            "en": "the Data Protection Commission",
            "de": "der irischen Datenschutzbehörde",
            "fr": "la Data Protection Commission",
        },
        vendor=VENDOR,
        purposes={
            "analytics": {
                "en": "to see what is bought, and to order enough of it",
                "de": "um zu sehen, was gekauft wird, und genug davon zu bestellen",
                "fr": "pour voir ce qui est acheté et en commander assez",
            }
        },
        legal_bases={"analytics": CONSENT},
        is_required=False,
        records_kept=3 * 365,
        works_without_consent=True,
        automated_decisions=False,
        choices_url="https://shop.example/privacy/",
        date=dt.date(2026, 11, 1),
    )
