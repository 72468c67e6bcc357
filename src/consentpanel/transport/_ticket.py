"""The text that the sealed transport hands on: JSON that knows whom it names."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from consentpanel._messages.decision import Reason


@attrs.frozen(repr=False)
class Kept:
    """What is kept on the disk of a ticket, of which another process makes one again.

    Attributes:
        token: Of the client.
        persons: Look-up keys of those whose consent is needed.
        devices: Look-up keys of their second ids.
        purposes: On which the message stands.
        event: The event's name, as it may be told; None for a profile.
        removal: The JSON of the part that only takes data away; None for none.
        held: Of one that is or was held: until when (seconds since 1970), and for whose answers on which purposes.
    """

    token: str
    persons: tuple[str, ...]
    devices: tuple[str, ...]
    purposes: tuple[str, ...]
    event: str | None
    removal: str | None
    held: tuple[float, tuple[tuple[str, str], ...]] | None = None

    def as_json(self) -> str:
        """This as JSON."""
        return json.dumps([self.token, self.persons, self.devices, self.purposes, self.event, self.removal, self.held])

    @classmethod
    def of_json(cls, text: str) -> Kept:
        """What was written by `as_json`."""
        token, persons, devices, purposes, event, removal, held = json.loads(text)
        if held is not None:
            held = held[0], tuple((person, purpose) for person, purpose in held[1])
        return cls(token, tuple(persons), tuple(devices), tuple(purposes), event, removal, held)


class Client(Protocol):
    """A client, as a spool holds it without keeping it alive."""

    @property
    def own_restorer(self) -> Restorer:
        """What judges for it."""
        ...


class Restorer(Protocol):
    """A client, to a spool: it judges what other processes have written for the same project."""

    @property
    def token(self) -> str:
        """The project's token."""
        ...

    def is_judged_by(self, registry: object) -> bool:
        """Whether a registry is the client's."""
        ...

    def shares_registry(self, other: Restorer) -> bool:
        """Whether another client is judged by the same registry."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether it can judge: a client that is configured later has no registry yet."""
        ...

    @property
    def can_erase(self) -> bool:
        """Whether the client can ask the vendor to erase people."""
        ...

    def erase(self, asked: str, numbers: list[str] | None, taken: Callable[[list[str]], None]) -> Any:
        """Does what is left of an erasure that was kept; the requests that were made.

        Args:
            asked: What was kept of it.
            numbers: The vendor's, when it has taken the request before.
            taken: Is told these as soon as they are known.

        Raises:
            Exception: It has to be tried again.
        """
        ...

    def restored(self, endpoint: str, kept: Kept, *, is_held: bool = False) -> Ticket:
        """A ticket, of what was kept of one."""
        ...


class Ticket(Protocol):
    """What a buffer asks of a message that the gate let through."""

    @property
    def token(self) -> str:
        """The token of the client's project."""
        ...

    @property
    def subject_ids(self) -> frozenset[str]:
        """Lookup keys of all whom the message names; never to be printed."""
        ...

    @property
    def purposes(self) -> tuple[str, ...]:
        """The purposes whose consent the message stands on; none for one that only takes data away."""
        ...

    @property
    def hold_for(self) -> float | None:
        """Seconds that the message is held, for somebody who was never asked; None for one that may leave."""
        ...

    def release(self) -> None:
        """Lets a message leave that was held, and reports it; never raises."""

    def settled_elsewhere(self, *, answer: bool | None) -> None:
        """Counts that another process has let a held message leave, or has erased it; never raises.

        Args:
            answer: What the person says by now; None for nothing.
        """

    def is_of_client(self, client: Restorer) -> bool:
        """Whether it is of a client's project, or judged by its registry."""
        ...

    def kept(self) -> Kept:
        """What a spool keeps of it."""
        ...

    def take_removal(self) -> str | None:
        """The JSON of the part that only takes data away, which is sent though the rest may not; None for none.

        From then on the message stands on nobody's consent, and `discarded` tells that the rest is gone.
        """
        ...

    @staticmethod
    def ask_again(tickets: Sequence[Any]) -> list[bool | None]:
        """Whether each of some messages may still be sent, asked now: one question for each purpose, each person once.

        None for one of which nobody could tell, because the registry fails, or of a held one the person has not answered. It
        never raises.

        Args:
            tickets: The tickets of the messages, all of this class.
        """
        ...

    def delivered(self) -> None:
        """Counts that the message has arrived; never raises."""

    def discarded(self) -> None:
        """Counts and reports that the message was thrown away for want of consent; never raises."""

    def lost(self, reason: Reason) -> None:
        """Counts and reports that the message will never be sent, for another reason; never raises."""


class JudgedText(str):
    """The JSON of one message that the gate let through, with its `ticket`: to any other code an ordinary string.

    Attributes:
        ticket: Says whom the message names, and judges it again.
    """

    __slots__ = ("ticket",)

    ticket: Ticket

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process nobody could ask this one's registry.
        return (str, (str.__str__(self),))


class _HandingOver(threading.local):
    """What this thread hands over to a consumer of the user's."""

    ticket: Ticket | None = None


_NOW = _HandingOver()


@contextmanager
def handing_over(ticket: Ticket) -> Generator[None, None, None]:
    """Has a buffer know a message though a consumer in front of it, or a subclass, hands on another text."""
    before, _NOW.ticket = _NOW.ticket, ticket
    try:
        yield
    finally:
        _NOW.ticket = before


def ticket_of(json_message: str) -> Ticket | None:
    """The ticket of a message; None for one that came by another way."""
    return json_message.ticket if type(json_message) is JudgedText else _NOW.ticket
