"""What a web request has to do with consent, whatever framework it comes by: the visitor's cookie, GPC, answers."""

from __future__ import annotations

from consentpanel._visits.consent import Visit
from consentpanel._visits.cookie import VisitorCookie, is_visitor
from consentpanel._visits.person import VisitOptions

__all__ = ["Visit", "VisitOptions", "VisitorCookie", "is_visitor"]
