"""What the buffers share that have threads send: how a thread starts and leaves, and pauses after a failure."""

from __future__ import annotations

import threading
import time

from consentpanel._log import error_once, warn_rarely
from consentpanel.transport._delivery import Buffer
from consentpanel.transport._ends import has_ended, watch_signal
from consentpanel.transport._http import UNAUTHORIZED, DeliveryError, understood
from consentpanel.transport._line import pause_after
from consentpanel.transport._waiting import ENDPOINTS

_REFUSED = (
    "the vendor refuses the credentials or the project's token (HTTP %s): nothing is delivered until that is mended; what waits is "
    "kept as long as it may be, and tried again"
)


#: How many failures in a row are told of; fewer are every day's.
_AN_OUTAGE = 3


class ThreadedBuffer(Buffer):
    """A buffer from which threads send."""

    #: The most threads.
    _connections: int
    #: The seconds that the end of the process waits.
    exit_timeout: float = 0.0

    def _reset(self) -> None:
        super()._reset()
        #: By endpoint: when it may be tried again, and how often it has failed in a row.
        self._not_before = dict.fromkeys(ENDPOINTS, 0.0)
        self._failures = dict.fromkeys(ENDPOINTS, 0)
        self.last_cause = ""
        #: How many wait for what is there to be sent.
        self._flushes = 0
        self._threads: list[threading.Thread] = []

    @property
    def consumer(self) -> object:
        """The consumer that sends the batches."""
        return self._consumer

    def _new_thread(self, name: str) -> threading.Thread:
        """A thread that sends."""
        raise NotImplementedError

    def _start(self) -> None:
        """Starts one more thread, if there may be one. Under the lock."""
        if has_ended() or len(self._threads) >= self._connections:
            return
        # Only the main thread can, which may not have been the one that made the consumer.
        watch_signal()
        thread = self._new_thread(f"consentpanel-{len(self._threads)}")
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter ends, or the system has no more threads; the next message tries again.
            self._threads.remove(thread)

    def leave(self) -> None:
        """Takes the present thread out of the list of those that send."""
        with self._lock:
            if (mine := threading.current_thread()) in self._threads:
                self._threads.remove(mine)

    def _note_sent(self, endpoint: str, failure: DeliveryError | None) -> None:
        del failure  # each message that it concerns is told of it
        self._failures[endpoint] = 0
        self._not_before[endpoint] = 0.0

    def _note_failure(self, endpoint: str, error: BaseException) -> DeliveryError:
        """Lets an endpoint pause, longer after each failure in a row; what failed, as it may be told. Under the lock."""
        failure = understood(error) if isinstance(error, Exception) else DeliveryError(type(error).__name__)
        self.last_cause = str(failure)
        if failure.status in UNAUTHORIZED:
            error_once(_REFUSED % failure.status)
        pause = failure.retry_after or pause_after(self._failures[endpoint])
        self._not_before[endpoint] = time.monotonic() + pause
        self._failures[endpoint] += 1
        if self._failures[endpoint] == _AN_OUTAGE:
            warn_rarely(
                "delivery to %s fails again and again, and what waits is kept as long as it may be: %s",
                endpoint,
                str(failure),
            )
        return failure
