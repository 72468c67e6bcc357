"""A registry in memory: for tests, examples and short-lived processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import attrs

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification, link, start, verified
from consentpanel._consent.ids import purpose_key, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.secret import Keyed, keyed_by
from consentpanel._consent.standing import Standing, moment_of, standing_of
from consentpanel._forks import Survivors
from consentpanel.registry._objections import ObjectionKey, outliving
from consentpanel.registry._recording import StoredRegistry
from consentpanel.registry._records import asked_moment, latest_of, not_before

_NOBODY: dict[str, tuple[ConsentRecord, Standing, datetime]] = {}


class MemoryRegistry(StoredRegistry):
    """Keeps consent records in this process; they are gone when it ends. Safe for many threads.

    Args:
        required_policy_version, max_age, strict_records, objection_key: As for `RecordingRegistry`.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> registry = MemoryRegistry()
        >>> registry.grant("user-1", "analytics", source="signup-form")
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.GRANTED: 'granted'>
        >>> registry.deny("user-1")
        >>> registry.status("user-1", "analytics"), len(registry.history("user-1"))
        (<ConsentStatus.DENIED: 'denied'>, 4)
    """

    def __init__(
        self,
        *,
        required_policy_version: str | None = None,
        max_age: MaxAge | timedelta | None = None,
        strict_records: bool = False,
        objection_key: ObjectionKey | None = None,
    ) -> None:
        super().__init__(
            required_policy_version=required_policy_version,
            max_age=max_age,
            strict_records=strict_records,
            objection_key=objection_key,
        )
        # Re-entrant, because a signal handler may grant or withdraw in the middle of anything.
        self._lock = threading.RLock()
        self._records: dict[str, list[ConsentRecord]] = {}
        self._latest: dict[str, dict[str, tuple[ConsentRecord, Standing, datetime]]] = {}
        self._links: dict[str, dict[int, str]] = {}
        self._tenants: dict[str, MemoryRegistry] = {}
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
            return self._by_records(records, at) or self._unrecorded(subject_id, purpose, at)
        latest = self._latest.get(purpose, _NOBODY).get(subject_id)
        if latest is None:
            return self._unrecorded(subject_id, purpose, at)
        record, standing, _ = latest
        if standing is Standing.GRANTED and (record.expires_at is not None or self._max_age is not None):
            return self._by_records((record,), at) or standing
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
        return None if latest is None or latest[0].status is not ConsentStatus.GRANTED else self._end_of(latest[0])

    def verify(self, subject_id: Any) -> Verification:
        """As `RecordingRegistry` says of those of the package.

        Raises:
            InvalidRecordError: The id is malformed.
        """
        key = subject_key(subject_id)
        with self._lock:
            records = list(self._records.get(key, ()))
            links = self._link_all(key)
        end = (len(links), links[len(links) - 1]) if links else None
        return verified(((record, links.get(place)) for place, record in enumerate(records)), self._scope, end)

    def scoped(self, name: str) -> MemoryRegistry:
        """The same store for one tenant: its ids never meet those of another, nor those of the store without one.

        Args:
            name: The tenant: 1 to 64 printable characters, no white space around.

        Raises:
            ConfigurationError: The name is malformed, or this is a tenant's already.
        """
        name = self._tenant(name)
        with self._lock:
            if name not in self._tenants:
                tenant = MemoryRegistry(
                    required_policy_version=self._required, max_age=self._max_age, strict_records=self._is_strict
                )
                tenant._objections, tenant._scope, tenant._tenants = self._objections, name, self._tenants
                self._tenants[name] = tenant
            return self._tenants[name]

    def people(self) -> Iterator[tuple[str, str]]:
        """Of whom there are records, as tenant and id."""
        with self._lock:
            found = [("", key) for key in self._records]
            found += [(name, key) for name, each in self._tenants.items() for key in each._records]  # noqa: SLF001 - its own class
        return iter(found)

    def add_objection_key(self, keyed: Keyed | None) -> None:
        # What ends with the process can do with a key that does.
        if keyed is not None or not self._objections:
            self._objections.add(keyed or keyed_by(os.urandom(32)))

    def _read(self, subject_id: str) -> list[ConsentRecord]:
        with self._lock:
            # Evidence can be changed by whoever holds it.
            return [_own(record) for record in self._records.get(subject_id, ())]

    def _forget_all(self, key: str, tags: list[str], **_: Any) -> int:
        with self._lock:
            said = self._records.get(key, [])
            for tag in tags if said else ():
                kept = outliving(tag, said, self._records.get(tag, ()))
                self._remove(tag)
                self._append(kept)
            return self._remove(key)

    def _remove(self, key: str) -> int:
        records = self._records.pop(key, [])
        self._links.pop(key, None)
        for record in records:
            self._latest[record.purpose].pop(key, None)
        return len(records)

    def _link_all(self, key: str) -> dict[int, str]:
        """The links of a person's records. By place, because a signal handler may link the same records meanwhile."""
        records = self._records.get(key, ())
        links = self._links.setdefault(key, {}) if records else {}
        while (place := len(links)) < len(records):
            links[place] = link(links.get(place - 1, start(self._scope)), records[place])
        return links

    def _write(self, records: list[ConsentRecord], *, is_stamped_here: bool, **_: Any) -> None:
        with self._lock:
            for given in records:
                record = _own(given)
                theirs = self._records.setdefault(record.subject_id, [])
                if is_stamped_here:
                    record = not_before(record, latest_of(theirs))
                theirs.append(record)
                count = 0
                # A signal handler may have recorded more about the same person meanwhile.
                while count < len(theirs):
                    count = len(theirs)
                    self._note(theirs if theirs[-1] is not record else [record])
                self._link_all(record.subject_id)

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


def _own(record: ConsentRecord) -> ConsentRecord:
    return attrs.evolve(record) if record.evidence else record


_ALIVE: Survivors[MemoryRegistry] = Survivors(MemoryRegistry._restart_in_child)  # noqa: SLF001 - the same file
