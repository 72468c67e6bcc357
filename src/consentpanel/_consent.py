"""Consent as data: statuses, purposes, records, and the rule by which the latest record decides."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, ClassVar, cast

import attrs
from typing_extensions import Self

from consentpanel._public import public
from consentpanel.errors import InvalidRecordError

MAX_ID_LENGTH = 255
"""Longest id in characters; the vendor cuts strings there, which would merge two people into one."""

_MAX_EVIDENCE = 4096


@public("consentpanel")
class ConsentStatus(str, Enum):
    """What a registry answers about one person and one purpose (contract rule 2.1)."""

    GRANTED = "granted"
    """A grant is recorded and holds."""
    DENIED = "denied"
    """A denial is recorded."""
    UNKNOWN = "unknown"
    """Nothing that holds is recorded."""


class Standing(Enum):
    """A status with its cause, so that a `Decision` can tell an expired consent from one never asked for.

    A registry may offer it by a method ``standing(subject_id, purpose, *, at=None)``; from one that does not, the gate
    infers it from the status.
    """

    GRANTED = ConsentStatus.GRANTED, "consent_granted"
    WITHDRAWN = ConsentStatus.DENIED, "withdrawn"
    ANSWERED_FALSE = ConsentStatus.DENIED, "withdrawn", False
    """A function of the application answered False, which for a device id may only mean that it knows none."""
    NOT_RECORDED = ConsentStatus.UNKNOWN, "no_consent"
    EXPIRED = ConsentStatus.UNKNOWN, "expired"
    OUTDATED_POLICY = ConsentStatus.UNKNOWN, "outdated_policy"
    UNAVAILABLE = ConsentStatus.DENIED, "registry_error"
    NOT_CONFIGURED = ConsentStatus.DENIED, "not_configured"

    # Members are single objects; the enum's own hash is a Python function, and each call looks one up.
    __hash__ = object.__hash__

    def __init__(self, status: ConsentStatus, cause: str, is_recorded: bool = True) -> None:
        self.status = status
        self.cause = cause
        self.is_recorded = is_recorded

    @classmethod
    def of(cls, status: ConsentStatus) -> Standing:
        """The standing that a bare status implies."""
        return _OF_STATUS[status]


_OF_STATUS = {
    ConsentStatus.GRANTED: Standing.GRANTED,
    ConsentStatus.DENIED: Standing.WITHDRAWN,
    ConsentStatus.UNKNOWN: Standing.NOT_RECORDED,
}


@public("consentpanel")
class Purpose(str):
    """What personal data is used for: a string, so that users add their own (contract rule 2.1).

    Args:
        name: The name, such as ``"targeting"``: 1 to 64 printable characters, no white space around.

    Raises:
        InvalidRecordError: The name is not such a string.

    Example:
        >>> Purpose.ANALYTICS == "analytics"
        True
        >>> Purpose("targeting")
        Purpose('targeting')
    """

    __slots__ = ()

    ANALYTICS: ClassVar[Purpose]
    """Events: what a person did."""
    PROFILES: ClassVar[Purpose]
    """People analytics: who a person is."""
    FEATURE_FLAGS: ClassVar[Purpose]
    """Remote feature flags: which variant a person sees, decided by the vendor."""

    def __new__(cls, name: str) -> Self:
        if type(name) is cls:
            return name
        if not isinstance(name, str):
            raise InvalidRecordError(f"purpose must be a str, not {type(name).__name__}")
        if not name or name != name.strip() or len(name) > 64 or not name.isprintable():
            raise InvalidRecordError("purpose must be 1 to 64 printable characters without white space around")
        return super().__new__(cls, name)

    def __repr__(self) -> str:
        return f"Purpose({str(self)!r})"

    def __getnewargs__(self) -> tuple[str]:
        return (str(self),)


Purpose.ANALYTICS = Purpose("analytics")
Purpose.PROFILES = Purpose("profiles")
Purpose.FEATURE_FLAGS = Purpose("feature_flags")

BUILT_IN_PURPOSES = (Purpose.ANALYTICS, Purpose.PROFILES, Purpose.FEATURE_FLAGS)
"""The purposes that `grant` and `deny` record when none is named (contract rule 2.3)."""


def subject_key(subject_id: object) -> str:
    """The string by which consent is looked up for an id (contract rule 2.7).

    Args:
        subject_id: A `str`, an `int` (not a `bool`) or a `UUID`.

    Returns:
        The id as a plain string of 1 to 255 characters.

    Raises:
        InvalidRecordError: The id is missing, blank, too long, or of another type.

    Example:
        >>> subject_key(42)
        '42'
    """
    kind = type(subject_id)  # not isinstance: a lazy proxy claims a class whose text it is not
    if issubclass(kind, str):
        key = str.__str__(cast("str", subject_id))
    elif issubclass(kind, uuid.UUID):
        key = uuid.UUID.__str__(cast("uuid.UUID", subject_id))
    elif issubclass(kind, int) and not issubclass(kind, bool):
        key = _digits(cast("int", subject_id))
    else:
        raise InvalidRecordError(f"id must be a str, an int or a UUID, not {type(subject_id).__name__}")
    if len(key) > MAX_ID_LENGTH:
        raise InvalidRecordError(f"id must be at most {MAX_ID_LENGTH} characters, not {len(key)}")
    if not key or key.isspace():
        raise InvalidRecordError("id must not be empty")
    return key


def _digits(number: int) -> str:
    # A longer number would exceed the limit anyway, and int-to-text is quadratic.
    return int.__repr__(number) if number.bit_length() < 1024 else "9" * (MAX_ID_LENGTH + 1)


def utc(moment: object, name: str) -> datetime:
    """An aware time, in UTC; a naive one is refused (contract rules 2.2 and 2.4).

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
    return moment.astimezone(timezone.utc)


def now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(timezone.utc)


_TOLERANCE = timedelta(minutes=1)


def refuse_future(recorded_at: datetime) -> None:
    """Refuses a record from the future, which no later one could overrule (contract rule 2.4).

    Raises:
        InvalidRecordError: `recorded_at` lies more than a minute ahead of this machine's clock.
    """
    if recorded_at > now() + _TOLERANCE:
        raise InvalidRecordError("recorded_at must not lie more than a minute in the future")


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


@public("consentpanel")
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
    record_id: str = attrs.field(factory=lambda: uuid.uuid4().hex, validator=_short_text)


def standing_of(
    records: Iterable[ConsentRecord], *, at: datetime | None = None, required_policy_version: str | None = None
) -> Standing:
    """What records say about one person and one purpose (contract rule 2.4).

    Args:
        records: The records of that person and purpose, in the order of writing.
        at: The moment asked about, aware; None, or a moment to come, asks about now.
        required_policy_version: The oldest policy version under which a grant still holds now; None accepts any. For
            a moment of the past any version holds: it was the one that people saw then.

    Returns:
        The `Standing` by the latest record: by `recorded_at`, then by order of writing.

    Raises:
        InvalidRecordError: `at` is naive.

    Example:
        >>> standing_of([]).status
        <ConsentStatus.UNKNOWN: 'unknown'>
    """
    present = now()
    asked = None if at is None else utc(at, "at")
    if asked is not None and asked >= present:
        asked = None
    latest: ConsentRecord | None = None
    for record in records:
        if asked is not None and record.recorded_at > asked:
            continue
        if latest is None or record.recorded_at >= latest.recorded_at:
            latest = record
    if latest is None:
        return Standing.NOT_RECORDED
    return standing_by(
        latest.status,
        expired=latest.expires_at is not None and latest.expires_at <= (present if asked is None else asked),
        policy_version=latest.policy_version,
        required_policy_version=required_policy_version if asked is None else None,
    )


def standing_by(
    status: ConsentStatus, *, expired: bool, policy_version: str | None, required_policy_version: str | None
) -> Standing:
    """The standing by the fields of the one record that decides (contract rule 2.4).

    Args:
        status: What the record says.
        expired: Whether its `expires_at` has passed.
        policy_version: The policy version that the person saw.
        required_policy_version: The oldest policy version under which a grant still holds; None accepts any.
    """
    if status is ConsentStatus.DENIED:
        return Standing.WITHDRAWN
    if status is not ConsentStatus.GRANTED:
        return Standing.NOT_RECORDED
    if expired:
        return Standing.EXPIRED
    if required_policy_version is not None and is_older(policy_version, required_policy_version):
        return Standing.OUTDATED_POLICY
    return Standing.GRANTED


_VERSION = re.compile(r"v?(\d{1,18}(?:[.\-_]\d{1,18})*)", re.ASCII | re.IGNORECASE)


def is_older(version: str | None, required: str) -> bool:
    """Whether a policy version is older than the required one.

    Versions made of numbers (``"3"``, ``"v1.10"``, ``"2026-05-01"``) are compared number by number. Any other
    (a digest, a name) has no order, so every version that is not the required one counts as older.

    Example:
        >>> is_older("1.9", "1.10"), is_older("2026-05-01", "2026-05-01"), is_older("b2f1", "9c0d")
        (True, False, True)
    """
    if version == required:
        return False
    if version is None:
        return True
    mine, other = _VERSION.fullmatch(version), _VERSION.fullmatch(required)
    if mine is None or other is None:
        return True
    numbers, others = (list(map(int, re.split(r"[.\-_]", found[1]))) for found in (mine, other))
    width = max(len(numbers), len(others))
    return numbers + [0] * (width - len(numbers)) < others + [0] * (width - len(others))
