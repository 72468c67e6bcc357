"""The end of the process: what waits in buffers is delivered before, or reported as lost."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from consentpanel.transport._delivery import ALIVE, Buffer

_HAS_ENDED = threading.Event()


def has_ended() -> bool:
    """Whether the process has said that it ends: no thread starts any more."""
    return _HAS_ENDED.is_set()


def end_all() -> None:
    """Delivers what waits in any buffer of the process, or reports it as lost; raises nothing."""
    with undisturbed():
        for each in ALIVE:
            each.end()


class _Busy(threading.local):
    """What a thread is in the middle of."""

    depth = 0
    #: The signal that came meanwhile.
    signal = 0


_BUSY = _Busy()


@contextmanager
def undisturbed() -> Generator[None, None, None]:
    """Has a SIGTERM that comes meanwhile wait: what is being sent would be cut short by it."""
    _BUSY.depth += 1
    try:
        yield
    finally:
        _BUSY.depth -= 1
        if _BUSY.signal and not _BUSY.depth:
            _terminate(_BUSY.signal, None)


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


def _terminate(number: int, _: FrameType | None) -> None:
    if _BUSY.depth:
        _BUSY.signal = number
        return
    _BUSY.signal = 0
    end_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _end_with_the_child(buffer: Buffer) -> None:
    # Its parent waits until SIGTERM has ended it, and a handler of Python's is not called while the child waits for a lock.
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Without a priority it would not be called at the end of the child.
    multiprocessing.util.Finalize(buffer, end_all, exitpriority=10)


def _end_for_good() -> None:
    end_all()
    _HAS_ENDED.set()


atexit.register(_end_for_good)
