"""What a million people cost: the time of `SQLiteRegistry.status` at 1,000,000 subjects over that at 1,000.

Rounds of both files are interleaved, so that a slow moment of the machine meets both, and the ratio is the median of
the rounds' own ratios. Every round asks about the same people of a file, chosen at random and asked once before.
"""

from __future__ import annotations

import argparse
import gc
import random
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from consentpanel import ConsentRecord, ConsentStatus, Purpose
from consentpanel.registry import SQLiteRegistry

GOAL = 1.5
FEW = 1_000
CHUNK = 10_000


def filled(path: Path, subjects: int) -> SQLiteRegistry:
    """A registry in which so many people have consented, one record each."""
    registry = SQLiteRegistry(path)
    for first in range(0, subjects, CHUNK):
        numbers = range(first, min(first + CHUNK, subjects))
        registry._append(  # noqa: SLF001 - a million calls of `record` would each wait for the disk
            [ConsentRecord(subject(number), Purpose.ANALYTICS, ConsentStatus.GRANTED) for number in numbers]
        )
    return registry


def subject(number: int) -> str:
    """An id whose order is not the order of writing, as ids of real people are."""
    return f"user-{number * 2_654_435_761 % 2**32:08x}"


def seconds(registry: SQLiteRegistry, subject_ids: Sequence[str]) -> float:
    """The time to ask about everybody, with the garbage collector out of the way."""
    status = registry.status
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        for subject_id in subject_ids:
            status(subject_id, Purpose.ANALYTICS)
        return perf_counter() - start
    finally:
        gc.enable()


def measure(
    few: SQLiteRegistry, many: SQLiteRegistry, subjects: int, calls: int, rounds: int
) -> list[tuple[float, float]]:
    """Seconds of (few, many) by round."""
    chance = random.Random(1)  # noqa: S311 - the same people in every run
    among_few = [subject(chance.randrange(FEW)) for _ in range(calls)]
    among_many = [subject(chance.randrange(subjects)) for _ in range(calls)]
    seconds(few, among_few)
    seconds(many, among_many)
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        # The first of a pair pays for cold caches of the processor, so they take turns.
        if number % 2:
            many_time = seconds(many, among_many)
            few_time = seconds(few, among_few)
        else:
            few_time = seconds(few, among_few)
            many_time = seconds(many, among_many)
        times.append((few_time, many_time))
    return times


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the ratio.

    Args:
        arguments: The command line; that of the process when left out.

    Returns:
        The exit code: 0. Times depend on the machine, so a missed goal is printed and is no failure.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.registry_scale", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--subjects", type=int, default=1_000_000, help="people in the large file (default 1,000,000)")
    parser.add_argument("--calls", type=int, default=1_000, help="calls in a round (default 1000)")
    parser.add_argument("--rounds", type=int, default=21, help="rounds (default 21)")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        start = perf_counter()
        with (
            filled(Path(directory) / "few.db", FEW) as few,
            filled(Path(directory) / "many.db", options.subjects) as many,
        ):
            loaded = perf_counter() - start
            megabytes = (Path(directory) / "many.db").stat().st_size / 1e6
            times = measure(few, many, options.subjects, options.calls, options.rounds)

    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    print(
        f"medians of {options.rounds} rounds of {options.calls} calls; loaded in {loaded:.0f} s, {megabytes:.0f} MB\n"
    )
    few_us, many_us = (1e6 * statistics.median(column) / options.calls for column in zip(*times, strict=True))
    ratio = statistics.median(pair[1] / pair[0] for pair in times)
    print(f"status among {FEW:,}: {few_us:.1f} us")
    print(f"status among {options.subjects:,}: {many_us:.1f} us")
    print(f"ratio {ratio:.3f} (goal {GOAL})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
