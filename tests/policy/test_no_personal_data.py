"""A policy under which nothing personal leaves, and names that give personal data away (contract rule 3.10)."""

import json
import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentpanel
from consentpanel import Mixpanel
from consentpanel.errors import ConfigurationError
from consentpanel.policy import (
    PERSONAL_NAMES,
    FieldPolicy,
    drop,
    from_environment,
    keep,
    per_subject,
    plain,
    pseudonymize,
    pseudonymous,
    redact,
    transform,
    truncate,
)
from consentpanel.policy._names import category_of
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

SECRET = b"0" * 32


@pytest.fixture(autouse=True)
def _fresh_process():
    consentpanel.reset()
    yield
    consentpanel.reset()


PERSONAL_IN_OTHER_SPELLINGS = [
    *("first_name_2", "phone2", "emails", "names", "e-mails", "addresses", "userEmails3", "last_names", "phone_1_2"),
    "x" * 300,
]


@pytest.mark.parametrize("name", PERSONAL_IN_OTHER_SPELLINGS)
def test_a_personal_name_counts_in_the_plural_and_with_a_number(name: str) -> None:
    # rule 3.10
    policy = FieldPolicy.no_personal_data({name: keep(), "ctx": keep(deep=True), "note": keep()})
    result = policy.apply_event("E", {name: "Ada", "ctx": {name: ["Ada"], "n": 1}, "note": json.dumps({name: "Ada"})})
    assert result.properties == {"ctx": {"n": 1}}
    assert {*result.dropped.values()} <= {"personal", "sensitive"} or "detected:secret" in result.changed.values()


@pytest.mark.parametrize("name", ["sessions", "tokens", "page_2", "plan_names", "items2", "is_s", "s", "utm_sources"])
def test_what_only_ends_as_a_personal_name_does_is_none(name: str) -> None:
    # rule 3.10
    policy = FieldPolicy.no_personal_data({name: keep(), "note": keep()})
    said = {name: 2, "note": json.dumps({name: 2})}
    assert policy.apply_event("E", said).properties[name] == 2


@pytest.mark.parametrize(
    "text", ['{"first_name": "Ada"}', "%7B%22first_name%22%3A%22Ada%22%7D", '[{"a": {"names": 1}}]']
)
def test_a_personal_name_in_a_text_of_json_drops_it(text: str) -> None:
    # rules 3.7 and 3.10
    policy = FieldPolicy.no_personal_data({"note": keep(), "ctx": keep(deep=True)})
    result = policy.apply_event("E", {"note": text, "ctx": {"a": [text, "b"]}})
    assert result.properties == {"ctx": {"a": ["b"]}}
    assert result.dropped["note"] == "personal"


ADA = "ada@shop.example"


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("email", "user.contact.email"),
        ("e-mail", "user.contact.email"),
        ("userEmail", "user.contact.email"),
        ("best_guest_zip", "user.contact.address.postal_code"),
        ("USER_EMAIL", "user.contact.email"),
        ("emailAddress", "user.contact.email"),
        ("customer.email", "user.contact.email"),
        ("$email", "user.contact.email"),
        ("first_name", "user.name"),
        ("lastName", "user.name"),
        ("FirstName", "user.name"),
        ("userName", "user.unique_id"),
        ("customer_name", "user.name"),
        ("dob", "user.demographic.date_of_birth"),
        ("dateOfBirth", "user.demographic.date_of_birth"),
        ("address.line1", "user.contact.address"),
        ("billing_address", "user.contact.address"),
        ("phone_number", "user.contact.phone_number"),
        ("mobilePhone", "user.contact.phone_number"),
        ("ip_address", "user.device.ip_address"),
        ("remote-addr", "user.device.ip_address"),
        ("zip", "user.contact.address.postal_code"),
        ("ssn", "user.government_id"),
        ("iban", "user.financial"),
    ],
)
def test_a_personal_name_is_known_in_the_spellings_of_backends(name, category):
    assert category_of(name) == category


@pytest.mark.parametrize(
    "name",
    [
        "plan",
        "plan_name",
        "product_name",
        "page_address",
        "event_age",
        "zip_file",
        "emails_sent",
        "phone_model",
        "total",
        "referrer",
        "cart_total",
        "utm_source",
        "message_count",
        "packaging",
        "shipping_method",
        "",
        "$",
        "cellar",
        "guest_page_zip",
    ],
)
def test_a_harmless_name_is_not_taken_for_personal(name):
    assert category_of(name) is None


def test_every_name_of_the_dictionary_is_known_in_snake_and_camel_case():
    for name, category in PERSONAL_NAMES.items():
        first, *rest = name.split()
        for spelling in ("_".join((first, *rest)), first + "".join(map(str.capitalize, rest)), name.replace(" ", "-")):
            assert category_of(spelling) == category, spelling


def test_a_rule_that_keeps_a_personal_property_says_so_or_is_warned_of():
    rules = {"email": keep(), "user.phone": keep(), "plan": keep(), "address.line1": keep()}
    said = {"email": keep(categories=["user.contact.email"]), "phone": keep(personal=True), "dob": redact()}
    policy = FieldPolicy(events=rules, people={"$name": keep()}).for_event("Paid", {"iban": keep()})
    named = [warning.split(" keeps")[0] for warning in policy.warnings]
    assert named == [
        "events['email']",
        "events['user.phone']",
        "events['address.line1']",
        "people['$name']",
        "for_event('Paid')['iban']",
    ]
    nested = FieldPolicy(events={"cart.name": keep(), "date.of.birth": keep(), "plan.tier": keep()}).warnings
    assert [warning.split(" keeps")[0] for warning in nested] == ["events['cart.name']", "events['date.of.birth']"]
    assert FieldPolicy(events=said).warnings == FieldPolicy.keep_all().warnings == ()
    assert FieldPolicy.no_personal_data(["email"], secret=SECRET).warnings == ()


@pytest.mark.parametrize("name", ["$city", "$region", "$avatar", "$created", "ip"])
def test_the_vendor_s_own_names_for_persons_are_warned_of(name):
    (warning,) = FieldPolicy(people={name: keep()}).warnings
    assert warning.startswith(f"people['{name}'] keeps a personal property")


def test_a_client_logs_a_warning_of_its_policy_once(caplog):
    for _ in range(2):
        Mixpanel("T", FakeTransport(), registry=MemoryRegistry(), policy=FieldPolicy(events={"email": keep()}))
    assert [record.message[:15] for record in caplog.records] == ["events['email']"]


# rule 3.10


RULES = st.sampled_from(
    [
        keep(),
        keep(deep=True),
        keep(detect=False),
        keep(deep=True, detect=False),
        truncate(80),
        transform(lambda value: value),
        keep(on_detect="report"),
        keep(personal=True, detect=False),
        keep(categories=["x"]),
    ]
)
NAMES = st.sampled_from(
    [
        "plan",
        "query",
        "email",
        "userEmail",
        "first_name",
        "$email",
        "$name",
        "ip",
        "$city",
        "address",
        "a.b",
        "a[].c",
        "dob",
    ]
)
CANARIES = [ADA, "ada%40shop.example", "+49 30 7654321", "4111111111111111", "DE89370400440532013000", "203.0.113.77"]
CANARIES += ["123-45-6789", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "\uff41da@shop.example", 4111111111111111]
LEAVES = st.sampled_from([*CANARIES, "fine", 7, None, True])
KEYS = st.sampled_from(["plan", "b", "c", "email", "lastName", "note", ADA, "phone"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
PROPERTIES = st.dictionaries(
    st.sampled_from(
        ["plan", "query", "email", "userEmail", "first_name", "$email", "$name", "ip", "$city", "address", "a", ADA]
    ),
    VALUES,
    max_size=5,
)
PERSONAL_KEYS = {
    "email",
    "userEmail",
    "first_name",
    "lastName",
    "$email",
    "$name",
    "ip",
    "$city",
    "address",
    "phone",
    ADA,
}


def keys_of(tree):
    if isinstance(tree, dict):
        yield from tree
        for value in tree.values():
            yield from keys_of(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from keys_of(value)


@given(rules=st.dictionaries(NAMES, RULES), properties=PROPERTIES, event=st.sampled_from(["Viewed", f"Order by {ADA}"]))
def test_no_rule_gets_personal_data_through(rules, properties, event):
    registry, vendor = MemoryRegistry(), FakeTransport()
    registry.grant(ADA)
    policy = FieldPolicy.no_personal_data(rules, people=rules, groups=rules, secret=SECRET)
    mp = Mixpanel("T", vendor, registry=registry, policy=policy)
    mp.track(ADA, event, properties)
    mp.people_set(ADA, properties)
    mp.group_set("company", ADA, properties)
    for message in vendor.messages:
        assert not [canary for canary in CANARIES if str(canary) in json.dumps(message.payload, ensure_ascii=False)]
        assert not PERSONAL_KEYS.intersection(keys_of(message.payload))
    vendor.assert_no_personal_data()


@pytest.mark.parametrize(
    "path", ["birth.date", "birth.date.year", "account.number", "device.id", "postal[].code", "post.code"]
)
def test_a_name_that_is_personal_over_several_keys_is_personal(path):
    # rule 3.10
    policy = FieldPolicy.no_personal_data({path: keep(), "order.date": keep()}, secret=SECRET)
    value: object = "1815"
    for key in reversed(path.replace("[]", "").split(".")[1:]):
        value = {key: value}
    top = path.replace("[]", "").split(".")[0]
    result = policy.apply_event("E", {top: [value] if "[]" in path else value, "order": {"date": "2026"}})
    assert result.properties == {"order": {"date": "2026"}}


@pytest.mark.parametrize(
    "key", ["\uff45mail", "e\u200bmail", "birth\u00adday", "last\x00name", "\uff50hone ", "na\ufeffme"]
)
def test_a_personal_name_in_another_spelling_is_personal_too(key):
    # rule 3.10
    policy = FieldPolicy.no_personal_data({"cart": keep(deep=True), f"'{key}'": keep()}, secret=SECRET)
    assert policy.apply_event("E", {key: "x", "cart": {key: "x", "n": 1}}).properties == {"cart": {"n": 1}}


def test_below_a_deep_keep_a_key_counts_together_with_the_one_above_it():
    # rule 3.10
    policy = FieldPolicy.no_personal_data(
        {"cart": keep(deep=True), "birth": keep(deep=True), "made": transform(lambda value: value)}, secret=SECRET
    )
    birth = {"date": "1815-12-10", "n": 1}
    for name, value, left in (
        ("cart", {"birth": birth, "order": {"date": "2026"}}, {"birth": {"n": 1}, "order": {"date": "2026"}}),
        ("cart", {"birth": [birth]}, {"birth": [{"n": 1}]}),
        ("cart", {"x" * 200 + "_birth": birth}, {"x" * 200 + "_birth": {"n": 1}}),
        ("birth", birth, {"n": 1}),
        ("birth", [birth], [{"n": 1}]),
        ("made", {"birth": [birth]}, {"birth": [{"n": 1}]}),
    ):
        result = policy.apply_event("E", {name: value})
        assert result.properties == {name: left}
        assert "personal" in result.dropped.values()


def test_ids_are_pseudonymous_by_requirement():
    registry, vendor = MemoryRegistry(), FakeTransport()
    registry.grant("user-1")
    policy = FieldPolicy.no_personal_data(["plan"], secret=SECRET)
    assert Mixpanel("T", vendor, registry=registry, policy=policy).track("user-1", "E", {"plan": "pro"})
    assert vendor.events[0].distinct_id.startswith("pid1_")
    for identity in (pseudonymous(b"1" * 32), per_subject({})):
        policy = FieldPolicy.no_personal_data(["plan"])
        assert Mixpanel("T", vendor, registry=registry, policy=policy, identity=identity).track("user-1", "E")
    assert not any("user-1" in message.raw for message in vendor.messages)


def test_plain_ids_are_refused():
    with pytest.raises(ConfigurationError, match="requires pseudonymous"):
        Mixpanel("T", FakeTransport(), policy=FieldPolicy.no_personal_data(secret=SECRET), identity=plain())


@pytest.mark.parametrize("process_wide", [{"identity": plain()}, {}])
def test_a_policy_whose_ids_would_be_plain_sends_nothing(process_wide, caplog):
    registry, vendor = MemoryRegistry(), FakeTransport()
    registry.grant("user-1")
    consentpanel.configure(registry=registry, **process_wide)
    decision = Mixpanel("T", vendor, policy=FieldPolicy.no_personal_data(["plan"])).track("user-1", "E")
    assert (decision.reason, vendor.messages) == ("not_configured", [])
    assert "nothing is sent" in caplog.text


def test_rules_added_later_open_nothing_personal():
    policy = FieldPolicy.no_personal_data({"cart": keep(deep=True), "cart.note": drop()}, secret=SECRET)
    policy = policy.for_event("Paid", {"email": keep(), "plan": keep(detect=False), "total": pseudonymize()})
    said = {"email": ADA, "plan": ADA, "total": 9, "cart": {"n": 1, "email": "x", "note": "y"}}
    result = policy.apply_event("Paid", said)
    assert result.properties.keys() == {"total", "cart"}
    assert result.properties["cart"] == {"n": 1}
    assert result.dropped == {
        "email": "personal",
        "plan": "detected:email",
        "cart.(keys)": "personal",
        "cart.note": "drop",
    }


@pytest.mark.parametrize(
    ("scope", "rule", "message"),
    [
        ("people", pseudonymize(), "needs secret="),
        ("people", keep(on_detect="hide"), "on_detect must be"),
        ("people", keep(detect=["face"]), "not 'face'"),
        ("groups", keep(purpose="targeting"), "a group names no person"),
    ],
    ids=["no secret", "no action", "no kind", "a group's purpose"],
)
@pytest.mark.parametrize("name", ["plan", "email"])
def test_a_rule_that_cannot_work_is_refused_also_where_it_is_taken_away(scope, rule, message, name):
    # rule 3.10: no rule lets a personal property pass, and none is ignored unseen
    with pytest.raises(ConfigurationError, match=message):
        FieldPolicy.no_personal_data(**{scope: {name: rule}})


@pytest.mark.parametrize("value", ["plan", 5, None])
def test_what_is_kept_is_named_in_a_list_or_mapping(value):
    with pytest.raises(ConfigurationError, match="keep must be several names"):
        FieldPolicy.no_personal_data(value)


# rule 3.9: secrets, and ids that look personal


def test_a_secret_may_come_from_the_environment_or_a_function(monkeypatch):
    monkeypatch.setenv("ANALYTICS_SECRET", "s" * 32)
    expected = pseudonymous(b"s" * 32).of("user-1", None)
    assert pseudonymous(from_environment("ANALYTICS_SECRET")).of("user-1", None) == expected
    assert pseudonymous(lambda: b"s" * 32).of("user-1", None) == expected
    policy = FieldPolicy(events={"p": pseudonymize()}, secret=lambda: b"s" * 32)
    assert policy.apply_event("E", {"p": "x"}).properties["p"].startswith("psn_")


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (from_environment("CONSENTPANEL_NOT_SET"), "CONSENTPANEL_NOT_SET is not set"),
        (from_environment("CONSENTPANEL_SHORT"), "at least 32 bytes, not 5"),
        (lambda: b"short", "at least 32 bytes, not 5"),
        (lambda: "t" * 40, "must be bytes"),
        (lambda: os.environ["k" * 40], "the function for the secret raised KeyError"),
    ],
    ids=["missing", "short variable", "short", "text", "raises"],
)
def test_a_missing_or_short_secret_is_refused_and_not_quoted(secret, message, monkeypatch):
    monkeypatch.setenv("CONSENTPANEL_SHORT", "short")
    for build in (pseudonymous, lambda secret: FieldPolicy(secret=secret)):
        with pytest.raises(ConfigurationError, match=message) as caught:
            build(secret)
        assert "k" * 40 not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_variable_has_a_name(name):
    with pytest.raises(ConfigurationError, match="takes the name of a variable"):
        from_environment(name)


def test_earlier_secrets_name_a_person_for_erasure_alone():
    old, new = b"1" * 32, b"2" * 32
    identity = pseudonymous(new, rotate_from=[old, lambda: b"3" * 32])
    assert identity.of("user-1", None) == pseudonymous(new).of("user-1", None)
    assert identity.all_of("user-1", None) == tuple(
        pseudonymous(secret).of("user-1", None) for secret in (new, old, b"3" * 32)
    )
    assert plain().all_of("user-1", None) == ("user-1",)


@pytest.mark.parametrize("value", [b"1" * 32, "text", 5, [b"short"]])
def test_earlier_secrets_are_checked(value):
    with pytest.raises(ConfigurationError):
        pseudonymous(b"0" * 32, rotate_from=value)


@pytest.mark.parametrize("subject", [ADA, "+49 30 1234567"])
def test_plain_ids_that_look_personal_are_warned_of_once_and_not_quoted(subject, caplog):
    caplog.set_level(logging.WARNING)
    registry = MemoryRegistry()
    registry.grant(subject)
    for _ in range(2):
        mp = Mixpanel("T", FakeTransport(), registry=registry, policy=FieldPolicy())
        mp.track(subject, "E")
        mp.people_set(subject, {})
    assert len([record for record in caplog.records if "ids that look personal" in record.message]) == 1
    assert subject not in caplog.text


@pytest.mark.parametrize("identity", [pseudonymous(SECRET), per_subject({})], ids=["pseudonymous", "per subject"])
def test_pseudonymous_ids_are_not_warned_of(identity, caplog):
    registry = MemoryRegistry()
    registry.grant(ADA)
    Mixpanel("T", FakeTransport(), registry=registry, policy=FieldPolicy(), identity=identity).track(ADA, "E")
    Mixpanel("T", FakeTransport(), registry=registry, policy=FieldPolicy()).track("user@1", "E")
    assert "look personal" not in caplog.text


@pytest.mark.parametrize("name", ["OTPcode", "CVVcode", "JWTpayload", "SSNlast4", "IBANnumber", "CSRFvalue"])
def test_capitals_with_a_small_word_behind_are_a_word(name: str) -> None:
    # rule 3.11
    result = FieldPolicy(events={"ctx": keep(deep=True)}).apply_event("E", {"ctx": {name: "x", "n": 1}})
    assert result.properties == {"ctx": {"n": 1}}


def test_two_spellings_of_a_personal_name_are_both_closed() -> None:
    # rule 3.10
    policy = FieldPolicy.no_personal_data({"Email": keep(), "email": keep(), "plan": keep()})
    assert policy.apply_event("E", {"Email": "a", "email": "b", "plan": "c"}).properties == {"plan": "c"}


def test_a_rule_for_a_part_of_a_personal_key_opens_no_more() -> None:
    # rule 3.10
    rules = {"user": keep(deep=True), "user.name.first": drop(), "user.email.domain": keep()}
    policy = FieldPolicy.no_personal_data(rules)
    assert policy.apply_event("E", {"user": {"name": "Ada Lovelace", "email": "x", "n": 1}}).properties == {
        "user": {"n": 1}
    }


@pytest.mark.parametrize(
    "name",
    [
        "passwordconfirm",
        "passwordRepeat",
        "SECRETKEY",
        "accesskeyid",
        "apikeyid",
        "privatekeypem",
        "creditcardno",
        "cardnumbers",
    ],
)
def test_a_sensitive_name_in_front_closes_a_compound(name: str) -> None:
    # rule 3.11
    result = FieldPolicy(events={"ctx": keep(deep=True)}).apply_event("E", {"ctx": {name: "x", "n": 1}})
    assert result.properties == {"ctx": {"n": 1}}
