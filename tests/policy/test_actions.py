"""What each action does to real and to hostile values (contract rule 3.2)."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel import (
    ConfigurationError,
    FieldPolicy,
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
from consentpanel.policy import Action, PolicyResult

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER_SECRET = b"fedcba9876543210fedcba9876543210"
LONE_SURROGATE = "\ud83d ada"

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    -7,
    1.5,
    -0.0,
    1e300,
    10**400,
    "",
    "ada",
    "Ünïcödé 🦊",
    LONE_SURROGATE,
    "x" * 100_000,
]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=60)
)


def applied(action: Action, value: object) -> PolicyResult:
    return FieldPolicy(events={"p": action}, secret=SECRET).apply_event("E", {"p": value})


def sent(action: Action, value: object) -> Any:
    return applied(action, value).properties["p"]


def same(one: object, other: object) -> bool:
    return json.dumps(one) == json.dumps(other)


def pseudonym(value: str, secret: bytes = SECRET, prefix: str = "psn_") -> str:
    return prefix + hmac.new(secret, value.encode(), hashlib.sha256).hexdigest()


# rule 3.2: keep()


@pytest.mark.parametrize("value", [*SCALARS, [], {}, [1, "a", None, True, 2.5]])
def test_keep_sends_scalars_and_lists_of_them_as_they_are(value):
    result = applied(keep(), value)
    assert same(result.properties, {"p": value})
    assert (result.dropped, result.changed, result.refused) == ({}, {}, False)


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], [{"a": 1}]])
def test_keep_does_not_open_a_dict_or_a_list_of_lists(value):
    result = applied(keep(), value)
    assert result.properties == {}
    assert set(result.dropped) >= {"p"}


# rule 3.2: drop()


@pytest.mark.parametrize("value", [*SCALARS, [], {}, ["a"], {"a": 1}, [{"a": 1}]])
def test_drop_leaves_the_property_out_and_says_so(value):
    result = applied(drop(), value)
    assert (result.properties, result.dropped, result.changed) == ({}, {"p": "drop"}, {})


# rule 3.2: refuse()


@pytest.mark.parametrize("value", [*SCALARS, [], {}, ["a"], {"a": 1}, object(), float("nan")])
def test_refuse_drops_the_whole_message_whatever_the_value_is(value):
    result = FieldPolicy(events={"p": refuse(), "plan": keep()}).apply_event("E", {"plan": "pro", "p": value})
    assert (result.properties, result.dropped, result.refused) == ({}, {"p": "refuse"}, True)


def test_refuse_without_the_property_changes_nothing():
    result = FieldPolicy(events={"p": refuse(), "plan": keep()}).apply_event("E", {"plan": "pro"})
    assert (result.properties, result.refused) == ({"plan": "pro"}, False)


# rule 3.2: redact()


@pytest.mark.parametrize("value", [*SCALARS, [], {}, ["ada", 1], {"name": "ada"}, [{"name": "ada"}]])
def test_redact_sends_a_fixed_text_for_every_value(value):
    result = applied(redact(), value)
    if value is None:  # rule 3.2: None stays None
        assert (result.properties, result.changed) == ({"p": None}, {})
        return
    assert (result.properties, result.dropped, result.changed) == ({"p": "[redacted]"}, {}, {"p": "redact"})


def test_redact_sends_the_text_it_was_given():
    assert sent(redact("***"), "ada") == "***"
    assert sent(redact(""), "ada") == ""


# rule 3.2: mask() keeps the last characters, or the domain of an e-mail


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("4242424242424242", "****4242"),
        (4242424242424242, "****4242"),
        ("DE89 3704 0044 0532 0130 00", "****0 00"),
        ("", "****"),
        ("a", "****"),
        ("abcd", "****"),
        ("1234567", "****"),
        ("12345678", "****78"),
        ("123456789012", "****012"),
        (True, "****"),
        (7, "****"),
        ("🦊🐻🐼🐨🦊🐻🐼🐨", "****🐼🐨"),
        ("ada@mail.example", "****@mail.example"),
        ("a.b+c@sub.mail.example", "****@sub.mail.example"),
        ("@handle", "****"),
        ("@handle.example", "****ple"),
        ("ada@localhost", "****ost"),
        ("ada@@mail.example", "****mple"),
        ("ada lovelace@mail.example", "****mple"),
        ("ada@mail.example\n", "****ple\n"),
        ("ada@münchen.example", "****mple"),
        ("ada@mail.example, bob@mail.example", "****mple"),
        ("a" * 307 + "@mail.example", "****@mail.example"),
        ("a" * 308 + "@mail.example", "****mple"),
    ],
)
def test_mask_shows_the_end_or_the_domain(value, masked):
    assert sent(mask(), value) == masked


def test_mask_of_nothing_shows_nothing():
    assert sent(mask(0), "4242424242424242") == "****"
    assert applied(mask(), None).properties == {"p": None}


def test_mask_treats_each_scalar_of_a_list():
    assert sent(mask(2), ["abcdefgh", None, "ada@mail.example"]) == ["****gh", None, "****@mail.example"]


@given(st.text(max_size=40).filter(lambda text: "@" not in text), st.integers(0, 50))
def test_mask_never_shows_more_than_a_quarter_of_a_value_and_nothing_of_a_short_one(value, last):
    # rule 3.2
    shown = sent(mask(last), value).removeprefix("****")
    assert len(shown) <= (len(value) / 4 if len(value) >= 8 else 0)
    assert len(shown) <= last
    assert value.endswith(shown)


@given(st.from_regex(r"[a-z0-9.+]{1,20}@[a-z]{1,10}\.(?:com|example)", fullmatch=True))
def test_mask_of_an_email_shows_the_domain_alone(address):
    assert sent(mask(), address) == "****@" + address.partition("@")[2]


# rule 3.2: pseudonymize() is HMAC-SHA-256 with the policy's secret, stable, with a typed prefix


def test_a_pseudonym_can_be_verified_with_the_standard_library():
    assert sent(pseudonymize(), "ada@mail.example") == pseudonym("ada@mail.example")
    assert sent(pseudonymize("mail_"), "Ünïcödé 🦊") == pseudonym("Ünïcödé 🦊", prefix="mail_")


def test_the_same_value_has_the_same_pseudonym_in_every_scope_and_message():
    policy = FieldPolicy(
        events={"email": pseudonymize(), "to[]": pseudonymize()},
        people={"$email": pseudonymize()},
        groups={"owner": pseudonymize()},
        flags={"mail": pseudonymize()},
        secret=SECRET,
    ).for_event("Invited", {"inviter.mail": pseudonymize()})
    value = "ada@mail.example"
    assert {
        policy.apply_event("A", {"email": value}).properties["email"],
        policy.apply_event("B", {"to": [value]}).properties["to"][0],
        policy.apply_event("Invited", {"inviter": {"mail": value}}).properties["inviter"]["mail"],
        policy.apply_people({"$set": {"$email": value}}).properties["$set"]["$email"],
        policy.apply_group({"$set": {"owner": value}}).properties["$set"]["owner"],
        policy.apply_flags({"mail": value}).properties["mail"],
    } == {pseudonym(value)}


def test_another_secret_or_another_value_gives_another_pseudonym():
    other = FieldPolicy(events={"p": pseudonymize()}, secret=OTHER_SECRET)
    assert other.apply_event("E", {"p": "ada"}).properties["p"] != sent(pseudonymize(), "ada")
    assert sent(pseudonymize(), "ada") != sent(pseudonymize(), "Ada")


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (True, "true"), (1.5, "1.5"), ("", "")])
def test_a_scalar_is_pseudonymized_by_its_text_on_the_wire(value, text):
    assert sent(pseudonymize(), value) == pseudonym(text)


def test_a_lone_surrogate_has_a_pseudonym_too():
    assert sent(pseudonymize(), LONE_SURROGATE).startswith("psn_")


def test_the_prefix_of_a_pseudonym_has_one_to_32_characters():
    assert sent(pseudonymize("p" * 32), "ada") == pseudonym("ada", prefix="p" * 32)
    for prefix in ("", "p" * 33, None):
        with pytest.raises(ConfigurationError, match="1 to 32 characters"):
            pseudonymize(prefix)  # type: ignore[arg-type]


def test_none_has_no_pseudonym():
    result = applied(pseudonymize(), None)
    assert (result.properties, result.changed) == ({"p": None}, {})


def test_each_scalar_of_a_list_gets_its_own_pseudonym():
    assert sent(pseudonymize(), ["ada", None, "bob"]) == [pseudonym("ada"), None, pseudonym("bob")]


@pytest.mark.parametrize("scope", ["events", "people", "groups", "flags"])
def test_pseudonymize_needs_a_secret_at_construction(scope):
    with pytest.raises(ConfigurationError, match="secret="):
        FieldPolicy(**{scope: {"p": pseudonymize()}})  # type: ignore[arg-type]


def test_pseudonymize_for_one_event_needs_a_secret_at_construction():
    with pytest.raises(ConfigurationError, match="secret="):
        FieldPolicy().for_event("E", {"p": pseudonymize()})


@pytest.mark.parametrize("secret", ["a text of 32 characters and more", b"", 7, bytearray(32)])
def test_a_secret_is_non_empty_bytes(secret):
    with pytest.raises(ConfigurationError, match="secret") as caught:
        FieldPolicy(secret=secret)
    assert "a text of" not in str(caught.value)


@pytest.mark.parametrize("secret", [b"", b"opensesame", b"opensesame" * 3])
def test_a_short_secret_is_refused_without_being_said(secret):
    # rule 3.2
    with pytest.raises(ConfigurationError, match="at least 32 bytes") as raised:
        FieldPolicy(secret=secret)
    assert "opensesame" not in str(raised.value)


def test_the_secret_is_in_no_repr():
    policy = FieldPolicy(events={"p": pseudonymize()}, secret=SECRET)
    said = repr(policy) + repr(policy.rules("events")) + repr(policy.apply_event("E", {"p": "ada"}))
    assert SECRET.decode() not in said


def test_a_policy_is_not_pickled_so_its_secret_is_not_either():
    policy = FieldPolicy(events={"p": pseudonymize()}, secret=SECRET)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="FieldPolicy") as caught:
            pickle.dumps(policy, protocol)
        assert SECRET.decode() not in str(caught.value)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_policy_is_neither_copied_nor_pickled(duplicate):
    # rule 1.9
    with pytest.raises(TypeError, match="Build it in the worker"):
        duplicate(FieldPolicy(events={"p": pseudonymize()}, secret=SECRET))


def test_the_secret_stands_in_no_attribute():
    # rule 3.2
    policy = FieldPolicy(events={"p": pseudonymize()}, secret=SECRET)
    inner = [vars(value) for value in vars(policy).values() if hasattr(value, "__dict__")]
    assert SECRET.decode() not in repr([vars(policy), inner])


# rule 3.2: truncate(n)


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ("10117", "101"),
        ("101", "101"),
        ("", ""),
        (None, None),
        (12, 12),
        (123, 123),
        (12345, "123"),
        (-12345, "-12"),
        (3.14159, "3.1"),
        (True, "tru"),
        (10**400, "100"),
        ("🦊🐻🐼🐨", "🦊🐻🐼"),
        (["abcdef", 1], ["abc", 1]),
        ("x" * 10_000_000, "xxx"),
    ],
)
def test_truncate_sends_the_first_characters(value, short):
    result = applied(truncate(3), value)
    assert same(result.properties, {"p": short})
    assert result.changed == ({} if same(short, value) else {"p": "truncate"})


def test_truncate_to_one_character_sends_one():
    assert sent(truncate(1), "10117") == "1"


# rule 3.2: generalize(): number to a bucket


@pytest.mark.parametrize(
    ("width", "value", "lower"),
    [
        (10, 42, 40),
        (10, 40, 40),
        (10, -1, -10),
        (10, -10, -10),
        (10, 42.9, 40),
        (10, "42", 40),
        (10, " 42.5 ", 40),
        (1, 2**70 + 1, 2**70 + 1),
        (10, 10**17 + 7, 10**17),
        (2.5, 6, 5.0),
        (0.1, 0.3, 0.3),
        (0.1, -0.25, -0.3),
        (0.5, -0.1, -0.5),
        (1000, 0, 0),
    ],
)
def test_a_number_becomes_the_lower_end_of_its_bucket(width, value, lower):
    assert same(sent(generalize(bucket=width), value), lower)


@given(st.integers(-(10**25), 10**25), st.integers(1, 10**6))
def test_a_bucket_holds_its_number_and_starts_at_a_multiple_of_its_width(value, width):
    # Some of so many numbers are valid numbers of a card.
    lower = sent(generalize(bucket=width, detect=False), value)
    assert lower <= value < lower + width
    assert lower % width == 0


# rule 3.2: generalize(): time to a day, month or year


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2026-05-17", "2026-05-17"),
        ("2026-05-17T23:30:00", "2026-05-17"),
        ("2026-05-17T23:30:00Z", "2026-05-17"),
        ("2026-05-17T23:30:00-05:00", "2026-05-18"),
        ("2026-01-01T00:30:00+0100", "2025-12-31"),
        (0, "1970-01-01"),
        (1_700_000_000, "2023-11-14"),
        (1_700_000_000.9, "2023-11-14"),
        (1_700_000_000_000, "2023-11-14"),
        ("1700000000", "2023-11-14"),
        (-86_400, "1969-12-31"),
        ("0001-01-01", "0001-01-01"),
    ],
)
def test_a_time_becomes_its_utc_date(value, day):
    assert sent(generalize(time="day"), value) == day
    assert sent(generalize(time="month"), value) == day[:7]
    assert sent(generalize(time="year"), value) == day[:4]


# rule 3.2: generalize(): IP to a prefix


@pytest.mark.parametrize(
    ("address", "prefix"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("2001:db8:1:ffff::1", "2001:db8:1::"),
        (" 192.0.2.77\n", "192.0.2.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("::1", "::"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
        ("::ffff:c000:24d", "192.0.2.0"),
        ("2002:c000:24d::1", "192.0.2.0"),
        ("64:ff9b::192.0.2.77", "64:ff9b::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_an_address_becomes_its_prefix(address, prefix):
    assert sent(generalize(ip=True), address) == prefix


def test_the_bits_of_a_prefix_can_be_chosen():
    assert sent(generalize(ip=(16, 32)), "192.0.2.77") == "192.0.0.0"
    assert sent(generalize(ip=(16, 32)), "2001:db8:1:2::1") == "2001:db8::"
    assert sent(generalize(ip=(0, 0)), "192.0.2.77") == "0.0.0.0"


@given(st.ip_addresses())
def test_no_address_keeps_the_end_that_tells_hosts_apart(address):
    prefix = sent(generalize(ip=True), str(address))
    assert sent(generalize(ip=True), prefix) == prefix
    assert prefix.endswith((".0", "::"))


# rule 3.2: generalize(): coordinate to n decimals, age to a band


@pytest.mark.parametrize(
    ("decimals", "value", "rounded"),
    [(1, 52.5163, 52.5), (0, 52.5163, 53.0), (2, "13.3777", 13.38), (3, 7, 7.0), (12, 0.5, 0.5)],
)
def test_a_coordinate_keeps_its_first_decimals(decimals, value, rounded):
    assert same(sent(generalize(decimals=decimals), value), rounded)


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (17, "<18"),
        (-3, "<18"),
        (18, "18-24"),
        (24.9, "18-24"),
        (25, "25-34"),
        (35, "35+"),
        (10**18, "35+"),
        ("30", "25-34"),
    ],
)
def test_an_age_becomes_its_band(age, band):
    assert sent(generalize(bands=(18, 25, 35)), age) == band


def test_bands_of_fractions_show_both_ends():
    assert sent(generalize(bands=[0.5, 1.5]), 1) == "0.5-1.5"


WAYS: list[dict[str, Any]] = [{"bucket": 10}, {"time": "day"}, {"ip": True}, {"decimals": 1}, {"bands": (18, 25)}]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "garbage", ["", "ada", LONE_SURROGATE, True, 10**400, "nan", "-inf", "1" * 100, "192.0.2.77:80", "x" * 100_000]
)
def test_what_cannot_be_generalized_is_dropped_and_reported(way, garbage):
    result = applied(generalize(**way), garbage)
    assert (result.properties, result.dropped, result.changed) == ({}, {"p": "generalize_failed"}, {})


@pytest.mark.parametrize("way", WAYS)
def test_none_stays_none_and_a_dict_is_not_opened(way):
    assert applied(generalize(**way), None).properties == {"p": None}
    assert applied(generalize(**way), {"a": 1}).dropped == {"p": "not_opened"}


def test_a_number_as_a_text_has_at_most_64_characters():
    assert sent(generalize(bucket=10), "17".zfill(64)) == 10
    assert applied(generalize(bucket=10), "17".zfill(65)).dropped == {"p": "generalize_failed"}


def test_a_list_is_generalized_item_by_item_and_loses_what_cannot_be():
    result = applied(generalize(bucket=10), [11, "ada", None, 29])
    assert (result.properties, result.dropped, result.changed) == (
        {"p": [10, None, 20]},
        {"p[]": "generalize_failed"},
        {"p": "generalize"},
    )


# rule 3.2: transform(callable)


def test_transform_sends_what_the_function_makes():
    result = applied(transform(len), "flu")
    assert (result.properties, result.changed) == ({"p": 3}, {"p": "transform"})


def test_transform_gets_a_list_or_dict_as_one_value():
    assert sent(transform(len), [1, 2, 3]) == 3
    assert sent(transform(sorted), {"b": 1, "a": 2}) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError("ada"), KeyError("ada"), RecursionError("ada"), MemoryError("ada")])
def test_transform_that_raises_drops_the_property_and_says_nothing_of_the_value(error, caplog):
    def fail(value: object) -> None:
        raise error

    result = applied(transform(fail), "ada")
    assert (result.properties, result.dropped) == ({}, {"p": "transform_failed"})
    assert "ada" not in repr(result) + caplog.text


@pytest.mark.parametrize(
    ("returned", "cause"),
    [
        (object(), "unserialisable"),
        (b"\xff", "unserialisable"),
        (float("nan"), "not_finite"),
        ({("a", "b"): 1}, "key_not_text"),
        ({"a": {1j, 2}}, "unserialisable"),
        ("x" * 2_000_000, "too_large"),
    ],
)
def test_transform_that_returns_what_cannot_be_written_drops_the_property(returned, cause):
    result = applied(transform(lambda _: returned), "ada")
    assert (result.properties, result.dropped) == ({}, {"p": cause})


def test_transform_that_returns_a_cycle_drops_the_property():
    cycle: list[Any] = []
    cycle.append(cycle)
    assert applied(transform(lambda _: cycle), "ada").dropped == {"p": "cycle"}


def test_transform_that_changes_its_argument_in_place_is_reported_and_cannot_smuggle_objects():
    def strip(cart: dict[str, Any]) -> dict[str, Any]:
        del cart["note"]
        return cart

    def spoil(cart: dict[str, Any]) -> dict[str, Any]:
        cart["note"] = object()
        return cart

    cart = {"total": 9, "note": "for Ada"}
    result = applied(transform(strip), cart)
    assert (result.properties, result.changed) == ({"p": {"total": 9}}, {"p": "transform"})
    assert cart == {"total": 9, "note": "for Ada"}
    assert applied(transform(spoil), cart).dropped == {"p": "unserialisable"}


def test_transform_that_changes_nothing_is_not_reported():
    assert applied(transform(lambda value: value), {"a": [1]}).changed == {}


def test_transform_that_only_changes_the_type_is_reported():
    assert applied(transform(bool), 1).changed == {"p": "transform"}
    assert applied(transform(lambda items: [True for _ in items]), [1]).changed == {"p": "transform"}


# rule 3.2: a rule may carry categories= and reason=

MAKERS: list[Any] = [keep, drop, redact, mask, pseudonymize, refuse, lambda **more: truncate(3, **more)]
MAKERS += [lambda **more: transform(len, **more), lambda **more: generalize(bucket=10, **more)]


@pytest.mark.parametrize("make", MAKERS)
def test_every_action_carries_categories_and_a_reason(make):
    action = make(categories=["contact", "identity"], reason="to answer questions")
    assert (action.categories, action.reason) == (("contact", "identity"), "to answer questions")
    assert (make().categories, make().reason) == ((), None)
    policy = FieldPolicy(events={"p": action}, secret=SECRET)
    assert policy.rules("events")["p"].reason == "to answer questions"


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("wrong", ["contact", None, 7, [""], [1], b"contact"])
def test_wrong_categories_are_refused(make, wrong):
    with pytest.raises(ConfigurationError, match="categories"):
        make(categories=wrong)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("wrong", ["", 7, ["why"], True])
def test_a_wrong_reason_is_refused(make, wrong):
    with pytest.raises(ConfigurationError, match="reason"):
        make(reason=wrong)


async def _coroutine(value: object) -> object:
    return value


@pytest.mark.parametrize(
    ("make", "keywords", "argument"),
    [
        (keep, {"deep": 1}, "deep"),
        (keep, {"deep": None}, "deep"),
        (redact, {"text": None}, "text"),
        (redact, {"text": 7}, "text"),
        (mask, {"last": -1}, "last"),
        (mask, {"last": True}, "last"),
        (mask, {"last": 2.0}, "last"),
        (mask, {"last": "4"}, "last"),
        (pseudonymize, {"prefix": ""}, "prefix"),
        (pseudonymize, {"prefix": None}, "prefix"),
        (pseudonymize, {"prefix": "x" * 33}, "prefix"),
        (truncate, {"n": 0}, "n must"),
        (truncate, {"n": -1}, "n must"),
        (truncate, {"n": None}, "n must"),
        (truncate, {"n": True}, "n must"),
        (transform, {"function": 7}, "function"),
        (transform, {"function": None}, "function"),
        (transform, {"function": _coroutine}, "function"),
        (generalize, {"bucket": 0}, "bucket"),
        (generalize, {"bucket": -1}, "bucket"),
        (generalize, {"bucket": True}, "bucket"),
        (generalize, {"bucket": "10"}, "bucket"),
        (generalize, {"bucket": float("nan")}, "bucket"),
        (generalize, {"bucket": float("inf")}, "bucket"),
        (generalize, {"bucket": 10**400}, "bucket"),
        (generalize, {"time": "week"}, "time"),
        (generalize, {"time": 7}, "time"),
        (generalize, {"time": ["day"]}, "time"),
        (generalize, {"ip": False}, "ip"),
        (generalize, {"ip": 24}, "ip"),
        (generalize, {"ip": (24,)}, "ip"),
        (generalize, {"ip": (33, 48)}, "ip"),
        (generalize, {"ip": (24, 129)}, "ip"),
        (generalize, {"ip": (-1, 48)}, "ip"),
        (generalize, {"ip": (True, 48)}, "ip"),
        (generalize, {"decimals": -1}, "decimals"),
        (generalize, {"decimals": 13}, "decimals"),
        (generalize, {"decimals": 1.5}, "decimals"),
        (generalize, {"decimals": True}, "decimals"),
        (generalize, {"bands": ()}, "bands"),
        (generalize, {"bands": (18, 18)}, "bands"),
        (generalize, {"bands": (25, 18)}, "bands"),
        (generalize, {"bands": "18"}, "bands"),
        (generalize, {"bands": {1, 2}}, "bands"),
        (generalize, {"bands": {18: 1, 25: 2}}, "bands"),
        (generalize, {"bands": (18, float("nan"))}, "bands"),
        (generalize, {"bands": (18, 10**400)}, "bands"),
        (generalize, {"bands": (True, 18)}, "bands"),
        (generalize, {}, "exactly one of bucket, time, ip, decimals, bands"),
        (generalize, {"bucket": 10, "decimals": 1}, "exactly one of bucket, time, ip, decimals, bands"),
    ],
)
def test_a_wrong_argument_is_refused_at_construction_and_named(make, keywords, argument):
    # rule 1.8: wrong configuration raises at construction, never later
    with pytest.raises(ConfigurationError, match=argument):
        make(**keywords)


# What holds for every action

EVERY: list[Action] = [
    keep(),
    keep(deep=True),
    drop(),
    redact(),
    mask(),
    mask(0),
    pseudonymize(),
    truncate(2),
    transform(str),
    refuse(),
    *(generalize(**way) for way in WAYS),
]


@pytest.mark.parametrize("action", EVERY, ids=repr)
@given(value=scalars | st.lists(scalars, max_size=4))
def test_every_action_ends_in_something_writable_or_in_a_report(action, value):
    result = applied(action, value)
    json.dumps(result.properties, allow_nan=False)
    assert "p" in result.properties or "p" in result.dropped
    assert ("p" in result.changed) == (
        "p" in result.properties and not same(result.properties["p"], value)
    ) or result.dropped


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (keep, "shown"),
        (drop, "purpose"),
        (refuse, "detect"),
        (redact, "detect"),
        (mask, "on_detect"),
        (pseudonymize, "detect"),
        (lambda **options: truncate(3, **options), "shown"),
        (lambda **options: transform(len, **options), "shown"),
        (lambda **options: generalize(bucket=1, **options), "shown"),
        (url, "shown"),
    ],
)
def test_an_option_that_an_action_does_not_take_is_a_type_error(make, option):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        make(**{option: "x"})


def test_what_a_function_of_ones_own_builds_names_nobody():
    # rules 2.7 and 3.9
    rules = {"o": transform(lambda value: {"distinct_id": value, "a": 1}, detect=False)}
    result = FieldPolicy(events=rules).apply_event("E", {"o": "bob-9999"})
    assert result.properties == {"o": {"a": 1}}
