"""What a web request has to do with consent, whatever framework it comes by: the visitor's cookie, GPC, answers."""

from __future__ import annotations

from consentpanel._visits.consent import Visit
from consentpanel._visits.cookie import VisitorCookie, is_visitor
from consentpanel._visits.person import VisitOptions
from consentpanel._visits.rights import VendorRequest
from consentpanel._visits.summary import ConsentSummary

__all__ = ["ConsentSummary", "VendorRequest", "Visit", "VisitOptions", "VisitorCookie", "is_visitor"]
