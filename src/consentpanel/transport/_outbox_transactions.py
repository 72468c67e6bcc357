"""Which transaction of SQLAlchemy's the caller of an outbox is in, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import event, orm
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.util.concurrency import in_greenlet

from consentpanel._log import note_failure
from consentpanel.errors import ConfigurationError
from consentpanel.registry._sql_engine import connection_of, is_autocommitting, refuse_streaming

_SEVERAL = (
    "several transactions are open on the engine of an outbox, and nobody can tell to which a message belongs, which is not kept: "
    "say it (with outbox.within(session): ...)"
)
_NONE = (
    "no transaction is open where a message is tracked, and its outbox wants one (without_transaction='refuse'): the message is not kept. "
    "Say which it is (with outbox.within(session): ...), or that there is none (with outbox.within(None): ...)"
)
_IN_A_COROUTINE = (
    "a message of an outbox belongs to a transaction of asyncio's, and is not kept: await it with AsyncMixpanel, or call the client "
    "within run_sync() of the session"
)


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
        self.written: list[Written] = []
        #: The same, once a commit was asked for.
        self.committing: list[Written] = []
        #: Something was taken back to a savepoint; to which of several SQLAlchemy does not tell.
        self.is_doubtful = False
        #: How much was written before each savepoint.
        self.savepoints: list[int] = []
        #: A statement is on its way, which a signal handler may have interrupted.
        self.is_executing = False
        #: It is being committed, or taken back.
        self.is_ending = False

    def tell(self, said: Iterable[Written], name: str) -> None:
        for each in said:
            try:
                getattr(each, name)()
            except Exception as error:  # noqa: BLE001 - the caller's transaction goes on
                note_failure("the outbox", error)

    def take_back(self) -> None:
        """All of it is gone."""
        gone, self.written = self.written, []
        self.tell(gone, "on_rollback")


#: Of the connections of each engine that is listened to.
_open: weakref.WeakKeyDictionary[Connection, _Transaction] = weakref.WeakKeyDictionary()


class _Begun(NamedTuple):
    """A session or connection whose transaction was begun, and by which event loop; None for none."""

    reference: weakref.ref[Any]
    loop: asyncio.AbstractEventLoop | None


#: Those whose transaction was begun here: in this thread, or task, or one that it has begun.
_connections: contextvars.ContextVar[tuple[_Begun, ...]] = contextvars.ContextVar("connections", default=())
_sessions: contextvars.ContextVar[tuple[_Begun, ...]] = contextvars.ContextVar("sessions", default=())
#: What `within` was given last, by outbox.
_given: contextvars.ContextVar[dict[int, tuple[Any, asyncio.AbstractEventLoop | None]]] = contextvars.ContextVar(
    "given"
)


class Transactions:
    """The transactions of the callers of one outbox.

    Args:
        engine: The application's; None where it is not known, so that each transaction has to be given.
        dialect: The kind of its database.
        is_needed: Whether a caller who is in no transaction is refused.
    """

    def __init__(self, engine: Engine | None, dialect: str, *, is_needed: bool) -> None:
        self._engine, self._dialect, self._is_needed = engine, dialect, is_needed
        if engine is not None:
            _listen(engine)
            if not event.contains(orm.Session, "after_transaction_create", _note_session):
                event.listen(orm.Session, "after_transaction_create", _note_session)

    @contextmanager
    def within(self, where: Any) -> Generator[None, None, None]:
        """Until this ends, the caller is in the transaction that was given, or in none for None.

        Raises:
            ConfigurationError: What was given is neither.
        """
        if where is not None and not isinstance(where, Connection):
            # Of asyncio's the one inside, which is used by a greenlet.
            where = getattr(where, "sync_session", None) or getattr(where, "sync_connection", None) or where
            if not isinstance(where, (Connection, orm.Session, orm.scoped_session)):
                raise ConfigurationError(
                    f"within() takes a session or connection of SQLAlchemy's, or None, not {type(where).__name__}"
                )
        token = _given.set({**_given.get({}), id(self): (where, _running())})
        try:
            yield
        finally:
            _given.reset(token)

    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which the caller's transaction has to be used; None for this very thread.

        Raises:
            ConfigurationError: This thread runs that loop, and may not wait for it.
        """
        given = _given.get({})
        here = [given[id(self)]] if id(self) in given else [*self._begun_sessions(), *self._begun_connections()]
        loop = next((loop for each, loop in here if loop is not None and _is_async(each)), None)
        if loop is None or loop is not _running():
            return loop
        if not in_greenlet():
            raise ConfigurationError(_IN_A_COROUTINE)
        return None

    def connection(self) -> Connection | None:
        """The connection of the caller's transaction; None where there is none.

        Raises:
            ConfigurationError: What was given is no transaction of this kind of database, or it cannot be told which is meant.
            SQLAlchemyError: The session cannot tell.
        """
        given = _given.get({})
        if id(self) in given:
            where, _ = given[id(self)]
            if where is None:
                return None
            session, connection = (None, where) if isinstance(where, Connection) else (where, None)
            found = connection_of(session, connection, self._dialect)
            _listen(found.engine)
            return None if _is_interrupted(found) else found
        several = dict.fromkeys(
            [
                *(session.connection() for session, _ in self._begun_sessions()),
                *(connection for connection, _ in self._begun_connections()),
            ]
        )
        if any(map(_is_interrupted, several)):
            return None
        open_ones = [each for each in several if not is_autocommitting(each)]
        if len(open_ones) > 1:
            raise ConfigurationError(_SEVERAL)
        if not open_ones and self._is_needed:
            raise ConfigurationError(_NONE)
        for each in open_ones:
            refuse_streaming(each)
        return next(iter(open_ones), None)

    def _begun_sessions(self) -> list[tuple[orm.Session, asyncio.AbstractEventLoop | None]]:
        return [(each, loop) for each, loop in _alive(_sessions) if each.in_transaction() and self._is_bound(each)]

    def _begun_connections(self) -> list[tuple[Connection, asyncio.AbstractEventLoop | None]]:
        pool = None if self._engine is None else self._engine.pool
        return [
            (each, loop) for each, loop in _alive(_connections) if each.in_transaction() and each.engine.pool is pool
        ]

    def _is_bound(self, session: orm.Session) -> bool:
        try:
            bind = session.get_bind()
        except (SQLAlchemyError, TypeError):
            # Its tables tell the engines; what it has begun is among the connections.
            return False
        return self._engine is not None and bind.engine.pool is self._engine.pool


def _is_async(where: Any) -> bool:
    bind = where if isinstance(where, Connection) else getattr(where, "get_bind", lambda: None)()
    return bind is not None and bool(bind.dialect.is_async)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


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


def _is_interrupted(connection: Connection) -> bool:
    """Whether this is called in the middle of a statement of the same connection: by a signal handler."""
    found = _open.get(connection)
    return found is not None and (found.is_executing or found.is_ending)


def _alive(where: contextvars.ContextVar[tuple[_Begun, ...]]) -> list[tuple[Any, asyncio.AbstractEventLoop | None]]:
    return [(found, loop) for reference, loop in where.get() if (found := reference()) is not None]


def _note(where: contextvars.ContextVar[tuple[_Begun, ...]], begun: Any) -> None:
    others = [
        each
        for each in where.get()
        if (found := each.reference()) is not None and found is not begun and found.in_transaction()
    ]
    where.set((*others, _Begun(weakref.ref(begun), _running())))


def _note_session(session: orm.Session, transaction: orm.SessionTransaction) -> None:
    if transaction.parent is None:
        _note(_sessions, session)


def _begin(connection: Connection) -> None:
    begun = _transaction_of(connection)
    begun.written, begun.committing, begun.savepoints, begun.is_doubtful = [], [], [], False
    begun.is_executing = begun.is_ending = False
    _note(_connections, connection)


def _commit(connection: Connection, *_: Any) -> None:
    ended = _transaction_of(connection)
    if ended.is_doubtful:
        ended.tell([each for each in ended.written if not _is_there(each, connection)], "on_rollback")
    ended.is_ending = True
    ended.committing, ended.written = ended.written, []
    ended.tell(ended.committing, "on_commit")


def _is_there(written: Written, connection: Connection) -> bool:
    try:
        return written.is_there is None or written.is_there(connection)
    except SQLAlchemyError:
        # Then nothing is committed either, which is told when that fails.
        return True


def _roll_back(connection: Connection, *_: Any) -> None:
    ended = _transaction_of(connection)
    ended.is_ending = True
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
        found.is_executing = True


def _end_statement(connection: Connection, *_: Any) -> None:
    if (found := _open.get(connection)) is not None:
        found.is_executing = False


def _fail(context: Any) -> None:
    found = _open.get(context.connection) if context.connection is not None else None
    if found is None:
        return
    found.is_executing = False
    if not found.is_ending:
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
    ("commit_twophase", _commit),
    ("rollback", _roll_back),
    ("rollback_twophase", _roll_back),
    ("savepoint", _save),
    ("release_savepoint", _release),
    ("rollback_savepoint", _roll_back_to),
    ("before_cursor_execute", _begin_statement),
    ("after_cursor_execute", _end_statement),
    ("handle_error", _fail),
)


def _listen(engine: Engine) -> None:
    if not event.contains(engine, "begin", _begin):
        for name, listener in _LISTENERS:
            event.listen(engine, name, listener)
