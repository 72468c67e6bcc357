"""vanilla-cookieconsent 3 and 2: the cookie ``cc_cookie``, unless ``useLocalStorage`` keeps the answer where no server sees it.

It is JSON under `encodeURIComponent`; version 2 writes it raw unless ``rfc_cookie`` is on::

    {"categories":["necessary"],"revision":2,"data":null,"consentTimestamp":"2026-09-22T08:15:00.000Z","consentId":"<uuid>",
     "services":{"necessary":[],"analytics":[]},"languageCode":"de","lastConsentTimestamp":"…","expirationTime":1805767200000}

Version 2 names them ``level``, ``consent_date``, ``consent_uuid`` and ``last_consent_update``. The tool takes its own cookie for an answer when
``categories`` is a list, the id and both times are there, and ``revision`` is that of the site, and so does this. A category that is listed is
granted, one that is not is denied: also one that was added without a new revision.

Source: https://github.com/orestbida/cookieconsent (src/core/api.js).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import attrs

from consentpanel._checks import whole_number
from consentpanel.cmp._answers import Answers
from consentpanel.cmp._reader import CookieReader, cookie_name, text_or_none
from consentpanel.cmp._values import Odd, consent_id, is_over, json_object, language_tag, moment, texts

_THREE = ("categories", "consentId", "consentTimestamp", "lastConsentTimestamp")
_TWO = ("level", "consent_uuid", "consent_date", "last_consent_update")


def _revision(_: object, __: attrs.Attribute[Any], value: object) -> None:
    whole_number("revision", value, 0)


@attrs.frozen
class VanillaCookieConsent(CookieReader):
    """Reads the cookie of vanilla-cookieconsent.

    Args:
        groups: From its categories to purposes; of several for one purpose all must be allowed.
        revision: The site's ``revision``; answers to another one are unknown.
        service: The name of a service that must be accepted as well, where people answer for each; None to ask for categories alone.
        cookie: The name of the cookie.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> from urllib.parse import quote
        >>> value = quote(
        ...     '{"categories":["necessary"],"revision":0,"consentId":"c-1","services":{},'
        ...     '"consentTimestamp":"2024-09-22T08:15:00.000Z","lastConsentTimestamp":"2024-09-22T08:15:00.000Z"}'
        ... )
        >>> VanillaCookieConsent({"analytics": "analytics"})(f"cc_cookie={value}").purposes
        {Purpose('analytics'): False}
    """

    source: ClassVar[str] = "vanilla-cookieconsent"
    revision: int = attrs.field(default=0, kw_only=True, validator=_revision)
    service: str | None = attrs.field(default=None, kw_only=True, validator=text_or_none)
    cookie: str = attrs.field(default="cc_cookie", kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        fields = json_object(value)
        of_categories, of_id, of_first, of_last = _version(fields)
        first, last, revision = moment(fields.get(of_first)), moment(fields.get(of_last)), fields.get("revision")
        # The Boolean True is an int too.
        if (
            type(revision) is not int
            or revision != self.revision
            or last < first
            or is_over(fields.get("expirationTime"))
        ):
            return self._unknown()
        accepted = texts(fields.get(of_categories))
        said = {group: self._is_granted(group, group in accepted, fields.get("services")) for group in self.groups}
        found = consent_id(fields.get(of_id))
        spoken = _language(fields.get("languageCode")) or self.language
        return self._answers(said, is_explicit=True, given_at=last, consent_id=found, language=spoken)

    def _is_granted(self, group: str, is_accepted: bool, services: object) -> bool | None:
        if self.service is None or not is_accepted:
            return is_accepted
        # The tool lists what was accepted of each category.
        if not isinstance(services, dict) or not isinstance(services.get(group), list):
            return None
        return self.service in texts(services[group])


def _language(code: object) -> str | None:
    with suppress(Odd):
        return language_tag(code)
    return None


def _version(fields: dict[str, Any]) -> tuple[str, str, str, str]:
    is_three, is_two = ("consentId" in fields, "consent_uuid" in fields)
    if is_three == is_two:
        raise Odd
    if is_three:
        return _THREE
    # Version 2 from 2.8 on says the same twice.
    if "categories" in fields and texts(fields["categories"]) != texts(fields.get("level")):
        raise Odd
    return _TWO
