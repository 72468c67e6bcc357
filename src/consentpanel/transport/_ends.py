"""The end of the process: what waits in buffers is delivered before, or reported as lost."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import signal
import threading
import time
from types import FrameType

from consentpanel._log import note_failure
from consentpanel.transport._delivery import ALIVE, Buffer

_HAS_ENDED = threading.Event()


def has_ended() -> bool:
    """Whether the process has said that it ends: no thread starts any more."""
    return _HAS_ENDED.is_set()


def end_all() -> None:
    """Delivers what waits in any buffer of the process, or reports it as lost; raises nothing."""
    for each in ALIVE:
        # One that fails leaves the others to be delivered.
        try:
            each.end()
        except Exception as error:  # noqa: BLE001 - a consumer is anybody's
            note_failure("the end of a buffer", error)


def forget_all() -> None:
    """Discards what waits in any buffer of the process: for the end of a run of tests."""
    for each in ALIVE:
        each.discard_all()


def watch(buffer: Buffer) -> None:
    """Has a buffer delivered before the process ends: by itself, by SIGTERM, as a child of multiprocessing at its own end.

    SIGTERM is handled where nobody has said what it does, and then ends the process as it would have; not in a child of
    multiprocessing. A server that has a
    handler of its own comes to its end by itself, or has to be told (`consentpanel.asgi`, `consentpanel.celery`,
    `consentpanel.rq`).
    """
    ALIVE.add(buffer)
    # A child of multiprocessing leaves by os._exit, after which atexit has no say.
    multiprocessing.util.register_after_fork(buffer, _end_with_the_child)
    watch_signal()


def watch_signal() -> None:
    """Handles SIGTERM from now on, where nobody else does; only the main thread can."""
    if threading.current_thread() is not threading.main_thread() or multiprocessing.parent_process() is not None:
        return
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
    except ValueError:  # the main thread of another interpreter
        return


#: Seconds that the code which a SIGTERM interrupts stands still while all is delivered; then it goes on until that is done,
#: because it may hold what those who deliver wait for.
_STANDSTILL = 1.0


class _Ending(threading.Thread):
    """Delivers what waits, by itself, and then has the process end as the signal would have ended it."""

    def __init__(self, number: int) -> None:
        super().__init__(name="consentpanel-end", daemon=True)
        self._number = number
        self.process = os.getpid()
        self.is_done = threading.Event()

    def run(self) -> None:
        try:
            _end_for_good()
        finally:
            self.is_done.set()
            self._have_it_end()

    def _have_it_end(self) -> None:
        main = threading.main_thread().ident
        # The main thread alone may end the process so, and it may be waiting for something.
        while main is not None:
            signal.pthread_kill(main, self._number)
            time.sleep(0.05)


_ending: _Ending | None = None


def _terminate(number: int, _: FrameType | None) -> None:
    global _ending  # noqa: PLW0603 - one end of the process
    if _ending is None or _ending.process != os.getpid():
        _ending = _Ending(number)
        try:
            _ending.start()
        except RuntimeError:  # the interpreter ends, or the system has no more threads
            _end_for_good()
            _ending.is_done.set()
    if _ending.is_done.wait(_STANDSTILL):
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _end_with_the_child(buffer: Buffer) -> None:
    # Its parent waits until SIGTERM has ended it, and a handler of Python's is not called while the child waits for a lock.
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Without a priority it would not be called at the end of the child.
    multiprocessing.util.Finalize(buffer, end_all, exitpriority=10)


def _end_for_good() -> None:
    # First, so that what another thread still tracks is sent by that thread, before its call returns.
    _HAS_ENDED.set()
    end_all()


atexit.register(_end_for_good)
