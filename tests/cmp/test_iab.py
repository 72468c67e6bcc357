"""The IAB's strings: TCF 2, and of GPP Global Privacy Control alone."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel.cmp import GPP, TCF, Answers
from consentpanel.cmp._bits import Bits
from consentpanel.cmp._values import Odd
from consentpanel.cmp.gpp import _ids

YES = "CQq8bIAQq8bIABjABBENCWFgAIPAAAAAAAYgAFABAAAAAA.IAKgBACA"
"""Purposes 1 and 7 to 10, vendor 10; disclosed 10 and 21."""
NO = "CQq8bIAQq8bIABjABBENCWFgAAAAAAAAAAYgAAAAAAAA.IAKgBACA"
NOT_SERVICE_SPECIFIC = "CQq8bIAQq8bIABjABBENCWFAAIAAAAAAAAYgAAAAAAAA.IAAA"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
MOMENT = datetime(2026, 9, 22, tzinfo=timezone.utc)


def characters(bits):
    bits += "0" * (-len(bits) % 24)
    return "".join(ALPHABET[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def field(highest, vendors):
    return f"{highest:016b}0" + "".join("1" if each in vendors else "0" for each in range(1, highest + 1))


def ranges(highest, *found):
    each = "".join(f"1{first:016b}{last:016b}" if last > first else f"0{first:016b}" for first, last in found)
    return f"{highest:016b}1{len(found):012b}{each}"


def core(purposes=(1, 8), vendors="", restrictions="000000000000", **changes):
    numbers = {
        "version": (2, 6),
        "created": (17900352000, 36),
        "updated": (17900352000, 36),
        "cmp": (99, 12),
        "cmp_version": (1, 12),
    }
    numbers |= {
        "screen": (1, 6),
        "first": (4, 6),
        "second": (13, 6),
        "list": (150, 12),
        "policy": (5, 6),
        "specific": (1, 1),
    }
    numbers |= {"texts": (0, 1), "features": (0, 12)}
    written = "".join(format(changes.get(name, number), f"0{width}b") for name, (number, width) in numbers.items())
    bits = "".join("1" if each in purposes else "0" for each in range(1, 25))
    interest = format(changes.get("interest", 0), "024b")
    hidden = format(changes.get("hidden", 0), "b")
    return characters(
        f"{written}{bits}{interest}{hidden}{changes.get('country', 3):06b}000100{vendors or field(10, [10])}{field(0, [])}{restrictions}"
    )


def segment(kind, bits):
    return characters(f"{kind:03b}{bits}")


DISCLOSED = segment(1, field(21, [10, 21]))


def read(text, vendor=10, **options):
    return TCF({1: "analytics", 8: "analytics", 2: "targeting"}, vendor=vendor, **options)(f"euconsent-v2={text}")


UNKNOWN = Answers({"analytics": None, "targeting": None})


def test_purposes_and_the_vendor_are_read():
    # rule 11.6: "any TCF 2 string"
    assert read(YES) == Answers(
        {"analytics": True, "targeting": False}, is_explicit=True, given_at=MOMENT, language="en"
    )
    assert read(YES, vendor=None) == read(YES)
    assert read(f"{core()}.{DISCLOSED}") == read(YES)


def test_a_string_without_any_consent_is_a_no_that_may_have_been_written_before_an_answer():
    assert read(NO) == Answers({"analytics": False, "targeting": False}, given_at=MOMENT, language="en")


def test_what_version_2_3_forbids_is_unknown():
    assert read(NOT_SERVICE_SPECIFIC) == UNKNOWN
    assert read(YES.split(".", maxsplit=1)[0]) == UNKNOWN
    assert read(f"{core(policy=3)}.{DISCLOSED}") == UNKNOWN
    assert read(f"{core(policy=4)}.{DISCLOSED}").is_explicit


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_no_that_is_cut_grants_nothing(cut):
    # rule 11.6; a decoder that fills up what is missing grants 24 purposes here
    everything = TCF({number: f"p{number}" for number in range(1, 25)})
    assert not any(everything(f"euconsent-v2={NO[:cut]}").purposes.values())


@pytest.mark.parametrize(
    ("vendors", "disclosed", "answer"),
    [
        (field(10, [10]), field(21, [10]), True),
        (field(10, []), field(21, [10]), False),
        (field(9, [9]), field(21, [10]), False),
        (field(10, [10]), field(21, [21]), None),
        (field(10, [10]), field(9, []), None),
        (ranges(12, (1, 1), (9, 12)), ranges(12, (10, 10)), True),
        (ranges(12, (9, 10), (12, 12)), ranges(12, (10, 10), (12, 12)), True),
        (ranges(12, (3, 9), (11, 12)), ranges(12, (10, 10)), False),
        (field(10, [10]), ranges(12, (11, 12)), None),
        (field(10, [10]), ranges(0), None),
    ],
)
def test_the_vendor_must_be_disclosed_and_allowed(vendors, disclosed, answer):
    found = read(f"{core(vendors=vendors)}.{segment(1, disclosed)}")
    assert found.purposes["analytics"] is answer
    assert found.purposes["targeting"] is False


@pytest.mark.parametrize(
    ("kind", "first", "answer"), [(0, 10, False), (0, 11, True), (1, 10, True), (2, 10, None), (2, 12, True)]
)
def test_what_the_publisher_restricts_is_heeded(kind, first, answer):
    restricted = f"{1:012b}{8:06b}{kind:02b}{1:012b}0{first:016b}"
    assert read(f"{core(restrictions=restricted)}.{DISCLOSED}").purposes["analytics"] is answer
    assert read(f"{core(restrictions=restricted)}.{DISCLOSED}", vendor=None).purposes["analytics"] is True


def test_legitimate_interest_is_no_consent():
    assert read(f"{core(purposes=[], interest=2**24 - 1)}.{DISCLOSED}").purposes == {
        "analytics": False,
        "targeting": False,
    }


def test_a_purpose_that_was_not_shown_is_unknown():
    assert read(f"{core(hidden=1)}.{DISCLOSED}").purposes["analytics"] is None
    assert TCF({8: "analytics"})(f"euconsent-v2={core(hidden=1)}.{DISCLOSED}").purposes == {"analytics": True}


def test_strings_of_another_consent_tool_may_be_unknown():
    assert read(YES, cmp=99).purposes["analytics"] is True
    assert read(YES, cmp=10) == UNKNOWN


def test_other_segments_are_checked_and_left_aside():
    publisher = segment(3, "1" * 48 + f"{2:06b}" + "1111")
    allowed = segment(2, field(21, [21]))
    assert read(f"{core()}.{publisher}.{DISCLOSED}.{allowed}") == read(YES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "true",
        f"{core()}.",
        f"{core()}.{DISCLOSED}.",
        f"{core()}..{DISCLOSED}",
        f"{core()}.{DISCLOSED}.{DISCLOSED}",
        f"{core()}.{segment(0, field(21, [10]))}.{DISCLOSED}",
        f"{core()}.{segment(4, '')}.{DISCLOSED}",
        f"{core()}.{segment(3, '0' * 20)}.{DISCLOSED}",
        f"{core()}.{DISCLOSED}A" + "A" * 8,
        f"{core()}.{DISCLOSED[:-1]}_",
        f"{core()}=.{DISCLOSED}",
        f"{core()}+.{DISCLOSED}",
        f" {core()}\u00e9.{DISCLOSED}",
        f"{core(version=1)}.{DISCLOSED}",
        f"{core(version=3)}.{DISCLOSED}",
        f"{core(updated=17900351999)}.{DISCLOSED}",
        f"{core(created=0)}.{DISCLOSED}",
        f"{core(created=18100352000, updated=18100352000)}.{DISCLOSED}",
        f"{core(cmp=0)}.{DISCLOSED}",
        f"{core(cmp=1)}.{DISCLOSED}",
        f"{core(first=26)}.{DISCLOSED}",
        f"{core(country=26)}.{DISCLOSED}",
        f"{core(list=0)}.{DISCLOSED}",
        f"{core(specific=0)}.{DISCLOSED}",
        f"{core(vendors=ranges(12, (9, 13)))}.{DISCLOSED}",
        f"{core(vendors=ranges(12, (9, 10), (10, 11)))}.{DISCLOSED}",
        f"{core(vendors=ranges(12, (10, 10), (9, 9)))}.{DISCLOSED}",
        f"{core(vendors=ranges(12, (0, 10)))}.{DISCLOSED}",
        f"{core(restrictions=f'{1:012b}{8:06b}{3:02b}{1:012b}0{10:016b}')}.{DISCLOSED}",
        f"{core(restrictions=f'{1:012b}{0:06b}{0:02b}{1:012b}0{10:016b}')}.{DISCLOSED}",
        f"{core(restrictions=f'{1:012b}{25:06b}{0:02b}{1:012b}0{10:016b}')}.{DISCLOSED}",
        f"{core(restrictions=f'{2:012b}' + f'{8:06b}{1:02b}{1:012b}0{10:016b}' + f'{8:06b}{0:02b}{1:012b}0{10:016b}')}.{DISCLOSED}",
    ],
)
def test_strings_that_nobody_writes_are_unknown(text):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    assert read(text) == UNKNOWN


@given(st.sets(st.integers(1, 24)), st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)), st.integers(1, 60))
def test_what_is_written_is_what_is_read(purposes, allowed, disclosed, vendor):
    text = f"{core(purposes, vendors=field(60, allowed))}.{segment(1, field(60, disclosed))}"
    found = TCF({number: f"p{number}" for number in range(1, 25)}, vendor=vendor)(f"euconsent-v2={text}").purposes
    shown = (vendor in allowed) if vendor in disclosed else None
    assert found == {f"p{number}": shown if number in purposes else False for number in range(1, 25)}


SIGNAL, NO_SIGNAL = "BVQqAAAAAgA.YA", "BVQqAAAAAgA.QA"


@pytest.mark.parametrize(
    ("text", "gpc"),
    [
        (f"DBABL~{SIGNAL}", True),
        (f"DBABL~{NO_SIGNAL}", False),
        (f"DBABLA~{SIGNAL}", True),
        (f"DBABL~{SIGNAL}AA", True),
        ("DBABL~BVQqAAAAAgA", None),
        (f"DBACNY~{YES}~1YNN", None),
        (f"DBABL~{NO_SIGNAL[:-1]}", None),
        (f"DBABL~{SIGNAL[:-1]}", None),
        ("DBABL~BVQqAAAAAgA.", None),
        ("DBABL~", None),
        ("DBABL~.YA", None),
        ("DBABL~BVQqAAAAAgA.ZA", None),
        (f"{characters(f'{3:06b}{1:06b}{1:012b}0' + '0' * 30 + '11')}~{SIGNAL}", None),
        ("DBABL", None),
        (f"DBABL~{SIGNAL}~{SIGNAL}", None),
        (f"DBABL~{SIGNAL[:-1]}B", None),
        (f"DBABL~{SIGNAL}.QA", None),
        (f"CBABL~{SIGNAL}", None),
        (f"DCABL~{SIGNAL}", None),
        (f"DBAB~{SIGNAL}", None),
        (f"DB__~{SIGNAL}", None),
        (f"DBABL~{SIGNAL.replace('.', '~')}", None),
        ("", None),
    ],
)
def test_of_gpp_the_signal_alone_is_read(text, gpc):
    # rule 11.6: "the GPC part of a GPP string"
    assert GPP()(f"OTGPPConsent={text}") == Answers(gpc=gpc)
    assert GPP(cookie="gpp")(f"gpp={text}").gpc is gpc


def header_of(*entries):
    """A header of GPP; each entry is one number or two, counted from the one before."""
    sums = [1, 2, 3, 5, 8, 13, 21, 34, 55]

    def code(number):
        used = ""
        for each in reversed([each for each in sums if each <= number]):
            used = ("1" if each <= number else "0") + used
            number -= each if each <= number else 0
        return used + "1"

    written = "".join(("1" if len(entry) > 1 else "0") + "".join(map(code, entry)) for entry in entries)
    return characters(f"{3:06b}{1:06b}{len(entries):012b}{written}")


def test_sections_are_found_by_the_header():
    header = header_of([2], [4], [1, 2])
    assert GPP()(f"OTGPPConsent={header}~{YES}~1YNN~B.QA~B.QA~B").gpc is False
    assert GPP()(f"OTGPPConsent={header_of([2], [4], [1])}~{YES}~1YNN~B.YA").gpc is True
    assert GPP()(f"OTGPPConsent={header_of([7, 2])}~B.QA~B~B.QA").gpc is False
    assert GPP()(f"OTGPPConsent={header_of([7, 2])}~B.QA~B~B.YA").gpc is None
    assert GPP()(f"OTGPPConsent={header_of([7, 88])}~B.QA").gpc is None
    assert GPP()(f"OTGPPConsent={header_of([2])}~B.YA").gpc is None


def test_a_header_names_no_more_sections_than_there_are():
    # Or a few characters would ask for a hundred million of them.
    for entries in ([[7, 64]], [[50, 30]] * 3):
        with pytest.raises(Odd):
            _ids(Bits(header_of(*entries)))
    assert _ids(Bits(header_of([7, 63]))) == list(range(7, 71))
