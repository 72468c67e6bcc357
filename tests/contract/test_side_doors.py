"""What somebody tries who goes looking for a way around: each is sent as the contract says, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from email.message import Message
from enum import Enum
from typing import Any
from urllib.error import HTTPError

import attrs
import mixpanel
import pytest

from consentpanel import (
    BufferedConsumer,
    ConfigurationError,
    ConsentRecord,
    ConsentStatus,
    FieldPolicy,
    Mixpanel,
    Outcome,
    Purpose,
    Reason,
    Regime,
    keep,
    mask,
    per_subject,
    pseudonymize,
    pseudonymous,
)
from consentpanel._mixpanel.names import DEVICE_IDS, FLAG_IDS
from consentpanel.policy import Detector
from consentpanel.registry import CachedRegistry, MemoryRegistry, carry_over

ADA, CARD = "ada@shop.example", "4111 1111 1111 1111"
SECRET = b"0" * 32
RULES = {"plan": keep(), "note": keep(), "ctx": keep(deep=True), "balance": keep(), "$transactions": keep(deep=True)}


class Sink:
    """A consumer that keeps what it gets."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def send(self, endpoint: str, json_message: str, api_key: Any = None) -> None:
        del endpoint, api_key
        self.texts.append(json_message)

    @property
    def last(self) -> Any:
        return json.loads(self.texts[-1])


def build(**more: Any) -> tuple[Mixpanel, Sink, MemoryRegistry]:
    registry, sink = MemoryRegistry(), Sink()
    registry.grant("user-1")
    policy = FieldPolicy(events=RULES, people=RULES, groups=RULES, secret=SECRET)
    return Mixpanel("TOKEN", sink, **{"registry": registry, "policy": policy, **more}), sink, registry


IDENTITIES: list[Callable[[], Any]] = [lambda: None, pseudonymous, lambda: per_subject({})]


# Structure passes at its own place, as what the client itself could have written.


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", ADA),
        ("token", "another project's"),
        ("mp_lib", "user-1"),
        ("mp_lib", "Ada Lovelace"),
        ("$lib_version", "user-1"),
        ("$lib_version", "192.0.2.17"),
        ("$insert_id", "user-1"),
        ("$insert_id", "x-user-1-x"),
        ("$insert_id", "4111111111111111"),
        ("$insert_id", "a" * 37),
        ("time", 4_420_794_609),
        ("time", 31_000_000),
    ],
)
def test_what_the_client_could_not_have_written_gives_way_to_what_it_writes(
    identity: Any, name: str, value: Any
) -> None:
    # rule 3.4
    mp, sink, _ = build(identity=identity(), regime=Regime.OPT_OUT)
    decision = mp.track("user-1", "Paid", {name: value})
    assert decision.changed == {name: "default"}
    said = sink.last["properties"]
    assert said[name] != value
    assert (said["token"], said["mp_lib"]) == ("TOKEN", "python")


@pytest.mark.parametrize("subject", ["Visitor-0017-aB", "ada.lovelace"])
@pytest.mark.parametrize("written", [str.lower, str.upper, lambda text: text.replace("-", "").replace(".", "")])
def test_an_insert_id_holds_no_id_in_any_spelling(subject: str, written: Callable[[str], str]) -> None:
    # rule 3.4
    mp, sink, registry = build()
    registry.grant(subject)
    mp.track(subject, "Paid", {"$insert_id": f"a1{written(subject)}".replace(".", "")})
    assert len(sink.last["properties"]["$insert_id"]) == 32


@pytest.mark.parametrize("value", ["web", "node", "python"])
def test_the_name_of_another_library_of_the_vendors_passes(value: str) -> None:
    # rule 3.4
    mp, sink, _ = build()
    said = {"mp_lib": value, "$lib_version": "2.45.0-rc.1", "$insert_id": "order-9000", "time": 1_700_000_000_000}
    assert mp.track("user-1", "Paid", said).reason is Reason.NO_CONSENT_THEN
    del said["time"]
    assert mp.track("user-1", "Paid", said).outcome is Outcome.SENT
    assert {name: sink.last["properties"][name] for name in said} == said


@pytest.mark.parametrize("identity", IDENTITIES[1:])
@pytest.mark.parametrize("name", ["time", "mp_lib", "$insert_id", "token", "$group_id", "$ignore_alias", "plan"])
@pytest.mark.parametrize("call", ["track", "people_set", "people_append"])
def test_a_structural_name_below_a_property_exempts_nothing(identity: Any, name: str, call: str) -> None:
    # rules 3.4 and 3.9
    subject = "ada.lovelace@shop.example"
    mp, sink, registry = build(identity=identity())
    registry.grant(subject)
    said = {"ctx": {name: subject, "inner": [{name: f"of {subject}"}], subject: 1}}
    (mp.track(subject, "Paid", said) if call == "track" else getattr(mp, call)(subject, said))
    assert subject not in sink.texts[-1]


# Ids below a property are closed.


@pytest.mark.parametrize("name", sorted(FLAG_IDS))
@pytest.mark.parametrize("call", ["track", "people_set", "people_append", "people_union"])
@pytest.mark.parametrize("wrapped", [lambda ids: ids, lambda ids: [ids], lambda ids: {"deeper": [ids]}])
def test_an_id_below_a_deep_keep_is_closed(name: str, call: str, wrapped: Callable[[Any], Any]) -> None:
    # rule 2.7
    mp, sink, _ = build()
    for written in (name, name.upper()):
        said = {"ctx": wrapped({written: "nobody", "n": 1})}
        decision = mp.track("user-1", "Paid", said) if call == "track" else getattr(mp, call)("user-1", said)
        assert set(decision.dropped.values()) == {"id"}
        assert "nobody" not in sink.texts[-1]


@pytest.mark.parametrize("name", sorted(FLAG_IDS))
@pytest.mark.parametrize("shape", ["ctx", "items"])
def test_an_id_that_a_rule_for_its_path_opens_is_judged_and_mapped(name: str, shape: str) -> None:
    # rules 2.7 and 3.9
    path, value = f"ctx.{name}", ["owner-17"] if name == "$distinct_ids" else "owner-17"
    said: Any = {"ctx": {name: value}}
    if shape == "items":
        path, said = f"items[].{name}", {"items": [{name: value}]}
    policy = FieldPolicy(events={path: keep()}, secret=SECRET)
    mp, sink, registry = build(policy=policy, identity=pseudonymous())
    if name in DEVICE_IDS:
        registry.deny("owner-17")
        assert mp.track("user-1", "Paid", said).reason is Reason.WITHDRAWN
    else:
        assert mp.track("user-1", "Paid", said).reason is Reason.NO_CONSENT
    registry.grant("owner-17")
    assert mp.track("user-1", "Paid", said)
    assert "owner-17" not in sink.texts[-1]
    assert "pid1_" in json.dumps(sink.last["properties"][shape])


def test_an_opened_id_that_is_none_is_left_out() -> None:
    # rule 2.7
    mp, sink, _ = build(policy=FieldPolicy(events={"ctx.distinct_id": keep(deep=True), "plan": keep()}))
    for value in ({"a": "nobody"}, 1.5, True, [["x"]], ""):
        decision = mp.track("user-1", "Paid", {"ctx": {"distinct_id": value}, "plan": "pro"})
        assert "nobody" not in sink.texts[-1]
        assert decision.dropped["ctx.distinct_id" if "ctx.distinct_id" in decision.dropped else "ctx"]


def test_a_class_that_becomes_a_mapping_hides_no_opened_id() -> None:
    # rules 2.7 and 3.6
    @attrs.frozen
    class Owner:
        distinct_id: str

    mp, sink, registry = build(policy=FieldPolicy(events={"ctx.distinct_id": keep()}))
    assert mp.track("user-1", "Paid", {"ctx": Owner("owner-17")}).reason is Reason.NO_CONSENT
    assert not sink.texts
    registry.grant("owner-17")
    assert mp.track("user-1", "Paid", {"ctx": Owner("owner-17")})
    assert sink.last["properties"]["ctx"] == {"distinct_id": "owner-17"}


# Removals say nothing.


class Loud(json.JSONEncoder):
    """A serializer with a way of writing of its own."""

    def encode(self, o: Any) -> str:
        return super().encode(o).replace('"plan"', ' "plan"')


@pytest.mark.parametrize("serializer", [mixpanel.DatetimeSerializer, Loud])
@pytest.mark.parametrize("keeps_all", [True, False])
@pytest.mark.parametrize("value", [ADA, {"email": ADA}, [ADA], 7, True, None])
def test_a_deletion_says_nothing_whoever_writes_it(serializer: Any, keeps_all: bool, value: Any) -> None:
    # rule 2.9
    policy = FieldPolicy.keep_all() if keeps_all else FieldPolicy()
    registry, sink = MemoryRegistry(), Sink()
    mp = Mixpanel("TOKEN", sink, serializer, registry=registry, policy=policy)
    decision = mp.people_update({"$distinct_id": "nobody", "$delete": value, "$time": ADA, "$ip": ADA})
    assert decision.changed["$delete"] == "default"
    assert (sink.last["$delete"], ADA in sink.texts[-1]) == ("", False)


@pytest.mark.parametrize("serializer", [mixpanel.DatetimeSerializer, Loud])
def test_a_name_in_which_something_is_found_is_not_unset(serializer: Any) -> None:
    # rule 2.9
    member = Detector("member_number", lambda text: [(0, len(text))] if text.startswith("M-") else [])
    policy = FieldPolicy(people={"plan": keep()}, groups={"plan": keep()}, detectors=[member])
    registry, sink = MemoryRegistry(), Sink()
    mp = Mixpanel("TOKEN", sink, serializer, registry=registry, policy=policy)
    assert mp.people_unset("nobody", [ADA, "plan", CARD, "M-17"]).dropped["$unset"].startswith("detected:")
    assert sink.last["$unset"] == ["plan"]
    assert mp.group_unset("company", "acme", [ADA, "plan"])
    assert sink.last["$unset"] == ["plan"]
    assert mp.people_unset("nobody", [ADA]).reason is Reason.NOTHING_LEFT
    assert len(sink.texts) == 2


def test_the_id_of_a_group_is_judged_in_every_call() -> None:
    # rules 2.9, 2.10 and 3.7
    mp, sink, _ = build()
    calls: list[Callable[[], Any]] = [
        lambda: mp.group_delete("company", ADA),
        lambda: mp.group_unset("company", ADA, ["plan"]),
        lambda: mp.group_set("company", ADA, {"plan": "pro"}),
        lambda: mp.group_delete(ADA, "acme"),
    ]
    for call in calls:
        assert call().detected
        assert ADA not in sink.texts[-1]
    refusing, sink, _ = build(policy=FieldPolicy(groups={"plan": keep()}, on_detect="refuse"))
    assert refusing.group_delete("company", ADA).reason is Reason.REFUSED_BY_POLICY
    assert not sink.texts


# Pseudonyms: the message stays whole.


@pytest.mark.parametrize("identity", IDENTITIES[1:])
@pytest.mark.parametrize(
    "subject",
    [
        "properties",
        "token",
        "event",
        "time",
        "$set",
        "$token",
        "$distinct_id",
        "distinct_id",
        "plan",
        "mp_lib",
        "python",
    ],
)
def test_a_message_about_somebody_with_the_id_of_a_key_keeps_its_keys(identity: Any, subject: str) -> None:
    # rules 3.9 and 5.2
    mp, sink, registry = build(identity=identity())
    registry.grant(subject)
    mp.track(subject, "Paid", {"plan": "pro"})
    assert sink.last.keys() == {"event", "properties"}
    assert {"token", "distinct_id", "time", "$insert_id", "plan"} <= sink.last["properties"].keys()
    assert sink.last["properties"]["distinct_id"] != subject
    mp.people_set(subject, {"plan": "pro"})
    assert sink.last.keys() == {"$token", "$time", "$distinct_id", "$set"}
    assert sink.last["$set"] == {"plan": "pro"}
    mp.people_unset(subject, ["plan"])
    assert sink.last["$unset"] == ["plan"]


# Decisions quote nobody.


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("consents", [True, False])
@pytest.mark.parametrize("event", ["Viewed user-123456", "user-123456", "of user-123456: viewed", "viewed/user-123456"])
def test_a_decision_quotes_no_id(identity: Any, consents: bool, event: str) -> None:
    # rule 4.2
    mp, _, registry = build(identity=identity())
    if consents:
        registry.grant("user-123456")
    said = [
        {},
        {"time": "noon"},
        {"token": "x"},
        {"user-123456": 1, "of user-123456": 1},
        {"ctx": {"user-123456": ADA}},
    ]
    seen = [repr(mp.track("user-123456", event, each)) for each in said]
    assert "user-123456" not in "".join(seen)


def test_a_decision_is_judged_with_the_policys_own_detectors() -> None:
    # rule 4.2
    member = Detector("member_number", lambda text: [(text.index("M-"), len(text))] if "M-" in text else [])
    mp, _, _ = build(policy=FieldPolicy(events={"plan": keep()}, detectors=[member]))
    for subject in ("user-1", "nobody"):
        decision = mp.track(subject, "Seen M-17", {"of M-17": 1})
        assert decision.event == "<redacted:member_number>"
        assert "M-17" not in repr(decision)


def test_what_a_decision_tells_of_a_name_is_bounded() -> None:
    # rule 4.2
    mp, _, _ = build()
    for subject in ("user-1", "nobody"):
        decision = mp.track(subject, "x" * 1_000_000, {"y" * 1_000_000: 1})
        assert len(repr(decision)) < 2_000


# What is judged is what is sent.


def test_a_dict_that_changes_meanwhile_sends_what_was_judged() -> None:
    # rule 8.9
    mp, sink, _ = build()
    said: dict[str, Any] = {"plan": "pro"}
    inner: dict[str, Any] = {"n": 1}
    stop = threading.Event()

    def meddle() -> None:
        while not stop.is_set():
            said["plan"] = ADA
            said["unnamed"] = inner[ADA] = 1
            said["plan"] = "pro"
            del said["unnamed"], inner[ADA]

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        for _ in range(4_000):
            assert mp.track("user-1", "Paid", said)
            assert mp.track("user-1", "Paid", {"ctx": inner})
            assert mp.people_set("user-1", said)
            assert mp.people_update({"$distinct_id": "user-1", "$set": said}, {"$ignore_time": True})
    finally:
        stop.set()
        meddler.join()
    sent = "".join(sink.texts)
    assert (ADA in sent, "unnamed" in sent) == (False, False)


class Hostile:
    """Raises whatever is asked of it, and says what it holds."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError(ADA)

    __bool__ = __eq__ = __len__ = __iter__ = __str__ = __repr__ = __int__ = __float__ = __index__ = _refuse
    __hash__ = _refuse
    __getattr__ = _refuse


class HostileKey(str):
    """A key that could be put into a dict once and now raises."""

    __slots__ = ()
    is_armed = False

    def __hash__(self) -> int:
        if HostileKey.is_armed:
            raise RuntimeError(ADA)
        return 1

    def __eq__(self, other: object) -> bool:
        if HostileKey.is_armed:
            raise RuntimeError(ADA)
        return self is other


class HostileClass(type):
    """A class whose objects cannot even be sorted by their class."""

    def __hash__(cls) -> int:
        raise RuntimeError(ADA)

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError(ADA)


class OfHostileClass(metaclass=HostileClass):
    """An object of such a class."""


@pytest.mark.parametrize("consents", [True, False])
@pytest.mark.parametrize("place", ["id", "event", "properties", "value", "deep", "key", "meta", "meta value"])
@pytest.mark.parametrize("hostile", [Hostile(), OfHostileClass()], ids=["methods", "class"])
def test_nothing_raises_from_track(hostile: Any, place: str, consents: bool) -> None:
    # rules 1.8 and 4.2
    mp, sink, registry = build()
    if not consents:
        registry.deny("user-1")
    key = HostileKey("plan")
    said: dict[Any, Any] = {key: "pro"} if place == "key" else {"plan": "pro"}
    said = {**said, **{"value": {"note": hostile}, "deep": {"ctx": {"a": [hostile]}}}.get(place, {})}
    meta = {"meta": hostile, "meta value": {"$ip": hostile}}.get(place)
    HostileKey.is_armed = True
    try:
        decision = mp.track(
            hostile if place == "id" else "user-1",
            hostile if place == "event" else "Paid",
            hostile if place == "properties" else said,
            meta,
        )
    finally:
        HostileKey.is_armed = False
    assert ADA not in f"{decision!r}{sink.texts}"
    if place in {"id", "event", "properties", "meta"}:
        assert (decision.outcome, type(hostile).__name__ in decision.problem) == (Outcome.DROPPED, True)


# Numbers are added up as numbers; other values as they are.


@pytest.mark.parametrize(
    ("amount", "sent"), [(Decimal("9.99"), 9.99), (Decimal(10), 10), (Decimal("1E+2"), 100), (Decimal("0.1"), 0.1)]
)
def test_a_decimal_is_a_number_where_the_vendor_adds(amount: Decimal, sent: float) -> None:
    # rule 3.6
    mp, sink, _ = build()
    mp.people_increment("user-1", {"balance": amount})
    assert json.dumps(sink.last["$add"]) == json.dumps({"balance": sent})
    mp.people_track_charge("user-1", amount)
    assert json.dumps(sink.last["$append"]["$transactions"]["$amount"]) == json.dumps(sent)
    mp.people_append("user-1", {"$transactions": {"$amount": amount}})
    assert sink.last["$append"]["$transactions"]["$amount"] == sent
    mp.people_set("user-1", {"balance": amount})
    assert sink.last["$set"] == {"balance": str(amount)}


@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+999999")])
def test_a_decimal_that_is_no_number_is_left_out_or_sent_as_text(amount: Decimal) -> None:
    # rule 3.6
    mp, sink, _ = build()
    mp.people_increment("user-1", {"balance": amount, "plan": 1})
    assert sink.last["$add"]["plan"] == 1
    assert "Infinity" not in sink.texts[-1]


def test_scalars_of_numpy_and_pandas_are_what_they_say() -> None:
    # rule 3.6
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    mp, sink, _ = build()
    values = [
        numpy.int64(3),
        numpy.float32(0.5),
        numpy.bool_(1),
        numpy.str_("a"),
        numpy.datetime64("2026-01-31T12:00"),
    ]
    mp.track("user-1", "Paid", {"ctx": values})
    assert sink.last["properties"]["ctx"] == [3, 0.5, True, "a", "2026-01-31T12:00:00"]
    mp.people_increment("user-1", {"balance": numpy.int64(3)})
    assert sink.last["$add"] == {"balance": 3}
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    mp.track(
        "user-1", "Paid", {"ctx": [pandas.NaT, pandas.NA, pandas.Timestamp("2026-01-31"), pandas.Timedelta("90s")]}
    )
    assert sink.last["properties"]["ctx"] == [None, None, "2026-01-31T00:00:00", 90.0]


class Lazy:
    """A lazy text, as a framework's."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


LazyString = type("LazyString", (Lazy,), {})


class Name(Enum):
    PAID = "Paid"


@pytest.mark.parametrize("event", [LazyString("Paid"), Name.PAID])
def test_a_lazy_text_is_a_name_of_an_event(event: Any) -> None:
    # rule 3.6
    mp, sink, _ = build()
    assert mp.track("user-1", event).event == "Paid"
    assert sink.last["event"] == "Paid"


@pytest.mark.parametrize("event", [b"Paid", 7, None, "", LazyString(""), object])
def test_what_is_no_name_of_an_event_is_told_by_its_type(event: Any) -> None:
    # rule 1.8
    mp, _, _ = build()
    decision = mp.track("user-1", event)
    assert decision.reason is Reason.INVALID_MESSAGE
    assert decision.problem.startswith("event_name must be a non-empty str, not ")


@pytest.mark.parametrize("subject", [LazyString("user-1"), 1.5, True, None, b"user-1", "", "x" * 256])
def test_what_is_no_id_is_told_by_its_type(subject: Any) -> None:
    # rule 2.7
    mp, _, _ = build()
    for decision in (mp.track(subject, "Paid"), mp.people_set(subject, {"plan": 1}), mp.alias(subject, "user-1")):
        assert decision.reason is Reason.INVALID_ID
        assert decision.problem.startswith(("distinct_id must ", "$distinct_id must ", "alias must "))


def test_a_time_with_an_offset_is_sent_as_the_moment_that_it_is() -> None:
    # rule 3.6
    mp, sink, _ = build()
    east = timezone(timedelta(hours=5, minutes=30))
    mp.track(
        "user-1",
        "Paid",
        {"plan": datetime(2026, 1, 31, 1, 0, tzinfo=east), "note": datetime(2026, 1, 31, 1, 0)},  # noqa: DTZ001 - a naive one,
    )
    assert sink.last["properties"]["plan"] == "2026-01-30T19:30:00"
    assert sink.last["properties"]["note"] == "2026-01-31T01:00:00"
    mp.track("user-1", "Paid", {"plan": timedelta(minutes=1.5)})
    assert sink.last["properties"]["plan"] == 90.0


# A person is asked once, and before anything else.


class Counting(MemoryRegistry):
    """Counts how often it is asked."""

    asked = 0

    def standing(self, *arguments: Any, **keywords: Any) -> Any:
        self.asked += 1
        return super().standing(*arguments, **keywords)


@pytest.mark.parametrize("answer", ["grant", "deny", "forget"])
@pytest.mark.parametrize("said", [{"plan": "pro"}, {"plan": "pro", "more": ADA}, {"ctx": {"a": [1]}}])
def test_a_profile_update_asks_once(answer: str, said: Any) -> None:
    # rule 3.14
    registry, looked = Counting(), []
    watch = Detector("watch", lambda text: looked.append(text) or [])
    mp, sink, _ = build(registry=registry, policy=FieldPolicy(people=RULES, detectors=[watch, "email"]))
    getattr(registry, answer)("user-2")
    assert bool(mp.people_set("user-2", said)) is bool(sink.texts) is (answer == "grant")
    assert registry.asked == 1
    assert answer == "grant" or not looked


def test_a_pseudonymised_id_below_is_no_longer_one() -> None:
    # rules 2.7 and 3.2
    mp, sink, registry = build(policy=FieldPolicy(events={"ctx.distinct_id": pseudonymize()}, secret=SECRET))
    assert mp.track("user-1", "Paid", {"ctx": {"distinct_id": "owner-17"}}).reason is Reason.NO_CONSENT
    registry.grant("owner-17", Purpose.ANALYTICS)
    assert mp.track("user-1", "Paid", {"ctx": {"distinct_id": "owner-17"}})
    assert "owner-17" not in sink.texts[-1]


def test_a_message_that_names_a_crowd_is_turned_away_unasked() -> None:
    # rule 3.8
    registry = Counting()
    mp, sink, _ = build(registry=registry, identity=pseudonymous())
    crowd = [f"visitor-{number}" for number in range(10_000)]
    decision = mp.track("user-1", "Paid", {"$distinct_ids": crowd, "note": "visitor " * 5_000})
    assert (decision.reason, registry.asked, sink.texts) == (Reason.TOO_LARGE, 0, [])


@pytest.mark.parametrize("name", sorted(FLAG_IDS))
def test_an_id_among_the_attributes_of_a_flags_context_is_closed(name: str) -> None:
    # rules 1.7 and 2.7
    rules = {"custom_properties": keep(deep=True), "tags[]": keep(deep=True)}
    context = {
        "distinct_id": "user-1",
        "custom_properties": {name: "nobody", "plan": "pro"},
        "tags": [{name: "nobody"}],
    }
    result = FieldPolicy(flags=rules).apply_flags(context)
    assert result.properties == {"distinct_id": "user-1", "custom_properties": {"plan": "pro"}, "tags": [{}]}
    assert set(result.dropped.values()) == {"id"}


class OwnSerializer(mixpanel.DatetimeSerializer):
    """Adds nothing to the vendor's."""


def test_the_offset_counts_with_a_subclass_of_the_vendors_serializer_too() -> None:
    # rule 3.6
    registry, sink = MemoryRegistry(), Sink()
    registry.grant("user-1")
    mp = Mixpanel("TOKEN", sink, OwnSerializer, registry=registry, policy=FieldPolicy(events={"plan": keep()}))
    mp.track("user-1", "Paid", {"plan": datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=2)))})
    assert sink.last["properties"]["plan"] == "2026-01-30T22:00:00"


@pytest.mark.parametrize("meta", [{}, (), "", False, 0, None])
def test_meta_that_is_false_is_none_as_for_the_vendors_client(meta: Any) -> None:
    # rule 1.3
    mp, sink, _ = build()
    assert mp.track("user-1", "Paid", {"plan": "pro"}, meta)
    assert sink.last["properties"]["plan"] == "pro"


# What is hostile costs what it stands for, and nothing else.


class Claiming:
    """Something whose class cannot be asked for."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise ValueError(ADA)


class QuotingError(Exception):
    """An error whose arguments cannot be read."""

    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError(ADA)


def test_a_value_whose_class_raises_costs_itself_alone() -> None:
    # rules 1.8, 2.9 and 3.6
    mp, sink, registry = build()
    assert mp.track("user-1", "Paid", {"plan": "pro", "note": Claiming()}).dropped == {"note": "unserialisable"}
    assert mp.people_increment("user-1", {"balance": 1, "note": Claiming()}).dropped == {"note": "unserialisable"}
    assert sink.last["$add"] == {"balance": 1}
    registry.deny("user-1")
    mixed = {"$distinct_id": "user-1", "$unset": ["plan"], "$add": {"balance": Claiming()}, "$set": Claiming()}
    assert mp.people_update(mixed).outcome is Outcome.REDACTED
    assert sink.last.keys() == {"$token", "$time", "$distinct_id", "$unset"}


def test_a_removal_beside_an_operator_that_holds_no_properties_is_done() -> None:
    # rule 2.9
    mp, sink, _ = build()
    decision = mp.people_update({"$distinct_id": "user-1", "$unset": ["plan"], "$set": "no mapping"})
    assert decision.dropped == {"$set": "unserialisable"}
    assert sink.last["$unset"] == ["plan"]


def test_an_error_whose_arguments_raise_is_told_by_its_type(caplog: pytest.LogCaptureFixture) -> None:
    # rules 1.8 and 4.2
    def failing(*_: object) -> None:
        raise QuotingError

    mp, sink, _ = build(registry=failing)
    assert mp.track("user-1", "Paid").reason is Reason.REGISTRY_ERROR
    mp, sink, _ = build(observers=[failing])
    assert mp.track("user-1", "Paid")
    assert sink.texts
    assert "QuotingError" in caplog.text
    assert ADA not in caplog.text


class Endless(dict[str, Any]):
    """A mapping that never ends."""

    def items(self) -> Any:
        return iter(lambda: ("plan", "pro"), None)


class EndlessList(list[Any]):
    """A list that never ends for whoever iterates over it."""

    def __iter__(self) -> Any:
        return iter(lambda: "user-1", None)


def test_what_never_ends_is_turned_away() -> None:
    # rule 3.8
    mp, sink, _ = build()
    mp.track("user-1", "Paid", Endless(plan="pro"))
    assert mp.people_update({"$distinct_id": "user-1", "$set": Endless(plan="pro")}).outcome is Outcome.DROPPED
    assert mp.track("user-1", "Paid", {"note": EndlessList(["a"]), "$distinct_ids": EndlessList(["user-1"])})
    assert sink.last["properties"]["note"] == ["a"]
    assert mp.people_unset("user-1", EndlessList(["plan"]))
    assert sink.last["$unset"] == ["plan"]


def test_a_group_without_an_id_that_can_be_one_is_no_message() -> None:
    # rules 1.8 and 3.4
    mp, sink, _ = build()
    for group in (["acme"], {"a": 1}, None, "x" * 256, ""):
        decision = mp.group_set("company", group, {"plan": "pro"})
        assert decision.reason is Reason.INVALID_MESSAGE
        assert "$group_id must" in decision.problem
        assert mp.group_delete("company", group).reason is Reason.INVALID_MESSAGE
    assert not sink.texts


# A serializer of the user's own says what was judged, and in bytes.


class InUtf8(json.JSONEncoder):
    """Escapes nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "ensure_ascii": False})


def test_half_of_a_surrogate_pair_does_not_stop_a_buffer() -> None:
    # rules 2.11 and 3.6
    mp, sink, _ = build(serializer=InUtf8)
    assert mp.track("user-1", "Paid", {"note": "\ud800"})
    assert sink.texts[-1].encode()
    assert mp.track("user-1", "Paid", {"note": "zoë"})
    assert "zoë" in sink.texts[-1]
    for identity in (pseudonymous(), per_subject({})):
        mp, sink, registry = build(identity=identity)
        registry.grant("user-\ud800")
        assert mp.track("user-\ud800", "Paid", {"note": "by user-\ud800"})
        assert "\\ud800" not in sink.texts[-1]


def test_the_size_of_a_message_is_that_of_its_bytes() -> None:
    # rule 3.8
    mp, _, _ = build(serializer=InUtf8)
    assert mp.track("user-1", "Paid", {"note": "\u8bf7" * 600_000}).reason is Reason.TOO_LARGE


class Digits(json.JSONEncoder):
    """Writes a number with more digits than Python keeps."""

    literal = ""

    def encode(self, o: Any) -> str:
        return super().encode(o).replace("17.25", self.literal)


@pytest.mark.parametrize("literal", ["4111111111111111e-999", "17.2500000000000000004111111111111111"])
def test_digits_that_nobody_judged_do_not_leave(monkeypatch: pytest.MonkeyPatch, literal: str) -> None:
    # rule 3.6
    monkeypatch.setattr(Digits, "literal", literal)
    mp, sink, _ = build(serializer=Digits)
    assert mp.track("user-1", "Paid", {"balance": 17.25})
    assert "4111111111111111" not in sink.texts[-1]


# What is told of keys and names.


def test_a_key_below_a_deep_keep_is_never_told() -> None:
    # rule 4.2
    rules = {
        "cart": keep(deep=True, purpose="targeting"),
        "cart.total": keep(),
        "ctx": keep(deep=True),
        "ctx.inner": mask(),
        "ctx.inner.opened": keep(),
    }
    mp, _, _ = build(policy=FieldPolicy(events=rules))
    said = {"cart": {"Ada Lovelace": 1, "total": 2}, "ctx": {"inner": {"Grace Hopper": 1, "opened": 2}}}
    decision = mp.track("user-1", "Paid", said)
    assert decision.dropped == {"cart.(keys)": "no_consent", "ctx.inner.(keys)": "unnamed"}


def test_a_name_is_judged_before_it_is_cut() -> None:
    # rule 4.2
    class Own(json.JSONEncoder):
        def encode(self, o: Any) -> str:
            return super().encode(o)

    mp, _, registry = build(serializer=Own)
    registry.grant("ann-17-of-oslo")
    decision = mp.track("ann-17-of-oslo", "Paid", {"x" * 118 + " ann-17-of-oslo": object(), "plan": "pro"})
    assert decision.dropped == {"<id>": "unserialisable"}


def test_a_detector_that_fails_over_a_name_to_remove_says_so() -> None:
    # rules 2.9 and 3.7
    def fails(_: str) -> Any:
        raise ValueError(ADA)

    mp, sink, _ = build(policy=FieldPolicy(people=RULES, detectors=[Detector("member", fails)]))
    assert mp.people_unset("user-1", ["plan"]).dropped == {"$unset": "detector_failed"}
    assert not sink.texts


# What somebody's class inherits knows nothing of what it overrides.


class Hashed(MemoryRegistry):
    """Keeps no raw id: it overrides the five methods, and inherits the others."""

    @staticmethod
    def _hashed(subject_id: Any) -> str:
        return hashlib.sha256(str(subject_id).encode()).hexdigest()

    def status(self, subject_id: Any, purpose: str, *, at: Any = None) -> Any:
        return super().status(self._hashed(subject_id), purpose, at=at)

    def statuses(self, subject_ids: Any, purpose: str, *, at: Any = None) -> Any:
        return {subject: self.status(subject, purpose, at=at) for subject in subject_ids}

    def record(self, record: ConsentRecord) -> None:
        super().record(attrs.evolve(record, subject_id=self._hashed(record.subject_id)))

    def history(self, subject_id: Any) -> Any:
        return super().history(self._hashed(subject_id))


class Mirror:
    """Writes to two stores and reads the other; hands on whatever else it is asked for."""

    def __init__(self) -> None:
        self.first, self.second = MemoryRegistry(), MemoryRegistry()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.first, name)

    def status(self, subject_id: Any, purpose: str, *, at: Any = None) -> Any:
        return self.second.status(subject_id, purpose, at=at)

    def record(self, record: ConsentRecord) -> None:
        self.first.record(record)
        self.second.record(record)


@pytest.mark.parametrize("kind", [Hashed, Mirror])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("say", ["withdraw", "opt_out", "deny"])
def test_a_withdrawal_goes_by_the_method_that_somebody_wrote(kind: Callable[[], Any], cached: bool, say: str) -> None:
    # rules 2.3, 2.13 and 7.1
    inner = kind()
    registry = CachedRegistry(inner, ttl=60) if cached else inner
    mp, _, _ = build(registry=registry)
    mp.opt_in("somebody")
    assert mp.track("somebody", "Paid")
    if say != "deny":
        getattr(mp, say)("somebody")
    elif kind is Hashed:
        registry.deny("somebody")
    else:
        return
    assert mp.track("somebody", "Paid").reason is Reason.WITHDRAWN
    assert "somebody" not in repr(vars(inner).get("_records"))


def test_carrying_over_goes_by_the_method_that_somebody_wrote() -> None:
    # rule 2.14
    registry = Hashed()
    registry.deny("visitor-7")
    assert len(carry_over(registry, "visitor-7", "user-1")) == 3
    assert registry.status("user-1", "analytics") is ConsentStatus.DENIED


def test_evidence_of_any_kind_hinders_no_carrying_over() -> None:
    # rule 2.14
    registry = MemoryRegistry()
    registry.grant("user-1", source="login", evidence={"record_id": ["a"]})
    registry.deny("visitor-7", "analytics")
    assert len(carry_over(registry, "visitor-7", "user-1")) == 1


class NoConsumer:
    _consumer = None
    _serializer = None


def test_a_class_attribute_of_a_mixin_hides_no_seal() -> None:
    # rule 1.4
    class Analytics(NoConsumer, Mixpanel):
        pass

    registry, first, later = MemoryRegistry(), Sink(), Sink()
    registry.grant("user-1")
    mp = Analytics("TOKEN", first, registry=registry, policy=FieldPolicy())
    mp._consumer = later
    assert mp.track("user-1", "Paid")
    mp._consumer.send("events", json.dumps({"event": "Paid", "properties": {"distinct_id": "nobody"}}))
    assert (len(first.texts), len(later.texts)) == (0, 1)


@pytest.mark.parametrize("is_mixin", [False, True])
def test_a_property_that_goes_around_the_seal_is_refused(is_mixin: bool) -> None:
    # rule 1.4
    def consumer(self: Any) -> Any:
        return Sink()

    own = {"_consumer": property(consumer)}
    bases, body = ((type("Lazy", (), own), Mixpanel), {}) if is_mixin else ((Mixpanel,), own)
    with pytest.raises(ConfigurationError, match="_consumer is a property, which would go around the consent gate"):
        type("Analytics", bases, body)


class Later:
    async def send(self, endpoint: str, json_message: str, api_key: Any = None) -> None:
        """Sends when somebody awaits it."""


@pytest.mark.parametrize("build_consumer", [Later, lambda: BufferedConsumer(consumer=Later())])
def test_a_consumer_that_would_send_later_is_refused(build_consumer: Callable[[], Any]) -> None:
    # rules 1.8 and 5.1
    with pytest.raises(ConfigurationError, match=r"Later\.send is a coroutine function"):
        Mixpanel("TOKEN", build_consumer())


def test_a_consumer_that_only_promises_to_send_has_failed() -> None:
    # rules 1.8 and 5.1
    class Promising:
        def send(self, endpoint: str, json_message: str, api_key: Any = None) -> Any:
            return Later().send(endpoint, json_message)

    mp, _, _ = build()
    mp._consumer = Promising()
    with pytest.raises(mixpanel.MixpanelException):
        mp.track("user-1", "Paid")


def test_the_name_of_a_thread_that_may_say_who_somebody_is_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    # rule 4.2
    def failing(*_: object) -> None:
        raise OSError

    mp, _, _ = build(registry=failing)
    thread = threading.Thread(target=lambda: mp.track("user-1", "Paid"), name=f"sync-{ADA}\n[forged]")
    thread.start()
    thread.join()
    assert "asked by thread <withheld>" in caplog.text
    assert ADA not in caplog.text
    assert "forged" not in caplog.text


class Lying(str):
    """A text that says something else when it is asked."""

    __slots__ = ()

    def __str__(self) -> str:
        return json.dumps({"event": "Paid", "properties": {"distinct_id": "nobody", "email": ADA}})


class LyingSerializer(json.JSONEncoder):
    def encode(self, o: Any) -> str:
        return Lying(super().encode(o))


def test_what_a_serializer_writes_is_taken_by_its_characters() -> None:
    # rules 1.4 and 3.6
    mp, sink, _ = build(serializer=LyingSerializer)
    assert mp.track("user-1", "Paid", {"plan": "pro"})
    assert ADA not in sink.texts[-1]
    assert sink.last["properties"]["distinct_id"] == "user-1"


@pytest.mark.parametrize(
    ("subject", "event"),
    [
        ("550e8400e29b41d4a716446655440000", "open 550e8400-e29b-41d4-a716-446655440000"),
        ("ann lee", "for ann+lee"),
        ("\uff41\uff4e\uff4e177", "for ann177"),
    ],
)
def test_the_fast_path_tells_no_name_that_the_gate_would_not(subject: str, event: str) -> None:
    # rule 4.2
    mp, _, registry = build()
    registry.grant(subject)
    assert mp.track(subject, event).event == mp.track(subject, event, meta={"q": 1}).event == "<id>"


class OfUrllib:
    """What `urllib.request.urlopen` raises: its attributes come from what it holds."""

    def send(self, endpoint: str, message: str) -> None:
        raise HTTPError("https://api.mixpanel.com/track", 503, "busy", Message(), io.BytesIO(b"busy"))


def test_an_exception_that_answers_from_what_it_held_can_still_be_looked_at() -> None:
    # rules 1.8 and 5.1
    _, _, registry = build()
    mp = Mixpanel("TOKEN", OfUrllib(), registry=registry, policy=FieldPolicy.keep_all())
    with pytest.raises(Exception, match="HTTPError") as raised:
        mp.track("user-1", "Paid")
    assert not hasattr(raised.value, "anything")
    assert "HTTPError" in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("given", [(), [], "", {}, 0, False])
def test_false_properties_of_an_event_are_none_as_to_the_vendor(given: Any) -> None:
    # rule 1.3
    mp, sink, _ = build()
    assert mp.track("user-1", "Paid", given)
    assert len(sink.texts) == 1


@pytest.mark.parametrize("host", ["", None, "api-eu.mixpanel.com/", "a b", "https://api.mixpanel.com"])
def test_a_consumer_of_the_vendor_s_with_no_host_is_refused(host: Any) -> None:
    # rule 1.8
    with pytest.raises(ConfigurationError, match="api_host"):
        Mixpanel("TOKEN", mixpanel.Consumer(api_host=host))


@pytest.mark.parametrize("token", ["T\n", " T", "\tT", " ", ""])
def test_a_token_with_white_space_around_it_is_refused(token: str) -> None:
    # rule 1.8
    with pytest.raises(ConfigurationError, match="token must be"):
        Mixpanel(token)
