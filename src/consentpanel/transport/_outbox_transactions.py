"""Which transaction of SQLAlchemy's the caller of an outbox is in."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

import attrs
from sqlalchemy import event, orm
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import InvalidRequestError, MissingGreenlet, PendingRollbackError
from sqlalchemy.ext.asyncio import async_scoped_session
from sqlalchemy.util.concurrency import in_greenlet

from consentpanel.errors import ConfigurationError
from consentpanel.registry._sql_engine import connection_of, is_autocommitting, refuse_streaming
from consentpanel.transport import _outbox_events as events

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


_ENDED = (
    "the transaction to which a message of an outbox belongs has ended before it was written, which is not kept: await the call before"
    " the end"
)
_BUSY = (
    "a message of an outbox belongs to a transaction that another task or thread is using at this moment, and is not kept: give each"
    " a session of its own"
)
_ELSEWHERE = (
    "a message of an outbox is tracked in a task or thread that has no transaction, by one that has: it is not kept. Say whether it belongs "
    "to that (with outbox.within(session): ..., while nobody else uses the session), or to none (with outbox.within(None): ...)"
)

Loop: TypeAlias = "asyncio.AbstractEventLoop | None"


@attrs.frozen(eq=False)
class _Begun:
    """A session or connection, and the transaction that it has begun.

    Attributes:
        where: Gives the session or connection; None when it is there no more.
        is_open: Whether that transaction goes on.
        loop: The event loop in which it was begun.
        thread: The thread.
        task: Gives the task.
        pid: The process.
    """

    where: Callable[[], Any]
    is_open: Callable[[], bool]
    loop: Loop
    thread: int = attrs.field(factory=threading.get_ident)
    task: Callable[[], Any] = attrs.field(factory=lambda: _reference(_task()))
    pid: int = attrs.field(factory=os.getpid)

    @property
    def is_here(self) -> bool:
        """Whether this thread, or task, has begun it, and not one that has begun this."""
        return self.thread == threading.get_ident() and self.task() is _task()


@attrs.define(eq=False)
class _Given:
    """What `within` was given, until it ends."""

    where: Any
    loop: Loop
    is_over: bool = False
    pid: int = attrs.field(factory=os.getpid)

    @property
    def is_valid(self) -> bool:
        return not self.is_over and self.pid == os.getpid()


#: Those whose transaction was begun here, or by whom this thread or task was begun.
_begun: contextvars.ContextVar[tuple[_Begun, ...]] = contextvars.ContextVar("begun", default=())
#: What `within` was given last, by outbox.
_given: contextvars.ContextVar[dict[int, _Given]] = contextvars.ContextVar("given")
#: What a call has found that is carried out by another thread, by outbox.
_pinned: contextvars.ContextVar[dict[int, _Given | list[_Begun] | ConfigurationError]] = contextvars.ContextVar(
    "pinned"
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
            events.listen(engine)

    @contextmanager
    def within(self, where: Any) -> Generator[None, None, None]:
        """Until this ends, the caller is in the transaction that was given, or in none for None.

        Raises:
            ConfigurationError: What was given is neither.
        """
        if where is not None and not isinstance(where, Connection):
            # Of asyncio's the one inside, which is used by a greenlet.
            if isinstance(where, async_scoped_session):
                where = where()
            where = getattr(where, "sync_session", None) or getattr(where, "sync_connection", None) or where
            if not isinstance(where, (Connection, orm.Session, orm.scoped_session)):
                raise ConfigurationError(
                    f"within() takes a session or connection of SQLAlchemy's, or None, not {type(where).__name__}"
                )
        given = _Given(where, _running())
        token = _given.set({**_given.get({}), id(self): given})
        # What is said later counts.
        pinned = _pinned.set({key: each for key, each in _pinned.get({}).items() if key != id(self)})
        try:
            yield
        finally:
            # A task that was begun meanwhile still has it.
            given.is_over = True
            _pinned.reset(pinned)
            _given.reset(token)

    def pin(self) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
        """Makes of an act what another thread can do in the transaction in which this one is now."""
        here: _Given | list[_Begun] | ConfigurationError
        try:
            here = self._here()
        except ConfigurationError as error:
            # Raised where the act is done, which tells it.
            here = error

        def pinned(act: Callable[[], Any]) -> Callable[[], Any]:
            def do() -> Any:
                token = _pinned.set({**_pinned.get({}), id(self): here})
                try:
                    return act()
                finally:
                    _pinned.reset(token)

            return do

        return pinned

    def loop(self) -> Loop:
        """The event loop in which the caller's transaction has to be used; None for this very thread.

        Raises:
            ConfigurationError: This thread runs that loop, and may not wait for it.
        """
        here = self._here()
        several = (
            [(here.where, here.loop)] if isinstance(here, _Given) else [(each.where(), each.loop) for each in here]
        )
        loop = next((loop for where, loop in several if loop is not None and self._is_async(where)), None)
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
        here = self._here()
        if isinstance(here, _Given):
            return None if here.where is None else self._of_given(here.where)
        several: list[Connection] = []
        for each in here:
            where = each.where()
            found = self._of_session(where) if isinstance(where, orm.Session) else where
            if found is not None and found not in several:
                several.append(found)
        if any(list(map(_is_interrupted, several))):
            return None
        open_ones = [each for each in several if not is_autocommitting(each)]
        if len(open_ones) > 1:
            raise ConfigurationError(_SEVERAL)
        if not open_ones and self._is_needed:
            raise ConfigurationError(_NONE)
        for theirs in open_ones:
            refuse_streaming(theirs)
        return next(iter(open_ones), None)

    def _here(self) -> _Given | list[_Begun]:
        pinned = _pinned.get({}).get(id(self))
        if isinstance(pinned, ConfigurationError):
            raise ConfigurationError(str(pinned))
        if pinned is not None:
            is_over = pinned.is_over if isinstance(pinned, _Given) else not all(each.is_open() for each in pinned)
            if is_over:
                raise ConfigurationError(_ENDED)
            return pinned
        given = _given.get({}).get(id(self))
        if given is not None and given.is_valid:
            return given
        here = [each for each in _begun.get() if each.pid == os.getpid() and each.is_open() and self._is_ours(each)]
        # What was begun here is meant, and not what whoever has begun this has.
        mine = [each for each in here if each.is_here]
        if here and not mine:
            raise ConfigurationError(_ELSEWHERE)
        return mine

    def _of_given(self, where: Any) -> Connection | None:
        session, connection = (None, where) if isinstance(where, Connection) else (where, None)
        found = connection_of(session, connection, self._dialect)
        events.listen(found.engine)
        return None if _is_interrupted(found) else found

    def _of_session(self, session: orm.Session) -> Connection | None:
        own: Any = {} if self._is_own(_default_of(session)) else {"bind_arguments": {"bind": self._engine}}
        try:
            return session.connection(**own)
        except (PendingRollbackError, MissingGreenlet):
            raise
        except InvalidRequestError:
            # In a hook of its commit, or of its end.
            return None

    def _is_ours(self, begun: _Begun) -> bool:
        where = begun.where()
        if isinstance(where, Connection):
            return self._is_own(where)
        # As SQLAlchemy 2.1 and 2.0 name them.
        binds = getattr(where, "binds", None) or getattr(where, "_Session__binds", None) or {}
        return any(map(self._is_own, (_default_of(where), *binds.values())))

    def _is_async(self, where: Any) -> bool:
        bind = where if isinstance(where, Connection) or where is None else _default_of(where) or self._engine
        return bind is not None and bool(bind.dialect.is_async)

    def _is_own(self, bind: Any) -> bool:
        return self._engine is not None and bind is not None and bind.engine.pool is self._engine.pool


def _default_of(session: orm.Session) -> Any:
    """Where a session is bound to, when its tables do not say."""
    try:
        return session.get_bind()
    except Exception:  # noqa: BLE001 - the application's own choice among its databases
        return None


def _is_interrupted(connection: Connection) -> bool:
    """Whether this is a signal handler in the middle of a statement, or a hook of a commit: the message is its own.

    Raises:
        ConfigurationError: Somebody else is using the connection.
    """
    user = events.who_uses(connection)
    if user not in {None, events.caller()}:
        raise ConfigurationError(_BUSY)
    return user is not None


def _running() -> Loop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _task() -> Any:
    return None if _running() is None else asyncio.current_task()


def _reference(thing: Any) -> Callable[[], Any]:
    return (lambda: None) if thing is None else weakref.ref(thing)


def _note(begun: _Begun) -> None:
    _begun.set((*(each for each in _begun.get() if each.pid == begun.pid and each.is_open()), begun))


def _note_connection(connection: Connection, number: int) -> None:
    where = weakref.ref(connection)

    def is_open() -> bool:
        found = where()
        return found is not None and events.is_in(found, number)

    _note(_Begun(where, is_open, _running()))


def _note_session(session: orm.Session, transaction: orm.SessionTransaction) -> None:
    if transaction.parent is not None:
        return
    where, begun = weakref.ref(session), weakref.ref(transaction)

    def is_open() -> bool:
        found = where()
        return found is not None and found.get_transaction() is begun() is not None

    _note(_Begun(where, is_open, _running()))


events.begins.append(_note_connection)
# When this is imported, and not with the first outbox: a session may be open by then.
event.listen(orm.Session, "after_transaction_create", _note_session)
