"""Messages that wait in the application's database, in the caller's transaction (contract rules 9.7 and 8.2)."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import signal
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
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, event, insert, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool
from sqlalchemy.util import await_only

import consentpanel
from consentpanel import (
    AsyncMixpanel,
    ConfigurationError,
    Decision,
    FieldPolicy,
    Mixpanel,
    Outcome,
    Reason,
    SQLAlchemyOutbox,
)
from consentpanel._cli import main
from consentpanel._log import forget_warnings
from consentpanel.registry import AsyncSQLAlchemyRegistry, CachedRegistry, MemoryRegistry, SQLAlchemyRegistry
from consentpanel.testing import FakeTransport

pytestmark = pytest.mark.usefixtures("_no_pause")
WHO = "ada-lovelace-4711"
service = [pytest.mark.service, pytest.mark.slow]
ORDERS = Table("orders", MetaData(), Column("number", Integer, primary_key=True))


@pytest.fixture(params=["sqlite", *(pytest.param(name, marks=service) for name in ("postgresql", "mariadb"))])
def url(request: Any, tmp_path: Path) -> str:
    """A database without an outbox."""
    return emptied(request, tmp_path)


def emptied(request: Any, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    found: str = request.getfixturevalue(request.param).url
    with_outbox = create_engine(found)
    outbox = SQLAlchemyOutbox(with_outbox)
    outbox.metadata.drop_all(with_outbox)
    ORDERS.drop(with_outbox, checkfirst=True)
    end(outbox)
    with_outbox.dispose()
    return found


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    ORDERS.create(engine)
    yield engine
    engine.dispose()


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
def client(engine: Engine, registry: MemoryRegistry, vendor: FakeTransport) -> Iterator[Callable[..., Mixpanel]]:
    """Clients of one project over one database, each as of another process: with an outbox of its own."""
    outboxes: list[SQLAlchemyOutbox] = []

    def build(token: str = "TOKEN", *, told: list[Decision] | None = None, **given: Any) -> Mixpanel:
        mine = {
            "registry": given.pop("registry", registry),
            "policy": given.pop("policy", FieldPolicy.keep_all()),
            "observers": [] if told is None else [told.append],
            **{name: given.pop(name) for name in ("while_unknown", "privacy_requests") if name in given},
        }
        outbox = SQLAlchemyOutbox(given.pop("engine", engine), **{"consumer": vendor, "linger": 9, **given})
        outbox.create_tables()
        outboxes.append(outbox)
        return Mixpanel(token, outbox, **mine)  # type: ignore[arg-type]

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


def reasons(told: list[Decision]) -> list[Reason]:
    return [each.reason for each in told if each.outcome is Outcome.DROPPED]


def delivered(outbox: Any, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            outbox.flush()
        except mixpanel.MixpanelException:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
            continue
        return


# rule 9.7: it is sent if and only if the caller's transaction commits
def test_a_message_is_sent_once_the_transaction_of_a_session_has_committed(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    mp = client()
    with Session(engine) as session, session.begin():
        session.add_all([])
        assert mp.track(WHO, "Signed up", {"plan": "pro"})
        mp.people_set(WHO, {"plan": "pro"})
        mp.flush()
        assert vendor.messages == []
    mp.flush()
    vendor.assert_tracked("Signed up", distinct_id=WHO, properties={"plan": "pro"})
    vendor.assert_people_set(WHO, {"plan": "pro"})
    assert mp.stats() == {"sent": {"consent_granted": 2}}
    assert outbox_of(mp).waiting == 0


def test_a_message_is_sent_once_the_transaction_of_a_connection_has_committed(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    mp = client()
    with engine.connect() as connection:
        connection.execute(insert(ORDERS))
        mp.track(WHO, "Bought")
        mp.flush()
        assert vendor.messages == []
        connection.commit()
    mp.flush()
    assert len(vendor.events) == 1


def test_what_is_rolled_back_is_never_sent_and_told(client: Any, engine: Engine, vendor: FakeTransport) -> None:
    told: list[Decision] = []
    mp = client(told=told)
    with suppress(ZeroDivisionError), Session(engine) as session, session.begin():
        session.execute(insert(ORDERS))
        assert mp.track(WHO, "Signed up")
        raise ZeroDivisionError
    with engine.connect() as connection:
        connection.execute(insert(ORDERS))
        mp.people_set(WHO, {"plan": "pro"})
        # Closed without a word.
    mp.flush()
    assert vendor.messages == []
    assert reasons(told) == [Reason.ROLLED_BACK] * 2
    assert mp.stats() == {"dropped": {"rolled_back": 2}}


def test_what_was_taken_back_to_a_savepoint_is_not_sent_and_the_rest_is(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    told: list[Decision] = []
    mp = client(told=told)
    with Session(engine) as session, session.begin():
        mp.track(WHO, "Before")
        with suppress(ZeroDivisionError), session.begin_nested():
            mp.track(WHO, "Inside")
            raise ZeroDivisionError
        with session.begin_nested():
            mp.track(WHO, "Kept")
        mp.track(WHO, "After")
    mp.flush()
    assert sorted(each.event or "" for each in vendor.events) == ["After", "Before", "Kept"]
    assert reasons(told) == [Reason.ROLLED_BACK]
    assert mp.stats() == {"sent": {"consent_granted": 3}, "dropped": {"rolled_back": 1}}


def test_a_commit_that_fails_sends_nothing(client: Any, engine: Engine, vendor: FakeTransport) -> None:
    told: list[Decision] = []
    mp = client(told=told)
    session = Session(engine)
    session.execute(insert(ORDERS))
    mp.track(WHO, "Signed up")
    real = engine.dialect.do_commit

    def refuse(connection: Any) -> None:
        raise engine.dialect.loaded_dbapi.OperationalError("could not serialize access")

    engine.dialect.do_commit = refuse  # type: ignore[method-assign]
    try:
        with pytest.raises(Exception, match="could not serialize"):
            session.commit()
    finally:
        engine.dialect.do_commit = real  # type: ignore[method-assign]
        session.close()
    mp.flush()
    assert vendor.messages == []
    assert reasons(told) == [Reason.ROLLED_BACK]


def test_outside_of_any_transaction_a_message_is_kept_by_itself(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    mp = client()
    assert mp.track(WHO, "Viewed")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(insert(ORDERS))
        assert mp.track(WHO, "Bought")
    assert outbox_of(mp).waiting == 2
    mp.flush()
    assert mp.stats() == {"sent": {"consent_granted": 2}}


def test_a_session_that_has_not_begun_can_be_given(client: Any, engine: Engine, vendor: FakeTransport) -> None:
    mp = client()
    outbox = outbox_of(mp)
    with Session(engine) as session:
        with outbox.within(session):
            mp.track(WHO, "Gone")
        session.rollback()
        with outbox.within(session):
            mp.track(WHO, "Signed up")
        session.commit()
    current = scoped_session(sessionmaker(engine))
    with outbox.within(current):
        mp.track(WHO, "Signed in")
    current.commit()
    current.remove()
    with Session(engine) as session, session.begin():
        session.execute(text("SELECT 1"))
        # Such as a payment that fails.
        with outbox.within(None):
            mp.track(WHO, "Failed")
        session.rollback()
    mp.flush()
    assert sorted(each.event or "" for each in vendor.events) == ["Failed", "Signed in", "Signed up"]


def test_an_outbox_with_a_url_is_told_the_transaction(
    client: Any, engine: Engine, url: str, vendor: FakeTransport
) -> None:
    mp = client(engine=url)
    with engine.begin() as connection, outbox_of(mp).within(connection):
        mp.track(WHO, "Signed up")
        assert outbox_of(mp).waiting == 0
    mp.flush()
    assert len(vendor.events) == 1


def test_of_two_open_transactions_one_has_to_be_named(
    client: Any, engine: Engine, vendor: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    forget_warnings()
    mp = client()
    with Session(engine) as session, session.begin(), engine.connect() as other:
        session.execute(text("SELECT 1"))
        other.execute(text("SELECT 1"))
        assert mp.track(WHO, "Where?").reason is Reason.NOT_KEPT
        assert "say it (with outbox.within(session)" in caplog.text
        with outbox_of(mp).within(session):
            assert mp.track(WHO, "Here")
        other.rollback()
    mp.flush()
    assert [each.event for each in vendor.events] == ["Here"]


def test_a_session_over_the_connection_that_is_open_is_the_same_transaction(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("Python's driver begins no transaction for a savepoint")
    mp = client()
    # As suites of tests run, to take everything back at the end.
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.execute(insert(ORDERS))
            mp.track(WHO, "Signed up")
            session.commit()
        outer.rollback()
    mp.flush()
    assert vendor.messages == []


def test_a_failure_leaves_the_transaction_of_the_caller_usable(
    client: Any, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    mp = client()
    outbox_of(mp).metadata.drop_all(engine)
    with Session(engine) as session, session.begin():
        session.execute(insert(ORDERS))
        assert mp.track(WHO, "Signed up").reason is Reason.NOT_KEPT
        session.execute(insert(ORDERS))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM orders")).scalar() == 2
    assert WHO not in caplog.text


def test_threads_each_have_their_own_transaction(client: Any, engine: Engine, vendor: FakeTransport) -> None:
    mp = client()

    def sign_up(number: int) -> None:
        with Session(engine) as session:
            if engine.dialect.name != "sqlite":  # on which one transaction at a time writes
                session.execute(insert(ORDERS))
            session.begin_nested()
            mp.track(WHO, f"E{number}")
            if number % 2:
                session.rollback()
            else:
                session.commit()

    threads = [threading.Thread(target=sign_up, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    mp.flush()
    assert sorted(each.event or "" for each in vendor.events) == [f"E{number}" for number in range(0, 8, 2)]


def test_a_connection_that_streams_rows_is_left_alone(
    client: Any, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    forget_warnings()
    mp = client()
    with engine.begin() as connection:
        connection.execute(insert(ORDERS), [{"number": number} for number in range(1, 501)])
    seen = 0
    with engine.connect().execution_options(stream_results=True, max_row_buffer=10) as connection:
        for _ in connection.execute(text("SELECT number FROM orders")):
            seen += 1
            if seen == 1:
                assert mp.track(WHO, "Seen").reason is Reason.NOT_KEPT
    assert seen == 500
    assert "streams rows" in caplog.text


def test_a_commit_that_was_cut_off_is_counted_by_what_is_there(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("nobody cuts it off")
    mp = client()
    mine = "SELECT pg_backend_pid()" if engine.dialect.name == "postgresql" else "SELECT connection_id()"
    end = "SELECT pg_terminate_backend({})" if engine.dialect.name == "postgresql" else "KILL {}"
    session = Session(engine)
    number = session.execute(text(mine)).scalar()
    mp.track(WHO, "Signed up")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.execute(text(end.format(number)))
    with suppress(DBAPIError):
        session.commit()
    session.close()
    mp.flush()
    outbox_of(mp)._spool._look_after_the_old()
    assert mp.stats() == {"dropped": {"rolled_back": 1}}
    assert vendor.messages == []


def test_a_schema_that_is_translated_is_not_the_outbox_s(url: str, vendor: FakeTransport) -> None:
    engine = create_engine(url, execution_options={"schema_translate_map": {None: "elsewhere"}})
    outbox = SQLAlchemyOutbox(engine, consumer=vendor, table_prefix="translated_")
    outbox.create_tables()
    outbox.send("events", json.dumps({"event": "E", "properties": {"token": "T", "distinct_id": WHO}}))
    assert outbox.purge(WHO) == 1
    end(outbox)
    plain = create_engine(url)
    outbox.metadata.drop_all(plain)
    plain.dispose()
    engine.dispose()


# rule 8.2, of rows in a database
def test_any_process_delivers_what_another_has_written_and_judges_it_again(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    first = client()
    first.track("user-1", "Signed up")
    first.track("user-2", "Signed up")
    first.people_set("user-1", {"plan": "pro"})
    registry.deny("user-2")
    told: list[Decision] = []
    other = client(told=told)
    other.flush()
    assert [(each.endpoint, each.distinct_id) for each in vendor.messages] == [
        ("events", "user-1"),
        ("people", "user-1"),
    ]
    assert reasons(told) == [Reason.WITHDRAWN]
    assert outbox_of(first).waiting == 0


def test_a_message_of_another_project_is_left_to_a_client_of_that(client: Any, vendor: FakeTransport) -> None:
    first, second = client("first"), client("FIRST")
    first.track(WHO, "Signed up")
    second.flush()
    assert vendor.messages == []
    first.flush()
    assert len(vendor.events) == 1


def test_a_withdrawal_in_any_process_erases_what_waits_for_the_person_at_once(
    client: Any, engine: Engine, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    first = client()
    first.track(WHO, "Signed up")
    first.people_update({"$distinct_id": WHO, "$set": {"plan": "pro-4711"}, "$unset": ["name"]})
    first.track(WHO.upper(), "Another")
    registry.grant(WHO.upper())
    first.track(WHO.upper(), "Another")
    first.alias("user-1", WHO)
    assert client().withdraw(WHO).discarded == 3
    names = outbox_of(first)._spool.tables.names
    with engine.connect() as connection:
        left = connection.execute(text(f"SELECT message FROM {names.waiting}")).scalars().all()
        assert connection.execute(text(f"SELECT count(*) FROM {names.named}")).scalar() == 0
    assert not any("pro-4711" in each or (WHO in each and "$unset" not in each) for each in left)
    client().flush()
    assert [each.distinct_id for each in vendor.events] == [WHO.upper()]
    # What takes data away is never discarded.
    assert [each.properties for each in vendor.people] == [{"$unset": ["name"]}]


def test_a_withdrawal_within_the_caller_s_transaction_waits_for_nobody(
    client: Any, engine: Engine, url: str, vendor: FakeTransport
) -> None:
    registry = SQLAlchemyRegistry(engine)
    registry.metadata.drop_all(engine)
    registry.create_tables()
    registry.grant(WHO, source="form")
    mp = client(registry=registry)
    mp.track(WHO, "Before")
    began = time.monotonic()
    with Session(engine) as session, session.begin():
        session.execute(insert(ORDERS))
        mp.track(WHO, "Inside")
        mp.withdraw(WHO, session=session)
    assert time.monotonic() - began < 4  # the absence of a hang: SQLite would wait for its own writer
    mp.flush()
    assert vendor.messages == []
    assert outbox_of(mp).waiting == 0
    registry.close()


def test_what_the_vendor_refuses_for_good_becomes_a_dead_letter_which_is_purged(
    client: Any, registry: MemoryRegistry, faulty: Any
) -> None:
    mp = client(consumer=None, **faulty.urls)
    faulty.poison = lambda record: record["properties"].get("bad")
    for who in ("user-1", "user-2"):
        mp.track(who, "Bad", {"bad": True})
        mp.track(who, "Good")
    mp.flush()
    assert len(faulty.records) == 2
    assert (outbox_of(mp).summary().waiting, outbox_of(mp).summary().dead) == (0, 2)
    mp.withdraw("user-1")
    assert outbox_of(mp).summary().dead == 1


def test_what_is_too_old_and_what_finds_no_room_is_told(client: Any, vendor: FakeTransport) -> None:
    told: list[Decision] = []
    mp = client(told=told, keep_for=0.05)
    mp.track(WHO, "Old")
    time.sleep(0.1)
    mp.flush()
    assert reasons(told) == [Reason.TOO_OLD]
    assert vendor.messages == []
    mp = client(told=told, max_bytes=1_000_000)
    for _ in range(60):
        mp.track(WHO, "Large", {"text": "x" * 100_000})
    # It is measured now and then.
    assert 30 < mp.stats()["dropped"]["queue_full"] <= 50


def test_texts_of_any_script_and_of_a_megabyte_arrive_as_they_were(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    mp = client()
    said = "Ünïcode 🎉\0 " + "x" * 900_000
    registry.grant("äda🎉" * 40)
    assert mp.track("äda🎉" * 40, "Said", {"text": said})
    mp.flush()
    assert vendor.events[0].properties["text"] == said
    assert mp.track("a\ud83d", "Said").reason is not Reason.CONSENT_GRANTED


def test_a_vendor_that_is_down_loses_nothing_and_updates_arrive_in_order(client: Any, vendor: FakeTransport) -> None:
    mp = client()
    vendor.fail(times=3)
    for number in range(5):
        mp.people_set(WHO, {"n": number})
        mp.track(WHO, f"E{number}")
    delivered(outbox_of(mp))
    assert [each.properties["$set"]["n"] for each in vendor.people] == [*range(5)]
    assert Counter(each.event for each in vendor.events) == {f"E{number}": 1 for number in range(5)}


def test_updates_of_one_person_wait_for_those_that_another_process_delivers_and_others_do_not(
    client: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    taken: list[str] = []

    class Slow:
        def send(self, endpoint: str, json_message: str) -> None:
            begun.set()
            go_on.wait(30)
            taken.append(json_message)

    first = client(consumer=Slow(), linger=0.01)
    first.people_set("user-1", {"n": 1})
    assert begun.wait(30)
    second = client()
    second.people_set("user-1", {"n": 2})
    second.people_set("user-2", {"n": 1})
    with pytest.raises(mixpanel.MixpanelException, match="not delivered yet"):
        outbox_of(second).flush(1.0)
    assert [each.distinct_id for each in vendor.people] == ["user-2"]
    go_on.set()
    delivered(outbox_of(second))
    # Whichever of the two delivers the later one.
    said = [json.loads(each)[0]["$set"]["n"] for each in taken]
    said += [each.properties["$set"]["n"] for each in vendor.people if each.distinct_id == "user-1"]
    assert said == [1, 2]


def test_a_lease_ends_by_itself_and_its_late_owner_touches_nothing(client: Any, vendor: FakeTransport) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Stuck:
        def send(self, endpoint: str, json_message: str) -> None:
            begun.set()
            go_on.wait(30)

    first = client(consumer=Stuck())
    outbox_of(first)._spool._leased_for = 0.2
    first.track(WHO, "Signed up")
    thread = threading.Thread(target=lambda: outbox_of(first)._spool._deliver_one("events"))
    thread.start()
    assert begun.wait(30)
    time.sleep(0.4)
    other = client()
    other.track(WHO, "Signed in")
    other.flush()
    other.track(WHO, "Later")
    go_on.set()
    thread.join(30)
    other.flush()
    assert Counter(each.event for each in vendor.events) == {"Signed up": 1, "Signed in": 1, "Later": 1}
    assert outbox_of(other).waiting == 0


def test_a_row_that_somebody_holds_does_not_let_a_later_one_of_the_same_person_past(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    mp = client()
    if engine.dialect.name == "sqlite":
        pytest.skip("one transaction at a time writes")
    for number in range(2):
        mp.people_append(WHO, {"n": number})
    names = outbox_of(mp)._spool.tables.names
    released = threading.Event()
    with engine.connect() as connection:
        connection.execute(text(f"SELECT number FROM {names.waiting} ORDER BY number LIMIT 1 FOR UPDATE"))

        def release() -> None:
            released.wait(0.5)
            connection.rollback()

        thread = threading.Thread(target=release)
        thread.start()
        delivered(outbox_of(mp))
        thread.join(30)
    assert [each.properties["$append"]["n"] for each in vendor.people] == [0, 1]


def test_a_message_that_had_to_be_written_twice_is_counted_once(
    client: Any, engine: Engine, vendor: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    # rule 4.4
    mp = client()
    spool = outbox_of(mp)._spool
    failures = [1]
    real = spool.tables.put

    def put(connection: Any, new: Any) -> int:
        number: int = real(connection, new)
        if failures:
            failures.pop()
            cause = engine.dialect.loaded_dbapi.OperationalError(1213, "Deadlock found")
            cause.sqlstate = "40P01"
            raise DBAPIError("INSERT", None, cause)
        return number

    monkeypatch.setattr(spool.tables, "put", put)
    assert mp.track(WHO, "Signed up")
    assert list(spool._tickets) == [each.number for each in spool._store.read(rows_of(spool))]
    mp.flush()
    assert mp.stats() == {"sent": {"consent_granted": 1}}
    assert len(vendor.events) == 1


def rows_of(spool: Any) -> Callable[[Any], Any]:
    return lambda connection: connection.execute(f"SELECT number FROM {spool.tables.names.waiting}").fetchall()


def test_what_is_held_waits_in_the_database_for_an_answer(
    client: Any, engine: Engine, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    # rule 8.10
    mp = client(while_unknown="hold")
    with Session(engine) as session, session.begin():
        session.execute(insert(ORDERS))
        assert mp.track("new", "Signed up").outcome is Outcome.HELD
        assert mp.track("gone", "Signed up").outcome is Outcome.HELD
    assert outbox_of(mp).summary().held == 2
    other = client(while_unknown="hold")
    registry.grant("new", covers_held=True)
    registry.deny("gone")
    other.flush()
    assert [each.distinct_id for each in vendor.events] == ["new"]
    assert outbox_of(mp).summary().held == 0


def test_a_text_that_no_client_judged_is_delivered_and_purged_by_the_ids_in_it(
    engine: Engine, vendor: FakeTransport
) -> None:
    outbox = SQLAlchemyOutbox(engine, consumer=vendor, linger=9)
    outbox.create_tables()
    said = json.dumps({"event": "E", "properties": {"token": "T", "distinct_id": WHO}})
    outbox.send("events", said)
    assert outbox.purge(WHO) == 1
    outbox.send("events", said)
    outbox.close()
    assert len(vendor.events) == 1
    with pytest.raises(mixpanel.MixpanelException, match="closed"):
        outbox.send("events", said)
    with pytest.raises(TypeError, match="build it in the worker"):
        outbox.__reduce__()


def test_tables_have_names_of_their_own_and_are_made_once(engine: Engine, vendor: FakeTransport) -> None:
    outboxes = [SQLAlchemyOutbox(engine, table_prefix="shop_", consumer=vendor) for _ in range(2)]
    for each in outboxes:
        each.create_tables()
    names = inspect(engine).get_table_names()
    assert {name for name in names if name.startswith("shop_outbox")} == set(outboxes[0].metadata.tables)
    outboxes[0].metadata.drop_all(engine)
    for each in outboxes:
        end(each)


@pytest.mark.parametrize(
    "given",
    [
        {"keep_for": 0},
        {"max_bytes": 10},
        {"linger": -1},
        {"connections": -1},
        {"without_transaction": "x"},
        {"events_url": "x"},
        {"table_prefix": "1; DROP TABLE"},
        {"schema": ""},
        {"timeout": 0},
        {"engine_or_url": "nonsense"},
        {"engine_or_url": 5},
        {"engine_or_url": "oracle://host/db"},
    ],
)
def test_an_argument_that_cannot_work_is_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SQLAlchemyOutbox(**{"engine_or_url": f"sqlite:///{tmp_path}/shop.db", **given})


def test_a_database_in_memory_is_refused_and_so_is_an_argument_of_a_file() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with pytest.raises(ConfigurationError, match="Use a file"):
        SQLAlchemyOutbox(engine)
    engine.dispose()
    with pytest.raises(TypeError, match="no argument durability"):
        SQLAlchemyOutbox("sqlite:///shop.db", durability="full")  # type: ignore[call-arg]


def test_outboxes_with_equal_arguments_share_their_threads(engine: Engine) -> None:
    # rule 8.7
    outboxes = [SQLAlchemyOutbox(engine) for _ in range(3)]
    assert len({id(each._spool) for each in outboxes}) == 1
    assert SQLAlchemyOutbox(engine, table_prefix="other_")._spool is not outboxes[0]._spool


def test_what_is_no_transaction_is_refused(client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    forget_warnings()
    mp = client()
    for where in (object(), "session"):
        with pytest.raises(ConfigurationError, match="takes a session or connection"), outbox_of(mp).within(where):
            pass
    if mp._sealed.own_spools[0]._spool.tables.engine.dialect.name == "sqlite":
        return
    other = create_engine(f"sqlite:///{tmp_path}/other.db")
    with other.connect() as connection, outbox_of(mp).within(connection):
        assert mp.track(WHO, "Signed up").reason is Reason.NOT_KEPT
    other.dispose()
    assert "the transaction is of sqlite" in caplog.text


def test_a_message_outside_of_any_transaction_is_refused_where_that_is_wanted(
    client: Any, engine: Engine, vendor: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    forget_warnings()
    mp = client(without_transaction="refuse")
    assert mp.track(WHO, "Where?").reason is Reason.NOT_KEPT
    assert "outbox.within(None)" in caplog.text
    with outbox_of(mp).within(None):
        assert mp.track(WHO, "Here")
    with engine.begin():
        assert mp.track(WHO, "Inside")
    mp.flush()
    assert sorted(each.event or "" for each in vendor.events) == ["Here", "Inside"]


def test_a_process_that_is_to_write_only_leaves_delivery_to_others(client: Any, vendor: FakeTransport) -> None:
    writer = client(connections=0, linger=0.01)
    writer.track(WHO, "Signed up")
    outbox_of(writer)._spool.end()
    time.sleep(1.5)
    assert vendor.messages == []
    client().flush()
    assert len(vendor.events) == 1


# rule 5.4
def test_the_fixture_of_tests_gets_what_is_committed_and_nothing_else(
    client: Any, engine: Engine, vendor: FakeTransport, consentpanel_outbox: FakeTransport
) -> None:
    told: list[Decision] = []
    mp = client(told=told)
    with Session(engine) as session, session.begin():
        mp.track(WHO, "Before")
        assert consentpanel_outbox.events == []
        with suppress(ZeroDivisionError), session.begin_nested():
            mp.track(WHO, "Inside")
            raise ZeroDivisionError
        with session.begin_nested():
            mp.track(WHO, "Kept")
    with Session(engine) as session:
        session.execute(insert(ORDERS))
        mp.track(WHO, "Gone")
        session.rollback()
    mp.track(WHO, "Viewed")
    assert [each.event for each in consentpanel_outbox.events] == ["Before", "Kept", "Viewed"]
    assert reasons(told) == [Reason.ROLLED_BACK] * 2
    assert vendor.messages == []
    consentpanel_outbox.fail()
    with pytest.raises(mixpanel.MixpanelException):
        mp.track(WHO, "Viewed")


def test_the_fixture_of_tests_gets_what_a_transaction_of_asyncio_s_commits(
    async_outbox: Any, registry: MemoryRegistry, consentpanel_outbox: FakeTransport
) -> None:
    engine, outbox = async_outbox

    async def work() -> None:
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())
        for name in ("Kept", "Gone"):
            async with AsyncSession(engine) as session, session.begin():
                assert await mp.track(WHO, name)
                if name == "Gone":
                    await session.rollback()
        await engine.dispose()

    asyncio.run(work())
    assert [each.event for each in consentpanel_outbox.events] == ["Kept"]


# Signals
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that signal")
def test_a_signal_handler_that_tracks_in_the_middle_of_a_statement_hangs_and_breaks_nothing(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    # rule 8.5
    mp = client()
    if engine.dialect.name == "sqlite":
        pytest.skip("one transaction at a time writes")
    tracked: list[Decision] = []
    before = signal.signal(signal.SIGALRM, lambda *_: tracked.append(mp.track("user-2", "Interrupted")))
    sleep = "SELECT pg_sleep(0.3)" if engine.dialect.name == "postgresql" else "SELECT sleep(0.3)"
    try:
        with Session(engine) as session, session.begin():
            session.execute(insert(ORDERS))
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            session.execute(text(sleep))
            mp.track(WHO, "Signed up")
            assert tracked
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    mp.flush()
    assert sorted(each.event or "" for each in vendor.events) == ["Interrupted", "Signed up"]


# asyncio
@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=service)])
def async_url(request: Any, tmp_path: Path) -> str:
    return emptied(request, tmp_path).replace("sqlite:", "sqlite+aiosqlite:")


@pytest.fixture
def async_outbox(async_url: str, vendor: FakeTransport) -> Iterator[tuple[Any, SQLAlchemyOutbox]]:
    engine = create_async_engine(async_url)
    outbox = SQLAlchemyOutbox(engine, consumer=vendor)
    outbox.create_tables()
    yield engine, outbox
    end(outbox)


def test_a_message_belongs_to_the_transaction_of_an_async_session(
    async_outbox: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    engine, outbox = async_outbox
    told: list[Decision] = []

    async def sign_up(mp: AsyncMixpanel, number: int) -> None:
        async with AsyncSession(engine) as session, session.begin():
            assert await mp.track(WHO, f"E{number}")
            if number % 2:
                await session.rollback()

    async def work() -> None:
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all(), observers=[told.append])
        for number in range(4):
            await sign_up(mp, number)
        async with engine.begin():
            await mp.track(WHO, "Core")
            assert outbox.waiting == 2
        async with AsyncSession(engine) as session:
            with outbox.within(session):
                await mp.track(WHO, "Given")
            await session.commit()
        await mp.flush()
        await engine.dispose()

    asyncio.run(work())
    assert sorted(each.event or "" for each in vendor.events) == ["Core", "E0", "E2", "Given"]
    assert reasons(told) == [Reason.ROLLED_BACK] * 2


@pytest.mark.service
@pytest.mark.slow
def test_tasks_each_have_their_own_transaction(
    postgresql: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    async def work() -> None:
        engine = create_async_engine(postgresql.url, pool_size=10)
        outbox = SQLAlchemyOutbox(engine, consumer=vendor, table_prefix="tasks_")
        outbox.create_tables()
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())

        async def sign_up(number: int) -> None:
            async with AsyncSession(engine) as session, session.begin():
                await session.execute(text("SELECT 1"))
                await mp.track(WHO, f"E{number}")
                if number % 2:
                    await session.rollback()

        await asyncio.gather(*map(sign_up, range(40)))
        await mp.flush()
        await engine.dispose()
        end(outbox)

    asyncio.run(work())
    assert Counter(each.event for each in vendor.events) == {f"E{number}": 1 for number in range(0, 40, 2)}


def test_the_client_that_blocks_is_called_within_run_sync(
    async_outbox: Any, registry: MemoryRegistry, vendor: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    forget_warnings()
    engine, outbox = async_outbox
    mp = Mixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())

    async def work() -> None:
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(text("SELECT 1"))
            assert await session.run_sync(lambda _: mp.track(WHO, "Inside"))
            assert mp.people_set(WHO, {"n": 1}).reason is Reason.NOT_KEPT
            assert "await it with AsyncMixpanel" in caplog.text
        await engine.dispose()

    asyncio.run(work())
    mp.flush()
    assert [each.event for each in vendor.events] == ["Inside"]


# Many processes
SHOP = """
import json, os, sys, time
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session
from consentpanel import FieldPolicy, Mixpanel, SQLAlchemyOutbox

engine = create_engine(os.environ["DATABASE"])
outbox = SQLAlchemyOutbox(engine, linger=0.01, max_size=20, exit_timeout=30, **json.loads(os.environ["VENDOR_URLS"]))
mp = Mixpanel("T", outbox, registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())
"""
WRITER = """
from shop import *
first, count = int(sys.argv[1]), int(sys.argv[2])
for number in range(first, first + count):
    who = f"user-{number % 7}"
    with Session(engine) as session:
        session.execute(text("SELECT 1"))
        if number % 5 == 0:
            mp.track(who, "Never", {"$insert_id": f"never-{number}"})
            session.rollback()
            continue
        answered = mp.track(who, "E", {"$insert_id": f"visit-{number}"})
        mp.people_append(who, {"visits": number})
        session.commit()
        if answered:
            os.write(1, f"visit-{number}\\n".encode())
if len(sys.argv) > 3:
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def writer(shop: Any, url: str) -> Callable[..., subprocess.Popen[str]]:
    shop.write("shop", SHOP)
    program = shop.write("writer", WRITER)
    env = {**shop.env, "DATABASE": url}

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, str(program), *map(str, arguments)]
        return subprocess.Popen(command, cwd=shop.folder, env=env, stdout=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def consumer() -> str:
    return "spool"


def all_delivered(engine: Engine, faulty: Any) -> None:
    """Has all that waits delivered, also what a lease of the dead still holds."""
    outbox = SQLAlchemyOutbox(engine, flush_timeout=60, **faulty.urls)
    mp = Mixpanel("T", outbox, registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {outbox._spool.tables.names.waiting} SET leased_until = 0"))
    mp.flush()
    assert outbox.waiting == 0
    end(outbox)


def ids(faulty: Any) -> Counter[str]:
    with faulty.lock:
        return Counter(each["properties"]["$insert_id"] for each in faulty.records if "properties" in each)


@pytest.mark.slow
def test_eight_processes_lose_nothing_double_nothing_and_keep_the_order_of_each_person(
    client: Any, engine: Engine, faulty: Any, writer: Any
) -> None:
    client()
    rounds = 40 if engine.dialect.name == "sqlite" else 150
    processes = [writer(number * 1000, rounds) for number in range(8)]
    answered = [each for process in processes for each in process.communicate(timeout=240)[0].split()]
    assert [process.returncode for process in processes] == [0] * 8
    all_delivered(engine, faulty)
    assert len(answered) == 8 * rounds * 4 // 5
    assert ids(faulty) == dict.fromkeys(answered, 1)
    visits: dict[tuple[str, int], list[int]] = {}
    for each in faulty.records:
        if "$append" in each:
            number = each["$append"]["visits"]
            visits.setdefault((each["$distinct_id"], number // 1000), []).append(number)
    assert sum(map(len, visits.values())) == len(answered)
    assert all(numbers == sorted(numbers) for numbers in visits.values())


@pytest.mark.slow
def test_a_process_that_is_killed_loses_nothing_that_was_committed(
    client: Any, engine: Engine, faulty: Any, writer: Any
) -> None:
    client()
    faulty.always = 503
    with writer(0, 20, "killed") as process:
        answered = process.communicate(timeout=60)[0].split()
    assert process.returncode == -signal.SIGKILL
    assert len(answered) == 16
    faulty.always = None
    all_delivered(engine, faulty)
    assert ids(faulty) == dict.fromkeys(answered, 1)


@pytest.mark.slow
def test_deliver_takes_over_what_a_killed_worker_had_leased(
    client: Any, engine: Engine, faulty: Any, writer: Any, shop: Any, url: str
) -> None:
    client()
    faulty.always = "stall"
    process = writer(0, 20)
    faulty.wait_for(lambda: faulty.requests)
    process.kill()
    answered = process.communicate(timeout=60)[0].split()
    faulty.always = None
    faulty.open.set()
    with engine.begin() as connection:
        names = SQLAlchemyOutbox(engine)._spool.tables.names
        # As when the time of the lease is over.
        connection.execute(text(f"UPDATE {names.waiting} SET leased_until = 1 WHERE leased_until > 0"))
    command = [sys.executable, "-m", "consentpanel", "deliver", "--client", "shop:mp", "--once"]
    env = {**shop.env, "DATABASE": url}
    done = subprocess.run(command, cwd=shop.folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "all is delivered\n"), done.stderr
    assert set(answered) - set(ids(faulty)) == set()


def test_what_waits_in_a_database_is_told_in_numbers(client: Any, engine: Engine, capsys: Any) -> None:
    client().track(WHO, "Signed up")
    said = engine.url.render_as_string(hide_password=False)
    assert main(["spool", said]) == 0
    assert "1 messages wait" in capsys.readouterr().out
    assert main(["spool", said, "--table-prefix", "other_", "--json"]) == 2
    error = capsys.readouterr().err
    assert "call create_tables()" in error
    assert said not in error


@pytest.mark.slow
def test_deliver_asks_an_asynchronous_registry_in_a_loop_of_its_own(tmp_path: Path) -> None:
    # rule 8.8
    (tmp_path / "async_shop.py").write_text(
        """
import asyncio, sys
from consentpanel import AsyncMixpanel, FieldPolicy, SQLAlchemyOutbox
class Vendor:
    def send(self, endpoint, json_message): print(json_message)
answers = {"anna"}
async def consent_of(subject_id, purpose):
    await asyncio.sleep(0)
    return subject_id in answers
outbox = SQLAlchemyOutbox("sqlite:///shop.db", consumer=Vendor(), exit_timeout=0.01, linger=600)
outbox.create_tables()
mp = AsyncMixpanel("T", outbox, registry=consent_of, policy=FieldPolicy.keep_all())
if __name__ == "__main__":
    answers.add("bert")
    async def main():
        assert await mp.track("anna", "E") and await mp.track("bert", "E")
    asyncio.run(main())
    import os; os._exit(0)
"""
    )
    env = {**os.environ, "PYTHONPATH": str(Path(consentpanel.__file__).parents[1])}
    subprocess.run([sys.executable, "async_shop.py"], cwd=tmp_path, env=env, check=True, timeout=60)
    command = [sys.executable, "-m", "consentpanel", "deliver", "--client", "async_shop:mp", "--once"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "anna" in done.stdout
    assert "bert" not in done.stdout


def test_deliver_wants_a_client_with_an_outbox_or_a_spool(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "plain_shop.py").write_text("from consentpanel import Mixpanel\nmp = Mixpanel('T')\n")
    monkeypatch.chdir(tmp_path)
    assert main(["deliver", "--client", "plain_shop:mp"]) == 2
    assert "no outbox" in capsys.readouterr().err


@pytest.mark.service
@pytest.mark.slow
def test_a_restart_of_the_server_needs_none_of_the_process(
    postgresql: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    engine = create_engine(postgresql.url, pool_pre_ping=True)
    outbox = SQLAlchemyOutbox(engine, consumer=vendor, table_prefix="restart_", linger=9)
    outbox.create_tables()
    mp = Mixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())
    mp.track(WHO, "Before")
    postgresql.stop()
    assert mp.track(WHO, "Away").reason is Reason.NOT_KEPT
    postgresql.start()
    mp.track(WHO, "After")
    delivered(outbox)
    assert sorted(each.event or "" for each in vendor.events) == ["After", "Before"]
    end(outbox)
    engine.dispose()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_of_a_fork_writes_and_delivers_by_connections_of_its_own(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    # rule 8.6
    mp = client()
    mp.track(WHO, "Parent")
    child = os.fork()
    if not child:
        code = 1
        try:
            engine.dispose(close=False)
            with Session(engine) as session, session.begin():
                session.execute(text("SELECT 1"))
                code = 0 if mp.track(WHO, "Child") else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    mp.flush()
    assert sorted(each.event or "" for each in vendor.events) == ["Child", "Parent"]


def test_statements_of_ours_are_in_no_transaction_s_way_and_in_no_log(
    client: Any, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    mp = client()
    event.listen(engine, "before_cursor_execute", lambda c, cursor, sql, *_: seen.append(sql))
    mp.track(WHO, "Signed up")
    mp.flush()
    # By connections of the outbox's own.
    assert seen == []
    with engine.begin():
        mp.track(WHO, "Signed up")
    said = [each.split()[0] for each in seen]
    assert said.count("INSERT") == 1
    assert set(said) <= {"BEGIN", "SAVEPOINT", "INSERT", "RELEASE"}


# rules 9.1 and 9.7: consent and message in one transaction
@pytest.fixture
def stored(engine: Engine) -> Iterator[SQLAlchemyRegistry]:
    registry = SQLAlchemyRegistry(engine)
    registry.metadata.drop_all(engine)
    registry.create_tables()
    yield registry
    registry.close()


@pytest.mark.parametrize("is_cached", [False, True])
def test_who_agrees_in_a_transaction_is_told_of_in_the_same_one(
    client: Any, engine: Engine, stored: SQLAlchemyRegistry, vendor: FakeTransport, is_cached: bool
) -> None:
    registry: Any = CachedRegistry(stored, ttl=60) if is_cached else stored
    mp = client(registry=registry)
    assert mp.track("anna", "Viewed").reason is Reason.NO_CONSENT
    for who in ("anna", "bert"):
        with Session(engine) as session, registry.within(session=session):
            session.execute(insert(ORDERS))
            registry.grant(who, source="form", session=session)
            assert mp.track(who, "Signed up")
            if who == "anna":
                session.commit()
    mp.flush()
    assert [each.distinct_id for each in vendor.events] == ["anna"]
    assert not mp.track("bert", "Viewed")
    assert mp.track("anna", "Viewed")


def test_who_refuses_in_a_transaction_is_not_told_of_in_it(
    client: Any, engine: Engine, stored: SQLAlchemyRegistry
) -> None:
    stored.grant("anna", source="form")
    mp = client(registry=stored)
    with engine.begin() as connection, stored.within(connection=connection):
        stored.deny("anna", connection=connection)
        assert mp.track("anna", "Viewed").reason is Reason.WITHDRAWN


def test_the_event_of_an_opt_in_is_part_of_its_transaction(
    client: Any, engine: Engine, stored: SQLAlchemyRegistry, vendor: FakeTransport
) -> None:
    mp = client(registry=stored)
    for who in ("anna", "bert"):
        with Session(engine) as session:
            assert mp.opt_in(who, "analytics", source="form", session=session)
            if who == "anna":
                session.commit()
    mp.flush()
    assert [(each.event, each.distinct_id) for each in vendor.events] == [("$opt_in", "anna")]


def test_a_withdrawal_finds_the_purposes_of_its_own_transaction(
    client: Any, engine: Engine, stored: SQLAlchemyRegistry
) -> None:
    mp = client(registry=stored)
    with engine.begin() as connection:
        stored.grant("anna", "newsletter", source="form", connection=connection)
        assert "newsletter" in mp.withdraw("anna", connection=connection).purposes


def test_questions_within_no_transaction_are_refused(stored: SQLAlchemyRegistry, registry: MemoryRegistry) -> None:
    with pytest.raises(ConfigurationError, match="one of them"), stored.within():
        pass
    with pytest.raises(ConfigurationError, match="in no transaction"), CachedRegistry(registry, ttl=1).within():
        pass


def test_who_agrees_in_a_transaction_of_asyncio_s_is_told_of_in_the_same_one(
    async_outbox: Any, vendor: FakeTransport
) -> None:
    engine, outbox = async_outbox

    async def work() -> None:
        registry = AsyncSQLAlchemyRegistry(engine)
        async with engine.begin() as connection:
            await connection.run_sync(registry.metadata.drop_all)
        await registry.create_tables()
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())
        for who in ("anna", "bert"):
            async with AsyncSession(engine) as session:
                with registry.within(session=session):
                    await registry.grant(who, source="form", session=session)
                    assert await mp.track(who, "Signed up")
                    if who == "anna":
                        await session.commit()
        await mp.flush()
        await registry.close()
        await engine.dispose()

    asyncio.run(work())
    assert [each.distinct_id for each in vendor.events] == ["anna"]


# What applications do besides
def test_an_open_transaction_of_somebody_holds_up_neither_delivery_nor_withdrawal(
    client: Any, engine: Engine, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("one transaction at a time writes")
    mp = client(timeout=2)
    for number in range(20):
        mp.track("user-1", f"E{number}")
        mp.people_append("user-1", {"n": number})
    with Session(engine) as session:
        session.execute(insert(ORDERS))
        for _ in range(3):
            mp.track(WHO, "Open")
            mp.people_append(WHO, {"n": 0})
        mp.alias("user-2", WHO)
        mp.flush()
        assert len(vendor.messages) == 40
        assert outbox_of(mp).waiting == 0
        for number in range(5):
            with outbox_of(mp).within(None):
                mp.track("user-1", f"L{number}")
        assert mp.withdraw("user-1").discarded == 5
        assert outbox_of(mp).waiting == 0
        session.rollback()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_the_child_of_a_fork_is_in_no_transaction_of_its_parent(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    # rule 8.6
    if engine.dialect.name == "sqlite":
        pytest.skip("the parent's transaction keeps the child from writing")
    mp = client()
    with Session(engine) as session, outbox_of(mp).within(None):
        pass
    with Session(engine) as session:
        session.execute(insert(ORDERS))
        mp.track(WHO, "Parent")
        child = os.fork()
        if not child:
            code = 1
            try:
                code = 0 if mp.track("user-2", "Child") else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        session.execute(insert(ORDERS))
        session.rollback()
    mp.flush()
    assert [each.event for each in vendor.events] == ["Child"]


def test_a_look_at_what_others_have_delivered_takes_nothing_open_for_sent(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    # rule 4.4
    told: list[Decision] = []
    mp = client(told=told)
    with Session(engine) as session:
        session.execute(insert(ORDERS))
        mp.track(WHO, "Gone")
        outbox_of(mp)._spool._next_look["rare"] = 0.0
        mp.flush()
        session.rollback()
    assert mp.stats() == {"dropped": {"rolled_back": 1}}
    assert reasons(told) == [Reason.ROLLED_BACK]


def test_a_pool_of_one_connection_delivers_updates(
    client: Any, url: str, engine: Engine, vendor: FakeTransport
) -> None:
    small = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=5)
    mp = client(engine=small)
    with small.begin():
        mp.people_set(WHO, {"plan": "pro"})
    mp.flush()
    assert len(vendor.people) == 1
    small.dispose()


@pytest.mark.parametrize("bind", ["default", "another"])
def test_a_session_whose_tables_say_where_they_are_is_found(
    client: Any, engine: Engine, tmp_path: Path, vendor: FakeTransport, bind: str
) -> None:
    mp = client()
    other = create_engine(f"sqlite:///{tmp_path}/other.db")
    binds = {"bind": other, "binds": {ORDERS: engine}} if bind == "another" else {"binds": {ORDERS: engine}}
    for name in ("Gone", "Kept"):
        with Session(**binds) as session:
            session.begin()
            mp.track(WHO, name)
            if name == "Kept":
                session.commit()
    mp.flush()
    assert [each.event for each in vendor.events] == ["Kept"]
    other.dispose()


def test_a_hook_after_the_commit_is_in_no_transaction(client: Any, engine: Engine, vendor: FakeTransport) -> None:
    mp = client()
    with Session(engine) as session:
        event.listen(session, "after_commit", lambda _: mp.track(WHO, "Committed"))
        session.execute(insert(ORDERS))
        session.commit()
    mp.flush()
    assert [each.event for each in vendor.events] == ["Committed"]


def test_tasks_have_their_own_transaction_and_not_their_parent_s(
    async_outbox: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    engine, outbox = async_outbox

    async def work() -> None:
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())

        async def sign_up(name: str) -> None:
            async with AsyncSession(engine) as session, session.begin():
                assert await mp.track(WHO, name)

        async def later(go_on: asyncio.Event) -> None:
            await go_on.wait()
            assert await mp.track(WHO, "Later")

        async with AsyncSession(engine) as session:
            # That only reads.
            await session.execute(text("SELECT 1"))
            go_on = asyncio.Event()
            task = asyncio.create_task(later(go_on))
            for name in ("A", "B"):
                await asyncio.gather(sign_up(name))
            await session.commit()
            # Another transaction of the same session: the task is none of its.
            await session.execute(text("SELECT 1"))
            go_on.set()
            await task
            await session.rollback()
        await mp.flush()
        await engine.dispose()

    asyncio.run(work())
    assert sorted(each.event or "" for each in vendor.events) == ["A", "B", "Later"]


def test_a_call_that_is_cancelled_is_not_sent_when_its_transaction_is_taken_back(
    async_outbox: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    # rule 8.8
    engine, outbox = async_outbox

    async def work() -> None:
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())
        for number in range(6):
            async with AsyncSession(engine) as session:
                await session.execute(text("SELECT 1"))
                tasks = [asyncio.create_task(mp.track(WHO, "X")) for _ in range(40)]
                await asyncio.sleep(0.004 * number)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await session.rollback()
        await asyncio.sleep(0.2)
        await mp.flush()
        await engine.dispose()

    asyncio.run(work())
    assert vendor.messages == []


def test_what_within_was_given_ends_with_it_for_tasks_too(
    async_outbox: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    engine, outbox = async_outbox

    async def work() -> None:
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())
        go_on = asyncio.Event()

        async def later() -> None:
            await go_on.wait()
            await mp.track(WHO, "Later")

        async with AsyncSession(engine) as session:
            with outbox.within(session):
                task = asyncio.create_task(later())
                await asyncio.sleep(0)
        go_on.set()
        await task
        await mp.flush()
        await engine.dispose()

    asyncio.run(work())
    assert [each.event for each in vendor.events] == ["Later"]


# who uses a transaction, and when it fails
def in_a_thread(act: Callable[[], Any]) -> Any:
    """What an act answers in a thread that has the context of this one."""
    found: list[Any] = []
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: found.append(context.run(act)))
    thread.start()
    thread.join()
    return found[0]


def test_a_thread_writes_in_no_transaction_that_another_has_begun(
    client: Any, engine: Engine, vendor: FakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    mp = client()
    forget_warnings()
    with Session(engine) as session, session.begin():
        session.execute(text("SELECT 1"))
        assert in_a_thread(lambda: mp.track(WHO, "Elsewhere")).reason is Reason.NOT_KEPT
        with outbox_of(mp).within(session):
            assert in_a_thread(lambda: mp.track(WHO, "Said"))
    mp.flush()
    assert [each.event for each in vendor.events] == ["Said"]
    assert "outbox.within(session)" in caplog.text


def test_a_session_that_another_task_is_using_takes_no_message(
    async_outbox: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    engine, outbox = async_outbox

    async def work() -> None:
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())
        async with AsyncSession(engine) as session:
            await session.connection()
            with outbox.within(session):

                async def track() -> Any:
                    return await mp.track(WHO, "Beside")

                task: list[Any] = []

                @event.listens_for(engine.sync_engine, "before_cursor_execute")
                def beside(*_: Any) -> None:
                    if not task:
                        task.append(asyncio.get_running_loop().create_task(track()))
                        await_only(asyncio.wait(task))

                await session.execute(text("SELECT 1"))
                assert task[0].result().reason is Reason.NOT_KEPT
            await session.rollback()
        await mp.flush()
        await engine.dispose()

    asyncio.run(work())
    assert vendor.messages == []


def test_a_statement_that_failed_leaves_the_message_to_the_transaction(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    """Also where a listener of the application's makes another error of it, after which no other hears."""
    told: list[Decision] = []
    is_translating = False

    class OursError(Exception): ...

    @event.listens_for(engine, "handle_error")
    def translate(context: Any) -> None:
        if is_translating:
            raise OursError

    mp = client(told=told)
    is_translating = True
    with Session(engine) as session:
        with suppress(OursError):
            session.execute(text("SELECT * FROM nowhere"))
        mp.track(WHO, "Rolled back")
        session.rollback()
    is_translating = False
    mp.flush()
    assert vendor.messages == []
    # PostgreSQL takes nothing more in a transaction that has failed.
    assert reasons(told) == [Reason.NOT_KEPT if engine.dialect.name == "postgresql" else Reason.ROLLED_BACK]


@pytest.mark.service
@pytest.mark.slow
def test_a_commit_that_the_server_takes_for_a_rollback_sends_nothing(
    postgresql: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    engine = create_engine(postgresql.url)
    outbox = SQLAlchemyOutbox(engine, consumer=vendor, table_prefix="aborted_")
    outbox.create_tables()
    told: list[Decision] = []
    mp = Mixpanel("T", outbox, registry=registry, observers=[told.append])
    with engine.begin() as connection:
        assert mp.track(WHO, "Taken back")
        with suppress(DBAPIError):
            connection.execute(text("SELECT * FROM nowhere"))
        with suppress(DBAPIError):
            connection.commit()
    mp.flush()
    assert vendor.messages == []
    assert reasons(told) == [Reason.ROLLED_BACK]
    end(outbox)
    engine.dispose()


def test_a_session_that_was_open_before_the_outbox_is_found(client: Any, engine: Engine, vendor: FakeTransport) -> None:
    with Session(engine) as session:
        session.begin()
        mp = client()
        mp.track(WHO, "Signed up")
        session.rollback()
    mp.flush()
    assert vendor.messages == []


def test_a_connection_can_be_given_beyond_its_first_commit(client: Any, engine: Engine, vendor: FakeTransport) -> None:
    mp = client()
    with engine.connect() as connection, outbox_of(mp).within(connection):
        mp.track(WHO, "First")
        connection.commit()
        mp.track(WHO, "Second")
        connection.rollback()
        mp.track(WHO, "Third")
        connection.commit()
    mp.flush()
    assert sorted(each.event or "" for each in vendor.events) == ["First", "Third"]


def test_a_scoped_session_of_asyncio_s_can_be_given(
    async_outbox: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    engine, outbox = async_outbox

    async def work() -> None:
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())
        sessions = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
        with outbox.within(sessions):
            await mp.track(WHO, "Given")
        await sessions.rollback()
        await sessions.remove()
        await mp.flush()
        await engine.dispose()

    asyncio.run(work())
    assert vendor.messages == []


def test_a_withdrawal_in_a_transaction_of_asyncio_s_erases_what_waits(
    async_outbox: Any, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    engine, outbox = async_outbox

    async def work() -> None:
        mp = AsyncMixpanel("T", outbox, registry=registry, policy=FieldPolicy.keep_all())
        vendor.fail(times=100)
        await mp.track(WHO, "Waits")
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(text("SELECT 1"))
            await mp.track("user-1", "In it")
            await mp.withdraw(WHO)
        assert outbox.waiting == 1
        await engine.dispose()

    asyncio.run(work())


def test_updates_that_may_not_leave_yet_keep_nobody_else_s_from_leaving(
    client: Any, engine: Engine, vendor: FakeTransport
) -> None:
    class Away(MemoryRegistry):
        is_away = False

        def standings(self, *asked: Any, **at: Any) -> Any:
            if self.is_away:
                raise OSError
            return super().standings(*asked, **at)

        def standing(self, *asked: Any, **at: Any) -> Any:
            if self.is_away:
                raise OSError
            return super().standing(*asked, **at)

    theirs, mine = Away(), MemoryRegistry()
    mine.grant("user-1")
    first = client("A", registry=theirs, connections=0)
    second = client("B", registry=mine, connections=0)
    for number in range(120):
        theirs.grant(f"customer-{number}")
        first.people_set(f"customer-{number}", {"n": number})
    theirs.is_away = True
    second.people_set("user-1", {"n": 1})
    for _ in range(4):
        with suppress(mixpanel.MixpanelException):
            outbox_of(second).flush(0.5)
    assert [each.distinct_id for each in vendor.people] == ["user-1"]


def test_somebody_who_sets_the_clock_takes_no_lease_away(
    client: Any, engine: Engine, registry: MemoryRegistry, vendor: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("a file knows no clock but the machine's")
    begun, go_on = threading.Event(), threading.Event()
    taken: list[str] = []

    class Slow:
        def send(self, endpoint: str, json_message: str) -> None:
            begun.set()
            go_on.wait(30)
            taken.append(json_message)

    first = client(consumer=Slow(), linger=0.01)
    second = client(connections=0)
    outbox_of(second).summary()
    first.people_increment(WHO, {"n": 1})
    assert begun.wait(30)
    clock = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: clock() + 3_600_000_000_000)
    with suppress(mixpanel.MixpanelException):
        outbox_of(second).flush(0.5)
    monkeypatch.undo()
    go_on.set()
    delivered(outbox_of(first))
    assert len(taken) == 1
    assert vendor.messages == []


def test_a_database_that_is_away_when_a_batch_has_arrived_doubles_nothing(
    client: Any, engine: Engine, vendor: FakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    mp = client(linger=0.01)
    store = outbox_of(mp)._spool.tables
    finish, failures = store.finish, iter([True, True])

    def away(*arguments: Any) -> None:
        if next(failures, False):
            raise mixpanel.MixpanelException("the outbox failed: OperationalError")
        finish(*arguments)

    monkeypatch.setattr(store, "finish", away)
    mp.people_increment(WHO, {"n": 1})
    delivered(outbox_of(mp))
    assert len(vendor.people) == 1
    assert mp.stats() == {"sent": {"consent_granted": 1}}
