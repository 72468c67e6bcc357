"""What became of the messages of one client: counts them, and tells whoever wants to know."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import attrs

from consentpanel._forks import Survivors
from consentpanel._log import LOGGER, fault, note_failure, warn_once
from consentpanel._messages.decision import Decision, MessageError, Outcome, Reason
from consentpanel.client._process import process
from consentpanel.client._settings import Observer, Settings
from consentpanel.transport._ticket import Ticket

_NO_REGISTRY = (
    "no consent registry is configured: nothing that needs consent is sent; "
    "pass registry= to Mixpanel() or call consentpanel.configure(registry=..., policy=...)"
)
_NO_POLICY = (
    "no field policy is configured: every property is dropped; "
    "pass policy= to Mixpanel() or call consentpanel.configure(registry=..., policy=...)"
)
#: Stands in `Reporter.stats` beside the outcomes for what waits in a buffer.
QUEUED = "queued"
_DROPPED = Outcome.DROPPED
_FAULTS = frozenset(reason for reason in Reason if reason.is_error)


class Outlet(Protocol):
    """Where a guard delivers what the gate let through."""

    def deliver(self, endpoint: str, text: str, credentials: object, ticket: Ticket) -> None:
        """Hands a message over; raises what the consumer raises."""

    @property
    def own_token(self) -> str:
        """The token of the client's project."""
        ...

    @property
    def keeps(self) -> bool:
        """Whether the consumer may keep a message for later, and tells its ticket what becomes of it."""
        ...

    @property
    def holds(self) -> bool:
        """Whether the consumer keeps back what has a ticket with `hold_for`."""
        ...

    @property
    def observes(self) -> bool:
        """Whether the consumer wants to know of decisions."""
        ...

    def observe(self, decision: Decision) -> None:
        """Tells the consumer of a decision, if it wants to know."""

    #: The observers that know where messages wait.
    watched_by: Sequence[Observer]

    def be_watched(self, observers: Sequence[Observer]) -> None:
        """Shows observers that want to know where messages wait."""


@attrs.define(eq=False, repr=False)
class Reported:
    """How far a message has come, as the reporter has counted it. Changed under the reporter's lock alone.

    Attributes:
        outlet: Where it went.
        settings: What the client works with.
        outcome: What the gate decided, once the call has answered or raised; None before.
        counted: Under which outcome, or as queued, it is counted; None for not at all.
        is_delivered: Whether a buffer has delivered it.
        loss: The decision that it will never be sent; None for none.
        reduction: The decision that less of it is sent than the call was told; None for none.
    """

    outlet: Outlet
    settings: Settings
    outcome: Decision | None = attrs.field(default=None, init=False)
    counted: str | None = attrs.field(default=None, init=False)
    is_delivered: bool = attrs.field(default=False, init=False)
    loss: Decision | None = attrs.field(default=None, init=False)
    reduction: Decision | None = attrs.field(default=None, init=False)


class Reporter:
    """Counts each message once, under what became of it in the end."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Reason], int] = {}
        #: What is still to be counted: a signal handler may track in the middle of counting.
        self._uncounted: deque[tuple[tuple[str, Reason], int]] = deque()
        self._is_counting = False
        # Re-entrant, because a signal handler may track in the middle of it.
        self._lock = threading.RLock()
        _ALIVE.add(self)

    def _restart_in_child(self) -> None:
        # Another thread of the parent may have held the lock, and what waits there is the parent's.
        self._lock = threading.RLock()
        self._is_counting = False
        self._counts = {key: count for key, count in self._counts.items() if key[0] not in {QUEUED, Outcome.HELD}}

    def stats(self) -> dict[str, dict[str, int]]:
        """How many messages came to which end, by outcome and reason; what waits stands under ``queued``."""
        with self._lock:
            self._count_all()
            counts = dict(self._counts)
        found: dict[str, dict[str, int]] = {}
        for (outcome, reason), count in counts.items():
            if count:
                found.setdefault(outcome, {})[reason] = count
        return found

    def settle(self, decision: Decision, settings: Settings, outlet: Outlet) -> Decision:
        """Counts and tells a decision that is the last word on its message.

        Raises:
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        with self._lock:
            self._count(decision.outcome, decision, 1)
        return self._told(decision, settings, outlet)

    def answer(self, message: Reported, decision: Decision) -> Decision:
        """What a call answers when its message was handed over: the gate's decision, unless it is lost already."""
        with self._lock:
            decision = self._decided(message, decision)
            if message.counted is None:
                waits = message.outlet.keeps and decision.outcome is not Outcome.HELD
                self._recount(message, QUEUED if waits else decision.outcome)
        return self._told(decision, message.settings, message.outlet)

    def raised(self, message: Reported, decision: Decision) -> None:
        """Notes that handing a message over has raised: a buffer may have kept it, and then tells what becomes of it."""
        with self._lock:
            loss = self._decided(message, decision) if message.loss is not None else None
            message.outcome = message.outcome or decision
            if message.is_delivered and loss is None:
                self._recount(message, decision.outcome)
        if loss is not None:
            self._told_quietly(loss, message)

    def delivered(self, message: Reported) -> None:
        """Counts that a message has left its buffer for the vendor."""
        with self._lock:
            message.is_delivered = True
            if message.outcome is not None and message.loss is None:
                self._recount(message, message.outcome.outcome)

    def lost(self, message: Reported, loss: Decision) -> None:
        """Counts and tells that a message will never be sent; the call itself does, when it has not answered yet."""
        with self._lock:
            if message.loss is not None:
                return
            message.loss = loss
            if message.outcome is None:
                return
            self._decided(message, loss)
        self._told_quietly(loss, message)

    def reduced(self, message: Reported, reduction: Decision) -> None:
        """Counts and tells that less of a message is sent than was decided, or that one that was held is; as `lost`."""
        with self._lock:
            message.reduction = reduction
            before = message.outcome
            if before is None or message.loss is not None:
                return
            if message.counted is not None:
                self._count(message.counted, before, -1)
                # What is delivered by now was counted as the whole.
                waits = message.counted in {QUEUED, Outcome.HELD} and message.outlet.keeps and not message.is_delivered
                message.counted = QUEUED if waits else reduction.outcome
                self._count(message.counted, reduction, 1)
            message.outcome = reduction
        self._told_quietly(reduction, message)

    def settled_elsewhere(self, message: Reported, decision: Decision) -> None:
        """Counts what another process has made of a message, and has told."""
        with self._lock:
            if message.outcome is not None and message.counted is not None and message.loss is None:
                self._count(message.counted, message.outcome, -1)
                message.outcome, message.counted = decision, decision.outcome
                self._count(decision.outcome, decision, 1)

    def _decided(self, message: Reported, decision: Decision) -> Decision:
        """The last word on a message so far: that it is lost, or what the gate decided."""
        if message.loss is None:
            decision = message.reduction or decision
            message.outcome = decision
            if message.is_delivered:
                self._recount(message, decision.outcome)
            return decision
        if message.counted is not None and message.outcome is not None:
            self._count(message.counted, message.outcome, -1)
        message.outcome, message.counted = message.loss, message.loss.outcome
        self._count(message.loss.outcome, message.loss, 1)
        return message.loss

    def _recount(self, message: Reported, outcome: str) -> None:
        if message.outcome is not None and message.counted != outcome:
            if message.counted is not None:
                self._count(message.counted, message.outcome, -1)
            self._count(outcome, message.outcome, 1)
            message.counted = outcome

    def _told_quietly(self, loss: Decision, message: Reported) -> None:
        try:
            self._told(loss, message.settings, message.outlet)
        except MessageError:
            LOGGER.debug("a buffer cannot raise into the call that made the message")

    def _count(self, outcome: str, decision: Decision, change: int) -> None:
        self._uncounted.append(((outcome, decision.reason), change))
        self._count_all()

    def _count_all(self) -> None:
        if self._is_counting:
            return
        self._is_counting = True
        try:
            while self._uncounted:
                key, change = self._uncounted.popleft()
                self._counts[key] = self._counts.get(key, 0) + change
        finally:
            self._is_counting = False

    def _told(self, decision: Decision, settings: Settings, outlet: Outlet) -> Decision:
        if outlet.observes or process.outbox is not None:
            outlet.observe(decision)
        if outlet.watched_by is not settings.observers:
            # Now, because `configure` may come late, and another consumer be assigned.
            outlet.be_watched(settings.observers)
        for observer in settings.observers:
            try:
                observer(decision)
            except Exception as error:  # noqa: BLE001 - an observer of the user's that raises is logged and ignored
                note_failure("observer", error)
        reason = decision.reason
        if decision.outcome is _DROPPED:
            if reason in _FAULTS:
                _report(decision, settings)
            elif LOGGER.isEnabledFor(logging.DEBUG):
                LOGGER.debug("dropped a message to %s: %s", decision.endpoint, reason.value)
        elif not settings.has_policy and decision.dropped:
            warn_once(_NO_POLICY)
        return decision


def _report(decision: Decision, settings: Settings) -> None:
    cause = fault()
    if decision.reason is Reason.NOT_CONFIGURED:
        warn_once(_NO_REGISTRY)
    elif decision.reason is not Reason.REGISTRY_ERROR:  # which is logged once a minute where it happens
        because = decision.problem or cause
        said = f"{decision.reason.value}: {because}" if because else decision.reason.value
        LOGGER.warning("dropped a message to %s: %s", decision.endpoint, said)
    if settings.on_error == "raise":
        raise MessageError(decision, cause)


_ALIVE: Survivors[Reporter] = Survivors(Reporter._restart_in_child)  # noqa: SLF001 - the same file
