"""Where detectors look, and what becomes of what they find (contract rules 3.7 and 4.2)."""

import json
import logging
import re
import time

import pytest

from consentpanel import ConfigurationError, Mixpanel
from consentpanel._messages.decision import Decision
from consentpanel.policy import (
    Detector,
    FieldPolicy,
    detect,
    drop,
    generalize,
    keep,
    mask,
    per_subject,
    pseudonymize,
    pseudonymous,
    transform,
    truncate,
    url,
)
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

ADA = "ada@shop.example"
PHONE = "+49 30 1234567"


def applied(value, rule=None, **options):
    return FieldPolicy(events={"p": rule or keep()}, **options).apply_event("E", {"p": value})


@pytest.fixture
def vendor():
    return FakeTransport()


@pytest.fixture
def client(vendor):
    def build(policy):
        registry = MemoryRegistry()
        registry.grant("user-1")
        return Mixpanel("TOKEN", vendor, registry=registry, policy=policy)

    return build


def test_the_place_is_redacted_and_the_decision_tells_path_and_kind():
    result = applied(f"write to {ADA}!")
    assert result.properties == {"p": "write to [redacted]!"}
    assert (result.changed, result.detected) == ({"p": "detected:email"}, {"p": "email"})


def test_several_places_are_redacted():
    assert applied(f"{ADA} or {PHONE}").properties == {"p": "[redacted] or [redacted]"}


@pytest.mark.parametrize(
    "value", ["/s?q=ada%40shop.example", "ada\u200b@shop.example", '{"a": "ada\\u0040shop.example"}']
)
def test_what_is_seen_only_in_another_form_takes_the_whole_text(value):
    # rule 3.7
    assert applied(value).properties == {"p": "[redacted]"}


def test_a_property_or_the_message_is_dropped_on_demand():
    assert applied(ADA, on_detect="drop").dropped == {"p": "detected:email"}
    result = applied(ADA, on_detect="refuse")
    assert (result.refused, result.dropped) == (True, {"p": "detected:email"})


def test_a_finding_may_be_reported_alone():
    result = applied(ADA, on_detect="report")
    assert (result.properties, result.changed, result.detected) == ({"p": ADA}, {}, {"p": "email"})


def test_the_strictest_action_among_the_kinds_wins():
    actions = {"email": "report", "phone": "drop"}
    assert applied(f"{ADA} {PHONE}", on_detect=actions).dropped == {"p": "detected:phone"}
    assert applied(ADA, on_detect=actions).properties == {"p": ADA}
    assert applied(f"{ADA} {PHONE}", on_detect={"email": "report"}).properties == {"p": f"{ADA} [redacted]"}
    assert applied(f"q=%2B4930123456%20{ADA}", on_detect={"email": "report"}).properties == {"p": "[redacted]"}


@pytest.mark.parametrize(
    ("mild", "strict"), [("report", "redact"), ("redact", "drop"), ("drop", "refuse"), ("report", "refuse")]
)
@pytest.mark.parametrize("text", [f"{ADA} {PHONE}", f"{PHONE} {ADA}"])
def test_the_stricter_of_two_actions_wins_wherever_it_stands(mild, strict, text):
    one = applied(text, on_detect={"email": mild, "phone": strict})
    other = applied(text, on_detect={"email": strict, "phone": mild})
    assert (one.refused, other.refused) == (strict == "refuse",) * 2
    told = "detected" if strict == "redact" else "dropped"
    assert [getattr(result, told)["p"].removeprefix("detected:") for result in (one, other)] == ["phone", "email"]


@pytest.mark.parametrize("number", [501877777778, 4111111111111111, 4111111111111111.0])
def test_a_number_that_is_a_card_s_leaves_by_no_shortcut(client, vendor, number):
    # rule 3.7
    mp = client(FieldPolicy(events={"p": keep()}, people={"p": keep()}))
    assert detect(str(int(number)))
    assert dict(mp.track("user-1", "E", {"p": number}).detected) == {"p": "payment_card"}
    assert dict(mp.people_set("user-1", {"p": number}).detected) == {"p": "payment_card"}
    assert str(int(number)) not in "".join(message.raw for message in vendor.messages)


def test_a_rule_has_the_last_word():
    assert applied(ADA, keep(detect=False)).properties == {"p": ADA}
    assert applied(ADA, keep(on_detect="drop")).dropped == {"p": "detected:email"}
    assert applied(f"{ADA} {PHONE}", keep(detect=["phone"])).properties == {"p": f"{ADA} [redacted]"}
    assert applied(f"{ADA} {PHONE}", keep(detect=["-phone"])).properties == {"p": f"[redacted] {PHONE}"}
    assert applied(ADA, keep(on_detect={"email": "report"}), on_detect="drop").properties == {"p": ADA}


def test_scopes_may_have_detectors_of_their_own():
    policy = FieldPolicy(events={"p": keep()}, people={"p": keep()}, detectors={"people": ["phone"]})
    assert policy.apply_event("E", {"p": ADA}).properties == {"p": "[redacted]"}
    assert policy.apply_people({"$set": {"p": ADA}}).properties == {"$set": {"p": ADA}}


def test_every_scope_may_have_its_own_and_all_have_the_same_exempt_texts():
    scopes = ("events", "people", "groups", "flags")
    rules = {scope: {"p": keep()} for scope in scopes}
    policy = FieldPolicy(**rules, detectors=dict.fromkeys(scopes, ("email",)), detect_allow=iter([ADA]))
    said = {"p": f"{ADA} bob@mail.example {PHONE}"}
    left = {"p": f"{ADA} [redacted] {PHONE}"}
    assert policy.apply_event("E", said).properties == policy.apply_flags(said).properties == left
    assert policy.apply_people({"$set": said}).properties == policy.apply_group({"$set": said}).properties
    assert policy.apply_people({"$set": said}).properties == {"$set": left}
    with pytest.raises(ConfigurationError, match="detect_allow must be several values"):
        FieldPolicy(detectors={"events": ["email"]}, detect_allow=ADA)


@pytest.mark.parametrize(
    ("number", "sent"),
    [
        (4111111111111111, "[redacted]"),
        (4111111111111111.0, "[redacted]"),
        (-4111111111111111, "[redacted]"),
        (1764000000000, 1764000000000),
        (4111111111111112, 4111111111111112),
        (0.4111111111111111, 0.4111111111111111),
        (10**30, 10**30),
        (True, True),
    ],
)
def test_numbers_are_judged_by_their_json(number, sent):
    # rule 3.7
    assert applied(number).properties == {"p": sent}


def test_detectors_look_at_any_depth_of_what_is_kept():
    value = {"a": [{"b": f"x {ADA}"}, ADA, 4111111111111111, None, True], "c": "fine"}
    expected = {"a": [{"b": "x [redacted]"}, "[redacted]", "[redacted]", None, True], "c": "fine"}
    result = applied(value, keep(deep=True))
    assert (result.properties, result.changed) == ({"p": expected}, {"p": "detected:email"} | result.changed)
    assert applied([ADA, "fine"]).properties == {"p": ["[redacted]", "fine"]}
    assert applied([ADA, "fine"], keep(on_detect="drop")).properties == {"p": ["fine"]}
    assert applied(value, keep(deep=True, on_detect="drop")).properties == {"p": {"a": [{}, None, True], "c": "fine"}}


def test_a_key_in_which_something_is_found_is_left_out_and_not_quoted():
    # rules 3.7 and 4.2
    result = applied({ADA: 1, "n": 2}, keep(deep=True))
    assert result.properties == {"p": {"n": 2}}
    assert result.dropped == {"p.(keys)": "detected:email"}
    assert ADA not in repr(result)
    assert applied({ADA: 1}, keep(deep=True, on_detect="report")).properties == {"p": {ADA: 1}}
    assert applied({ADA: 1}, keep(deep=True, on_detect="drop")).properties == {"p": {}}
    assert applied({ADA: 1}, keep(deep=True, on_detect="refuse")).refused


def test_a_name_that_no_rule_knows_is_told_by_its_kind():
    # rule 4.2
    result = FieldPolicy().apply_event("E", {ADA: 1, "plan": 2, "203.0.113.7": 3})
    assert result.dropped == {"<redacted:email>": "unnamed", "plan": "unnamed", "<redacted:ip_address>": "unnamed"}


def test_truncate_and_generalize_are_judged_by_what_comes_in():
    # rule 3.7
    assert applied(f"to {ADA}", truncate(9)).properties == {"p": "to [redac"}
    assert applied(4111111111111111, generalize(bucket=1000)).dropped == {"p": "generalize_failed"}
    assert applied(ADA, truncate(3, on_detect="drop")).dropped == {"p": "detected:email"}
    assert applied("203.0.113.7", generalize(ip=True)).properties == {"p": "203.0.113.0"}


def test_transform_is_judged_by_what_comes_out():
    assert applied("ada", transform(lambda value: f"{value}@shop.example")).properties == {"p": "[redacted]"}
    assert applied(ADA, transform(len)).properties == {"p": len(ADA)}
    assert applied(ADA, transform(lambda value: value)).properties == {"p": "[redacted]"}
    nested = transform(lambda value: {value: 1, "a": [value]})
    assert applied(ADA, nested).properties == {"p": {"a": ["[redacted]"]}}


def test_what_a_function_makes_is_not_searched_when_its_rule_says_so():
    rule = transform(lambda value: [value, {"to": ADA}], detect=False)
    assert applied("x", rule).properties == {"p": ["x", {"to": ADA}]}


def test_the_parts_of_a_url_that_are_kept_are_searched():
    # rule 3.12
    rule = url(params=("q", "page"))
    assert applied(f"https://shop.example/s?q={ADA}&page=2&x=1", rule).properties == {
        "p": "https://shop.example/s?q=[redacted]&page=2"
    }
    assert applied("https://shop.example/s?q=ada%40shop.example", rule).properties == {"p": "[redacted]"}
    assert applied("https://shop.example/s?page=2", rule).properties == {"p": "https://shop.example/s?page=2"}


@pytest.mark.parametrize("value", [ADA, "4111111111111111", "DE89370400440532013000", f"{'x' * 90} {ADA}", PHONE])
def test_what_masking_and_pseudonymisation_leave_never_detects(value):
    # rule 3.7
    policy = FieldPolicy(events={"p": mask(100), "q": pseudonymize()}, secret=b"0" * 32)
    for left in policy.apply_event("E", {"p": value, "q": value}).properties.values():
        assert detect(left) == []


def test_a_drop_hides_nothing_else():
    result = FieldPolicy(events={"p": keep(deep=True), "p.a": drop()}).apply_event("E", {"p": {"a": ADA, "b": ADA}})
    assert result.properties == {"p": {"b": "[redacted]"}}


def test_keep_all_has_no_detectors():
    # rule 1.3
    assert FieldPolicy.keep_all().apply_event("E", {"p": ADA}).properties == {"p": ADA}


# Through the client: the message, the decision, the log


def test_an_event_is_sent_without_what_was_found(client, vendor):
    decision = client(FieldPolicy(events={"query": keep(), "n": keep()})).track(
        "user-1", "Searched", {"query": ADA, "n": 1}
    )
    assert (decision.outcome, dict(decision.detected)) == ("redacted", {"query": "email"})
    assert vendor.events[0].properties["query"] == "[redacted]"
    vendor.assert_no_personal_data()


def test_a_report_leaves_the_outcome_as_it_is(client, vendor):
    decision = client(FieldPolicy(events={"p": keep()}, on_detect="report")).track("user-1", "E", {"p": ADA})
    assert (decision.outcome, dict(decision.detected)) == ("sent", {"p": "email"})
    assert vendor.events[0].properties["p"] == ADA


def test_a_refusal_names_the_kind(client, vendor):
    decision = client(FieldPolicy(events={"p": keep()}, on_detect="refuse")).track("user-1", "E", {"p": ADA})
    assert (decision.reason, dict(decision.dropped)) == ("refused_by_policy", {"p": "detected:email"})
    assert vendor.messages == []


def test_the_name_of_an_event_is_searched_and_never_quoted(client, vendor):
    # rules 3.7 and 4.2
    decision = client(FieldPolicy()).track("user-1", f"Order by {ADA}", {})
    assert vendor.events[0].event == "Order by [redacted]"
    assert (decision.event, dict(decision.changed)) == ("<redacted:email>", {"event": "detected:email"})
    assert not client(FieldPolicy(on_detect="drop")).track("user-1", f"Order by {ADA}", {})
    assert not client(FieldPolicy(on_detect="refuse")).track("user-1", f"Order by {ADA}", {})
    assert len(vendor.messages) == 1


def test_the_name_of_an_event_without_consent_is_not_quoted_either(client, vendor, caplog):
    caplog.set_level(logging.DEBUG)
    decision = client(FieldPolicy()).track("stranger", f"Order by {ADA}", {})
    assert (decision.event, vendor.messages) == ("<redacted:email>", [])
    assert ADA not in caplog.text + repr(decision)


def test_the_id_of_a_group_is_searched(client, vendor):
    # rule 3.7
    decision = client(FieldPolicy(groups={"plan": keep()})).group_set("company", f"shop of {ADA}", {"plan": "pro"})
    assert vendor.groups[0].payload["$group_id"] == "shop of [redacted]"
    assert dict(decision.changed) == {"$group_id": "detected:email"}
    assert not client(FieldPolicy(groups={"plan": keep()}, on_detect="drop")).group_set("company", ADA, {"plan": "pro"})


@pytest.mark.parametrize("number", [4111111111111111, 4111111111111111.0])
def test_a_number_as_the_id_of_a_group_is_searched_by_its_json(client, vendor, number):
    # rule 3.7
    decision = client(FieldPolicy(groups={"plan": keep()})).group_set("company", number, {"plan": "pro"})
    assert vendor.groups[0].payload["$group_id"] == "[redacted]"
    assert dict(decision.detected) == {"$group_id": "payment_card"}


def test_names_are_searched_by_the_detectors_of_their_own_scope(client, vendor):
    # rule 3.7
    policy = FieldPolicy(
        events={"plan": keep()}, groups={"plan": keep()}, detectors={"events": ["phone"], "groups": ["email"]}
    )
    mp = client(policy)
    mp.track("user-1", f"{ADA} {PHONE}", {"plan": "pro"})
    mp.import_data("secret", "user-1", f"{ADA} {PHONE}", time.time(), {"plan": ["pro"]})
    mp.group_set("company", f"{ADA} {PHONE}", {"plan": "pro"})
    assert [message.event for message in vendor.messages[:2]] == [f"{ADA} [redacted]"] * 2
    assert vendor.groups[0].payload["$group_id"] == f"[redacted] {PHONE}"


def test_what_meta_brings_is_searched(client, vendor):
    client(FieldPolicy(events={"p": keep()})).track(
        "user-1", "E", {}, meta={"properties": {"token": "T", "p": ADA, "distinct_id": "user-1"}}
    )
    assert vendor.events[0].properties["p"] == "[redacted]"


@pytest.mark.parametrize("value", [ADA, "a%2540b.example", 4111111111111111, "{}", "\u00e9", "fine"])
@pytest.mark.parametrize("method", ["track", "people_set"])
def test_the_fast_way_finds_what_the_gate_finds(client, vendor, method, value):
    policy = FieldPolicy(events={"p": keep(), "q": keep()}, people={"p": keep(), "q": keep()})
    arguments = ("E", {"p": value, "q": "x"}) if method == "track" else ({"p": value, "q": "x"},)
    decisions: list[Decision] = [getattr(client(policy), method)("user-1", *arguments) for _ in range(2)]
    sent = [json.loads(each.raw) for each in vendor.messages]
    said = [each["properties"] if method == "track" else each["$set"] for each in sent]
    assert [each["p"] for each in said] == [policy.apply_event("E", {"p": value}).properties["p"]] * 2
    assert decisions[0] == decisions[1]


def test_own_detectors_see_the_name_of_an_event_that_says_nothing_else(client, vendor):
    # rule 3.7
    mp = client(FieldPolicy(detectors=[Detector("member", re.compile("M-[0-9]{6}"))]))
    for properties in (None, {}):
        assert dict(mp.track("user-1", "Order of M-123456", properties).detected) == {"event": "member"}
    assert [message.event for message in vendor.events] == ["Order of [redacted]"] * 2


def test_own_detectors_see_every_message(client, vendor):
    seen: list[str] = []
    policy = FieldPolicy(events={"p": keep()}, detectors=[Detector("mine", lambda text: seen.append(text) or [])])
    client(policy).track("user-1", "E", {"p": "fine"})
    assert "fine" in seen


@pytest.mark.parametrize("identity", [pseudonymous(b"0" * 32), per_subject({})], ids=["hmac", "salt"])
def test_a_text_that_is_the_id_becomes_the_pseudonym_and_is_not_redacted(vendor, identity):
    # rules 3.7 and 3.9
    registry = MemoryRegistry()
    registry.grant(ADA)
    policy = FieldPolicy(events={"user": keep(), "users": keep(), "note": keep()})
    mp = Mixpanel("TOKEN", vendor, registry=registry, policy=policy, identity=identity)
    mp.track(ADA, "E", {"user": ADA, "users": [ADA, "bob@shop.example"], "note": f"for {ADA}"})
    (sent,) = vendor.events
    pseudonym = sent.distinct_id
    assert sent.properties["user"] == pseudonym
    assert sent.properties["users"] == [pseudonym, "[redacted]"]
    assert ADA not in sent.raw
    vendor.assert_no_personal_data()
