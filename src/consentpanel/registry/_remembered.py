"""What a registry has answered in the course of one request, so that it is asked once about each person and purpose."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Any, TypeAlias

from consentpanel._consent.standing import Standing
from consentpanel.registry._watching import is_heard, watch

#: Seconds for which an answer holds at most: a response may be streamed for hours.
_FRESH = 5.0
#: By person and purpose: the answer, and until when it holds.
Kept: TypeAlias = "dict[tuple[str, str], tuple[Standing, float]]"


class Memory:
    """The answers about now that a request has had.

    Nothing is remembered of a registry whose writes nobody hears of, unless the message is judged once more before it leaves.

    Args:
        registry: The registry that is asked.
        is_judged_again: Whether the client's consumer asks again before it sends.
    """

    __slots__ = ("__weakref__", "_is_over", "_kept", "_registry")

    def __init__(self, registry: Any, *, is_judged_again: bool) -> None:
        self._registry = _itself(registry)
        self._kept: Kept = {}
        self._is_over = not (is_judged_again or is_heard(self._registry))
        if not self._is_over:
            watch(self, registry)

    def kept_of(self, registry: Any) -> Kept | None:
        """Where answers of a registry are remembered; None where they are not."""
        if self._is_over or _itself(registry) is not self._registry:
            return None
        # What an open transaction sees may never have been.
        is_within = hasattr(type(registry), "is_within") and registry.is_within
        return None if is_within else self._kept

    def notice(self, subject_ids: Collection[Any] = (), *, is_settled: bool = True) -> None:  # noqa: ARG002 - as of a `Watcher`
        """Asks anew from now on: something was recorded. In a transaction of the caller's it shows later, nobody knows when."""
        self._is_over = self._is_over or not is_settled
        # Another one: what is on its way is written into the old.
        self._kept = {}

    def end(self) -> None:
        """Remembers nothing any more, whoever still has this."""
        self.notice(is_settled=False)


def _itself(registry: Any) -> Any:
    """The registry that is asked in threads, where it is bridged."""
    return registry.asked_of if hasattr(type(registry), "asked_of") else registry


_CURRENT: contextvars.ContextVar[Memory | None] = contextvars.ContextVar("consentpanel_answers", default=None)


def kept_of(registry: Any) -> Kept | None:
    """Where the request that this code runs for remembers answers of a registry; None where it does not."""
    found = _CURRENT.get()
    return None if found is None else found.kept_of(registry)


def known(kept: Kept, subject_id: str, purpose: str) -> Standing | None:
    """What was answered a moment ago; None to ask."""
    found = kept.get((subject_id, purpose))
    return found[0] if found is not None and time.monotonic() < found[1] else None


def keep(kept: Kept, subject_id: str, purpose: str, standing: Standing) -> None:
    """Remembers an answer; never that a registry has failed."""
    if standing is not Standing.UNAVAILABLE:
        kept[subject_id, purpose] = (standing, time.monotonic() + _FRESH)


@contextmanager
def remembering(found: Memory | None) -> Generator[None, None, None]:
    """Has answers remembered by what runs inside, in this task or thread and those that it starts; None asks each time."""
    token = _CURRENT.set(found)
    try:
        yield
    finally:
        _CURRENT.reset(token)
