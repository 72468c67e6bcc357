"""A registry in one SQLite file: durable, for many threads and processes of one machine."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import Self

from consentpanel._checks import seconds
from consentpanel._consent.ids import Purpose, purpose_key, subject_key
from consentpanel._consent.records import TOLERANCE, ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing, in_order, standing_by
from consentpanel._forks import ForkGate
from consentpanel._log import warn_once
from consentpanel.errors import ConfigurationError, InvalidRecordError, RegistryError
from consentpanel.registry._recording import RecordingRegistry, asked_moment, not_before, required_version
from consentpanel.registry._salts import SQLiteSalts
from consentpanel.registry._watching import tell

_T = TypeVar("_T")

#: Marks the file as ours in its header ("CNSP"), so that another application's file is not written to.
_APPLICATION_ID = 0x434E5350

#: The statements that lead from each version of the schema to the next; the file's user_version counts them.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE consent_record (
            written INTEGER PRIMARY KEY AUTOINCREMENT,
            subject_id TEXT NOT NULL,
            purpose TEXT NOT NULL,
            status TEXT NOT NULL,
            recorded_at INTEGER NOT NULL,
            expires_at INTEGER,
            policy_version TEXT,
            source TEXT,
            jurisdiction TEXT,
            evidence TEXT NOT NULL,
            record_id TEXT NOT NULL
        )""",
        # All that a question needs, so that it is answered without the table.
        """CREATE INDEX consent_record_deciding ON consent_record
            (subject_id, purpose, recorded_at, written, status, expires_at, policy_version)""",
        """CREATE TRIGGER consent_record_is_append_only BEFORE UPDATE ON consent_record
            BEGIN SELECT RAISE(ABORT, 'consent records are appended, never changed'); END""",
    ),
    ("CREATE TABLE subject_salt (subject_id TEXT PRIMARY KEY, salt TEXT NOT NULL) WITHOUT ROWID",),
)

_MICROSECOND = timedelta(microseconds=1)
# The latest record, unless a denial was written after it that counts as later all the same (`in_order`).
_LATEST = (
    "SELECT CASE WHEN status <> 'denied' AND EXISTS (SELECT 1 FROM consent_record AS denial"  # noqa: S608 - constants
    " WHERE denial.subject_id = latest.subject_id AND denial.purpose = latest.purpose"
    f" AND denial.recorded_at BETWEEN latest.recorded_at - {TOLERANCE // _MICROSECOND} AND latest.recorded_at"
    " AND denial.written > latest.written AND denial.status = 'denied') THEN 'denied' ELSE status END,"
    " expires_at, policy_version FROM consent_record AS latest WHERE subject_id = ? AND purpose = ?"
    " ORDER BY recorded_at DESC, written DESC LIMIT 1"
)
_LATEST_THEN = _LATEST.replace(" ORDER", " AND recorded_at <= ? ORDER")
_LATEST_OF_ALL = "SELECT max(recorded_at) FROM consent_record WHERE subject_id = ?"
_FIELDS = (
    "subject_id, purpose, status, recorded_at, expires_at, policy_version, source, jurisdiction, evidence, record_id"
)
_INSERT = f"INSERT INTO consent_record ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
_HISTORY = f"SELECT {_FIELDS} FROM consent_record WHERE subject_id = ? ORDER BY written"  # noqa: S608 - constants
_STATUS = {status.value: status for status in ConsentStatus}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: Bytes of a file up to which it is rewritten when somebody is forgotten.
_REWRITTEN = 32_000_000
_WIDER = stat.S_IRWXG | stat.S_IRWXO
_WITH_THE_FILE = ("", "-wal", "-shm", "-journal")


class SQLiteRegistry(RecordingRegistry):
    """Keeps consent records in a SQLite file. Safe for many threads, processes and forks of one machine.

    A record is on the disk before `record`, `grant` or `deny` returns (write-ahead log, ``synchronous=FULL``). The
    schema is versioned and migrated when the file is opened. Put the file on a local disk: SQLite's write-ahead log
    does not work over a network file system (https://www.sqlite.org/wal.html).

    A file that is made here, and those that SQLite puts beside it, can be read and written by its owner alone (POSIX).
    The mode of a file that exists is left as it is, and a warning says that others can read it.

    Args:
        path: The file; made when it does not exist. Its directory must exist.
        required_policy_version: A grant under an older policy version does not hold; None accepts any.
        timeout: How long to wait for another writer, in seconds.

    Raises:
        ConfigurationError: The file cannot be opened, is not a consent registry, or comes from a newer version.

    Example:
        >>> registry = SQLiteRegistry("consent.db")
        >>> registry.grant("user-1", source="signup-form")
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.GRANTED: 'granted'>
        >>> registry.close()
    """

    def __init__(
        self, path: str | os.PathLike[str], *, required_policy_version: str | None = None, timeout: float = 5.0
    ) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigurationError(f"path must be a str or a path, not {type(path).__name__}")
        self._path = os.fspath(path)
        if not isinstance(self._path, str) or self._path in {"", ":memory:"} or "\0" in self._path:
            raise ConfigurationError("path must name a file; for a registry in memory take MemoryRegistry")
        try:
            os.fsencode(self._path)
        except UnicodeError:
            raise ConfigurationError("path is no name of a file on this machine") from None
        self._timeout = seconds("timeout", timeout, may_be_zero=True)
        self._path = os.path.abspath(self._path)  # noqa: PTH100 - Path would resolve nothing more
        self._required = required_version(required_policy_version)
        self._closed = False
        self._pid = os.getpid()
        self._idle: deque[sqlite3.Connection] = deque()
        # A connection of the parent must not be used, nor closed, in a child: that would drop the parent's locks.
        self._inherited: list[deque[sqlite3.Connection]] = []
        self._finalizer = weakref.finalize(self, _close_all, self._idle, self._pid)
        #: Whether bytes of somebody who was forgotten are still in the write-ahead log.
        self._owes_erasure = False
        #: The connection that this thread uses at the moment.
        self._in_use = threading.local()
        #: Which file was opened.
        self._file: tuple[int, int] | None = None
        problem = None
        try:
            with _GATE:
                self._prepare()
        except sqlite3.Error as error:
            problem = f"the consent file cannot be opened: {error}"
        if problem is not None:
            raise ConfigurationError(problem)
        _REGISTRIES[id(self)] = self

    def _prepare(self) -> None:
        _make(self._path)
        connection = self._open()
        try:
            # Before the write-ahead log is asked for, which would change another application's file.
            _version(connection)
            _set_up(connection, self._timeout)
            _migrate(connection)
            with self._without_waiting(connection):
                _empties_log(connection, 0)
        finally:
            connection.close()

    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """The status of one person for one purpose, with its cause.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            RegistryError: The file could not be read.
        """
        if type(subject_id) is not str or not subject_id:
            subject_id = subject_key(subject_id)
        moment = None if at is None else _microseconds(asked_moment(at))
        return self._with(lambda connection: self._standing(connection, subject_id, purpose, moment))

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Standing]:
        """The standing of several people for one purpose, by the ids as they were given.

        Raises:
            InvalidRecordError: `at` is naive, or an id is malformed.
            RegistryError: The file could not be read.
        """
        moment = _microseconds(asked_moment(at))
        keys = {subject: subject_key(subject) for subject in subject_ids}

        def ask(connection: sqlite3.Connection) -> dict[Any, Standing]:
            return {subject: self._standing(connection, key, purpose, moment) for subject, key in keys.items()}

        return self._with(ask)

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """All records of one person, oldest first.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The file could not be read.
        """
        key = subject_key(subject_id)
        rows = self._with(lambda connection: connection.execute(_HISTORY, (key,)).fetchall())
        return in_order(map(_record, rows))

    def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """When the grant that decides now ends by itself; None when it never does, and when no grant decides.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The file could not be read.
        """
        key = subject_key(subject_id)
        rows = self._with(lambda connection: connection.execute(_LATEST, (key, purpose_key(purpose))).fetchall())
        ends = [end for status, end, _ in rows if status == ConsentStatus.GRANTED.value and end is not None]
        return _moment(ends[0]) if ends else None

    def forget(self, subject_id: Any) -> int:
        """Erases all records of one person: when this returns, no byte of them is in the file or its write-ahead log.

        For that the file is rewritten, and the log is emptied, which waits for whoever is reading, up to `timeout`. A
        file above 32 MB is not rewritten, because that would hold up those who write: there SQLite may leave single
        copies of ids in unused parts of pages. ``VACUUM`` removes them, at a time of your choice.

        Returns:
            How many records were erased.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The file could not be written; or the records are erased for everybody who asks, and somebody
                who is still reading keeps their bytes in the write-ahead log. The next use of this registry, and the
                next opening of the file, empties the log if it can, and to forget again tells whether it is empty.
        """
        key = subject_key(subject_id)
        try:
            return self._erase("DELETE FROM consent_record WHERE subject_id = ?", key)
        finally:
            tell(self, [key])

    @property
    def salts(self) -> SQLiteSalts:
        """Salts for `per_subject(registry.salts)` ids, in this file.

        They are deleted by `Identity.forget`, not by `forget`, which removes consent records.

        Example:
            >>> from consentpanel import per_subject
            >>> with SQLiteRegistry("consent.db") as registry:
            ...     identity = per_subject(registry.salts)
        """
        return SQLiteSalts(self._with, _transaction, self._erase)

    def close(self) -> None:
        """Closes the file; the registry answers no more questions."""
        self._closed = True
        _close_all(self._idle, self._pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __eq__(self, other: object) -> bool:
        """Whether the other one answers from the same file in the same way."""
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self._path, self._required, self._timeout

    @property
    def _store(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"<SQLiteRegistry{' (closed)' if self._closed else ''}>"

    def _append(self, records: list[ConsentRecord], *, is_stamped_here: bool = False) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                kept = records
                if is_stamped_here:
                    (latest,) = connection.execute(_LATEST_OF_ALL, (records[0].subject_id,)).fetchone()
                    kept = [not_before(record, None if latest is None else _moment(latest)) for record in records]
                connection.executemany(_INSERT, map(_row, kept))

        self._with(insert)

    def _erase(self, statement: str, key: str) -> int:
        """Deletes the rows of a person, and what is left of them in the files."""

        def erase(connection: sqlite3.Connection) -> int:
            with _transaction(connection):
                count = connection.execute(statement, (key,)).rowcount
            # Another process may have deleted the rows, or a write of them was taken back.
            if not count and not self._owes_erasure and not _is_in_log(self._path, key):
                return 0
            is_gone = False
            try:
                is_gone = _scrub(connection, self._timeout)
            finally:
                self._owes_erasure = not is_gone
            if not is_gone:
                raise RegistryError(
                    "erased for everybody who asks; but somebody is reading the consent file, so the old bytes stay in its"
                    " write-ahead log until it is next used while nobody reads. Forget again to be sure"
                )
            return count

        return self._with(erase)

    def _standing(self, connection: sqlite3.Connection, key: str, purpose: str, moment: int | None) -> Standing:
        purpose = purpose_key(purpose)
        if moment is None:
            rows = connection.execute(_LATEST, (key, purpose)).fetchall()
        else:
            rows = connection.execute(_LATEST_THEN, (key, purpose, moment)).fetchall()
        if not rows:
            return Standing.NOT_RECORDED
        status, expires_at, policy_version = rows[0]
        return standing_by(
            _STATUS[status],
            expired=expires_at is not None and expires_at <= (time.time_ns() // 1000 if moment is None else moment),
            policy_version=policy_version,
            required_policy_version=self._required if moment is None else None,
        )

    def _with(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `use` returns for a connection that no other thread has meanwhile."""
        with _GATE:
            return self._with_one(use)

    def _with_one(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        problem: Exception | None = None
        connection: sqlite3.Connection | None = None
        if self._closed:
            raise RegistryError("the consent registry is closed")
        if self._pid != os.getpid():
            self._start_over()
        outer: sqlite3.Connection | None = getattr(self._in_use, "connection", None)
        if outer is not None and outer.in_transaction:
            # A signal handler in the middle of a write: another connection would wait for that until it gives up.
            answer = use(outer)
            self._in_use.again.append(use)
            return answer
        self._see_the_file()
        idle = self._idle
        try:
            connection = idle.pop() if idle else self._connect()
        except IndexError:
            connection = self._connect_again()
        except sqlite3.Error as error:
            raise RegistryError(f"the consent file cannot be opened: {error}") from None
        self._in_use.connection, self._in_use.again = connection, []
        try:
            if self._owes_erasure:
                with self._without_waiting(connection):
                    self._owes_erasure = not _scrub(connection, 0)
            answer = use(connection)
        except sqlite3.Error as error:
            problem = RegistryError(f"the consent file failed: {error}")
        except UnicodeEncodeError:
            # Its text and attributes hold the value, so it is left behind.
            problem = InvalidRecordError("an id or a text of a record cannot be written as UTF-8")
        else:
            self._in_use.again.clear()
            return answer
        finally:
            self._in_use.connection = outer
            for each in self._in_use.again:
                # What a signal handler had written was taken back together with this.
                each(connection)
            if self._closed or connection.in_transaction:
                connection.close()
            else:
                idle.append(connection)
        raise problem

    def _see_the_file(self) -> None:
        """Goes on with the file that was opened alone: what is written to one that was moved away nobody would ask for.

        Raises:
            RegistryError: There is none at the path, or another one. That would be read together with the write-ahead log of
                the first (https://www.sqlite.org/howtocorrupt.html, section 1.4).
        """
        try:
            there = _identity(self._path)
        except OSError as error:
            raise RegistryError(
                f"the consent file cannot be opened: nothing is at its path ({type(error).__name__})"
            ) from None
        if self._file is None:
            self._file = there
        elif there != self._file:
            raise RegistryError(
                "the consent file was replaced by another one while it was in use: stop every process that uses it before a "
                "file is put there, and take its -wal file with it"
            )

    @contextlib.contextmanager
    def _without_waiting(self, connection: sqlite3.Connection) -> Generator[None, None, None]:
        """For what may as well be done another time, when somebody is in the way."""
        connection.execute("PRAGMA busy_timeout = 0").fetchall()
        try:
            with contextlib.suppress(sqlite3.OperationalError):
                yield
        finally:
            connection.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}").fetchall()

    def _connect_again(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.Error as error:
            raise RegistryError(f"the consent file cannot be opened: {error}") from None

    def _start_over(self) -> None:
        self._finalizer.detach()
        self._inherited.append(self._idle)
        self._idle = deque()
        self._in_use = threading.local()
        self._pid = os.getpid()
        self._finalizer = weakref.finalize(self, _close_all, self._idle, self._pid)

    def _connect(self) -> sqlite3.Connection:
        connection = self._open()
        try:
            _set_up(connection, self._timeout)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _open(self) -> sqlite3.Connection:
        # Never made here, where it would be readable for others: `_make` makes it.
        address = f"{Path(self._path).as_uri()}?mode={'rw' if os.name == 'posix' else 'rwc'}"
        return sqlite3.connect(address, timeout=self._timeout, isolation_level=None, check_same_thread=False, uri=True)


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116 - at each question, for which Path is slow
    return found.st_dev, found.st_ino


_REGISTRIES: weakref.WeakValueDictionary[int, SQLiteRegistry] = weakref.WeakValueDictionary()


def _close_before_fork() -> None:
    _GATE.before_fork()
    # A child with an open file in its memory takes the parent's locks for its own, and may write to a log that the
    # parent has deleted (https://www.sqlite.org/howtocorrupt.html, section 2.6).
    for reference in _REGISTRIES.valuerefs():
        registry = reference()
        if registry is not None:
            _close_all(registry._idle, registry._pid)  # noqa: SLF001 - its own module


def _restart_in_child() -> None:
    # Another thread of the parent may have held the lock.
    global _making  # noqa: PLW0603 - the one lock of the process
    _making = threading.Lock()
    _GATE.after_in_child()


#: SQLite has locks of its own for the whole process: a child would wait for ever for one that another thread held.
_GATE = ForkGate()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_close_before_fork, after_in_parent=_GATE.after_in_parent, after_in_child=_restart_in_child
    )


_making = threading.Lock()


def _make(path: str) -> None:
    """Makes the file for its owner alone, as SQLite then makes those beside it; warns of a wider mode of one that exists."""
    if os.name != "posix":
        return
    path = os.path.realpath(path)
    # To close a file drops the locks that the process has on it (https://www.sqlite.org/howtocorrupt.html, section 2.2),
    # so no other thread may open this one before it is closed here.
    with _making:
        try:
            made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError:
            made = None
        except OSError:
            return  # SQLite says what is wrong
        if made is not None:
            try:
                os.fchmod(made, 0o600)
            finally:
                os.close(made)
    for each in _WITH_THE_FILE:
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(os.stat(path + each).st_mode)  # noqa: PTH116 - the path is a text
            if mode & _WIDER:
                warn_once(f"a consent file is open to other users of this machine (mode {mode:04o}): chmod 600 it")


def _is_in_log(path: str, key: str) -> bool:
    """Whether the bytes of an id stand in the write-ahead log, in rows that no question finds any more."""
    needle = key.encode("utf-8", "surrogatepass")
    try:
        # SQLite keeps no locks on this file that closing it could drop.
        with Path(f"{path}-wal").open("rb") as log:
            before = b""
            while chunk := log.read(1 << 20):
                if needle in before + chunk:
                    return True
                before = chunk[-len(needle) :]
    except FileNotFoundError:
        pass
    return False


def _scrub(connection: sqlite3.Connection, timeout: float) -> bool:
    """Whether no deleted byte is left in the file and its log; waits for whoever reads, so many seconds."""
    # The log first: while somebody reads, it would grow by the whole file.
    if not _empties_log(connection, timeout):
        return False
    ((size,),) = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchall()
    if size > _REWRITTEN:
        return True
    # `secure_delete` overwrites rows, but not their copies in pages from which SQLite has moved them to others.
    connection.execute("VACUUM")
    return _empties_log(connection, timeout)


def _empties_log(connection: sqlite3.Connection, timeout: float) -> bool:
    """Whether all of the write-ahead log is in the file and the log is empty."""
    end = time.monotonic() + timeout
    while True:
        ((is_busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if not is_busy or time.monotonic() >= end:
            return not is_busy
        # SQLite's own waiting does not cover another connection that does the same.
        time.sleep(0.01)


def _set_up(connection: sqlite3.Connection, timeout: float) -> None:
    _use_write_ahead_log(connection, timeout)
    connection.execute("PRAGMA synchronous = FULL")
    # 8 MB: in the 2 MB that are usual, questions among a million people push each other out.
    connection.execute("PRAGMA cache_size = -8000")
    # Erased bytes are overwritten, so that forget() leaves none behind.
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    # VACUUM copies everybody; not to the disk.
    connection.execute("PRAGMA temp_store = MEMORY")


def _use_write_ahead_log(connection: sqlite3.Connection, timeout: float) -> None:
    # While another process makes the file, this one switch fails at once: SQLite's own waiting does not cover it.
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(0.01)
        else:
            return


def _close_all(idle: deque[sqlite3.Connection], pid: int) -> None:
    if pid != os.getpid():
        return
    with _GATE, contextlib.suppress(IndexError):
        while True:
            idle.pop().close()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None, None, None]:
    if connection.in_transaction:
        # Part of the one that a signal handler has interrupted.
        yield
        return
    try:
        # Inside, because a signal handler that comes when this has waited may raise.
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some failures, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _migrate(connection: sqlite3.Connection) -> None:
    """Brings the file to the newest schema, in one transaction.

    Raises:
        ConfigurationError: The file is not ours, or newer than this version of the package.
    """
    with _transaction(connection):
        for statements in islice(_MIGRATIONS, _version(connection), None):
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _version(connection: sqlite3.Connection) -> int:
    """The version of the file's schema; 0 for an empty file.

    Raises:
        ConfigurationError: The file is not ours, or newer than this version of the package.
    """
    # One statement, so that another process which makes the file meanwhile is seen to have done all of it or nothing.
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application != _APPLICATION_ID and (application or version or tables):
        raise ConfigurationError("the file is a SQLite database of another application")
    if version > len(_MIGRATIONS):
        raise ConfigurationError("the file was written by a newer version of consentpanel")
    return int(version)


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _row(record: ConsentRecord) -> tuple[Any, ...]:
    return (
        record.subject_id,
        str(record.purpose),
        record.status.value,
        _microseconds(record.recorded_at),
        _microseconds(record.expires_at),
        record.policy_version,
        record.source,
        record.jurisdiction,
        json.dumps(dict(record.evidence)),
        record.record_id,
    )


def _record(row: tuple[Any, ...]) -> ConsentRecord:
    subject_id, purpose, status, recorded_at, expires_at, policy_version, source, jurisdiction, evidence, record_id = (
        row
    )
    return ConsentRecord(
        subject_id,
        Purpose(purpose),
        _STATUS[status],
        _moment(recorded_at),
        None if expires_at is None else _moment(expires_at),
        policy_version,
        source,
        jurisdiction,
        json.loads(evidence),
        record_id,
    )
