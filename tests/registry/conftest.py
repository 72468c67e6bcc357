"""The servers in which consent is kept."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

from consentpanel.testing import RegistryContract


class Blocking:
    """A registry of coroutines as one that answers at once, in a loop of its own."""

    def __init__(self, registry: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._registry, self._running = registry, loop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._registry, name)
        if not inspect.iscoroutinefunction(method):
            return method
        return lambda *arguments, **keywords: self._await(method(*arguments, **keywords))

    def _await(self, answer: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(answer, self._running).result(60)


@pytest.fixture
def blocking_contract() -> Callable[..., None]:
    """Holds a registry of coroutines to the whole contract, in an event loop of its own.

    What is given to it makes a registry, and what closes it.
    """

    def prove(make: Callable[..., Any]) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        def run(answer: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(answer, loop).result(60)

        closing: list[Any] = []

        class Proof(RegistryContract):
            # The loop that answers is the parent's.
            test_a_fork_leaves_both_working = None

            def make_registry(self, **options: Any) -> Any:
                registry, close = run(make(**options))
                closing.append(close)
                return Blocking(registry, loop)

        proven = 0
        try:
            for name in dir(Proof):
                if name.startswith("test_") and getattr(Proof, name) is not None:
                    try:
                        getattr(Proof(), name)()
                        proven += 1
                    except pytest.skip.Exception:
                        continue
                    finally:
                        while closing:
                            run(closing.pop()())
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
        assert proven > 40

    return prove
