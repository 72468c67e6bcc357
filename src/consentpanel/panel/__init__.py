"""The page on which a person sees what is sent about them, and says yes or no to each purpose."""

from consentpanel._exports import name_all
from consentpanel._visits import ConsentSummary, VendorRequest
from consentpanel.panel._http import MAX_BODY, Request, Response
from consentpanel.panel._page import banner_of, page_of, parts_of
from consentpanel.panel._panel import Panel
from consentpanel.panel._safety import Rate
from consentpanel.panel._situation import Situation, Urls
from consentpanel.panel._view import View, view_of

__all__ = [
    "MAX_BODY",
    "ConsentSummary",
    "Panel",
    "Rate",
    "Request",
    "Response",
    "Situation",
    "Urls",
    "VendorRequest",
    "View",
    "banner_of",
    "page_of",
    "parts_of",
    "view_of",
]

name_all(globals())
