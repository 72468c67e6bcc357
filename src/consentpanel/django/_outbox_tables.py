"""The tables of an outbox in the project's own database, by Django's connections."""

from __future__ import annotations

import os
import weakref
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error

from consentpanel._forks import ForkGate, Survivors
from consentpanel._mixpanel import vendor
from consentpanel.django._connections import (
    asked_twice,
    cause_of,
    committed,
    connection_of,
    is_a_tests,
    is_in_transaction,
    is_interrupted,
    is_testing,
    leave_to_the_parent,
    savepoint,
    used,
)
from consentpanel.errors import ConsentPanelError, InvalidRecordError
from consentpanel.transport._message_store import Connection, Names, New
from consentpanel.transport._shared_store import NOW, Dialect, SharedStore, ahead
from consentpanel.transport._waiting import vendor_error

_T = TypeVar("_T")

#: Connections that stay open while nobody uses them.
_IDLE = 2
#: By what Django calls them; MariaDB is one of MySQL's there too.
DIALECTS: Mapping[str, Dialect] = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mysql"}
OF_ANOTHER_KIND = "DjangoOutbox works with PostgreSQL, MariaDB, MySQL and SQLite, and this database is of another kind"
_IN_MEMORY = (
    "an outbox needs connections of its own, and this database in memory has one for all: what waits for a commit could not be told from "
    "what was committed. Use a file"
)
_AFTER_THE_TESTS = "the tests are over, and the database is not theirs any more: what waits there is left alone"
_IN_A_COROUTINE = (
    "a message of an outbox is written by Django's connections, which no coroutine can use: await request.consent.atrack(...), or "
    "sync_to_async(...) of the call, or use AsyncMixpanel"
)
_NO_UTF8 = "an id or a text cannot be written as UTF-8"


class _Pool:
    """Connections beside those of threads: for what commits by itself, whatever transaction a caller is in."""

    def __init__(self) -> None:
        #: By alias: routers may change their minds.
        self._idle: defaultdict[str, list[BaseDatabaseWrapper]] = defaultdict(list)
        self._was_a_tests = False
        _POOLS.add(self)

    @contextmanager
    def connection(self, alias: str) -> Generator[BaseDatabaseWrapper, None, None]:
        """A connection that nobody else uses until this ends."""
        self._check(alias)
        idle = self._idle[alias]
        try:
            found = idle.pop()
        except IndexError:
            found = _opened(alias)
        try:
            yield found
        except BaseException:
            # Whatever state it is in.
            found.close()
            raise
        if len(idle) < _IDLE and not is_testing():
            idle.append(found)
        else:
            found.close()

    def _check(self, alias: str) -> None:
        """Sees to it that a process of tests does not take, when its database is gone, what waits in the real one.

        Raises:
            MixpanelException: It would.
        """
        if not (self._was_a_tests or is_testing()):
            return
        if is_a_tests(connections[alias].settings_dict):
            self._was_a_tests = True
        elif self._was_a_tests:
            raise vendor_error(None, _AFTER_THE_TESTS)

    def close(self) -> None:
        """Closes what nobody uses."""
        for idle in list(self._idle.values()):
            while idle:
                idle.pop().close()

    def close_files(self) -> None:
        """Closes what is open of SQLite files: a child would take the parent's locks for its own."""
        if any(each.vendor == "sqlite" for idle in self._idle.values() for each in idle):
            self.close()

    def restart_in_child(self) -> None:
        """Begins anew."""
        for idle in self._idle.values():
            for each in idle:
                leave_to_the_parent(each)
        self._idle = defaultdict(list)


_POOLS: Survivors[_Pool] = Survivors(_Pool.restart_in_child)
#: Nobody forks while a thread is in the middle of a use of SQLite (https://www.sqlite.org/howtocorrupt.html, section 2.6).
_GATE = ForkGate()


def _before_fork() -> None:
    _GATE.before_fork()
    for pool in _POOLS:
        pool.close_files()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_GATE.after_in_parent, after_in_child=_GATE.after_in_child)


def _opened(alias: str) -> BaseDatabaseWrapper:
    found = connections.create_connection(alias)
    said = found.settings_dict
    # What the project says of its own transactions is not for these.
    options = {name: each for name, each in said["OPTIONS"].items() if name != "isolation_level"}
    found.settings_dict = {**said, "OPTIONS": options, "AUTOCOMMIT": True}
    # By one thread after the other.
    found.inc_thread_sharing()
    if found.vendor == "sqlite" and said["NAME"] in {":memory:", ""}:
        raise vendor_error(None, _IN_MEMORY)
    return found


@contextmanager
def _transaction(connection: BaseDatabaseWrapper) -> Generator[None, None, None]:
    """A transaction on a connection that is no thread's, which `transaction.atomic` would not find."""
    is_sqlite = connection.vendor == "sqlite"
    if is_sqlite:
        # Whoever reads first and then wants to write would be refused at once when another has written meanwhile.
        with connection.cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
    else:
        connection.set_autocommit(False)
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        if not is_sqlite:
            connection.set_autocommit(True)


class DjangoTables(SharedStore):
    """Messages that wait in the tables that ``migrate`` makes.

    Args:
        using: The alias of the database; None for where the project's routers write messages.
    """

    def __init__(self, using: str | None) -> None:
        prefix = "consentpanel_outbox"
        super().__init__(
            Names(prefix, f"{prefix}_dead", f"{prefix}_held", f"{prefix}_named", f"{prefix}_erasure"), f"{prefix}_lane"
        )
        self._using = using
        self._pool = _Pool()
        weakref.finalize(self, self._pool.close).atexit = False

    @property
    def alias(self) -> str:
        """The alias of the database."""
        if self._using is not None:
            return self._using
        # Models can be imported only when Django's apps are there.
        from consentpanel.django.models import OutboxMessage

        return router.db_for_write(OutboxMessage)

    @property
    def dialect(self) -> Dialect:
        return self._told(self._dialect)

    def _dialect(self) -> Dialect:
        found = DIALECTS.get(connection_of(self.alias).vendor)
        if found is None:
            raise vendor_error(None, OF_ANOTHER_KIND)
        return found

    def look_at_the_server(self) -> tuple[int, bool]:
        def look(connection: BaseDatabaseWrapper) -> tuple[int, bool]:
            adapter = _Adapter(connection)
            offset = ahead(lambda: int(adapter.execute(NOW[self.dialect]).fetchone()[0]))
            return offset, bool(connection.features.has_select_for_update_skip_locked)

        return self._own(look)

    def read(self, act: Callable[[Connection], _T]) -> _T:
        self.see_the_server()
        return self._own(lambda connection: act(_Adapter(connection)))

    def write(self, act: Callable[[Connection], _T]) -> _T:
        self.see_the_server()
        if (theirs := self.borrowed) is not None:
            return self._in_theirs(theirs, act)

        def write() -> _T:
            with self._pool.connection(self.alias) as connection:
                return committed(connection, partial(_transaction, connection), lambda: act(_Adapter(connection)))

        return self._translated(write)

    def callers(self) -> BaseDatabaseWrapper | None:
        """The connection of the transaction in which this thread is; None where it is in none.

        Raises:
            MixpanelException: Nobody can tell.
        """

        def look() -> BaseDatabaseWrapper | None:
            found = connection_of(self.alias)
            # A signal handler in the middle of a statement on it keeps its message by itself.
            return found if is_in_transaction(found) and not is_interrupted(self.alias) else None

        return self._translated(look)

    def opened(self) -> BaseDatabaseWrapper | None:
        """The connection of this thread where it is open and idle, or in a transaction; None where another one is to be used."""

        def look() -> BaseDatabaseWrapper | None:
            found = connection_of(self.alias)
            is_open = found.connection is not None or is_in_transaction(found)
            return found if is_open and not is_interrupted(self.alias) else None

        try:
            return self._translated(look)
        except (vendor.MixpanelException, InvalidRecordError):
            # What is asked next says it.
            return None

    def put_in(self, theirs: BaseDatabaseWrapper, new: New) -> int:
        """Writes a message into a caller's transaction, which goes on whatever fails; its number.

        Raises:
            MixpanelException: The database fails.
        """
        return self._in_theirs(theirs, lambda connection: self.put(connection, new))

    def close(self) -> None:
        """Closes what nobody uses."""
        self._pool.close()

    def _in_theirs(self, theirs: BaseDatabaseWrapper, act: Callable[[Connection], _T]) -> _T:
        """What an act writes in a caller's transaction, under a savepoint; in one of its own where there is none."""

        def do() -> _T:
            with used(theirs.alias):
                if not is_in_transaction(theirs):
                    begin = partial(transaction.atomic, using=theirs.alias)
                    return committed(theirs, begin, lambda: act(_Adapter(theirs)))
                with savepoint(theirs):
                    return act(_Adapter(theirs))

        return self._translated(do)

    def _asked_of(self, theirs: BaseDatabaseWrapper, act: Callable[[BaseDatabaseWrapper], _T]) -> _T:
        """What an act reads by a caller's connection."""

        def ask() -> _T:
            with used(theirs.alias):
                if not is_in_transaction(theirs):
                    return asked_twice(theirs, lambda: act(theirs))
                # Others go on after a statement that fails.
                with savepoint(theirs) if theirs.vendor == "postgresql" else nullcontext():
                    return act(theirs)

        return self._translated(ask)

    def _own(self, act: Callable[[BaseDatabaseWrapper], _T]) -> _T:
        if (theirs := self.borrowed) is not None:
            return self._asked_of(theirs, act)

        def use() -> _T:
            with self._pool.connection(self.alias) as connection:
                return asked_twice(connection, lambda: act(connection))

        return self._translated(use)

    def _translated(self, act: Callable[[], _T]) -> _T:
        """What a use of the database answers."""

        def use() -> _T:
            if self._dialect() != "sqlite":
                return act()
            with _GATE:
                return act()

        return self._told(use)

    def _told(self, act: Callable[[], _T]) -> _T:
        """What an act answers; failures are told by their type alone, because their texts hold ids."""
        problem: Exception
        try:
            return act()
        except SynchronousOnlyOperation:
            problem = vendor_error(None, _IN_A_COROUTINE)
        except transaction.TransactionManagementError:
            problem = vendor_error(
                None, "the atomic block has failed before, and the database takes no more until its end"
            )
        except Error as error:
            problem = vendor_error(None, f"the outbox failed: {cause_of(error)}")
            if isinstance(error.__cause__, UnicodeError):
                problem = InvalidRecordError(_NO_UTF8)
        except UnicodeError:
            problem = InvalidRecordError(_NO_UTF8)
        except (InvalidRecordError, vendor.MixpanelException):
            raise
        except ConsentPanelError as error:
            problem = vendor_error(None, str(error))
        except Exception as error:  # noqa: BLE001 - of a driver, or of a wrapper of the application's, whose text may hold values
            problem = vendor_error(None, f"the outbox failed: {type(error).__name__}")
        raise problem


class _Adapter:
    """A connection of Django's whose statements have ``?`` for each value; no text in ours has a ``?`` or a ``%``."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("?", "%s"), list(values))
        return cursor

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        if several := list(map(list, rows)):
            self._connection.cursor().executemany(sql.replace("?", "%s"), several)
