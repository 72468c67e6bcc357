"""Which rule holds for which part of a message (contract rules 3.1 and 3.3)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel import (
    ConfigurationError,
    FieldPolicy,
    Mixpanel,
    drop,
    generalize,
    keep,
    mask,
    pseudonymize,
    pseudonymous,
    redact,
    refuse,
    transform,
    truncate,
)
from consentpanel.policy import PolicyResult
from consentpanel.policy._keys import folded
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

ADA = "ada@mail.example"


def judged(rules: dict[str, Any], properties: dict[Any, Any]) -> PolicyResult:
    before = copy.deepcopy(properties)
    result = FieldPolicy(events=rules).apply_event("E", properties)
    assert properties == before  # rule 1.5: callers' values are never changed
    return result


def outcome(rules: dict[str, Any], properties: dict[Any, Any]) -> tuple[Any, Any, Any]:
    result = judged(rules, properties)
    assert not result.refused
    return result.properties, result.dropped, result.changed


# rule 3.1: a property that no rule names is dropped


def test_what_no_rule_names_is_dropped_at_every_level():
    rules = {"plan": keep(), "address.city": keep(), "items[].sku": keep()}
    properties = {
        "plan": "pro",
        "email": ADA,
        "address": {"city": "Berlin", "street": "Torstr. 1", "geo": {"lat": 1}},
        "items": [{"sku": "a", "note": ADA}, {"sku": "b"}],
        "cart": {"sku": "c"},
        "list": [1],
    }
    assert outcome(rules, properties) == (
        {"plan": "pro", "address": {"city": "Berlin"}, "items": [{"sku": "a"}, {"sku": "b"}]},
        {
            "email": "unnamed",
            "address.street": "unnamed",
            "address.geo": "unnamed",
            "items[].note": "unnamed",
            "cart": "unnamed",
            "list": "unnamed",
        },
        {},
    )


@pytest.mark.parametrize("scope", ["events", "people", "groups", "flags"])
def test_a_rule_holds_in_its_own_scope_alone(scope):
    policy = FieldPolicy(**{scope: {"plan": keep()}})  # type: ignore[arg-type]
    results = {
        "events": policy.apply_event("E", {"plan": 1}).properties,
        "people": policy.apply_people({"$set": {"plan": 1}}).properties.get("$set", {}),
        "groups": policy.apply_group({"$set": {"plan": 1}}).properties.get("$set", {}),
        "flags": policy.apply_flags({"plan": 1}).properties,
    }
    assert {name for name, sent in results.items() if sent == {"plan": 1}} == {scope}


@pytest.mark.parametrize("name", ["Plan", "plan ", "pla", "plans", "\uff50\uff4c\uff41\uff4e", "plan\u200b", ""])
def test_a_name_that_is_nearly_a_rule_s_is_not_the_rule_s(name):
    assert outcome({"plan": keep()}, {name: ADA}) == ({}, {name: "unnamed"}, {})


def test_a_path_of_128_characters_is_reported_whole():
    longest, longer = "a" * 128, "b" * 129
    result = FieldPolicy().apply_event("E", {longest: 1, longer: 1})
    assert list(result.dropped) == [longest, "b" * 127 + "…"]


def test_a_very_long_name_is_reported_shortened():
    result = judged({}, {"n" * 100_000: 1})
    assert [len(path) for path in result.dropped] == [128]


class Disguised(str):
    """A name that says it is another."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other == "plan"

    def __hash__(self) -> int:
        return hash("plan")


@pytest.mark.parametrize("nested", [False, True])
def test_a_name_that_only_claims_to_be_a_rule_s_is_dropped(nested):
    name = Disguised("email")
    if nested:
        sent, dropped, _ = outcome({"user.plan": keep(), "user.id": keep()}, {"user": {name: ADA, "id": 1}})
        assert (sent, dropped) == ({"user": {"id": 1}}, {"user.email": "unnamed"})
    else:
        assert outcome({"plan": keep()}, {name: ADA}) == ({}, {"email": "unnamed"}, {})


def test_a_name_that_is_no_text_is_named_as_it_is_written_or_dropped():
    sent, dropped, _ = outcome({"1": keep(), "null": keep()}, {1: "a", None: "b", (1,): "d", 1j: "e"})
    assert sent == {"1": "a", "null": "b"}
    assert dropped == {"(a key that is not text)": "key_not_text"}


# rule 3.3: paths reach into dicts and lists


@pytest.mark.parametrize(
    ("rules", "value", "kept", "dropped"),
    [
        ({"a.b": keep()}, {"b": 1}, {"b": 1}, {}),
        ({"a.b.c.d": keep()}, {"b": {"c": {"d": 1, "e": 2}}}, {"b": {"c": {"d": 1}}}, {"a.b.c.e": "unnamed"}),
        ({"a[].b": keep()}, [{"b": 1}, {"b": 2}], [{"b": 1}, {"b": 2}], {}),
        ({"a[]": keep()}, [1, "x", None], [1, "x", None], {}),
        ({"a[]": keep()}, [1, {"b": 2}, [3]], [1, [3]], {"a[]": "not_opened"}),
        ({"a[][]": keep()}, [[1, 2], [], [3]], [[1, 2], [], [3]], {}),
        ({"a[][].b": keep()}, [[{"b": 1, "c": 2}]], [[{"b": 1}]], {"a[][].c": "unnamed"}),
        ({"a.b[].c": keep()}, {"b": [{"c": 1}], "x": 2}, {"b": [{"c": 1}]}, {"a.x": "unnamed"}),
        ({"a": keep(), "a.b": keep()}, {"b": 1, "c": 2}, {"b": 1}, {"a.c": "unnamed"}),
        ({"a": keep(), "a[].b": keep()}, [{"b": 1, "c": 2}], [{"b": 1}], {"a[].c": "unnamed"}),
        ({"a": keep(deep=True)}, {"b": {"c": [1, {"d": [[2]]}]}}, {"b": {"c": [1, {"d": [[2]]}]}}, {}),
        ({"a": keep(deep=True)}, [[{"b": 1}]], [[{"b": 1}]], {}),
        ({"a.b": keep(deep=True)}, {"b": {"c": [1]}, "d": 1}, {"b": {"c": [1]}}, {"a.d": "unnamed"}),
        ({"a[].b": keep(deep=True)}, [{"b": [[1]], "c": 1}], [{"b": [[1]]}], {"a[].c": "unnamed"}),
    ],
)
def test_a_path_opens_what_it_names_and_nothing_else(rules, value, kept, dropped):
    result = judged(rules, {"a": value})
    assert result.properties == {"a": kept}
    assert result.dropped == dropped
    assert result.changed == {}


@pytest.mark.parametrize(
    ("rules", "value"),
    [
        ({"a.b": keep()}, "text"),
        ({"a.b": keep()}, [{"b": 1}]),
        ({"a.b": keep()}, {"c": 1}),
        ({"a.b": keep()}, {}),
        ({"a.b": keep()}, None),
        ({"a[].b": keep()}, {"b": 1}),
        ({"a[].b": keep()}, "text"),
        ({"a[].b": keep()}, [1, 2]),
        ({"a[].b": keep()}, [[{"b": 1}]]),
        ({"a[].b": keep()}, [{"c": 1}]),
        ({"a[][]": keep()}, [1, 2]),
        ({"a[]": keep()}, "text"),
        ({"a": keep()}, {"b": 1}),
        ({"a": keep()}, [{"b": 1}]),
        ({"a": keep()}, [[1]]),
        ({"a": mask()}, {"b": 1}),
        ({"a": truncate(1)}, {"b": 1}),
    ],
)
def test_a_value_of_another_shape_than_the_path_is_dropped_and_reported(rules, value):
    sent, dropped, changed = outcome(rules, {"a": value})
    assert (sent, changed) == ({}, {})
    assert "a" in dropped


@pytest.mark.parametrize("value", [[], ["A1"], [{"sku": "A1"}], [["A1"]]])
def test_a_list_whose_parts_only_a_rule_for_a_dict_names_is_unnamed(value):
    # rule 3.3
    result = FieldPolicy(events={"items.sku": keep()}).apply_event("E", {"items": value})
    assert (result.properties, result.dropped) == ({}, {"items": "unnamed"})


def test_what_an_event_s_rules_close_leaves_by_no_shortcut():
    # rule 3.3
    registry, vendor = MemoryRegistry(), FakeTransport()
    registry.grant("user-1")
    policy = FieldPolicy(events={"plan": keep()}).for_event("Paid", {"plan": drop()}).for_event("Won", {"sum": keep()})
    mp = Mixpanel("T", vendor, registry=registry, policy=policy)
    for event in ("Paid", "Won", "Other"):
        mp.track("user-1", event, {"plan": "pro"})
        mp.track("user-1", event, {"plan": "pro", "sum": 5})
    names = [message.properties.keys() & {"plan", "sum"} for message in vendor.events]
    assert names == [set(), set(), {"plan"}, {"plan", "sum"}, {"plan"}, {"plan"}]


def test_the_repr_of_a_result_shows_no_value():
    result = FieldPolicy(events={"plan": keep()}).apply_event("E", {"plan": "gold-4711", "email": "a@b.example"})
    assert result.properties == {"plan": "gold-4711"}
    assert "gold-4711" not in repr(result)
    assert "a@b.example" not in repr(result)


def test_the_repr_of_a_policy_counts_its_rules():
    assert repr(FieldPolicy.keep_all()) == "FieldPolicy.keep_all()"
    assert repr(FieldPolicy(events={"a": keep()})) == "<FieldPolicy rules: events=1, people=0, groups=0, flags=0>"


def test_keep_all_keeps_the_operators_of_an_update_too():
    update = {"$set": {"email": "a@b.example"}, "$unset": ["plan"]}
    assert FieldPolicy.keep_all().apply_people(update).properties == update
    assert FieldPolicy.keep_all().apply_group(update).properties == update


def test_the_rules_of_an_event_are_no_other_scope_s():
    policy = FieldPolicy(events={"plan": keep()}, people={"email": keep()}).for_event("Paid", {"sum": keep()})
    assert list(policy.rules("events", "Paid")) == ["plan", "sum"]
    assert list(policy.rules("events")) == list(policy.rules("events", "Other")) == ["plan"]
    assert list(policy.rules("people", "Paid")) == ["email"]


def test_an_empty_dict_or_list_under_a_keep_is_kept():
    assert outcome({"a": keep(), "b": keep()}, {"a": {}, "b": []})[0] == {"a": {}, "b": []}


# rule 3.3: rules below keep(deep=True) except parts from it


@pytest.mark.parametrize(
    ("path", "cart", "kept"),
    [
        ("cart.note", {"note": ADA, "total": 9}, {"total": 9}),
        ("cart.gift.note", {"gift": {"note": ADA, "paper": "red"}, "total": 9}, {"gift": {"paper": "red"}, "total": 9}),
        ("cart.lines[].note", {"lines": [{"note": ADA, "sku": 1}, 7]}, {"lines": [{"sku": 1}, 7]}),
        ("cart.lines[][].note", {"lines": [[{"note": ADA, "sku": 1}]]}, {"lines": [[{"sku": 1}]]}),
        ("cart.gift.note", {"gift": "a scalar", "total": 9}, {"gift": "a scalar", "total": 9}),
        ("cart.gift.note", {"gift": [1, {"a": 1}]}, {"gift": [1, {"a": 1}]}),
        # A list where a dict was expected, and the other way round.
        ("cart.note", [{"note": ADA, "total": 9}, [{"note": ADA}]], [{"total": 9}, [{}]]),
        ("cart.gift.note", {"gift": [{"note": ADA, "paper": "red"}]}, {"gift": [{"paper": "red"}]}),
        ("cart.a.b.note", {"a": [{"b": [{"note": ADA, "c": 1}]}]}, {"a": [{"b": [{"c": 1}]}]}),
        ("cart.lines[].note", {"lines": {"note": ADA, "sku": 1}}, {"lines": {"sku": 1}}),
        ("cart.lines[].note", {"lines": [[{"note": ADA, "sku": 1}]]}, {"lines": [[{"sku": 1}]]}),
        ("cart.lines[][].note", {"lines": [{"note": ADA, "sku": 1}]}, {"lines": [{"sku": 1}]}),
        ("cart.lines[]", {"lines": ADA, "total": 9}, {"total": 9}),
        ("cart.lines[]", {"lines": {"to": ADA}, "total": 9}, {"total": 9}),
    ],
)
def test_drop_below_a_deep_keep_excepts_that_part_alone(path, cart, kept):
    sent, dropped, changed = outcome({"cart": keep(deep=True), path: drop()}, {"cart": cart})
    assert (sent, changed) == ({"cart": kept}, {})
    assert {*dropped.values()} <= {"drop"}
    assert {each.replace("[]", "") for each in dropped} <= {path.replace("[]", "")}
    assert ADA not in str(sent)


@pytest.mark.parametrize("action", [redact(), mask(0), truncate(1)])
@pytest.mark.parametrize(
    ("path", "cart"),
    [
        ("cart.to", [{"to": "Ada Lovelace"}]),
        ("cart.lines[].to", {"lines": {"to": "Ada Lovelace"}}),
        ("cart.lines.to", {"lines": [{"to": "Ada Lovelace"}]}),
        ("cart.lines[]", {"lines": "Ada Lovelace"}),
    ],
)
def test_no_action_below_a_deep_keep_is_escaped_by_another_shape(action, path, cart):
    sent, _, changed = outcome({"cart": keep(deep=True), path: action}, {"cart": cart})
    assert "Lovelace" not in str(sent)
    assert changed


def test_a_rule_of_an_item_beside_one_of_its_list_holds_too():
    rules = {"cart": keep(deep=True), "cart.note": drop(), "cart[].sku": keep()}
    assert outcome(rules, {"cart": [{"note": ADA, "sku": 1, "n": 2}]})[0] == {"cart": [{"sku": 1, "n": 2}]}


def test_an_id_is_opened_by_a_rule_for_exactly_its_path_alone():
    # rule 2.7
    rules = {"cart": keep(deep=True), "cart[].distinct_id": keep(), "cart[].who.distinct_id": keep()}
    cart = {"distinct_id": "ann", "who": {"distinct_id": "ann", "a": 1}}
    assert outcome(rules, {"cart": cart})[0] == {"cart": {"who": {"a": 1}}}


def test_a_shallow_keep_below_a_deep_keep_closes_again():
    rules = {"cart": keep(deep=True), "cart.gift": keep()}
    assert outcome(rules, {"cart": {"gift": {"to": ADA}, "total": 9}}) == (
        {"cart": {"total": 9}},
        {"cart.gift": "not_opened"},
        {},
    )


def test_an_action_below_a_deep_keep_changes_that_part():
    rules = {"cart": keep(deep=True), "cart.mail": redact(), "cart.lines[].to": mask(0)}
    properties = {"cart": {"mail": ADA, "lines": [{"to": "Ada", "sku": 1}]}}
    assert outcome(rules, properties) == (
        {"cart": {"mail": "[redacted]", "lines": [{"to": "****", "sku": 1}]}},
        {},
        {"cart.mail": "redact", "cart.lines[].to": "mask"},
    )


# rule 3.3: an action on a dict, with and without rules for its parts


def test_redact_of_a_dict_replaces_it_whole():
    assert outcome({"user": redact()}, {"user": {"name": "Ada"}}) == ({"user": "[redacted]"}, {}, {"user": "redact"})


def test_rules_for_parts_win_over_the_parent_s_redact():
    rules = {"user": redact(), "user.plan": keep()}
    assert outcome(rules, {"user": {"name": "Ada", "plan": "pro"}}) == (
        {"user": {"plan": "pro"}},
        {"user.name": "unnamed"},
        {},
    )
    assert outcome(rules, {"user": "Ada"}) == ({"user": "[redacted]"}, {}, {"user": "redact"})


def test_rules_for_parts_win_over_the_parent_s_drop():
    rules = {"user": drop(), "user.plan": keep()}
    assert outcome(rules, {"user": {"name": "Ada", "plan": "pro"}})[0] == {"user": {"plan": "pro"}}
    assert outcome(rules, {"user": {"name": "Ada"}})[0] == {}
    assert outcome(rules, {"user": {}}) == ({}, {"user": "drop"}, {})
    assert outcome(rules, {"user": "Ada"}) == ({}, {"user": "drop"}, {})


def test_the_order_of_rules_does_not_matter():
    rules = {"cart": keep(deep=True), "cart.note": drop(), "cart.a.b": redact(), "cart.lines[].to": drop()}
    properties = {"cart": {"note": ADA, "a": {"b": ADA, "c": 1}, "lines": [{"to": ADA, "n": 1}], "x": 1}}
    assert outcome(rules, properties) == outcome(dict(reversed(rules.items())), properties)


def test_what_is_kept_stays_in_its_order():
    rules = {"c": keep(), "a": keep(), "b.z": keep(), "b.y": keep()}
    sent = judged(rules, {"b": {"y": 1, "x": 2, "z": 3}, "a": 1, "x": 0, "c": 2}).properties
    assert (list(sent), list(sent["b"])) == (["b", "a", "c"], ["y", "z"])


# rule 3.3: a dot in a path is a step; a key with a dot in it stands in quotes


@pytest.mark.parametrize(
    ("path", "properties"),
    [
        ("referrer.host", {"referrer": {"host": "h"}}),
        ("'referrer.host'", {"referrer.host": "h"}),
        ("ctx.'referrer.host'", {"ctx": {"referrer.host": "h"}}),
        ("'ctx.referrer'.host", {"ctx.referrer": {"host": "h"}}),
        ("'ctx.list'[].'a[b]'", {"ctx.list": [{"a[b]": "h"}]}),
        ("'it''s'", {"it's": "h"}),
        ("it's", {"it's": "h"}),
    ],
)
def test_a_path_means_one_place_alone(path, properties):
    assert outcome({path: keep()}, properties) == (properties, {}, {})
    assert "'h'" not in str(outcome({path: redact()}, properties)[0])
    assert judged({path: refuse()}, properties).refused
    sent, dropped, _ = outcome({}, properties)
    assert sent == {}
    assert len(dropped) == 1


def test_a_flat_key_with_a_dot_is_not_the_nested_one_and_is_reported_as_a_path_writes_it():
    rules = {"address.city": keep()}
    properties = {"address.city": ADA, "address": {"city": "Berlin"}}
    assert outcome(rules, properties) == ({"address": {"city": "Berlin"}}, {"'address.city'": "unnamed"}, {})


# rule 3.3: what opens matches keys exactly, what closes ignores their case


@pytest.mark.parametrize("close", [drop(), redact(), refuse()])
def test_what_closes_below_a_deep_keep_ignores_case(close):
    for key in ("Note", "note", "NOTE"):
        result = judged({"cart": keep(deep=True), "cart.Note": close}, {"cart": {key: ADA, "n": 1}})
        assert ADA not in str(result.properties)
        assert list({**result.dropped, **result.changed}) == ["cart.note"]


OTHER_SPELLINGS = [
    "\uff2e\uff4fte",
    "no\u200bte",
    "note ",
    " note\u3000",
    "\ufeffnote",
    "no\x00te",
    "NOTE\x7f",
    "no\u00adTE\t",
]


@pytest.mark.parametrize("key", OTHER_SPELLINGS)
@pytest.mark.parametrize("close", [drop(), redact(), refuse()])
def test_what_closes_is_not_escaped_by_another_spelling_of_the_key(close, key):
    # rule 3.3
    rules = {"cart": keep(deep=True), "cart.Note": close, "cart.lines[].note": close}
    for cart in ({key: ADA}, {"lines": [{key: ADA}]}):
        assert ADA not in str(judged(rules, {"cart": cart}).properties)
    scoped = FieldPolicy(events={"Note": close, "cart": keep(deep=True)}).for_event("E", {"cart.note": close})
    assert ADA not in str(scoped.apply_event("E", {key: ADA, "cart": {key: ADA}}).properties)


@pytest.mark.parametrize("key", OTHER_SPELLINGS)
def test_what_opens_opens_no_other_spelling(key):
    # rule 3.3
    assert outcome({"note": keep(), "a.note": keep()}, {key: ADA, "a": {key: ADA}})[0] == {}


def test_two_closing_rules_for_two_spellings_of_a_key_are_one_path():
    # rule 3.3
    with pytest.raises(ConfigurationError, match="are one path"):
        FieldPolicy(events={"\uff4eote": drop(), "Note": redact()})


@given(st.text(min_size=1, max_size=12))
def test_folding_a_key_twice_changes_nothing(key):
    # rule 3.3
    assert folded(folded(key)) == folded(key)


def test_what_opens_matches_exactly():
    assert outcome({"Plan": keep(), "user.Id": keep()}, {"plan": 1, "user": {"id": 2}})[0] == {}


def test_what_closes_changes_a_property_of_another_case():
    rules = {"Email": redact(), "plan": keep()}
    assert outcome(rules, {"EMAIL": ADA, "plan": 1}) == ({"EMAIL": "[redacted]", "plan": 1}, {}, {"EMAIL": "redact"})


# rule 3.3: the most specific path wins; then for_event over the scope; then the stricter action


@pytest.mark.parametrize(
    ("scope", "event", "properties", "expected"),
    [
        ({"a.b": keep()}, {"a": keep(deep=True)}, {"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a.b": drop()}, {"a": keep(deep=True)}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
        ({"a": keep(deep=True)}, {"a.b": drop()}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
        ({"a": drop()}, {"a": keep()}, {"a": 1}, {"a": 1}),
        ({"a": keep()}, {"a": drop()}, {"a": 1}, {}),
        ({"a.b": keep(), "a.c": keep()}, {"a": drop()}, {"a": {"b": 1, "c": 2}}, {}),
        ({"a.b": keep()}, {"a": redact()}, {"a": {"b": 1}}, {"a": "[redacted]"}),
        ({"a.b": keep()}, {"a": drop(), "a.c": keep()}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
        ({"a": keep(deep=True)}, {"A": drop()}, {"a": {"b": 1}}, {}),
        ({"a[].b": keep()}, {"a[]": drop()}, {"a": [{"b": 1}]}, {}),
    ],
)
def test_precedence_between_an_event_s_rules_and_the_scope_s(scope, event, properties, expected):
    everywhere = FieldPolicy(events=scope)
    policy = everywhere.for_event("E", event)
    assert policy.apply_event("E", properties).properties == expected
    for name in ("Other", None):
        assert policy.apply_event(name, properties).properties == everywhere.apply_event(name, properties).properties


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"plan": keep(), "Plan": drop()}, "plan"),
        ({"user.Email": keep(), "USER.email": redact()}, "user.Email"),
        ({"user": refuse(), "user.plan": keep()}, "user.plan"),
        ({"user": refuse(), "user.items[].sku": keep()}, "items"),
        ({"plan": keep(), "'plan'": truncate(1)}, "plan"),
        ({"Plan": drop(), "plan": redact()}, "plan"),
        ({"distinct_id.part": keep()}, "distinct_id"),
        ({"Email": keep(), "email": drop()}, r"'Email'\] can never apply: the rule for 'email' closes it"),
        ({"user": refuse(), "user.plan": drop()}, r"'user.plan'\] can never apply: the rule for 'user' closes it"),
        ({"user": refuse(), "user.plan.name": redact()}, r"'user.plan.name'\] can never apply"),
    ],
)
def test_a_rule_that_can_never_apply_is_refused(rules, named):
    with pytest.raises(ConfigurationError, match=named):
        FieldPolicy(events=rules)


@pytest.mark.parametrize("scope", ["people", "groups"])
def test_a_rule_that_names_an_operator_can_never_apply(scope):
    with pytest.raises(ConfigurationError, match="can never apply"):
        FieldPolicy(**{scope: {"$set.plan": keep()}})


# rule 3.2: refuse() anywhere drops the message


@pytest.mark.parametrize(
    ("rules", "properties", "path"),
    [
        ({"a": refuse()}, {"a": 1}, "a"),
        ({"a.b": refuse()}, {"a": {"b": None}}, "a.b"),
        ({"a[]": refuse()}, {"a": [1]}, "a[]"),
        ({"a[].b": refuse()}, {"a": [{}, {"b": 1}]}, "a[].b"),
        ({"a": keep(), "a.b": refuse()}, {"a": {"b": 1}}, "a.b"),
        ({"a": drop(), "a.b": refuse()}, {"a": {"b": 1}}, "a.b"),
        ({"a": redact(), "a.b": refuse()}, {"a": {"b": 1}}, "a.b"),
        ({"a": keep(deep=True), "a.x[].b": refuse()}, {"a": {"x": [[], {"b": 1}]}}, "a.x[].b"),
        ({"a": transform(str), "a[].b": refuse()}, {"a": [{"b": 1}]}, "a[].b"),
        ({"a": refuse()}, {"a": object()}, "a"),
    ],
)
def test_refuse_reaches_every_depth_whatever_the_parent_says(rules, properties, path):
    result = FieldPolicy(events={"plan": keep(), **rules}).apply_event("E", {"plan": "pro", **properties})
    assert (result.refused, result.properties, result.dropped, result.changed) == (True, {}, {path: "refuse"}, {})


def test_an_empty_list_holds_nothing_to_refuse():
    assert not judged({"a[]": refuse()}, {"a": []}).refused


# rule 1.8: wrong configuration raises at construction


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "[]",
        "[].a",
        "a[0]",
        "a[*]",
        "a[",
        "a]",
        "a[]b",
        "a.[]",
        " a",
        "a ",
        "a. b",
        "[]a",
        "a[][",
        "\ta",
    ],
)
@pytest.mark.parametrize("scope", ["events", "people", "groups", "flags"])
def test_a_malformed_path_is_refused_with_its_scope(scope, path):
    with pytest.raises(ConfigurationError) as caught:
        FieldPolicy(**{scope: {path: keep()}})  # type: ignore[arg-type]
    assert scope in str(caught.value)
    assert repr(path) in str(caught.value)


@pytest.mark.parametrize("path", [None, 7, ("a", "b"), b"a"])
def test_a_path_that_is_no_text_is_refused(path):
    with pytest.raises(ConfigurationError, match="events"):
        FieldPolicy(events={path: keep()})


@pytest.mark.parametrize("steps", [33, 5000])
def test_a_path_deeper_than_any_value_is_refused(steps):
    FieldPolicy(events={".".join("a" * 32): keep()})
    with pytest.raises(ConfigurationError, match=f"32 steps, not {steps}"):
        FieldPolicy(events={".".join("a" * steps): keep()})


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"items[].sku": keep()}, {}),
        ({"items": keep(deep=True), "items[].sku": drop()}, {"items": {"[]": {"sku": "A1"}}}),
    ],
)
def test_a_key_that_looks_like_a_step_into_a_list_is_a_key(rules, kept):
    # rule 3.3
    result = FieldPolicy(events=rules).apply_event("E", {"items": {"[]": {"sku": "A1"}}})
    assert result.properties == kept


@pytest.mark.parametrize(
    "action", [keep, "keep", None, True, str.lower, lambda value: value, {"b": keep()}, [keep()], object()]
)
@pytest.mark.parametrize("scope", ["events", "people", "groups", "flags"])
def test_what_is_no_action_is_refused_with_scope_and_path(scope, action):
    with pytest.raises(ConfigurationError) as caught:
        FieldPolicy(**{scope: {"address.city": action}})  # type: ignore[arg-type]
    assert f"{scope}['address.city']" in str(caught.value)


def test_an_action_without_its_call_is_told_to_be_called():
    with pytest.raises(ConfigurationError, match=r"must be an action such as keep\(\) or redact\(\), not int"):
        FieldPolicy(events={"plan": 5})  # type: ignore[dict-item]
    with pytest.raises(ConfigurationError, match=r"callable \(keep\): call it"):
        FieldPolicy(events={"plan": keep})  # type: ignore[dict-item]


@pytest.mark.parametrize("rules", [[("plan", keep())], "plan", 7, {"plan"}])
def test_rules_are_a_mapping(rules):
    with pytest.raises(ConfigurationError, match="events must be a mapping"):
        FieldPolicy(events=rules)


@pytest.mark.parametrize(
    "name", ["time", "distinct_id", "$insert_id", "token", "$device_id", "$distinct_ids", "mp_lib"]
)
@pytest.mark.parametrize("action", [drop(), redact(), refuse(), mask(), truncate(3)])
def test_a_rule_cannot_change_a_structural_property(name, action):
    # rule 3.4: the vendor's structural properties always pass
    with pytest.raises(ConfigurationError, match="structural"):
        FieldPolicy(events={name: action})
    with pytest.raises(ConfigurationError, match="structural"):
        FieldPolicy().for_event("E", {name: action})
    assert outcome({name: keep()}, {})[0] == {}


def test_structural_properties_pass_without_a_rule_and_only_as_scalars():
    # rule 3.4
    structural = {
        "time": 1_700_000_000,
        "distinct_id": "u",
        "$insert_id": "i",
        "mp_lib": "python",
        "$lib_version": "5.4.1",
    }
    assert outcome({}, structural) == (structural, {}, {})
    assert outcome({}, {"mp_lib": {"mail": ADA}}) == ({}, {"mp_lib": "not_in_shape"}, {})
    assert outcome({}, {"$insert_id": [ADA]}) == ({}, {"$insert_id": "not_in_shape"}, {})


# rule 3.1: for_event adds rules for one event


def test_for_event_adds_and_overrides_for_one_event_alone():
    first = FieldPolicy(events={"plan": keep(), "name": keep(), "cart": keep(deep=True, detect=False)})
    second = first.for_event("Paid", {"amount": keep(), "name": redact(), "cart.note": drop()})
    properties = {"plan": "pro", "name": "Ada", "amount": 9, "cart": {"note": ADA, "n": 1}}
    everywhere = {"plan": "pro", "name": "Ada", "cart": {"note": ADA, "n": 1}}
    paid = {"plan": "pro", "name": "[redacted]", "amount": 9, "cart": {"n": 1}}
    assert second.apply_event("Paid", properties).properties == paid
    for policy, event in ((first, "Paid"), (first, "Other"), (second, "Other"), (second, "paid"), (second, None)):
        assert policy.apply_event(event, properties).properties == everywhere
    assert second is not first
    assert set(first.rules("events", "Paid")) == {"plan", "name", "cart"}
    assert set(second.rules("events", "Paid")) == {"plan", "name", "cart", "amount", "cart.note"}


def test_for_event_can_be_called_again_and_the_last_rule_wins():
    policy = (
        FieldPolicy()
        .for_event("Paid", {"a": keep(), "b": keep()})
        .for_event("Paid", {"b": redact()})
        .for_event("X", {})
    )
    assert policy.apply_event("Paid", {"a": 1, "b": 2}).properties == {"a": 1, "b": "[redacted]"}


def test_for_event_keeps_the_secret_and_the_other_scopes():
    policy = FieldPolicy(people={"plan": keep()}, secret=bytes(range(32))).for_event("E", {"a": pseudonymize()})
    assert policy.apply_event("E", {"a": 1}).properties["a"].startswith("psn_")
    assert policy.apply_people({"$set": {"plan": 1}}).properties == {"$set": {"plan": 1}}


def test_rules_given_to_a_policy_can_be_changed_afterwards_without_effect():
    rules = {"plan": keep()}
    policy = FieldPolicy(events=rules)
    rules["email"] = keep()
    assert policy.apply_event("E", {"email": ADA}).properties == {}
    assert "email" not in policy.rules("events")


@pytest.mark.parametrize("name", ["", None, 7])
def test_for_event_takes_the_name_of_an_event(name):
    with pytest.raises(ConfigurationError, match="for_event"):
        FieldPolicy().for_event(name, {})


def test_for_event_names_the_event_of_a_malformed_rule():
    with pytest.raises(ConfigurationError, match=r"for_event.*Paid.*plan"):
        FieldPolicy().for_event("Paid", {"plan": keep})  # type: ignore[dict-item]


def test_keep_all_takes_no_rules():
    # rule 3.10
    with pytest.raises(ConfigurationError, match="keep_all"):
        FieldPolicy.keep_all().for_event("E", {"a": drop()})


def test_there_are_four_scopes():
    with pytest.raises(ConfigurationError, match="scope"):
        FieldPolicy().rules("meta")


# A profile update: each operator's properties are judged; a value of $append or $remove is an item of a list


@pytest.mark.parametrize("operator", ["$append", "$remove"])
@pytest.mark.parametrize("also", [{}, {"mails": keep()}, {"mails": drop()}, {"mails": keep(deep=True)}])
def test_the_rule_for_items_holds_for_what_is_appended_or_removed(operator, also):
    policy = FieldPolicy(people={**also, "mails[]": mask()})
    result = policy.apply_people({operator: {"mails": ADA}})
    assert (result.properties, result.changed) == ({operator: {"mails": "****@mail.example"}}, {"mails": "mask"})


@pytest.mark.parametrize("operator", ["$append", "$remove"])
def test_the_rule_for_keys_of_items_holds_for_what_is_appended_or_removed(operator):
    policy = FieldPolicy(people={"lines[].sku": keep()})
    result = policy.apply_people({operator: {"lines": {"sku": 1, "to": ADA}}})
    assert (result.properties, result.dropped) == ({operator: {"lines": {"sku": 1}}}, {"lines.to": "unnamed"})


@pytest.mark.parametrize("operator", ["$append", "$remove"])
def test_refuse_of_items_refuses_what_is_appended_or_removed(operator):
    assert FieldPolicy(people={"mails[]": refuse()}).apply_people({operator: {"mails": ADA}}).refused


def test_a_rule_for_the_list_holds_for_an_item_when_there_is_no_other():
    assert FieldPolicy(people={"mails": mask()}).apply_people({"$append": {"mails": ADA}}).changed == {"mails": "mask"}


@pytest.mark.parametrize("operator", ["$set", "$set_once", "$union"])
def test_the_rule_for_items_holds_for_a_whole_list(operator):
    policy = FieldPolicy(people={"mails[]": mask()})
    assert policy.apply_people({operator: {"mails": [ADA]}}).properties == {operator: {"mails": ["****@mail.example"]}}
    assert policy.apply_people({operator: {"mails": ADA}}).properties == {}


def test_only_what_the_vendor_knows_stands_beside_the_operators():
    # rule 3.5: an unknown top-level key is dropped; a personal one needs a rule
    update = {"$distinct_id": "u", "$set": {"plan": 1}, "$ip": "192.0.2.1", "$x": ADA, "$unset": ["a"]}
    result = FieldPolicy(people={"plan": keep()}).apply_people(update)
    assert result.properties == {"$distinct_id": "u", "$set": {"plan": 1}, "$unset": ["a"]}
    assert result.dropped == {"$ip": "unnamed", "$x": "unnamed"}
    assert FieldPolicy(people={"$ip": keep(detect=False)}).apply_people({"$ip": "192.0.2.1"}).properties == {
        "$ip": "192.0.2.1"
    }


def test_an_operator_that_holds_no_properties_is_dropped():
    assert FieldPolicy(people={"plan": keep()}).apply_people({"$set": ADA}).dropped == {"$set": "unnamed"}


# rule 4.1: the client's Decision has the same paths


@pytest.fixture
def client():
    def build(policy: FieldPolicy) -> tuple[Mixpanel, FakeTransport]:
        registry, vendor = MemoryRegistry(), FakeTransport()
        registry.grant("user-1")
        return Mixpanel("TOKEN", vendor, registry=registry, policy=policy), vendor

    return build


def test_a_decision_holds_the_paths_of_what_was_dropped_and_changed(client):
    mp, vendor = client(FieldPolicy(events={"plan": keep(), "user.mail": mask(), "lines[].sku": keep()}))
    properties = {"plan": "pro", "x": 1, "user": {"mail": ADA, "age": 7}, "lines": [{"sku": 1, "to": ADA}]}
    decision = mp.track("user-1", "E", properties)
    assert decision.dropped == {"x": "unnamed", "user.age": "unnamed", "lines[].to": "unnamed"}
    assert decision.changed == {"user.mail": "mask"}
    sent = vendor.events[0].properties
    assert {name: sent[name] for name in sent if name in properties} == {
        "plan": "pro",
        "user": {"mail": "****@mail.example"},
        "lines": [{"sku": 1}],
    }


def test_people_append_through_the_client_obeys_the_rule_for_items(client):
    mp, vendor = client(FieldPolicy(people={"mails": keep(), "mails[]": mask()}))
    assert mp.people_append("user-1", {"mails": ADA}).changed == {"mails": "mask"}
    assert ADA not in vendor.people[0].raw


def test_refuse_through_the_client_sends_nothing(client):
    mp, vendor = client(FieldPolicy(events={"plan": keep(), "health.diagnosis": refuse()}))
    decision = mp.track("user-1", "E", {"plan": "pro", "health": {"diagnosis": "flu"}})
    assert (decision.outcome, decision.reason, decision.dropped) == (
        "dropped",
        "refused_by_policy",
        {"health.diagnosis": "refuse"},
    )
    assert vendor.messages == []


SENSITIVE_ABOVE = [
    ("request.headers.Authorization.scheme", {"headers": {"Authorization": "Basic YWRhOmh1bnRlcjI="}}),
    ("request.headers.Authorization.scheme", {"headers": {"authorization": {"scheme": "Basic", "rest": "hunter2"}}}),
    ("request.cookie.session", {"cookie": {"session": "a", "sid": "hunter2"}}),
    ("request.card_number.last4", {"card_number": "hunter2"}),
    ("request.card_number[].last4", {"card_number": ["hunter2", {"last4": "1", "all": "hunter2"}]}),
    ("request.alias.kind", {"alias": "hunter2"}),
]


@pytest.mark.parametrize("action", [keep(), drop(), redact(), mask()])
@pytest.mark.parametrize(("path", "request_"), SENSITIVE_ABOVE)
def test_a_rule_for_a_part_of_a_sensitive_key_opens_that_part_alone(path, request_, action):
    # rules 2.7 and 3.11: only a rule for exactly that path opens it
    sent, dropped, _ = outcome({"request": keep(deep=True), path: action}, {"request": {**request_, "n": 1}})
    assert "hunter2" not in str(sent)
    assert "YWRh" not in str(sent)
    assert sent["request"]["n"] == 1
    assert dropped


@pytest.mark.parametrize("point", [[52.5163, 13.3777], [[52.5163, 13.3777]], 52.5163])
@pytest.mark.parametrize("action", [drop(), generalize(decimals=1)])
def test_a_rule_for_lists_of_lists_is_not_escaped_by_fewer(point, action):
    # rule 3.3: coordinates of a point, where a rule was written for those of a polygon
    rules = {"geo": keep(deep=True), "geo.coordinates[][][]": action}
    assert "52.51" not in str(outcome(rules, {"geo": {"coordinates": point}})[0])


def test_a_mapping_where_items_are_masked_is_not_opened():
    # rule 3.3
    sent, dropped, _ = outcome({"tags": keep(deep=True), "tags[]": mask()}, {"tags": {"k": "secretvalue"}})
    assert (sent, dropped) == ({}, {"tags": "not_opened"})


@pytest.mark.parametrize("close", [drop(), refuse()])
def test_what_an_event_closes_takes_no_rule_of_the_scope_away(close):
    # rule 3.3
    policy = FieldPolicy(events={"user.profile.nick": close}).for_event(
        "Paid", {"user": drop(), "user.profile": keep(deep=True)}
    )
    result = policy.apply_event("Paid", {"user": {"profile": {"nick": "Ada L", "n": 1}}})
    assert "Ada" not in str(result.properties)


@pytest.mark.parametrize(
    ("rules", "properties"),
    [
        ({"orders[]": keep(deep=True), "orders.address": drop()}, {"orders": [{"address": "Ada", "n": 1}]}),
        ({"orders": keep(deep=True), "orders[].address": drop()}, {"orders": {"address": "Ada", "n": 1}}),
        (
            {"orders[].customer": keep(deep=True), "orders.customer.nick": drop()},
            {"orders": [{"customer": {"nick": "Ada", "n": 1}}]},
        ),
    ],
)
def test_a_closing_rule_holds_whatever_lists_stand_above_it(rules, properties):
    # rule 3.3
    assert "Ada" not in str(outcome(rules, properties)[0])
    assert "1" in str(outcome(rules, properties)[0])


def test_an_item_that_is_appended_is_closed_by_the_rule_of_its_list():
    # rule 3.3
    policy = FieldPolicy(people={"orders[]": keep(deep=True), "orders.address": drop()})
    update = {"$append": {"orders": {"address": "Ada", "n": 1}}}
    assert policy.apply_people(update).properties == {"$append": {"orders": {"n": 1}}}


@pytest.mark.parametrize(
    "action", [pseudonymize(), truncate(2), mask(0), keep(purpose="targeting"), keep(max_length=3)]
)
@pytest.mark.parametrize("key", ["Nick", "NICK", "ni\u200bck", " nick"])
def test_a_rule_that_takes_something_away_below_a_deep_keep_is_not_escaped_by_spelling(action, key):
    # rules 3.2 and 3.14
    policy = FieldPolicy(events={"profile": keep(deep=True), "profile.nick": action}, secret=b"0" * 32)
    assert policy.apply_event("E", {"profile": {key: "Ada Lovelace", "n": 1}}).properties == {"profile": {"n": 1}}


PAIRS = [
    [("cookie", "sessionid=8f3a9d"), ("accept", "text/html")],
    [(b"authorization", b"hunter2"), (b"accept", b"text/html")],
    [{"name": "password", "value": "hunter2"}, {"name": "accept", "value": "text/html"}],
    [{"key": "x-api-key", "values": ["hunter2"]}, {"key": "accept", "values": ["text/html"]}],
    [{"name": "distinct_id", "value": "hunter2"}, {"name": "accept", "value": "text/html"}],
]


@pytest.mark.parametrize("pairs", PAIRS)
def test_a_sensitive_name_of_a_pair_closes_its_value(pairs):
    # rule 3.11: as headers and forms are written
    sent, dropped, _ = outcome({"req": keep(deep=True)}, {"req": {"headers": pairs}})
    assert "hunter2" not in str(sent)
    assert "8f3a9d" not in str(sent)
    assert "text/html" in str(sent)
    assert set(dropped.values()) == {"sensitive"}


def test_a_list_of_names_closes_nothing():
    sent, _, _ = outcome({"req": keep(deep=True)}, {"req": {"missing": ["password", "token"], "n": ["a", "b"]}})
    assert sent == {"req": {"missing": ["password", "token"], "n": ["a", "b"]}}


def test_the_name_of_a_pair_is_personal_where_nothing_personal_may_leave():
    # rule 3.10
    policy = FieldPolicy.no_personal_data({"req": keep(deep=True)})
    said = {"req": {"form": [["first_name", "Ada"], ["plan", "pro"]], "more": [{"name": "email", "value": "x"}]}}
    assert "Ada" not in str(policy.apply_event("E", said).properties)
    assert "pro" in str(policy.apply_event("E", said).properties)
    assert "value" not in str(policy.apply_event("E", said).properties)


@pytest.mark.parametrize("close", [drop(), redact(), mask()])
def test_a_text_of_json_below_a_deep_keep_holds_no_name_that_a_rule_closes(close):
    # rule 3.3
    rules = {"payload": keep(deep=True), "payload.nickname": close}
    assert outcome(rules, {"payload": '{"nickname": "Ada L"}'})[0] == {}
    assert outcome(rules, {"payload": "%7B%22nickname%22%3A%22Ada%22%7D"})[0] == {}
    assert outcome(rules, {"payload": '{"plan": "pro"}'})[0] == {"payload": '{"plan": "pro"}'}


@pytest.mark.parametrize("value", ['{"user": {"id": 7}}', ['{"user": 1}'], {"x": '{"user": 1}'}])
def test_a_text_of_json_above_a_closed_key_costs_its_property_alone(value):
    # rule 3.2: with a reason of its own
    policy = FieldPolicy(events={"plan": keep(), "ctx": keep(deep=True), "ctx.user.email": drop()})
    result = policy.apply_event("E", {"plan": "pro", "ctx": value})
    assert result.properties["plan"] == "pro"
    if not isinstance(value, dict):
        assert set(result.dropped.values()) == {"not_opened"}


@pytest.mark.parametrize(
    "value",
    [
        '{"distinct_id":"bob"}',
        ['{"distinct_id":"bob"}'],
        {"x": '{"distinct_id":"bob"}'},
        [[{"x": '[{"$user_id":"bob"}]'}]],
    ],
)
def test_an_id_s_name_in_a_text_of_json_is_closed_at_every_depth(value):
    # rule 2.7: nobody would map what stands under it
    registry = MemoryRegistry()
    registry.grant("user-1")
    vendor = FakeTransport()
    policy = FieldPolicy(events={"ctx": keep(deep=True)}, secret=b"0" * 32)
    mp = Mixpanel("T", vendor, registry=registry, policy=policy, identity=pseudonymous())
    decision = mp.track("user-1", "E", {"ctx": value})
    assert "bob" not in vendor.events[0].raw
    assert "id" in decision.dropped.values()
