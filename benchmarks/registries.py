"""What the registries of several machines cost: a look-up among many people, many look-ups at once, grants a second, and storage.

    python -m benchmarks.registries --people 1000 333334 3333334

A person has three records. Of the people of a database the first 5,000 are written as the registry writes, and the others copied from
them by the server, with ids of their own: their chains would not verify, which no look-up reads.

Each server is Debian's, on this machine and over loopback, with nothing synchronised to the disk: a network and a disk come on top.
What compares is how a look-up grows with the number of records, in one run.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import LargeBinary, cast, func, select, text

from consentpanel import ConsentRecord, ConsentStatus
from consentpanel._consent.chain import link
from consentpanel.registry import RedisRegistry, SQLAlchemyRegistry, SQLiteRegistry
from consentpanel.registry._rows import COLUMNS, row_of

_BATCH = 5_000


def main() -> None:
    """Measures each registry at each number of people, three records each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--people", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--only", nargs="+", default=["sqlite", "postgresql", "mariadb", "redis"])
    arguments = parser.parse_args()
    print(
        f"{'':12}{'people':>10}{'status':>12}{'statuses(1000)':>16}{'grants/s':>10}{'grants/s x4':>13}{'bytes/person':>14}"
    )
    for name in arguments.only:
        for people in arguments.people:
            with _registry(name) as (registry, size):
                before = size()
                _fill(registry, people)
                if isinstance(registry, SQLAlchemyRegistry) and registry._engine.dialect.name == "postgresql":  # noqa: SLF001 - a measurement
                    # As its autovacuum does a minute later.
                    with registry._engine.begin() as connection:  # noqa: SLF001 - the same
                        connection.execute(text("ANALYZE"))
                each = (size() - before) // people
                status, several, one, four = _measured(registry, people)
                print(
                    f"{name:12}{people:>10,}{status:>9.0f} us{several:>13.1f} ms{one:>10,.0f}{four:>13,.0f}{each:>14,}",
                    flush=True,
                )


def _measured(registry: Any, people: int) -> tuple[float, float, float, float]:
    chance = random.Random(1)  # noqa: S311 - the same people in each run
    asked = [_name(chance.randrange(people)) for _ in range(2_000)]
    for who in asked[:200]:
        registry.status(who, "analytics")
    times = []
    for who in asked:
        start = time.perf_counter()
        registry.status(who, "analytics")
        times.append(time.perf_counter() - start)
    several = []
    for _ in range(5):
        start = time.perf_counter()
        registry.statuses(asked[:1_000], "analytics")
        several.append(time.perf_counter() - start)
    start = time.perf_counter()
    for who in asked[:300]:
        registry.grant(who, "analytics")
    one = 300 / (time.perf_counter() - start)
    threads = [
        threading.Thread(target=lambda some=asked[first::4][:150]: [registry.grant(who, "analytics") for who in some])
        for first in range(4)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    four = 600 / (time.perf_counter() - start)
    return statistics.median(times) * 1e6, statistics.median(several) * 1e3, one, four


def _fill(registry: Any, people: int) -> None:
    """Writes three records of each person."""
    for first in range(0, people, _BATCH):
        if isinstance(registry, SQLAlchemyRegistry) and first:
            _copy_tables(registry, f"user-{first // _BATCH}-", min(_BATCH, people - first))
            continue
        names = [_name(number) for number in range(first, min(first + _BATCH, people))]
        records = {
            name: [
                ConsentRecord(name, purpose, ConsentStatus.GRANTED)
                for purpose in ("analytics", "profiles", "feature_flags")
            ]
            for name in names
        }
        if isinstance(registry, SQLAlchemyRegistry):
            _fill_tables(registry, records)
        else:
            for some in range(0, len(names), 100):
                registry.record_many([each for name in names[some : some + 100] for each in records[name]])


def _name(number: int) -> str:
    return f"user-{number // _BATCH}-{number % _BATCH:04}"


def _copy_tables(registry: SQLAlchemyRegistry, prefix: str, count: int) -> None:
    """Copies the rows of the first people to others of another prefix."""
    tables = registry._tables  # noqa: SLF001 - a row by row copy would take hours
    with registry._engine.begin() as connection:  # noqa: SLF001 - the same
        for table in (tables.record, tables.standing, tables.chain):
            who = table.c.subject_id
            theirs: Any = func.concat(prefix, func.substr(who, len("user-0-") + 1))
            if connection.dialect.name in {"mysql", "mariadb"}:
                theirs = cast(theirs, LargeBinary)
            columns = [theirs if column is who else column for column in table.c]
            first = select(*columns).where(table.c.scope == "", who >= "user-0-", who < f"user-0-{count:04}")
            connection.execute(table.insert().from_select([each.name for each in table.c], first))


def _fill_tables(registry: SQLAlchemyRegistry, records: dict[str, list[ConsentRecord]]) -> None:
    tables = registry._tables  # noqa: SLF001 - a row by row copy would take hours
    rows, standings, ends = [], [], []
    for name, several in records.items():
        last = ""
        for position, record in enumerate(several):
            last = link(last, record)
            row = dict(zip(COLUMNS, row_of(record), strict=True))
            rows.append({**row, "scope": "", "position": position, "link": last})
            names = ("subject_id", "purpose", "status", "recorded_at", "expires_at", "policy_version")
            standings.append({**{each: row[each] for each in names}, "scope": "", "counts_from": row["recorded_at"]})
        ends.append(
            {
                "scope": "",
                "subject_id": name,
                "length": len(several),
                "link": last,
                "latest_at": rows[-1]["recorded_at"],
            }
        )
    with registry._engine.begin() as connection:  # noqa: SLF001 - the same
        connection.execute(tables.record.insert(), rows)
        connection.execute(tables.standing.insert(), standings)
        connection.execute(tables.chain.insert(), ends)


@contextmanager
def _registry(name: str) -> Generator[tuple[Any, Any], None, None]:
    """A registry in which nothing is recorded, and what tells the bytes of its store."""
    servers = services()
    with tempfile.TemporaryDirectory() as folder:
        if name == "sqlite":
            path = Path(folder) / "consent.db"
            with SQLiteRegistry(path) as registry:
                yield registry, lambda: sum(each.stat().st_size for each in Path(folder).iterdir())
            return
        if name == "redis":
            import redis

            with servers.redis() as url:
                client = redis.Redis.from_url(url, socket_timeout=60)
                yield RedisRegistry(client), lambda: int(client.info("memory")["used_memory"])
                client.close()
            return
        with getattr(servers, name)() as server, SQLAlchemyRegistry(server.url, timeout=60) as by_tables:
            by_tables.create_tables()
            yield by_tables, lambda: _table_bytes(by_tables)


def _table_bytes(registry: SQLAlchemyRegistry) -> int:
    if registry._engine.dialect.name == "postgresql":  # noqa: SLF001 - a measurement
        query = (
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'consentpanel%' AND relkind = 'r'"
        )
    else:
        query = "SELECT sum(data_length + index_length) FROM information_schema.tables WHERE table_name LIKE 'consentpanel%'"
    with registry._engine.begin() as connection:  # noqa: SLF001 - a measurement
        if registry._engine.dialect.name != "postgresql":  # noqa: SLF001 - the same
            # Else it tells the sizes of some time ago.
            for table in registry.metadata.tables:
                connection.execute(text(f"ANALYZE TABLE {table}")).all()
        return int(connection.execute(text(query)).scalar() or 0)


def services() -> Any:
    """The module that starts servers."""
    path = Path(__file__).parents[1] / "scripts" / "services.py"
    spec = importlib.util.spec_from_file_location("consentpanel_services", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
