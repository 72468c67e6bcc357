"""The ticket of one message that the gate let through: its consent is asked for again when a buffer is flushed."""

from __future__ import annotations

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.standing import Standing
from consentpanel._gate.consent import refusal_of
from consentpanel._log import note_failure
from consentpanel._messages.decision import Decision, Outcome, Reason
from consentpanel.client._reporter import Reported, Reporter
from consentpanel.registry._lookup import regimes_of, standings_of


@attrs.define(eq=False, repr=False)
class Ticket(Reported):
    """What a buffer asks of a message, and tells of it (`consentpanel.transport._ticket.Ticket`)."""

    _reporter: Reporter
    _endpoint: str
    _event: str | None
    _persons: tuple[str, ...]
    _devices: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    _refusal: Standing = attrs.field(default=Standing.WITHDRAWN, init=False)

    @property
    def subject_ids(self) -> frozenset[str]:
        """Lookup keys of all whom the message names."""
        return frozenset(self._persons + self._devices)

    def still_allowed(self) -> bool:
        """Whether everybody whom the message names still allows it."""
        asked = [(subject, purpose, None) for purpose in self.purposes for subject in self._persons + self._devices]
        if not asked:
            return True
        try:
            standings = standings_of(self.settings.registry, asked)
            regime = regimes_of(self.settings.regime, self._persons)
            refusal = refusal_of(self._persons, self._devices, (None,), self.purposes, standings, regime)
        except Exception as error:  # noqa: BLE001 - a ticket never raises; what cannot be judged does not go
            note_failure("judging a message", error)
            self._refusal = Standing.UNAVAILABLE
            return False
        if refusal is not None:
            self._refusal = refusal.standing
        return refusal is None

    def delivered(self) -> None:
        """Counts that the message has arrived."""
        self._reporter.delivered(self)

    def discarded(self) -> None:
        """Counts and reports that the message was thrown away for want of consent."""
        self._lost(Reason(self._refusal.cause), self._refusal.status)

    def lost(self, reason: Reason) -> None:
        """Counts and reports that the message will never be sent, for another reason."""
        self._lost(reason, None)

    def _lost(self, reason: Reason, status: ConsentStatus | None) -> None:
        loss = Decision(
            outcome=Outcome.DROPPED,
            reason=reason,
            endpoint=self._endpoint,
            event=self._event,
            purpose=self.purposes[0] if self.purposes else None,
            status=status,
        )
        self._reporter.lost(self, loss)
