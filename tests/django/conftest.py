"""A Django project for the tests, on SQLite and on real servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

django = pytest.importorskip("django")

sys.path.insert(0, str(Path(__file__).with_name("project")))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from sqlalchemy.engine import make_url  # noqa: E402


def drivers() -> None:
    """Makes PyMySQL stand for mysqlclient, which has to be compiled."""
    import pymysql

    pymysql.version_info = (2, 2, 8, "final", 0)
    pymysql.install_as_MySQLdb()


ENGINES = {"postgresql": "django.db.backends.postgresql", "mysql": "django.db.backends.mysql"}


@contextmanager
def alias_of(name: str, url: str) -> Iterator[str]:
    """A database under an alias of its own, with the tables."""
    parts = make_url(url)
    if parts.get_backend_name() in {"mysql", "mariadb"}:
        drivers()
    connections.databases[name] = connections.configure_settings(
        {
            name: {
                "ENGINE": ENGINES[parts.get_backend_name().replace("mariadb", "mysql")],
                "NAME": parts.database,
                "USER": parts.username or "",
                "PASSWORD": parts.password or "",
                "HOST": parts.query.get("host") or parts.query.get("unix_socket") or parts.host or "",
                "PORT": parts.port or "",
                "OPTIONS": {"charset": "utf8mb4"}
                if "sql" in parts.get_backend_name() and parts.get_backend_name() != "postgresql"
                else {},
            },
            "default": {},
        }
    )[name]
    try:
        call_command("migrate", database=name, verbosity=0)
        yield name
    finally:
        connections[name].close()
        del connections[name]
        del connections.databases[name]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:  # that of a test case's whole class
            connection.close()


@pytest.fixture(scope="module")
def on_sqlite() -> str:
    call_command("migrate", verbosity=0)
    return "default"


@pytest.fixture(scope="module")
def on_postgresql(postgresql: Any) -> Iterator[str]:
    with alias_of("postgresql", postgresql.url) as alias:
        yield alias


@pytest.fixture(scope="module")
def on_mariadb(mariadb: Any) -> Iterator[str]:
    with alias_of("mariadb", mariadb.url) as alias:
        yield alias


@pytest.fixture(
    params=[
        "sqlite",
        *(pytest.param(each, marks=[pytest.mark.service, pytest.mark.slow]) for each in ("postgresql", "mariadb")),
    ]
)
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of each kind, with empty tables of consent."""
    name = request.getfixturevalue(f"on_{request.param}")
    empty(name)
    return name


def empty(alias: str) -> None:
    """Empties the tables of consent."""
    from django.apps import apps

    for model in apps.get_app_config("consentpanel").get_models():
        model._base_manager.using(alias).all().delete()
