"""What becomes of something that was written in a transaction of SQLAlchemy's: by the events of its connections."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from consentpanel._log import note_failure

#: A thread, and in it a task.
Caller: TypeAlias = "tuple[int, int]"


class Written(NamedTuple):
    """What is to be done when it is known what became of something that was written.

    Attributes:
        on_commit: When it is about to be committed.
        on_rollback: When it was taken back.
        on_doubt: When the connection broke as it was to be committed.
        is_there: Whether it is still there, asked in the transaction before it is committed; None for what is in no table.
    """

    on_commit: Callable[[], None]
    on_rollback: Callable[[], None]
    is_there: Callable[[Connection], bool] | None = None
    on_doubt: Callable[[], None] | None = None


class _Transaction:
    """What was written in the transaction of a connection that is open."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        #: Which transaction of its connection it is.
        self.number = 0
        self.written: list[Written] = []
        #: The same, once a commit was asked for.
        self.committing: list[Written] = []
        #: Something was taken back to a savepoint; to which of several SQLAlchemy does not tell.
        self.is_doubtful = False
        #: How much was written before each savepoint.
        self.savepoints: list[int] = []
        #: Who has a statement on its way, which a signal handler may have interrupted.
        self.executing: Caller | None = None
        #: Who is committing it, or taking it back.
        self.ending: Caller | None = None

    def tell(self, said: Iterable[Written], name: str) -> None:
        for each in said:
            try:
                getattr(each, name)()
            except Exception as error:  # noqa: BLE001 - the caller's transaction goes on
                note_failure("the outbox", error)

    def take_back(self) -> None:
        """All of it is gone."""
        gone, self.written = self.written, []
        if self._pid != os.getpid():
            # The parent's, of which a child of a fork knows nothing.
            return
        self.tell(gone, "on_rollback")


#: Of the connections of each engine that is listened to.
_open: weakref.WeakKeyDictionary[Connection, _Transaction] = weakref.WeakKeyDictionary()


def await_end(connection: Connection, written: Written) -> None:
    """Has it told what becomes of something that was just written in a transaction."""
    _transaction_of(connection).written.append(written)


def _transaction_of(connection: Connection) -> _Transaction:
    found = _open.get(connection)
    if found is None:
        found = _open[connection] = _Transaction()
        # One that nobody has closed is taken back with its connection.
        weakref.finalize(connection, found.take_back).atexit = False
    return found


def who_uses(connection: Connection) -> Caller | None:
    """Who has a statement of the connection on its way, or its end; None for nobody."""
    found = _open.get(connection)
    if found is None:
        return None
    user = found.executing or (found.ending if connection.in_transaction() else None)
    if user is not None and user == caller() and not connection.dialect.is_async and not _is_on_the_stack(connection):
        # It has failed, and a listener of the application's raised before this was told.
        found.executing = found.ending = None
        found.is_doubtful = True
        return None
    return user


def _is_on_the_stack(connection: Connection) -> bool:
    """Whether this is called in the middle of what SQLAlchemy does with a connection."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - documented for CPython; nothing else tells
    while frame is not None:
        if frame.f_globals.get("__name__") == "sqlalchemy.engine.base" and frame.f_locals.get("self") is connection:
            return True
        frame = frame.f_back
    return False


def caller() -> Caller:
    """The thread, or the task, that asks."""
    try:
        task: object = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), id(task)


#: Told of each connection that begins a transaction, and which of its transactions it is.
begins: list[Callable[[Connection, int], None]] = []


def is_in(connection: Connection, number: int) -> bool:
    """Whether a connection is still in one of its transactions."""
    found = _open.get(connection)
    return found is not None and found.number == number and connection.in_transaction()


def _begin(connection: Connection) -> None:
    begun = _transaction_of(connection)
    begun.number += 1
    begun.written, begun.committing, begun.savepoints, begun.is_doubtful = [], [], [], False
    begun.executing = begun.ending = None
    for tell in begins:
        tell(connection, begun.number)


def _prepare(connection: Connection, *_: Any) -> None:
    ended = _transaction_of(connection)
    if ended.is_doubtful:
        gone = [each for each in ended.written if not _is_there(each, connection)]
        ended.written = [each for each in ended.written if each not in gone]
        ended.tell(gone, "on_rollback")


def _commit(connection: Connection, *_: Any) -> None:
    _prepare(connection)
    _commit_prepared(connection)


def _commit_prepared(connection: Connection, *_: Any) -> None:
    ended = _transaction_of(connection)
    ended.ending = caller()
    ended.committing, ended.written = ended.written, []
    ended.tell(ended.committing, "on_commit")


def _is_there(written: Written, connection: Connection) -> bool:
    if _has_failed(connection):
        # PostgreSQL takes its commit for a rollback.
        return False
    try:
        return written.is_there is None or written.is_there(connection)
    except SQLAlchemyError:
        # Then nothing is committed either, which is told when that fails.
        return not _has_failed(connection)


def _has_failed(connection: Connection) -> bool:
    info: Any = getattr(connection.connection.driver_connection, "info", None)
    return getattr(getattr(info, "transaction_status", None), "name", "") == "INERROR"


def _roll_back(connection: Connection, *_: Any) -> None:
    ended = _transaction_of(connection)
    ended.ending = caller()
    ended.take_back()


def _save(connection: Connection, *_: Any) -> None:
    found = _transaction_of(connection)
    found.savepoints.append(len(found.written))


def _release(connection: Connection, *_: Any) -> None:
    found = _transaction_of(connection)
    if found.savepoints:
        found.savepoints.pop()


def _roll_back_to(connection: Connection, *_: Any) -> None:
    found = _transaction_of(connection)
    found.is_doubtful = True
    count = found.savepoints.pop() if found.savepoints else 0
    # What is in no table is taken for gone when it was written after the last one.
    gone = [each for each in found.written[count:] if each.is_there is None]
    found.written = [each for each in found.written if each not in gone]
    found.tell(gone, "on_rollback")


def _begin_statement(connection: Connection, *_: Any) -> None:
    if (found := _open.get(connection)) is not None:
        found.executing = caller()


def _end_statement(connection: Connection, *_: Any) -> None:
    if (found := _open.get(connection)) is not None:
        found.executing = None


def _fail(context: Any) -> None:
    found = _open.get(context.connection) if context.connection is not None else None
    if found is None:
        return
    found.executing = None
    if found.ending is None:
        # What a server takes back by itself is not told: each message is looked for before a commit.
        found.is_doubtful = True
        return
    found.written, found.committing = found.committing, []
    if context.is_disconnect:
        # A commit that was cut off may have come about.
        doubtful = [each for each in found.written if each.on_doubt is not None]
        found.written = []
        found.tell(doubtful, "on_doubt")
    else:
        found.take_back()


_LISTENERS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("begin", _begin),
    ("begin_twophase", lambda connection, _: _begin(connection)),
    ("commit", _commit),
    ("prepare_twophase", _prepare),
    ("commit_twophase", _commit_prepared),
    ("rollback", _roll_back),
    ("rollback_twophase", _roll_back),
    ("savepoint", _save),
    ("release_savepoint", _release),
    ("rollback_savepoint", _roll_back_to),
    ("before_cursor_execute", _begin_statement),
    ("after_cursor_execute", _end_statement),
    ("handle_error", _fail),
)


def listen(engine: Engine) -> None:
    if not event.contains(engine, "begin", _begin):
        for name, listener in _LISTENERS:
            event.listen(engine, name, listener)
