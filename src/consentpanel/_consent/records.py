"""What a person said about a purpose: statuses and consent records."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

import attrs

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel.errors import InvalidRecordError

_MAX_EVIDENCE = 4096
_MAX_DEPTH = 64

#: How what a person said became a record: by a clear act, by a signal such as Global Privacy Control, or by an assumption.
EVENT_TYPES = ("explicit", "signal", "assumed")
#: The version of the fields of a record, for whoever reads it years later.
SCHEMA = "1"


class ConsentStatus(str, Enum):
    """What a registry answers about one person and one purpose."""

    #: A grant is recorded and holds.
    GRANTED = "granted"
    #: A denial is recorded.
    DENIED = "denied"
    #: Nothing that holds is recorded.
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return str.__str__(self)


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
    if json_depth(text) > _MAX_DEPTH:
        raise InvalidRecordError(f"evidence must be nested at most {_MAX_DEPTH} deep")
    copy: dict[str, Any] = json.loads(text)
    return copy


def json_depth(text: str) -> int:
    """At least how deep JSON is nested; brackets in texts count too, which is no harm for what is small."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _schema(_: object, __: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidRecordError("schema must be a non-empty str")


def _short_text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidRecordError(f"{attribute.name} must be a non-empty str or None")


def _event_type(_: object, __: attrs.Attribute[Any], value: object) -> None:
    if value is not None and value not in EVENT_TYPES:
        raise InvalidRecordError(f"event_type must be one of {', '.join(EVENT_TYPES)}, or None")


@attrs.frozen
class ConsentRecord:
    """One thing that a person said about one purpose; appended to a registry, never changed.

    The field names follow common consent-record practice (ISO/IEC TS 27560, Kantara consent receipts). What nobody has
    told is None, and is claimed nowhere.

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
        language: The language of the text that the person saw, such as ``"de"``.
        event_type: How it was said: ``"explicit"`` by a clear act, ``"signal"`` by a signal such as Global Privacy
            Control, ``"assumed"`` without either.
        actor: Who acted, when it was not the person alone, such as ``"guardian"`` or ``"support"``.
        schema: The version of these fields.

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
    language: str | None = attrs.field(default=None, validator=_short_text)
    event_type: str | None = attrs.field(default=None, validator=_event_type)
    actor: str | None = attrs.field(default=None, validator=_short_text, repr=False)
    schema: str = attrs.field(default=SCHEMA, validator=_schema)

    def as_dict(self) -> dict[str, Any]:
        """Every field as JSON has it: times as ISO 8601 in UTC, with microseconds.

        Example:
            >>> ConsentRecord("user-1", "analytics", ConsentStatus.DENIED).as_dict()["status"]
            'denied'
        """
        return {field.name: _AS_JSON.get(field.name, _as_it_is)(getattr(self, field.name)) for field in FIELDS}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ConsentRecord:
        """The record of which `as_dict` gave the fields.

        Args:
            fields: Those of `as_dict`. What may be left out of a record may be left out here, `record_id` and
                `recorded_at` not: they would be made anew.

        Raises:
            InvalidRecordError: A field is malformed, missing, or none of a record.

        Example:
            >>> record = ConsentRecord("user-1", "analytics", ConsentStatus.GRANTED)
            >>> ConsentRecord.from_dict(record.as_dict()) == record
            True
        """
        if not isinstance(fields, Mapping):
            raise InvalidRecordError(f"the fields of a record must be a mapping, not {type(fields).__name__}")
        names = {field.name for field in FIELDS}
        if any(name not in names for name in fields):
            raise InvalidRecordError("a field is none of a consent record: it may come from a newer version")
        for name in ("subject_id", "purpose", "status", "recorded_at", "record_id"):
            if fields.get(name) is None:
                raise InvalidRecordError(f"{name} is missing")
        return cls(**{name: _FROM_JSON.get(name, _as_it_is)(value) for name, value in fields.items()})

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in FIELDS}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # A pickle of before may lack fields that came later.
        for field in FIELDS:
            object.__setattr__(self, field.name, state.get(field.name, field.default))

    @property
    def digest(self) -> str:
        """SHA-256 over the fields, as hexadecimal: who holds a receipt can show that the record is still the same.

        Taken of `as_dict` as JSON with sorted keys, ASCII, without white space.
        """
        return hashlib.sha256(canonical(self)).hexdigest()

    def receipt(self) -> dict[str, Any]:
        """What the person may keep: JSON with the fields of a consent record by ISO/IEC TS 27560:2023.

        What the record does not say is left out; the parties, recipients and rights stand in the notice of the version that
        it names.

        Example:
            >>> record = ConsentRecord("user-1", "analytics", ConsentStatus.GRANTED, policy_version="3", language="en")
            >>> receipt = record.receipt()
            >>> receipt["privacy_notice"], receipt["purposes"], receipt["event"]["event_state"]
            ('3', ['analytics'], 'consent_given')
        """
        said = self.as_dict()
        event = {
            "event_time": said["recorded_at"],
            "event_type": self.event_type,
            "event_state": _EVENT_STATES[self.status],
            "entity_id": self.actor,
            "valid_until": said["expires_at"],
        }
        receipt = {
            "schema_version": f"consentpanel-{self.schema}",
            "record_id": self.record_id,
            "pii_principal_id": self.subject_id,
            "privacy_notice": self.policy_version,
            "language": self.language,
            "purposes": [str(self.purpose)],
            "collection_method": self.source,
            "jurisdiction": self.jurisdiction,
            "event": {name: value for name, value in event.items() if value is not None},
            "evidence": said["evidence"] or None,
            "integrity": {"algorithm": "SHA-256", "value": self.digest},
        }
        return {name: value for name, value in receipt.items() if value is not None}


def _as_it_is(value: Any) -> Any:
    return value


def _as_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")


def _as_moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    with suppress(ValueError):
        # Before Python 3.11 it knew no "Z".
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    raise InvalidRecordError("a time must be ISO 8601, with a time zone")


def _as_status(value: Any) -> ConsentStatus:
    with suppress(ValueError):
        return ConsentStatus(value)
    raise InvalidRecordError("status must be granted, denied or unknown")


#: The fields of a record, in the order in which it takes them.
FIELDS: tuple[attrs.Attribute[Any], ...] = attrs.fields(ConsentRecord)
_AS_JSON: Mapping[str, Callable[[Any], Any]] = {
    "purpose": str,
    "status": lambda status: status.value,
    "recorded_at": _as_text,
    "expires_at": _as_text,
    "evidence": lambda evidence: json.loads(json.dumps(dict(evidence))),
}
_FROM_JSON: Mapping[str, Callable[[Any], Any]] = {
    "status": _as_status,
    "recorded_at": _as_moment,
    "expires_at": _as_moment,
}
_EVENT_STATES = {
    ConsentStatus.GRANTED: "consent_given",
    ConsentStatus.DENIED: "consent_refused",
    ConsentStatus.UNKNOWN: "consent_unknown",
}


def canonical(record: ConsentRecord) -> bytes:
    """The bytes of which `ConsentRecord.digest` is taken, and those of a chain."""
    return json.dumps(record.as_dict(), sort_keys=True, separators=(",", ":")).encode("ascii")
