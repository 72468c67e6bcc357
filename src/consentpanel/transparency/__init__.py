"""Says what is shared, in the words that a visitor reads, and holds the configuration to what was promised."""

from consentpanel._exports import name_all
from consentpanel.transparency._archive import ArchivedNotice, NoticeArchive
from consentpanel.transparency._audit import Breach, audit
from consentpanel.transparency._compare import Change, Comparison, compare
from consentpanel.transparency._notice import Notice, Vendor, notice
from consentpanel.transparency._page import Entry, Section
from consentpanel.transparency._promises import Promises
from consentpanel.transparency._scan.calls import FoundCall, Scan, scan
from consentpanel.transparency._texts import LANGUAGES, TEXTS

__all__ = [
    "LANGUAGES",
    "TEXTS",
    "ArchivedNotice",
    "Breach",
    "Change",
    "Comparison",
    "Entry",
    "FoundCall",
    "Notice",
    "NoticeArchive",
    "Promises",
    "Scan",
    "Section",
    "Vendor",
    "audit",
    "compare",
    "notice",
    "scan",
]

name_all(globals())
