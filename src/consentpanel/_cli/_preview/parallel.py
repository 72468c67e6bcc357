"""Judges records in several processes, in the order in which they stand."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import TypeAlias

import attrs

from consentpanel._cli._input.framing import Frame
from consentpanel._cli._preview.judging import Judging
from consentpanel._cli._preview.records import RecordPaths, Scope, judgeable
from consentpanel._cli._preview.tally import Tally
from consentpanel._jobs._loading import load
from consentpanel._jobs._usage import UsageError
from consentpanel.policy import FieldPolicy

#: Records and bytes that a process gets at once.
_MOST_RECORDS, _MOST_BYTES = 1_000, 1024 * 1024
#: Frames by their parts, which are sent to another process in a third of the time.
_Batch: TypeAlias = "list[tuple[int, bytes | None, str | None]]"


@attrs.frozen
class Work:
    """How records are judged, so that another process can be told.

    Attributes:
        policy: The name of the policy.
        scope: Which part of it judges.
        paths: Where a record keeps what is judged.
        by_event: Whether properties are counted for each event apart.
        with_samples: Whether a few values of each property are kept.
    """

    policy: str
    scope: Scope
    paths: RecordPaths
    by_event: bool
    with_samples: bool

    def judging(self) -> Judging:
        """What judges them, by a policy that is imported here: one that holds a secret leaves no process."""
        policy = load("--policy", self.policy, FieldPolicy)
        return Judging(policy, self.tally(), with_samples=self.with_samples)

    def tally(self) -> Tally:
        """A count of none yet."""
        return Tally(self.scope, by_event=self.by_event)


def tallies(frames: Iterable[Frame], work: Work, jobs: int) -> Iterator[Tally]:
    """The counts of some records after the others, in bounded memory.

    Args:
        frames: The records.
        work: How they are judged.
        jobs: In how many processes.

    Raises:
        UsageError: A process cannot do it.
    """
    waiting: deque[Future[Tally]] = deque()
    # A fork would copy the locks of threads that the policy's module may have started.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_ignore_interrupts) as pool:
        try:
            for batch in _batches(frames):
                waiting.append(pool.submit(_judged, work, batch))
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise UsageError("--jobs: a process ended before its work was done; try without") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _batches(frames: Iterable[Frame]) -> Iterator[_Batch]:
    batch: _Batch = []
    size = 0
    for frame in frames:
        batch.append((frame.line, frame.text, frame.problem))
        size += len(frame.text or b"")
        if len(batch) >= _MOST_RECORDS or size >= _MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _judged(work: Work, batch: _Batch) -> Tally:
    judging = _judging(work)
    judging.tally = work.tally()
    for each in batch:
        judging.add(judgeable(Frame(*each), work.scope, work.paths))
    return judging.tally


@cache
def _judging(work: Work) -> Judging:
    return work.judging()


def _ignore_interrupts() -> None:
    # Ctrl-C reaches all processes of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
