"""A registry in one SQLite file: durable, for many threads and processes of one machine."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from typing_extensions import Self

from consentpanel._consent.age import MaxAge, end_of
from consentpanel._consent.chain import Verification, link, start, verified
from consentpanel._consent.ids import purpose_key, subject_key
from consentpanel._consent.records import TOLERANCE, ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing, standing_by
from consentpanel._sqlite import Database, Kind, transaction
from consentpanel.errors import RegistryError
from consentpanel.registry._objections import ObjectionKey, outliving
from consentpanel.registry._recording import StoredRegistry
from consentpanel.registry._records import asked_moment, not_before
from consentpanel.registry._rows import (
    COLUMNS,
    MICROSECOND,
    STATUS,
    microseconds,
    moment_at,
    optional_moment,
    readable,
    record_of,
    row_of,
)
from consentpanel.registry._salts import SQLiteSalts

#: "CNSP" in the header of the file.
_APPLICATION_ID = 0x434E5350

_MIGRATIONS = (
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
    (
        "DROP TRIGGER IF EXISTS consent_record_is_append_only",
        "ALTER TABLE consent_record ADD COLUMN language TEXT",
        "ALTER TABLE consent_record ADD COLUMN event_type TEXT",
        "ALTER TABLE consent_record ADD COLUMN actor TEXT",
        "ALTER TABLE consent_record ADD COLUMN schema_version TEXT NOT NULL DEFAULT '1'",
        "ALTER TABLE consent_record ADD COLUMN link TEXT",
        # The tenant, which is empty for a file of one.
        "ALTER TABLE consent_record ADD COLUMN scope TEXT NOT NULL DEFAULT ''",
        """CREATE TABLE consent_chain (
            scope TEXT NOT NULL,
            subject_id TEXT NOT NULL,
            length INTEGER NOT NULL,
            link TEXT NOT NULL,
            PRIMARY KEY (scope, subject_id)
        ) WITHOUT ROWID""",
        lambda connection: _link_all(connection),  # noqa: PLW0108 - written below
        "DROP INDEX consent_record_deciding",
        """CREATE INDEX consent_record_deciding ON consent_record
            (scope, subject_id, purpose, recorded_at, written, status, expires_at, policy_version)""",
        """CREATE TRIGGER consent_record_is_append_only BEFORE UPDATE ON consent_record
            BEGIN SELECT RAISE(ABORT, 'consent records are appended, never changed'); END""",
        # A process of an earlier version that still has the file open would break the chain.
        """CREATE TRIGGER consent_record_is_chained BEFORE INSERT ON consent_record WHEN NEW.link IS NULL
            BEGIN SELECT RAISE(ABORT, 'the file was migrated by a newer version of consentpanel'); END""",
        # In the same statement as the record: a signal handler may write between any two.
        """CREATE TRIGGER consent_record_ends_the_chain AFTER INSERT ON consent_record BEGIN
            INSERT OR REPLACE INTO consent_chain SELECT NEW.scope, NEW.subject_id, 1 + coalesce((SELECT length
            FROM consent_chain WHERE scope = NEW.scope AND subject_id = NEW.subject_id), 0), NEW.link; END""",
        "ALTER TABLE subject_salt RENAME TO former_salt",
        """CREATE TABLE subject_salt (
            scope TEXT NOT NULL,
            subject_id TEXT NOT NULL,
            salt TEXT NOT NULL,
            PRIMARY KEY (scope, subject_id)
        ) WITHOUT ROWID""",
        "INSERT INTO subject_salt SELECT '', subject_id, salt FROM former_salt",
        "DROP TABLE former_salt",
    ),
)

_KIND = Kind("consent", _APPLICATION_ID, _MIGRATIONS, RegistryError)

# The latest record, unless a denial was written after it that counts as later all the same (`in_order`).
_LATEST = (
    "SELECT CASE WHEN status <> 'denied' AND EXISTS (SELECT 1 FROM consent_record AS denial"  # noqa: S608 - constants
    " WHERE denial.scope = latest.scope AND denial.subject_id = latest.subject_id AND denial.purpose = latest.purpose"
    f" AND denial.recorded_at BETWEEN latest.recorded_at - {TOLERANCE // MICROSECOND} AND latest.recorded_at"
    " AND denial.written > latest.written AND denial.status = 'denied') THEN 'denied' ELSE status END,"
    " expires_at, policy_version, recorded_at FROM consent_record AS latest"
    " WHERE scope = ? AND subject_id = ? AND purpose = ?"
    " ORDER BY recorded_at DESC, written DESC LIMIT 1"
)
_LATEST_THEN = _LATEST.replace(" ORDER", " AND recorded_at <= ? ORDER")
_LATEST_OF_ALL = "SELECT max(recorded_at) FROM consent_record WHERE scope = ? AND subject_id = ?"
_FIELDS = ", ".join(COLUMNS)
# Only while the chain ends where it did when the link was made.
_INSERT = (
    f"INSERT INTO consent_record (scope, link, {_FIELDS}) SELECT ?{', ?' * 15} WHERE coalesce("  # noqa: S608 - constants
    "(SELECT link FROM consent_chain WHERE scope = ? AND subject_id = ?), ?) = ?"
)
_HISTORY = f"SELECT {_FIELDS} FROM consent_record WHERE scope = ? AND subject_id = ? ORDER BY written"  # noqa: S608 - constants
_CHAIN = _HISTORY.replace(" FROM", ", link FROM")
_END_OF_CHAIN = "SELECT length, link FROM consent_chain WHERE scope = ? AND subject_id = ?"
_PEOPLE = "SELECT scope, subject_id FROM consent_chain WHERE (scope, subject_id) > (?, ?) ORDER BY scope, subject_id LIMIT 1000"


class SQLiteRegistry(StoredRegistry):
    """Keeps consent records in a SQLite file. Safe for many threads, processes and forks of one machine.

    A record is on the disk before `record`, `grant` or `deny` returns (write-ahead log, ``synchronous=FULL``). The
    schema is versioned and migrated when the file is opened. Put the file on a local disk: SQLite's write-ahead log
    does not work over a network file system (https://www.sqlite.org/wal.html).

    A file that is made here, and those that SQLite puts beside it, can be read and written by its owner alone (POSIX).
    The mode of a file that exists is left as it is, and a warning says that others can read it.

    Args:
        path: The file; made when it does not exist. Its directory must exist.
        timeout: How long to wait for another writer, in seconds.
        required_policy_version, max_age, strict_records, objection_key: As for `RecordingRegistry`.

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
        self,
        path: str | os.PathLike[str],
        *,
        required_policy_version: str | None = None,
        timeout: float = 5.0,
        max_age: MaxAge | timedelta | None = None,
        strict_records: bool = False,
        objection_key: ObjectionKey | None = None,
    ) -> None:
        super().__init__(
            required_policy_version=required_policy_version,
            max_age=max_age,
            strict_records=strict_records,
            objection_key=objection_key,
        )
        self._timeout = timeout
        self._database = Database(path, _KIND, timeout)
        self._given = self._objections.fingerprints
        self._objections = self._objections.shared_with(self._database.real_path)

    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """The status of one person for one purpose, with its cause.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            RegistryError: The file could not be read.
        """
        if type(subject_id) is not str or not subject_id:
            subject_id = subject_key(subject_id)
        moment = None if at is None else microseconds(asked_moment(at))
        purpose = purpose_key(purpose)
        return self._database.use(lambda connection: self._standing(connection, subject_id, purpose, moment))

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Standing]:
        """The standing of several people for one purpose, by the ids as they were given.

        Raises:
            InvalidRecordError: `at` is naive, or an id is malformed.
            RegistryError: The file could not be read.
        """
        moment = microseconds(asked_moment(at))
        keys = {subject: subject_key(subject) for subject in subject_ids}
        purpose = purpose_key(purpose)

        def ask(connection: sqlite3.Connection) -> dict[Any, Standing]:
            return {subject: self._standing(connection, key, purpose, moment) for subject, key in keys.items()}

        return self._database.use(ask)

    def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """When the grant that decides now ends by itself; None when it never does, and when no grant decides.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The file could not be read.
        """
        key = subject_key(subject_id)
        rows = self._database.use(
            lambda connection: connection.execute(_LATEST, (self._scope, key, purpose_key(purpose))).fetchall()
        )
        for status, expires_at, _, recorded_at in rows:
            if status == ConsentStatus.GRANTED.value:
                return end_of(purpose, moment_at(recorded_at), optional_moment(expires_at), self._max_age)
        return None

    def verify(self, subject_id: Any) -> Verification:
        """As `MemoryRegistry.verify`: whether the records of a person are those that were written.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The file could not be read.
        """
        place = self._scope, subject_key(subject_id)

        def read(connection: sqlite3.Connection) -> tuple[list[Any], Any]:
            while True:
                before = connection.execute(_END_OF_CHAIN, place).fetchone()
                with _bytes_as_text(connection):
                    rows = connection.execute(_CHAIN, place).fetchall()
                # What is written or forgotten between two questions is no break.
                if before == connection.execute(_END_OF_CHAIN, place).fetchone():
                    return rows, before

        rows, end = self._database.use(read)
        return verified(((readable(row[:-1]), row[-1]) for row in rows), self._scope, end)

    def people(self) -> Iterator[tuple[str, str]]:
        """Of whom there are records, as tenant and id, in the order of both.

        Raises:
            RegistryError: The file could not be read.
        """
        last: tuple[str, str] = ("", "")
        while rows := self._database.use(partial(_page_of_people, last)):
            yield from rows
            last = rows[-1]

    def scoped(self, name: str) -> SQLiteRegistry:
        """The same file for one tenant: its ids never meet those of another, nor those of the file without one.

        Args:
            name: The tenant: 1 to 64 printable characters, no white space around.

        Raises:
            ConfigurationError: The name is malformed, or this is a tenant's already.
        """
        tenant = copy(self)
        tenant._scope = self._tenant(name)  # noqa: SLF001 - its own class
        return tenant

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
        return self._forget(subject_id)

    @property
    def salts(self) -> SQLiteSalts:
        """Salts for `per_subject(registry.salts)` ids, in this file.

        They are deleted by `Identity.forget`, not by `forget`, which removes consent records.

        Example:
            >>> from consentpanel import per_subject
            >>> with SQLiteRegistry("consent.db") as registry:
            ...     identity = per_subject(registry.salts)
        """
        return SQLiteSalts(self._database, self._scope)

    def close(self) -> None:
        """Closes the file; the registry answers no more questions."""
        self._database.close()

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
        settings = self._required, self._timeout, self._max_age, self._is_strict, self._given
        return self._database.path, self._scope, *settings

    @property
    def _store_of_consent(self) -> tuple[str, str]:
        return self._database.real_path, self._scope

    def __repr__(self) -> str:
        return f"<SQLiteRegistry{' (closed)' if self._database.is_closed else ''}>"

    def _read(self, subject_id: str) -> list[ConsentRecord]:
        place = self._scope, subject_id
        rows = self._database.use(lambda connection: connection.execute(_HISTORY, place).fetchall())
        return [record_of(row) for row in rows]

    def _recorded(self, key: str, purpose: str, moment: datetime | None) -> Standing | None:
        since = microseconds(moment)
        return self._database.use(lambda connection: self._latest(connection, key, purpose, since))

    def _forget_all(self, key: str, tags: list[str], **_: Any) -> int:
        def said_by(connection: sqlite3.Connection, who: str) -> list[ConsentRecord]:
            return [record_of(row) for row in connection.execute(_HISTORY, (self._scope, who)).fetchall()]

        def remove(connection: sqlite3.Connection, who: str) -> int:
            place = self._scope, who
            connection.execute("DELETE FROM consent_chain WHERE scope = ? AND subject_id = ?", place)
            return connection.execute("DELETE FROM consent_record WHERE scope = ? AND subject_id = ?", place).rowcount

        def delete(connection: sqlite3.Connection) -> int:
            said = said_by(connection, key) if tags else []
            for tag in tags if said else ():
                kept = outliving(tag, said, said_by(connection, tag))
                remove(connection, tag)
                for record in kept:
                    self._append_one(connection, record)
            return remove(connection, key)

        return self._database.erase(delete, key)

    def _write(self, records: list[ConsentRecord], *, is_stamped_here: bool, **_: Any) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                kept = records
                if is_stamped_here:
                    place = self._scope, records[0].subject_id
                    (latest,) = connection.execute(_LATEST_OF_ALL, place).fetchone()
                    kept = [not_before(record, optional_moment(latest)) for record in records]
                for record in kept:
                    self._append_one(connection, record)

        self._database.use(insert)

    def _append_one(self, connection: sqlite3.Connection, record: ConsentRecord) -> None:
        """Appends a record to its person's chain, which a signal handler may lengthen meanwhile."""
        place = self._scope, record.subject_id
        first, row = start(self._scope), row_of(record)
        while True:
            end = connection.execute(_END_OF_CHAIN, place).fetchone()
            before = end[1] if end else first
            values = (self._scope, link(before, record), *row, *place, first, before)
            if connection.execute(_INSERT, values).rowcount:
                return

    def _standing(self, connection: sqlite3.Connection, key: str, purpose: str, moment: int | None) -> Standing:
        found = self._latest(connection, key, purpose, moment)
        if found is None and self._objections:
            tags = self._objections.tags(self._scope, key)
            kept = (self._latest(connection, tag, purpose, moment) for tag in tags)
            found = next(filter(None, kept), None)
        return found or Standing.NOT_RECORDED

    def _latest(self, connection: sqlite3.Connection, key: str, purpose: str, moment: int | None) -> Standing | None:
        if moment is None:
            rows = connection.execute(_LATEST, (self._scope, key, purpose)).fetchall()
        else:
            rows = connection.execute(_LATEST_THEN, (self._scope, key, purpose, moment)).fetchall()
        if not rows:
            return None
        status, expires_at, policy_version, recorded_at = rows[0]
        if expires_at is None and self._max_age is not None:
            expires_at = microseconds(self._max_age.end_of_grant(purpose, moment_at(recorded_at)))
        return standing_by(
            STATUS[status],
            expired=expires_at is not None and expires_at <= (time.time_ns() // 1000 if moment is None else moment),
            policy_version=policy_version,
            required_policy_version=self._required if moment is None else None,
        )


def _page_of_people(last: tuple[str, str], connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute(_PEOPLE, last).fetchall()


def _link_all(connection: sqlite3.Connection) -> None:
    """Chains the records of a file that was written before there were chains, which holds no tenants.

    A row that cannot be read has no link: it is no reason to keep the others from whoever asks, and `verify` tells it.
    """
    subject_id, length, last = None, 0, start("")
    links, ends = [], []
    with _bytes_as_text(connection):
        rows = connection.execute(f"SELECT {_FIELDS}, written FROM consent_record ORDER BY subject_id, written")  # noqa: S608 - constants
        for *row, written in rows:
            if row[0] != subject_id:
                if subject_id is not None:
                    ends.append((subject_id, length, last))
                subject_id, length, last = row[0], 0, start("")
            record = readable(row)
            length += 1
            if record is None or not _is_text(row[0]):
                last = start("")
                continue
            last = link(last, record)
            links.append((last, written))
        if subject_id is not None:
            ends.append((subject_id, length, last))
    connection.executemany("UPDATE consent_record SET link = ? WHERE written = ?", links)
    ends = [end for end in ends if _is_text(end[0])]
    connection.executemany("INSERT INTO consent_chain VALUES ('', ?, ?, ?)", ends)


@contextmanager
def _bytes_as_text(connection: sqlite3.Connection) -> Generator[None, None, None]:
    """For rows of many people: bytes that are no UTF-8 fail for whom they are about, not for everybody."""
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        connection.text_factory = str


def _is_text(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode("utf-8"))
    except UnicodeEncodeError:
        return False
