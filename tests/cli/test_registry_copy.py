"""Records move between any two stores (contract rule 9.8)."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from consentpanel import ConsentRecord, ConsentStatus
from consentpanel._cli import main
from consentpanel.registry import MemoryRegistry, SQLiteRegistry
from consentpanel.registry._copying import copy_records, open_registry

GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED
SECRET = b"0123456789abcdef0123456789abcdef"


def fill(registry: Any) -> None:
    said = datetime(2026, 5, 1, 12, 0, 0, 7, tzinfo=timezone.utc)
    for number in range(30):
        registry.record(ConsentRecord(f"user-{number} {{é}}/:%", "analytics", GRANTED, said, evidence={"n": number}))
        registry.record(ConsentRecord(f"user-{number} {{é}}/:%", "analytics", DENIED, said - timedelta(seconds=9)))
    registry.scoped("tenant").grant("user-0", language="de")
    registry.deny("gone")
    registry.forget("gone")


def everything(registry: Any) -> dict[tuple[str, str], list[ConsentRecord]]:
    found = {}
    for scope, subject_id in registry.people():
        place = registry.scoped(scope) if scope else registry
        assert place.verify(subject_id)
        found[scope, subject_id] = place.history(subject_id)
    return found


@pytest.fixture
def source(tmp_path):
    with SQLiteRegistry(tmp_path / "from.db", objection_key=SECRET) as registry:
        fill(registry)
        yield registry


def test_a_copy_is_whole_and_is_made_once(tmp_path, source, capsys):
    pytest.importorskip("sqlalchemy")
    target = f"sqlite:///{tmp_path}/to-by-sqlalchemy.db"
    command = ["registry", "copy", str(tmp_path / "from.db"), target]
    assert main(command) == 0
    found = capsys.readouterr()
    assert found.out == "32 people: 66 records copied, 0 were there already\n"
    assert "32 people, 66 records copied" in found.err
    with open_registry(target) as registry:
        assert everything(registry) == everything(source)
    source.deny("user-new", "analytics")
    assert main([*command, "--quiet"]) == 0
    found = capsys.readouterr()
    assert (found.out, found.err) == ("33 people: 1 records copied, 66 were there already\n", "")
    back = str(tmp_path / "back.db")
    assert main(["registry", "copy", target, back, "--quiet"]) == 0
    with SQLiteRegistry(back) as registry:
        assert everything(registry) == everything(source)


def test_a_copy_that_broke_goes_on(source):
    target = MemoryRegistry()
    append, left = target._append, [10]

    def failing(records):
        left[0] -= 1
        if left[0] < 0:
            raise OSError("broken")
        append(records)

    target._append = failing
    with pytest.raises(OSError, match="broken"):
        copy_records(source, target)
    del target._append
    done = copy_records(source, target)
    assert (done.records > 0, done.present > 0, done.records + done.present) == (True, True, 66)
    assert everything(target) == everything(source)


@pytest.mark.service
@pytest.mark.slow
def test_a_copy_to_redis_and_back(tmp_path, source, services):
    pytest.importorskip("redis")
    try:
        with services.redis() as url:
            assert main(["registry", "copy", str(tmp_path / "from.db"), url, "--quiet"]) == 0
            assert main(["registry", "copy", url, str(tmp_path / "back.db"), "--quiet"]) == 0
    except services.MissingError as error:
        pytest.skip(str(error))
    with SQLiteRegistry(tmp_path / "back.db") as registry:
        assert everything(registry) == everything(source)


@pytest.mark.parametrize(
    "address", ["ftp://user:hush@host/x", "postgresql+unheard://user:hush@host/x", "/nowhere/consent.db"]
)
def test_an_address_that_leads_nowhere_is_told_without_its_password(tmp_path, address, capsys):
    assert main(["registry", "copy", str(tmp_path / "from.db"), address]) == 2
    found = capsys.readouterr()
    assert "hush" not in found.out + found.err
    assert main(["registry", "copy", str(tmp_path / "missing.db"), str(tmp_path / "a.db")]) == 2
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.db").touch()
    assert main(["registry", "copy", str(tmp_path / "a.db"), str(tmp_path / "a.db")]) == 2


def test_a_store_that_fails_ends_with_1(tmp_path, capsys):
    pytest.importorskip("psycopg")
    (tmp_path / "from.db").touch()
    assert main(["registry", "copy", str(tmp_path / "from.db"), "postgresql+psycopg://nobody:hush@127.0.0.1:1/x"]) == 1
    found = capsys.readouterr()
    assert "not everything was copied" in found.err
    assert "hush" not in found.err


def test_memory_is_constant(tmp_path):
    code = (
        "import sys, tracemalloc; from consentpanel.registry import SQLiteRegistry\n"
        "from consentpanel import ConsentRecord, ConsentStatus\n"
        "from consentpanel.registry._copying import copy_records\n"
        "source, target = SQLiteRegistry(sys.argv[1]), SQLiteRegistry(sys.argv[2])\n"
        "source.record_many([ConsentRecord(f'user-{n}', 'analytics', ConsentStatus.GRANTED) for n in range(4000)])\n"
        "copy_records(source, target); target.forget('user-1')\n"
        "tracemalloc.start(); copy_records(source, target); print(tracemalloc.get_traced_memory()[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.db"), str(tmp_path / "b.db")]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak < 2_000_000  # a page of people, whatever their number
