"""The one logger, and warnings that are not said too often."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
import traceback
from pathlib import Path

from consentpanel._forks import Survivors

LOGGER = logging.getLogger("consentpanel")

#: Seconds between two warnings of one kind of failure: a registry that is down would fill the log.
_PAUSE = 60.0
#: Where this package is written: what fails is looked for outside of it.
_OURS = Path(__file__).parent


class _Warnings:
    """What was said, and when it may be said again."""

    def __init__(self) -> None:
        # Re-entrant, because a signal handler may warn in the middle of it.
        self._lock = threading.RLock()
        self._silent_until: dict[tuple[str, ...], float] = {}

    def say(self, pause: float, kind: tuple[str, ...], text: str, *details: str, level: int = logging.WARNING) -> None:
        present = time.monotonic()
        with self._lock:
            if present < self._silent_until.get(kind, -math.inf):
                return
            self._silent_until[kind] = present + pause
        LOGGER.log(level, text, *details)

    def restart_in_child(self) -> None:
        """Takes another lock: a thread of the parent may have held this one."""
        self._lock = threading.RLock()

    def forget(self) -> None:
        with self._lock:
            self._silent_until.clear()


_warnings = _Warnings()
_ALIVE: Survivors[_Warnings] = Survivors(_Warnings.restart_in_child)
_ALIVE.add(_warnings)
#: Lets every warning be said again: for tests.
forget_warnings = _warnings.forget


def warn_once(text: str) -> None:
    """Logs a warning the first time in this process."""
    _warnings.say(math.inf, (text,), text)


def error_once(text: str) -> None:
    """Logs an error the first time in this process."""
    _warnings.say(math.inf, (text,), text, level=logging.ERROR)


def warn_rarely(text: str, *details: str) -> None:
    """Logs a warning of one kind at most once a minute."""
    _warnings.say(_PAUSE, (text, *details), text, *details)


def pass_deadline(error: BaseException) -> None:
    """Raises what a worker's alarm has raised in the middle of something of ours: it ends the job, and is nobody's failure.

    Raises:
        Exception: The time limit of a job of Celery's or RQ's.
    """
    if (type(error).__module__, type(error).__name__) in _DEADLINES:
        raise error


_DEADLINES = frozenset(
    (
        ("billiard.exceptions", "SoftTimeLimitExceeded"),
        ("celery.exceptions", "SoftTimeLimitExceeded"),
        ("rq.timeouts", "JobTimeoutException"),
    )
)


def note_failure(what: str, error: Exception) -> None:
    """Logs, at most once a minute, that something of the user's failed, as `cause_of` tells it; `fault` tells it again.

    Raises:
        Exception: As `pass_deadline`.
    """
    pass_deadline(error)
    cause = cause_of(error)
    _noted.causes[what] = f"{what} failed: {cause}{asked_by()}"
    _warnings.say(_PAUSE, (what, cause), "%s failed: %s%s", what, cause, asked_by())


def fault() -> str:
    """What made this thread drop a message a moment ago, as it was noted; nothing when nothing failed."""
    causes, _noted.causes = _noted.causes, {}
    return next((causes[what] for what in _DROPPING if what in causes), "")


def cause_of(error: BaseException) -> str:
    """What failed and where, by the types, file and line; never the text, which may hold values.

    The file and line are those of the innermost frame outside of this package, where there is one.
    """
    names = [type(error).__name__]
    inner = _first_argument(error)
    # Four tell enough, and errors may hold each other in a circle.
    while isinstance(inner, BaseException) and len(names) < 4:
        names.append(type(inner).__name__)
        inner = _first_argument(inner)
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    file, line = next(
        (each for each in reversed(frames) if not Path(each[0]).is_relative_to(_OURS)), (frames or [("", 0)])[-1]
    )
    return ": ".join(names) + (f" at {file}:{line}" if file else "")


def _first_argument(error: BaseException) -> object:
    # Not by the attribute, which a class may have made a property of its own that raises.
    arguments = BaseException.args.__get__(error)  # type: ignore[attr-defined]
    return arguments[0] if arguments else None


def asked_by() -> str:
    """Which thread asked, for the end of a line; of a name that may say who somebody is, nothing."""
    name = threading.current_thread().name
    return f" (asked by thread {name if _THREAD_NAME.fullmatch(name) else '<withheld>'})"


# As the standard library, executors, servers and this package name threads, with a function in brackets. Somebody's own name
# for one may be that of its user.
_THREAD_NAME = re.compile(
    r"MainThread|(?:Thread|Dummy|ThreadPoolExecutor|CP Server Thread|waitress|consentpanel|asyncio|uWSGIWorker|ThreadPool|pydev"
    r"|APScheduler|Worker|worker)[-_]?\d*(?:Core|[-_])?\d*(?: \([\w.<>]{1,64}\))?|AnyIO worker thread"
)


class _Noted(threading.local):
    """What failed in this thread."""

    def __init__(self) -> None:
        self.causes: dict[str, str] = {}


_noted = _Noted()
#: What drops a message when it fails.
_DROPPING = ("judging a message", "registry")
