"""The gate: judges one message. Pure: (message, standings, policy, regime) to (decision, what to send).

Read this first. Nothing here asks a registry, sends, logs or keeps anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from consentpanel._consent import Purpose, Standing
from consentpanel._decision import Decision, Outcome, Reason
from consentpanel._message import FLAGS, UNNAMED_KEYS, Message
from consentpanel._regime import Regime
from consentpanel._time import read_time
from consentpanel._vendor import (
    DICT_OPERATORS,
    GROUP_NAMES,
    IDS,
    LIST_OPERATORS,
    PERSONAL,
    PROFILE_STRUCTURE,
    REMOVALS,
    TIMES,
)
from consentpanel._wire import KEY_NOT_TEXT, MAX_BYTES, NotOnWireError, dumps, with_text_keys
from consentpanel.policy._paths import UNNAMED, Node, RefusedError, Walk
from consentpanel.policy.fields import FieldPolicy

MAX_PROPERTIES = 254
"""The vendor takes fewer than 255 properties a message."""

Question = tuple[str, Purpose, "datetime | None"]
"""Whose consent, for what, and at which moment; None asks about now."""


class Verdict(NamedTuple):
    """What was decided, and the JSON to send; None when nothing is sent."""

    decision: Decision
    text: str | None
    needs_consent: bool = True
    """Whether what is sent stands on somebody's consent, so that a withdrawal takes it back."""


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
) -> Verdict:
    """Judges one message (contract rules 2.5 to 2.10, 3.1 to 3.8).

    Args:
        message: The message, taken apart.
        purposes: The purposes that it serves; each needs consent.
        standings: The answer of the registry to each of `questions(message, purposes)`; a missing one is a denial.
        policy: The field policy.
        regime: What silence means, for everybody or by subject id.

    Returns:
        The verdict.
    """
    purpose = next(iter(purposes), None)
    if message.fault is not None:
        return Verdict(_dropped(message, message.fault, purpose), None)
    if message.is_removal:
        return _removal(message, Reason.REMOVAL, policy)
    if not message.persons and not message.devices:
        return _said(message, Reason.NO_PERSON_NAMED, policy, None, None)
    refusal = _refusal(message, purposes, standings, regime)
    if refusal is not None:
        if message.has_removal:
            return _removal(message, refusal.reason, policy)
        return Verdict(_dropped(message, refusal.reason, refusal.purpose, refusal.standing), None)
    granted = all(standings[person, each, None] is Standing.GRANTED for person in message.persons for each in purposes)
    standing = Standing.GRANTED if granted else Standing.NOT_RECORDED
    reason = Reason.CONSENT_GRANTED if granted else Reason.NOT_DENIED
    return _said(message, reason, policy, purpose, standing)


def questions(message: Message, purposes: Collection[Purpose]) -> list[Question]:
    """What to ask the registry before a message can be judged."""
    if message.fault is not None or message.is_removal:
        return []
    moments = (None, *message.moments)
    return [
        (subject, purpose, moment)
        for moment in moments
        for purpose in purposes
        for subject in (*message.persons, *message.devices)
    ]


def _refusal(
    message: Message,
    purposes: Collection[Purpose],
    standings: Mapping[Question, Standing],
    regime: Regime | Callable[[str], Regime],
) -> Refusal | None:
    regimes = {person: regime if isinstance(regime, Regime) else regime(person) for person in message.persons}
    for moment in (None, *message.moments):
        for purpose in purposes:
            for person in message.persons:
                standing = standings.get((person, purpose, moment), Standing.UNAVAILABLE)
                if not regimes[person].allows(standing):
                    return _because(standing, purpose, moment)
            for device in message.devices:
                standing = standings.get((device, purpose, moment), Standing.UNAVAILABLE)
                if blocks_device(standing):
                    return _because(standing, purpose, moment)
    return None


def blocks_device(standing: Standing) -> bool:
    """Whether a second id of a person forbids a message: only by a denial that is recorded (contract rule 2.7)."""
    return standing.is_recorded and not Regime.OPT_OUT.allows(standing)


def _because(standing: Standing, purpose: Purpose, moment: datetime | None) -> Refusal:
    past = moment is not None and standing not in {Standing.UNAVAILABLE, Standing.NOT_CONFIGURED}
    return Refusal(Reason.NO_CONSENT_THEN if past else Reason(standing.cause), purpose, standing)


def _dropped(
    message: Message, reason: Reason, purpose: Purpose | None, standing: Standing | None = None, path: str | None = None
) -> Decision:
    return Decision(
        outcome=Outcome.DROPPED,
        reason=reason,
        endpoint=message.endpoint,
        event=message.event,
        purpose=purpose,
        status=None if standing is None else standing.status,
        dropped={} if path is None else {path: "refuse"},
    )


def _removal(message: Message, reason: Reason, policy: FieldPolicy) -> Verdict:
    """Only what takes data away, rebuilt from parts that say nothing about the person (contract rule 2.9)."""
    if policy.keeps_all and message.is_removal:
        return _all_kept(message, Reason.REMOVAL, None, None)._replace(needs_consent=False)
    record: dict[str, Any] = {}
    dropped = dict(message.dropped)
    for name, value in message.record.items():
        if name in REMOVALS:
            record[name] = _names_to_unset(value, dropped) if name == "$unset" else ""
        elif _is_bare(name, value, message.endpoint):
            record[name] = value
        else:
            dropped[name[:128]] = reason.value if name not in PROFILE_STRUCTURE else "not_a_scalar"
    return _written(message, record, Reason.REMOVAL, dropped, {}, None, None, needs_consent=False)


def _is_bare(name: str, value: Any, endpoint: str) -> bool:
    """Whether a name beside a removal can say nothing but whom, what and when it concerns."""
    if name in IDS:
        return True
    if name in TIMES:
        return _is_time(value)
    if name in GROUP_NAMES:
        return endpoint == "groups" and type(value) in {str, int, float}
    if name in {"$token", "token"}:
        return type(value) is str
    return name in PROFILE_STRUCTURE and type(value) is bool


def _is_time(value: Any) -> bool:
    try:
        read_time(value)
    except ValueError:
        return False
    return True


def _names_to_unset(value: Any, dropped: dict[str, str]) -> list[str]:
    names = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple, set, frozenset)) else []
    kept = [str.__str__(name) for name in names if issubclass(type(name), str)]
    if len(kept) != len(names) or (not names and value):
        dropped["$unset"] = "not_a_name"
    return kept


def _scalar(message: Message, value: Any) -> tuple[Any, bool]:
    try:
        tree = message.wire.tree(value)
    except NotOnWireError:
        return None, False
    is_ids = isinstance(tree, list) and not any(isinstance(item, (list, dict)) for item in tree)
    return tree, is_ids or not isinstance(tree, (list, dict))


def _said(
    message: Message, reason: Reason, policy: FieldPolicy, purpose: Purpose | None, standing: Standing | None
) -> Verdict:
    """What the field policy leaves of a message that may be sent."""
    if policy.keeps_all:
        return _all_kept(message, reason, purpose, standing)
    if not message.is_event and any(
        not isinstance(message.record[each], dict) for each in DICT_OPERATORS & message.record.keys()
    ):
        return Verdict(_dropped(message, Reason.INVALID_MESSAGE, purpose, standing), None)
    scope = "events" if message.is_event else message.endpoint
    names = policy.names(scope, message.event)
    walk = policy.walk(message.wire)
    walk.dropped.update(message.dropped)
    try:
        if message.endpoint == FLAGS:
            record = walk.properties(message.properties, names)
            return _written(message, record, reason, walk.dropped, walk.changed, purpose, standing)
        record = _event_left(message, walk, names) if message.is_event else _update_left(message, walk, names)
    except RefusedError as refused:
        return Verdict(_dropped(message, Reason.REFUSED_BY_POLICY, purpose, standing, str(refused)), None)
    if not message.is_event and record.keys() <= PROFILE_STRUCTURE | GROUP_NAMES:
        decision = Decision(
            outcome=Outcome.DROPPED,
            reason=Reason.NOTHING_LEFT,
            endpoint=message.endpoint,
            purpose=purpose,
            status=None if standing is None else standing.status,
            dropped=walk.dropped,
        )
        return Verdict(decision, None)
    return _written(message, record, reason, walk.dropped, walk.changed, purpose, standing)


def _event_left(message: Message, walk: Walk, names: Mapping[str, Node]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name == "event":
            record[name] = message.event
        elif name == "properties":
            record[name] = walk.properties(message.properties, names)
        else:
            _top_left(name, value, message, walk, names, record)
    return record


def _update_left(message: Message, walk: Walk, names: Mapping[str, Node]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name in DICT_OPERATORS:
            kept = walk.properties(value, names, inside=name in LIST_OPERATORS)
            if kept or not value:
                record[name] = kept
        elif name in REMOVALS:
            record[name] = _names_to_unset(value, walk.dropped) if name == "$unset" else ""
        else:
            _top_left(name, value, message, walk, names, record)
    return record


def _top_left(
    name: str, value: Any, message: Message, walk: Walk, names: Mapping[str, Node], record: dict[str, Any]
) -> None:
    """What is left of a name at the top of a message, where ``meta`` lands (contract rule 3.5)."""
    if name in PROFILE_STRUCTURE or (name in GROUP_NAMES and message.endpoint == "groups"):
        kept, scalar = _scalar(message, value)
        if not scalar:
            walk.dropped[name] = "not_a_scalar"
        elif name in TIMES and not _is_time(kept):
            walk.dropped[name] = "not_a_time"
        else:
            record[name] = kept
    elif name in PERSONAL:
        record.update(walk.properties({name: value}, names))
    else:
        walk.dropped[name[:128]] = UNNAMED


def _all_kept(message: Message, reason: Reason, purpose: Purpose | None, standing: Standing | None) -> Verdict:
    """Everything, as the vendor's client would write it (contract rules 1.3 and 3.8)."""
    dropped = dict(message.dropped)
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if isinstance(value, dict):
            record[name] = _kept_tree(message, value, dropped)
        else:
            record.update(_kept_tree(message, {name: value}, dropped))
    verdict = _written(message, record, reason, dropped, {}, purpose, standing)
    if verdict.text is None or dropped or message.wire.is_plain:
        return verdict
    # A serializer with its own way of writing says the same in other bytes: those are the vendor's.
    try:
        text = message.wire.text(message.record)
    except TypeError as error:
        fault = error
    else:
        return verdict._replace(text=text) if _sorted(json.loads(text)) == _sorted(record) else verdict
    raise UnwritableError(fault)


def _sorted(tree: Any) -> str:
    # Text, because NaN equals itself there.
    return json.dumps(tree, sort_keys=True)


def _kept_tree(message: Message, properties: Mapping[Any, Any], dropped: dict[str, str]) -> dict[str, Any]:
    named, left_out = with_text_keys(properties)
    if left_out:
        dropped[UNNAMED_KEYS] = KEY_NOT_TEXT
    kept = {}
    for name, value in named.items():
        try:
            kept[name] = message.wire.tree(value, allow_nan=True)
        except NotOnWireError as error:
            # A caller of the vendor's client catches what its serializer raises; one of ours need not change.
            fault = message.wire.fault(value) if error.cause == "unserialisable" else None
            if isinstance(fault, TypeError):
                raise UnwritableError(fault) from None
            dropped[name[:128]] = error.cause
    return kept


class UnwritableError(Exception):
    """Under `FieldPolicy.keep_all()`: what the vendor's client raises for a value that its serializer refuses."""

    def __init__(self, fault: TypeError) -> None:
        super().__init__("a value cannot be written")
        self.fault = fault


def _written(
    message: Message,
    record: dict[str, Any],
    reason: Reason,
    dropped: dict[str, str],
    changed: dict[str, str],
    purpose: Purpose | None,
    standing: Standing | None,
    *,
    needs_consent: bool = True,
) -> Verdict:
    status = None if standing is None else standing.status
    count = (
        len(record.get("properties", ()))
        if message.is_event
        else sum(len(value) for value in record.values() if isinstance(value, (dict, list)))
    )
    text = dumps(record) if count <= MAX_PROPERTIES else ""
    if count > MAX_PROPERTIES or len(text) >= MAX_BYTES:
        fault = Reason.TOO_MANY_PROPERTIES if count > MAX_PROPERTIES else Reason.TOO_LARGE
        return Verdict(_dropped(message, fault, purpose, standing), None)
    decision = Decision(
        outcome=Outcome.REDACTED if dropped or changed else Outcome.SENT,
        reason=reason,
        endpoint=message.endpoint,
        event=message.event,
        purpose=purpose,
        status=status,
        dropped=dropped,
        changed=changed,
    )
    return Verdict(decision, text, needs_consent)
