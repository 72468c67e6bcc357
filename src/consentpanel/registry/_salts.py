"""Salts of `per_subject` ids in the file of a `SQLiteRegistry`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping

from consentpanel._sqlite import Database, transaction

_OF_ONE = "FROM subject_salt WHERE scope = ? AND subject_id = ?"
_SALT = f"SELECT salt {_OF_ONE}"


class SQLiteSalts(MutableMapping[str, str]):
    """A mapping from subject ids to salts, in a consent file. A deleted salt is overwritten on the disk.

    Args:
        database: The consent file.
        scope: The tenant; empty for a file of one.
    """

    def __init__(self, database: Database, scope: str = "") -> None:
        self._database = database
        self._scope = scope

    def __getitem__(self, subject_id: str) -> str:
        row = self._database.use(lambda connection: connection.execute(_SALT, (self._scope, subject_id)).fetchone())
        if row is None:
            raise KeyError  # without the id, which is somebody's
        salt: str = row[0]
        return salt

    def setdefault(self, subject_id: str, default: str = "") -> str:
        """The salt of a person, which is `default` if there was none; one statement, for many processes."""

        def add(connection: sqlite3.Connection) -> str:
            with transaction(connection):
                connection.execute(
                    "INSERT OR IGNORE INTO subject_salt VALUES (?, ?, ?)", (self._scope, subject_id, default)
                )
            row = connection.execute(_SALT, (self._scope, subject_id)).fetchone()
            # Somebody may have deleted it in between, and then nothing is known of the person.
            return default if row is None else str(row[0])

        salt: str = self._database.use(add)
        return salt

    def __setitem__(self, subject_id: str, salt: str) -> None:
        def put(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.execute(
                    "INSERT OR REPLACE INTO subject_salt VALUES (?, ?, ?)", (self._scope, subject_id, salt)
                )

        self._database.use(put)

    def __delitem__(self, subject_id: str) -> None:
        def delete(connection: sqlite3.Connection) -> int:
            return connection.execute(f"DELETE {_OF_ONE}", (self._scope, subject_id)).rowcount

        if not self._database.erase(delete, subject_id):
            raise KeyError

    def __iter__(self) -> Iterator[str]:
        rows = self._database.use(
            lambda connection: connection.execute(
                "SELECT subject_id FROM subject_salt WHERE scope = ?", (self._scope,)
            ).fetchall()
        )
        return (row[0] for row in rows)

    def __len__(self) -> int:
        count: int = self._database.use(
            lambda connection: connection.execute(
                "SELECT count(*) FROM subject_salt WHERE scope = ?", (self._scope,)
            ).fetchone()[0]
        )
        return count

    def __repr__(self) -> str:
        return "<SQLiteSalts>"
