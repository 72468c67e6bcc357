"""How ids leave (contract rule 3.9)."""

from __future__ import annotations

import copy
import json
import pickle
import time
import uuid
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mixpanel
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentpanel
from consentpanel import (
    BufferedConsumer,
    ConfigurationError,
    FieldPolicy,
    LocalFlagsConfig,
    Mixpanel,
    Reason,
    keep,
    per_subject,
    plain,
    pseudonymize,
    pseudonymous,
)
from consentpanel.policy.identity import Mapped, with_pseudonyms
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

SECRET = b"s" * 32
ANN = "ann-4711@mail.example"


def everybody(subject_id: str, purpose: str, at: Any = None) -> bool:
    return True


def build(identity: Any = None, **keywords: Any) -> tuple[Mixpanel, FakeTransport]:
    vendor = FakeTransport()
    given = {"registry": everybody, "policy": FieldPolicy.keep_all(), **keywords}
    return Mixpanel("T", vendor, identity=identity or pseudonymous(SECRET), **given), vendor


CALLS = {
    "track": lambda mp: mp.track(ANN, "E", {"$user_id": ANN, "plan": 1}),
    "track an int": lambda mp: mp.track(4711, "E", {"quantity": 4711, "ok": True}),
    "import_data": lambda mp: mp.import_data(None, ANN, "E", 1_600_000_000),
    "alias": lambda mp: mp.alias("other-4711", ANN),
    "merge": lambda mp: mp.merge(None, ANN, "other-4711"),
    "people_set": lambda mp: mp.people_set(ANN, {"plan": 1}),
    "people_append": lambda mp: mp.people_append(ANN, {"plan": 1}),
    "people_unset": lambda mp: mp.people_unset(ANN, ["plan"]),
    "people_delete": lambda mp: mp.people_delete(ANN),
    "meta": lambda mp: mp.track(ANN, "E", {}, meta={"distinct_id": ANN}),
    "device": lambda mp: mp.track(ANN, "E", {"$device_id": "device-4711", "$anon_id": "anon-4711"}),
    "uuid": lambda mp: mp.track(uuid.UUID(int=4711), "E"),
    "by hand": lambda mp: mp._consumer.send(
        "events", json.dumps({"event": "E", "properties": {"distinct_id": ANN, "token": "T"}})
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["pseudonymous", "per_subject"])
@pytest.mark.parametrize(
    "policy",
    [
        FieldPolicy.keep_all(),
        FieldPolicy(events={"plan": keep(), "quantity": keep(), "ok": keep()}, people={"plan": keep()}),
    ],
)
def test_no_call_lets_a_raw_id_out_in_an_id_field(call, kind, policy):
    mp, vendor = build(pseudonymous(SECRET) if kind == "pseudonymous" else per_subject({}), policy=policy)
    assert CALLS[call](mp)
    raw = vendor.messages[0].raw
    for personal in (ANN, "other-4711", "device-4711", "anon-4711", str(uuid.UUID(int=4711))):
        assert personal not in raw
    if call == "track an int":
        names = vendor.messages[0].properties
        assert (names["quantity"], names["ok"]) == (4711, True)  # numbers are other things
        assert names["distinct_id"] != 4711
    assert "id1_" in raw


def test_one_person_has_one_pseudonym_on_every_endpoint_and_in_every_process():
    mp, vendor = build()
    mp.track(ANN, "E")
    mp.people_set(ANN, {"a": 1})
    mp.alias("other-4711", ANN)
    mp.merge(None, ANN, "other-4711")
    one = pseudonymous(SECRET).of(ANN, None)
    two = pseudonymous(SECRET).of("other-4711", None)
    assert [message.distinct_id for message in vendor.events] == [one, one]
    assert vendor.people[0].distinct_id == one
    assert vendor.events[1].properties["alias"] == two
    assert vendor.imports[0].properties["$distinct_ids"] == [one, two]
    assert len(one) <= 255


def test_consent_is_looked_up_by_the_raw_id():
    registry = MemoryRegistry()
    registry.grant(ANN)
    mp, vendor = build(registry=registry)
    assert mp.track(ANN, "E")
    assert mp.track(pseudonymous(SECRET).of(ANN, None), "E").reason is Reason.NO_CONSENT
    mp._consumer = buffered = BufferedConsumer(consumer=vendor)
    mp.track(ANN, "E")
    assert buffered.purge(ANN) == 1


def test_the_id_is_replaced_in_texts_and_urls_as_a_whole_token():
    mp, vendor = build()
    mp.track(
        ANN,
        "E",
        {
            "same": ANN,
            "url": f"https://shop.example/u/{ANN}/x?u=ann-4711%40mail.example&v={ANN}x",
            "deep": [{"text": f"for {ANN}."}],
            ANN: 1,
        },
    )
    pseudonym = pseudonymous(SECRET).of(ANN, None)
    said = vendor.events[0].properties
    assert said["same"] == pseudonym
    assert said["url"] == f"https://shop.example/u/{pseudonym}/x?u={pseudonym}&v={ANN}x"
    assert said["deep"] == [{"text": f"for {pseudonym}."}]
    assert said[pseudonym] == 1


def test_a_short_id_is_replaced_only_where_it_is_the_whole_string():
    mp, vendor = build()
    mp.track("7", "E", {"a": "7", "b": "7 tea", "c": 7, "d": ["7"]})
    said = vendor.events[0].properties
    pseudonym = pseudonymous(SECRET).of("7", None)
    assert (said["a"], said["b"], said["c"], said["d"]) == (pseudonym, "7 tea", 7, [pseudonym])


@pytest.mark.parametrize(("subject_id", "is_replaced"), [("ann-1", False), ("ann-17", True), ("ann-471", True)])
def test_an_id_of_six_characters_is_replaced_inside_a_text(subject_id, is_replaced):
    mp, vendor = build()
    mp.track(subject_id, "E", {"url": f"/u/{subject_id}/a"})
    pseudonym = pseudonymous(SECRET).of(subject_id, None)
    assert vendor.events[0].properties["url"] == f"/u/{pseudonym if is_replaced else subject_id}/a"


def test_an_id_that_begins_another_does_not_take_its_place():
    mp, vendor = build()
    mp.track("user-1", "E", {"$user_id": "user-1-b", "url": "/u/user-1-b/of/user-1"})
    one, other = (pseudonymous(SECRET).of(each, None) for each in ("user-1", "user-1-b"))
    assert vendor.events[0].properties["url"] == f"/u/{other}/of/{one}"


def test_what_the_vendor_needs_is_no_id_though_it_reads_the_same():
    # rule 3.9
    vendor = FakeTransport()
    mp = Mixpanel("TOKEN-4711", vendor, registry=everybody, identity=pseudonymous(SECRET))
    assert mp.track("TOKEN-4711", "E")
    assert vendor.events[0].payload["properties"]["token"] == "TOKEN-4711"
    assert vendor.events[0].distinct_id == pseudonymous(SECRET).of("TOKEN-4711", None)


def test_numbers_in_a_list_of_ids_are_mapped_too():
    # rules 2.7 and 3.9
    mp, vendor = build()
    assert mp.merge(None, 4711, 4712)
    ids = vendor.messages[0].payload["properties"]["$distinct_ids"]
    assert ids == [pseudonymous(SECRET).of(each, None) for each in ("4711", "4712")]


def test_an_identity_without_a_secret_says_so():
    with pytest.raises(ConfigurationError, match="needs a secret"):
        pseudonymous().of(ANN, None)


def test_the_policy_s_secret_is_used_unless_another_is_given():
    policy = FieldPolicy(events={"p": pseudonymize()}, secret=SECRET)
    mp, vendor = build(pseudonymous(), policy=policy)
    mp.track(ANN, "E", {"p": ANN})
    assert vendor.events[0].distinct_id == pseudonymous(SECRET).of(ANN, None)
    # An id is not the pseudonym of the same value, or the two could be joined.
    assert vendor.events[0].properties["p"].partition("_")[2] != str(vendor.events[0].distinct_id).partition("_")[2]


def test_a_missing_secret_is_a_configuration_error_or_sends_nothing():
    with pytest.raises(ConfigurationError, match="needs a secret"):
        build(pseudonymous(), policy=FieldPolicy())
    with pytest.raises(ConfigurationError, match="at least 32 bytes"):
        pseudonymous(b"short")
    consentpanel.reset()
    consentpanel.configure(identity=pseudonymous())
    try:
        vendor = FakeTransport()
        mp = Mixpanel("T", vendor, registry=everybody, policy=FieldPolicy())
        assert mp.track(ANN, "E").reason is Reason.NOT_CONFIGURED
        assert vendor.messages == []
    finally:
        consentpanel.reset()


@pytest.mark.parametrize("value", ["plain", str, 7, lambda subject_id: subject_id])
def test_what_is_no_identity_is_a_configuration_error(value):
    with pytest.raises(ConfigurationError, match="identity must be"):
        build(value)


def test_a_forgotten_person_starts_a_new_identity():
    salts: dict[str, str] = {}
    identity = per_subject(salts)
    mp, vendor = build(identity)
    mp.track(ANN, "E")
    mp.track("bob-4711", "E")
    mp.track(ANN, "E")
    identity.forget(ANN)
    assert list(salts) == ["bob-4711"]
    mp.track(ANN, "E")
    ids = [message.distinct_id for message in vendor.events]
    assert ids[0] == ids[2]
    assert len(set(ids)) == 3


def test_a_person_without_consent_gets_no_salt():
    salts: dict[str, str] = {}
    mp, _ = build(per_subject(salts), registry=MemoryRegistry())
    assert not mp.track(ANN, "E")
    assert salts == {}


def test_only_per_subject_ids_can_be_forgotten():
    for identity in (plain(), pseudonymous(SECRET)):
        with pytest.raises(ConfigurationError):
            identity.forget(ANN)
    with pytest.raises(ConfigurationError):
        per_subject([])  # type: ignore[arg-type]


def test_a_store_that_fails_drops_the_message():
    class Broken(dict[str, str]):
        def get(self, *_: Any) -> Any:
            raise OSError(ANN)

    mp, vendor = build(per_subject(Broken()))
    assert not mp.track(ANN, "E")
    assert vendor.messages == []


def test_plain_ids_are_the_default_and_the_vendor_s_bytes():
    assert plain().is_plain
    mp, vendor = build(plain())
    mp.track(4711, "E")
    assert vendor.events[0].distinct_id == 4711


@pytest.mark.parametrize("identity", [plain(), pseudonymous(SECRET), per_subject({})])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_identity_stays_in_its_process_and_shows_no_secret(identity, duplicate):
    with pytest.raises(TypeError, match="Build it in the worker"):
        duplicate(identity)
    assert SECRET.decode() not in repr(identity)


@given(st.text(max_size=30), st.text(max_size=30))
def test_two_ids_have_two_pseudonyms_which_hold_no_digits_in_a_row(one, other):
    identity = pseudonymous(SECRET)
    assert (identity.of(one, None) == identity.of(other, None)) == (one == other)
    assert not any(character.isdigit() for character in identity.of(one, None)[5:])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
def test_what_names_nobody_is_written_as_before(tree):
    text = json.dumps({"x": tree}, separators=(",", ":"))
    assert with_pseudonyms(text, {"somebody-else": "pid1_x"}) == Mapped(text, frozenset(), frozenset())


DEFINITION = {
    "id": "1",
    "name": "new",
    "key": "new",
    "status": "active",
    "project_id": 1,
    "context": "distinct_id",
    "ruleset": {
        "variants": [
            {"key": "a", "value": "a", "is_control": True, "split": 0.5},
            {"key": "b", "value": "b", "is_control": False, "split": 0.5},
        ],
        "rollout": [{"rollout_percentage": 1.0}],
    },
}


@pytest.mark.skipif(not hasattr(mixpanel, "LocalFlagsConfig"), reason="this mixpanel has no local flags")
def test_a_local_flag_is_assigned_by_the_mapped_id_and_its_exposure_judged_by_the_raw_one():
    # rule 1.7: so that the vendor's remote evaluation, which knows the mapped id alone, assigns the same variant
    from mixpanel.flags import types

    registry = MemoryRegistry()
    registry.grant("user-9")
    definition = (
        types.ExperimentationFlag.model_validate(DEFINITION)
        if hasattr(types.ExperimentationFlag, "model_validate")
        else types.ExperimentationFlag.from_dict(DEFINITION)
    )
    assigned = {}
    for kind, identity in (("mapped", pseudonymous(SECRET)), ("plain", plain())):
        mp, vendor = build(identity, registry=registry, local_flags_config=LocalFlagsConfig(enable_polling=False))
        mp.local_flags._flag_definitions = {"new": definition}
        for number in range(40):
            given = f"user-{number}" if kind == "mapped" else pseudonymous(SECRET).of(f"user-{number}", None)
            assigned[kind, number] = mp.local_flags.get_variant_value("new", "none", {"distinct_id": given})
        if kind == "mapped":
            assert [message.distinct_id for message in vendor.events] == [pseudonymous(SECRET).of("user-9", None)]
    assert {assigned["mapped", number] for number in range(40)} == {"a", "b"}
    assert all(assigned["mapped", number] == assigned["plain", number] for number in range(40))


class SlowTable(MutableMapping):
    """A mapping over a table: `setdefault` is the one that it inherits, a look and then a write."""

    def __init__(self):
        self.rows = {}

    def __getitem__(self, key):
        time.sleep(0.005)
        return self.rows[key]

    def __setitem__(self, key, value):
        time.sleep(0.005)
        self.rows[key] = value

    def __delitem__(self, key):
        del self.rows[key]

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)


def test_the_first_messages_of_a_person_at_once_have_one_pseudonym():
    # rule 3.9
    identity = per_subject(SlowTable())
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: identity.of("user-1", None), range(8)))) == 1
