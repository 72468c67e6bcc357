"""A file that holds people is open to its owner alone, with the files that SQLite puts beside it (rule 3.9)."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from consentpanel import _log
from consentpanel.registry import SQLiteRegistry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the operating system has no such modes")


@pytest.fixture(autouse=True)
def _warnings() -> Iterator[None]:
    _log.forget_warnings()
    yield
    _log.forget_warnings()


def modes(directory: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir() if each.is_file()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_the_files_are_open_to_their_owner_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    code = (
        "import os, sys; os.umask(int(sys.argv[2])); from consentpanel.registry import SQLiteRegistry;"
        "registry = SQLiteRegistry(sys.argv[1]); registry.grant('user-1'); registry.salts['user-1'] = 'salt';"
        "registry.forget('user-1'); registry.grant('user-1'); print('made', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "consent.db"), str(umask)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "made\n"
        assert modes(tmp_path) == dict.fromkeys(["consent.db", "consent.db-wal", "consent.db-shm"], 0o600)
        process.communicate("\n")


def test_a_file_behind_a_link_is_made_for_its_owner_too(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "there.db")
    with SQLiteRegistry(tmp_path / "link.db") as registry:
        registry.grant("user-1")
        assert stat.S_IMODE((tmp_path / "there.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604])
def test_a_wider_mode_of_a_file_that_exists_is_warned_of_once_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    path = tmp_path / "ada-lovelace.db"
    SQLiteRegistry(path).close()
    path.chmod(mode)
    with caplog.at_level(logging.WARNING, "consentpanel"):
        for _ in range(2):
            SQLiteRegistry(path).close()
    assert [record.getMessage() for record in caplog.records] == [
        f"a consent file is open to other users of this machine (mode {mode:04o}): chmod 600 it"
    ]
    assert modes(tmp_path) == {path.name: mode}


def test_a_file_of_its_owner_alone_is_not_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        SQLiteRegistry(tmp_path / "consent.db").close()
    assert caplog.records == []


def test_threads_may_make_the_file_at_once(tmp_path: Path) -> None:
    def make(number: int) -> None:
        with SQLiteRegistry(tmp_path / "consent.db", timeout=60) as registry:
            registry.grant(f"user-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(16)))
    with SQLiteRegistry(tmp_path / "consent.db") as registry:
        assert {registry.status(f"user-{number}", "analytics").name for number in range(16)} == {"GRANTED"}
