"""Requests to erase a person that are kept in the file of a spool until the vendor has taken them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from consentpanel._log import note_failure, warn_rarely
from consentpanel._sqlite import Database, transaction
from consentpanel.errors import ConsentPanelError
from consentpanel.transport._ticket import Restorer

SCHEMA = (
    # Times are milliseconds since 1970 UTC; `numbers` are the vendor's, once it has taken the request.
    """CREATE TABLE erasure (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        token TEXT NOT NULL,
        asked TEXT NOT NULL,
        numbers TEXT,
        tries INTEGER NOT NULL DEFAULT 0,
        available INTEGER NOT NULL DEFAULT 0,
        leased_until INTEGER NOT NULL DEFAULT 0
    )""",
)
#: Seconds: the first pause after a failure, which doubles with each, and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 2, 3600
#: Seconds for which whoever tries a request has it alone.
_ALONE = 120


_MAY_BE_TRIED = "token IN ({}) AND leased_until <= ? AND available <= ?"


class _Kept(NamedTuple):
    number: int
    token: str
    asked: str
    numbers: str | None
    tries: int


class Erasures:
    """The requests in one file.

    Args:
        database: The file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, token: str, asked: str) -> int:
        """Writes a request; its number. It is on the disk when this returns.

        Raises:
            MixpanelException: The file fails.
        """

        def insert(connection: sqlite3.Connection) -> int:
            # Who asks twice while the vendor is down asks for the same.
            waits = connection.execute(
                "SELECT number FROM erasure WHERE token = ? AND asked = ? AND numbers IS NULL", (token, asked)
            ).fetchone()
            if waits is not None:
                return int(waits[0])
            row = connection.execute("INSERT INTO erasure (token, asked) VALUES (?, ?)", (token, asked))
            return row.lastrowid or 0

        return self._database.use(insert)

    def are_due(self, clients: Iterable[Restorer], present: int) -> bool:
        """Whether some may be tried now, by one of these clients.

        Raises:
            MixpanelException: The file fails.
        """
        tokens = {client.token for client in clients if client.can_erase}
        query = f"SELECT 1 FROM erasure WHERE {_MAY_BE_TRIED.format(','.join('?' * len(tokens)))} LIMIT 1"  # noqa: S608 - constants
        values = (*tokens, present, present)
        return self._database.use(lambda each: each.execute(query, values).fetchone()) is not None

    def carry_out(self, clients: Iterable[Restorer], present: int, *, only: int | None = None) -> Any:
        """Tries what waits, and may be tried now.

        Args:
            clients: Those of this process.
            present: Now, in milliseconds since 1970 UTC.
            only: The number of the only one to be tried; None for any.

        Returns:
            What the vendor made of the last one that it took: its tasks; None for none.

        Raises:
            MixpanelException: The file fails.
        """
        able = {client.token: client for client in clients if client.can_erase}
        done = None
        for kept in self._claim(able, present, only):
            try:
                numbers = None if kept.numbers is None else json.loads(kept.numbers)
                done = able[kept.token].erase(kept.asked, numbers, lambda said, kept=kept: self._note(kept, said))  # type: ignore[misc]
            except ConsentPanelError as error:
                # Its text quotes nothing, and tells what the vendor has answered.
                warn_rarely("an erasure is kept and tried again: %s", str(error))
                self._put_off(kept, present)
            except Exception as error:  # noqa: BLE001 - registries are anybody's; it is tried again
                note_failure("an erasure, which is tried again,", error)
                self._put_off(kept, present)
            else:
                self._end(kept)
        return done

    def _claim(self, tokens: Collection[str], present: int, only: int | None) -> list[_Kept]:
        wanted = _MAY_BE_TRIED.format(",".join("?" * len(tokens)))
        values: list[Any] = [*tokens, present, present]
        if only is not None:
            wanted += " AND number = ?"
            values.append(only)

        def claim(connection: sqlite3.Connection) -> list[_Kept]:
            query = f"SELECT number, token, asked, numbers, tries FROM erasure WHERE {wanted} ORDER BY number LIMIT 100"  # noqa: S608 - constants
            if not connection.execute(query, values).fetchall():
                return []
            with transaction(connection):
                rows = connection.execute(query, values).fetchall()
                connection.executemany(
                    "UPDATE erasure SET leased_until = ?, tries = tries + 1 WHERE number = ?",
                    [(present + 1000 * _ALONE, row[0]) for row in rows],
                )
            return [_Kept(*row) for row in rows]

        return self._database.use(claim) if tokens else []

    def _note(self, kept: _Kept, numbers: list[str]) -> None:
        values = (json.dumps(numbers), kept.number)
        self._database.use(lambda each: each.execute("UPDATE erasure SET numbers = ? WHERE number = ?", values))

    def _put_off(self, kept: _Kept, present: int) -> None:
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(kept.tries, 20))
        values = (present + 1000 * pause, kept.number)
        self._database.use(
            lambda each: each.execute("UPDATE erasure SET available = ?, leased_until = 0 WHERE number = ?", values)
        )

    def _end(self, kept: _Kept) -> None:
        self._database.use(lambda each: each.execute("DELETE FROM erasure WHERE number = ?", (kept.number,)))
        self._database.empty_log(0)
