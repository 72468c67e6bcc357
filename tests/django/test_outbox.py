"""Messages that wait in a project's own database, in the caller's atomic block (contract rules 9.7 and 8.2)."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import pytest

pytest.importorskip("django")
from django.contrib.auth.models import Group
from django.db import OperationalError, connections, transaction
from django.test import TestCase

from consentpanel import AsyncMixpanel, ConfigurationError, Decision, FieldPolicy, Mixpanel, Outcome, Reason
from consentpanel._log import forget_warnings
from consentpanel.django import DjangoOutbox, DjangoRegistry
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import ConsentPanelTestMixin, FakeTransport

WHO = "ada-lovelace-4711"


class TakenBackError(Exception):
    """What an application raises within a block."""


@pytest.fixture
def registry() -> MemoryRegistry:
    registry = MemoryRegistry()
    for who in (WHO, "user-1", "user-2"):
        registry.grant(who)
    return registry


@pytest.fixture
def vendor() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def told() -> list[Decision]:
    return []


@pytest.fixture
def client(
    alias: str, registry: MemoryRegistry, vendor: FakeTransport, told: list[Decision]
) -> Iterator[Callable[..., Mixpanel]]:
    """Clients of one project over one database, each as of another process: with an outbox of its own."""
    outboxes: list[Any] = []

    def build(token: str = "TOKEN", **given: Any) -> Mixpanel:
        mine = {
            "registry": given.pop("registry", registry),
            "policy": FieldPolicy.keep_all(),
            "observers": [told.append],
            **{name: given.pop(name) for name in ("while_unknown",) if name in given},
        }
        # No two are equal, which would share a spool.
        settings = {"using": alias, "consumer": vendor, "linger": 9 + len(outboxes), **given}
        outbox = DjangoOutbox(**settings)
        outboxes.append(outbox)
        return Mixpanel(token, outbox, **mine)

    yield build
    for each in outboxes:
        end(each)
    outboxes.clear()
    gc.collect()


def end(outbox: Any) -> None:
    """Ends its threads, and then closes its connections: none is left open."""
    spool = outbox._spool
    spool.discard_all()
    spool.users.clear()
    with spool._lock:
        spool._flushes += 1
        spool._changed.notify_all()
    until = time.monotonic() + 30
    while spool._threads and time.monotonic() < until:
        time.sleep(0.02)
    spool.tables.close()


def outbox_of(mp: Mixpanel) -> Any:
    return mp._sealed.own_spools[0]


def lost(told: list[Decision]) -> list[Reason]:
    return [each.reason for each in told if each.outcome is Outcome.DROPPED]


@contextmanager
def failing(alias: str, what: str) -> Iterator[None]:
    """Every statement of this thread that has a text in it fails."""

    def wrapper(execute: Any, sql: str, *arguments: Any) -> Any:
        if what in sql:
            raise OperationalError("the text of a statement holds ids")
        return execute(sql, *arguments)

    with connections[alias].execute_wrapper(wrapper):
        yield


# rule 9.7: it is sent if and only if the caller's transaction commits
def test_a_message_is_sent_once_the_block_has_committed(client: Any, alias: str, vendor: FakeTransport) -> None:
    mp = client()
    with transaction.atomic(using=alias):
        assert mp.track(WHO, "Signed up", {"plan": "pro"})
        mp.people_set(WHO, {"plan": "pro"})
        mp.flush()
        assert vendor.messages == []
    mp.flush()
    vendor.assert_tracked("Signed up", distinct_id=WHO, properties={"plan": "pro"})
    vendor.assert_people_set(WHO, {"plan": "pro"})
    assert mp.stats() == {"sent": {"consent_granted": 2}}
    assert outbox_of(mp).waiting == 0


def test_a_message_is_never_sent_when_the_block_is_taken_back(
    client: Any, alias: str, vendor: FakeTransport, told: list[Decision]
) -> None:
    mp = client()
    with suppress(TakenBackError), transaction.atomic(using=alias):
        mp.track(WHO, "Signed up")
        raise TakenBackError
    assert lost(told) == [Reason.ROLLED_BACK]
    mp.flush()
    assert vendor.messages == []
    assert outbox_of(mp).waiting == 0


def test_a_savepoint_that_is_taken_back_takes_its_own_messages_alone(
    client: Any, alias: str, vendor: FakeTransport, told: list[Decision]
) -> None:
    mp = client()
    with transaction.atomic(using=alias):
        mp.track(WHO, "First")
        with suppress(TakenBackError), transaction.atomic(using=alias):
            mp.track(WHO, "Second")
            raise TakenBackError
        assert lost(told) == [Reason.ROLLED_BACK]
        mp.track(WHO, "Third")
    mp.flush()
    assert [each.event for each in vendor.events] == ["First", "Third"]
    assert mp.stats()["sent"] == {"consent_granted": 2}


def test_an_act_of_somebody_else_s_that_raises_after_the_commit_changes_nothing(
    client: Any, alias: str, vendor: FakeTransport, told: list[Decision]
) -> None:
    mp = client()

    def fail() -> None:
        raise TakenBackError

    def sign_up() -> None:
        with transaction.atomic(using=alias):
            transaction.on_commit(fail, using=alias)
            mp.track(WHO, "Signed up")

    with pytest.raises(TakenBackError):
        sign_up()
    with suppress(TakenBackError), transaction.atomic(using=alias):
        mp.track(WHO, "Taken back")
        raise TakenBackError
    mp.flush()
    assert [each.event for each in vendor.events] == ["Signed up"]
    assert mp.stats()["sent"] == {"consent_granted": 1}
    assert lost(told) == [Reason.ROLLED_BACK]


def test_outside_of_any_block_a_message_is_kept_by_itself(client: Any, vendor: FakeTransport) -> None:
    mp = client()
    assert mp.track(WHO, "Viewed")
    mp.flush()
    assert mp.stats() == {"sent": {"consent_granted": 1}}
    assert len(vendor.events) == 1


def test_outside_of_any_block_a_message_is_refused_where_one_is_wanted(
    client: Any, alias: str, vendor: FakeTransport, told: list[Decision], caplog: Any
) -> None:
    forget_warnings()
    mp = client(without_transaction="refuse")
    mp.track(WHO, "Viewed")
    assert lost(told) == [Reason.NOT_KEPT]
    assert "no atomic block is open" in caplog.text
    with transaction.atomic(using=alias):
        mp.track(WHO, "Bought")
    mp.flush()
    assert [each.event for each in vendor.events] == ["Bought"]


def test_a_row_that_cannot_be_written_leaves_the_block_as_it_was(
    client: Any, alias: str, told: list[Decision], caplog: Any
) -> None:
    forget_warnings()
    mp = client()
    with transaction.atomic(using=alias):
        Group.objects.using(alias).filter(name="before").delete()
        with failing(alias, "INTO consentpanel_outbox"):
            mp.track(WHO, "Signed up")
        Group.objects.using(alias).create(name="before")
    assert Group.objects.using(alias).filter(name="before").delete()[0] == 1
    assert lost(told) == [Reason.NOT_KEPT]
    assert "the outbox failed: OperationalError" in caplog.text
    assert "holds ids" not in caplog.text


def test_in_a_block_that_has_failed_before_nothing_is_kept(client: Any, alias: str, told: list[Decision]) -> None:
    mp = client()
    with suppress(TakenBackError), transaction.atomic(using=alias):
        transaction.set_rollback(True, using=alias)
        mp.track(WHO, "Signed up")
        assert lost(told) == [Reason.NOT_KEPT]
        raise TakenBackError


def test_another_process_delivers_what_was_committed(client: Any, alias: str, vendor: FakeTransport) -> None:
    writer = client(connections=0)
    with transaction.atomic(using=alias):
        writer.track(WHO, "Signed up")
    other = client()
    outbox_of(other).flush()
    assert [each.event for each in vendor.events] == ["Signed up"]
    outbox_of(writer)._spool._next_look["rare"] = 0.0
    outbox_of(writer)._spool._recent.clear()
    outbox_of(writer)._spool._look_after_the_old()
    assert writer.stats() == {"sent": {"consent_granted": 1}}


def test_many_threads_lose_nothing_double_nothing_and_keep_the_order_of_each_person(
    client: Any, alias: str, vendor: FakeTransport
) -> None:
    clients = [client(linger=0.01 + 0.01 * number) for number in range(4)]
    answered: list[int] = []

    def shop(number: int) -> None:
        mp = clients[number % 4]
        try:
            for step in range(15):
                with suppress(TakenBackError), transaction.atomic(using=alias):
                    is_kept = mp.people_append("user-1", {"n": number * 100 + step})
                    if step % 5 == 4:
                        raise TakenBackError
                    answered.extend([number * 100 + step] * bool(is_kept))
        finally:
            connections[alias].close()

    threads = [threading.Thread(target=shop, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    outbox_of(clients[0]).flush()
    arrived = [each.properties["$append"]["n"] for each in vendor.people]
    assert len(answered) == 4 * 12
    assert sorted(arrived) == sorted(answered)
    for number in range(4):
        mine = [each for each in arrived if each // 100 == number]
        assert mine == sorted(mine)


# rule 8.2
def test_a_withdrawal_erases_what_waits_whoever_wrote_it(
    client: Any, alias: str, vendor: FakeTransport, told: list[Decision]
) -> None:
    vendor.fail(times=100)
    first, second = client(), client()
    with transaction.atomic(using=alias):
        first.track(WHO, "Signed up")
        first.track("user-1", "Signed up")
    assert second.withdraw(WHO).discarded == 1
    assert outbox_of(second).waiting == 1


def test_in_a_block_a_purge_on_sqlite_waits_for_nobody(client: Any, on_sqlite: str) -> None:
    mp = client()
    with suppress(TakenBackError), transaction.atomic(using=on_sqlite):
        mp.track(WHO, "Signed up")
        begun = time.monotonic()
        assert outbox_of(mp).purge(WHO) == 1
        # Half of what another connection would wait for the writer.
        assert time.monotonic() - begun < 10
        raise TakenBackError


def test_a_transaction_that_is_managed_by_hand_is_the_callers(client: Any, alias: str, vendor: FakeTransport) -> None:
    mp = client()
    transaction.set_autocommit(False, using=alias)
    try:
        mp.track(WHO, "Taken back")
        transaction.rollback(using=alias)
        mp.track(WHO, "Signed up")
        mp.flush()
        assert vendor.messages == []
        transaction.commit(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)
    mp.flush()
    assert [each.event for each in vendor.events] == ["Signed up"]


def test_a_commit_of_which_nobody_knows_is_looked_for(
    client: Any, alias: str, vendor: FakeTransport, told: list[Decision], monkeypatch: pytest.MonkeyPatch
) -> None:
    mp = client()
    spool = outbox_of(mp)._spool
    connection = connections[alias]
    connection.ensure_connection()
    real = connection._commit

    def cut_off(*, first: bool) -> Any:
        def commit() -> None:
            if first:
                real()
            connection.errors_occurred = True
            raise OperationalError("the server has gone away")

        return commit

    def gone() -> None:
        connection.errors_occurred = True
        raise OperationalError("the server has gone away")

    def sign_up(*, is_committed: bool) -> None:
        with monkeypatch.context() as patched, transaction.atomic(using=alias):
            mp.track(WHO, f"Committed: {is_committed}")
            patched.setattr(connection, "_commit", cut_off(first=is_committed))
            patched.setattr(connection, "_rollback", gone)

    for is_committed in (True, False):
        with pytest.raises(OperationalError):
            sign_up(is_committed=is_committed)
        spool._look_after_the_old()
    mp.flush()
    assert [each.event for each in vendor.events] == ["Committed: True"]
    # SQLite has no connection that breaks: there it is told at once.
    assert lost(told) == [Reason.ROLLED_BACK] * (2 if connection.vendor == "sqlite" else 1)


def test_what_is_held_waits_in_the_database_for_an_answer(
    client: Any, alias: str, registry: MemoryRegistry, vendor: FakeTransport
) -> None:  # rule 8.10
    mp = client(while_unknown="hold")
    with transaction.atomic(using=alias):
        assert mp.track("new", "Signed up").outcome is Outcome.HELD
        assert mp.track("gone", "Signed up").outcome is Outcome.HELD
    assert outbox_of(mp).summary().held == 2
    registry.grant("new", covers_held=True)
    registry.deny("gone")
    client(while_unknown="hold").flush()
    assert [each.distinct_id for each in vendor.events] == ["new"]
    assert outbox_of(mp).summary().held == 0


def test_consent_and_message_of_a_sign_up_are_one_transaction(client: Any, alias: str, vendor: FakeTransport) -> None:
    registry = DjangoRegistry(alias)
    mp = client(registry=registry)
    with suppress(TakenBackError), transaction.atomic(using=alias):
        registry.grant("new")
        assert mp.track("new", "Signed up")
        raise TakenBackError
    assert registry.history("new") == []
    with transaction.atomic(using=alias):
        registry.grant("new")
        assert mp.track("new", "Signed up again")
    mp.flush()
    assert [each.event for each in vendor.events] == ["Signed up again"]


def test_an_observer_may_use_the_database_when_it_hears_of_a_rollback(
    registry: MemoryRegistry, vendor: FakeTransport, alias: str
) -> None:
    found: list[int] = []

    def look(decision: Decision) -> None:
        if decision.reason is Reason.ROLLED_BACK:
            found.append(Group.objects.using(alias).count())

    outbox: Any = DjangoOutbox(alias, consumer=vendor, linger=9)
    mp = Mixpanel("TOKEN", outbox, registry=registry, observers=[look])
    try:
        with suppress(TakenBackError), transaction.atomic(using=alias):
            mp.track(WHO, "Signed up")
            raise TakenBackError
        assert found == [Group.objects.using(alias).count()]
        assert connections[alias].get_autocommit()
    finally:
        end(outbox)


def test_in_a_block_no_other_connection_is_needed(client: Any, alias: str, vendor: FakeTransport) -> None:
    mp = client(connections=0, while_unknown="hold")
    outbox = outbox_of(mp)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("consentpanel.django._outbox_tables._opened", lambda _: pytest.fail("another connection"))
        with transaction.atomic(using=alias):
            assert mp.track(WHO, "Signed up")
            assert mp.people_set(WHO, {"plan": "pro"})
            assert mp.track("new", "Held").outcome is Outcome.HELD
        assert mp.track(WHO, "Outside")
    outbox.flush()
    assert [each.event for each in vendor.events] == ["Signed up", "Outside"]


def test_rows_that_are_being_read_keep_no_message_out(client: Any, alias: str, vendor: FakeTransport) -> None:
    mp = client()
    groups = [Group.objects.using(alias).create(name=f"group {number}") for number in range(3)]
    try:
        begun = time.monotonic()
        assert all(mp.track(WHO, group.name) for group in Group.objects.using(alias).iterator(chunk_size=1))
        # Half of what one connection waits for another.
        assert time.monotonic() - begun < 10
    finally:
        for group in groups:
            group.delete()


def test_what_was_held_leaves_with_the_grant_of_the_same_block_or_stays(
    client: Any, alias: str, vendor: FakeTransport
) -> None:  # rule 8.10
    registry = DjangoRegistry(alias)
    mp = client(registry=registry, while_unknown="hold")
    assert mp.people_set("new", {"plan": "free"}).outcome is Outcome.HELD
    with suppress(TakenBackError), transaction.atomic(using=alias):
        registry.grant("new", "profiles", covers_held=True)
        assert mp.people_set("new", {"plan": "pro"})
        raise TakenBackError
    mp.flush()
    assert vendor.messages == []
    assert outbox_of(mp).summary().held == 1
    with transaction.atomic(using=alias):
        registry.grant("new", "profiles", covers_held=True)
        assert mp.people_set("new", {"plan": "pro"})
    mp.flush()
    assert [each.properties["$set"]["plan"] for each in vendor.people] == ["free", "pro"]


def test_what_a_withdrawal_sends_after_the_commit_is_no_message_outside_of_a_block(
    client: Any, alias: str, vendor: FakeTransport
) -> None:
    registry = DjangoRegistry(alias)
    registry.grant("user-1")
    mp = client(registry=registry, without_transaction="refuse")

    def fail() -> None:
        raise TakenBackError

    def leave() -> None:
        with transaction.atomic(using=alias):
            transaction.on_commit(fail, using=alias)
            mp.withdraw("user-1", delete_profile=True)

    # Though an act of somebody else's raises before.
    with pytest.raises(TakenBackError):
        leave()
    mp.flush()
    assert [list(each.properties) for each in vendor.people][-1:] == [["$delete"]]


def test_a_process_that_only_writes_counts_what_others_have_delivered(
    client: Any, alias: str, vendor: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentpanel.transport._shared_spool._SETTLED", 0.0)
    writer, other = client(connections=0), client()
    writer.track(WHO, "Signed up")
    outbox_of(other).flush()
    outbox_of(writer)._spool._next_look["rare"] = 0.0
    writer.track(WHO, "Signed in")
    assert writer.stats() == {"sent": {"consent_granted": 1}, "queued": {"consent_granted": 1}}


def test_what_is_taken_back_by_hand_is_told_later(
    client: Any, alias: str, vendor: FakeTransport, told: list[Decision], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consentpanel.transport._shared_spool._SETTLED", 0.0)
    mp = client()
    transaction.set_autocommit(False, using=alias)
    try:
        mp.track(WHO, "Taken back")
        transaction.rollback(using=alias)
        with transaction.atomic(using=alias):
            mp.track(WHO, "Signed up")
        transaction.commit(using=alias)
        transaction.rollback(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)
    mp.flush()
    outbox_of(mp)._spool._settle_gone()
    assert [each.event for each in vendor.events] == ["Signed up"]
    assert lost(told) == [Reason.ROLLED_BACK]
    assert mp.stats()["sent"] == {"consent_granted": 1}


def test_a_coroutine_is_told_how_to_call(
    client: Any, alias: str, told: list[Decision], caplog: Any, vendor: FakeTransport
) -> None:
    forget_warnings()
    mp = client()

    async def view() -> None:
        mp.track(WHO, "Viewed")

    asyncio.run(view())
    assert lost(told) == [Reason.NOT_KEPT]
    assert "atrack" in caplog.text


def test_an_asynchronous_client_asks_and_writes_in_threads_and_leaves_no_connection(
    alias: str, vendor: FakeTransport
) -> None:  # rule 8.8
    registry = DjangoRegistry(alias)
    registry.grant("user-1")
    outbox: Any = DjangoOutbox(alias, consumer=vendor, linger=0.5)

    async def view() -> None:
        async with AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all()) as mp:
            assert all(await asyncio.gather(*(mp.track("user-1", f"E{number}") for number in range(10))))
            await mp.flush()
            await mp.withdraw("user-1")
            assert not await mp.track("user-1", "Late")

    try:
        asyncio.run(view())
    finally:
        end(outbox)
    assert len(vendor.events) == 10


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no signals")
@pytest.mark.parametrize("alias", ["postgresql", "mariadb"], indirect=True)
def test_a_signal_handler_in_the_middle_of_a_call_neither_hangs_nor_breaks_it(
    client: Any, alias: str, vendor: FakeTransport
) -> None:  # rule 8.5
    registry = DjangoRegistry(alias)
    registry.grant("user-1")
    mp = client(registry=registry, linger=0.05)
    handled: list[Decision] = []

    def handler(*_: object) -> None:
        handled.append(mp.track("user-1", "Interrupted"))

    before = signal.signal(signal.SIGALRM, handler)
    begun, count = time.monotonic(), 0
    try:
        while len(handled) < 50 and time.monotonic() < begun + 30:
            with transaction.atomic(using=alias):
                for step in range(5):
                    signal.setitimer(signal.ITIMER_REAL, 0.0005 * (1 + step))
                    assert mp.track("user-1", "Tracked")
                    # What the application executes itself is not ours to guard.
                    signal.setitimer(signal.ITIMER_REAL, 0)
            count += 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(handled) >= 50
    mp.flush()
    delivered = Counter(each.event for each in vendor.events)
    assert delivered["Tracked"] == count
    assert delivered["Interrupted"] == sum(map(bool, handled))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_fork_has_connections_of_its_own(client: Any, alias: str, vendor: FakeTransport) -> None:
    mp = client(connections=0)
    mp.track(WHO, "In the parent")
    connections[alias].close()
    pid = os.fork()
    if pid == 0:
        try:
            with transaction.atomic(using=alias):
                mp.track(WHO, "In the child")
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    mp.track(WHO, "In the parent again")
    assert outbox_of(mp).waiting == 3
    client().flush()
    assert len(vendor.events) == 3


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_a_restart_of_the_server_loses_nothing(
    name: str, request: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    server, alias = request.getfixturevalue(name), request.getfixturevalue(f"on_{name}")
    outbox: Any = DjangoOutbox(alias, consumer=vendor, linger=0.01)
    mp = Mixpanel("TOKEN", outbox, registry=registry, policy=FieldPolicy.keep_all())
    try:
        mp.track(WHO, "Before")
        server.stop()
        connections[alias].close()
        assert not mp.track(WHO, "Meanwhile")
        server.start()
        mp.track(WHO, "After")
        outbox.flush(30)
        assert [each.event for each in vendor.events] == ["Before", "After"]
    finally:
        end(outbox)


def test_a_database_in_memory_is_refused(registry: MemoryRegistry, vendor: FakeTransport, caplog: Any) -> None:
    forget_warnings()
    connections.databases["memory"] = {**connections.databases["default"], "NAME": ":memory:"}
    try:
        outbox: Any = DjangoOutbox("memory", consumer=vendor, connections=0)
        mp = Mixpanel("TOKEN", outbox, registry=registry)
        assert not mp.track(WHO, "Viewed")
        assert "database in memory" in caplog.text
    finally:
        connections["memory"].close()
        del connections.databases["memory"]


def test_a_router_that_changes_its_mind_is_followed(
    registry: MemoryRegistry, vendor: FakeTransport, tmp_path: Any
) -> None:
    from django.core.management import call_command

    connections.databases["other"] = {**connections.databases["default"], "NAME": str(tmp_path / "other.db")}
    outbox: Any = DjangoOutbox(consumer=vendor, connections=0)
    mp = Mixpanel("TOKEN", outbox, registry=registry)
    try:
        call_command("migrate", database="other", verbosity=0)
        mp.track(WHO, "Here")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("django.db.router.db_for_write", lambda *_, **__: "other")
            mp.track(WHO, "There")
            assert outbox.waiting == 1
        assert outbox.waiting == 1
    finally:
        outbox.purge(WHO)
        end(outbox)
        connections["other"].close()
        del connections.databases["other"]


@pytest.mark.parametrize(
    "given", [{"using": ""}, {"using": 3}, {"without_transaction": "maybe"}, {"keep_for": 0}, {"connections": 33}]
)
def test_arguments_that_cannot_work_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DjangoOutbox(**given)


def test_an_argument_that_it_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="DjangoOutbox has no argument path"):
        DjangoOutbox(path="spool.db")  # type: ignore[call-arg]


def test_nobody_opens_a_database_to_make_one() -> None:
    outbox: Any = DjangoOutbox("nowhere")
    assert repr(outbox) == "<DjangoOutbox>"
    with pytest.raises(Exception, match="there is no database 'nowhere'"):
        outbox.flush()


class TestWithinATestCase(ConsentPanelTestMixin, TestCase):  # rule 10.10
    databases: ClassVar[Any] = {"default"}

    def setUp(self) -> None:
        super().setUp()
        registry = MemoryRegistry()
        registry.grant(WHO)
        self.mp = Mixpanel("TOKEN", DjangoOutbox(), registry=registry, policy=FieldPolicy.keep_all())

    def test_a_message_outside_of_any_block_is_seen_at_once(self) -> None:
        self.mp.track(WHO, "Viewed")
        self.consentpanel_outbox.assert_tracked("Viewed", distinct_id=WHO)

    def test_a_message_of_a_block_is_seen_when_its_commit_is_captured(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            self.mp.track(WHO, "Bought")
            assert self.consentpanel_outbox.messages == []
        self.consentpanel_outbox.assert_tracked("Bought", distinct_id=WHO)

    def test_a_message_of_a_block_is_seen_when_the_block_has_ended(self) -> None:
        with transaction.atomic():
            with transaction.atomic():
                self.mp.track(WHO, "Bought")
            self.consentpanel_outbox.assert_nothing_sent(WHO)
            with pytest.raises(AssertionError, match="waiting for a commit: 1"):
                self.consentpanel_outbox.assert_tracked("Bought")
        self.consentpanel_outbox.assert_tracked("Bought", distinct_id=WHO)
        assert len(self.consentpanel_outbox.messages) == 1

    def test_a_message_that_was_seen_is_not_seen_again_when_its_commit_is_captured(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            with transaction.atomic():
                self.mp.track(WHO, "Bought")
            self.consentpanel_outbox.assert_tracked("Bought", distinct_id=WHO)
        assert len(self.consentpanel_outbox.messages) == 1

    def test_a_message_of_a_block_that_is_taken_back_is_not_seen(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), suppress(TakenBackError), transaction.atomic():
            self.mp.track(WHO, "Bought")
            raise TakenBackError
        assert self.consentpanel_outbox.messages == []
