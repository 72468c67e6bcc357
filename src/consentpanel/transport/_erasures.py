"""Requests to erase a person that are kept in a spool or an outbox until the vendor has taken them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from consentpanel._log import note_failure, warn_rarely
from consentpanel.errors import ConsentPanelError
from consentpanel.transport._message_store import Connection, MessageStore
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


class _Kept(NamedTuple):
    number: int
    token: str
    asked: str
    numbers: str | None
    tries: int


class Erasures:
    """The requests among what waits.

    Args:
        store: Where that is.
    """

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._table = store.names.erasure

    def keep(self, token: str, asked: str) -> int:
        """Writes a request; its number. It is kept when this returns.

        Raises:
            MixpanelException: The database fails.
        """
        token = self._store.name_of(token)

        def insert(connection: Connection) -> int:
            # Who asks twice while the vendor is down asks for the same.
            query = f"SELECT number FROM {self._table} WHERE token = ? AND asked = ? AND numbers IS NULL"
            waits = connection.execute(query, (token, asked)).fetchone()
            if waits is not None:
                return int(waits[0])
            return self._store.inserted(
                connection, f"INSERT INTO {self._table} (token, asked) VALUES (?, ?)", (token, asked)
            )

        return self._store.write(insert)

    def are_due(self, clients: Iterable[Restorer], present: int) -> bool:
        """Whether some may be tried now, by one of these clients.

        Raises:
            MixpanelException: The database fails.
        """
        tokens = [self._store.name_of(client.token) for client in clients if client.can_erase]
        query = f"SELECT 1 FROM {self._table} WHERE {_may_be_tried(tokens)} LIMIT 1"
        values = (*tokens, present, present)
        return bool(tokens) and self._store.read(lambda each: each.execute(query, values).fetchone()) is not None

    def carry_out(self, clients: Iterable[Restorer], present: int, *, only: int | None = None) -> Any:
        """Tries what waits, and may be tried now.

        Args:
            clients: Those of this process.
            present: Now, in milliseconds since 1970 UTC.
            only: The number of the only one to be tried; None for any.

        Returns:
            What the vendor made of the last one that it took: its tasks; None for none.

        Raises:
            MixpanelException: The database fails.
        """
        able = {self._store.name_of(client.token): client for client in clients if client.can_erase}
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
        wanted = _may_be_tried(tokens)
        values: list[Any] = [*tokens, present, present]
        if only is not None:
            wanted += " AND number = ?"
            values.append(only)

        query = (
            f"SELECT number, token, asked, numbers, tries FROM {self._table} WHERE {wanted} ORDER BY number LIMIT 100"
        )

        def claim(connection: Connection) -> list[_Kept]:
            rows = connection.execute(query + self._store.passing_by, values).fetchall()
            connection.executemany(
                f"UPDATE {self._table} SET leased_until = ?, tries = tries + 1 WHERE number = ?",
                [(present + 1000 * _ALONE, row[0]) for row in rows],
            )
            return [_Kept(*row) for row in rows]

        # A look before the lock for writing: most often nothing waits.
        if not tokens or not self._store.read(lambda each: each.execute(query, values).fetchall()):
            return []
        return self._store.write(claim)

    def _note(self, kept: _Kept, numbers: list[str]) -> None:
        values = (json.dumps(numbers), kept.number)
        self._store.write(lambda each: each.execute(f"UPDATE {self._table} SET numbers = ? WHERE number = ?", values))

    def _put_off(self, kept: _Kept, present: int) -> None:
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(kept.tries, 20))
        values = (present + 1000 * pause, kept.number)
        later = f"UPDATE {self._table} SET available = ?, leased_until = 0 WHERE number = ?"
        self._store.write(lambda each: each.execute(later, values))

    def _end(self, kept: _Kept) -> None:
        self._store.write(lambda each: each.execute(f"DELETE FROM {self._table} WHERE number = ?", (kept.number,)))
        self._store.tidy()


def _may_be_tried(tokens: Collection[str]) -> str:
    return f"token IN ({','.join('?' * len(tokens))}) AND leased_until <= ? AND available <= ?"
