"""What was answered with "sent" arrives, however a worker of jobs ends its processes (contract rule 8.1)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.service]

CELERY = """
from celery import Celery
import consentpanel.celery
import shop

app = Celery("shop", broker=__import__("os").environ["REDIS"])
app.conf.worker_hijack_root_logger = False
app.conf.broker_connection_retry_on_startup = True
consentpanel.celery.install(app)

@app.task(name="visit")
def visit(number):
    shop.visit(number)
    open(f"done-{number}", "w").close()
"""
RQ = """
import consentpanel.rq
import shop

consentpanel.rq.install()

def visit(number):
    shop.visit(number)
    open(f"done-{number}", "w").close()
"""


def celery(queue: str, options: list[str]) -> list[str]:
    """The command of a worker."""
    command = ["celery", "-A", "shop_tasks", "worker", "-Q", queue, *options, "--without-mingle", "--without-gossip"]
    return [sys.executable, "-m", *command]


def wait_for_jobs(folder: Path, count: int, worker: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 90
    while len([*folder.glob("done-*")]) < count:
        assert worker.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)


def ended(worker: subprocess.Popen[bytes]) -> bytes:
    try:
        return worker.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.communicate()
        raise


POOLS = {
    "prefork": ["-P", "prefork", "-c", "2"],
    "prefork, recycled": ["-P", "prefork", "-c", "2", "--max-tasks-per-child", "5"],
    "threads": ["-P", "threads", "-c", "4"],
    "solo": ["-P", "solo"],
    "gevent": ["-P", "gevent", "-c", "4"],
}


@pytest.mark.parametrize(
    ("consumer", "options"),
    [
        *(pytest.param("background", options, id=name) for name, options in POOLS.items()),
        pytest.param("buffered", POOLS["prefork, recycled"], id="buffered, recycled"),
    ],
)
def test_under_celery(
    tmp_path: Path, shop: Any, faulty: Any, needs: Any, consumer: str, redis_url: str, options: list[str]
) -> None:
    needs("celery", "redis", *(["gevent"] if "gevent" in options else []))
    shop.write("shop_tasks", CELERY)
    env = {**shop.env, "REDIS": redis_url}
    count = 50
    send = f"from shop_tasks import visit\nfor number in range({count}): visit.apply_async([number], queue={tmp_path.name!r})\n"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=env, check=True, timeout=60)
    worker = subprocess.Popen(
        celery(tmp_path.name, options), cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_for_jobs(tmp_path, count, worker)
        worker.send_signal(signal.SIGTERM)
    finally:
        said = ended(worker)
    assert faulty.ids() == {f"visit-{number}": 1 for number in range(count)}, said.decode()[-2000:]


DELIVER = [sys.executable, "-m", "consentpanel", "deliver", "--client", "shop:mp", "--once"]


@pytest.mark.parametrize("consumer", ["spool"])
@pytest.mark.parametrize("options", [POOLS["prefork"], POOLS["threads"]], ids=["prefork", "threads"])
def test_a_celery_worker_that_is_killed_has_kept_all_in_its_spool(
    tmp_path: Path, shop: Any, faulty: Any, needs: Any, redis_url: str, options: list[str]
) -> None:
    # rule 8.2
    needs("celery", "redis")
    shop.write("shop_tasks", CELERY)
    env = {**shop.env, "REDIS": redis_url, "QUEUE": tmp_path.name}
    send = "import os\nfrom shop_tasks import visit\nfor number in range(50): visit.apply_async([number], queue=os.environ['QUEUE'])\n"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=env, check=True, timeout=60)
    with (tmp_path / "worker.log").open("w") as log:
        worker = subprocess.Popen(
            celery(tmp_path.name, options), cwd=tmp_path, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for_jobs(tmp_path, 50, worker)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    subprocess.run(DELIVER, cwd=tmp_path, env=env, check=True, timeout=60)
    assert faulty.ids() == {f"visit-{number}": 1 for number in range(50)}


@pytest.mark.parametrize(
    ("consumer", "kind"),
    [
        *(("background", f"rq.worker.{name}") for name in ("Worker", "SpawnWorker", "SimpleWorker")),
        ("buffered", "rq.worker.Worker"),
    ],
)
def test_under_rq(tmp_path: Path, shop: Any, faulty: Any, needs: Any, consumer: str, redis_url: str, kind: str) -> None:
    needs("rq", "redis")
    shop.write("shop_jobs", RQ)
    env = {**shop.env, "REDIS": redis_url}
    count = 5
    send = (
        "import os\nfrom redis import Redis\nfrom rq import Queue\n"
        f"queue = Queue({tmp_path.name!r}, connection=Redis.from_url(os.environ['REDIS']))\n"
        f"for number in range({count}): queue.enqueue('shop_jobs.visit', number)\n"
    )
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=env, check=True, timeout=60)
    command = [
        "rq.cli",
        "worker",
        tmp_path.name,
        "--url",
        redis_url,
        "--worker-class",
        kind,
        "--burst",
        "--path",
        str(tmp_path),
    ]
    worker = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = ended(worker)
    assert faulty.ids() == {f"visit-{number}": 1 for number in range(count)}, said.decode()[-3000:]
