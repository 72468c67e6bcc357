"""What a message costs in a transaction, and how many are delivered a second by several workers.

    python -m benchmarks.outbox --messages 10000 --workers 1 2 8

The servers are Debian's, on this machine, with nothing synchronised to the disk; the vendor is a server on loopback that takes everything.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, Table, create_engine, insert

from benchmarks.registries import services
from consentpanel import FieldPolicy, Mixpanel, SpoolConsumer, SQLAlchemyOutbox
from consentpanel.testing._loopback import LoopbackServer, reply

_ORDERS = Table("orders", MetaData(), Column("number", Integer, primary_key=True))


def main() -> None:
    """Measures each database."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8])
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = services()
        urls = {name: stack.enter_context(getattr(servers, name)()).url for name in ("postgresql", "mariadb")}
        for name, url in urls.items():
            _costs(name, url, folder)
            for workers in arguments.workers:
                _delivers(name, url, arguments.messages, workers)


def _costs(name: str, url: str, folder: Path) -> None:
    engine = create_engine(url)
    _ORDERS.create(engine)
    outbox = SQLAlchemyOutbox(engine, consumer=_Sink(), linger=600)
    outbox.create_tables()
    mp = _client(outbox)
    spooled = _client(SpoolConsumer(folder / f"{name}.db", consumer=_Sink(), linger=600))

    def order() -> None:
        with engine.begin() as connection:
            connection.execute(insert(_ORDERS))

    def order_and_track() -> None:
        with engine.begin() as connection:
            connection.execute(insert(_ORDERS))
            mp.track("user-1", "Bought", {"plan": "pro"})

    def order_and_spool() -> None:
        with engine.begin() as connection:
            connection.execute(insert(_ORDERS))
            spooled.track("user-1", "Bought", {"plan": "pro"})

    alone, with_outbox, with_spool = _medians(order, order_and_track, order_and_spool)
    print(
        f"{name:12} a transaction with one insert {alone:.0f} us; with a message in the outbox {with_outbox:.0f} us"
        f" ({with_outbox / alone:.2f}); with one in a spool {with_spool:.0f} us ({with_spool / alone:.2f})",
        flush=True,
    )
    outbox.purge("user-1")
    engine.dispose()


def _medians(*uses: Callable[[], None]) -> list[float]:
    """Microseconds of each, in turns."""
    times: list[list[float]] = [[] for _ in uses]
    for _ in range(500):
        for use, mine in zip(uses, times, strict=True):
            start = time.perf_counter()
            use()
            mine.append(time.perf_counter() - start)
    return [statistics.median(mine[50:]) * 1e6 for mine in times]


def _delivers(name: str, url: str, messages: int, workers: int) -> None:
    taken = 0

    def take(request: Any) -> None:
        nonlocal taken
        body = request.rfile.read(int(request.headers["Content-Length"]))
        taken += body.count(b"Bought")
        reply(request, 200, {"status": 1, "error": None}, {})

    vendor = LoopbackServer(take)
    writer = SQLAlchemyOutbox(url, consumer=_Sink(), connections=0)
    mp = _client(writer)
    for number in range(messages):
        mp.track(f"user-{number % 1000}", "Bought")
    start = multiprocessing.get_context("spawn")
    several = [start.Process(target=_work, args=(url, vendor.urls), daemon=True) for _ in range(workers)]
    for each in several:
        each.start()
    while not taken:
        time.sleep(0.001)
    begun, first = time.monotonic(), taken
    while writer.waiting and time.monotonic() - begun < 300:
        time.sleep(0.02)
    took = time.monotonic() - begun
    for each in several:
        each.kill()
        each.join()
    vendor.close()
    print(
        f"{name:12} {workers} workers deliver {(messages - first) / took:,.0f} messages/s; the vendor got {taken:,} of {messages:,}",
        flush=True,
    )


def _work(url: str, urls: dict[str, str]) -> None:
    client = _client(SQLAlchemyOutbox(url, linger=0.01, max_size=200, **urls))  # type: ignore[arg-type]
    time.sleep(600)
    del client  # without one nobody delivers


def _client(consumer: Any) -> Mixpanel:
    return Mixpanel("T", consumer, registry=_allow, policy=FieldPolicy.keep_all())


def _allow(_: str, __: str) -> bool:
    return True


class _Sink:
    def send(self, endpoint: str, json_message: str) -> None:
        """Takes everything."""


if __name__ == "__main__":
    main()
