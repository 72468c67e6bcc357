"""Consent in a database that restarts: what was answered with "sent" arrives all the same (contract rules 8.3 and 8.4)."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import consentpanel

pytestmark = [pytest.mark.slow, pytest.mark.service]

APP = """
import json, os
from contextlib import contextmanager
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker
from consentpanel import BackgroundConsumer, FieldPolicy, Mixpanel

# Of each thread a session that keeps its connection, as an application has it.
Session = scoped_session(sessionmaker(create_engine(os.environ["DATABASE"], pool_size=2, max_overflow=20)))

def allowed(subject_id, purpose):
    query = text("SELECT allowed FROM consent WHERE subject = :subject AND purpose = :purpose")
    return Session.scalar(query, {"subject": subject_id, "purpose": str(purpose)})

@contextmanager
def scope():
    try:
        yield
    finally:
        Session.remove()

mp = Mixpanel("T", BackgroundConsumer(**json.loads(os.environ["VENDOR_URLS"]), linger=0.2), registry=allowed,
    policy=FieldPolicy.keep_all(), context=scope)

def app(environ, start_response):
    number = environ["PATH_INFO"].strip("/")
    with scope():
        decision = mp.track("user-1", "Visited", {"$insert_id": "visit-" + number})
        held = Session.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE datname = 'postgres'")) if decision else 0
    start_response("200 OK" if decision else "503 Unavailable", [("X-Connections", str(held)), ("Content-Length", "0")])
    return []
"""


def test_under_gunicorn_with_postgresql_that_restarts(tmp_path: Path, faulty: Any, needs: Any, services: Any) -> None:
    needs("gunicorn", "sqlalchemy", "psycopg")
    from sqlalchemy import create_engine, text

    (tmp_path / "shop_app.py").write_text(APP)
    port = services.free_port()
    try:
        with services.postgresql() as database, (tmp_path / "log").open("w") as log:
            engine = create_engine(database.url)
            with engine.begin() as connection:
                connection.execute(text("CREATE TABLE consent (subject text, purpose text, allowed boolean)"))
                connection.execute(text("INSERT INTO consent VALUES ('user-1', 'analytics', true)"))
            engine.dispose()
            env = {
                "VENDOR_URLS": json.dumps(faulty.urls),
                "DATABASE": database.url,
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(consentpanel.__file__).parents[1]),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            command = [
                "gunicorn",
                "-k",
                "gthread",
                "-w",
                "1",
                "--threads",
                "4",
                "-b",
                f"127.0.0.1:{port}",
                "shop_app:app",
            ]
            server = subprocess.Popen([sys.executable, "-m", *command], cwd=tmp_path, env=env, stderr=log)

            def visit(number: int) -> tuple[bool, int]:
                for _ in range(200):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                    try:
                        connection.request("GET", f"/{number}")
                        answer = connection.getresponse()
                        return answer.status == 200, int(answer.headers["X-Connections"])
                    except OSError:
                        time.sleep(0.05)
                    finally:
                        connection.close()
                raise TimeoutError

            try:
                sent = {number for number in range(20) if visit(number)[0]}
                faulty.wait_for(lambda: len(faulty.ids()) == 20)
                more = {number for number in range(20, 40) if visit(number)[0]}
                database.stop()
                assert not visit(999)[0]
                time.sleep(1)
                database.start()
                answers = {number: visit(number) for number in range(40, 80)}
                sent |= more | {number for number, (is_sent, _) in answers.items() if is_sent}
                # Of connections that broke at most one answer each is lost, and says so.
                assert len(sent) >= 70
                faulty.wait_for(lambda: len(faulty.ids()) >= len(sent), 60)
                # Four threads that answer, and those that deliver give theirs back.
                assert max(held for _, held in answers.values()) <= 8
            finally:
                server.terminate()
                server.wait(30)
    except services.MissingError as error:
        pytest.skip(str(error))
    assert faulty.ids() == {f"visit-{number}": 1 for number in sent}, (tmp_path / "log").read_text()[-2000:]
