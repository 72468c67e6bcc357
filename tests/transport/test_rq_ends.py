"""However RQ ends the process of a job, each message that it has tracked arrives once, or is kept (contract rules 11.3 and 8.1)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.service]

JOBS = """
import os, time
import consentpanel.rq
import shop

consentpanel.rq.install()

def visit(number, rest=0.0):
    shop.visit(number)
    with open(f"done-{number}", "w") as done:
        done.write(str(os.getpid()))
    time.sleep(rest)
"""
#: As RQ advises, so that not each job imports its modules anew: https://python-rq.org/docs/workers/.
PRELOADED = """
import shop_jobs
from rq.worker import Worker
"""
RESTS = "queue.enqueue('shop_jobs.visit', 0, 60, job_id=name)"


@pytest.fixture
def queue(tmp_path: Path, shop: Any, redis_url: str, needs: Any) -> Callable[[str], None]:
    """Does something with jobs in another process, as a web server would."""
    needs("rq", "redis")
    shop.write("shop_jobs", JOBS)
    shop.write("preloaded", PRELOADED)
    shop.env["REDIS"] = redis_url
    begin = (
        "import os\nfrom redis import Redis\nfrom rq import Queue\nfrom rq.command import send_stop_job_command\n"
        f"name = {tmp_path.name!r}\nconnection = Redis.from_url(os.environ['REDIS'])\nqueue = Queue(name, connection=connection)\n"
    )

    def run(code: str) -> None:
        subprocess.run([sys.executable, "-c", begin + code], cwd=tmp_path, env=shop.env, check=True, timeout=60)

    return run


@pytest.fixture
def rq(tmp_path: Path, redis_url: str, start_worker: Any) -> Callable[..., Any]:
    def start(command: str, *options: str) -> Any:
        return start_worker("rq.cli", command, tmp_path.name, "--url", redis_url, "--path", str(tmp_path), *options)

    return start


def horse_of(worker: Any) -> int:
    """The process in which the first job runs, once that has tracked."""
    done = worker.log.parent / "done-0"
    worker.wait_for(lambda: done.exists() and done.read_text())
    return int(done.read_text())


@pytest.mark.parametrize(
    ("consumer", "kind"),
    [
        ("background", "rq.worker.Worker"),
        ("buffered", "rq.worker.SimpleWorker"),
    ],
)
def test_what_a_job_has_tracked_arrives_though_it_takes_too_long(faulty: Any, queue: Any, rq: Any, kind: str) -> None:
    # rule 11.3
    queue("queue.enqueue('shop_jobs.visit', 0, 60, job_timeout=1)")
    worker = rq("worker", "--worker-class", kind)
    worker.wait_for(lambda: "exceeded maximum timeout" in worker.said())
    worker.ended(signal.SIGTERM)
    assert faulty.ids() == {"visit-0": 1}, worker.said()


@pytest.mark.parametrize(
    ("consumer", "kind"),
    [
        ("background", "rq.worker.Worker"),
        ("buffered", "preloaded.Worker"),
        ("buffered", "rq.worker.SpawnWorker"),
    ],
)
def test_what_a_job_has_tracked_arrives_though_its_process_is_told_to_end(
    faulty: Any, queue: Any, rq: Any, kind: str
) -> None:
    # rule 11.3: as systemd tells all processes of a service
    queue(RESTS)
    worker = rq("worker", "--worker-class", kind)
    os.kill(horse_of(worker), signal.SIGTERM)
    worker.wait_for(faulty.ids)
    assert faulty.ids() == {"visit-0": 1}, worker.said()


@pytest.mark.parametrize("consumer", ["background"])
def test_a_job_that_runs_is_finished_at_a_warm_shutdown_and_what_it_has_tracked_arrives(
    faulty: Any, queue: Any, rq: Any
) -> None:
    # rule 11.3
    queue("queue.enqueue('shop_jobs.visit', 0, 1)")
    worker = rq("worker")
    worker.wait_for_jobs(1)
    worker.ended(signal.SIGTERM)
    assert faulty.ids() == {"visit-0": 1}, worker.said()


@pytest.mark.parametrize("consumer", ["background"])
def test_what_the_workers_of_a_pool_have_tracked_arrives(faulty: Any, queue: Any, rq: Any) -> None:
    # rule 11.3
    queue("for number in range(4): queue.enqueue('shop_jobs.visit', number)")
    worker = rq("worker-pool", "--num-workers", "2", "--burst")
    worker.ended()
    assert faulty.ids() == {f"visit-{number}": 1 for number in range(4)}, worker.said()


@pytest.mark.parametrize("consumer", ["spool"])
@pytest.mark.parametrize("how", ["the job is stopped", "its process is killed", "a cold shutdown"])
def test_a_spool_has_what_a_job_has_tracked_whose_process_gets_sigkill(
    faulty: Any, queue: Any, rq: Any, deliver: Any, how: str
) -> None:
    # rules 11.3 and 8.2: RQ itself sends it
    queue(RESTS)
    worker = rq("worker")
    worker.wait_for_jobs(1)
    if how == "the job is stopped":
        queue("send_stop_job_command(connection, name)")
        worker.wait_for(lambda: "stopped by user" in worker.said())
    elif how == "its process is killed":
        os.kill(horse_of(worker), signal.SIGKILL)
        worker.wait_for(lambda: "terminated unexpectedly" in worker.said())
    else:
        worker.process.terminate()
        # RQ takes a second signal within a second for the same.
        time.sleep(1.2)
    worker.ended(signal.SIGTERM)
    deliver()
    assert faulty.ids() == {"visit-0": 1}, worker.said()
