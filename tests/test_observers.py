"""Observers for Prometheus and OpenTelemetry (contract rule 11.5)."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from consentpanel import (
    AsyncMixpanel,
    BackgroundConsumer,
    BufferedConsumer,
    ConfigurationError,
    FieldPolicy,
    Mixpanel,
    SpoolConsumer,
    configure,
    keep,
)
from consentpanel.observers import opentelemetry, prometheus
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

DASHBOARD = Path(__file__).parents[1] / "examples" / "grafana" / "consentpanel.json"
SENT = {"outcome": "sent", "reason": "consent_granted", "endpoint": "events"}
DROPPED = {"outcome": "dropped", "reason": "no_consent", "endpoint": "events"}
WITHDRAWN = {**DROPPED, "reason": "withdrawn"}


@pytest.fixture
def metrics() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def people() -> MemoryRegistry:
    registry = MemoryRegistry()
    registry.grant("ann")
    return registry


@pytest.fixture
def client(metrics: CollectorRegistry, people: MemoryRegistry) -> Any:
    def build(consumer: Any = None, **keywords: Any) -> Mixpanel:
        given = {"registry": people, "policy": FieldPolicy(events={"plan": keep()}), "observers": [prometheus(metrics)]}
        return Mixpanel("TOKEN", FakeTransport() if consumer is None else consumer, **{**given, **keywords})

    return build


def messages(metrics: CollectorRegistry, labels: dict[str, str]) -> float | None:
    return metrics.get_sample_value("consentpanel_messages_total", labels)


def queue(metrics: CollectorRegistry) -> tuple[float | None, float]:
    """How many messages wait, and how long the oldest has."""
    age = metrics.get_sample_value("consentpanel_queue_age_seconds")
    assert age is not None
    return metrics.get_sample_value("consentpanel_queue_messages"), age


def test_prometheus_counts_messages_by_outcome_reason_and_endpoint(client, metrics):
    # rule 11.5
    mp = client()
    for who in ("ann", "ann", "bob"):
        mp.track(who, "Signed up")
    mp.people_set("bob", {"plan": "pro"})
    assert (messages(metrics, SENT), messages(metrics, DROPPED)) == (2, 1)
    assert messages(metrics, {**DROPPED, "endpoint": "people"}) == 1


def test_what_a_buffer_discards_later_counts_as_dropped_too(client, metrics, people):
    # rule 11.5
    mp = client(BufferedConsumer(consumer=FakeTransport()))
    mp.track("ann", "Signed up")
    people.deny("ann")
    mp.flush()
    assert (messages(metrics, SENT), messages(metrics, WITHDRAWN)) == (1, 1)


def test_a_metric_holds_no_id_and_no_name_of_an_event_or_a_property(client, metrics):
    # rule 11.5
    mp = client()
    for who in ("ann", "bob"):
        mp.track(who, "Bought shoes", {"plan": "pro", "colour": "blue"})
        mp.people_set(who, {"colour": "blue"})
    said = generate_latest(metrics).decode()
    assert not re.search("ann|bob|shoes|plan|pro|colour|blue|TOKEN", re.sub(r"(?m)^#.*$|process", "", said))


def test_labels_are_bounded_whatever_a_caller_makes_up(client, metrics):
    # rule 11.5
    mp = client()
    for number in range(50):
        mp._consumer.send(f"made-up-{number}", "{}")
        mp.track("bob", f"Event {number}")
    found = [sample for family in metrics.collect() for sample in family.samples if sample.name.endswith("_total")]
    assert {sample.labels["endpoint"] for sample in found} == {"unknown", "events"}


def test_the_time_of_each_look_up_is_told_whoever_asks(client, metrics, people):
    # rule 11.5: in the call by either way, and before a message leaves
    def slow(subject: str, purpose: str) -> bool:
        time.sleep(0.02)
        return True

    mp = client(BufferedConsumer(consumer=FakeTransport()), registry=slow)
    mp.track("ann", "Signed up")
    mp.track("ann", "Signed up", meta={"x": 1})
    mp.people_set("ann", {"plan": "pro"})
    asked = metrics.get_sample_value("consentpanel_lookup_seconds_count")
    assert asked == 3
    mp.flush()
    assert metrics.get_sample_value("consentpanel_lookup_seconds_count") > asked
    assert metrics.get_sample_value("consentpanel_lookup_seconds_sum") >= 0.08


def test_an_asynchronous_look_up_is_timed_with_its_wait(metrics):
    # rule 11.5
    async def consent_of(subject: str, purpose: str) -> bool:
        await asyncio.sleep(0.02)
        return True

    async def main() -> None:
        async with AsyncMixpanel("TOKEN", FakeTransport(), registry=consent_of, observers=[prometheus(metrics)]) as mp:
            await mp.track("ann", "Signed up")

    asyncio.run(main())
    assert metrics.get_sample_value("consentpanel_lookup_seconds_sum") >= 0.015


class Hanging:
    """A vendor that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()

    def send(self, endpoint: str, json_message: str, api_key: Any = None) -> None:
        self.may_answer.wait(30)


@pytest.mark.parametrize("kind", ["buffered", "background", "spool"])
def test_what_waits_and_since_when_is_measured_when_somebody_looks(tmp_path, client, metrics, kind):
    # rule 11.5
    vendor = Hanging()
    consumer: Any = {
        "buffered": lambda: BufferedConsumer(consumer=FakeTransport()),
        "background": lambda: BackgroundConsumer(consumer=vendor),
        "spool": lambda: SpoolConsumer(tmp_path / "spool.db", consumer=vendor),
    }[kind]()
    mp = client(consumer)
    for _ in range(3):
        mp.track("ann", "Signed up")
    time.sleep(0.05)
    waiting, age = queue(metrics)
    assert waiting == 3
    assert age > 0
    vendor.may_answer.set()
    mp.close()
    assert queue(metrics) == (0, 0)


def test_a_queue_that_two_clients_share_is_measured_once(client, metrics):
    # rule 11.5
    buffer = BufferedConsumer(consumer=FakeTransport())
    for mp in (client(buffer), client(buffer)):
        mp.track("ann", "Signed up")
    assert queue(metrics)[0] == 2


def test_queues_of_several_clients_add_up_and_the_oldest_message_counts(client, metrics):
    # rule 11.5
    first, second = (client(BufferedConsumer(consumer=FakeTransport())) for _ in range(2))
    first.track("ann", "Signed up")
    time.sleep(0.05)
    second.track("ann", "Signed up")
    waiting, age = queue(metrics)
    assert waiting == 2
    assert age >= 0.05


def test_a_consumer_that_is_assigned_later_is_measured_as_well(client, metrics):
    # rules 11.5 and 1.4
    mp = client()
    mp.track("ann", "Signed up")
    mp._consumer = BufferedConsumer(consumer=FakeTransport())
    mp.track("ann", "Signed up")
    assert queue(metrics)[0] == 1


def test_observers_of_configure_measure_a_client_that_came_before(metrics, people):
    # rules 11.5 and 1.2
    mp = Mixpanel("TOKEN", BufferedConsumer(consumer=FakeTransport()))
    configure(registry=people, policy=FieldPolicy(), observers=[prometheus(metrics)])
    mp.track("ann", "Signed up")
    assert queue(metrics)[0] == 1


def test_a_queue_that_cannot_be_measured_is_not_told_as_empty(client, metrics, tmp_path, monkeypatch):
    # rule 11.5
    consumer = SpoolConsumer(tmp_path / "spool.db", consumer=FakeTransport())
    with client(consumer) as mp:
        mp.track("ann", "Signed up")

    def fails() -> None:
        raise OSError

    monkeypatch.setattr(consumer._spool._store, "summary", fails)
    assert all(math.isnan(each or 0) for each in queue(metrics))
    consumer.close()


def test_one_registry_has_one_observer(metrics):
    # rule 11.5: a name is registered once, however many clients are built
    assert prometheus(metrics) is prometheus(metrics)
    assert prometheus(CollectorRegistry()) is not prometheus(metrics)


def test_a_name_that_somebody_else_has_taken_is_a_wrong_configuration(metrics):
    # rules 11.5 and 1.8
    Counter("consentpanel_messages", "Somebody else's.", registry=metrics)
    with pytest.raises(
        ConfigurationError, match=r"^registry has a metric of that name already: .*consentpanel_messages"
    ):
        prometheus(metrics)


def test_an_observer_that_fails_hurts_no_message(client, metrics, monkeypatch, caplog):
    # rules 11.5 and 4.3
    vendor = FakeTransport()
    mp = client(vendor)

    def fails(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(Counter, "labels", fails)
    assert mp.track("ann", "Signed up")
    monkeypatch.undo()
    assert mp.track("ann", "Signed up")
    assert len(vendor.events) == 2
    assert messages(metrics, SENT) == 1
    assert "observer failed: RuntimeError" in caplog.text


def test_each_method_of_an_observer_may_fail(client, people):
    # rules 11.5 and 4.3
    class Failing:
        def __call__(self, *_: Any) -> None:
            raise RuntimeError

        looked_up = watch = __call__

    vendor = FakeTransport()
    mp = client(BufferedConsumer(consumer=vendor), observers=[Failing()])
    assert mp.track("ann", "Signed up")
    mp.flush()
    assert len(vendor.events) == 1


def test_an_observer_of_ones_own_hears_of_look_ups_and_queues_by_having_the_methods(client):
    # rule 11.5: nothing has to be inherited
    class Own:
        def __init__(self) -> None:
            self.times: list[float] = []
            self.queues: list[Any] = []

        def __call__(self, decision: Any) -> None:
            """Counts nothing."""

        def looked_up(self, seconds: float) -> None:
            self.times.append(seconds)

        def watch(self, queue: Any) -> None:
            self.queues.append(queue)

    own = Own()
    mp = client(BufferedConsumer(consumer=FakeTransport()), observers=[own])
    for _ in range(2):
        mp.track("ann", "Signed up")
    (waits,) = own.queues
    assert (len(own.times), waits.measure()[0], waits.is_in_memory) == (2, 2, True)


def test_a_signal_handler_that_tracks_while_a_number_is_written_neither_waits_nor_is_lost(client, metrics, monkeypatch):
    # rules 11.5 and 8.5
    mp = client()
    inc, handled = Counter.inc, []

    def interrupted(self: Counter, *arguments: Any) -> None:
        with self._value._lock:  # as the library holds it
            if not handled:
                handled.append(mp.track("ann", "From a handler"))
        inc(self, *arguments)

    monkeypatch.setattr(Counter, "inc", interrupted)
    mp.track("ann", "Signed up")
    assert handled
    assert messages(metrics, SENT) == 2


def test_many_threads_lose_no_count(client, metrics):
    # rule 11.5
    mp = client()
    threads = [threading.Thread(target=lambda: [mp.track("ann", "E") for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert messages(metrics, SENT) == 1600


FORKS = """
import os, signal, threading, time
from prometheus_client import CollectorRegistry, Counter
from consentpanel import FieldPolicy, Mixpanel
from consentpanel.observers import prometheus
from consentpanel.testing import FakeTransport

observers = [prometheus(CollectorRegistry())]
mp = Mixpanel("T", FakeTransport(), registry=lambda *_: True, policy=FieldPolicy.keep_all(), observers=observers)
inc = Counter.inc

def slow(self, *arguments):
    with self._value._lock:  # as the library holds it, for longer
        time.sleep(0.02)
    inc(self, *arguments)

Counter.inc = slow
threading.Thread(target=lambda: [mp.track("ann", "E") for _ in iter(int, 1)], daemon=True).start()
for _ in range(10):
    if not (child := os.fork()):
        signal.alarm(10)
        mp.track("ann", "E")
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_child_of_a_fork_never_waits_for_a_number_that_a_thread_of_the_parent_was_writing():
    # rules 11.5 and 8.6
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == [b"0"] * 10


PROCESSES = """
import os, time
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from consentpanel import BufferedConsumer, FieldPolicy, Mixpanel
from consentpanel.observers import prometheus
from consentpanel.testing import FakeTransport

buffer = BufferedConsumer(consumer=FakeTransport())
mp = Mixpanel("T", buffer, registry=lambda *_: True, policy=FieldPolicy.keep_all(), observers=[prometheus(CollectorRegistry())])
mp.track("ann", "E")
for _ in range(2):
    if not os.fork():
        for _ in range(3):
            mp.track("ann", "E")
        os._exit(0)
    os.wait()
every = CollectorRegistry()
multiprocess.MultiProcessCollector(every)
for name in ("messages_total", "lookup_seconds_count"):
    print(sum(each.value for family in every.collect() for each in family.samples if each.name == "consentpanel_" + name))
print(sum("consentpanel_queue" in line for line in generate_latest(every).decode().splitlines() if line[0] != "#"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_in_the_multi_process_mode_what_each_process_has_counted_adds_up(tmp_path):
    # rule 11.5
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROCESSES], capture_output=True, env=env, timeout=60, check=True)
    assert done.stdout.split() == [b"7.0", b"7.0", b"2"]


@pytest.mark.parametrize(
    ("name", "extra", "library"),
    [
        ("prometheus", "prometheus", "prometheus-client"),
        ("opentelemetry", "opentelemetry", "opentelemetry-api"),
    ],
)
def test_without_the_library_the_error_names_the_extra(name, extra, library):
    # rule 11.5; and the package itself can be imported
    code = (
        "import sys; sys.modules['prometheus_client'] = sys.modules['opentelemetry'] = None\n"
        "import consentpanel, consentpanel.observers\n"
        f"try: consentpanel.observers.{name}\n"
        "except consentpanel.ConfigurationError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"consentpanel.observers.{name} needs {library}: pip install 'consentpanel[{extra}]'\n"


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


def told(reader: InMemoryMetricReader) -> dict[str, tuple[str, list[Any]]]:
    """The unit and the points of each metric."""
    found = reader.get_metrics_data()
    assert found is not None
    several = [each for one in found.resource_metrics for scope in one.scope_metrics for each in scope.metrics]
    return {each.name: (each.unit, list(each.data.data_points)) for each in several}


def test_opentelemetry_has_the_same_instruments_in_the_units_of_its_conventions(client, reader):
    # rule 11.5
    meter = MeterProvider([reader]).get_meter("shop")
    assert opentelemetry(meter) is opentelemetry(meter)
    mp = client(BufferedConsumer(consumer=FakeTransport()), observers=[opentelemetry(meter)])
    for who in ("ann", "bob"):
        mp.track(who, "Signed up")
    found = told(reader)
    assert {name: unit for name, (unit, _) in found.items()} == {
        "consentpanel.messages": "{message}",
        "consentpanel.queue.messages": "{message}",
        "consentpanel.queue.age": "s",
        "consentpanel.lookup.duration": "s",
    }
    counted = {tuple(point.attributes.items()): point.value for point in found["consentpanel.messages"][1]}
    named = [tuple((f"consentpanel.{name}", value) for name, value in each.items()) for each in (SENT, DROPPED)]
    assert counted == dict.fromkeys(named, 1)
    assert [point.value for point in found["consentpanel.queue.messages"][1]] == [1]
    (times,) = found["consentpanel.lookup.duration"][1]
    assert times.count == 2


def test_opentelemetry_tells_nothing_of_a_queue_that_cannot_be_measured(client, reader, tmp_path, monkeypatch):
    # rule 11.5
    consumer = SpoolConsumer(tmp_path / "spool.db", consumer=FakeTransport())
    with client(consumer, observers=[opentelemetry(MeterProvider([reader]).get_meter("shop"))]) as mp:
        mp.track("ann", "Signed up")

    def fails() -> None:
        raise OSError

    monkeypatch.setattr(consumer._spool._store, "summary", fails)
    assert "consentpanel.queue.age" not in told(reader)
    consumer.close()


def test_each_metric_of_the_dashboard_is_one_that_the_observer_exports(metrics, client):
    # rule 11.5
    client().track("ann", "Signed up")
    exported = {sample.name for family in metrics.collect() for sample in family.samples}
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    asked = re.findall(r"consentpanel_\w+", json.dumps(dashboard))
    assert set(asked) <= exported
    assert exported - set(asked) == {
        f"consentpanel_{each}"
        for each in ("messages_created", "lookup_seconds_count", "lookup_seconds_sum", "lookup_seconds_created")
    }


def test_the_dashboard_has_one_panel_each_that_fit_beside_each_other():
    # rule 11.5
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    panels = dashboard["panels"]
    titles = [
        "Messages by outcome",
        "Dropped by reason",
        "Queue length",
        "Age of the oldest message",
        "Look-up time, p95",
    ]
    assert [panel["title"] for panel in panels] == titles
    assert dashboard["schemaVersion"] >= 39
    assert len({panel["id"] for panel in panels}) == len(panels)
    squares = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(squares)) == len(squares) == 24 * 16
    assert all(
        target["expr"].count("(") == target["expr"].count(")") for panel in panels for target in panel["targets"]
    )


def test_threads_that_ask_at_the_same_time_get_one_observer() -> None:
    for _ in range(20):
        metrics = CollectorRegistry()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(prometheus, [metrics] * 8))
        assert len({id(each) for each in found}) == 1


def test_where_a_name_is_taken_nothing_is_left_behind() -> None:
    metrics = CollectorRegistry()
    theirs = Gauge("consentpanel_queue_age_seconds", "Theirs.", registry=metrics)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="consentpanel_queue_age_seconds"):
            prometheus(metrics)
    metrics.unregister(theirs)
    prometheus(metrics)
