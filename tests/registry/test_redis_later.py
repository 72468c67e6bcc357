"""Consent in Redis, for asyncio (contract rules 9.2 and 8.8)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consentpanel import (
    AsyncMixpanel,
    ConfigurationError,
    ConsentStatus,
    FieldPolicy,
    InvalidRecordError,
    RegistryError,
)
from consentpanel.registry import AsyncConsentRegistry, AsyncRedisRegistry, RedisRegistry
from consentpanel.testing import FakeTransport

redis = pytest.importorskip("redis")

pytestmark = [pytest.mark.service, pytest.mark.slow]

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def kept(services):
    try:
        with services.redis_kept() as server:
            yield server
    except services.MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cluster(services):
    try:
        with services.redis_cluster() as url:
            yield url
    except services.MissingError as error:
        pytest.skip(str(error))


def test_alone_it_passes_the_contract(blocking_contract, kept):
    async def make(**options: Any) -> Any:
        client = redis.asyncio.Redis.from_url(kept.url, socket_timeout=5)
        await client.flushall()
        return AsyncRedisRegistry(client, **options), client.aclose

    blocking_contract(make)


def test_as_a_cluster_it_passes_the_contract(blocking_contract, cluster):
    async def make(**options: Any) -> Any:
        client = redis.asyncio.RedisCluster.from_url(cluster, socket_timeout=5)
        await client.flushall(target_nodes=redis.asyncio.RedisCluster.PRIMARIES)
        return AsyncRedisRegistry(client, **options), client.aclose

    blocking_contract(make)


@pytest.fixture
async def client(kept):
    client = redis.asyncio.Redis.from_url(kept.url, socket_timeout=5)
    await client.flushall()
    yield client
    await client.aclose()


async def test_a_client_asks_it_and_writes_to_it(client):
    registry, vendor = AsyncRedisRegistry(client), FakeTransport()
    assert isinstance(registry, AsyncConsentRegistry)
    mp = AsyncMixpanel("TOKEN", vendor, registry=registry, policy=FieldPolicy())
    assert not await mp.track("user-1", "Viewed")
    await mp.opt_in("user-1")
    assert await mp.track("user-1", "Viewed")
    await mp.withdraw("user-1")
    assert not await mp.track("user-1", "Viewed")
    assert (await registry.verify("user-1")).records == 6
    assert await registry.forget("user-1") == 6


async def test_tasks_that_write_side_by_side_lose_nothing(client):
    registry = AsyncRedisRegistry(client)
    await asyncio.gather(*(registry.grant(f"user-{number % 3}", "analytics") for number in range(60)))
    assert [(await registry.verify(f"user-{number}")).records for number in range(3)] == [20] * 3


async def test_options_hold_here_too(client):
    registry = AsyncRedisRegistry(client, objection_key=SECRET, strict_records=True)
    with pytest.raises(InvalidRecordError):
        await registry.grant("user-1", "analytics")
    tenant = registry.scoped("tenant")
    await tenant.deny("user-1")
    await tenant.forget("user-1")
    assert await tenant.statuses(["user-1", "user-2"], "analytics") == {"user-1": DENIED, "user-2": UNKNOWN}
    assert await registry.status("user-1", "analytics") is UNKNOWN


async def test_a_server_that_fails_tells_no_value(services):
    registry = AsyncRedisRegistry(
        redis.asyncio.Redis.from_url(f"redis://127.0.0.1:{services.free_port()}", socket_timeout=1)
    )
    with pytest.raises(RegistryError) as caught:
        await registry.grant("ada@mail.example")
    assert "ada" not in str(caught.value)
    assert caught.value.__context__ is None


async def test_each_takes_its_own_kind_of_client(client):
    with pytest.raises(ConfigurationError, match="AsyncRedisRegistry"):
        RedisRegistry(client)
    with pytest.raises(ConfigurationError, match="use RedisRegistry"):
        AsyncRedisRegistry(redis.Redis())
