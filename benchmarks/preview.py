"""How many records a second `preview` judges, in one process and in several.

Runs of all cases are interleaved, so that a slow moment of the machine meets them all; told are the median of the runs, and the
time of the processor for each record, which a busy machine changes less. What a run takes for no record at all is taken off.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.guarded_vs_raw import PROPERTIES

#: Records a second in two processes that the project aims at.
GOAL = 20_000
_POLICIES = """
from consentpanel import FieldPolicy, generalize, keep, mask
KEPT = {rules}
PLAIN = FieldPolicy(events=KEPT)
ACTING = FieldPolicy(events={{**KEPT, "email": mask(), "total": generalize(bucket=10)}})
"""


def record(number: int, chance: random.Random) -> str:
    """A line of the vendor's raw export: 12 usual properties, those of the vendor's own, and three that are personal."""
    said = {
        **PROPERTIES,
        "total": round(chance.random() * 500, 2),
        "page": f"/orders/{chance.randrange(1000)}",
        "email": f"ada{number}@mail.example",
        "note": "call me",
        "$city": "Berlin",
        "mp_country_code": "DE",
        "time": 1_700_000_000 + number,
        "distinct_id": f"user-{chance.randrange(5000)}",
        "$insert_id": f"{chance.getrandbits(128):032x}",
        "mp_lib": "python",
        "$lib_version": "5.1.0",
    }
    return json.dumps({"event": chance.choice(["Paid", "Viewed", "Signed up"]), "properties": said})


def seconds(folder: Path, policy: str, jobs: int, file: str) -> tuple[float, float]:
    """How long a run takes, by the clock and of the processor."""
    command = [sys.executable, "-m", "consentpanel", "preview", "--policy", f"policies:{policy}", "--jobs", str(jobs)]
    before, start = os.times(), perf_counter()
    subprocess.run([*command, "--json", file], cwd=folder, check=False, capture_output=True)
    elapsed, after = perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return elapsed, used


def main() -> int:
    """Measure, and print a table.

    Returns:
        The exit code: 0.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    cases = [(policy, jobs) for policy in ("PLAIN", "ACTING") for jobs in (1, arguments.jobs)]
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rules = "".join(f"{each!r}: keep(), " for each in PROPERTIES)
        (folder / "policies.py").write_text(_POLICIES.format(rules=f"{{{rules}}}"))
        chance = random.Random(1)  # noqa: S311 - no secret
        lines = [record(number, chance) for number in range(arguments.records)]
        (folder / "records").write_text("\n".join(lines))
        (folder / "one").write_text(lines[0])
        for _ in range(arguments.rounds):
            for case in cases:
                idle = seconds(folder, *case, "one")
                whole = seconds(folder, *case, "records")
                taken[case].append((whole[0] - idle[0], whole[1] - idle[1]))
    print(
        f"{'policy':8} {'jobs':>5} {'records/s':>10} {'us of processor':>16}   goal for {arguments.jobs} jobs: {GOAL:,}"
    )
    for (policy, jobs), runs in taken.items():
        clock, used = (statistics.median(each) for each in zip(*runs, strict=True))
        per_second, each = arguments.records / clock, used / arguments.records * 1e6
        print(f"{policy.lower():8} {jobs:5} {per_second:10,.0f} {each:16,.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
