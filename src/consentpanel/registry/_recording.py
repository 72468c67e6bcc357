"""What the registries of the package have in common: grant and deny, and statuses from standings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs
from typing_extensions import TypedDict, Unpack

from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now, refuse_future, utc
from consentpanel._consent.standing import COVERS_HELD, Standing
from consentpanel.errors import ConfigurationError, InvalidRecordError
from consentpanel.registry._protocol import offered
from consentpanel.registry._watching import tell


class Fields(TypedDict, total=False):
    """What `grant` and `deny` take beside a person and purposes; None is as if it were left out."""

    recorded_at: datetime | None
    expires_at: datetime | None
    policy_version: str | None
    source: str | None
    jurisdiction: str | None
    evidence: Mapping[str, Any] | None
    covers_held: bool | None


class RecordingRegistry(ABC):
    """Grants and denials over an append-only store. For the package's own registries; yours need not inherit it."""

    _required: str | None

    @abstractmethod
    def _append(self, records: list[ConsentRecord], *, is_stamped_here: bool = False) -> None:
        """Appends all records, or none.

        Args:
            records: The records; all of one person when they are stamped here.
            is_stamped_here: Whether the time was taken from this machine's clock, which may be behind: then no record
                is kept as earlier than the person's latest (`not_before`).
        """

    @abstractmethod
    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """The status of one person for one purpose, with its cause."""

    @abstractmethod
    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Standing]:
        """The standing of several people for one purpose, by the ids as they were given."""

    @abstractmethod
    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """All records of one person, oldest first."""

    def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """The status of one person for one purpose.

        Args:
            subject_id: The data subject: a `str`, `int` or `UUID`.
            purpose: The purpose, or its name.
            at: The moment asked about, aware; None, or a moment to come, asks about now.

        Returns:
            The `ConsentStatus` by the latest record.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            RegistryError: The store failed.
        """
        return self.standing(subject_id, purpose, at=at).status

    def statuses(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """The status of several people for one purpose.

        Args:
            subject_ids: The data subjects.
            purpose: The purpose, or its name.
            at: The moment asked about, aware; None, or a moment to come, asks about now.

        Returns:
            The statuses, by the ids as they were given.

        Raises:
            InvalidRecordError: `at` is naive, or an id is malformed.
            RegistryError: The store failed.
        """
        return {subject: standing.status for subject, standing in self.standings(subject_ids, purpose, at=at).items()}

    def record(self, record: ConsentRecord) -> None:
        """Appends a record; it is kept when this returns.

        Args:
            record: What was said.

        Raises:
            InvalidRecordError: It is not a `ConsentRecord`, or its `recorded_at` lies over a minute in the future.
            RegistryError: The store failed; nothing was appended.
        """
        self._keep([checked_record(record)])

    def record_many(self, records: Iterable[ConsentRecord]) -> None:
        """Appends all records, or none; they are kept when this returns.

        Args:
            records: What was said, by one person or by several, in the order of writing.

        Raises:
            InvalidRecordError: One is not a `ConsentRecord`, or its `recorded_at` lies over a minute in the future.
            RegistryError: The store failed; nothing was appended.
        """
        self._keep([checked_record(record) for record in records])

    def grant(self, subject_id: Any, *purposes: str, **fields: Unpack[Fields]) -> None:
        """Records that a person consents, one record for each purpose, all or none.

        Args:
            subject_id: The data subject: a `str`, `int` or `UUID`.
            purposes: The purposes; the three built-in ones when none is named.
            fields: More about what was said, each as in `ConsentRecord`: `recorded_at`, `expires_at`, `policy_version`,
                `source`, `jurisdiction`, `evidence`; and `covers_held=True` when the person agrees that what was held
                before the question (``while_unknown="hold"``) may leave, which the evidence then says. Without `recorded_at` it is now, or the time of the person's latest
                record when that is later, so that a clock that is behind cannot make a grant outlive a denial.

        Raises:
            InvalidRecordError: An argument is malformed.
            RegistryError: The store failed; nothing was appended.
        """
        self._say(ConsentStatus.GRANTED, subject_id, purposes, fields)

    def deny(self, subject_id: Any, *purposes: str, **fields: Unpack[Fields]) -> None:
        """Records that a person refuses or withdraws consent; the arguments are those of `grant`.

        A denial never expires by itself.

        Raises:
            InvalidRecordError: An argument is malformed.
            RegistryError: The store failed; nothing was appended.
        """
        self._say(ConsentStatus.DENIED, subject_id, purposes, fields)

    def _keep(self, records: list[ConsentRecord], **options: bool) -> None:
        try:
            self._append(records, **options)
        finally:
            tell(self, {record.subject_id for record in records})

    def _say(self, status: ConsentStatus, subject_id: Any, purposes: tuple[str, ...], fields: Fields) -> None:
        records = records_of(status, subject_id, purposes, fields)
        nearest = offered(self, ("grant", "deny", "record_many", "record"))
        if nearest in {"grant", "deny"}:
            self._keep(records, is_stamped_here=is_stamped_here(fields))
            return
        # A subclass has its own way to record.
        if is_stamped_here(fields):
            latest = latest_of(self.history(subject_id))
            records = [not_before(record, latest) for record in records]
        if nearest == "record_many":
            self.record_many(records)
        else:
            for record in records:
                self.record(record)


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


def checked_record(record: object) -> ConsentRecord:
    """The record, when it is one and not from the future.

    Raises:
        InvalidRecordError: It is not.
    """
    if not isinstance(record, ConsentRecord):
        raise InvalidRecordError(f"record must be a ConsentRecord, not {type(record).__name__}")
    refuse_future(record.recorded_at)
    return record


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
