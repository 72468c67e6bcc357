"""What readers share: the purposes that groups stand for, and a call that never raises."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel.cmp._answers import Answers
from consentpanel.cmp._header import Cookies
from consentpanel.errors import ConfigurationError, InvalidRecordError

#: What a cookie's name may be made of (RFC 6265, section 4.1.1).
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
Groups = Mapping[Any, tuple[Purpose, ...]]


def by_group(given: object) -> Groups:
    """From each group of a tool to its purposes.

    Raises:
        ConfigurationError: It is no mapping, or names no purpose.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"groups must map each group of the tool to a purpose, such as {{'C0002': 'analytics'}}, not {type(given).__name__}"
        )
    if not given:
        raise ConfigurationError("groups must map at least one group of the tool to a purpose")
    return {group: _purposes(group, named) for group, named in given.items()}


def _purposes(group: object, named: object) -> tuple[Purpose, ...]:
    several = (named,) if isinstance(named, str) else named
    if not isinstance(several, Iterable) or isinstance(several, (bytes, Mapping)):
        raise ConfigurationError(f"groups: {group!r} must stand for a purpose or several, not {type(named).__name__}")
    try:
        found = tuple(Purpose(each) for each in several)
    except InvalidRecordError as error:
        raise ConfigurationError(f"groups: {group!r}: {error}") from None
    if not found:
        raise ConfigurationError(f"groups: {group!r} must stand for at least one purpose")
    return found


def named_by_texts(_: object, __: attrs.Attribute[Any], groups: Groups) -> None:
    """Refuses groups that are no texts.

    Raises:
        ConfigurationError: One is none.
    """
    for each in groups:
        if not isinstance(each, str) or not each or not each.isprintable():
            kind = repr(each) if isinstance(each, str) else type(each).__name__
            raise ConfigurationError(f"groups: the name of a group must be a non-empty printable str, not {kind}")


def cookie_name(_: object, attribute: attrs.Attribute[Any], name: object) -> None:
    """Refuses what cannot be the name of a cookie.

    Raises:
        ConfigurationError: It cannot.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"{attribute.name} must be a str, not {type(name).__name__}")
    if not _TOKEN.fullmatch(name):
        raise ConfigurationError(f"{attribute.name} must be the name of a cookie, not {name!r}")


def text_or_none(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuses what is neither None nor a non-empty text.

    Raises:
        ConfigurationError: It is neither.
    """
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"{attribute.name} must be a non-empty str or None, not {value!r}")


@attrs.frozen
class ToolReader:
    """A reader of one tool.

    Attributes:
        source: What records name as the source of its answers.
        language: The language that the tool speaks on this site, where it does not write it down: of a yes a registry with
            ``strict_records=True`` has to know what was shown.
    """

    source: ClassVar[str]
    groups: Groups = attrs.field(converter=by_group, hash=False, validator=named_by_texts)
    language: str | None = attrs.field(default=None, kw_only=True, validator=text_or_none)

    def __call__(self, header: str | bytes | None) -> Answers:
        """What a request's cookies say.

        Args:
            header: The raw header ``Cookie``; several are joined with ``"; "``.

        Returns:
            The `Answers`; whatever the header holds, this raises nothing.
        """
        try:
            return self._read(Cookies(header, self._names()))
        except ValueError:
            # What a value is that cannot be read, is nobody's business.
            return self._unknown()

    def _names(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _read(self, cookies: Cookies) -> Answers:
        raise NotImplementedError

    def _unknown(self, **more: Any) -> Answers:
        return self._answers({}, **more)

    def _answers(self, said: Mapping[Any, bool | None], **more: Any) -> Answers:
        more.setdefault("language", self.language)
        return Answers(together(self.groups, said), **more)


@attrs.frozen
class CookieReader(ToolReader):
    """A reader of one cookie."""

    cookie: str = attrs.field(kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        """What its value says, as it came.

        Raises:
            ValueError: It cannot be read.
        """
        raise NotImplementedError

    def _names(self) -> tuple[str, ...]:
        return (self.cookie,)

    def _read(self, cookies: Cookies) -> Answers:
        value = cookies.get(self.cookie)
        return self._unknown() if value is None else self._of(value)


def together(groups: Groups, said: Mapping[Any, bool | None]) -> dict[Purpose, bool | None]:
    """The answers about purposes, from those about groups; a group that is not there is unknown."""
    answers: dict[Purpose, list[bool | None]] = {}
    for group, purposes in groups.items():
        for purpose in purposes:
            answers.setdefault(purpose, []).append(said.get(group))
    return {purpose: _of_all(each) for purpose, each in answers.items()}


def _of_all(answers: list[bool | None]) -> bool | None:
    """A yes only where all say yes, a no where any does."""
    if any(each is False for each in answers):
        return False
    return True if all(answers) else None
