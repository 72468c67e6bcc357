"""Consent in a Django project's own database (contract rules 9.3, 10.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("django")
from asgiref.sync import async_to_sync
from django.db import connections, transaction

from consentpanel import ConsentStatus, RegistryError
from consentpanel.django import DjangoRegistry, consent_granted, consent_withdrawn
from consentpanel.registry import CachedRegistry
from consentpanel.testing import DjangoRegistryContract

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
service = [pytest.mark.service, pytest.mark.slow]


class TestOnSQLite(DjangoRegistryContract):
    @pytest.fixture(autouse=True)
    def place(self, on_sqlite):
        self.using = on_sqlite


@pytest.mark.service
@pytest.mark.slow
class TestOnPostgreSQL(DjangoRegistryContract):
    @pytest.fixture(autouse=True)
    def place(self, postgresql, on_postgresql):
        self.server, self.using = postgresql, on_postgresql

    def restart_store(self) -> None:
        self.server.stop()
        self.server.start()


@pytest.mark.service
@pytest.mark.slow
class TestOnMariaDB(DjangoRegistryContract):
    @pytest.fixture(autouse=True)
    def place(self, mariadb, on_mariadb):
        self.server, self.using = mariadb, on_mariadb

    def restart_store(self) -> None:
        self.server.stop()
        self.server.start()


def test_a_transaction_that_is_managed_by_hand_is_the_callers(alias):  # rule 10.2
    registry = DjangoRegistry(alias)
    transaction.set_autocommit(False, using=alias)
    try:
        registry.grant("user-1")
        assert registry.status("user-1", "analytics") is GRANTED
        transaction.rollback(using=alias)
        assert registry.status("user-1", "analytics") is UNKNOWN
        registry.grant("user-1")
        transaction.commit(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)
    assert registry.status("user-1", "analytics") is GRANTED


class TestWithinATransaction(DjangoRegistryContract):
    """As in a `TestCase`, all in one transaction."""

    # What needs several connections is proven above.
    test_threads_that_write_at_once_lose_nothing = None
    test_two_that_write_about_one_person_at_once_lose_nothing = None
    test_it_outlives_a_restart_of_its_store = None
    test_a_fork_leaves_both_working = None

    @pytest.fixture(autouse=True)
    def place(self, on_sqlite):
        with transaction.atomic():
            yield
            transaction.set_rollback(True)


class Awaited:
    """A registry of which each method is awaited under its name with an ``a`` before it."""

    def __init__(self, registry: DjangoRegistry) -> None:
        self._registry = registry

    def __getattr__(self, name: str) -> Any:
        later = getattr(self._registry, f"a{name}", None)
        if later is None:
            return getattr(self._registry, name)
        return async_to_sync(later)


class TestAwaited(DjangoRegistryContract):
    test_it_has_the_methods_of_a_registry = None
    test_a_client_withdraws_everything_that_was_granted = None
    test_a_client_sends_by_its_answers = None
    test_it_outlives_a_restart_of_its_store = None
    test_a_fork_leaves_both_working = None

    @pytest.fixture(autouse=True)
    def place(self, on_sqlite):
        pass

    def make_registry(self, **options: Any) -> Any:
        return Awaited(super().make_registry(**options))

    def open_again(self) -> Any:
        return Awaited(super().open_again())


@pytest.fixture
def registry(alias: str) -> DjangoRegistry:
    return DjangoRegistry(alias)


def rename(alias: str, before: str, after: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")


@pytest.fixture
def without_tables(alias: str) -> Iterator[Callable[[], None]]:
    """Takes a table away until the test ends."""
    rename(alias, "consentpanel_standing", "elsewhere")
    yield
    rename(alias, "elsewhere", "consentpanel_standing")


def test_a_question_that_fails_leaves_the_callers_transaction_usable(alias, registry, without_tables):  # rule 10.2
    from django.contrib.auth.models import Group

    Group.objects.using(alias).all().delete()
    with transaction.atomic(using=alias):
        Group.objects.using(alias).create(name="before")
        with pytest.raises(RegistryError, match=r"a table is missing: run manage\.py migrate"):
            registry.status("user-1", "analytics")
        with pytest.raises(RegistryError):
            registry.grant("user-1", "analytics")
        Group.objects.using(alias).create(name="after")
    assert Group.objects.using(alias).count() == 2


def test_a_grant_is_part_of_the_block_and_seen_in_it(alias, registry):  # rule 10.2
    with transaction.atomic(using=alias):
        registry.grant("user-1", "analytics")
        assert registry.status("user-1", "analytics") is GRANTED
        transaction.set_rollback(True, using=alias)
    assert registry.status("user-1", "analytics") is UNKNOWN
    assert registry.history("user-1") == []


def test_a_cache_remembers_nothing_that_may_be_taken_back(alias, registry):
    cached = CachedRegistry(registry, ttl=60)
    with transaction.atomic(using=alias):
        cached.grant("user-1", "analytics")
        assert cached.status("user-1", "analytics") is GRANTED
        transaction.set_rollback(True, using=alias)
    assert cached.status("user-1", "analytics") is UNKNOWN
    with transaction.atomic(using=alias):
        with transaction.atomic(using=alias):
            cached.grant("user-1", "analytics")
            assert registry.is_within
            transaction.set_rollback(True, using=alias)
        assert not registry.is_within
    assert cached.status("user-1", "analytics") is UNKNOWN
    with transaction.atomic(using=alias):
        cached.grant("user-1", "analytics")
    assert cached.status("user-1", "analytics") is GRANTED


def test_signals_tell_of_what_is_committed_alone(alias, registry):  # rule 10.5
    heard: list[tuple[str, str, list[str]]] = []

    def granted(sender, subject_id, records, **_):
        heard.append(("granted", subject_id, [str(each.purpose) for each in records]))

    def withdrawn(sender, subject_id, records, **_):
        heard.append(("withdrawn", subject_id, [str(each.purpose) for each in records]))

    consent_granted.connect(granted)
    consent_withdrawn.connect(withdrawn)
    try:
        with transaction.atomic(using=alias):
            registry.grant("user-1", "analytics", "profiles")
            assert heard == []
        with transaction.atomic(using=alias):
            registry.deny("user-1", "profiles")
            transaction.set_rollback(True, using=alias)
        registry.deny("user-1", "profiles")
    finally:
        consent_granted.disconnect(granted)
        consent_withdrawn.disconnect(withdrawn)
    assert heard == [("granted", "user-1", ["analytics", "profiles"]), ("withdrawn", "user-1", ["profiles"])]


def test_a_coroutine_is_told_what_to_await(alias, registry):  # rule 10.2
    async def view() -> None:
        with pytest.raises(RegistryError, match="await the registry's method"):
            registry.status("user-1", "analytics")
        await registry.agrant("user-1", "analytics")
        assert await registry.astatus("user-1", "analytics") is GRANTED

    async_to_sync(view)()


def test_what_a_thread_of_ours_opens_is_closed(alias, registry):  # rule 10.2
    import threading

    left: list[bool] = []

    def ask() -> None:
        with registry.outside_of_a_call():
            registry.status("user-1", "analytics")
        left.append(connections[alias].connection is not None)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert left == [False]


def test_questions_and_failures_quote_no_id(alias, registry, without_tables):
    for act in (registry.status, registry.grant):
        with pytest.raises(RegistryError) as caught:
            act("jane@example.com", "analytics")
        assert "jane" not in str(caught.value)
        assert caught.value.__cause__ is None
