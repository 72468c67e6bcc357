"""One client's guard: asks, has the gate judge, delivers, counts and tells. I/O around the pure gate."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs

from consentpanel._consent.ids import MAX_ID_LENGTH, Purpose, subject_key
from consentpanel._consent.regime import Regime
from consentpanel._consent.standing import Standing
from consentpanel._gate.judge import Verdict, bound_purposes, judge, questions, shown_event
from consentpanel._messages.decision import Decision, Outcome, Reason
from consentpanel._messages.message import Message, take_apart
from consentpanel._messages.wire import MAX_BYTES, Wire
from consentpanel._mixpanel.names import EVENT_STRUCTURE, FLAG_IDS
from consentpanel.client._fast_path import Client, event_text, update_text
from consentpanel.client._settings import LOGGER, Settings, process
from consentpanel.client._ticket import Pass
from consentpanel.errors import MessageError
from consentpanel.policy._detect.detection import kind_in_name
from consentpanel.policy.identity import with_pseudonyms
from consentpanel.registry._lookup import as_standing, note_failure, question_to, regimes_of, standings_of

_NO_REGISTRY = (
    "no consent registry is configured: nothing that needs consent is sent; "
    "pass registry= to Mixpanel() or call consentpanel.configure(registry=..., policy=...)"
)
_NO_POLICY = (
    "no field policy is configured: every property is dropped; "
    "pass policy= to Mixpanel() or call consentpanel.configure(registry=..., policy=...)"
)
_PERSONAL_IDS = "ids that look personal ({}) are sent as they are: identity=pseudonymous() or per_subject(store) would keep them here"
_REMEMBERED = 1024


class Outlet(Protocol):
    """Where a guard delivers what the gate let through."""

    def deliver(self, endpoint: str, text: str, credentials: object, ticket: Pass) -> None:
        """Hands a message over; raises what the consumer raises."""
        ...

    @property
    def observes(self) -> bool:
        """Whether the consumer wants to know of decisions."""
        ...

    def observe(self, decision: Decision) -> None:
        """Tells the consumer of a decision, if it wants to know."""
        ...


class Guard:
    """Guards the calls of one client.

    Args:
        own: The checked keywords of the client's constructor; the rest comes from `configure`.
    """

    def __init__(self, own: Mapping[str, Any]) -> None:
        self._own = own
        self._settings: Settings | None = None
        self._generation = -1
        self._counts: dict[tuple[Outcome, Reason], int] = {}
        # Re-entrant, because a signal handler may track in the middle of it.
        self._lock = threading.RLock()
        self._turned_away: dict[tuple[str, Purpose, Standing], Decision] = {}
        self._let_through: dict[tuple[str, str | None, Purpose], Decision] = {}
        self._ask_quickly: Callable[[str, Purpose], object] | None = None
        self._allowing: frozenset[Standing] = frozenset()
        self._may_express = False
        self._watches_ids = False

    def settings(self) -> Settings:
        """What holds now."""
        settings = self._settings
        if settings is None or self._generation != process.generation:
            generation = process.generation
            settings = process.settings(self._own)
            regime = settings.regime
            if settings.registry is not None and isinstance(regime, Regime):
                self._ask_quickly = question_to(settings.registry)
                self._allowing = frozenset(standing for standing in Standing if regime.allows(standing))
            else:
                self._ask_quickly = None
            has_plain_ids = settings.identity.is_plain
            detections = [settings.policy.detection(scope) for scope in ("events", "people")]
            has_own_detectors = any(each is not None and each.is_custom for each in detections)
            may_express = not settings.policy.keeps_all and has_plain_ids and not has_own_detectors
            self._may_express = self._ask_quickly is not None and may_express
            self._watches_ids = has_plain_ids
            self._settings, self._generation = settings, generation
        return settings

    def event_at_once(
        self, client: Client, subject: str, event: str, properties: object, outlet: Outlet
    ) -> tuple[Decision | None, Standing | None]:
        """Drops an event before it is built when the one person whom it surely names does not allow it, and sends
        one that needs no gate.

        Returns:
            The decision, or None when the gate has to judge; and the standing that was learnt on the way, or None.
        """
        settings = self._settings
        if settings is None or self._generation != process.generation:
            settings = self.settings()
        ask = self._ask_quickly
        purposes = settings.purposes.of_event(event, "track")
        if ask is None or len(purposes) != 1 or len(subject) > MAX_ID_LENGTH or subject.isspace():
            return None, None
        if not settings.policy.plans(event):
            return None, None
        if properties is not None and (type(properties) is not dict or not EVENT_STRUCTURE.isdisjoint(properties)):
            return None, None
        if self._watches_ids and "@" in subject:
            self._warn_of_ids((subject,))
        purpose = purposes[0]
        standing = self._standing(ask, subject, purpose)
        if standing not in self._allowing:
            return self._turned_away_at_once(event, purpose, standing, settings, outlet), standing
        if standing is Standing.GRANTED and self._may_express and kind_in_name(event) is None:
            policy = settings.policy
            text = event_text(
                client, subject, event, properties, policy.plain("events", event), policy.detection("events")
            )
            if text is not None:
                return self._expressed("events", event, purpose, text, subject, settings, outlet), standing
        return None, standing

    def _turned_away_at_once(
        self, event: str, purpose: Purpose, standing: Standing, settings: Settings, outlet: Outlet
    ) -> Decision:
        decision = self._turned_away.get((event, purpose, standing))
        if decision is None:
            decision = Decision(
                outcome=Outcome.DROPPED,
                reason=Reason(standing.cause),
                endpoint="events",
                event=shown_event(event),
                purpose=purpose,
                status=standing.status,
            )
            if len(self._turned_away) < _REMEMBERED:
                self._turned_away[event, purpose, standing] = decision
        return self._settle(decision, settings, outlet)

    def update_at_once(self, client: Client, message: dict[Any, Any], outlet: Outlet) -> Decision | None:
        """Sends a profile update that needs no gate; None when it does."""
        settings = self.settings()
        ask = self._ask_quickly
        if not self._may_express or ask is None or not settings.purposes.is_default:
            return None
        found = update_text(client, message, settings.policy.plain("people"), settings.policy.detection("people"))
        if found is None:
            return None
        subject, text = found
        if len(subject) > MAX_ID_LENGTH or subject.isspace():
            return None
        if self._standing(ask, subject, Purpose.PROFILES) is not Standing.GRANTED:
            return None
        return self._expressed("people", None, Purpose.PROFILES, text, subject, settings, outlet)

    def _expressed(
        self,
        endpoint: str,
        event: str | None,
        purpose: Purpose,
        text: str,
        subject: str,
        settings: Settings,
        outlet: Outlet,
    ) -> Decision:
        decision = self._let_through.get((endpoint, event, purpose))
        if decision is None:
            decision = Decision(
                outcome=Outcome.SENT,
                reason=Reason.CONSENT_GRANTED,
                endpoint=endpoint,
                event=event,
                purpose=purpose,
                status=Standing.GRANTED.status,
            )
            if len(self._let_through) < _REMEMBERED:
                self._let_through[endpoint, event, purpose] = decision
        ticket = Pass(self, outlet, endpoint, event, (subject,), (), (purpose,), settings)
        outlet.deliver(endpoint, text, None, ticket)
        return self._settle(ticket.fate(decision), settings, outlet)

    def submit(self, message: Message, credentials: object, outlet: Outlet, known: Standing | None = None) -> Decision:
        """Judges a message, delivers what may be sent, and says what was done.

        Args:
            message: The message, taken apart.
            credentials: What the vendor's client hands to the consumer as `api_key`; None for nothing.
            outlet: Where to deliver.
            known: The present standing of the message's only person, when it was asked a moment ago.

        Raises:
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        settings = self.settings()
        if self._watches_ids:
            self._warn_of_ids(message.subjects)
        verdict, purposes = self._judged(message, settings, known)
        if verdict.text is not None:
            needed = purposes if verdict.needs_consent else ()
            event = shown_event(message.event)
            ticket = Pass(self, outlet, message.endpoint, event, message.persons, message.devices, needed, settings)
            outlet.deliver(message.endpoint, verdict.text, credentials, ticket)
            return self._settle(ticket.fate(verdict.decision), settings, outlet)
        return self._settle(verdict.decision, settings, outlet)

    def _warn_of_ids(self, subjects: Iterable[str]) -> None:
        """Warns, once in the process, of an id that says who somebody is."""
        for subject in subjects:
            if ("@" in subject or subject.startswith("+")) and (kind := kind_in_name(subject)) is not None:
                self._watches_ids = False
                process.warn_once(_PERSONAL_IDS.format(kind))

    @staticmethod
    def _standing(ask: Callable[[str, Purpose], object], subject: str, purpose: Purpose) -> Standing:
        try:
            answer = ask(subject, purpose)
            return answer if type(answer) is Standing else as_standing(answer)
        except Exception as error:  # noqa: BLE001 - a registry is anybody's; whatever it raises means denied
            note_failure("registry", error)
            return Standing.UNAVAILABLE

    def _judged(
        self, message: Message, settings: Settings, known: Standing | None
    ) -> tuple[Verdict, tuple[Purpose, ...]]:
        purposes: tuple[Purpose, ...] = ()
        verdict: Verdict | None = None
        try:
            purposes = settings.purposes.of(message)
            asked = questions(message, tuple(dict.fromkeys((*purposes, *bound_purposes(message, settings.policy)))))
            standings = {}
            if known is not None and asked and len(message.subjects) == 1:
                # Asked a moment ago: one look-up for each purpose is enough (contract rule 3.14).
                standings[asked[0]] = known
                asked = asked[1:]
            if asked:
                standings.update(standings_of(settings.registry, asked))
            regime = regimes_of(settings.regime, message.persons)
            judged = judge(
                message, purposes, standings, settings.policy, regime, maps_ids=not settings.identity.is_plain
            )
            if judged.text is not None and not settings.identity.is_plain:
                judged = _pseudonymised(judged, judged.text, message, settings)
            # Only now, or a failure above would leave a verdict with the raw ids.
            verdict = judged
        except Exception as error:  # noqa: BLE001 - rule 1.8: nothing of ours raises into a request
            note_failure("judging a message", error)
        if verdict is None:
            message.fault = Reason.INVALID_MESSAGE
            verdict = judge(message, purposes, {}, settings.policy)
        return verdict, (*purposes, *verdict.bound)

    def refuse(self, endpoint: str, reason: Reason, outlet: Outlet, event: str | None = None) -> Decision:
        """Drops what cannot even be taken apart."""
        shown = endpoint if isinstance(endpoint, str) and endpoint in _KNOWN_ENDPOINTS else "unknown"
        decision = Decision(outcome=Outcome.DROPPED, reason=reason, endpoint=shown, event=shown_event(event))
        return self._settle(decision, self.settings(), outlet)

    def refuse_call(self, name: str, outlet: Outlet) -> Decision:
        """Refuses a method of the vendor's client that this release does not know (contract rule 1.4)."""
        process.warn_once(
            f"mixpanel.Mixpanel.{name}() is not known to this release of consentpanel, so nothing was sent: "
            "look for a newer release"
        )
        return self.refuse("unknown", Reason.UNKNOWN_CALL, outlet)

    def context(self, context: object, outlet: Outlet) -> dict[str, Any] | None:
        """What may be sent of the context of a remote flag; None when no request may be made (contract rule 1.7).

        Raises:
            MessageError: Something failed and the client was built with ``on_error="raise"``.
        """
        message = take_apart("flags", context, Wire())
        verdict = self._judged(message, self.settings(), None)[0]
        self._settle(verdict.decision, self.settings(), outlet)
        said: dict[str, Any] | None = None if verdict.text is None else json.loads(verdict.text)
        return said

    def with_mapped_ids(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The context of a local flag with the ids that the vendor knows (contract rule 1.7)."""
        settings = self.settings()
        mapped = dict(context)
        if not settings.identity.is_plain:
            for name in FLAG_IDS & mapped.keys():
                try:
                    mapped[name] = settings.identity.of(subject_key(mapped[name]), settings.policy.keyed)
                except Exception as error:  # noqa: BLE001 - a store is anybody's, and the id stays on this machine
                    note_failure("identity", error)
        return mapped

    def settle(self, decision: Decision, outlet: Outlet) -> Decision:
        """Counts a decision and tells it to whoever wants to know."""
        return self._settle(decision, self.settings(), outlet)

    def _settle(self, decision: Decision, settings: Settings, outlet: Outlet) -> Decision:
        reason, outcome = decision.reason, decision.outcome
        with self._lock:
            self._counts[outcome, reason] = self._counts.get((outcome, reason), 0) + 1
        if outlet.observes or process.outbox is not None:
            outlet.observe(decision)
        if settings.observers:
            self._tell(decision, settings)
        if outcome is _DROPPED:
            if reason in _FAULTS:
                self._report(decision, settings)
            elif LOGGER.isEnabledFor(logging.DEBUG):
                LOGGER.debug("dropped a message to %s: %s", decision.endpoint, reason.value)
        elif not settings.has_policy and decision.dropped:
            process.warn_once(_NO_POLICY)
        return decision

    def _tell(self, decision: Decision, settings: Settings) -> None:
        for observer in settings.observers:
            try:
                observer(decision)
            except Exception as error:  # noqa: BLE001 - rule 4.3: an observer that raises is logged and ignored
                note_failure("observer", error)

    def _report(self, decision: Decision, settings: Settings) -> None:
        if decision.reason is Reason.NOT_CONFIGURED:
            process.warn_once(_NO_REGISTRY)
        elif decision.reason is not Reason.REGISTRY_ERROR:  # which is logged once a minute where it happens
            LOGGER.warning("dropped a message to %s: %s", decision.endpoint, decision.reason.value)
        if settings.on_error == "raise":
            raise MessageError(decision)

    def stats(self) -> dict[str, dict[str, int]]:
        """How often each outcome and reason came about."""
        with self._lock:
            counts = dict(self._counts)
        found: dict[str, dict[str, int]] = {}
        for (outcome, reason), count in counts.items():
            found.setdefault(outcome, {})[reason] = count
        return found


def _pseudonymised(verdict: Verdict, text: str, message: Message, settings: Settings) -> Verdict:
    """A verdict whose message names everybody as the vendor knows them (contract rule 3.9)."""
    pseudonyms = {key: settings.identity.of(key, settings.policy.keyed) for key in message.subjects}
    mapped = with_pseudonyms(text, pseudonyms)
    if len(mapped) < MAX_BYTES:
        return verdict._replace(text=mapped)
    # A pseudonym may be longer than the id.
    return Verdict(attrs.evolve(verdict.decision, outcome=Outcome.DROPPED, reason=Reason.TOO_LARGE), None)


_DROPPED = Outcome.DROPPED
_FAULTS = frozenset(reason for reason in Reason if reason.is_error)
_KNOWN_ENDPOINTS = frozenset({"events", "people", "groups", "imports", "flags"})
