"""The records of a grant or a denial: made of its arguments, stamped, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs
from typing_extensions import TypedDict

from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now, refuse_future, utc
from consentpanel._consent.standing import COVERS_HELD
from consentpanel.errors import ConfigurationError, InvalidRecordError


class Fields(TypedDict, total=False):
    """What `grant` and `deny` take beside a person and purposes; None is as if it were left out."""

    recorded_at: datetime | None
    expires_at: datetime | None
    policy_version: str | None
    source: str | None
    jurisdiction: str | None
    evidence: Mapping[str, Any] | None
    language: str | None
    event_type: str | None
    actor: str | None
    covers_held: bool | None


def records_of(
    status: ConsentStatus, subject_id: Any, purposes: Iterable[str], fields: Mapping[str, Any]
) -> list[ConsentRecord]:
    """The records of one grant or denial, of one moment.

    Args:
        status: What is said.
        subject_id: The person.
        purposes: The purposes; the three built-in ones when there are none.
        fields: Those of `Fields`.

    Raises:
        TypeError: There is no such field.
        InvalidRecordError: An argument is malformed.
    """
    more = fields.keys() - Fields.__annotations__.keys()
    if more:
        rule = "grant" if status is ConsentStatus.GRANTED else "deny"
        raise TypeError(f"{rule}() got an unexpected keyword argument {min(more)!r}")
    given: dict[str, Any] = {"recorded_at": now()}
    given.update((name, value) for name, value in in_evidence(status, fields).items() if value is not None)
    named = dict.fromkeys(map(Purpose, purposes)) or BUILT_IN_PURPOSES
    records = [ConsentRecord(subject_id, purpose, status, **given) for purpose in named]
    refuse_future(records[0].recorded_at)
    return records


def in_evidence(status: ConsentStatus, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as a record has them: that a grant covers what was held is a part of its evidence.

    Raises:
        InvalidRecordError: `covers_held` is no bool, or stands beside a denial.
    """
    left = dict(fields)
    covers = left.pop("covers_held", None)
    if covers is None or covers is False:
        return left
    if covers is not True:
        raise InvalidRecordError(f"covers_held must be True, False or None, not {type(covers).__name__}")
    if status is not ConsentStatus.GRANTED:
        raise InvalidRecordError("covers_held is said with a grant: a denial lets nothing leave that was held")
    evidence = left.get("evidence") or {}
    # What is no mapping is refused by the record.
    return {**left, "evidence": {**evidence, COVERS_HELD: True} if isinstance(evidence, Mapping) else evidence}


def is_stamped_here(fields: Mapping[str, Any]) -> bool:
    """Whether the time of a grant or denial is this machine's: the caller has given none."""
    return fields.get("recorded_at") is None


def checked_record(record: object, *, is_strict: bool = False) -> ConsentRecord:
    """The record, when it is one and not from the future.

    Args:
        record: What was given for one.
        is_strict: Whether a grant must tell what proves it.

    Raises:
        InvalidRecordError: It is not.
    """
    if not isinstance(record, ConsentRecord):
        raise InvalidRecordError(f"record must be a ConsentRecord, not {type(record).__name__}")
    refuse_future(record.recorded_at)
    if is_strict and record.status is ConsentStatus.GRANTED:
        lacking = [name for name in PROOF if getattr(record, name) is None]
        if lacking:
            raise InvalidRecordError(f"strict_records=True: a grant must name {', '.join(lacking)}")
    return record


def require_purposes(registry: object, purposes: tuple[str, ...]) -> None:
    """Refuses a grant that names no purpose, where a registry takes strict records alone.

    Raises:
        InvalidRecordError: It names none.
    """
    if not purposes and getattr(registry, "strict_records", False) is True:
        raise InvalidRecordError("strict_records=True: a grant must name its purposes")


#: What some registries take beside a record: whose transaction it becomes part of.
_WHERE = frozenset({"session", "connection"})


def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a record, and whose transaction it becomes part of."""
    fields = {name: value for name, value in given.items() if name not in _WHERE}
    return fields, {name: value for name, value in given.items() if name in _WHERE}


#: Without these nobody can show later what a person has agreed to (GDPR, article 7(1)).
PROOF = ("policy_version", "language", "source")


def latest_of(records: Iterable[ConsentRecord]) -> datetime | None:
    """When the latest of some records was said; None for none."""
    return max((record.recorded_at for record in records), default=None)


def not_before(record: ConsentRecord, latest: datetime | None) -> ConsentRecord:
    """The record, as said no earlier than the person's latest."""
    if latest is None or record.recorded_at >= latest:
        return record
    return attrs.evolve(record, recorded_at=latest)


def required_version(value: object) -> str | None:
    """The checked `required_policy_version` of a registry."""
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError("required_policy_version must be a non-empty str or None")
    return value


def asked_moment(at: datetime | None) -> datetime | None:
    """The moment asked about, in UTC; None for now and for a moment to come."""
    if at is None:
        return None
    moment = utc(at, "at")
    return None if moment >= now() else moment
