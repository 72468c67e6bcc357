"""What a visitor has answered becomes the account's at log-in."""

from __future__ import annotations

from typing import Any

import attrs

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus, new_record_id, now
from consentpanel._consent.standing import in_order
from consentpanel.errors import InvalidRecordError
from consentpanel.registry._records import latest_of, not_before
from consentpanel.registry._writing import call, history_of, record_all
from consentpanel.registry.callable import as_registry

_SOURCE = "login"
_EVIDENCE = "record_id"


def carry_over(registry: Any, from_id: Any, to_id: Any) -> list[ConsentRecord]:
    """Makes the answers of a visitor those of an account: to be called at log-in.

    For each purpose a denial is carried over whatever the account has said before. A grant is carried over only where
    the account has never granted nor denied, and only one that holds now: neither expired nor of an older policy
    version. What was carried over once is not carried over again, so an answer that the account gives later stays.

    The new records say ``source="login"`` and name the visitor's record in their evidence, as ``{"record_id": "..."}``.
    They are of this moment, and keep `expires_at`, `policy_version` and `jurisdiction`.

    Args:
        registry: A registry with `status`, `record` and `history`.
        from_id: The visitor: a `str`, `int` or `UUID`.
        to_id: The account: a `str`, `int` or `UUID`.

    Returns:
        The records that were appended, all or none of them where the registry has `record_many`.

    Raises:
        InvalidRecordError: An id is malformed, or both are the same.
        RegistryError: The registry failed, keeps no history, or cannot record. Of one without `record_many` the text
            says how many records were appended before.
        ConfigurationError: It is no registry.

    Example:
        >>> from consentpanel.registry import MemoryRegistry, carry_over
        >>> registry = MemoryRegistry()
        >>> registry.deny("visitor-7", "analytics", source="cookie-banner")
        >>> [record.source for record in carry_over(registry, "visitor-7", "user-1")]
        ['login']
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.DENIED: 'denied'>
        >>> carry_over(registry, "visitor-7", "user-1")
        []
    """
    registry = as_registry(registry)
    visitor, account = subject_key(from_id), subject_key(to_id)
    if visitor == account:
        raise InvalidRecordError("from_id and to_id must be two ids")
    # Before the histories are read: what is said meanwhile is later.
    said_now = now()
    theirs = history_of(registry, account)
    said = [record.evidence.get(_EVIDENCE) for record in theirs if record.source == _SOURCE]
    carried = {each for each in said if isinstance(each, str)}
    answered = {record.purpose for record in theirs if record.status is not ConsentStatus.UNKNOWN}
    latest = latest_of(theirs)
    deciding: dict[Purpose, ConsentRecord] = {
        record.purpose: record for record in in_order(history_of(registry, visitor))
    }
    records = [
        not_before(
            attrs.evolve(
                record,
                subject_id=account,
                recorded_at=said_now,
                source=_SOURCE,
                evidence={_EVIDENCE: record.record_id},
                record_id=new_record_id(),
            ),
            latest,
        )
        for purpose, record in deciding.items()
        if record.record_id not in carried
        and (record.status is ConsentStatus.DENIED or (purpose not in answered and _holds(registry, visitor, record)))
    ]
    if records:
        record_all(registry, records)
    return records


def _holds(registry: Any, visitor: str, record: ConsentRecord) -> bool:
    is_grant = record.status is ConsentStatus.GRANTED
    return is_grant and call(registry, "status", visitor, record.purpose) is ConsentStatus.GRANTED
