"""c15t: the cookie ``c15t``.

It is flat, and nothing in it is escaped::

    c.necessary:1,c.measurement:1,i.t:1790000000000,i.sid:sub_x,i.mpf:<fingerprint>

A no is left out, or ``0`` in older ones: so a category that is missing is denied, also one that was added later. ``i.t`` is the time in
milliseconds, ``i.sid`` the subject's id, ``i.mpf`` the fingerprint of the policy that was shown. With ``i.id`` and no ``i.sid`` the tool asks
again; a visitor who was identified and has not answered has a time and an id and no category at all. Before an answer there is no cookie.

Source: the npm package c15t 2.2.1 (dist/index.js: flattenObject, saveConsentToStorage, identifyUser).
"""

from __future__ import annotations

import re
from typing import ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._reader import CookieReader, cookie_name, text_or_none
from consentpanel.cmp._values import Odd, consent_id, moment_of, pairs, whole

_SUBJECT = re.compile(r"sub_[1-9A-HJ-NP-Za-km-z]+")
_BITS = {"0": False, "1": True}


@attrs.frozen
class C15t(CookieReader):
    """Reads c15t's cookie.

    Args:
        groups: From its categories (``"measurement"``, ``"experience"``, ...) to purposes; of several for one purpose all must be allowed.
        fingerprint: The fingerprint of the site's policy, where answers to another one are to be unknown; None to take any.
        cookie: The name of the cookie, c15t's ``storageKey``.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> read = C15t({"measurement": "analytics"})
        >>> read("c15t=c.necessary:1,c.measurement:1,i.t:1726992900000,i.sid:sub_x").purposes
        {Purpose('analytics'): True}
    """

    source: ClassVar[str] = "c15t"
    fingerprint: str | None = attrs.field(default=None, kw_only=True, validator=text_or_none)
    cookie: str = attrs.field(default="c15t", kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        # The tool escapes nothing: what looks like an escape is part of somebody's id.
        fields = pairs(value, ",", ":")
        given_at, subject = moment_of(whole(fields.get("i.t", ""))), consent_id(fields.get("i.sid"))
        if not _SUBJECT.fullmatch(subject) or fields.get("c.necessary") != "1":
            raise Odd
        if self.fingerprint is not None and fields.get("i.mpf") != self.fingerprint:
            return self._unknown()
        said = {group: _bit(fields.get(f"c.{group}", "0")) for group in self.groups}
        return self._answers(said, is_explicit=True, given_at=given_at, consent_id=subject)


def _bit(text: str) -> bool:
    if text not in _BITS:
        raise Odd
    return _BITS[text]
