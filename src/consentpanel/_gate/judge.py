"""The gate: judges one message. Pure: (message, standings, policy, regime) to (decision, what to send).

Read this first. Nothing here asks a registry, sends, logs or keeps anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.regime import Regime
from consentpanel._consent.standing import Question, Standing
from consentpanel._messages.decision import Decision, Outcome, Reason
from consentpanel._messages.message import FLAGS, Message
from consentpanel._messages.wire import MAX_BYTES, NotOnWireError, dumps, named_by_text
from consentpanel._mixpanel.names import (
    DICT_OPERATORS,
    EVENT_STRUCTURE,
    GROUP_NAMES,
    IDS,
    LIST_OPERATORS,
    PERSONAL,
    PROFILE_STRUCTURE,
    REMOVALS,
)
from consentpanel.policy._apply import UNNAMED, RefusedError, Walk, shown_name
from consentpanel.policy._detect.detection import Detection
from consentpanel.policy._paths import Node
from consentpanel.policy._scopes import SCOPES
from consentpanel.policy.fields import FieldPolicy

UNPLANNED = "<unplanned>"
"""Stands in a `Decision` for the name of an event that is not planned."""
MAX_PROPERTIES = 254
"""The vendor takes fewer than 255 properties a message."""


class Verdict(NamedTuple):
    """What was decided, and the JSON to send; None when nothing is sent."""

    decision: Decision
    text: str | None
    needs_consent: bool = True
    """Whether what is sent stands on somebody's consent, so that a withdrawal takes it back."""
    bound: tuple[Purpose, ...] = ()
    """More purposes, on which some of its properties stand."""


class Refusal(NamedTuple):
    """The first standing that forbids a message."""

    reason: Reason
    purpose: Purpose
    standing: Standing


def judge(
    message: Message,
    purposes: Collection[Purpose],
    standings: Mapping[Question, Standing],
    policy: FieldPolicy,
    regime: Regime | Callable[[str], Regime] = Regime.OPT_IN,
    *,
    maps_ids: bool = False,
) -> Verdict:
    """Judges one message (contract rules 2.5 to 2.10, 3.1 to 3.8).

    Args:
        message: The message, taken apart.
        purposes: The purposes that it serves; each needs consent.
        standings: The answer of the registry to each of `questions(message, purposes)`; a missing one is a denial.
        policy: The field policy.
        regime: What silence means, for everybody or by subject id.
        maps_ids: Whether each text that is a raw id becomes a pseudonym later, and so needs no detector.

    Returns:
        The verdict.
    """
    purpose = next(iter(purposes), None)
    if message.event is not None and not policy.plans(message.event):
        # An unplanned name may hold anything, so the decision does not quote it.
        return Verdict(_dropped(attrs.evolve(message, event=UNPLANNED), Reason.UNPLANNED_EVENT, purpose), None)
    if message.fault is not None:
        return Verdict(_dropped(message, message.fault, purpose), None)
    if message.is_removal:
        return _removal(message, Reason.REMOVAL, policy)
    if not message.persons and not message.devices:
        return _said(message, Reason.NO_PERSON_NAMED, policy, None, None, maps_ids=maps_ids)
    who = message.persons, message.devices
    moments = (None, *message.moments)
    refusal = refusal_of(*who, moments, purposes, standings, regime)
    if refusal is not None:
        if message.has_removal:
            return _removal(message, refusal.reason, policy)
        return Verdict(_dropped(message, refusal.reason, refusal.purpose, refusal.standing), None)
    granted = all(standings[person, each, None] is Standing.GRANTED for person in message.persons for each in purposes)
    standing = Standing.GRANTED if granted else Standing.NOT_RECORDED
    reason = Reason.CONSENT_GRANTED if granted else Reason.NOT_DENIED
    bound = bound_purposes(message, policy)
    closed = frozenset(each for each in bound if refusal_of(*who, moments, (each,), standings, regime) is not None)
    verdict = _said(message, reason, policy, purpose, standing, closed, maps_ids=maps_ids)
    return verdict._replace(bound=tuple(each for each in bound if each not in closed)) if bound else verdict


def bound_purposes(message: Message, policy: FieldPolicy) -> tuple[Purpose, ...]:
    """The purposes that rules for properties of the message are bound to (contract rule 3.14)."""
    if not policy.binds_purposes:
        return ()
    scope = "events" if message.is_event else message.endpoint
    names: set[str] = set(message.properties) | set(message.record)
    for operator in message.operators:
        value = message.record[operator]
        if isinstance(value, dict):
            names |= value.keys()
    return policy.bound_purposes(scope, message.event, names) if scope in SCOPES else ()


def questions(message: Message, purposes: Collection[Purpose]) -> list[Question]:
    """What to ask the registry before a message can be judged.

    Args:
        message: The message, taken apart.
        purposes: Its own purposes and the `bound_purposes` of its properties.
    """
    if message.fault is not None or message.is_removal:
        return []
    moments = (None, *message.moments)
    return [
        (subject, purpose, moment)
        for moment in moments
        for purpose in purposes
        for subject in (*message.persons, *message.devices)
    ]


def refusal_of(
    persons: Iterable[str],
    devices: Iterable[str],
    moments: Iterable[datetime | None],
    purposes: Collection[Purpose],
    standings: Mapping[Question, Standing],
    regime: Regime | Callable[[str], Regime],
) -> Refusal | None:
    """The first standing that forbids a message; None when everybody allows it (contract rules 2.5 to 2.8).

    Args:
        persons: Whose consent is needed.
        devices: Second ids of theirs, of which only a recorded denial counts.
        moments: When it must have held; None for now.
        purposes: What for.
        standings: The answers; a missing one is a denial.
        regime: What silence means, for everybody or by subject id.
    """
    regimes = {person: regime if isinstance(regime, Regime) else regime(person) for person in persons}
    for moment in moments:
        for purpose in purposes:
            for person, theirs in regimes.items():
                standing = standings.get((person, purpose, moment), Standing.UNAVAILABLE)
                if not theirs.allows(standing):
                    return _because(standing, purpose, moment)
            for device in devices:
                standing = standings.get((device, purpose, moment), Standing.UNAVAILABLE)
                if standing.is_recorded and not Regime.OPT_OUT.allows(standing):
                    return _because(standing, purpose, moment)
    return None


def _because(standing: Standing, purpose: Purpose, moment: datetime | None) -> Refusal:
    past = moment is not None and standing not in {Standing.UNAVAILABLE, Standing.NOT_CONFIGURED}
    return Refusal(Reason.NO_CONSENT_THEN if past else Reason(standing.cause), purpose, standing)


def _dropped(
    message: Message,
    reason: Reason,
    purpose: Purpose | None,
    standing: Standing | None = None,
    refused: RefusedError | None = None,
) -> Decision:
    return Decision(
        outcome=Outcome.DROPPED,
        reason=reason,
        endpoint=message.endpoint,
        event=shown_event(message.event),
        purpose=purpose,
        status=None if standing is None else standing.status,
        dropped={} if refused is None else {str(refused): refused.cause},
    )


def shown_event(event: str | None) -> str | None:
    """The name of an event as decisions tell it (contract rule 4.2)."""
    return event if event is None else shown_name(event)


def _removal(message: Message, reason: Reason, policy: FieldPolicy) -> Verdict:
    """Only what takes data away, rebuilt from parts that say nothing about the person (contract rule 2.9)."""
    if policy.keeps_all and message.is_removal:
        return _all_kept(message, Reason.REMOVAL, None, None)._replace(needs_consent=False)
    record: dict[str, Any] = {}
    walk = policy.walk(message.wire, message.subjects)
    walk.note(message.dropped)
    for name, value in message.record.items():
        if name in REMOVALS:
            record[name] = _removed(name, value, walk)
        elif name in message.structure:
            walk.structural(name, value, record, message.default_of)
        else:
            walk.dropped[walk.path(name)] = reason.value
    return _written(message, record, Reason.REMOVAL, walk, None, None, needs_consent=False)


def _removed(name: str, value: Any, walk: Walk) -> Any:
    """``$delete`` says nothing, and ``$unset`` names of properties."""
    if name == "$delete":
        return ""
    names = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple, set, frozenset)) else []
    kept = [str.__str__(name) for name in names if issubclass(type(name), str)]
    if len(kept) != len(names) or (not names and value):
        walk.dropped["$unset"] = "not_a_name"
    return kept


def _said(
    message: Message,
    reason: Reason,
    policy: FieldPolicy,
    purpose: Purpose | None,
    standing: Standing | None,
    closed: frozenset[Purpose] = frozenset(),
    *,
    maps_ids: bool,
) -> Verdict:
    """What the field policy leaves of a message that may be sent."""
    if policy.keeps_all:
        return _all_kept(message, reason, purpose, standing)
    if message.is_malformed:
        return Verdict(_dropped(message, Reason.INVALID_MESSAGE, purpose, standing), None)
    tree = policy.tree("events" if message.is_event else message.endpoint, message.event)
    walk = policy.walk(message.wire, message.subjects, closed, maps_ids=maps_ids)
    walk.note(message.dropped)
    try:
        if message.endpoint == FLAGS:
            record = walk.properties(message.properties, tree, message.structure)
            return _written(message, record, reason, walk, purpose, standing)
        detection = policy.detection("events" if message.is_event else message.endpoint)
        if message.is_event:
            record = _event_left(message, walk, tree, detection)
        else:
            record = _update_left(message, walk, tree, detection)
    except RefusedError as refused:
        return Verdict(_dropped(message, Reason.REFUSED_BY_POLICY, purpose, standing, refused), None)
    if not message.is_event and record.keys() <= PROFILE_STRUCTURE | GROUP_NAMES:
        decision = Decision(
            outcome=Outcome.DROPPED,
            reason=Reason.NOTHING_LEFT,
            endpoint=message.endpoint,
            purpose=purpose,
            status=None if standing is None else standing.status,
            dropped=walk.dropped,
            detected=walk.detected,
        )
        return Verdict(decision, None)
    return _written(message, record, reason, walk, purpose, standing)


def _event_left(message: Message, walk: Walk, tree: Node, detection: Detection | None) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name == "event":
            record[name] = walk.named(message.event or "", name, detection)
        elif name == "properties":
            record[name] = walk.properties(message.properties, tree, EVENT_STRUCTURE, default_of=message.default_of)
        else:
            _top_left(name, value, message, walk, tree, record)
    return record


def _update_left(message: Message, walk: Walk, tree: Node, detection: Detection | None) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name in DICT_OPERATORS:
            kept = walk.properties(value, tree, IDS, inside=name in LIST_OPERATORS)
            if kept or not value:
                record[name] = kept
        elif name in REMOVALS:
            record[name] = _removed(name, value, walk)
        else:
            _top_left(name, value, message, walk, tree, record)
    for name in GROUP_NAMES & record.keys():
        record[name] = walk.named(record[name], name, detection)
    return record


def _top_left(name: str, value: Any, message: Message, walk: Walk, tree: Node, record: dict[str, Any]) -> None:
    """What is left of a name at the top of a message, where ``meta`` lands (contract rule 3.5)."""
    if name in message.structure:
        walk.structural(name, value, record, message.default_of)
    elif name in PERSONAL:
        record.update(walk.properties({name: value}, tree))
    else:
        walk.dropped[walk.path(name)] = UNNAMED


def _all_kept(message: Message, reason: Reason, purpose: Purpose | None, standing: Standing | None) -> Verdict:
    """Everything, as the vendor's client would write it (contract rules 1.3 and 3.8)."""
    walk = Walk(message.wire, None, message.subjects)
    walk.note(message.dropped)
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if isinstance(value, dict):
            record[name] = _kept_trees(value, walk)
        else:
            record.update(_kept_trees({name: value}, walk))
    return _written(message, record, reason, walk, purpose, standing)


def _kept_trees(properties: Mapping[Any, Any], walk: Walk) -> dict[str, Any]:
    kept = {}
    for name, value in named_by_text(properties, walk.dropped).items():
        path = walk.path(name)
        try:
            kept[name] = walk.tree_of(value, path, allow_nan=True)
        except NotOnWireError as error:
            walk.dropped[path] = error.cause
    return kept


def _written(
    message: Message,
    record: dict[str, Any],
    reason: Reason,
    walk: Walk,
    purpose: Purpose | None,
    standing: Standing | None,
    *,
    needs_consent: bool = True,
) -> Verdict:
    count = (
        len(record.get("properties", ()))
        if message.is_event
        else sum(len(value) for value in record.values() if isinstance(value, (dict, list)))
    )
    text = ""
    if count <= MAX_PROPERTIES:
        is_untouched = message.text and not (walk.dropped or walk.changed)
        text = message.text if is_untouched else dumps(record)
    if not text or len(text) >= MAX_BYTES:
        return Verdict(_dropped(message, Reason.TOO_LARGE, purpose, standing), None)
    decision = Decision(
        outcome=Outcome.REDACTED if walk.dropped or walk.changed else Outcome.SENT,
        reason=reason,
        endpoint=message.endpoint,
        event=shown_event(message.event),
        purpose=purpose,
        status=None if standing is None else standing.status,
        dropped=walk.dropped,
        changed=walk.changed,
        detected=walk.detected,
    )
    return Verdict(decision, text, needs_consent)
