"""The chain of a person's records: each one's link covers the one before, so that a change shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import attrs

from consentpanel._consent.records import ConsentRecord, canonical


def start(scope: str) -> str:
    """What stands before the first record of a person.

    Args:
        scope: The tenant; empty for none. A record that is moved to another tenant breaks the chain.
    """
    return hashlib.sha256(scope.encode("utf-8", "surrogatepass")).hexdigest() if scope else ""


@attrs.frozen
class Verification:
    """What `verify` found about the records of one person; true when nothing was changed. It names nobody.

    Attributes:
        records: How many records the store has of the person.
        broken_at: Which record does not fit the one before, counted from 0 in the order of writing; None for none.
            When records at the end are missing it is `records`.
        record_id: The id of that record; None for none.
    """

    records: int
    broken_at: int | None = None
    record_id: str | None = None

    def __bool__(self) -> bool:
        return self.broken_at is None


def link(before: str, record: ConsentRecord) -> str:
    """The link of a record: SHA-256, as hexadecimal, over the link before it and `canonical` of the record.

    Args:
        before: The link of the person's record before this one; `start` for the first.
        record: The record.
    """
    return hashlib.sha256(before.encode("ascii") + canonical(record)).hexdigest()


def verified(
    chain: Iterable[tuple[ConsentRecord | None, str | None]], scope: str, end: tuple[int, str] | None
) -> Verification:
    """Whether the records of a person are those that were written, in their order, and all of them.

    Args:
        chain: Each record, None for one that cannot be read, with its link as the store has it; in the order of writing.
        scope: The tenant; empty for none.
        end: How many there should be, and the link of the last one, as the store has them apart from the records; None where
            it has nothing of the person.
    """
    before, count = start(scope), 0
    length, last = end or (0, before)
    broken_at: int | None = None
    record_id: str | None = None
    for record, kept in chain:
        if broken_at is None and (record is None or kept != link(before, record)):
            broken_at, record_id = count, None if record is None else record.record_id
        before, count = kept or start(scope), count + 1
    if broken_at is None and (count != length or before != last):
        broken_at = count
    return Verification(count, broken_at, record_id)
