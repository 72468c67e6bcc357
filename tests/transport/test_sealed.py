"""Rules 1.4, 1.6 and 5.1: whatever the way, a message meets the gate; whatever the consumer, it works."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY, Mock, patch

import mixpanel
import pytest
import responses

import consentpanel
from consentpanel import ConfigurationError, FieldPolicy, MessageError, Mixpanel, Outcome, Reason, keep, pseudonymous
from consentpanel.registry import CachedRegistry, MemoryRegistry
from consentpanel.testing import FakeTransport

EVENT = {
    "event": "Signed up",
    "properties": {"token": "TOKEN", "distinct_id": "ann", "plan": "pro", "email": "a@b.example"},
}
UPDATE = {"$token": "TOKEN", "$distinct_id": "ann", "$set": {"plan": "pro", "$email": "a@b.example"}}


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def send(self, *arguments: Any, **_: Any) -> None:
        self.calls.append(arguments)


class LaterVendor(Mixpanel):
    """What a later vendor release may add: a method that nobody here has heard of."""

    def track_later(self, distinct_id: str, **said: Any) -> Any:
        record = {"event": "Later", "properties": {"token": self._token, "distinct_id": distinct_id, **said}}
        return self._consumer.send("events", mixpanel.json_dumps(record, cls=self._serializer))

    def track_batch(self, *people: str) -> Any:
        records = [{"event": "Later", "properties": {"distinct_id": each}} for each in people]
        return self._consumer.send("events", mixpanel.json_dumps(records))


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    consentpanel.reset()
    yield
    consentpanel.reset()


@pytest.fixture
def registry() -> MemoryRegistry:
    found = MemoryRegistry()
    found.grant("ann")
    return found


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def client(registry: MemoryRegistry) -> Callable[..., LaterVendor]:
    policy = FieldPolicy(events={"plan": keep()}, people={"plan": keep()}, groups={"industry": keep()})

    def build(consumer: Any, **keywords: Any) -> LaterVendor:
        return LaterVendor("TOKEN", consumer, **{"registry": registry, "policy": policy, **keywords})

    return build


def test_a_method_that_a_later_vendor_adds_is_judged(client, recorder):
    # rule 1.4
    mp = client(recorder)
    dropped = mp.track_later("bob", plan="pro")
    sent = mp.track_later("ann", plan="pro", email="a@b.example")
    assert (dropped.reason, sent.outcome) == (Reason.NO_CONSENT, Outcome.REDACTED)
    ((endpoint, text),) = recorder.calls
    assert endpoint == "events"
    assert json.loads(text)["properties"] == {"token": "TOKEN", "distinct_id": "ann", "plan": "pro"}


def test_a_list_of_records_is_refused_whole(client, recorder):
    # rule 1.4: what is not a JSON object is refused
    assert client(recorder).track_batch("ann", "ann").reason is Reason.INVALID_MESSAGE
    assert recorder.calls == []


@pytest.mark.parametrize(
    "as_sent", [str, str.encode, lambda text: bytearray(text.encode())], ids=["str", "bytes", "bytearray"]
)
def test_a_call_by_hand_is_judged_whether_text_or_bytes(client, recorder, as_sent):
    # rule 1.4
    mp = client(recorder)
    mp._consumer.send("events", as_sent(json.dumps(EVENT)))
    mp._consumer.send("events", as_sent(json.dumps(EVENT).replace("ann", "bob")))
    ((_, text),) = recorder.calls
    assert isinstance(text, str)
    assert json.loads(text)["properties"] == {"token": "TOKEN", "distinct_id": "ann", "plan": "pro"}


def test_a_profile_update_by_hand_is_judged(client, recorder):
    # rule 1.4
    mp = client(recorder)
    mp._consumer.send("people", json.dumps(UPDATE))
    mp._consumer.send("people", json.dumps(UPDATE).replace("ann", "bob"))
    ((endpoint, text),) = recorder.calls
    assert (endpoint, json.loads(text)["$set"]) == ("people", {"plan": "pro"})


def test_a_group_update_by_hand_is_judged(client, recorder):
    # rules 1.4 and 2.10
    update = {"$token": "TOKEN", "$group_key": "company", "$group_id": "acme", "$set": {"industry": "x", "boss": "Ann"}}
    client(recorder)._consumer.send("groups", json.dumps(update))
    assert json.loads(recorder.calls[0][1])["$set"] == {"industry": "x"}


def test_an_import_by_hand_is_judged_and_hands_its_credentials_on(client, recorder):
    # rules 1.4 and 1.3
    mp = client(recorder)
    mp._consumer.send("imports", json.dumps(EVENT), "key", "secret")
    mp._consumer.send("imports", json.dumps(EVENT), ("key", "secret"))
    mp._consumer.send("imports", json.dumps(EVENT).replace("ann", "bob"), "key", "secret")
    assert [arguments[2] for arguments in recorder.calls] == [("key", "secret")] * 2


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "null",
        "1",
        '"Event"',
        "{",
        "[" * 100_000,
        b"\xff\xfe\x00",
        None,
        7,
        {"event": "Signed up"},
        object(),
        "{}",
        '{"event": 1, "properties": {"distinct_id": "ann"}}',
        '{"event": "E"}',
        '{"event": "E", "properties": []}',
        '{"event": "E", "properties": {}}',
        '{"event": "E", "properties": {"distinct_id": ""}}',
        '{"event": "E", "properties": {"distinct_id": {"a": 1}}}',
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0][:24],
)
@pytest.mark.parametrize("endpoint", ["events", "people", "groups", "imports"])
def test_garbage_by_hand_is_refused(client, recorder, endpoint, garbage):
    # rule 1.4: parsed and judged, or refused; never let through unseen
    assert not client(recorder)._consumer.send(endpoint, garbage)
    assert recorder.calls == []


@pytest.mark.parametrize("message", ["[]", "[1, null]", '[[{"event": "E"}]]', '["text"]'])
def test_a_list_of_garbage_is_refused(client, recorder, message):
    assert client(recorder)._consumer.send("events", message).reason is Reason.INVALID_MESSAGE
    assert recorder.calls == []


@pytest.mark.parametrize("endpoint", ["track", "flags", "", "EVENTS", None, 3, ["events"], "ann@b.example"])
def test_an_unknown_endpoint_is_refused_and_not_quoted(client, recorder, endpoint):
    # rules 1.4 and 4.2
    decision = client(recorder)._consumer.send(endpoint, json.dumps(EVENT))
    assert (decision.reason, decision.endpoint in {"unknown", "flags"}) == (Reason.UNKNOWN_ENDPOINT, True)
    assert recorder.calls == []


def test_a_duplicate_name_in_json_cannot_smuggle_a_person(client, recorder):
    # rule 1.4
    for ids in ('"distinct_id": "ann", "distinct_id": "bob"', '"distinct_id": "bob", "distinct_id": "ann"'):
        text = f'{{"event": "E", "properties": {{{ids}}}}}'
        assert client(recorder)._consumer.send("events", text).reason is Reason.INVALID_MESSAGE
    assert recorder.calls == []


def test_what_is_sent_by_hand_is_counted_and_told(client, recorder):
    # rule 4.3
    told: list[Any] = []
    mp = client(recorder, observers=[told.append])
    mp._consumer.send("events", json.dumps(EVENT))
    mp._consumer.send("events", "garbage")
    assert [each.reason for each in told] == [Reason.CONSENT_GRANTED, Reason.INVALID_MESSAGE]
    assert mp.stats() == {"redacted": {"consent_granted": 1}, "dropped": {"invalid_message": 1}}


def test_garbage_raises_without_its_text_when_asked_to(client, recorder):
    # rules 1.8 and 4.2
    with pytest.raises(MessageError) as raised:
        client(recorder, on_error="raise")._consumer.send("events", '{"email": "a@b.example", ')
    assert raised.value.decision.reason is Reason.INVALID_MESSAGE
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert "a@b.example" not in str(raised.value)


# rule 5.1: consumers of every shape


def _two() -> tuple[Any, list[Any]]:
    calls: list[Any] = []

    class Two:
        def send(self, endpoint: str, message: str) -> None:
            calls.append((endpoint, message))

    return Two(), calls


def _three() -> tuple[Any, list[Any]]:
    calls: list[Any] = []

    class Three:
        def send(self, endpoint: str, json_message: str, api_key: Any = None) -> None:
            calls.append((endpoint, json_message, api_key))

    return Three(), calls


def _four() -> tuple[Any, list[Any]]:
    calls: list[Any] = []

    class Four:
        def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
            calls.append((endpoint, json_message, api_key))

    return Four(), calls


def _any_number() -> tuple[Any, list[Any]]:
    found = Recorder()
    return found, found.calls


def _with_keywords() -> tuple[Any, list[Any]]:
    calls: list[Any] = []

    class Keywords:
        def send(self, endpoint: str, json_message: str, api_key: Any = None, **_: Any) -> None:
            calls.append((endpoint, json_message, api_key))

    return Keywords(), calls


def _static() -> tuple[Any, list[Any]]:
    calls: list[Any] = []

    class Static:
        @staticmethod
        def send(endpoint: str, json_message: str, api_key: Any = None) -> None:
            calls.append((endpoint, json_message, api_key))

    return Static, calls


SHAPES = [_two, _three, _four, _any_number, _with_keywords, _static]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_consumer_of_each_shape_gets_every_kind_of_message(client, shape):
    consumer, calls = shape()
    mp = client(consumer)
    mp.track("ann", "Signed up", {"plan": "pro"})
    mp.people_set("ann", {"plan": "pro"})
    mp.group_set("company", "acme", {"industry": "x"})
    mp.people_delete("ann")
    mp.alias("ann", "ann")
    assert [each[0] for each in calls] == ["events", "people", "groups", "people", "events"]


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_a_consumer_that_takes_the_key_gets_the_vendors_tuple(client, shape):
    # rule 1.3: the vendor passes (api_key, api_secret) as one argument
    consumer, calls = shape()
    client(consumer, registry=lambda subject, purpose, at=None: True).import_data(
        "key", "ann", "Signed up", 1_600_000_000, api_secret="secret"
    )
    assert [each[2] for each in calls] == [("key", "secret")]


def test_a_consumer_of_two_parameters_gets_imports_without_a_key(client):
    consumer, calls = _two()
    assert client(consumer, registry=lambda subject, purpose, at=None: True).import_data(
        "key", "ann", "E", 1_600_000_000
    )
    assert [len(each) for each in calls] == [2]


def test_a_mock_is_a_consumer(client):
    consumer = Mock()
    client(consumer).track("ann", "Signed up")
    consumer.send.assert_called_once()
    assert consumer.send.call_args.args[0] == "events"
    assert len(consumer.send.call_args.args) == 2


def test_a_mock_with_the_vendors_spec_is_a_consumer(client):
    consumer = Mock(spec=mixpanel.Consumer)
    mp = client(consumer)
    mp.track("ann", "Signed up")
    mp.track("bob", "Signed up")
    mp.alias("ann", "ann")
    assert [call.args[0] for call in consumer.send.call_args_list] == ["events", "events"]


class NoSend:
    pass


class NotCallable:
    send = "text"


class TooFew:
    def send(self, message: str) -> None: ...


@pytest.mark.parametrize("consumer", [print, lambda endpoint, message: None, NoSend(), NotCallable(), TooFew(), 3, "x"])
def test_what_cannot_send_is_refused_at_construction(client, consumer):
    # rule 1.8
    with pytest.raises(ConfigurationError, match="consumer"):
        client(consumer)


def test_an_exception_of_the_consumer_passes_through(client):
    # rule 1.8
    fake = FakeTransport()
    fake.fail(times=1)
    mp = client(fake)
    with pytest.raises(mixpanel.MixpanelException):
        mp.track("ann", "Signed up")
    assert mp.track("ann", "Signed up")


def test_a_message_that_the_consumer_refused_is_not_counted_as_sent(client):
    fake = FakeTransport()
    fake.fail(times=1)
    mp = client(fake)
    with pytest.raises(mixpanel.MixpanelException):
        mp.track("ann", "Signed up")
    assert mp.stats() == {}


class Falsy(Recorder):
    def __len__(self) -> int:
        return len(self.calls)


def test_an_empty_consumer_is_used_and_not_replaced_by_a_default_one(client):
    # rule 5.1: the vendor tests `consumer or Consumer()`
    consumer = Falsy()
    with responses.RequestsMock():
        assert client(consumer).track("ann", "Signed up")
    assert len(consumer) == 1


def test_without_a_consumer_the_vendors_own_is_used(client):
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json={"status": 1, "error": None})
        mp = client(None)
        mp.track("bob", "Signed up")
        mp.track("ann", "Signed up")
        assert len(network.calls) == 1


# rule 1.4: nothing that could send is reachable


@pytest.mark.parametrize("name", ["_write_request", "_session", "_flush_endpoint", "_deliver_batch"])
@pytest.mark.parametrize("build", [mixpanel.Consumer, mixpanel.BufferedConsumer, consentpanel.BufferedConsumer])
def test_nothing_that_could_send_is_reachable(client, build, name):
    sealed = client(build())._consumer
    with pytest.raises(AttributeError):
        getattr(sealed, name)


def test_a_raw_consumer_cannot_be_reached_by_the_names_of_the_seal(client, recorder):
    sealed = client(recorder)._consumer
    assert sealed is not recorder
    for name in ("__consumer", "consumer", "__wrapped__", "_SealedTransport__wrapped"):
        with pytest.raises(AttributeError):
            getattr(sealed, name)


@pytest.mark.parametrize("build", [mixpanel.BufferedConsumer, consentpanel.BufferedConsumer])
def test_what_a_buffer_sends_with_is_sealed_as_the_buffer_is(client, build):
    # rule 1.4
    mp = client(build(request_timeout=7))
    inner = mp._consumer._consumer
    assert isinstance(inner, mixpanel.Consumer)
    assert inner._request_timeout == 7
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json={"status": 1, "error": None})
        assert not inner.send("events", json.dumps(EVENT).replace("ann", "bob"))
        assert inner.send("events", json.dumps(EVENT))
        assert len(network.calls) == 1
        assert "example" not in str(network.calls[0].request.body)


class FanOut(Recorder):
    """Keeps the consumers that it hands on to in containers of several kinds."""

    def __init__(self, *consumers: Any) -> None:
        super().__init__()
        self.several = list(consumers)
        self.by_name = {"a": {"b": consumers}}
        self.kept: deque[Any] = deque(["text", 1, ("more", {"x": None})])


@pytest.mark.parametrize("name", ["several", "by_name"])
def test_a_container_of_consumers_is_sealed_and_one_of_values_is_not(client, recorder, name):
    # rule 1.4
    mp = client(FanOut(recorder))
    with pytest.raises(AttributeError, match="sealed"):
        getattr(mp._consumer, name)
    assert len(mp._consumer.kept) == 3


@pytest.mark.parametrize("name", ["_mock_children", "_mock_wraps", "anything", "_mock_parent.x"])
def test_a_mock_gives_its_books_and_no_way_to_send(client, recorder, name):
    # rule 1.4
    mp = client(Mock(wraps=recorder))
    mp._consumer.send("events", json.dumps(EVENT).replace("ann", "bob"))
    mp._consumer.send.assert_not_called()
    with pytest.raises(AttributeError):
        getattr(mp._consumer, name)
    for private in ("_mock_wraps", "__self__", "__func__", "__wrapped__", "_Method__other"):
        with pytest.raises(AttributeError):
            getattr(mp._consumer.send, private)
    assert recorder.calls == []


def test_what_a_consumer_keeps_as_values_can_be_read(client):
    assert client(mixpanel.Consumer(request_timeout=7))._consumer._request_timeout == 7


def test_a_mock_can_be_asked_what_it_got(client):
    # rule 1.4
    consumer = Mock(spec=mixpanel.BufferedConsumer)
    mp = client(consumer)
    mp._consumer.flush()
    mp._consumer.flush.assert_called_once_with()
    assert consumer.flush.call_count == 1


def test_flush_reaches_the_buffer(client):
    mp = client(mixpanel.BufferedConsumer())
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json={"status": 1, "error": None})
        mp.track("ann", "Signed up")
        assert len(network.calls) == 0
        mp._consumer.flush()
        assert len(network.calls) == 1


def test_a_consumer_put_in_later_is_sealed_again(client, recorder):
    # rule 1.4
    mp = client(FakeTransport())
    mp._consumer = recorder
    assert mp._consumer is not recorder
    mp.track("bob", "Signed up")
    mp._consumer.send("events", json.dumps(EVENT).replace("ann", "bob"))
    assert recorder.calls == []
    assert mp.track("ann", "Signed up")
    assert len(recorder.calls) == 1


def _put_back(client, recorder, keywords):
    mp = client(recorder, **keywords)
    mp._consumer = mp._consumer
    return mp


def _patched(client, recorder, keywords):
    mp = client(recorder, **keywords)
    with patch.object(mp, "_consumer") as consumer:
        mp.track("ann", "Meanwhile", {"plan": "pro"})
        mp.track("bob", "Meanwhile")
    consumer.send.assert_called_once()
    return mp


def _monkeypatched(client, recorder, keywords):
    mp, meanwhile = client(recorder, **keywords), Recorder()
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(mp, "_consumer", meanwhile)
        mp.track("ann", "Meanwhile", {"plan": "pro"})
    assert len(meanwhile.calls) == 1
    with pytest.MonkeyPatch.context() as patches:
        patches.delattr(mp, "_consumer")
    return mp


def _of_another(client, recorder, keywords):
    nobody = client(recorder, registry=lambda subject, purpose: False)
    return client(nobody._consumer, **keywords)


def _of_another_later(client, recorder, keywords):
    mp = client(FakeTransport(), **keywords)
    mp._consumer = client(recorder, registry=lambda subject, purpose: False)._consumer
    return mp


def _in_our_buffer(client, recorder, keywords):
    return client(consentpanel.BufferedConsumer(consumer=client(recorder)._consumer), **keywords)


def _in_the_vendors_buffer(client, recorder, keywords):
    buffer = mixpanel.BufferedConsumer()
    buffer._consumer = client(recorder)._consumer
    return client(buffer, **keywords)


@pytest.mark.parametrize(
    "way",
    [_put_back, _patched, _monkeypatched, _of_another, _of_another_later, _in_our_buffer, _in_the_vendors_buffer],
)
@pytest.mark.parametrize("keywords", [{}, {"identity": pseudonymous(secret=b"k" * 32)}], ids=["plain", "pseudonymous"])
def test_a_seal_that_is_assigned_is_opened_so_that_a_message_is_judged_once(client, recorder, registry, way, keywords):
    # rule 1.4: by the client whose call it is; a second judgement would find no consent of a pseudonym
    asked: list[str] = []

    def ask(subject: str, purpose: str) -> Any:
        asked.append(subject)
        return registry.status(subject, purpose)

    mp = way(client, recorder, {"registry": ask, **keywords})
    asked.clear()
    for subject in ("ann", "bob"):
        mp.track(subject, "Signed up", {"plan": "pro"})
    at_once = list(asked)
    mp.flush()
    assert at_once == ["ann", "bob"]
    ((endpoint, text),) = [each[:2] for each in recorder.calls]
    (record,) = json.loads(f"[{text}]") if text.startswith("{") else json.loads(text)
    assert (endpoint, record["properties"]["plan"]) == ("events", "pro")


def test_a_deleted_consumer_is_gone_until_the_next(client, recorder):
    # rule 1.4: as an attribute of the vendor's client
    mp = client(FakeTransport())
    del mp._consumer
    assert not hasattr(mp, "_consumer")
    mp._consumer = recorder
    assert mp.track("ann", "Signed up")
    assert len(recorder.calls) == 1


def test_a_send_that_is_replaced_on_the_consumer_gets_what_the_gate_lets_through(client, recorder):
    # rule 1.4
    mp = client(recorder)
    with patch.object(mp._consumer, "send") as send:
        mp.track("bob", "Signed up")
        mp._consumer.send("events", json.dumps(EVENT).replace("ann", "bob"))
        mp.track("ann", "Signed up", {"email": "a@b.example"})
        send.assert_called_once()
        mp._consumer.send.side_effect = mixpanel.MixpanelException("down")
        with pytest.raises(mixpanel.MixpanelException):
            mp.track("ann", "Signed up")
    assert "example" not in str(send.mock_calls)
    assert recorder.calls == []
    with patch.object(mp._consumer, "send", autospec=True) as send:
        mp.track("ann", "Signed up")
        send.assert_called_once_with("events", ANY)
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(mp._consumer, "send", lambda endpoint, message: None)
        mp.track("ann", "Signed up")
    mp._consumer.send = two = Mock()
    mp.track("ann", "Signed up")
    mp.track("bob", "Signed up")
    two.assert_called_once()
    with pytest.raises(ConfigurationError, match="send"):
        mp._consumer.send = "text"
    del mp._consumer.send
    mp.track("ann", "Signed up")
    assert len(recorder.calls) == 1


def test_a_mock_of_a_consumer_keeps_its_send_through_a_patch(client):
    # rule 1.4
    consumer = Mock()
    mp = client(consumer)
    own = consumer.send
    with patch.object(mp._consumer, "send"):
        mp.track("ann", "Signed up")
    assert consumer.send is own
    own.assert_not_called()
    assert mp.track("ann", "Signed up")
    own.assert_called_once()


def test_the_serializer_of_a_client_can_be_patched(client, recorder):
    # rule 1.4
    class Upper(mixpanel.DatetimeSerializer):
        def default(self, obj: Any) -> Any:
            return "UPPER"

    mp = client(recorder)
    before = mp._serializer
    with patch.object(mp, "_serializer", Upper):
        mp.track("ann", "Signed up", {"plan": object()})
    assert mp._serializer is before
    mp.track("ann", "Signed up", {"plan": object()})
    assert ["UPPER" in text for _, text in recorder.calls] == [True, False]
    del mp._serializer
    assert not hasattr(mp, "_serializer")


@pytest.mark.parametrize("target", [Mixpanel, LaterVendor], ids=["the client", "a subclass"])
@pytest.mark.parametrize("name", ["_consumer", "_serializer"])
def test_what_is_put_over_a_property_on_the_class_has_no_say(client, recorder, target, name):
    # rules 1.3 and 1.4: the vendor's constructor overrides such an attribute
    before = client(recorder)
    with patch.object(target, name, Mock()) as put:
        during = client(recorder)
        for mp in (before, during):
            assert mp.track("ann", "Signed up", {"plan": "pro"})
            assert not mp.track("bob", "Signed up")
    for mp in (before, during):
        assert mp.track("ann", "Signed up", {"plan": "pro"})
        assert isinstance(mp._consumer, Recorder)
    assert put.mock_calls == []
    assert len(recorder.calls) == 4


def test_a_consumer_put_in_later_must_have_send(client, recorder):
    mp = client(recorder)
    with pytest.raises(ConfigurationError, match="consumer"):
        mp._consumer = object()
    assert mp.track("ann", "Signed up")


def test_a_repr_of_the_seal_names_only_the_type(client, recorder):
    assert repr(client(recorder)._consumer) == "<SealedTransport to Recorder>"


# rule 5.1: the vendor's own buffer


def test_the_vendors_buffer_works_with_one_warning(client, caplog):
    caplog.set_level(logging.WARNING)
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json={"status": 1, "error": None})
        first, second = (client(mixpanel.BufferedConsumer(max_size=2)) for _ in range(2))
        first.track("ann", "One")
        first.track("bob", "Never")
        first.track("ann", "Two")
        assert len(network.calls) == 1
        second.track("ann", "Three")
    said = [record.getMessage() for record in caplog.records if "BufferedConsumer" in record.getMessage()]
    assert len(said) == 1
    assert "use consentpanel.BufferedConsumer" in said[0]


def test_our_buffer_gives_no_warning(client, caplog):
    caplog.set_level(logging.DEBUG)
    client(consentpanel.BufferedConsumer())
    assert caplog.records == []


# rule 1.6: alias


def test_alias_goes_through_the_configured_consumer_and_opens_no_connection(client, recorder):
    with responses.RequestsMock() as network:
        assert client(recorder).alias("ann", "ann")
        assert len(network.calls) == 0
    ((endpoint, text),) = recorder.calls
    assert endpoint == "events"
    assert json.loads(text) == {
        "event": "$create_alias",
        "properties": {"distinct_id": "ann", "alias": "ann", "token": "TOKEN"},
    }


def test_alias_never_builds_a_default_consumer(client, recorder, monkeypatch):
    mp = client(recorder)
    monkeypatch.setattr(mixpanel, "Consumer", Mock(side_effect=AssertionError("a default consumer was built")))
    assert mp.alias("ann", "ann")


def test_alias_goes_to_the_region_of_the_configured_consumer(client):
    with responses.RequestsMock() as network:
        network.post("https://api-eu.mixpanel.com/track", json={"status": 1, "error": None})
        client(mixpanel.Consumer(api_host="api-eu.mixpanel.com")).alias("ann", "ann")
        assert [call.request.url for call in network.calls] == ["https://api-eu.mixpanel.com/track"]


@pytest.mark.parametrize("build", [mixpanel.BufferedConsumer, consentpanel.BufferedConsumer])
def test_alias_empties_a_buffer_at_once_with_what_came_before_it(client, build):
    with responses.RequestsMock() as network:
        network.post("https://api-eu.mixpanel.com/track", json={"status": 1, "error": None})
        mp = client(build(api_host="api-eu.mixpanel.com"))
        mp.track("ann", "Before")
        mp.alias("ann", "ann")
        sent = "".join(str(call.request.body) for call in network.calls)
        assert "Before" in sent
        assert "create_alias" in sent


@pytest.mark.parametrize("ids", [("ann", "bob"), ("bob", "ann"), ("ann", ""), ("ann", None)])
def test_alias_needs_both_ids_to_consent_and_flushes_nothing_without(client, ids):
    # rules 1.6 and 2.7
    consumer = Mock()
    assert not client(consumer).alias(*ids)
    consumer.send.assert_not_called()
    consumer.flush.assert_not_called()


def test_alias_with_a_meta_that_names_somebody_else_is_judged_by_both(client, recorder):
    # rules 1.4 and 2.7
    assert not client(recorder).alias("ann", "ann", {"properties": {"distinct_id": "bob", "alias": "bob"}})
    assert not client(recorder).alias("bob", "bob", {"properties": {"distinct_id": "ann", "alias": "ann"}})
    assert recorder.calls == []


def test_merge_goes_through_the_gate_with_its_key(client, recorder):
    mp = client(recorder)
    assert not mp.merge("key", "ann", "bob")
    assert mp.merge("key", "ann", "ann", api_secret="secret")
    assert [(each[0], each[2]) for each in recorder.calls] == [("imports", ("key", "secret"))]


def test_dates_of_a_call_by_hand_ask_for_consent_then(client, recorder):
    # rule 2.8
    moments: list[datetime | None] = []

    def ask(subject: str, purpose: str, at: datetime | None = None) -> bool:
        moments.append(at)
        return at is None

    record = {"event": "E", "properties": {"distinct_id": "ann", "time": 1_600_000_000}}
    decision = client(recorder, registry=ask)._consumer.send("events", json.dumps(record))
    assert decision.reason is Reason.NO_CONSENT_THEN
    assert [each and each.year for each in moments] == [None, 2020]
    assert recorder.calls == []


class Keeps:
    """A consumer that keeps what it gets."""

    def __init__(self):
        self.got = []

    def send(self, endpoint, json_message, api_key=None):
        self.got.append(json_message)


def test_what_is_put_into_a_buffer_through_the_seal_is_not_sent():
    # rule 1.4
    inner = Keeps()
    mp = Mixpanel("TOKEN", consentpanel.BufferedConsumer(consumer=inner), registry=MemoryRegistry())
    mp._consumer._buffers["events"].append('{"event":"X","properties":{"email":"ada@shop.example"}}')
    mp.flush()
    with pytest.raises(TypeError, match="the ticket of a message that was judged"):
        mp._consumer.deliver("events", '{"event":"X"}', None, None)
    assert inner.got == []


@pytest.mark.parametrize("hidden", ["cfg", "routes", "views", "deep"])
def test_nothing_that_could_send_is_reached_through_an_attribute(hidden):
    # rule 1.4
    inner, consumer = Keeps(), Keeps()
    consumer.cfg = SimpleNamespace(main=inner)
    consumer.routes = {inner: "events"}
    consumer.views = {"events": inner}.values()
    consumer.deep = [SimpleNamespace(main=[inner])]
    mp = Mixpanel("TOKEN", consumer, registry=MemoryRegistry())
    with pytest.raises(AttributeError, match="is sealed"):
        getattr(mp._consumer, hidden)


@pytest.mark.parametrize("hooks", [{}, {"response": lambda response, **_: response}, {"response": ()}, None])
def test_a_session_with_hooks_of_any_form_is_kept_to_its_host(hooks):
    # rule 5.1
    consumer = consentpanel.Consumer()
    consumer._session.hooks = hooks
    mp = Mixpanel("TOKEN", consumer, registry=lambda subject, purpose: True)
    assert consumer._session.hooks == hooks
    consumer._session.hooks = hooks or {}
    with responses.RequestsMock() as server:
        server.post("https://api.mixpanel.com/track", status=307, headers={"Location": "https://elsewhere.example/"})
        with pytest.raises(mixpanel.MixpanelException, match="307"):
            mp.track("ann", "Signed up")


def test_a_spy_on_send_sees_each_message_once_and_lets_it_pass(client):
    # rule 1.4
    class Theirs:
        def __init__(self):
            self.sent = []

        def send(self, endpoint, json_message, api_key=None):
            self.sent.append(json_message)

    consumer = Theirs()
    mp = client(consumer)
    with patch.object(mp._consumer, "send", wraps=mp._consumer.send) as spy:
        assert mp.track("ann", "Signed up")
    assert spy.call_count == len(consumer.sent) == 1
    real, seen = mp._consumer.send, []

    def noting(endpoint, json_message, *more):
        seen.append(endpoint)
        return real(endpoint, json_message, *more)

    mp._consumer.send = noting
    assert mp.track("ann", "Signed up")
    assert seen == ["events"]
    assert len(consumer.sent) == 2
    mp._consumer.send("events", '{"event": "By hand", "properties": {"token": "TOKEN", "distinct_id": "nobody"}}')
    assert len(consumer.sent) == 2


@pytest.mark.parametrize(
    "kind", [consentpanel.BackgroundConsumer, consentpanel.BufferedConsumer, mixpanel.Consumer, FakeTransport]
)
def test_a_class_in_the_place_of_a_consumer_is_refused(kind):
    # rule 1.8
    with pytest.raises(ConfigurationError, match="call it"):
        Mixpanel("TOKEN", kind, registry=MemoryRegistry())


@pytest.mark.parametrize("serializer", [json.JSONEncoder(), "x", 5])
def test_a_serializer_that_is_no_class_is_refused(serializer):
    # rule 1.8
    with pytest.raises(ConfigurationError, match="serializer must be a class"):
        Mixpanel("TOKEN", FakeTransport(), serializer, registry=MemoryRegistry())


@pytest.mark.parametrize("kind", [consentpanel.BackgroundConsumer, consentpanel.BufferedConsumer])
@pytest.mark.parametrize(
    "given",
    [
        {"request_timeout": "x"},
        {"request_timeout": -5},
        {"retry_limit": "x"},
        {"retry_limit": -1},
        {"retry_backoff_factor": "x"},
        {"events_url": "x.example/track"},
        {"people_url": 5},
        {"credentials": "x"},
        {"api_host": ""},
    ],
)
def test_an_argument_with_which_nothing_could_be_sent_is_refused(kind, given):
    # rule 1.8: at construction
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        kind(**given)


def test_a_withdrawal_at_one_client_leaves_what_another_registry_allows(client):
    # rule 1.9: two clients know two people by one id
    vendor = FakeTransport()
    for consumer in (consentpanel.BufferedConsumer(consumer=vendor), consentpanel.BackgroundConsumer(consumer=vendor)):
        ours, theirs = MemoryRegistry(), MemoryRegistry()
        ours.grant("1")
        theirs.grant("1")
        one = Mixpanel("ONE", consumer, registry=ours)
        other = Mixpanel("OTHER", consumer, registry=theirs)
        third = Mixpanel("THIRD", consumer, registry=ours)
        for mp in (one, other, third):
            mp.track("1", "Ordered")
        consumer.send("events", '{"event": "E", "properties": {"token": "T", "distinct_id": "1"}}')
        # The one of ours, the third's, and what nobody would judge.
        assert one.withdraw("1").discarded == 3
        consumer.flush()
        assert [each.payload["properties"]["token"] for each in vendor.events] == ["OTHER"]
        assert other.stats() == {"sent": {"consent_granted": 1}} or other.stats() == {
            "redacted": {"consent_granted": 1}
        }
        vendor.clear()


def test_a_purge_by_hand_is_of_all():
    vendor = FakeTransport()
    consumer = consentpanel.BufferedConsumer(consumer=vendor)
    for token in ("ONE", "OTHER"):
        registry = MemoryRegistry()
        registry.grant("1")
        Mixpanel(token, consumer, registry=registry).track("1", "Ordered")
    assert consumer.purge("1") == 2


def test_a_withdrawal_reaches_what_another_registry_over_the_same_table_let_through():
    # rules 2.11 and 7.1: for the same project, whatever objects ask
    table = MemoryRegistry()

    class Own:
        def __init__(self):
            for name in ("status", "statuses", "record", "history", "forget"):
                setattr(self, name, getattr(table, name))

    vendor = FakeTransport()
    table.grant("u")
    for registry in (Own, lambda: CachedRegistry(Own(), ttl=60), lambda: CachedRegistry(table, ttl=60)):
        buffer = consentpanel.BufferedConsumer(consumer=vendor)
        table.grant("u")
        first = Mixpanel("TOKEN", buffer, registry=registry())
        first.track("u", "Signed up")
        assert Mixpanel("TOKEN", buffer, registry=registry()).withdraw("u").discarded == 1
        buffer.flush()
    assert vendor.messages == []


@pytest.mark.parametrize("given", [{"serializer": None}, {}])
def test_no_serializer_is_as_with_the_vendor(given):
    vendor = FakeTransport()
    mp = Mixpanel("TOKEN", vendor, registry=lambda subject, purpose: True, **given)
    assert mp.track("u", "E", {"a": 1})
