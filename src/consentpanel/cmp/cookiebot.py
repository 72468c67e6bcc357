"""Cookiebot: the cookie ``CookieConsent``.

It is a literal of JavaScript with bare names, whose quotes and commas are percent-encoded::

    {stamp:%27QUJDRA==%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:true%2Cmarketing:false%2Cmethod:%27explicit%27%2Cver:2%2Cutc:1790000000000%2Cregion:%27de%27}

``stamp`` is Base64, whose plus signs must survive; ``utc`` is in milliseconds. Before an answer there is no cookie. ``-1``, as the value or as the
stamp, means that the visitor is outside of the regions that are asked, and all is allowed: no answer. ``0`` is an older form of a refusal of
everything. ``method`` is ``explicit`` or ``implied``; an unknown one counts as implied, as the vendor says. Other software uses the same name,
and values that were made up to silence the banner often lack ``stamp`` or ``utc``: both are needed.

Source: https://www.cookiebot.com/en/developer/ ("server-side usage").
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._reader import CookieReader, Groups, by_group, cookie_name
from consentpanel.cmp._values import Odd, consent_id, moment_of, truth, unescaped, whole
from consentpanel.errors import ConfigurationError

_PAIR = r"([A-Za-z_][A-Za-z0-9_]*):('[^'\\]*'|true|false|-?[0-9]{1,15})"
_LITERAL = re.compile(rf"\{{{_PAIR}(?:,{_PAIR})*\}}")
_ONE = re.compile(_PAIR)
_STAMP = re.compile(r"[A-Za-z0-9+/]{4,250}={0,2}")
_CATEGORIES = ("preferences", "statistics", "marketing")


def _known(_: object, __: attrs.Attribute[Any], groups: Groups) -> None:
    for each in groups:
        if each not in _CATEGORIES:
            raise ConfigurationError(f"groups: Cookiebot asks for {', '.join(_CATEGORIES)}, not for {each!r}")


@attrs.frozen
class Cookiebot(CookieReader):
    """Reads Cookiebot's cookie.

    Args:
        groups: From ``"preferences"``, ``"statistics"`` and ``"marketing"`` to purposes; of several for one purpose all must be allowed.
        cookie: The name of the cookie.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> read = Cookiebot({"statistics": "analytics"})
        >>> header = "CookieConsent={stamp:%27QUJDRA==%27%2Cstatistics:true%2Cmethod:%27explicit%27%2Cutc:1726992900000}"
        >>> answers = read(header)
        >>> answers.purposes, answers.given_at.year
        ({Purpose('analytics'): True}, 2024)
    """

    source: ClassVar[str] = "cookiebot"
    groups: Groups = attrs.field(converter=by_group, hash=False, validator=_known)
    cookie: str = attrs.field(default="CookieConsent", kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        if value == "0":
            return self._answers(dict.fromkeys(_CATEGORIES, False))
        fields = _fields(unescaped(value))
        stamp, given_at = fields.get("stamp"), moment_of(fields.get("utc"))
        if fields.get("method") != "explicit" or not isinstance(stamp, str) or not _STAMP.fullmatch(stamp):
            return self._unknown()
        said = {each: truth(fields[each]) for each in _CATEGORIES if each in fields}
        return self._answers(said, is_explicit=True, given_at=given_at, consent_id=consent_id(stamp))


def _fields(literal: str) -> dict[str, Any]:
    if not _LITERAL.fullmatch(literal):
        raise Odd
    written = [found.groups() for found in _ONE.finditer(literal)]
    fields = {name: _value(text) for name, text in written}
    if len(fields) != len(written):
        raise Odd
    return fields


def _value(text: str) -> Any:
    if text.startswith("'"):
        return text[1:-1]
    return text == "true" if text in {"true", "false"} else whole(text)
