"""Moves records from one store to another, in constant memory, and goes on after a break."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from consentpanel.errors import ConfigurationError
from consentpanel.registry._recording import StoredRegistry

#: People of whom it is asked at once.
_AT_ONCE = 500


@attrs.frozen
class Copied:
    """What was copied so far.

    Attributes:
        people: How many people were looked at, tenants and those who were forgotten with an objection included.
        records: How many records were written.
        present: How many were there already.
    """

    people: int = 0
    records: int = 0
    present: int = 0


def open_registry(url: str, *, must_exist: bool = False) -> StoredRegistry:
    """The registry at an address.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://`` for Redis; a URL of SQLAlchemy's such as
            ``postgresql+psycopg://host/shop``; anything else is the path of a SQLite file of `SQLiteRegistry`'s.
        must_exist: Whether a file that is not there is an error, and is not made.

    Raises:
        ConfigurationError: There is no such registry. The text does not quote the address, which may hold a password.
    """
    scheme = urlsplit(url).scheme.partition("+")[0]
    if scheme in {"redis", "rediss", "unix"}:
        from consentpanel.registry.redis import RedisRegistry, client_of

        return RedisRegistry(client_of(url))
    if scheme in {"postgresql", "mysql", "mariadb", "sqlite"}:
        from consentpanel.registry.sqlalchemy import SQLAlchemyRegistry

        return SQLAlchemyRegistry(url, timeout=30)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", url):
        raise ConfigurationError(
            "an address must be of redis, postgresql, mysql, mariadb or sqlite, or the path of a file"
        )
    from consentpanel.registry.sqlite import SQLiteRegistry

    if must_exist and not Path(url).is_file():
        raise ConfigurationError("there is no such file")
    return SQLiteRegistry(Path(url))


def copy_records(
    source: StoredRegistry, target: StoredRegistry, told: Callable[[Copied], object] = lambda _: None
) -> Copied:
    """Appends to a store what it lacks of another one's records, person by person, in their order of writing.

    A record is told by its id, so that a copy that broke goes on where it ended, and one that is made again copies what came
    since. Chains are made anew, and are whole. Salts of `per_subject` ids are not among the records.

    Args:
        source: Where the records are.
        target: Where they go; a record of the same id that is there already is left as it is.
        told: Is told how far it has come, after each few hundred people.

    Returns:
        What was copied.

    Raises:
        RegistryError: A store failed; what was copied before stays.
    """
    done = Copied()
    people = source.people()
    while some := list(islice(people, _AT_ONCE)):
        for scope, subject_id in some:
            here = source.scoped(scope) if scope else source
            there = target.scoped(scope) if scope else target
            records = list(here._read(subject_id))  # noqa: SLF001 - of its own kind
            known = {record.record_id for record in there._read(subject_id)}  # noqa: SLF001 - of its own kind
            missing = [record for record in records if record.record_id not in known]
            if missing:
                there._append(missing)  # noqa: SLF001 - of its own kind
            done = Copied(done.people + 1, done.records + len(missing), done.present + len(records) - len(missing))
        told(done)
    return done
