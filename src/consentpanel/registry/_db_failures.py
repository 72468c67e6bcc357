"""What the failures of databases mean, by the codes of PostgreSQL (SQLSTATE), MySQL and MariaDB (numbers)."""

from __future__ import annotations

from typing import Literal, TypeAlias

Meaning: TypeAlias = Literal["rolled_back", "no_table", "too_long"]

#: Deadlock, failed serialization, a record that has changed, and a savepoint that is gone together with its transaction.
_ROLLED_BACK = frozenset({"40P01", "40001", 1213, 1020, 1305})
_NO_TABLE = frozenset({"42P01", 1146})
_TOO_LONG = frozenset({"57014", "55P03", 1205, 1969, 3024})


def meaning_of(cause: object) -> Meaning | None:
    """What an error of a driver's means.

    Args:
        cause: The driver's error; None where there is none.

    Returns:
        ``"rolled_back"`` when the server has taken the whole transaction back because another was in its way, ``"no_table"``,
        ``"too_long"`` when a limit of time was over; None for anything else.
    """
    codes = {
        each
        for each in (getattr(cause, "sqlstate", None), *getattr(cause, "args", ())[:1])
        if isinstance(each, (str, int))
    }
    if not _ROLLED_BACK.isdisjoint(codes):
        return "rolled_back"
    if not _NO_TABLE.isdisjoint(codes) or str(cause).startswith("no such table"):
        return "no_table"
    return "too_long" if not _TOO_LONG.isdisjoint(codes) else None
