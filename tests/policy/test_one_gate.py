"""`FieldPolicy.apply_*` says what the gate would send: both call the same functions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel import FieldPolicy, Mixpanel, drop, keep, mask, redact, truncate
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

RULES = {"plan": keep(), "note": keep(), "$email": keep(), "ctx": keep(deep=True), "coupon": redact(), "code": mask()}
POLICY = FieldPolicy(events=RULES, people=RULES, groups=RULES)
ADA = "ada@shop.example"


def sent(endpoint: str, update: dict[str, Any], policy: FieldPolicy = POLICY) -> dict[str, Any]:
    """What the client sends of an update, without what says whose it is."""
    registry, transport = MemoryRegistry(), FakeTransport()
    registry.grant("user-1")
    mp = Mixpanel("TOKEN", transport, registry=registry, policy=policy)
    if endpoint == "people":
        mp.people_update({"$distinct_id": "user-1", **update})
    else:
        mp.group_update({"$group_key": "company", "$group_id": "acme", **update})
    if not transport.messages:
        return {}
    payload = transport.messages[0].payload
    return {name: payload[name] for name in payload if name in update}


@pytest.mark.parametrize(
    ("update", "left"),
    [
        ({"$delete": {"email": ADA}}, {"$delete": ""}),
        ({"$delete": ADA}, {"$delete": ""}),
        ({"$unset": ["plan", 7]}, {"$unset": ["plan"]}),
        ({"$unset": "plan"}, {"$unset": ["plan"]}),
        ({"$unset": {"plan": 1}, "$delete": ""}, {"$delete": ""}),
        ({"$set": {"plan": "pro", "more": 1}}, {"$set": {"plan": "pro"}}),
        ({"$set": {"plan": "pro"}, "$unset": ["a", None]}, {"$set": {"plan": "pro"}, "$unset": ["a"]}),
        ({"$append": {"note": f"to {ADA}"}}, {"$append": {"note": "to [redacted]"}}),
    ],
)
@pytest.mark.parametrize("endpoint", ["people", "groups"])
def test_an_update_is_left_as_the_gate_leaves_it(endpoint, update, left):
    apply = POLICY.apply_people if endpoint == "people" else POLICY.apply_group
    assert apply(update).properties == left == sent(endpoint, update)


def test_what_is_no_name_in_unset_is_said():
    assert POLICY.apply_people({"$unset": ["plan", 7]}).dropped == {"$unset": "not_a_name"}


def test_a_structural_property_passes_in_its_own_shape_alone():
    # rule 3.4
    result = POLICY.apply_people({"$time": "noon", "$set": {"plan": "pro"}})
    assert (result.properties, result.dropped) == ({"$set": {"plan": "pro"}}, {"$time": "not_in_shape"})
    assert POLICY.apply_people({"$time": 1_700_000_000}).properties == {"$time": 1_700_000_000}


def test_an_update_that_is_none_is_refused_whole():
    result = POLICY.apply_people({"$set": "plan"})
    assert (result.refused, result.properties, result.dropped) == (True, {}, {"$set": "unnamed"})


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["pro", ADA, "x" * 12, ""])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.sampled_from(["plan", "note", "coupon", "code", "ctx", "$email", "more", "PLAN"])
PROPERTIES = st.dictionaries(NAMES, VALUES, max_size=4)
OPERATORS = st.sampled_from(["$set", "$set_once", "$append", "$union", "$remove"])
ACTIONS = st.sampled_from([keep(), keep(deep=True), drop(), redact(), mask(), truncate(3)])


@given(
    rules=st.dictionaries(NAMES, ACTIONS, max_size=5),
    update=st.dictionaries(OPERATORS, PROPERTIES, min_size=1, max_size=2),
    endpoint=st.sampled_from(["people", "groups"]),
)
def test_any_update_is_left_as_the_gate_leaves_it(rules, update, endpoint):
    rules = {path: rule for path, rule in rules.items() if path.casefold() != "plan" or path == "plan"}
    policy = FieldPolicy(people=rules, groups=rules)
    apply = policy.apply_people if endpoint == "people" else policy.apply_group
    left = apply(update).properties
    assert json.loads(json.dumps(left)) == sent(endpoint, update, policy)


@given(rules=st.dictionaries(NAMES, ACTIONS, max_size=5), properties=PROPERTIES)
def test_any_event_is_left_as_the_gate_leaves_it(rules, properties):
    rules = {path: rule for path, rule in rules.items() if path.casefold() != "plan" or path == "plan"}
    policy = FieldPolicy(events=rules)
    registry, transport = MemoryRegistry(), FakeTransport()
    registry.grant("user-1")
    decision = Mixpanel("TOKEN", transport, registry=registry, policy=policy).track("user-1", "Paid", properties)
    result = policy.apply_event("Paid", properties)
    said = transport.messages[0].properties
    assert {name: said[name] for name in said if name in properties} == result.properties
    assert (decision.dropped, decision.changed) == (result.dropped, result.changed)


@pytest.mark.parametrize("properties", [None, [1], "plan"])
def test_what_is_no_message_is_refused(properties):
    for policy in (POLICY, FieldPolicy.keep_all()):
        for result in (policy.apply_event("Paid", properties), policy.apply_people(properties)):
            assert (result.refused, result.properties) == (True, {})
