"""What becomes of the transaction that a session of SQLAlchemy's is in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def is_committed(session: Any) -> Callable[[], bool | None]:
    """Asks whether the transaction in which a session is now was committed: True, or None as long as it is not.

    Args:
        session: A `Session`, an `AsyncSession`, or a scoped one of either.
    """
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    found = session if isinstance(session, Session) or hasattr(session, "sync_session") else session()
    done: list[bool] = []

    def committed(_: object) -> None:
        done.append(True)

    event.listen(getattr(found, "sync_session", found), "after_commit", committed, once=True)
    return lambda: True if done else None
