"""How cost grows: microseconds of a guarded `track` by number of properties, by depth and by length, and memory.

Linear cost shows as a constant time for each property, level or byte.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import consentpanel
from benchmarks.guarded_vs_raw import PERSON, NullTransport
from consentpanel.registry import MemoryRegistry


def client() -> consentpanel.Mixpanel:
    """A client that keeps everything below ``p``, so that every value is walked."""
    registry = MemoryRegistry()
    registry.grant(PERSON)
    names = {f"p{number}": consentpanel.keep(deep=True) for number in range(240)}
    policy = consentpanel.FieldPolicy(events={"p": consentpanel.keep(deep=True), **names})
    return consentpanel.Mixpanel("T", NullTransport(), registry=registry, policy=policy)


def deep(levels: int) -> Any:
    """A value of so many levels."""
    value: Any = "leaf"
    for _ in range(levels):
        value = {"k": value}
    return value


def sizes() -> Iterator[tuple[str, int, dict[str, Any]]]:
    """What is varied, how much of it, and the properties."""
    for count in (15, 30, 60, 120, 240):
        yield "properties", count, {f"p{number}": ["x"] for number in range(count)}
    for levels in (4, 8, 16, 30):
        yield "levels", levels, {"p": deep(levels)}
    for length in (10_000, 100_000, 1_000_000, 10_000_000):
        yield "bytes", length, {"p": ["x" * 100] * (length // 100)}


def main() -> int:
    """Measure, and print a table.

    Returns:
        The exit code: 0.
    """
    mp = client()
    print(f"{'what grows':12} {'to':>12} {'us':>12} {'ns for each':>12}  outcome")
    for what, amount, properties in sizes():
        decision = mp.track(PERSON, "E", properties)
        best = float("inf")
        for _ in range(7):
            start = perf_counter()
            mp.track(PERSON, "E", properties)
            best = min(best, perf_counter() - start)
        print(f"{what:12} {amount:12,} {best * 1e6:12,.1f} {best / amount * 1e9:12,.0f}  {decision.outcome}")
    tracemalloc.start()
    registry = MemoryRegistry()
    for number in range(100_000):
        registry.grant(f"user-{number}", "analytics")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f"\nMemoryRegistry: {used / 100_000:,.0f} bytes for each person and purpose, {used * 10 / 2**20:,.0f} MiB a million"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
