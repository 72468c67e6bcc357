"""Consent in a database that many machines share, by SQLAlchemy (contract rule 9.1)."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import consentpanel
from consentpanel import (
    ConfigurationError,
    ConsentRecord,
    ConsentStatus,
    FieldPolicy,
    InvalidRecordError,
    RegistryError,
    SQLAlchemyOutbox,
)
from consentpanel._consent.secret import keyed_by
from consentpanel.registry import CachedRegistry, SQLAlchemyRegistry, Standing, carry_over
from consentpanel.testing import FakeTransport, RegistryContract

sqlalchemy = pytest.importorskip("sqlalchemy")
from sqlalchemy import event, text  # noqa: E402
from sqlalchemy.orm import Session, scoped_session, sessionmaker  # noqa: E402
from sqlalchemy.pool import NullPool, StaticPool  # noqa: E402

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
SECRET = b"0123456789abcdef0123456789abcdef"
_ENGINES: list[Any] = []


def create_engine(*arguments: Any, **options: Any) -> Any:
    """An engine that is disposed of when its test is over."""
    _ENGINES.append(sqlalchemy.create_engine(*arguments, **options))
    return _ENGINES[-1]


@pytest.fixture(autouse=True)
def _dispose() -> Iterator[None]:
    yield
    while _ENGINES:
        _ENGINES.pop().dispose()


service = [pytest.mark.service, pytest.mark.slow]


class Contract(RegistryContract):
    """What every database must pass."""

    url: str

    def make_registry(self, **options: Any) -> SQLAlchemyRegistry:
        engine = create_engine(self.url)
        registry = SQLAlchemyRegistry(engine, **options)
        registry.metadata.drop_all(engine)
        engine.dispose()
        registry.create_tables()
        return registry

    def open_again(self) -> SQLAlchemyRegistry:
        return SQLAlchemyRegistry(self.url)

    @contextmanager
    def rolled_back(self) -> Iterator[dict[str, Any]]:
        engine = create_engine(self.url)
        with Session(engine) as session:
            yield {"session": session}
            session.rollback()
        engine.dispose()


class TestOnSQLite(Contract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        self.url = f"sqlite:///{tmp_path}/consent-of-customers.db"


@pytest.mark.service
@pytest.mark.slow
class TestOnPostgreSQL(Contract):
    @pytest.fixture(autouse=True)
    def place(self, postgresql):
        self.server, self.url = postgresql, postgresql.url

    def restart_store(self) -> None:
        self.server.stop()
        self.server.start()


@pytest.mark.service
@pytest.mark.slow
class TestOnMariaDB(Contract):
    @pytest.fixture(autouse=True)
    def place(self, mariadb):
        self.server, self.url = mariadb, mariadb.url

    def restart_store(self) -> None:
        self.server.stop()
        self.server.start()


class TestInMemory(RegistryContract):
    def make_registry(self, **options: Any) -> SQLAlchemyRegistry:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        registry = SQLAlchemyRegistry(engine, **options)
        registry.create_tables()
        return registry

    # One connection is everybody's.
    test_threads_that_write_at_once_lose_nothing = None


@pytest.fixture(params=["sqlite", *(pytest.param(name, marks=service) for name in ("postgresql", "mariadb"))])
def url(request, tmp_path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/consent-of-customers.db"
    found = request.getfixturevalue(request.param).url
    engine = create_engine(found)
    SQLAlchemyRegistry(engine).metadata.drop_all(engine)
    engine.dispose()
    return found


@pytest.fixture
def engine(url):
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def registry(engine):
    with SQLAlchemyRegistry(engine, timeout=1) as registry:
        registry.create_tables()
        yield registry


def ago(**age: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**age)


# the caller's transaction


def test_what_is_said_is_part_of_the_caller_s_transaction(engine, registry):
    with Session(engine) as session:
        registry.grant("user-1", "analytics", session=session)
        assert registry.status("user-1", "analytics") is UNKNOWN
        session.commit()
    assert registry.status("user-1", "analytics") is GRANTED
    with engine.connect() as connection:
        registry.deny("user-1", connection=connection)
        assert registry.forget("user-1", connection=connection) == 4
        connection.rollback()
    assert registry.status("user-1", "analytics") is GRANTED
    with engine.begin() as connection:
        registry.record_many([ConsentRecord("user-1", "profiles", GRANTED)], connection=connection)
    assert registry.verify("user-1").records == 2
    sessions = scoped_session(sessionmaker(engine))
    registry.deny("user-1", "profiles", session=sessions)
    sessions.commit()
    sessions.remove()
    assert registry.status("user-1", "profiles") is DENIED


def test_a_client_withdraws_in_the_caller_s_transaction(engine, registry):
    mp = consentpanel.Mixpanel("TOKEN", FakeTransport(), registry=CachedRegistry(registry, ttl=60))
    with Session(engine) as session:
        mp.opt_in("user-1", "analytics", session=session)
        session.commit()
    assert mp.track("user-1", "Signed up")
    with Session(engine) as session:
        mp.withdraw("user-1", session=session, source="settings")
        session.rollback()
    assert mp.track("user-1", "Signed up")
    with Session(engine) as session:
        mp.withdraw("user-1", session=session, source="settings")
        # Whoever asks meanwhile must not remember what holds no longer.
        assert mp.track("user-1", "Signed up")
        session.commit()
    assert not mp.track("user-1", "Signed up")
    assert [record.source for record in registry.history("user-1")][-1] == "settings"


def test_answers_carry_over_in_the_caller_s_transaction(engine, registry):
    registry.deny("visitor", "analytics")
    with Session(engine) as session:
        assert len(carry_over(registry, "visitor", "account", session=session)) == 1
        session.rollback()
    assert registry.status("account", "analytics") is UNKNOWN
    with Session(engine) as session:
        registry.grant("account", "profiles", session=session)
        carry_over(registry, "visitor", "account", session=session)
        session.commit()
    assert registry.status("account", "analytics") is DENIED


def test_an_erasure_is_no_part_of_a_transaction(engine, registry):
    requests = consentpanel.PrivacyRequests("TOKEN", "oauth")
    mp = consentpanel.Mixpanel("TOKEN", FakeTransport(), registry=registry, privacy=requests)
    with Session(engine) as session, pytest.raises(ConfigurationError, match="after the commit"):
        mp.withdraw("user-1", erase=True, session=session)
    assert registry.history("user-1") == []


def test_a_write_that_fails_leaves_the_caller_s_transaction_usable(engine, registry):
    registry.metadata.drop_all(engine)
    with Session(engine) as session:
        session.execute(text("CREATE TABLE customer (name VARCHAR(20))"))
        session.commit()
        try:
            session.execute(text("INSERT INTO customer VALUES ('ada')"))
            with pytest.raises(RegistryError):
                registry.grant("user-1", session=session)
            session.commit()
            assert session.execute(text("SELECT count(*) FROM customer")).scalar() == 1
        finally:
            session.rollback()
            session.execute(text("DROP TABLE customer"))
            session.commit()


def test_a_question_flushes_nothing_of_a_session_and_breaks_nothing(engine, registry):
    flushed = []
    with Session(engine) as session:
        event.listen(session, "before_flush", lambda *_: flushed.append(1))
        session.connection()
        registry.grant("user-1", session=session)
        registry.status("user-1", "analytics")
        registry.history("user-1")
        session.rollback()
    assert flushed == []


@pytest.mark.parametrize("where", [{"session": object()}, {"session": Session}, {"session": "x"}, {"connection": 3}])
def test_what_is_no_session_is_refused(registry, where):
    with pytest.raises(ConfigurationError, match="of SQLAlchemy's"):
        registry.grant("user-1", **where)
    with pytest.raises(ConfigurationError, match="not both"):
        registry.grant("user-1", session=object(), connection=object())
    assert registry.history("user-1") == []


@pytest.mark.service
@pytest.mark.slow
def test_a_session_of_another_database_is_refused(postgresql, tmp_path):
    with (
        SQLAlchemyRegistry(postgresql.url) as registry,
        Session(create_engine(f"sqlite:///{tmp_path}/x.db")) as session,
    ):
        registry.create_tables()
        with pytest.raises(ConfigurationError, match="the transaction is of sqlite"):
            registry.deny("elsewhere", session=session)
        assert registry.history("elsewhere") == []


def test_an_engine_that_commits_each_statement_has_no_transaction_to_be_in(url, monkeypatch):
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with SQLAlchemyRegistry(engine) as registry:
        registry.create_tables()
        if not url.startswith("sqlite"):
            with engine.connect() as connection, pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
                registry.deny("user-1", connection=connection)
        registry.grant("user-1", "analytics")
        # What the registry writes by itself is whole all the same.
        monkeypatch.setitem(registry._statements, "extend", None)
        with pytest.raises((RegistryError, sqlalchemy.exc.ObjectNotExecutableError)):
            registry.deny("user-1", "analytics")
        monkeypatch.undo()
        assert len(registry.history("user-1")) == 1
        registry.deny("user-1", "analytics")
        assert registry.verify("user-1").records == 2
    engine.dispose()


def test_a_transaction_that_began_before_does_not_judge_by_what_it_saw_then(engine, registry):
    """MariaDB's usual isolation shows a transaction what was there when it first asked."""
    if engine.dialect.name == "sqlite":
        pytest.skip("a SQLite transaction that has read an older state cannot write")
    registry._objections.add(keyed_by(SECRET))
    said = ago(seconds=5)
    registry.grant("user-2", "analytics", recorded_at=said)
    with Session(engine) as session:
        session.execute(text("SELECT count(*) FROM consentpanel_standing")).all()
        registry.deny("user-1", "analytics")
        registry.deny("user-2", "analytics")
        registry.record(ConsentRecord("user-1", "analytics", GRANTED, said), session=session)
        registry.forget("user-2", session=session)
        session.commit()
    assert registry.status("user-1", "analytics") is DENIED
    assert registry.status("user-2", "analytics") is DENIED
    assert registry.verify("user-1").records == 2


def test_a_signal_handler_that_denies_during_a_grant_is_heard(registry):  # rule 8.5
    registry.grant("user-1")
    asked = []
    before = signal.signal(signal.SIGALRM, lambda *_: asked.append(registry.deny("user-1", "targeting")))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0031)
    try:
        for _ in range(40):
            registry.grant("user-1", "analytics")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert asked
    assert registry.status("user-1", "targeting") is DENIED
    assert registry.verify("user-1").records == 43 + len(asked)


def test_a_write_of_a_signal_handler_that_fails_is_told_and_holds_up_no_other(registry):
    tried = registry._tried

    def interrupted(plan):
        registry._tried = failing
        registry.deny("user-1", "targeting")
        return tried(plan)

    def failing(plan):
        raise RegistryError("the database failed")

    registry._tried = interrupted
    with pytest.raises(RegistryError):
        registry.grant("user-1", "analytics")
    registry._tried = tried
    registry.deny("user-1", "analytics")
    assert registry.status("user-1", "analytics") is DENIED
    assert registry.verify("user-1").records == 2


@pytest.mark.parametrize("options", [{}, {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}])
def test_a_database_in_memory_is_the_application_s_own_transaction(options):
    engine = create_engine("sqlite://", **options)
    registry = SQLAlchemyRegistry(engine)
    registry.create_tables()
    with Session(engine) as session:
        session.execute(text("CREATE TABLE customer (name VARCHAR(20))"))
        session.commit()
        session.execute(text("INSERT INTO customer VALUES ('ada')"))
        assert registry.status("user-1", "analytics") is UNKNOWN
        registry.grant("user-1")
        assert registry.status("user-1", "analytics") is GRANTED
        session.rollback()
        assert session.execute(text("SELECT count(*) FROM customer")).scalar() == 0
    assert registry.status("user-1", "analytics") is UNKNOWN
    registry.grant("user-1")
    assert registry.status("user-1", "analytics") is GRANTED
    registry.close()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM consentpanel_record")).scalar() == 3


def test_a_fork_in_the_middle_of_a_write_leaves_a_child_that_can_write(tmp_path):  # rule 8.6
    registry = SQLAlchemyRegistry(f"sqlite:///{tmp_path}/consent-of-customers.db")
    registry.create_tables()
    is_over = threading.Event()

    def write():
        # With a rest, so that SQLite, which knows no turns, lets others write too.
        while not is_over.wait(0.003):
            registry.grant("user-1", "analytics")

    thread = threading.Thread(target=write)
    thread.start()
    codes = []
    try:
        for _ in range(10):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if not child:
                code = 1
                try:
                    registry.deny("user-2", "analytics")
                    code = 0 if registry.status("user-2", "analytics") is DENIED else 2
                finally:
                    os._exit(code)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    finally:
        is_over.set()
        thread.join()
    assert codes == [0] * 10
    assert registry.verify("user-1")
    assert len(registry.history("user-2")) == 10
    registry.close()


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:transaction already deassociated")
def test_a_transaction_that_the_server_has_taken_back_is_not_taken_for_done(mariadb):
    engine = create_engine(mariadb.url)
    with SQLAlchemyRegistry(engine, timeout=8) as registry, engine.connect() as other, Session(engine) as session:
        registry.create_tables()
        session.execute(text("CREATE TABLE IF NOT EXISTS purchase (name VARCHAR(20))"))
        session.commit()
        registry.grant("taken-a")
        registry.grant("taken-b")
        session.execute(text("INSERT INTO purchase VALUES ('lamp')"))
        registry.deny("taken-a", session=session)
        # More rows, so that the other one is spared.
        for _ in range(20):
            registry.deny("taken-b", connection=other)
        thread = threading.Thread(target=lambda: registry.deny("taken-a", connection=other))
        thread.start()
        time.sleep(0.5)
        with pytest.raises(RegistryError, match="taken the transaction back"):
            registry.deny("taken-b", session=session)
        thread.join(30)
        other.rollback()
        with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
            session.commit()
        session.rollback()
        assert session.execute(text("SELECT count(*) FROM purchase")).scalar() == 0
        assert registry.status("taken-a", "analytics") is GRANTED
    engine.dispose()


def test_many_that_make_the_tables_at_once_all_have_them(url):
    registries = [SQLAlchemyRegistry(url) for _ in range(6)]
    failures = []

    def create(registry):
        try:
            registry.create_tables()
        except RegistryError as error:
            failures.append(error)

    threads = [threading.Thread(target=create, args=(each,)) for each in registries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    registries[0].grant("user-1")
    for each in registries:
        each.close()


ENV = """
import sys
sys.path.insert(0, {source!r})
from alembic import context
from sqlalchemy import create_engine
from consentpanel import SQLAlchemyOutbox
from consentpanel.registry import SQLAlchemyRegistry

engine = create_engine({url!r})
wanted = [SQLAlchemyRegistry(engine).metadata, SQLAlchemyOutbox(engine).metadata]
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=wanted)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""


def test_alembic_writes_a_migration_that_makes_the_tables_of_registry_and_outbox(url, tmp_path, capsys):
    alembic = pytest.importorskip("alembic.config")
    from alembic import command

    config = alembic.Config(str(tmp_path / "alembic.ini"), stdout=io.StringIO())
    config.set_main_option("script_location", str(tmp_path / "migrations"))
    command.init(config, str(tmp_path / "migrations"))
    source = str(Path(consentpanel.__file__).parents[1])
    (tmp_path / "migrations" / "env.py").write_text(ENV.format(source=source, url=url))
    template = tmp_path / "migrations" / "script.py.mako"
    template.write_text(
        template.read_text().replace(
            "import sqlalchemy as sa", "import sqlalchemy as sa\nimport consentpanel.registry.sqlalchemy"
        )
    )
    command.revision(config, "consent", autogenerate=True)
    command.upgrade(config, "head")
    with SQLAlchemyRegistry(url) as registry:
        registry.grant("user-1")
        assert registry.verify("user-1").records == 3
    made = create_engine(url)
    outbox = SQLAlchemyOutbox(made)
    outbox.send("events", '{"event": "E", "properties": {"distinct_id": "user-1"}}')
    assert outbox.purge("user-1") == 1
    outbox._spool.tables.close()
    made.dispose()
    # What is there is what is wanted: nothing is left to migrate.
    command.check(config)
    command.downgrade(config, "base")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    assert "consentpanel_record" not in sqlalchemy.inspect(engine).get_table_names()
    engine.dispose()


# one look-up, one statement


def test_a_question_is_one_statement(engine, registry):
    statements = []
    event.listen(registry._engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    registry.status("user-1", "analytics")
    assert len(statements) == 1
    registry.statuses([f"user-{number}" for number in range(9_000)], "analytics")
    assert len(statements) == 2
    registry.status("user-1", "analytics", at=ago(days=1))
    assert len(statements) == 3


@pytest.mark.service
@pytest.mark.slow
def test_a_question_reads_by_the_primary_key(postgresql):
    registry = SQLAlchemyRegistry(postgresql.url, table_prefix="planned_")
    registry.create_tables()
    registry.grant("user-1")
    with registry._engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(
            text(
                "EXPLAIN SELECT status FROM planned_standing WHERE scope = '' AND subject_id = 'user-1'"
                " AND purpose = 'analytics'"
            )
        ).scalars()
        assert "planned_standing_pkey" in "\n".join(plan)
    registry.metadata.drop_all(registry._engine)
    registry.close()


# when the database is not well


def test_a_database_without_tables_is_a_denial_that_tells_no_value(url, caplog):
    registry = SQLAlchemyRegistry(url)
    with pytest.raises(RegistryError) as caught:
        registry.grant("ada@mail.example", evidence={"secret": "4711"})
    assert "ada" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    mp = consentpanel.Mixpanel("TOKEN", FakeTransport(), registry=registry)
    assert mp.track("ada@mail.example", "Signed up").reason.value == "registry_error"
    assert "ada@" not in caplog.text
    registry.close()


def test_a_server_that_is_not_there_is_a_denial(services):
    pytest.importorskip("psycopg")
    registry = SQLAlchemyRegistry(f"postgresql+psycopg://nobody:hush@127.0.0.1:{services.free_port()}/none", timeout=2)
    with pytest.raises(RegistryError) as caught:
        registry.status("user-1", "analytics")
    assert "hush" not in str(caught.value)


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_the_first_question_after_a_restart_is_answered(kind, request):
    server = request.getfixturevalue(kind)
    engine = create_engine(server.url, pool_size=4)
    with SQLAlchemyRegistry(engine, timeout=2) as registry:
        registry.create_tables()
        registry.grant("restarted")
        threads = [threading.Thread(target=registry.status, args=("restarted", "analytics")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.stop()
        with pytest.raises(RegistryError):
            registry.status("restarted", "analytics")
        server.start()
        assert registry.status("restarted", "analytics") is GRANTED
        server.stop()
        server.start()
        registry.deny("restarted")
        assert registry.status("restarted", "analytics") is DENIED
    engine.dispose()


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_statement_that_waits_is_a_denial_in_time(kind, request):
    """Somebody holds the row of the person's chain, or the whole table, and does not let go."""
    server = request.getfixturevalue(kind)
    engine = create_engine(server.url)
    with SQLAlchemyRegistry(engine, timeout=1) as registry, engine.connect() as other:
        registry.create_tables()
        registry.deny("waits")
        registry.grant("waits", "targeting", connection=other)
        assert registry.status("waits", "analytics") is DENIED
        with pytest.raises(RegistryError):
            registry.grant("waits", "analytics")
        other.rollback()
        lock = (
            "LOCK TABLE consentpanel_standing IN ACCESS EXCLUSIVE MODE"
            if kind == "postgresql"
            else ("LOCK TABLES consentpanel_standing WRITE")
        )
        other.execute(text(lock))
        before = time.monotonic()
        with pytest.raises(RegistryError):
            registry.status("waits", "analytics")
        assert time.monotonic() - before < 20  # it does not hang
        other.rollback()
        if kind == "mariadb":
            other.execute(text("UNLOCK TABLES"))
        assert registry.status("waits", "analytics") is DENIED
    engine.dispose()


def test_a_caller_who_holds_every_connection_is_answered_all_the_same(url):
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=30)
    with SQLAlchemyRegistry(engine, timeout=1) as registry, engine.connect() as held:
        held.execute(text("SELECT 1"))
        registry.create_tables()
        registry.grant("user-1")
        assert registry.status("user-1", "analytics") is GRANTED
        # And where it is the registry's own that are all in use.
        with registry._engine.connect(), pytest.raises(RegistryError):
            registry.status("user-1", "analytics")
    engine.dispose()


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_deadlock_is_tried_again(kind, request):
    """Two transactions of the caller's hold one person each and want the other's."""
    server = request.getfixturevalue(kind)
    engine = create_engine(server.url)
    with SQLAlchemyRegistry(engine, timeout=8) as registry, engine.connect() as other:
        registry.create_tables()
        registry.deny("deadlock-a")
        registry.deny("deadlock-b")
        registry.deny("deadlock-b", connection=other)
        failures = []

        def write():
            try:
                registry.record_many([ConsentRecord(f"deadlock-{each}", "targeting", GRANTED) for each in "ab"])
            except RegistryError as error:
                failures.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        time.sleep(0.5)  # it holds the one and waits for the other
        with suppress(RegistryError):
            registry.deny("deadlock-a", connection=other)
        other.rollback()
        thread.join(30)
        assert not thread.is_alive()
        assert failures == []
        assert registry.status("deadlock-b", "targeting") is GRANTED
        assert registry.verify("deadlock-b")
    engine.dispose()


# a replica


def test_who_was_written_of_is_not_asked_of_a_replica_that_lags(tmp_path):
    first, replica = (f"sqlite:///{tmp_path}/{name}.db" for name in ("first", "replica"))
    for place in (first, replica):
        with SQLAlchemyRegistry(place) as each:
            each.create_tables()
            each.grant("user-1")
            each.grant("user-2")
    with SQLAlchemyRegistry(first, read_engine=replica) as registry:
        registry.deny("user-1")
        assert registry.status("user-1", "analytics") is DENIED
        with SQLAlchemyRegistry(first) as other:
            other.deny("user-2")
        # Another process has: this shows when the replica has it.
        assert registry.status("user-2", "analytics") is GRANTED


def test_a_replica_that_fails_is_not_asked(tmp_path, registry):
    with SQLAlchemyRegistry(registry._engine, read_engine=f"sqlite:///{tmp_path}/empty.db") as both:
        both.grant("user-1")
        with SQLAlchemyRegistry(registry._engine, read_engine=f"sqlite:///{tmp_path}/empty.db") as other:
            assert other.status("user-1", "analytics") is GRANTED


# how it is built


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((3,), "engine_or_url"),
        (("nonsense",), "no URL"),
        (("oracle://host",), "driver|knows|must be of"),
        (("unheard://user:hush@host/x",), "knows"),
        (("sqlite://", "table_prefix", "a b"), "table_prefix"),
        (("sqlite://", "table_prefix", "a" * 32), "table_prefix"),
        (("sqlite://", "schema", ""), "schema"),
        (("sqlite://", "timeout", -1), "timeout"),
        (("sqlite://", "read_engine", 3), "read_engine"),
        (("sqlite://", "strict_records", 3), "strict_records"),
    ],
)
def test_what_cannot_work_is_refused(given, says):
    where, *option = given
    with pytest.raises(ConfigurationError, match=says) as caught:
        SQLAlchemyRegistry(where, **({option[0]: option[1]} if option else {}))
    assert "hush" not in str(caught.value)


def test_tables_have_the_names_that_were_asked_for(engine):
    with SQLAlchemyRegistry(engine, table_prefix="shop_") as registry:
        registry.create_tables()
        registry.create_tables()
        assert {table.name for table in registry.metadata.sorted_tables} == {
            "shop_record",
            "shop_standing",
            "shop_chain",
        }
        registry.grant("user-1")
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT count(*) FROM shop_record WHERE subject_id = 'user-1'")).scalar()
        assert rows == 3
        registry.metadata.drop_all(engine)


@pytest.mark.service
@pytest.mark.slow
def test_the_tables_may_be_in_a_schema(postgresql):
    engine = create_engine(postgresql.url)
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA privacy"))
    with SQLAlchemyRegistry(engine, schema="privacy") as registry:
        registry.create_tables()
        registry.grant("user-1")
        assert registry.status("user-1", "analytics") is GRANTED
        assert registry.verify("user-1")
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA privacy CASCADE"))
    engine.dispose()


def test_registries_of_equal_arguments_are_equal(url):
    one, same = SQLAlchemyRegistry(url), SQLAlchemyRegistry(url)
    assert (one, hash(one)) == (same, hash(same))
    for other in (
        SQLAlchemyRegistry(url, table_prefix="x_"),
        one.scoped("a"),
        SQLAlchemyRegistry(url, strict_records=True),
    ):
        assert one != other
    assert one.scoped("a") == same.scoped("a")
    # Engines of one URL may connect to different schemas.
    first, second = create_engine(url), create_engine(url)
    assert SQLAlchemyRegistry(first) == SQLAlchemyRegistry(first)
    assert SQLAlchemyRegistry(first) != SQLAlchemyRegistry(second)
    assert "consent" not in repr(one).replace("consentpanel", "")


def test_an_application_that_configures_twice_may(url):
    for _ in range(2):
        consentpanel.configure(registry=SQLAlchemyRegistry(url), policy=FieldPolicy())


def test_a_closed_registry_says_so_and_leaves_the_engine_open(engine):
    registry = SQLAlchemyRegistry(engine)
    registry.create_tables()
    registry.close()
    with pytest.raises(RegistryError, match="closed"):
        registry.status("user-1", "analytics")
    assert repr(registry).endswith("(closed)>")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def test_an_engine_without_a_pool_works(url):
    engine = create_engine(url, poolclass=NullPool)
    registry = SQLAlchemyRegistry(engine)
    registry.create_tables()
    registry.grant("user-1")
    assert registry.status("user-1", "analytics") is GRANTED
    engine.dispose()


@pytest.mark.parametrize("poolclass", [None, NullPool])
def test_ids_are_in_no_log_of_sqlalchemy_s(url, caplog, poolclass):
    engine = create_engine(url, echo=True, poolclass=poolclass)
    with caplog.at_level(logging.DEBUG), SQLAlchemyRegistry(engine) as registry:
        registry.create_tables()
        registry.grant("ada@mail.example")
        registry.statuses(["ada@mail.example"], "analytics")
    assert "ada@" not in caplog.text
    engine.dispose()


# the rules on these tables


def test_tenants_objections_ages_and_strictness_hold_here_too(engine):  # rules 2.15, 9.5 and 12.6
    with SQLAlchemyRegistry(engine, objection_key=SECRET, max_age=timedelta(days=1)) as registry:
        registry.create_tables()
        registry.grant("user-1", "analytics", recorded_at=ago(hours=25))
        assert registry.standing("user-1", "analytics") is Standing.EXPIRED
        assert registry.standings(["user-1"], "analytics") == {"user-1": Standing.EXPIRED}
        assert registry.status("user-1", "analytics", at=ago(hours=2)) is GRANTED
        tenant = registry.scoped("tenant")
        tenant.deny("user-1")
        assert tenant.forget("user-1") == 3
        assert tenant.statuses(["user-1", "user-2"], "analytics") == {"user-1": DENIED, "user-2": UNKNOWN}
        assert tenant.status("user-1", "analytics") is DENIED
        assert registry.verify("user-1").records == 1
        assert tenant.history("user-1") == []
    with SQLAlchemyRegistry(engine, strict_records=True) as registry, pytest.raises(InvalidRecordError):
        registry.grant("user-1", "analytics")


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE consentpanel_record SET status = 'granted' WHERE position = 1",
        "DELETE FROM consentpanel_record WHERE position = 2",
        "DELETE FROM consentpanel_chain",
        "UPDATE consentpanel_record SET position = 7 WHERE position = 0",
    ],
)
def test_the_chain_tells_a_change(engine, registry, tampering):  # rule 12.6
    registry.deny("user-1")
    assert registry.verify("user-1")
    with engine.begin() as connection:
        connection.execute(text(tampering))
    assert not registry.verify("user-1")


def test_an_id_that_no_database_keeps_is_refused(registry):
    for odd in ("\udc80", "a\udfffb"):
        with pytest.raises((InvalidRecordError, RegistryError)):
            registry.grant(odd)
        with pytest.raises((InvalidRecordError, RegistryError)):
            registry.status(odd, "analytics")


def test_the_package_does_without_sqlalchemy():
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import consentpanel.registry\n"
        "try: consentpanel.registry.SQLAlchemyRegistry\n"
        "except consentpanel.ConfigurationError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "consentpanel[sqlalchemy]" in found.stdout
    code = (
        "import sys, consentpanel.registry, consentpanel; consentpanel.Mixpanel; sys.exit('sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_can_be_found_by_hand(engine, registry):
    """As a lawyer's question in SQL would."""
    registry.grant("Ädä", "analytics", source="sign-up")
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT source FROM consentpanel_record WHERE subject_id = :id"), {"id": "Ädä"}
        ).scalar()
    assert found == "sign-up"
