"""The tests that every consent registry must pass."""

from __future__ import annotations

import random
import threading
import uuid
from datetime import datetime, timedelta
from typing import Any

import attrs

from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel._consent.regime import Regime
from consentpanel._consent.standing import standing_of
from consentpanel.errors import ConsentPanelError
from consentpanel.registry import carry_over
from consentpanel.registry._protocol import METHODS, is_coroutine_function
from consentpanel.testing._registry_answers import AnswersByTheLatestRecord
from consentpanel.testing._registry_proof import (
    ANALYTICS,
    DAY,
    DENIED,
    FEATURE_FLAGS,
    GRANTED,
    PROFILES,
    UNKNOWN,
    days_ago,
    expect,
    expect_status,
    expect_statuses,
    record_of,
    refused,
    skip,
)
from consentpanel.testing._registry_store import KeptByAStore

ODD_IDS = (
    "\N{GRINNING FACE} \N{FAMILY}",
    'O\'Brien "quoted" `back` \\slash',
    "'; DROP TABLE consent_record; --",
    "100%_*?[a-z]:{tag}",
    "a" * 255,
    "user\nwith\ttabs",
)


class RegistryContract(AnswersByTheLatestRecord, KeptByAStore):
    """Inherit it, and pytest proves your registry.

    Override `make_registry`; the name of your class must begin with ``Test``. A registry with a `close` method is
    closed at the end of each test. A test of something that your registry need not have (`grant` and `deny`,
    `record_many`, `ends_at`, `standings`, ``required_policy_version``) is skipped when it has not.

    Where your registry has a store beneath, override `open_again`, `restart_store` and `rolled_back` too; what they prove is
    skipped without them.

    `make_registry` is a plain method. When it needs a fixture of pytest, let an autouse fixture of your class put what
    it needs on ``self``.

    Example:
        >>> from consentpanel.registry import MemoryRegistry
        >>> class TestMyRegistry(RegistryContract):
        ...     def make_registry(self, **options):
        ...         return MemoryRegistry(**options)
        >>> TestMyRegistry().test_the_latest_record_decides()
    """

    # what a registry has

    def test_it_has_the_methods_of_a_registry(self) -> None:
        registry = self._registry()
        missing = [name for name in METHODS[:5] if not callable(getattr(registry, name, None))]
        expect(missing, [], "methods that are missing")
        late = [name for name in METHODS if is_coroutine_function(getattr(registry, name, None))]
        expect(late, [], "methods that are coroutine functions, which nobody awaits")

    def test_nobody_has_consented_before_a_record(self) -> None:
        registry = self._registry()
        for purpose in (*BUILT_IN_PURPOSES, "targeting"):
            expect_status(registry.status("user-1", purpose), UNKNOWN, f"without a record, for {purpose}")
        expect_status(registry.status("user-1", ANALYTICS, at=days_ago(1)), UNKNOWN, "without a record, in the past")

    def test_a_purpose_may_be_given_by_its_name(self) -> None:
        registry = self._registry(record_of(GRANTED, 1))
        expect_status(registry.status("user-1", "analytics"), GRANTED, "asked by a plain str")
        expect_status(registry.status("user-1", Purpose("analytics")), GRANTED, "asked by a Purpose")

    def test_purposes_are_separate(self) -> None:
        registry = self._registry(record_of(GRANTED, 2, purpose=ANALYTICS), record_of(DENIED, 1, purpose=PROFILES))
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "the purpose that was granted")
        expect_status(registry.status("user-1", PROFILES), DENIED, "the purpose that was denied")
        expect_status(registry.status("user-1", FEATURE_FLAGS), UNKNOWN, "the purpose of which nothing was said")

    def test_a_purpose_of_your_own_works(self) -> None:
        registry = self._registry(record_of(GRANTED, 2, purpose=Purpose("targeting")))
        expect_status(registry.status("user-1", Purpose("targeting")), GRANTED, "a purpose of your own")
        expect_status(registry.status("user-1", Purpose("Targeting")), UNKNOWN, "a name that differs by its case")
        expect_status(registry.status("user-1", ANALYTICS), UNKNOWN, "a built-in purpose")

    def test_people_are_separate(self) -> None:
        registry = self._registry(record_of(GRANTED, 1, subject_id="user-1"))
        for other in ("user-2", "user-", "USER-1", "user-11"):
            expect_status(registry.status(other, ANALYTICS), UNKNOWN, "somebody else")

    def test_any_text_may_be_an_id(self) -> None:
        registry = self._registry()
        for subject_id in ODD_IDS:
            record = record_of(GRANTED, 1, subject_id=subject_id)
            registry.record(record)
            expect_status(registry.status(subject_id, ANALYTICS), GRANTED, f"the id {subject_id!r}")
            expect(registry.history(subject_id), [record], f"the history of the id {subject_id!r}")
        expect_statuses(registry.statuses(ODD_IDS, ANALYTICS), dict.fromkeys(ODD_IDS, GRANTED))

    def test_an_int_and_a_uuid_are_the_same_person_as_their_text(self) -> None:
        registry = self._registry()
        some_uuid = uuid.uuid4()
        for subject_id in (42, some_uuid):
            record = record_of(GRANTED, 1, subject_id=subject_id)
            registry.record(record)
            for same in (subject_id, str(subject_id)):
                kind = type(same).__name__
                expect_status(registry.status(same, ANALYTICS), GRANTED, f"asked by {kind}")
                expect(registry.history(same), [record], f"the history by {kind}")
        asked: list[Any] = [42, "42", some_uuid, str(some_uuid)]
        expect_statuses(registry.statuses(asked, ANALYTICS), dict.fromkeys(asked, GRANTED))
        registry.forget(42)
        registry.forget(some_uuid)
        expect_statuses(registry.statuses(asked, ANALYTICS), dict.fromkeys(asked, UNKNOWN))

    # several people at once

    def test_statuses_answers_by_the_ids_as_they_were_given(self) -> None:
        registry = self._registry()
        ids: list[Any] = [f"user-{number}" for number in range(2_000)]
        ids[500:1_000] = range(500, 1_000)
        for subject_id in ids[::40]:
            status = GRANTED if len(str(subject_id)) % 2 else DENIED
            registry.record(record_of(status, 2, subject_id=subject_id))
        asked = [*ids, *ids[:1_000]]
        for at in (None, days_ago(1), days_ago(3)):
            found = registry.statuses(iter(asked), ANALYTICS, at=at)
            expect_statuses(found, {each: registry.status(each, ANALYTICS, at=at) for each in ids})

    def test_statuses_of_nobody_is_empty(self) -> None:
        expect_statuses(self._registry().statuses([], ANALYTICS), {})

    def test_standings_agree_with_status(self) -> None:
        registry = self._registry()
        if not callable(getattr(registry, "standings", None)):
            skip("this registry has no method `standings`, which it need not have")
        registry.record(record_of(GRANTED, 3, subject_id="user-1", expires_at=days_ago(1)))
        registry.record(record_of(DENIED, 3, subject_id="user-2"))
        registry.record(record_of(GRANTED, 3, subject_id="user-3"))
        ids = [f"user-{number}" for number in range(5)]
        for at in (None, days_ago(2), days_ago(4)):
            found = {each: standing.status for each, standing in registry.standings(ids, ANALYTICS, at=at).items()}
            expect_statuses(found, {each: registry.status(each, ANALYTICS, at=at) for each in ids})

    # the history

    def test_history_returns_every_field_of_a_record(self) -> None:
        records = [
            ConsentRecord(
                "user-1",
                "targeting",
                GRANTED,
                days_ago(3) + timedelta(microseconds=7),
                expires_at=now() + DAY,
                policy_version="2026-05-01",
                source="sign-up form \N{GRINNING FACE}",
                jurisdiction="CA-QC",
                evidence={"boxes": ["a", "b"], "nested": {"no": None, "yes": True}, "n": [1, 2.5], "\u00e9": "'\""},
                record_id="receipt-1",
            ),
            record_of(DENIED, 2),
        ]
        registry = self._registry(*records)
        found = registry.history("user-1")
        expect(len(found), len(records), "the number of records")
        for got, given in zip(found, records, strict=True):
            for field in attrs.fields(ConsentRecord):
                expect(getattr(got, field.name), getattr(given, field.name), f"the field {field.name}")
        expect(found, records, "the history")

    def test_history_is_oldest_first(self) -> None:
        said = {days: record_of(GRANTED, days, record_id=f"receipt-{days}") for days in (2, 5, 1, 4, 3)}
        again = [record_of(DENIED, said[1].recorded_at, purpose=PROFILES) for _ in range(3)]
        registry = self._registry(*said.values(), *again)
        expect(registry.history("user-1"), [*(said[days] for days in (5, 4, 3, 2, 1)), *again], "oldest first")

    def test_history_of_somebody_unknown_is_empty(self) -> None:
        registry = self._registry(record_of(GRANTED, 1))
        expect(registry.history("user-2"), [], "the history of somebody unknown")

    def test_records_are_kept_and_not_replaced(self) -> None:
        record = record_of(GRANTED, 2)
        registry = self._registry(*(record_of(DENIED, 1) for _ in range(3)), record)
        expect(len(registry.history("user-1")), 4, "the number of records")
        expect(registry.history("user-1")[0], record, "the oldest record")

    def test_a_record_from_the_future_is_refused(self) -> None:
        registry = self._registry()
        record = record_of(GRANTED, now() + timedelta(seconds=90))
        with refused("record() of a record from the future", ConsentPanelError, ValueError):
            registry.record(record)
        expect(registry.history("user-1"), [], "the history after what was refused")

    def test_record_many_appends_every_record(self) -> None:
        registry = self._registry()
        records = [record_of(DENIED, 1, purpose=purpose) for purpose in _PURPOSES]
        _record_many(registry)(records)
        expect(registry.history("user-1"), records, "the history after record_many")
        for purpose in _PURPOSES:
            expect_status(registry.status("user-1", purpose), DENIED, "after record_many")

    def test_record_many_appends_none_when_one_is_refused(self) -> None:
        registry = self._registry()
        records = [record_of(GRANTED, 1), record_of(GRANTED, now() + timedelta(seconds=90))]
        several = _record_many(registry)
        with refused("record_many() with a record from the future", ConsentPanelError, ValueError):
            several(records)
        expect(registry.history("user-1"), [], "the history after what was refused")

    def test_ends_at_tells_the_end_of_the_record_that_decides(self) -> None:
        end = now() + DAY
        registry = self._registry(record_of(GRANTED, 3), record_of(GRANTED, 2, expires_at=end))
        ends_at = _method(registry, "ends_at")
        expect(ends_at("user-1", ANALYTICS), end, "the end of the latest grant")
        expect(ends_at("user-1", PROFILES), None, "the end where nothing is recorded")
        registry.record(record_of(GRANTED, 1))
        expect(ends_at("user-1", ANALYTICS), None, "the end of a grant that has none")
        registry.record(record_of(DENIED, now(), expires_at=end))
        expect(ends_at("user-1", ANALYTICS), None, "the end of a denial, which never ends")

    # erasure

    def test_forget_erases_one_person_and_nobody_else(self) -> None:
        people = ("user-1", "user-2")
        registry = self._registry(
            *(record_of(GRANTED, 1, subject_id=each, purpose=purpose) for each in people for purpose in _PURPOSES)
        )
        registry.forget("user-1")
        for purpose in _PURPOSES:
            expect_status(registry.status("user-1", purpose), UNKNOWN, "the person who was forgotten")
            expect_status(registry.status("user-2", purpose), GRANTED, "the other person")
        expect(registry.history("user-1"), [], "the history of the person who was forgotten")
        expect(len(registry.history("user-2")), len(_PURPOSES), "the number of the other person's records")

    def test_a_person_who_was_forgotten_may_be_recorded_anew(self) -> None:
        registry = self._registry(record_of(DENIED, 1))
        registry.forget("user-1")
        older = record_of(GRANTED, 2)
        registry.record(older)
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "nothing newer is known any more")
        expect(registry.history("user-1"), [older], "the history after the erasure")

    def test_forgetting_somebody_unknown_changes_nothing(self) -> None:
        registry = self._registry(record_of(GRANTED, 1))
        registry.forget("user-2")
        expect_status(registry.status("user-1", ANALYTICS), GRANTED, "the other person")

    # grant and deny, which only the package's own registries must have

    def test_grant_appends_a_record_for_each_purpose(self) -> None:
        self._prove_saying("grant", GRANTED)

    def test_deny_appends_a_record_for_each_purpose(self) -> None:
        self._prove_saying("deny", DENIED)

    def test_grant_and_deny_take_the_three_built_in_purposes_when_none_is_named(self) -> None:
        registry = self._registry()
        for name, status in (("grant", GRANTED), ("deny", DENIED)):
            before = len(registry.history("user-1"))
            _method(registry, name)("user-1")
            added = registry.history("user-1")[before:]
            expect([record.purpose for record in added], list(BUILT_IN_PURPOSES), f"the purposes of {name}")
            for purpose in BUILT_IN_PURPOSES:
                expect_status(registry.status("user-1", purpose), status, f"after {name}")

    def test_grant_and_deny_stamp_no_earlier_than_the_latest_record(self) -> None:
        ahead = now() + timedelta(seconds=50)  # as written by a machine whose clock is fast
        registry = self._registry(record_of(GRANTED, ahead))
        _method(registry, "deny")("user-1")
        expect_status(registry.status("user-1", ANALYTICS), DENIED, "a denial after a grant from a fast clock")
        stamps = [record.recorded_at for record in registry.history("user-1") if record.status is DENIED]
        expect([stamp >= ahead for stamp in stamps], [True] * 3, "the denials are stamped no earlier than the grant")

    # what is malformed is never consent

    def test_what_is_not_a_record_is_refused(self) -> None:
        registry = self._registry()
        for thing in (None, {"subject_id": "user-1", "purpose": "analytics", "status": "granted"}, "user-1", object()):
            with refused("record()", ConsentPanelError, TypeError, ValueError, AttributeError, KeyError):
                registry.record(thing)
        expect_status(registry.status("user-1", ANALYTICS), UNKNOWN, "after what was refused")

    def test_a_malformed_id_never_has_consent(self) -> None:
        texts = ("1", "True", "1.5", "None", "b'1'")
        registry = self._registry(*(record_of(GRANTED, 1, subject_id=text) for text in texts))
        malformed: tuple[Any, ...] = (None, True, 1.5, b"1", "", "  ", object(), ["1"])
        for subject_id in malformed:
            try:
                found = registry.status(subject_id, ANALYTICS)
            except Exception:  # noqa: BLE001, S112 - a registry that fails means denied
                continue
            if found is GRANTED:
                raise AssertionError(f"an id of type {type(subject_id).__name__} has consent, but is malformed")

    # a client asks it

    def test_a_client_withdraws_everything_that_was_granted(self) -> None:
        from consentpanel.client import Mixpanel
        from consentpanel.testing._fake import FakeTransport

        registry = self._registry(*(record_of(GRANTED, 1, purpose=purpose) for purpose in _PURPOSES))
        Mixpanel("TOKEN", FakeTransport(), registry=registry).withdraw("user-1")
        for purpose in _PURPOSES:
            expect_status(registry.status("user-1", purpose), DENIED, "after everything was withdrawn")

    def test_answers_carry_over_from_a_visitor_to_an_account(self) -> None:
        registry = self._registry(
            record_of(DENIED, 2, subject_id="visitor"),
            record_of(GRANTED, 2, subject_id="visitor", purpose=PROFILES),
            record_of(GRANTED, 1, subject_id="account"),
        )
        expect(len(carry_over(registry, "visitor", "account")), 2, "the records that were carried over")
        expect_status(registry.status("account", ANALYTICS), DENIED, "the visitor's denial is the account's")
        expect_status(registry.status("account", PROFILES), GRANTED, "the visitor's grant is the account's")
        expect(carry_over(registry, "visitor", "account"), [], "what is carried over a second time")

    def test_a_client_sends_by_its_answers(self) -> None:
        from consentpanel.client import Mixpanel
        from consentpanel.policy import FieldPolicy
        from consentpanel.testing._fake import FakeTransport

        registry = self._registry(record_of(GRANTED, 1, subject_id="yes"), record_of(DENIED, 1, subject_id="no"))
        for regime, expected in ((Regime.OPT_IN, ["yes"]), (Regime.OPT_OUT, ["yes", "silent"])):
            vendor = FakeTransport()
            client = Mixpanel("TOKEN", vendor, registry=registry, policy=FieldPolicy.keep_all(), regime=regime)
            for subject_id in ("yes", "no", "silent"):
                client.track(subject_id, "Asked")
            expect([message.distinct_id for message in vendor.messages], expected, f"who is sent under {regime.value}")

    # many at once, and by chance

    def test_threads_that_write_at_once_lose_nothing(self) -> None:
        registry = self._registry()
        threads, each = 8, 25
        written: list[list[ConsentRecord]] = [[] for _ in range(threads)]
        failures: list[BaseException] = []
        start = threading.Barrier(threads)

        def write(number: int) -> None:
            try:
                start.wait(timeout=60)
                for _ in range(each):
                    record = ConsentRecord(f"user-{number % 2}", ANALYTICS, GRANTED)
                    registry.record(record)
                    written[number].append(record)
                    registry.status(f"user-{number % 2}", ANALYTICS)
            except BaseException as error:  # noqa: BLE001 - told below, in the thread of the test
                failures.append(error)

        workers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        expect([type(error).__name__ for error in failures], [], "failures in threads")
        for number in range(2):
            expected = {record.record_id for records in written[number::2] for record in records}
            found = [record.record_id for record in registry.history(f"user-{number}")]
            expect(len(found), threads * each // 2, "the number of records that threads wrote")
            expect(set(found), expected, "the records that threads wrote")

    def test_it_agrees_with_the_rule_for_records_by_chance(self) -> None:
        registry = self._registry()
        for seed in range(200):
            chance = random.Random(seed)  # noqa: S311 - tests must be repeatable
            _prove_agreement(registry, f"user-{seed}", chance)

    def _prove_saying(self, name: str, status: ConsentStatus) -> None:
        registry = self._registry()
        fields: dict[str, Any] = {
            "recorded_at": days_ago(1),
            "expires_at": now() + DAY,
            "policy_version": "7",
            "source": "sign-up form",
            "jurisdiction": "DE",
            "evidence": {"form": "v3"},
        }
        _method(registry, name)("user-1", ANALYTICS, "targeting", **fields)
        found = registry.history("user-1")
        expect([record.purpose for record in found], [ANALYTICS, "targeting"], f"the purposes of {name}")
        expect([record.status for record in found], [status, status], f"the statuses of {name}")
        expect(len({record.record_id for record in found}), 2, "the number of record ids")
        for record in found:
            for field, value in fields.items():
                expect(getattr(record, field), value, f"the field {field} of {name}")
        expect_status(registry.status("user-1", "targeting"), status, f"after {name}")
        expect_status(registry.status("user-1", PROFILES), UNKNOWN, "a purpose that was not named")


_PURPOSES = (*BUILT_IN_PURPOSES, Purpose("targeting"))


def _record_many(registry: Any) -> Any:
    method = _method(registry, "record_many")
    try:
        method([])
    except NotImplementedError:
        skip("this registry does not offer `record_many`, which it need not have")
    return method


def _method(registry: Any, name: str) -> Any:
    method = getattr(registry, name, None)
    if not callable(method):
        skip(f"this registry has no method `{name}`, which only the package's own must have")
    return method


def _prove_agreement(registry: Any, subject_id: str, chance: random.Random) -> None:
    present = now()

    def moment() -> datetime:
        return present - chance.randrange(1, 20) * timedelta(hours=1)

    records: list[ConsentRecord] = []
    for _ in range(chance.randrange(1, 9)):
        ends = chance.choice((None, moment(), present + DAY))
        status = chance.choice(tuple(ConsentStatus))
        record = ConsentRecord(subject_id, chance.choice((ANALYTICS, PROFILES)), status, moment(), expires_at=ends)
        registry.record(record)
        records.append(record)
    for at in (None, present + DAY, *(moment() for _ in range(4))):
        for purpose in (ANALYTICS, PROFILES):
            about = [record for record in records if record.purpose == purpose]
            expected = standing_of(about, at=at).status
            expect_status(registry.status(subject_id, purpose, at=at), expected, f"by chance, {subject_id}")
    ordered = sorted(records, key=lambda record: record.recorded_at)
    expect(registry.history(subject_id), ordered, f"the history by chance, {subject_id}")
