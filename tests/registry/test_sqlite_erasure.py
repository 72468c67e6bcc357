"""What is forgotten is gone from every byte of the consent file, or it is said that it is not (rules 2.3 and 3.9)."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from consentpanel import ConsentRecord, ConsentStatus, InvalidRecordError, RegistryError, _sqlite, per_subject
from consentpanel.registry import CachedRegistry, SQLiteRegistry

WHO = "ada-lovelace"

READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT * FROM consent_record").fetchall()
print("reading", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "consent.db"


def seen_in(path: Path, text: str) -> list[str]:
    return [each.name for each in path.parent.iterdir() if text.encode() in each.read_bytes()]


@contextlib.contextmanager
def another_process(path: Path) -> Generator[Callable[[], None], None, None]:
    """A process that reads until it is told to stop, and then keeps the file open."""
    command = [sys.executable, "-c", READER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout
        assert stdout.readline() == "reading\n"

        def stop() -> None:
            stdin.write("\n")
            stdin.flush()
            assert stdout.readline() == "done\n"

        yield stop
        process.kill()


@contextlib.contextmanager
def another_thread(path: Path) -> Generator[Callable[[], None], None, None]:
    reading, stopping = threading.Event(), threading.Event()

    def read() -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT * FROM consent_record").fetchall()
            reading.set()
            stopping.wait(timeout=60)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=read)
    thread.start()
    assert reading.wait(timeout=60)

    def stop() -> None:
        stopping.set()
        thread.join()

    yield stop
    stop()


def forget_records(registry: SQLiteRegistry) -> None:
    registry.forget(WHO)


def forget_records_through_a_cache(registry: SQLiteRegistry) -> None:
    CachedRegistry(registry, ttl=60).forget(WHO)


def forget_salt(registry: SQLiteRegistry) -> None:
    per_subject(registry.salts).forget(WHO)


def delete_salt(registry: SQLiteRegistry) -> None:
    with contextlib.suppress(KeyError):
        del registry.salts[WHO]


forgets = pytest.mark.parametrize("forget", [forget_records, forget_records_through_a_cache, forget_salt, delete_salt])
readers = pytest.mark.parametrize("reader", [another_process, another_thread])


def fill(registry: SQLiteRegistry, forget: Any) -> None:
    if forget in {forget_salt, delete_salt}:
        per_subject(registry.salts).of(WHO, None)
    else:
        registry.grant(WHO, evidence={"who": WHO})


@forgets
def test_nothing_of_whom_was_forgotten_is_in_the_files(path: Path, forget: Any) -> None:
    # rule 3.9
    with SQLiteRegistry(path) as registry, contextlib.closing(sqlite3.connect(path)) as idle:
        idle.execute("SELECT count(*) FROM consent_record").fetchall()
        fill(registry, forget)
        assert seen_in(path, WHO) == [f"{path.name}-wal"]
        forget(registry)
        assert seen_in(path, WHO) == []


@readers
@forgets
def test_while_somebody_reads_it_says_that_the_bytes_are_still_there_and_finishes_at_its_next_use(
    path: Path, forget: Any, reader: Any
) -> None:
    # rule 3.9
    with SQLiteRegistry(path, timeout=0.05) as registry:
        fill(registry, forget)
        with reader(path) as stop:
            for _ in range(2):
                with pytest.raises(RegistryError, match="erased for everybody who asks; but somebody") as caught:
                    forget(registry)
                assert (caught.value.__context__, WHO in str(caught.value)) == (None, False)
                assert registry.history(WHO) == []
                assert WHO not in registry.salts
                assert seen_in(path, WHO) != []
            stop()
            registry.status("somebody", "analytics")
            assert seen_in(path, WHO) == []
            forget(registry)


@readers
def test_it_waits_for_a_reader_who_ends_within_the_timeout(path: Path, reader: Any) -> None:
    with SQLiteRegistry(path, timeout=60) as registry:
        registry.grant(WHO)
        with reader(path) as stop:
            timer = threading.Timer(0.2, stop)
            timer.start()
            assert registry.forget(WHO) == 3
            timer.join()
            assert seen_in(path, WHO) == []


def test_what_a_killed_process_left_in_the_log_is_emptied_when_the_file_is_opened(path: Path) -> None:
    code = (
        "import os, sys; from consentpanel.registry import SQLiteRegistry; registry = SQLiteRegistry(sys.argv[1]);"
        f"registry.grant({WHO!r});"
        "[registry._database.use(lambda c: c.execute('DELETE FROM ' + name).fetchall()) for name in ('consent_record', 'consent_chain')];"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert seen_in(path, WHO) == [f"{path.name}-wal"]
    with SQLiteRegistry(path):
        assert seen_in(path, WHO) == []


def test_the_file_opens_at_once_while_somebody_reads(path: Path) -> None:
    with SQLiteRegistry(path) as registry:
        registry.grant(WHO)
        with another_thread(path):
            registry.grant("user-1")
            began = time.monotonic()
            SQLiteRegistry(path, timeout=600).close()
            assert time.monotonic() - began < 60  # the absence of a hang


def test_erasures_by_threads_that_write_and_read_meanwhile_all_succeed(path: Path) -> None:
    def work(number: int) -> None:
        registry.grant(f"{WHO}-{number}")
        assert registry.forget(f"{WHO}-{number}") == 3
        assert registry.history(f"{WHO}-{number}") == []

    with SQLiteRegistry(path, timeout=600) as registry:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(64)))
        assert seen_in(path, WHO) == []


def test_no_copy_is_left_in_pages_from_which_rows_were_moved(path: Path) -> None:
    # SQLite's `secure_delete` overwrites rows where they are, not where they once were.
    chance = random.Random(0)
    ids = [f"subject-{chance.getrandbits(40):010x}" for _ in range(1_500)]
    with SQLiteRegistry(path) as registry:
        for first in range(0, len(ids), 50):
            registry.record_many(
                ConsentRecord(each, purpose, ConsentStatus.GRANTED, evidence={"n": "e" * chance.randrange(200)})
                for each in ids[first : first + 50]
                for purpose in ("analytics", "profiles")
            )
        chance.shuffle(ids)
        forgotten, left = ids[:170], ids[170:]
        for each in forgotten:
            registry.forget(each)
        data = path.read_bytes()
        assert [each for each in forgotten if each.encode() in data] == []
        assert set(registry.statuses(left, "profiles").values()) == {ConsentStatus.GRANTED}


def test_a_large_file_is_not_rewritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sqlite, "_REWRITTEN", 0)
    with SQLiteRegistry(path) as registry:
        registry.record_many(
            ConsentRecord(f"{WHO}-{number}", "analytics", ConsentStatus.GRANTED) for number in range(81)
        )
        registry.forget(f"{WHO}-80")
        size = path.stat().st_size
        for number in range(80):
            registry.forget(f"{WHO}-{number}")
        assert path.stat().st_size == size


def test_a_file_that_was_moved_away_is_not_made_again_by_a_question(path: Path) -> None:
    # rule 3.9: one that SQLite makes could be read by others
    with SQLiteRegistry(path) as registry:
        registry.grant(WHO)
        # As in a fork: the next question opens the file.
        registry._database._idle.pop().close()
        path.rename(path.with_suffix(".old"))
        with pytest.raises(RegistryError):
            registry.status(WHO, "analytics")
    assert not path.exists()


def test_another_registry_tells_too_that_bytes_are_left_in_the_log(path: Path) -> None:
    # rule 3.9: what is forgotten is gone when `forget` returns, or it says that it is not
    one = SQLiteRegistry(path, timeout=0.05)
    one.grant(WHO)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM consent_record").fetchone()
    with pytest.raises(RegistryError, match="Forget again"):
        one.forget(WHO)
    one.close()
    with SQLiteRegistry(path, timeout=0.05) as other:
        with pytest.raises(RegistryError, match="Forget again"):
            other.forget(WHO)
        reader.close()
        assert other.forget(WHO) == 0
        assert WHO.encode() not in Path(f"{path}-wal").read_bytes()


def test_what_was_taken_back_is_gone_from_the_log_too(path: Path) -> None:
    # rule 3.9
    with SQLiteRegistry(path) as registry:
        many = [ConsentRecord(WHO, "analytics", ConsentStatus.GRANTED) for _ in range(8_000)]
        with pytest.raises(InvalidRecordError):
            registry.record_many([*many, ConsentRecord("\ud800", "analytics", ConsentStatus.GRANTED)])
        assert registry.history(WHO) == []
        assert registry.forget(WHO) == 0
        assert WHO.encode() not in Path(f"{path}-wal").read_bytes()
