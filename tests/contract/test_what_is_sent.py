"""What stands in a message, in a decision and in a log line (contract rules 1.5, 3.4, 3.5, 3.8, 4.1 to 4.3)."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from consentpanel import (
    Decision,
    FieldPolicy,
    MessageError,
    Mixpanel,
    MixpanelException,
    Outcome,
    Purpose,
    Reason,
    keep,
    pseudonymize,
    redact,
    refuse,
)
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport


@pytest.fixture
def registry() -> MemoryRegistry:
    registry = MemoryRegistry()
    registry.grant("user-1")
    return registry


CALLS: list[tuple[str, Callable[[Mixpanel, dict[str, Any], dict[str, Any]], Any]]] = [
    ("track", lambda mp, said, meta: mp.track("user-1", "Paid", said, meta)),
    ("import_data", lambda mp, said, meta: mp.import_data(None, "user-1", "Paid", 1, said, meta)),
    ("alias", lambda mp, said, meta: mp.alias("user-1", "user-1", meta)),
    ("merge", lambda mp, said, meta: mp.merge(None, "user-1", "user-1", meta)),
    ("people_set", lambda mp, said, meta: mp.people_set("user-1", said, meta)),
    ("people_set_once", lambda mp, said, meta: mp.people_set_once("user-1", said, meta)),
    ("people_increment", lambda mp, said, meta: mp.people_increment("user-1", said, meta)),
    ("people_append", lambda mp, said, meta: mp.people_append("user-1", said, meta)),
    ("people_union", lambda mp, said, meta: mp.people_union("user-1", said, meta)),
    ("people_remove", lambda mp, said, meta: mp.people_remove("user-1", said, meta)),
    ("people_unset", lambda mp, said, meta: mp.people_unset("user-1", list(said), meta)),
    ("people_delete", lambda mp, said, meta: mp.people_delete("user-1", meta)),
    ("people_track_charge", lambda mp, said, meta: mp.people_track_charge("user-1", 5, said, meta)),
    ("people_clear_charges", lambda mp, said, meta: mp.people_clear_charges("user-1", meta)),
    ("people_update", lambda mp, said, meta: mp.people_update({"$distinct_id": "user-1", "$set": said}, meta)),
    ("group_set", lambda mp, said, meta: mp.group_set("company", "acme", said, meta)),
    ("group_set_once", lambda mp, said, meta: mp.group_set_once("company", "acme", said, meta)),
    ("group_union", lambda mp, said, meta: mp.group_union("company", "acme", said, meta)),
    ("group_remove", lambda mp, said, meta: mp.group_remove("company", "acme", said, meta)),
    ("group_unset", lambda mp, said, meta: mp.group_unset("company", "acme", list(said), meta)),
    ("group_delete", lambda mp, said, meta: mp.group_delete("company", "acme", meta)),
    ("group_update", lambda mp, said, meta: mp.group_update({"$group_key": "k", "$group_id": 1, "$set": said}, meta)),
]
every_call = pytest.mark.parametrize("call", [call for _, call in CALLS], ids=[name for name, _ in CALLS])


@every_call
@pytest.mark.parametrize("consent", ["granted", "denied"])
@pytest.mark.parametrize("keeps_all", [True, False])
def test_every_call_returns_a_decision_and_leaves_its_arguments_alone(
    client: Callable[..., Mixpanel],
    registry: MemoryRegistry,
    policy: FieldPolicy,
    call: Callable[..., Any],
    consent: str,
    keeps_all: bool,
) -> None:
    # rule 1.5
    if consent == "denied":
        registry.deny("user-1")
    mp = client(policy=FieldPolicy.keep_all() if keeps_all else policy)
    said = {"plan": "pro", "address": {"city": "Berlin"}, "tags": ["a", {"b": 1}], "$user_id": "user-1"}
    meta = {"$ignore_time": True, "$ip": "192.0.2.1", "nested": {"x": [1]}}
    before = copy.deepcopy((said, meta))
    assert type(call(mp, said, meta)) is Decision
    assert (said, meta) == before


@pytest.mark.parametrize("name", ["token", "time", "$insert_id", "mp_lib", "$lib_version", "distinct_id"])
def test_structural_properties_always_pass(client: Callable[..., Mixpanel], vendor: FakeTransport, name: str) -> None:
    # rule 3.4
    assert client(policy=FieldPolicy()).track("user-1", "Paid").outcome is Outcome.SENT
    assert name in vendor.events[0].properties


PERSONAL_EVENT = (
    "ip $ip $city $region mp_country_code $latitude $longitude $current_url $referrer $initial_referrer $carrier "
    "$device $model"
)
PERSONAL_PROFILE = (
    "$name $first_name $last_name $email $phone $avatar $ip $city $region $country_code $timezone $geo_source "
    "$latitude $longitude $created $last_seen $transactions"
)


@pytest.mark.parametrize("name", PERSONAL_EVENT.split())
def test_personal_event_properties_need_a_rule(
    client: Callable[..., Mixpanel], vendor: FakeTransport, name: str
) -> None:
    # rule 3.4
    assert dict(client(policy=FieldPolicy()).track("user-1", "Paid", {name: "secret"}).dropped) == {name: "unnamed"}
    assert client(policy=FieldPolicy(events={name: keep()})).track("user-1", "Paid", {name: "said"})
    assert [message.properties.get(name) for message in vendor.events] == [None, "said"]


@pytest.mark.parametrize("name", PERSONAL_PROFILE.split())
def test_personal_profile_properties_need_a_rule(
    client: Callable[..., Mixpanel], vendor: FakeTransport, name: str
) -> None:
    # rule 3.4
    assert not client(policy=FieldPolicy()).people_set("user-1", {name: "secret"})
    assert client(policy=FieldPolicy(people={name: keep()})).people_set("user-1", {name: "said"})
    assert vendor.people[0].properties == {"$set": {name: "said"}}


@pytest.mark.parametrize("name", ["mp_lib", "$lib_version", "$insert_id", "token"])
def test_a_structural_name_carries_no_object(
    client: Callable[..., Mixpanel], registry: MemoryRegistry, name: str
) -> None:
    # rule 3.4
    class Sink:
        def __init__(self) -> None:
            self.sent: list[str] = []

        def send(self, endpoint: str, message: str) -> None:
            self.sent.append(message)

    sink = Sink()
    mp = Mixpanel("TOKEN", sink, registry=registry)
    for value in ({"email": "secret"}, {"email": float("nan")}, "x" * 2_000_000):
        decision = mp.track("user-1", "Paid", {name: value})
        assert dict(decision.changed) == {name: "default"}
    assert "secret" not in sink.sent[0]


def test_properties_in_meta_are_judged_as_properties(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rules 3.4 and 3.5
    meta = {"properties": {"token": "TOKEN", "distinct_id": "user-1", "plan": "pro", "email": "secret"}}
    decision = mp.track("user-1", "Paid", {"note": "secret"}, meta)
    assert dict(decision.dropped) == {"email": "unnamed"}
    assert vendor.events[0].properties == {"token": "TOKEN", "distinct_id": "user-1", "plan": "pro"}


@pytest.mark.parametrize("scope", ["events", "people", "groups"])
def test_an_ip_in_meta_needs_a_rule(client: Callable[..., Mixpanel], vendor: FakeTransport, scope: str) -> None:
    # rule 3.5
    def say(policy: FieldPolicy) -> Decision:
        mp, meta = client(policy=policy), {"$ip": "192.0.2.1"}
        if scope == "events":
            return mp.track("user-1", "Paid", {"plan": "pro"}, meta)
        if scope == "people":
            return mp.people_set("user-1", {"plan": "pro"}, meta)
        return mp.group_set("company", "acme", {"plan": "pro"}, meta)

    closed: dict[str, Any] = {scope: {"plan": keep()}}
    opened: dict[str, Any] = {scope: {"plan": keep(), "$ip": redact("0")}}
    assert dict(say(FieldPolicy(**closed)).dropped) == {"$ip": "unnamed"}
    assert dict(say(FieldPolicy(**opened)).changed) == {"$ip": "redact"}
    assert [message.payload.get("$ip") for message in vendor.messages] == [None, "0"]


@pytest.mark.parametrize("name", ["unheard", "$frobnicate", "plan"])
def test_an_unknown_name_in_meta_is_dropped(client: Callable[..., Mixpanel], vendor: FakeTransport, name: str) -> None:
    # rule 3.5
    mp = client(policy=FieldPolicy(events={"plan": keep()}, people={"plan": keep()}, groups={"plan": keep()}))
    for decision in [
        mp.track("user-1", "Paid", {"plan": 1}, {name: {"x": "secret"}}),
        mp.people_set("user-1", {"plan": 1}, {name: {"x": "secret"}}),
        mp.group_set("company", "acme", {"plan": 1}, {name: {"x": "secret"}}),
    ]:
        assert decision.dropped[name] == "unnamed"
    assert all(name not in message.payload for message in vendor.messages)
    assert len(vendor.messages) == 3


def test_an_operator_that_meta_adds_is_judged(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rule 3.5
    decision = mp.people_set("user-1", {"plan": "pro"}, {"$append": {"plan": "x", "email": "secret"}})
    assert dict(decision.dropped) == {"email": "unnamed"}
    assert vendor.people[0].properties == {"$set": {"plan": "pro"}, "$append": {"plan": "x"}}


def test_a_message_whose_properties_are_all_dropped(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rules 3.1 and 4.1
    event = mp.track("user-1", "Paid", {"email": "secret"})
    assert event.outcome is Outcome.REDACTED
    profile = mp.people_set("user-1", {"email": "secret"})
    assert profile.outcome is Outcome.DROPPED
    assert profile.reason is Reason.NOTHING_LEFT
    assert dict(profile.dropped) == {"email": "unnamed"}
    assert len(vendor.messages) == 1


def test_a_refused_message_says_which_property_refused_it(
    client: Callable[..., Mixpanel], vendor: FakeTransport
) -> None:
    # rules 3.2 and 4.1
    mp = client(policy=FieldPolicy(events={"visit.diagnosis": refuse()}, people={"diagnosis": refuse()}))
    for decision, path in [
        (mp.track("user-1", "Visit", {"visit": {"diagnosis": "secret"}}), "visit.diagnosis"),
        (mp.people_set("user-1", {"diagnosis": "secret"}), "diagnosis"),
    ]:
        assert decision.reason is Reason.REFUSED_BY_POLICY
        assert dict(decision.dropped) == {path: "refuse"}
    vendor.assert_nothing_sent()


@pytest.mark.parametrize("keeps_all", [True, False])
def test_more_properties_than_the_vendor_takes_end_in_a_reported_drop(
    client: Callable[..., Mixpanel], vendor: FakeTransport, keeps_all: bool
) -> None:
    # rule 3.8
    many = {f"p{number}": number for number in range(300)}
    policy = (
        FieldPolicy.keep_all()
        if keeps_all
        else FieldPolicy(**{s: dict.fromkeys(many, keep()) for s in ("events", "people")})
    )
    mp = client(policy=policy)
    assert mp.track("user-1", "Paid", many).reason is Reason.TOO_LARGE
    assert mp.people_set("user-1", many).reason is Reason.TOO_LARGE
    vendor.assert_nothing_sent()
    most = dict(list(many.items())[:248])
    assert mp.track("user-1", "Paid", most)
    assert not mp.track("user-1", "Paid", {**most, "p248": 1})


def test_many_properties_that_no_rule_names_do_not_stop_an_event(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rules 3.1 and 3.8
    decision = mp.track("user-1", "Paid", {"plan": "pro", **{f"p{number}": number for number in range(300)}})
    assert decision.outcome is Outcome.REDACTED
    assert len(decision.dropped) == 300
    assert vendor.events[0].properties["plan"] == "pro"


@pytest.mark.parametrize("keeps_all", [True, False])
def test_what_is_too_large_ends_in_a_reported_drop(
    client: Callable[..., Mixpanel], vendor: FakeTransport, keeps_all: bool
) -> None:
    # rule 3.8
    names = dict.fromkeys(["plan", "more"], keep())
    mp = client(policy=FieldPolicy.keep_all() if keeps_all else FieldPolicy(events=names, people=names))
    large = "x" * 600_000
    assert mp.track("user-1", "Paid", {"plan": large, "more": large}).reason is Reason.TOO_LARGE
    assert mp.people_set("user-1", {"plan": large, "more": large}).reason is Reason.TOO_LARGE
    vendor.assert_nothing_sent()
    decision = mp.track("user-1", "Paid", {"plan": "x" * 10_000_000})
    assert decision.reason is Reason.TOO_LARGE or dict(decision.dropped) == {"plan": "too_large"}


@pytest.mark.parametrize(
    "properties",
    [[("plan", "pro")], "plan", 3, object(), {"plan"}, b"plan", iter([("plan", "pro")])],
    ids=lambda given: type(given).__name__,
)
def test_properties_that_are_no_mapping_are_refused(mp: Mixpanel, vendor: FakeTransport, properties: Any) -> None:
    # rule 1.8
    assert mp.track("user-1", "Paid", properties).reason is Reason.INVALID_MESSAGE
    assert mp.import_data(None, "user-1", "Paid", 1, properties).reason is Reason.INVALID_MESSAGE
    judged = mp.people_set("user-1", properties)
    assert (judged.reason, judged.status) == (Reason.INVALID_MESSAGE, "granted")
    assert mp.people_track_charge("user-1", 1, properties).reason is Reason.INVALID_MESSAGE
    assert mp.people_update(properties).reason is Reason.INVALID_MESSAGE
    assert mp.group_set("company", "acme", properties).reason is Reason.INVALID_MESSAGE
    assert mp.track("user-1", "Paid", None, properties).reason is Reason.INVALID_MESSAGE
    assert mp.track("user-1", "Paid", None, {"properties": properties}).reason is Reason.INVALID_MESSAGE
    vendor.assert_nothing_sent()


@pytest.mark.parametrize("event", [None, "", 3, b"Paid", ["Paid"], object()], ids=lambda given: type(given).__name__)
def test_an_event_without_a_name_is_refused(mp: Mixpanel, vendor: FakeTransport, event: Any) -> None:
    # rule 1.8
    assert mp.track("user-1", event).reason is Reason.INVALID_MESSAGE
    assert mp.track("user-1", "Paid", None, {"event": event}).reason is Reason.INVALID_MESSAGE
    vendor.assert_nothing_sent()


def test_a_key_that_is_no_text_is_dropped_and_reported(client: Callable[..., Mixpanel], vendor: FakeTransport) -> None:
    # rules 3.6 and 4.1
    mp = client(policy=FieldPolicy(events={"1": keep(), "plan": keep()}))
    decision = mp.track("user-1", "Paid", {("a", "b"): 1, 1: "one", "plan": "pro"})
    assert list(decision.dropped.values()) == ["key_not_text"]
    assert vendor.events[0].properties["1"] == "one"


def test_a_decision_says_what_was_done(client: Callable[..., Mixpanel]) -> None:
    # rule 4.1
    policy = FieldPolicy(events={"plan": keep(), "email": pseudonymize()}, secret=b"0" * 32)
    decision = client(policy=policy).track("user-1", "Paid", {"plan": "pro", "email": "a@b.example", "note": "x"})
    assert decision.outcome is Outcome.REDACTED
    assert decision.reason is Reason.CONSENT_GRANTED
    assert (decision.endpoint, decision.event, decision.purpose) == ("events", "Paid", Purpose.ANALYTICS)
    assert decision.status is not None
    assert decision.status.value == "granted"
    assert dict(decision.dropped) == {"note": "unnamed"}
    assert dict(decision.changed) == {"email": "pseudonymize"}


def test_a_decision_is_frozen_hashable_and_can_be_pickled(mp: Mixpanel) -> None:
    # rule 4.1
    decision = mp.track("user-1", "Paid", {"note": "x"})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        decision.outcome = Outcome.SENT  # type: ignore[misc]
    with pytest.raises(TypeError):
        decision.dropped["x"] = "y"  # type: ignore[index]
    assert pickle.loads(pickle.dumps(decision)) == decision
    assert hash(decision) == hash(pickle.loads(pickle.dumps(decision)))


SECRETS = ["user-secret", "ada@secret.example", "192.0.2.77"]


def everything_said(error: BaseException | None) -> str:
    said = ""
    while error is not None:
        said += f"{error!r} {error} {vars(error)}"
        error = error.__cause__ or error.__context__
    return said


@pytest.mark.parametrize("on_error", ["drop", "raise"])
@pytest.mark.parametrize("consent", [True, False, None, "garbage"])
def test_no_personal_value_is_shown_anywhere(
    client: Callable[..., Mixpanel], caplog: pytest.LogCaptureFixture, on_error: str, consent: Any
) -> None:
    # rule 4.2
    caplog.set_level(logging.DEBUG)
    mp = client(registry=lambda subject_id, purpose: consent, on_error=on_error)
    subject, email, ip = SECRETS
    shown = [repr(mp), repr(mp._consumer)]
    for say in [
        lambda: mp.track(subject, "Paid", {"email": email, "$device_id": subject}, {"$ip": ip}),
        lambda: mp.track(subject, "Paid", {"$user_id": [email]}),
        lambda: mp.track(subject, "Paid", {"time": email}),
        lambda: mp.track(subject, "Paid", email),
        lambda: mp.people_set(subject, {"$email": email}, {"$ip": ip}),
        lambda: mp.alias(email, subject),
        lambda: mp._consumer.send(email, subject),
        lambda: mp._consumer.send("events", email),
    ]:
        try:
            shown.append(repr(say()))
        except MessageError as error:
            shown += [everything_said(error), repr(error.decision)]
    shown += [caplog.text, repr(mp.stats())]
    assert not [secret for secret in SECRETS if secret in "".join(shown)]


def test_what_the_vendor_raises_passes_through(client: Callable[..., Mixpanel], vendor: FakeTransport) -> None:
    # rule 1.8
    error = MixpanelException("no network")
    vendor.fail(error=error)
    with pytest.raises(MixpanelException) as raised:
        client().track("user-1", "Paid", {"plan": "pro"})
    assert raised.value is error
    vendor.fail(error=error)
    with pytest.raises(MixpanelException):
        client().people_set("user-1", {"plan": "pro", "email": "x"})


def test_stats_count_outcomes_by_reason(mp: Mixpanel) -> None:
    # rule 4.3
    mp.track("user-1", "Paid", {"plan": "pro"})
    mp.track("user-1", "Paid", {"plan": "pro", "note": 1})
    mp.track("user-2", "Paid")
    mp.people_delete("user-2")
    assert mp.stats() == {
        "sent": {"consent_granted": 1, "removal": 1},
        "redacted": {"consent_granted": 1},
        "dropped": {"no_consent": 1},
    }
    assert mp.stats()[Outcome.SENT][Reason.REMOVAL] == 1


def test_a_batch_by_hand_is_refused(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rule 1.4
    event = {"event": "Paid", "properties": {"token": "TOKEN", "distinct_id": "user-1", "plan": "pro"}}
    assert mp._consumer.send("events", json.dumps([event])).reason is Reason.INVALID_MESSAGE
    vendor.assert_nothing_sent()


@pytest.mark.parametrize(("spare", "is_sent"), [(1, True), (0, False), (-1, False)])
def test_a_message_of_a_megabyte_is_too_large_to_the_byte(spare, is_sent):
    # rule 3.8: the vendor takes less than 1 MB
    registry, vendor = MemoryRegistry(), FakeTransport()
    registry.grant("user-1")
    mp = Mixpanel(
        "T", vendor, registry=registry, policy=FieldPolicy(events={"p": keep(detect=False), "q": keep(max_length=9)})
    )
    mp._now = lambda: 1_700_000_000  # type: ignore[method-assign]
    mp._make_insert_id = lambda: "insert-id"  # type: ignore[method-assign]
    mp.track("user-1", "E", {"p": "", "q": ""})
    room = 1_048_576 - len(vendor.messages[0].raw)
    decision = mp.track("user-1", "E", {"p": "x" * (room - spare), "q": ""})
    assert bool(decision) is is_sent
    assert is_sent or decision.reason == "too_large"
