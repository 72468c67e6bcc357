"""What was answered with "sent" arrives, however its process ends (contract rule 8.1)."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

BEGIN = """
import signal
from shop import *

# A shell without job control starts what runs in its background with the signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

def visits():
    for number in range(20):
        visit(number)

def again_and_wait():
    import time
    for number in range(20, 25):
        visit(number)
    open("visited", "w").close()
    time.sleep(60)

"""
ALL = {f"visit-{number}" for number in range(20)}
WAITS = "\nprint('ready', flush=True)\nimport time\ntime.sleep(60)\n"
MAIN = "\nif __name__ == '__main__':\n"


@pytest.fixture(params=["background", "buffered"])
def consumer(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def started(shop: Any, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(shop.write("ends_main", BEGIN + code))],
        cwd=shop.folder,
        env=shop.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


BY_ITSELF = {
    "falls off its end": ("visits()", 0),
    "sys.exit": ("visits()\nimport sys\nsys.exit(3)", 3),
    "an exception": ("visits()\nraise ValueError('no')", 1),
    "a thread that goes on": ("import threading\nthreading.Thread(target=visits).start()", 0),
    "an atexit of its own": ("import atexit\natexit.register(visits)", 0),
    "the child of a fork": ("import os, sys\nif os.fork(): os.wait(); sys.exit()\nvisits()", 0),
    "its own handler": (
        "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\nvisits()\nos.kill(os.getpid(), 15)",
        5,
    ),
    "a SIGTERM to itself": ("import os\nvisits()\nos.kill(os.getpid(), 15)", -signal.SIGTERM),
    "a SIGTERM from a thread": (
        "import os, threading, time\nvisits()\nthreading.Thread(target=os.kill, args=(os.getpid(), 15)).start()\ntime.sleep(60)",
        -signal.SIGTERM,
    ),
}


@pytest.mark.parametrize(("code", "status"), BY_ITSELF.values(), ids=BY_ITSELF)
def test_a_process_that_ends_by_itself_has_delivered(
    shop: Any, faulty: Any, consumer: str, code: str, status: int
) -> None:
    with started(shop, code) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert faulty.ids() == dict.fromkeys(ALL, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("where", ["here", "in a thread"])
def test_a_process_that_is_ended_by_a_signal_has_delivered(
    shop: Any, faulty: Any, consumer: str, number: signal.Signals, where: str
) -> None:
    visits = (
        "visits()" if where == "here" else "import threading\nt = threading.Thread(target=visits)\nt.start()\nt.join()"
    )
    with started(shop, visits + WAITS) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == -number
    assert faulty.ids() == dict.fromkeys(ALL, 1)


POOLS = {
    "Pool closed": "    pool = context.Pool(2)\n    pids = pool.map(visit, range(20), 1)\n    pool.close()\n    pool.join()\n",
    "Pool recycled": (
        "    pool = context.Pool(2, maxtasksperchild=3)\n    pids = pool.map(visit, range(20), 1)\n    pool.close()\n    pool.join()\n"
    ),
    "Pool ended by with": "    with context.Pool(2) as pool:\n        pids = pool.map(visit, range(20), 1)\n",
    "Process terminated": (
        "    child = context.Process(target=visits)\n    child.start()\n    child.join(60)\n"
        "    child = context.Process(target=again_and_wait)\n    child.start()\n    import time\n"
        "    while not os.path.exists('visited'): time.sleep(0.01)\n    child.terminate()\n    child.join()\n"
        "    assert child.exitcode == -15, child.exitcode\n"
    ),
    "Process": (
        "    children = [context.Process(target=visit, args=(number,)) for number in range(20)]\n"
        "    for child in children: child.start()\n    for child in children: child.join()\n"
    ),
    "ProcessPoolExecutor": (
        "    from concurrent.futures import ProcessPoolExecutor\n"
        "    with ProcessPoolExecutor(2, mp_context=context) as pool:\n        pids = list(pool.map(visit, range(20)))\n"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("code", POOLS.values(), ids=POOLS)
def test_the_processes_of_a_pool_have_delivered(shop: Any, faulty: Any, consumer: str, code: str, start: str) -> None:
    if start != "fork" and consumer == "buffered":
        pytest.skip("tried with the other consumer")
    text = f"{MAIN}    import multiprocessing\n    context = multiprocessing.get_context({start!r})\n{code}"
    with started(shop, text) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    more = {f"visit-{number}" for number in range(20, 25)} if "again" in code else set()
    assert faulty.ids() == dict.fromkeys(ALL | more, 1)


def test_a_first_message_while_the_interpreter_ends_neither_hangs_nor_raises(
    shop: Any, faulty: Any, consumer: str
) -> None:
    # rule 8.1
    code = "class Late:\n    def __del__(self):\n        print(bool(mp.track('user-1', 'Visited')), flush=True)\n\nlate = Late()\n"
    with started(shop, code) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    # By then modules are taken apart, and a request may not get out: that is told.
    lost = "1 messages were not delivered" in errors or "1 buffered messages" in errors
    assert lost or (errors, len(faulty.records)) == ("", 1)


def test_what_cannot_be_delivered_at_the_end_is_told(shop: Any, faulty: Any, consumer: str) -> None:
    # rule 8.1: a second decision, a count, one line with the number
    faulty.always = 503
    code = (
        "import logging\nlogging.basicConfig(format='%(message)s')\n"
        "import shop\nshop.mp = Mixpanel('T', BackgroundConsumer(**URLS, linger=600, exit_timeout=0.2) if os.environ['CONSUMER'] == 'background'\n"
        "    else BufferedConsumer(**URLS, retry_limit=0), registry=lambda subject, purpose: True,\n"
        "    policy=FieldPolicy.keep_all(), observers=[lambda decision: print(decision.reason)])\n"
        "visits()\nimport atexit\n"
    )
    with started(shop, code) as process:
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert told.split() == ["consent_granted"] * 20 + ["not_delivered"] * 20
    (line,) = [line for line in errors.splitlines() if line.startswith("the process ends")]
    assert "20" in line
    assert not faulty.records


def test_what_is_on_its_way_at_the_end_is_told(shop: Any, consumer: str) -> None:
    # rule 8.1: nobody will hear what becomes of it
    if consumer == "buffered":
        pytest.skip("it has nothing on its way by itself")
    code = (
        "import logging, threading, time\nlogging.basicConfig(format='%(message)s')\n"
        "class Hangs:\n    def send(self, endpoint, message): STARTED.set(); time.sleep(60)\n"
        "STARTED = threading.Event()\n"
        "mp = Mixpanel('T', BackgroundConsumer(consumer=Hangs(), exit_timeout=0.2, linger=0.01, max_size=2),\n"
        "    registry=lambda subject, purpose: True, observers=[lambda decision: print(decision.reason)])\n"
        "for _ in range(3): mp.track('user-1', 'Visited')\n"
        "STARTED.wait(30)\n"
    )
    with started(shop, code) as process:
        told, errors = process.communicate(timeout=60)
    assert told.split() == ["consent_granted"] * 3 + ["not_delivered"] * 3
    (line,) = [line for line in errors.splitlines() if line.startswith("the process ends")]
    assert "3 messages were not delivered" in line


def test_a_signal_in_the_middle_of_what_the_senders_wait_for_loses_nothing(
    shop: Any, faulty: Any, consumer: str
) -> None:
    # rule 8.5: a lock of anybody's, which the code that was interrupted holds
    code = (
        "import os, threading, time\nLOCK = threading.Lock()\n"
        "def allowed(subject, purpose):\n    with LOCK: return True\n"
        "mp = Mixpanel('T', CONSUMERS[os.environ['CONSUMER']](), registry=allowed, policy=FieldPolicy.keep_all())\n"
        "for number in range(20): mp.track('user-1', 'Visited', {'$insert_id': f'visit-{number}'})\n"
        "with LOCK:\n    os.kill(os.getpid(), 15)\n    time.sleep(0.1)\n"
        "time.sleep(60)\n"
    )
    with started(shop, code) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM, errors
    assert faulty.ids() == dict.fromkeys(ALL, 1)


@pytest.mark.parametrize("how", ["by itself", "by SIGTERM"])
def test_a_buffer_that_fails_at_the_end_leaves_the_others_to_be_delivered(
    shop: Any, faulty: Any, consumer: str, how: str
) -> None:
    # rule 8.1
    code = (
        "import os, time, requests\n"
        "class Odd(BufferedConsumer):\n    def end(self): raise RuntimeError('no')\n"
        "odd = Odd(**URLS)\n"
        "other = BufferedConsumer(**URLS)\nother._consumer._session = requests.Session()\n"
        "mp2 = Mixpanel('T', other, registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())\n"
        "visits()\nmp2.track('user-1', 'Visited', {'$insert_id': 'visit-more'})\n"
    )
    ends = "" if how == "by itself" else "os.kill(os.getpid(), 15)\ntime.sleep(60)\n"
    with started(shop, code + ends) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (0 if how == "by itself" else -signal.SIGTERM), errors
    assert faulty.ids() == dict.fromkeys([*ALL, "visit-more"], 1)


@pytest.mark.parametrize("run", range(4))
def test_what_daemon_threads_track_while_the_process_ends_arrives_or_is_told(
    shop: Any, faulty: Any, consumer: str, run: int
) -> None:
    # rule 8.1: in the middle of what such a thread does the interpreter stops it, but not before an answer is kept
    code = (
        "import itertools, os, threading, time\n"
        "def note(name):\n"
        "    file = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n    os.write(file, b'x')\n    os.close(file)\n"
        "mp = Mixpanel('T', CONSUMERS[os.environ['CONSUMER']](), registry=lambda subject, purpose: True,\n"
        "    policy=FieldPolicy.keep_all(), observers=[lambda decision: decision or note('lost')])\n"
        "def work():\n"
        "    while True:\n        if mp.track('user-1', 'Visited'): note('answered')\n"
        "for _ in range(3): threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.05)\n"
    )
    with started(shop, code) as process:
        process.communicate(timeout=60)
    sizes = {
        name: len((shop.folder / name).read_bytes()) for name in ("answered", "lost") if (shop.folder / name).exists()
    }
    assert set(faulty.ids().values()) == {1}
    assert sizes["answered"] <= len(faulty.ids()) + sizes.get("lost", 0)


CHILD = """
import json, multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor

def begin():
    # The first client of all, and the first import.
    global mp
    from consentpanel import BackgroundConsumer, BufferedConsumer, FieldPolicy, Mixpanel
    urls = json.loads(os.environ["VENDOR_URLS"])
    kind = BufferedConsumer if os.environ["CONSUMER"] == "buffered" else BackgroundConsumer
    mp = Mixpanel("T", kind(**urls), registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())

def visit(number):
    assert mp.track("user-1", "Visited", {"$insert_id": f"visit-{number}"})

def visits():
    begin()
    for number in range(20):
        visit(number)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    if sys.argv[2] == "Process":
        child = context.Process(target=visits)
        child.start()
        child.join()
        assert child.exitcode == 0
    elif sys.argv[2] == "Pool":
        with context.Pool(2, begin) as pool:
            pool.map(visit, range(20), 1)
    else:
        with ProcessPoolExecutor(2, mp_context=context, initializer=begin) as pool:
            list(pool.map(visit, range(20)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "forkserver"])
@pytest.mark.parametrize("how", ["Process", "Pool", "ProcessPoolExecutor"])
def test_a_client_that_is_made_in_a_child_has_delivered(
    shop: Any, faulty: Any, consumer: str, how: str, start: str
) -> None:
    # rule 8.1
    command = [sys.executable, str(shop.write("child_main", CHILD)), start, how]
    subprocess.run(command, cwd=shop.folder, env=shop.env, check=True, timeout=120)
    assert faulty.ids() == dict.fromkeys(ALL, 1)
