"""The ticket of one message that the gate let through: its consent is asked for again when a buffer is flushed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel._consent.regime import Regime
from consentpanel._consent.standing import Question, Standing, covers_held
from consentpanel._gate.consent import refusal_of
from consentpanel._log import error_once, note_failure
from consentpanel._messages.decision import Decision, Outcome, Reason
from consentpanel.client._erasure import carry_out
from consentpanel.client._reporter import Outlet, Reported, Reporter
from consentpanel.registry._lookup import regimes_known, standings_of
from consentpanel.registry._remembered import remembering
from consentpanel.registry._watching import store_of
from consentpanel.registry._writing import history_of
from consentpanel.transport import _ticket as transport
from consentpanel.transport._ticket import Kept

if TYPE_CHECKING:
    from consentpanel.client._guard import Guard


@attrs.define(eq=False, repr=False)
class Ticket(Reported):
    """What a buffer asks of a message, and tells of it (`consentpanel.transport._ticket.Ticket`)."""

    _reporter: Reporter
    _endpoint: str
    _event: str | None
    _persons: tuple[str, ...]
    _devices: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    #: Of a message that also takes data away: the JSON of that part, and what is decided of it alone.
    _removal: tuple[str, Decision] | None = None
    _refusal: Standing = attrs.field(default=Standing.WITHDRAWN, init=False)
    #: Once that part is all there is left, until somebody is told.
    _left: Decision | None = attrs.field(default=None, init=False)
    #: Of a message that is held: for how many seconds, and what is decided once it may leave.
    hold_for: float | None = attrs.field(default=None, init=False)
    _verdict: Decision | None = attrs.field(default=None, init=False)
    #: Of one that is or was held: for whose answers on which purposes, and until when.
    _awaited: tuple[tuple[str, Purpose], ...] = attrs.field(default=(), init=False)
    _until: datetime | None = attrs.field(default=None, init=False)

    def questions(self) -> list[Question]:
        """What is asked of the registry before it leaves."""
        return [(subject, purpose, None) for purpose in self.purposes for subject in self._persons + self._devices]

    def persons(self) -> tuple[str, ...]:
        """Lookup keys of those whose consent is needed; of nobody for what only takes data away."""
        return self._persons if self.purposes else ()

    def hold(
        self, hold_for: float, verdict: Decision, awaited: Iterable[tuple[str, Purpose]], until: datetime | None = None
    ) -> None:
        """Has the message wait for answers of people who were never asked.

        Args:
            hold_for: Seconds.
            verdict: What is decided once there are some that let it leave.
            awaited: Whose answers, on which purposes.
            until: When the time for them is over; after `hold_for` when left out.
        """
        self.hold_for, self._verdict, self._awaited = hold_for, verdict, tuple(awaited)
        self._until = until or now() + timedelta(seconds=hold_for)

    def release(self) -> None:
        """Lets a message leave that was held, and reports it."""
        self.hold_for = None
        if self._verdict is not None:
            self._reporter.reduced(self, self._verdict)

    def settled_elsewhere(self, *, answer: bool | None) -> None:
        """Counts that another process has let a held message leave, or has erased it."""
        if answer and self._verdict is not None:
            self.hold_for = None
            self._reporter.settled_elsewhere(self, self._verdict)
        else:
            reason = Reason.NOT_ANSWERED if answer is None else Reason(self._refusal.cause)
            self._reporter.settled_elsewhere(self, self._loss(reason, None))

    @property
    def token(self) -> str:
        """The token of the client's project."""
        return self.outlet.own_token

    @property
    def subject_ids(self) -> frozenset[str]:
        """Lookup keys of all whom the message names."""
        return frozenset(self._persons + self._devices)

    def is_of_client(self, client: transport.Restorer) -> bool:
        """Whether it is of a client's project, or judged by its registry."""
        return self.token == client.token or client.is_judged_by(self.settings.registry)

    def kept(self) -> Kept:
        """What a spool keeps of it."""
        removal = None if self._removal is None else self._removal[0]
        held = None
        if self._until is not None:
            held = self._until.timestamp(), tuple((person, str(purpose)) for person, purpose in self._awaited)
        purposes = tuple(map(str, self.purposes))
        return Kept(self.token, self._persons, self._devices, purposes, self._event, removal, held)

    @staticmethod
    def ask_again(tickets: Sequence[Ticket]) -> list[bool | None]:
        """Whether everybody whom each message names still allows it; None where the registry fails.

        Args:
            tickets: Those of a batch, of one client or of several.
        """
        together: dict[int, list[Ticket]] = {}
        for ticket in tickets:
            together.setdefault(id(ticket.settings), []).append(ticket)
        answers: dict[int, bool | None] = {}
        for group in together.values():
            answered = _Answers(group)
            answers.update({id(ticket): ticket._answer(answered) for ticket in group})  # noqa: SLF001 - ours
        return [answers[id(ticket)] for ticket in tickets]

    def _answer(self, answered: _Answers) -> bool | None:
        who = self._persons, self._devices
        doubtful = refusal_of(*who, (None,), self.purposes, answered.standings, answered.regime)
        if doubtful is None:
            return True if self._until is None else answered.cover(self._awaited, self._until)
        # What nobody could tell is no denial: the message waits, unless somebody else's answer is one.
        at_best = answered.at_best if self.hold_for is None else answered.if_asked
        sure = refusal_of(*who, (None,), self.purposes, at_best, answered.regime_at_best)
        if sure is None:
            # What is purged meanwhile was taken back.
            return None
        self._refusal = sure.standing
        return False

    def take_removal(self) -> str | None:
        """The JSON of the part that only takes data away, on which the message then stands alone; None for none."""
        if self._removal is None:
            return None
        text, self._left = self._removal
        self.purposes, self._removal = (), None
        return text

    def delivered(self) -> None:
        """Counts that the message has arrived."""
        self._reporter.delivered(self)

    def discarded(self) -> None:
        """Counts and reports that the message, or all of it but a removal, was thrown away for want of consent."""
        if self._left is not None:
            self._reporter.reduced(self, self._left)
            self._left = None
            return
        self._lost(Reason(self._refusal.cause), self._refusal.status)

    def lost(self, reason: Reason) -> None:
        """Counts and reports that the message will never be sent, for another reason."""
        self._lost(reason, None)

    def _lost(self, reason: Reason, status: ConsentStatus | None) -> None:
        self._reporter.lost(self, self._loss(reason, status))

    def _loss(self, reason: Reason, status: ConsentStatus | None) -> Decision:
        return Decision(
            outcome=Outcome.DROPPED,
            reason=reason,
            endpoint=self._endpoint,
            event=self._event,
            purpose=self.purposes[0] if self.purposes else None,
            status=status,
        )


class _Restored(Ticket):
    """The ticket of a message that another process has written: that one has counted it."""

    def delivered(self) -> None:
        """Nothing is left to be told."""


class Restorer:
    """A client, to a spool (`consentpanel.transport._ticket.Restorer`).

    Args:
        guard: The client's guard.
        outlet: Where its messages go.
    """

    def __init__(self, guard: Guard, outlet: Outlet) -> None:
        self._guard = guard
        self._outlet = outlet

    @property
    def token(self) -> str:
        """The project's token."""
        return self._outlet.own_token

    def is_judged_by(self, registry: object) -> bool:
        """Whether a registry is the client's."""
        own = self._guard.settings_so_far().registry
        return own is registry or own == registry or store_of(own) == store_of(registry)

    def shares_registry(self, other: transport.Restorer) -> bool:
        """Whether another client is judged by the same registry."""
        return other.is_judged_by(self._guard.settings_so_far().registry)

    @property
    def is_ready(self) -> bool:
        """Whether the client has a registry, from its constructor or from `configure`."""
        return self._guard.settings_so_far().registry is not None

    @property
    def can_erase(self) -> bool:
        """Whether the client can ask the vendor to erase people."""
        return self._guard.settings_so_far().privacy is not None

    def erase(self, asked: str, numbers: list[str] | None, taken: Callable[[list[str]], None]) -> Any:
        """Does what is left of an erasure that was kept (`consentpanel.client._erasure.carry_out`)."""
        return carry_out(self._guard.settings_so_far(), asked, numbers, taken)

    def restored(self, endpoint: str, kept: Kept, *, is_held: bool = False) -> Ticket:
        """A ticket, of what was kept of one."""
        purposes = tuple(map(Purpose, kept.purposes))
        before = Decision(
            outcome=Outcome.SENT,
            reason=Reason.CONSENT_GRANTED,
            endpoint=endpoint,
            event=kept.event,
            purpose=next(iter(purposes), None),
        )
        alone = attrs.evolve(before, reason=Reason.REMOVAL, purpose=None)
        ticket = _Restored(
            self._outlet,
            self._guard.settings_so_far(),
            self._guard.reporter,
            endpoint,
            kept.event,
            kept.persons,
            kept.devices,
            purposes,
            None if kept.removal is None else (kept.removal, alone),
        )
        ticket.outcome = before
        if kept.held is not None:
            until, awaited = kept.held
            moment = datetime.fromtimestamp(until, timezone.utc)
            ticket.hold(1.0, before, [(person, Purpose(purpose)) for person, purpose in awaited], moment)
            if not is_held:
                ticket.hold_for = None
        return ticket


class _Answers:
    """What a registry and a regime say of all whom some messages of one client name, asked at once.

    Args:
        tickets: Those of the messages.
    """

    def __init__(self, tickets: Sequence[Ticket]) -> None:
        settings = tickets[0].settings
        asked = dict.fromkeys(question for ticket in tickets for question in ticket.questions())
        persons = dict.fromkeys(person for ticket in tickets for person in ticket.persons())
        try:
            # Anew, also in the middle of a request that remembers answers.
            with settings.outside_of_a_call(), remembering(None):
                with settings.lookup():
                    self.standings = standings_of(settings.registry, asked)
                self._regimes = regimes_known(settings.regime, persons)
        except Exception as error:  # noqa: BLE001 - the context is the user's
            note_failure("context", error)
            self.standings, self._regimes = dict.fromkeys(asked, Standing.UNAVAILABLE), {}
        if Standing.UNAVAILABLE in self.standings.values() or None in self._regimes.values():
            error_once(getattr(type(settings.registry), "unanswered", None) or _UNANSWERED)
        self._registry, self._surrounded = settings.registry, settings.outside_of_a_call
        self._records: dict[str, list[ConsentRecord]] = {}

    def cover(self, awaited: Iterable[tuple[str, Purpose]], until: datetime) -> bool | None:
        """Whether people agreed that what was held before they were asked may leave; None where one has not said so.

        Args:
            awaited: The people, and on which purpose each.
            until: When the time for their answers was over.
        """
        answers: set[bool | None] = set()
        for person, purpose in awaited:
            try:
                if person not in self._records:
                    with self._surrounded():
                        self._records[person] = history_of(self._registry, person)
            except Exception as error:  # noqa: BLE001 - the context is the user's
                note_failure("the history of a registry", error)
                return None
            answers.add(covers_held(self._records[person], purpose, until))
        if False in answers:
            return False
        return None if None in answers else True

    @cached_property
    def if_asked(self) -> dict[Question, Standing]:
        """The standings, if those who were never asked, and those of whom nobody could tell, had agreed."""
        return {
            question: Standing.GRANTED if standing is Standing.NOT_RECORDED else standing
            for question, standing in self.at_best.items()
        }

    @cached_property
    def at_best(self) -> dict[Question, Standing]:
        """The standings, if those that nobody could tell were grants."""
        return {
            question: Standing.GRANTED if standing is Standing.UNAVAILABLE else standing
            for question, standing in self.standings.items()
        }

    def regime(self, person: str) -> Regime:
        """What the silence of a person means; of one whose regime nobody could tell, no."""
        return self._regimes.get(person) or Regime.OPT_IN

    def regime_at_best(self, person: str) -> Regime:
        """The same; of one whose regime nobody could tell, yes."""
        return self._regimes.get(person) or Regime.OPT_OUT


_UNANSWERED = (
    "consent was answered in the call, and cannot be asked for again now that the message is to leave; it waits. If the "
    "registry or the regime needs what the call had (an application context, a request, a connection), give "
    "Mixpanel(context=app.app_context), or a function of your own that returns a context manager"
)
