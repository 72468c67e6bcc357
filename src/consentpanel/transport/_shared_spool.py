"""Delivers what waits in a database of many machines, and knows what of it is in a transaction that is still open."""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, cast

from consentpanel._messages.decision import Reason
from consentpanel.errors import ConfigurationError
from consentpanel.transport._message_store import New
from consentpanel.transport._shared_store import SharedStore
from consentpanel.transport._spool import Spool
from consentpanel.transport._spooling import SpoolConsumer
from consentpanel.transport._ticket import Ticket

#: Seconds after which what was to be committed is.
_SETTLED = 60.0


class Delivery(TypedDict, total=False):
    """How a consumer delivers: the arguments of `SpoolConsumer` of these names, with its defaults."""

    max_size: int
    events_url: str | None
    people_url: str | None
    import_url: str | None
    request_timeout: float
    groups_url: str | None
    api_host: str
    retry_limit: int
    retry_backoff_factor: float
    verify_cert: bool
    credentials: Any
    consumer: Any
    endpoint: str
    project_secret: str | None
    gzip_imports: bool
    keep_for: float
    max_bytes: int
    linger: float
    flush_timeout: float
    exit_timeout: float
    connections: int


def delivery_of(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `SpoolConsumer` by name, of which an outbox was given some.

    Raises:
        TypeError: There is no argument of such a name.
    """
    if unknown := sorted(set(given) - set(Delivery.__annotations__)):
        raise TypeError(f"{kind.__name__} has no argument {', '.join(unknown)}")
    defaults = inspect.signature(SpoolConsumer).parameters
    return {name: given.get(name, defaults[name].default) for name in Delivery.__annotations__}


def is_needed_of(without_transaction: Literal["own", "refuse"]) -> bool:
    """Whether a message outside of any transaction is refused.

    Raises:
        ConfigurationError: The argument is something else.
    """
    if without_transaction not in ("own", "refuse"):
        raise ConfigurationError("without_transaction must be 'own' or 'refuse'")
    return without_transaction == "refuse"


class SharedSpool(Spool):
    """The messages of one database, and threads that deliver them."""

    _name = "the outbox"

    def _reset(self) -> None:
        super()._reset()
        #: Numbers of which nobody knows whether they were committed.
        self._doubtful: set[int] = set()
        #: Numbers of what was written in transactions of whose end nobody tells.
        self._by_hand: set[int] = set()
        #: Of what was written in transactions that are open.
        self._uncommitted: set[int] = set()
        #: When which numbers were about to be committed.
        self._recent: deque[tuple[float, int]] = deque()

    @property
    def shared_store(self) -> SharedStore:
        """Where the messages are."""
        return cast("SharedStore", self._store)

    def _append_alone(self, new: New, ticket: Ticket | None) -> None:
        """Writes a message in a transaction of its own, which may be tried several times."""
        numbers: list[int] = []

        def remember(number: int) -> None:
            # Before the commit, or another thread could deliver it before its ticket is known.
            for gone in numbers:
                self._tickets.pop(gone, None)
            numbers.append(number)
            self._remember(number, ticket)

        try:
            self.shared_store.append_told(new, remember)
        except Exception:
            for gone in numbers:
                self._tickets.pop(gone, None)
            raise
        with self._lock:
            self._note_fresh(not new.hold_for)

    def _begun(self, number: int, ticket: Ticket | None) -> None:
        """Notes what was written in a transaction that is open: before its commit, after which another thread may deliver it."""
        # Numbers of what was taken back to a savepoint come again on SQLite.
        self._taken_back(number)
        with self._lock:
            self._uncommitted.add(number)
            if ticket is not None:
                self._tickets[number] = ticket

    def _committed(self, number: int, new: New) -> None:
        with self._lock:
            self._uncommitted.discard(number)
            present = time.monotonic()
            while self._recent and self._recent[0][0] < present - _SETTLED:
                self._recent.popleft()
            self._recent.append((present, number))
            self._note_fresh(not new.hold_for)

    def _taken_back(self, number: int) -> None:
        self._uncommitted.discard(number)
        ticket = self._tickets.pop(number, None)
        if ticket is not None:
            ticket.lost(Reason.ROLLED_BACK)

    def _doubt(self, number: int) -> None:
        with self._lock:
            self._uncommitted.discard(number)
            self._doubtful.add(number)
            self._next_look["rare"] = 0.0

    def _remembered(self) -> set[int]:
        # What is just being committed nobody else sees yet.
        recent = {number for moment, number in self._recent if moment > time.monotonic() - _SETTLED}
        return super()._remembered() - self._uncommitted - (recent - self._doubtful)

    def _gone(self, number: int, ticket: Ticket) -> None:
        if number in self._doubtful or number in self._by_hand:
            self._doubtful.discard(number)
            self._by_hand.discard(number)
            ticket.lost(Reason.ROLLED_BACK)
        else:
            super()._gone(number, ticket)
