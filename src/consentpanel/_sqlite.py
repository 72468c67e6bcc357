"""A SQLite file of the package: for its owner alone, for many threads, processes and forks of one machine."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import attrs

from consentpanel._checks import seconds
from consentpanel._forks import ForkGate
from consentpanel._log import warn_once
from consentpanel.errors import ConfigurationError, InvalidRecordError

_T = TypeVar("_T")

#: Bytes of a file up to which it is rewritten when somebody is forgotten.
_REWRITTEN = 32_000_000
#: Milliseconds to wait for another process that migrates the file.
_PATIENCE = 300_000
_WIDER = stat.S_IRWXG | stat.S_IRWXO
_WITH_THE_FILE = ("", "-wal", "-shm", "-journal")


@attrs.frozen
class Kind:
    """What a file holds.

    Attributes:
        name: For texts: ``"consent"``.
        application_id: Marks the file in its header, so that another application's file is not written to.
        migrations: What leads from each version of the schema to the next, statements or functions of the connection; the
            file's user_version counts them.
        error: What a failing use raises, made of a text.
        synchronous: How sure a write is when a use returns: ``"FULL"`` survives a power cut, ``"NORMAL"`` the end of the
            process (https://www.sqlite.org/pragma.html#pragma_synchronous).
        page_size: Bytes of a page of a new file: a write to the log copies each page that it touches, whole.
    """

    name: str
    application_id: int
    migrations: tuple[tuple[str | Callable[[sqlite3.Connection], None], ...], ...]
    error: Callable[[str], Exception]
    synchronous: str = "FULL"
    page_size: int = 4096


class Database:
    """A SQLite file that is made for its owner alone and migrated when it is opened.

    Args:
        path: The file; made when it does not exist. Its directory must exist.
        kind: What it holds.
        timeout: How long to wait for another writer, in seconds.

    Raises:
        ConfigurationError: The file cannot be opened, is of another kind, or comes from a newer version.
    """

    def __init__(self, path: str | os.PathLike[str], kind: Kind, timeout: float) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigurationError(f"path must be a str or a path, not {type(path).__name__}")
        self._path = os.fspath(path)
        if not isinstance(self._path, str) or self._path in {"", ":memory:"} or "\0" in self._path:
            raise ConfigurationError(f"path must name a file, in which {kind.name} is kept")
        try:
            os.fsencode(self._path)
        except UnicodeError:
            raise ConfigurationError("path is no name of a file on this machine") from None
        self._kind = kind
        self._timeout = seconds("timeout", timeout, may_be_zero=True)
        self._path = os.path.abspath(self._path)  # noqa: PTH100 - Path would resolve nothing more
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
            problem = f"the {kind.name} file cannot be opened: {_told(error)}"
        if problem is not None:
            raise ConfigurationError(problem)
        _DATABASES[id(self)] = self

    def _prepare(self) -> None:
        _make(self._path, self._kind.name)
        connection = self._open()
        try:
            # Before the write-ahead log is asked for, which would change another application's file.
            _version(connection, self._kind)
            _set_up(connection, self._timeout, self._kind)
            _migrate(connection, self._kind)
            with self._without_waiting(connection):
                _empties_log(connection, 0)
        finally:
            connection.close()

    @property
    def path(self) -> str:
        """The file."""
        return self._path

    @property
    def real_path(self) -> str:
        """The file, through whatever link it was named."""
        return os.path.realpath(self._path)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is read or written any more."""
        return self._closed

    def close(self) -> None:
        """Closes the file; nothing is read or written any more."""
        self._closed = True
        _close_all(self._idle, self._pid)

    def use(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `use` returns for a connection that no other thread has meanwhile.

        Raises:
            Exception: As `Kind.error` makes it: the file failed.
            InvalidRecordError: A text cannot be written as UTF-8.
        """
        with _GATE:
            return self._use(use)

    def erase(self, use: Callable[[sqlite3.Connection], int], needle: str, *, may_be_later: bool = False) -> int:
        """Has rows deleted, and overwrites what is left of them in the files.

        Args:
            use: Deletes them; how many.
            needle: A text that stands in each of them, such as an id.
            may_be_later: Whether bytes that somebody who reads keeps in the log may be overwritten at the next use.

        Returns:
            How many were deleted.

        Raises:
            Exception: As `Kind.error` makes it: the file failed, or somebody who reads keeps the bytes in the log.
        """

        def erase(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                count = use(connection)
            # Another process may have deleted the rows, or a write of them was taken back.
            if not count and not self._owes_erasure and not _is_in_log(self._path, needle):
                return 0
            is_gone = False
            try:
                is_gone = _scrub(connection, self._timeout)
            finally:
                self._owes_erasure = not is_gone
            if not (is_gone or may_be_later):
                raise self._kind.error(
                    f"erased for everybody who asks; but somebody is reading the {self._kind.name} file, so the old bytes stay"
                    " in its write-ahead log until it is next used while nobody reads. Forget again to be sure"
                )
            return count

        return self.use(erase)

    def empty_log(self, timeout: float = 0.0) -> None:
        """Empties the write-ahead log, unless somebody is reading; what was erased is then in no file any more.

        Args:
            timeout: Seconds to wait for whoever reads; then it is done at the next use.
        """

        def empty(connection: sqlite3.Connection) -> None:
            with self._without_waiting(connection):
                self._owes_erasure = not _empties_log(connection, timeout)

        self.use(empty)

    def _use(self, use: Callable[[sqlite3.Connection], _T]) -> _T:
        problem: Exception | None = None
        connection: sqlite3.Connection | None = None
        if self._closed:
            raise self._kind.error(f"the {self._kind.name} file is closed")
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
            raise self._kind.error(f"the {self._kind.name} file cannot be opened: {_told(error)}") from None
        self._in_use.connection, self._in_use.again = connection, []
        try:
            if self._owes_erasure:
                with self._without_waiting(connection):
                    self._owes_erasure = not _scrub(connection, 0)
            answer = use(connection)
        except sqlite3.Error as error:
            problem = self._kind.error(f"the {self._kind.name} file failed: {_told(error)}")
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
            Exception: As `Kind.error` makes it: there is none at the path, or another one. That would be read together with the write-ahead log of
                the first (https://www.sqlite.org/howtocorrupt.html, section 1.4).
        """
        try:
            there = _identity(self._path)
        except OSError as error:
            raise self._kind.error(
                f"the {self._kind.name} file cannot be opened: nothing is at its path ({type(error).__name__})"
            ) from None
        if self._file is None:
            self._file = there
        elif there != self._file:
            raise self._kind.error(
                f"the {self._kind.name} file was replaced by another one while it was in use: stop every process that uses it"
                " before a file is put there, and take its -wal file with it"
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
            raise self._kind.error(f"the {self._kind.name} file cannot be opened: {_told(error)}") from None

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
            _set_up(connection, self._timeout, self._kind)
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


_DATABASES: weakref.WeakValueDictionary[int, Database] = weakref.WeakValueDictionary()


def _close_before_fork() -> None:
    _GATE.before_fork()
    # A child with an open file in its memory takes the parent's locks for its own, and may write to a log that the
    # parent has deleted (https://www.sqlite.org/howtocorrupt.html, section 2.6).
    for reference in _DATABASES.valuerefs():
        database = reference()
        if database is not None:
            _close_all(database._idle, database._pid)  # noqa: SLF001 - its own module


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


def _make(path: str, name: str) -> None:
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
                warn_once(f"a {name} file is open to other users of this machine (mode {mode:04o}): chmod 600 it")


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


def _set_up(connection: sqlite3.Connection, timeout: float, kind: Kind) -> None:
    # Of a file that is still empty.
    connection.execute(f"PRAGMA page_size = {kind.page_size}")
    _use_write_ahead_log(connection, timeout)
    connection.execute(f"PRAGMA synchronous = {kind.synchronous}")
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


def _told(error: sqlite3.Error) -> str:
    """What an error says, but for the value that one of a text quotes."""
    said = str(error)
    return "a text in it is no UTF-8" if "decode" in said else said


def _close_all(idle: deque[sqlite3.Connection], pid: int) -> None:
    if pid != os.getpid():
        return
    with _GATE, contextlib.suppress(IndexError):
        while True:
            idle.pop().close()


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None, None, None]:
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


def _migrate(connection: sqlite3.Connection, kind: Kind) -> None:
    """Brings the file to the newest schema, in one transaction.

    Raises:
        ConfigurationError: The file is not ours, or newer than this version of the package.
    """
    if _version(connection, kind) == len(kind.migrations):
        return
    # As long as another process may need for a large file.
    connection.execute(f"PRAGMA busy_timeout = {_PATIENCE}").fetchall()
    with transaction(connection):
        for statements in islice(kind.migrations, _version(connection, kind), None):
            for statement in statements:
                if callable(statement):
                    statement(connection)
                else:
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {kind.application_id}")
        connection.execute(f"PRAGMA user_version = {len(kind.migrations)}")


def _version(connection: sqlite3.Connection, kind: Kind) -> int:
    """The version of the file's schema; 0 for an empty file.

    Raises:
        ConfigurationError: The file is not ours, or newer than this version of the package.
    """
    # One statement, so that another process which makes the file meanwhile is seen to have done all of it or nothing.
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if application != kind.application_id and (application or version or tables):
        raise ConfigurationError("the file is a SQLite database of another application")
    if version > len(kind.migrations):
        raise ConfigurationError("the file was written by a newer version of consentpanel")
    return int(version)
