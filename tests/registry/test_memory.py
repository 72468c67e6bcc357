"""What is special about the registry in memory."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel import ConfigurationError, ConsentRecord, ConsentStatus, InvalidRecordError
from consentpanel._consent.standing import Standing, standing_of
from consentpanel.registry import ConsentRegistry, MemoryRegistry

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
PURPOSES = ("analytics", "profiles")
LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)

# Hours apart, and seconds apart, where a denial that is written later holds.
moments = st.one_of(
    st.integers(0, 12).map(lambda hours: LONG_AGO + timedelta(hours=hours)),
    st.integers(0, 13).map(lambda tens: LONG_AGO + timedelta(seconds=10 * tens)),
)
records = st.builds(
    ConsentRecord,
    subject_id=st.sampled_from(["user-1", "user-2"]),
    purpose=st.sampled_from(PURPOSES),
    status=st.sampled_from(ConsentStatus),
    recorded_at=moments,
    expires_at=st.one_of(st.none(), moments, st.just(datetime(2999, 1, 1, tzinfo=timezone.utc))),
    policy_version=st.sampled_from([None, "1", "2", "b2f1"]),
)


@given(st.lists(records, max_size=8), st.one_of(st.none(), moments), st.sampled_from([None, "2"]))
def test_it_answers_by_the_latest_record(written, at, required):
    # rule 2.4
    registry = MemoryRegistry(required_policy_version=required)
    for record in written:
        registry.record(record)
    for purpose in PURPOSES:
        for subject_id in ("user-1", "user-2"):
            about = [each for each in written if (each.subject_id, each.purpose) == (subject_id, purpose)]
            expected = standing_of(about, at=at, required_policy_version=required)
            assert registry.standing(subject_id, purpose, at=at) is expected
            assert registry.standings([subject_id], purpose, at=at) == {subject_id: expected}
            assert registry.status(subject_id, purpose, at=at) is expected.status


def test_a_status_comes_with_its_cause():
    registry = MemoryRegistry(required_policy_version="2")
    registry.grant("granted", policy_version="2")
    registry.deny("withdrawn")
    registry.grant("expired", expires_at=LONG_AGO, policy_version="2")
    registry.grant("outdated", policy_version="1")
    ids = ("granted", "withdrawn", "expired", "outdated", "silent")
    assert list(registry.standings(ids, "analytics").values()) == [
        Standing.GRANTED,
        Standing.WITHDRAWN,
        Standing.EXPIRED,
        Standing.OUTDATED_POLICY,
        Standing.NOT_RECORDED,
    ]


def test_forget_tells_how_many_records_it_erased():
    registry = MemoryRegistry()
    registry.grant("user-1")
    registry.deny("user-1", "analytics")
    assert (registry.forget("user-1"), registry.forget("user-1")) == (4, 0)


def test_a_purpose_that_is_named_twice_is_recorded_once():
    # rule 2.3
    registry = MemoryRegistry()
    registry.grant("user-1", "analytics", "analytics")
    assert len(registry.history("user-1")) == 1


@pytest.mark.parametrize(
    "say",
    [
        lambda registry: registry.grant("user-1", "analytics", " profiles"),
        lambda registry: registry.grant("user-1", ["analytics"]),
        lambda registry: registry.grant("user-1", None),
        lambda registry: registry.grant(""),
        lambda registry: registry.grant("user-1", recorded_at=datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda registry: registry.grant("user-1", expires_at="2026-01-01"),
        lambda registry: registry.grant("user-1", evidence=[]),
        lambda registry: registry.grant("user-1", evidence=""),
        lambda registry: registry.grant("user-1", source=""),
        lambda registry: registry.record({"subject_id": "user-1"}),
    ],
)
def test_what_is_malformed_is_refused_and_nothing_is_appended(say):
    # rule 2.2
    registry = MemoryRegistry()
    with pytest.raises(InvalidRecordError):
        say(registry)
    assert registry.history("user-1") == []


def test_the_records_of_one_grant_share_their_moment():
    registry = MemoryRegistry()
    registry.grant("user-1")
    assert len({record.recorded_at for record in registry.history("user-1")}) == 1


def test_a_history_is_the_callers_own_list():
    registry = MemoryRegistry()
    registry.grant("user-1", "analytics")
    registry.history("user-1").clear()
    assert len(registry.history("user-1")) == 1


@pytest.mark.parametrize("version", ["", 2, b"2", True])
def test_a_required_policy_version_that_is_no_text_is_refused(version):
    with pytest.raises(ConfigurationError, match="required_policy_version must be a non-empty str or None"):
        MemoryRegistry(required_policy_version=version)


def test_it_is_a_registry_and_its_repr_names_nobody():
    registry = MemoryRegistry()
    registry.grant("user-1")
    assert isinstance(registry, ConsentRegistry)
    assert repr(registry) == "<MemoryRegistry of 1 subjects>"
    assert not isinstance({}, ConsentRegistry)


@pytest.mark.parametrize("moment", [0, "", False, []])
def test_a_moment_that_is_none_is_refused_and_not_taken_for_now(moment):
    registry = MemoryRegistry()
    with pytest.raises(InvalidRecordError, match="recorded_at"):
        registry.grant("user-1", recorded_at=moment)
    assert registry.history("user-1") == []


def test_a_field_that_no_record_has_is_a_type_error():
    with pytest.raises(TypeError, match=r"grant\(\) got an unexpected keyword argument 'status'"):
        MemoryRegistry().grant("user-1", status="denied")
