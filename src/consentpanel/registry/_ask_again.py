"""When a person may be asked again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from consentpanel._consent.age import MaxAge, end_of
from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus, now
from consentpanel._consent.standing import in_order
from consentpanel.registry._writing import call, history_of
from consentpanel.registry.callable import as_registry


def ask_again_at(registry: Any, subject_id: Any, purpose: str) -> datetime | None:
    """From when a person may be asked for consent: what a banner or a panel follows.

    Args:
        registry: A registry that keeps a history. Its `max_age`, if it has one, says how long answers are good for.
        subject_id: The person: a `str`, `int` or `UUID`.
        purpose: The purpose, or its name.

    Returns:
        An aware datetime in UTC, which may have passed. After a refusal it is six months later (CNIL, guidelines on cookies,
        17 September 2020) or what `max_age` says, counted from now for somebody who was forgotten and whose no was kept; for a grant that holds, its end; the present moment where nobody has
        answered, or where the grant holds no more. None when a grant holds that never ends.

    Raises:
        InvalidRecordError: The id or the purpose is malformed.
        RegistryError: The registry failed, or keeps no history.

    Example:
        >>> from consentpanel.registry import MemoryRegistry, ask_again_at
        >>> registry = MemoryRegistry()
        >>> registry.deny("user-1", "analytics")
        >>> denied = registry.history("user-1")[0].recorded_at
        >>> 180 < (ask_again_at(registry, "user-1", "analytics") - denied).days < 186
        True
    """
    registry = as_registry(registry)
    named, present = Purpose(purpose), now()
    said = [record for record in in_order(history_of(registry, subject_id)) if record.purpose == named]
    max_age = getattr(registry, "max_age", None)
    ages = max_age if isinstance(max_age, MaxAge) else MaxAge()
    if not said or said[-1].status is ConsentStatus.UNKNOWN:
        is_refused = call(registry, "status", subject_id, named) is ConsentStatus.DENIED
        # Of somebody who was forgotten nothing is left but that they said no.
        return ages.end_of_refusal(named, present) if is_refused else present
    latest = said[-1]
    if latest.status is ConsentStatus.DENIED:
        return ages.end_of_refusal(named, latest.recorded_at)
    if call(registry, "status", subject_id, named) is not ConsentStatus.GRANTED:
        return present
    return end_of(named, latest.recorded_at, latest.expires_at, ages)
