"""A registry in the project's own database, by Django's connections and in Django's transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import Error
from typing_extensions import Unpack

from consentpanel._consent.age import MaxAge
from consentpanel._consent.chain import Verification
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing
from consentpanel._log import error_once
from consentpanel.django import signals
from consentpanel.django._connections import (
    IN_A_COROUTINE,
    asked_twice,
    at_the_end,
    cause_of,
    closing_what_opens,
    committed,
    connection_of,
    is_in_transaction,
    savepoint,
    used,
)
from consentpanel.errors import ConfigurationError, ConsentPanelError, InvalidRecordError, RegistryError
from consentpanel.registry._objections import ObjectionKey
from consentpanel.registry._planned import PlannedRegistry
from consentpanel.registry._plans import Plan, Plans, carried_out
from consentpanel.registry._records import Fields
from consentpanel.registry._watching import tell

_T = TypeVar("_T")

#: People in one statement: below the parameters that Django takes SQLite to bear.
_AT_ONCE = 900
_NO_UTF8 = "an id or a text of a record cannot be written as UTF-8"


class DjangoRegistry(PlannedRegistry):
    """Keeps consent records in the project's own database, in tables that ``migrate`` makes.

    What is recorded in an atomic block is part of it. A question is asked there under a savepoint, so that one that fails leaves
    the block as it was, and sees what the block has recorded; outside of any block a connection that broke while it was idle is
    replaced without a word. In coroutines await the methods with an ``a`` before their names.

    Consent is read where it is written: not from the replica to which a router may send other questions, which would tell of a
    withdrawal too late.

    Args:
        using: The alias of the database; when left out, where the project's routers write the records.
        required_policy_version, max_age, strict_records, objection_key: As for `consentpanel.registry.RecordingRegistry`.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel.django import DjangoRegistry
        >>> registry = DjangoRegistry(required_policy_version="3")
        >>> registry.grant("user-1", "analytics", policy_version="3", source="signup-form")
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.GRANTED: 'granted'>
    """

    def __init__(
        self,
        using: str | None = None,
        *,
        required_policy_version: str | None = None,
        max_age: MaxAge | timedelta | None = None,
        strict_records: bool = False,
        objection_key: ObjectionKey | None = None,
    ) -> None:
        super().__init__(
            required_policy_version=required_policy_version,
            max_age=max_age,
            strict_records=strict_records,
            objection_key=objection_key,
        )
        if using is not None and (not isinstance(using, str) or not using):
            raise ConfigurationError("using must be the alias of a database, or None")
        self._using = using
        self._plans = Plans(self._required, self._max_age, at_once=_AT_ONCE)
        self._given = self._objections.fingerprints
        self._objections = self._objections.shared_with(self._place)
        #: What this thread has written in transactions that are open.
        self._open = threading.local()

    async def astatus(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """As `status`, in a coroutine."""
        return await _later(self.status, subject_id, purpose, at=at)

    async def astatuses(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """As `statuses`, in a coroutine."""
        return await _later(self.statuses, subject_ids, purpose, at=at)

    async def astanding(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """As `standing`, in a coroutine."""
        return await _later(self.standing, subject_id, purpose, at=at)

    async def astandings(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, Standing]:
        """As `standings`, in a coroutine."""
        return await _later(self.standings, subject_ids, purpose, at=at)

    async def aends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """As `ends_at`, in a coroutine."""
        return await _later(self.ends_at, subject_id, purpose)

    async def ahistory(self, subject_id: Any) -> list[ConsentRecord]:
        """As `history`, in a coroutine."""
        return await _later(self.history, subject_id)

    async def averify(self, subject_id: Any) -> Verification:
        """As `verify`, in a coroutine."""
        return await _later(self.verify, subject_id)

    async def arecord(self, record: ConsentRecord) -> None:
        """As `record`, in a coroutine."""
        await _later(self.record, record)

    async def arecord_many(self, records: Iterable[ConsentRecord]) -> None:
        """As `record_many`, in a coroutine."""
        await _later(self.record_many, records)

    async def agrant(self, subject_id: Any, *purposes: str, **fields: Unpack[Fields]) -> None:
        """As `grant`, in a coroutine."""
        await _later(self.grant, subject_id, *purposes, **fields)

    async def adeny(self, subject_id: Any, *purposes: str, **fields: Unpack[Fields]) -> None:
        """As `deny`, in a coroutine."""
        await _later(self.deny, subject_id, *purposes, **fields)

    async def aforget(self, subject_id: Any) -> int:
        """As `forget`, in a coroutine."""
        return await _later(self.forget, subject_id)

    @property
    def is_within(self) -> bool:
        """Whether this thread has written of consent in a transaction that is neither committed nor taken back."""
        return bool(self._marks)

    def after_commit(self, act: Callable[[], object]) -> bool:
        if not self._connection.in_atomic_block:
            return False

        at_the_end(self._alias, act)
        return True

    def outside_of_a_call(self) -> AbstractContextManager[None]:
        return closing_what_opens(self._alias)

    def __eq__(self, other: object) -> bool:
        """Whether the other one answers from the same tables in the same way."""
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _key(self) -> tuple[object, ...]:
        return self._using, self._scope, self._required, self._max_age, self._is_strict, self._given

    @property
    def _place(self) -> tuple[object, ...]:
        return "django", self._using

    @property
    def _store_of_consent(self) -> tuple[object, ...]:
        return *self._place, self._scope

    @property
    def _alias(self) -> str:
        if self._using is not None:
            return self._using
        from consentpanel.django.models import Record

        return router.db_for_write(Record)

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        return connection_of(self._alias)

    @property
    def _marks(self) -> set[object]:
        found: set[object] | None = getattr(self._open, "marks", None)
        if found is None:
            found = self._open.marks = set()
        return found

    def _tell(self, subject_ids: Collection[str], **where: Any) -> None:
        if not self._connection.in_atomic_block:
            super()._tell(subject_ids, **where)
            return
        tell(self, subject_ids, is_settled=False)
        # Those of this thread: of a rollback another one may tell.
        mark, marks = object(), self._marks
        marks.add(mark)

        def settle() -> None:
            marks.discard(mark)
            tell(self, subject_ids, is_settled=True)

        at_the_end(self._alias, settle, lambda _: marks.discard(mark))

    def _write(self, records: list[ConsentRecord], *, is_stamped_here: bool, **where: Any) -> None:
        super()._write(records, is_stamped_here=is_stamped_here, **where)
        announce = partial(signals.announce, self, records)
        if not self.after_commit(announce):
            announce()

    def _ask(self, keys: Iterable[str], plan: Callable[[], Plan[_T]]) -> _T:
        del keys  # for replicas

        def ask() -> _T:
            connection = self._connection
            if is_in_transaction(connection):
                with transaction.atomic(using=self._alias):
                    return self._run(plan())
            return asked_twice(connection, lambda: self._run(plan()))

        return self._translated(ask)

    def _do(self, keys: Iterable[str], plan: Callable[[], Plan[_T]], **where: Any) -> _T:
        del keys, where  # a registry of Django's is in the transaction of its thread

        def act() -> _T:
            connection, begin = self._connection, partial(transaction.atomic, using=self._alias)
            if is_in_transaction(connection):
                with savepoint(connection):
                    return self._run(plan())
            return committed(connection, begin, lambda: self._run(plan()))

        return self._translated(act)

    def _run(self, plan: Plan[_T]) -> _T:
        """What comes of a plan whose statements are executed."""
        from consentpanel.django._statements import STATEMENTS

        using = self._alias
        return carried_out(plan, lambda name, values: STATEMENTS[name](using, values))

    def _translated(self, act: Callable[[], _T]) -> _T:
        """What a use of the database answers; failures are told by their type alone, because their texts hold ids."""
        problem: ConsentPanelError
        try:
            with used(self._alias):
                return act()
        except SynchronousOnlyOperation:
            # Whoever asks for a message tells of the failure alone.
            error_once(IN_A_COROUTINE)
            problem = RegistryError(IN_A_COROUTINE)
        except UnicodeError:
            problem = InvalidRecordError(_NO_UTF8)
        except transaction.TransactionManagementError:
            problem = RegistryError("the atomic block has failed before, and the database takes no more until its end")
        except Error as error:
            problem = RegistryError(f"the database failed: {cause_of(error)}")
            if isinstance(error.__cause__, UnicodeError):
                problem = InvalidRecordError(_NO_UTF8)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            problem = RegistryError(f"a row of the database is no consent record: {type(error).__name__}")
        raise problem


async def _later(use: Callable[..., _T], *arguments: Any, **keywords: Any) -> _T:
    # In the thread in which Django has its connections while the event loop runs.
    answer: _T = await sync_to_async(use, thread_sensitive=True)(*arguments, **keywords)
    return answer
