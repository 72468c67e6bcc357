"""TrustArc: the cookies ``notice_behavior``, ``notice_preferences``, ``notice_gdpr_prefs`` and ``cmapi_cookie_privacy``.

Each holds a part of the answer::

    notice_behavior=expressed,eu; notice_preferences=2:<hash>; notice_gdpr_prefs=0,1,2:<hash>; cmapi_cookie_privacy=permit 1,2,3

Levels are 0 required, 1 functional, 2 advertising, and further ones of the site's own: ``notice_preferences`` has the highest that is allowed,
``notice_gdpr_prefs`` all of them (also ``0|1|2``), ``cmapi_cookie_privacy`` the same, counted from 1 (also ``permit_1|2|3``, ``permit 1
required``). Where people are taken to agree, ``notice_behavior`` is ``implied,us`` or ``none``, and a third part of ``notice_gdpr_prefs`` says
``implied,eu``: everything is on, and nobody was asked. ``gpcishonored=true`` tells of Global Privacy Control. There is no time and no id.

These forms were seen in public code alone. So a yes takes all four, without a contradiction, and ``expressed``.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._header import Cookies
from consentpanel.cmp._reader import Groups, ToolReader, by_group
from consentpanel.cmp._values import Odd, unescaped
from consentpanel.errors import ConfigurationError

_BEHAVIOR, _HIGHEST, _LEVELS, _PERMIT = (
    "notice_behavior",
    "notice_preferences",
    "notice_gdpr_prefs",
    "cmapi_cookie_privacy",
)
_GPC = "gpcishonored"
_HASH = r"[0-9A-Za-z]{0,128}"
_HIGHEST_FORM = re.compile(rf"([0-9]):{_HASH}")
_LEVELS_FORM = re.compile(rf"([0-9](?:[,|][0-9])*):{_HASH}(?::([a-z]+(?:,[a-z]+)?))?")
_PERMIT_FORM = re.compile(r"permit[ _]([1-9](?:[,|][1-9])*)(?: required)?")


def _known(_: object, __: attrs.Attribute[Any], groups: Groups) -> None:
    for each in groups:
        if type(each) is not int or not 1 <= each <= 8:
            raise ConfigurationError(
                f"groups: TrustArc's levels are 1 (functional), 2 (advertising) up to 8, not {each!r}"
            )


@attrs.frozen
class TrustArc(ToolReader):
    """Reads TrustArc's cookies.

    Args:
        groups: From its levels (1 functional, 2 advertising, or as the site has them) to purposes: where analytics belongs is up to the site. Of
            several for one purpose all must be allowed.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> read = TrustArc({1: "analytics"})
        >>> read(
        ...     "notice_behavior=expressed,eu; notice_preferences=1:; notice_gdpr_prefs=0,1:; cmapi_cookie_privacy=permit 1,2"
        ... ).purposes
        {Purpose('analytics'): True}
    """

    source: ClassVar[str] = "trustarc"
    groups: Groups = attrs.field(converter=by_group, hash=False, validator=_known)

    def _names(self) -> tuple[str, ...]:
        return (_BEHAVIOR, _HIGHEST, _LEVELS, _PERMIT, _GPC)

    def _read(self, cookies: Cookies) -> Answers:
        gpc = True if cookies.get(_GPC) == "true" else None
        written = {each: cookies.get(each) for each in (_BEHAVIOR, _HIGHEST, _LEVELS, _PERMIT)}
        try:
            return self._of(written, is_whole=not cookies.is_last(_LEVELS), gpc=gpc)
        except ValueError:
            return self._unknown(gpc=gpc)

    def _of(self, written: dict[str, str | None], *, is_whole: bool, gpc: bool | None) -> Answers:
        prefs = written[_LEVELS]
        if prefs is None:
            return self._unknown(gpc=gpc)
        levels, marker = _matched(_LEVELS_FORM, prefs).groups()
        allowed = _numbers(levels)
        highest, permit = written[_HIGHEST], written[_PERMIT]
        if highest is not None and max(allowed) != int(_matched(_HIGHEST_FORM, highest)[1]):
            raise Odd
        if permit is not None and allowed != {each - 1 for each in _numbers(_matched(_PERMIT_FORM, permit)[1])}:
            raise Odd
        if 0 not in allowed or (marker is not None and marker.split(",")[0] != "expressed"):
            return self._unknown(gpc=gpc)
        behavior = written[_BEHAVIOR]
        is_expressed = behavior is not None and unescaped(behavior).split(",")[0] == "expressed"
        # A cut could have taken the part that says `implied`, where nothing follows.
        is_proven = is_expressed and None not in (highest, permit) and (marker is not None or is_whole)
        said: dict[int, bool | None] = {group: group in allowed for group in self.groups}
        if not is_proven:
            said = {group: None if is_allowed else False for group, is_allowed in said.items()}
        return self._answers(said, is_explicit=is_proven, gpc=gpc)


def _matched(form: re.Pattern[str], value: str) -> re.Match[str]:
    found = form.fullmatch(unescaped(value))
    if found is None:
        raise Odd
    return found


def _numbers(text: str) -> set[int]:
    return {int(each) for each in text.replace("|", ",").split(",")}
