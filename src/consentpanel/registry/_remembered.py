"""What a registry has answered in the course of one request, so that it is asked once about each person and purpose."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Collection, Generator, Hashable
from contextlib import contextmanager
from typing import Any

from consentpanel._consent.standing import Standing
from consentpanel.registry._watching import store_of, watch

#: Seconds for which an answer holds at most: a response may be streamed for hours.
_FRESH = 5.0


class Answers:
    """The answers about now that a request has had.

    Args:
        registry: The registry that is asked, whose writes are heard of.
    """

    __slots__ = ("__weakref__", "_answers", "_is_over", "writes")

    def __init__(self, registry: Any) -> None:
        self._answers: dict[tuple[Hashable, str, str], tuple[Standing, float]] = {}
        self._is_over = False
        #: How often something was recorded.
        self.writes = 0
        watch(self, registry)

    def known(self, registry: Any, subject_id: str, purpose: str) -> Standing | None:
        """What was answered a moment ago; None to ask."""
        found = self._answers.get((store_of(registry), subject_id, purpose))
        return found[0] if found is not None and time.monotonic() < found[1] else None

    def note(self, registry: Any, subject_id: str, purpose: str, standing: Standing, writes: int) -> None:
        """Remembers an answer, never that a registry has failed, nor what was asked before the last write."""
        if not self._is_over and writes == self.writes and standing is not Standing.UNAVAILABLE:
            self._answers[store_of(registry), subject_id, purpose] = (standing, time.monotonic() + _FRESH)

    def notice(self, subject_ids: Collection[Any] = (), *, is_settled: bool = True) -> None:  # noqa: ARG002 - as of a `Watcher`
        """Asks anew from now on: something was recorded. In a transaction of the caller's it shows later, nobody knows when."""
        self.writes += 1
        self._is_over = self._is_over or not is_settled
        self._answers = {}

    def end(self) -> None:
        """Remembers nothing any more, whoever still has this."""
        self.notice(is_settled=False)


_CURRENT: contextvars.ContextVar[Answers | None] = contextvars.ContextVar("consentpanel_answers", default=None)
#: The answers of the request that this code runs for; None outside of one.
answers = _CURRENT.get


@contextmanager
def remembering(found: Answers) -> Generator[None, None, None]:
    """Has answers remembered by what runs inside, in this task or thread and those that it starts."""
    token = _CURRENT.set(found)
    try:
        yield
    finally:
        _CURRENT.reset(token)
