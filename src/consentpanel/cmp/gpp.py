"""IAB GPP: of a string such as ``DBABL~<usnat>.YA`` only whether the browser had Global Privacy Control on.

A GPP string speaks of sale, sharing and advertising, and of no analytics, so that it answers nothing about purposes. Its header has 6 bits of type (3),
6 of version (1), and the sections' ids as ranges in Fibonacci's code; a section follows for each. Those of the United States (7 national, 8 and on
single states) may have a part for the signal: 2 bits of type (1), and the signal (``.YA`` is on, ``.QA`` is off). The cookie's
name is the consent tool's.

Sources: https://github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, https://www.w3.org/TR/gpc/
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from consentpanel.cmp._answers import Answers
from consentpanel.cmp._bits import Bits
from consentpanel.cmp._header import Cookies
from consentpanel.cmp._reader import cookie_name
from consentpanel.cmp._values import Odd, unescaped

#: Sections of the United States, whose parts are of one form.
_STATES = range(7, 64)
_GPC_PART = 1
_MAX_SECTIONS = 64


@attrs.frozen
class GPP:
    """Reads the Global Privacy Control that a consent tool has seen; says nothing about purposes.

    Args:
        cookie: The name of the cookie; the default is OneTrust's.

    Raises:
        ConfigurationError: That is no name of a cookie.

    Example:
        >>> GPP()("OTGPPConsent=DBABLA~BVQqAAAAAgA.YA").gpc
        True
    """

    source: ClassVar[str] = "gpp"
    cookie: str = attrs.field(default="OTGPPConsent", kw_only=True, validator=cookie_name)

    def __call__(self, header: str | bytes | None) -> Answers:
        """What a request's cookies say.

        Args:
            header: The raw header ``Cookie``; several are joined with ``"; "``.

        Returns:
            The `Answers`; whatever the header holds, this raises nothing.
        """
        try:
            value = Cookies(header, (self.cookie,)).get(self.cookie)
            return Answers(gpc=None if value is None else _gpc(unescaped(value)))
        except ValueError:
            # What a value is that cannot be read, is nobody's business.
            return Answers()


def _gpc(text: str) -> bool | None:
    header, *sections = text.split("~")
    ids = _ids(Bits(header))
    # The part for the signal never stands alone.
    if len(ids) != len(sections) or not all(section.partition(".")[0] for section in sections):
        raise Odd
    seen: set[bool] = set()
    for number, section in zip(ids, sections, strict=True):
        if number in _STATES:
            _, *parts = section.split(".")
            signals = [_signal(Bits(part)) for part in parts]
            seen.update(each for each in signals if each is not None)
    return seen.pop() if len(seen) == 1 else None


def _ids(bits: Bits) -> list[int]:
    if (bits.number(6), bits.number(6)) != (3, 1):
        raise Odd
    found: list[int] = []
    last = 0
    for _ in range(bits.number(12)):
        is_range = bits.flag()
        first = last + bits.fibonacci()
        last = first + bits.fibonacci() if is_range else first
        if len(found) + last - first >= _MAX_SECTIONS:
            raise Odd
        found.extend(range(first, last + 1))
    bits.end()
    return found


def _signal(bits: Bits) -> bool | None:
    """The signal of a part; None for a part about something else."""
    if bits.number(2) != _GPC_PART:
        return None
    is_on = bits.flag()
    # One character is half of what the encoders write.
    if bits.number(5):
        raise Odd
    bits.end()
    return is_on
