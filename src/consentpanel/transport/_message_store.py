"""The tables in which messages wait for many processes: what is asked of them and what for, whatever database has them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import attrs

from consentpanel.transport._ticket import Kept

_T = TypeVar("_T")

#: Numbers in one statement; some databases count its parameters in few bits.
_AT_ONCE = 500
#: More than any number.
_LAST = 2**63 - 1

_FIELDS = "number, endpoint, token, kept, message, size, created, failure"
#: Of each table of messages, beside the number.
_VALUES = "endpoint, token, subject, kept, message, size, created"
_ALL = f"number, {_VALUES}, failure"


class Connection(Protocol):
    """A connection to a database, whose statements have ``?`` for each value."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        """Executes a statement; a cursor of PEP 249."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Executes a statement for each row of values."""


class New(NamedTuple):
    """A message that is to be kept.

    Attributes:
        endpoint: Where it goes.
        token: Of the client that judges it again; None for one that nobody judges.
        subjects: Look-up keys of all whom it names.
        kept: What its ticket is made of again, as JSON.
        message: Its own JSON.
        size: Bytes of that.
        hold_for: Seconds that it is held before it may leave; 0 for one that may.
    """

    endpoint: str
    token: str | None
    subjects: tuple[str, ...]
    kept: str
    message: str
    size: int
    hold_for: float = 0.0

    def __repr__(self) -> str:
        return f"New({self.endpoint!r})"


class Row(NamedTuple):
    """One message that is kept.

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
    """What waits, and nothing of the messages."""

    waiting: int
    dead: int
    held: int
    erasures: int
    size: int
    oldest: int | None
    failure: str | None


@attrs.frozen
class Names:
    """The names of the tables.

    Attributes:
        waiting: What waits for delivery.
        dead: What failed for good.
        held: What is held for people who were never asked.
        named: Of messages that name more than one person: the others.
        erasure: Requests to erase a person.
    """

    waiting: str = "spooled"
    dead: str = "dead_letter"
    held: str = "held"
    named: str = "also_named"
    erasure: str = "erasure"


class MessageStore:
    """Messages that wait in a database. It knows rows, and sends nothing.

    Args:
        names: The names of its tables.
    """

    def __init__(self, names: Names) -> None:
        self.names = names

    def read(self, act: Callable[[Connection], _T]) -> _T:
        """What `act` returns for a connection that sees what is committed; it writes nothing.

        Raises:
            MixpanelException: The database fails.
        """
        raise NotImplementedError

    def write(self, act: Callable[[Connection], _T]) -> _T:
        """What `act` returns for a connection within one transaction; it may be called again when that was taken back.

        Raises:
            MixpanelException: The database fails.
        """
        raise NotImplementedError

    def erase(self, act: Callable[[Connection], int], subject: str) -> int:
        """As `write`, of what must leave nothing behind of a person.

        Args:
            act: Deletes rows; how many.
            subject: The person's look-up key.

        Raises:
            MixpanelException: The database fails.
        """
        del subject  # each row that names the person is deleted
        return self.write(act)

    def tidy(self, timeout: float = 0.0) -> None:
        """Leaves no bytes of what is erased, where that is ours to do; waits so many seconds for whoever is reading."""

    def present(self) -> int:
        """Now, in milliseconds since 1970 UTC, by the clock of all who use the tables."""
        return present()

    def size(self) -> int:
        """Bytes that are in use.

        Raises:
            MixpanelException: The database fails.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Closes what is open."""
        raise NotImplementedError

    #: What is added to a statement so that others pass by the rows that it chooses, and wait for those.
    passing_by = _waited_for = ""

    def inserted(self, connection: Connection, sql: str, values: Sequence[Any]) -> int:
        """Inserts a row; its number."""
        number: int | None = connection.execute(sql, values).lastrowid
        return number or 0

    def name_of(self, text: str) -> str:
        """How a token or a look-up key stands in a table."""
        return text

    def _row(self, fields: Sequence[Any]) -> Row:
        return Row._make(fields)

    def append(self, new: New) -> int:
        """Writes a message; its number.

        Raises:
            MixpanelException: The database fails.
        """
        return self.write(lambda connection: self.put(connection, new))

    def put(self, connection: Connection, new: New) -> int:
        """Writes a message within a transaction; its number."""
        names = self.names
        subjects = list(map(self.name_of, dict.fromkeys(new.subjects)))
        first, others = (subjects[0], subjects[1:]) if subjects else (None, [])
        token = None if new.token is None else self.name_of(new.token)
        values = (new.endpoint, token, first, new.kept, new.message, new.size, self.present())
        number = self.inserted(
            connection, f"INSERT INTO {names.waiting} ({_VALUES}) VALUES (?, ?, ?, ?, ?, ?, ?)", values
        )
        if others:
            rows = [(other, number) for other in others]
            connection.executemany(f"INSERT INTO {names.named} (subject, number) VALUES (?, ?)", rows)
        if new.hold_for:
            # By way of the other table, which gives the number.
            until = self.present() + int(new.hold_for * 1000)
            connection.execute(
                f"INSERT INTO {names.held} ({_ALL}, until) SELECT {_ALL}, ? FROM {names.waiting} WHERE number = ?",
                (until, number),
            )
            connection.execute(f"DELETE FROM {names.waiting} WHERE number = ?", (number,))
        return number

    def held(self, tokens: Collection[str], after: int, most: int) -> list[Row]:
        """Some of what is held for people who were never asked.

        Args:
            tokens: Of the clients that can judge them.
            after: The number after which they are wanted.
            most: The most rows.

        Raises:
            MixpanelException: The database fails.
        """
        mine, given = self._of(tokens, may_be_nobodys=False)
        query = f"SELECT {_FIELDS} FROM {self.names.held} WHERE number > ? AND {mine} ORDER BY number LIMIT ?"
        return self._rows(self.read(lambda each: each.execute(query, (after, *given, most)).fetchall()))

    def held_of(self, tokens: Collection[str], subject: str) -> list[Row]:
        """What is held of one person.

        Args:
            tokens: Of the clients that can judge it.
            subject: The person's look-up key.

        Raises:
            MixpanelException: The database fails.
        """
        return [
            row for row in self.read(lambda each: self._about(each, self.names.held, subject)) if row.token in tokens
        ]

    def has_held(self) -> bool:
        """Whether something is held.

        Raises:
            MixpanelException: The database fails.
        """
        return self._is_there(f"SELECT 1 FROM {self.names.held} LIMIT 1")

    def release(self, numbers: Iterable[int]) -> set[int]:
        """Lets messages wait for delivery that were held; which of them were still there.

        Raises:
            MixpanelException: The database fails.
        """
        asked, names = list(numbers), self.names

        def move(connection: Connection) -> set[int]:
            moved = set()
            for number in asked:
                # The row first, so that of two who release it one does.
                there = f"SELECT 1 FROM {names.held} WHERE number = ?{self._waited_for}"
                if connection.execute(there, (number,)).fetchone() is not None:
                    connection.execute(
                        f"INSERT INTO {names.waiting} ({_ALL}) SELECT {_ALL} FROM {names.held} WHERE number = ?",
                        (number,),
                    )
                    connection.execute(f"DELETE FROM {names.held} WHERE number = ?", (number,))
                    moved.add(number)
            return moved

        return self.write(move) if asked else set()

    def over(self, numbers: Iterable[int]) -> list[int]:
        """Which of some held messages were held for as long as they may be.

        Raises:
            MixpanelException: The database fails.
        """
        asked = set(numbers)
        query = f"SELECT number FROM {self.names.held} WHERE until <= ?"
        rows = self.read(lambda each: each.execute(query, (self.present(),)).fetchall()) if asked else []
        return [number for (number,) in rows if number in asked]

    def end_holding(self, numbers: Iterable[int] = (), before: int | None = None) -> list[Row]:
        """Erases some of what is held; what was still there.

        Args:
            numbers: Which.
            before: And all whose time was over by then, in milliseconds since 1970 UTC.

        Raises:
            MixpanelException: The database fails.
        """
        found = list(numbers)
        if before is not None:
            query = f"SELECT number FROM {self.names.held} WHERE until <= ?"
            found += [number for (number,) in self.read(lambda each: each.execute(query, (before,)).fetchall())]

        def end(connection: Connection) -> list[Row]:
            rows = []
            for number in found:
                query = f"SELECT {_FIELDS} FROM {self.names.held} WHERE number = ?{self._waited_for}"
                rows += self._rows(connection.execute(query, (number,)).fetchall())
            self._delete(connection, self.names.held, [row.number for row in rows])
            return rows

        gone = self.write(end) if found else []
        if gone:
            self.tidy()
        return gone

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
            in_order: Whether the messages of one person have to leave in their order.
            until: When the lease ends by itself.
            last: The number up to which messages are taken; None for all.

        Returns:
            The number of the lease, which nobody else has, and the rows.

        Raises:
            MixpanelException: The database fails.
        """
        names, (mine, given) = self.names, self._of(tokens)
        place = f"FROM {names.waiting} WHERE endpoint = ? AND {mine}"
        # A look before the lock for writing: most often nothing waits.
        if not self._is_there(f"SELECT 1 {place} LIMIT 1", (endpoint, *given)):
            return 0, []
        if in_order:
            self._prepare_order(endpoint)

        def lease(connection: Connection) -> tuple[int, list[Row]]:
            now = self.present()
            blocked = self._whose_order(connection, endpoint, now) if in_order else set()
            if blocked is None:
                return 0, []
            # Where nobody else chooses meanwhile no row has to be held, or passed by; and whoever has an earlier one that may not
            # leave yet is left out by the statement, or such rows would be all that it finds.
            turn, values = (self._AFTER_THE_EARLIER.format(names.waiting), (now,)) if in_order else ("", ())
            found = connection.execute(
                f"SELECT {_FIELDS}, subject {place} AND number <= ? AND leased_until <= ? AND available <= ?{turn}"
                f" ORDER BY number LIMIT ?{'' if in_order else self.passing_by}",
                (endpoint, *given, _LAST if last is None else last, now, now, *values, most),
            ).fetchall()
            others = self._others(connection, [fields[0] for fields in found])
            if in_order:
                blocked = blocked | self._stuck(connection, endpoint, now, set().union(*others.values()))
            rows = self._chosen(found, others, blocked, most_bytes)
            if not rows:
                return 0, []
            # Nobody who comes later has the number of a lease that is over.
            number = secrets.randbits(62)
            self._each(
                connection,
                f"UPDATE {names.waiting} SET lease = ?, leased_until = ? WHERE number IN ({{}})",
                (number, until),
                [row.number for row in rows],
            )
            if in_order:
                # As they are by now: somebody may have been withdrawn since they were read.
                mine_now = f"SELECT {_FIELDS} FROM {names.waiting} WHERE lease = ? AND number IN ({{}}) ORDER BY number"
                rows = self._rows(self._found(connection, mine_now, (number,), [row.number for row in rows]))
            return number, rows

        return self.write(lease)

    def _prepare_order(self, endpoint: str) -> None:
        """Makes what `_whose_order` needs, before a transaction."""

    def _whose_order(self, connection: Connection, endpoint: str, now: int) -> set[str] | None:
        """Whose messages have to wait for those that somebody delivers now; None where all of an endpoint wait for each other."""
        leased = f"SELECT 1 FROM {self.names.waiting} WHERE endpoint = ? AND leased_until > ? LIMIT 1"
        return set() if connection.execute(leased, (endpoint, now)).fetchone() is None else None

    #: Of nobody of whom an earlier row may not leave yet.
    _AFTER_THE_EARLIER = (
        " AND NOT EXISTS (SELECT 1 FROM {0} AS earlier WHERE earlier.subject = {0}.subject"
        " AND earlier.endpoint = {0}.endpoint AND earlier.number < {0}.number AND earlier.available > ?)"
    )

    def _stuck(self, connection: Connection, endpoint: str, now: int, others: Collection[str]) -> set[str]:
        """Who has to wait because a message that names several may not leave yet, or because one of these others may not."""
        names = self.names
        several = (
            f"SELECT {names.named}.subject FROM {names.named} JOIN {names.waiting} ON {names.waiting}.number = {names.named}.number"
            f" WHERE {names.waiting}.endpoint = ? AND {names.waiting}.available > ?"
        )
        stuck = {subject for (subject,) in connection.execute(several, (endpoint, now)).fetchall()}
        theirs = f"SELECT subject FROM {names.waiting} WHERE endpoint = ? AND available > ? AND subject IN ({{}})"
        return stuck | {subject for (subject,) in self._found(connection, theirs, (endpoint, now), list(others))}

    def _chosen(
        self, found: Sequence[Sequence[Any]], others: Mapping[int, set[str]], blocked: set[str], most_bytes: int
    ) -> list[Row]:
        """The rows that one request can carry; none of a person of whom an earlier one has to wait."""
        rows: list[Row] = []
        size = 0
        for *fields, subject in found:
            row = self._row(fields)
            subjects = others.get(row.number, set()) | ({subject} - {None})
            if not blocked.isdisjoint(subjects):
                blocked |= subjects
                continue
            size += row.size + 1
            if rows and size >= most_bytes:
                break
            rows.append(row)
        return rows

    def _others(self, connection: Connection, numbers: Sequence[int]) -> dict[int, set[str]]:
        """Whom messages name beside the first."""
        others: dict[int, set[str]] = {}
        query = f"SELECT number, subject FROM {self.names.named} WHERE number IN ({{}})"
        for number, other in self._found(connection, query, (), numbers):
            others.setdefault(number, set()).add(other)
        return others

    def renew(self, lease: int, numbers: Iterable[int], until: int) -> set[int]:
        """Lengthens a lease; the numbers that are still there and still under it.

        Raises:
            MixpanelException: The database fails.
        """
        asked, waiting = list(numbers), self.names.waiting

        def lengthen(connection: Connection) -> set[int]:
            longer = f"UPDATE {waiting} SET leased_until = ? WHERE lease = ? AND number IN ({{}})"
            self._each(connection, longer, (until, lease), asked)
            under = f"SELECT number FROM {waiting} WHERE lease = ? AND number IN ({{}})"
            return {number for (number,) in self._found(connection, under, (lease,), asked)}

        return self.write(lengthen)

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
            MixpanelException: The database fails; then the lease ends by itself.
        """
        done, dead, back, names = list(done), list(dead), list(back), self.names

        def end(connection: Connection) -> None:
            for number, failure in dead:
                connection.execute(
                    f"INSERT INTO {names.dead} ({_ALL}) SELECT number, {_VALUES}, ? FROM {names.waiting}"
                    " WHERE number = ? AND lease = ?",
                    (failure, number, lease),
                )
            gone = [*done, *(number for number, _ in dead)]
            over = f"DELETE FROM {names.waiting} WHERE lease = ? AND number IN ({{}})"
            self._each(connection, over, (lease,), gone)
            self._unname(connection, done)
            for number, available, why, left in back:
                is_mine = connection.execute(
                    f"UPDATE {names.waiting} SET leased_until = 0, available = ?, failure = ? WHERE number = ? AND lease = ?",
                    (available, why, number, lease),
                ).rowcount
                if is_mine and left is not None:
                    self._reduce(connection, names.waiting, number, left)

        self.write(end)

    def _unname(self, connection: Connection, numbers: Sequence[int]) -> None:
        """Forgets whom messages name that are in no table any more; what another caller has leased since still names them."""
        names = self.names
        queries = [
            f"SELECT number FROM {each} WHERE number IN ({{}})" for each in (names.waiting, names.dead, names.held)
        ]
        left = {number for query in queries for (number,) in self._found(connection, query, (), numbers)}
        self._forget_names(connection, [number for number in numbers if number not in left])

    def _forget_names(self, connection: Connection, numbers: Sequence[int]) -> None:
        # Each by its whole key: to look beside it MySQL would wait for what others have not committed.
        query = f"SELECT subject, number FROM {self.names.named} WHERE number IN ({{}})"
        for subject, number in self._found(connection, query, (), numbers):
            one = f"DELETE FROM {self.names.named} WHERE subject = ? AND number = ?"
            connection.execute(one, (subject, number))

    def _reduce(self, connection: Connection, table: str, number: int, left: str) -> None:
        """Leaves of a message what nobody need be asked about: it stands on no purpose."""
        ((kept,),) = connection.execute(f"SELECT kept FROM {table} WHERE number = ?", (number,)).fetchall()
        kept = attrs.evolve(Kept.of_json(kept), purposes=(), removal=None).as_json()
        values = (left, len(left), kept, number)
        connection.execute(f"UPDATE {table} SET message = ?, size = ?, kept = ? WHERE number = ?", values)

    def ask_again(self, last: int) -> None:
        """Lets messages up to a number be tried now of which a registry could not tell.

        Raises:
            MixpanelException: The database fails.
        """
        unheard = (
            f"{self.names.waiting} SET failure = NULL, available = 0 WHERE failure = 'registry_error' AND number <= ?"
        )
        there = f"SELECT 1 FROM {self.names.waiting} WHERE failure = 'registry_error' AND number <= ? LIMIT 1"
        if self._is_there(there, (last,)):
            self.write(lambda connection: connection.execute(f"UPDATE {unheard}", (last,)))

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
            MixpanelException: The database fails.
        """
        changed: list[tuple[Row, str | None]] = []
        names = self.names

        def delete(connection: Connection) -> int:
            changed.clear()
            count = 0
            now = self.present()
            for table in (names.waiting, names.dead, names.held):
                gone = []
                for row in self._about(connection, table, subject):
                    left = True if tokens is not None and row.token not in {None, *tokens} else left_of(row)
                    if left is True:
                        continue
                    is_waiting = table == names.held
                    if table == names.waiting:
                        until = f"SELECT leased_until FROM {table} WHERE number = ?{self._waited_for}"
                        leased = connection.execute(until, (row.number,)).fetchone()
                        if leased is None:
                            # It has just arrived.
                            continue
                        is_waiting = leased[0] <= now
                    if isinstance(left, str):
                        self._reduce(connection, table, row.number, left)
                    else:
                        gone.append(row.number)
                    count += is_waiting or table == names.dead
                    if is_waiting:
                        changed.append((row, left if isinstance(left, str) else None))
                self._delete(connection, table, gone)
            return count

        return self.erase(delete, subject), changed

    def expire(self, before: int, tokens: Collection[str]) -> list[Row]:
        """Takes out what is older, unless somebody is sending it; the rows of which nobody has heard so far.

        Args:
            before: When, in milliseconds since 1970 UTC.
            tokens: Of the clients whose messages are meant, and those of none.

        Raises:
            MixpanelException: The database fails.
        """
        names, (mine, given) = self.names, self._of(tokens)
        tables = names.waiting, names.dead
        if not any(self._is_there(f"SELECT 1 FROM {each} WHERE created < ? LIMIT 1", (before,)) for each in tables):
            return []

        def delete(connection: Connection) -> list[Row]:
            rows = connection.execute(
                f"SELECT {_FIELDS} FROM {names.waiting} WHERE created < ? AND leased_until <= ? AND {mine}"
                f" ORDER BY number{self.passing_by}",
                (before, self.present(), *given),
            ).fetchall()
            dead = f"SELECT number FROM {names.dead} WHERE created < ? AND {mine}"
            buried = connection.execute(dead, (before, *given)).fetchall()
            self._delete(connection, names.waiting, [row[0] for row in rows])
            self._delete(connection, names.dead, [number for (number,) in buried])
            return self._rows(rows)

        rows = self.write(delete)
        self.tidy()
        return rows

    def dead_letters(self, tokens: Collection[str]) -> list[Row]:
        """What failed for good, of some clients.

        Raises:
            MixpanelException: The database fails.
        """
        query = f"SELECT {_FIELDS} FROM {self.names.dead} ORDER BY number"
        rows = self._rows(self.read(lambda connection: connection.execute(query).fetchall()))
        return [row for row in rows if row.token in tokens]

    def forget_dead(self, numbers: Iterable[int]) -> None:
        """Erases some of what failed for good.

        Raises:
            MixpanelException: The database fails.
        """
        if gone := list(numbers):
            self.write(lambda connection: self._delete(connection, self.names.dead, gone))
            self.tidy()

    def among(self, numbers: Iterable[int]) -> set[int]:
        """Which of some numbers wait, or are held.

        Raises:
            MixpanelException: The database fails.
        """
        asked = list(numbers)

        def look(connection: Connection) -> set[int]:
            tables = self.names.waiting, self.names.held
            queries = [f"SELECT number FROM {each} WHERE number IN ({{}})" for each in tables]
            return {number for query in queries for (number,) in self._found(connection, query, (), asked)}

        return self.read(look)

    def waiting(self) -> int:
        """How many messages wait.

        Raises:
            MixpanelException: The database fails.
        """
        query = f"SELECT count(*) FROM {self.names.waiting}"
        count: int = self.read(lambda connection: connection.execute(query).fetchone()[0])
        return count

    def is_waiting(self, tokens: Collection[str], last: int) -> bool:
        """Whether messages up to a number wait for anything but an answer of a registry.

        Args:
            tokens: Of the clients whose messages are meant, and those of none.
            last: The number.

        Raises:
            MixpanelException: The database fails.
        """
        mine, given = self._of(tokens)
        query = f"SELECT 1 FROM {self.names.waiting} WHERE {mine} AND number <= ? AND coalesce(failure, '') <> 'registry_error' LIMIT 1"
        return self._is_there(query, (*given, last))

    def last_number(self) -> int:
        """The number of the last message that is there, or held; 0 for none.

        Raises:
            MixpanelException: The database fails.
        """

        def look(connection: Connection) -> int:
            tables = self.names.waiting, self.names.held
            found = [connection.execute(f"SELECT max(number) FROM {each}").fetchone()[0] for each in tables]
            return max(each or 0 for each in found)

        return self.read(look)

    def summary(self) -> Summary:
        """What waits, and nothing of the messages.

        Raises:
            MixpanelException: The database fails.
        """
        names = self.names

        def ask(connection: Connection) -> Summary:
            waiting, size, oldest = connection.execute(
                f"SELECT count(*), coalesce(sum(size), 0), min(created) FROM {names.waiting}"
            ).fetchone()
            dead, held, asked = (
                connection.execute(f"SELECT count(*) FROM {each}").fetchone()[0]
                for each in (names.dead, names.held, names.erasure)
            )
            last = connection.execute(
                f"SELECT failure FROM {names.waiting} WHERE failure IS NOT NULL ORDER BY available DESC, number DESC LIMIT 1"
            ).fetchone()
            return Summary(waiting, dead, held, asked, int(size), oldest, None if last is None else last[0])

        return self.read(ask)

    def _of(self, tokens: Collection[str], *, may_be_nobodys: bool = True) -> tuple[str, list[str]]:
        """What a statement asks so that it finds the messages of some clients, and with which values."""
        given = list(map(self.name_of, tokens))
        wanted = [f"token IN ({','.join('?' * len(given))})"] if given else []
        if may_be_nobodys:
            wanted.append("token IS NULL")
        return f"({' OR '.join(wanted) or '1 = 0'})", given

    def _about(self, connection: Connection, table: str, subject: str) -> list[Row]:
        """What a table says about a person."""
        query = (
            f"SELECT {_FIELDS} FROM {table} WHERE subject = ? UNION SELECT {_FIELDS} FROM {table}"
            f" WHERE number IN (SELECT number FROM {self.names.named} WHERE subject = ?) ORDER BY number"
        )
        key = self.name_of(subject)
        return self._rows(connection.execute(query, (key, key)).fetchall())

    def _delete(self, connection: Connection, table: str, numbers: Sequence[int]) -> None:
        self._each(connection, f"DELETE FROM {table} WHERE number IN ({{}})", (), numbers)
        self._forget_names(connection, numbers)

    def _is_there(self, query: str, values: Sequence[Any] = ()) -> bool:
        return self.read(lambda connection: connection.execute(query, values).fetchone()) is not None

    def _rows(self, found: Iterable[Sequence[Any]]) -> list[Row]:
        return list(map(self._row, found))

    def _each(self, connection: Connection, sql: str, values: Sequence[Any], numbers: Sequence[int]) -> None:
        """Executes a statement for some numbers."""
        for some in _parts(numbers):
            connection.execute(sql.format(",".join("?" * len(some))), (*values, *some))

    @staticmethod
    def _found(connection: Connection, sql: str, values: Sequence[Any], numbers: Sequence[Any]) -> list[Any]:
        """The rows that a statement finds for some numbers, or keys."""
        found: list[Any] = []
        for some in _parts(numbers):
            found += connection.execute(sql.format(",".join("?" * len(some))), (*values, *some)).fetchall()
        return found


def _parts(numbers: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for first in range(0, len(numbers), _AT_ONCE):
        yield numbers[first : first + _AT_ONCE]


def present() -> int:
    """Now, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000
