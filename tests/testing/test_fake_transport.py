from __future__ import annotations

import contextlib
import json
import threading
import uuid
from unittest.mock import ANY

import attrs
import mixpanel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel._messages.decision import Decision, Outcome, Reason
from consentpanel.errors import InvalidRecordError
from consentpanel.testing import FakeTransport, SentMessage
from consentpanel.testing._personal import kind_of_text

CANARY = "canary@example.org"


@pytest.fixture
def vendor():
    return FakeTransport()


def event(name="Viewed", distinct_id="user-1", **properties):
    return {"event": name, "properties": {"token": "T", "distinct_id": distinct_id, **properties}}


def track(vendor, name="Viewed", distinct_id="user-1", endpoint="events", **properties):
    vendor.send(endpoint, json.dumps(event(name, distinct_id, **properties)))


def people(vendor, operators, distinct_id="user-1", **more):
    vendor.send("people", json.dumps({"$token": "T", "$distinct_id": distinct_id, **operators, **more}))


# rule 5.3: "a consumer that keeps decoded messages, each with endpoint, event (None for a profile), distinct_id,
# properties (for a profile: the operators), payload (the whole decoded record) and raw (the string that was sent)"


def test_an_event_is_kept_with_its_parts(vendor):
    raw = '{ "event": "Viewed", "properties": {"token": "T", "distinct_id": 7, "plan": "pro"}}'
    vendor.send("events", raw, ("key", "secret"))
    (message,) = vendor.messages
    assert attrs.asdict(message) == {
        "endpoint": "events",
        "event": "Viewed",
        "distinct_id": 7,
        "properties": {"token": "T", "distinct_id": 7, "plan": "pro"},
        "payload": json.loads(raw),
        "raw": raw,
    }


def test_a_profile_is_kept_with_its_operators(vendor):
    people(vendor, {"$set": {"plan": "pro"}, "$unset": ["old"]}, **{"$ip": "0", "$time": 1})
    (message,) = vendor.people
    assert (message.event, message.distinct_id) == (None, "user-1")
    assert message.properties == {"$set": {"plan": "pro"}, "$unset": ["old"]}
    assert message.payload["$ip"] == "0"


def test_a_group_names_no_person(vendor):
    vendor.send("groups", '{"$token": "T", "$group_key": "company", "$group_id": "acme", "$set": {"plan": "pro"}}')
    (message,) = vendor.groups
    assert (message.event, message.distinct_id, message.properties) == (None, None, {"$set": {"plan": "pro"}})


def test_the_other_spelling_of_the_id_is_read(vendor):
    vendor.send("events", '{"event": "a", "properties": {"token": "T", "$distinct_id": "x"}}')
    assert vendor.events[0].distinct_id == "x"


def test_messages_are_told_apart_by_endpoint(vendor):
    track(vendor)
    track(vendor, endpoint="imports")
    people(vendor, {"$set": {}})
    assert [len(kept) for kept in (vendor.messages, vendor.events, vendor.imports, vendor.people, vendor.groups)] == [
        3, 1, 1, 1, 0,
    ]  # fmt: skip


def test_a_batch_is_taken_apart_into_its_messages(vendor):
    one, two = '{"event": "a", "properties": {"token": "T"}}', '{"event":"[]","properties":{"token":"T"}}'
    vendor.send("events", f" [ {one} ,\n{two}] ")
    assert [(message.event, message.raw) for message in vendor.messages] == [("a", one), ("[]", two)]


def test_an_empty_batch_holds_nothing(vendor):
    vendor.send("events", "[ ]")
    assert vendor.messages == []


def test_json_is_read_as_python_reads_it(vendor):
    vendor.send("events", '{"event": "a", "event": "b", "properties": {"token": "T", "n": NaN}}')
    assert vendor.events[0].event == "b"
    assert vendor.events[0].properties["n"] != vendor.events[0].properties["n"]


VALUES = st.none() | st.text(max_size=9) | st.floats() | st.lists(st.text(max_size=3), max_size=3)


@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), max_size=4))
def test_each_part_of_a_batch_reads_as_the_batch_does(extras):
    vendor = FakeTransport()
    records = [{"event": "a", "properties": {**extra, "token": "T"}} for extra in extras]
    vendor.send("events", json.dumps(records))
    assert [repr(json.loads(message.raw)) for message in vendor.messages] == [repr(record) for record in records]


def test_a_repr_shows_no_value(vendor):
    track(vendor, distinct_id=CANARY, email=CANARY)
    assert repr(vendor.messages) == "[SentMessage(endpoint='events', event='Viewed')]"
    assert repr(vendor) == "<FakeTransport messages=1 decisions=0>"


def test_a_message_is_frozen_and_hashable(vendor):
    track(vendor)
    (message,) = vendor.messages
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        message.event = "other"
    assert {message} == {attrs.evolve(message)}
    assert isinstance(message, SentMessage)


def test_what_is_returned_is_a_copy(vendor):
    track(vendor)
    vendor.messages.clear()
    assert len(vendor.messages) == 1


# rule 5.3: ".decisions, .dropped, .clear(), .fail(times=, error=)"


def decision(outcome=Outcome.DROPPED, reason=Reason.NO_CONSENT, endpoint="events", name="Viewed"):
    return Decision(outcome=outcome, reason=reason, endpoint=endpoint, event=name)


def test_decisions_are_kept_and_the_dropping_ones_told_apart(vendor):
    sent, dropped = decision(Outcome.SENT, Reason.CONSENT_GRANTED), decision()
    vendor.observe(sent)
    vendor.observe(dropped)
    assert (vendor.decisions, vendor.dropped) == ([sent, dropped], [dropped])


def test_clear_forgets_everything(vendor):
    track(vendor)
    vendor.observe(decision())
    vendor.fail(times=None)
    vendor.clear()
    track(vendor)
    assert (len(vendor.messages), vendor.decisions) == (1, [])


@pytest.mark.parametrize("error", [None, OSError("down"), TimeoutError])
def test_the_next_sends_fail_and_keep_nothing(vendor, error):
    vendor.fail(times=2, error=error)
    for _ in range(2):
        with pytest.raises(mixpanel.MixpanelException if error is None else OSError):
            track(vendor)
    track(vendor)
    assert len(vendor.messages) == 1


def test_times_cannot_be_negative(vendor):
    with pytest.raises(ValueError, match="times must be 0 or more"):
        vendor.fail(times=-1)


def test_many_threads_share_one_transport(vendor):
    vendor.fail(times=100)
    arrived = []

    def work():
        for _ in range(100):
            with contextlib.suppress(mixpanel.MixpanelException):
                track(vendor)
                arrived.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(arrived), len(vendor.messages)) == (700, 700)


# rule 5.3: "It refuses what the vendor would refuse (over 1 MB, 255 or more properties, no token, unknown endpoint)
# with the vendor's exception."

ROOM = 1_048_576 - len(json.dumps(event(text="")))


@pytest.mark.parametrize(
    ("endpoint", "message", "text"),
    [
        ("unknown", "{}", "No such endpoint"),
        (None, "{}", "No such endpoint"),
        ("events", None, "must be a str, not NoneType"),
        ("events", b"{}", "must be a str, not bytes"),
        ("events", "{", "not JSON"),
        ("events", "", "not JSON"),
        ("events", "[{},]", "not JSON"),
        ("events", "[" * 100_000, "not JSON"),
        ("events", '"text"', "a record must be an object, not str"),
        ("events", "[[]]", "a record must be an object, not list"),
        ("events", '{"event": "a"}', "without properties"),
        ("events", '{"event": "a", "properties": []}', "without properties"),
        ("events", '{"event": "a", "properties": {}}', "without a token"),
        ("imports", '{"event": "a", "properties": {"token": ""}}', "without a token"),
        ("people", '{"$distinct_id": "x", "$set": {}}', "without a token"),
        ("groups", '{"$token": null, "$set": {}}', "without a token"),
        ("events", json.dumps(event(**{f"p{n}": n for n in range(253)})), "255 properties; the vendor takes fewer"),
        ("people", json.dumps({"$token": "T", "$set": {str(n): n for n in range(255)}}), "255 properties"),
        ("groups", json.dumps({"$token": "T", "$unset": [str(n) for n in range(255)]}), "255 properties"),
        ("events", json.dumps(event(text="x" * ROOM)), "1 MB or more"),
        ("events", json.dumps(event(text="é" * (ROOM // 2 + 1)), ensure_ascii=False), "1 MB or more"),
        ("events", json.dumps([event()] * 2_001), "a batch of 2001 messages"),
        ("events", json.dumps([event(text="x" * (ROOM - 1))] * 11), "more than 10 MB"),
    ],
)
def test_what_the_vendor_would_refuse_is_refused_and_not_kept(vendor, endpoint, message, text):
    with pytest.raises(mixpanel.MixpanelException, match=text):
        vendor.send(endpoint, message)
    assert vendor.messages == []


@pytest.mark.parametrize(
    "message",
    [
        json.dumps(event(**{f"p{n}": n for n in range(252)})),
        json.dumps(event(text="x" * (ROOM - 1))),
        json.dumps([event()] * 2_000),
    ],
)
def test_what_the_vendor_just_takes_is_taken(vendor, message):
    vendor.send("events", message)
    assert vendor.messages


def test_a_batch_with_one_message_to_refuse_is_refused_whole(vendor):
    with pytest.raises(mixpanel.MixpanelException):
        vendor.send("events", json.dumps([event(), {"event": "a", "properties": {}}]))
    assert vendor.messages == []


@pytest.mark.parametrize("message", [CANARY, json.dumps([CANARY]), json.dumps({"event": CANARY})])
def test_a_refusal_quotes_nothing(vendor, message):
    with pytest.raises(mixpanel.MixpanelException) as caught:
        vendor.send("events", message)
    assert CANARY not in f"{caught.value!r} {vars(caught.value)}"
    assert caught.value.__context__ is None


# rule 5.3: "assertions with readable differences"


def failure(call, *args, **kwargs):
    with pytest.raises(AssertionError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_assert_tracked_finds_an_event_by_a_part_of_its_properties(vendor):
    track(vendor, plan="free")
    track(vendor, plan="pro", seats=3)
    assert vendor.assert_tracked("Viewed", distinct_id="user-1", properties={"plan": "pro"}) is vendor.events[1]
    assert vendor.assert_tracked("Viewed") is vendor.events[0]
    vendor.assert_tracked("Viewed", properties={"seats": ANY})


def test_assert_tracked_finds_an_import(vendor):
    track(vendor, endpoint="imports")
    vendor.assert_tracked("Viewed")


@pytest.mark.parametrize("person", [42, "42", uuid.UUID(int=5)])
def test_an_id_is_compared_as_the_text_that_is_sent(vendor, person):
    track(vendor, distinct_id=person if isinstance(person, int) else str(person))
    vendor.assert_tracked("Viewed", distinct_id=person)
    vendor.assert_tracked("Viewed", distinct_id=str(person))


def test_assert_tracked_tells_what_was_sent_instead(vendor):
    track(vendor, "Logged in")
    track(vendor, "Logged in")
    people(vendor, {"$set": {}})
    vendor.observe(decision(name="Viewed"))
    vendor.observe(decision(name="Other", reason=Reason.EXPIRED))
    assert failure(vendor.assert_tracked, "Viewed") == (
        "no event 'Viewed' was sent\n  sent: events 'Logged in' (2), people $set (1)\n  dropped: 1 (no_consent)"
    )
    assert failure(FakeTransport().assert_tracked, "Viewed") == "no event 'Viewed' was sent\n  sent: nothing"


def test_assert_tracked_tells_how_each_differs(vendor):
    track(vendor, distinct_id="user-2", plan="free")
    track(vendor, endpoint="imports", seats=1)
    text = failure(vendor.assert_tracked, "Viewed", distinct_id="user-1", properties={"plan": "pro"})
    assert text == (
        "no event 'Viewed' matches:\n"
        "  #1 to events: another distinct_id; 'plan' is 'free', expected 'pro'\n"
        "  #2 to imports: 'plan' is missing"
    )


def test_a_difference_shows_only_the_properties_asked_about(vendor):
    track(vendor, distinct_id=CANARY, email=CANARY, plan="free")
    assert CANARY not in failure(vendor.assert_tracked, "Viewed", distinct_id="user-1", properties={"plan": "pro"})


def test_many_differences_are_cut(vendor):
    for _ in range(9):
        track(vendor)
    assert failure(vendor.assert_tracked, "Viewed", properties={"plan": "pro"}).endswith("\n  and 4 more")


@pytest.mark.parametrize(("expected", "sent"), [(True, 1), (1, True), (0, False)])
def test_a_number_is_not_a_boolean(vendor, expected, sent):
    track(vendor, flag=sent)
    assert "'flag' is" in failure(vendor.assert_tracked, "Viewed", properties={"flag": expected})


def test_assert_not_tracked(vendor):
    track(vendor, plan="pro")
    vendor.assert_not_tracked("Other")
    vendor.assert_not_tracked("Viewed", distinct_id="user-2")
    vendor.assert_not_tracked("Viewed", properties={"plan": "free"})
    text = failure(vendor.assert_not_tracked, "Viewed", distinct_id="user-1", properties={"plan": "pro"})
    assert text == "event 'Viewed' was sent to the endpoint 'events'"


def test_assert_people_set(vendor):
    people(vendor, {"$set_once": {"plan": "pro"}})
    text = failure(vendor.assert_people_set, "user-1", {"plan": "pro"})
    assert text == "no $set of a user profile was sent\n  sent: people $set_once (1)"
    people(vendor, {"$set": {"plan": "free"}}, distinct_id="user-2")
    people(vendor, {"$set": {"plan": "pro", "seats": 3}})
    assert vendor.assert_people_set("user-1", {"plan": "pro"}) is vendor.people[2]
    vendor.observe(decision(endpoint="people", name=None))
    assert failure(vendor.assert_people_set, "user-2", {"seats": 3}) == (
        "no $set of a user profile matches:\n  #1 to people: 'seats' is missing\n"
        "  #2 to people: another distinct_id\n  dropped: 1 (no_consent)"
    )


def test_a_set_that_is_no_object_is_a_difference(vendor):
    people(vendor, {"$set": []})
    assert "'plan' is missing" in failure(vendor.assert_people_set, "user-1", {"plan": "pro"})


def test_assert_nothing_sent(vendor):
    vendor.assert_nothing_sent()
    track(vendor)
    assert failure(vendor.assert_nothing_sent) == "1 sent, none expected: events 'Viewed' (1)"


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (event(distinct_id="ann"), "properties.distinct_id"),
        (event(**{"$user_id": "ann"}), "properties.$user_id"),
        (event(**{"$distinct_ids": ["x", "ann"]}), "properties.$distinct_ids[1]"),
        (event(author={"login": "ann"}), "properties.author.login"),
        (event(seen={"ann": 1}), "properties.seen.[the id]"),
        (event("ann"), "event"),
    ],
)
def test_assert_nothing_sent_finds_a_person_by_any_id_or_text(vendor, record, place):
    vendor.assert_nothing_sent("ann")
    vendor.send("events", json.dumps(record))
    assert failure(vendor.assert_nothing_sent, "ann").endswith(f"#1 to events: {place}".replace(".[", "["))
    vendor.assert_nothing_sent("anna")


def test_a_number_names_a_person_only_among_ids(vendor):
    track(vendor, count=42, size="42", flag=True)
    vendor.assert_nothing_sent(42)
    vendor.assert_nothing_sent("1")
    track(vendor, distinct_id=42)
    assert "#2 to events: properties.distinct_id" in failure(vendor.assert_nothing_sent, 42)


def test_assert_nothing_sent_refuses_what_is_no_id(vendor):
    with pytest.raises(InvalidRecordError):
        vendor.assert_nothing_sent("")


# rule 5.3: "assert_no_personal_data()"


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ({"$email": 1}, "properties.$email: a personal property of the vendor"),
        ({"a": [{"mp_country_code": None}]}, "properties.a[0].mp_country_code: a personal property of the vendor"),
        ({"ip": "1"}, "properties.ip: a personal property of the vendor"),
        ({"note": f"write to {CANARY}!"}, "properties.note: an e-mail address"),
        ({"distinct_id": CANARY}, "properties.distinct_id: an e-mail address"),
        ({"a": {"b": ["x", "+49 30 1234567"]}}, "properties.a.b[1]: a telephone number"),
        ({"host": "10.0.0.1"}, "properties.host: an IP address"),
        ({CANARY: 1}, "properties.<an e-mail address>: an e-mail address in the name of a property"),
    ],
)
def test_personal_data_is_found_and_told_by_place_never_by_value(vendor, properties, found):
    vendor.send("events", json.dumps(event(**properties)))
    text = failure(vendor.assert_no_personal_data)
    assert text == f"personal data was sent:\n  #1 to events: {found}"
    assert CANARY not in text


def test_personal_data_is_found_in_a_profile_and_in_the_name_of_an_event(vendor):
    people(vendor, {"$set": {"$name": "x"}})
    track(vendor, f"{CANARY} came")
    assert failure(vendor.assert_no_personal_data) == (
        "personal data was sent:\n  #1 to people: $set.$name: a personal property of the vendor\n"
        "  #2 to events: event: an e-mail address"
    )


def test_an_ordinary_message_holds_no_personal_data(vendor):
    track(vendor, plan="pro", price=12.5, ip=0, page="/cart/2026-05-01", version="5.4.1", **{
        "time": "01-02-2026 10:00", "$insert_id": "0612345678", "$lib_version": "5.4.1.0", "list": ["a", None, True],
    })  # fmt: skip
    people(vendor, {"$unset": ["$email"], "$set": {"plan": "pro"}})
    vendor.assert_no_personal_data()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a.b+c@mail.example.org", "an e-mail address"),
        ("ä@example.org", "an e-mail address"),
        ("+4930123456", "a telephone number"),
        ("call (030) 1234567 now", "a telephone number"),
        ("0171 234 56 78", "a telephone number"),
        ("06 12 34 56 78", "a telephone number"),
        ("(555) 123-4567", "a telephone number"),
        ("555-123-4567", "a telephone number"),
        ("http://192.168.1.10/x", "an IP address"),
        ("from 010.000.000.001.", "an IP address"),
        ("2001:db8::8a2e:370:7334", "an IP address"),
        ("[::1]:443", "an IP address"),
        ("::ffff:10.0.0.1", "an IP address"),
        ("2001:0db8:0000:0000:0000:8a2e:0370:7334", "an IP address"),
    ],
)
def test_text_of_a_known_form_is_recognised(text, kind):
    assert kind_of_text(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a@b",
            "@example.org",
            "user@",
            "5.4.1",
            "1.2.3.4.5",
            "256.1.1.1",
            "10:20:30",
            "std::string",
            "::",
            "1:2",
        ),
        *("2026-05-01", "2026-05-01T10:00:00Z", "01-02-2026", "01-02-2026 10:00", "01/02/2026 10:00:00"),
        *(
            "1717171717",
            "order 4711-0815",
            "52.520008, 13.404954",
            "5d41402abc4b2a76b9719d911017c592",
            "1 000 000",
            "0612345678",
        ),
        *("123e4567-e89b-12d3-a456-426614174000", "0.123456789012", "00:1b:44:11:3a:b7", "007 12345"),
    ],
)
def test_ordinary_text_is_not_taken_for_personal(text):
    assert kind_of_text(text) is None


@pytest.mark.parametrize("unit", ["a", "1", "0", "+1", "a@", "1.", "0 1", "::", "f:", "1-", ".", "0-", "@a."])
def test_text_of_any_length_is_read_in_proportion(unit):
    # Twenty times the text of a quadratic search would not end within the test run's patience.
    assert kind_of_text(unit * 300_000 + "\n") is None or unit in {"+1", "0 1", "0-", "0", "@a."}


def test_the_names_of_the_package_are_found_and_no_other():
    from consentpanel import testing

    assert set(testing.__all__) <= set(dir(testing))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = testing.Nothing
