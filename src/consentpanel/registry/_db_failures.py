"""What the failures of databases mean, by the codes of PostgreSQL (SQLSTATE), MySQL and MariaDB (numbers)."""

from __future__ import annotations

from typing import Literal, TypeAlias

Meaning: TypeAlias = Literal["rolled_back", "no_table", "too_long", "locked"]

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
        ``"too_long"`` when a limit of time was over, ``"locked"`` when SQLite waited in vain for whoever writes; None for anything else.
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
    if str(cause) == "database is locked":
        return "locked"
    return "too_long" if not _TOO_LONG.isdisjoint(codes) else None


def told(error: Exception, cause: object, *, no_table: str, too_long: str) -> str:
    """What failed, by its types alone because texts hold ids, and what helps where that is known.

    Args:
        error: As a library has raised it.
        cause: The driver's error in it; None where there is none.
        no_table: What helps where a table is missing.
        too_long: What is said, or helps, where a limit of time was over.
    """
    said = type(error).__name__ if cause is None else f"{type(error).__name__} of {type(cause).__name__}"
    meaning = meaning_of(cause)
    if meaning == "rolled_back":
        return f"{said}; the server has taken the transaction back"
    if meaning == "no_table":
        return f"{said}; a table is missing: {no_table}"
    if meaning == "locked":
        return f"{said}; another transaction has the file, of this very request perhaps: commit that before"
    return f"{said}; it took longer than {too_long}" if meaning == "too_long" else said
