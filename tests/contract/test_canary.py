"""A canary anywhere in the arguments of any method: nothing of it gets out, unless consent and a rule say so."""

from __future__ import annotations

import json
import logging
import os
import pickle
import traceback
from datetime import datetime, timezone
from typing import Any

import mixpanel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consentpanel import FieldPolicy, MessageError, Mixpanel, keep
from consentpanel.registry import MemoryRegistry

CANARY = "CANARYvalue"
EXAMPLES = int(os.environ.get("CONSENTPANEL_HYPOTHESIS_EXAMPLES", "300"))
LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)

NAMES = ["plan", "email", "$email", "$name", "$ip", "ip", "note", "deep", "$set", "properties"]
ID_NAMES = [
    "distinct_id",
    "$distinct_id",
    "$user_id",
    "alias",
    "$identified_id",
    "$distinct_ids",
    "$device_id",
    "$anon_id",
]
OPERATORS = ["$set", "$set_once", "$add", "$append", "$union", "$remove", "$frobnicate"]


class Fleeting:
    """Its text is a canary, and so is what a serializer makes of it."""

    def __str__(self) -> str:
        return CANARY

    __repr__ = __str__


class LoudError(Exception):
    """Raised by a mapping or a serializer, with the value in its text."""


class Trap(dict[str, Any]):
    """A mapping that raises, and says what it holds, when it is read."""

    def items(self) -> Any:
        raise LoudError(CANARY)

    def keys(self) -> Any:
        raise LoudError(CANARY)

    def __iter__(self) -> Any:
        raise LoudError(CANARY)


class Serializer(mixpanel.DatetimeSerializer):
    def default(self, obj: Any) -> Any:
        if isinstance(obj, Fleeting):
            return {"plan": CANARY, "distinct_id": CANARY}
        raise LoudError(CANARY)


class Sink:
    """A consumer that keeps what it gets."""

    def __init__(self) -> None:
        self.received: list[str] = []

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        del api_key, api_secret
        self.received.append(f"{endpoint} {json_message}")


canaries = st.sampled_from(
    [CANARY, CANARY.encode(), Fleeting(), object(), f"https://x.example/?q={CANARY}", "\ud800" + CANARY, 10**400]
)
harmless = st.sampled_from([None, True, 0, 1.5, float("nan"), "x", "", [], {}, b"x"])
names = st.sampled_from(NAMES)
values = st.recursive(
    canaries | harmless,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(names | st.sampled_from(ID_NAMES), inner, max_size=3)
    ),
    max_leaves=6,
)
properties = st.one_of(
    st.dictionaries(names, values, max_size=4),
    st.dictionaries(names | st.just(CANARY), values, max_size=3),
    values,
    st.just(Trap),
)
metas = (
    st.none()
    | st.dictionaries(st.sampled_from([*NAMES, *ID_NAMES, "$ignore_time", "$time", "time"]), values, max_size=3)
    | values
)
updates = st.dictionaries(st.sampled_from(OPERATORS), properties, max_size=3)
times = st.sampled_from([0, 1_600_000_000, "2026-01-01", None, float("nan"), CANARY])
people_calls = ["set", "set_once", "increment", "append", "union", "remove"]
group_calls = ["set", "set_once", "union", "remove"]

calls = st.one_of(
    st.tuples(st.just("track"), st.tuples(st.just("event"), properties, metas)),
    st.tuples(st.just("import_data"), st.tuples(times, properties, metas)),
    st.tuples(st.just("alias"), st.tuples(metas)),
    st.tuples(st.just("merge"), st.tuples(metas)),
    st.tuples(st.sampled_from([f"people_{call}" for call in people_calls]), st.tuples(properties, metas)),
    st.tuples(st.just("people_track_charge"), st.tuples(values, properties, metas)),
    st.tuples(st.just("people_update"), st.tuples(updates, metas)),
    st.tuples(st.just("by_hand"), st.tuples(st.sampled_from(["events", "people", "imports", CANARY]), properties)),
)


def act(mp: Mixpanel, subject: str, call: str, arguments: tuple[Any, ...]) -> Any:
    """One call on behalf of a subject, whose id is the call's own."""
    arguments = tuple(Trap(plan=CANARY) if argument is Trap else argument for argument in arguments)
    if call == "track":
        return mp.track(subject, *arguments)
    if call == "import_data":
        time, said, meta = arguments
        return mp.import_data(None, subject, "event", time, said, meta)
    if call == "alias":
        return mp.alias(subject, subject, *arguments)
    if call == "merge":
        return mp.merge(None, subject, subject, *arguments)
    if call == "people_update":
        update, meta = arguments
        update = {name: Trap(plan=CANARY) if said is Trap else said for name, said in update.items()}
        return mp.people_update({"$distinct_id": subject, **update}, meta)
    if call == "people_track_charge":
        return mp.people_track_charge(subject, *arguments)
    if call == "by_hand":
        endpoint, said = arguments
        try:
            if endpoint == "people":
                text = json.dumps({"$token": "T", "$distinct_id": subject, "$set": dict(said)})
            else:
                named = {"distinct_id": subject, **dict(said)}
                text = json.dumps({"event": "event", "properties": named})
        except (TypeError, ValueError, LoudError):
            text = "{" + CANARY
        return mp._consumer.send(endpoint, text)
    return getattr(mp, call)(subject, *arguments)


def said_by(error: BaseException) -> str:
    """Everything that an error shows, along its whole chain, but for the lines of source code."""
    chain = [error]
    while (following := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(following)
    parts = [f"{each!r} {each} {vars(each)}" for each in chain]
    return " ".join(parts) + "".join(traceback.format_exception_only(error))


class Records(logging.Handler):
    """Keeps all that is logged, tracebacks too."""

    def __init__(self) -> None:
        super().__init__()
        self.formatter = logging.Formatter("%(message)s")
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record) + repr(record.args) + repr(record.msg))


def watched(mp: Mixpanel, subject: str, call: str, arguments: tuple[Any, ...], names_of_properties: bool) -> list[str]:
    """Everything that a call shows to anybody but the transport."""
    root = logging.getLogger()
    records, level = Records(), root.level
    root.addHandler(records)
    root.setLevel(logging.DEBUG)
    seen = []
    try:
        answer = act(mp, subject, call, arguments)
        for decision in answer if isinstance(answer, list) else [answer]:
            seen.append(f"{decision.reason} {decision.event} {decision.endpoint}")
            if not names_of_properties:
                seen += [repr(decision), str(pickle.dumps(decision))]
    except MessageError as error:
        seen += [said_by(error)] if not names_of_properties else []
    finally:
        root.removeHandler(records)
        root.setLevel(level)
    return [*seen, *records.lines, repr(mp), repr(mp.stats()), repr(mp._consumer)]


def clients(registry: MemoryRegistry, sink: Sink, on_error: Any, serializer: Any) -> Mixpanel:
    policy = FieldPolicy(events={"plan": keep(), "deep": keep(deep=True)}, people={"plan": keep()})
    return Mixpanel("TOKEN", sink, serializer, registry=registry, policy=policy, on_error=on_error)


on_errors = st.sampled_from(["drop", "raise"])
serializers = st.sampled_from([mixpanel.DatetimeSerializer, Serializer])


def snapshot(arguments: tuple[Any, ...]) -> bytes:
    return repr(arguments).encode("utf-8", "surrogatepass")


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls, on_errors, serializers)
def test_without_consent_no_canary_gets_out_anywhere(call: Any, on_error: Any, serializer: Any) -> None:
    # rules 1.4, 2.6, 2.7, 4.2
    sink, registry = Sink(), MemoryRegistry()
    mp = clients(registry, sink, on_error, serializer)
    before = snapshot(call[1])
    seen = watched(mp, "nobody", *call, names_of_properties=False)
    assert sink.received == []
    assert CANARY not in "".join(seen)
    assert snapshot(call[1]) == before  # rule 1.5


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls, on_errors, serializers)
def test_with_consent_a_canary_is_sent_under_a_named_property_only(call: Any, on_error: Any, serializer: Any) -> None:
    # rules 3.1, 3.4, 3.5, 3.6, 4.2
    sink, registry = Sink(), MemoryRegistry()
    registry.grant("somebody", recorded_at=LONG_AGO)
    registry.grant(CANARY, recorded_at=LONG_AGO)
    mp = clients(registry, sink, on_error, serializer)
    seen = watched(mp, "somebody", *call, names_of_properties=True)
    assert CANARY not in "".join(seen)
    for text in sink.received:
        endpoint, _, message = text.partition(" ")
        for path in paths_of_canaries(json.loads(message)):
            assert path[:2] in ALLOWED[endpoint], path


IDS_SENT = {
    *((name,) for name in [*ID_NAMES, "$ignore_time"]),
    *(("properties", name) for name in ID_NAMES),
    *((operator, name) for operator in OPERATORS for name in ID_NAMES),
}
STRUCTURE = {("properties", name) for name in ("token", "$insert_id", "mp_lib", "$lib_version")}
ALLOWED = {
    "events": {("properties", "plan"), ("properties", "deep"), *IDS_SENT, *STRUCTURE},
    "people": {(operator, "plan") for operator in OPERATORS} | IDS_SENT,
}
ALLOWED["imports"] = ALLOWED["events"]


def paths_of_canaries(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where canaries stand in a message, by name; a name that is one counts at its parent."""
    if isinstance(value, dict):
        named = [path for key in value if CANARY in key]
        return named + [found for key, item in value.items() for found in paths_of_canaries(item, (*path, key))]
    if isinstance(value, list):
        return [found for item in value for found in paths_of_canaries(item, path)]
    return [path] if CANARY in str(value) else []
