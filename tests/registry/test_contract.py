"""Every registry of the package passes `RegistryContract`, and a registry that breaks a rule does not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import attrs
import pytest

from consentpanel import ConsentRecord, ConsentStatus
from consentpanel._consent.ids import subject_key
from consentpanel._consent.standing import in_order
from consentpanel.registry import (
    CallableRegistry,
    MemoryRegistry,
    RecordingRegistry,
    SQLiteRegistry,
    Standing,
    standing_of,
)
from consentpanel.testing import RegistryContract

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN


class TestMemoryRegistry(RegistryContract):
    def make_registry(self, **options):
        return MemoryRegistry(**options)


class TestSQLiteRegistry(RegistryContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        self.path = tmp_path / "consent.db"

    def make_registry(self, **options):
        return SQLiteRegistry(self.path, **options)


class TestCallableRegistry(RegistryContract):
    def make_registry(self):
        table: dict[str, list[ConsentRecord]] = {}

        def ask(subject_id, purpose, *, at=None):
            rows = [row for row in table.get(subject_id, []) if row.purpose == purpose]
            said = [row for row in rows if at is None or row.recorded_at <= at]
            if not said:
                return None
            latest = in_order(said)[-1]
            if latest.status is not GRANTED:
                return latest.status
            moment = at or ConsentRecord("clock", purpose, UNKNOWN).recorded_at
            return UNKNOWN if latest.expires_at and latest.expires_at <= moment else True

        def write(record):
            table.setdefault(record.subject_id, []).append(record)

        def read(subject_id):
            return in_order(table.get(subject_id, []))

        return CallableRegistry(ask, record=write, history=read, forget=lambda subject_id: table.pop(subject_id, None))


# rule 5.5: what the contract is worth


class Listed(RecordingRegistry):
    """An honest registry over one list, by the methods that are enough; the broken ones each change one thing."""

    def __init__(self, **options):
        super().__init__(**options)
        self.records: list[ConsentRecord] = []

    def _append(self, records):  # rule 9.6
        self.records.extend(records)

    def _read(self, subject_id):
        return [each for each in self.records if each.subject_id == subject_id]

    def _erase(self, subject_id):
        mine = self._read(subject_id)
        self.records = [each for each in self.records if each.subject_id != subject_id]
        return len(mine)


class TestListed(RegistryContract):
    def make_registry(self, **options):
        return Listed(**options)


class Forgetless(Listed):
    def forget(self, subject_id):
        return 0


class ForgetsAll(Listed):
    def forget(self, subject_id):
        self.records.clear()


class Deciding(Listed):
    def deciding(self, subject_id, purpose):
        return [each for each in self._read(subject_key(subject_id)) if each.purpose == purpose]

    def standing(self, subject_id, purpose, *, at=None):
        return standing_of(self.deciding(subject_id, purpose), at=at, required_policy_version=self._required)


class TrustsAFastClock(Deciding):
    def deciding(self, subject_id, purpose):
        return sorted(super().deciding(subject_id, purpose), key=lambda record: record.recorded_at)


class RecordsWhatItCan(Listed):
    def record_many(self, records):
        for record in records:
            self.record(record)


class RecordsTheFirst(Listed):
    def record_many(self, records):
        super().record_many(records[:1])


class NeverEnds(Listed):
    def ends_at(self, subject_id, purpose):
        return None


class RecordsLater(Listed):
    async def record(self, record):
        super().record(record)


class DeniesNothing(Listed):
    def deny(self, subject_id, *purposes, **fields):
        super().deny(subject_id, "analytics", **fields)


class ForgetsSources(Listed):
    def _append(self, records):
        super()._append([attrs.evolve(each, source=None) for each in records])


class LastWrittenWins(Deciding):
    def deciding(self, subject_id, purpose):
        return super().deciding(subject_id, purpose)[-1:]


class FirstOfAMomentWins(Deciding):
    def deciding(self, subject_id, purpose):
        return super().deciding(subject_id, purpose)[::-1]


class NeverExpires(Listed):
    def _append(self, records):
        super()._append([ConsentRecord(r.subject_id, r.purpose, r.status, r.recorded_at) for r in records])


class IgnoresTheMoment(Listed):
    def standing(self, subject_id, purpose, *, at=None):
        return super().standing(subject_id, purpose)


class KeepsOneRecord(Listed):
    def _append(self, records):
        for record in records:
            self.forget(record.subject_id)
            super()._append([record])


class AnswersByText(Listed):
    def statuses(self, subject_ids, purpose, *, at=None):
        return {str(key): status for key, status in super().statuses(subject_ids, purpose, at=at).items()}


class AnswersBooleans(Listed):
    def status(self, subject_id, purpose, *, at=None):
        return super().status(subject_id, purpose, at=at) is GRANTED


class AnswersValues(Listed):
    def status(self, subject_id, purpose, *, at=None):
        return super().status(subject_id, purpose, at=at).value


class GrantsEverybody(Listed):
    def status(self, subject_id, purpose, *, at=None):
        return GRANTED


class OnePurpose(Listed):
    def status(self, subject_id, purpose, *, at=None):
        return max(Listed.status(self, subject_id, each, at=at) for each in ("analytics", "profiles", "targeting"))


class IgnoresPolicyVersions(Listed):
    def __init__(self, *, required_policy_version=None):
        super().__init__()


class NewestFirst(Listed):
    def history(self, subject_id):
        return super().history(subject_id)[::-1]


class LosesEvidence(Listed):
    def _append(self, records):
        kept = [
            ConsentRecord(
                r.subject_id, r.purpose, r.status, r.recorded_at, r.expires_at, r.policy_version, record_id=r.record_id
            )
            for r in records
        ]
        super()._append(kept)


class TakesAnything(Listed):
    def record(self, record):
        if isinstance(record, ConsentRecord):
            super().record(record)


class TruncatesIds(Listed):
    def standing(self, subject_id, purpose, *, at=None):
        return super().standing(str(subject_id)[:6], purpose, at=at)


class CutsToMilliseconds(Listed):
    def _append(self, records):
        kept = [
            ConsentRecord(
                r.subject_id, r.purpose, r.status, r.recorded_at.replace(microsecond=0), r.expires_at, r.policy_version
            )
            for r in records
        ]
        super()._append(kept)


class ForgetsToLock(Listed):
    def _append(self, records):
        for record in records:
            if len(self.history(record.subject_id)) < 90:
                super()._append([record])


class OtherStandings(Listed):
    def standings(self, subject_ids, purpose, *, at=None):
        return super().standings(subject_ids, purpose)

    def statuses(self, subject_ids, purpose, *, at=None):
        return {each: self.status(each, purpose, at=at) for each in subject_ids}


class GrantsAnalyticsOnly(Listed):
    def grant(self, subject_id, *purposes, **fields):
        super().grant(subject_id, *(purposes or ("analytics",)), **fields)


class DropsFieldsOfDeny(Listed):
    def deny(self, subject_id, *purposes, **fields):
        super().deny(subject_id, *purposes)


class TrustsTheFuture(Listed):
    def record(self, record):
        self._append([record])


class TrustsItsClock(Listed):
    def _write(self, records, **_):
        self._append(records)


class ForgetsOldPolicies(Listed):
    def standing(self, subject_id, purpose, *, at=None):
        found = super().standing(subject_id, purpose, at=at)
        now_held = super().standing(subject_id, purpose)
        return now_held if now_held is Standing.OUTDATED_POLICY else found


class TrustsNaiveMoments(Listed):
    def statuses(self, subject_ids, purpose, *, at=None):
        aware = at.astimezone() if at is not None and at.tzinfo is None else at
        return super().statuses(subject_ids, purpose, at=aware)


class DenialsExpire(Listed):
    def status(self, subject_id, purpose, *, at=None):
        said = super().history(subject_id)
        ended = said and said[-1].expires_at and said[-1].expires_at <= ConsentRecord("c", purpose, DENIED).recorded_at
        return UNKNOWN if ended else super().status(subject_id, purpose, at=at)


class StringifiesIds(Listed):
    def status(self, subject_id, purpose, *, at=None):
        return super().status(str(subject_id), purpose, at=at)


@pytest.mark.parametrize(
    ("broken", "proof"),
    [
        (Forgetless, "forget_erases_one_person_and_nobody_else"),
        (Forgetless, "a_person_who_was_forgotten_may_be_recorded_anew"),
        (ForgetsAll, "forget_erases_one_person_and_nobody_else"),
        (ForgetsAll, "forgetting_somebody_unknown_changes_nothing"),
        (TrustsTheFuture, "a_record_from_the_future_is_refused"),
        (TrustsItsClock, "grant_and_deny_stamp_no_earlier_than_the_latest_record"),
        (TrustsAFastClock, "a_denial_written_after_a_grant_of_a_fast_clock_decides"),
        (LastWrittenWins, "a_denial_written_after_a_grant_of_a_fast_clock_decides"),
        (RecordsWhatItCan, "record_many_appends_none_when_one_is_refused"),
        (RecordsTheFirst, "record_many_appends_every_record"),
        (NeverEnds, "ends_at_tells_the_end_of_the_record_that_decides"),
        (RecordsLater, "it_has_the_methods_of_a_registry"),
        (DeniesNothing, "a_client_withdraws_everything_that_was_granted"),
        (ForgetsSources, "answers_carry_over_from_a_visitor_to_an_account"),
        (ForgetsOldPolicies, "the_required_policy_does_not_judge_the_past"),
        (LastWrittenWins, "a_record_that_arrives_late_does_not_win_over_a_newer_one"),
        (LastWrittenWins, "the_time_zone_of_a_record_does_not_matter"),
        (LastWrittenWins, "it_agrees_with_the_rule_for_records_by_chance"),
        (FirstOfAMomentWins, "of_two_records_of_one_moment_the_one_written_last_decides"),
        (NeverExpires, "a_grant_past_its_end_is_unknown"),
        (NeverExpires, "a_grant_past_its_end_does_not_bring_back_an_older_record"),
        (NeverExpires, "a_grant_that_has_ended_held_before"),
        (IgnoresTheMoment, "the_past_is_answered_by_what_had_been_said_by_then"),
        (IgnoresTheMoment, "a_naive_moment_is_an_error"),
        (TrustsNaiveMoments, "a_naive_moment_is_an_error"),
        (KeepsOneRecord, "records_are_kept_and_not_replaced"),
        (KeepsOneRecord, "history_is_oldest_first"),
        (AnswersByText, "statuses_answers_by_the_ids_as_they_were_given"),
        (AnswersBooleans, "nobody_has_consented_before_a_record"),
        (AnswersValues, "a_grant_and_a_denial_are_answered"),
        (GrantsEverybody, "people_are_separate"),
        (GrantsEverybody, "a_malformed_id_never_has_consent"),
        (StringifiesIds, "a_malformed_id_never_has_consent"),
        (OnePurpose, "purposes_are_separate"),
        (OnePurpose, "a_purpose_of_your_own_works"),
        (IgnoresPolicyVersions, "a_grant_under_an_older_policy_is_unknown"),
        (IgnoresPolicyVersions, "policy_versions_without_an_order_are_older_unless_equal"),
        (NewestFirst, "history_is_oldest_first"),
        (LosesEvidence, "history_returns_every_field_of_a_record"),
        (TakesAnything, "what_is_not_a_record_is_refused"),
        (TruncatesIds, "people_are_separate"),
        (TruncatesIds, "any_text_may_be_an_id"),
        (CutsToMilliseconds, "records_a_microsecond_apart_are_ordered"),
        (CutsToMilliseconds, "history_returns_every_field_of_a_record"),
        (ForgetsToLock, "threads_that_write_at_once_lose_nothing"),
        (OtherStandings, "standings_agree_with_status"),
        (GrantsAnalyticsOnly, "grant_and_deny_take_the_three_built_in_purposes_when_none_is_named"),
        (DropsFieldsOfDeny, "deny_appends_a_record_for_each_purpose"),
        (DenialsExpire, "a_denial_never_ends"),
    ],
)
def test_a_registry_that_breaks_a_rule_fails_the_contract(broken, proof):
    class Broken(RegistryContract):
        def make_registry(self, **options: Any) -> Any:
            return broken(**options)

    with pytest.raises(AssertionError):
        getattr(Broken(), f"test_{proof}")()


class Silent(RegistryContract):
    def make_registry(self) -> Any:
        return object()


@pytest.mark.parametrize(
    ("proof", "what_is_missing"),
    [
        ("a_grant_under_an_older_policy_is_unknown", "required_policy_version"),
        ("standings_agree_with_status", "standings"),
        ("grant_appends_a_record_for_each_purpose", "grant"),
        ("deny_appends_a_record_for_each_purpose", "deny"),
    ],
)
def test_what_a_registry_need_not_have_is_skipped_with_a_reason(proof, what_is_missing):
    with pytest.raises(pytest.skip.Exception, match=what_is_missing):
        getattr(Silent(), f"test_{proof}")()


def test_the_contract_names_the_methods_that_are_missing():
    with pytest.raises(AssertionError, match=r"methods that are missing.*'status', 'statuses', 'record', 'history'"):
        Silent().test_it_has_the_methods_of_a_registry()


def test_make_registry_must_be_overridden():
    class Lazy(RegistryContract):
        pass

    with pytest.raises(NotImplementedError, match="Lazy must override make_registry"):
        Lazy().test_nobody_has_consented_before_a_record()


def test_a_failure_of_make_registry_itself_is_not_hidden():
    class Failing(RegistryContract):
        def make_registry(self) -> Any:
            raise TypeError("a mistake in make_registry")

    with pytest.raises(TypeError, match="a mistake"):
        Failing().test_nobody_has_consented_before_a_record()


def test_the_contract_closes_the_registries_that_it_made(tmp_path):
    class Closing(RegistryContract):
        def make_registry(self, **options: Any) -> Any:
            self.registry = SQLiteRegistry(tmp_path / "consent.db")
            return self.registry

    proof = Closing()
    proof.test_the_latest_record_decides()
    proof.teardown_method()
    assert repr(proof.registry) == "<SQLiteRegistry (closed)>"


def test_the_contract_needs_neither_pytest_nor_hypothesis_to_be_imported():
    code = (
        "import sys; from consentpanel.testing import RegistryContract;"
        "sys.exit(any(name in sys.modules for name in ('pytest', 'hypothesis')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
