"""A registry in one SQLite file: durable, for many threads and processes of one machine."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from typing_extensions import Self

from consentpanel._consent.ids import Purpose, purpose_key, subject_key
from consentpanel._consent.records import TOLERANCE, ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing, in_order, standing_by
from consentpanel._sqlite import Database, Kind, transaction
from consentpanel.errors import RegistryError
from consentpanel.registry._recording import RecordingRegistry, asked_moment, not_before, required_version
from consentpanel.registry._salts import SQLiteSalts
from consentpanel.registry._watching import tell

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
)

_KIND = Kind("consent", _APPLICATION_ID, _MIGRATIONS, RegistryError)

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
        self._required = required_version(required_policy_version)
        self._timeout = timeout
        self._database = Database(path, _KIND, timeout)

    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """The status of one person for one purpose, with its cause.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            RegistryError: The file could not be read.
        """
        if type(subject_id) is not str or not subject_id:
            subject_id = subject_key(subject_id)
        moment = None if at is None else _microseconds(asked_moment(at))
        return self._database.use(lambda connection: self._standing(connection, subject_id, purpose, moment))

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

        return self._database.use(ask)

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """All records of one person, oldest first.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The file could not be read.
        """
        key = subject_key(subject_id)
        rows = self._database.use(lambda connection: connection.execute(_HISTORY, (key,)).fetchall())
        return in_order(map(_record, rows))

    def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """When the grant that decides now ends by itself; None when it never does, and when no grant decides.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The file could not be read.
        """
        key = subject_key(subject_id)
        rows = self._database.use(
            lambda connection: connection.execute(_LATEST, (key, purpose_key(purpose))).fetchall()
        )
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

        def delete(connection: sqlite3.Connection) -> int:
            return connection.execute("DELETE FROM consent_record WHERE subject_id = ?", (key,)).rowcount

        try:
            return self._database.erase(delete, key)
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
        return SQLiteSalts(self._database)

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
        return self._database.path, self._required, self._timeout

    @property
    def _store(self) -> str:
        return self._database.real_path

    def __repr__(self) -> str:
        return f"<SQLiteRegistry{' (closed)' if self._database.is_closed else ''}>"

    def _append(self, records: list[ConsentRecord], *, is_stamped_here: bool = False) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                kept = records
                if is_stamped_here:
                    (latest,) = connection.execute(_LATEST_OF_ALL, (records[0].subject_id,)).fetchone()
                    kept = [not_before(record, None if latest is None else _moment(latest)) for record in records]
                connection.executemany(_INSERT, map(_row, kept))

        self._database.use(insert)

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
