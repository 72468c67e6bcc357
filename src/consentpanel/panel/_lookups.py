"""How far the vendor is with what a person has asked for: looked up seldom, and never waited for long."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import attrs

from consentpanel._forks import Survivors
from consentpanel._log import note_failure
from consentpanel._mixpanel import patience
from consentpanel._visits import VendorRequest
from consentpanel.errors import ConsentPanelError
from consentpanel.privacy_requests import PrivacyRequests, PrivacyTask, TaskStatus, VendorBusyError

#: Seconds that a page waits for the vendor's answers to all its questions.
_WITHIN = 3.0
#: Seconds for which an answer is good, and for which a vendor that is down is left alone.
_GOOD_FOR, _PAUSE = 60.0, 30.0
#: So many requests of one person are looked up, the latest ones.
_LATEST = 4
_MOST = 2_000
#: Apart from those of requests, so that neither keeps the other waiting.
_ASKING = patience.Slots()


class LookUps:
    """What the vendor has said of requests.

    Args:
        clock: Tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: OrderedDict[tuple[str, str], tuple[float, PrivacyTask]] = OrderedDict()
        self._asked: set[tuple[str, str]] = set()
        self._down_until = float("-inf")
        self._lock = threading.Lock()
        _ALIVE.add(self)

    def of(self, privacy: PrivacyRequests | None, asked: Sequence[VendorRequest]) -> tuple[PrivacyTask, ...]:
        """How far requests are, the latest of them; of those of which the vendor does not say, the status is unknown.

        Args:
            privacy: Asks the vendor; None where the client has none.
            asked: What one person has asked for: nobody else's numbers.
        """
        with patience.having(patience.for_seconds(_ASKING, _WITHIN)):
            return tuple(self._told(privacy, each) for each in asked[-_LATEST:])

    def _told(self, privacy: PrivacyRequests | None, asked: VendorRequest) -> PrivacyTask:
        key, present = (asked.kind, asked.number), self._clock()
        with self._lock:
            until, known = self._found.get(key, (present, None))
            if known is not None and present < until:
                return known
            # Whoever asks for the same meanwhile is told what was known before.
            may_ask = privacy is not None and present >= self._down_until and key not in self._asked
            if may_ask:
                self._asked.add(key)
        try:
            found = self._ask(privacy, asked) if privacy is not None and may_ask else None
        finally:
            if may_ask:
                self._asked.discard(key)
        if found is None:
            return known or PrivacyTask(
                kind=asked.kind,
                task_id=asked.number,
                status=TaskStatus.UNKNOWN,
                requested=asked.recorded_at.isoformat(),
            )
        found = attrs.evolve(found, requested=asked.recorded_at.isoformat())
        with self._lock:
            self._found[key] = present + _GOOD_FOR, found
            self._found.move_to_end(key)
            while len(self._found) > _MOST:
                self._found.popitem(last=False)
        return found

    def _ask(self, privacy: PrivacyRequests, asked: VendorRequest) -> PrivacyTask | None:
        look_up = privacy.look_up_deletion if asked.kind == "deletion" else privacy.look_up_retrieval
        try:
            return look_up(asked.number, within=_WITHIN)
        except VendorBusyError:
            return None
        except ConsentPanelError as error:
            note_failure("looking up a request to the vendor", error)
            with self._lock:
                self._down_until = self._clock() + _PAUSE
            return None

    def restart_in_child(self) -> None:
        """Takes another lock: a thread of the parent may have held this one."""
        self._lock = threading.Lock()
        self._asked.clear()


_ALIVE: Survivors[LookUps] = Survivors(LookUps.restart_in_child)
