"""Klaro: the cookie ``klaro``, unless its ``storageMethod`` keeps the answer where no server sees it.

It is JSON under `encodeURIComponent`, one Boolean for each service::

    %7B%22mixpanel%22%3Atrue%2C%22matomo%22%3Afalse%7D

There is no time, id or version. The tool writes it when somebody saves, and not before: that it is there and complete is all the proof
there is. A service that was added later is missing, and so was not answered.

Source: https://github.com/klaro-org/klaro-js (src/consent-manager.js).
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._reader import CookieReader, cookie_name
from consentpanel.cmp._values import json_object, truth


@attrs.frozen
class Klaro(CookieReader):
    """Reads Klaro's cookie.

    Args:
        groups: From the names of its services to purposes; of several for one purpose all must be allowed.
        cookie: The name of the cookie, Klaro's ``storageName``.
        language: The language that the tool speaks on this site, where it does not write it down; None where it is not known.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> Klaro({"mixpanel": "analytics"})("klaro=%7B%22mixpanel%22%3Afalse%7D").purposes
        {Purpose('analytics'): False}
    """

    source: ClassVar[str] = "klaro"
    cookie: str = attrs.field(default="klaro", kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        said = {service: truth(each) for service, each in json_object(value).items()}
        return self._answers(said, is_explicit=bool(said))
