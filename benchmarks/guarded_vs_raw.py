"""What the guard costs: the guarded client's time over the vendor's, for the same calls, in one run.

Both clients write to a transport that does nothing. Rounds of all cases are interleaved, so that a slow moment of the
machine meets them all, and a ratio is the median of the rounds' own ratios.

Warm: every call is about one person, and the registry has been asked about that person before.
Cold: every call is about another person, and registry and client are new in each round; for SQLite that means a new
connection to a file in which everybody's consent stands already. Cached: SQLite behind a `CachedRegistry`.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import attrs
import mixpanel

import consentpanel
from consentpanel.registry import CachedRegistry, ConsentRegistry, MemoryRegistry, SQLiteRegistry

PROPERTIES: dict[str, Any] = {
    "plan": "pro",
    "page": "/orders/overview",
    "referrer_host": "search.example",
    "language": "de",
    "currency": "EUR",
    "total": 129.95,
    "items": 3,
    "is_first_order": False,
    "coupon": "WELCOME",
    "payment": "invoice",
    "delivery": "parcel",
    "experiment": "checkout-b",
}
KEEP_LIST = dict.fromkeys(PROPERTIES, consentpanel.keep())
PERSON = "user-0"

Call = Callable[[str], object]


class NullTransport:
    """A consumer that throws away what it is given."""

    def send(self, endpoint: str, json_message: str, api_key: object = None, api_secret: object = None) -> None:
        """Take a message as the vendor's `Consumer` does, and do nothing."""


@attrs.frozen
class Case:
    """One line of the table: how to build the guarded call and the raw one.

    Attributes:
        name: What is measured.
        method: ``"track"`` or ``"people_set"``.
        registry: Makes the registry that the guarded client asks.
        cold: Whether each call is about another person and each round has a new registry.
        goal: The highest ratio that the project accepts, where it has set one.
    """

    name: str
    method: str
    registry: Callable[[], ConsentRegistry]
    cold: bool
    goal: float | None = None

    def guarded(self) -> Call:
        """A call of a guarded client of its own."""
        policy = consentpanel.FieldPolicy(events=KEEP_LIST, people=KEEP_LIST)
        return self._call(
            consentpanel.Mixpanel("PROJECT_TOKEN", NullTransport(), registry=self.registry(), policy=policy)
        )

    def raw(self) -> Call:
        """The same call of the vendor's client."""
        return self._call(mixpanel.Mixpanel("PROJECT_TOKEN", NullTransport()))

    def _call(self, client: Any) -> Call:
        if self.method == "track":
            track = client.track
            return lambda subject_id: track(subject_id, "Ordered", PROPERTIES)
        people_set = client.people_set
        return lambda subject_id: people_set(subject_id, PROPERTIES)


def cases(directory: Path, subject_ids: Sequence[str]) -> Iterator[Case]:
    """Every case, with its registries already filled."""
    path = directory / "consent.db"
    with_consent = SQLiteRegistry(path)
    for subject_id in subject_ids:
        with_consent.grant(subject_id)
    nobody = directory / "nobody.db"
    SQLiteRegistry(nobody)

    def granted() -> MemoryRegistry:
        registry = MemoryRegistry()
        for subject_id in subject_ids:
            registry.grant(subject_id)
        return registry

    for cold in (False, True):
        look_up = "cold" if cold else "warm"
        for store, consenting, empty in (
            ("memory", granted, MemoryRegistry),
            ("SQLite", lambda: SQLiteRegistry(path), lambda: SQLiteRegistry(nobody)),
            (
                "cached",
                lambda: CachedRegistry(SQLiteRegistry(path), ttl=60),
                lambda: CachedRegistry(SQLiteRegistry(nobody), ttl=60),
            ),
        ):
            in_memory = store == "memory"
            yield Case(f"track, sent, {store}, {look_up}", "track", consenting, cold, 1.5 if in_memory else None)
            yield Case(f"track, dropped, {store}, {look_up}", "track", empty, cold, 0.1)
            yield Case(
                f"people_set, sent, {store}, {look_up}", "people_set", consenting, cold, 1.1 if in_memory else None
            )


def seconds(call: Call, subject_ids: Sequence[str]) -> float:
    """The time of one call for each subject, with the garbage collector out of the way."""
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        for subject_id in subject_ids:
            call(subject_id)
        return perf_counter() - start
    finally:
        gc.enable()


def measure(all_cases: Sequence[Case], people: Sequence[str], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of (raw, guarded) by case and round."""
    times: dict[str, list[tuple[float, float]]] = {case.name: [] for case in all_cases}
    warm = {case.name: (case.raw(), case.guarded()) for case in all_cases if not case.cold}
    for raw, guarded in warm.values():
        raw(PERSON)
        guarded(PERSON)
    for number in range(rounds):
        for case in all_cases:
            raw, guarded = (case.raw(), case.guarded()) if case.cold else warm[case.name]
            subject_ids = people if case.cold else [PERSON] * len(people)
            # The first of a pair pays for cold caches of the processor, so they take turns.
            if number % 2:
                guarded_time = seconds(guarded, subject_ids)
                raw_time = seconds(raw, subject_ids)
            else:
                raw_time = seconds(raw, subject_ids)
                guarded_time = seconds(guarded, subject_ids)
            times[case.name].append((raw_time, guarded_time))
    return times


def import_seconds(module: str) -> float:
    """The time until a new interpreter has the client class of a package, whose names may be loaded at first use."""
    code = f"from time import perf_counter as now; start = now(); from {module} import Mixpanel; print(now() - start)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def import_milliseconds(repeats: int) -> tuple[float, float]:
    """Median milliseconds to import (`mixpanel`, `consentpanel`), in interleaved new interpreters."""
    for module in ("mixpanel", "consentpanel"):
        import_seconds(module)  # writes the byte code, which the measured ones then read
    pairs = [(import_seconds("mixpanel"), import_seconds("consentpanel")) for _ in range(repeats)]
    raw, guarded = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
    return raw, guarded


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table of ratios.

    Args:
        arguments: The command line; that of the process when left out.

    Returns:
        The exit code: 0. Times depend on the machine, so a missed goal is printed and is no failure.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--rounds", type=int, default=21, help="rounds of each case (default 21)")
    parser.add_argument("--calls", type=int, default=300, help="calls in a round (default 300)")
    parser.add_argument("--imports", type=int, default=15, help="interpreters for each import (default 15)")
    options = parser.parse_args(arguments)

    people = [f"user-{number}" for number in range(options.calls)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        all_cases = list(cases(Path(directory), people))
        times = measure(all_cases, people, options.rounds)

    print(f"Python {sys.version.split()[0]}, mixpanel {mixpanel.__version__}, {len(PROPERTIES)} properties,")
    print(f"medians of {options.rounds} rounds of {options.calls} calls; null transport\n")
    print(f"{'case':34} {'raw us':>8} {'guarded us':>11} {'ratio':>7} {'goal':>6}")
    for case in all_cases:
        raw = statistics.median(pair[0] for pair in times[case.name])
        guarded = statistics.median(pair[1] for pair in times[case.name])
        ratio = statistics.median(pair[1] / pair[0] for pair in times[case.name])
        goal = "" if case.goal is None else f"{case.goal:.1f}"
        microseconds = 1e6 / options.calls
        print(f"{case.name:34} {raw * microseconds:8.1f} {guarded * microseconds:11.1f} {ratio:7.3f} {goal:>6}")
    raw_import, guarded_import = import_milliseconds(options.imports)
    print(f"\nimport, median of {options.imports} new interpreters:")
    print(f"mixpanel {raw_import:.1f} ms, consentpanel {guarded_import:.1f} ms,", end=" ")
    print(f"difference {guarded_import - raw_import:.1f} ms (goal 10)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
