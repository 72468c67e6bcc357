from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consentpanel import FieldPolicy, drop, generalize, keep, mask, redact
from consentpanel._cli._preview.records import Record, Scope
from consentpanel._cli._preview.report import as_json, as_text
from consentpanel._cli._preview.tally import Tally


def test_more_names_than_can_be_counted_are_summed(capsys) -> None:
    policy = FieldPolicy(events={"plan": keep()})
    tally = Tally(policy, Scope.EVENTS, max_properties=10)
    for number in range(50):
        tally.add(Record(number, "x", {"plan": "pro", f"name{number}x": 1, f"other{number}x": 2}))
    assert len(tally.properties) == 10
    assert tally.properties[None, "plan"].kept == 50
    assert sum(count.records for count in tally.properties.values()) + tally.others.records == 150
    assert "beyond the first 10" in "\n".join(as_text(tally, "policy"))
    assert as_json(tally, "policy")["other_properties"]["dropped"] == {"unnamed": 91}


def test_more_events_than_can_be_counted_are_summed() -> None:
    tally = Tally(FieldPolicy.keep_all(), Scope.EVENTS, by_event=True, max_properties=3)
    for number in range(50):
        tally.add(Record(number, f"event {number}", {"plan": "pro"}))
    assert sum(tally.events.values()) == 50
    assert len(tally.events) == 4


def shown(properties: dict[str, object]) -> set[str]:
    tally = Tally(FieldPolicy.keep_all(), Scope.EVENTS)
    tally.add(Record(1, "x", properties))
    return {path for _, path in tally.properties}


def test_an_address_as_a_key_is_hidden_however_long_the_path() -> None:
    padding = "x" * 100
    assert shown({"members": {padding: {"ann.lee" * 9 + "@mail.example": 1}}}) == {"members.…"}
    assert shown({"ann.lee." + padding * 2 + "@mail.example": 1}) == {"…"}
    assert shown({"members": [{"ann.lee@mail.example": {"role": 1}}]}) == {"members.<e-mail>"}


def test_a_year_or_a_short_number_as_a_key_is_shown() -> None:
    assert shown({"by_year": {"2026": 1}, "v2.beta": 1}) == {"by_year.2026", "'v2.beta'"}


def test_the_items_of_a_list_are_counted_once_a_record() -> None:
    tally = Tally(FieldPolicy(events={"items[].sku": keep(), "tags[]": mask()}), Scope.EVENTS)
    tally.add(Record(1, "x", {"items": [{"sku": 1}, {"sku": 2}, {"gift": 3}], "tags": ["abcdefgh", "ijklmnop"]}))
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
    tally = Tally(policy, Scope.EVENTS)
    tally.add(Record(1, "x", properties))
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
    tally = Tally(policy, Scope.EVENTS, with_samples=True)
    tally.add(Record(1, "E", {"x.y": "abcdefghijkl", "a.b": 1, "cart": {"n.m": 2}}))
    counts = {
        path: (count.kept, count.changed.total(), count.dropped.total())
        for (_, path), count in tally.properties.items()
    }
    assert counts == {"'x.y'": (0, 1, 0), "'a.b'": (0, 0, 1), "cart.'n.m'": (1, 0, 0)}
    assert [sample.before for sample in tally.properties[None, "'x.y'"].samples] == ['"abcdefghijkl"']
