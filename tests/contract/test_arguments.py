"""Arguments that cannot be read, have no end or raise: each call answers a decision that names the argument."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from consentpanel import FieldPolicy, Mixpanel, Reason, keep
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport


class HasNoTruth:
    """As an array of numpy answers: several values have no truth of their own."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


class SaysNothing(type):
    @property
    def __name__(cls) -> str:
        raise ValueError("no name")

    @property
    def __class__(cls) -> Any:
        raise ValueError("no class")


def unreadable() -> Any:
    return SaysNothing("Unreadable", (), {})()


class Endless(Mapping[Any, Any]):
    """A mapping whose keys have no end."""

    def __getitem__(self, key: Any) -> Any:
        return key

    def __iter__(self) -> Iterator[Any]:
        return map("key-{}".format, count())

    def __len__(self) -> int:
        return 1


class Raising(Mapping[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        raise ValueError(key)

    def __iter__(self) -> Iterator[Any]:
        return iter(["plan"])

    def __len__(self) -> int:
        return 1


BAD = [HasNoTruth, unreadable, Endless, Raising, lambda: 7, lambda: ["a"], lambda: "text"]
#: Every call that takes ``meta``, by name.
WITH_META: dict[str, Callable[[Mixpanel, Any], Any]] = {
    "track": lambda mp, meta: mp.track("user-1", "Seen", {}, meta),
    "import_data": lambda mp, meta: mp.import_data("key", "user-1", "Seen", time.time(), {}, meta),
    "alias": lambda mp, meta: mp.alias("user-1", "user-2", meta),
    "merge": lambda mp, meta: mp.merge("key", "user-1", "user-2", meta=meta),
    "people_set": lambda mp, meta: mp.people_set("user-1", {"plan": "pro"}, meta),
    "people_set by name": lambda mp, meta: mp.people_set("user-1", properties={"plan": "pro"}, meta=meta),
    "people_set_once": lambda mp, meta: mp.people_set_once("user-1", {"plan": "pro"}, meta),
    "people_increment": lambda mp, meta: mp.people_increment("user-1", {"plan": 1}, meta),
    "people_append": lambda mp, meta: mp.people_append("user-1", {"plan": "pro"}, meta=meta),
    "people_union": lambda mp, meta: mp.people_union("user-1", {"plan": ["pro"]}, meta),
    "people_unset": lambda mp, meta: mp.people_unset("user-1", ["plan"], meta),
    "people_remove": lambda mp, meta: mp.people_remove("user-1", {"plan": "pro"}, meta),
    "people_delete": lambda mp, meta: mp.people_delete("user-1", meta),
    "people_clear_charges": lambda mp, meta: mp.people_clear_charges("user-1", meta=meta),
    "people_track_charge": lambda mp, meta: mp.people_track_charge("user-1", 5, {}, meta),
    "people_update": lambda mp, meta: mp.people_update({"$distinct_id": "user-1", "$set": {"plan": "pro"}}, meta),
    "group_set": lambda mp, meta: mp.group_set("company", "acme", {"plan": "pro"}, meta),
    "group_set_once": lambda mp, meta: mp.group_set_once("company", "acme", {"plan": "pro"}, meta),
    "group_union": lambda mp, meta: mp.group_union("company", "acme", {"plan": ["pro"]}, meta),
    "group_unset": lambda mp, meta: mp.group_unset("company", "acme", ["plan"], meta),
    "group_remove": lambda mp, meta: mp.group_remove("company", "acme", {"plan": "pro"}, meta),
    "group_delete": lambda mp, meta: mp.group_delete("company", "acme", meta),
    "group_update": lambda mp, meta: mp.group_update(
        {"$group_key": "company", "$group_id": "acme", "$set": {"plan": "pro"}}, meta
    ),
}


@pytest.fixture
def mp(registry: MemoryRegistry, vendor: FakeTransport) -> Mixpanel:
    registry.grant("user-1")
    registry.grant("user-2")
    rules = {"plan": keep()}
    policy = FieldPolicy(events=rules, people={**rules, "$transactions": keep(deep=True)}, groups=rules)
    return Mixpanel("TOKEN", vendor, registry=registry, policy=policy)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("call", WITH_META.values(), ids=WITH_META)
def test_meta_that_cannot_be_read_is_refused_and_named(
    mp: Mixpanel, vendor: FakeTransport, call: Callable[[Mixpanel, Any], Any], bad: Callable[[], Any]
) -> None:
    # rules 1.8, 2.9 and 3.8
    decision = call(mp, bad())
    assert decision.reason is Reason.INVALID_MESSAGE
    assert not vendor.messages
    if bad not in (Endless, Raising):
        assert "meta must be a mapping, not " in decision.problem


@pytest.mark.parametrize("call", WITH_META.values(), ids=WITH_META)
def test_meta_of_ones_own_kind_of_mapping_is_read(
    mp: Mixpanel, vendor: FakeTransport, call: Callable[[Mixpanel, Any], Any]
) -> None:
    # rule 1.3
    class Chained(Raising):
        def __getitem__(self, key: Any) -> Any:
            return True

        def __iter__(self) -> Iterator[Any]:
            return iter(["$ignore_time"])

    assert call(mp, Chained())
    assert '"$ignore_time":true' in vendor.messages[0].raw


@pytest.mark.parametrize("bad", [unreadable, Endless, Raising, lambda: 7, lambda: "text"])
@pytest.mark.parametrize(
    "call",
    [
        lambda mp, bad: mp.track("user-1", "Seen", bad),
        lambda mp, bad: mp.import_data("key", "user-1", "Seen", 1_700_000_000, bad),
        lambda mp, bad: mp.people_update(bad),
        lambda mp, bad: mp.group_update(bad),
        lambda mp, bad: mp.people_set("user-1", bad),
        lambda mp, bad: mp.people_track_charge("user-1", 5, bad),
        lambda mp, bad: mp.group_set("company", "acme", bad),
    ],
)
def test_properties_that_cannot_be_read_are_refused(
    mp: Mixpanel, vendor: FakeTransport, call: Callable[[Mixpanel, Any], Any], bad: Callable[[], Any]
) -> None:
    # rules 1.8 and 3.8
    decision = call(mp, bad())
    assert not decision
    assert decision.reason in {Reason.INVALID_MESSAGE, Reason.NOTHING_LEFT}
    assert not vendor.messages


def test_a_text_of_more_properties_than_anybody_sends_is_refused(mp: Mixpanel, vendor: FakeTransport) -> None:
    # rules 1.4 and 1.8
    text = json.dumps({"event": "Seen", "properties": {f"{number:x}": 0 for number in range(1 << 20)}})
    assert mp._consumer.send("events", text).reason is Reason.INVALID_MESSAGE
    assert not vendor.messages
