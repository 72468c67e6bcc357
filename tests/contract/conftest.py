"""A client over a fake vendor, with nobody's consent recorded yet."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import consentpanel
from consentpanel import AsyncMixpanel, FieldPolicy, Mixpanel, keep
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def vendor() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def policy() -> FieldPolicy:
    return FieldPolicy(events={"plan": keep()}, people={"plan": keep()}, groups={"industry": keep()})


class Blocking:
    """An `AsyncMixpanel` as a client that blocks, so that one test holds both drivers to the gate's behaviour (rule 8.8)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *arguments: Any, **keywords: Any) -> None:
        vars(self).update(_own=AsyncMixpanel(*arguments, **keywords), _running=loop)

    def __setattr__(self, name: str, value: Any) -> None:
        # What tests of existing code put in a client's place.
        setattr(self._own._client, name, value)

    def __reduce__(self) -> Any:
        return self._own.__reduce__()

    def __copy__(self) -> Any:
        return self._own.__reduce__()

    def __enter__(self) -> Any:
        return self.__aenter__() and self

    def __exit__(self, *error: object) -> None:
        self.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._own, name, None)
        if not inspect.iscoroutinefunction(method):
            return getattr(self._own._client, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(method(*arguments, **keywords), self._running).result(60)

        return call


@pytest.fixture(scope="session")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(params=["sync", "async"])
def client(
    request: pytest.FixtureRequest, registry: MemoryRegistry, vendor: FakeTransport, policy: FieldPolicy
) -> Callable[..., Any]:
    def build(**keywords: Any) -> Any:
        given = {"registry": registry, "policy": policy, **keywords}
        if request.param == "sync":
            return Mixpanel("TOKEN", vendor, **given)
        return Blocking(request.getfixturevalue("loop"), "TOKEN", vendor, **given)

    return build


@pytest.fixture
def mp(client: Callable[..., Mixpanel]) -> Mixpanel:
    return client()


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    consentpanel.reset()
    yield
    consentpanel.reset()
