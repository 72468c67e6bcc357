"""The one logger, and warnings that are not said too often."""

from __future__ import annotations

import logging
import math
import threading
import time

LOGGER = logging.getLogger("consentpanel")

#: Seconds between two warnings of one kind of failure: a registry that is down would fill the log.
_PAUSE = 60.0


class _Warnings:
    """What was said, and when it may be said again."""

    def __init__(self) -> None:
        # Re-entrant, because a signal handler may warn in the middle of it.
        self._lock = threading.RLock()
        self._silent_until: dict[tuple[str, ...], float] = {}

    def say(self, pause: float, text: str, *details: str) -> None:
        kind, present = (text, *details), time.monotonic()
        with self._lock:
            if present < self._silent_until.get(kind, -math.inf):
                return
            self._silent_until[kind] = present + pause
        LOGGER.warning(text, *details)

    def forget(self) -> None:
        with self._lock:
            self._silent_until.clear()


_warnings = _Warnings()
#: Lets every warning be said again: for tests.
forget_warnings = _warnings.forget


def warn_once(text: str) -> None:
    """Logs a warning the first time in this process."""
    _warnings.say(math.inf, text)


def warn_rarely(text: str, *details: str) -> None:
    """Logs a warning of one kind at most once a minute."""
    _warnings.say(_PAUSE, text, *details)


def note_failure(what: str, error: Exception) -> None:
    """Logs, at most once a minute, that something of the user's failed: its type, never its text, which may hold values."""
    warn_rarely("%s failed: %s", what, type(error).__name__)
