"""Who remembers answers of a store, to be told of each write to it in this process."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Hashable
from typing import Any, Protocol


class Watcher(Protocol):
    """Remembers answers."""

    def notice(self, subject_ids: Collection[Any], *, is_settled: bool = True) -> None:
        """Forgets the answers about some people; raises nothing.

        Args:
            subject_ids: The people.
            is_settled: Whether the write is done: in a transaction of the caller's it shows only later.
        """


_WATCHERS: weakref.WeakKeyDictionary[Any, Hashable] = weakref.WeakKeyDictionary()


def store_of(registry: Any) -> Hashable:
    """What tells the store of a registry from every other one of the process; two registries of the package's may have one."""
    # By the class, because a proxy or a mock has every attribute.
    store: Hashable = None
    if hasattr(type(registry), "_store_of_consent"):
        store = registry._store_of_consent  # noqa: SLF001 - shared inside the package
    return id(registry) if store is None else store


def is_heard(registry: Any) -> bool:
    """Whether each write to a registry in this process is told of; to one of anybody's only those by a client are."""
    kind = type(registry)
    if hasattr(kind, "_stands_before"):
        return is_heard(registry._stands_before)  # noqa: SLF001 - shared inside the package
    return getattr(kind, "_tells_of_writes", False) is True


def watch(watcher: Watcher, registry: Any) -> None:
    """Has a watcher told of what is written to the store of a registry, while it lives.

    Args:
        watcher: Whom to tell.
        registry: The registry.
    """
    _WATCHERS[watcher] = store_of(registry)


def tell(registry: Any, subject_ids: Collection[Any], *, is_settled: bool = True) -> None:
    """Tells those who remember answers of a registry's store of a write to it.

    Args:
        registry: The one that has written.
        subject_ids: Of whom.
        is_settled: Whether the write is done; one in a transaction of the caller's is not.
    """
    store = store_of(registry)
    # A list at once, because another thread may watch meanwhile.
    for reference in _WATCHERS.keyrefs():
        watcher = reference()
        if watcher is not None and _WATCHERS.get(watcher) == store:
            watcher.notice(subject_ids, is_settled=is_settled)
