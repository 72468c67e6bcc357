"""A registry that answers later is refused, and what it has not done never looks done (rules 2.3 and 2.6)."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from consentpanel import ConfigurationError, ConsentRecord, ConsentStatus, FieldPolicy, Mixpanel, Reason, RegistryError
from consentpanel.registry import CachedRegistry, CallableRegistry, MemoryRegistry
from consentpanel.testing import FakeTransport

NAMES = (
    *("status", "statuses", "record", "history", "forget"),
    *("standing", "standings", "ends_at", "record_many", "grant", "deny"),
)
GRANTED = ConsentStatus.GRANTED


async def later(*arguments: Any, **keywords: Any) -> Any:
    return GRANTED


async def later_and_again(*arguments: Any, **keywords: Any) -> AsyncIterator[Any]:
    yield GRANTED


class Later:
    async def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return GRANTED


def promise(*arguments: Any, **keywords: Any) -> Any:
    return later()


def generator(*arguments: Any, **keywords: Any) -> Iterator[Any]:
    yield GRANTED


COROUTINES = [
    later,
    later_and_again,
    Later(),
    functools.partial(later, 1),
    functools.partial(functools.partial(Later(), 1), 2),
]


def with_method(name: str, function: Any) -> Any:
    registry = MemoryRegistry()
    setattr(registry, name, function)
    return registry


@pytest.mark.parametrize("function", COROUTINES, ids=["def", "generator", "object", "partial", "partials"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "use",
    [
        lambda registry: Mixpanel("T", FakeTransport(), registry=registry),
        lambda registry: CachedRegistry(registry, ttl=1),
        lambda registry: Mixpanel("T", FakeTransport(), registry=CachedRegistry(registry, ttl=1)),
    ],
    ids=["client", "cached", "client-cached"],
)
def test_a_coroutine_function_as_any_method_is_refused_at_construction(use: Any, name: str, function: Any) -> None:
    # rule 2.3
    with pytest.raises(ConfigurationError, match=f"registry.{name} must be a plain method: a coroutine function"):
        use(with_method(name, function))


@pytest.mark.parametrize("name", ["function", "record", "record_many", "history", "forget"])
@pytest.mark.parametrize("function", COROUTINES, ids=["def", "generator", "object", "partial", "partials"])
def test_a_coroutine_function_as_any_function_of_a_callable_registry_is_refused(name: str, function: Any) -> None:
    # rule 2.3
    functions = {"function": lambda subject_id, purpose: True, name: function}
    with pytest.raises(ConfigurationError, match=f"{name} must be a plain function"):
        CallableRegistry(functions.pop("function"), **functions)


def test_a_plain_method_around_a_coroutine_function_is_taken() -> None:
    @functools.wraps(later)
    def run(*arguments: Any, **keywords: Any) -> Any:
        return asyncio.run(later())

    assert Mixpanel("T", FakeTransport(), registry=with_method("standing", run)).track("user-1", "E").reason


wraps = pytest.mark.parametrize("wrap", [lambda registry: registry, lambda registry: CachedRegistry(registry, ttl=9)])


@wraps
def test_an_awaitable_that_comes_back_as_a_status_denies(wrap: Callable[[Any], Any]) -> None:
    # rules 2.3 and 2.6; the test run fails of a coroutine that was never awaited

    class Promising:
        def status(self, subject_id: str, purpose: str, *, at: Any = None) -> Any:
            return later()

        def statuses(self, subject_ids: Any, purpose: str, *, at: Any = None) -> Any:
            return later()

    registry = wrap(Promising())
    mp = Mixpanel("T", FakeTransport(), registry=registry, policy=FieldPolicy())
    assert mp.track("user-1", "E").reason is Reason.REGISTRY_ERROR
    assert mp.track("user-1", "E", {"$user_id": "user-2"}).reason is Reason.REGISTRY_ERROR
    gc.collect()


def test_an_awaitable_that_comes_back_through_a_cache_is_an_error() -> None:
    registry = CachedRegistry(CallableRegistry(promise), ttl=9)
    with pytest.raises(RegistryError):
        registry.status("user-1", "analytics")
    with pytest.raises(RegistryError, match="status answered with coroutine"):
        CachedRegistry(with_method("standing", None) and _Promising(), ttl=9).status("user-1", "analytics")


class _Promising:
    status = staticmethod(promise)


class FiveMethods:
    """Says that all went well, and does nothing."""

    status = staticmethod(lambda subject_id, purpose, *, at=None: GRANTED)
    statuses = staticmethod(lambda subject_ids, purpose, *, at=None: dict.fromkeys(subject_ids, GRANTED))
    history = staticmethod(lambda subject_id: [])
    forget = record = staticmethod(promise)


@wraps
@pytest.mark.parametrize("answer", [promise, later_and_again, generator, Future])
@pytest.mark.parametrize("name", ["record", "record_many", "deny", "history"])
def test_a_withdrawal_that_was_only_promised_says_so(wrap: Callable[[Any], Any], name: str, answer: Any) -> None:
    # rule 2.3: a withdrawal that was not recorded never looks like one
    class Promising(FiveMethods):
        pass

    setattr(Promising, name, lambda self, *arguments, **keywords: answer())
    mp = Mixpanel("T", FakeTransport(), registry=wrap(Promising()), policy=FieldPolicy())
    for say in (mp.withdraw, mp.opt_out):
        with pytest.raises(RegistryError):
            say("user-1")
    if name == "record":
        with pytest.raises(
            RegistryError, match=r"^Promising\.record answered with \w+, which nobody runs: nothing was done$"
        ):
            mp.opt_in("user-1")
    gc.collect()


@wraps
def test_an_erasure_that_was_only_promised_says_so(wrap: Callable[[Any], Any]) -> None:
    for registry in (CallableRegistry(promise, forget=promise), CachedRegistry(FiveMethods(), ttl=9)):
        with pytest.raises(RegistryError, match="forget answered with coroutine"):
            wrap(registry).forget("user-1")


def test_a_function_that_only_promises_to_record_is_an_error() -> None:
    record = ConsentRecord("user-1", "analytics", GRANTED)
    registry = CallableRegistry(promise, record=promise, record_many=promise, history=promise)
    for use in (
        lambda: registry.record(record),
        lambda: registry.record_many([record]),
        lambda: registry.history("user-1"),
    ):
        with pytest.raises(RegistryError, match="answered with coroutine, which nobody awaits"):
            use()
