"""The catalogues of translations: the library's own, and those that a publisher adds."""

from __future__ import annotations

import gettext
import os
import re
import struct
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from consentpanel.errors import ConfigurationError
from consentpanel.transparency._labels import GROUP_NAME, LABELS
from consentpanel.transparency._languages import LANGUAGES, choose, wider
from consentpanel.transparency._panel_sentences import PANEL_SENTENCES
from consentpanel.transparency._sentences import SENTENCES
from consentpanel.transparency._territories import TERRITORIES
from consentpanel.transparency._value_sentences import VALUE_SENTENCES

DOMAIN = "consentpanel"
TERRITORY = "territory"
BRACES = re.compile(r"\{(\w+)\}")
#: What comes in one form for one and in another for many, by the beginning of the names.
PLURALS = ("period.days", "period.months", "period.years")

ALL_SENTENCES: Mapping[str, str] = {**SENTENCES, **PANEL_SENTENCES, **VALUE_SENTENCES}

_TAG = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*")
# Every language's rule for plurals tells these apart, where it tells apart anything.
_COUNTS = (*range(22), 100, 101, 1_000_000)
_added: Mapping[Path, Mapping[str, gettext.GNUTranslations]] = {}


def add_catalogue(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Adds languages, for the whole process: do it once, where the application starts.

    The folder holds compiled gettext catalogues at ``<language>/LC_MESSAGES/consentpanel.mo``; the language is a tag
    such as ``"es"`` or ``"pt-BR"``. What a catalogue lacks is taken from the wider language (``pt`` for ``pt-BR``), and
    else said in English. A catalogue for a language that is there already goes before it, the last added first.

    Args:
        folder: The folder.

    Returns:
        The languages that it holds.

    Raises:
        ConfigurationError: It holds none, a catalogue cannot be read, or a translation has other names in braces than
            the English text.
    """
    global _added  # noqa: PLW0603 (as the languages of a process are)
    home = Path(folder).resolve()
    found = {
        file.parent.parent.name.replace("_", "-"): _read(file)
        for file in sorted(home.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))
        if _TAG.fullmatch(file.parent.parent.name)
    }
    if not found:
        raise ConfigurationError(f"add_catalogue: no <language>/LC_MESSAGES/{DOMAIN}.mo in this folder")
    for language, catalogue in found.items():
        _check(language, catalogue)
    # Others may be reading: the mapping is replaced, never changed.
    _added = {home: found, **{each: held for each, held in _added.items() if each != home}}
    return tuple(found)


def languages() -> tuple[str, ...]:
    """The languages that there are: the library's own, then those that were added.

    Example:
        >>> from consentpanel.transparency import languages
        >>> languages()
        ('en', 'de', 'fr')
    """
    known = dict.fromkeys(LANGUAGES)
    folded = {each.casefold() for each in known}
    for catalogues in reversed(tuple(_added.values())):
        for language in catalogues:
            if language.casefold() not in folded:
                known[language] = None
                folded.add(language.casefold())
    return tuple(known)


def best_language(accept_language: str | None, available: Iterable[str] | None = None) -> str:
    """The language to answer in, by the header ``Accept-Language``.

    By lookup (RFC 4647, 3.4): ``de-CH`` finds ``de``. What is refused (``q=0``) is not chosen while there is another;
    what is malformed counts for nothing.

    Args:
        accept_language: The header; None where there is none.
        available: The languages to choose from, the one for everybody else first; all `languages` when left out.

    Raises:
        ConfigurationError: There is nothing to choose from.

    Example:
        >>> from consentpanel.transparency import best_language
        >>> best_language("fr-CA, de;q=0.8"), best_language("ja, en;q=0"), best_language(None)
        ('fr', 'de', 'en')
    """
    offered = languages() if available is None else tuple(available)
    if not offered:
        raise ConfigurationError("available must name at least one language")
    return choose(accept_language, offered)


class Translator:
    """What English texts are in one language.

    Args:
        language: Its tag, in any case.

    Raises:
        ConfigurationError: There is no such language.
    """

    def __init__(self, language: str) -> None:
        known = {each.casefold(): each for each in languages()}
        found = known.get(language.casefold()) if isinstance(language, str) else None
        if found is None:
            raise ConfigurationError(f"language must be one of {', '.join(known.values())}")
        self.language = found
        self._catalogues = tuple(_catalogues(found))

    def text(self, english: str) -> str:
        """The text in this language, or in English."""
        found = (each.gettext(english) for each in self._catalogues)
        return next((text for text in found if text and text != english), english)

    def counted(self, one: str, many: str, count: int) -> str:
        """The text in the form that the language has for so many."""
        found = (each.ngettext(one, many, count) for each in self._catalogues)
        return next((text for text in found if text not in ("", one, many)), one if count == 1 else many)

    def territory(self, english: str) -> str:
        """The name of a country in this language, or in English."""
        found = (each.pgettext(TERRITORY, english) for each in self._catalogues)
        return next((text for text in found if text and text != english), english)


def _catalogues(language: str) -> Iterable[gettext.GNUTranslations]:
    for tag in wider(language.casefold()):
        for added in _added.values():
            yield from (held for each, held in added.items() if each.casefold() == tag)
        if tag in LANGUAGES and tag != "en":
            yield _own(tag)


@cache
def _own(language: str) -> gettext.GNUTranslations:
    with as_file(files("consentpanel.transparency") / "locale") as directory:
        return _read(Path(directory) / language / "LC_MESSAGES" / f"{DOMAIN}.mo")


def _read(file: Path) -> gettext.GNUTranslations:
    try:
        with file.open("rb") as stream:
            return gettext.GNUTranslations(stream)
    except (OSError, ValueError, LookupError, struct.error):
        language = file.parent.parent.name
        raise ConfigurationError(f"the catalogue for {language} is no compiled gettext catalogue (.mo)") from None


def _check(language: str, catalogue: gettext.GNUTranslations) -> None:
    """Refuses a translation that would show a name in braces to a visitor, or leave something out."""
    several = {f"{each}.{form}" for each in PLURALS for form in ("one", "many")}
    texts = {name: text for name, text in ALL_SENTENCES.items() if name not in several}
    texts |= {label: label for label in (*LABELS, GROUP_NAME)}
    wrong = [name for name, text in texts.items() if _names(catalogue.gettext(text)) not in (_names(text), None)]
    for each in PLURALS:
        one, many = ALL_SENTENCES[f"{each}.one"], ALL_SENTENCES[f"{each}.many"]
        # "One day" need not say its number.
        if any(not (_names(catalogue.ngettext(one, many, count)) or set()) <= {"count"} for count in _COUNTS):
            wrong.append(each)
    if any(_names(catalogue.pgettext(TERRITORY, each)) for each in TERRITORIES.values()):
        wrong.append(TERRITORY)
    if wrong:
        raise ConfigurationError(f"the catalogue for {language} has other names in braces in: {', '.join(wrong)}")


def _names(text: str) -> set[str] | None:
    return set(BRACES.findall(text)) if text else None
