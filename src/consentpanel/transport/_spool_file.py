"""The file of a spool: messages that wait on the disk, for many processes. It knows rows, and sends nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from consentpanel._sqlite import Database, Kind, transaction
from consentpanel.transport import _erasures as erasures
from consentpanel.transport._waiting import vendor_error

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
        "CREATE TABLE fence (last INTEGER NOT NULL)",
        "INSERT INTO fence VALUES (0)",
        *erasures.SCHEMA,
    ),
)
#: How sure a message is when `append` returns: of the end of the process, or of a power cut too.
DURABILITIES = {"process": "NORMAL", "full": "FULL"}

_ALL = "number, endpoint, token, subject, kept, message, size, created, failure"
_FIELDS = "number, endpoint, token, kept, message, size, created, failure"
_TABLES = ("spooled", "dead_letter", "held")


class Row(NamedTuple):
    """One message in the file.

    Attributes:
        number: Its place in the order of writing.
        endpoint: Where it goes.
        token: Of the client that judges it again; None for one that nobody judges.
        kept: What its ticket is made of again, as JSON.
        message: Its own JSON.
        size: Bytes of that.
        created: When it was written.
        failure: Why it was not delivered so far, as a code; None for nothing.
    """

    number: int
    endpoint: str
    token: str | None
    kept: str
    message: str
    size: int
    created: int
    failure: str | None

    def __repr__(self) -> str:
        # The JSON holds what somebody did.
        return f"Row({self.number}, {self.endpoint!r})"


class Summary(NamedTuple):
    """What a file holds, and nothing of the messages."""

    waiting: int
    dead: int
    held: int
    erasures: int
    size: int
    oldest: int | None
    failure: str | None


class SpoolFile:
    """Messages that wait in a SQLite file.

    Args:
        path: The file; made when it does not exist.
        durability: One of `DURABILITIES`.
        timeout: Seconds to wait for another writer.

    Raises:
        ConfigurationError: The file cannot be opened, or is of another kind.
    """

    def __init__(self, path: str | os.PathLike[str], durability: str = "process", timeout: float = 5.0) -> None:
        raised = partial(vendor_error, None)
        kind = Kind("spool", _APPLICATION_ID, _MIGRATIONS, raised, DURABILITIES[durability], page_size=1024)
        self._database = Database(path, kind, timeout)
        #: The requests to erase people that wait.
        self.erasures = erasures.Erasures(self._database)

    @property
    def path(self) -> str:
        """The file."""
        return self._database.path

    def append(
        self,
        endpoint: str,
        token: str | None,
        subjects: Sequence[str],
        kept: str,
        message: str,
        size: int,
        hold_for: float = 0.0,
    ) -> int:
        """Writes a message; its number. With `hold_for` it is held for so many seconds.

        Raises:
            MixpanelException: The file cannot be written.
        """
        first, others = (subjects[0], subjects[1:]) if subjects else (None, ())
        values = (endpoint, token, first, kept, message, size, present())

        def insert(connection: sqlite3.Connection) -> int:
            if not others and not hold_for:
                # One statement is a transaction of its own, at half the cost.
                return connection.execute(_INSERT, values).lastrowid or 0
            with transaction(connection):
                number = connection.execute(_INSERT, values).lastrowid or 0
                rows = [(other, number) for other in others]
                connection.executemany("INSERT OR IGNORE INTO also_named VALUES (?, ?)", rows)
                if hold_for:
                    # By way of the other table, which gives the number.
                    connection.execute(_HOLD, (present() + int(hold_for * 1000), number))
                    connection.execute("DELETE FROM spooled WHERE number = ?", (number,))
            return number

        return self._database.use(insert)

    def held(self, tokens: Collection[str], after: int, most: int) -> list[Row]:
        """Some of what is held for people who were never asked.

        Args:
            tokens: Of the clients that can judge them.
            after: The number after which they are wanted.
            most: The most rows.

        Raises:
            MixpanelException: The file fails.
        """
        asked = ",".join("?" * len(tokens))
        query = f"SELECT {_FIELDS} FROM held WHERE number > ? AND token IN ({asked}) ORDER BY number LIMIT ?"  # noqa: S608 - constants
        rows = self._database.use(lambda connection: connection.execute(query, (after, *tokens, most)).fetchall())
        return list(map(Row._make, rows))

    def release(self, numbers: Iterable[int]) -> set[int]:
        """Lets messages wait for delivery that were held; which of them were still there.

        Raises:
            MixpanelException: The file fails.
        """

        def move(connection: sqlite3.Connection) -> set[int]:
            moved = set()
            with transaction(connection):
                for number in asked:
                    if connection.execute(_RELEASE, (number,)).rowcount:
                        connection.execute("DELETE FROM held WHERE number = ?", (number,))
                        moved.add(number)
            return moved

        asked = list(numbers)
        return self._database.use(move) if asked else set()

    def held_of(self, tokens: Collection[str], subject: str) -> list[Row]:
        """What is held of one person.

        Args:
            tokens: Of the clients that can judge it.
            subject: The person's look-up key.

        Raises:
            MixpanelException: The file fails.
        """
        query = _ABOUT.format("held")
        rows = self._database.use(lambda connection: connection.execute(query, (subject, subject)).fetchall())
        return [row for row in map(Row._make, rows) if row.token in tokens]

    def has_held(self) -> bool:
        """Whether something is held.

        Raises:
            MixpanelException: The file fails.
        """
        return self._database.use(lambda each: each.execute("SELECT 1 FROM held LIMIT 1").fetchone()) is not None

    def over(self, numbers: Iterable[int]) -> list[int]:
        """Which of some held messages were held for as long as they may be.

        Raises:
            MixpanelException: The file fails.
        """
        asked = set(numbers)
        query = "SELECT number FROM held WHERE until <= ?"
        rows = self._database.use(lambda each: each.execute(query, (present(),)).fetchall()) if asked else []
        return [number for (number,) in rows if number in asked]

    def end_holding(self, numbers: Iterable[int] = (), before: int | None = None) -> list[Row]:
        """Erases some of what is held; what was still there.

        Args:
            numbers: Which.
            before: And all whose time was over by then, in milliseconds since 1970 UTC.

        Raises:
            MixpanelException: The file fails.
        """
        asked = list(numbers)

        def erase(connection: sqlite3.Connection) -> list[Row]:
            found = asked
            if before is not None:
                rows = connection.execute("SELECT number FROM held WHERE until <= ?", (before,)).fetchall()
                found = [*asked, *(number for (number,) in rows)]
            if not found:
                return []
            gone = []
            with transaction(connection):
                for number in found:
                    gone += connection.execute(f"SELECT {_FIELDS} FROM held WHERE number = ?", (number,)).fetchall()  # noqa: S608 - constants
                    _erase(connection, "held", number)
            return list(map(Row._make, gone))

        rows = self._database.use(erase) if asked or before is not None else []
        if rows:
            self.tidy()
        return rows

    def claim(
        self,
        endpoint: str,
        tokens: Collection[str],
        *,
        most: int,
        most_bytes: int,
        in_order: bool,
        until: int,
        last: int | None = None,
    ) -> tuple[int, list[Row]]:
        """Leases messages to this caller: the first that wait, and that nobody else has leased.

        Args:
            endpoint: Where they go.
            tokens: Of the clients that can judge them; those without a token are anybody's.
            most: The most messages.
            most_bytes: The most bytes of JSON; of a larger one that alone.
            in_order: Whether the messages of one person have to leave in their order: then one caller at a time leases.
            until: When the lease ends by itself.
            last: The number up to which messages are taken; None for all.

        Returns:
            The number of the lease, which grows with each, and the rows.

        Raises:
            MixpanelException: The file fails.
        """
        mine = _OF.format(",".join("?" * len(tokens)))
        is_there = f"SELECT 1 FROM spooled WHERE endpoint = ? AND {mine} LIMIT 1"  # noqa: S608 - constants

        def lease(connection: sqlite3.Connection) -> tuple[int, list[Row]]:
            now = present()
            # A look before the lock for writing: most often nothing waits.
            if connection.execute(is_there, (endpoint, *tokens)).fetchone() is None:
                return 0, []
            with transaction(connection):
                if in_order and connection.execute(_IS_LEASED, (endpoint, now)).fetchone() is not None:
                    return 0, []
                found = connection.execute(
                    f"SELECT {_FIELDS}, available, subject FROM spooled WHERE endpoint = ? AND {mine}"  # noqa: S608 - constants
                    f" AND number <= ? AND leased_until <= ?{'' if in_order else ' AND available <= ?'} ORDER BY number LIMIT ?",
                    (endpoint, *tokens, _LAST if last is None else last, now, *(() if in_order else (now,)), most),
                ).fetchall()
                rows = _chosen(connection, found, now, most_bytes)
                if not rows:
                    return 0, []
                connection.execute("UPDATE fence SET last = last + 1")
                ((number,),) = connection.execute("SELECT last FROM fence").fetchall()
                connection.executemany(
                    "UPDATE spooled SET lease = ?, leased_until = ? WHERE number = ?",
                    [(number, until, row.number) for row in rows],
                )
            return number, rows

        return self._database.use(lease)

    def renew(self, lease: int, numbers: Iterable[int], until: int) -> set[int]:
        """Lengthens a lease; the numbers that are still there and still under it.

        Raises:
            MixpanelException: The file fails.
        """
        asked = [(until, number, lease) for number in numbers]

        def lengthen(connection: sqlite3.Connection) -> set[int]:
            with transaction(connection):
                connection.executemany("UPDATE spooled SET leased_until = ? WHERE number = ? AND lease = ?", asked)
                rows = connection.execute("SELECT number FROM spooled WHERE lease = ?", (lease,)).fetchall()
            return {number for (number,) in rows}

        return self._database.use(lengthen)

    def ask_again(self, last: int) -> None:
        """Lets messages up to a number be tried now of which a registry could not tell.

        Raises:
            MixpanelException: The file fails.
        """

        def release(connection: sqlite3.Connection) -> None:
            if connection.execute(_IS_UNHEARD, (last,)).fetchone() is not None:
                with transaction(connection):
                    connection.execute(_ASK_AGAIN, (last,))

        self._database.use(release)

    def finish(
        self,
        lease: int,
        done: Iterable[int],
        dead: Iterable[tuple[int, str]],
        back: Iterable[tuple[int, int, str | None, str | None]],
    ) -> None:
        """Ends a lease.

        Args:
            lease: Its number: what another caller has leased since is left alone.
            done: What is to be erased.
            dead: What failed for good, and why.
            back: What waits again: its number, when it may be tried, why it failed, and its new JSON where less is left.

        Raises:
            MixpanelException: The file fails; then the lease ends by itself.
        """

        def end(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                for number, failure in dead:
                    connection.execute(_BURY, (failure, number, lease))
                gone = [*done, *(number for number, _ in dead)]
                connection.executemany(
                    "DELETE FROM spooled WHERE number = ? AND lease = ?", [(each, lease) for each in gone]
                )
                # What another caller has leased since still names whom it names.
                connection.executemany(_UNNAME, [(each,) for each in done])
                for number, available, why, left in back:
                    is_mine = connection.execute(_BACK, (available, why, number, lease)).rowcount
                    if is_mine and left is not None:
                        connection.execute(_REDUCE.format("spooled"), (left, len(left), number))

        done, dead, back = list(done), list(dead), list(back)
        self._database.use(end)

    def purge(
        self, subject: str, tokens: Collection[str] | None, left_of: Callable[[Row], str | bool]
    ) -> tuple[int, list[tuple[Row, str | None]]]:
        """Takes out, for good, what says something about a person, whoever wrote it.

        Args:
            subject: The person's look-up key.
            tokens: Of the clients whose messages are meant; None for everybody's.
            left_of: Of a row: True to keep it, False to take it out, or the JSON that is left of it.

        Returns:
            How many were taken out or reduced; and of those of which nobody has heard so far, the rows, with what is left of
            each. Of one on its way whoever sends it hears.

        Raises:
            MixpanelException: The file fails.
        """
        changed: list[tuple[Row, str | None]] = []

        def delete(connection: sqlite3.Connection) -> int:
            changed.clear()
            count = 0
            now = present()
            for table in _TABLES:
                rows = connection.execute(_ABOUT.format(table), (subject, subject)).fetchall()
                for row in map(Row._make, rows):
                    left = True if tokens is not None and row.token not in {None, *tokens} else left_of(row)
                    if left is True:
                        continue
                    is_waiting = table == "held"
                    if table == "spooled":
                        (until,) = connection.execute(_LEASED_UNTIL, (row.number,)).fetchone()
                        is_waiting = until <= now
                    if isinstance(left, str):
                        connection.execute(_REDUCE.format(table), (left, len(left), row.number))
                    else:
                        _erase(connection, table, row.number)
                    count += is_waiting or table == "dead_letter"
                    if is_waiting:
                        changed.append((row, left if isinstance(left, str) else None))
            return count

        return self._database.erase(delete, subject, may_be_later=True), changed

    def expire(self, before: int, tokens: Collection[str]) -> list[Row]:
        """Takes out what is older, unless somebody is sending it; the rows of which nobody has heard so far.

        Args:
            before: When, in milliseconds since 1970 UTC.
            tokens: Of the clients whose messages are meant, and those of none.

        Raises:
            MixpanelException: The file fails.
        """
        mine = _OF.format(",".join("?" * len(tokens)))
        old = f"SELECT {_FIELDS} FROM spooled WHERE created < ? AND leased_until <= ? AND {mine} ORDER BY number"  # noqa: S608 - constants
        dead = f"SELECT number FROM dead_letter WHERE created < ? AND {mine}"  # noqa: S608 - constants

        def delete(connection: sqlite3.Connection) -> list[Row]:
            now = present()
            if connection.execute(_IS_OLD, (before, before)).fetchone() is None:
                return []
            with transaction(connection):
                rows = connection.execute(old, (before, now, *tokens)).fetchall()
                buried = connection.execute(dead, (before, *tokens)).fetchall()
                for row in rows:
                    _erase(connection, "spooled", row[0])
                for (number,) in buried:
                    _erase(connection, "dead_letter", number)
            return list(map(Row._make, rows))

        rows = self._database.use(delete)
        self.tidy()
        return rows

    def dead_letters(self, tokens: Collection[str]) -> list[Row]:
        """What failed for good, of some clients.

        Raises:
            MixpanelException: The file fails.
        """
        rows = self._database.use(lambda connection: connection.execute(_DEAD).fetchall())
        return [row for row in map(Row._make, rows) if row.token in tokens]

    def forget_dead(self, numbers: Iterable[int]) -> None:
        """Erases some of what failed for good.

        Raises:
            MixpanelException: The file fails.
        """
        numbers = list(numbers)

        def delete(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                for number in numbers:
                    _erase(connection, "dead_letter", number)

        if numbers:
            self._database.use(delete)
            self.tidy()

    def among(self, numbers: Iterable[int]) -> set[int]:
        """Which of some numbers wait, or are held, in the file.

        Raises:
            MixpanelException: The file fails.
        """
        asked = list(numbers)

        def look(connection: sqlite3.Connection) -> set[int]:
            return {each for each in asked if connection.execute(_IS_THERE, (each, each)).fetchone() is not None}

        return self._database.use(look)

    def waiting(self, tokens: Collection[str] | None = None, last: int | None = None, *, heard: bool = True) -> int:
        """How many messages wait.

        Args:
            tokens: Only those of some clients and of none.
            last: Only those up to a number.
            heard: Whether those count of which a registry could not tell.

        Raises:
            MixpanelException: The file fails.
        """
        wanted, given = ["1"], []
        if tokens is not None:
            wanted.append(_OF.format(",".join("?" * len(tokens))))
            given += [*tokens]
        if last is not None:
            wanted.append("number <= ?")
            given += [last]  # type: ignore[list-item]
        if not heard:
            wanted.append("coalesce(failure, '') <> 'registry_error'")
        query = f"SELECT count(*) FROM spooled WHERE {' AND '.join(wanted)}"  # noqa: S608 - constants
        count: int = self._database.use(lambda connection: connection.execute(query, given).fetchone()[0])
        return count

    def last_number(self) -> int:
        """The number of the message that was written last; 0 for none.

        Raises:
            MixpanelException: The file fails.
        """
        # Of what is held too, which keeps its number.
        last = self._database.use(
            lambda connection: connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'spooled'").fetchone()
        )
        return 0 if last is None else int(last[0])

    def size(self) -> int:
        """Bytes of the file that are in use.

        Raises:
            MixpanelException: The file fails.
        """

        def ask(connection: sqlite3.Connection) -> int:
            pages, free, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            return int((pages - free) * size)

        return self._database.use(ask)

    def summary(self) -> Summary:
        """What the file holds, and nothing of the messages.

        Raises:
            MixpanelException: The file fails.
        """

        def ask(connection: sqlite3.Connection) -> Summary:
            waiting, size, oldest = connection.execute(
                "SELECT count(*), coalesce(sum(size), 0), min(created) FROM spooled"
            ).fetchone()
            (dead,) = connection.execute("SELECT count(*) FROM dead_letter").fetchone()
            (held,) = connection.execute("SELECT count(*) FROM held").fetchone()
            last = connection.execute(
                "SELECT failure FROM spooled WHERE failure IS NOT NULL ORDER BY available DESC, number DESC LIMIT 1"
            ).fetchone()
            (asked,) = connection.execute("SELECT count(*) FROM erasure").fetchone()
            return Summary(waiting, dead, held, asked, size, oldest, None if last is None else last[0])

        return self._database.use(ask)

    def tidy(self, timeout: float = 0.0) -> None:
        """Empties the log, in which bytes of what is erased would stay; waits so many seconds for whoever is reading."""
        self._database.empty_log(timeout)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


def present() -> int:
    """Now, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def _chosen(connection: sqlite3.Connection, found: Sequence[tuple[Any, ...]], now: int, most_bytes: int) -> list[Row]:
    """The rows that one request can carry; none of a person of whom an earlier one has to wait."""
    others: dict[int, set[str]] = {}
    if found:
        for number, other in connection.execute(_OTHERS, (found[0][0], found[-1][0])):
            others.setdefault(number, set()).add(other)
    rows: list[Row] = []
    blocked: set[str] = set()
    size = 0
    for *fields, available, subject in found:
        row = Row._make(fields)
        subjects = others.get(row.number, set()) | ({subject} - {None})
        if available > now or not blocked.isdisjoint(subjects):
            blocked |= subjects
            continue
        size += row.size + 1
        if rows and size >= most_bytes:
            break
        rows.append(row)
    return rows


def _erase(connection: sqlite3.Connection, table: str, number: int) -> None:
    connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))  # noqa: S608 - constants
    connection.execute("DELETE FROM also_named WHERE number = ?", (number,))


_OF = "(token IS NULL OR token IN ({}))"
_INSERT = "INSERT INTO spooled (endpoint, token, subject, kept, message, size, created) VALUES (?, ?, ?, ?, ?, ?, ?)"
_IS_LEASED = "SELECT 1 FROM spooled WHERE endpoint = ? AND leased_until > ? LIMIT 1"
_BURY = (
    "INSERT INTO dead_letter SELECT number, endpoint, token, subject, kept, message, size, created, ? FROM spooled"
    " WHERE number = ? AND lease = ?"
)
_BACK = "UPDATE spooled SET leased_until = 0, available = ?, failure = ? WHERE number = ? AND lease = ?"
#: Of what is left nobody need be asked: no purposes and no removal, by their places in `Kept.as_json`.
_REDUCE = (
    "UPDATE {} SET message = ?, size = ?, kept = json_set(kept, '$[3]', json('[]'), '$[5]', NULL) WHERE number = ?"
)
_ABOUT = (
    f"SELECT {_FIELDS} FROM {{0}} WHERE subject = ?"  # noqa: S608 - constants
    f" UNION SELECT {_FIELDS} FROM {{0}} WHERE number IN (SELECT number FROM also_named WHERE subject = ?) ORDER BY number"
)
_IS_OLD = "SELECT 1 WHERE EXISTS (SELECT 1 FROM spooled WHERE created < ?) OR EXISTS (SELECT 1 FROM dead_letter WHERE created < ?)"
_IS_UNHEARD = "SELECT 1 FROM spooled WHERE failure = 'registry_error' AND number <= ? LIMIT 1"
_ASK_AGAIN = "UPDATE spooled SET failure = NULL, available = 0 WHERE failure = 'registry_error' AND number <= ?"
_LEASED_UNTIL = "SELECT leased_until FROM spooled WHERE number = ?"
_UNNAME = (
    "DELETE FROM also_named WHERE number = ? AND NOT EXISTS (SELECT 1 FROM spooled WHERE spooled.number = also_named.number)"
    " AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.number = also_named.number)"
    " AND NOT EXISTS (SELECT 1 FROM held WHERE held.number = also_named.number)"
)
#: More than any number.
_LAST = 2**63 - 1
_DEAD = f"SELECT {_FIELDS} FROM dead_letter ORDER BY number"  # noqa: S608 - constants
_IS_THERE = "SELECT 1 FROM spooled WHERE number = ? UNION ALL SELECT 1 FROM held WHERE number = ?"
_HOLD = f"INSERT INTO held SELECT {_ALL}, ? FROM spooled WHERE number = ?"  # noqa: S608 - constants
_RELEASE = f"INSERT INTO spooled ({_ALL}) SELECT {_ALL} FROM held WHERE number = ?"  # noqa: S608 - constants
_OTHERS = "SELECT number, subject FROM also_named WHERE number BETWEEN ? AND ?"
