"""Kinds of personal data that need consent which is explicit."""

from __future__ import annotations

from collections.abc import Iterable

from consentpanel.policy._names import words_of
from consentpanel.policy._paths import keys_of
from consentpanel.transparency._disclosures import Item

#: Kinds of personal data that need consent which is explicit (GDPR, articles 9 and 10), with all that stands below each in the taxonomy, ...
_SENSITIVE_KINDS = (
    "user.health_and_medical",
    "user.demographic.profile",
    "user.demographic.political_opinion",
    "user.demographic.race",
    "user.demographic.ethnic",
    "user.demographic.religi",
    "user.demographic.sexual",
    "user.sexual",
    "user.biometric",
    "user.genetic",
    "user.criminal",
)
#: ... and words in names of properties of which nobody has said what they are.
_SENSITIVE_WORDS = frozenset(
    "religion religious faith race racial ethnicity ethnic political politics pregnant pregnancy genome genetic dna biometric sexuality sexual"
    " transgender conviction convictions criminal disability illness disease diagnosis medication".split()
)


def is_sensitive(item: Item) -> bool:
    """Whether a property is of the special categories of personal data."""
    if any(kind.startswith(_SENSITIVE_KINDS) for kind in item.kinds):
        return True
    words = {word for key in keys_of(item.scope, item.path) for word in words_of(key)}
    return not item.categories and not _SENSITIVE_WORDS.isdisjoint(words)


def is_worse(was: Iterable[str], now: Iterable[str]) -> bool:
    """Whether a kind is sensitive that is named now and was not before."""
    return any(kind.startswith(_SENSITIVE_KINDS) for kind in set(now) - set(was))
