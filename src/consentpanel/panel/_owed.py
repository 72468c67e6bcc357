"""The vendor's numbers that could not be written into a person's record yet: told all the same, and written later."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import attrs

from consentpanel._consent.records import now
from consentpanel._forks import Survivors
from consentpanel._log import note_failure
from consentpanel._visits import VendorRequest
from consentpanel.client._erasure import UnnotedError
from consentpanel.errors import ConsentPanelError

#: Of so many people.
_MOST = 1_000


@attrs.frozen(repr=False)
class _Debt:
    requests: tuple[VendorRequest, ...]
    note: Callable[[], None]


class Owed:
    """What the registry would not take, as long as the process lives."""

    def __init__(self) -> None:
        self._debts: OrderedDict[str, tuple[_Debt, ...]] = OrderedDict()
        self._lock = threading.Lock()
        _ALIVE.add(self)

    def keep(self, subject: str | None, error: UnnotedError) -> None:
        """Keeps what is owed to a person."""
        if subject is None:
            return
        moment: datetime = now()
        requests = tuple(VendorRequest(each.kind, each.task_id, moment) for each in error.created)
        with self._lock:
            self._debts[subject] = (*self._debts.pop(subject, ()), _Debt(requests, error.note))
            while len(self._debts) > _MOST:
                self._debts.popitem(last=False)

    def of(self, subject: str | None) -> tuple[VendorRequest, ...]:
        """What is owed to a person still, after another try; it raises nothing."""
        if subject is None or not self._debts:
            return ()
        with self._lock:
            # Nobody else tries meanwhile, so that none is written twice.
            debts = self._debts.pop(subject, ())
        left: list[_Debt] = []
        for debt in debts:
            try:
                debt.note()
            except ConsentPanelError as error:
                note_failure("recording the vendor's number of a request", error)
                left.append(debt)
        if left:
            with self._lock:
                self._debts[subject] = (*left, *self._debts.pop(subject, ()))
        return tuple(request for debt in left for request in debt.requests)

    def is_to(self, subject: str | None) -> bool:
        """Whether something is owed to a person."""
        return subject is not None and subject in self._debts

    def restart_in_child(self) -> None:
        """Takes another lock, and leaves it to the parent to write."""
        self._lock = threading.Lock()
        self._debts.clear()


_ALIVE: Survivors[Owed] = Survivors(Owed.restart_in_child)
