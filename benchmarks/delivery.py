"""Messages a second to a server on loopback, beside the vendor's consumers and `mixpanel-py-async`, in one run.

Each consumer gets the same prepared messages, and the clock stops when the server has all of them. Rounds are
interleaved. A call's time while the vendor is stalled is measured against the same call to a transport that does nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter, sleep
from typing import Any

import mixpanel

import consentpanel
from benchmarks.guarded_vs_raw import KEEP_LIST, PERSON, PROPERTIES, NullTransport
from consentpanel.registry import MemoryRegistry


class Server:
    """Accepts every batch, counts its records by their number, and can be told to stall."""

    def __init__(self, latency: float = 0.0) -> None:
        self.records = 0
        self.lock = threading.Lock()
        self.open = threading.Event()
        self.open.set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # one packet an answer, or Nagle's algorithm would be measured

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.open.wait(60)
                sleep(latency)
                with server.lock:
                    server.records += body.count(b"insert_id")
                answer = b'{"status": 1, "error": null}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        root = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.urls: dict[str, Any] = {
            "events_url": f"{root}/track",
            "people_url": f"{root}/engage",
            "import_url": f"{root}/import",
        }

    def wait_for(self, records: int) -> None:
        end = perf_counter() + 30
        while self.records < records:
            if perf_counter() > end:
                raise TimeoutError(f"{records - self.records} messages never arrived")
            sleep(0.001)


def consumers(urls: dict[str, Any]) -> dict[str, tuple[Callable[[], Any], int]]:
    """Each consumer by name: how to make it, and the share of the messages that it is given (the slow get fewer)."""
    found: dict[str, tuple[Callable[[], Any], int]] = {
        "mixpanel.Consumer": (lambda: mixpanel.Consumer(**urls), 20),
        "mixpanel.BufferedConsumer (50)": (lambda: mixpanel.BufferedConsumer(50, **urls), 1),
        "consentpanel.BufferedConsumer (50)": (lambda: consentpanel.BufferedConsumer(50, **urls), 1),
        "consentpanel.BufferedConsumer (500)": (lambda: consentpanel.BufferedConsumer(500, **urls), 1),
        "consentpanel.BufferedConsumer (2,000)": (lambda: consentpanel.BufferedConsumer(2_000, **urls), 1),
        "consentpanel.BackgroundConsumer (2,000)": (
            lambda: consentpanel.BackgroundConsumer(2_000, **urls, max_queued=1_000_000),
            1,
        ),
    }
    found["consentpanel.SpoolConsumer (500)"] = (
        lambda: consentpanel.SpoolConsumer(Path(mkdtemp()) / "spool.db", 500, **urls, flush_timeout=30),
        1,
    )
    try:
        from mixpanel_async import AsyncBufferedConsumer  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return found
    found["mixpanel_async.AsyncBufferedConsumer"] = (
        lambda: AsyncBufferedConsumer(events_url=urls["events_url"], people_url=urls["people_url"]),
        1,
    )
    return found


def rate(server: Server, make: Callable[[], Any], messages: Sequence[str]) -> float:
    """Messages a second until the server has all of them."""
    consumer = make()
    server.records = 0
    start = perf_counter()
    for message in messages:
        consumer.send("events", message)
    if hasattr(consumer, "flushing_thread"):
        consumer.flush(async_=False)
    elif hasattr(consumer, "flush"):
        consumer.flush()
    server.wait_for(len(messages))
    elapsed = perf_counter() - start
    if hasattr(consumer, "close"):
        consumer.close()
    return len(messages) / elapsed


def stalled(server: Server, calls: int) -> list[float]:
    """Microseconds of a `track` into nothing, and into threaded consumers whose vendor does not answer."""
    registry = MemoryRegistry()
    registry.grant(PERSON)
    policy = consentpanel.FieldPolicy(events=KEEP_LIST)
    background = consentpanel.BackgroundConsumer(50, **server.urls, max_queued=calls * 10, exit_timeout=30)
    spool = consentpanel.SpoolConsumer(Path(mkdtemp()) / "spool.db", 50, **server.urls, exit_timeout=30)
    times = []
    for consumer in (NullTransport(), background, spool):
        mp = consentpanel.Mixpanel("T", consumer, registry=registry, policy=policy)
        mp.track(PERSON, "Ordered", PROPERTIES)
        server.open.clear()
        rounds = []
        for _ in range(5):
            start = perf_counter()
            for _ in range(calls):
                mp.track(PERSON, "Ordered", PROPERTIES)
            rounds.append((perf_counter() - start) / calls * 1e6)
        server.open.set()
        times.append(statistics.median(rounds))
    background.close()
    spool.close()
    return times


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table.

    Returns:
        The exit code: 0. Rates depend on the machine, so a missed goal is printed and is no failure.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds that the server takes for an answer")
    options = parser.parse_args(arguments)
    record = {"event": "Ordered", "properties": {"token": "T", "distinct_id": PERSON, "$insert_id": "", **PROPERTIES}}
    messages = []
    for number in range(options.messages):
        record["properties"]["$insert_id"] = f"{number:032x}"  # type: ignore[index]
        messages.append(json.dumps(record, separators=(",", ":")))
    server = Server(options.latency / 1000)
    cases = consumers(server.urls)
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, (make, share) in cases.items():
            rates[name].append(rate(server, make, messages[: options.messages // share]))
    base = statistics.median(rates["mixpanel.BufferedConsumer (50)"])
    print(f"{options.messages} messages of {len(messages[0])} bytes, {options.latency:g} ms for an answer,", end=" ")
    print(f"medians of {options.rounds} rounds\n")
    print(f"{'consumer':42} {'messages/s':>10} {'ratio':>7}")
    for name, values in rates.items():
        print(f"{name:42} {statistics.median(values):10,.0f} {statistics.median(values) / base:7.2f}")
    null, background, spool = stalled(server, 2_000)
    print(
        f"\ntrack, null transport {null:.1f} us; BackgroundConsumer while the vendor is stalled {background:.1f} us:",
        end=" ",
    )
    print(f"ratio {background / null:.2f} (goal 2)")
    print(f"SpoolConsumer {spool:.1f} us, ratio to BackgroundConsumer {spool / background:.2f} (goal 3)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
