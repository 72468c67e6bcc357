"""Django's connections where threads and forks are concerned: which one is a thread's, and whose it is."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionDoesNotExist

from consentpanel.errors import ConfigurationError, RegistryError

IN_A_COROUTINE = (
    "the database cannot be asked in a coroutine: await the registry's method of that name with an a before it (astatus, agrant), "
    "request.consent.atrack(...), or sync_to_async(...) of the call"
)
#: Connections of a parent, which a child must neither use nor close.
_inherited: list[Any] = []
#: Those that were in the middle of a transaction of the parent's.
_in_the_middle: set[int] = set()


def connection_of(alias: str) -> BaseDatabaseWrapper:
    """The connection of this thread.

    Raises:
        ConfigurationError: There is no such database.
        RegistryError: It is in a transaction of the process from which this one was forked.
    """
    problem = ""
    try:
        found = connections[alias]
    except ConnectionDoesNotExist:
        problem = f"there is no database {alias!r} in DATABASES"
    else:
        if id(found) in _in_the_middle and found.connection is not None:
            raise RegistryError("this process was forked in the middle of a transaction, which is the parent's")
        return found
    raise ConfigurationError(problem)


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether a caller has begun a transaction."""
    is_alone = connection.settings_dict["AUTOCOMMIT"] if connection.connection is None else connection.autocommit
    return connection.in_atomic_block or not is_alone


@contextmanager
def closing_what_opens(alias: str) -> Generator[None, None, None]:
    """Until this ends a thread asks that is no request's: what it opens is closed."""
    connection = connections[alias]
    was_open = connection.connection is not None
    try:
        yield
    finally:
        if not was_open and not connection.in_atomic_block:
            connection.close()


def _leave_to_the_parent() -> None:
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block:
            _in_the_middle.add(id(connection))
        else:
            # Not closed, which would end it for the parent; both would read each other's answers.
            _inherited.append(connection.connection)
            connection.connection = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
