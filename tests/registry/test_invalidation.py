"""Caches of many processes hear of each other's writes (contract rule 9.4)."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import consentpanel
from consentpanel import ConfigurationError, ConsentStatus
from consentpanel.registry import (
    CachedRegistry,
    MemoryRegistry,
    PostgresInvalidation,
    RedisInvalidation,
    SQLAlchemyRegistry,
    SQLiteRegistry,
)

pytestmark = [pytest.mark.service, pytest.mark.slow]
redis = pytest.importorskip("redis")
pytest.importorskip("psycopg")

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN


@pytest.fixture(scope="module", params=["redis_kept", "postgresql"])
def channel(request, services):
    """A server, and how a process makes its end of the channel."""
    try:
        with getattr(services, request.param)() as server:
            yield server
    except services.MissingError as error:
        pytest.skip(str(error))


def made(server: Any) -> Any:
    if server.url.startswith("redis"):
        return RedisInvalidation(redis.Redis.from_url(server.url, socket_timeout=2, socket_connect_timeout=2))
    return PostgresInvalidation(server.url)


def until(condition: Any, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.002)
    return False


@pytest.fixture
def two(channel, tmp_path):
    """Two caches over one file, as of two processes: neither hears the other but by the channel."""
    registries, caches = [], []
    for _ in range(2):
        registries.append(Aside(tmp_path / "consent.db"))
        caches.append(CachedRegistry(registries[-1], ttl=600, invalidation=made(channel)))
        assert caches[-1]._invalidation.wait()
    yield caches
    for each in registries:
        each.close()


class Aside(SQLiteRegistry):
    """A registry whose writes are not heard in this process."""

    @property
    def _store(self):
        return id(self)


def test_a_withdrawal_in_one_process_is_seen_by_the_other(two):
    here, there = two
    here.grant("user-1")
    assert there.status("user-1", "analytics") is GRANTED
    here.deny("user-1", "analytics")
    assert until(lambda: there.status("user-1", "analytics") is DENIED)
    assert there.status("user-1", "profiles") is GRANTED
    there.forget("user-1")
    assert until(lambda: here.status("user-1", "analytics") is UNKNOWN)


def test_tenants_hear_of_their_own(channel, tmp_path):
    caches = [
        CachedRegistry(SQLiteRegistry(tmp_path / f"{place}.db"), ttl=600, invalidation=made(channel)).scoped("one")
        for place in "ab"
    ]
    assert all(each._invalidation.wait() for each in caches)
    asked = []
    for each in caches:
        each.grant("user-1")
    time.sleep(0.3)
    for each in caches:
        inner = each._inner
        inner.standing = lambda *a, inner=inner, **k: asked.append(a) or type(inner).standing(inner, *a, **k)
        each.status("user-1", "analytics")
    asked.clear()
    caches[0].deny("user-2")
    caches[0].status("user-1", "analytics")
    assert asked == []
    caches[0].deny("user-1")
    assert until(lambda: caches[1].status("user-1", "analytics") and len(asked) > 0)


def test_what_is_told_names_nobody(channel):
    told = []
    invalidation = made(channel)
    invalidation._send = told.append
    CachedRegistry(MemoryRegistry(), ttl=5, invalidation=invalidation).grant("ada@mail.example")
    assert until(lambda: len(told) == 1)
    assert "ada" not in told[0]
    assert len(json.loads(told[0])[0][0]) == 32


def test_a_channel_that_is_cut_and_heals(channel, two, caplog):
    here, there = two
    here.grant("user-1")
    here.grant("user-2")
    assert there.status("user-1", "analytics") is GRANTED
    assert there.status("user-2", "analytics") is GRANTED
    consentpanel.reset()
    channel.stop()
    assert until(lambda: not there._invalidation.is_standing)
    # The write is done all the same, and nobody there hears of it.
    here.deny("user-1")
    assert there.status("user-2", "analytics") is GRANTED
    channel.start()
    assert until(lambda: there.status("user-1", "analytics") is DENIED)
    assert until(lambda: here._invalidation.is_standing)
    assert sum("do not hear each other" in each.message for each in caplog.records) >= 1
    here.deny("user-2")
    assert until(lambda: there.status("user-2", "analytics") is DENIED)


def test_while_the_channel_is_broken_nothing_older_than_ttl_is_answered(services):
    client = redis.Redis.from_url(
        f"redis://127.0.0.1:{services.free_port()}", socket_timeout=1, socket_connect_timeout=1
    )
    store = MemoryRegistry()
    store.grant("user-1")
    cache = CachedRegistry(partial(MemoryRegistry.status, store), ttl=0.2, invalidation=RedisInvalidation(client))
    assert cache.status("user-1", "analytics") is GRANTED
    store.deny("user-1")
    assert until(lambda: cache.status("user-1", "analytics") is DENIED, 10)
    assert not cache._invalidation.is_standing


def test_a_transaction_that_is_still_open_is_not_remembered_anywhere(channel, tmp_path):
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    url = f"sqlite:///{tmp_path}/consent-of-customers.db"
    here, there = SQLAlchemyRegistry(url), SQLAlchemyRegistry(url)
    here.create_tables()
    here.grant("user-1")
    writing = CachedRegistry(here, ttl=600, invalidation=made(channel))
    reading = CachedRegistry(partial(SQLAlchemyRegistry.status, there), ttl=600, invalidation=made(channel))
    assert writing._invalidation.wait()
    assert reading._invalidation.wait()
    assert reading.status("user-1", "analytics") is GRANTED
    engine = create_engine(url)
    with Session(engine) as session:
        writing.deny("user-1", session=session)
        time.sleep(0.3)
        assert reading.status("user-1", "analytics") is GRANTED
        session.commit()
    assert reading.status("user-1", "analytics") is DENIED
    engine.dispose()
    here.close()
    there.close()


CHILD = """
import json, sys, time
from consentpanel.registry import CachedRegistry, SQLiteRegistry, PostgresInvalidation, RedisInvalidation
url, path = sys.argv[1:]
if url.startswith("redis"):
    import redis
    invalidation = RedisInvalidation(redis.Redis.from_url(url, socket_timeout=2))
else:
    invalidation = PostgresInvalidation(url)
cache = CachedRegistry(SQLiteRegistry(path), ttl=600, invalidation=invalidation)
assert invalidation.wait()
assert cache.status("user-1", "analytics").value == "granted"
print("ready", flush=True)
end = time.time() + 30
while cache.status("user-1", "analytics").value != "denied" and time.time() < end:
    time.sleep(0.0005)
print(time.time(), flush=True)
"""


def test_eight_other_processes_see_a_withdrawal(channel, tmp_path):
    path = tmp_path / "consent.db"
    cache = CachedRegistry(SQLiteRegistry(path), ttl=600, invalidation=made(channel))
    cache.grant("user-1")
    env = {**os.environ, "PYTHONPATH": str(Path(consentpanel.__file__).parents[1])}
    command = [sys.executable, "-c", CHILD, channel.url, str(path)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) for _ in range(8)]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 8
    cache.deny("user-1")
    done = time.time()
    seen = [float(child.stdout.readline()) - done for child in children]
    for child in children:
        child.wait(10)
        child.stdout.close()
    assert max(seen) < 10  # it does not wait for the ttl


def test_a_child_of_a_fork_hears_too(channel, tmp_path):
    path = tmp_path / "consent.db"
    cache = CachedRegistry(SQLiteRegistry(path), ttl=600, invalidation=made(channel))
    assert cache._invalidation.wait()
    cache.grant("user-1")
    assert cache.status("user-1", "analytics") is GRANTED
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 1
        try:
            cache._invalidation.wait()
            cache.status("user-1", "analytics")
            os.write(writing, b"1")
            code = 0 if until(lambda: cache.status("user-1", "analytics") is DENIED) else 2
        finally:
            os._exit(code)
    os.read(reading, 1)
    cache.deny("user-1")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reading)
    os.close(writing)
    cache.grant("user-1")
    assert cache.status("user-1", "analytics") is GRANTED


def test_a_thread_ends_with_its_last_cache(channel):
    invalidation = made(channel)
    cache = CachedRegistry(MemoryRegistry(), ttl=5, invalidation=invalidation)
    assert invalidation.wait()
    thread = invalidation._thread
    del cache
    thread.join(20)
    assert not thread.is_alive()
    again = CachedRegistry(MemoryRegistry(), ttl=5, invalidation=invalidation)
    assert invalidation.wait()
    del again


def test_a_thread_ends_with_its_last_cache_also_while_the_channel_is_broken(services):
    client = redis.Redis.from_url(f"redis://127.0.0.1:{services.free_port()}", socket_connect_timeout=1)
    cache = CachedRegistry(MemoryRegistry(), ttl=5, invalidation=RedisInvalidation(client))
    thread = cache._invalidation._thread
    time.sleep(0.5)
    assert thread.is_alive()
    del cache
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "build",
    [
        lambda: RedisInvalidation(None),
        lambda: RedisInvalidation(redis.Redis(), channel="a b"),
        lambda: RedisInvalidation(redis.Redis(), channel=3),
        lambda: PostgresInvalidation(""),
        lambda: PostgresInvalidation("postgresql://x", channel="; DROP TABLE"),
        lambda: CachedRegistry(MemoryRegistry(), ttl=5, invalidation="redis"),
    ],
)
def test_what_cannot_work_is_refused(build):
    with pytest.raises(ConfigurationError):
        build()
