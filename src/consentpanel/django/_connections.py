"""Django's connections: whose one is where threads and forks are concerned, what is tried again on it, and what its failures mean."""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error
from django.utils.connection import ConnectionDoesNotExist

from consentpanel._log import note_failure
from consentpanel.errors import ConfigurationError, RegistryError
from consentpanel.registry._db_failures import meaning_of, told

_T = TypeVar("_T")

#: Seconds that a rollback waits for whoever is told of it.
_PATIENCE = 5.0
#: How often a write of our own is tried when others are in its way.
_TRIES = 5

IN_A_COROUTINE = (
    "the database cannot be asked in a coroutine: await the registry's method of that name with an a before it (astatus, agrant), "
    "request.consent.atrack(...), or sync_to_async(...) of the call"
)
#: Connections of a parent, which a child must neither use nor close.
_inherited: list[Any] = []
#: Those that were in the middle of a transaction of the parent's.
_in_the_middle: set[int] = set()


def connection_of(alias: str) -> BaseDatabaseWrapper:
    """The connection of this thread.

    Raises:
        ConfigurationError: There is no such database.
        RegistryError: It is in a transaction of the process from which this one was forked.
    """
    problem = ""
    try:
        found = connections[alias]
    except ConnectionDoesNotExist:
        problem = f"there is no database {alias!r} in DATABASES"
    else:
        if id(found) in _in_the_middle and found.connection is not None:
            raise RegistryError("this process was forked in the middle of a transaction, which is the parent's")
        return found
    raise ConfigurationError(problem)


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether a caller has begun a transaction."""
    is_alone = connection.settings_dict["AUTOCOMMIT"] if connection.connection is None else connection.autocommit
    return connection.in_atomic_block or not is_alone


@contextmanager
def savepoint(connection: BaseDatabaseWrapper) -> Generator[None, None, None]:
    """Within a caller's transaction: what fails until this ends leaves it as it was."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        connection.ensure_connection()
        if not connection.connection.in_transaction:
            # What is managed by hand Python's driver begins with the first write, and a savepoint alone would commit.
            with connection.cursor() as cursor:
                cursor.execute("BEGIN")
    with transaction.atomic(using=connection.alias):
        yield


_mine = threading.local()


def is_interrupted(alias: str) -> bool:
    """Whether this is a signal handler in the middle of a use of ours of this thread's connection."""
    return alias in getattr(_mine, "aliases", ())


@contextmanager
def used(alias: str) -> Generator[None, None, None]:
    """Until this ends this thread's connection is in the middle of statements; a signal handler gets one of its own."""
    before: frozenset[str] = getattr(_mine, "aliases", frozenset())
    if alias not in before:
        _mine.aliases = before | {alias}
        try:
            yield
        finally:
            _mine.aliases = before
        return
    interrupted, own = connections[alias], connections.create_connection(alias)
    connections[alias] = own
    try:
        yield
    finally:
        connections[alias] = interrupted
        own.close()


@contextmanager
def closing_what_opens(alias: str) -> Generator[None, None, None]:
    """Until this ends a thread asks that is no request's: what it opens is closed."""
    connection = connections[alias]
    was_open = connection.connection is not None
    try:
        yield
    finally:
        if not was_open and not connection.in_atomic_block:
            connection.close()


def is_testing() -> bool:
    """Whether a test runner of Django's runs, or pytest-django: databases are dropped while no connection may be open, and nothing is sent."""
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    # Before the runner has begun the command says it.
    return hasattr(state, "saved_data") or (sys.argv[1:2] == ["test"] and "django.core.management" in sys.modules)


def is_a_tests(settings: Mapping[str, Any]) -> bool:
    """Whether a database is one that a test runner has made: by its name, as Django gives it."""
    name, given = str(settings["NAME"]), settings.get("TEST", {}).get("NAME")
    return name.startswith(str(given)) if given else Path(name).name.startswith(("test_", "file:memorydb_"))


def at_the_end(
    alias: str, committed: Callable[[], object], taken_back: Callable[[BaseDatabaseWrapper], object] | None = None
) -> None:
    """Has one of two things done when it is known what became of the atomic block in which this is called.

    Args:
        alias: The database.
        committed: What is done after the commit, also where an act of somebody else's raises before.
        taken_back: What is done, with the connection, when the block, or the savepoint in it, was not committed, or nobody knows;
            in the process alone in which it was begun, and perhaps in the middle of a rollback of Django's (`aside`).
    """
    connection, pid = connections[alias], os.getpid()
    is_in_block = connection.in_atomic_block
    # Of an earlier commit, one of whose acts raised: then nothing can be told by it.
    was_committed = _has_committed(connection)

    def after_commit() -> None:
        before = is_after_commit()
        _mine.is_after_commit = before or is_in_block
        try:
            _done(committed)
        finally:
            _mine.is_after_commit = before

    def done(_: object) -> None:
        is_over.detach()
        after_commit()

    def gone() -> None:
        if pid != os.getpid():
            return
        if not connection.in_atomic_block and _has_committed(connection) and not was_committed:
            after_commit()
        elif taken_back is not None:
            _done(partial(taken_back, connection))

    # Django forgets the act, and the mark with it, when the block, or a savepoint in it, is taken back, or another act raises.
    mark = _Mark()
    is_over = weakref.finalize(mark, gone)
    is_over.atexit = False
    transaction.on_commit(partial(done, mark), using=alias, robust=True)


def is_after_commit() -> bool:
    """Whether this thread does what has waited for the commit of a block."""
    return bool(getattr(_mine, "is_after_commit", False))


def _has_committed(connection: BaseDatabaseWrapper) -> bool:
    """Whether Django is about to do, or in the middle of, what has waited for a commit."""
    return bool(getattr(connection, "run_commit_hooks_on_set_autocommit_on", False))


def tells_of_its_end(connection: BaseDatabaseWrapper) -> bool:
    """Whether Django hears of the end of the transaction in which a connection is: of one that is managed by hand it does not."""
    return connection.in_atomic_block and connection.commit_on_exit


def aside(connection: BaseDatabaseWrapper, act: Callable[[], object]) -> None:
    """Does what may use the database, when something was taken back: in a thread of its own, for which a rollback waits a while."""
    if connection.in_atomic_block:
        act()
        return

    def do() -> None:
        # Django is in the middle of the rollback: whoever used its connection now would break it.
        try:
            _done(act)
        finally:
            connections.close_all()

    thread = threading.Thread(target=do, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter ends, or the system has no more threads
        act()
    else:
        thread.join(_PATIENCE)


def _done(act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - Django's own log would quote it, and the caller's rollback goes on
        note_failure("what was to be done after the end of a transaction", error)


class _Mark:
    """Something that a transaction holds as long as it is neither committed nor taken back."""


def asked_twice(connection: BaseDatabaseWrapper, ask: Callable[[], _T]) -> _T:
    """The answer to a question, asked again where the connection broke while it was idle, as by a restart of the server."""
    try:
        return ask()
    except (OperationalError, InterfaceError):
        if connection.is_usable():
            raise
        connection.close()
    return ask()


def committed(
    connection: BaseDatabaseWrapper, begin: Callable[[], AbstractContextManager[object]], act: Callable[[], _T]
) -> _T:
    """What comes of an act in a transaction of our own, which is tried again when others are in its way.

    Args:
        connection: Of no caller's transaction.
        begin: Begins one on it, which ends with the context manager.
        act: Uses it.

    Raises:
        Error: The database failed; it may have committed all the same when the connection broke at that moment.
    """
    left = _TRIES
    while True:
        left -= 1
        is_committing = False
        try:
            with begin():
                answer = act()
                is_committing = True
        except (OperationalError, InterfaceError) as error:
            is_taken_back = meaning_of(error.__cause__) == "rolled_back"
            is_broken = not is_taken_back and not connection.is_usable()
            # Once it was asked to commit, only a refusal says that it has not.
            if not left or (is_committing and not is_taken_back) or not (is_taken_back or is_broken):
                raise
            if is_broken:
                connection.close()
        else:
            return answer
        time.sleep(0.01 * (_TRIES - left))


def cause_of(error: Error) -> str:
    """What failed, by its types alone because texts hold ids, and what helps where that is known."""
    return told(error, error.__cause__, no_table="run manage.py migrate", too_long="the server allows")


def leave_to_the_parent(connection: BaseDatabaseWrapper) -> None:
    """Forgets in the child of a fork what is open: not closed, which would end it for the parent."""
    _inherited.append(connection.connection)
    connection.connection = None


def _leave_to_the_parent() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block:
            _in_the_middle.add(id(connection))
        else:
            # Both would read each other's answers.
            leave_to_the_parent(connection)
    kind: Any = getattr(sys.modules.get("django.db.backends.postgresql.base"), "DatabaseWrapper", None)
    pools = getattr(kind, "_connection_pools", None)
    if pools:
        # Of OPTIONS["pool"], whose threads have not come along.
        _inherited.append(dict(pools))
        pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
