"""Laws of the field policy, and of the express lane, over random messages."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consentpanel import (
    ConfigurationError,
    FieldPolicy,
    Mixpanel,
    Purpose,
    Regime,
    drop,
    generalize,
    keep,
    mask,
    pseudonymize,
    redact,
    refuse,
    transform,
    truncate,
)
from consentpanel.policy import Action
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

SECRET = bytes(range(32))
Path = tuple[str, ...]
"""The steps to a value: names of keys, and "[]" for an item of a list."""

names = st.sampled_from("abc")
shapes = st.recursive(
    st.just("leaf"),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(names, inside, max_size=3),
    max_leaves=12,
)
properties_of_canaries = st.dictionaries(names, shapes, max_size=3).map(
    lambda tree: canaries_in(tree, iter(range(10**6)))
)


def canaries_in(shape: Any, numbers: Iterator[int]) -> Any:
    """The shape with a text of its own at each leaf, too long for any mask to show."""
    if isinstance(shape, dict):
        return {name: canaries_in(part, numbers) for name, part in shape.items()}
    if isinstance(shape, list):
        return [canaries_in(part, numbers) for part in shape]
    return f"<canary {next(numbers)} of a value that no rule names>"


@st.composite
def paths(draw: st.DrawFn) -> str:
    steps = draw(st.lists(st.tuples(names, st.sampled_from(["", "", "", "[]", "[]", "[][]"])), min_size=1, max_size=3))
    return ".".join(name + brackets for name, brackets in steps)


plain_actions = st.sampled_from([keep(), keep(deep=True), drop()])
all_actions = plain_actions | st.sampled_from(
    [redact(), mask(), truncate(3), pseudonymize(), generalize(bucket=10), generalize(time="day"), transform(len)]
)
plain_rules = st.dictionaries(paths(), plain_actions, max_size=6)


def can_apply(rules: dict[str, Action]) -> bool:
    """Whether no rule covers another one whole, which is a wrong configuration (rule 3.3)."""
    try:
        FieldPolicy(events=rules, secret=SECRET)
    except ConfigurationError:
        return False
    return True


rules_without_refusals = st.dictionaries(paths(), all_actions, max_size=6)


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(tree, dict):
        for name, part in tree.items():
            yield from leaves(part, (*path, name))
    elif isinstance(tree, list):
        for part in tree:
            yield from leaves(part, (*path, "[]"))
    else:
        yield path, tree


def written(path: Path) -> str:
    return ".".join(path).replace(".[]", "[]")


def is_kept(path: Path, rules: dict[str, Action]) -> bool:
    """What rules 3.1 to 3.3 say of a leaf, read from the rules' texts alone."""
    if path_action := rules.get(written(path)):
        return path_action.name == "keep"
    if path[-1] == "[]":
        whole = written(path[:-1])
        rule_for_items = any(each.startswith(f"{whole}[]") for each in rules)
        if whole in rules and not rule_for_items:
            return rules[whole].name == "keep"
    for end in range(len(path) - 1, 0, -1):
        if action := rules.get(written(path[:end])):
            return action == keep(deep=True)
    return False


def is_met_in_another_shape(path: Path, rules: dict[str, Action]) -> bool:
    """Whether below a deep keep a rule names the leaf or what is above it, but for lists."""
    names = [step for step in path if step != "[]"]
    above = {".".join(names[:end]) for end in range(1, len(names) + 1)}
    return any(
        each.replace("[]", "") in above and not f"{written(path)}.".startswith((f"{each}.", f"{each}["))
        for each in rules
    ) and any(action == keep(deep=True) for action in rules.values())


def order_is_kept(before: Any, after: Any) -> bool:
    if isinstance(before, dict) and isinstance(after, dict):
        position = {name: number for number, name in enumerate(before)}
        return [*after] == sorted(after, key=position.__getitem__) and all(
            order_is_kept(before[name], part) for name, part in after.items()
        )
    return True


# rules 3.1 and 3.3


@given(rules_without_refusals, properties_of_canaries)
@example({"a": keep(deep=True), "a.b.c": drop()}, {"a": {"b": {"a": "<canary 0>", "c": "<canary 1>"}}})
@example({"a": keep(deep=True), "a[].c": redact()}, {"a": [{"b": "<canary 0>", "c": "<canary 1>"}]})
@example({"a": keep(), "a[].b": keep()}, {"a": ["<canary 0>", {"b": "<canary 1>"}]})
def test_exactly_the_leaves_that_rules_keep_are_in_the_result(rules, properties):
    result = FieldPolicy(events=rules, secret=SECRET).apply_event("E", properties)
    text = json.dumps(result.properties)
    sent = {canary: path for path, canary in leaves(properties) if canary in text}
    kept = {canary: path for path, canary in leaves(properties) if is_kept(path, rules)}
    assert sent.items() <= kept.items()
    assert all(is_met_in_another_shape(path, rules) for canary, path in kept.items() if canary not in sent)


@given(rules_without_refusals, properties_of_canaries)
def test_each_leaf_is_kept_changed_or_reported(rules, properties):
    # rule 4.1
    result = FieldPolicy(events=rules, secret=SECRET).apply_event("E", properties)
    reported = (*result.dropped, *result.changed)
    text = json.dumps(result.properties)
    for path, canary in leaves(properties):
        shown = written(path)
        # Below a deep keep a key may hold anything, and is told by where it stands.
        above = {f"{written(path[:end])}.(keys)" for end in range(1, len(path))}
        assert canary in text or any(
            shown == each or each in above or shown.startswith((f"{each}.", f"{each}[]")) for each in reported
        )


@given(plain_rules, properties_of_canaries)
def test_what_is_reported_as_dropped_is_there_no_more(rules, properties):
    result = FieldPolicy(events=rules).apply_event("E", properties)
    kept = {written(path) for path, _ in leaves(result.properties)}
    for path, cause in result.dropped.items():
        assert cause in {"unnamed", "drop", "not_opened"}
        if "[]" not in path:
            assert not any(each == path or each.startswith((f"{path}.", f"{path}[]")) for each in kept)
    if not result.dropped:
        assert result.properties == properties


@given(plain_rules, properties_of_canaries)
def test_keep_and_drop_applied_twice_say_the_same_as_once(rules, properties):
    policy = FieldPolicy(events=rules)
    once = policy.apply_event("E", properties)
    twice = policy.apply_event("E", once.properties)
    assert (twice.properties, twice.dropped, twice.changed) == (once.properties, {}, {})


@given(st.dictionaries(paths(), all_actions | st.just(refuse()), max_size=6).filter(can_apply), properties_of_canaries)
def test_a_policy_only_reads_its_input_and_keeps_the_order_of_names(rules, properties):
    # rule 1.5
    policy = FieldPolicy(events=rules, secret=SECRET)
    before = copy.deepcopy(properties)
    result = policy.apply_event("E", properties)
    assert json.dumps(properties) == json.dumps(before)
    assert order_is_kept(properties, result.properties)
    assert policy.apply_event("E", before) == result
    for path, part in leaves(result.properties):
        assert part is None or isinstance(part, (str, int, float)), path
    assert not result.refused or result.properties == {}


@given(st.dictionaries(paths(), all_actions, max_size=6), properties_of_canaries, st.randoms())
def test_the_order_in_which_rules_are_written_does_not_matter(rules, properties, random):
    shuffled = list(rules.items())
    random.shuffle(shuffled)
    one, other = (
        FieldPolicy(events=each, secret=SECRET).apply_event("E", properties) for each in (rules, dict(shuffled))
    )
    assert one == other


# An int whose digits the interpreter refuses to write, so that hypothesis may not be shown it.
unwritable = st.just(5000).map(lambda digits: 10**digits)
hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | unwritable
    | st.sampled_from([1j, object(), math.nan, math.inf, {1}, "\ud800", Purpose.ANALYTICS]),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.tuples(inside)
        | st.dictionaries(names | st.integers() | st.none() | st.binary(max_size=2), inside, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(paths(), all_actions, max_size=6),
    st.dictionaries(names | st.integers() | st.binary(max_size=2), hostile),
)
def test_whatever_comes_in_what_comes_out_is_json(rules, properties):
    # rule 3.6
    result = FieldPolicy(events=rules, secret=SECRET).apply_event("E", properties)
    text = json.dumps(result.properties, allow_nan=False)
    assert json.loads(text) == result.properties
    assert all(type(path) is str and type(cause) is str for path, cause in {**result.dropped, **result.changed}.items())


# The express lane says what the gate says

express_names = st.sampled_from(
    ["plan", "amount", "mails", "cart", "email", "time", "$insert_id", "$device_id", "token", "$ip"]
)
express_values = st.sampled_from(
    [
        "pro",
        "",
        "\ud800",
        7,
        2**1100,
        1.5,
        -0.0,
        math.nan,
        math.inf,
        True,
        None,
        ["a", "b"],
        {"a": 1},
        b"bytes",
        object(),
        "x" * 1_048_500,
        "x" * 1_100_000,
        Purpose.ANALYTICS,
    ]
)
express_values |= unwritable
express_properties = st.dictionaries(
    express_names | st.sampled_from([1, None, Purpose.ANALYTICS]), express_values, max_size=5
) | st.sampled_from(
    [None, {}, {f"p{each}": 1 for each in range(254)}, {f"p{each}": 1 for each in range(248)}, [("plan", 1)], "plan", 7]
)
express_rules = st.dictionaries(
    st.sampled_from(["plan", "amount", "mails", "mails[]", "cart", "cart.a", "email", "$ip"]),
    st.sampled_from([keep(), keep(), keep(deep=True), drop(), mask(), truncate(2), refuse()]),
).filter(can_apply)
persons = st.just("granted") | st.sampled_from(
    ["granted", "denied", "unknown", "", " ", "x" * 300, 7, None, "granted\ud800"]
)
calls = st.tuples(
    st.sampled_from(
        ["people_set", "people_set_once", "people_append", "people_remove", "people_union", "people_increment"]
    ),
    persons,
    express_properties,
) | st.tuples(st.just("track"), persons, express_properties, st.sampled_from(["Paid", "Other", "", "time", 7]))


def client(policy: FieldPolicy, regime: Regime) -> tuple[Mixpanel, FakeTransport]:
    registry, vendor = MemoryRegistry(), FakeTransport()
    for person in ("granted", "7", "granted\ud800"):
        registry.grant(person)
    registry.deny("denied")
    mp = Mixpanel("TOKEN", vendor, registry=registry, policy=policy, regime=regime)
    mp._now = lambda: 1_700_000_000.25  # type: ignore[method-assign]
    mp._make_insert_id = lambda: "insert-id"  # type: ignore[method-assign]
    return mp, vendor


def through_the_gate(mp: Mixpanel) -> None:
    """Turns the express lane off."""
    mp._guard.event_at_once = lambda *_: (None, None)  # type: ignore[method-assign]
    mp._guard.update_at_once = lambda *_: (None, None)  # type: ignore[method-assign]


def answer(mp: Mixpanel, call: tuple[Any, ...]) -> Any:
    method, person, said = call[:3]
    arguments = (person, call[3], said) if method == "track" else (person, said)
    try:
        return getattr(mp, method)(*arguments)
    except Exception as error:  # noqa: BLE001 - the two must raise alike
        return type(error)


APPENDED = ("people_append", "granted", {"mails": "ada@mail.example"})
UNWRITABLE = ("track", "denied", {"plan": object()}, "Paid")


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200)
@given(
    rules=express_rules.map(lambda rules: {**rules, **{f"p{each}": keep() for each in range(254)}}),
    for_paid=express_rules,
    regime=st.sampled_from(list(Regime)),
    said=st.lists(calls, min_size=1, max_size=4),
    keeps_all=st.booleans(),
)
@example(
    rules={}, for_paid={"mails": keep(), "mails[]": mask()}, regime=Regime.OPT_IN, said=[APPENDED], keeps_all=False
)
@example(rules={}, for_paid={}, regime=Regime.OPT_OUT, said=[UNWRITABLE], keeps_all=True)
def test_the_express_lane_sends_and_says_what_the_gate_would(rules, for_paid, regime, said, keeps_all):
    policy = (
        FieldPolicy.keep_all() if keeps_all else FieldPolicy(events=rules, people=for_paid).for_event("Paid", for_paid)
    )
    (fast, fast_vendor), (slow, slow_vendor) = client(policy, regime), client(policy, regime)
    through_the_gate(slow)
    for call in said:
        assert answer(fast, call) == answer(slow, call)
    assert [(each.endpoint, each.raw) for each in fast_vendor.messages] == [
        (each.endpoint, each.raw) for each in slow_vendor.messages
    ]
    assert fast_vendor.decisions == slow_vendor.decisions
    assert fast.stats() == slow.stats()


def test_a_plain_message_takes_the_express_lane(monkeypatch):
    mp, vendor = client(FieldPolicy(events={"plan": keep()}, people={"plan": keep()}), Regime.OPT_IN)
    monkeypatch.setattr(mp._guard, "submit", None)
    assert mp.track("granted", "Paid", {"plan": "pro"})
    assert mp.people_set("granted", {"plan": "pro"})
    assert not mp.track("denied", "Paid", {"plan": "pro"})
    assert [each.endpoint for each in vendor.messages] == ["events", "people"]
