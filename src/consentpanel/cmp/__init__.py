"""Reads what a browser's consent tool has written into its cookies. Pure: nothing here reads or writes anything else.

A reader is built with what each group of the tool stands for, and is called with the raw header ``Cookie``:

    >>> from consentpanel.cmp import OneTrust
    >>> read = OneTrust({"C0002": "analytics"})
    >>> read("a cookie of somebody else's=1").purposes
    {Purpose('analytics'): None}

The raw header, because what frameworks make of it loses cookies that hold JSON or commas, and of two cookies of one name shows only one.

What holds for each of them:

- ``True`` is said only where the tool itself proves that somebody has answered; what it writes before an answer is no answer.
- What is odd, cut, contradictory or too long is unknown, which leaves it to the regime. Nothing raises, and no value is shown.
- A no needs less proof than a yes: it may come without `Answers.is_explicit`.
- Scripts of the page, and blockers, can write all of these cookies: an answer is one that the browser asserts.

A reader of your own is any callable that takes the header (`str`, `bytes` or None) and returns `Answers`. Tools that keep their answers
where no server sees them (Usercentrics, Osano) have `Relay`, which reads what a script of the page posts.
"""

from consentpanel._exports import name_all
from consentpanel.cmp._answers import Answers
from consentpanel.cmp.c15t import C15t
from consentpanel.cmp.civic import Civic
from consentpanel.cmp.cookiebot import Cookiebot
from consentpanel.cmp.cookieyes import CookieYes
from consentpanel.cmp.didomi import Didomi
from consentpanel.cmp.gpp import GPP
from consentpanel.cmp.klaro import Klaro
from consentpanel.cmp.onetrust import OneTrust
from consentpanel.cmp.relay import Relay
from consentpanel.cmp.tcf import TCF
from consentpanel.cmp.trustarc import TrustArc
from consentpanel.cmp.vanilla import VanillaCookieConsent

__all__ = [
    "GPP",
    "TCF",
    "Answers",
    "C15t",
    "Civic",
    "CookieYes",
    "Cookiebot",
    "Didomi",
    "Klaro",
    "OneTrust",
    "Relay",
    "TrustArc",
    "VanillaCookieConsent",
]

name_all(globals())
