"""What a value becomes on the wire is what is judged (contract rules 3.6 and 3.8)."""

from __future__ import annotations

import dataclasses
import json
import math
import uuid
from collections import ChainMap, OrderedDict, UserDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Generator
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from functools import partial
from itertools import count
from typing import Any, ClassVar

import attrs
import mixpanel
import pytest

from consentpanel import Decision, FieldPolicy, Mixpanel, Regime, drop, keep, mask, redact, refuse, transform
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

ADA = "ada@mail.example"
BRANCHES = 2
LEVELS = 30


class Color(Enum):
    RED = "red"


class Plan(str, Enum):
    PRO = "pro"


class Level(IntEnum):
    TOP = 3


Point = namedtuple("Point", "x y")  # noqa: PYI024 - untyped, as application code has it


@dataclasses.dataclass
class Account:
    plan: str
    email: str


@attrs.define
class Customer:
    plan: str
    email: str


class Lazy:
    """A text that is made when it is written, as translations are."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    def __str__(self) -> str:
        return self._make()


class Text(str):
    """A text with opinions of its own about what it is."""

    __slots__ = ()

    def __str__(self) -> str:
        return "harmless"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("harmless")

    def __len__(self) -> int:
        return 0

    def strip(self, *_: object) -> str:
        return "harmless"


class Rich(mixpanel.DatetimeSerializer):
    """A serializer such as an application writes."""

    def default(self, obj: Any) -> Any:
        for kinds, write in self.FORMS:
            if isinstance(obj, kinds):
                return write(obj)
        return super().default(obj)

    FORMS: ClassVar[list[tuple[Any, Callable[[Any], Any]]]] = [
        (Color, lambda color: color.value),
        ((uuid.UUID, Decimal, Lazy), str),
        (datetime, lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S")),
        (date, date.isoformat),
        (bytes, bytes.decode),
        (Account, dataclasses.asdict),
        (Customer, attrs.asdict),
        ((set, frozenset), sorted),
        (Generator, list),
    ]


class Spaced(Rich):
    """A serializer that also writes in its own way, so that it has to be asked for the text."""

    def encode(self, o: Any) -> str:
        return super().encode(o).replace('":', '" : ')


def rich(**keywords: Any) -> Rich:
    """A serializer that is a function, as `json.dumps(cls=...)` allows."""
    return Rich(**keywords)


SERIALIZERS = [Rich, Spaced, rich]


@pytest.fixture
def track():
    def build(rules: Any, properties: Any, serializer: Any = Rich) -> tuple[Decision, dict[str, Any]]:
        registry, vendor = MemoryRegistry(), FakeTransport()
        registry.grant("user-1")
        policy = rules if isinstance(rules, FieldPolicy) else FieldPolicy(events=rules)
        mp = Mixpanel("TOKEN", vendor, serializer=serializer, registry=registry, policy=policy)
        decision = mp.track("user-1", "E", properties)
        assert vendor.decisions == [decision]
        if not decision:
            assert vendor.messages == []
            return decision, {}
        structural = {"token", "distinct_id", "time", "$insert_id", "mp_lib", "$lib_version"}
        return decision, {name: value for name, value in vendor.events[0].properties.items() if name not in structural}

    return build


# rule 3.6: turned first, judged after


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize(
    ("make", "written"),
    [
        (lambda: Text(ADA), ADA),
        (lambda: Plan.PRO, "pro"),
        (lambda: Level.TOP, 3),
        (lambda: Color.RED, "red"),
        (lambda: uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (lambda: Decimal("9.90"), "9.90"),
        (lambda: date(2026, 5, 17), "2026-05-17"),
        (lambda: datetime(2026, 5, 17, 1, 2, 3, tzinfo=timezone.utc), "2026-05-17T01:02:03"),
        (lambda: b"bytes", "bytes"),
        (lambda: {"b", "a"}, ["a", "b"]),
        (lambda: frozenset({2, 1}), [1, 2]),
        (lambda: (each for each in "ab"), ["a", "b"]),
        (lambda: Point(1, 2), [1, 2]),
        (lambda: (1, (Plan.PRO)), [1, "pro"]),
        (lambda: Lazy(lambda: "hello"), "hello"),
    ],
)
def test_a_value_is_sent_as_its_serializer_writes_it(track, serializer, make, written):
    decision, sent = track({"p": keep(detect=False)}, {"p": make()}, serializer)
    assert sent == {"p": written}
    assert (decision.outcome, dict(decision.dropped), dict(decision.changed)) == ("sent", {}, {})


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: Account("pro", ADA),
        lambda: Customer("pro", ADA),
        lambda: OrderedDict(plan="pro", email=ADA),
        lambda: defaultdict(list, plan="pro", email=ADA),
        lambda: {"plan": Text("pro"), Text("email"): Text(ADA)},
    ],
)
def test_what_turns_into_a_dict_is_judged_by_the_rules_for_its_keys(track, serializer, make):
    decision, sent = track({"user.plan": keep()}, {"user": make()}, serializer)
    assert sent == {"user": {"plan": "pro"}}
    assert decision.dropped == {"user.email": "unnamed"}
    decision, sent = track({"user": keep()}, {"user": make()}, serializer)
    assert (sent, decision.dropped) == ({}, {"user": "not_opened"})
    decision, sent = track({"user": keep(deep=True), "user.email": refuse()}, {"user": make()}, serializer)
    assert (decision.reason, decision.dropped) == ("refused_by_policy", {"user.email": "refuse"})


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_objects_inside_lists_and_dicts_are_turned_as_well(track, serializer):
    properties = {"items": (Account("pro", ADA), {"plan": Plan.PRO, "email": Lazy(lambda: ADA)})}
    decision, sent = track({"items[].plan": keep()}, properties, serializer)
    assert sent == {"items": [{"plan": "pro"}, {"plan": "pro"}]}
    assert decision.dropped == {"items[].email": "unnamed"}


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("value", [Text(ADA), Lazy(lambda: ADA), ADA.encode()])
def test_an_action_sees_the_text_that_would_be_sent(track, serializer, value):
    decision, sent = track({"p": mask()}, {"p": value}, serializer)
    assert (sent, decision.changed) == ({"p": "****@mail.example"}, {"p": "mask"})


def test_a_function_of_the_user_s_gets_plain_values_alone(track):
    seen: list[type] = []
    rules = {name: transform(lambda value: seen.append(type(value)) or 1) for name in "abcdef"}
    properties = {"a": Text(ADA), "b": Level.TOP, "c": Account("pro", ADA), "d": Point(1, 2), "e": {1}, "f": Plan.PRO}
    track(rules, properties)
    assert seen == [str, int, dict, list, list, str]


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_lazy_text_is_made_once_so_what_is_judged_is_what_is_sent(track, serializer):
    texts = iter(["first", ADA, ADA, ADA])
    _, sent = track({"p": keep()}, {"p": Lazy(lambda: next(texts))}, serializer)
    assert sent == {"p": "first"}


# rule 3.6: names


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize(
    ("key", "name"),
    [
        *[
            (1, "1"),
            (None, "null"),
            (True, "true"),
            (1.5, "1.5"),
            (Level.TOP, "3"),
            (Plan.PRO, "pro"),
            (Text("id"), "id"),
        ],
        *[
            (Color.RED, "red"),
            (b"k", "k"),
            (uuid.UUID(int=1), str(uuid.UUID(int=1))),
            (date(2026, 5, 17), "2026-05-17"),
        ],
    ],
)
def test_a_key_is_judged_by_the_name_it_has_on_the_wire(track, serializer, key, name):
    assert track({f"'{name}'": keep()}, {key: "v"}, serializer)[1] == {name: "v"}
    assert track({f"d.'{name}'": keep(), "d": keep(deep=True)}, {"d": {key: "v"}}, serializer)[1] == {"d": {name: "v"}}
    assert track({"other": keep(), "harmless": keep()}, {key: ADA}, serializer)[1] == {}


@pytest.mark.parametrize("key", [(1, 2), 1j, b"\xff", frozenset()])
def test_a_key_that_json_refuses_drops_its_property_and_is_reported_without_being_said(track, key):
    decision, sent = track({"plan": keep()}, {key: ADA, "plan": "pro"})
    assert (sent, decision.dropped) == ({"plan": "pro"}, {"(a key that is not text)": "key_not_text"})
    decision, sent = track({"plan": keep(), "d": keep(deep=True)}, {"d": {key: ADA}, "plan": "pro"})
    assert (sent, decision.dropped) == ({"plan": "pro"}, {"d": "key_not_text"})


# rule 3.6: what cannot be serialised drops its property, not the event


class Angry(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError(ADA)


class Endless(dict[str, Any]):
    def items(self) -> Any:
        while True:
            yield "k", ADA


class Odd(dict[str, Any]):
    def items(self) -> Any:
        return [1, 2, 3]


class Hidden(list[Any]):
    """Iterates over something else than it holds, and `json` writes what it holds."""

    def __iter__(self) -> Any:
        raise ValueError(ADA)


class HugeInt(int):
    def __index__(self) -> int:
        return 1

    __int__ = __index__

    def __repr__(self) -> str:
        return "1"


def _recursion() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


def _chain(depth: int) -> Any:
    value: Any = "leaf"
    for level in range(depth):
        value = {"k": value} if level % 2 else [value]
    return value


def _shared(levels: int = LEVELS) -> Any:
    value: Any = [ADA]
    for _ in range(levels):
        value = [value] * BRANCHES
    return value


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (object, "unserialisable"),
        (lambda: [object()], "unserialisable"),
        (lambda: {"k": object()}, "unserialisable"),
        (lambda: Lazy(lambda: 1 / 0), "unserialisable"),  # type: ignore[arg-type, return-value]
        (lambda: b"\xff", "unserialisable"),
        (lambda: {1, object()}, "unserialisable"),
        (lambda: deque(range(1_001)), "too_many_items"),
        (count, "too_many_items"),
        (lambda: dict.fromkeys(range(1_001)).keys(), "too_many_items"),
        (lambda: 10**5000, "unserialisable"),
        (lambda: [10**5000], "unserialisable"),
        (lambda: 1j, "unserialisable"),
        (lambda: Angry(k=1), "unserialisable"),
        (lambda: Odd(k=1), "unserialisable"),
        (lambda: Endless(k=1), "too_large"),
        (lambda: math.nan, "not_finite"),
        (lambda: math.inf, "not_finite"),
        (lambda: -math.inf, "not_finite"),
        (lambda: [1, {"k": math.nan}], "not_finite"),
        (_recursion, "cycle"),
        (lambda: _chain(40), "too_deep"),
        (lambda: _chain(100_000), "too_deep"),
        (_shared, "too_large"),
        (lambda: {"k": _shared()}, "too_large"),
        (lambda: ["x" * 10_000_000], "too_large"),
        (lambda: {"x" * 10_000_000: 1}, "too_large"),
        (lambda: [10**4000] * 500_000, "too_large"),
        (lambda: [0.123456789] * 1_000_000, "too_large"),
    ],
)
def test_what_cannot_be_written_drops_its_property_alone_and_is_reported(track, caplog, make, cause):
    # rule 3.8 as well: cycles, depth and size end in a reported outcome
    value = make()
    decision, sent = track({"plan": keep(), "p": keep(deep=True)}, {"p": value, "plan": "pro"})
    assert (decision.outcome, sent, decision.dropped) == ("redacted", {"plan": "pro"}, {"p": cause})
    assert ADA not in repr(decision) + caplog.text
    _leave_no_chain(value)


def _leave_no_chain(value: Any) -> None:
    """Takes a deep value apart, for the interpreter may not free 100,000 levels at once."""
    while isinstance(value, (list, dict)) and len(value) == 1:
        value = value.pop() if isinstance(value, list) else value.popitem()[1]


@pytest.mark.parametrize("serializer", SERIALIZERS[1:])
@pytest.mark.parametrize(
    "make", [_shared, _recursion, lambda: _chain(40), object, lambda: math.nan, lambda: Angry(k=1)]
)
def test_a_serializer_with_its_own_way_of_writing_has_the_same_bounds(track, serializer, make):
    decision, sent = track({"plan": keep(), "p": keep(deep=True)}, {"p": make(), "plan": "pro"}, serializer)
    assert sent == {"plan": "pro"}
    assert list(decision.dropped) == ["p"]


class LazyString:
    """As Flask-Babel's: no str, and known by its name alone."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


@pytest.mark.parametrize(
    ("make", "written"),
    [
        (lambda: datetime(2026, 5, 17, 1, 2, 3, tzinfo=timezone.utc), "2026-05-17T01:02:03"),  # as the vendor writes it
        (lambda: date(2026, 5, 17), "2026-05-17"),
        (lambda: uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (lambda: Decimal("9.90"), "9.90"),
        (partial(LazyString, "hello"), "hello"),
        (partial(Text, "text"), "text"),
        (lambda: Color.RED, "red"),
        (partial("é".encode), "é"),
        (lambda: bytearray(b"b"), "b"),
        (lambda: {2, 1}, [1, 2]),
        (lambda: (each for each in "ab"), ["a", "b"]),
        (lambda: deque([1]), [1]),
        (partial({"k": 1}.values), [1]),
        (lambda: ChainMap({"k": 1}), {"k": 1}),
        (lambda: UserDict({"k": {Decimal(1)}}), {"k": ["1"]}),
        (lambda: Account("pro", ADA), {"plan": "pro", "email": ADA}),
        (lambda: Customer("pro", ADA), {"plan": "pro", "email": ADA}),
    ],
)
@pytest.mark.parametrize("policy", [FieldPolicy.keep_all(), FieldPolicy(events={"p": keep(deep=True, detect=False)})])
def test_what_the_serializer_refuses_is_converted(track, policy, make, written):
    # rule 3.6
    decision, sent = track(policy, {"p": make()}, mixpanel.DatetimeSerializer)
    assert (sent, decision.outcome) == ({"p": written}, "sent")


@pytest.mark.parametrize("policy", [FieldPolicy.keep_all(), FieldPolicy(events={"p": keep(deep=True), "1": keep()})])
@pytest.mark.parametrize("serializer", [mixpanel.DatetimeSerializer, *SERIALIZERS])
def test_two_keys_that_are_one_on_the_wire_are_both_dropped_and_reported(track, policy, serializer):
    # rule 3.6
    decision, sent = track(policy, {"p": {1: ADA, "1": "b", "c": 3}, 1: ADA, "1": "b"}, serializer)
    assert sent == {"p": {"c": 3}}
    assert list(decision.dropped.values()) == ["duplicate_key"] * 2


def test_a_serializer_with_its_own_encode_is_run_first_and_its_text_judged(track):
    # rule 3.6
    class Generous(mixpanel.DatetimeSerializer):
        def encode(self, o: Any) -> str:
            record = json.loads(super().encode(o))
            record["properties"].update(email=ADA, plan="pro")
            record["note"] = ADA
            return json.dumps(record)

    decision, sent = track({"plan": keep()}, {}, Generous)
    assert sent == {"plan": "pro"}
    assert decision.dropped == {"email": "unnamed", "note": "unnamed"}


@pytest.mark.parametrize("text", ["[]", "null", "garbage", '{"event": "E", "event": "E"}'])
def test_a_serializer_that_writes_no_object_drops_the_message(track, text):
    class Odd(json.JSONEncoder):
        def encode(self, o: Any) -> str:
            return text

    assert track({"plan": keep()}, {"plan": 1}, Odd)[0].reason == "invalid_message"


def test_a_serializer_cannot_swap_the_person_whose_consent_is_asked(track):
    # rules 2.7 and 3.6
    class Renaming(json.JSONEncoder):
        def encode(self, o: Any) -> str:
            return super().encode(o).replace('"user-1"', '"user-2"')

    assert track({"plan": keep()}, {"plan": 1}, Renaming)[0].reason == "no_consent"


def test_a_subclass_of_int_or_list_is_judged_by_what_json_writes_of_it(track):
    properties = {"a": HugeInt(7), "b": Hidden([1, 2]), "c": HugeInt(10**5000)}
    decision, sent = track(dict.fromkeys("abc", keep()), properties)
    assert (sent, decision.dropped) == ({"a": 7, "b": [1, 2]}, {"c": "unserialisable"})


def test_values_that_no_rule_keeps_are_not_even_looked_at(track):
    def explode() -> str:
        raise AssertionError

    decision, sent = track({"a": drop(), "b": redact()}, {"a": Lazy(explode), "x": Lazy(explode)})
    assert sent == {}
    assert decision.dropped.keys() == {"a", "x"}


def test_a_serializer_that_changes_the_value_it_writes_changes_nothing_that_was_judged(track):
    victim: dict[str, Any] = {"first": None, "plan": "pro"}

    class Meddler(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            victim["email"] = ADA
            victim["plan"] = ADA
            return "done"

    victim["first"] = object()
    decision, sent = track({"d.plan": keep(), "d.first": keep()}, {"d": victim}, Meddler)
    assert (sent, decision.dropped) == ({"d": {"first": "done", "plan": "pro"}}, {})


def test_a_default_that_never_ends_is_too_deep(track):
    class Forever(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return object()

    assert track({"p": keep()}, {"p": object()}, Forever)[0].dropped == {"p": "too_deep"}


def test_a_default_that_returns_what_it_got_is_a_cycle(track):
    class Echo(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return o

    assert track({"p": keep()}, {"p": object()}, Echo)[0].dropped == {"p": "cycle"}


def test_a_serializer_s_exception_is_in_no_log_and_no_context(track, caplog):
    class Loud(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            raise ValueError(ADA)

    decision, _ = track({"p": keep()}, {"p": object()}, Loud)
    assert decision.dropped == {"p": "unserialisable"}
    assert ADA not in caplog.text


# rule 3.8


@pytest.mark.parametrize("depth", [1, 30, 31])
def test_a_value_of_up_to_32_levels_passes(track, depth):
    value = _chain(depth)
    assert track({"p": keep(deep=True)}, {"p": value})[1] == {"p": value}


def test_shared_parts_that_do_not_multiply_are_written_each_time(track):
    part = {"a": [1]}
    assert track({"p": keep(deep=True)}, {"p": [part, part]})[1] == {"p": [part, part]}


@pytest.mark.parametrize(
    "policy", [FieldPolicy.keep_all(), FieldPolicy(events={f"p{each}": keep() for each in range(300)})]
)
def test_300_properties_end_in_a_reported_outcome(track, policy):
    decision, _ = track(policy, {f"p{each}": each for each in range(300)})
    assert (decision.outcome, decision.reason) == ("dropped", "too_large")


def test_300_properties_of_which_few_are_kept_are_sent(track):
    decision, sent = track({"p7": keep()}, {f"p{each}": each for each in range(300)})
    assert (decision.outcome, sent, len(decision.dropped)) == ("redacted", {"p7": 7}, 299)


@pytest.mark.parametrize("policy", [FieldPolicy.keep_all(), FieldPolicy(events={"p": keep()})])
@pytest.mark.parametrize("text", ["x" * 10_000_000, "é" * 1_000_000, "\ud800" * 1_000_000])
def test_a_string_larger_than_a_message_ends_in_a_reported_outcome(track, policy, text):
    decision, _ = track(policy, {"p": text})
    assert (decision.outcome, decision.reason) == ("dropped", "too_large")


@pytest.mark.parametrize(
    ("action", "sent"), [(redact(), "[redacted]"), (mask(), "****xxxx"), (transform(len), 10_000_000)]
)
def test_an_action_that_shortens_a_large_string_saves_it(track, action, sent):
    assert track({"p": action}, {"p": "x" * 10_000_000})[1] == {"p": sent}


def test_a_lone_surrogate_reaches_the_vendor_as_an_escape(track):
    assert track({"p": keep()}, {"p": "\ud83d"})[1] == {"p": "\ud83d"}


@pytest.mark.parametrize("make", [_recursion, _shared, lambda: _chain(40), lambda: Endless(k=1)])
def test_keep_all_has_the_same_bounds(track, make):
    # rule 3.10: keep_all() keeps what can be kept
    decision, sent = track(FieldPolicy.keep_all(), {"p": make(), "plan": "pro"})
    assert sent == {"plan": "pro"}
    assert list(decision.dropped) == ["p"]


HALVES = "".join(
    letter if letter in "@." else "\ud835" + chr(0xDC1A + ord(letter) - 97) for letter in "ada@shop.example"
)
WHOLE = HALVES.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


@pytest.mark.parametrize("text", [HALVES, WHOLE])
def test_two_halves_of_a_pair_are_judged_as_the_character_that_they_are_in_json(text):
    # rules 3.6 and 3.7
    policy = FieldPolicy(events={"note": keep(), "ctx": keep(deep=True)})
    assert policy.apply_event("E", {"note": text}).properties == {"note": "[redacted]"}
    result = policy.apply_event("E", {"ctx": {"\ud83d\ude00": 1, "\U0001f600": 2, "a": 3}})
    assert result.properties == {"ctx": {"a": 3}}


@pytest.mark.parametrize("subject", ["\ud83d\ude00u", "\U0001f600u"])
def test_an_id_in_two_halves_is_that_of_the_person(subject):
    # rules 2.7 and 3.6
    registry, vendor = MemoryRegistry(), FakeTransport()
    registry.deny("\U0001f600u")
    mp = Mixpanel("T", vendor, registry=registry, policy=FieldPolicy(), regime=Regime.OPT_OUT)
    assert mp.track(subject, "E").reason == "withdrawn"
    assert mp.people_set(subject, {"a": 1}).reason == "withdrawn"
