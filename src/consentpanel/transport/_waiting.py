"""Messages that wait in a buffer: each one by itself, and those that one request can carry."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from consentpanel._consent.ids import purpose_key
from consentpanel._mixpanel import vendor
from consentpanel._mixpanel.names import IDS
from consentpanel.transport._ticket import ticket_of

if TYPE_CHECKING:
    from consentpanel._messages.decision import Reason
    from consentpanel.transport._ticket import Restorer, Ticket

#: Messages and JSON bytes of a request (https://docs.mixpanel.com/troubleshooting/errors/413-payload-too-large). Of
#: updates of profiles the vendor names the bytes of one alone, and a batch of them here has no more than that
#: (https://docs.mixpanel.com/reference/user-profile-limits). What is answered with HTTP 413 all the same is split.
MAX_BATCH_MESSAGES = 2_000
MAX_BATCH_BYTES = {"events": 10_000_000, "people": 1_000_000, "groups": 1_000_000, "imports": 10_000_000}
ENDPOINTS = tuple(MAX_BATCH_BYTES)

#: The vendor's `(api_key, api_secret)`.
Credentials = tuple[Any, Any]


@attrs.define(eq=False, weakref_slot=True)
class Account:
    """What one consumer has queued, or all of a queue. Changed under the queue's lock alone.

    Attributes:
        whole: The account of the whole queue; None for that itself.
        waiting: How many messages wait or are on their way.
        size: Their bytes of JSON.
        dropped: How many were given up.
        is_closed: Whether nothing more is accepted.
        is_gone: Whether nobody waits any more for what is on its way.
    """

    whole: Account | None = None
    waiting: int = 0
    size: int = 0
    dropped: int = 0
    is_closed: bool = False
    is_gone: bool = False

    def begin(self, whole: Account) -> None:
        """Begins anew, with nothing that waits: in the child of a fork."""
        self.whole = whole
        self.waiting = self.size = self.dropped = 0

    def change(self, count: int, size: int) -> None:
        """Counts messages that came or are done with."""
        self.waiting += count
        self.size += size
        if self.whole is not None:
            self.whole.change(count, size)


@attrs.define(eq=False)
class Waiting:
    """One message that waits. Its repr shows nothing of it."""

    json_message: str = attrs.field(repr=False)
    credentials: Credentials = attrs.field(repr=False)
    ticket: Ticket | None = attrs.field(repr=False)
    size: int
    is_on_its_way: bool = False
    #: Nobody could tell whether it may go; it waits to be asked about again.
    is_unanswered: bool = False
    #: No longer allowed, or purged while on its way: discarded unless it arrives.
    is_unwanted: bool = False
    #: Delivered, discarded or given up. Set once, under the lock, by whoever then tells the ticket.
    is_settled: bool = False
    #: An event that goes to ``/import``.
    is_imported: bool = False
    #: Of the consumer that has queued it; None in a buffer of its own.
    account: Account | None = attrs.field(default=None, repr=False)
    #: When it came, by `time.monotonic`.
    since: float = attrs.field(factory=time.monotonic, init=False, repr=False)
    #: Whom the JSON of one without a ticket names, once somebody has asked.
    _ids: frozenset[str] | None = attrs.field(default=None, init=False, repr=False)

    def enter(self, account: Account) -> None:
        """Counts on an account until it is settled."""
        self.account = account
        account.change(1, self.size)

    def is_of(self, account: Account) -> bool:
        """Whether it is counted on an account, of one consumer or of the whole queue."""
        return self.account is not None and (self.account is account or self.account.whole is account)

    @property
    def subjects(self) -> frozenset[str]:
        """Lookup keys of all whom its client says that it names."""
        return frozenset() if self.ticket is None else self.ticket.subject_ids

    @property
    def hold_for(self) -> float:
        """Seconds that it is held before it may leave; 0 for one that may."""
        return getattr(self.ticket, "hold_for", None) or 0.0

    def names(self, key: str, purposes: Collection[str] | None = None) -> bool:
        """Whether the message says something about the person with this look-up key, for one of these purposes."""
        if self.ticket is not None:
            # A message without a purpose only takes data away, and that is never discarded.
            purposes = self.ticket.purposes if purposes is None else set(map(purpose_key, purposes))
            needed = [each for each in self.ticket.purposes if each in purposes]
            return bool(needed) and key in self.ticket.subject_ids
        return key in self.ids()

    def ids(self) -> frozenset[str]:
        """Whom the JSON of one without a ticket names."""
        if self._ids is None:
            self._ids = _ids_of(self.json_message)
        return self._ids

    def is_of_client(self, client: Restorer | None) -> bool:
        """Whether it is of a client's project, or judged by its registry; of one without a ticket nobody knows."""
        return self.ticket is None or client is None or self.ticket.is_of_client(client)

    def deliver(self) -> None:
        """Tell the ticket that the message has arrived."""
        delivered = getattr(self.ticket, "delivered", None)
        if delivered is not None:
            delivered()

    def reduce(self) -> bool:
        """Leaves of a message that may not go what only takes data away; whether there is something."""
        removal = None if self.ticket is None else self.ticket.take_removal()
        if removal is None:
            return False
        if self.account is not None:
            self.account.change(0, len(removal) - self.size)
        self.json_message, self.size = removal, len(removal)
        self.is_unwanted = self.is_on_its_way = False
        return True

    def discard(self) -> None:
        """Tell the ticket that the message, or all of it but a removal, was thrown away for want of consent."""
        if self.ticket is not None:
            self.ticket.discarded()

    def lose(self, reason: Reason) -> None:
        """Tell the ticket that the message will never be sent, for another reason."""
        if self.ticket is not None:
            self.ticket.lost(reason)


def waiting_message(endpoint: object, json_message: object, api_key: Any, api_secret: Any) -> Waiting:
    """One message, as a buffer keeps it.

    Raises:
        MixpanelException: The endpoint is unknown, or the message is no text.
    """
    if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
        raise vendor_error(None, f"No such endpoint. Valid endpoints are {', '.join(ENDPOINTS)}")
    if not isinstance(json_message, str):
        raise vendor_error(endpoint, f"json_message must be a str, not {type(json_message).__name__}")
    credentials: Credentials = api_key if isinstance(api_key, tuple) else (api_key, api_secret)
    size = len(json_message) if json_message.isascii() else len(json_message.encode(errors="surrogatepass"))
    return Waiting(str.__str__(json_message), credentials, ticket_of(json_message), size)


def vendor_error(endpoint: str | None, text: str) -> Exception:
    """The vendor's exception, with the endpoint and, unlike the vendor's, without the batch."""
    error: Exception = vendor.MixpanelException(text)
    error.endpoint = endpoint  # type: ignore[attr-defined]
    # A text of ours, which holds no value.
    error.says = text  # type: ignore[attr-defined]
    return error


def _ids_of(text: str) -> frozenset[str]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return frozenset()
    return frozenset(map(str, _ids_in(record)))


def _ids_in(record: object) -> Iterator[object]:
    if not isinstance(record, dict):
        return
    properties = record.get("properties")
    for holder in (record, properties if isinstance(properties, dict) else {}):
        for name in IDS & holder.keys():
            value = holder[name]
            yield from value if isinstance(value, list) else [value]


class Batch:
    """The messages that one request can carry: of equal credentials, and not too many bytes.

    Args:
        endpoint: Where they go.
    """

    __slots__ = ("_most_bytes", "_size", "messages")

    def __init__(self, endpoint: str) -> None:
        self.messages: list[Waiting] = []
        self._size = 0
        self._most_bytes = MAX_BATCH_BYTES[endpoint]

    def has_room_for(self, message: Waiting) -> bool:
        """Whether the request can carry one more message; the first it always can."""
        if not self.messages:
            return True
        return message.credentials == self.messages[0].credentials and self._size + message.size < self._most_bytes

    def add(self, message: Waiting) -> None:
        """Adds a message."""
        self.messages.append(message)
        self._size += message.size + 1  # with a comma


def settle(messages: Iterable[Waiting]) -> list[Waiting]:
    """Marks messages as done with for good; the answer is those that nobody else has marked before."""
    mine = []
    for message in messages:
        # One may stand in two places for a moment.
        if not message.is_settled:
            message.is_settled = True
            if message.account is not None:
                message.account.change(-1, -message.size)
            mine.append(message)
    return mine


def take_back(messages: Iterable[Waiting]) -> list[Waiting]:
    """As `settle`, of messages that may not go; one that also takes data away stays for that."""
    return [each for each in messages if not each.is_settled and (each.reduce() or settle([each]))]


def answers_about(messages: Sequence[Waiting]) -> list[bool | None]:
    """Whether consent for each message still holds; None where nobody could tell.

    One without a ticket was judged by the transport that handed it over.
    """
    by_kind: dict[type, dict[int, Ticket]] = {}
    for message in messages:
        if message.ticket is not None and not message.is_settled:
            by_kind.setdefault(type(message.ticket), {})[id(message)] = message.ticket
    answers: dict[int, bool] = {}
    for some in by_kind.values():
        tickets = list(some.values())
        # Suppressed: whatever fails when consent is asked for is no answer.
        with suppress(Exception):
            found = zip(some, tickets[0].ask_again(tickets), strict=True)
            answers.update({each: answer for each, answer in found if type(answer) is bool})
    return [True if each.ticket is None else answers.get(id(each)) for each in messages]
