"""The part of `RegistryContract` about which record decides, until when, and as of when."""

from __future__ import annotations

from datetime import timedelta, timezone

from consentpanel._consent.records import now
from consentpanel.errors import ConsentPanelError
from consentpanel.testing._registry_proof import (
    ANALYTICS,
    DAY,
    DENIED,
    GRANTED,
    TICK,
    UNKNOWN,
    RegistryProof,
    days_ago,
    expect_status,
    expect_statuses,
    record_of,
    refused,
)


class AnswersByTheLatestRecord(RegistryProof):
    """Proves that the latest record decides, unless it has ended or is of an older policy than the required one."""

    # the latest record decides

    def test_a_grant_and_a_denial_are_answered(self) -> None:
        said = {"user-1": GRANTED, "user-2": DENIED, "user-3": UNKNOWN}
        registry = self._registry(*(record_of(status, 1, subject_id=each) for each, status in said.items()))
        for subject_id, expected in said.items():
            expect_status(registry.status(subject_id, ANALYTICS), expected, f"a record that says {expected.value}")

    def test_the_latest_record_decides(self) -> None:
        registry = self._registry()
        for days, status in ((3, GRANTED), (2, DENIED), (1, GRANTED)):
            registry.record(record_of(status, days))
            expect_status(registry.status("user-1", ANALYTICS), status, "after one more record")

    def test_a_record_that_arrives_late_does_not_win_over_a_newer_one(self) -> None:
        registry = self._registry(record_of(DENIED, 1), record_of(GRANTED, 2))
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "the denial was said later than the grant")

    def test_of_two_records_of_one_moment_the_one_written_last_decides(self) -> None:
        registry = self._registry()
        moment = days_ago(1)
        for status in (GRANTED, DENIED, GRANTED, DENIED):
            registry.record(record_of(status, moment))
            expect_status(registry.status("user-1", ANALYTICS), status, "the record written last")

    def test_a_denial_written_after_a_grant_of_a_fast_clock_decides(self) -> None:
        said = now()
        registry = self._registry(record_of(GRANTED, said + timedelta(seconds=50)), record_of(DENIED, said))
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "the denial was written after the grant")
        registry.record(record_of(GRANTED, said, subject_id="user-2"))
        registry.record(record_of(DENIED, said - timedelta(minutes=2), subject_id="user-2"))
        expect_status(registry.status("user-2", ANALYTICS), GRANTED, "the denial is minutes older than the grant")

    def test_records_a_microsecond_apart_are_ordered(self) -> None:
        moment = days_ago(1)
        registry = self._registry(record_of(DENIED, moment), record_of(GRANTED, moment - TICK))
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "the grant is a microsecond older")

    def test_the_time_zone_of_a_record_does_not_matter(self) -> None:
        tokyo, new_york = timezone(timedelta(hours=9)), timezone(timedelta(hours=-5))
        denied = record_of(DENIED, days_ago(1).astimezone(new_york))
        registry = self._registry(denied, record_of(GRANTED, days_ago(1.1).astimezone(tokyo)))
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "the grant is older")
        asked = days_ago(1.05).astimezone(tokyo)
        expect_status(registry.status("user-1", ANALYTICS, at=asked), GRANTED, "the denial was not said yet")

    # a grant ends, a denial does not

    def test_a_grant_past_its_end_is_unknown(self) -> None:
        registry = self._registry(record_of(GRANTED, 3, expires_at=days_ago(1)))
        expect_status(registry.status("user-1", ANALYTICS), UNKNOWN, "the grant has ended")
        expect_statuses(registry.statuses(["user-1"], ANALYTICS), {"user-1": UNKNOWN})

    def test_a_grant_past_its_end_does_not_bring_back_an_older_record(self) -> None:
        registry = self._registry(record_of(GRANTED, 5), record_of(GRANTED, 3, expires_at=days_ago(1)))
        expect_status(registry.status("user-1", ANALYTICS), UNKNOWN, "the latest grant has ended")

    def test_a_grant_before_its_end_holds(self) -> None:
        registry = self._registry(record_of(GRANTED, 3, expires_at=now() + DAY))
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "the grant ends tomorrow")

    def test_a_grant_that_has_ended_held_before(self) -> None:
        end = days_ago(1)
        registry = self._registry(record_of(GRANTED, 3, expires_at=end))
        for asked, expected in ((end - TICK, GRANTED), (end, UNKNOWN), (end + TICK, UNKNOWN)):
            expect_status(registry.status("user-1", ANALYTICS, at=asked), expected, "asked near the grant's end")

    def test_a_denial_never_ends(self) -> None:
        registry = self._registry(record_of(DENIED, 3, expires_at=days_ago(2)))
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "a denial past its expires_at")
        expect_status(registry.status("user-1", ANALYTICS, at=days_ago(1)), DENIED, "the same, asked in the past")

    # policy versions

    def test_a_grant_under_the_required_policy_or_a_newer_one_holds(self) -> None:
        registry = self._registry(required_policy_version="2.9")
        for number, version in enumerate(("2.9", "v2.9", "2.10", "3")):
            registry.record(record_of(GRANTED, 1, subject_id=f"user-{number}", policy_version=version))
            expect_status(registry.status(f"user-{number}", ANALYTICS), GRANTED, f"version {version}, 2.9 required")

    def test_a_grant_under_an_older_policy_is_unknown(self) -> None:
        registry = self._registry(required_policy_version="2.9")
        for number, version in enumerate(("2.8.9", "1.10", "0", None)):
            registry.record(record_of(GRANTED, 1, subject_id=f"user-{number}", policy_version=version))
            expect_status(registry.status(f"user-{number}", ANALYTICS), UNKNOWN, f"version {version}, 2.9 required")

    def test_the_required_policy_does_not_judge_the_past(self) -> None:
        registry = self._registry(record_of(GRANTED, 3, policy_version="1"), required_policy_version="2")
        expect_status(registry.status("user-1", ANALYTICS), UNKNOWN, "version 1 now, 2 required")
        expect_status(registry.status("user-1", ANALYTICS, at=days_ago(1)), GRANTED, "version 1 in the past")

    def test_policy_versions_without_an_order_are_older_unless_equal(self) -> None:
        registry = self._registry(required_policy_version="sha-b2f1")
        for number, (version, expected) in enumerate((("sha-b2f1", GRANTED), ("sha-ffff", UNKNOWN), ("9", UNKNOWN))):
            registry.record(record_of(GRANTED, 1, subject_id=f"user-{number}", policy_version=version))
            expect_status(registry.status(f"user-{number}", ANALYTICS), expected, f"version {version}")

    def test_a_denial_under_an_older_policy_is_a_denial(self) -> None:
        registry = self._registry(record_of(DENIED, 1, policy_version="1"), required_policy_version="2")
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "a denial under an older policy")

    def test_without_a_required_policy_any_version_holds(self) -> None:
        registry = self._registry(record_of(GRANTED, 1, policy_version="0"))
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "no version is required")

    # the moment asked about

    def test_a_naive_moment_is_an_error(self) -> None:
        registry = self._registry(record_of(GRANTED, 3))
        naive = days_ago(1).replace(tzinfo=None)
        with refused("status(at=) without a time zone", ConsentPanelError, TypeError, ValueError):
            registry.status("user-1", ANALYTICS, at=naive)
        with refused("statuses(at=) without a time zone", ConsentPanelError, TypeError, ValueError):
            registry.statuses(["user-1"], ANALYTICS, at=naive)

    def test_a_moment_to_come_counts_as_now(self) -> None:
        registry = self._registry(record_of(GRANTED, 3, expires_at=now() + DAY))
        asked = now() + 2 * DAY
        expect_status(registry.status("user-1", ANALYTICS, at=asked), GRANTED, "the grant holds now")
        expect_statuses(registry.statuses(["user-1"], ANALYTICS, at=asked), {"user-1": GRANTED})

    def test_the_past_is_answered_by_what_had_been_said_by_then(self) -> None:
        said = days_ago(4)
        registry = self._registry(record_of(GRANTED, said), record_of(DENIED, 2))
        answers = ((said - TICK, UNKNOWN), (said, GRANTED), (days_ago(3), GRANTED), (days_ago(1), DENIED))
        for asked, expected in answers:
            expect_status(registry.status("user-1", ANALYTICS, at=asked), expected, "asked in the past")
            expect_statuses(registry.statuses(["user-1"], ANALYTICS, at=asked), {"user-1": expected})
