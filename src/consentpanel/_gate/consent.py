"""Who forbids a message: what to ask before it can be judged, and the first answer that says no. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from consentpanel._consent.ids import Purpose
from consentpanel._consent.regime import Regime
from consentpanel._consent.standing import Question, Standing
from consentpanel._messages.decision import Reason
from consentpanel._messages.message import Message
from consentpanel.policy import FieldPolicy


class Refusal(NamedTuple):
    """The first standing that forbids a message."""

    reason: Reason
    purpose: Purpose
    standing: Standing


def bound_purposes(message: Message, policy: FieldPolicy) -> tuple[Purpose, ...]:
    """The purposes that rules for properties of the message are bound to."""
    if not policy.binds_purposes or message.fault is not None:
        return ()
    names: set[str] = set(message.properties) | set(message.record)
    for operator in message.operators:
        value = message.record[operator]
        if isinstance(value, dict):
            names |= value.keys()
    return policy.compiled(message.scope, message.event).bound_purposes(names)


def questions(message: Message, purposes: Collection[Purpose], policy: FieldPolicy) -> list[Question]:
    """What to ask the registry before a message can be judged.

    Args:
        message: The message, taken apart.
        purposes: Its own purposes and the `bound_purposes` of its properties.
        policy: The field policy: one that keeps everything keeps even of a removal what only consent lets leave.
    """
    if message.fault is not None or message.names_too_many or (message.is_removal and not policy.keeps_all):
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
    """The first standing that forbids a message; None when everybody allows it.

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
