"""One client's guard: asks, has the gate judge, delivers, and has the answer reported. I/O around the pure gate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.regime import Regime
from consentpanel._consent.standing import Question, Standing
from consentpanel._gate.consent import bound_purposes, questions
from consentpanel._gate.judge import Verdict, judge
from consentpanel._log import note_failure, warn_once
from consentpanel._messages.decision import Cause, Decision, Outcome, Reason
from consentpanel._messages.message import ENDPOINTS, FLAGS, Captured, Message, take_apart
from consentpanel._messages.wire import DOUBLED_KEYS, MAX_BYTES, Wire
from consentpanel._mixpanel.names import FLAG_IDS
from consentpanel.client._capture import plain
from consentpanel.client._fast_path import FastPath
from consentpanel.client._process import process
from consentpanel.client._reporter import Outlet, Reporter
from consentpanel.client._settings import Settings
from consentpanel.client._ticket import Ticket
from consentpanel.errors import RegistryError
from consentpanel.policy._detect.detection import kind_in_name
from consentpanel.policy._detect.ids import Ids
from consentpanel.policy.identity import with_pseudonyms
from consentpanel.registry._acts import Act, Plan, at_once
from consentpanel.registry._lookup import asking, regimes_of
from consentpanel.registry._protocol import LacksMethodError
from consentpanel.registry._writing import history_of

_PERSONAL_IDS = "ids that look personal ({}) are sent as they are: identity=pseudonymous() or per_subject(store) would keep them here"


CANNOT_HOLD = (
    'while_unknown="hold" needs a BufferedConsumer, BackgroundConsumer, SpoolConsumer or outbox of consentpanel, which keep messages '
    "back; with any other consumer the messages of somebody who was never asked are dropped"
)


_NO_HISTORY = (
    'while_unknown="hold" needs a registry with history(subject_id), which says that somebody was never asked and what a later '
    "grant covers; without it the messages of somebody who was never asked are dropped"
)


class Guard:
    """Guards the calls of one client.

    Args:
        own: The checked keywords of the client's constructor; the rest comes from `configure`.
    """

    def __init__(self, own: Mapping[str, Any]) -> None:
        self._own = own
        self._settings: Settings | None = None
        self._so_far: Settings | None = None
        self._watches_ids = True
        self.reporter = Reporter()
        fast = FastPath(self)
        self.event_at_once, self.update_at_once = fast.event, fast.update

    def settings(self) -> Settings:
        """What holds now."""
        settings = self._settings
        if settings is None or settings.generation != process.generation:
            settings = self._settings = process.settings(self._own)
        return settings

    def settings_so_far(self) -> Settings:
        """As `settings`, for threads of ours that work before the first call: `configure` may still come."""
        for settings in (self._settings, self._so_far):
            if settings is not None and settings.generation == process.generation:
                return settings
        self._so_far = settings = process.settings(self._own, is_use=False)
        return settings

    def submit(self, message: Message, credentials: object, outlet: Outlet, known: Standing | None = None) -> Decision:
        """Judges a message, delivers what may be sent, and says what was done; the arguments are those of `plan`.

        Raises:
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        return at_once(self.plan(message, credentials, outlet, known))

    def plan(
        self,
        message: Message,
        credentials: object,
        outlet: Outlet,
        known: Standing | None = None,
        asked: object = None,
    ) -> Plan[Decision]:
        """As `submit`, as a plan, which does no input and output itself.

        Args:
            message: The message, taken apart.
            credentials: What the vendor's client hands to the consumer as `api_key`; None for nothing.
            outlet: Where to deliver.
            known: The present standing of the message's only person, when it was asked a moment ago.
            asked: The registry whose answers are awaited, for a driver that can; None for that of the settings.

        Raises:
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        settings = self.settings()
        self.warn_of_ids(*message.subjects)
        ask = _Asked(known, asked)
        verdict, purposes = yield from _judging(message, settings, ask)
        decision = verdict.decision
        awaited: tuple[tuple[str, Purpose], ...] = ()
        if decision.reason is Reason.NO_CONSENT and verdict.text is None and settings.holds:
            awaited = yield from _never_asked(message, settings, ask, outlet)
            if awaited:
                verdict, purposes = _as_granted(message, settings, ask)
            if verdict.text is not None:
                decision = attrs.evolve(
                    verdict.decision, outcome=Outcome.HELD, reason=Reason.AWAITING_CONSENT, status=ConsentStatus.UNKNOWN
                )
        if verdict.text is None:
            return self.reporter.settle(decision, settings, outlet)
        needed = purposes if verdict.needs_consent else ()
        event, who = verdict.decision.event, (message.persons, message.devices)
        removal = None
        if needed and message.has_removal and outlet.keeps:
            # Whatever becomes of consent while it waits: what takes data away is sent.
            alone, _ = _judged(message, settings, _as_withdrawn)
            removal = None if alone.text is None else (alone.text, alone.decision)
        ticket = Ticket(outlet, settings, self.reporter, message.endpoint, event, *who, needed, removal)
        if awaited:
            ticket.hold(settings.hold_for, verdict.decision, awaited)
        try:
            yield Act("deliver", partial(outlet.deliver, message.endpoint, verdict.text, credentials, ticket))
        except BaseException:
            self.reporter.raised(ticket, decision)
            raise
        return self.reporter.answer(ticket, decision)

    def warn_of_ids(self, *subjects: str) -> None:
        """Warns, once in the process, of an id that says who somebody is."""
        if not self._watches_ids or not self.settings().identity.is_plain:
            return
        for subject in subjects:
            if ("@" in subject or subject.startswith("+")) and (kind := kind_in_name(subject)) is not None:
                self._watches_ids = False
                warn_once(_PERSONAL_IDS.format(kind))

    def refuse(self, endpoint: str, reason: Reason, outlet: Outlet, problem: str = "") -> Decision:
        """Drops what cannot even be taken apart."""
        is_known = isinstance(endpoint, str) and (endpoint in ENDPOINTS or endpoint == FLAGS)
        shown = endpoint if is_known else "unknown"
        decision = Decision(outcome=Outcome.DROPPED, reason=reason, endpoint=shown, problem=problem)
        return self.reporter.settle(decision, self.settings(), outlet)

    def refuse_call(self, name: str, outlet: Outlet) -> Decision:
        """Refuses a method of the vendor's client that this release does not know."""
        warn_once(
            f"mixpanel.Mixpanel.{name}() is not known to this release of consentpanel, so nothing was sent: "
            "look for a newer release"
        )
        return self.refuse("unknown", Reason.UNKNOWN_CALL, outlet)

    def context(self, context: object, outlet: Outlet) -> dict[str, Any] | None:
        """What may be sent of the context of a remote flag; None when no request may be made.

        Raises:
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        message = take_apart(Captured(FLAGS, context, Wire()))
        verdict, _ = _judged(message, self.settings(), _Asked())
        self.reporter.settle(verdict.decision, self.settings(), outlet)
        left: dict[str, Any] | None = None if verdict.text is None else json.loads(verdict.text)
        return left

    def names_mapped(self, text: object, context: Mapping[str, Any]) -> bool:
        """Whether the raw id of somebody whom a context names stands in a text that would leave as it is."""
        if self.settings().identity.is_plain or not isinstance(text, str):
            return False
        message = take_apart(Captured(FLAGS, context, Wire()))
        return Ids(message.subjects).are_in(text)

    def with_mapped_ids(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The context of a local flag with the ids that the vendor knows, so that both assign the same variant."""
        settings = self.settings()
        try:
            mapped = plain(context) or {}
        except Exception:  # noqa: BLE001 - a mapping is the user's; the vendor's code says what it does without one
            return {}
        if not settings.identity.is_plain:
            for name in FLAG_IDS & mapped.keys():
                try:
                    mapped[name] = settings.identity.of(subject_key(mapped[name]), settings.policy.keyed)
                except Exception as error:  # noqa: BLE001 - a store is anybody's, and the id stays on this machine
                    note_failure("identity", error)
        return mapped


#: The standings by question, and what silence means.
_Answers = tuple[Mapping[Question, Standing], "Regime | Callable[[str], Regime]"]


def _judged(
    message: Message, settings: Settings, ask: Callable[..., Plan[_Answers]]
) -> tuple[Verdict, tuple[Purpose, ...]]:
    """As `_judging`, at once."""
    return at_once(_judging(message, settings, ask))


def _judging(
    message: Message, settings: Settings, ask: Callable[..., Plan[_Answers]]
) -> Plan[tuple[Verdict, tuple[Purpose, ...]]]:
    """The gate's verdict, and the purposes on which the message stands. Nothing of ours raises into a request.

    Args:
        message: The message.
        settings: The client's.
        ask: Plans for standings and regime, of `settings`, the message and the questions about it.
    """
    purposes: tuple[Purpose, ...] = ()
    try:
        settings.policy.open_ids(message)
        purposes = settings.purposes.of(message)
        every_purpose = tuple(dict.fromkeys((*purposes, *bound_purposes(message, settings.policy))))
        standings, regime = yield from ask(settings, message, questions(message, every_purpose, settings.policy))
        maps_ids = not settings.identity.is_plain
        verdict = judge(message, purposes, standings, settings.policy, regime, maps_ids=maps_ids)
        if verdict.text is not None and maps_ids:
            verdict = _pseudonymised(verdict, verdict.text, message, settings)
    except Exception as error:  # noqa: BLE001 - a mapping, a store or a policy's function is the user's
        note_failure("judging a message", error)
        verdict = judge(attrs.evolve(message, fault=Reason.INVALID_MESSAGE), purposes, {}, settings.policy)
    return verdict, (*purposes, *verdict.bound)


def _never_asked(
    message: Message, settings: Settings, asked: _Asked, outlet: Outlet
) -> Plan[tuple[tuple[str, Purpose], ...]]:
    """Whose answers are awaited, on which purposes; nobody's where one was asked before, or nobody could keep the message back.

    A registry that tells no more than a status says of an answer that has expired what it says of none.
    """
    if message.moments:
        # Consent must have held then (contract rule 2.8).
        return ()
    if not outlet.holds:
        warn_once(CANNOT_HOLD)
        return ()
    purposes = settings.purposes.of(message)
    awaited = tuple(
        (subject, purpose)
        for (subject, purpose, _), standing in asked.standings.items()
        if standing is Standing.NOT_RECORDED and purpose in purposes and subject in message.persons
    )
    try:
        for subject in dict.fromkeys(subject for subject, _ in awaited):
            history = yield Act("call", partial(history_of, settings.registry, subject))
            said = {record.purpose for record in history}
            if any(each == subject and purpose in said for each, purpose in awaited):
                return ()
    except LacksMethodError:
        warn_once(_NO_HISTORY)
        return ()
    except RegistryError as error:
        note_failure("the history of a registry", error)
        return ()
    return awaited


def _as_granted(message: Message, settings: Settings, asked: _Asked) -> tuple[Verdict, tuple[Purpose, ...]]:
    """What would be sent if those who were never asked had agreed."""
    purposes = settings.purposes.of(message)

    def ask(*_: object) -> Plan[_Answers]:
        yield from ()
        # What a property alone is bound to nobody is taken to have agreed to.
        return {
            question: Standing.GRANTED if standing is Standing.NOT_RECORDED and question[1] in purposes else standing
            for question, standing in asked.standings.items()
        }, asked.regime

    return _judged(message, settings, ask)


class _Asked:
    """Asks what registry and regime say now, and keeps the answers.

    Args:
        known, registry: As for `Guard.plan`.
    """

    __slots__ = ("_known", "_registry", "regime", "standings")

    regime: Regime | Callable[[str], Regime]

    def __init__(self, known: Standing | None = None, registry: object = None) -> None:
        self._known = known
        self._registry = registry
        self.standings: dict[Question, Standing] = {}

    def __call__(self, settings: Settings, message: Message, asked: Sequence[Question]) -> Plan[_Answers]:
        if self._known is not None and asked and len(message.subjects) == 1:
            # Asked a moment ago: one look-up for each purpose is enough.
            self.standings[asked[0]] = self._known
            asked = asked[1:]
        if asked:
            registry = settings.registry if self._registry is None else self._registry
            with settings.lookup():
                self.standings.update((yield from asking(registry, asked)))
        if isinstance(settings.regime, Regime):
            self.regime = settings.regime
        else:
            self.regime = yield Act("call", partial(regimes_of, settings.regime, message.persons))
        return self.standings, self.regime


def _as_withdrawn(_: Settings, __: Message, asked: Sequence[Question]) -> Plan[_Answers]:
    """As if everybody had taken everything back, and nobody is asked."""
    yield from ()
    return dict.fromkeys(asked, Standing.WITHDRAWN), Regime.OPT_IN


def _pseudonymised(verdict: Verdict, text: str, message: Message, settings: Settings) -> Verdict:
    """A verdict whose message names everybody as the vendor knows them."""
    pseudonyms = {key: settings.identity.of(key, settings.policy.keyed) for key in message.subjects}
    rules = settings.policy.compiled(message.scope, message.event).tree
    mapped = with_pseudonyms(text, pseudonyms, message.endpoint, rules)
    decision = verdict.decision
    if len(mapped.text) >= MAX_BYTES:
        # A pseudonym may be longer than the id.
        return Verdict(attrs.evolve(decision, outcome=Outcome.DROPPED, reason=Reason.TOO_LARGE), None)
    if mapped.redacted or mapped.doubled:
        path = settings.policy.applied_to(message).path
        changed = {**decision.changed, **dict.fromkeys(map(path, mapped.redacted), Cause.ID)}
        doubled = [path(DOUBLED_KEYS, f"{path(name)}.") for name in mapped.doubled]
        dropped = {**decision.dropped, **dict.fromkeys(doubled, Cause.DUPLICATE_KEY)}
        decision = attrs.evolve(decision, outcome=Outcome.REDACTED, changed=changed, dropped=dropped)
    return verdict._replace(decision=decision, text=mapped.text)
