"""Consent in Redis, alone and as a cluster (contract rule 9.2)."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import consentpanel
from consentpanel import ConfigurationError, ConsentRecord, ConsentStatus, FieldPolicy, RegistryError
from consentpanel._consent.secret import keyed_by
from consentpanel.registry import RedisRegistry, SQLiteRegistry, Standing
from consentpanel.testing import FakeTransport, RegistryContract

redis = pytest.importorskip("redis")

pytestmark = [pytest.mark.service, pytest.mark.slow]

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
SECRET = b"0123456789abcdef0123456789abcdef"


def started(services, name):
    try:
        with getattr(services, name)() as server:
            yield server
    except services.MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def kept(services):
    yield from started(services, "redis_kept")


@pytest.fixture(scope="module")
def cluster(services):
    yield from started(services, "redis_cluster")


def alone(url: str, **options: Any) -> Any:
    return redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5, **options)


class TestAlone(RegistryContract):
    # It takes no transaction of the caller's.
    test_what_is_rolled_back_was_never_said = None

    @pytest.fixture(autouse=True)
    def place(self, kept):
        self.server, self.clients = kept, []
        yield
        for client in self.clients:
            client.close()

    def client(self) -> Any:
        self.clients.append(alone(self.server.url))
        return self.clients[-1]

    def make_registry(self, **options: Any) -> RedisRegistry:
        client = self.client()
        client.flushall()
        return RedisRegistry(client, **options)

    def open_again(self) -> RedisRegistry:
        return RedisRegistry(self.client())

    def restart_store(self) -> None:
        self.server.stop()
        self.server.start()


class TestDecodingAlone(TestAlone):
    """A client that makes text of every answer, as many applications have."""

    def client(self) -> Any:
        self.clients.append(alone(self.server.url, decode_responses=True))
        return self.clients[-1]


class TestAsACluster(RegistryContract):
    # It takes no transaction of the caller's; and it is the one alone that is restarted.
    test_what_is_rolled_back_was_never_said = test_it_outlives_a_restart_of_its_store = None

    @pytest.fixture(autouse=True)
    def place(self, cluster):
        self.url, self.clients = cluster, []
        yield
        for client in self.clients:
            client.close()

    def client(self) -> Any:
        self.clients.append(redis.RedisCluster.from_url(self.url, socket_timeout=5))
        return self.clients[-1]

    def make_registry(self, **options: Any) -> RedisRegistry:
        client = self.client()
        client.flushall(target_nodes=redis.RedisCluster.PRIMARIES)
        return RedisRegistry(client, **options)

    def open_again(self) -> RedisRegistry:
        return RedisRegistry(self.client())


@pytest.fixture
def client(kept):
    client = alone(kept.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def registry(client):
    return RedisRegistry(client)


def ago(**age: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**age)


def test_a_question_is_one_way_to_the_server(client, registry):
    registry._objections.add(keyed_by(SECRET))
    asked = []
    client.execute_command = lambda *command: asked.append(command) or type(client).execute_command(client, *command)
    pipeline = client.pipeline

    def watched(**options):
        found = pipeline(**options)
        execute = found.execute
        found.execute = lambda: asked.append("pipeline") or execute()
        return found

    client.pipeline = watched
    for ask in (
        lambda: registry.status("user-1", "analytics"),
        lambda: registry.status("user-1", "analytics", at=ago(days=1)),
        lambda: registry.statuses([f"user-{number}" for number in range(5_000)], "analytics"),
    ):
        asked.clear()
        ask()
        assert len(asked) == 1


def test_all_of_a_person_is_in_one_hash_slot(client, registry):
    for who in ("user-1", "a{b}c", "{}", "}{", "é/:%"):
        registry.scoped("a").grant(who)
    keys = [each.decode() for each in client.keys("*")]
    assert len(keys) == 10
    slots = {}
    for key in keys:
        slots.setdefault(key.rpartition(":")[0], set()).add(redis.crc.key_slot(key.encode()))
    assert len(slots) == 5
    assert all(len(each) == 1 for each in slots.values())


def test_writers_of_many_threads_lose_nothing_and_keep_the_chain(registry, kept):
    clients = [alone(kept.url) for _ in range(8)]
    threads = [
        threading.Thread(target=lambda each=each: [RedisRegistry(each).grant("user-1", "analytics") for _ in range(20)])
        for each in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in clients:
        each.close()
    assert registry.verify("user-1")
    assert registry.verify("user-1").records == 160


class Lossy:
    """A client that loses the answer of a write that was done."""

    def __init__(self, client: Any) -> None:
        self._client, self.losses = client, 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def execute_command(self, *command: Any) -> Any:
        answer = self._client.execute_command(*command)
        if command[0] == "EVAL" and self.losses:
            self.losses -= 1
            raise redis.ConnectionError("the answer was lost")
        return answer


def test_a_write_whose_answer_is_lost_is_not_done_twice(client):
    registry = RedisRegistry(Lossy(client))
    registry.grant("user-1")
    assert len(registry.history("user-1")) == 3
    assert registry.verify("user-1")
    registry._client.losses = 1
    registry.forget("user-1")
    assert registry.history("user-1") == []


def test_a_person_is_forgotten_whole(client, registry):
    registry.grant("ada@mail.example", evidence={"form": "a"})
    assert registry.forget("ada@mail.example") == 3
    assert client.keys("*") == []


def test_objections_tenants_and_ages_hold_here_too(client):  # rules 2.15, 9.5 and 12.6
    registry = RedisRegistry(client, objection_key=SECRET, max_age=timedelta(days=1))
    registry.grant("user-1", recorded_at=ago(hours=25))
    assert registry.standing("user-1", "analytics") is Standing.EXPIRED
    tenant = registry.scoped("tenant")
    tenant.deny("user-1")
    tenant.forget("user-1")
    assert tenant.statuses(["user-1", "user-2"], "analytics") == {"user-1": DENIED, "user-2": UNKNOWN}
    assert tenant.history("user-1") == []
    tenant.grant("user-1", "analytics")
    tenant.forget("user-1")
    assert [tenant.status("user-1", each) for each in ("analytics", "profiles")] == [UNKNOWN, DENIED]
    assert registry.verify("user-1").records == 3
    assert b"user-1" not in b"".join(key for key in client.keys("*") if b"tenant" in key)


def test_a_denial_that_arrives_while_a_person_is_forgotten_is_not_lost(client, kept):
    registry = RedisRegistry(client, objection_key=SECRET)
    for number in range(30):
        who = f"user-{number}"
        registry.grant(who, "analytics")
        one, other = alone(kept.url), alone(kept.url)
        start = threading.Barrier(2)

        def run(act, *given, start=start):
            start.wait(30)
            act(*given)

        acts = [
            (RedisRegistry(one, objection_key=SECRET).forget, who),
            (RedisRegistry(other).deny, who, "analytics"),
        ]
        threads = [threading.Thread(target=run, args=act) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        one.close()
        other.close()
        assert registry.status(who, "analytics") is DENIED


@pytest.mark.parametrize("tampering", ["LPOP", "RPOP", "LSET", "DEL"])
def test_the_chain_tells_a_change(client, registry, tampering):  # rule 12.6
    registry.deny("user-1")
    (past,) = client.keys("*records")
    more = (1, client.lindex(past, 0)) if tampering == "LSET" else ()
    client.execute_command(tampering, past, *more)
    assert not registry.verify("user-1")


def test_a_server_that_fails_is_a_denial_that_tells_no_value(services, caplog):
    client = alone(f"redis://:hush@127.0.0.1:{services.free_port()}/0")
    registry = RedisRegistry(client)
    with pytest.raises(RegistryError) as caught:
        registry.grant("ada@mail.example")
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    mp = consentpanel.Mixpanel("TOKEN", FakeTransport(), registry=registry, policy=FieldPolicy())
    assert mp.track("ada@mail.example", "Signed up").reason.value == "registry_error"
    assert "ada@" not in caplog.text + str(caught.value)
    assert "hush" not in caplog.text + str(caught.value)


def test_one_warning_says_that_the_server_keeps_nothing_or_evicts(services, client, caplog):
    consentpanel.reset()
    for _ in range(2):
        RedisRegistry(client).grant("user-1")
    assert "disk" not in caplog.text
    with services.redis() as url:
        volatile = alone(url)
        for _ in range(2):
            RedisRegistry(volatile).grant("user-1")
        assert sum("keeps nothing on its disk" in each.message for each in caplog.records) == 1
        volatile.config_set("maxmemory", "100mb")
        volatile.config_set("maxmemory-policy", "allkeys-lru")
        RedisRegistry(volatile).grant("user-1")
        assert sum("evicts" in each.message for each in caplog.records) == 1
        volatile.close()


def test_a_client_that_waits_for_ever_is_warned_of(kept, caplog):
    consentpanel.reset()
    client = redis.Redis.from_url(kept.url, socket_timeout=None)
    RedisRegistry(client)
    assert "socket_timeout" in caplog.text
    client.close()


@pytest.mark.parametrize("prefix", ["", "{a}", "é", 3])
def test_a_prefix_that_cannot_work_is_refused(client, prefix):
    with pytest.raises(ConfigurationError, match="prefix"):
        RedisRegistry(client, prefix=prefix)


def test_what_is_no_client_is_refused(tmp_path):
    for wrong in (None, "redis://localhost", SQLiteRegistry(tmp_path / "consent.db")):
        with pytest.raises(ConfigurationError, match="client"):
            RedisRegistry(wrong)
    with pytest.raises(ConfigurationError, match="asyncio"):
        RedisRegistry(redis.asyncio.Redis())


def test_two_prefixes_are_two_registries(client):
    one, other = RedisRegistry(client), RedisRegistry(client, prefix="other:")
    one.grant("user-1")
    assert other.status("user-1", "analytics") is UNKNOWN
    assert one == RedisRegistry(client)
    assert one != other
    assert hash(one) == hash(RedisRegistry(client))
    assert repr(one) == "<RedisRegistry>"


def test_many_records_of_many_people_are_appended_together(registry):
    registry.record_many([ConsentRecord(f"user-{number % 7}", "analytics", GRANTED) for number in range(200)])
    assert sum(len(registry.history(f"user-{number}")) for number in range(7)) == 200
    assert all(registry.verify(f"user-{number}") for number in range(7))


def test_the_package_does_without_redis():
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "import consentpanel.registry\n"
        "try: consentpanel.registry.RedisRegistry\n"
        "except consentpanel.ConfigurationError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "consentpanel[redis]" in found.stdout
