"""Messages that wait in a buffer: each one by itself, and those that one request can carry."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from consentpanel._mixpanel.names import IDS

if TYPE_CHECKING:
    from consentpanel._messages.decision import Reason
    from consentpanel.transport._ticket import Ticket

#: Messages and JSON bytes of a request (https://docs.mixpanel.com/troubleshooting/errors/413-payload-too-large). Of
#: updates of profiles the vendor names the bytes of one alone, and a batch of them here has no more than that
#: (https://docs.mixpanel.com/reference/user-profile-limits). What is answered with HTTP 413 all the same is split.
MAX_BATCH_MESSAGES = 2_000
MAX_BATCH_BYTES = {"events": 10_000_000, "people": 1_000_000, "groups": 1_000_000, "imports": 10_000_000}
ENDPOINTS = tuple(MAX_BATCH_BYTES)

#: The vendor's `(api_key, api_secret)`.
Credentials = tuple[Any, Any]


@attrs.define(eq=False)
class Waiting:
    """One message that waits. Its repr shows nothing of it."""

    json_message: str = attrs.field(repr=False)
    credentials: Credentials = attrs.field(repr=False)
    ticket: Ticket | None = attrs.field(repr=False)
    size: int
    is_on_its_way: bool = False
    #: No longer allowed, or purged while on its way: discarded unless it arrives.
    is_unwanted: bool = False
    #: Delivered, discarded or given up. Set once, under the lock, by whoever then tells the ticket.
    is_settled: bool = False

    def is_allowed(self) -> bool:
        """Whether consent still holds. Without a ticket it was judged by the transport that handed it over."""
        if self.ticket is None:
            return True
        try:
            return self.ticket.still_allowed() is True
        except Exception:  # noqa: BLE001 - whatever fails when consent is asked for means no
            return False

    def names(self, key: str, purposes: Collection[str] | None = None) -> bool:
        """Whether the message says something about the person with this look-up key, for one of these purposes."""
        if self.ticket is not None:
            # A message without a purpose only takes data away, and that is never discarded.
            needed = self.ticket.purposes if purposes is None else set(purposes).intersection(self.ticket.purposes)
            return bool(needed) and key in self.ticket.subject_ids
        try:
            record = json.loads(self.json_message)
        except (ValueError, RecursionError):
            return False
        return key in map(str, _ids_in(record))

    def deliver(self) -> None:
        """Tell the ticket that the message has arrived."""
        delivered = getattr(self.ticket, "delivered", None)
        if delivered is not None:
            delivered()

    def discard(self) -> None:
        """Tell the ticket that the message was thrown away for want of consent."""
        if self.ticket is not None:
            self.ticket.discarded()

    def lose(self, reason: Reason) -> None:
        """Tell the ticket that the message will never be sent, for another reason."""
        if self.ticket is not None:
            self.ticket.lost(reason)


def _ids_in(record: object) -> Iterator[object]:
    if not isinstance(record, dict):
        return
    properties = record.get("properties")
    for holder in (record, properties if isinstance(properties, dict) else {}):
        for name in IDS & holder.keys():
            value = holder[name]
            yield from value if isinstance(value, list) else [value]


def first_batch(endpoint: str, messages: Iterable[Waiting], most: int) -> list[Waiting]:
    """The messages from the front that one request can carry: of equal credentials, and not too many bytes."""
    batch: list[Waiting] = []
    total = 0
    for message in islice(messages, most):
        total += message.size + 1  # with a comma
        if batch and (message.credentials != batch[0].credentials or total > MAX_BATCH_BYTES[endpoint]):
            break
        batch.append(message)
    return batch


def settle(buffer: list[Waiting], messages: Iterable[Waiting]) -> list[Waiting]:
    """Take messages out of their buffer for good; the answer is those that nobody else has taken out."""
    mine = [message for message in messages if not message.is_settled]
    for message in mine:
        message.is_settled = True
    if mine:
        buffer[:] = [message for message in buffer if not message.is_settled]
    return mine
