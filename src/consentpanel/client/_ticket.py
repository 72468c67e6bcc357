"""The ticket of one message that the gate let through: judged again when a buffer is flushed (contract rule 2.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.standing import Standing
from consentpanel._gate.judge import refusal_of
from consentpanel._messages.decision import Decision, Outcome, Reason
from consentpanel.client._settings import LOGGER, Settings
from consentpanel.errors import MessageError
from consentpanel.registry._lookup import note_failure, regimes_of, standings_of

if TYPE_CHECKING:
    from consentpanel.client._guard import Guard, Outlet


class Pass:
    """The ticket of one message: consent is asked again when a buffer is flushed (contract rule 2.11)."""

    __slots__ = (
        "_devices",
        "_endpoint",
        "_event",
        "_guard",
        "_loss",
        "_open",
        "_outlet",
        "_persons",
        "_purposes",
        "_refusal",
        "_settings",
    )

    def __init__(
        self,
        guard: Guard,
        outlet: Outlet,
        endpoint: str,
        event: str | None,
        persons: tuple[str, ...],
        devices: tuple[str, ...],
        purposes: tuple[Purpose, ...],
        settings: Settings,
    ) -> None:
        self._guard = guard
        self._outlet = outlet
        self._endpoint = endpoint
        self._event = event
        self._persons = persons
        self._devices = devices
        self._purposes = purposes
        self._settings = settings
        self._refusal = Standing.WITHDRAWN
        self._loss: Decision | None = None
        # Whoever takes it says what became of the message: the call that made it, or what happened meanwhile.
        self._open = [True]

    @property
    def subject_ids(self) -> frozenset[str]:
        """Lookup keys of all whom the message names."""
        return frozenset(self._persons + self._devices)

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        """The purposes whose consent the message stands on; none for one that only takes data away."""
        return self._purposes

    def still_allowed(self) -> bool:
        """Whether everybody whom the message names still allows it."""
        asked = [(subject, purpose, None) for purpose in self._purposes for subject in self._persons + self._devices]
        if not asked:
            return True
        try:
            standings = standings_of(self._settings.registry, asked)
            regime = regimes_of(self._settings.regime, self._persons)
            refusal = refusal_of(self._persons, self._devices, (None,), self._purposes, standings, regime)
        except Exception as error:  # noqa: BLE001 - a ticket never raises; what cannot be judged does not go
            note_failure("judging a message", error)
            self._refusal = Standing.UNAVAILABLE
            return False
        if refusal is not None:
            self._refusal = refusal.standing
        return refusal is None

    def discarded(self) -> None:
        """Counts and reports that the message was thrown away for want of consent."""
        self._lose(Reason(self._refusal.cause), self._refusal.status)

    def lost(self, reason: Reason) -> None:
        """Counts and reports that the message will never be sent, for another reason."""
        self._lose(reason, None)

    def fate(self, decision: Decision) -> Decision:
        """What the call answers: the gate's decision, unless the consumer has given the message up already.

        From here on a loss gives the observers a second decision (contract rule 4.1).
        """
        return decision if self._take() or self._loss is None else self._loss

    def _take(self) -> bool:
        try:
            return self._open.pop()  # atomic, so that one of two threads gets it
        except IndexError:
            return False

    def _lose(self, reason: Reason, status: ConsentStatus | None) -> None:
        loss = Decision(
            outcome=Outcome.DROPPED,
            reason=reason,
            endpoint=self._endpoint,
            event=self._event,
            purpose=self._purposes[0] if self._purposes else None,
            status=status,
        )
        self._loss = loss
        if self._take():
            # The call itself answers with this decision.
            return
        try:
            self._guard.settle(loss, self._outlet)
        except MessageError:
            LOGGER.debug("a buffer cannot raise into the call that made the message")
