"""The gate: judges one message. Pure: (message, standings, policy, regime) to (decision, what to send).

Read this first. Nothing here asks a registry, sends, logs or keeps anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.regime import Regime
from consentpanel._consent.standing import Question, Standing
from consentpanel._gate.consent import bound_purposes, refusal_of
from consentpanel._messages.decision import Cause, Decision, Outcome, Reason
from consentpanel._messages.message import FLAGS, MAX_ITEMS, Message
from consentpanel._messages.wire import dumps, fits, says
from consentpanel._mixpanel.names import GROUP_NAMES, PROFILE_ID
from consentpanel.policy import FieldPolicy
from consentpanel.policy._apply import Application, RefusedError
from consentpanel.policy._left import all_of, left_of, removal_left_of

#: Stands in a `Decision` for the name of an event that is not planned.
UNPLANNED = "<unplanned>"
#: The reasons for which a decision tells what is wrong with an argument.
_TOLD = frozenset({Reason.INVALID_MESSAGE, Reason.INVALID_ID, Reason.INVALID_TIME})


_NO_GROUP = "$group_key and $group_id must each be a number, or a str of at most 255 characters that is not empty"


class Verdict(NamedTuple):
    """What was decided, and the JSON to send; None when nothing is sent."""

    decision: Decision
    text: str | None
    #: Whether what is sent stands on somebody's consent, so that a withdrawal takes it back.
    needs_consent: bool = True
    #: More purposes, on which some of its properties stand.
    bound: tuple[Purpose, ...] = ()

    def __repr__(self) -> str:
        # The text holds what the person did.
        return f"Verdict({self.decision.outcome.value})"


class Grounds(NamedTuple):
    """What a decision rests on."""

    reason: Reason
    event: str | None = None
    purpose: Purpose | None = None
    standing: Standing | None = None

    def decide(self, message: Message, outcome: Outcome, applied: Application | None = None, **more: Any) -> Decision:
        """The decision about a message, with what the policy dropped and changed."""
        if applied is not None:
            more = {"dropped": applied.dropped, "changed": applied.changed, "detected": applied.detected}
        return Decision(
            outcome=outcome,
            reason=self.reason,
            endpoint=message.endpoint,
            event=self.event,
            purpose=self.purpose,
            status=None if self.standing is None else self.standing.status,
            problem=message.problem if self.reason in _TOLD else "",
            **more,
        )


def judge(
    message: Message,
    purposes: Collection[Purpose],
    standings: Mapping[Question, Standing],
    policy: FieldPolicy,
    regime: Regime | Callable[[str], Regime] = Regime.OPT_IN,
    *,
    maps_ids: bool = False,
) -> Verdict:
    """Judges one message.

    Args:
        message: The message, taken apart.
        purposes: The purposes that it serves; each needs consent.
        standings: The answer of the registry to each of `questions(message, purposes, policy)`; a missing one is a denial.
        policy: The field policy.
        regime: What silence means, for everybody or by subject id.
        maps_ids: Whether each text that is a raw id becomes a pseudonym later, and so needs no detector.

    Returns:
        The verdict.
    """
    purpose = next(iter(purposes), None)
    event = policy.shown_event(message)
    if message.event is not None and not policy.plans(message.event):
        # An unplanned name may hold anything, so the decision does not quote it.
        return _dropped(message, Grounds(Reason.UNPLANNED_EVENT, UNPLANNED, purpose))
    fault = Reason.TOO_LARGE if message.names_too_many else message.fault
    if fault is not None:
        return _faulty(message, Grounds(fault, event, purpose), policy)
    if message.is_removal and not policy.keeps_all:
        return _removal(message, Cause.UNNAMED, policy)
    if not message.persons and not message.devices:
        return _left(message, Grounds(Reason.NO_PERSON_NAMED), policy, maps_ids=maps_ids)
    who = message.persons, message.devices
    moments = (None, *message.moments)
    refusal = refusal_of(*who, moments, purposes, standings, regime)
    if refusal is not None:
        if message.has_removal:
            return _removal(message, Cause(refusal.reason), policy)
        return _dropped(message, Grounds(refusal.reason, event, refusal.purpose, refusal.standing))
    if message.is_removal:
        applied = policy.applied_to(message)
        return _written(message, all_of(message, applied), Grounds(Reason.REMOVAL), applied)._replace(
            needs_consent=False
        )
    granted = all(standings[person, each, None] is Standing.GRANTED for person in message.persons for each in purposes)
    if granted:
        grounds = Grounds(Reason.CONSENT_GRANTED, event, purpose, Standing.GRANTED)
    else:
        grounds = Grounds(Reason.NOT_DENIED, event, purpose, Standing.NOT_RECORDED)
    bound = bound_purposes(message, policy)
    refused_purposes = frozenset(
        each for each in bound if refusal_of(*who, moments, (each,), standings, regime) is not None
    )
    verdict = _left(message, grounds, policy, refused_purposes, maps_ids=maps_ids)
    return verdict._replace(bound=tuple(each for each in bound if each not in refused_purposes)) if bound else verdict


def _dropped(message: Message, grounds: Grounds, refused: RefusedError | None = None) -> Verdict:
    dropped = {} if refused is None else {str(refused): refused.cause}
    return Verdict(grounds.decide(message, Outcome.DROPPED, dropped=dropped), None)


def _faulty(message: Message, grounds: Grounds, policy: FieldPolicy) -> Verdict:
    if grounds.reason is Reason.INVALID_ID and message.has_removal and message.record.get(PROFILE_ID) is not None:
        # Another id is at fault: whose profile it is can be told.
        return _removal(message, Cause.ID, policy)
    return _dropped(message, grounds)


def _removal(message: Message, cause: Cause, policy: FieldPolicy) -> Verdict:
    """Only what takes data away from the vendor, for which nobody need be asked."""
    applied, grounds = policy.applied_to(message), Grounds(Reason.REMOVAL)
    try:
        record = removal_left_of(message, applied, cause, policy.compiled(message.scope).detection)
    except RefusedError as refused:
        return _dropped(message, grounds._replace(reason=Reason.REFUSED_BY_POLICY), refused)
    if not message.has_operator_in(record):
        return _nothing_left(message, grounds, applied)
    return _written(message, record, grounds, applied)._replace(needs_consent=False)


def _left(
    message: Message,
    grounds: Grounds,
    policy: FieldPolicy,
    refused_purposes: frozenset[Purpose] = frozenset(),
    *,
    maps_ids: bool,
) -> Verdict:
    """What the field policy leaves of a message that may be sent."""
    applied = policy.applied_to(message, refused_purposes, maps_ids=maps_ids)
    if policy.keeps_all:
        return _written(message, all_of(message, applied), grounds, applied)
    if message.is_malformed and message.has_removal:
        return _removal(message, Cause.UNSERIALISABLE, policy)
    if message.is_malformed:
        return _dropped(message, grounds._replace(reason=Reason.INVALID_MESSAGE))
    try:
        rules = policy.compiled(message.scope, message.event)
        record = left_of(message, applied, rules.tree, rules.detection)
    except RefusedError as refused:
        return _dropped(message, grounds._replace(reason=Reason.REFUSED_BY_POLICY), refused)
    if message.endpoint != FLAGS and not message.is_event and not message.has_operator_in(record):
        return _nothing_left(message, grounds, applied)
    return _written(message, record, grounds, applied)


def _nothing_left(message: Message, grounds: Grounds, applied: Application) -> Verdict:
    grounds = grounds._replace(reason=Reason.NOTHING_LEFT)
    return Verdict(grounds.decide(message, Outcome.DROPPED, dropped=applied.dropped, detected=applied.detected), None)


def _written(message: Message, record: dict[str, Any], grounds: Grounds, applied: Application) -> Verdict:
    """The record as the vendor's client would write it, unless it names no group or is larger than the vendor takes."""
    if message.endpoint == "groups" and not GROUP_NAMES & message.record.keys() <= record.keys():
        malformed = attrs.evolve(message, problem=_NO_GROUP)
        return _dropped(malformed, grounds._replace(reason=Reason.INVALID_MESSAGE))
    holders = (record.get("properties", ()),) if message.is_event else record.values()
    count = sum(len(value) for value in holders if isinstance(value, (dict, list)))
    text = ""
    if count <= MAX_ITEMS:
        text = dumps(record)
        # A serializer's own way of writing is kept where nothing was changed, whatever was noted of that.
        if message.text and says(message.text, text):
            text = message.text
    is_touched = bool(applied.dropped or applied.changed)
    if not text or not fits(text):
        return _dropped(message, grounds._replace(reason=Reason.TOO_LARGE))
    outcome = Outcome.REDACTED if is_touched else Outcome.SENT
    return Verdict(grounds.decide(message, outcome, applied), text)
