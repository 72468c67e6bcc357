"""The words of a notice and of the panel: English here, other languages in catalogues, a publisher's own above both."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from consentpanel.errors import ConfigurationError
from consentpanel.transparency._catalogues import ALL_SENTENCES, BRACES, Translator
from consentpanel.transparency._labels import label_of
from consentpanel.transparency._languages import direction_of, wider
from consentpanel.transparency._territories import TERRITORIES

#: The texts by their names; what stands in braces is filled in.
TEXTS: Mapping[str, str] = MappingProxyType(dict(ALL_SENTENCES))

_DAYS_OF_A_YEAR = 365
_OF_A_PURPOSE = re.compile(r"purpose\..+|panel\.purpose\..+\.(?:title|text|text\.plain)", re.DOTALL)


class Words:
    """The texts of one language.

    Args:
        language: One of `languages`.
        own: Texts that take the place of these, by their names in `TEXTS`, or name a purpose of the application's own as
            ``"purpose.newsletter"``, ``"panel.purpose.newsletter.title"`` or ``"panel.purpose.newsletter.text"``; in each language, or in one
            for all.

    Raises:
        ConfigurationError: There is no such language, or no text of such a name.
    """

    def __init__(self, language: str, own: Mapping[str, str | Mapping[str, str]] | None = None) -> None:
        self._translator = Translator(language)
        for name, text in (own or {}).items():
            if not (name in TEXTS or _OF_A_PURPOSE.fullmatch(name)) or not _is_text(text):
                raise ConfigurationError(f"texts[{name!r}]: the names are those of consentpanel.transparency.TEXTS")
        self._own = {name: self.own(text) for name, text in (own or {}).items()}

    @property
    def language(self) -> str:
        """The language's tag, as in ``lang=`` of HTML."""
        return self._translator.language

    @property
    def language_name(self) -> str:
        """The language's name in itself; its tag where a catalogue does not say it."""
        name = self("language.name")
        return self.language if name == TEXTS["language.name"] and self.language != "en" else name

    @property
    def direction(self) -> Literal["ltr", "rtl"]:
        """In which direction it is written, as in ``dir=`` of HTML."""
        return direction_of(self.language)

    def __call__(self, name: str, /, **values: str) -> str:
        """The text of that name, filled in."""
        return _filled(self._own.get(name) or self._translator.text(TEXTS[name]), values)

    def has(self, name: str) -> bool:
        """Whether there is a text of that name."""
        return name in self._own or name in TEXTS

    def purpose(self, purpose: str, vendor: str) -> str:
        """A purpose in words; one of the application's own by its name."""
        name = f"purpose.{purpose}"
        return self(name if self.has(name) else "purpose.other", purpose=purpose, vendor=vendor)

    def category(self, category: str) -> str:
        """A category of personal data in words; one without words by its name."""
        name = f"category.{category}"
        return self(name) if name in TEXTS else category

    def label(self, name: str, scope: str | None = None) -> str | None:
        """What a property is, as a visitor would say it.

        Args:
            name: The property's name in any spelling, without what stands above it; the vendor's as the vendor writes
                them.
            scope: ``"groups"`` where it stands in the profile of a group.

        Returns:
            The label; None where there is none, so that the application must give its own.
        """
        label = label_of(name, scope)
        return None if label is None else self._translator.text(label)

    def own(self, text: str | Mapping[str, str]) -> str:
        """The publisher's own text: in this language, else in the wider one, else the first that there is."""
        if isinstance(text, str):
            return text
        by_language = {language.casefold().replace("_", "-"): each for language, each in text.items()}
        found = (by_language[tag] for tag in wider(self.language.casefold()) if tag in by_language)
        return next(found, next(iter(text.values()), ""))

    def date(self, day: dt.date) -> str:
        """A day, such as "3 November 2026"; of a moment the day in UTC."""
        if isinstance(day, dt.datetime):
            day = _in_utc(day).date()
        name = "date.first" if day.day == 1 else "date"
        return self(name, day=str(day.day), month=self(f"month.{day.month}"), year=str(day.year))

    def time(self, moment: dt.datetime) -> str:
        """A moment, such as "3 November 2026, 18:40 (universal time, UTC)"; one without a zone is in UTC already."""
        utc = _in_utc(moment)
        return self("time", date=self.date(utc), hour=str(utc.hour), minute=f"{utc.minute:02}")

    def period(self, days: int) -> str:
        """So many days; whole years as years."""
        years, rest = divmod(days, _DAYS_OF_A_YEAR)
        return self._counted("period.years", years) if years and not rest else self._counted("period.days", days)

    def months(self, months: int) -> str:
        """So many months."""
        return self._counted("period.months", months)

    def listed(self, items: Iterable[str]) -> str:
        """Several in one sentence: "a, b and c"."""
        *before, last = list(items) or [""]
        if not before:
            return last
        first = before[0]
        for each in before[1:]:
            first = self("list.comma", first=first, next=each)
        return self("list.and", first=first, last=last)

    def country(self, code: str) -> str:
        """A country by its code (ISO 3166), and a part of one as "United States (CA)"; an unknown code as it is."""
        whole, _, part = code.partition("-")
        english = TERRITORIES.get(whole.upper())
        if english is None:
            return code
        name = self._translator.territory(english)
        return self("part", whole=name, part=part.upper()) if part else name

    def _counted(self, name: str, count: int) -> str:
        one, many = f"{name}.one", f"{name}.many"
        own = self._own.get(one if count == 1 else many)
        return _filled(own or self._translator.counted(TEXTS[one], TEXTS[many], count), {"count": str(count)})


def _filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its values: an empty one leaves no gap, and one that ends a sentence does not end it twice."""
    made, *rest = BRACES.split(text)
    # At once, so that what is filled in is not filled in itself.
    for name, after in zip(rest[::2], rest[1::2], strict=True):
        value, then = values.get(name, f"{{{name}}}"), after
        if not value:
            made = made.removesuffix(" ")
            then = after if made else after.lstrip(" ")
        elif value.endswith((".", "!", "?")):
            then = after.removeprefix(".")
        made += value + then
    return made


def _in_utc(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=dt.timezone.utc) if moment.tzinfo is None else moment.astimezone(dt.timezone.utc)


def _is_text(text: object) -> bool:
    if isinstance(text, Mapping):
        return bool(text) and all(isinstance(each, str) for pair in text.items() for each in pair)
    return isinstance(text, str)
