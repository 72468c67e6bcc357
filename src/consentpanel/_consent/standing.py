"""What the records of a person say: the rule by which the latest one decides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import Enum
from operator import itemgetter

from consentpanel._consent.age import MaxAge, end_of, max_age_of
from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import TOLERANCE, ConsentRecord, ConsentStatus, now, utc


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
    records: Iterable[ConsentRecord],
    *,
    at: datetime | None = None,
    required_policy_version: str | None = None,
    max_age: MaxAge | timedelta | None = None,
) -> Standing:
    """What records say about one person and one purpose.

    Args:
        records: The records of that person and purpose, in the order of writing.
        at: The moment asked about, aware; None, or a moment to come, asks about now.
        required_policy_version: The oldest policy version under which a grant still holds now; None accepts any. For
            a moment of the past any version holds: it was the one that people saw then.
        max_age: How long a grant without an end of its own holds; None for always.

    Returns:
        The `Standing` by the latest record: the last of `in_order`.

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
    said = in_order(record for record in records if asked is None or record.recorded_at <= asked)
    if not said:
        return Standing.NOT_RECORDED
    latest = said[-1]
    end = end_of(latest.purpose, latest.recorded_at, latest.expires_at, max_age_of(max_age))
    return standing_by(
        latest.status,
        expired=end is not None and end <= (present if asked is None else asked),
        policy_version=latest.policy_version,
        required_policy_version=required_policy_version if asked is None else None,
    )


def in_order(records: Iterable[ConsentRecord]) -> list[ConsentRecord]:
    """Records of one person by `recorded_at`, then by order of writing, so that the last for a purpose decides.

    A denial comes after what was written before it and is stamped no more than a minute later: as far may clocks differ
    (`refuse_future`), and a grant of a fast clock must not outlive a denial that came after it. A denial of long ago that
    is written today, when a history is copied, takes its old place.

    Args:
        records: The records, in the order of writing.
    """
    latest: dict[Purpose, datetime] = {}
    placed = []
    for record in records:
        moment = moment_of(record, latest.get(record.purpose))
        latest[record.purpose] = max(moment, latest.get(record.purpose, moment))
        placed.append((moment, record))
    return [record for _, record in sorted(placed, key=itemgetter(0))]


#: Stands in the evidence of a grant that covers what was held before the person was asked.
COVERS_HELD = "held"


def covers_held(records: Iterable[ConsentRecord], purpose: Purpose, until: datetime) -> bool | None:
    """Whether a person agreed that what was held before the question may leave; None where that was not said.

    Who has ever said no has not: when it was held there was no answer, so that the no came after it.

    Args:
        records: The person's records.
        purpose: For which it is held.
        until: When the time for an answer was over.
    """
    said = [record for record in records if record.purpose == purpose]
    if any(record.status is ConsentStatus.DENIED for record in said):
        return False
    grants = (record for record in said if record.status is ConsentStatus.GRANTED and record.recorded_at <= until)
    return True if any(record.evidence.get(COVERS_HELD) is True for record in grants) else None


def moment_of(record: ConsentRecord, latest: datetime | None) -> datetime:
    """From when a record counts that is written after the records of its purpose up to a moment (see `in_order`)."""
    if latest is None or record.status is not ConsentStatus.DENIED:
        return record.recorded_at
    return max(record.recorded_at, latest) if record.recorded_at >= latest - TOLERANCE else record.recorded_at


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


_NUMBERS = re.compile(r"[vV]?(\d{1,18}(?:\.\d{1,18})*)", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def is_older(version: str | None, required: str) -> bool:
    """Whether a policy version is older than the required one.

    Two versions have an order when both are whole or dotted numbers (``"3"``, ``"v1.10"``), which are compared number by
    number, or both are ISO dates (``"2026-05-01"``). Any others (a digest, a name, a date written otherwise) have none:
    every version that is not the required one counts as older.

    Example:
        >>> is_older("1.9", "1.10"), is_older("2026-05-01", "2026-04-30"), is_older("31-12-2025", "01-02-2026")
        (True, False, True)
    """
    if version == required:
        return False
    if version is None:
        return True
    for ordered in (_numbers, _date):
        mine, other = ordered(version), ordered(required)
        if mine is not None and other is not None:
            return mine < other
    return True


def _numbers(version: str) -> tuple[int, ...] | None:
    found = _NUMBERS.fullmatch(version)
    if found is None:
        return None
    numbers = [int(each) for each in found[1].split(".")]
    while numbers and not numbers[-1]:  # 2 and 2.0 are one version
        numbers.pop()
    return tuple(numbers)


def _date(version: str) -> tuple[int, ...] | None:
    if _DATE.fullmatch(version) is None:
        return None
    try:
        return (date.fromisoformat(version).toordinal(),)
    except ValueError:
        return None
