"""Messages that wait on the disk: no end of a process loses one, and a withdrawal erases them (contract rule 8.2)."""

from __future__ import annotations

import copy
import gc
import json
import logging
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mixpanel
import pytest

import consentpanel
from consentpanel import (
    ConfigurationError,
    Decision,
    FieldPolicy,
    Mixpanel,
    Outcome,
    Reason,
    SpoolConsumer,
    keep,
    pseudonymous,
)
from consentpanel._log import forget_warnings
from consentpanel.registry import MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport
from consentpanel.transport import _spool

pytestmark = pytest.mark.usefixtures("_no_pause")
WHO = "ada-lovelace-4711"
needs_accounts = pytest.mark.skipif(
    not hasattr(mixpanel, "ServiceAccountCredentials"), reason="mixpanel 5.2 brought service accounts"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def vendor() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def client(path: Path, registry: MemoryRegistry, vendor: FakeTransport) -> Iterator[Callable[..., Mixpanel]]:
    """Clients of one project over one file, each as of another process: with a consumer of its own."""
    consumers = []

    def build(token: str = "TOKEN", *, told: list[Decision] | None = None, **given: Any) -> Mixpanel:
        mine = {
            "registry": registry,
            "policy": FieldPolicy.keep_all(),
            "observers": [] if told is None else [told.append],
        }
        mine |= {name: given.pop(name) for name in ("registry", "policy", "identity") if name in given}
        consumers.append(SpoolConsumer(path, **{"consumer": vendor, "linger": 9, "timeout": 5, **given}))
        return Mixpanel(token, consumers[-1], **mine)  # type: ignore[arg-type]

    yield build
    # Whoever is collected has no thread any more.
    for each in consumers:
        each._spool.discard_all()
    consumers.clear()
    gc.collect()


def spool_of(mp: Mixpanel) -> Any:
    """The spool of a client, behind its seal."""
    return mp._sealed._SealedTransport__consumer._spool


def bytes_of(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))


def test_a_message_is_on_the_disk_when_the_call_returns_and_erased_when_it_has_arrived(
    client: Any, path: Path, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    registry.grant(WHO)
    mp = client()
    assert mp.track(WHO, "Signed up", {"plan": "pro-4711"})
    assert b"pro-4711" in bytes_of(path)
    assert vendor.messages == []
    mp.flush()
    vendor.assert_tracked("Signed up", distinct_id=WHO, properties={"plan": "pro-4711"})
    assert mp.stats() == {"sent": {"consent_granted": 1}}
    for said in (b"pro-4711", WHO.encode(), b"Signed up"):
        assert said not in bytes_of(path)


@needs_accounts
@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_the_file_is_its_owner_s_alone_and_holds_no_address_and_no_credentials(
    client: Any, path: Path, registry: MemoryRegistry, faulty: Any
) -> None:
    registry.grant(WHO)
    credentials = mixpanel.ServiceAccountCredentials("account-4711", "secret-4711", "project-4711")
    mp = client(consumer=None, credentials=credentials, **faulty.urls)
    mp.track(WHO, "Signed up")
    mp.import_data("key-4711", WHO, "Signed up", time.time(), api_secret="secret-0815")
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.glob("spool.db*")} == {0o600}
    written = bytes_of(path)
    for hidden in (b"account-4711", b"secret-4711", b"project-4711", b"key-4711", b"secret-0815", b"127.0.0.1"):
        assert hidden not in written


def test_an_import_with_credentials_of_its_own_alone_is_not_accepted(path: Path, registry: MemoryRegistry) -> None:
    registry.grant(WHO)
    mp = Mixpanel("T", SpoolConsumer(path), registry=registry, policy=FieldPolicy.keep_all())
    with pytest.raises(mixpanel.MixpanelException, match="a spool keeps no credentials"):
        mp.import_data("key", WHO, "Signed up", time.time(), api_secret="secret")


def test_any_process_delivers_what_another_has_written(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    registry.grant(WHO)
    client().track(WHO, "Signed up")
    client().people_set(WHO, {"plan": "pro"})
    other = client()
    other.flush()
    assert [each.endpoint for each in vendor.messages] == ["events", "people"]
    assert other.stats() == {}  # the others have counted them


def test_a_message_of_another_project_is_left_to_a_client_of_that(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    registry.grant(WHO)
    first, second = client("FIRST"), client("SECOND")
    first.track(WHO, "Signed up")
    second.flush()
    assert vendor.messages == []
    first.flush()
    assert len(vendor.events) == 1


def test_each_message_is_judged_again_by_whoever_delivers_it(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    registry.grant("stays")
    registry.grant("leaves")
    mine: list[Decision] = []
    first = client(told=mine)
    for who in ("stays", "leaves"):
        first.track(who, "Signed up")
    registry.deny("leaves")
    told: list[Decision] = []
    client(told=told).flush()
    assert [each.distinct_id for each in vendor.events] == ["stays"]
    assert [(each.outcome, each.reason) for each in told] == [(Outcome.DROPPED, Reason.WITHDRAWN)]
    assert first._consumer.waiting == 0


def test_a_withdrawal_in_any_process_erases_what_waits_for_the_person_at_once(
    client: Any, path: Path, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    for who in (WHO, "other"):
        registry.grant(who)
    first = client()
    first.track(WHO, "Signed up")
    first.people_update({"$distinct_id": WHO, "$set": {"plan": "pro-4711"}, "$unset": ["name"]})
    first.people_unset(WHO, ["nick"])
    first.alias("alias-4711", WHO)
    first.track("other", "Signed up")
    registry.grant("alias-4711")
    first.alias("alias-4711", WHO)
    told: list[Decision] = []
    assert client(told=told).withdraw(WHO).discarded == 3
    written = bytes_of(path)
    assert b"pro-4711" not in written
    assert [each.reason for each in told if each.outcome is Outcome.DROPPED] == [Reason.WITHDRAWN] * 2
    client().flush()
    assert [each.distinct_id for each in vendor.events] == ["other"]
    # What takes data away is never discarded.
    assert [each.properties for each in vendor.people] == [{"$unset": ["name"]}, {"$unset": ["nick"]}]


def test_a_purge_of_one_purpose_leaves_what_stands_on_others(client: Any, registry: MemoryRegistry) -> None:
    registry.grant(WHO)
    mp = client()
    mp.track(WHO, "Signed up")
    mp.people_set(WHO, {"plan": "pro"})
    assert mp._consumer.purge(WHO, ["profiles"]) == 1
    assert mp._consumer.waiting == 1


def test_what_is_on_its_way_is_discarded_when_its_sending_fails(
    client: Any, registry: MemoryRegistry, path: Path
) -> None:
    registry.grant(WHO)
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def send(self, endpoint: str, json_message: str) -> None:
            begun.set()
            go_on.wait(30)
            raise OSError("the vendor is down")

    mp = client(consumer=Slow(), linger=0.01)
    mp.track(WHO, "Signed up")
    assert begun.wait(30)
    # Another process withdraws meanwhile.
    client().withdraw(WHO)
    go_on.set()
    until = time.monotonic() + 30
    while spool_of(mp)._lines["events"].on_its_way and time.monotonic() < until:
        time.sleep(0.01)
    assert client()._consumer.waiting == 0
    assert WHO.encode() not in bytes_of(path)


def test_a_registry_that_fails_keeps_what_waits(client: Any, vendor: FakeTransport) -> None:
    # rule 8.4
    class Sick:
        is_sick = False

        def __call__(self, subject_id: str, purpose: str) -> bool:
            if self.is_sick:
                raise OSError
            return True

    sick = Sick()
    mp = client(registry=sick)
    mp.track(WHO, "Signed up")
    sick.is_sick = True
    mp.flush()
    assert mp._consumer.waiting == 1
    assert vendor.messages == []
    sick.is_sick = False
    time.sleep(0.1)
    mp.flush()
    mp.flush()
    assert len(vendor.events) == 1


def test_a_vendor_that_is_down_loses_nothing_and_all_arrives_in_order(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    registry.grant(WHO)
    mp = client()
    vendor.fail(times=3)
    for number in range(5):
        mp.people_set(WHO, {"n": number})
        mp.track(WHO, f"E{number}")
    for _ in range(3):
        with pytest.raises(mixpanel.MixpanelException, match="are kept"):
            mp.flush()
    for _ in range(20):
        time.sleep(0.06)
        try:
            mp.flush()
        except mixpanel.MixpanelException:
            continue
        break
    assert [each.properties["$set"]["n"] for each in vendor.people] == [*range(5)]
    assert Counter(each.event for each in vendor.events) == {f"E{number}": 1 for number in range(5)}


def test_updates_of_one_person_wait_for_the_one_of_which_nobody_can_tell(client: Any, vendor: FakeTransport) -> None:
    class Registry:
        fails_for = ""

        def __call__(self, subject_id: str, purpose: str) -> bool:
            if subject_id == self.fails_for:
                raise OSError
            return True

    registry = Registry()
    mp = client(registry=registry)
    registry.fails_for = "ann"
    mp2 = client(registry=lambda subject, purpose: True)
    mp2.people_set("ann", {"n": 1})
    mp2.people_set("bob", {"n": 1})
    mp.flush()
    mp2.people_set("ann", {"n": 2})
    mp2.people_set("bob", {"n": 2})
    mp.flush()
    assert [each.distinct_id for each in vendor.people] == ["bob", "bob"]
    registry.fails_for = ""
    time.sleep(0.1)
    mp.flush()
    mp.flush()
    assert [each.properties["$set"]["n"] for each in vendor.people if each.distinct_id == "ann"] == [1, 2]


def test_what_the_vendor_refuses_for_good_becomes_a_dead_letter_which_is_purged_and_judged_like_the_rest(
    path: Path, registry: MemoryRegistry, faulty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Decision] = []
    consumer = SpoolConsumer(path, linger=9, **faulty.urls)
    mp = Mixpanel("T", consumer, registry=registry, policy=FieldPolicy.keep_all(), observers=[told.append])
    faulty.poison = lambda record: record["properties"].get("bad")
    people = ("ann-4711", "bob-4711", "cid-4711", "dora-4711")
    for who in people:
        registry.grant(who)
        mp.track(who, "Bad", {"bad": True})
        mp.track(who, "Good")
    mp.flush()
    assert len(faulty.records) == 4
    assert mp.stats() == {"sent": {"consent_granted": 4}, "dropped": {"rejected_by_vendor": 4}}
    summary = consumer._spool._store.summary()
    assert (summary.waiting, summary.dead) == (0, 4)
    mp.withdraw("ann-4711")
    assert b"ann-4711" not in bytes_of(path)
    # Recorded past the client: found when they are looked after.
    registry.deny("bob-4711")
    monkeypatch.setattr(_spool, "_SELDOM", 0.0)
    consumer._spool._next_look["rare"] = 0.0
    consumer._spool._look_after_the_old()
    assert consumer._spool._store.summary().dead == 2
    consumer._spool._keep_for = 0.0
    time.sleep(0.01)
    consumer._spool._next_look["old"] = 0.0
    consumer._spool._look_after_the_old()
    assert consumer._spool._store.summary().dead == 0


def test_what_is_older_than_keep_for_is_lost_with_a_reason(
    client: Any, registry: MemoryRegistry, caplog: pytest.LogCaptureFixture, path: Path
) -> None:
    registry.grant(WHO)
    told: list[Decision] = []
    mp = client(told=told, keep_for=0.05)
    mp.track(WHO, "Signed up")
    time.sleep(0.1)
    with caplog.at_level(logging.WARNING):
        spool_of(mp)._look_after_the_old()
    assert [each.reason for each in told] == [Reason.CONSENT_GRANTED, Reason.TOO_OLD]
    assert mp.stats() == {"dropped": {"too_old": 1}}
    assert "1 messages in the spool were older than keep_for" in caplog.text
    assert mp._consumer.dropped == 1


def test_a_file_that_is_full_or_cannot_be_written_drops_with_a_reason(
    client: Any, registry: MemoryRegistry, path: Path
) -> None:
    registry.grant(WHO)
    mp = client(max_bytes=1_000_000, timeout=0.01)
    for _ in range(60):
        mp.track(WHO, "Signed up", {"text": "x" * 100_000})
    assert mp.stats()["dropped"] == {"queue_full": 50}
    mp = client(timeout=0.01)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert mp.track(WHO, "Signed up").reason is Reason.NOT_KEPT
    writer.execute("ROLLBACK")
    writer.close()


def test_a_lease_ends_by_itself_and_its_late_owner_touches_nothing(
    path: Path, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    registry.grant(WHO)
    begun, go_on = threading.Event(), threading.Event()

    class Stuck:
        def send(self, endpoint: str, json_message: str) -> None:
            begun.set()
            go_on.wait(30)

    first = SpoolConsumer(path, consumer=Stuck(), linger=0.01)
    first._spool._leased_for = 0.2
    policy = FieldPolicy.keep_all()
    mp = Mixpanel("T", first, registry=registry, policy=policy)
    mp.track(WHO, "Signed up")
    assert begun.wait(30)
    time.sleep(0.4)
    other = Mixpanel("T", SpoolConsumer(path, consumer=vendor), registry=registry, policy=policy)
    mp.track(WHO, "Signed in")
    other.flush()
    go_on.set()
    assert Counter(each.event for each in vendor.events) == {"Signed up": 1, "Signed in": 1}
    until = time.monotonic() + 30
    while first._spool._lines["events"].on_its_way and time.monotonic() < until:
        time.sleep(0.01)
    assert first.waiting == 0


def test_ids_are_mapped_on_the_way_and_known_in_the_file(
    client: Any, path: Path, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    registry.grant(WHO)
    mp = client(policy=FieldPolicy(events={"plan": keep()}, secret=b"0" * 32), identity=pseudonymous())
    mp.track(WHO, "Signed up", {"plan": "pro"})
    mp.flush()
    assert vendor.events[0].distinct_id.startswith("pid1_")
    mp.track(WHO, "Signed up", {"plan": "pro"})
    assert mp.withdraw(WHO).discarded == 1


def test_a_text_that_no_client_judged_is_delivered_and_purged_by_the_ids_in_it(
    path: Path, vendor: FakeTransport
) -> None:
    consumer = SpoolConsumer(path, consumer=vendor, linger=9)
    text = json.dumps({"event": "E", "properties": {"token": "T", "distinct_id": WHO}})
    consumer.send("events", text)
    assert consumer.purge(WHO) == 1
    consumer.send("events", text)
    consumer.close()
    assert len(vendor.events) == 1
    with pytest.raises(mixpanel.MixpanelException, match="closed"):
        consumer.send("events", text)


def test_clients_with_equal_arguments_share_one_spool_and_leave_no_thread(
    path: Path, registry: MemoryRegistry, faulty: Any
) -> None:
    # rule 8.7
    registry.grant(WHO)
    before = threading.active_count()
    for number in range(100):
        with SpoolConsumer(path, linger=0.01, **faulty.urls) as consumer:
            Mixpanel("T", consumer, registry=registry, policy=FieldPolicy.keep_all()).track(WHO, f"E{number}")
    assert len(faulty.records) == 100
    assert threading.active_count() <= before + 4
    del consumer
    until = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.05)
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    "given",
    [
        {"durability": "x"},
        {"keep_for": 0},
        {"keep_for": "x"},
        {"max_bytes": 10},
        {"linger": -1},
        {"connections": -1},
        {"events_url": "x"},
        {"path": ":memory:"},
        {"path": 5},
    ],
)
def test_an_argument_that_cannot_work_is_refused(path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SpoolConsumer(**{"path": path, **given})


def test_a_file_of_another_kind_is_refused_and_left_alone(path: Path) -> None:
    SQLiteRegistry(path).close()
    with pytest.raises(ConfigurationError, match="another application"):
        SpoolConsumer(path)


def test_full_durability_waits_for_the_disk(path: Path, registry: MemoryRegistry, vendor: FakeTransport) -> None:
    registry.grant(WHO)
    with SpoolConsumer(path, consumer=vendor, durability="full") as consumer:
        Mixpanel("T", consumer, registry=registry).track(WHO, "Signed up")
        asked = consumer._spool._store._database.use(lambda each: each.execute("PRAGMA synchronous").fetchone())
        assert asked == (2,)
    assert len(vendor.events) == 1


WRITER = """
import json, os, sys
from consentpanel import FieldPolicy, Mixpanel, SpoolConsumer

mp = Mixpanel(
    "T",
    SpoolConsumer("spool.db", linger=0.01, max_size=20, **json.loads(os.environ["VENDOR_URLS"])),
    registry=lambda subject, purpose: True,
    policy=FieldPolicy.keep_all(),
)
first, count = int(sys.argv[1]), int(sys.argv[2])
for number in range(first, first + count):
    if mp.track(f"user-{number % 7}", "E", {"$insert_id": f"visit-{number}"}):
        os.write(1, f"visit-{number}\\n".encode())
    if number % 50 == 0:
        mp._consumer.purge(f"nobody-{number}")
if len(sys.argv) > 3:
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def writer(shop: Any) -> Callable[..., subprocess.Popen[str]]:
    program = shop.write("writer", WRITER)

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", str(program), *map(str, arguments)]
        return subprocess.Popen(command, cwd=shop.folder, env=shop.env, stdout=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def consumer() -> str:
    return "spool"


def delivered(path: Path, faulty: Any) -> None:
    """Has all that is in the file delivered, also what a lease of the dead still holds."""
    database = sqlite3.connect(path)
    database.execute("UPDATE spooled SET leased_until = 0")
    database.commit()
    database.close()
    consumer = SpoolConsumer(path, **faulty.urls)
    mp = Mixpanel("T", consumer, registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())
    mp.flush()
    assert consumer.waiting == 0


def test_what_was_answered_outlives_a_process_that_is_killed(path: Path, faulty: Any, writer: Any) -> None:
    faulty.always = 503
    with writer(0, 20, "killed") as process:
        answered = process.communicate(timeout=60)[0].split()
    assert process.returncode == -signal.SIGKILL
    assert len(answered) == 20
    faulty.always = None
    delivered(path, faulty)
    assert faulty.ids() == dict.fromkeys(answered, 1)


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing_that_was_answered(path: Path, faulty: Any, writer: Any) -> None:
    rounds = int(os.environ.get("CONSENTPANEL_KILLS", "8"))
    answered: list[str] = []
    for each in range(rounds):
        with writer(each * 1_000_000, 1_000_000) as process:
            # Once it writes, for as long as chance wants.
            assert process.stdout is not None
            answered.append(process.stdout.readline().strip())
            time.sleep(random.random() * 0.3)
            process.kill()
            answered += process.communicate(timeout=60)[0].split()
    delivered(path, faulty)
    assert set(answered) - set(faulty.ids()) == set()


@pytest.mark.slow
def test_many_processes_on_one_file_deliver_each_message_once(path: Path, faulty: Any, writer: Any) -> None:
    processes = [writer(number * 1000, 200) for number in range(8)]
    answered = [each for process in processes for each in process.communicate(timeout=120)[0].split()]
    assert [process.returncode for process in processes] == [0] * 8
    delivered(path, faulty)
    assert len(answered) == 1600
    assert faulty.ids() == dict.fromkeys(answered, 1)


def test_what_is_too_old_for_one_project_is_left_to_another(client: Any, registry: MemoryRegistry, path: Path) -> None:
    registry.grant(WHO)
    client("SHOP").track(WHO, "Signed up")
    blog = client("BLOG", keep_for=0.01)
    time.sleep(0.05)
    spool_of(blog)._look_after_the_old()
    assert client()._consumer.waiting == 1


def test_bytes_of_what_has_grown_too_old_are_in_no_file(client: Any, registry: MemoryRegistry, path: Path) -> None:
    registry.grant(WHO)
    mp = client(keep_for=0.05)
    mp.track(WHO, "Signed up", {"text": "pro-4711"})
    time.sleep(0.1)
    mp.flush()
    assert b"pro-4711" not in bytes_of(path)
    assert mp.stats() == {"dropped": {"too_old": 1}}


def test_a_flush_and_an_end_wait_no_longer_than_they_may(path: Path, registry: MemoryRegistry) -> None:
    registry.grant(WHO)
    go_on = threading.Event()

    class Hangs:
        def send(self, endpoint: str, json_message: str) -> None:
            go_on.wait(60)

    consumer = SpoolConsumer(path, consumer=Hangs(), flush_timeout=0.1, exit_timeout=0.1, linger=0.01)
    mp = Mixpanel("T", consumer, registry=registry, policy=FieldPolicy.keep_all())
    mp.track(WHO, "Signed up")
    mp.people_set(WHO, {"plan": "pro"})
    began = time.monotonic()
    with pytest.raises(mixpanel.MixpanelException, match="not delivered yet"):
        mp.flush()
    consumer._spool.end()
    assert time.monotonic() - began < 30  # the absence of a hang
    go_on.set()


def test_an_id_that_cannot_be_written_raises_nothing(client: Any) -> None:
    # rule 1.8
    mp = client(registry=lambda subject, purpose: True)
    assert mp.track("a\ud83d", "Signed up").reason is Reason.NOT_KEPT
    assert not mp.people_set("a\ud83d", {"plan": "pro"})


def test_a_file_that_was_full_takes_messages_once_it_is_not(client: Any, registry: MemoryRegistry) -> None:
    registry.grant(WHO)
    mp = client(max_bytes=1_000_000)
    while mp.track(WHO, "Signed up", {"text": "x" * 900_000}):
        pass
    assert mp._consumer.waiting <= 3
    mp.flush()
    assert mp.track(WHO, "Signed up")


def test_what_arrives_though_it_was_withdrawn_on_its_way_counts_as_sent(client: Any, registry: MemoryRegistry) -> None:
    # rule 4.4
    registry.grant(WHO)
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def send(self, endpoint: str, json_message: str) -> None:
            begun.set()
            go_on.wait(30)

    mp = client(consumer=Slow(), linger=0.01)
    mp.track(WHO, "Signed up")
    assert begun.wait(30)
    assert mp.withdraw(WHO).discarded == 0
    go_on.set()
    until = time.monotonic() + 30
    while "queued" in mp.stats() and time.monotonic() < until:
        time.sleep(0.01)
    assert mp.stats() == {"sent": {"consent_granted": 1}}


def test_all_registries_of_a_project_have_to_allow_what_another_process_has_written(
    path: Path, vendor: FakeTransport
) -> None:
    policy = FieldPolicy.keep_all()
    consumer = SpoolConsumer(path, consumer=vendor, linger=9)
    for number in range(4):
        writer = SpoolConsumer(path, consumer=vendor, linger=9)
        Mixpanel("T", writer, registry=lambda subject, purpose: True, policy=policy).track(WHO, f"E{number}")
        writer._spool.discard_all()
        answers = [True, False] if number % 2 else [False, True]
        clients = [Mixpanel("T", consumer, registry=lambda s, p, a=answer: a, policy=policy) for answer in answers]
        clients[0].flush()
    assert vendor.messages == []
    assert consumer.waiting == 0


@needs_accounts
def test_clients_with_equal_credentials_share_one_spool(path: Path) -> None:
    # rule 8.7
    consumers = [
        SpoolConsumer(path, credentials=mixpanel.ServiceAccountCredentials("account", "secret", "project"))
        for _ in range(3)
    ]
    assert len({id(each._spool) for each in consumers}) == 1
    with pytest.raises(TypeError, match="build it in the worker"):
        copy.copy(consumers[0])


def test_many_messages_that_name_two_people_are_claimed_as_fast_as_others(path: Path, vendor: FakeTransport) -> None:
    def seconds(count: int) -> float:
        file = path.with_name(f"{count}.db")
        consumer = SpoolConsumer(file, consumer=vendor, linger=99)
        mp = Mixpanel("T", consumer, registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())
        mp.track("user-0", "E", {"$device_id": "device-0"})
        database = sqlite3.connect(file)
        database.execute("DELETE FROM also_named")
        rows = [(number, f"user-{number}") for number in range(2, count)]
        database.executemany(
            "INSERT INTO spooled (number, endpoint, token, subject, kept, message, size, created)"
            " SELECT ?, endpoint, token, ?, kept, message, size, created FROM spooled WHERE number = 1",
            rows,
        )
        database.executemany("INSERT INTO also_named VALUES ('device', ?)", [(number,) for number, _ in rows])
        database.commit()
        database.close()
        began = time.perf_counter()
        consumer._spool._store.claim("events", ["T"], most=500, most_bytes=10**7, in_order=False, until=0)
        return time.perf_counter() - began

    # Ten times as many waiting; a look at each for each would take a hundred times as long.
    assert min(seconds(20_000), seconds(20_001)) < 10 * max(seconds(2_000), 0.02)


def test_what_is_left_of_a_message_after_a_withdrawal_is_counted_when_it_has_arrived(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    # rules 2.9 and 4.4
    registry.grant(WHO)
    mp = client(policy=FieldPolicy(people={"plan": keep()}))
    mp.people_update({"$distinct_id": WHO, "$set": {"plan": "pro"}, "$unset": ["old"]})
    mp.withdraw(WHO)
    assert mp.stats() == {"queued": {"removal": 1}}
    mp.flush()
    assert [message.properties for message in vendor.people] == [{"$unset": ["old"]}]
    assert mp.stats() == {"redacted": {"removal": 1}}


def test_a_process_that_only_opens_the_file_delivers_what_another_has_left(tmp_path: Path, faulty: Any) -> None:
    # rule 8.2
    program = """
import json, os, sys
from consentpanel import FieldPolicy, Mixpanel, SpoolConsumer, configure
mp = Mixpanel("T", SpoolConsumer("spool.db", linger=9, **json.loads(os.environ["VENDOR_URLS"])))
if sys.argv[1] == "write":
    configure(registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())
    assert mp.track("user-1", "Visited")
    os._exit(0)
import time
time.sleep(2.5)
assert mp._sealed.own_spools[0].waiting == 1
configure(registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())
while mp._sealed.own_spools[0].waiting: time.sleep(0.05)
"""
    env = {"VENDOR_URLS": json.dumps(faulty.urls), "PYTHONPATH": str(Path(consentpanel.__file__).parents[1])}
    for what in ("write", "open"):
        subprocess.run([sys.executable, "-c", program, what], cwd=tmp_path, env=env, check=True, timeout=60)
    assert [record["event"] for record in faulty.records] == ["Visited"]


def test_an_outage_is_told_in_the_log_and_a_single_failure_is_not(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    registry.grant(WHO)
    mp = client()
    mp.track(WHO, "Signed up")
    for times in (1, 3):
        forget_warnings()
        caplog.clear()
        vendor.fail(times=times)
        until = time.monotonic() + 30
        while vendor._failures and time.monotonic() < until:
            with suppress(mixpanel.MixpanelException):
                mp.flush()
        assert ("delivery to events fails again and again" in caplog.text) is (times == 3)
        assert WHO not in caplog.text
        mp.track(WHO, "Signed in")
