"""Where consent is kept: the protocol, and the registries that come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification
from consentpanel._consent.standing import Standing, standing_of
from consentpanel._exports import at_first_use, name_all
from consentpanel.registry._ask_again import ask_again_at
from consentpanel.registry._carry_over import carry_over
from consentpanel.registry._later import AsyncConsentRegistry
from consentpanel.registry._protocol import ConsentRegistry
from consentpanel.registry._recording import RecordingRegistry
from consentpanel.registry.cached import CachedRegistry
from consentpanel.registry.callable import CallableRegistry
from consentpanel.registry.invalidation import Invalidation, PostgresInvalidation, RedisInvalidation
from consentpanel.registry.memory import MemoryRegistry

if TYPE_CHECKING:
    from consentpanel.registry.redis import RedisRegistry
    from consentpanel.registry.redis_later import AsyncRedisRegistry
    from consentpanel.registry.sqlalchemy import SQLAlchemyRegistry
    from consentpanel.registry.sqlalchemy_later import AsyncSQLAlchemyRegistry
    from consentpanel.registry.sqlite import SQLiteRegistry

__all__ = [
    "AsyncConsentRegistry",
    "AsyncRedisRegistry",
    "AsyncSQLAlchemyRegistry",
    "CachedRegistry",
    "CallableRegistry",
    "ConsentRegistry",
    "Invalidation",
    "MaxAge",
    "MemoryRegistry",
    "PostgresInvalidation",
    "RecordingRegistry",
    "RedisInvalidation",
    "RedisRegistry",
    "SQLAlchemyRegistry",
    "SQLiteRegistry",
    "Standing",
    "Verification",
    "ask_again_at",
    "carry_over",
    "standing_of",
]


# At first use: a process that keeps consent elsewhere need not load SQLite, nor have the clients of servers.
__getattr__, __dir__ = at_first_use(
    globals(),
    {
        "AsyncRedisRegistry": "redis_later",
        "AsyncSQLAlchemyRegistry": "sqlalchemy_later",
        "RedisRegistry": "redis",
        "SQLAlchemyRegistry": "sqlalchemy",
        "SQLiteRegistry": "sqlite",
    },
)
name_all(globals())
