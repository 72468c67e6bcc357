"""What a visitor has answered becomes the account's at log-in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import attrs

from consentpanel._consent.age import MaxAge, end_of
from consentpanel._consent.gpc import GPC, is_in_spite
from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus, new_record_id, now
from consentpanel._consent.standing import in_order
from consentpanel.errors import InvalidRecordError
from consentpanel.registry._records import PROOF, latest_of, not_before
from consentpanel.registry._writing import call, history_of, record_all
from consentpanel.registry.callable import as_registry

_SOURCE = "login"
_EVIDENCE = "record_id"
#: Stands in the evidence for the visitor, by whose id the vendor may have been sent something.
_VISITOR = "visitor"
#: The purpose of records of which no call is for it, and whose status says nothing.
APART = Purpose("data-copy")


def carry_over(registry: Any, from_id: Any, to_id: Any, **where: Any) -> list[ConsentRecord]:
    """Makes the answers of a visitor those of an account: to be called at log-in.

    For each purpose a denial is carried over whatever the account has said before. A grant is carried over only where
    the account has never granted nor denied, and only one that holds now: neither expired nor of an older policy
    version. What was carried over once is not carried over again, so an answer that the account gives later stays.

    The new records say ``source="login"`` and name the visitor and the visitor's record in their evidence, as
    ``{"record_id": "...", "visitor": "..."}``: an erasure of the account, or a copy for it, is of what was sent about the visitor too.
    They are of this moment, and keep `expires_at`, `policy_version` and `jurisdiction`. Where nothing is carried over of a visitor
    who had said something, a record with the purpose ``data-copy``, which is not returned, names the visitor.

    Args:
        registry: A registry with `status`, `record` and `history`.
        from_id: The visitor: a `str`, `int` or `UUID`.
        to_id: The account: a `str`, `int` or `UUID`.
        where: ``session=`` or ``connection=`` of a `SQLAlchemyRegistry`: the records are part of the caller's transaction. What
            that has not committed yet is not among the answers that are looked at.

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
    known = [record.evidence.get(_EVIDENCE) for record in theirs if record.source == _SOURCE]
    carried = {each for each in known if isinstance(each, str)}
    answered = {record.purpose for record in theirs if record.status is not ConsentStatus.UNKNOWN}
    latest = latest_of(theirs)
    said = in_order(history_of(registry, visitor)) or _kept_objections(registry, visitor)
    # Whoever comes later has a copy of the cookie, and no right to what was sent about somebody else.
    is_taken = any(record.source == _SOURCE and record.status is ConsentStatus.UNKNOWN for record in said)
    deciding: dict[Purpose, ConsentRecord] = {record.purpose: record for record in said}
    max_age = getattr(registry, "max_age", None)
    ages = max_age if isinstance(max_age, MaxAge) else None
    is_strict = getattr(registry, "strict_records", False) is True
    records = [
        not_before(
            attrs.evolve(
                record,
                subject_id=account,
                recorded_at=said_now,
                # It ends when the visitor's would, and not later for having been carried.
                expires_at=_end_of(record, ages),
                source=_SOURCE,
                evidence={
                    _EVIDENCE: record.record_id,
                    **({} if is_taken else {_VISITOR: visitor}),
                    **({GPC: True} if is_in_spite(said, purpose) else {}),
                },
                record_id=new_record_id(),
            ),
            latest,
        )
        for purpose, record in deciding.items()
        if record.record_id not in carried
        and (
            record.status is ConsentStatus.DENIED
            or (purpose not in answered and _holds(registry, visitor, account, record, is_strict=is_strict))
        )
    ]
    if records:
        record_all(registry, records, **where)
    elif said and not is_taken and visitor not in carried_from(theirs):
        evidence = {_VISITOR: visitor}
        named = ConsentRecord(account, APART, ConsentStatus.UNKNOWN, source=_SOURCE, evidence=evidence)
        record_all(registry, [named], **where)
    return records


def carried_from(records: Iterable[ConsentRecord]) -> list[str]:
    """The visitors whose answers have become those of the account that the records are of, each once."""
    found = [record.evidence.get(_VISITOR) for record in records if record.source == _SOURCE]
    return list(dict.fromkeys(each for each in found if isinstance(each, str)))


def _holds(registry: Any, visitor: str, account: str, record: ConsentRecord, *, is_strict: bool) -> bool:
    """Whether a visitor's grant may become the account's, which has no record of an answer of its own."""
    if record.status is not ConsentStatus.GRANTED or (
        is_strict and any(getattr(record, name) is None for name in PROOF)
    ):
        return False
    # Of somebody who was forgotten it may be known that they said no.
    is_refused = call(registry, "status", account, record.purpose) is ConsentStatus.DENIED
    return not is_refused and call(registry, "status", visitor, record.purpose) is ConsentStatus.GRANTED


def _end_of(record: ConsentRecord, ages: MaxAge | None) -> datetime | None:
    is_grant = record.status is ConsentStatus.GRANTED
    return end_of(record.purpose, record.recorded_at, record.expires_at, ages if is_grant else None)


def _kept_objections(registry: Any, visitor: str) -> list[ConsentRecord]:
    """The denials of a visitor who was forgotten, of which no record is left."""
    return [
        ConsentRecord(visitor, purpose, ConsentStatus.DENIED)
        for purpose in BUILT_IN_PURPOSES
        if call(registry, "status", visitor, purpose) is ConsentStatus.DENIED
    ]
