"""A registry in memory: for tests, examples and short-lived processes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from consentpanel._consent.ids import purpose_key, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing, in_order, moment_of, standing_of
from consentpanel._forks import Survivors
from consentpanel.registry._recording import RecordingRegistry, asked_moment, latest_of, not_before, required_version
from consentpanel.registry._watching import tell

_NOBODY: dict[str, tuple[ConsentRecord, Standing, datetime]] = {}


class MemoryRegistry(RecordingRegistry):
    """Keeps consent records in this process; they are gone when it ends. Safe for many threads.

    Args:
        required_policy_version: A grant under an older policy version does not hold; None accepts any.

    Raises:
        ConfigurationError: The version is not a non-empty text.

    Example:
        >>> registry = MemoryRegistry()
        >>> registry.grant("user-1", "analytics", source="signup-form")
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.GRANTED: 'granted'>
        >>> registry.deny("user-1")
        >>> registry.status("user-1", "analytics"), len(registry.history("user-1"))
        (<ConsentStatus.DENIED: 'denied'>, 4)
    """

    def __init__(self, *, required_policy_version: str | None = None) -> None:
        self._required = required_version(required_policy_version)
        # Re-entrant, because a signal handler may grant or withdraw in the middle of anything.
        self._lock = threading.RLock()
        self._records: dict[str, list[ConsentRecord]] = {}
        self._latest: dict[str, dict[str, tuple[ConsentRecord, Standing, datetime]]] = {}
        _ALIVE.add(self)

    def _restart_in_child(self) -> None:
        # Another thread of the parent may have held the lock.
        self._lock = threading.RLock()

    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """The status of one person for one purpose, with its cause.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
        """
        if type(subject_id) is not str or not subject_id or not subject_id.isascii():
            subject_id = subject_key(subject_id)
        purpose = purpose_key(purpose)
        if at is not None:
            at = asked_moment(at)
        if at is not None:
            with self._lock:
                records = [record for record in self._records.get(subject_id, ()) if record.purpose == purpose]
            return standing_of(records, at=at, required_policy_version=self._required)
        latest = self._latest.get(purpose, _NOBODY).get(subject_id)
        if latest is None:
            return Standing.NOT_RECORDED
        record, standing, _ = latest
        if standing is Standing.GRANTED and record.expires_at is not None:
            return standing_of((record,), required_policy_version=self._required)
        return standing

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Standing]:
        """The standing of several people for one purpose, by the ids as they were given."""
        asked = asked_moment(at)
        return {subject: self.standing(subject, purpose, at=asked) for subject in subject_ids}

    def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """When the grant that decides now ends by itself; None when it never does, and when no grant decides.

        Raises:
            InvalidRecordError: The id is malformed.
        """
        latest = self._latest.get(purpose_key(purpose), _NOBODY).get(subject_key(subject_id))
        return None if latest is None or latest[0].status is not ConsentStatus.GRANTED else latest[0].expires_at

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """All records of one person, oldest first.

        Raises:
            InvalidRecordError: The id is malformed.
        """
        key = subject_key(subject_id)
        with self._lock:
            return in_order(self._records.get(key, ()))

    def forget(self, subject_id: Any) -> int:
        """Erases all records of one person.

        Returns:
            How many were erased.

        Raises:
            InvalidRecordError: The id is malformed.
        """
        key = subject_key(subject_id)
        with self._lock:
            records = self._records.pop(key, [])
            for record in records:
                self._latest[record.purpose].pop(key, None)
        tell(self, [key])
        return len(records)

    def _append(self, records: list[ConsentRecord], *, is_stamped_here: bool = False) -> None:
        with self._lock:
            for given in records:
                record = given
                theirs = self._records.setdefault(record.subject_id, [])
                if is_stamped_here:
                    record = not_before(record, latest_of(theirs))
                theirs.append(record)
                count = 0
                # A signal handler may have recorded more about the same person meanwhile.
                while count < len(theirs):
                    count = len(theirs)
                    self._note(theirs if theirs[-1] is not record else [record])

    def _note(self, records: Iterable[ConsentRecord]) -> None:
        """Notes what records say, in the order in which they were appended."""
        for record in records:
            latest = self._latest.setdefault(str(record.purpose), {})
            before = latest.get(record.subject_id)
            moment = moment_of(record, None if before is None else before[2])
            if before is None or moment >= before[2]:
                standing = standing_of((record,), required_policy_version=self._required)
                latest[record.subject_id] = record, standing, moment

    def __repr__(self) -> str:
        return f"<MemoryRegistry of {len(self._records)} subjects>"


_ALIVE: Survivors[MemoryRegistry] = Survivors(MemoryRegistry._restart_in_child)  # noqa: SLF001 - the same file
