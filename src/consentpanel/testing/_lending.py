"""Connections of Django's for a thread that must see what a test has not committed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any


def lending() -> Callable[[], AbstractContextManager[None]]:
    """What another thread is to surround its questions with, to ask within the transaction of this thread's test.

    An application's threads see what is committed, and in a `TestCase` of Django's nothing ever is.
    """
    database: Any = sys.modules.get("django.db")
    if database is None:
        return nullcontext
    connections = database.connections
    try:
        here = [(alias, connections[alias]) for alias in connections if hasattr(connections._connections, alias)]  # noqa: SLF001 - no other way tells which are open
    except Exception:  # noqa: BLE001 - Django is not set up
        return nullcontext
    shared = [(alias, each) for alias, each in here if each.connection is not None and _is_a_tests(each)]
    return (lambda: _lent(connections, shared)) if shared else nullcontext


def _is_a_tests(connection: Any) -> bool:
    return bool(connection.in_atomic_block or (connection.vendor == "sqlite" and connection.is_in_memory_db()))


@contextmanager
def _lent(connections: Any, shared: list[tuple[str, Any]]) -> Generator[None, None, None]:
    for alias, each in shared:
        each.inc_thread_sharing()
        connections[alias] = each
    try:
        yield
    finally:
        for alias, each in shared:
            del connections[alias]
            each.dec_thread_sharing()
