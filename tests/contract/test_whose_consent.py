"""Whose consent is asked for, at which moment, and what needs none (contract rules 2.5 to 2.11)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest

from consentpanel import (
    BufferedConsumer,
    ConfigurationError,
    ConsentStatus,
    FieldPolicy,
    Mixpanel,
    Reason,
    Regime,
    drop,
    keep,
    pseudonymous,
)
from consentpanel._consent.standing import Standing
from consentpanel._mixpanel.names import FLAG_IDS
from consentpanel.registry import ConsentRegistry, MemoryRegistry
from consentpanel.testing import FakeTransport


class Field(str, Enum):
    PLAN = "plan"


NOW = datetime.now(timezone.utc)
PAST = NOW - timedelta(days=400)


def test_nothing_is_sent_without_a_recorded_grant(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rule 2.5
    decision = mp.track("user-1", "Signed up", {"plan": "pro"})
    assert not decision
    assert decision.reason is Reason.NO_CONSENT
    assert decision.status is ConsentStatus.UNKNOWN
    vendor.assert_nothing_sent()


def test_opt_out_sends_unless_denied(
    client: Callable[..., Mixpanel], registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    # rule 2.5
    mp = client(regime=Regime.OPT_OUT)
    registry.deny("user-2")
    assert mp.track("user-1", "Signed up").reason is Reason.NOT_DENIED
    assert mp.track("user-2", "Signed up").reason is Reason.WITHDRAWN
    assert [message.distinct_id for message in vendor.events] == ["user-1"]


def test_a_regime_may_be_asked_for_each_person(client: Callable[..., Mixpanel], vendor: FakeTransport) -> None:
    # rule 2.5
    mp = client(regime=lambda subject: Regime.OPT_OUT if subject == "us" else Regime.OPT_IN)
    assert mp.track("us", "Signed up")
    assert not mp.track("de", "Signed up")
    assert not mp.alias("de", "us")
    assert len(vendor.messages) == 1


@pytest.mark.parametrize("regime", [lambda subject: 1 / 0, lambda subject: "opt_out", lambda subject: None])
def test_a_regime_that_cannot_be_told_is_opt_in(client: Callable[..., Mixpanel], regime: Any) -> None:
    # rule 2.5
    assert client(regime=regime).track("user-1", "Signed up").reason is Reason.NO_CONSENT


class Failing(MemoryRegistry):
    """Answers with whatever it is given, or raises it."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def standing(self, *_: Any, **__: Any) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def standings(self, subject_ids: Any, *_: Any, **__: Any) -> Any:
        return {subject: self.standing() for subject in subject_ids}


class Bare:
    """A registry of somebody's own, with the five methods alone."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def status(self, subject_id: str, purpose: str, *, at: Any = None) -> Any:
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def statuses(self, subject_ids: Any, purpose: str, *, at: Any = None) -> Any:
        return {subject: self.status(subject, purpose) for subject in subject_ids}

    def record(self, record: Any) -> None: ...
    def history(self, subject_id: str) -> list[Any]:
        return []

    def forget(self, subject_id: str) -> None: ...


WRONG = [RuntimeError("user-1"), TimeoutError(), "granted", True, None, 1, {}, object()]


@pytest.mark.parametrize("kind", [Failing, Bare])
@pytest.mark.parametrize("answer", WRONG, ids=lambda answer: type(answer).__name__)
@pytest.mark.parametrize("regime", Regime)
def test_a_registry_that_fails_means_denied(
    client: Callable[..., Mixpanel], vendor: FakeTransport, kind: Any, answer: Any, regime: Regime
) -> None:
    # rule 2.6
    mp = client(registry=kind(answer), regime=regime)
    for decision in [
        mp.track("user-1", "Signed up"),
        mp.track("user-1", "Signed up", {"$device_id": "d"}),
        mp.alias("user-2", "user-1"),
        mp.people_set("user-1", {"plan": "pro"}),
    ]:
        assert decision.reason is Reason.REGISTRY_ERROR
        assert decision.status is ConsentStatus.DENIED
    vendor.assert_nothing_sent()


def test_a_registry_that_leaves_somebody_out_means_denied(client: Callable[..., Mixpanel]) -> None:
    # rule 2.6
    class Forgetful(Bare):
        def statuses(self, subject_ids: Any, purpose: str, *, at: Any = None) -> Any:
            return {"user-1": ConsentStatus.GRANTED}

    mp = client(registry=Forgetful(ConsentStatus.GRANTED))
    assert mp.alias("user-2", "user-1").reason is Reason.REGISTRY_ERROR


def test_a_registry_of_five_methods_is_enough(client: Callable[..., Mixpanel], vendor: FakeTransport) -> None:
    # rule 2.3
    assert client(registry=Bare(ConsentStatus.GRANTED)).track("user-1", "Signed up")
    vendor.assert_tracked("Signed up", distinct_id="user-1")


OTHERS = ["distinct_id", "$distinct_id", "$user_id", "alias", "$identified_id"]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("place", ["properties", "meta", "meta properties"])
def test_everybody_whom_an_event_names_must_allow_it(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, name: str, place: str
) -> None:
    # rule 2.7
    registry.grant("user-1")
    properties = {name: "user-2"} if place == "properties" else {}
    replacing = {"token": "TOKEN", "distinct_id": "user-1", name: "user-2"}
    meta = {"meta": {name: "user-2"}, "meta properties": {"properties": replacing}}
    assert mp.track("user-1", "Shared", properties, meta.get(place)).reason is Reason.NO_CONSENT
    vendor.assert_nothing_sent()
    registry.grant("user-2")
    assert mp.track("user-1", "Shared", properties, meta.get(place))


def test_somebody_whom_meta_replaces_is_asked_all_the_same(mp: Mixpanel, registry: MemoryRegistry) -> None:
    # rule 2.7
    registry.grant("user-1")
    decision = mp.track("user-1", "Shared", {"$user_id": "user-2"}, {"properties": {"distinct_id": "user-1"}})
    assert decision.reason is Reason.NO_CONSENT
    assert not mp.track("user-2", "Shared", {"distinct_id": "user-1"})


@pytest.mark.parametrize("denied", ["user-1", "user-2"])
def test_both_ids_of_an_alias_and_of_a_merge_must_allow_it(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, denied: str
) -> None:
    # rule 2.7
    registry.grant("user-1")
    registry.grant("user-2")
    assert mp.alias("user-2", "user-1")
    assert mp.merge(None, "user-1", "user-2")
    vendor.clear()
    registry.deny(denied)
    assert mp.alias("user-2", "user-1").reason is Reason.WITHDRAWN
    assert mp.merge(None, "user-1", "user-2").reason is Reason.WITHDRAWN
    vendor.assert_nothing_sent()


@pytest.mark.parametrize("name", ["$device_id", "$anon_id"])
def test_a_device_is_another_id_of_the_same_person(mp: Mixpanel, registry: MemoryRegistry, name: str) -> None:
    # rule 2.7
    registry.grant("user-1")
    assert mp.track("user-1", "Opened", {name: "device-1"})
    registry.deny("device-1")
    assert mp.track("user-1", "Opened", {name: "device-1"}).reason is Reason.WITHDRAWN


@pytest.mark.parametrize("place", ["$set", "meta", "top"])
def test_everybody_whom_a_profile_update_names_must_allow_it(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, place: str
) -> None:
    # rule 2.7
    registry.grant("user-1")
    update: dict[str, Any] = {"$distinct_id": "user-1", "$set": {"plan": "pro"}}
    if place == "$set":
        update["$set"]["$user_id"] = "user-2"
    if place == "top":
        update["$user_id"] = "user-2"
    meta = {"$user_id": "user-2"} if place == "meta" else None
    assert mp.people_update(update, meta).reason is Reason.NO_CONSENT
    assert mp.people_update(update, {"$distinct_id": "user-1"} if meta is None else meta).reason is Reason.NO_CONSENT
    vendor.assert_nothing_sent()


def test_an_id_that_meta_replaces_in_a_profile_update_is_asked_all_the_same(
    mp: Mixpanel, registry: MemoryRegistry
) -> None:
    # rule 2.7
    registry.grant("user-1")
    assert not mp.people_set("user-2", {"plan": "pro"}, {"$distinct_id": "user-1"})


class Key(str, Enum):
    OTHER = "$user_id"


def test_an_enum_as_a_key_hides_nobody(mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport) -> None:
    # rules 2.7 and 3.6
    registry.grant("user-1")
    assert mp.track("user-1", "Shared", {Key.OTHER: "user-2"}).reason is Reason.NO_CONSENT
    vendor.assert_nothing_sent()


class Id(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "somebody else"


@pytest.mark.parametrize(
    ("given", "key", "sent"),
    [
        ("user-1", "user-1", "user-1"),
        (42, "42", 42),
        (uuid.UUID(int=7), str(uuid.UUID(int=7)), str(uuid.UUID(int=7))),
        (Id("user-1"), "user-1", "user-1"),
        ("x" * 255, "x" * 255, "x" * 255),
    ],
    ids=["str", "int", "uuid", "str subclass", "longest"],
)
def test_consent_is_looked_up_by_the_string_of_an_id(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, given: Any, key: str, sent: Any
) -> None:
    # rule 2.7
    assert not mp.track(given, "Signed up")
    registry.grant(key)
    assert mp.track(given, "Signed up")
    assert mp.people_set(given, {"plan": "pro"})
    assert mp.import_data(None, given, "Signed up", NOW.timestamp() + 86_400)
    assert [message.distinct_id for message in vendor.messages] == [sent] * 3
    assert json.loads(vendor.messages[0].raw)["properties"]["distinct_id"] == sent


INVALID = [None, "", "  ", True, False, 1.5, b"user-1", [], ["user-1"], {}, object(), "x" * 256, 10**400]


@pytest.mark.parametrize("subject", INVALID, ids=lambda subject: f"{type(subject).__name__}-{str(subject)[:6]}")
@pytest.mark.parametrize("on_error", ["drop"])
def test_what_is_no_id_is_dropped(
    client: Callable[..., Mixpanel], vendor: FakeTransport, subject: Any, on_error: Any
) -> None:
    # rule 2.7
    mp = client(registry=lambda subject_id, purpose: True, on_error=on_error)
    decisions = [
        mp.track(subject, "Signed up"),
        mp.track("user-1", "Signed up", {"$user_id": subject}),
        mp.track("user-1", "Signed up", {"$device_id": subject}),
        mp.track("user-1", "Signed up", {"$distinct_ids": subject}),
        mp.import_data(None, subject, "Signed up", 1),
        mp.alias(subject, "user-1"),
        mp.merge(None, "user-1", subject),
        mp.people_set(subject, {"plan": "pro"}),
        mp.people_unset(subject, ["plan"]),
        mp.people_delete(subject),
    ]
    reasons = [decision.reason for decision in decisions]
    assert reasons[:3] + reasons[4:] == [Reason.INVALID_ID] * 9
    if subject not in ([], ["user-1"]):
        assert reasons[3] is Reason.INVALID_ID
    vendor.assert_nothing_sent("user-2")
    assert not vendor.people


def test_a_message_that_names_nobody_is_dropped(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rule 2.7
    assert mp.track("user-1", "Signed up", None, {"properties": {"plan": "pro"}}).reason is Reason.NO_CONSENT
    assert mp.people_update({"$set": {"plan": "pro"}}).reason is Reason.INVALID_ID
    by_hand = mp._consumer.send("events", '{"event": "Signed up", "properties": {"token": "T"}}')
    assert by_hand.reason is Reason.INVALID_ID
    vendor.assert_nothing_sent()


@pytest.mark.parametrize("call", ["import_data", "track", "track $time", "milliseconds"])
def test_an_event_of_the_past_needs_consent_then_and_now(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, call: str
) -> None:
    # rule 2.8
    then = PAST.timestamp()

    def say() -> Any:
        if call == "import_data":
            return mp.import_data("key", "user-1", "Signed up", then)
        name = "$time" if call == "track $time" else "time"
        moment = {"milliseconds": int(then * 1000)}.get(call, then)
        return mp.track("user-1", "Signed up", {name: moment})

    registry.grant("user-1", recorded_at=NOW - timedelta(days=1))
    assert say().reason is Reason.NO_CONSENT_THEN
    registry.grant("user-1", recorded_at=PAST - timedelta(days=1))
    assert say().reason is Reason.CONSENT_GRANTED
    registry.deny("user-1", recorded_at=PAST - timedelta(hours=1))
    assert say().reason is Reason.NO_CONSENT_THEN
    registry.grant("user-1", recorded_at=PAST - timedelta(minutes=1))
    registry.deny("user-1")
    assert say().reason is Reason.WITHDRAWN
    assert len(vendor.messages) == 1


def test_a_time_to_come_counts_as_now(mp: Mixpanel, registry: MemoryRegistry) -> None:
    # rules 2.4 and 2.8
    registry.grant("user-1")
    assert mp.track("user-1", "Signed up", {"time": NOW.timestamp() + 3600})


@pytest.mark.parametrize("time", ["yesterday", "", None, float("nan"), float("inf"), True, [], {}, 10**30, object()])
def test_a_time_that_cannot_be_read_drops_the_event(mp: Mixpanel, registry: MemoryRegistry, time: Any) -> None:
    # rule 2.8
    registry.grant("user-1", recorded_at=PAST)
    assert mp.track("user-1", "Signed up", {"time": time}).reason is Reason.INVALID_TIME
    assert mp.import_data(None, "user-1", "Signed up", time).reason is Reason.INVALID_TIME


@pytest.mark.parametrize("moment", [PAST, "2026-01-31", "1700000000", True, None])
@pytest.mark.parametrize("name", ["time", "$time"])
def test_a_time_that_is_no_number_drops_the_message(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, name: str, moment: Any
) -> None:
    # rule 2.8
    registry.grant("user-1", recorded_at=PAST)
    assert mp.track("user-1", "Signed up", {name: moment}).reason is Reason.INVALID_TIME
    assert mp.import_data(None, "user-1", "Signed up", moment).reason is Reason.INVALID_TIME
    vendor.assert_nothing_sent()


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_time_within_the_last_minute_counts_as_now(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, unit: int
) -> None:
    # rule 2.8: whole seconds precede the grant of the same second
    registry.grant("user-1")
    present = datetime.now(timezone.utc).timestamp()
    assert mp.track("user-1", "Signed up", {"time": int(present * unit)})
    assert mp.track("user-1", "Signed up", {"time": int((present - 50) * unit)})
    assert mp.track("user-1", "Signed up", {"time": (present - 61) * unit}).reason is Reason.NO_CONSENT_THEN


def test_false_of_a_function_blocks_a_person_and_not_a_device(client: Callable[..., Mixpanel]) -> None:
    # rules 2.3 and 2.7: a look-up that knows no device says False; only a recorded denial blocks one
    told: dict[str, Any] = {"user-1": True, "denied-device": ConsentStatus.DENIED}
    mp = client(registry=lambda subject_id, purpose: told.get(subject_id, False))
    assert mp.track("user-1", "Signed up", {"$device_id": "unknown-device"})
    assert mp.track("user-1", "Signed up", {"$device_id": "denied-device"}).reason is Reason.WITHDRAWN
    assert mp.track("user-2", "Signed up").reason is Reason.WITHDRAWN


def test_sending_needs_of_a_registry_only_its_status(client: Callable[..., Mixpanel]) -> None:
    # rule 2.3
    class OnlyStatus:
        def status(self, subject_id: str, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
            return ConsentStatus.GRANTED if subject_id == "user-1" else ConsentStatus.UNKNOWN

    mp = client(registry=OnlyStatus())
    assert mp.track("user-1", "Signed up")
    assert mp.track("user-1", "Signed up", {"$device_id": "device-1", "$anon_id": "device-2"})
    assert mp.merge(None, "user-1", "user-2").reason is Reason.NO_CONSENT


def test_a_class_that_inherits_the_protocol_loops_and_never_pretends_to_record(client: Callable[..., Mixpanel]) -> None:
    # rule 2.3
    class Mine(ConsentRegistry):
        def status(self, subject_id: str, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
            return ConsentStatus.GRANTED if subject_id == "user-1" else ConsentStatus.UNKNOWN

    registry = Mine()
    asked = ["user-1", "user-2"]
    assert registry.statuses(asked, "analytics") == {"user-1": ConsentStatus.GRANTED, "user-2": ConsentStatus.UNKNOWN}
    mp = client(registry=registry)
    assert mp.track("user-1", "Signed up", {"$device_id": "device-1"})
    with pytest.raises(NotImplementedError):
        mp.withdraw("user-1")


def test_a_kind_of_registry_failure_is_logged_once_a_minute(
    client: Callable[..., Mixpanel], caplog: pytest.LogCaptureFixture
) -> None:
    # rule 2.6
    failures = [OSError("user-1"), OSError("user-1"), TimeoutError("user-1"), OSError("user-1")]

    def fail(subject_id: str, purpose: str) -> bool:
        raise failures.pop()

    mp = client(registry=fail)
    for _ in range(4):
        assert mp.track("user-1", "Signed up").reason is Reason.REGISTRY_ERROR
    said = [record.getMessage() for record in caplog.records if "registry failed" in record.getMessage()]
    assert [text.partition(" at ")[0] for text in said] == ["registry failed: OSError", "registry failed: TimeoutError"]
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 2


REMOVALS: list[tuple[str, Callable[[Mixpanel], Any], dict[str, Any]]] = [
    ("people_unset", lambda mp: mp.people_unset("nobody", ["plan"]), {"$unset": ["plan"]}),
    ("people_delete", lambda mp: mp.people_delete("nobody"), {"$delete": ""}),
    ("people_clear_charges", lambda mp: mp.people_clear_charges("nobody"), {"$unset": ["$transactions"]}),
    ("delete ignoring alias", lambda mp: mp.people_delete("nobody", {"$ignore_alias": True}), {"$delete": ""}),
    ("group_unset", lambda mp: mp.group_unset("company", "acme", ["plan"]), {"$unset": ["plan"]}),
    ("group_delete", lambda mp: mp.group_delete("company", "acme"), {"$delete": ""}),
]


@pytest.mark.parametrize(("name", "call", "operators"), REMOVALS, ids=[case[0] for case in REMOVALS])
@pytest.mark.parametrize("registry_kind", ["denied", "failing", "none"])
def test_what_only_takes_away_passes_without_consent(
    client: Callable[..., Mixpanel],
    registry: MemoryRegistry,
    vendor: FakeTransport,
    name: str,
    call: Callable[[Mixpanel], Any],
    operators: dict[str, Any],
    registry_kind: str,
) -> None:
    # rule 2.9
    registry.deny("nobody")
    mp = client(registry={"denied": registry, "failing": Failing(RuntimeError()), "none": None}[registry_kind])
    decision = call(mp)
    assert decision.outcome == "sent"
    assert decision.reason is Reason.REMOVAL
    assert vendor.messages[0].properties == operators


def test_what_a_removal_could_not_take_over_is_told(mp: Mixpanel) -> None:
    # rules 2.9 and 4.1
    update = {"$distinct_id": "nobody", "$unset": ["plan"], "$set": {("a", "b"): 1}}
    decision = mp.people_update(update)
    assert sorted(decision.dropped.values()) == ["key_not_text", "no_consent"]


def test_what_needs_no_consent_asks_nobody(client: Callable[..., Mixpanel]) -> None:
    # rules 2.8 and 2.9
    asked: list[str] = []
    mp = client(registry=lambda subject_id, purpose: asked.append(subject_id))
    mp.people_unset("user-1", ["plan"])
    mp.people_delete("user-1")
    mp.group_set("company", "acme", {"industry": "tea"})
    mp.track("user-1", "Paid", {"time": "yesterday, perhaps"})
    mp.track("user-1", "")
    mp.alias("user-1", None)
    assert asked == []


def test_a_mixed_update_without_consent_keeps_its_removing_part(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rule 2.9
    update = {"$distinct_id": "nobody", "$set": {"plan": "pro"}, "$unset": ["email"], "$ip": "192.0.2.1"}
    decision = mp.people_update(update, {"$append": {"tags": "x"}, "$ignore_time": True})
    assert decision.outcome == "redacted"
    assert decision.reason is Reason.REMOVAL
    assert dict(decision.dropped) == {"$set": "no_consent", "$ip": "no_consent", "$append": "no_consent"}
    message = vendor.people[0]
    assert message.properties == {"$unset": ["email"]}
    assert set(message.payload) == {"$token", "$time", "$distinct_id", "$unset", "$ignore_time"}
    assert update["$set"] == {"plan": "pro"}  # rule 1.5


def test_a_mixed_update_with_consent_passes_whole(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    # rule 2.9
    registry.grant("user-1")
    decision = mp.people_update({"$distinct_id": "user-1", "$set": {"plan": "pro"}, "$unset": ["email"]})
    assert decision.outcome == "sent"
    assert vendor.people[0].properties == {"$set": {"plan": "pro"}, "$unset": ["email"]}


@pytest.mark.parametrize(
    ("unset", "kept"),
    [
        (["a", 1, {"x": "secret"}], ["a"]),
        ("a", ["a"]),
        (lambda: (name for name in ("a", "b")), ["a", "b"]),
        ({"a": "secret", "b": "secret"}.keys(), ["a", "b"]),
        ([Field.PLAN], ["plan"]),
        (Field.PLAN, ["plan"]),
        ([b"plan"], ["plan"]),
        ([], []),
    ],
)
def test_nothing_but_names_leaves_by_unset(mp: Mixpanel, vendor: FakeTransport, unset: Any, kept: list[str]) -> None:
    # rules 2.9 and 3.6
    decision = mp.people_unset("nobody", unset() if callable(unset) else unset)
    mp.people_update({"$distinct_id": "nobody", "$delete": {"email": "secret"}})
    assert vendor.people[-1].properties == {"$delete": ""}
    if kept or unset == []:
        assert vendor.people[0].properties == {"$unset": kept}
        assert decision
    else:
        assert decision.reason == "nothing_left"
        assert len(vendor.people) == 1


@pytest.mark.parametrize("unset", [{"a": "secret"}, None, 7, [7], [None], lambda: iter([7])])
def test_an_unset_without_a_name_removes_nothing_and_says_so(mp: Mixpanel, vendor: FakeTransport, unset: Any) -> None:
    # rule 2.9
    decision = mp.people_unset("nobody", unset() if callable(unset) else unset)
    assert (decision.reason, dict(decision.dropped)) == ("nothing_left", {"$unset": "not_a_name"})
    assert not vendor.people


def test_a_removal_is_told_at_its_own_time_alone(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rule 2.9: a number of the caller's could say something
    decision = mp.people_unset("nobody", ["plan"], meta={"$time": 1_234_567_890})
    assert decision.changed == {"$time": "default"}
    assert "1234567890" not in vendor.people[0].raw
    assert "$time" in vendor.people[0].raw


@pytest.mark.parametrize("name", ["$time", "$ignore_time", "$ignore_alias"])
def test_a_structural_name_carries_no_value_beside_a_removal(mp: Mixpanel, vendor: FakeTransport, name: str) -> None:
    # rules 2.9 and 4.2
    mp.people_unset("nobody", ["plan"], {name: {"secret": "secret"}})
    assert "secret" not in vendor.people[0].raw


def test_a_group_needs_no_consent_but_a_rule(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rule 2.10
    decision = mp.group_set("company", "acme", {"industry": "mining", "boss": "Ada"})
    assert decision.reason is Reason.NO_PERSON_NAMED
    assert dict(decision.dropped) == {"boss": "unnamed"}
    assert vendor.groups[0].properties == {"$set": {"industry": "mining"}}


@pytest.mark.parametrize("name", [*sorted(FLAG_IDS), "$Device_ID"])
@pytest.mark.parametrize("policy", [FieldPolicy(groups={"industry": keep(deep=True)}), FieldPolicy.keep_all()])
def test_ids_of_persons_and_devices_have_no_place_in_a_group(
    client: Callable[..., Mixpanel], vendor: FakeTransport, policy: FieldPolicy, name: str
) -> None:
    # rule 2.10
    mp = client(policy=policy)
    first = mp.group_set("company", "acme", {"industry": "x", name: "user-1"})
    second = mp.group_set("company", "acme", {"industry": "x"}, {name: "user-1"})
    assert first.dropped == second.dropped == {name: "id"}
    assert [each.properties for each in vendor.groups] == [{"$set": {"industry": "x"}}] * 2
    assert "user-1" not in "".join(each.raw for each in vendor.messages)


def test_a_rule_for_the_id_of_a_person_in_a_group_can_never_apply() -> None:
    # rules 2.10 and 3.3
    for path in ("$user_id", "owner.distinct_id", "members[].$device_id"):
        with pytest.raises(ConfigurationError, match="a group is no person"):
            FieldPolicy(groups={path: keep()})
    assert FieldPolicy(groups={"owner.distinct_id": drop()})


def test_a_group_whose_properties_are_all_dropped_is_not_sent(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rules 2.10 and 3.1
    assert mp.group_set("company", "acme", {"boss": "Ada"}).reason is Reason.NOTHING_LEFT
    vendor.assert_nothing_sent()


@pytest.mark.parametrize("express", [True, False])
def test_withdrawn_subject_is_not_sent_from_a_buffer(
    client: Callable[..., Mixpanel],
    registry: MemoryRegistry,
    vendor: FakeTransport,
    policy: FieldPolicy,
    express: bool,
) -> None:
    # rule 2.11
    told: list[Any] = []
    buffer = BufferedConsumer(consumer=vendor)
    mp = Mixpanel("TOKEN", buffer, registry=registry, policy=policy, observers=[told.append])
    extra = {} if express else {"note": "makes it unusual"}
    registry.grant("user-1")
    registry.grant("user-2")
    for subject in ("user-1", "user-2"):
        assert mp.track(subject, "Signed up", {"plan": "pro", **extra})
        assert mp.people_set(subject, {"plan": "pro", **extra})
    registry.deny("user-1")
    buffer.flush()
    assert {message.distinct_id for message in vendor.messages} == {"user-2"}
    assert len(vendor.messages) == 2
    assert mp.stats()["dropped"]["withdrawn"] == 2
    assert [decision.reason for decision in told[-2:]] == [Reason.WITHDRAWN] * 2


@pytest.mark.parametrize("policy", [FieldPolicy(), FieldPolicy.keep_all()], ids=["rules", "keep_all"])
def test_a_removal_leaves_a_buffer_whatever_happens(
    registry: MemoryRegistry, vendor: FakeTransport, policy: FieldPolicy
) -> None:
    # rules 2.9 and 2.11
    buffer = BufferedConsumer(consumer=vendor)
    mp = Mixpanel("TOKEN", buffer, registry=registry, policy=policy)
    registry.grant("user-1")
    mp.people_delete("user-1")
    registry.deny("user-1")
    buffer.flush()
    assert len(vendor.people) == 1


def test_a_device_that_has_withdrawn_is_not_sent_from_a_buffer(registry: MemoryRegistry, vendor: FakeTransport) -> None:
    # rules 2.7 and 2.11
    buffer = BufferedConsumer(consumer=vendor)
    mp = Mixpanel("TOKEN", buffer, registry=registry, policy=FieldPolicy(events={"plan": keep()}))
    registry.grant("user-1")
    assert mp.track("user-1", "Opened", {"$device_id": "device-1"})
    registry.deny("device-1")
    buffer.flush()
    vendor.assert_nothing_sent()


@pytest.mark.parametrize("answer", [Standing.UNAVAILABLE, RuntimeError("user-1"), None])
def test_a_registry_that_fails_at_flush_lets_nothing_leave_and_loses_nothing(
    registry: MemoryRegistry, vendor: FakeTransport, answer: Any
) -> None:
    # rules 2.6, 2.11 and 8.4
    moody = Failing(Standing.GRANTED)
    buffer = BufferedConsumer(consumer=vendor)
    mp = Mixpanel("TOKEN", buffer, registry=moody)
    assert mp.track("user-1", "Opened")
    moody.answer = answer
    buffer.flush()
    vendor.assert_nothing_sent()
    moody.answer = Standing.GRANTED
    buffer.flush()
    assert mp.stats() == {"sent": {"consent_granted": 1}}


def test_names_that_are_read_once_wait_in_a_buffer_too(registry: MemoryRegistry, vendor: FakeTransport) -> None:
    # rules 2.9 and 2.11
    registry.grant("user-1")
    mp = Mixpanel(
        "T", BufferedConsumer(consumer=vendor), registry=registry, policy=FieldPolicy(people={"plan": keep()})
    )
    mp.people_update({"$distinct_id": "user-1", "$set": {"plan": 1}, "$unset": (name for name in ("a", "b"))})
    registry.deny("user-1")
    mp.flush()
    assert vendor.people[0].properties == {"$unset": ["a", "b"]}


@pytest.mark.parametrize("identity", [None, "pseudonymous"])
def test_names_in_lists_are_none_and_break_nothing(
    registry: MemoryRegistry, vendor: FakeTransport, identity: Any
) -> None:
    # rule 2.9
    registry.grant("user-1")
    more = {} if identity is None else {"identity": pseudonymous(b"0" * 32)}
    mp = Mixpanel("T", vendor, registry=registry, policy=FieldPolicy.keep_all(), **more)
    assert mp.people_unset("user-1", [["plan"], "a"])


@pytest.mark.parametrize("name", ["$device_id", "$user_id"])
def test_a_wrong_second_id_does_not_keep_a_removal_from_its_profile(
    mp: Mixpanel, vendor: FakeTransport, name: str
) -> None:
    # rule 2.9
    decision = mp.people_update({"$distinct_id": "user-1", "$unset": ["plan"], "$set": {"plan": 1, name: None}})
    assert (decision.reason, dict(decision.dropped)) == ("removal", {"$set": "id"})
    assert vendor.people[0].properties == {"$unset": ["plan"]}
    assert mp.people_update({"$distinct_id": None, "$unset": ["plan"]}).reason == "invalid_id"
