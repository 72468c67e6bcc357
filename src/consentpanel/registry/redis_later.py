"""A registry in Redis or Valkey, for asyncio: the same commands, awaited."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime
from typing import Any, TypeVar

from typing_extensions import Self, Unpack

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification
from consentpanel._consent.ids import purpose_key, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing, in_order
from consentpanel.errors import ConsentPanelError
from consentpanel.registry._records import Fields, checked_record, is_stamped_here
from consentpanel.registry._redis_plans import Command, Plan
from consentpanel.registry._watching import store_of, tell
from consentpanel.registry.redis import BROKEN, EXAMINED, FAILURES, RedisRegistry, problem_of, warn_of

_T = TypeVar("_T")


class _Core(RedisRegistry):
    """The plans and the settings; nothing of it asks the server."""

    _is_async = True


class AsyncRedisRegistry:
    """As `RedisRegistry`, for a client of `redis.asyncio` and `AsyncMixpanel`: every question and every write is a coroutine.

    Args:
        client: A `redis.asyncio.Redis` or `redis.asyncio.RedisCluster`, with a `socket_timeout`. It stays yours to close.
        options: As for `RedisRegistry`.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        .. code-block:: python

            client = redis.asyncio.Redis.from_url("redis://localhost", socket_timeout=1, socket_connect_timeout=1)
            mp = AsyncMixpanel("TOKEN", registry=AsyncRedisRegistry(client))
    """

    def __init__(self, client: Any, **options: Any) -> None:
        self._core = _Core(client, **options)
        self._client = client
        self._is_examined = False

    @property
    def max_age(self) -> MaxAge | None:
        """How long answers are good for; None when nothing was said."""
        return self._core.max_age

    @property
    def required_policy_version(self) -> str | None:
        """The oldest policy version under which a grant still holds; None where any does."""
        return self._core.required_policy_version

    @property
    def strict_records(self) -> bool:
        """Whether a grant without named purposes, policy version, language and source is refused."""
        return self._core.strict_records

    async def standings(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, Standing]:
        """As `RedisRegistry.standings`."""
        return await self._ask(lambda: self._core._standings(subject_ids, purpose, at))  # noqa: SLF001 - its core

    async def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """As `RedisRegistry.standing`."""
        key = subject_key(subject_id)
        return (await self.standings([key], purpose, at=at))[key]

    async def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """As `RedisRegistry.status`."""
        return (await self.standing(subject_id, purpose, at=at)).status

    async def statuses(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """As `RedisRegistry.statuses`."""
        return {each: found.status for each, found in (await self.standings(subject_ids, purpose, at=at)).items()}

    async def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """As `RedisRegistry.ends_at`."""
        key, named = subject_key(subject_id), purpose_key(purpose)
        return await self._ask(lambda: self._core._plans.ends_at(self._core._scope, key, named))  # noqa: SLF001 - its core

    async def history(self, subject_id: Any) -> list[ConsentRecord]:
        """As `RedisRegistry.history`."""
        key = subject_key(subject_id)
        return in_order(await self._ask(lambda: self._core._plans.history(self._core._scope, key)))  # noqa: SLF001 - its core

    async def verify(self, subject_id: Any) -> Verification:
        """As `RedisRegistry.verify`."""
        key = subject_key(subject_id)
        return await self._ask(lambda: self._core._plans.verify(self._core._scope, key))  # noqa: SLF001 - its core

    async def record(self, record: ConsentRecord) -> None:
        """As `RedisRegistry.record`."""
        await self.record_many([record])

    async def record_many(self, records: Iterable[ConsentRecord]) -> None:
        """As `RedisRegistry.record_many`."""
        await self._write(
            [checked_record(record, is_strict=self.strict_records) for record in records], is_stamped=False
        )

    async def grant(self, subject_id: Any, *purposes: str, **fields: Unpack[Fields]) -> None:
        """As `RedisRegistry.grant`."""
        await self._say(ConsentStatus.GRANTED, subject_id, purposes, fields)

    async def deny(self, subject_id: Any, *purposes: str, **fields: Unpack[Fields]) -> None:
        """As `RedisRegistry.deny`."""
        await self._say(ConsentStatus.DENIED, subject_id, purposes, fields)

    async def forget(self, subject_id: Any) -> int:
        """As `RedisRegistry.forget`."""
        core, key = self._core, subject_key(subject_id)
        try:
            return await self._ask(lambda: core._plans.forget(core._scope, key, core._tags(key)))  # noqa: SLF001 - its core
        finally:
            tell(core, [key])

    #: As `RecordingRegistry`.
    _tells_of_writes = True

    @property
    def _store_of_consent(self) -> Hashable:
        return store_of(self._core)

    def scoped(self, name: str) -> Self:
        """As `RedisRegistry.scoped`: the same server for one tenant."""
        tenant = copy(self)
        tenant._core = self._core.scoped(name)  # noqa: SLF001 - its own class
        return tenant

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    async def _say(self, status: ConsentStatus, subject_id: Any, purposes: tuple[str, ...], fields: Fields) -> None:
        records = self._core._said(status, subject_id, purposes, fields)  # noqa: SLF001 - its core
        await self._write(records, is_stamped=is_stamped_here(fields))

    async def _write(self, records: list[ConsentRecord], *, is_stamped: bool) -> None:
        if not records:
            return
        await self._examine()
        core = self._core
        try:
            await self._ask(lambda: core._plans.append(core._scope, records, is_stamped_here=is_stamped))  # noqa: SLF001 - its core
        finally:
            tell(core, {record.subject_id for record in records})

    async def _ask(self, plan: Callable[[], Plan[_T]]) -> _T:
        problem: ConsentPanelError
        try:
            return await self._run(plan())
        except FAILURES as error:
            problem = problem_of(error)
        raise problem

    async def _run(self, plan: Plan[_T]) -> _T:
        answers: Sequence[Any] | None = None
        while True:
            try:
                commands = plan.send(answers)  # type: ignore[arg-type]
            except StopIteration as end:
                result: _T = end.value
                return result
            try:
                answers = await self._answers(commands)
            except BROKEN:
                # A connection that broke while it was idle. Of a write nobody knows whether it was done: the plan looks.
                answers = [None] if commands[0][0] == "EVAL" else await self._answers(commands)

    async def _answers(self, commands: Sequence[Command]) -> Sequence[Any]:
        if len(commands) == 1:
            return [await self._client.execute_command(*commands[0])]
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        found: Sequence[Any] = await pipeline.execute()
        return found

    async def _examine(self) -> None:
        if self._is_examined:
            return
        self._is_examined = True
        with suppress(Exception):
            settings: dict[Any, Any] = {}
            for name in EXAMINED:
                settings.update(await self._client.config_get(name))
            warn_of(settings)
