"""Random calls on the vendor's client and on ours, side by side: what reaches the consumer is the same to the byte."""

from __future__ import annotations

import copy
import json
import math
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import mixpanel
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import consentpanel
from consentpanel import FieldPolicy, keep
from consentpanel._mixpanel.names import IDS, TIMES

NOW = 1_700_000_000.25
NOT_ANY_NAME = IDS | TIMES | {"event", "properties", "token", "$token"}


class Recorder:
    """Keeps each call as it came, with the number of its arguments."""

    def __init__(self, **_: Any) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def send(self, *arguments: Any, **keywords: Any) -> None:
        self.calls.append((arguments, keywords))


class WithDecimals(mixpanel.DatetimeSerializer):
    def default(self, obj: Any) -> Any:
        if isinstance(obj, Decimal):
            return str(obj)
        if isinstance(obj, (set, frozenset)):
            return sorted(obj)
        return super().default(obj)


class Sorted(WithDecimals):
    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "sort_keys": True, "ensure_ascii": False})


class Spaced(WithDecimals):
    def encode(self, o: Any) -> str:
        return " " + super().encode(o)


SERIALIZERS = [mixpanel.DatetimeSerializer, WithDecimals, Sorted, Spaced]


def everybody(subject_id: str, purpose: str, at: datetime | None = None) -> bool:
    return True


def pair(serializer: Any = mixpanel.DatetimeSerializer) -> tuple[Any, Any]:
    theirs = mixpanel.Mixpanel("TOKEN", Recorder(), serializer)
    ours = consentpanel.Mixpanel("TOKEN", Recorder(), serializer, registry=everybody, policy=FieldPolicy.keep_all())
    for client in (theirs, ours):
        client._now = lambda: NOW
        client._make_insert_id = lambda: "inserted"
    return theirs, ours


def outcome(client: Any, recorder: Recorder, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    recorder.calls.clear()
    try:
        getattr(client, name)(*copy.deepcopy(arguments), **copy.deepcopy(keywords))
    except TypeError:
        return "TypeError", recorder.calls
    return "returned", list(recorder.calls)


def is_utf_8(text: str) -> bool:
    return text == text.encode("utf-8", "replace").decode()


class Pair:
    def __init__(self, serializer: Any) -> None:
        self.recorders = Recorder(), Recorder()
        self.theirs, self.ours = pair(serializer)
        self.theirs._consumer, self.ours._consumer = self.recorders

    def same(self, name: str, *arguments: Any, **keywords: Any) -> None:
        theirs = outcome(self.theirs, self.recorders[0], name, arguments, keywords)
        if theirs[0] == "TypeError":
            return  # rule 3.6: what the vendor's client cannot write is the one difference
        if any(not is_utf_8(text) for (_, text, *_), _ in theirs[1]):
            return  # nor what nobody can send
        assert outcome(self.ours, self.recorders[1], name, arguments, keywords) == theirs


names = st.one_of(
    st.text(max_size=12).filter(lambda name: name not in NOT_ANY_NAME),
    st.sampled_from(["$email", "$ip", "ip", "plan", "mp_lib", "$lib_version", "$insert_id", "$set", "a.b", "a[]", "é"]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010), max_size=4),
    st.datetimes(),
)
exotic = st.one_of(scalars, st.decimals(allow_nan=False), st.frozensets(st.integers(0, 9), max_size=4))


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.tuples(inner, inner),
            st.dictionaries(names, inner, max_size=4),
        ),
        max_leaves=12,
    )


values = trees(exotic)
ids = st.one_of(
    st.text(min_size=1, max_size=30).filter(lambda text: not text.isspace()),
    st.integers(-(2**63), 2**63),
)
times = st.one_of(st.integers(0, 1_600_000_000), st.floats(0, 1_600_000_000))
person_names = st.sampled_from(sorted(IDS - {"$distinct_ids"}))
properties = st.builds(
    lambda plain, people, when: {**plain, **people, **when},
    st.dictionaries(names, values, max_size=6),
    st.dictionaries(person_names, ids, max_size=2),
    st.one_of(st.just({}), st.fixed_dictionaries({"time": times})),
)
plain_properties = st.dictionaries(names, values, max_size=6)
metas = st.one_of(
    st.none(),
    st.just({}),
    st.dictionaries(names, values, max_size=3),
    st.fixed_dictionaries({"properties": properties}),
    st.fixed_dictionaries({"$ignore_time": st.booleans(), "$ip": scalars}),
)
profile_metas = st.one_of(st.none(), st.dictionaries(names, values, max_size=3).filter(lambda meta: "$set" not in meta))
secrets = st.one_of(st.none(), st.text(max_size=8))
events = st.text(min_size=1, max_size=20)
serializers = st.sampled_from(SERIALIZERS)
examples = settings(max_examples=120)


@examples
@given(serializers, ids, events, st.one_of(st.none(), properties), metas)
def test_track_hands_over_the_vendors_bytes(serializer, subject, event, said, meta):
    Pair(serializer).same("track", subject, event, said, meta)  # rule 1.3


@examples
@given(
    st.sampled_from([each for each in SERIALIZERS if each is not Sorted]),  # which the vendor's client raises with
    st.dictionaries(st.one_of(names, st.integers(), st.booleans(), st.none(), st.floats()), scalars, max_size=4),
)
def test_names_that_are_no_text_are_written_as_the_vendors_json_does(serializer, said):
    texts = {json.loads(json.dumps({key: 0})).popitem()[0] for key in said}
    assume(len(texts) == len(said))
    both = Pair(serializer)
    both.same("track", "person", "event", {"inner": said, **said})
    both.same("people_set", "person", {"inner": said, **said}, {"outer": said})


@examples
@given(serializers, secrets, ids, events, times, st.one_of(st.none(), properties), metas, secrets)
def test_import_data_hands_over_the_vendors_bytes_and_key(
    serializer, key, subject, event, when, said, meta, api_secret
):
    Pair(serializer).same("import_data", key, subject, event, when, said, meta, api_secret)  # rule 1.3


@examples
@given(serializers, secrets, ids, ids, metas.filter(lambda meta: not meta or "properties" not in meta), secrets)
def test_merge_hands_over_the_vendors_bytes_and_key(serializer, key, one, other, meta, api_secret):
    Pair(serializer).same("merge", key, one, other, meta, api_secret)  # rule 1.3


@examples
@given(serializers, ids, ids, st.one_of(st.none(), st.dictionaries(names, values, max_size=3)))
def test_alias_writes_the_vendors_record(serializer, alias, original, meta):
    # rule 1.6: the bytes are the vendor's, the way is the configured consumer.
    both = Pair(serializer)
    with patch.object(mixpanel, "Consumer", lambda **_: both.recorders[0]):
        both.same("alias", alias, original, meta)


PEOPLE = ["people_set", "people_set_once", "people_increment", "people_append", "people_union", "people_remove"]
GROUPS = ["group_set", "group_set_once", "group_union", "group_remove"]


@examples
@given(serializers, st.sampled_from(PEOPLE), ids, plain_properties, profile_metas)
def test_each_people_call_hands_over_the_vendors_bytes(serializer, call, subject, said, meta):
    Pair(serializer).same(call, subject, said, meta)  # rule 1.3


@examples
@given(serializers, st.sampled_from(GROUPS), names, scalars, plain_properties, profile_metas)
def test_each_group_call_hands_over_the_vendors_bytes(serializer, call, key, group, said, meta):
    Pair(serializer).same(call, key, group, said, meta)  # rule 1.3


@examples
@given(serializers, ids, exotic, st.one_of(st.none(), plain_properties), profile_metas)
def test_people_track_charge_hands_over_the_vendors_bytes(serializer, subject, amount, said, meta):
    Pair(serializer).same("people_track_charge", subject, amount, said, meta)  # rule 1.3


unset = st.lists(st.text(max_size=12), max_size=5)


@examples
@given(serializers, ids, names, scalars, unset, profile_metas)
def test_each_removal_hands_over_the_vendors_bytes(serializer, subject, key, group, gone, meta):
    both = Pair(serializer)  # rule 1.3
    both.same("people_unset", subject, gone, meta)
    both.same("people_delete", subject, meta)
    both.same("people_clear_charges", subject, meta)
    both.same("group_unset", key, group, gone, meta)
    both.same("group_delete", key, group, meta)


operators = st.dictionaries(
    st.sampled_from(["$set", "$set_once", "$add", "$append", "$union", "$remove"]), plain_properties, max_size=3
)
others = st.dictionaries(names.filter(lambda name: name != "$set"), values, max_size=3)


@examples
@given(serializers, ids, operators, others, st.one_of(st.just({}), st.fixed_dictionaries({"$time": times})), unset)
def test_update_messages_of_any_shape_hand_over_the_vendors_bytes(serializer, subject, said, more, when, gone):
    both = Pair(serializer)  # rule 1.3
    message = {"$distinct_id": subject, **said, **more, **when}
    both.same("people_update", message)
    both.same("people_update", {**message, "$unset": gone})
    both.same("group_update", {"$group_key": "company", "$group_id": "acme", **said, **more, **when, "$unset": gone})


@pytest.mark.parametrize("call", ["track", "people_set"])
def test_a_value_that_cannot_be_serialised_drops_its_property_and_not_the_message(call):
    # rule 3.6: the vendor's client raises a TypeError
    said = {"a": object(), "b": 1}
    arguments = ("person", "event", said) if call == "track" else ("person", said)
    theirs, ours = pair()
    with pytest.raises(TypeError):
        getattr(theirs, call)(*arguments)
    decision = getattr(ours, call)(*arguments)
    assert (decision.outcome, dict(decision.dropped)) == ("redacted", {"a": "unserialisable"})


def test_class_attributes_of_a_subclass_do_what_they_do_in_the_vendor_s_client():
    # rule 1.3: the constructor sets `_consumer` and `_serializer`, so a class attribute has no say; `_now` has
    recorders = Recorder(), Recorder()
    for parent, recorder, keywords in (
        (mixpanel.Mixpanel, recorders[0], {}),
        (consentpanel.Mixpanel, recorders[1], {"registry": everybody, "policy": FieldPolicy.keep_all()}),
    ):
        attributes = {
            "_serializer": WithDecimals,
            "_consumer": Recorder(),
            "_now": lambda _: 7,
            "_make_insert_id": lambda _: "inserted",
        }
        mp = type("Mine", (parent,), attributes)("TOKEN", recorder, **keywords)
        mp.track("person", "event", {"when": datetime(2020, 1, 2, tzinfo=timezone.utc)})
        mp._serializer = WithDecimals
        mp.track("person", "event", {"price": Decimal("1.5"), "tags": {2, 1}})
        assert mp._serializer is WithDecimals
    assert recorders[0].calls == recorders[1].calls
    assert len(recorders[0].calls) == 2


def test_hooks_that_a_subclass_replaces_are_asked():
    # rule 1.3: `_now`, `_make_insert_id` and the serializer are the vendor's seams.
    class Fixed(consentpanel.Mixpanel):
        def _now(self) -> float:
            return 12.5

        def _make_insert_id(self) -> str:
            return "mine"

    recorder = Recorder()
    mp = Fixed("TOKEN", recorder, registry=everybody, policy=FieldPolicy.keep_all())
    mp.track("person", "event")
    said = json.loads(recorder.calls[0][0][1])["properties"]
    assert (said["time"], said["$insert_id"]) == (12.5, "mine")


def test_a_serializer_replaced_on_the_client_is_used():
    both = Pair(mixpanel.DatetimeSerializer)
    both.theirs._serializer = both.ours._serializer = WithDecimals
    both.same("track", "person", "event", {"price": Decimal("12.05"), "tags": {"a", "b"}})
    assert '"12.05"' in both.recorders[1].calls[0][0][1]


def test_a_token_replaced_on_the_client_is_used():
    both = Pair(mixpanel.DatetimeSerializer)
    both.theirs._token = both.ours._token = "OTHER"
    both.same("track", "person", "event")
    both.same("people_set", "person", {"a": 1})
    both.same("group_set", "company", "acme", {"a": 1})
    assert '"OTHER"' in both.recorders[1].calls[0][0][1]


def test_an_insert_id_is_as_long_and_as_random_as_the_vendors():
    mp = consentpanel.Mixpanel("TOKEN", Recorder())
    made = {mp._make_insert_id() for _ in range(200)}
    assert len(made) == 200
    assert {len(text) for text in made} == {32}
    assert set("".join(made)) == set("0123456789abcdef")


@examples
@given(
    ids.filter(lambda subject: isinstance(subject, str)),
    events,
    st.dictionaries(st.sampled_from("abc"), scalars, max_size=3),
)
def test_the_express_lane_writes_the_vendors_bytes(subject, event, said):
    # rule 1.3: whatever a policy keeps whole leaves in the bytes that the vendor's client would have written
    assume("time" not in said)
    # Without detectors: one number in many happens to be a payment card's.
    kept = dict.fromkeys("abc", keep())
    policy = FieldPolicy(events=kept, people=kept, detectors=[])
    theirs, ours = Recorder(), Recorder()
    clients = (
        mixpanel.Mixpanel("TOKEN", theirs),
        consentpanel.Mixpanel("TOKEN", ours, registry=everybody, policy=policy),
    )
    for client in clients:
        client._now = lambda: NOW
        client._make_insert_id = lambda: "inserted"
        client.track(subject, event, said)
        client.people_set(subject, said)
    if not any(isinstance(value, float) and not math.isfinite(value) for value in said.values()):
        assert ours.calls == theirs.calls
