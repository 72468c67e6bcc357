"""Starts the servers that some tests need, each as an ordinary user in a temporary folder on a free port of loopback.

    python scripts/services.py redis

starts them, says where they are, and ends them on Ctrl-C. The programs are those of Debian's packages (redis-server, postgresql,
mariadb-server).
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
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any


class MissingError(Exception):
    """The program of a server is not on this machine; the text names Debian's package."""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server of one process, which can be restarted.

    Args:
        command: What starts it.
        folder: Its own.
        url: As its clients take it.
        answers: Whether it does; an OSError says that it does not.
    """

    def __init__(self, command: list[str], folder: Path, url: str, answers: Callable[[], bool]) -> None:
        self.url = url
        self._command, self._folder, self._answers = command, folder, answers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                user=_ordinary_user(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until(lambda: self._ended() or self._answers())
        except TimeoutError:
            raise RuntimeError(self._told()) from None
        if self._ended():
            raise RuntimeError(self._told())

    def stop(self) -> None:
        """Ends it; what is connected loses its connection."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _told(self) -> str:
        return (self._folder / "log").read_text("utf-8", "replace")[-2000:]


@contextmanager
def redis() -> Iterator[str]:
    """A Redis server that keeps nothing; its URL.

    Raises:
        MissingError: There is none on this machine.
    """
    with _redis(free_port(), "--appendonly", "no") as server:
        yield server.url


@contextmanager
def redis_kept() -> Iterator[Server]:
    """A Redis server that has its data again after a restart.

    Raises:
        MissingError: There is none on this machine.
    """
    # What was answered is with the system, so that it outlives the process, though not the machine.
    with _redis(free_port(), "--appendonly", "yes", "--appendfsync", "no") as server:
        yield server


@contextmanager
def redis_cluster() -> Iterator[str]:
    """A Redis Cluster of three masters without replicas; the URL of one of them.

    Raises:
        MissingError: There is no Redis on this machine. It must be 7 or newer.
    """
    # Each has a second port, for the others: by default the first and 10,000, which may be none.
    ports = {free_port(): free_port() for _ in range(3)}
    with ExitStack() as stack:
        for port, bus in ports.items():
            options = ["--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-announce-ip", "127.0.0.1"]
            stack.enter_context(_redis(port, *options))
        slots = [(0, 5460), (5461, 10922), (10923, 16383)]
        for port, (first, last) in zip(ports, slots, strict=True):
            _ask_redis(port, f"CLUSTER ADDSLOTSRANGE {first} {last}")
        for port, other in combinations(ports, 2):
            _ask_redis(port, f"CLUSTER MEET 127.0.0.1 {other} {ports[other]}")
        _wait_until(lambda: all("cluster_state:ok" in _ask_redis(port, "CLUSTER INFO") for port in ports))
        yield f"redis://127.0.0.1:{min(ports)}/0"


@contextmanager
def _redis(port: int, *options: str) -> Iterator[Server]:
    program = shutil.which("redis-server")
    if program is None:
        raise MissingError("redis-server is not installed (Debian's package redis-server)")
    with _folder() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
        # It says "LOADING" while it reads what it kept.
        server = Server(command, folder, f"redis://127.0.0.1:{port}/0", lambda: "PONG" in _ask_redis(port, "PING"))
        with _started(server):
            yield server


def _ask_redis(port: int, command: str) -> str:
    with socket.create_connection(("127.0.0.1", port), 5) as connection, connection.makefile() as answer:
        connection.sendall(f"{command}\r\nQUIT\r\n".encode())
        text = answer.read()
    if text.startswith("-ERR"):
        raise RuntimeError(text)
    return text


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
def mariadb() -> Iterator[Server]:
    """A MariaDB server with an empty database.

    Raises:
        MissingError: There is none on this machine.
    """
    # Debian puts the server where an ordinary user's PATH does not look.
    program = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    install = shutil.which("mariadb-install-db")
    if program is None or install is None:
        raise MissingError("MariaDB is not installed (Debian's package mariadb-server)")
    port = free_port()
    with _folder() as folder:
        options = ["--no-defaults", f"--datadir={folder}/data", f"--tmpdir={folder}", "--innodb-log-file-size=4M"]
        options += ["--innodb-flush-method=nosync", "--character-set-server=utf8mb4", "--skip-name-resolve"]
        (folder / "init.sql").write_text("CREATE DATABASE IF NOT EXISTS consent;\n", "utf-8")
        with (folder / "log").open("w") as log:
            subprocess.run(
                [install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"],
                cwd=folder,
                user=_ordinary_user(),
                check=True,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=120,
            )
        command = [program, *options, f"--port={port}", "--bind-address=127.0.0.1", "--socket=socket"]
        command += [f"--init-file={folder}/init.sql"]
        url = f"mysql+pymysql://root@127.0.0.1:{port}/consent?charset=utf8mb4"
        with _started(Server(command, folder, url, lambda: _greets(port))) as server:
            yield server


def _greets(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        return bool(connection.recv(1))


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
def _started(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(OSError):
            if condition():
                return
        time.sleep(0.02)
    raise TimeoutError


SERVICES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "redis": redis,
    "redis_cluster": redis_cluster,
    "postgresql": postgresql,
    "mariadb": mariadb,
}


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
