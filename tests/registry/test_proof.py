"""Records are proof: their fields, receipts, chains, strictness, and what outlives erasure (contract rules 12.6 and 9.6)."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest

import consentpanel
from consentpanel import ConfigurationError, ConsentRecord, ConsentStatus, FieldPolicy, InvalidRecordError, Regime
from consentpanel._consent.secret import keyed_by
from consentpanel.registry import (
    CachedRegistry,
    MaxAge,
    MemoryRegistry,
    RecordingRegistry,
    SQLiteRegistry,
    Standing,
    ask_again_at,
    carry_over,
    standing_of,
)
from consentpanel.testing import FakeTransport

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
SECRET = b"0123456789abcdef0123456789abcdef"
DAY = timedelta(days=1)


class Listed(RecordingRegistry):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rows: list[ConsentRecord] = []

    def _append(self, records):
        self.rows.extend(records)

    def _read(self, subject_id):
        return [row for row in self.rows if row.subject_id == subject_id]


class Erasing(Listed):
    def _erase(self, subject_id):
        before = len(self.rows)
        self.rows = [row for row in self.rows if row.subject_id != subject_id]
        return before - len(self.rows)


@pytest.fixture(params=["memory", "sqlite", "own"])
def make(request, tmp_path):
    """Makes a registry with options."""
    made = []

    def build(**options):
        if request.param == "memory":
            return MemoryRegistry(**options)
        if request.param == "own":
            return Erasing(**options)
        made.append(SQLiteRegistry(tmp_path / "consent.db", **options))
        return made[-1]

    yield build
    for each in made:
        each.close()


@pytest.fixture(params=["memory", "sqlite"])
def stored(request, tmp_path):
    registry = MemoryRegistry() if request.param == "memory" else SQLiteRegistry(tmp_path / "consent.db")
    yield registry
    if request.param == "sqlite":
        registry.close()


def full_record(**fields: Any) -> ConsentRecord:
    given: dict[str, Any] = {
        "policy_version": "3",
        "source": "sign-up",
        "jurisdiction": "DE",
        "evidence": {"form": "v3", "text": "é"},
        "expires_at": datetime(2031, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc),
        "language": "de",
        "event_type": "explicit",
        "actor": "guardian",
    }
    return ConsentRecord("user-1", "analytics", GRANTED, **{**given, **fields})


# what a record says


def test_a_record_survives_json():  # rule 9.6
    record = full_record()
    fields = json.loads(json.dumps(record.as_dict()))
    assert ConsentRecord.from_dict(fields) == record
    assert fields["expires_at"] == "2031-01-02T03:04:05.000006+00:00"
    assert ConsentRecord.from_dict({**fields, "expires_at": "2031-01-02T03:04:05.000006Z"}) == record


@pytest.mark.parametrize(
    "change",
    [
        {"recorded_at": None},
        {"recorded_at": "yesterday"},
        {"recorded_at": "2026-01-01T00:00:00"},
        {"record_id": None},
        {"status": "maybe"},
        {"event_type": "telepathy"},
        {"invented": 1},
        {"language": ""},
    ],
)
def test_what_is_no_record_is_refused_without_its_values(change):
    with pytest.raises(InvalidRecordError) as caught:
        ConsentRecord.from_dict({**full_record().as_dict(), "subject_id": "ada@mail.example", **change})
    assert "ada" not in str(caught.value)
    with pytest.raises(InvalidRecordError):
        ConsentRecord.from_dict([("subject_id", "user-1")])


def test_a_receipt_has_the_fields_of_the_standard_and_claims_nothing():  # rule 12.6
    record = full_record()
    receipt = record.receipt()
    assert json.loads(json.dumps(receipt)) == receipt
    assert receipt["record_id"] == record.record_id
    assert receipt["pii_principal_id"] == "user-1"
    assert (receipt["privacy_notice"], receipt["language"], receipt["purposes"]) == ("3", "de", ["analytics"])
    assert receipt["event"] == {
        "event_time": record.as_dict()["recorded_at"],
        "event_type": "explicit",
        "event_state": "consent_given",
        "entity_id": "guardian",
        "valid_until": "2031-01-02T03:04:05.000006+00:00",
    }
    assert receipt["integrity"] == {"algorithm": "SHA-256", "value": record.digest}
    bare = ConsentRecord("user-1", "analytics", DENIED).receipt()
    assert "language" not in bare
    assert bare["event"].keys() == {"event_time", "event_state"}
    assert bare["event"]["event_state"] == "consent_refused"


def test_the_digest_of_a_record_tells_every_field():
    record = full_record()
    others: dict[str, Any] = {
        "subject_id": "user-2",
        "purpose": "profiles",
        "status": DENIED,
        "recorded_at": record.recorded_at - timedelta(microseconds=1),
        "expires_at": None,
        "evidence": {},
    }
    for field in attrs.fields(ConsentRecord):
        other = (
            attrs.evolve(record, **{field.name: others.get(field.name, "other")})
            if field.name != "event_type"
            else (attrs.evolve(record, event_type="signal"))
        )
        assert other.digest != record.digest, field.name


def test_the_new_fields_are_kept(make):
    registry = make()
    registry.grant("user-1", "analytics", language="de", event_type="signal", actor="support")
    (record,) = registry.history("user-1")
    assert (record.language, record.event_type, record.actor, record.schema) == ("de", "signal", "support", "1")


# strict records


def test_strict_records_refuse_a_grant_that_nobody_can_prove(make):  # rule 12.6
    registry = make(strict_records=True)
    proof = {"policy_version": "3", "language": "de", "source": "sign-up"}
    for name in proof:
        with pytest.raises(InvalidRecordError, match=name):
            registry.grant("user-1", "analytics", **{**proof, name: None})
        with pytest.raises(InvalidRecordError, match=name):
            registry.record(ConsentRecord("user-1", "analytics", GRANTED, **{**proof, name: None}))
    with pytest.raises(InvalidRecordError, match="purposes"):
        registry.grant("user-1", **proof)
    assert registry.history("user-1") == []
    registry.grant("user-1", "analytics", **proof)
    registry.deny("user-1")
    assert registry.status("user-1", "analytics") is DENIED


def test_opting_in_to_everything_at_once_is_no_grant_under_strict_records():
    registry = MemoryRegistry(strict_records=True)
    mp = consentpanel.Mixpanel("TOKEN", FakeTransport(), registry=CachedRegistry(registry, ttl=5))
    proof = {"policy_version": "3", "language": "de", "source": "sign-up"}
    with pytest.raises(InvalidRecordError, match="purposes"):
        mp.opt_in("user-1", **proof)
    mp.opt_in("user-1", "analytics", **proof)
    assert registry.status("user-1", "analytics") is GRANTED


# the chain


def test_a_chain_that_nobody_touched_is_whole(stored):  # rule 12.6
    assert stored.verify("user-1").records == 0
    for _ in range(3):
        stored.grant("user-1")
        stored.deny("user-2", "analytics")
    stored.record(full_record())
    found = stored.verify("user-1")
    assert found
    assert (found.records, found.broken_at, found.record_id) == (10, None, None)
    assert stored.verify("user-2").records == 3
    assert CachedRegistry(stored, ttl=5).verify("user-1") == found


TAMPERING = {
    "a status is changed": ("UPDATE consent_record SET status = 'granted' WHERE written = 2", 1),
    "a time is changed": ("UPDATE consent_record SET recorded_at = recorded_at - 1 WHERE written = 2", 1),
    "an actor is added": ("UPDATE consent_record SET actor = 'support' WHERE written = 2", 1),
    "what is no status": ("UPDATE consent_record SET status = 'maybe' WHERE written = 2", 1),
    "one is removed": ("DELETE FROM consent_record WHERE written = 2", 1),
    "the first is removed": ("DELETE FROM consent_record WHERE written = 1", 0),
    "the last is removed": ("DELETE FROM consent_record WHERE written = 3", 2),
    "all are removed": ("DELETE FROM consent_record", 0),
    "two change places": (
        "UPDATE consent_record SET written = CASE written WHEN 1 THEN 102 ELSE 101 END WHERE written < 3",
        0,
    ),
    "one is added": (
        """INSERT INTO consent_record (subject_id, purpose, status, recorded_at, evidence, record_id)
        SELECT subject_id, purpose, 'granted', recorded_at, evidence, 'forged' FROM consent_record WHERE written = 3""",
        3,
    ),
    "all move to another tenant": (
        "UPDATE consent_record SET scope = 'other'; UPDATE consent_chain SET scope = 'other'",
        0,
    ),
    "a link is removed": ("UPDATE consent_record SET link = NULL WHERE written = 2", 1),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_a_chain_tells_where_it_was_broken(tmp_path, what):  # rule 12.6
    path = tmp_path / "consent.db"
    with SQLiteRegistry(path) as registry:
        registry.deny("user-1", "analytics")
        registry.deny("user-1", "profiles")
        registry.deny("user-1", "feature_flags")
    statement, place = TAMPERING[what]
    with sqlite3.connect(path) as connection:
        for trigger in ("is_append_only", "is_chained", "ends_the_chain"):
            connection.execute(f"DROP TRIGGER consent_record_{trigger}")
        connection.executescript(statement)
    connection.close()
    with SQLiteRegistry(path) as registry:
        found = (registry.scoped("other") if "tenant" in what else registry).verify("user-1")
    assert not found
    if what == "two change places":
        assert found.broken_at is not None
    else:
        assert found.broken_at == place


def test_a_person_who_was_forgotten_begins_a_new_chain(stored):
    stored.grant("user-1")
    stored.forget("user-1")
    assert stored.verify("user-1")
    stored.deny("user-1", "analytics")
    assert stored.verify("user-1").records == 1


def test_a_registry_without_a_chain_says_so():
    with pytest.raises(consentpanel.RegistryError):
        CachedRegistry(Listed(), ttl=5).verify("user-1")


# what outlives erasure


def track(registry, regime=Regime.OPT_OUT, **options):
    vendor = FakeTransport()
    mp = consentpanel.Mixpanel("TOKEN", vendor, registry=registry, regime=regime, **options)
    return mp.track("user-1", "Signed up", {})


def test_forgetting_who_has_objected_does_not_resume_tracking(make):  # rule 12.6
    policy = FieldPolicy(secret=SECRET)
    registry = make()
    if isinstance(registry, Erasing):
        # Of one's own table nobody knows whether it takes what is no id.
        registry = make(objection_key=SECRET)
    assert track(registry, policy=policy)
    registry.deny("user-1")
    assert registry.forget("user-1") == 3
    assert not track(registry, policy=policy)
    assert registry.history("user-1") == []
    assert registry.status("user-2", "analytics") is UNKNOWN
    registry.forget("user-1")
    assert registry.status("user-1", "analytics") is DENIED
    assert registry.statuses(["user-1", "user-2"], "analytics") == {"user-1": DENIED, "user-2": UNKNOWN}
    # Whoever agrees later has agreed, and is then forgotten whole.
    registry.grant("user-1")
    assert track(registry, policy=policy)
    registry.forget("user-1")
    assert registry.status("user-1", "analytics") is UNKNOWN


def test_an_objection_is_kept_by_a_registry_with_a_key_alone(make):
    registry = make(objection_key=SECRET)
    registry.grant("user-1", "analytics")
    registry.deny("user-1", "profiles")
    registry.forget("user-1")
    assert registry.status("user-1", "analytics") is UNKNOWN
    assert registry.standing("user-1", "profiles") is Standing.WITHDRAWN
    assert registry.status("user-1", "profiles", at=datetime.now(timezone.utc) - DAY) is UNKNOWN
    # The same key elsewhere, as in a script.
    if isinstance(registry, SQLiteRegistry):
        with SQLiteRegistry(registry._database.path, objection_key=SECRET) as other:
            assert other.status("user-1", "profiles") is DENIED


def test_where_silence_means_no_nothing_is_kept_of_who_is_forgotten(make):
    registry = make()
    registry.deny("user-1")
    assert not track(registry, Regime.OPT_IN, policy=FieldPolicy(secret=SECRET))
    registry.forget("user-1")
    assert registry.status("user-1", "analytics") is UNKNOWN


def test_an_objection_does_not_name_the_person(tmp_path):
    path = tmp_path / "consent.db"
    with SQLiteRegistry(path, objection_key=SECRET) as registry:
        registry.deny("user-4711", source="settings", evidence={"form": "a"})
        registry.forget("user-4711")
    content = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert b"user-4711" not in content
    assert b"settings" not in content


def test_an_opt_out_client_without_a_secret_says_that_objections_are_forgotten(tmp_path, caplog):
    consentpanel.reset()
    with SQLiteRegistry(tmp_path / "consent.db") as registry:
        assert track(registry)
        assert track(registry)
    assert sum("forgets a denial" in each.message for each in caplog.records) == 1
    caplog.clear()
    memory = MemoryRegistry()
    assert track(memory)
    memory.deny("user-1")
    memory.forget("user-1")
    assert not track(CachedRegistry(memory, ttl=5))
    assert not caplog.records


def test_an_objection_outlives_a_second_erasure(make):
    registry = make(objection_key=SECRET)
    registry.deny("user-1")
    registry.forget("user-1")
    registry.grant("user-1", "analytics")
    registry.deny("user-1", "feature_flags")
    registry.forget("user-1")
    found = [registry.status("user-1", purpose) for purpose in ("analytics", "profiles", "feature_flags")]
    assert found == [UNKNOWN, DENIED, DENIED]


def test_an_objection_answers_for_the_time_before_a_later_grant(make):  # rule 2.8
    registry = make(objection_key=SECRET)
    registry.deny("user-1", recorded_at=ago(hours=3))
    registry.forget("user-1")
    registry.grant("user-1")
    assert registry.status("user-1", "analytics", at=ago(hours=1)) is DENIED
    assert registry.status("user-1", "analytics", at=ago(hours=4)) is UNKNOWN
    assert registry.status("user-1", "analytics") is GRANTED


def test_every_registry_over_the_store_keeps_objections_once_a_client_needs_it(tmp_path):
    path, policy = tmp_path / "consent.db", FieldPolicy(secret=SECRET)
    with SQLiteRegistry(path) as first, SQLiteRegistry(path) as second:
        mp = consentpanel.Mixpanel(
            "TOKEN",
            FakeTransport(),
            registry=CachedRegistry(CachedRegistry(first.scoped("one"), ttl=5), ttl=5),
            regime=Regime.OPT_OUT,
            policy=policy,
        )
        # Before the first call, and by other objects than the client's.
        for each in (first.scoped("one"), second.scoped("one")):
            each.deny("user-1")
            each.forget("user-1")
            assert not mp.track("user-1", "Signed up")
    with SQLiteRegistry(path, objection_key=[SECRET[::-1], SECRET]) as later:
        assert later.scoped("one").status("user-1", "analytics") is DENIED
        assert later != SQLiteRegistry(path)


def test_a_denial_that_arrives_while_a_person_is_forgotten_is_not_lost(stored):
    stored._objections.add(keyed_by(SECRET))
    for number in range(40):
        who = f"user-{number}"
        stored.grant(who, "analytics")
        start = threading.Barrier(3)

        def run(act, start=start):
            start.wait(30)
            act()

        acts = [
            lambda who=who: stored.forget(who),
            lambda who=who: stored.deny(who, "analytics"),
            lambda who=who: stored.forget(who),
        ]
        threads = [threading.Thread(target=run, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stored.status(who, "analytics") is DENIED


def test_who_is_forgotten_while_somebody_reads_is_forgotten(tmp_path):
    path = tmp_path / "consent.db"
    with SQLiteRegistry(path, objection_key=SECRET, timeout=0.1) as registry:
        for _ in range(2):
            registry.deny("user-1", "analytics")
            reader = sqlite3.connect(path, isolation_level=None)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM consent_record").fetchall()
            with pytest.raises(consentpanel.RegistryError, match="erased for everybody"):
                registry.forget("user-1")
            assert registry.history("user-1") == []
            assert registry.status("user-1", "analytics") is DENIED
            reader.close()


class Unready:
    def __getattr__(self, name):
        raise RuntimeError("not there yet")


def test_a_regime_that_is_not_opt_in_asks_nothing_of_a_registry_that_is_not_there():  # rule 1.8
    found = track(Unready())
    assert found.reason.value == "registry_error"


def test_answers_of_somebody_who_was_forgotten_carry_over():  # rule 2.14
    registry = MemoryRegistry(objection_key=SECRET)
    registry.deny("visitor")
    registry.forget("visitor")
    carry_over(registry, "visitor", "account")
    assert registry.status("account", "analytics") is DENIED
    registry.deny("account-2")
    registry.forget("account-2")
    registry.grant("visitor-2")
    assert carry_over(registry, "visitor-2", "account-2") == []
    assert registry.status("account-2", "analytics") is DENIED


def test_what_is_carried_over_ends_when_it_would_have():
    registry = MemoryRegistry(max_age=10 * DAY)
    said = ago(days=9)
    registry.grant("visitor", "analytics", recorded_at=said)
    carry_over(registry, "visitor", "account")
    assert registry.ends_at("account", "analytics") == said + 10 * DAY


def test_a_strict_registry_takes_a_visitor_s_denials_though_not_each_grant(tmp_path):
    with SQLiteRegistry(tmp_path / "consent.db") as registry:
        registry.grant("visitor", "analytics")
        registry.deny("visitor", "profiles")
    with SQLiteRegistry(tmp_path / "consent.db", strict_records=True) as registry:
        assert [record.purpose for record in carry_over(registry, "visitor", "account")] == ["profiles"]


def test_who_said_no_and_was_forgotten_is_not_asked_at_once():  # rule 2.15
    registry = MemoryRegistry(objection_key=SECRET)
    registry.deny("user-1")
    registry.forget("user-1")
    assert ask_again_at(registry, "user-1", "analytics") > ago(days=-150)


# ages


def ago(**age: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**age)


def test_a_grant_without_an_end_ages_out(make):  # rule 2.15
    registry = make(max_age=DAY)
    registry.grant("old", recorded_at=ago(hours=25))
    registry.grant("new", recorded_at=ago(hours=23))
    registry.grant("ends", recorded_at=ago(hours=25), expires_at=ago(hours=-1))
    registry.deny("no", recorded_at=ago(days=900))
    assert registry.standing("old", "analytics") is Standing.EXPIRED
    assert registry.standings(["old", "new"], "analytics") == {"old": Standing.EXPIRED, "new": Standing.GRANTED}
    assert registry.status("old", "analytics", at=ago(hours=2)) is GRANTED
    assert registry.status("ends", "analytics") is GRANTED
    assert registry.status("no", "analytics") is DENIED
    (record,) = (each for each in registry.history("new") if each.purpose == "profiles")
    assert registry.ends_at("new", "profiles") == record.recorded_at + DAY
    assert registry.ends_at("no", "profiles") is None


def test_the_age_may_be_another_for_a_purpose(make):
    registry = make(
        max_age=MaxAge(grants=DAY, purposes={"profiles": MaxAge(grants=3 * DAY), "feature_flags": MaxAge()})
    )
    registry.grant("user-1", recorded_at=ago(days=2))
    found = [registry.status("user-1", purpose) for purpose in ("analytics", "profiles", "feature_flags")]
    assert found == [UNKNOWN, GRANTED, GRANTED]


def test_a_cache_never_remembers_a_grant_past_its_age():
    registry = CachedRegistry(MemoryRegistry(max_age=timedelta(milliseconds=60)), ttl=60)
    registry.grant("user-1", "analytics", recorded_at=ago(seconds=-1))
    assert registry.status("user-1", "analytics") is GRANTED
    end = registry.ends_at("user-1", "analytics")
    while datetime.now(timezone.utc) < end:
        pass
    assert registry.status("user-1", "analytics") is UNKNOWN


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ((2026, 1, 15), (2026, 7, 15)),
        ((2025, 8, 31), (2026, 3, 1)),
        ((2024, 2, 29), (2024, 8, 29)),
        ((2025, 12, 1), (2026, 6, 1)),
    ],
)
def test_after_a_refusal_nobody_is_asked_for_six_months(make, said, asked):  # rule 2.15
    registry = make()
    registry.deny("user-1", "analytics", recorded_at=datetime(*said, 12, tzinfo=timezone.utc))
    assert ask_again_at(registry, "user-1", "analytics") == datetime(*asked, 12, tzinfo=timezone.utc)


def test_when_a_person_may_be_asked_again(make):
    registry = make(max_age=MaxAge(grants=10 * DAY, refusals=DAY, purposes={"targeting": MaxAge(refusals=2 * DAY)}))
    cached = CachedRegistry(registry, ttl=5)
    said = ago(days=3)
    registry.deny("no", "analytics", "targeting", recorded_at=said)
    registry.grant("yes", "analytics", recorded_at=said)
    registry.grant("old", "analytics", recorded_at=ago(days=11))
    assert ask_again_at(cached, "no", "analytics") == said + DAY
    assert ask_again_at(cached, "no", "targeting") == said + 2 * DAY
    assert ask_again_at(cached, "yes", "analytics") == said + 10 * DAY
    before = datetime.now(timezone.utc)
    for whom in ("nobody", "old"):
        found = ask_again_at(registry, whom, "analytics")
        assert before <= found <= datetime.now(timezone.utc)
    endless = make()
    endless.grant("yes", "analytics", recorded_at=said)
    assert ask_again_at(endless, "yes", "analytics") is None


@pytest.mark.parametrize(
    "options",
    [
        {"max_age": 30},
        {"strict_records": "yes"},
        {"objection_key": b"short"},
        {"objection_key": "0123456789abcdef0123456789abcdef"},
        {"required_policy_version": 3},
    ],
)
def test_an_option_that_cannot_work_is_refused(make, options):
    with pytest.raises(ConfigurationError, match=next(iter(options)).replace("objection_key", "secret")):
        make(**options)


@pytest.mark.parametrize(
    "wrong", [{"grants": 3}, {"refusals": timedelta(0)}, {"purposes": {"a": 3}}, {"purposes": {"": MaxAge()}}]
)
def test_an_age_that_is_none_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="max_age"):
        MaxAge(**wrong)


def test_a_cache_over_answers_of_one_s_own_knows_the_age_of_a_grant():  # rule 2.12
    class Own(Erasing):
        def standing(self, subject_id, purpose, *, at=None):
            return super().standing(subject_id, purpose, at=at)

    registry = Own(max_age=10 * DAY)
    said = ago(days=1)
    registry.grant("user-1", "analytics", recorded_at=said)
    assert CachedRegistry(registry, ttl=60).ends_at("user-1", "analytics") == said + 10 * DAY


# tenants


def test_the_ids_of_two_tenants_never_meet(stored):  # rule 9.5
    one, other = stored.scoped("one"), stored.scoped("other")
    one.grant("user-1")
    other.deny("user-1")
    assert one.status("user-1", "analytics") is GRANTED
    assert other.statuses(["user-1"], "analytics") == {"user-1": DENIED}
    assert stored.status("user-1", "analytics") is UNKNOWN
    assert (len(one.history("user-1")), stored.history("user-1")) == (3, [])
    assert one.verify("user-1")
    assert other.forget("user-1") == 3
    with pytest.raises(ConfigurationError, match="tenant's already"):
        one.scoped("other")
    assert stored.scoped("one").verify("user-1").records == 3
    cached = CachedRegistry(stored, ttl=60).scoped("one")
    assert cached.status("user-1", "analytics") is GRANTED
    one.deny("user-1")
    assert cached.status("user-1", "analytics") is DENIED
    assert carry_over(other, "user-1", "user-2") == []


@pytest.mark.parametrize("name", ["", " a", "a" * 65, None, "a\nb"])
def test_the_name_of_a_tenant_is_a_name(stored, name):
    with pytest.raises(ConfigurationError, match="tenant"):
        stored.scoped(name)


def test_the_salts_of_two_tenants_never_meet(tmp_path):
    with SQLiteRegistry(tmp_path / "consent.db") as registry:
        one, other = registry.scoped("one").salts, registry.scoped("other").salts
        one["user-1"] = "a"
        assert other.setdefault("user-1", "b") == "b"
        assert (one["user-1"], list(one), len(other), "user-1" in registry.salts) == ("a", ["user-1"], 1, False)
        del one["user-1"]
        assert other["user-1"] == "b"


# registries of one's own


def test_a_registry_of_two_methods_does_not_forget_and_says_so():  # rule 9.6
    registry = Listed()
    registry.grant("user-1")
    with pytest.raises(consentpanel.RegistryError, match="does not forget"):
        registry.forget("user-1")
    assert registry.status("user-1", "analytics") is GRANTED


def test_a_registry_that_forgot_to_call_its_base_works_all_the_same():
    class Own(Listed):
        def __init__(self):
            self.rows = []

    registry = Own()
    registry.grant("user-1")
    assert registry.status("user-1", "analytics") is GRANTED


def test_evidence_that_somebody_changes_is_not_the_record_s():
    registry = MemoryRegistry()
    given = ConsentRecord("user-1", "analytics", GRANTED, evidence={"form": ["a"]})
    registry.record(given)
    given.evidence["form"] = object()
    registry.history("user-1")[0].evidence["form"].append("b")
    assert registry.history("user-1")[0].evidence == {"form": ["a"]}
    assert registry.verify("user-1")


def test_a_signal_handler_lengthens_the_chain_and_does_not_break_it(stored):  # rule 8.5
    stored.grant("user-1")
    asked = []

    def deny(*_: object) -> None:
        asked.append(stored.deny("user-1", "targeting"))
        # One after the other, also where a write takes longer than the pause.
        signal.setitimer(signal.ITIMER_REAL, 0.0011)

    before = signal.signal(signal.SIGALRM, deny)
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    try:
        for _ in range(300):
            stored.grant("user-1", "analytics")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert asked
    assert stored.verify("user-1")
    assert stored.verify("user-1").records == 303 + len(asked)


@pytest.mark.parametrize("wrong", [{"schema": None}, {"evidence": {"a": eval("[" * 70 + "]" * 70)}}])
def test_what_no_store_could_keep_is_refused(wrong):
    with pytest.raises(InvalidRecordError):
        full_record(**wrong)


def test_a_rule_for_records_takes_an_age_as_registries_do():
    old = full_record(recorded_at=ago(days=3), expires_at=None)
    assert standing_of([old], max_age=DAY) is Standing.EXPIRED


# a file of before


BEFORE = """
CREATE TABLE consent_record (
    written INTEGER PRIMARY KEY AUTOINCREMENT, subject_id TEXT NOT NULL, purpose TEXT NOT NULL, status TEXT NOT NULL,
    recorded_at INTEGER NOT NULL, expires_at INTEGER, policy_version TEXT, source TEXT, jurisdiction TEXT,
    evidence TEXT NOT NULL, record_id TEXT NOT NULL
);
CREATE INDEX consent_record_deciding ON consent_record
    (subject_id, purpose, recorded_at, written, status, expires_at, policy_version);
CREATE TRIGGER consent_record_is_append_only BEFORE UPDATE ON consent_record
    BEGIN SELECT RAISE(ABORT, 'consent records are appended, never changed'); END;
CREATE TABLE subject_salt (subject_id TEXT PRIMARY KEY, salt TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO consent_record VALUES
    (1, 'user-1', 'analytics', 'granted', 1767225600000001, NULL, '3', 'sign-up', 'DE', '{"form": "v3"}', 'receipt-1'),
    (2, 'user-2', 'analytics', 'denied', 1767225600000002, NULL, NULL, NULL, NULL, '{}', 'receipt-2'),
    (3, 'user-1', 'profiles', 'denied', 1767225600000003, 1798761600000000, NULL, 'gpc', NULL, '{}', 'receipt-3');
INSERT INTO subject_salt VALUES ('user-1', 'salt');
PRAGMA application_id = 1129206608;
PRAGMA user_version = 2;
"""


ODD = {
    "status": "'maybe ada@mail.example'",
    "evidence": "'ada@mail.example {'",
    "recorded_at": "9223372036854775807",
    "purpose": "' ada '",
    "source": "''",
    "policy_version": "CAST(x'ff6164' AS TEXT)",
    "subject_id": "CAST(x'ff6164' AS TEXT)",
}


@pytest.mark.parametrize("column", ODD)
def test_an_odd_row_of_before_keeps_nobody_else_from_an_answer(tmp_path, column, caplog):
    path = tmp_path / "consent.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(BEFORE)
        connection.execute("DROP TRIGGER consent_record_is_append_only")
        connection.execute(f"UPDATE consent_record SET {column} = {ODD[column]} WHERE written = 2")
    connection.close()
    with SQLiteRegistry(path) as registry:
        assert registry.status("user-1", "analytics") is GRANTED
        assert registry.verify("user-1")
        if column not in {"subject_id", "policy_version"}:
            assert not registry.verify("user-2")
    assert "ada" not in caplog.text


def test_a_process_of_before_cannot_write_what_is_not_chained(tmp_path):
    path = tmp_path / "consent.db"
    with SQLiteRegistry(path) as registry:
        registry.grant("user-1")
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="newer version"):
        connection.execute(
            "INSERT INTO consent_record (subject_id, purpose, status, recorded_at, evidence, record_id)"
            " VALUES ('user-1', 'analytics', 'denied', 1, '{}', 'old')"
        )
    connection.close()


def test_a_file_of_before_is_migrated(tmp_path: Path):  # rule 12.6
    path = tmp_path / "consent.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(BEFORE)
    connection.close()
    with SQLiteRegistry(path) as registry:
        first, second = registry.history("user-1")
        assert first == ConsentRecord(
            "user-1",
            "analytics",
            GRANTED,
            datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=timezone.utc),
            policy_version="3",
            source="sign-up",
            jurisdiction="DE",
            evidence={"form": "v3"},
            record_id="receipt-1",
        )
        assert (second.record_id, second.language) == ("receipt-3", None)
        assert registry.status("user-2", "analytics") is DENIED
        assert registry.verify("user-1").records == 2
        assert registry.salts["user-1"] == "salt"
        registry.grant("user-1", "profiles")
        assert registry.verify("user-1")
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="never changed"):
        connection.execute("UPDATE consent_record SET status = 'granted'")
    connection.close()
