from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import signal
import sys
import threading
import traceback
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import count, product

import attrs
import mixpanel
import pytest
import responses
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from consentpanel import FieldPolicy, Mixpanel
from consentpanel.errors import ConfigurationError, InvalidRecordError
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
from consentpanel.transport import BackgroundConsumer, BufferedConsumer, _waiting
from consentpanel.transport._ticket import JudgedText

CANARY = "canary@example.org"


class Vendor:
    """Remembers batches; `down` makes it fail, `hook` runs before a batch is taken."""

    def __init__(self):
        self.batches = []
        self.down = 0
        self.error = mixpanel.MixpanelException("no network")
        self.hook = lambda: None

    def send(self, endpoint, json_message, api_key=None, api_secret=None):
        self.hook()
        if self.down:
            self.down -= 1
            raise self.error
        self.batches.append((endpoint, json.loads(json_message), api_key))

    @property
    def received(self):
        return [message for _, batch, _ in self.batches for message in batch]


@attrs.define(eq=False)
class FakeTicket:
    subject_ids: frozenset[str] = frozenset({"user-1"})
    allowed: bool = True
    asked: int = 0
    discards: int = 0
    purposes: tuple[str, ...] = ("analytics",)

    def still_allowed(self):
        self.asked += 1
        if isinstance(self.allowed, Exception):
            raise self.allowed
        return self.allowed

    @staticmethod
    def ask_again(tickets):
        return [ticket.still_allowed() for ticket in tickets]

    def take_removal(self) -> str | None:
        return None

    def discarded(self):
        self.discards += 1


def guarded(consumer, message, ticket=None, endpoint="events", credentials=None):
    ticket = ticket or FakeTicket()
    consumer.send(endpoint, judged(json.dumps(message), ticket), credentials)
    return ticket


def judged(text, ticket):
    message = JudgedText(text)
    message.ticket = ticket
    return message


@pytest.fixture
def vendor():
    return Vendor()


@pytest.fixture
def buffered(vendor):
    return BufferedConsumer(max_size=3, consumer=vendor)


# rule 5.2: "the vendor's interface"


def test_messages_wait_until_they_are_flushed(buffered, vendor):
    buffered.send("events", '"a"')
    buffered.send("people", '"b"')
    assert vendor.batches == []
    buffered.flush()
    assert vendor.batches == [("events", ["a"], None), ("people", ["b"], None)]


def test_the_endpoint_that_is_full_is_flushed_alone(buffered, vendor):
    buffered.send("people", '"p"')
    for name in "abc":
        buffered.send("events", json.dumps(name))
    assert vendor.batches == [("events", ["a", "b", "c"], None)]


def test_endpoints_are_flushed_in_the_order_of_the_vendor(buffered, vendor):
    for endpoint in ("imports", "groups", "people", "events"):
        buffered.send(endpoint, "1")
    buffered.flush()
    assert [endpoint for endpoint, _, _ in vendor.batches] == list(mixpanel.BufferedConsumer()._buffers)


@pytest.mark.parametrize("endpoint", ["unknown", None, 1, ["events"], CANARY])
def test_an_unknown_endpoint_is_refused_at_once_and_not_quoted(buffered, endpoint):
    with pytest.raises(mixpanel.MixpanelException, match="No such endpoint") as caught:
        buffered.send(endpoint, "1")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("message", [None, b"{}", {"event": CANARY}])
def test_a_message_that_is_no_text_is_refused_at_once(buffered, vendor, message):
    with pytest.raises(mixpanel.MixpanelException, match=f"must be a str, not {type(message).__name__}"):
        buffered.send("events", message)
    buffered.flush()
    assert vendor.batches == []


def test_the_arguments_are_those_of_the_vendor_in_its_order():
    import inspect

    ours = list(inspect.signature(BufferedConsumer).parameters)
    theirs = list(inspect.signature(mixpanel.BufferedConsumer).parameters)
    assert ours[: len(theirs)] == theirs


def test_the_arguments_reach_the_consumer_of_the_vendor():
    buffered = BufferedConsumer(10, "https://e", "https://p", "https://i", 7, "https://g", verify_cert=False)
    assert buffered._consumer._endpoints == {
        "events": "https://e",
        "people": "https://p",
        "groups": "https://g",
        "imports": "https://i",
    }
    assert buffered._consumer._request_timeout == 7
    assert buffered._consumer._verify_cert is False


def test_the_consumer_inside_can_be_replaced_as_in_the_vendor(vendor):
    buffered = BufferedConsumer()
    buffered._consumer = vendor
    buffered.send("events", '"a"')
    buffered.flush()
    assert vendor.received == ["a"]


@responses.activate
def test_a_batch_goes_over_http_as_the_vendor_sends_it():
    from urllib.parse import parse_qs

    call = responses.post("https://api-eu.mixpanel.com/track", json={"status": 1})
    buffered = BufferedConsumer(api_host="api-eu.mixpanel.com")
    buffered.send("events", '{"a":1}')
    buffered.send("events", '{"b":2}')
    buffered.flush()
    assert parse_qs(call.calls[0].request.body) == {"data": ['[{"a":1},{"b":2}]'], "verbose": ["1"], "ip": ["0"]}


def test_credentials_of_a_service_account_reach_the_consumer_of_the_vendor():
    if not hasattr(mixpanel, "ServiceAccountCredentials"):
        with pytest.raises(ConfigurationError, match=r"needs mixpanel 5\.2"):
            BufferedConsumer(credentials=object())
        return
    account = mixpanel.ServiceAccountCredentials("name", "secret", "1")
    assert BufferedConsumer(credentials=account)._consumer._credentials is account


def test_credentials_are_refused_with_a_vendor_that_has_none(monkeypatch):
    class OldConsumer:
        def __init__(self, events_url=None):
            pass

    monkeypatch.setattr(mixpanel, "Consumer", OldConsumer)
    with pytest.raises(ConfigurationError, match=r"needs mixpanel 5\.2"):
        BufferedConsumer(credentials=object())


def test_messages_with_other_credentials_go_in_another_batch_in_order(buffered, vendor):
    for name, key in [("a", ("k", "s")), ("b", ("k", "s")), ("c", ("other", None))]:
        buffered.send("imports", json.dumps(name), key)
    buffered.send("imports", '"d"', "k", "s")
    buffered.flush()
    assert vendor.batches == [
        ("imports", ["a", "b"], ("k", "s")),
        ("imports", ["c"], ("other", None)),
        ("imports", ["d"], ("k", "s")),
    ]


def test_a_consumer_of_two_parameters_behind_a_buffer_gets_two():
    # rule 5.1
    got = []

    class Two:
        def send(self, endpoint, json_message):
            got.append((endpoint, json_message))

    consumer = BufferedConsumer(consumer=Two())
    consumer.send("imports", "{}", ("key", "secret"))
    consumer.flush()
    assert got == [("imports", "[{}]")]


def test_a_consumer_of_two_parameters_gets_two():
    class Small:
        def __init__(self):
            self.calls = []

        def send(self, endpoint, json_message):
            self.calls.append((endpoint, json_message))

    small = Small()
    with BufferedConsumer(consumer=small) as buffered:
        guarded(buffered, "a")
        guarded(buffered, "b", endpoint="imports", credentials=(None, None))
    assert small.calls == [("events", '["a"]'), ("imports", '["b"]')]


def test_a_batch_holds_no_more_than_max_size(vendor):
    buffered = BufferedConsumer(max_size=2_000, consumer=vendor)
    for number in range(1_999):
        buffered.send("events", str(number))
    buffered._max_size = 1_000
    buffered.flush()
    assert [len(batch) for _, batch, _ in vendor.batches] == [1_000, 999]


def test_a_batch_is_split_before_it_has_too_many_bytes(vendor, monkeypatch):
    monkeypatch.setitem(_waiting.MAX_BATCH_BYTES, "events", 20)
    buffered = BufferedConsumer(consumer=vendor)
    for text in ('"aaaaaa"', '"bbbbbb"', '"éééé"', '"' + "c" * 50 + '"', '"d"'):
        buffered.send("events", text)
    buffered.flush()
    assert [len(batch) for _, batch, _ in vendor.batches] == [2, 1, 1, 1]


def test_a_batch_too_large_for_the_vendor_is_split_until_it_fits(faulty):
    faulty.largest = 3
    buffered = BufferedConsumer(max_size=50, **faulty.urls)
    for number in range(20):
        buffered.send("events", json.dumps({"event": "E", "properties": {"$insert_id": str(number)}}))
    buffered.flush()
    assert faulty.ids() == {str(number): 1 for number in range(20)}


@pytest.mark.parametrize("faults", [[413, 503], [413, None, 503], [413, 413, 503], [413, 413, None, "cut"]])
def test_a_failure_of_a_part_of_a_split_batch_keeps_the_order(faulty, faults):
    # rule 5.2
    faulty.faults = list(faults)
    buffered = BufferedConsumer(max_size=50, **faulty.urls, retry_limit=0)
    for number in range(8):
        buffered.send("people", json.dumps({"$set": {"n": number}}))
    with pytest.raises(mixpanel.MixpanelException, match="is kept"):
        buffered.flush()
    buffered.send("people", json.dumps({"$set": {"n": 8}}))
    buffered.flush()
    assert [record["$set"]["n"] for record in faulty.records] == list(range(9))


def test_a_batch_that_the_vendor_refuses_for_good_is_reported_and_does_not_block_what_follows(faulty):
    faulty.faults = [400]
    told = []
    registry = MemoryRegistry()
    registry.grant("user-1")
    buffered = BufferedConsumer(**faulty.urls)
    mp = Mixpanel("T", buffered, registry=registry, policy=FieldPolicy.keep_all(), observers=[told.append])
    mp.track("user-1", "Refused")
    with pytest.raises(mixpanel.MixpanelException, match="is not sent again") as raised:
        buffered.flush()
    assert raised.value.endpoint == "events"
    assert [(decision.event, decision.reason) for decision in told[1:]] == [("Refused", "rejected_by_vendor")]
    mp.track("user-1", "Next")
    buffered.flush()
    assert [record["event"] for record in faulty.records] == ["Next"]


@pytest.mark.parametrize("fault", [429, 500, "nonsense", "cut", 401])
def test_a_batch_that_fails_over_http_is_kept_and_arrives_once(faulty, fault):
    faulty.faults = [fault]
    buffered = BufferedConsumer(**faulty.urls, retry_limit=0)
    buffered.send("events", '{"event": "E", "properties": {"$insert_id": "1", "distinct_id": "ann@mail.example"}}')
    with pytest.raises(mixpanel.MixpanelException, match="is kept") as raised:
        buffered.flush()
    assert "ann" not in str(raised.value) + repr(vars(raised.value))
    buffered.flush()
    assert faulty.ids() == {"1": 1}


def test_it_is_the_vendor_s_class_too():
    # rule 5.2
    assert isinstance(BufferedConsumer(), mixpanel.BufferedConsumer)


# rule 1.8: "Wrong configuration raises ConfigurationError at construction, never later."


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_size": 0}, "max_size must be 1 to 2000, not 0"),
        ({"max_size": 2_001}, "max_size must be 1 to 2000, not 2001"),
        ({"max_size": "50"}, "max_size must be an int, not str"),
        ({"max_size": True}, "max_size must be an int, not bool"),
        ({"max_size": 50, "max_buffered": 49}, "max_buffered must be at least 50, not 49"),
        ({"consumer": object()}, r"consumer must have a method send\(\), which object has not"),
        ({"consumer": Vendor(), "api_host": "api-eu.mixpanel.com", "retry_limit": 1}, "api_host, retry_limit: set on"),
        ({"consumer": Vendor(), "credentials": "x"}, "credentials: set on"),
    ],
)
def test_a_wrong_argument_is_told_at_construction(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        BufferedConsumer(**arguments)


# rule 5.2: "no message sent twice after a failed flush, none lost"


def test_a_failed_flush_sends_nothing_twice_and_loses_nothing(buffered, vendor):
    vendor.down = 1
    for number in range(2):
        buffered.send("events", str(number))
    with pytest.raises(mixpanel.MixpanelException):
        buffered.send("events", "2")
    for number in range(3, 5):
        vendor.down = 1
        with pytest.raises(mixpanel.MixpanelException):
            buffered.send("events", str(number))
    assert vendor.batches == []

    sent = count()
    vendor.hook = lambda: setattr(vendor, "down", int(next(sent) == 1))
    with pytest.raises(mixpanel.MixpanelException):
        buffered.flush()
    assert vendor.received == [0, 1, 2]
    buffered.flush()
    assert vendor.received == [0, 1, 2, 3, 4]


def test_what_was_added_during_a_failing_flush_stays_behind_what_returned(buffered, vendor):
    buffered.send("events", '"first"')
    vendor.down = 1
    vendor.hook = lambda: buffered.send("events", '"second"')
    with pytest.raises(mixpanel.MixpanelException):
        buffered.flush()
    vendor.hook = lambda: None
    buffered.flush()
    assert vendor.received == ["first", "second"]


def test_an_endpoint_that_fails_does_not_stop_the_others(buffered, vendor):
    for endpoint in ("events", "people", "groups"):
        buffered.send(endpoint, json.dumps(endpoint))
    vendor.down = 1
    with pytest.raises(mixpanel.MixpanelException) as caught:
        buffered.flush()
    assert caught.value.endpoint == "events"
    assert vendor.received == ["people", "groups"]


def test_the_first_of_two_failures_is_raised(buffered, vendor):
    buffered.send("people", "1")
    buffered.send("groups", "2")
    vendor.down = 2
    with pytest.raises(mixpanel.MixpanelException) as caught:
        buffered.flush()
    assert caught.value.endpoint == "people"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_loses_nothing(buffered, vendor, interruption):
    buffered.send("events", "1")
    vendor.error, vendor.down = interruption(), 1
    with pytest.raises(interruption):
        buffered.flush()
    buffered.flush()
    assert vendor.received == [1]


def test_a_message_that_starts_a_failing_flush_is_kept(vendor):
    buffered = BufferedConsumer(max_size=1, consumer=vendor)
    vendor.down = 1
    with pytest.raises(mixpanel.MixpanelException, match="kept"):
        buffered.send("events", "1")
    buffered.flush()
    assert vendor.received == [1]


def test_a_full_buffer_accepts_nothing_and_says_so(vendor):
    buffered = BufferedConsumer(max_size=2, max_buffered=2, consumer=vendor)
    vendor.down = 99
    buffered.send("events", "1")
    with pytest.raises(mixpanel.MixpanelException, match="kept"):
        buffered.send("events", "2")
    with pytest.raises(mixpanel.MixpanelException, match="2 messages wait already; this one is not accepted"):
        buffered.send("events", "3")
    vendor.down = 0
    buffered.send("events", "4")
    buffered.flush()
    assert vendor.received == [1, 2, 4]


def test_a_closed_buffer_accepts_nothing_and_says_so(vendor):
    with BufferedConsumer(consumer=vendor) as buffered:
        buffered.send("events", "1")
    assert vendor.received == [1]
    with pytest.raises(mixpanel.MixpanelException, match="closed"):
        buffered.send("events", "2")


def test_close_can_be_repeated_after_a_failure(buffered, vendor):
    buffered.send("events", "1")
    vendor.down = 1
    with pytest.raises(mixpanel.MixpanelException):
        buffered.close()
    buffered.close()
    assert vendor.received == [1]


def test_a_consumer_that_sends_from_inside_a_flush_does_not_wait_for_itself(buffered, vendor):
    def call_back():
        vendor.hook = lambda: None
        for number in range(4):
            buffered.send("events", str(number))
        buffered.flush()

    vendor.hook = call_back
    buffered.send("events", '"first"')
    buffered.flush()
    assert vendor.received == ["first"]
    buffered.flush()
    assert vendor.received == ["first", 0, 1, 2, 3]


# rule 2.11: "what was buffered for somebody who has since withdrawn is discarded, counted, and never sent"


def test_withdrawn_subject_is_not_sent_from_a_buffer(buffered, vendor):
    kept, withdrawn = guarded(buffered, "kept"), guarded(buffered, "withdrawn")
    withdrawn.allowed = False
    buffered.flush()
    withdrawn.allowed = True
    buffered.flush()
    assert vendor.received == ["kept"]
    assert (kept.discards, withdrawn.discards) == (0, 1)


def test_consent_is_asked_for_again_when_a_failed_batch_is_sent_again(buffered, vendor):
    ticket = guarded(buffered, "a")
    vendor.down = 1
    with pytest.raises(mixpanel.MixpanelException):
        buffered.flush()
    ticket.allowed = False
    buffered.flush()
    assert (vendor.batches, ticket.discards) == ([], 1)


@pytest.mark.parametrize("answer", [RuntimeError(CANARY), None, 1, "yes"])
def test_what_is_no_answer_lets_a_message_wait(buffered, vendor, answer):
    # rule 8.4
    ticket = guarded(buffered, "a")
    ticket.allowed = answer
    buffered.flush()
    assert (vendor.batches, ticket.discards) == ([], 0)
    ticket.allowed = True
    buffered.flush()
    assert (vendor.received, ticket.discards) == (["a"], 0)


def test_an_automatic_flush_asks_for_consent_too(buffered, vendor):
    withdrawn = FakeTicket(allowed=False)
    for name in "abc":
        guarded(buffered, name, withdrawn)
    assert (vendor.batches, withdrawn.discards) == ([], 3)


def test_a_message_sent_by_hand_needs_no_ticket(buffered, vendor):
    buffered.send("events", '"a"')
    buffered.flush()
    assert vendor.received == ["a"]


def test_what_a_client_buffered_for_somebody_who_withdraws_is_discarded_and_counted():
    registry, received = MemoryRegistry(), FakeTransport()
    registry.grant("user-1")
    registry.grant("user-2")
    consumer = BufferedConsumer(consumer=received)
    mp = Mixpanel("TOKEN", consumer, registry=registry, policy=FieldPolicy.keep_all())
    mp.track("user-1", "Viewed")
    mp.people_set("user-1", {"plan": "pro"})
    mp.track("user-2", "Viewed")
    registry.deny("user-1")
    before = mp.stats()
    consumer.flush()
    received.assert_nothing_sent("user-1")
    received.assert_tracked("Viewed", distinct_id="user-2")
    assert mp.stats() != before


def test_purge_finds_what_a_client_buffered():
    registry, received = MemoryRegistry(), FakeTransport()
    registry.grant("user-1")
    consumer = BufferedConsumer(consumer=received)
    mp = Mixpanel("TOKEN", consumer, registry=registry, policy=FieldPolicy.keep_all())
    mp.track("user-1", "Viewed")
    mp.people_append("user-1", {"seen": "a"})
    assert consumer.purge("user-1") == 2
    consumer.flush()
    received.assert_nothing_sent()


# rule 5.2: "purge(subject_id)"


@pytest.mark.parametrize("subject_id", ["42", 42])
def test_purge_discards_what_waits_for_one_person_on_every_endpoint(buffered, vendor, subject_id):
    mine, other = FakeTicket(frozenset({"42", "x"})), FakeTicket(frozenset({"421"}))
    guarded(buffered, "a", mine)
    guarded(buffered, "b", other)
    guarded(buffered, "c", mine, endpoint="people")
    assert buffered.purge(subject_id) == 2
    assert buffered.purge(subject_id) == 0
    buffered.flush()
    assert vendor.received == ["b"]
    assert (mine.discards, other.discards) == (2, 0)


def test_purge_takes_a_uuid(buffered):
    person = uuid.uuid4()
    guarded(buffered, "a", FakeTicket(frozenset({str(person)})))
    assert buffered.purge(person) == 1


@pytest.mark.parametrize("subject_id", [None, "", True, 1.5, b"x"])
def test_purge_refuses_what_is_no_id(buffered, subject_id):
    with pytest.raises(InvalidRecordError):
        buffered.purge(subject_id)


@pytest.mark.parametrize(
    "record",
    [
        {"event": "a", "properties": {"distinct_id": "user-1"}},
        {"event": "a", "properties": {"distinct_id": "x", "$user_id": "user-1"}},
        {"event": "$merge", "properties": {"$distinct_ids": ["x", "user-1"]}},
        {"$distinct_id": "user-1", "$set": {}},
    ],
)
def test_purge_finds_the_ids_of_a_message_sent_by_hand(buffered, vendor, record):
    buffered.send("events", json.dumps(record))
    buffered.send("events", '{"event": "b", "properties": {"distinct_id": "user-11", "name": "user-1"}}')
    assert buffered.purge("user-1") == 1
    buffered.flush()
    assert len(vendor.received) == 1


def test_purge_passes_over_a_message_sent_by_hand_that_is_not_json(buffered):
    buffered.send("events", "{broken")
    assert buffered.purge("user-1") == 0


@pytest.mark.parametrize("answer", [True, False])
def test_a_message_purged_between_the_question_and_the_sending_is_discarded_once(buffered, vendor, answer):
    class Withdrawing(FakeTicket):
        def still_allowed(self):
            self.purged = buffered.purge("user-1")
            return answer

    ticket = Withdrawing()
    guarded(buffered, "a", ticket)
    guarded(buffered, "b", FakeTicket(frozenset({"user-2"})))
    buffered.flush()
    assert (vendor.received, ticket.purged, ticket.discards) == (["b"], 1, 1)


def test_a_message_purged_on_its_way_does_not_return_when_its_sending_fails(buffered, vendor):
    ticket = guarded(buffered, "a")
    guarded(buffered, "b", FakeTicket(frozenset({"user-2"})))
    counted = []
    vendor.hook, vendor.down = (lambda: counted.append(buffered.purge("user-1"))), 1
    with pytest.raises(mixpanel.MixpanelException):
        buffered.flush()
    vendor.hook = lambda: None
    buffered.flush()
    assert (vendor.received, counted, ticket.discards) == (["b"], [0], 1)


def test_a_message_purged_on_its_way_that_arrives_is_not_counted_as_discarded(buffered, vendor):
    ticket = guarded(buffered, "a")
    vendor.hook = lambda: buffered.purge("user-1")
    buffered.flush()
    assert (vendor.received, ticket.discards) == (["a"], 0)


# rule 4.2: "No personal value ever stands in a Decision, a log line, a repr, an exception's text or its attributes"


class LeakyError(Exception):
    def __init__(self, batch):
        super().__init__(f"cannot send {batch}")
        self.batch = batch


@pytest.mark.parametrize(
    "error",
    [
        LeakyError(CANARY),
        mixpanel.MixpanelException(f"Mixpanel error: {CANARY} is no e-mail"),
        mixpanel.MixpanelException(f"Cannot interpret Mixpanel server response: {CANARY}"),
        mixpanel.MixpanelException(LeakyError(CANARY)),
    ],
)
@pytest.mark.parametrize("call", ["flush", "send"])
def test_the_error_of_a_failed_flush_holds_nothing_of_the_batch(buffered, vendor, error, call):
    buffered.send("events", json.dumps(CANARY))
    buffered.send("events", json.dumps(CANARY))
    vendor.error, vendor.down = error, 1
    with pytest.raises(mixpanel.MixpanelException) as caught:
        buffered.flush() if call == "flush" else buffered.send("events", '"c"')
    raised = caught.value
    assert raised.__cause__ is None
    assert raised.__context__ is None
    assert not hasattr(raised, "message")
    told = traceback.TracebackException.from_exception(raised, capture_locals=True)
    frames = [frame for frame in told.stack if frame.filename.endswith("/_buffered.py")]
    assert frames
    assert CANARY not in "".join(f"{frame.name} {frame.locals}" for frame in frames)
    assert CANARY not in f"{raised} {raised!r} {vars(raised)} {raised.args}"


def test_the_error_of_a_real_connection_names_what_failed():
    buffered = BufferedConsumer(events_url="https://127.0.0.1:1/track", retry_limit=0)
    buffered.send("events", json.dumps(CANARY))
    with pytest.raises(mixpanel.MixpanelException, match=r"\(MixpanelException: ConnectionError") as caught:
        buffered.flush()
    assert CANARY not in repr(vars(caught.value))


def test_the_error_tells_a_refusal_from_a_failure(buffered, vendor):
    buffered.send("events", "1")
    vendor.error, vendor.down = mixpanel.MixpanelException("Mixpanel error: bad"), 1
    with pytest.raises(mixpanel.MixpanelException, match="the vendor refused the batch"):
        buffered.flush()


def test_a_repr_shows_numbers_only(buffered):
    guarded(buffered, CANARY, FakeTicket(frozenset({CANARY})))
    assert repr(buffered) == (
        "<BufferedConsumer max_size=3 waiting={'events': 1, 'people': 0, 'groups': 0, 'imports': 0}>"
    )
    assert CANARY not in repr(buffered._buffers)


# rule 5.2: "safe from many threads"


class FlakyVendor(Vendor):
    """Fails every seventh time; two threads inside it at once is an error of the buffer."""

    def __init__(self):
        super().__init__()
        self.calls = count(1)
        self.inside = threading.Lock()

    def send(self, endpoint, json_message, api_key=None, api_secret=None):
        assert self.inside.acquire(blocking=False)
        try:
            if next(self.calls) % 7 == 0:
                raise mixpanel.MixpanelException("busy")
            super().send(endpoint, json_message, api_key, api_secret)
        finally:
            self.inside.release()


def one_of_eight(thread, buffered, tickets, purged):
    dice = random.Random(thread)
    for number in range(300):
        subject = f"user-{dice.randrange(4)}"
        ticket = tickets[thread, number] = FakeTicket(frozenset({subject}), allowed=dice.random() > 0.1)
        with contextlib.suppress(mixpanel.MixpanelException):
            guarded(buffered, [thread, number], ticket, endpoint=("events", "people")[number % 2])
            if dice.random() < 0.02:
                buffered.flush()
        if dice.random() < 0.01:
            purged.append(buffered.purge(subject))


def flush_until_it_succeeds(buffered):
    for _ in range(100):
        with contextlib.suppress(mixpanel.MixpanelException):
            return buffered.flush()
    raise AssertionError


def test_eight_threads_lose_nothing_send_nothing_twice_and_keep_the_order_of_each():
    vendor = FlakyVendor()
    buffered = BufferedConsumer(max_size=10, consumer=vendor)
    tickets, purged = {}, []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one_of_eight, range(8), *([shared] * 8 for shared in (buffered, tickets, purged))))
    finally:
        sys.setswitchinterval(interval)
    flush_until_it_succeeds(buffered)

    received = [tuple(message) for message in vendor.received]
    assert len(received) == len(set(received))
    assert all(tickets[message].allowed and tickets[message].discards == 0 for message in received)
    missing = set(tickets) - set(received)
    assert all(tickets[message].discards == 1 for message in missing)
    assert sum(purged) <= len(missing)
    for endpoint, thread in product(("events", "people"), range(8)):
        order = [n for name, batch, _ in vendor.batches if name == endpoint for t, n in batch if t == thread]
        assert order == sorted(order)


def test_a_thread_that_adds_is_not_held_up_by_a_flush(vendor):
    buffered = BufferedConsumer(max_size=3, consumer=vendor)
    buffered.send("events", "1")
    buffered.send("events", "2")
    is_sending, go_on = threading.Event(), threading.Event()

    def wait():
        is_sending.set()
        assert go_on.wait(30)

    vendor.hook = wait
    flushing = threading.Thread(target=buffered.flush)
    flushing.start()
    assert is_sending.wait(30)
    adding = threading.Thread(target=lambda: [buffered.send("events", "3"), buffered.purge("nobody"), repr(buffered)])
    adding.start()
    adding.join(30)
    was_held_up = adding.is_alive()
    go_on.set()
    flushing.join(30)
    adding.join(30)
    assert not was_held_up
    assert vendor.received == [1, 2]
    buffered.flush()
    assert vendor.received == [1, 2, 3]


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
def test_a_signal_handler_may_send_and_flush_while_the_same_thread_flushes(buffered, vendor):
    def handle(*_):
        buffered.send("events", '"from the handler"')
        buffered.flush()

    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        vendor.hook = lambda: (setattr(vendor, "hook", lambda: None), signal.raise_signal(signal.SIGUSR1))
        buffered.send("events", "1")
        buffered.flush()
    finally:
        signal.signal(signal.SIGUSR1, previous)
    buffered.flush()
    assert vendor.received == [1, "from the handler"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_starts_empty_with_free_locks_and_a_connection_of_its_own(vendor):
    buffered, over_http = BufferedConsumer(consumer=vendor), BufferedConsumer()
    session = over_http._consumer
    buffered.send("events", '"of the parent"')
    readable, writable = os.pipe()
    with buffered._lock, buffered._flush_lock:
        child = os.fork()
        if child == 0:
            facts = [0] * 3
            try:
                added = threading.Thread(target=lambda: [buffered.send("events", '"of the child"'), buffered.flush()])
                added.start()
                added.join(30)
                facts = [vendor.received == ["of the child"], over_http._consumer is not session, not added.is_alive()]
            finally:
                os.write(writable, json.dumps(facts).encode())
                os._exit(0)
    os.close(writable)
    with os.fdopen(readable) as pipe:
        assert json.load(pipe) == [True, True, True]
    os.waitpid(child, 0)
    buffered.flush()
    assert vendor.received == ["of the parent"]


def test_a_buffer_that_nobody_holds_is_freed():
    from consentpanel.transport._delivery import ALIVE as _ALIVE

    before = len(_ALIVE)
    buffered = BufferedConsumer()
    assert len(_ALIVE) == before + 1
    del buffered
    gc.collect()
    assert len(_ALIVE) <= before


class BufferMachine(RuleBasedStateMachine):
    """Rules 5.2 and 2.11: what was accepted is delivered once, or discarded once and counted."""

    SUBJECTS = ("ann", "ben", "cy")

    @initialize(max_size=st.integers(1, 4), room=st.integers(0, 6))
    def start(self, max_size, room):
        self.vendor = Vendor()
        self.buffered = BufferedConsumer(max_size, consumer=self.vendor, max_buffered=max_size + room)
        self.withdrawn = set()
        self.number = count()
        self.tickets = {}
        self.by_hand = set()

    @rule(
        endpoint=st.sampled_from(["events", "people", "imports"]),
        subject=st.sampled_from(SUBJECTS),
        key=st.sampled_from([None, ("k", None)]),
        by_hand=st.booleans(),
    )
    def send(self, endpoint, subject, key, by_hand):
        number = next(self.number)
        record = {"n": number, "$distinct_id": subject}
        machine = self

        class Ticket(FakeTicket):
            def still_allowed(self):
                return subject not in machine.withdrawn

        ticket = Ticket(frozenset({subject}))
        try:
            if by_hand:
                self.buffered.send(endpoint, json.dumps(record), key)
            else:
                self.buffered.send(endpoint, judged(json.dumps(record), ticket), key)
        except mixpanel.MixpanelException as error:
            if "not accepted" in str(error):
                return
        if by_hand:
            self.by_hand.add(number)
        else:
            self.tickets[number] = ticket

    @rule(times=st.integers(1, 3))
    def break_the_vendor(self, times):
        self.vendor.down = times

    @rule(subject=st.sampled_from(SUBJECTS))
    def withdraw(self, subject):
        self.withdrawn.add(subject)

    @rule(subject=st.sampled_from(SUBJECTS))
    def grant(self, subject):
        self.withdrawn.discard(subject)

    @rule(subject=st.sampled_from(SUBJECTS))
    def purge(self, subject):
        waiting = [
            m for buffer in self.buffered._buffers.values() for m in buffer if m.names(subject) and not m.is_settled
        ]
        self.by_hand -= {json.loads(m.json_message)["n"] for m in waiting if m.ticket is None}
        assert self.buffered.purge(subject) == len(waiting)

    @rule()
    def flush(self):
        try:
            self.buffered.flush()
        except mixpanel.MixpanelException:
            assert self.vendor.error is not None

    @invariant()
    def nothing_is_sent_twice_or_lost(self):
        if not hasattr(self, "vendor"):
            return
        sent = [message["n"] for message in self.vendor.received]
        assert len(sent) == len(set(sent))
        waiting = {
            json.loads(m.json_message)["n"]
            for buffer in self.buffered._buffers.values()
            for m in buffer
            if not m.is_settled
        }
        for number, ticket in self.tickets.items():
            assert (number in sent) + (number in waiting) + ticket.discards == 1
        for number in self.by_hand:
            assert (number in sent) + (number in waiting) == 1
        for endpoint in ("events", "people", "imports"):
            order = [message["n"] for name, batch, _ in self.vendor.batches if name == endpoint for message in batch]
            assert order == sorted(order)

    def teardown(self):
        if not hasattr(self, "vendor"):
            return
        self.vendor.down = 0
        self.buffered.flush()
        assert not any(self.buffered._buffers.values())
        self.nothing_is_sent_twice_or_lost()


BufferMachine.TestCase.settings = settings(
    deadline=None, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
TestBufferMachine = BufferMachine.TestCase


# rule 5.1: what a consumer answers, and what it holds


class Pooling:
    """Hands each batch to a pool of threads, and answers with the future."""

    def __init__(self):
        self.pool, self.got = ThreadPoolExecutor(1), []

    def send(self, endpoint, json_message, api_key=None):
        return self.pool.submit(self.got.append, json_message)


def test_a_consumer_that_answers_with_a_future_has_taken_the_message():
    theirs = Pooling()
    mp = Mixpanel("T", theirs, registry=lambda subject, purpose: True, policy=FieldPolicy())
    assert mp.track("user-1", "Seen")
    consumer = BufferedConsumer(consumer=theirs)
    consumer.send("events", "{}")
    for _ in range(3):
        consumer.flush()
    theirs.pool.shutdown()
    assert len(theirs.got) == 2


@pytest.mark.parametrize(
    "inner", [BufferedConsumer, BackgroundConsumer, mixpanel.BufferedConsumer, lambda: Handing(BufferedConsumer())]
)
@pytest.mark.parametrize("outer", [BufferedConsumer, BackgroundConsumer])
def test_a_buffer_inside_a_buffer_is_a_configuration_error(outer, inner):
    # rule 2.11: it would keep whole batches, of which nobody could be asked again
    with pytest.raises(ConfigurationError, match="another buffer"):
        outer(consumer=inner())


class Handing:
    def __init__(self, behind):
        self.behind = behind

    def send(self, endpoint, json_message, api_key=None):
        self.behind.send(endpoint, json_message, api_key)


def test_a_flush_that_a_signal_ended_does_not_end_flushing(vendor, buffered):
    # rule 8.5: what raises out of a handler, anywhere
    buffered.send("events", "{}")
    ending = buffered._end_flush
    buffered._end_flush = lambda endpoint: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        buffered.flush()
    buffered._end_flush = ending
    buffered.send("events", "{}")
    buffered.flush()
    assert not buffered._lines["events"].queue
    assert len(buffered._lines["events"]) == 0


@pytest.mark.parametrize(
    ("module", "name"), [("rq.timeouts", "JobTimeoutException"), ("billiard.exceptions", "SoftTimeLimitExceeded")]
)
def test_the_time_limit_of_a_job_is_nobody_s_failure(module, name):
    deadline = type(name, (Exception,), {"__module__": module})

    class Slow(MemoryRegistry):
        def status(self, *arguments, **keywords):
            raise deadline

    mp = Mixpanel("T", FakeTransport(), registry=Slow(), policy=FieldPolicy())
    with pytest.raises(deadline):
        mp.track("user-1", "Seen")


def test_what_waits_in_a_buffer_that_is_collected_is_told(caplog):
    # rule 8.1
    told = []
    mp = Mixpanel(
        "T",
        BufferedConsumer(consumer=FakeTransport()),
        registry=lambda subject, purpose: True,
        policy=FieldPolicy(),
        observers=[told.append],
    )
    mp.track("user-1", "Seen")
    del mp
    gc.collect()
    assert [str(decision.reason) for decision in told] == ["consent_granted", "not_delivered"]
    assert "1 messages that waited in it were not delivered" in caplog.text


def test_a_batch_grows_again_when_the_vendor_takes_small_ones(faulty):
    # rule 13.2: batches to the documented limits; a proxy's 413 does not hold for good
    consumer = BufferedConsumer(max_size=50, **faulty.urls)

    def send(count):
        for number in range(count):
            consumer.send("events", json.dumps({"event": "E", "properties": {"$insert_id": f"{number}"}}))
        consumer.flush()

    faulty.largest = 3
    send(50)
    faulty.largest = None
    for _ in range(20):
        send(49)
    assert max(count for _, count, _ in faulty.requests[-5:]) > 40


def test_pauses_that_the_vendor_asks_for_are_not_slept_out_in_a_request(faulty):
    # rule 5.2: by the adapter for https, as by that for http
    consumer = BufferedConsumer(retry_limit=3, **faulty.urls)
    for address in ("https://", "http://"):
        retry = consumer._consumer._session.get_adapter(address).max_retries
        assert not retry.respect_retry_after_header
        assert not retry.raise_on_status
