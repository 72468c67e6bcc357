"""A registry in the application's database, for asyncio: the same statements, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from copy import copy
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from typing_extensions import ParamSpec, Self, Unpack

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing
from consentpanel.errors import ConfigurationError
from consentpanel.registry._records import Fields
from consentpanel.registry._watching import store_of
from consentpanel.registry.sqlalchemy import SQLAlchemyRegistry

try:
    import sqlalchemy
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
    from sqlalchemy.util import await_only, greenlet_spawn
except ImportError as error:
    raise ConfigurationError(
        "AsyncSQLAlchemyRegistry needs SQLAlchemy 2 with greenlet: pip install 'consentpanel[sqlalchemy]' 'sqlalchemy[asyncio]'"
        f" ({error.name} cannot be imported)"
    ) from None

_T = TypeVar("_T")
_P = ParamSpec("_P")


class AsyncSQLAlchemyRegistry:
    """As `SQLAlchemyRegistry`, for an `AsyncEngine` and `AsyncMixpanel`: every question and every write is a coroutine.

    ``session=`` takes an `AsyncSession`, ``connection=`` an `AsyncConnection`. As with every pool of asyncio's, the registry
    belongs to one event loop: `close` it before that ends, or use ``async with``, which another loop may do again after it.

    Args:
        engine: An `AsyncEngine`.
        options: As for `SQLAlchemyRegistry`; ``read_engine=`` is an `AsyncEngine` too.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        .. code-block:: python

            registry = AsyncSQLAlchemyRegistry(create_async_engine("postgresql+psycopg://host/shop"))
            await registry.create_tables()
            mp = AsyncMixpanel("TOKEN", registry=registry)
    """

    def __init__(self, engine: AsyncEngine, **options: Any) -> None:
        given = {"engine": engine, "read_engine": options.get("read_engine")}
        for name, each in given.items():
            if not isinstance(each, AsyncEngine) and (each is not None or name == "engine"):
                raise ConfigurationError(f"{name} must be an AsyncEngine of SQLAlchemy's, not {type(each).__name__}")
        if isinstance(reader := options.get("read_engine"), AsyncEngine):
            options = {**options, "read_engine": reader.sync_engine}
        self._registry = _InGreenlets(engine.sync_engine, **options)
        #: What goes on though its caller was cancelled.
        self._running: set[asyncio.Future[Any]] = set()

    @property
    def metadata(self) -> sqlalchemy.MetaData:
        """The tables, for Alembic's `target_metadata`."""
        return self._registry.metadata

    @property
    def max_age(self) -> MaxAge | None:
        """How long answers are good for; None when nothing was said."""
        return self._registry.max_age

    @property
    def required_policy_version(self) -> str | None:
        """The oldest policy version under which a grant still holds; None where any does."""
        return self._registry.required_policy_version

    @property
    def strict_records(self) -> bool:
        """Whether a grant without named purposes, policy version, language and source is refused."""
        return self._registry.strict_records

    async def create_tables(self) -> None:
        """As `SQLAlchemyRegistry.create_tables`."""
        await self._run(self._registry.create_tables)

    async def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """As `SQLAlchemyRegistry.status`."""
        return await self._run(self._registry.status, subject_id, purpose, at=at)

    async def statuses(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """As `SQLAlchemyRegistry.statuses`."""
        return await self._run(self._registry.statuses, subject_ids, purpose, at=at)

    async def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """As `SQLAlchemyRegistry.standing`."""
        return await self._run(self._registry.standing, subject_id, purpose, at=at)

    async def standings(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, Standing]:
        """As `SQLAlchemyRegistry.standings`."""
        return await self._run(self._registry.standings, subject_ids, purpose, at=at)

    async def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """As `SQLAlchemyRegistry.ends_at`."""
        return await self._run(self._registry.ends_at, subject_id, purpose)

    async def history(self, subject_id: Any) -> list[ConsentRecord]:
        """As `SQLAlchemyRegistry.history`."""
        return await self._run(self._registry.history, subject_id)

    async def verify(self, subject_id: Any) -> Verification:
        """As `SQLAlchemyRegistry.verify`."""
        return await self._run(self._registry.verify, subject_id)

    async def record(self, record: ConsentRecord, **where: Any) -> None:
        """As `SQLAlchemyRegistry.record`."""
        await self._run(self._registry.record, record, **_at_once(where))

    async def record_many(self, records: Iterable[ConsentRecord], **where: Any) -> None:
        """As `SQLAlchemyRegistry.record_many`."""
        await self._run(self._registry.record_many, records, **_at_once(where))

    async def grant(
        self,
        subject_id: Any,
        *purposes: str,
        session: AsyncSession | async_scoped_session[Any] | None = None,
        connection: AsyncConnection | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """As `SQLAlchemyRegistry.grant`."""
        where = _at_once({"session": session, "connection": connection})
        await self._run(self._registry.grant, subject_id, *purposes, **where, **fields)

    async def deny(
        self,
        subject_id: Any,
        *purposes: str,
        session: AsyncSession | async_scoped_session[Any] | None = None,
        connection: AsyncConnection | None = None,
        **fields: Unpack[Fields],
    ) -> None:
        """As `SQLAlchemyRegistry.deny`."""
        where = _at_once({"session": session, "connection": connection})
        await self._run(self._registry.deny, subject_id, *purposes, **where, **fields)

    async def forget(self, subject_id: Any, **where: Any) -> int:
        """As `SQLAlchemyRegistry.forget`."""
        return await self._run(self._registry.forget, subject_id, **_at_once(where))

    def scoped(self, name: str) -> Self:
        """As `SQLAlchemyRegistry.scoped`: the same tables for one tenant."""
        tenant = copy(self)
        tenant._registry = self._registry.scoped(name)  # noqa: SLF001 - its own class
        return tenant

    def within(
        self,
        *,
        session: AsyncSession | async_scoped_session[Any] | None = None,
        connection: AsyncConnection | None = None,
    ) -> AbstractContextManager[None]:
        """As `SQLAlchemyRegistry.within`; used by ``with``."""
        return self._registry.within(**_at_once({"session": session, "connection": connection}))

    async def close(self) -> None:
        """As `SQLAlchemyRegistry.close`."""
        here = asyncio.get_running_loop()
        if several := [task for task in self._running if task.get_loop() is here]:
            await asyncio.wait(several)
        await self._run(self._registry.close)

    async def __aenter__(self) -> Self:
        self._registry._open()  # noqa: SLF001 - its core
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    #: As `RecordingRegistry`.
    _tells_of_writes = True

    @property
    def _store_of_consent(self) -> Hashable:
        return store_of(self._registry)

    async def _run(self, use: Callable[_P, _T], *arguments: _P.args, **keywords: _P.kwargs) -> _T:
        """What comes of a use of the registry's own connections, each of which is given back also when the caller is cancelled."""
        work = greenlet_spawn(partial(use, *arguments, **keywords))
        if self._registry.is_within or any(keywords.get(name) is not None for name in ("session", "connection")):
            # The caller's connection, which nobody else may use once the caller has gone on.
            mine: _T = await work
            return mine
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._let_go)
        answer: _T = await asyncio.shield(task)
        return answer

    def _let_go(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Asked for, so that asyncio does not tell of an error whose caller was cancelled.
            task.exception()

    def __repr__(self) -> str:
        return repr(self._registry).replace(type(self._registry).__name__, type(self).__name__)


class _InGreenlets(SQLAlchemyRegistry):
    """The registry itself, of which each use runs in a greenlet that gives way while it waits for the database."""

    _is_async = True

    def _done(self, plan: Callable[[], Any]) -> Any:
        # Tasks of one thread write side by side, which is no signal handler's doing.
        return self._tried(plan)

    def _pause(self, seconds: float) -> None:
        await_only(asyncio.sleep(seconds))


def _at_once(where: dict[str, Any]) -> dict[str, Any]:
    """What is synchronous inside of sessions and connections of asyncio's."""
    found = dict(where)
    session, connection = found.get("session"), found.get("connection")
    if isinstance(session, async_scoped_session):
        session = session()
    if isinstance(session, AsyncSession):
        found["session"] = session.sync_session
    if isinstance(connection, AsyncConnection):
        found["connection"] = connection.sync_connection
    return found
