from __future__ import annotations

import re

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consentpanel import FieldPolicy, drop, generalize, keep, mask, redact, refuse
from consentpanel._cli._preview.judging import Judging
from consentpanel._cli._preview.records import Record, Scope, Unjudged
from consentpanel._cli._preview.report import as_json, as_text
from consentpanel._cli._preview.tally import Tally
from consentpanel.policy import Detector


def test_more_names_than_can_be_counted_are_summed(capsys) -> None:
    policy = FieldPolicy(events={"plan": keep()})
    tally = Tally(Scope.EVENTS, max_properties=10)
    judging = Judging(policy, tally)
    for number in range(50):
        judging.add(Record(number, "x", {"plan": "pro", f"name{number}x": 1, f"other{number}x": 2}))
    assert len(tally.properties) == 10
    assert tally.properties[None, "plan"].kept == 50
    assert sum(count.records for count in tally.properties.values()) + tally.others.records == 150
    assert "beyond the first 10" in "\n".join(as_text(tally, "policy"))
    assert as_json(tally, "policy")["other_properties"]["dropped"] == {"unnamed": 91}


def test_more_events_than_can_be_counted_are_summed() -> None:
    tally = Tally(Scope.EVENTS, by_event=True, max_properties=3)
    judging = Judging(FieldPolicy.keep_all(), tally)
    for number in range(50):
        judging.add(Record(number, f"event {number}", {"plan": "pro"}))
    assert sum(tally.events.values()) == 50
    assert len(tally.events) == 4


def shown(properties: dict[str, object]) -> set[str]:
    tally = Tally(Scope.EVENTS)
    judging = Judging(FieldPolicy.keep_all(), tally)
    judging.add(Record(1, "x", properties))
    return {path for _, path in tally.properties}


def test_an_address_as_a_key_is_hidden_however_long_the_path() -> None:
    padding = "x" * 100
    assert shown({"members": {padding: {"ann.lee" * 9 + "@mail.example": 1}}}) == {"members.…"}
    assert shown({"ann.lee." + padding * 2 + "@mail.example": 1}) == {"…"}
    assert shown({"members": [{"ann.lee@mail.example": {"role": 1}}]}) == {"members.<e-mail>"}


def test_a_year_or_a_short_number_as_a_key_is_shown() -> None:
    assert shown({"by_year": {"2026": 1}, "v2.beta": 1}) == {"by_year.2026", "'v2.beta'"}


def test_the_items_of_a_list_are_counted_once_a_record() -> None:
    tally = Tally(Scope.EVENTS)
    judging = Judging(FieldPolicy(events={"items[].sku": keep(), "tags[]": mask()}), tally)
    judging.add(Record(1, "x", {"items": [{"sku": 1}, {"sku": 2}, {"gift": 3}], "tags": ["abcdefgh", "ijklmnop"]}))
    rows = {
        path: (count.kept, dict(count.changed), dict(count.dropped)) for (_, path), count in tally.properties.items()
    }
    assert rows["items[].sku"] == (1, {}, {})
    assert rows["tags[]"] == (0, {"mask": 1}, {})


ANY_POLICY = st.dictionaries(
    st.sampled_from(["a", "a.b", "a.c", "a[]", "a[].b", "b", "b.a", "b[].c", "c"]),
    st.sampled_from([keep(), keep(deep=True), drop(), mask(), redact(), generalize(bucket=5)]),
)
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(0, 20) | st.text("ab@", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(ANY_POLICY, st.dictionaries(st.sampled_from("abcd"), ANY_VALUE, max_size=4))
def test_what_is_counted_is_what_the_policy_says(rules, properties) -> None:
    policy = FieldPolicy(events=rules)
    result = policy.apply_event("x", properties)
    tally = Tally(Scope.EVENTS)
    judging = Judging(policy, tally)
    judging.add(Record(1, "x", properties))
    rows = {path: count for (_, path), count in tally.properties.items()}
    assert all(count.records == 1 for count in rows.values())
    assert {path for path, count in rows.items() if count.dropped} == set(result.dropped)
    assert {path for path, count in rows.items() if count.changed} == set(result.changed) - set(result.dropped)
    for name in properties:
        assert any(path == name or path.startswith((f"{name}.", f"{name}[]")) for path in rows)
        if name in result.properties and not any(
            path.startswith(name) for path in {**result.dropped, **result.changed}
        ):
            assert any(path.startswith(name) and count.kept for path, count in rows.items())


def test_a_key_with_a_dot_is_counted_once_and_as_a_rule_writes_it():
    policy = FieldPolicy(events={"'x.y'": mask(), "cart": keep(deep=True)})
    tally = Tally(Scope.EVENTS)
    judging = Judging(policy, tally, with_samples=True)
    judging.add(Record(1, "E", {"x.y": "abcdefghijkl", "a.b": 1, "cart": {"n.m": 2}}))
    counts = {
        path: (count.kept, count.changed.total(), count.dropped.total())
        for (_, path), count in tally.properties.items()
    }
    assert counts == {"'x.y'": (0, 1, 0), "'a.b'": (0, 0, 1), "cart.'n.m'": (1, 0, 0)}
    assert [sample.before for sample in tally.properties[None, "'x.y'"].samples] == ['"abcdefghijkl"']


NAMES = st.sampled_from(
    [
        *(
            "plan",
            "Plan",
            "note",
            "email",
            "total",
            "x.y",
            "user-7",
            "user 7",
            "user%2D7",
            "secret",
            "id",
            "name7",
            "1234567",
        ),
        *("distinct_id", "$user_id", "$device_id", "Distinct_Id", "$distinct_ids", "alias", "time", "$time", "token"),
        *(
            "$insert_id",
            "mp_lib",
            "$lib_version",
            "$ignore_time",
            "ada@shop.example",
            "d41d8cd98f00b204e9800998ecf8427e",
        ),
        *("$city", "\u00e9t\u00e9", "a\x1b[31m", "\ud800", "[x]", "a b", "x" * 120),
    ]
)
VALUES = st.one_of(
    ANY_VALUE,
    st.sampled_from(
        [
            *(
                "user-7",
                "7",
                "",
                "ada@shop.example",
                "python",
                "2.1.0",
                "abcdef0123456789abcdef0123456789",
                "é",
                "\ud800",
            ),
            *(
                "%61da@shop.example",
                '{"password": 1}',
                "https://shop.example/?q=1",
                1790000000,
                31536000,
                10**12,
                10**20,
            ),
            *(4111111111111111, 4111111111111111.0, 1e300, float("nan"), float("inf"), -1, 0.5, [], {}, ["user-7"]),
        ]
    ),
)
POLICIES = [
    FieldPolicy(),
    FieldPolicy.keep_all(),
    FieldPolicy(events={"plan": keep(), "note": keep(detect=False), "total": generalize(bucket=5), "'x.y'": keep()}),
    FieldPolicy(events={"plan": keep(), "name7": keep(), "note": refuse(), "email": mask(), "$city": keep(deep=True)}),
    FieldPolicy(events={"plan": keep(), "note": keep(), "user-7": keep(), "$user_id": keep()}, on_detect="refuse"),
    FieldPolicy(events={"plan": keep(), "note": keep(on_detect="drop"), "a b": keep()}, detectors=["email"]),
    FieldPolicy(events={"plan": keep()}, detectors=[Detector("short", re.compile("a"))]),
    FieldPolicy.no_personal_data({"plan": keep(), "total": keep()}),
    FieldPolicy(events={"plan": keep()}).for_event("x", {"note": keep(), "plan": drop()}),
]


@pytest.mark.parametrize("policy", POLICIES, ids=range(len(POLICIES)))
@given(
    st.lists(
        st.tuples(st.sampled_from(["x", "y", "user-7"]), st.dictionaries(NAMES, VALUES, max_size=8)),
        min_size=1,
        max_size=4,
    )
)
@example([("x", {"distinct_id": "plan", "plan": 1, "note": 2, "time": 1790000000})])
@example([("x", {"distinct_id": "NOTE", "note": 1})])
def test_what_is_surely_known_is_counted_as_the_policy_counts_it(policy: FieldPolicy, records) -> None:
    # What names are is learnt from a first record; with samples each property is judged by the policy.
    fast, full = Tally(Scope.EVENTS, by_event=True), Tally(Scope.EVENTS, by_event=True)
    for tally in (fast, full):
        judging = Judging(policy, tally, with_samples=tally is full)
        for number, (event, properties) in enumerate([*records, *records]):
            judging.add(Record(number, event, dict(properties)))
    assert (fast.judged, fast.refused, fast.events) == (full.judged, full.refused, full.events)
    assert fast.properties == {key: attrs.evolve(count, samples=[]) for key, count in full.properties.items()}


def test_counts_of_parts_are_those_of_the_whole() -> None:
    policy = FieldPolicy(events={"plan": keep(), "email": mask()})
    records = [
        Record(n, f"e{n % 7}", {"plan": "pro", "email": f"ada{n}@shop.example", f"n{n % 9}x": n}) for n in range(60)
    ]
    whole = Tally(Scope.EVENTS, by_event=True, max_properties=12)
    merged = Tally(Scope.EVENTS, by_event=True, max_properties=12)
    judging = Judging(policy, whole, with_samples=True)
    for record in [*records, Unjudged(61, "broken")]:
        judging.add(record)
    for start in range(0, 60, 20):
        part = Tally(Scope.EVENTS, by_event=True, max_properties=12)
        judging = Judging(policy, part, with_samples=True)
        for record in records[start : start + 20]:
            judging.add(record)
        merged.merge(part)
    last = Tally(Scope.EVENTS, by_event=True, max_properties=12)
    last.add_unjudged(Unjudged(61, "broken"))
    merged.merge(last)
    # What is beyond the limit is counted by each part for itself.
    assert (merged.judged, merged.events, merged.problems) == (whole.judged, whole.events, whole.problems)
    assert list(merged.properties) == list(whole.properties)
    assert merged.properties[("e0", "plan")] == whole.properties[("e0", "plan")]
    assert sum(each.records for each in (*merged.properties.values(), merged.others)) == 180
