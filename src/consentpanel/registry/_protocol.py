"""What a consent registry is: five methods."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from consentpanel._consent.records import ConsentRecord, ConsentStatus


@runtime_checkable
class ConsentRegistry(Protocol):
    """Keeps what people said about the use of their data, and answers for it.

    A class of anybody's that has these methods is a registry; there is nothing to inherit. Sending needs only `status`:
    without `statuses` the gate asks about one person after the other. A registry that fails, or
    that answers with something else than a `ConsentStatus`, is taken for a denial.
    `consentpanel.testing.RegistryContract` proves one.
    """

    def status(self, subject_id: str, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """The status of one person for one purpose.

        Args:
            subject_id: The data subject: a `str`, `int` or `UUID`; looked up by its string.
            purpose: The purpose, or its name.
            at: The moment asked about, aware; None, or a moment to come, asks about now.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
        """
        ...

    def statuses(
        self, subject_ids: Iterable[str], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """The status of several people for one purpose, by the ids as they were given; one after the other."""
        return {subject: self.status(subject, purpose, at=at) for subject in subject_ids}

    def record(self, record: ConsentRecord, /) -> None:
        """Appends a record; it is kept when this returns."""
        raise NotImplementedError(f"{type(self).__name__} does not record")

    def history(self, subject_id: str) -> list[ConsentRecord]:
        """All records of one person, oldest first."""
        raise NotImplementedError(f"{type(self).__name__} keeps no history")

    def forget(self, subject_id: str) -> object:
        """Erases all records of one person."""
        raise NotImplementedError(f"{type(self).__name__} does not forget")


def can_answer(registry: object) -> bool:
    """Whether an object can be asked for consent: sending needs `status` and nothing else."""
    return callable(getattr(registry, "status", None))
