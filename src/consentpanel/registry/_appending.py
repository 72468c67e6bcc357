"""What becomes of a person's chain and present standing when records are appended: pure, for every store that keeps both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import attrs

from consentpanel._consent.age import MaxAge, end_of
from consentpanel._consent.chain import link, start
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel._consent.standing import Standing, moment_of, standing_by
from consentpanel.registry._records import not_before
from consentpanel.registry._rows import STATUS, microseconds, moment_at, optional_moment


@attrs.frozen
class End:
    """Where a person's chain ends.

    Attributes:
        length: How many records there are.
        link: The link of the last one.
        latest_at: The latest `recorded_at`, in microseconds; None where there is none.
    """

    length: int
    link: str
    latest_at: int | None

    @classmethod
    def of_nobody(cls, scope: str) -> End:
        """Where the chain of a person ends of whom there is no record."""
        return cls(0, start(scope), None)


@attrs.frozen
class Present:
    """The record that decides for one person and purpose, as far as questions need it; times in microseconds.

    Attributes:
        status: What it says, as a word.
        counts_from: From when it counts: a denial counts as later than a grant of a fast clock.
        recorded_at: When it was said.
        expires_at: When it ends by itself; None for never.
        policy_version: The version that the person saw.
    """

    status: str
    counts_from: int
    recorded_at: int
    expires_at: int | None
    policy_version: str | None

    def standing(self, purpose: str, required: str | None, max_age: MaxAge | None) -> Standing:
        """The present standing that it makes."""
        end = end_of(purpose, moment_at(self.recorded_at), optional_moment(self.expires_at), max_age)
        return standing_by(
            STATUS[self.status],
            expired=end is not None and end <= now(),
            policy_version=self.policy_version,
            required_policy_version=required,
        )

    def ends_at(self, purpose: str, max_age: MaxAge | None) -> datetime | None:
        """When the grant ends, by itself or by its age; None for never, and for no grant."""
        if self.status != ConsentStatus.GRANTED.value:
            return None
        return end_of(purpose, moment_at(self.recorded_at), optional_moment(self.expires_at), max_age)


@attrs.frozen
class Appended:
    """What is to be written.

    Attributes:
        records: The records with their links, in order.
        end: Where the chain ends then.
        present: The records that decide then, by purpose; those alone that change.
    """

    records: list[tuple[ConsentRecord, str]]
    end: End
    present: dict[str, Present]


def appended(
    end: End, counting: Mapping[str, int], records: Iterable[ConsentRecord], *, is_stamped_here: bool
) -> Appended:
    """What is to be written when records of one person are appended.

    Args:
        end: Where the person's chain ends.
        counting: From when the record counts that decides now, in microseconds, by purpose.
        records: The records.
        is_stamped_here: Whether their time is this machine's, which may be behind.
    """
    last, latest, since = end.link, end.latest_at, dict(counting)
    linked: list[tuple[ConsentRecord, str]] = []
    present: dict[str, Present] = {}
    for given in records:
        record = not_before(given, optional_moment(end.latest_at)) if is_stamped_here else given
        last = link(last, record)
        linked.append((record, last))
        said = microseconds(record.recorded_at) or 0
        latest = said if latest is None else max(latest, said)
        purpose = str(record.purpose)
        before = since.get(purpose)
        counts = microseconds(moment_of(record, optional_moment(before))) or 0
        if before is None or counts >= before:
            since[purpose] = counts
            ends = microseconds(record.expires_at)
            present[purpose] = Present(record.status.value, counts, said, ends, record.policy_version)
    return Appended(linked, End(end.length + len(linked), last, latest), present)
