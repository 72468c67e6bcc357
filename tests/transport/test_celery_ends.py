"""However Celery ends a process, each message that a task has tracked arrives once, or is kept (contract rules 11.3 and 8.1)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.service]

TASKS = """
import os, time
from celery import Celery
import consentpanel.celery
import shop

app = Celery("shop", broker=os.environ["REDIS"])
app.conf.worker_hijack_root_logger = False
app.conf.broker_connection_retry_on_startup = True
consentpanel.celery.install(app)

@app.task(name="visit")
def visit(number, rest=0.0):
    shop.visit(number)
    open(f"done-{number}", "w").close()
    time.sleep(rest)
"""
POOLS = {
    "prefork": ["-P", "prefork", "-c", "2"],
    "threads": ["-P", "threads", "-c", "4"],
    "solo": ["-P", "solo"],
    "gevent": ["-P", "gevent", "-c", "4"],
}
RESTS = "visit.apply_async([0, 60.0], queue=queue, task_id='the-id-of-a-task')"


@pytest.fixture
def queue(tmp_path: Path, shop: Any, redis_url: str, needs: Any) -> Callable[[str], None]:
    """Does something with tasks in another process, as a web server would."""
    needs("celery", "redis")
    shop.write("shop_tasks", TASKS)
    shop.env["REDIS"] = redis_url

    def run(code: str) -> None:
        code = f"from shop_tasks import app, visit\nqueue = {tmp_path.name!r}\n{code}\n"
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=shop.env, check=True, timeout=60)

    return run


@pytest.fixture
def celery(tmp_path: Path, start_worker: Any, needs: Any) -> Callable[..., Any]:
    def start(pool: str, *options: str) -> Any:
        needs(*(["gevent"] if pool == "gevent" else []))
        quiet = ["--without-mingle", "--without-gossip"]
        return start_worker("celery", "-A", "shop_tasks", "worker", "-Q", tmp_path.name, *POOLS[pool], *quiet, *options)

    return start


@pytest.mark.parametrize("consumer", ["background"])
def test_what_a_task_has_tracked_arrives_though_it_is_revoked_and_terminated(
    faulty: Any, queue: Any, celery: Any
) -> None:
    # rule 11.3
    worker = celery("prefork")
    queue(RESTS)
    worker.wait_for_jobs(1)
    queue("app.control.revoke('the-id-of-a-task', terminate=True)")
    worker.wait_for(faulty.ids)
    assert faulty.ids() == {"visit-0": 1}
    # rule 11.3: ids of tasks are no concern of ours
    assert "the-id-of-a-task" not in json.dumps(faulty.records)


@pytest.mark.parametrize("consumer", ["background"])
@pytest.mark.parametrize("pool", ["threads", "solo", "gevent"])
def test_what_tasks_have_tracked_arrives_at_a_cold_shutdown(faulty: Any, queue: Any, celery: Any, pool: str) -> None:
    # rule 11.3
    worker = celery(pool)
    queue("for number in range(4): visit.apply_async([number], queue=queue)")
    worker.wait_for_jobs(4)
    worker.ended(signal.SIGQUIT)
    assert faulty.ids() == {f"visit-{number}": 1 for number in range(4)}, worker.said()


@pytest.mark.parametrize("consumer", ["buffered"])
def test_what_a_task_has_tracked_arrives_though_a_cold_shutdown_cuts_it_off(
    faulty: Any, queue: Any, celery: Any
) -> None:
    # rule 11.3
    worker = celery("prefork")
    queue(RESTS)
    worker.wait_for_jobs(1)
    worker.ended(signal.SIGQUIT)
    assert faulty.ids() == {"visit-0": 1}, worker.said()


@pytest.mark.parametrize("consumer", ["buffered"])
def test_a_signal_to_the_whole_group_as_of_systemd_loses_nothing(
    tmp_path: Path, faulty: Any, queue: Any, celery: Any
) -> None:
    # rule 11.3
    worker = celery("prefork")
    queue("for number in range(4): visit.apply_async([number, 1.0], queue=queue)")
    worker.wait_for_jobs(2)
    os.killpg(worker.process.pid, signal.SIGTERM)
    worker.ended()
    assert faulty.ids() == {f"visit-{path.name[5:]}": 1 for path in tmp_path.glob("done-*")}, worker.said()


@pytest.mark.parametrize("consumer", ["background"])
def test_what_a_process_has_tracked_arrives_when_the_pool_shrinks(faulty: Any, queue: Any, celery: Any) -> None:
    # rule 11.3
    worker = celery("prefork")
    queue("for number in range(8): visit.apply_async([number], queue=queue)")
    worker.wait_for_jobs(8)
    queue("app.control.pool_shrink(1)")
    worker.wait_for(faulty.ids)
    worker.ended(signal.SIGTERM)
    assert faulty.ids() == {f"visit-{number}": 1 for number in range(8)}, worker.said()


@pytest.mark.parametrize("consumer", ["spool"])
def test_a_spool_has_what_a_task_has_tracked_when_the_parent_is_killed(
    faulty: Any, queue: Any, celery: Any, deliver: Any
) -> None:
    # rules 11.3 and 8.2: the system kills the processes of the pool with it
    worker = celery("prefork")
    queue(RESTS)
    worker.wait_for_jobs(1)
    worker.ended(signal.SIGKILL)
    deliver()
    assert faulty.ids() == {"visit-0": 1}, worker.said()


@pytest.mark.parametrize("consumer", ["spool"])
def test_a_spool_has_what_a_task_has_tracked_that_meets_its_hard_time_limit(
    faulty: Any, queue: Any, celery: Any, deliver: Any
) -> None:
    # rules 11.3 and 8.2: SIGKILL comes a tenth of a second after SIGTERM
    worker = celery("prefork", "--time-limit", "1")
    queue(RESTS)
    worker.wait_for_jobs(1)
    worker.wait_for(lambda: "TimeLimitExceeded" in worker.said())
    worker.ended(signal.SIGTERM)
    deliver()
    assert faulty.ids() == {"visit-0": 1}, worker.said()
