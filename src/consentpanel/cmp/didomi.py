"""Didomi: the cookie ``didomi_token``.

It is JSON in Base64, maybe percent-encoded, maybe without its padding::

    {"user_id":"…","created":"2026-09-22T08:15:00.000Z","updated":"2026-09-22T08:15:04.000Z",
     "vendors":{"enabled":["c:mixpanel"],"disabled":[]},"purposes":{"enabled":[],"disabled":["analytics"]},"version":2}

A purpose is granted only where ``enabled`` lists it; real tokens often leave ``disabled`` out, and a purpose in neither list was not answered.
What stands under legitimate interest is no consent. The binary ``didomi_dcs`` is not read; ``euconsent-v2`` is the TCF's.

Source: https://developers.didomi.io/cmp/web-sdk/consent-notice/cookies
"""

from __future__ import annotations

import base64
import re
from typing import Any, ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._reader import CookieReader, cookie_name, text_or_none
from consentpanel.cmp._values import Odd, consent_id, json_object, moment, texts, unescaped

_BASE64 = re.compile(r"([A-Za-z0-9+/]+)(={0,2})")


@attrs.frozen
class Didomi(CookieReader):
    """Reads Didomi's cookie.

    Args:
        groups: From the ids of its purposes to purposes; of several for one purpose all must be allowed.
        vendor: The id of a vendor, such as ``"c:mixpanel"``, that must be allowed as well; None to ask for purposes alone.
        cookie: The name of the cookie.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> import base64
        >>> token = (
        ...     b'{"user_id":"u-1","created":"2024-09-22T08:15:00.000Z","updated":"2024-09-22T08:15:04.000Z",'
        ...     b'"purposes":{"enabled":["measure"]},"version":2}'
        ... )
        >>> Didomi({"measure": "analytics"})("didomi_token=" + base64.b64encode(token).decode()).purposes
        {Purpose('analytics'): True}
    """

    source: ClassVar[str] = "didomi"
    vendor: str | None = attrs.field(default=None, kw_only=True, validator=text_or_none)
    cookie: str = attrs.field(default="didomi_token", kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        token = json_object(_from_base64(unescaped(value)))
        created, updated = moment(token.get("created")), moment(token.get("updated"))
        version = token.get("version")
        # 2.0 is no version, though it equals one.
        if type(version) is not int or version != 2 or updated < created:
            raise Odd
        said = _listed(token.get("purposes", {}))
        if self.vendor is not None:
            by_vendor = _listed(token.get("vendors", {})).get(self.vendor)
            said = {group: _both(is_granted, by_vendor) for group, is_granted in said.items()}
        named = consent_id(token.get("user_id"))
        return self._answers(said, is_explicit=bool(said), given_at=updated, consent_id=named)


def _from_base64(text: str) -> str:
    found = _BASE64.fullmatch(text)
    if found is None:
        raise Odd
    letters, padding = found.groups()
    missing = -len(letters) % 4
    if missing == 3 or len(padding) not in {0, missing}:
        raise Odd
    return base64.b64decode(letters + "=" * missing, validate=True).decode()


def _listed(given: Any) -> dict[str, bool | None]:
    """What is enabled and what is disabled; unknown for what is both."""
    if not isinstance(given, dict):
        raise Odd
    enabled, disabled = texts(given.get("enabled", [])), texts(given.get("disabled", []))
    found: dict[str, bool | None] = {**dict.fromkeys(enabled, True), **dict.fromkeys(disabled, False)}
    return {**found, **dict.fromkeys(enabled & disabled)}


def _both(purpose: bool | None, vendor: bool | None) -> bool | None:
    if purpose is False or vendor is False:
        return False
    return True if purpose and vendor else None
