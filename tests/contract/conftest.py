"""A client over a fake vendor, with nobody's consent recorded yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import consentpanel
from consentpanel import FieldPolicy, Mixpanel, keep
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


@pytest.fixture
def client(registry: MemoryRegistry, vendor: FakeTransport, policy: FieldPolicy) -> Callable[..., Mixpanel]:
    def build(**keywords: Any) -> Mixpanel:
        return Mixpanel("TOKEN", vendor, **{"registry": registry, "policy": policy, **keywords})

    return build


@pytest.fixture
def mp(client: Callable[..., Mixpanel]) -> Mixpanel:
    return client()


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    consentpanel.reset()
    yield
    consentpanel.reset()
