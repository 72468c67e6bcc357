"""What a buffer knows of a message that the gate let through: whom it names, and whether it may still go."""

from __future__ import annotations

from typing import Protocol


class Ticket(Protocol):
    """Travels beside a message through a buffer, so that consent is judged again at flush (contract rule 2.11)."""

    @property
    def subject_ids(self) -> frozenset[str]:
        """Lookup keys of all whom the message names; never to be printed."""
        ...

    def still_allowed(self) -> bool:
        """Whether the message may still be sent, asked of the registry now; never raises."""
        ...

    def discarded(self) -> None:
        """Counts and reports that the message was thrown away and not sent; never raises."""
        ...
