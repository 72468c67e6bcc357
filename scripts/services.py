"""Starts the servers that some tests need, each as an ordinary user in a temporary folder on a free port of loopback.

    python scripts/services.py redis

starts them, says where they are, and ends them on Ctrl-C. The programs are those of Debian's packages (redis-server, postgresql).
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any


class MissingError(Exception):
    """The program of a server is not on this machine; the text names Debian's package."""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis() -> Iterator[str]:
    """A Redis server; its URL.

    Raises:
        MissingError: There is none on this machine.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise MissingError("redis-server is not installed (Debian's package redis-server)")
    port = free_port()
    with _folder() as folder:
        command = [
            program,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(folder),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        with _running(command, folder):
            _wait_for(port)
            yield f"redis://127.0.0.1:{port}/0"


class PostgreSQL:
    """A PostgreSQL server that can be restarted.

    Args:
        programs: Where its programs are.
        folder: Its own.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._port = free_port()
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions")

    @property
    def url(self) -> str:
        """As SQLAlchemy takes it, with psycopg 3."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c fsync=off -c unix_socket_directories=''"
        self._run("pg_ctl", "start", "-w", "-D", "data", "-l", "log", "-o", options)

    def stop(self) -> None:
        """Ends it; what is connected loses its connection."""
        self._run("pg_ctl", "stop", "-w", "-D", "data", "-m", "fast")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(
            command, cwd=self._folder, user=_ordinary_user(), check=True, stdout=subprocess.DEVNULL, timeout=120
        )


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server.

    Raises:
        MissingError: There is none on this machine.
    """
    # Debian puts the programs of each version into a folder of its own.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or [Path(shutil.which("pg_ctl") or "")]
    if not found[-1].is_file():
        raise MissingError("PostgreSQL is not installed (Debian's package postgresql)")
    with _folder() as folder:
        server = PostgreSQL(found[-1].parent, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if (user := _ordinary_user()) is not None:
            shutil.chown(folder, user)
        yield folder


def _ordinary_user() -> str | None:
    """Whom to run as: nobody in particular, where this is root."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("nobody").pw_name


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, user=_ordinary_user(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


SERVICES: dict[str, Callable[[], AbstractContextManager[Any]]] = {"redis": redis, "postgresql": postgresql}


def main(names: list[str]) -> int:
    """Starts the servers that are named, or all."""
    with ExitStack() as stack:
        for name in names or SERVICES:
            server = stack.enter_context(SERVICES[name]())
            print(name, getattr(server, "url", server), flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
