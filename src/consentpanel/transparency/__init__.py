"""Says what is shared, in the words that a visitor reads, and holds the configuration to what was promised."""

from consentpanel._exports import name_all
from consentpanel.transparency._archive import ArchivedNotice, NoticeArchive
from consentpanel.transparency._audit import Breach, audit
from consentpanel.transparency._catalogues import add_catalogue, best_language, languages
from consentpanel.transparency._compare import Change, Comparison, compare
from consentpanel.transparency._labels import AMBIGUOUS, is_ambiguous
from consentpanel.transparency._languages import LANGUAGES
from consentpanel.transparency._notice import Notice, notice
from consentpanel.transparency._page import Entry, Section, Use
from consentpanel.transparency._promises import Promises
from consentpanel.transparency._publisher import Controller, Transfer, Vendor
from consentpanel.transparency._scan.calls import FoundCall, Scan, scan
from consentpanel.transparency._texts import TEXTS, Words

__all__ = [
    "AMBIGUOUS",
    "LANGUAGES",
    "TEXTS",
    "ArchivedNotice",
    "Breach",
    "Change",
    "Comparison",
    "Controller",
    "Entry",
    "FoundCall",
    "Notice",
    "NoticeArchive",
    "Promises",
    "Scan",
    "Section",
    "Transfer",
    "Use",
    "Vendor",
    "Words",
    "add_catalogue",
    "audit",
    "best_language",
    "compare",
    "is_ambiguous",
    "languages",
    "notice",
    "scan",
]

name_all(globals())
