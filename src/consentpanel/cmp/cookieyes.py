"""CookieYes: the cookie ``cookieyes-consent``.

It is flat::

    consentid:QUJDRA,consent:no,action:yes,necessary:yes,functional:no,analytics:no

``action`` is empty until somebody has answered; ``consent`` is ``no`` where everything was refused. There is no time.

This form was seen in public code alone, so that whatever else comes is unknown.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._reader import CookieReader, cookie_name
from consentpanel.cmp._values import Odd, consent_id, pairs, unescaped

_ANSWERS = {"yes": True, "no": False}


@attrs.frozen
class CookieYes(CookieReader):
    """Reads CookieYes' cookie.

    Args:
        groups: From its categories (``"analytics"``, ``"performance"``, ...) to purposes; of several for one purpose all must be allowed.
        cookie: The name of the cookie.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> read = CookieYes({"analytics": "analytics"})
        >>> read("cookieyes-consent=consentid:QUJDRA,consent:no,action:yes,analytics:no").purposes
        {Purpose('analytics'): False}
    """

    source: ClassVar[str] = "cookieyes"
    cookie: str = attrs.field(default="cookieyes-consent", kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        fields = pairs(unescaped(value), ",", ":")
        if fields.get("action") != "yes":
            return self._unknown()
        is_any, named = _answer(fields.get("consent", "")), consent_id(fields.get("consentid"))
        said = {group: _answer(fields[group]) for group in self.groups if group in fields}
        if not is_any and any(said.values()):
            raise Odd
        return self._answers(said, is_explicit=True, consent_id=named)


def _answer(text: str) -> bool:
    if text not in _ANSWERS:
        raise Odd
    return _ANSWERS[text]
