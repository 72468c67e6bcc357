"""A consent record as a row of a table, the same in every database: times in microseconds, evidence as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel.errors import InvalidRecordError

#: The columns of a record, in the order of its fields.
COLUMNS = (
    *("subject_id", "purpose", "status", "recorded_at", "expires_at", "policy_version", "source", "jurisdiction"),
    *("evidence", "record_id", "language", "event_type", "actor", "schema_version"),
)
MICROSECOND = timedelta(microseconds=1)
STATUS = {status.value: status for status in ConsentStatus}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def microseconds(moment: datetime | None) -> int | None:
    """Since 1970 in UTC."""
    return None if moment is None else (moment - _EPOCH) // MICROSECOND


def moment_at(since: int) -> datetime:
    """The moment so many microseconds after 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=since)


def optional_moment(since: int | None) -> datetime | None:
    """The moment so many microseconds after 1970; None for none."""
    return None if since is None else moment_at(since)


def row_of(record: ConsentRecord) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    return (
        record.subject_id,
        str(record.purpose),
        record.status.value,
        microseconds(record.recorded_at),
        microseconds(record.expires_at),
        record.policy_version,
        record.source,
        record.jurisdiction,
        json.dumps(dict(record.evidence)),
        record.record_id,
        record.language,
        record.event_type,
        record.actor,
        record.schema,
    )


def record_of(row: Sequence[Any]) -> ConsentRecord:
    """The record of which `row_of` gave the row."""
    subject_id, purpose, status, recorded_at, expires_at, policy_version, source, jurisdiction, evidence, *more = row
    return ConsentRecord(
        subject_id,
        Purpose(purpose),
        STATUS[status],
        moment_at(recorded_at),
        optional_moment(expires_at),
        policy_version,
        source,
        jurisdiction,
        json.loads(evidence),
        *more,
    )


def readable(row: Sequence[Any]) -> ConsentRecord | None:
    """The record, unless somebody has made of the row what is none."""
    try:
        return record_of(row)
    except (InvalidRecordError, ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        return None
