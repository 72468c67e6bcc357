"""The notice in each language, made once, and what of it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.regime import Regime
from consentpanel._log import note_failure, warn_once
from consentpanel.client import Mixpanel
from consentpanel.errors import ConfigurationError
from consentpanel.panel._regimes import EITHER, under
from consentpanel.panel._shown import banner_shown, sha256, shown
from consentpanel.panel._standing import version_seen
from consentpanel.transparency import Notice, NoticeArchive, best_language, compare, notice
from consentpanel.transparency import languages as known_languages

#: A notice, or a function that is given a language and makes one in it.
NoticeSource: TypeAlias = "Notice | Callable[[str], Notice]"


#: What records name as the place where it was said.
PANEL, BANNER = "panel", "banner"
#: So many notices are kept.
_MOST = 256
_REGIMES = (frozenset[Regime](), frozenset({Regime.OPT_IN}), frozenset({Regime.OPT_OUT}), EITHER)


@attrs.frozen
class Shown:
    """What everybody is shown in one language.

    Attributes:
        notice: The notice.
        text: The text of the questions.
        digest: SHA-256 of that, as hexadecimal: what the evidence of an answer holds.
        source: Where it is shown, as records name it.
        has_box: Whether there is a box for what waits for an answer.
    """

    notice: Notice
    text: str = attrs.field(repr=False)
    digest: str
    source: str = PANEL
    has_box: bool = False

    @property
    def purposes(self) -> tuple[str, ...]:
        """What is asked."""
        return tuple(use.purpose for use in self.notice.uses)

    @classmethod
    def of(cls, notice: Notice) -> Shown:
        """What is shown of a notice."""
        text = shown(notice)
        return cls(notice, text, sha256(text))

    def under(self, regimes: frozenset[Regime]) -> Shown:
        """What it is for somebody for whom silence means that."""
        return Shown.of(under(self.notice, regimes))

    def variants(self, held: int | None) -> Iterator[Shown]:
        """What it may be for some person, by what silence means for them: the page and the banner.

        Args:
            held: For how many minutes the client has messages wait; None where none do.
        """
        for each in (under(self.notice, regimes) for regimes in _REGIMES):
            yield Shown.of(each)
            if held is not None:
                text = shown(each, held)
                yield Shown(each, text, sha256(text), has_box=True)
            text = banner_shown(each)
            yield Shown(each, text, sha256(text), BANNER)


class Notices:
    """The notice in each language.

    Args:
        source: A notice, or a function that makes one; None for a minimal one of the client.
        contact: Where people can write to, for a minimal one; None where nothing is said of that.
        languages: In which there is one; the first is for those who read none of them.

    Raises:
        ConfigurationError: An argument cannot work.
    """

    def __init__(
        self, source: NoticeSource | None, *, contact: str | None = None, languages: Sequence[str] | None = None
    ) -> None:
        is_made = callable(source) and not isinstance(source, type)
        if source is not None and not is_made and not hasattr(source, "uses"):
            raise ConfigurationError(
                f"notice must be a Notice, or a function (language) -> Notice, not {type(source).__name__}"
            )
        if contact is not None and source is not None:
            raise ConfigurationError("contact= is for a notice that is made of the client: notice= has its own")
        own = () if source is None or is_made else (source.language,)  # type: ignore[union-attr]
        #: The languages.
        self.languages: tuple[str, ...] = own or tuple(known_languages() if languages is None else languages)
        if (
            isinstance(languages, str)
            or not self.languages
            or not all(isinstance(each, str) for each in self.languages)
        ):
            raise ConfigurationError("languages must be several languages, such as ('en', 'de')")
        self._source, self._contact = source, contact
        self._made: dict[tuple[str, str], Shown] = {}

    def asked_for(self, name: str | None) -> str | None:
        """The language that was asked for by name; None where there is none such."""
        return best_language(name, ("", *self.languages)) or None

    def language_for(self, asked: str | None, of_site: str | None, accepted: str) -> str:
        """The language for somebody.

        Args:
            asked: The one that was asked for by name.
            of_site: The one of the site around the panel.
            accepted: ``Accept-Language``.
        """
        return self.asked_for(asked) or self.asked_for(of_site) or best_language(accepted, self.languages)

    def of(self, language: str, client: Mixpanel, page: str) -> Shown:
        """The notice in a language, or in the first one where it cannot be made.

        Args:
            language: One of `languages`.
            client: The client, for a minimal one.
            page: The path of the panel.

        Raises:
            ConfigurationError: There is none at all.
        """
        for each in dict.fromkeys((language, *self.languages[:1])):
            # A minimal one leads to the page that it was made for: what one request says of the path is no other's.
            key = each, page if self._source is None and self._contact is None else ""
            if (found := self._made.get(key)) is not None:
                return found
            try:
                made = Shown.of(self._make(each, client, page))
                if len(self._made) >= _MOST:
                    # More paths than that no site has.
                    self._made.pop(next(iter([*self._made]), key), None)
                # Made twice where two ask at once, which does no harm.
                return self._made.setdefault(key, made)
            except ConfigurationError as error:
                # Its text names arguments and rules, and nobody.
                note_failure(f"the notice in {each!r} ({error})", error)
            except Exception as error:  # noqa: BLE001 - the publisher's own function
                note_failure(f"the notice in {each!r}", error)
        raise ConfigurationError("the notice cannot be made in any language")

    def _make(self, language: str, client: Mixpanel, page: str) -> Notice:
        if self._source is None:
            made = notice(client, contact=self._contact or page, language=language)
            return made if self._contact else _without_contact(made, page)
        made = self._source(language) if callable(self._source) else self._source
        if not hasattr(made, "uses"):
            raise ConfigurationError(f"the function for the notice must return a Notice, not {type(made).__name__}")
        _warn_of_region(made, client)
        return made


def _warn_of_region(made: Notice, client: Mixpanel) -> None:
    """Warns, once, of a notice that tells another place than the one to which the client sends."""
    told = getattr(made, "facts", {}).get("vendor", {}).get("region")
    sends = client._configuration.region  # noqa: SLF001 - shared inside the package
    if told is not None and sends is not None and told != sends:
        warn_once(
            f"the notice says that data is kept in the region {told}, and the client sends to {sends}: see api_host="
        )


def _without_contact(made: Notice, page: str) -> Notice:
    """A notice that says nowhere to write to: nobody can write to the panel."""
    told = made.words("choices.contact", contact=page)
    sections = tuple(
        attrs.evolve(each, paragraphs=tuple(text for text in each.paragraphs if text != told)) for each in made.sections
    )
    return attrs.evolve(made, contact="", sections=sections)


class Kept:
    """The texts that were shown, as an archive has them.

    Args:
        archive: The archive; None for none.
        earlier: Older notices, as `Notice.to_json` wrote them.

    Raises:
        ConfigurationError: An argument cannot work.
    """

    def __init__(self, archive: NoticeArchive | None, earlier: Sequence[Notice | str]) -> None:
        if archive is not None and not callable(getattr(archive, "keep_text", None)):
            raise ConfigurationError(f"archive must be a NoticeArchive, not {type(archive).__name__}")
        self._archive = archive
        self._known: set[tuple[str, str]] = set()
        self._earlier = {_version_of(each): each for each in earlier}

    def keep(self, version: str, found: Shown) -> None:
        """Keeps a text before an answer to it is recorded.

        Raises:
            OSError: The archive cannot be written.
        """
        key = version, found.digest
        if self._archive is not None and key not in self._known:
            self._archive.keep_text(version, found.notice.language, found.text)
            self._known.add(key)

    def changes_since(self, records: Sequence[ConsentRecord], present: Notice) -> dict[str, tuple[str, ...]]:
        """By purpose what has changed since the notice that somebody has last said yes to for it; a no is to nothing."""
        granted = {each.purpose: each for each in records if each.status is ConsentStatus.GRANTED}
        answered = {use.purpose: version_seen(granted.get(Purpose(use.purpose))) for use in present.uses}
        changes = {version: self.changes(version, present) for version in {*answered.values()} - {None} if version}
        return {purpose: found for purpose, each in answered.items() if each and (found := changes[each])}

    def changes(self, version: str, present: Notice) -> tuple[str, ...]:
        """What has changed since a version that was answered, as far as that is known."""
        given = None if version == present.version else self._earlier.get(version)
        if given is None:
            return ()
        try:
            return compare(given, present).in_words(present)
        except ConfigurationError as error:
            note_failure("comparing notices", error)
            return ()


def _version_of(given: Notice | str) -> str:
    if not isinstance(given, str):
        return given.version
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(given)["version"])
    raise ConfigurationError("earlier must hold notices, or texts that Notice.to_json() wrote")
