"""What the records of a person say: the rule by which the latest one decides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from enum import Enum

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now, utc


class Standing(Enum):
    """A status with its cause, so that a `Decision` can tell an expired consent from one never asked for.

    A registry may offer it by a method ``standing(subject_id, purpose, *, at=None)``; from one that does not, the gate
    infers it from the status.
    """

    GRANTED = ConsentStatus.GRANTED, "consent_granted"
    WITHDRAWN = ConsentStatus.DENIED, "withdrawn"
    #: A function of the application answered False, which for a device id may only mean that it knows none.
    ANSWERED_FALSE = ConsentStatus.DENIED, "withdrawn", False
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

#: Whose consent, for what, and at which moment; None asks about now.
Question = tuple[str, Purpose, "datetime | None"]


def standing_of(
    records: Iterable[ConsentRecord], *, at: datetime | None = None, required_policy_version: str | None = None
) -> Standing:
    """What records say about one person and one purpose.

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
    """The standing by the fields of the one record that decides.

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
