"""Civic Cookie Control: the cookie ``CookieControl``.

It is raw JSON, which frameworks' parsers of cookies drop::

    {"necessaryCookies":[],"optionalCookies":{"analytics":"accepted"},"statement":{"shown":true,"updated":"22/09/2026"},
     "consentDate":1790000000000,"consentExpiry":90,"interactedWith":true,"user":"<GUID>"}

A category is ``accepted``, ``revoked`` or under ``legitimate interest``, which is no consent. Without ``"interactedWith": true`` nobody has
answered.

Source: https://www.civicuk.com/cookie-control/documentation
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._reader import CookieReader, cookie_name
from consentpanel.cmp._values import Odd, consent_id, json_object, moment_of

_ANSWERS = {"accepted": True, "revoked": False, "legitimate interest": None}


@attrs.frozen
class Civic(CookieReader):
    """Reads Civic's cookie.

    Args:
        groups: From the names of its optional categories to purposes; of several for one purpose all must be allowed.
        cookie: The name of the cookie.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> read = Civic({"analytics": "analytics"})
        >>> read(
        ...     'CookieControl={"optionalCookies":{"analytics":"accepted"},"consentDate":1726992900000,"interactedWith":true}'
        ... ).purposes
        {Purpose('analytics'): True}
    """

    source: ClassVar[str] = "civic"
    cookie: str = attrs.field(default="CookieControl", kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        fields = json_object(value)
        optional, user = fields.get("optionalCookies"), fields.get("user")
        if fields.get("interactedWith") is not True:
            return self._unknown()
        if not isinstance(optional, dict):
            raise Odd
        said = {group: _answer(each) for group, each in optional.items()}
        return self._answers(
            said,
            is_explicit=True,
            given_at=moment_of(fields.get("consentDate")),
            consent_id=None if user is None else consent_id(user),
        )


def _answer(text: object) -> bool | None:
    if not isinstance(text, str) or text not in _ANSWERS:
        raise Odd
    return _ANSWERS[text]
