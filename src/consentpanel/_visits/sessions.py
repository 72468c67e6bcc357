"""What becomes of the transaction that a session or connection of SQLAlchemy's is in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def is_committed(within: Any) -> Callable[[], bool | None]:
    """Asks whether the transaction that a session or connection is in now was committed: True, or None where it was not, or not yet.

    Args:
        within: A `Session`, an `AsyncSession`, a scoped one of either, a `Connection` or an `AsyncConnection`.
    """
    from sqlalchemy import Connection, event
    from sqlalchemy.orm import Session

    found = getattr(within, "sync_session", None) or getattr(within, "sync_connection", None) or within
    if not isinstance(found, (Session, Connection)):
        # A scoped one.
        found = within()
        found = getattr(found, "sync_session", found)
    root = found.get_transaction()
    done: list[bool] = []

    def committed(_: object) -> None:
        # Not a savepoint of it, and not one that came after it was rolled back.
        if found.get_nested_transaction() is None and found.get_transaction() is root:
            done.append(True)

    event.listen(found, "after_commit" if isinstance(found, Session) else "commit", committed)
    return lambda: True if done else None
