"""Consent as data: of whom and for what, what was said, and what that means where a person lives."""

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.regime import Regime, by_country
from consentpanel._exports import name_all

__all__ = ["ConsentRecord", "ConsentStatus", "Purpose", "Regime", "by_country", "subject_key"]

name_all(globals())
