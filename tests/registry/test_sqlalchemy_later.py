"""Consent in the application's database, for asyncio (contract rules 9.1 and 8.8)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consentpanel import AsyncMixpanel, ConfigurationError, ConsentStatus, FieldPolicy
from consentpanel.registry import AsyncConsentRegistry, AsyncSQLAlchemyRegistry
from consentpanel.testing import FakeTransport

pytest.importorskip("sqlalchemy")
pytest.importorskip("greenlet")
pytest.importorskip("aiosqlite")
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN


def makes(url: str) -> Any:
    async def make(**options: Any) -> Any:
        engine = create_async_engine(url)
        registry = AsyncSQLAlchemyRegistry(engine, **options)
        async with engine.begin() as connection:
            await connection.run_sync(registry.metadata.drop_all)
        await registry.create_tables()

        async def close() -> None:
            await registry.close()
            await engine.dispose()

        return registry, close

    return make


def test_on_sqlite_it_passes_the_contract(blocking_contract, url):
    blocking_contract(makes(url))


@pytest.mark.service
@pytest.mark.slow
def test_on_postgresql_it_passes_the_contract(blocking_contract, postgresql):
    blocking_contract(makes(postgresql.url))


@pytest.fixture
def url(tmp_path):
    return f"sqlite+aiosqlite:///{tmp_path}/consent-of-customers.db"


async def test_a_client_asks_it_and_writes_to_it_in_the_caller_s_transaction(url):
    engine, vendor = create_async_engine(url), FakeTransport()
    async with AsyncSQLAlchemyRegistry(engine) as registry:
        assert isinstance(registry, AsyncConsentRegistry)
        await registry.create_tables()
        mp = AsyncMixpanel("TOKEN", vendor, registry=registry, policy=FieldPolicy())
        async with AsyncSession(engine) as session:
            await mp.opt_in("user-1", session=session)
            await session.rollback()
        assert not await mp.track("user-1", "Viewed")
        async with AsyncSession(engine) as session:
            await registry.grant("user-1", "analytics", session=session)
            await session.commit()
        assert await mp.track("user-1", "Viewed")
        async with engine.begin() as connection:
            await registry.deny("user-1", connection=connection)
        assert not await mp.track("user-1", "Viewed")
        assert (await registry.verify("user-1")).records == 4
        assert await registry.statuses(["user-1", "user-2"], "analytics") == {"user-1": DENIED, "user-2": UNKNOWN}
        assert await registry.scoped("tenant").status("user-1", "analytics") is UNKNOWN
        assert await registry.forget("user-1") == 4
    await engine.dispose()


async def test_tasks_that_write_side_by_side_lose_nothing(url):
    engine = create_async_engine(url)
    async with AsyncSQLAlchemyRegistry(engine) as registry:
        await registry.create_tables()
        await asyncio.gather(*(registry.grant(f"user-{number % 3}", "analytics") for number in range(30)))
        assert [(await registry.verify(f"user-{number}")).records for number in range(3)] == [10] * 3
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM consentpanel_record"))).scalar() == 30
    await engine.dispose()


def test_what_is_no_engine_of_asyncio_s_is_refused(url):
    from sqlalchemy import create_engine

    for wrong in (url, create_engine("sqlite://"), None):
        with pytest.raises(ConfigurationError, match="engine must be an AsyncEngine"):
            AsyncSQLAlchemyRegistry(wrong)
