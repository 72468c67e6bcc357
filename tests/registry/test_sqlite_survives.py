"""What `SQLiteRegistry` has acknowledged is there: after a kill at any moment, and with a clock that goes backwards."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from consentpanel import ConfigurationError, ConsentStatus, RegistryError
from consentpanel._consent import records as consent_module
from consentpanel.registry import MemoryRegistry, SQLiteRegistry

KILLS = 200
WRITER = """
import sys
import threading
from consentpanel.registry import SQLiteRegistry
registry = SQLiteRegistry(sys.argv[1])
first = int(sys.argv[2])
for number in range(first, first + 10_000):
    registry.grant(f"user-{number}", "analytics")
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_every_acknowledged_record_is_there_after_200_kills(tmp_path: Path) -> None:
    # rule 2.4: durable before `grant` returns
    path = tmp_path / "consent.db"
    chance = random.Random(7)
    acknowledged: set[int] = set()
    # Whoever is killed has no coverage to tell, and would take most of the time to start measuring.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    for turn in range(KILLS):
        command = [sys.executable, "-c", WRITER, str(path), str(turn * 10_000)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        assert child.stdout
        acknowledged.add(int(child.stdout.readline()))
        time.sleep(chance.uniform(0, 0.01))
        child.kill()
        rest, _ = child.communicate()
        # The last line may be cut by the kill.
        acknowledged |= {int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")}
    with SQLiteRegistry(path) as registry:
        missing = [
            number
            for number in acknowledged
            if registry.status(f"user-{number}", "analytics") is not ConsentStatus.GRANTED
        ]
    assert len(acknowledged) >= KILLS
    assert missing == []


@pytest.mark.parametrize("kind", ["memory", "SQLite"])
def test_a_clock_that_goes_backwards_does_not_let_a_grant_outlive_a_denial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # rule 2.4
    registry = MemoryRegistry() if kind == "memory" else SQLiteRegistry(tmp_path / "consent.db")
    registry.grant("user-1")
    hour_ago = datetime.now(timezone.utc) - timedelta(hours=1)
    monkeypatch.setattr(consent_module, "now", lambda: hour_ago)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("consentpanel") and hasattr(module, "now"):
            monkeypatch.setattr(module, "now", lambda: hour_ago)
    registry.deny("user-1")
    assert registry.status("user-1", "analytics") is ConsentStatus.DENIED
    registry.grant("user-1")
    assert registry.status("user-1", "analytics") is ConsentStatus.GRANTED
    moments = [record.recorded_at for record in registry.history("user-1")]
    assert moments == sorted(moments)


def test_another_process_that_makes_the_file_delays_this_one_and_does_not_fail_it(tmp_path: Path) -> None:
    # Many workers start at once; SQLite's own waiting does not cover the switch to the write-ahead log.
    path = tmp_path / "consent.db"
    maker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    with pytest.raises(ConfigurationError, match="locked"):
        SQLiteRegistry(path, timeout=0.05)
    threading.Timer(0.3, lambda: maker.execute("ROLLBACK")).start()
    with SQLiteRegistry(path, timeout=30) as registry:
        registry.grant("user-1")
    maker.close()


# case: the file is moved while serving


def test_a_file_that_is_moved_away_is_written_to_no_more(tmp_path):
    path = tmp_path / "consent.db"
    with SQLiteRegistry(path) as registry:
        registry.grant("user-1")
        path.rename(tmp_path / "old.db")
        with pytest.raises(RegistryError, match="nothing is at its path"):
            registry.grant("user-2")
        with pytest.raises(RegistryError, match="nothing is at its path"):
            registry.status("user-1", "analytics")
        (tmp_path / "old.db").rename(path)
        assert registry.status("user-1", "analytics") is ConsentStatus.GRANTED


def test_a_file_that_takes_the_place_of_another_is_refused(tmp_path):
    path, other = tmp_path / "consent.db", tmp_path / "other.db"
    with SQLiteRegistry(other) as registry:
        registry.deny("user-1")
    with SQLiteRegistry(path) as registry:
        registry.grant("user-1")
        path.rename(tmp_path / "old.db")
        other.rename(path)
        with pytest.raises(RegistryError, match="was replaced"):
            registry.status("user-1", "analytics")
        with pytest.raises(RegistryError, match="was replaced"):
            registry.grant("user-2")


@pytest.mark.slow
def test_32_processes_that_write_all_do(tmp_path):
    # rule 2.4: a record is kept when the call returns
    path = tmp_path / "consent.db"
    SQLiteRegistry(path).close()
    code = (
        "import sys\nfrom consentpanel.registry import SQLiteRegistry\n"
        "registry = SQLiteRegistry(sys.argv[1])\n"
        "for number in range(10): registry.grant(f'{sys.argv[2]}-{number}', 'analytics')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(number)]) for number in range(32)]
    assert [writer.wait(120) for writer in writers] == [0] * 32
    with SQLiteRegistry(path) as registry:
        people = [f"{process}-{number}" for process in range(32) for number in range(10)]
        assert set(registry.statuses(people, "analytics").values()) == {ConsentStatus.GRANTED}
