"""A consumer that keeps each message in the project's own database, in the atomic block that the caller is in."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Literal, cast

from django.db.backends.base.base import BaseDatabaseWrapper
from typing_extensions import Unpack

from consentpanel._log import error_once
from consentpanel._messages.decision import Reason
from consentpanel._mixpanel import vendor
from consentpanel.django._connections import aside, at_the_end, is_after_commit, tells_of_its_end
from consentpanel.django._outbox_tables import DjangoTables
from consentpanel.errors import ConfigurationError
from consentpanel.transport._http import shared
from consentpanel.transport._keeping import KeepingConsumer, settings_of
from consentpanel.transport._message_store import New
from consentpanel.transport._shared_spool import Delivery, SharedSpool, delivery_of, is_needed_of
from consentpanel.transport._spooling import SpoolConsumer
from consentpanel.transport._ticket import Restorer, Ticket
from consentpanel.transport._waiting import Waiting, vendor_error

_NONE = "no atomic block is open where a message is tracked, and its outbox wants one (without_transaction='refuse'): the message is not kept"


class _Outbox(SharedSpool):
    """The messages of one database of a project, and threads that deliver them."""

    is_needed: bool

    @property
    def tables(self) -> DjangoTables:
        """Where the messages are."""
        return cast("DjangoTables", self._store)

    def purge_of(self, client: Restorer | None, subject_id: object, purposes: Collection[str] | None = None) -> int:
        theirs = self._callers_of_sqlite()
        # There nobody else can write before the caller's transaction ends.
        with self.tables.lent(theirs):
            return super().purge_of(client, subject_id, purposes)

    def _callers_of_sqlite(self) -> BaseDatabaseWrapper | None:
        try:
            return self.tables.callers() if self.tables.dialect == "sqlite" else None
        except vendor.MixpanelException:
            # What is asked next says it.
            return None

    def _go_before(self, endpoint: str, message: Waiting) -> None:
        with self.tables.lent(self.tables.opened()):
            super()._go_before(endpoint, message)

    def _released(self, ticket: Ticket | None) -> None:
        theirs = self.tables.borrowed
        if theirs is not None and tells_of_its_end(theirs):
            # Taken back, it is held as before.
            at_the_end(self.tables.alias, partial(super()._released, ticket))
        else:
            super()._released(ticket)

    def _settle_gone(self) -> None:
        with self.tables.lent(self.tables.opened()):
            super()._settle_gone()

    def _written(self, endpoint: str, message: Waiting) -> Reason | None:
        # By the caller's connection where there is one: it would wait for another one that it keeps waiting itself.
        with self.tables.lent(self.tables.opened()):
            return super()._written(endpoint, message)

    def _append(self, new: New, ticket: Ticket | None) -> None:
        self.tables.see_the_server()
        theirs = self.tables.callers()
        if theirs is None:
            self._refuse_alone()
            self._append_alone(new, ticket)
            return
        number = self.tables.put_in(theirs, new)
        self._begun(number, ticket)
        if not tells_of_its_end(theirs):
            if self._connections:
                self._by_hand.add(number)
            self._committed(number, new)
            return
        at_the_end(self.tables.alias, lambda: self._committed(number, new), lambda where: self._ended(where, number))

    def _ended(self, where: BaseDatabaseWrapper, number: int) -> None:
        # After a failure of the connection nobody knows whether the server has committed; a savepoint was taken back.
        if where.errors_occurred and not where.in_atomic_block and where.vendor != "sqlite":
            self._doubt(number)
        else:
            aside(where, lambda: self._taken_back(number))

    def _refuse_alone(self) -> None:
        # After a commit what waited for it is done, such as the deletion of a profile.
        if self.is_needed and not is_after_commit():
            error_once(_NONE)
            raise vendor_error(None, _NONE)

    def await_commit(self, send: Callable[[], None], lose: Callable[[Reason], None]) -> Callable[[], bool] | None:
        """Has something sent once the caller's transaction has committed; at once where there is none but a test's own."""
        try:
            theirs = self.tables.callers()
            if theirs is None or not (blocks := _blocks_of(theirs)):
                self._refuse_alone()
                theirs, blocks = None, []
        except vendor.MixpanelException:
            lose(Reason.NOT_KEPT)
            return None
        if theirs is None:
            send()
            return None
        is_over = False

        def end(act: Callable[[], object]) -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                act()

        def asked() -> bool:
            # A `TestCase` never commits: of the code under test its outermost block decides.
            if not any(each is blocks[0] for each in theirs.atomic_blocks):
                end(send)
            return is_over

        lost = partial(end, partial(lose, Reason.ROLLED_BACK))
        at_the_end(self.tables.alias, lambda: end(send), lambda where: aside(where, lost))
        return asked if len(blocks) < len(theirs.atomic_blocks) else None


def _blocks_of(connection: BaseDatabaseWrapper) -> list[Any]:
    """The blocks that are open, but for a `TestCase`'s own, of which the code under test knows nothing."""
    return [each for each in connection.atomic_blocks if not getattr(each, "_from_testcase", False)]


class DjangoOutbox(KeepingConsumer):
    """Writes each message as a row in the caller's atomic block: it is sent if and only if that commits.

    The tables are those that ``migrate`` makes. Outside of any block a message is written in a transaction of its own. The row is
    written under a savepoint, so that a failure leaves the block as it was; the message is then dropped (``not_kept``). What
    is rolled back is told as ``rolled_back``.

    What was committed is delivered by a thread of whichever process has a client with this outbox, or by
    ``manage.py consent_deliver``, many at once: a batch belongs to one of them at a time, by a lease that ends by itself, and
    of the updates of one person's profile the later one leaves later. All else is as for `SpoolConsumer`: consent is asked for again
    before a message leaves, `withdraw` in any process erases what waits for the person, what the vendor refuses for good
    becomes a dead letter, and what is older than `keep_for` is lost with a reason.

    These threads have connections of their own, two of which stay open. On SQLite, where one connection at a time writes, give the
    database ``"OPTIONS": {"transaction_mode": "IMMEDIATE"}``. The tables hold messages as the policy left them, and no address and
    no credentials.

    Args:
        using: The alias of the database; when left out, where the project's routers write messages.
        without_transaction: What becomes of a message outside of any atomic block: ``"own"`` writes it in a transaction of its
            own, ``"refuse"`` drops it (``not_kept``) with an error in the log.
        delivery: How it is delivered: the arguments of `SpoolConsumer` from `max_size` to `connections`, by name, with its
            defaults. `max_bytes` counts the messages that wait. ``connections=0`` leaves delivery to other processes.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from django.db import transaction
        >>> from consentpanel import Mixpanel
        >>> from consentpanel.django import DjangoOutbox, DjangoRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> vendor, registry = FakeTransport(), DjangoRegistry()
        >>> registry.grant("user-1")
        >>> outbox = DjangoOutbox(consumer=vendor)
        >>> mp = Mixpanel("TOKEN", outbox, registry=registry)
        >>> with transaction.atomic():
        ...     decision = mp.track("user-1", "Signed up")
        >>> mp.flush()
        >>> len(vendor.events)
        1
        >>> outbox.close()
    """

    _kind = "outbox"

    def __init__(
        self,
        using: str | None = None,
        *,
        without_transaction: Literal["own", "refuse"] = "own",
        **delivery: Unpack[Delivery],
    ) -> None:
        if using is not None and (not isinstance(using, str) or not using):
            raise ConfigurationError("using must be the alias of a database, or None")
        given, is_needed = delivery_of(type(self), delivery), is_needed_of(without_transaction)
        settings: dict[str, Any] = settings_of(given)

        def build() -> _Outbox:
            outbox = _Outbox(SpoolConsumer, given, DjangoTables(using), **settings)
            outbox.is_needed = is_needed
            return outbox

        self._outbox = shared(_SHARED, given, build, where=(using, is_needed), **settings)
        self._open(self._outbox, given)

    @property
    def using(self) -> str:
        """The alias of the database."""
        return self._outbox.tables.alias

    def await_commit(self, send: Callable[[], None], lose: Callable[[Reason], None]) -> Callable[[], bool] | None:
        """Has a message taken by another consumer once the caller's transaction has committed; for tests, by clients."""
        return self._outbox.await_commit(send, lose)


_SHARED: weakref.WeakValueDictionary[tuple[object, ...], _Outbox] = weakref.WeakValueDictionary()
