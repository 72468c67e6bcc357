"""`stats()` counts each message once, under what became of it in the end (rule 4.4)."""

from __future__ import annotations

import os
import threading

import mixpanel
import pytest

from consentpanel import BackgroundConsumer, BufferedConsumer, FieldPolicy, Mixpanel, MixpanelException, keep
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport


class Vendor:
    """Takes what it is sent, or raises what it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.bodies: list[str] = []

    def send(self, endpoint: str, body: str, *_: object) -> None:
        if self.error is not None:
            raise self.error
        self.bodies.append(body)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def registry() -> MemoryRegistry:
    registry = MemoryRegistry()
    registry.grant("user-1")
    return registry


def client(consumer: object, registry: MemoryRegistry) -> Mixpanel:
    return Mixpanel("TOKEN", consumer, registry=registry, policy=FieldPolicy(events={"plan": keep()}))


def test_what_waits_is_queued_and_what_arrived_is_sent(vendor, registry):
    # rule 4.4
    mp = client(BufferedConsumer(consumer=vendor), registry)
    mp.track("user-1", "Paid", {"plan": "pro"})
    mp.track("user-1", "Paid", {"plan": "pro", "more": 1})
    mp.track("user-2", "Paid")
    assert mp.stats() == {"queued": {"consent_granted": 2}, "dropped": {"no_consent": 1}}
    mp.flush()
    assert mp.stats() == {
        "sent": {"consent_granted": 1},
        "redacted": {"consent_granted": 1},
        "dropped": {"no_consent": 1},
    }


def test_what_fills_the_buffer_has_arrived_when_the_call_answers(vendor, registry):
    mp = client(BufferedConsumer(2, consumer=vendor), registry)
    for _ in range(3):
        mp.track("user-1", "Paid")
    assert mp.stats() == {"sent": {"consent_granted": 2}, "queued": {"consent_granted": 1}}


def test_what_is_kept_after_a_failure_is_still_queued(vendor, registry):
    mp = client(BufferedConsumer(consumer=vendor), registry)
    mp.track("user-1", "Paid")
    vendor.error = OSError()
    with pytest.raises(MixpanelException):
        mp.flush()
    assert mp.stats() == {"queued": {"consent_granted": 1}}


def test_what_is_discarded_after_a_withdrawal_is_counted_once(vendor, registry):
    mp = client(BufferedConsumer(consumer=vendor), registry)
    mp.track("user-1", "Paid")
    registry.deny("user-1")
    mp.flush()
    assert mp.stats() == {"dropped": {"withdrawn": 1}}


def test_what_is_purged_is_counted_once(vendor, registry):
    mp = client(BufferedConsumer(consumer=vendor), registry)
    mp.track("user-1", "Paid")
    mp.withdraw("user-1")
    assert mp.stats() == {"dropped": {"withdrawn": 1}}


def test_a_background_queue_counts_alike(vendor, registry):
    with BackgroundConsumer(consumer=vendor) as consumer:
        mp = client(consumer, registry)
        for _ in range(40):
            mp.track("user-1", "Paid")
        mp.flush()
        assert mp.stats() == {"sent": {"consent_granted": 40}}


def test_what_the_process_leaves_behind_is_counted_as_dropped(vendor, registry):
    vendor.error = OSError()
    consumer = BackgroundConsumer(consumer=vendor, linger=30)
    mp = client(consumer, registry)
    mp.track("user-1", "Paid")
    with pytest.raises(MixpanelException):
        consumer.close(timeout=0.01)
    assert sum(sum(counts.values()) for counts in mp.stats().values()) == 1


def test_a_consumer_that_keeps_nothing_has_sent(registry):
    mp = client(FakeTransport(), registry)
    mp.track("user-1", "Paid")
    assert mp.stats() == {"sent": {"consent_granted": 1}}


@pytest.mark.filterwarnings("ignore")
def test_a_buffer_of_somebody_else_tells_nobody(registry):
    mp = client(mixpanel.BufferedConsumer(), registry)
    mp.track("user-1", "Paid")
    assert mp.stats() == {"sent": {"consent_granted": 1}}


def test_the_counts_of_many_threads_add_up(vendor, registry):
    mp = client(BufferedConsumer(7, consumer=vendor), registry)

    def work(number: int) -> None:
        for turn in range(100):
            mp.track("user-1" if turn % 2 else f"user-{number + 2}", "Paid", {"plan": "pro"})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mp.flush()
    assert mp.stats() == {"sent": {"consent_granted": 400}, "dropped": {"no_consent": 400}}


def test_what_a_buffer_kept_although_the_call_raised_is_counted_in_the_end(vendor, registry):
    mp = client(BufferedConsumer(2, consumer=vendor), registry)
    vendor.error = OSError()
    mp.track("user-1", "Paid")
    with pytest.raises(MixpanelException):
        mp.track("user-1", "Paid")
    vendor.error = None
    mp.flush()
    assert mp.stats() == {"sent": {"consent_granted": 2}}


def test_what_a_buffer_kept_although_the_call_raised_is_told_when_it_is_discarded(vendor, registry):
    told = []
    policy = FieldPolicy(events={"plan": keep()})
    mp = Mixpanel(
        "TOKEN", BufferedConsumer(1, consumer=vendor), registry=registry, policy=policy, observers=[told.append]
    )
    vendor.error = OSError()
    with pytest.raises(MixpanelException):
        mp.track("user-1", "Paid")
    registry.deny("user-1")
    mp.flush()
    assert mp.stats() == {"dropped": {"withdrawn": 1}}
    assert [decision.reason for decision in told] == ["withdrawn"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_the_child_of_a_fork_has_nothing_queued(vendor, registry):
    mp = client(BufferedConsumer(consumer=vendor), registry)
    mp.track("user-1", "Paid")
    mp._guard.reporter._lock.acquire()
    child = os.fork()
    if child == 0:
        found = []
        thread = threading.Thread(target=lambda: found.append(mp.stats()), daemon=True)
        thread.start()
        thread.join(5)
        os._exit(0 if found == [{}] else 1)
    mp._guard.reporter._lock.release()
    assert os.waitpid(child, 0)[1] == 0
    assert mp.stats() == {"queued": {"consent_granted": 1}}
