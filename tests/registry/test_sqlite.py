"""What one SQLite file promises: durability, one schema, erasure, and many users at once (contract rules 2.3, 2.4)."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from consentpanel import ConfigurationError, ConsentRecord, ConsentStatus, InvalidRecordError, RegistryError, _sqlite
from consentpanel._consent.standing import in_order, standing_of
from consentpanel.registry import SQLiteRegistry, sqlite

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
PURPOSES = ("analytics", "profiles", "targeting")
IDS = ("user-1", "user-2", "O'Brien", "\N{GRINNING FACE}", "nul\0a", "nul\0b")
LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "consent.db"


@pytest.fixture
def registry(path):
    with SQLiteRegistry(path) as registry:
        yield registry


def rows(path: Path, question: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


def seen_in(path: Path, text: str) -> list[str]:
    return [each.name for each in path.parent.iterdir() if text.encode() in each.read_bytes()]


# rule 2.4: beside a plain list of records


# Hours apart, and seconds apart, where a denial that is written later holds.
moments = st.one_of(
    st.integers(0, 12).map(lambda hours: LONG_AGO + hours * HOUR),
    st.integers(0, 13).map(lambda tens: LONG_AGO + timedelta(seconds=10 * tens)),
)
ends = st.one_of(st.none(), moments, st.just(datetime(2999, 1, 1, tzinfo=timezone.utc)))


class BesideAList(RuleBasedStateMachine):
    """Two registries over one file, one of which is closed and opened again, answer as a list of records does."""

    @initialize(required=st.sampled_from([None, "2"]))
    def start(self, required):
        self.required = required
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "consent.db"
        self.first, self.second = (
            SQLiteRegistry(self.path, required_policy_version=required),
            SQLiteRegistry(self.path, required_policy_version=required),
        )
        self.records: list[ConsentRecord] = []

    @rule(
        second=st.booleans(),
        subject_id=st.sampled_from(IDS),
        purpose=st.sampled_from(PURPOSES),
        status=st.sampled_from(ConsentStatus),
        said=moments,
        end=ends,
        version=st.sampled_from([None, "1", "2", "b2f1"]),
        evidence=st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.booleans(), st.text(max_size=5))),
    )
    def record(self, second, subject_id, purpose, status, said, end, version, evidence):
        record = ConsentRecord(subject_id, purpose, status, said, end, version, evidence=evidence)
        (self.second if second else self.first).record(record)
        self.records.append(record)

    @rule(second=st.booleans(), subject_id=st.sampled_from(IDS), purposes=st.lists(st.sampled_from(PURPOSES)))
    def deny(self, second, subject_id, purposes):
        registry = self.second if second else self.first
        before = len(registry.history(subject_id))
        registry.deny(subject_id, *purposes)
        added = registry.history(subject_id)[before:]
        assert {record.purpose for record in added} == set(purposes or ("analytics", "profiles", "feature_flags"))
        self.records.extend(added)

    @rule(second=st.booleans(), subject_id=st.sampled_from(IDS))
    def forget(self, second, subject_id):
        kept = [record for record in self.records if record.subject_id != subject_id]
        assert (self.second if second else self.first).forget(subject_id) == len(self.records) - len(kept)
        self.records = kept

    @rule()
    def reopen(self):
        self.second.close()
        self.second = SQLiteRegistry(self.path, required_policy_version=self.required)

    @precondition(lambda self: self.records)
    @rule(subject_id=st.sampled_from(IDS), at=moments)
    def ask_about_the_past(self, subject_id, at):
        self.compare([subject_id], at)

    @invariant()
    def answers_about_now(self):
        if hasattr(self, "records"):
            self.compare(IDS, None)

    def compare(self, subject_ids, at):
        for registry in (self.first, self.second):
            for purpose in PURPOSES:
                expected = {
                    subject_id: standing_of(
                        [r for r in self.records if r.subject_id == subject_id and r.purpose == purpose],
                        at=at,
                        required_policy_version=self.required,
                    )
                    for subject_id in subject_ids
                }
                assert registry.standings(subject_ids, purpose, at=at) == expected
                assert {each: registry.standing(each, purpose, at=at) for each in subject_ids} == expected
            for subject_id in subject_ids:
                mine = [record for record in self.records if record.subject_id == subject_id]
                assert registry.history(subject_id) == in_order(mine)

    def teardown(self):
        if hasattr(self, "records"):
            self.first.close()
            self.second.close()
            self.directory.cleanup()


BesideAList.TestCase.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
TestBesideAList = BesideAList.TestCase


# rule 2.3: a record is kept when `record` returns


WRITER = """
import sys
from consentpanel import ConsentRecord, ConsentStatus
from consentpanel.registry import SQLiteRegistry

registry = SQLiteRegistry(sys.argv[1], timeout=60)
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    registry.record(ConsentRecord(f"{sys.argv[2]}-{number}", "analytics", ConsentStatus.GRANTED))
    print(number, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


def test_no_acknowledged_record_is_lost_when_the_process_is_killed(path):
    chance = random.Random(5)
    acknowledged: list[str] = []
    for kill in range(20):
        with writer(path, f"round{kill}", 1_000_000) as process:
            begin(process)
            seen = [process.stdout.readline() for _ in range(chance.randrange(1, 40))]
            process.kill()
            # A line that the kill cut short acknowledges nothing.
            seen += [line for line in process.stdout if line.endswith("\n")]
            acknowledged.extend(f"round{kill}-{int(line)}" for line in seen)
        assert process.returncode == -9
        with SQLiteRegistry(path) as registry:
            found = registry.statuses(acknowledged, "analytics")
        assert [each for each, status in found.items() if status is not GRANTED] == []
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert len(acknowledged) > 20


def test_processes_that_write_at_once_lose_nothing(path):
    processes = [writer(path, f"process{number}", 40) for number in range(4)]
    for process in processes:
        begin(process)
    for process in processes:
        with process:
            assert process.stdout.read().split() == [str(number) for number in range(40)]
    with SQLiteRegistry(path) as registry:
        ids = [f"process{number}-{count}" for number in range(4) for count in range(40)]
        assert set(registry.statuses(ids, "analytics").values()) == {GRANTED}
    assert rows(path, "SELECT count(*) FROM consent_record") == [(160,)]


def test_processes_may_make_the_file_at_once(path):
    processes = [writer(path, f"process{number}", 1) for number in range(4)]
    for process in processes:
        begin(process)
        with process:
            assert process.stdout.read() == "0\n"
    assert rows(path, "SELECT count(*) FROM consent_record") == [(4,)]


def test_every_connection_waits_for_the_disk(registry):
    registry.grant("user-1")

    def asked(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "secure_delete")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert registry._database.use(asked) == ["wal", 2, 1]


FULL_DISK = """
import resource, sys
from consentpanel import RegistryError
from consentpanel.registry import SQLiteRegistry

registry = SQLiteRegistry(sys.argv[1], timeout=0.05)
registry.grant("before")
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
failed = 0
for number in range(300):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000 + number * 500, unlimited[1]))
    try:
        for count in range(4):
            registry.grant(f"user-{number}-{count}", evidence={"note": "x" * 3_000})
            print(f"user-{number}-{count}")
    except RegistryError as error:
        failed += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    registry.grant(f"after-{number}")
    print(f"after-{number}", flush=True)
    if failed == 20:
        break
sys.exit(0 if failed == 20 else 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the operating system has no limit on file sizes")
def test_a_full_disk_is_an_error_and_the_registry_works_again_afterwards(path):
    with SQLiteRegistry(path):
        pass
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    acknowledged = done.stdout.split()
    with SQLiteRegistry(path) as registry:
        assert set(registry.statuses(acknowledged, "profiles").values()) == {GRANTED}
        assert registry.status("before", "profiles") is GRANTED
    # A grant of several purposes is all or none.
    assert rows(path, "SELECT count(*) FROM consent_record GROUP BY subject_id HAVING count(*) <> 3") == []
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


# rule 2.3: threads and forks


def test_threads_share_a_registry(registry):
    registry.grant("user-0")
    start = threading.Barrier(6)
    answers: list[ConsentStatus] = []

    def ask():
        start.wait(timeout=30)
        answers.extend(registry.status("user-0", "analytics") for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [GRANTED] * 600


def in_child(work) -> int:
    """The exit code of a fork that runs `work`; it leaves without the clean-up of the test run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def wait_for(child: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the operating system has no fork")


@needs_fork
def test_parent_and_child_of_a_fork_both_write(path, registry):
    registry.grant("before")
    child = in_child(lambda: [registry.grant(f"child-{number}") for number in range(20)])
    for number in range(20):
        registry.grant(f"parent-{number}")
    wait_for(child)
    ids = ["before", *(f"{who}-{number}" for who in ("child", "parent") for number in range(20))]
    assert set(registry.statuses(ids, "analytics").values()) == {GRANTED}
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


@needs_fork
@pytest.mark.parametrize("announced", [True, False], ids=["fork", "fork-by-an-extension"])
def test_a_child_of_a_fork_outlives_the_parents_use_of_the_file(path, announced, monkeypatch):
    registry = SQLiteRegistry(path)
    registry.grant("before")
    if not announced:
        # Such as uWSGI's: Python's hooks before a fork do not run, and the connection is in the child's memory.
        monkeypatch.setattr(_sqlite, "_DATABASES", type(_sqlite._DATABASES)())
    told, tell = os.pipe()
    done, finish = os.pipe()

    def work():
        registry.grant("child-1")
        os.write(tell, b".")
        os.read(done, 1)
        registry.grant("child-2")
        registry.close()

    child = in_child(work)
    os.read(told, 1)
    if announced:
        registry.close()
    os.write(finish, b".")
    wait_for(child)
    registry.close()
    for end in (told, tell, done, finish):
        os.close(end)
    with SQLiteRegistry(path) as again:
        ids = ["before", "child-1", "child-2"]
        assert again.statuses(ids, "analytics") == dict.fromkeys(ids, GRANTED)


# The file


def test_a_record_survives_the_registry(path):
    with SQLiteRegistry(path) as registry:
        registry.grant("user-1")
    with SQLiteRegistry(path) as registry:
        assert registry.status("user-1", "analytics") is GRANTED


@pytest.mark.parametrize(
    "name", ["with space", "what?mode=ro", "a#b", "100%41", "file:x", "é\N{GRINNING FACE}", "-v", "'"]
)
def test_any_file_name_works(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with SQLiteRegistry(name) as registry:
        registry.grant("user-1")
        monkeypatch.chdir("/")
        registry.grant("user-2")
    assert sorted(each.name for each in tmp_path.iterdir()) == [name]
    with SQLiteRegistry(tmp_path / name) as registry:
        assert [registry.status(each, "analytics") for each in ("user-1", "user-2")] == [GRANTED, GRANTED]


@pytest.mark.parametrize("path", ["", ":memory:", "a\0b", b"consent.db", 5, None])
def test_a_path_that_names_no_file_is_refused(path):
    with pytest.raises(ConfigurationError, match="path must"):
        SQLiteRegistry(path)


@pytest.mark.parametrize("timeout", [-1, True, "5", None, float("nan"), float("inf"), 90_000])
def test_a_timeout_that_is_no_number_of_seconds_is_refused(path, timeout):
    with pytest.raises(ConfigurationError, match="timeout must be a number of seconds"):
        SQLiteRegistry(path, timeout=timeout)
    assert not path.exists()


@pytest.mark.parametrize("version", ["", 2, b"2"])
def test_a_required_policy_version_that_is_no_text_is_refused(path, version):
    with pytest.raises(ConfigurationError, match="required_policy_version must be a non-empty str or None"):
        SQLiteRegistry(path, required_policy_version=version)


def test_a_directory_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be opened") as caught:
        SQLiteRegistry(tmp_path / "missing" / "consent.db")
    assert caught.value.__context__ is None


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        SQLiteRegistry(tmp_path)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path):
    path.write_bytes(b"name,consent\nada,yes\n" * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        SQLiteRegistry(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mark", ["CREATE TABLE t (c)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"])
def test_the_database_of_another_application_is_refused_and_left_as_it_is(path, mark):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(mark)
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="another application"):
        SQLiteRegistry(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_an_empty_file_becomes_a_registry(path):
    path.touch()
    with SQLiteRegistry(path) as registry:
        registry.grant("user-1")
        assert registry.status("user-1", "analytics") is GRANTED


# The schema


def test_the_file_of_a_newer_version_is_refused_and_left_as_it_is(path):
    SQLiteRegistry(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="newer version of consentpanel"):
        SQLiteRegistry(path)
    assert path.read_bytes() == before


def test_an_older_schema_is_migrated_once_and_keeps_its_records(path, monkeypatch):
    with SQLiteRegistry(path) as registry:
        registry.grant("user-1")
        before = registry.history("user-1")
    step = ("CREATE TABLE note (text TEXT)", "INSERT INTO note VALUES ('migrated')")
    migrations = (*sqlite._KIND.migrations, step)
    monkeypatch.setattr(sqlite, "_KIND", attrs.evolve(sqlite._KIND, migrations=migrations))
    for _ in range(2):
        with SQLiteRegistry(path) as registry:
            assert registry.history("user-1") == before
    assert rows(path, "SELECT text FROM note") == [("migrated",)]
    assert rows(path, "PRAGMA user_version") == [(len(sqlite._KIND.migrations),)]


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    with SQLiteRegistry(path) as registry:
        registry.grant("user-1")
        before = registry.history("user-1")
    schema = rows(path, "SELECT sql FROM sqlite_master")
    with monkeypatch.context() as patch:
        step = ("CREATE TABLE note (text TEXT)", "DELETE FROM consent_record", "INSERT INTO nowhere VALUES (1)")
        patch.setattr(sqlite, "_KIND", attrs.evolve(sqlite._KIND, migrations=(*sqlite._KIND.migrations, step)))
        with pytest.raises(ConfigurationError, match="nowhere"):
            SQLiteRegistry(path)
    assert rows(path, "SELECT sql FROM sqlite_master") == schema
    assert rows(path, "PRAGMA user_version") == [(len(sqlite._KIND.migrations),)]
    with SQLiteRegistry(path) as registry:
        assert registry.history("user-1") == before


# rule 2.4: appended, never changed


def test_a_record_cannot_be_changed_in_the_file(path, registry):
    registry.deny("user-1", "analytics")
    with (
        contextlib.closing(sqlite3.connect(path)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="appended, never changed"),
    ):
        connection.execute("UPDATE consent_record SET status = 'granted'")
    assert registry.status("user-1", "analytics") is DENIED


def test_a_grant_of_several_purposes_is_all_or_none(path, registry):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER fail BEFORE INSERT ON consent_record WHEN new.purpose = 'feature_flags'"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(RegistryError, match="the consent file failed"):
        registry.grant("user-1")
    assert registry.history("user-1") == []
    registry.grant("user-1", "analytics")
    assert registry.status("user-1", "analytics") is GRANTED


# rule 2.3: erasure


def test_forget_leaves_no_trace_in_the_files(path, registry):
    chance = random.Random(9)
    ids = [f"person-{chance.getrandbits(64):016x}" for _ in range(1_500)]
    for first in range(0, len(ids), 25):
        registry._append(
            [
                ConsentRecord(each, "analytics", GRANTED, evidence={"who": each, "fill": "x" * chance.randrange(3_000)})
                for each in ids[first : first + 25]
            ]
        )
    assert seen_in(path, ids[7]) != []
    for forgotten in chance.sample(ids, 40):
        assert registry.forget(forgotten) == 1
        assert seen_in(path, forgotten) == []


# Failures


SURROGATE = "ada\ud800lovelace"


@pytest.mark.parametrize(
    "use",
    [
        lambda registry: registry.grant(SURROGATE),
        lambda registry: registry.grant("user-1", source=SURROGATE),
        lambda registry: registry.status(SURROGATE, "analytics"),
        lambda registry: registry.statuses(["user-1", SURROGATE], "analytics"),
        lambda registry: registry.history(SURROGATE),
        lambda registry: registry.forget(SURROGATE),
    ],
    ids=["grant", "grant-source", "status", "statuses", "history", "forget"],
)
def test_a_text_that_is_not_unicode_is_refused_without_a_trace_of_it(registry, use):
    with pytest.raises(InvalidRecordError, match="cannot be written as UTF-8") as caught:
        use(registry)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert "lovelace" not in "".join([repr(error.args), repr(vars(error)), *traceback.format_exception_only(error)])
    registry.grant("user-1")
    assert registry.status("user-1", "analytics") is GRANTED


def test_a_closed_registry_answers_nothing(path):
    registry = SQLiteRegistry(path)
    registry.grant("user-1")
    registry.close()
    registry.close()
    for use in (
        lambda: registry.status("user-1", "analytics"),
        lambda: registry.statuses(["user-1"], "analytics"),
        lambda: registry.grant("user-1"),
        lambda: registry.history("user-1"),
        lambda: registry.forget("user-1"),
    ):
        with pytest.raises(RegistryError, match="closed"):
            use()
    assert repr(registry) == "<SQLiteRegistry (closed)>"


def test_a_file_that_another_program_writes_to_can_be_read_and_not_written(path):
    with SQLiteRegistry(path, timeout=0.05) as registry:
        registry.grant("user-1")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for use in (registry.grant, registry.deny, registry.forget):
                with pytest.raises(RegistryError, match="locked"):
                    use("user-1")
            assert registry.status("user-1", "analytics") is GRANTED
            assert len(registry.history("user-1")) == 3
            other.execute("ROLLBACK")
        registry.deny("user-1")
        assert registry.status("user-1", "analytics") is DENIED


def test_a_file_that_was_damaged_is_an_error(path):
    with SQLiteRegistry(path) as registry:
        registry._append([ConsentRecord(f"user-{number}", "analytics", GRANTED) for number in range(500)])
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with SQLiteRegistry(path) as registry, pytest.raises(RegistryError, match="the consent file failed"):
        registry.status("user-1", "analytics")


def test_a_file_that_became_unreachable_is_an_error(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    with SQLiteRegistry(place / "consent.db") as registry:
        place.rename(tmp_path / "elsewhere")
        with pytest.raises(RegistryError, match="cannot be opened"):
            registry.status("user-1", "analytics")


def test_its_repr_names_nobody(registry):
    registry.grant("user-1")
    assert repr(registry) == "<SQLiteRegistry>"


def test_a_registry_that_is_dropped_leaves_no_open_file(path):
    registry = SQLiteRegistry(path)
    registry.grant("user-1")
    del registry
    # The last connection that closes takes the log with it.
    assert [each.name for each in path.parent.iterdir()] == [path.name]
