"""The contract of registries for one in a Django project's database."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from consentpanel.testing._registry_proof import skip
from consentpanel.testing.registry_contract import RegistryContract


class DjangoRegistryContract(RegistryContract):
    """Inherit it, and pytest proves `DjangoRegistry` on a database of your project's.

    It needs the project's settings and migrations: pytest-django with ``@pytest.mark.django_db(transaction=True)``, or a test
    database of your own making. Within a transaction, as in ``django_db`` without that, what needs several connections is
    skipped. The tables of consent are emptied before each test.

    Attributes:
        using: The alias of the database.

    Example:
        .. code-block:: python

            @pytest.mark.django_db(transaction=True)
            class TestOurConsent(DjangoRegistryContract): ...
    """

    using = "default"

    def make_registry(self, **options: Any) -> Any:
        """A `DjangoRegistry` on empty tables."""
        from django.apps import apps

        from consentpanel.django import DjangoRegistry

        for model in apps.get_app_config("consentpanel").get_models():
            model._base_manager.using(self.using).all().delete()  # noqa: SLF001 - documented by Django
        return DjangoRegistry(self.using, **options)

    def open_again(self) -> Any:
        """Another one over the same tables."""
        from consentpanel.django import DjangoRegistry

        return DjangoRegistry(self.using)

    @contextmanager
    def rolled_back(self) -> Generator[dict[str, Any], None, None]:
        """An atomic block that is taken back."""
        from django.db import transaction

        with transaction.atomic(using=self.using):
            yield {}
            transaction.set_rollback(True, using=self.using)

    @pytest.fixture(autouse=True)
    def _close_connections_of_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from django.db import connections

        run = threading.Thread.run

        def run_and_close(thread: threading.Thread) -> None:
            try:
                run(thread)
            finally:
                # Or they would keep the test database from being destroyed.
                connections.close_all()

        monkeypatch.setattr(threading.Thread, "run", run_and_close)

    def test_threads_that_write_at_once_lose_nothing(self) -> None:
        self._need_several_connections()
        super().test_threads_that_write_at_once_lose_nothing()

    def test_two_that_write_about_one_person_at_once_lose_nothing(self) -> None:
        self._need_several_connections()
        super().test_two_that_write_about_one_person_at_once_lose_nothing()

    def test_it_outlives_a_restart_of_its_store(self) -> None:
        self._need_several_connections()
        super().test_it_outlives_a_restart_of_its_store()

    def test_a_fork_leaves_both_working(self) -> None:
        self._need_several_connections()
        super().test_a_fork_leaves_both_working()

    def _need_several_connections(self) -> None:
        from django.db import connections

        connection: Any = connections[self.using]
        if connection.in_atomic_block or (connection.vendor == "sqlite" and connection.is_in_memory_db()):
            skip("what a test has not committed other connections do not see: mark it with django_db(transaction=True)")
