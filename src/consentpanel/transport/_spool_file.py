"""The file of a spool: messages that wait on the disk, for many processes of one machine."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from consentpanel._sqlite import Database, Kind, transaction
from consentpanel.transport import _erasures as erasures
from consentpanel.transport._message_store import Connection, MessageStore, Names, New
from consentpanel.transport._waiting import vendor_error

_T = TypeVar("_T")

#: "CNSS" in the header of the file.
_APPLICATION_ID = 0x434E5353

#: Of each table of messages. Times are milliseconds since 1970 UTC.
_COLUMNS = """
    endpoint TEXT NOT NULL,
    token TEXT,
    subject TEXT,
    kept TEXT NOT NULL,
    message TEXT NOT NULL,
    size INTEGER NOT NULL,
    created INTEGER NOT NULL,
    failure TEXT
"""
_MIGRATIONS = (
    (
        # AUTOINCREMENT, so that no number is ever given twice.
        f"""CREATE TABLE spooled (
            number INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS},
            available INTEGER NOT NULL DEFAULT 0,
            leased_until INTEGER NOT NULL DEFAULT 0,
            lease INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE INDEX spooled_in_order ON spooled (endpoint, number)",
        "CREATE INDEX spooled_by_subject ON spooled (subject)",
        # What fails for good.
        f"CREATE TABLE dead_letter (number INTEGER PRIMARY KEY, {_COLUMNS})",
        # Of people who were never asked; `until` is when it is given up.
        f"CREATE TABLE held (number INTEGER PRIMARY KEY, {_COLUMNS}, until INTEGER NOT NULL)",
        "CREATE INDEX held_by_subject ON held (subject)",
        "CREATE INDEX held_by_end ON held (until)",
        "CREATE INDEX dead_letter_by_subject ON dead_letter (subject)",
        # Of messages that name more than one person: the others.
        "CREATE TABLE also_named (subject TEXT, number INTEGER, PRIMARY KEY (subject, number)) WITHOUT ROWID",
        "CREATE INDEX also_named_by_number ON also_named (number)",
        *erasures.SCHEMA,
    ),
)
#: How sure a message is when `append` returns: of the end of the process, or of a power cut too.
DURABILITIES = {"process": "NORMAL", "full": "FULL"}


class SpoolFile(MessageStore):
    """Messages that wait in a SQLite file.

    Args:
        path: The file; made when it does not exist.
        durability: One of `DURABILITIES`.
        timeout: Seconds to wait for another writer.

    Raises:
        ConfigurationError: The file cannot be opened, or is of another kind.
    """

    def __init__(self, path: str | os.PathLike[str], durability: str = "process", timeout: float = 5.0) -> None:
        super().__init__(Names())
        raised = partial(vendor_error, None)
        kind = Kind("spool", _APPLICATION_ID, _MIGRATIONS, raised, DURABILITIES[durability], page_size=1024)
        self._database = Database(path, kind, timeout)

    @property
    def path(self) -> str:
        """The file."""
        return self._database.path

    def read(self, act: Callable[[Connection], _T]) -> _T:
        return self._database.use(act)

    def write(self, act: Callable[[Connection], _T]) -> _T:
        def write(connection: sqlite3.Connection) -> _T:
            with transaction(connection):
                return act(connection)

        return self._database.use(write)

    def append(self, new: New) -> int:
        if new.hold_for or len(new.subjects) > 1:
            return super().append(new)
        # One statement is a transaction of its own, at half the cost.
        return self._database.use(lambda connection: self.put(connection, new))

    def erase(self, act: Callable[[Connection], int], subject: str) -> int:
        return self._database.erase(act, subject, may_be_later=True)

    def tidy(self, timeout: float = 0.0) -> None:
        """Empties the log, in which bytes of what is erased would stay; waits so many seconds for whoever is reading."""
        self._database.empty_log(timeout)

    def size(self) -> int:
        def ask(connection: Connection) -> int:
            pages, free, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            return int((pages - free) * size)

        return self.read(ask)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()
