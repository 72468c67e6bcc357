"""Registries that answer later: what they are, and how a thread of ours asks one."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import TimeoutError as TimedOutError
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing
from consentpanel.errors import ConfigurationError, RegistryError
from consentpanel.registry._protocol import METHODS, is_coroutine_function
from consentpanel.registry._records import asked_moment
from consentpanel.registry._watching import store_of
from consentpanel.registry.callable import standing_said, takes_at

#: Seconds for which a thread waits for an answer of an event loop.
_PATIENCE = 10.0


@runtime_checkable
class AsyncConsentRegistry(Protocol):
    """A registry whose methods are coroutines, for `AsyncMixpanel`; otherwise as `ConsentRegistry`."""

    async def status(self, subject_id: str, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """As `ConsentRegistry.status`."""
        ...

    async def statuses(
        self, subject_ids: Iterable[str], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """As `ConsentRegistry.statuses`."""
        ...

    async def record(self, record: ConsentRecord, /) -> None:
        """As `ConsentRegistry.record`."""
        ...

    async def history(self, subject_id: str) -> list[ConsentRecord]:
        """As `ConsentRegistry.history`."""
        ...

    async def forget(self, subject_id: str) -> object:
        """As `ConsentRegistry.forget`."""
        ...


class AskedLater:
    """A coroutine function of somebody's as a registry."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._takes_at = takes_at(function)

    async def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """As `CallableRegistry.standing`."""
        key, moment, named = subject_key(subject_id), asked_moment(at), Purpose(purpose)
        if self._takes_at:
            return standing_said(await self._function(key, named, at=moment))
        if moment is not None:
            return Standing.NOT_RECORDED
        return standing_said(await self._function(key, named))

    async def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """As `CallableRegistry.status`."""
        return (await self.standing(subject_id, purpose, at=at)).status


def is_later(registry: object) -> bool:
    """Whether a registry, or a function in its place, answers later: by any of its methods."""
    if callable(getattr(registry, "status", None)):
        found = [getattr(registry, name, None) for name in METHODS]
        return any(is_coroutine_function(method) for method in found)
    return is_coroutine_function(registry)


def awaited_registry(registry: Any) -> Any:
    """The registry whose answers are awaited, made of a coroutine function where one is given.

    Raises:
        ConfigurationError: Some of its methods answer at once, and others later.
    """
    if not callable(getattr(registry, "status", None)):
        return AskedLater(registry)
    methods = {name: getattr(registry, name, None) for name in METHODS}
    at_once = [name for name, each in methods.items() if callable(each) and not is_coroutine_function(each)]
    if at_once:
        raise ConfigurationError(
            f"registry.{at_once[0]} must be a coroutine function, as its other methods are: a registry answers at once or later"
        )
    return registry


class Bridge:
    """An asynchronous registry for threads, which may wait: what it is asked is run in the event loop of its client.

    Args:
        registry: The registry.
        loop: Gives the event loop; None before the client's first call.
    """

    def __init__(self, registry: Any, loop: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
        self._later = registry
        self._loop = loop

    def __call__(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """What a method answers.

        Raises:
            RegistryError: The event loop has ended, does not answer, or is the one of this very thread.
            Exception: Whatever the registry raises.
        """
        loop = self._loop()
        if loop is None or loop.is_closed() or not loop.is_running():
            raise RegistryError("the event loop in which the registry answers is not running")
        running = None
        with suppress(RuntimeError):
            running = asyncio.get_running_loop()
        if running is loop:
            raise RegistryError("the registry was asked in the event loop in which it is to answer")
        found = asyncio.run_coroutine_threadsafe(_awaited(getattr(self._later, name)(*arguments, **keywords)), loop)
        late = False
        try:
            return found.result(_PATIENCE)
        except (TimedOutError, TimeoutError):
            late = not found.done()
            found.cancel()
            if not late:
                raise
        raise RegistryError("the event loop in which the registry answers is busy")


async def _awaited(answer: Any) -> Any:
    return await answer


def bridged(registry: Any, loop: Callable[[], asyncio.AbstractEventLoop | None]) -> Any:
    """An asynchronous registry as one that answers at once, to be asked in threads: with the methods that it has.

    Args:
        registry: The registry.
        loop: Gives the event loop in which it answers; None while there is none.
    """
    bridge = Bridge(registry, loop)
    methods: dict[str, Any] = {}
    for name in (*METHODS, "verify"):
        if callable(getattr(registry, name, None)):
            methods[name] = staticmethod(functools.partial(bridge, name))
    settings: Mapping[str, Any] = {
        name: getattr(registry, name)
        for name in ("max_age", "required_policy_version", "strict_records")
        if hasattr(registry, name)
    }
    kind = type(type(registry).__name__, (_Bridged,), {**methods, **settings})
    return kind(bridge, registry)


class _Bridged:
    #: Seen by the class.
    asked_of: Any = None
    _stands_before: Any = None
    _store_of_consent: Hashable = None

    #: What is said when a question outside of a call has no answer.
    unanswered = (
        "consent was answered in the call, and cannot be asked for again now that the message is to leave: the event loop in which the "
        "registry answers has ended, or is busy. Close the AsyncMixpanel, or leave `async with`, before its loop ends"
    )

    def __init__(self, bridge: Bridge, registry: Any) -> None:
        self._bridge = bridge
        self._inner = registry
        #: The registry itself.
        self.asked_of = self._stands_before = registry
        #: Two clients of one registry share its people.
        self._store_of_consent = store_of(registry)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, asked in threads>"
