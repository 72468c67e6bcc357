"""A `BackgroundConsumer` under gunicorn: a graceful reload loses nothing (contract rule 5.2)."""

from __future__ import annotations

import http.client
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import consentpanel

APP = """
import json, os
from consentpanel import BackgroundConsumer, FieldPolicy, Mixpanel

URLS = json.loads(os.environ["VENDOR_URLS"])
mp = Mixpanel(
    "T",
    BackgroundConsumer(**URLS, linger=0.3),
    registry=lambda subject_id, purpose: True,
    policy=FieldPolicy.keep_all(),
)


def app(environ, start_response):
    number = environ["PATH_INFO"].strip("/")
    decision = mp.track("user-1", "Visited", {"$insert_id": "visit-" + number}) if number else True
    start_response("200 OK" if decision else "503 Unavailable", [("Content-Length", "0")])
    return []
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed")
@pytest.mark.parametrize("preload", [True, False])
def test_no_message_is_lost_on_a_graceful_reload(tmp_path: Path, faulty: Any, preload: bool) -> None:
    (tmp_path / "shop_app.py").write_text(APP)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "--log-level", "error"]
    server = subprocess.Popen(
        [*command, *(["--preload"] if preload else []), "shop_app:app"],
        cwd=tmp_path,
        env={
            "VENDOR_URLS": json.dumps(faulty.urls),
            "PATH": "/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(Path(consentpanel.__file__).parents[1]),
        },
        stderr=subprocess.PIPE,
    )

    def visit(number: int) -> int:
        for _ in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", f"/{number}" if number else "/")
                return connection.getresponse().status
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()
        raise TimeoutError

    try:
        assert visit(0) == 200
        for number in range(1, 301):
            if number == 100:
                server.send_signal(signal.SIGHUP)
            assert visit(number) == 200
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=60)
    assert errors == b""
    assert set(faulty.ids()) == {f"visit-{number}" for number in range(1, 301)}
