"""How soon the caches of other processes hear of a withdrawal, by Redis and by PostgreSQL.

    python -m benchmarks.invalidation --processes 8 --rounds 50

Eight processes with a cache of an hour each ask about one person, every half a millisecond, while another one withdraws that person's
consent. The servers are Debian's, on this machine: a network comes on top.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.registries import services
from consentpanel import ConsentStatus
from consentpanel.registry import CachedRegistry, PostgresInvalidation, RedisInvalidation, SQLAlchemyRegistry

_EACH = 0.0005


def main() -> None:
    """Measures each channel."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=50)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        servers = services()
        database = stack.enter_context(servers.postgresql()).url
        channels = {"redis": stack.enter_context(servers.redis()), "postgresql": database}
        with SQLAlchemyRegistry(database) as registry:
            registry.create_tables()
        print(f"{'':12}{'median':>10}{'99 of 100':>12}{'worst':>10}{'seen':>8}")
        for name, channel in channels.items():
            delays = _measured(name, channel, database, arguments.processes, arguments.rounds)
            late = statistics.quantiles(delays, n=100)[98]
            print(
                f"{name:12}{statistics.median(delays):>7.1f} ms{late:>9.1f} ms{max(delays):>7.1f} ms{len(delays):>8}",
                flush=True,
            )


def _measured(name: str, channel: str, database: str, processes: int, rounds: int) -> list[float]:
    """Milliseconds from the call of `deny` to the first answer of each other process that denies."""
    start = multiprocessing.get_context("spawn")
    ends = [start.Pipe() for _ in range(processes)]
    others = [start.Process(target=_listen, args=(name, channel, database, each[1])) for each in ends]
    for other in others:
        other.start()
    registry = _cached(name, channel, database)
    delays = []
    for number in range(rounds):
        who = f"{name}-{number}"
        registry.grant(who, "analytics")
        for mine, _ in ends:
            mine.send(who)
        for mine, _ in ends:
            mine.recv()
        begun = time.monotonic()
        registry.deny(who, "analytics")
        delays += [(mine.recv() - begun) * 1000 for mine, _ in ends]
    for mine, _ in ends:
        mine.send(None)
    for other in others:
        other.join(30)
    return delays


def _listen(name: str, channel: str, database: str, parent: Connection) -> None:
    registry = _cached(name, channel, database)
    while (who := parent.recv()) is not None:
        while registry.status(who, "analytics") is not ConsentStatus.GRANTED:
            time.sleep(_EACH)
        parent.send(None)
        while registry.status(who, "analytics") is ConsentStatus.GRANTED:
            time.sleep(_EACH)
        parent.send(time.monotonic())


def _cached(name: str, channel: str, database: str) -> CachedRegistry:
    invalidation: Any
    if name == "redis":
        import redis

        invalidation = RedisInvalidation(redis.Redis.from_url(channel))
    else:
        invalidation = PostgresInvalidation(channel.replace("+psycopg", ""))
    return CachedRegistry(SQLAlchemyRegistry(database), ttl=3600, invalidation=invalidation)


if __name__ == "__main__":
    main()
