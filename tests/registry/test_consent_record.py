"""Records, purposes, ids and policy versions (contract rules 2.1, 2.2, 2.4 and 2.7)."""

from __future__ import annotations

import copy
import pickle
import traceback
import uuid
from datetime import datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from consentpanel import ConsentRecord, ConsentStatus, InvalidRecordError, Purpose
from consentpanel._consent.ids import subject_key
from consentpanel._consent.standing import Standing, in_order, is_older, standing_of

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
UTC = timezone.utc
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - it is refused
SECRET = "ada-lovelace"
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def record(**fields) -> ConsentRecord:
    return ConsentRecord(**{"subject_id": "user-1", "purpose": "analytics", "status": GRANTED, **fields})


# rule 2.2: ConsentRecord


def test_a_record_has_the_fields_of_the_contract():
    assert [field.name for field in attrs.fields(ConsentRecord)] == [
        "subject_id",
        "purpose",
        "status",
        "recorded_at",
        "expires_at",
        "policy_version",
        "source",
        "jurisdiction",
        "evidence",
        "record_id",
        "language",
        "event_type",
        "actor",
        "schema",
    ]


def test_what_is_left_out_of_a_record():
    before = datetime.now(UTC)
    made = record()
    assert before <= made.recorded_at <= datetime.now(UTC)
    assert made.recorded_at.tzinfo is UTC
    assert (made.expires_at, made.policy_version, made.source, made.jurisdiction) == (None,) * 4
    assert made.evidence == {}
    assert made.record_id != record().record_id


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_times_are_kept_in_utc(moment):
    made = record(recorded_at=moment, expires_at=moment)
    assert made.recorded_at == made.expires_at == moment.astimezone(UTC)
    assert made.recorded_at.tzinfo is made.expires_at.tzinfo is UTC


class NoOffset(timezone.__base__):
    def utcoffset(self, moment):
        return None


@pytest.mark.parametrize("name", ["recorded_at", "expires_at"])
@pytest.mark.parametrize(
    ("moment", "complaint"),
    [
        (NAIVE, "must have a time zone"),
        (NAIVE.replace(tzinfo=NoOffset()), "must have a time zone"),
        (NAIVE.date(), "must be a datetime, not date"),
        ("2026-01-01T00:00:00Z", "must be a datetime, not str"),
        (0, "must be a datetime, not int"),
    ],
)
def test_a_naive_time_is_refused(name, moment, complaint):
    with pytest.raises(InvalidRecordError, match=f"^{name} {complaint}"):
        record(**{name: moment})


def test_a_record_cannot_be_changed():
    made = record()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.status = DENIED
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del made.status
    with pytest.raises(AttributeError):
        made.note = "x"


def test_the_repr_of_a_record_names_nobody_and_tells_no_evidence():
    text = repr(record(subject_id=SECRET, evidence={"who": SECRET}))
    assert SECRET not in text
    assert "analytics" in text


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"status": "granted"}, "status must be a ConsentStatus, not str"),
        ({"status": True}, "status must be a ConsentStatus, not bool"),
        ({"policy_version": ""}, "policy_version must be a non-empty str"),
        ({"policy_version": 2}, "policy_version must be a non-empty str"),
        ({"source": b"form"}, "source must be a non-empty str"),
        ({"jurisdiction": ""}, "jurisdiction must be a non-empty str"),
        ({"record_id": ""}, "record_id must be a non-empty str"),
        ({"subject_id": None}, "id must be a str, an int or a UUID, not NoneType"),
        ({"purpose": ""}, "purpose must be 1 to 64 printable characters"),
    ],
)
def test_a_malformed_field_is_refused_by_its_name(fields, complaint):
    with pytest.raises(InvalidRecordError, match=complaint):
        record(**fields)


@pytest.mark.parametrize(
    "evidence",
    [
        {"who": {SECRET}},
        {"who": SECRET.encode()},
        {"who": float("nan"), "name": SECRET},
        {(SECRET,): 1},
        {"who": type(SECRET, (), {})()},
        {"who": SECRET * 1_000},
    ],
)
def test_evidence_that_is_not_small_json_is_refused_without_a_trace_of_it(evidence):
    with pytest.raises(InvalidRecordError, match="evidence must be") as caught:
        record(evidence=evidence)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert SECRET not in "".join([repr(caught.value.args), *traceback.format_exception_only(caught.value)])


def test_evidence_that_holds_itself_is_refused():
    evidence: dict[str, object] = {}
    evidence["itself"] = evidence
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"d": deep}
    for each in (evidence, deep):
        with pytest.raises(InvalidRecordError, match="evidence must be JSON"):
            record(evidence=each)


@pytest.mark.parametrize("evidence", [None, "text", [("a", 1)], 5])
def test_evidence_is_a_mapping(evidence):
    with pytest.raises(InvalidRecordError, match="evidence must be a mapping"):
        record(evidence=evidence)


def test_evidence_may_have_4096_characters_of_json():
    longest = {"e": "x" * (4096 - len('{"e": ""}'))}
    assert record(evidence=longest).evidence == longest
    with pytest.raises(InvalidRecordError, match="at most 4096 characters of JSON, not 4097"):
        record(evidence={"e": longest["e"] + "x"})


def test_evidence_is_a_copy():
    given_evidence = {"boxes": ["a"]}
    made = record(evidence=given_evidence)
    given_evidence["boxes"].append("b")
    assert made.evidence == {"boxes": ["a"]}


def test_a_record_can_be_pickled_copied_compared_and_hashed():
    made = record(evidence={"boxes": ["a"]}, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(made, protocol))
        assert again == made
        assert hash(again) == hash(made)
    assert copy.deepcopy(made) == made
    assert made != record(record_id=made.record_id)


# rule 2.1: Purpose


def test_a_purpose_is_its_name():
    assert Purpose.ANALYTICS == "analytics"
    assert {"analytics": 1}[Purpose.ANALYTICS] == 1
    assert (repr(Purpose("targeting")), str(Purpose("targeting"))) == ("Purpose('targeting')", "targeting")
    assert Purpose(Purpose.PROFILES) is Purpose.PROFILES


@given(st.text(min_size=1, max_size=64).filter(lambda name: name == name.strip() and name.isprintable()))
def test_a_purpose_can_be_pickled_and_copied(name):
    purpose = Purpose(name)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(purpose, protocol))
        assert (again, type(again)) == (purpose, Purpose)
    assert (copy.deepcopy(purpose), type(copy.copy(purpose))) == (name, Purpose)


@pytest.mark.parametrize("name", ["", " ", " analytics", "analytics ", "a\nb", "a\0", "x" * 65, "zero\u200bwidth"])
def test_a_purpose_is_printable_and_not_long(name):
    with pytest.raises(InvalidRecordError, match="purpose must be 1 to 64 printable characters"):
        Purpose(name)


@pytest.mark.parametrize("name", [None, 5, b"analytics", ["analytics"], True])
def test_a_purpose_is_a_str(name):
    with pytest.raises(InvalidRecordError, match=f"purpose must be a str, not {type(name).__name__}"):
        Purpose(name)


# rule 2.7: ids


class Lazy:
    """Claims to be a `str`, as lazy proxies of web frameworks do."""

    @property
    def __class__(self):
        return str

    def __str__(self):
        return SECRET

    __repr__ = __str__


class Shouting(str):
    __slots__ = ()

    def __str__(self):
        return self.upper()


class Strange(uuid.UUID):
    def __str__(self):
        return SECRET


class Loud(int):
    def __repr__(self):
        return SECRET

    __str__ = __repr__


@pytest.mark.parametrize(
    ("subject_id", "key"),
    [
        ("user-1", "user-1"),
        (" user-1 ", " user-1 "),
        (42, "42"),
        (0, "0"),
        (-1, "-1"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("x" * 255, "x" * 255),
        (Shouting("ada"), "ada"),
        (Loud(7), "7"),
        (Strange(int=1), "00000000-0000-0000-0000-000000000001"),
        (10**254, "1" + "0" * 254),
    ],
)
def test_consent_is_looked_up_by_the_text_of_an_id(subject_id, key):
    assert subject_key(subject_id) == key
    assert type(subject_key(subject_id)) is str
    assert record(subject_id=subject_id).subject_id == key


@pytest.mark.parametrize(
    "subject_id",
    [None, True, False, 1.0, float("nan"), b"user-1", bytearray(b"1"), ["1"], ("1",), {"id": 1}, Lazy()],
    ids=lambda subject_id: type(subject_id).__name__,
)
def test_an_id_of_another_type_is_refused(subject_id):
    with pytest.raises(InvalidRecordError, match="id must be a str, an int or a UUID, not") as caught:
        subject_key(subject_id)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("subject_id", ["", " ", "\t\n", "\u00a0"])
def test_a_blank_id_is_refused(subject_id):
    with pytest.raises(InvalidRecordError, match="id must not be empty"):
        subject_key(subject_id)


@pytest.mark.parametrize(
    "subject_id",
    ["x" * 256, 10**255, -(10**254), 10**100_000, " " * 256],
    ids=["text", "int", "negative", "huge", "blank"],
)
def test_an_id_that_is_too_long_is_refused(subject_id):
    with pytest.raises(InvalidRecordError, match="id must be at most 255 characters"):
        subject_key(subject_id)


# rule 2.4: policy versions


@pytest.mark.parametrize(
    ("version", "required", "older"),
    [
        ("1", "1", False),
        ("1", "2", True),
        ("2", "1", False),
        ("1.9", "1.10", True),
        ("1.10", "1.9", False),
        ("v2", "2", False),
        ("V1.0", "v2.0", True),
        ("2", "2.0.0", False),
        ("2.0.0", "2", False),
        ("2.0.1", "2", False),
        ("2026-04-30", "2026-05-01", True),
        ("2026-05-01", "2026-04-30", False),
        ("2026_05_01", "2026-05-01", True),
        ("31-12-2025", "01-02-2026", True),
        ("01-02-2026", "31-12-2025", True),
        ("1-2", "1.2", True),
        ("1.3", "1-2", True),
        ("2026-05-01", "2026.05.01", True),
        ("2026.05.02", "2026-05-01", True),
        ("2026-13-45", "2026-05-01", True),
        ("2026-02-30", "2026-02-28", True),
        ("v2026-05-02", "2026-05-01", True),
        ("20260502", "2026-05-01", True),
        ("2026-05-01T10:00", "2026-05-01", True),
        ("2026-05", "2026-04", True),
        ("2027-W01-1", "2026-05-01", True),
        (" 3", "2", True),
        ("3\n", "2", True),
        ("3", "3.0", False),
        ("3.1", "3", False),
        ("3", "3.0.1", True),
        ("0", "0.0", False),
        ("-1", "0", True),
        ("1..2", "1", True),
        ("b2f1", "9c0d", True),
        ("9c0d", "b2f1", True),
        ("b2f1", "b2f1", False),
        ("3", "b2f1", True),
        ("b2f1", "3", True),
        (None, "1", True),
        ("\u0663", "1", True),
        ("1.", "1", True),
        ("", "1", True),
        ("9" * 19, "1", True),
    ],
)
def test_which_policy_version_is_older(version, required, older):
    assert is_older(version, required) is older


numbers = st.lists(st.integers(0, 30), min_size=1, max_size=4)


@given(numbers, numbers, st.sampled_from(["", "v", "V"]))
def test_versions_of_numbers_are_compared_number_by_number(mine, other, prefix):
    width = max(len(mine), len(other))
    expected = mine + [0] * (width - len(mine)) < other + [0] * (width - len(other))
    assert is_older(prefix + ".".join(map(str, mine)), ".".join(map(str, other))) is expected


@given(st.dates(), st.dates())
def test_versions_that_are_dates_are_compared_as_dates(mine, other):
    assert is_older(mine.isoformat(), other.isoformat()) is (mine < other)


@given(st.text("0123456789.-v ", max_size=12), st.text("0123456789.-v ", min_size=1, max_size=12))
def test_of_two_versions_that_differ_one_at_least_is_older_unless_they_are_one_number(mine, other):
    def number(version):
        return [int(part) for part in version.lstrip("v").split(".")]

    if mine != other and not is_older(mine, other) and not is_older(other, mine):
        width = max(len(number(mine)), len(number(other)))
        assert number(mine) + [0] * (width - len(number(mine))) == number(other) + [0] * (width - len(number(other)))


# rule 2.4: the latest record decides


def test_a_naive_moment_is_an_error():
    with pytest.raises(InvalidRecordError, match="at must have a time zone"):
        standing_of([record()], at=NAIVE)


def test_a_record_of_a_clock_that_runs_ahead_decides_now_and_not_the_past():
    present = datetime.now(UTC)
    grant = record(recorded_at=present - timedelta(hours=2))
    denial = record(status=DENIED, recorded_at=present + timedelta(hours=1))
    assert standing_of([denial, grant]) is Standing.WITHDRAWN
    assert standing_of([denial, grant], at=present - timedelta(hours=1)) is Standing.GRANTED
    assert standing_of([denial, grant], at=present + timedelta(days=9)) is Standing.WITHDRAWN


near = st.integers(-130, 130).map(lambda seconds: datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=seconds))
records_near = st.lists(
    st.builds(
        record,
        status=st.sampled_from(ConsentStatus),
        recorded_at=near,
        purpose=st.sampled_from(["analytics", "profiles"]),
    ),
    max_size=6,
)


@given(records_near, near)
def test_a_denial_holds_over_what_was_written_before_it_and_stamped_up_to_a_minute_later(written, said):
    # rule 2.4: whatever their clocks said
    assume(all(each.recorded_at <= said + timedelta(minutes=1) for each in written))
    written = [each for each in written if each.purpose == "analytics"]
    assert standing_of([*written, record(status=DENIED, recorded_at=said)]) is Standing.WITHDRAWN


@given(records_near, near)
def test_a_denial_of_long_ago_that_is_written_today_takes_its_old_place(written, said):
    # rule 2.4: the latest by recorded_at; a history may be imported in any order
    written = [each for each in written if each.purpose == "analytics"]
    assume(any(each.recorded_at > said + timedelta(minutes=1) for each in written))
    late = record(status=DENIED, recorded_at=said)
    assert standing_of([*written, late]) is standing_of(written)


@given(st.permutations(range(6)), st.lists(st.sampled_from(ConsentStatus), min_size=6, max_size=6))
def test_a_history_may_be_imported_in_any_order(order, statuses):
    said = [record(status=each, recorded_at=NOON + timedelta(hours=hour)) for hour, each in enumerate(statuses)]
    assert in_order(said[number] for number in order) == said


@given(records_near, st.one_of(st.none(), near))
def test_a_copy_in_the_order_of_the_history_answers_the_same(written, at):
    copied = in_order(written)
    assert in_order(copied) == copied
    for purpose in ("analytics", "profiles"):
        mine, theirs = ([each for each in some if each.purpose == purpose] for some in (written, copied))
        assert standing_of(mine) is standing_of(theirs)


@pytest.mark.parametrize("status", ConsentStatus)
def test_every_status_has_a_standing(status):
    assert Standing.of(status).status is status
    assert standing_of([record(status=status)]).status is status


@pytest.mark.parametrize(
    "moment",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
)
def test_a_moment_that_no_calendar_holds_in_utc_is_refused(moment):
    # rule 2.2
    with pytest.raises(InvalidRecordError, match="expires_at lies outside of the years 1 to 9999"):
        ConsentRecord("user-1", "analytics", ConsentStatus.GRANTED, expires_at=moment)
