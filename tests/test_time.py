"""Every form of time that the vendor takes, and everything else (contract rule 2.8)."""

from __future__ import annotations

import math
import traceback
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consentpanel._messages.times import read_time

UTC = timezone.utc
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
MILLISECONDS_FROM = 10**11

offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis takes naive bounds
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=offsets,
)
seconds = st.integers(-62_135_596_800, MILLISECONDS_FROM - 1)


# Numbers


@given(seconds)
def test_a_number_is_seconds_since_1970(number):
    assert read_time(number) == EPOCH + timedelta(seconds=number)


@given(st.integers(100_000_000, MILLISECONDS_FROM - 1))
def test_the_text_of_a_number_says_the_same_from_nine_digits_on(number):
    assert read_time(str(number)) == read_time(f"+{number}") == read_time(number)
    assert read_time(f"-{min(number, 62_135_596_800)}") == read_time(-min(number, 62_135_596_800))


@given(st.integers(MILLISECONDS_FROM, 253_402_300_799_999))
def test_a_large_number_is_milliseconds(number):
    assert abs(read_time(number) - (EPOCH + timedelta(milliseconds=number))) < timedelta(milliseconds=1)
    assert read_time(str(number)) == read_time(number)


@given(st.integers(-62_135_596_800_000, -MILLISECONDS_FROM))
def test_a_large_negative_number_is_milliseconds(number):
    assert abs(read_time(number) - (EPOCH + timedelta(milliseconds=number))) < timedelta(milliseconds=1)


@given(st.floats(-6e10, 9.9e10))
def test_a_float_is_seconds_with_their_fraction(number):
    assert abs((read_time(number) - EPOCH).total_seconds() - number) < 1e-4


def test_milliseconds_begin_at_100_thousand_million():
    assert read_time(MILLISECONDS_FROM - 1) == datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC)
    assert read_time(MILLISECONDS_FROM) == datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)


@pytest.mark.parametrize("text", ["1700000000", "+1700000000", " 1700000000\n", "1700000000.0", "1700000000000"])
def test_a_number_may_be_text(text):
    assert read_time(text) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


# ISO 8601


@given(moments)
def test_iso_text_of_python_is_read_back(moment):
    assume(moment.utcoffset() is not None)
    assert read_time(moment.isoformat()) == moment
    assert read_time(moment.isoformat(" ")) == moment
    assert read_time(moment.isoformat().lower()) == moment


@given(moments)
def test_every_answer_is_in_utc(moment):
    assert read_time(moment.isoformat()).tzinfo is UTC
    assert read_time(moment.timestamp()).tzinfo is UTC


@given(st.datetimes())
def test_text_without_an_offset_is_in_utc(moment):
    assert read_time(moment.isoformat()) == moment.replace(tzinfo=UTC)
    assert read_time(moment.isoformat() + "Z") == moment.replace(tzinfo=UTC)


@given(st.datetimes(min_value=datetime(1000, 1, 1)))  # noqa: DTZ001 - hypothesis takes naive bounds
def test_what_the_vendor_s_serializer_writes_is_read_back(moment):
    written = moment.strftime("%Y-%m-%dT%H:%M:%S")
    assert read_time(written) == moment.replace(microsecond=0, tzinfo=UTC)


@given(st.dates())
def test_a_date_alone_is_its_first_moment(day):
    assert read_time(day.isoformat()) == datetime(day.year, day.month, day.day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31 12:00:05", datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)),
        ("2026-01-31t12:00:05z", datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)),
        ("2026-01-31T12:00:05.1", datetime(2026, 1, 31, 12, 0, 5, 100_000, tzinfo=UTC)),
        ("2026-01-31T12:00:05,123", datetime(2026, 1, 31, 12, 0, 5, 123_000, tzinfo=UTC)),
        ("2026-01-31T12:00:05.123456789Z", datetime(2026, 1, 31, 12, 0, 5, 123_456, tzinfo=UTC)),
        ("2026-01-31T12:00:05+0130", datetime(2026, 1, 31, 10, 30, 5, tzinfo=UTC)),
        ("2026-01-31T12:00:05-01:30", datetime(2026, 1, 31, 13, 30, 5, tzinfo=UTC)),
        ("2026-01-31 12:00:05 +01:00", datetime(2026, 1, 31, 11, 0, 5, tzinfo=UTC)),
        ("  2026-01-31T12:00Z\t", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", FIRST),
        ("9999-12-31T23:59:59.999999Z", LAST),
    ],
)
def test_iso_text_in_its_many_forms(text, moment):
    assert read_time(text) == moment


# Everything else

GARBAGE: list[Any] = [
    None,
    True,
    False,
    b"1700000000",
    [],
    {},
    [1_700_000_000],
    1j,
    object(),
    datetime(2026, 1, 31, tzinfo=UTC),
    "",
    " ",
    "ada@mail.example",
    "now",
    "nan",
    "inf",
    "1e9",
    "0x10",
    "1_700_000_000",
    "\uff11\uff17" + "\uff10" * 8,  # full-width digits
    "\u0661\u0667" + "\u0660" * 8,  # Arabic digits
    "0",
    "12345678",
    "-12345678",
    "1" * 21,
    "1" * 100_000,
    "1.",
    ".5",
    "--1",
    "1700000000 x",
    "2026",
    "2026-01",
    "2026-1-1",
    "20260131",
    "20260131T120000Z",
    "2026-13-01",
    "2026-00-10",
    "2026-02-29",
    "2026-02-30",
    "0000-01-01",
    "10000-01-01",
    "-2026-01-01",
    "2026-01-31T",
    "2026-01-31T12",
    "2026-01-31T24:00:00",
    "2026-01-31T12:60",
    "2026-01-31T12:00:60",
    "2026-01-31T12:00:00.",
    "2026-01-31T12:00:00.1234567890",
    "2026-01-31T12:00:00+1",
    "2026-01-31T12:00:00+01",
    "2026-01-31T12:00:00+24:00",
    "2026-01-31T12:00:00+99:99",
    "2026-01-31T12:00:00-01:60",
    "2026-01-31T12:00:00 UTC",
    "2026-01-31T12:00:00ZZ",
    "2026-01-31Z",
    "2026-01-31T12:00:00Z\x00",
    "2026-01-31T12:00:00Z, ada",
    "2026/01/31",
    "31.01.2026",
    "Sat, 31 Jan 2026 12:00:00 GMT",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    math.nan,
    math.inf,
    -math.inf,
    1e300,
    -1e300,
    10**400,
    -(10**400),
    253_402_300_800_000,
    -62_135_596_800_001_000,
    -62_135_596_801,
]


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: repr(value).partition(" at 0x")[0][:40])
def test_what_says_no_moment_is_refused(value):
    with pytest.raises(ValueError, match=r"\Anot a time\Z"):
        read_time(value)


@given(st.text() | st.floats() | st.integers() | st.binary() | st.none())
def test_any_value_is_a_moment_or_a_value_error(value):
    try:
        moment = read_time(value)
    except ValueError:
        return
    assert FIRST <= moment <= LAST


@pytest.mark.parametrize("value", ["CANARY 2026", "2026-02-30T11:22:33Z", "31337" * 4, 31337 * 10**300])
def test_the_error_holds_no_part_of_the_value(value):
    # rule 4.2
    with pytest.raises(ValueError, match="not a time") as caught:
        read_time(value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    said = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value.args)
    assert not any(part in said for part in ("CANARY", "2026", "31337", "11:22"))


def test_a_subclass_is_read_by_what_it_is_on_the_wire():
    class Text(str):
        __slots__ = ()

        def strip(self, *_: object) -> str:
            return "1700000000"

        def __len__(self) -> int:
            return 1

        def __str__(self) -> str:
            return "1700000000"

    class Number(int):
        def __float__(self) -> float:
            return 0.0

        def __index__(self) -> int:
            return 0

    class Fraction(float):
        __slots__ = ()

        def __float__(self) -> float:
            return 0.0

    assert read_time(Number(86_400)) == EPOCH + timedelta(days=1)
    assert read_time(Fraction(86_400.5)) == EPOCH + timedelta(days=1, seconds=0.5)
    assert read_time(Text("172800000")) == EPOCH + timedelta(days=2000)
    with pytest.raises(ValueError, match="not a time"):
        read_time(Text("ada@mail.example"))
