"""Messages that wait in a database that many machines share: who chooses what leaves next, by whose clock, and what stands for ids."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

from consentpanel.transport._message_store import Connection, MessageStore, Names, New, Row, present

#: MariaDB is one of MySQL's.
Dialect: TypeAlias = Literal["sqlite", "postgresql", "mysql"]

#: Seconds after which the server's clock is looked at again.
_SEEN = 60.0
#: How many times as long as it took to add up what waits it is not added up again.
_RELAXED = 20.0
#: Seconds from which on that is long.
_LONG = 0.05

#: Milliseconds since 1970 UTC by the server's clock, which is the same for all of its clients.
NOW = {
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)",
    # Not by `unix_timestamp`, to which an hour of the autumn comes twice.
    "mysql": "SELECT timestampdiff(MICROSECOND, '1970-01-01', utc_timestamp(6)) DIV 1000",
}
#: What a row is inserted with that may be there.
_UNLESS_THERE = {
    "postgresql": "INSERT INTO {} (endpoint) VALUES (?) ON CONFLICT DO NOTHING",
    "mysql": "INSERT IGNORE INTO {} (endpoint) VALUES (?)",
}


class SharedStore(MessageStore):
    """Messages that wait in a database of many machines.

    Tokens and ids stand there as their digests, which are equal only byte for byte on every database; a message itself, and
    whom it names, as the policy left it.

    Args:
        names: The names of its tables.
        lane: The name of the table whose row somebody holds who chooses what leaves next.
    """

    def __init__(self, names: Names, lane: str) -> None:
        super().__init__(names)
        self._lane = lane
        #: What the server's clock is ahead of `_elapsed`; None before it was asked, and where there is no server.
        self._offset: int | None = None
        self._seen_until = 0.0
        self._measured, self._measured_until = 0, 0.0
        #: Of which endpoints there is a row to hold.
        self._lanes: set[str] = set()
        self._lent = threading.local()

    @property
    def dialect(self) -> Dialect:
        """The kind of the database."""
        raise NotImplementedError

    def look_at_the_server(self) -> tuple[int, bool]:
        """By how much the server's clock is `ahead`, and whether a statement can pass by what others hold.

        Raises:
            MixpanelException: The database fails.
        """
        raise NotImplementedError

    @contextmanager
    def lent(self, theirs: Any) -> Generator[None, None, None]:
        """Until this ends, this thread uses somebody's connection, and writes in its transaction; its own for None."""
        before = self.borrowed
        self._lent.connection = theirs
        try:
            yield
        finally:
            self._lent.connection = before

    @property
    def borrowed(self) -> Any:
        """The connection that was lent to this thread; None for its own."""
        return getattr(self._lent, "connection", None)

    def append_told(self, new: New, tell: Callable[[int], None]) -> None:
        """As `append`; its number is told before it is committed."""
        self.write(lambda connection: tell(self.put(connection, new)))

    def has(self, connection: Connection, number: int) -> bool:
        """Whether a message is still there, or held, for somebody's connection."""
        tables = self.names.waiting, self.names.held
        queries = [f"SELECT 1 FROM {each} WHERE number = ?" for each in tables]
        return any(connection.execute(query, (number,)).fetchone() is not None for query in queries)

    def size(self) -> int:
        """Bytes of the messages that wait; as they were a moment ago, where many do."""
        if time.monotonic() >= self._measured_until:
            names, begun = self.names, time.monotonic()
            parts = [f"SELECT coalesce(sum(size), 0) FROM {each}" for each in (names.waiting, names.held, names.dead)]
            self._measured = self.read(lambda each: sum(int(each.execute(part).fetchone()[0]) for part in parts))
            took = time.monotonic() - begun
            self._measured_until = time.monotonic() + (_RELAXED * took if took > _LONG else 0.0)
        return self._measured

    def present(self) -> int:
        # Not by this machine's clock, which somebody may set.
        return present() if self._offset is None else _elapsed() + self._offset

    def inserted(self, connection: Connection, sql: str, values: Sequence[Any]) -> int:
        if self.dialect == "postgresql":
            return int(connection.execute(f"{sql} RETURNING number", values).fetchone()[0])
        return super().inserted(connection, sql, values)

    def name_of(self, text: str) -> str:
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def see_the_server(self) -> None:
        """Notes, once in a while, what the server's clock says, and what it can do.

        Raises:
            MixpanelException: The database fails.
        """
        if self.dialect == "sqlite" or time.monotonic() < self._seen_until:
            return
        self._offset, skips = self.look_at_the_server()
        self._waited_for = " FOR UPDATE"
        self.passing_by = f" FOR UPDATE{' SKIP LOCKED' if skips else ''}"
        self._seen_until = time.monotonic() + _SEEN

    def _each(self, connection: Connection, sql: str, values: Sequence[Any], numbers: Sequence[int]) -> None:
        if self.dialect == "mysql":
            # One by one: of several MySQL may read the whole table, and wait for each row that others have not committed.
            connection.executemany(sql.replace("IN ({})", "= ?"), [(*values, number) for number in numbers])
        else:
            super()._each(connection, sql, values, numbers)

    def _row(self, fields: Sequence[Any]) -> Row:
        row = Row._make(fields)
        return row if row.token is None else row._replace(token=json.loads(row.kept)[0])

    def _whose_order(self, connection: Connection, endpoint: str, now: int) -> set[str] | None:
        # One caller at a time chooses, and each leaves out whom another one is about to tell of.
        self._take_lane(connection, endpoint)
        leased = f"SELECT number, subject FROM {self.names.waiting} WHERE endpoint = ? AND leased_until > ?"
        rows = connection.execute(leased, (endpoint, now)).fetchall()
        others = self._others(connection, [number for number, _ in rows])
        return {subject for _, subject in rows if subject is not None}.union(*others.values())

    def _take_lane(self, connection: Connection, endpoint: str) -> None:
        # On SQLite only one writes at a time.
        if self.dialect != "sqlite":
            taken = f"SELECT 1 FROM {self._lane} WHERE endpoint = ?{self._waited_for}"
            connection.execute(taken, (endpoint,)).fetchall()

    def _prepare_order(self, endpoint: str) -> None:
        if self.dialect == "sqlite" or endpoint in self._lanes:
            return
        if not self._is_there(f"SELECT 1 FROM {self._lane} WHERE endpoint = ?", (endpoint,)):
            # Another process may just make it.
            into = _UNLESS_THERE[self.dialect].format(self._lane)
            self.write(lambda connection: connection.execute(into, (endpoint,)))
        self._lanes.add(endpoint)


def ahead(now: Callable[[], int]) -> int:
    """Milliseconds by which a server's clock is ahead of the time since some moment, by a clock that nobody sets.

    Args:
        now: Asks the server, as `NOW` says, on a connection that is open.
    """
    before = _elapsed()
    return now() - (before + _elapsed()) // 2


def _elapsed() -> int:
    """Milliseconds since some moment, by a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000
