"""IAB TCF 2: the cookie ``euconsent-v2`` (Didomi, TrustArc and others), or ``eupubconsent-v2`` (OneTrust).

Segments in Base64 for URLs, joined by dots. The core has these bits: version 6, created 36 and updated 36 (tenths of a second), CMP 12, its version 12,
screen 6, language 12, vendor list 12, policy 6, service-specific 1, non-standard 1, special features 12, purposes 24, those under legitimate interest 24,
purpose one 1, country 12, vendors (highest 16, then a bit for each or ranges), those under legitimate interest, restrictions of the publisher.
Other segments begin with their type in 3 bits: 1 vendors that were disclosed, 2 vendors that are allowed, 3 the publisher's own.

As TCF 2.3 has it: the disclosed vendors must be there (from 28 February 2026), and a string that is not service-specific is invalid. Policies
before version 4 (TCF 2.2) have ended. Legitimate interest is no consent. A string without any consent may have been written before an answer;
one with consent may not, by the policies of the framework, which takes that for the proof.

Sources: https://github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework, https://github.com/SirDataFR/iabtcfv2 (issue 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar

import attrs

from consentpanel._checks import whole_number
from consentpanel.cmp._answers import Answers
from consentpanel.cmp._bits import Bits
from consentpanel.cmp._reader import CookieReader, Groups, by_group, cookie_name
from consentpanel.cmp._values import Odd, moment_of, unescaped
from consentpanel.errors import ConfigurationError

_PURPOSES = 24
_DISCLOSED, _ALLOWED, _PUBLISHER = 1, 2, 3
_NOT_ALLOWED, _LEGITIMATE_INTEREST, _UNDEFINED = 0, 2, 3


def _known(_: object, __: attrs.Attribute[Any], groups: Groups) -> None:
    for each in groups:
        if type(each) is not int or not 1 <= each <= _PURPOSES:
            raise ConfigurationError(
                f"groups: the TCF's purposes are whole numbers from 1 to {_PURPOSES}, not {each!r}"
            )


def _id_or_none(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        whole_number(attribute.name, value, 1, 65_535)


@attrs.frozen
class TCF(CookieReader):
    """Reads a TC string.

    No purpose of the TCF means one's own analytics: the site chooses, such as 1 (to store on a device) with 8 (to measure content).

    Args:
        groups: From the numbers of its purposes to purposes; of several for one purpose all must be allowed.
        vendor: The number of a vendor that must be disclosed and allowed as well; None to ask for purposes alone.
        cmp: The number of the site's consent tool, where strings of others are to be unknown; None to take any.
        cookie: The name of the cookie.
        language: Of strings that cannot be read; each says its own.

    Raises:
        ConfigurationError: A value cannot work.

    Example:
        >>> read = TCF({1: "analytics", 8: "analytics"}, vendor=10)
        >>> read("euconsent-v2=CQFWawAQFWawABjABBENCWFgAIPAAAAAAAYgAFABAAAAAA.IAKgBACA").purposes
        {Purpose('analytics'): True}
    """

    source: ClassVar[str] = "tcf"
    groups: Groups = attrs.field(converter=by_group, hash=False, validator=_known)
    vendor: int | None = attrs.field(default=None, kw_only=True, validator=_id_or_none)
    cmp: int | None = attrs.field(default=None, kw_only=True, validator=_id_or_none)
    cookie: str = attrs.field(default="euconsent-v2", kw_only=True, validator=cookie_name)

    def _of(self, value: str) -> Answers:
        core, *segments = unescaped(value).split(".")
        found = _core(Bits(core), self.vendor)
        disclosed = _disclosed(segments, self.vendor)
        if self.cmp is not None and found.cmp != self.cmp:
            return self._unknown()
        said = {purpose: self._answer(found, purpose, is_disclosed=disclosed) for purpose in self.groups}
        is_explicit = "1" in found.purposes
        return self._answers(said, is_explicit=is_explicit, given_at=found.updated, language=found.language)

    def _answer(self, core: _Core, purpose: int, *, is_disclosed: bool) -> bool | None:
        if purpose == 1 and core.is_purpose_one_hidden:
            return None
        if core.purposes[purpose - 1] == "0":
            return False
        if self.vendor is None:
            return True
        # Nobody was asked about a vendor that was not disclosed.
        if not is_disclosed or core.restrictions.get(purpose) == _LEGITIMATE_INTEREST:
            return None
        return core.has_vendor and core.restrictions.get(purpose) != _NOT_ALLOWED


@attrs.frozen
class _Core:
    updated: datetime
    cmp: int
    #: Of the texts in which the person was asked: two letters of ISO 639-1.
    language: str
    #: A bit for each.
    purposes: str
    is_purpose_one_hidden: bool
    has_vendor: bool
    #: How the publisher restricts the vendor, by purpose.
    restrictions: dict[int, int]


def _core(bits: Bits, vendor: int | None) -> _Core:
    version, created, updated = bits.number(6), bits.number(36), bits.number(36)
    cmp, _cmp_version, _screen = bits.number(12), bits.number(12), bits.number(6)
    language = bits.number(6), bits.number(6)
    vendor_list, policy, is_service_specific, _ = bits.number(12), bits.number(6), bits.flag(), bits.flag()
    # Tools have numbers from 2 on, and letters are 0 to 25.
    if version != 2 or updated < created or cmp < 2 or max(language) > 25 or not vendor_list:
        raise Odd
    if policy < 4 or not is_service_specific:
        raise Odd
    bits.take(12)  # special features
    purposes = bits.take(_PURPOSES)
    bits.take(_PURPOSES)  # under legitimate interest
    is_purpose_one_hidden = bits.flag()
    if max(bits.number(6), bits.number(6)) > 25:
        raise Odd
    has_vendor = _has(bits, vendor)
    _has(bits, None)  # under legitimate interest
    restrictions = _restrictions(bits, vendor)
    bits.end()
    moment_of(created, per_second=10)
    spoken = "".join(chr(ord("a") + letter) for letter in language)
    return _Core(
        moment_of(updated, per_second=10), cmp, spoken, purposes, is_purpose_one_hidden, has_vendor, restrictions
    )


def _disclosed(segments: list[str], vendor: int | None) -> bool:
    """Whether the vendor was disclosed; Odd where no vendors were, or a segment is none."""
    seen: dict[int, bool] = {}
    for segment in segments:
        bits = Bits(segment)
        kind = bits.number(3)
        if kind in seen or kind not in {_DISCLOSED, _ALLOWED, _PUBLISHER}:
            raise Odd
        if kind == _PUBLISHER:
            bits.take(2 * _PURPOSES)
            bits.take(2 * bits.number(6))
            seen[kind] = False
        else:
            seen[kind] = _has(bits, vendor)
        bits.end()
    if _DISCLOSED not in seen:
        raise Odd
    return seen[_DISCLOSED]


def _has(bits: Bits, vendor: int | None) -> bool:
    """Whether the vendors that come next hold one."""
    highest, is_by_ranges = bits.number(16), bits.flag()
    if not is_by_ranges:
        each = bits.take(highest)
        return vendor is not None and vendor <= highest and each[vendor - 1] == "1"
    found = False
    for first, last in _ranges(bits):
        if last > highest:
            raise Odd
        found = found or (vendor is not None and first <= vendor <= last)
    return found


def _ranges(bits: Bits) -> Iterator[tuple[int, int]]:
    """The ranges that come next, in order and apart."""
    before = 0
    for _ in range(bits.number(12)):
        is_range, first = bits.flag(), bits.number(16)
        last = bits.number(16) if is_range else first
        if not before < first <= last:
            raise Odd
        before = last
        yield first, last


def _restrictions(bits: Bits, vendor: int | None) -> dict[int, int]:
    found: dict[int, int] = {}
    for _ in range(bits.number(12)):
        purpose, kind = bits.number(6), bits.number(2)
        is_about = [vendor is not None and first <= vendor <= last for first, last in _ranges(bits)]
        if not 1 <= purpose <= _PURPOSES or kind == _UNDEFINED or (any(is_about) and purpose in found):
            raise Odd
        if any(is_about):
            found[purpose] = kind
    return found
