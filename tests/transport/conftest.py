"""A vendor on loopback that can be told to refuse, stall, cut the connection, or answer with any status."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest

import consentpanel
from consentpanel.testing._loopback import ENDPOINTS, LoopbackServer, reply


class FaultyVendor:
    """Keeps what it accepted; `faults` says, request by request, what to do instead."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.records: list[dict[str, Any]] = []
        self.requests: list[tuple[str, int, dict[str, str]]] = []
        self.faults: list[Any] = []
        self.always: Any = None
        self.retry_after: str | None = None
        self.largest: int | None = None
        self.refuses: Any = None
        self.refuses_credentials: Any = None
        self.poison: Any = None
        self.refusal: Any = (400, {"status": 0, "error": "no"})
        self.open = threading.Event()
        self.open.set()
        self.http = LoopbackServer(self.answer)
        self.urls = self.http.urls

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        path = urlsplit(request.path).path
        if request.headers.get("Content-Encoding") == "gzip":
            said = json.loads(gzip.decompress(body))
        else:
            said = json.loads(parse_qs(body.decode())["data"][0])
        batch = said if isinstance(said, list) else [said]
        with self.lock:
            fault = self.faults.pop(0) if self.faults else self.always
            if fault is None and self.largest is not None and len(batch) > self.largest:
                fault = 413
            self.requests.append((ENDPOINTS[path], len(batch), dict(request.headers.items())))
        if self.refuses_credentials is not None:
            signed = b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            fault = 401 if self.refuses_credentials(signed) else fault
        if fault is None and self.poison is not None and any(map(self.poison, batch)):
            self.reply(request, *self.refusal)
            return
        if fault == "stall":
            self.open.wait(10)
            fault = None
        if fault == "trickle":
            self.trickle(request)
            return
        if fault == "cut":
            request.close_connection = True
            request.connection.close()
            return
        if fault == "cut after taking":
            self.take(batch)
            request.close_connection = True
            request.connection.close()
            return
        if isinstance(fault, int):
            self.reply(request, fault, {"status": 0, "error": "no"})
            return
        if fault == "nonsense":
            self.reply(request, 200, None)
            return
        refused = [] if self.refuses is None else [n for n, record in enumerate(batch) if self.refuses(record)]
        self.take([record for n, record in enumerate(batch) if n not in refused])
        if refused:
            self.reply(request, 400, {"failed_records": [{"index": n, "message": "bad"} for n in refused]})
        else:
            self.reply(request, 200, {"status": 1, "error": None})

    def trickle(self, request: BaseHTTPRequestHandler) -> None:
        """Answers a byte at a time, for longer than anybody would wait."""
        with suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n" + b" " * 400:
                request.wfile.write(bytes([byte]))
                request.wfile.flush()
                if self.open.wait(0.05):
                    return
        request.close_connection = True

    def take(self, batch: list[dict[str, Any]]) -> None:
        with self.lock:
            self.records += batch

    def reply(self, request: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        reply(request, status, b"<html>busy</html>" if answer is None else answer, headers)

    def ids(self) -> Counter[str]:
        with self.lock:
            return Counter(record["properties"]["$insert_id"] for record in self.records)

    def wait_for(self, condition: Any, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.01)

    def close(self) -> None:
        self.open.set()
        self.http.close()


@pytest.fixture
def faulty() -> Iterator[FaultyVendor]:
    vendor = FaultyVendor()
    yield vendor
    vendor.close()


@pytest.fixture
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are asked for in seconds; a test has only the order to prove."""
    from consentpanel.transport import _line

    monkeypatch.setattr(_line, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr(_line, "_LONGEST_PAUSE", 0.05)


SHOP = """
import json, os
from consentpanel import BackgroundConsumer, BufferedConsumer, FieldPolicy, Mixpanel, SpoolConsumer

URLS = json.loads(os.environ["VENDOR_URLS"])
# Nothing leaves by itself before the process ends.
CONSUMERS = {
    "background": lambda: BackgroundConsumer(**URLS, linger=600),
    "buffered": lambda: BufferedConsumer(**URLS, max_size=500),
    "spool": lambda: SpoolConsumer("spool.db", **URLS, linger=600),
}
mp = Mixpanel("T", CONSUMERS[os.environ["CONSUMER"]](), registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())

def visit(number):
    assert mp.track("user-1", "Visited", {"$insert_id": f"visit-{number}"})
    return os.getpid()
"""


@attrs.define
class Shop:
    """A module `shop` in a folder of its own, for the processes of a test: `visit(number)` tracks a visit."""

    folder: Path
    env: dict[str, str]

    def write(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.py"
        path.write_text(text)
        return path


@pytest.fixture
def shop(tmp_path: Path, faulty: FaultyVendor, consumer: str) -> Shop:
    env = {
        "VENDOR_URLS": json.dumps(faulty.urls),
        "CONSUMER": consumer,
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(consentpanel.__file__).parents[1])]),
    }
    shop = Shop(tmp_path, env)
    shop.write("shop", SHOP)
    return shop


@pytest.fixture(scope="module")
def redis_url(services: Any) -> Iterator[str]:
    try:
        with services.redis() as url:
            yield url
    except services.MissingError as error:
        pytest.skip(str(error))


@attrs.define
class Worker:
    """A worker of jobs, in a session of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, condition: Any) -> None:
        """Waits for something that comes while the worker lives."""
        until = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, self.said()
            time.sleep(0.05)

    def wait_for_jobs(self, count: int) -> None:
        """Waits until so many jobs have tracked."""
        self.wait_for(lambda: len([*self.log.parent.glob("done-*")]) >= count)

    def ended(self, *signals: int) -> None:
        """Sends signals, and waits for the end."""
        for each in signals:
            self.process.send_signal(each)
        self.process.wait(30)

    def said(self) -> str:
        return self.log.read_text()[-3000:]


@pytest.fixture
def start_worker(shop: Shop) -> Iterator[Any]:
    started: list[Worker] = []

    def start(*command: str) -> Worker:
        path = shop.folder / "worker.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=shop.folder,
                env=shop.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started.append(Worker(process, path))
        return started[-1]

    yield start
    for each in started:
        with suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.wait()


@pytest.fixture
def deliver(shop: Shop) -> Any:
    """Has what is kept in the shop's spool delivered by a process of its own."""
    command = [sys.executable, "-m", "consentpanel", "deliver", "--client", "shop:mp", "--once"]
    return lambda: subprocess.run(command, cwd=shop.folder, env=shop.env, check=True, timeout=60)
