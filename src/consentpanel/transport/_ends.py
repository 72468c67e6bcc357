"""The end of the process: what waits in buffers is delivered before, or reported as lost."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType

from consentpanel._forks import Survivors
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

    SIGTERM is handled where nobody has said what it does, and then ends the process as it would have. A server that has a
    handler of its own comes to its end by itself, or has to be told (`consentpanel.asgi`, `consentpanel.celery`,
    `consentpanel.rq`).
    """
    ALIVE.add(buffer)
    # A child of multiprocessing leaves by os._exit, after which atexit has no say.
    multiprocessing.util.register_after_fork(buffer, lambda _: _end_with_the_child())
    if multiprocessing.parent_process() is not None:
        _end_with_the_child()
    watch_signal()


def watch_signal() -> None:
    """Handles SIGTERM from now on, where nobody else does; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        return
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
            if multiprocessing.parent_process() is not None:
                _Listener.begin()
    except ValueError:  # the main thread of another interpreter
        return


class _Listener(threading.Thread):
    """Hears of signals in a child of multiprocessing, whose main thread may wait for a lock and call no handler meanwhile.

    A signal that comes just before such a wait begins is noted by Python, and its handler called when the wait is over:
    for a worker of a pool that is being ended that is never.
    """

    #: Where Python tells it; none so far.
    told = -1

    def __init__(self, end: int) -> None:
        super().__init__(name="consentpanel-signals", daemon=True)
        self._end = end

    @classmethod
    def begin(cls) -> None:
        """Listens, unless somebody else does (`signal.set_wakeup_fd`)."""
        listens, says = os.pipe()
        os.set_blocking(says, False)
        before = signal.set_wakeup_fd(says, warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            os.close(listens)
            os.close(says)
            return
        cls.told = says
        with suppress(RuntimeError):  # the system has no more threads
            cls(listens).start()

    def run(self) -> None:
        while said := os.read(self._end, 1):
            if said[0] == signal.SIGTERM:
                _Ending.begin(signal.SIGTERM)


def _hear_nothing() -> None:
    """Has a child begin without a listener: what it is told its parent must not hear."""
    if _Listener.told == -1:
        return
    with suppress(ValueError):
        before = signal.set_wakeup_fd(-1)
        if before != _Listener.told:
            signal.set_wakeup_fd(before)
    _Listener.told = -1


#: Seconds that the code which a SIGTERM interrupts stands still while all is delivered; then it goes on until that is done,
#: because it may hold what those who deliver wait for.
_STANDSTILL = 1.0


class _Ending(threading.Thread):
    """Delivers what waits, by itself, and then has the process end as the signal would have ended it."""

    #: The one of this process, once there is one.
    current: _Ending | None = None
    #: The child of multiprocessing that delivers at its end.
    child: int | None = None

    def __init__(self, number: int) -> None:
        super().__init__(name="consentpanel-end", daemon=True)
        self._number = number
        self.is_done = threading.Event()

    @classmethod
    def begin(cls, number: int) -> _Ending:
        """Has the process end, if it does not yet."""
        with _BEGINNING.lock:
            found = cls.current
            if found is None:
                found = cls.current = cls(number)
                try:
                    found.start()
                except RuntimeError:  # the interpreter ends, or the system has no more threads
                    _end_for_good()
                    found.is_done.set()
        return found

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


class _Beginning:
    """That a process ends is begun once; the child of a fork has not begun."""

    def __init__(self) -> None:
        # Re-entrant, because the signal may come twice.
        self.lock = threading.RLock()

    def restart_in_child(self) -> None:
        self.lock = threading.RLock()
        _Ending.current = None
        _hear_nothing()


_BEGINNING = _Beginning()
_ALIVE: Survivors[_Beginning] = Survivors(_Beginning.restart_in_child)
_ALIVE.add(_BEGINNING)


def _terminate(number: int, _: FrameType | None) -> None:
    if _Ending.begin(number).is_done.wait(_STANDSTILL):
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _end_with_the_child() -> None:
    """Has this child of multiprocessing deliver at its end; once."""
    if _Ending.child == os.getpid():
        return
    _Ending.child = os.getpid()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is _terminate:
        _Listener.begin()
    # Without a priority it would not be called at the end of the child.
    multiprocessing.util.Finalize(None, end_all, exitpriority=10)


def _end_for_good() -> None:
    # First, so that what another thread still tracks is sent by that thread, before its call returns.
    _HAS_ENDED.set()
    end_all()


atexit.register(_end_for_good)
