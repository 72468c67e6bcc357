"""The fast path sends and says what the gate would, whatever the rules do to a property."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consentpanel import (
    ConsentStatus,
    FieldPolicy,
    Mixpanel,
    Reason,
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
    url,
)
from consentpanel.testing import FakeTransport

ADA = "ada@shop.example"
SECRET = b"0" * 32
ANSWERS = {"yes": ConsentStatus.GRANTED, "no": ConsentStatus.DENIED, "never": ConsentStatus.UNKNOWN}


class Registry:
    """Answers by the id, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def status(self, subject_id: str, purpose: str, *, at: object = None) -> ConsentStatus:
        self.asked.append((subject_id, str(purpose)))
        return ANSWERS[subject_id]


def client(policy: FieldPolicy, regime: Regime, *, fast: bool) -> tuple[Mixpanel, FakeTransport, Registry]:
    transport, registry = FakeTransport(), Registry()
    mp = Mixpanel("TOKEN", transport, registry=registry, policy=policy, regime=regime)
    mp._now = lambda: 1_700_000_000
    mp._make_insert_id = lambda: "a" * 32
    if not fast:
        mp._guard.event_at_once = lambda *_: (None, None)  # type: ignore[method-assign]
    return mp, transport, registry


NAMES = st.sampled_from(["plan", "note", "Note", "ctx", "items", "$email", "when", "more", "yes", ADA, "a.b"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats()
    | st.sampled_from(
        ["pro", ADA, f"to {ADA}", "yes", "https://s.example/?email=a%40b.example", "4111111111111111", ""]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
ACTIONS = st.sampled_from(
    [
        keep(),
        keep(deep=True),
        keep(detect=False),
        keep(one_of=["pro"]),
        keep(on_detect="refuse"),
        keep(on_detect="report"),
        drop(),
        redact(),
        refuse(),
        mask(),
        pseudonymize(),
        truncate(3),
        generalize(bucket=10),
        transform(len),
        url(),
    ]
)
RULES = st.dictionaries(
    st.sampled_from(["plan", "note", "ctx", "ctx.plan", "items[].plan", "$email"]), ACTIONS, max_size=4
)


def _policy(rules: dict[str, Any], own: dict[str, Any]) -> FieldPolicy | None:
    try:
        return FieldPolicy(events=rules, secret=SECRET).for_event("Paid", own)
    except ValueError:  # a rule that can never apply
        return None


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(
    rules=RULES,
    own=RULES,
    regime=st.sampled_from(list(Regime)),
    calls=st.lists(
        st.tuples(
            st.sampled_from(["yes", "no", "never"]),
            st.sampled_from(["Paid", "Viewed", f"Mail to {ADA}"]),
            st.dictionaries(NAMES, VALUES, max_size=4),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_whatever_the_rules_do_both_ways_are_one(rules, own, regime, calls):
    policy = _policy(rules, own)
    if policy is None:
        return
    fast, fast_vendor, fast_registry = client(policy, regime, fast=True)
    slow, slow_vendor, slow_registry = client(policy, regime, fast=False)
    for call in calls:
        assert fast.track(*call) == slow.track(*call)
    assert [each.raw for each in fast_vendor.messages] == [each.raw for each in slow_vendor.messages]
    assert fast_vendor.decisions == slow_vendor.decisions
    assert fast_registry.asked == slow_registry.asked
    assert fast.stats() == slow.stats()


def test_an_event_with_a_property_that_no_rule_names_takes_the_fast_path(monkeypatch):
    mp, vendor, _ = client(FieldPolicy(events={"plan": keep(), "note": redact()}), Regime.OPT_IN, fast=True)
    monkeypatch.setattr(mp._guard, "submit", None)
    decision = mp.track("yes", "Paid", {"plan": "pro", "note": ADA, "more": {"a": 1}})
    assert (decision.dropped, decision.changed) == ({"more": "unnamed"}, {"note": "redact"})
    assert {name: vendor.events[0].properties[name] for name in ("plan", "note")} == {
        "plan": "pro",
        "note": "[redacted]",
    }


def test_a_person_who_never_objected_takes_the_fast_path(monkeypatch):
    mp, vendor, _ = client(FieldPolicy(events={"plan": keep()}), Regime.OPT_OUT, fast=True)
    monkeypatch.setattr(mp._guard, "submit", None)
    decision = mp.track("never", "Paid", {"plan": "pro"})
    assert (decision.reason, decision.status) == (Reason.NOT_DENIED, ConsentStatus.UNKNOWN)
    assert len(vendor.events) == 1


@pytest.mark.parametrize("more", [{}, {"card": "4111111111111111"}])
def test_what_can_be_read_once_is_read_once(more):
    # rule 3.6: a generator becomes a list
    policy = FieldPolicy(events={"items": keep(), "card": refuse()})
    mp, vendor, _ = client(policy, Regime.OPT_IN, fast=True)
    mp.track("yes", "Paid", {"items": (number for number in range(3)), **more})
    assert [each.properties["items"] for each in vendor.events] == ([] if more else [[0, 1, 2]])


def test_what_is_too_large_is_dropped_and_not_sent_empty():
    # rule 3.8
    mp, vendor, _ = client(FieldPolicy(events={"a": keep(), "b": keep()}), Regime.OPT_IN, fast=True)
    half = {name: (each for each in ["x" * 600_000]) for name in ("a", "b")}
    assert mp.track("yes", "Paid", half).reason is Reason.TOO_LARGE
    assert vendor.messages == []


def test_a_number_that_is_none_is_dropped():
    mp, _, _ = client(FieldPolicy(events={"a": keep()}), Regime.OPT_IN, fast=True)
    assert mp.track("yes", "Paid", {"a": math.nan}).dropped == {"a": "not_finite"}


def test_the_callers_dict_may_change_meanwhile():
    # rule 8.9
    properties: dict[str, Any] = {}
    rules = {"items": keep(), "z": transform(lambda value: (properties.setdefault("w", 1), value)[1])}
    mp, vendor, _ = client(FieldPolicy(events=rules), Regime.OPT_IN, fast=True)
    properties.update(items=(number for number in range(3)), z=1)
    mp.track("yes", "Paid", properties)
    assert vendor.events[0].properties["items"] == [0, 1, 2]


@pytest.mark.parametrize("now", [math.nan, math.inf, 10**400])
def test_a_time_that_is_none_is_left_to_the_gate(now):
    mp, vendor, _ = client(FieldPolicy(events={"plan": keep()}), Regime.OPT_IN, fast=True)
    mp._now = lambda: now
    assert mp.track("yes", "Paid", {"plan": "pro", "more": 1}).dropped["more"] == "unnamed"
    assert len(vendor.events) == 1


def test_a_telephone_number_as_an_id_is_warned_of(caplog):
    mp, _, registry = client(FieldPolicy(events={"plan": keep()}), Regime.OPT_IN, fast=True)
    registry.status = lambda *_, **__: ConsentStatus.GRANTED  # type: ignore[method-assign]
    mp.track("+49 170 1234567", "Paid", {"plan": "pro", "more": 1})
    assert "ids that look personal (phone)" in caplog.text
