"""What a client does beside sending: it flushes, closes, refuses what it does not know, and stays in its process."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import mixpanel
import pytest

import consentpanel
from consentpanel import BufferedConsumer, FieldPolicy, Mixpanel, Reason
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

EVENT = "Signed up"


@pytest.fixture
def buffered(client: Callable[..., Mixpanel], registry: MemoryRegistry, vendor: FakeTransport) -> Mixpanel:
    registry.grant("user-1")
    mp = client()
    mp._consumer = BufferedConsumer(consumer=vendor)
    return mp


# rule 1.9


def test_flush_sends_what_the_consumer_has_buffered(buffered: Mixpanel, vendor: FakeTransport) -> None:
    buffered.track("user-1", EVENT)
    assert vendor.events == []
    buffered.flush()
    assert len(vendor.events) == 1


def test_close_flushes_and_accepts_no_more(buffered: Mixpanel, vendor: FakeTransport) -> None:
    buffered.track("user-1", EVENT)
    buffered.close()
    assert len(vendor.events) == 1
    with pytest.raises(mixpanel.MixpanelException, match="closed"):
        buffered.track("user-1", EVENT)


def test_flush_and_close_of_a_consumer_that_has_neither_do_nothing(mp: Mixpanel) -> None:
    mp.flush()
    mp.close()


def test_leaving_with_flushes_also_when_the_body_raises(buffered: Mixpanel, vendor: FakeTransport) -> None:
    def fail() -> None:
        with buffered as mp:
            mp.track("user-1", EVENT)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(vendor.events) == 1


def test_leaving_async_with_flushes(buffered: Mixpanel, vendor: FakeTransport) -> None:
    if not isinstance(buffered, Mixpanel):
        pytest.skip("an AsyncMixpanel that blocks is left by `with`")

    async def main() -> None:
        async with buffered as mp:
            mp.track("user-1", EVENT)

    asyncio.run(main())
    assert len(vendor.events) == 1


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_client_is_neither_copied_nor_pickled(mp: Mixpanel, duplicate: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="build it in the worker"):
        duplicate(mp)


# rule 2.11


def test_any_other_buffer_sees_a_string_that_pickles_as_one(
    client: Callable[..., Mixpanel], registry: MemoryRegistry
) -> None:
    kept: list[Any] = []

    class Keeper:
        def send(self, endpoint: str, json_message: str) -> None:
            kept.append(json_message)

    registry.grant("user-1")
    mp = client()
    mp._consumer = Keeper()
    mp.track("user-1", EVENT)
    (text,) = kept
    assert isinstance(text, str)
    assert type(pickle.loads(pickle.dumps(text))) is str
    assert pickle.loads(pickle.dumps(text)) == copy.deepcopy(text) == text
    assert text.ticket.subject_ids == {"user-1"}
    assert text.ticket.purposes == ("analytics",)


def test_a_buffer_behind_another_consumer_still_asks_again(
    client: Callable[..., Mixpanel], registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    class Logging:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
            self.inner.send(endpoint, json_message, api_key, api_secret)

    buffer = BufferedConsumer(consumer=vendor)
    registry.grant("user-1")
    mp = client()
    mp._consumer = Logging(buffer)
    mp.track("user-1", EVENT)
    registry.deny("user-1")
    buffer.flush()
    assert vendor.messages == []
    assert mp.stats()["dropped"]["withdrawn"] == 1


@pytest.mark.parametrize("kind", ["vendor's", "somebody's"])
def test_a_buffer_that_does_not_ask_again_is_warned_of_once(
    client: Callable[..., Mixpanel], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    # rule 5.1
    class Batching:
        def send(self, endpoint: str, json_message: str) -> None: ...

        def flush(self) -> None: ...

    for _ in range(2):
        client()._consumer = mixpanel.BufferedConsumer() if kind == "vendor's" else Batching()
    warnings = [
        record.getMessage()
        for record in caplog.records
        if "asked" in record.getMessage() or "ask for" in record.getMessage()
    ]
    assert len(warnings) == 1
    assert ("mixpanel.BufferedConsumer" in warnings[0]) == (kind == "vendor's")


# rule 1.8


def test_a_vendor_exception_passes_without_the_batch(
    client: Callable[..., Mixpanel], registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    class Failing(mixpanel.BufferedConsumer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(max_size=1)
            self._consumer = vendor

    registry.grant("user-1")
    mp = client()
    mp._consumer = Failing()
    vendor.fail(times=2)
    for call in (lambda: mp.track("user-1", EVENT), mp.flush):
        with pytest.raises(mixpanel.MixpanelException) as raised:
            call()
        assert not hasattr(raised.value, "message")
        assert raised.value.endpoint == "events"
        assert "user-1" not in str(raised.value)


# rule 1.4

NEWER_VENDOR = """
import asyncio, logging
import mixpanel

def fancy(self, distinct_id, properties):
    self._consumer.send("events", '{}')

async def later(self, distinct_id):
    fancy(self, distinct_id, {})

mixpanel.Mixpanel.fancy = fancy
mixpanel.Mixpanel.later = later

from consentpanel import FieldPolicy, Mixpanel
from consentpanel.testing import FakeTransport

logging.basicConfig(level="WARNING", format="%(message)s")
vendor = FakeTransport()
mp = Mixpanel("TOKEN", vendor, registry=lambda subject_id, purpose: True, policy=FieldPolicy.keep_all())
print(mp.fancy("user-1", {"a": 1}).reason, asyncio.run(mp.later("user-1")).reason, vendor.messages)
"""


def test_a_method_of_a_newer_vendor_is_refused_and_says_so() -> None:
    ran = subprocess.run([sys.executable, "-c", NEWER_VENDOR], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["unknown_call", "unknown_call", "[]"]
    assert "mixpanel.Mixpanel.fancy() is not known" in ran.stderr
    assert "user-1" not in ran.stderr


def test_every_public_method_of_this_vendor_is_known(mp: Mixpanel) -> None:
    refused = [
        name for name in dir(mixpanel.Mixpanel) if "refuse" in getattr(getattr(Mixpanel, name), "__qualname__", "")
    ]
    assert refused == []


# rule 1.1


def test_the_vendor_s_submodule_is_reached_from_here() -> None:
    import mixpanel.flags.types

    import consentpanel.flags
    import consentpanel.flags.types

    assert consentpanel.flags is mixpanel.flags
    assert consentpanel.flags.types is mixpanel.flags.types


# rule 3.4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "x" * 65),
        ("token", {"email": "ann@mail.example"}),
        ("mp_lib", "ann\nmail"),
        ("mp_lib", 7),
        ("$lib_version", ""),
        ("$insert_id", "ann@mail.example"),
        ("$insert_id", "x" * 37),
        ("$insert_id", "user-1"),
        ("$insert_id", 7),
    ],
)
def test_what_hides_under_a_structural_name_is_replaced_by_the_vendor_s_default(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, name: str, value: Any
) -> None:
    registry.grant("user-1")
    decision = mp.track("user-1", EVENT, {name: value})
    assert dict(decision.changed) == {name: "default"}
    sent = vendor.events[0].properties[name]
    assert sent != value
    if name != "$insert_id":
        assert sent == {"token": "TOKEN", "mp_lib": "python", "$lib_version": mixpanel.__version__}[name]


@pytest.mark.parametrize(
    ("meta", "changed", "dropped"),
    [
        ({"$time": "noon"}, {"$time": "default"}, {}),
        ({"$time": 1_700_000_000}, {}, {}),
        ({"$token": ["x"]}, {"$token": "default"}, {}),
        ({"$ignore_time": "ann@mail.example"}, {}, {"$ignore_time": "not_in_shape"}),
        ({"$ignore_time": True, "$ignore_alias": False}, {}, {}),
    ],
)
@pytest.mark.parametrize("call", ["people_set", "people_unset"])
def test_structural_names_of_a_profile_update_keep_their_shape(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, call: str, meta: Any, changed: Any, dropped: Any
) -> None:
    registry.grant("user-1")
    said: Any = {"plan": "pro"} if call == "people_set" else ["plan"]
    decision = getattr(mp, call)("user-1", said, meta=meta)
    if call == "people_unset" and "$time" in meta:
        # Beside a removal a time of the caller's choice could say something.
        changed = {"$time": "default"}
    assert (dict(decision.changed), dict(decision.dropped)) == (changed, dropped)
    assert "ann" not in vendor.people[0].raw


def test_delete_and_unset_are_sent_in_their_own_shape(mp: Mixpanel, vendor: FakeTransport) -> None:
    mp.people_update({"$distinct_id": "user-1", "$delete": {"email": "ann@mail.example"}})
    mp.people_update({"$distinct_id": "user-1", "$unset": "plan"})
    assert [message.properties for message in vendor.people] == [{"$delete": ""}, {"$unset": ["plan"]}]


# rule 4.2


def test_a_property_that_is_named_like_a_person_is_not_quoted(mp: Mixpanel, registry: MemoryRegistry) -> None:
    registry.grant("user-1")
    decision = mp.track("user-1", EVENT, {"user-1": 1, "plan": "pro"})
    assert dict(decision.dropped) == {"<id>": "unnamed"}


def test_two_clients_of_one_process_keep_apart(registry: MemoryRegistry) -> None:
    # rule 1.9
    vendors = FakeTransport(), FakeTransport()
    registry.grant("user-1")
    Mixpanel("A", vendors[0], registry=registry, policy=FieldPolicy.keep_all()).track("user-1", EVENT, {"a": 1})
    other = Mixpanel("B", vendors[1], registry=MemoryRegistry())
    assert other.track("user-1", EVENT).reason is Reason.NO_CONSENT
    assert (len(vendors[0].events), vendors[1].events) == (1, [])
    assert consentpanel.Mixpanel is Mixpanel
