"""OneTrust: the cookies ``OptanonConsent`` and ``OptanonAlertBoxClosed``.

``OptanonConsent`` is a query string whose order varies, each value percent-encoded::

    isGpcEnabled=0&datestamp=…&version=202604.2.0&browserGpcFlag=0&consentId=<uuid>&interactionCount=1&groups=C0001%3A1%2CC0002%3A0&AwaitingReconsent=false

``groups`` holds ``id:0|1``: C0001 necessary, C0002 performance, C0003 functional, C0004 targeting, C0005 social, and ids of the site's own. The
cookie is there before anybody has answered, often with everything at 1, and so proves nothing by itself: that takes ``interactionCount`` of 1 or
more, the time in ``OptanonAlertBoxClosed`` (``2026-09-22T08:15:00.000Z``) and ``AwaitingReconsent=false``. ``datestamp`` changes without
a choice, and ``version`` is that of the script.

Sources: https://my.onetrust.com (article UUID-2dc719a8), the npm package @commercetools-frontend/cookie-consent,
https://github.com/ethyca/fides (consent-migration/onetrust.ts).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._header import Cookies
from consentpanel.cmp._reader import ToolReader, cookie_name
from consentpanel.cmp._values import Odd, consent_id, moment, pairs, unescaped, whole

_BITS = {"0": False, "1": True}


@attrs.frozen
class OneTrust(ToolReader):
    """Reads OneTrust's cookies.

    Args:
        groups: From the ids of its cookie groups to purposes; of several groups for one purpose all must be allowed.
        cookie: The name of the cookie with the groups.
        closed_cookie: The name of the cookie with the time of the answer.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> read = OneTrust({"C0002": "analytics"})
        >>> header = (
        ...     "OptanonAlertBoxClosed=2024-09-22T08:15:00.000Z; "
        ...     "OptanonConsent=interactionCount=1&groups=C0001%3A1%2CC0002%3A1&AwaitingReconsent=false"
        ... )
        >>> answers = read(header)
        >>> answers.purposes, answers.is_explicit
        ({Purpose('analytics'): True}, True)
    """

    source: ClassVar[str] = "onetrust"
    cookie: str = attrs.field(default="OptanonConsent", kw_only=True, validator=cookie_name)
    closed_cookie: str = attrs.field(default="OptanonAlertBoxClosed", kw_only=True, validator=cookie_name)

    def _names(self) -> tuple[str, ...]:
        return (self.cookie, self.closed_cookie)

    def _read(self, cookies: Cookies) -> Answers:
        value = cookies.get(self.cookie)
        if value is None:
            return self._unknown()
        fields = pairs(value, "&", "=")
        gpc = _gpc(fields)
        # Nobody has done anything yet, whatever the groups say.
        if whole(fields.get("interactionCount", "0")) < 1:
            return self._unknown(gpc=gpc)
        said = {group: _bit(each) for group, each in pairs(unescaped(fields.get("groups", "")), ",", ":").items()}
        given_at = _closed_at(cookies, self.closed_cookie)
        if given_at is None or fields.get("AwaitingReconsent") != "false":
            # A no that somebody has given once stays one; what was a yes is asked for again.
            return self._answers({group: None if is_granted else False for group, is_granted in said.items()}, gpc=gpc)
        named = unescaped(fields["consentId"]) if fields.get("consentId") else None
        return self._answers(
            said,
            is_explicit=True,
            given_at=given_at,
            consent_id=None if named is None else consent_id(named),
            gpc=gpc,
        )


def _bit(text: str) -> bool:
    if text not in _BITS:
        raise Odd
    return _BITS[text]


def _gpc(fields: dict[str, str]) -> bool | None:
    seen = [_BITS.get(fields.get(name, "")) for name in ("isGpcEnabled", "browserGpcFlag")]
    if True in seen:
        return True
    return None if None in seen else False


def _closed_at(cookies: Cookies, name: str) -> datetime | None:
    with suppress(ValueError):
        value = cookies.get(name)
        return None if value is None else moment(unescaped(value))
    return None
