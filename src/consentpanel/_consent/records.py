"""What a person said about a purpose: statuses and consent records."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

import attrs

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel.errors import InvalidRecordError

_MAX_EVIDENCE = 4096


class ConsentStatus(str, Enum):
    """What a registry answers about one person and one purpose."""

    #: A grant is recorded and holds.
    GRANTED = "granted"
    #: A denial is recorded.
    DENIED = "denied"
    #: Nothing that holds is recorded.
    UNKNOWN = "unknown"


def utc(moment: object, name: str) -> datetime:
    """An aware time, in UTC; a naive one is refused.

    Args:
        moment: A `datetime`.
        name: The argument's name, for the error.

    Raises:
        InvalidRecordError: `moment` is not a datetime or has no time zone.
    """
    if not isinstance(moment, datetime):
        raise InvalidRecordError(f"{name} must be a datetime, not {type(moment).__name__}")
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidRecordError(f"{name} must have a time zone; use datetime.now(timezone.utc)")
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise InvalidRecordError(f"{name} lies outside of the years 1 to 9999") from None


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(timezone.utc)


#: How far ahead of this machine's clock a record may be stamped.
TOLERANCE = timedelta(minutes=1)


def refuse_future(recorded_at: datetime) -> None:
    """Refuses a record from the future, which no later one could overrule.

    Raises:
        InvalidRecordError: `recorded_at` lies more than a minute ahead of this machine's clock.
    """
    if recorded_at > now() + TOLERANCE:
        raise InvalidRecordError("recorded_at must not lie more than a minute in the future")


def new_record_id() -> str:
    """An id that no other record has."""
    return uuid.uuid4().hex


def _status(value: object) -> ConsentStatus:
    if not isinstance(value, ConsentStatus):
        raise InvalidRecordError(f"status must be a ConsentStatus, not {type(value).__name__}")
    return value


def _recorded_at(value: object) -> datetime:
    return utc(value, "recorded_at")


def _expires_at(value: object) -> datetime | None:
    return None if value is None else utc(value, "expires_at")


def _evidence(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidRecordError(f"evidence must be a mapping, not {type(value).__name__}")
    try:
        text = json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        text = None
    if text is None:
        raise InvalidRecordError("evidence must be JSON: strings, numbers, booleans, None, lists and dicts")
    if len(text) > _MAX_EVIDENCE:
        raise InvalidRecordError(f"evidence must be at most {_MAX_EVIDENCE} characters of JSON, not {len(text)}")
    copy: dict[str, Any] = json.loads(text)
    return copy


def _short_text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidRecordError(f"{attribute.name} must be a non-empty str or None")


@attrs.frozen
class ConsentRecord:
    """One thing that a person said about one purpose; appended to a registry, never changed.

    The field names follow common consent-record practice (ISO/IEC TS 27560, Kantara consent receipts).

    Args:
        subject_id: The data subject: a `str`, `int` or `UUID`; kept as its string.
        purpose: The `Purpose`, or its name.
        status: The `ConsentStatus` from now on.
        recorded_at: When it was said: an aware datetime, kept in UTC; now when left out.
        expires_at: When a grant ends by itself: an aware datetime, or None for never.
        policy_version: The version of the published policy that the person saw.
        source: Where it was said, such as ``"signup-form"`` or ``"gpc"``.
        jurisdiction: Where the person is, such as ``"DE"`` or ``"CA-QC"``.
        evidence: A small JSON mapping (at most 4,096 characters) that helps to prove it.
        record_id: An id of this record; made when left out.

    Raises:
        InvalidRecordError: An argument is malformed; the text names it and never quotes its value.

    Example:
        >>> record = ConsentRecord("user-1", Purpose.ANALYTICS, ConsentStatus.GRANTED, source="signup-form")
        >>> record.recorded_at.tzinfo
        datetime.timezone.utc
        >>> "user-1" in repr(record)
        False
    """

    subject_id: str = attrs.field(converter=subject_key, repr=False)
    purpose: Purpose = attrs.field(converter=Purpose)
    status: ConsentStatus = attrs.field(converter=_status)
    recorded_at: datetime = attrs.field(factory=now, converter=_recorded_at)
    expires_at: datetime | None = attrs.field(default=None, converter=_expires_at)
    policy_version: str | None = attrs.field(default=None, validator=_short_text)
    source: str | None = attrs.field(default=None, validator=_short_text)
    jurisdiction: str | None = attrs.field(default=None, validator=_short_text)
    evidence: Mapping[str, Any] = attrs.field(factory=dict, converter=_evidence, repr=False, hash=False)
    record_id: str = attrs.field(factory=new_record_id, validator=_short_text)
