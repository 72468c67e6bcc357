"""`BackgroundConsumer` (contract rules 5.2 and 2.11), against a vendor on loopback that fails in many ways."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import mixpanel
import pytest

from consentpanel import BackgroundConsumer, BufferedConsumer, ConfigurationError, FieldPolicy, Mixpanel, Reason
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

pytestmark = pytest.mark.usefixtures("_no_pause")


def event(number: int, subject: str = "user-1") -> str:
    names = {"token": "T", "distinct_id": subject, "$insert_id": str(number)}
    return json.dumps({"event": "E", "properties": names})


@pytest.fixture
def background(faulty: Any) -> Iterator[BackgroundConsumer]:
    consumer = BackgroundConsumer(**faulty.urls, max_size=10, linger=0.02, request_timeout=2, exit_timeout=0.2)
    yield consumer
    faulty.open.set()
    faulty.always = None
    consumer._close(5)


@pytest.fixture
def registry() -> MemoryRegistry:
    registry = MemoryRegistry()
    registry.grant("user-1")
    return registry


def guarded(consumer: Any, registry: MemoryRegistry, **keywords: Any) -> Mixpanel:
    return Mixpanel("T", consumer, registry=registry, policy=FieldPolicy.keep_all(), **keywords)


# rule 5.2: on a worker thread, in batches


def test_what_is_sent_arrives_without_a_flush(background: BackgroundConsumer, faulty: Any) -> None:
    for number in range(25):
        background.send("events", event(number))
    faulty.wait_for(lambda: len(faulty.records) == 25)
    assert max(size for _, size, _ in faulty.requests) <= 10


def test_flush_waits_until_everything_has_arrived(background: BackgroundConsumer, faulty: Any) -> None:
    background.send("events", event(1))
    background.send("people", '{"$token": "T", "$distinct_id": "user-1", "$set": {}}')
    background.flush()
    assert len(faulty.records) == 2
    assert background.waiting == 0


def test_a_call_returns_while_the_vendor_is_stalled(background: BackgroundConsumer, faulty: Any) -> None:
    faulty.always = "stall"
    faulty.open.clear()
    for number in range(100):
        background.send("events", event(number))
    assert faulty.records == []
    assert background.waiting == 100
    faulty.always = None
    faulty.open.set()
    background.flush()
    assert len(faulty.ids()) == 100


def test_updates_of_profiles_arrive_in_order(background: BackgroundConsumer, faulty: Any) -> None:
    faulty.faults = [503, None, "cut", None, 429]
    for number in range(60):
        background.send("people", json.dumps({"$token": "T", "$distinct_id": "u", "$set": {"n": number}}))
    background.flush(20)
    assert [record["$set"]["n"] for record in faulty.records] == list(range(60))


# rule 5.2: nothing lost, nothing twice


@pytest.mark.parametrize("fault", [429, 500, 502, 503, 401, "nonsense", "cut"])
def test_a_batch_that_fails_is_sent_again_and_arrives_once(
    background: BackgroundConsumer, faulty: Any, fault: Any
) -> None:
    faulty.faults = [fault, fault]
    for number in range(30):
        background.send("events", event(number))
    background.flush(20)
    assert faulty.ids() == {str(number): 1 for number in range(30)}
    assert background.dropped == 0


def test_when_only_the_answer_is_lost_the_insert_id_tells_the_two_apart(
    background: BackgroundConsumer, faulty: Any
) -> None:
    # The vendor's protocol cannot tell; it keeps one event for each $insert_id.
    faulty.faults = ["cut after taking"]
    for number in range(10):
        background.send("events", event(number))
    background.flush(20)
    assert set(faulty.ids()) == {str(number) for number in range(10)}
    # The batch whose answer was lost is there twice; on a slow machine the last messages come in another.
    assert max(faulty.ids().values()) == 2


def test_413_splits_the_batch_until_it_fits(background: BackgroundConsumer, faulty: Any) -> None:
    faulty.largest = 3
    for number in range(40):
        background.send("events", event(number))
    background.flush(20)
    assert faulty.ids() == {str(number): 1 for number in range(40)}


@pytest.mark.parametrize("faults", [[413, 503], [413, None, 503], [413, 413, 503], [413, 413, None, "cut"]])
def test_a_failure_of_a_part_of_a_split_batch_keeps_the_order(faulty: Any, faults: list[Any]) -> None:
    # rule 5.2
    faulty.faults = ["stall", *faults]
    faulty.open.clear()
    with BackgroundConsumer(**faulty.urls, max_size=8, linger=0.01) as consumer:
        consumer.send("people", '{"$set": {"n": 0}}')
        faulty.wait_for(lambda: faulty.requests)
        # While the first is on its way the others wait: eight in the batch that is split, and two behind it.
        for number in range(1, 11):
            consumer.send("people", json.dumps({"$set": {"n": number}}))
        faulty.open.set()
        consumer.flush(20)
    assert faulty.requests[1][1] == 8
    assert [record["$set"]["n"] for record in faulty.records] == list(range(11))


def test_413_for_one_message_gives_it_up_and_says_so(faulty: Any, registry: MemoryRegistry) -> None:
    faulty.always = 413
    told: list[Any] = []
    with BackgroundConsumer(**faulty.urls, linger=0.01) as consumer:
        assert guarded(consumer, registry, observers=[told.append]).track("user-1", "E")
        consumer.flush()
        assert consumer.dropped == 1
    assert [decision.reason for decision in told] == [Reason.CONSENT_GRANTED, Reason.REJECTED_BY_VENDOR]


def test_400_is_reported_for_each_record_and_never_tried_again(faulty: Any, registry: MemoryRegistry) -> None:
    faulty.always = 400
    told: list[Any] = []
    with BackgroundConsumer(**faulty.urls, linger=60) as consumer:
        mp = guarded(consumer, registry, observers=[told.append])
        mp.track("user-1", "A")
        mp.track("user-1", "B")
        consumer.flush()
        assert consumer.dropped == 2
    rejected = [decision.event for decision in told if decision.reason is Reason.REJECTED_BY_VENDOR]
    assert sorted(rejected) == ["A", "B"]
    assert [size for _, size, _ in faulty.requests] == [2, 1, 1]


@pytest.mark.parametrize("kind", [BackgroundConsumer, BufferedConsumer])
@pytest.mark.parametrize("bad", [{"0"}, {"7"}, {"499"}, {"3", "4", "5", "250"}])
def test_a_batch_that_is_refused_is_halved_until_the_bad_record_stands_alone(
    faulty: Any, kind: Any, bad: set[str]
) -> None:
    # rule 5.2
    faulty.poison = lambda record: record["properties"]["$insert_id"] in bad
    consumer = kind(**faulty.urls, max_size=500, **({"linger": 60} if kind is BackgroundConsumer else {}))
    for number in range(499):
        consumer.send("events", event(number))
    with suppress(mixpanel.MixpanelException):  # the buffer tells of what was refused
        consumer.send("events", event(499))
        consumer.flush()
    consumer.flush()
    assert [record["properties"]["$insert_id"] for record in faulty.records] == [
        str(number) for number in range(500) if str(number) not in bad
    ]
    assert len(faulty.requests) <= 25 * len(bad)


def test_a_batch_of_bad_records_alone_costs_few_requests(faulty: Any) -> None:
    # rule 5.2
    faulty.always = 400
    with BackgroundConsumer(**faulty.urls, max_size=2_000, linger=60) as consumer:
        for number in range(2_000):
            consumer.send("events", event(number))
        consumer.flush()
        assert consumer.dropped == 2_000
    assert len(faulty.requests) < 100


# rule 8.7: consumers of equal arguments share queue, threads and connections


def sending_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("consentpanel-")]


def wait_until_no_thread_sends() -> None:
    end = time.monotonic() + 20
    while sending_threads():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("leaves", ["by with", "closed", "collected"])
def test_a_client_for_each_request_leaves_no_thread_behind(faulty: Any, registry: MemoryRegistry, leaves: str) -> None:
    # Clients of other tests may still be there.
    gc.collect()
    wait_until_no_thread_sends()
    most = 0
    for number in range(300):
        mp = guarded(BackgroundConsumer(**faulty.urls, linger=0.01), registry)
        assert mp.track("user-1", "E", {"$insert_id": str(number)})
        if leaves == "by with":
            with mp:
                pass
        elif leaves == "closed":
            mp.close()
            wait_until_no_thread_sends()
        most = max(most, len(sending_threads()))
    del mp
    gc.collect()
    wait_until_no_thread_sends()
    assert most <= 4
    assert faulty.ids() == {str(number): 1 for number in range(300)}


def test_clients_of_equal_arguments_share_requests(faulty: Any) -> None:
    consumers = [BackgroundConsumer(**faulty.urls, linger=60) for _ in range(100)]
    for number, consumer in enumerate(consumers):
        consumer.send("events", event(number))
    assert {consumer.waiting for consumer in consumers} == {1}
    consumers[0].flush()
    assert {consumer.waiting for consumer in consumers} == {0}
    assert [size for _, size, _ in faulty.requests] == [100]


def test_each_consumer_counts_and_closes_for_itself(faulty: Any) -> None:
    faulty.always = 503
    one, other = (BackgroundConsumer(**faulty.urls, linger=0.01, exit_timeout=0.1) for _ in range(2))
    one.send("events", event(1))
    other.send("events", event(2))
    with pytest.raises(mixpanel.MixpanelException):
        one.close()
    # What was on its way is given up when its sending has failed.
    faulty.wait_for(lambda: one.dropped == 1)
    faulty.always = None
    other.flush(20)
    assert (one.waiting, one.dropped, other.waiting, other.dropped) == (0, 1, 0, 0)
    assert faulty.ids() == {"2": 1}
    with pytest.raises(mixpanel.MixpanelException, match="closed"):
        one.send("events", event(3))
    other.close()


def test_what_one_gives_up_leaves_the_others_theirs(faulty: Any) -> None:
    faulty.always = 503
    one, other = (BackgroundConsumer(**faulty.urls, linger=600, exit_timeout=0.05) for _ in range(2))
    for number in range(5):
        one.send("events", event(number))
        other.send("events", event(number + 10))
    with pytest.raises(mixpanel.MixpanelException, match="not delivered"):
        one.close()
    # Those that were on their way are given up when their sending has failed.
    faulty.wait_for(lambda: one.dropped == 5)
    faulty.always = None
    assert (other.waiting, one.waiting) == (5, 0)
    other.flush(20)
    other.close()
    assert faulty.ids() == {str(number + 10): 1 for number in range(5)}


def test_another_consumer_put_on_one_leaves_those_of_equal_arguments_alone(faulty: Any) -> None:
    one, other = (BackgroundConsumer(**faulty.urls, linger=0.01) for _ in range(2))
    vendor = FakeTransport()
    one._consumer = vendor
    one.send("events", event(1))
    other.send("events", event(2))
    one.close()
    other.close()
    assert [message.payload["properties"]["$insert_id"] for message in vendor.messages] == ["1"]
    assert faulty.ids() == {"2": 1}


def test_a_queue_is_bounded_in_bytes_too(faulty: Any, registry: MemoryRegistry) -> None:
    # rule 13.2
    faulty.always = "stall"
    faulty.open.clear()
    with BackgroundConsumer(**faulty.urls, max_queued_bytes=1_000_000, timeout=0.01, request_timeout=20) as consumer:
        mp = guarded(consumer, registry)
        reasons = [mp.track("user-1", "E", {"text": "x" * 300_000}).reason for _ in range(6)]
        faulty.always = None
        faulty.open.set()
        consumer.flush(20)
    assert [str(reason) for reason in reasons] == ["consent_granted"] * 4 + ["queue_full"] * 2


def test_a_strict_import_loses_only_the_records_that_the_vendor_refused(faulty: Any) -> None:
    faulty.refuses = lambda record: record["properties"]["$insert_id"] in {"3", "5"}
    with BackgroundConsumer(**faulty.urls, linger=0.05, gzip_imports=True) as consumer:
        for number in range(10):
            consumer.send("imports", event(number), None, "secret")
        consumer.flush()
        assert consumer.dropped == 2
    assert set(faulty.ids()) == {str(number) for number in range(10)} - {"3", "5"}
    (_, _, headers) = faulty.requests[0]
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Authorization"].startswith("Basic ")


def test_64_threads_of_1000_messages_lose_nothing_and_double_nothing(faulty: Any) -> None:
    faulty.faults = [None, 503, None, "cut", 429, None, 413, "nonsense"] * 3
    # It lingers, because a 413 for a message that is alone in its batch is final.
    consumer = BackgroundConsumer(
        **faulty.urls, max_size=2_000, linger=1, max_queued=100_000, timeout=30, connections=8, exit_timeout=60
    )

    def send(thread: int) -> None:
        for number in range(1_000):
            consumer.send("events", event(thread * 1_000 + number))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    consumer.close()
    found = faulty.ids()
    assert (len(found), set(found.values()), consumer.dropped) == (64_000, {1}, 0)


# rule 5.2: a bounded queue


def test_a_full_queue_drops_counts_and_says_so_in_the_decision(
    faulty: Any, registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.always = "stall"
    faulty.open.clear()
    told: list[Any] = []
    with BackgroundConsumer(**faulty.urls, max_size=1, max_queued=5, linger=0.01, timeout=0.01) as consumer:
        mp = guarded(consumer, registry, observers=[told.append])
        decisions = [mp.track("user-1", "E") for _ in range(8)]
        faulty.always = None
        faulty.open.set()
        assert [bool(decision) for decision in decisions] == [True] * 5 + [False] * 3
        assert [decision.reason for decision in decisions[5:]] == [Reason.QUEUE_FULL] * 3
        assert told == decisions
        assert consumer.dropped == mp.stats()["dropped"]["queue_full"] == 3
    assert len(faulty.records) == 5
    assert "user-1" not in caplog.text


def test_a_message_waits_for_room_that_comes_in_time(faulty: Any) -> None:
    faulty.always = "stall"
    faulty.open.clear()
    threading.Timer(0.2, faulty.open.set).start()
    with BackgroundConsumer(**faulty.urls, max_size=1, max_queued=2, linger=0.01, timeout=20) as consumer:
        for number in range(4):
            consumer.send("events", event(number))
    assert len(faulty.records) == 4
    assert consumer.dropped == 0


# rule 2.11


def test_what_waits_for_somebody_who_withdraws_is_discarded(faulty: Any, registry: MemoryRegistry) -> None:
    told: list[Any] = []
    with BackgroundConsumer(**faulty.urls, linger=60) as consumer:
        mp = guarded(consumer, registry, observers=[told.append])
        assert mp.track("user-1", "E")
        registry.deny("user-1")
        consumer.flush()
    assert faulty.requests == []
    assert [decision.reason for decision in told] == [Reason.CONSENT_GRANTED, Reason.WITHDRAWN]


def test_purge_discards_what_waits_for_one_person(faulty: Any, registry: MemoryRegistry) -> None:
    registry.grant("user-2")
    with BackgroundConsumer(**faulty.urls, linger=60) as consumer:
        mp = guarded(consumer, registry)
        for subject in ("user-1", "user-2", "user-1"):
            mp.track(subject, "E")
        assert consumer.purge("user-1") == 2
        assert mp.stats()["dropped"]["withdrawn"] == 2
    assert [record["properties"]["distinct_id"] for record in faulty.records] == ["user-2"]


def test_what_was_purged_on_its_way_is_not_sent_again(background: BackgroundConsumer, faulty: Any) -> None:
    faulty.faults = ["stall"]
    faulty.open.clear()
    background.send("events", event(1))
    faulty.wait_for(lambda: faulty.requests)
    assert background.purge("user-1") == 0
    faulty.records = []
    faulty.faults = []
    assert background.waiting == 1
    with background._courier._changed:
        (message,) = background._courier._lines["events"].on_its_way
    background._courier._keep("events", [message], OSError())
    assert background.waiting == 0


# rule 5.2: fork, exit, close


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_sends_what_it_made_and_not_what_its_parent_had_queued(faulty: Any) -> None:
    consumer = BackgroundConsumer(**faulty.urls, linger=60)
    for number in range(50):
        consumer.send("events", event(number))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            consumer.send("events", event(1000))
            consumer.close(10)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert faulty.ids() == {"1000": 1}
    consumer.close()
    assert faulty.ids() == {**{str(number): 1 for number in range(50)}, "1000": 1}


CHILD = """
import json, multiprocessing, os, sys
from consentpanel import BackgroundConsumer
urls = json.loads(sys.argv[1])
how = sys.argv[2]
consumer = BackgroundConsumer(**urls, linger=60)

def work(number):
    consumer.send("events", json.dumps({"event": "E", "properties": {"$insert_id": str(number)}}))

if how == "exit":
    work(1)
elif how == "multiprocessing":
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=work, args=(number,)) for number in (1, 2)]
    for child in children: child.start()
    for child in children: child.join()
"""


@pytest.mark.parametrize(("how", "expected"), [("exit", {"1"}), ("multiprocessing", {"1", "2"})])
def test_the_end_of_a_process_flushes(faulty: Any, how: str, expected: set[str]) -> None:
    subprocess.run([sys.executable, "-c", CHILD, json.dumps(faulty.urls), how], check=True, timeout=60)
    assert set(faulty.ids()) == expected


def test_what_cannot_be_delivered_before_the_end_is_counted_and_reported(faulty: Any, registry: MemoryRegistry) -> None:
    faulty.always = 503
    told: list[Any] = []
    consumer = BackgroundConsumer(**faulty.urls, linger=0.01)
    guarded(consumer, registry, observers=[told.append]).track("user-1", "E")
    with pytest.raises(mixpanel.MixpanelException, match="not delivered"):
        consumer.close(0.3)
    faulty.wait_for(lambda: told[-1].reason is Reason.NOT_DELIVERED)
    assert consumer.dropped == 1
    assert told[-1].reason is Reason.NOT_DELIVERED


def test_a_closed_consumer_accepts_nothing(background: BackgroundConsumer) -> None:
    background.close()
    with pytest.raises(mixpanel.MixpanelException, match="closed"):
        background.send("events", event(1))


def test_a_flush_that_does_not_end_in_time_says_so_and_keeps_what_waits(
    background: BackgroundConsumer, faulty: Any
) -> None:
    faulty.always = 503
    background.send("events", event(1))
    faulty.wait_for(lambda: background._courier.last_cause)
    with pytest.raises(mixpanel.MixpanelException, match=r"1 messages are not delivered yet.*HTTP 503") as raised:
        background.flush(0.3)
    assert "user-1" not in str(raised.value)
    faulty.always = None
    background.flush()
    assert faulty.ids() == {"1": 1}


def test_retry_after_is_obeyed(background: BackgroundConsumer, faulty: Any) -> None:
    faulty.faults, faulty.retry_after = [429], "600"
    background.send("events", event(1))
    faulty.wait_for(lambda: faulty.requests)
    faulty.wait_for(lambda: background._courier._not_before["events"] > time.monotonic() + 500)
    background._courier._not_before["events"] = 0.0
    faulty.retry_after = None
    background.flush()
    assert faulty.ids() == {"1": 1}


def test_an_alias_does_not_wait_for_the_vendor(faulty: Any, registry: MemoryRegistry) -> None:
    faulty.always = 503
    consumer = BackgroundConsumer(**faulty.urls, linger=60)
    registry.grant("user-2")
    assert guarded(consumer, registry).alias("user-2", "user-1")
    faulty.always = None
    consumer.close()
    assert faulty.records[0]["event"] == "$create_alias"


def test_an_interrupt_during_a_send_loses_nothing(faulty: Any) -> None:
    consumer = BackgroundConsumer(**faulty.urls, linger=0.05)
    before = signal.signal(signal.SIGALRM, lambda *_: consumer.send("events", event(0)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        for number in range(1, 3_000):
            consumer.send("events", event(number))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    consumer.close()
    assert len(faulty.ids()) >= 2_999
    assert set(faulty.ids().values()) == {1}


# rules 1.8 and 4.2


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_size": 0},
        {"max_size": 2_001},
        {"max_queued": 1},
        {"connections": 0},
        {"timeout": 0},
        {"linger": -1},
        {"exit_timeout": "5"},
        {"request_timeout": None},
        {"consumer": object()},
        {"consumer": FakeTransport(), "api_host": "api-eu.mixpanel.com"},
        {"consumer": FakeTransport(), "gzip_imports": True},
    ],
)
def test_a_wrong_argument_is_a_configuration_error(arguments: Any) -> None:
    with pytest.raises(ConfigurationError):
        BackgroundConsumer(**arguments)


def test_no_log_line_quotes_a_message(
    background: BackgroundConsumer, faulty: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="consentpanel")
    faulty.faults = [503, "nonsense", "cut", 400]
    background.send("events", event(1, "ann@mail.example"))
    background.flush(20)
    assert "ann" not in caplog.text + repr(background)


def test_a_consumer_that_raises_anything_does_not_end_delivery(registry: MemoryRegistry) -> None:
    class Moody(FakeTransport):
        tries = 0

        def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
            self.tries += 1
            if self.tries < 3:
                raise KeyError("user-1")
            super().send(endpoint, json_message, api_key, api_secret)

    vendor = Moody()
    with BackgroundConsumer(consumer=vendor, linger=0.01) as consumer:
        guarded(consumer, registry).track("user-1", "E")
        consumer.flush(20)
    assert len(vendor.events) == 1


def test_a_retry_after_may_be_a_date(faulty):
    # RFC 9110, 10.2.3
    faulty.faults = [503]
    faulty.retry_after = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=3), usegmt=True)
    consumer = BackgroundConsumer(**faulty.urls, linger=0.01)
    began = time.monotonic()
    consumer.send("events", json.dumps({"event": "E", "properties": {"$insert_id": "1"}}))
    faulty.wait_for(lambda: len(faulty.requests) == 1)
    faulty.retry_after = None
    faulty.wait_for(lambda: len(faulty.records) == 1)
    assert time.monotonic() - began > 1.9  # seconds of the date are whole
    consumer.close()


@pytest.mark.usefixtures("_no_pause")
def test_a_refusal_in_the_body_is_halved_to_the_bad_record(faulty):
    # rule 5.2: the vendor may refuse with status 200
    faulty.poison = lambda record: record["properties"]["$insert_id"] == "7"
    faulty.refusal = (200, {"status": 0, "error": "data is bad"})
    consumer = BackgroundConsumer(**faulty.urls, linger=0.05)
    for number in range(20):
        consumer.send("events", json.dumps({"event": "E", "properties": {"$insert_id": str(number)}}))
    consumer.flush()
    assert faulty.ids() == {str(number): 1 for number in range(20) if number != 7}
    assert consumer.dropped == 1
    consumer.close()
