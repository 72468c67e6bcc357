"""What became of the messages of one client: counts them, and tells whoever wants to know."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

import attrs

from consentpanel._log import LOGGER, note_failure, warn_once
from consentpanel._messages.decision import Decision, MessageError, Outcome, Reason
from consentpanel.client._process import process
from consentpanel.client._settings import Settings
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
    def keeps(self) -> bool:
        """Whether the consumer may keep a message for later, and tells its ticket what becomes of it."""
        ...

    @property
    def observes(self) -> bool:
        """Whether the consumer wants to know of decisions."""
        ...

    def observe(self, decision: Decision) -> None:
        """Tells the consumer of a decision, if it wants to know."""


@attrs.define(eq=False, repr=False)
class Reported:
    """How far a message has come, as the reporter has counted it. Changed under the reporter's lock alone.

    Attributes:
        outlet: Where it went.
        settings: What the client works with.
        outcome: What the call answered; None before it has.
        is_queued: Whether it is counted as waiting.
        is_delivered: Whether a buffer has delivered it.
        loss: The decision that it will never be sent; None for none.
    """

    outlet: Outlet
    settings: Settings
    outcome: Decision | None = attrs.field(default=None, init=False)
    is_queued: bool = attrs.field(default=False, init=False)
    is_delivered: bool = attrs.field(default=False, init=False)
    loss: Decision | None = attrs.field(default=None, init=False)


class Reporter:
    """Counts each message once, under what became of it in the end."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Reason], int] = {}
        # Re-entrant, because a signal handler may track in the middle of it.
        self._lock = threading.RLock()

    def stats(self) -> dict[str, dict[str, int]]:
        """How many messages came to which end, by outcome and reason; what waits stands under ``queued``."""
        with self._lock:
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
            message.outcome = decision = decision if message.loss is None else message.loss
            message.is_queued = message.loss is None and message.outlet.keeps and not message.is_delivered
            self._count(QUEUED if message.is_queued else decision.outcome, decision, 1)
        return self._told(decision, message.settings, message.outlet)

    def delivered(self, message: Reported) -> None:
        """Counts that a message has left its buffer for the vendor."""
        with self._lock:
            message.is_delivered = True
            if message.outcome is not None and message.is_queued:
                self._count(QUEUED, message.outcome, -1)
                self._count(message.outcome.outcome, message.outcome, 1)
                message.is_queued = False

    def lost(self, message: Reported, loss: Decision) -> None:
        """Counts and tells that a message will never be sent; the call itself does, when it has not answered yet."""
        with self._lock:
            message.loss = loss
            answered = message.outcome
            if answered is None:
                return
            self._count(QUEUED if message.is_queued else answered.outcome, answered, -1)
            self._count(loss.outcome, loss, 1)
            message.is_queued = False
        try:
            self._told(loss, message.settings, message.outlet)
        except MessageError:
            LOGGER.debug("a buffer cannot raise into the call that made the message")

    def _count(self, outcome: str, decision: Decision, change: int) -> None:
        key = outcome, decision.reason
        self._counts[key] = self._counts.get(key, 0) + change

    def _told(self, decision: Decision, settings: Settings, outlet: Outlet) -> Decision:
        if outlet.observes or process.outbox is not None:
            outlet.observe(decision)
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
    if decision.reason is Reason.NOT_CONFIGURED:
        warn_once(_NO_REGISTRY)
    elif decision.reason is not Reason.REGISTRY_ERROR:  # which is logged once a minute where it happens
        LOGGER.warning("dropped a message to %s: %s", decision.endpoint, decision.reason.value)
    if settings.on_error == "raise":
        raise MessageError(decision)
