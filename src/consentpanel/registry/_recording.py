"""What every registry of the package is made of, and yours may be: two methods, and all the rules on top of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

from typing_extensions import Unpack

from consentpanel._consent.age import MaxAge, end_of, max_age_of
from consentpanel._consent.chain import Verification
from consentpanel._consent.ids import Purpose, purpose_key, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.secret import Keyed
from consentpanel._consent.standing import Standing, in_order, standing_of
from consentpanel.errors import ConfigurationError, InvalidRecordError
from consentpanel.registry._objections import ObjectionKey, Objections, outliving
from consentpanel.registry._protocol import LacksMethodError, offered
from consentpanel.registry._records import (
    Fields,
    asked_moment,
    checked_record,
    is_stamped_here,
    latest_of,
    not_before,
    records_of,
    require_purposes,
    required_version,
)
from consentpanel.registry._watching import tell

_T = TypeVar("_T", bound="RecordingRegistry")


class RecordingRegistry(ABC):
    """A registry of your own by two methods: `_append` adds records, `_read` gives those of a person.

    All else is made of them: `status`, `statuses`, `history`, `record`, `record_many`, `grant`, `deny`, the order of
    records (rule: the latest decides), ends, policy versions, ages. With a third, `_erase`, it forgets as well. Prove
    it with `consentpanel.testing.RegistryContract`.

    Args:
        required_policy_version: A grant under an older policy version does not hold; None accepts any.
        max_age: How long answers are good for: a `MaxAge`, or a timedelta for grants; None for always.
        strict_records: Whether a grant without named purposes, policy version, language and source is refused.
        objection_key: A secret of at least 32 bytes, or a function that returns one. With it `forget` keeps a keyed hash
            (HMAC-SHA-256) of somebody whose last word was no, in the place of the records, so that forgetting a person
            does not resume tracking where silence means yes (GDPR, articles 17(3) and 21). Several, after a change: what
            was kept under each is found. A client whose regime is not opt-in adds the secret of its policy for the
            registries of the package.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel.registry import RecordingRegistry
        >>> class Listed(RecordingRegistry):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.rows = []
        ...
        ...     def _append(self, records):
        ...         self.rows.extend(records)
        ...
        ...     def _read(self, subject_id):
        ...         return [row for row in self.rows if row.subject_id == subject_id]
        >>> registry = Listed()
        >>> registry.grant("user-1")
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.GRANTED: 'granted'>
    """

    #: Those who remember answers hear of each write.
    _tells_of_writes = True
    _required: str | None = None
    _max_age: MaxAge | None = None
    _is_strict = False
    #: The tenant, for registries that keep several in one store.
    _scope = ""
    _objections = Objections()

    def __init__(
        self,
        *,
        required_policy_version: str | None = None,
        max_age: MaxAge | timedelta | None = None,
        strict_records: bool = False,
        objection_key: ObjectionKey | None = None,
    ) -> None:
        self._required = required_version(required_policy_version)
        self._max_age = max_age_of(max_age)
        if not isinstance(strict_records, bool):
            raise ConfigurationError(f"strict_records must be a bool, not {type(strict_records).__name__}")
        self._is_strict = strict_records
        self._objections = Objections(objection_key)

    @abstractmethod
    def _append(self, records: Sequence[ConsentRecord]) -> None:
        """Appends all records, or none; they are kept when this returns.

        Args:
            records: At least one, checked; of one person or of several.
        """

    @abstractmethod
    def _read(self, subject_id: str) -> Iterable[ConsentRecord]:
        """All records of one person, in the order of writing.

        Args:
            subject_id: The person, as `subject_key` gives it.
        """

    def _erase(self, subject_id: str) -> int:  # noqa: ARG002 - for those who override it
        """Erases all records of one person; how many. `forget` needs it.

        Args:
            subject_id: The person, as `subject_key` gives it.
        """
        raise LacksMethodError(f"{type(self).__name__} does not forget: it has no _erase")

    @property
    def max_age(self) -> MaxAge | None:
        """How long answers are good for; None when nothing was said."""
        return self._max_age

    @property
    def required_policy_version(self) -> str | None:
        """The oldest policy version under which a grant still holds; None where any does."""
        return self._required

    @property
    def strict_records(self) -> bool:
        """Whether a grant without named purposes, policy version, language and source is refused."""
        return self._is_strict

    def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """The status of one person for one purpose.

        Args:
            subject_id: The data subject: a `str`, `int` or `UUID`.
            purpose: The purpose, or its name.
            at: The moment asked about, aware; None, or a moment to come, asks about now.

        Returns:
            The `ConsentStatus` by the latest record.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            RegistryError: The store failed.
        """
        return self.standing(subject_id, purpose, at=at).status

    def statuses(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """The status of several people for one purpose.

        Args:
            subject_ids: The data subjects.
            purpose: The purpose, or its name.
            at: The moment asked about, aware; None, or a moment to come, asks about now.

        Returns:
            The statuses, by the ids as they were given.

        Raises:
            InvalidRecordError: `at` is naive, or an id is malformed.
            RegistryError: The store failed.
        """
        return {subject: standing.status for subject, standing in self.standings(subject_ids, purpose, at=at).items()}

    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """The status of one person for one purpose, with its cause.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            RegistryError: The store failed.
        """
        key, named, moment = subject_key(subject_id), purpose_key(purpose), asked_moment(at)
        return self._recorded(key, named, moment) or self._unrecorded(key, named, moment)

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Standing]:
        """The standing of several people for one purpose, by the ids as they were given.

        Raises:
            InvalidRecordError: `at` is naive, or an id is malformed.
            RegistryError: The store failed.
        """
        moment = asked_moment(at)
        return {subject: self.standing(subject, purpose, at=moment) for subject in subject_ids}

    def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """When the grant that decides now ends, by itself or by its age; None for never, and when no grant decides.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The store failed.
        """
        key, named = subject_key(subject_id), Purpose(purpose)
        said = in_order(record for record in self._read(key) if record.purpose == named)
        return self._end_of(said[-1]) if said and said[-1].status is ConsentStatus.GRANTED else None

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """All records of one person, oldest first.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The store failed.
        """
        return in_order(self._read(subject_key(subject_id)))

    def record(self, record: ConsentRecord) -> None:
        """Appends a record; it is kept when this returns.

        Args:
            record: What was said.

        Raises:
            InvalidRecordError: It is not a `ConsentRecord`, its `recorded_at` lies over a minute in the future, or it lacks
                what ``strict_records=True`` asks for.
            RegistryError: The store failed; nothing was appended.
        """
        self._keep([checked_record(record, is_strict=self._is_strict)])

    def record_many(self, records: Iterable[ConsentRecord]) -> None:
        """Appends all records, or none; they are kept when this returns.

        Args:
            records: What was said, by one person or by several, in the order of writing.

        Raises:
            InvalidRecordError: One is refused, as by `record`.
            RegistryError: The store failed; nothing was appended.
        """
        self._keep([checked_record(record, is_strict=self._is_strict) for record in records])

    def grant(self, subject_id: Any, *purposes: str, **fields: Unpack[Fields]) -> None:
        """Records that a person consents, one record for each purpose, all or none.

        Args:
            subject_id: The data subject: a `str`, `int` or `UUID`.
            purposes: The purposes; the three built-in ones when none is named.
            fields: More about what was said, each as in `ConsentRecord`: `recorded_at`, `expires_at`, `policy_version`,
                `source`, `jurisdiction`, `evidence`, `language`, `event_type`, `actor`; and `covers_held=True` when the
                person agrees that what was held before the question (``while_unknown="hold"``) may leave, which the
                evidence then says. Without `recorded_at` it is now, or the time of the person's latest record when that
                is later, so that a clock that is behind cannot make a grant outlive a denial.

        Raises:
            InvalidRecordError: An argument is malformed, or the grant lacks what ``strict_records=True`` asks for.
            RegistryError: The store failed; nothing was appended.
        """
        self._say(ConsentStatus.GRANTED, subject_id, purposes, fields)

    def deny(self, subject_id: Any, *purposes: str, **fields: Unpack[Fields]) -> None:
        """Records that a person refuses or withdraws consent; the arguments are those of `grant`.

        A denial never expires by itself.

        Raises:
            InvalidRecordError: An argument is malformed.
            RegistryError: The store failed; nothing was appended.
        """
        self._say(ConsentStatus.DENIED, subject_id, purposes, fields)

    def forget(self, subject_id: Any) -> int:
        """Erases all records of one person; with an `objection_key` a keyed hash stays of whose last word was no.

        Returns:
            How many were erased.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The store failed.
        """
        return self._forget(subject_id)

    def _forget(self, subject_id: Any, **where: Any) -> int:
        key = subject_key(subject_id)
        try:
            return self._forget_all(key, self._objections.tags(self._scope, key), **where)
        finally:
            self._tell([key], **where)

    def _forget_all(self, key: str, tags: list[str], **where: Any) -> int:  # noqa: ARG002 - for those who override it
        """Erases the records of one person, and keeps what outlives them under each tag; how many were erased."""
        said = list(self._read(key)) if tags else []
        for tag in tags if said else ():
            # Before the person is erased: whatever fails in between, the denial is there.
            before = list(self._read(tag))
            kept = outliving(tag, said, before)
            if {record.purpose for record in before} > {record.purpose for record in kept}:
                self._erase(tag)
                before = []
            if new := [record for record in kept if record not in before]:
                self._append(new)
        return self._erase(key)

    def _keep(self, records: list[ConsentRecord], *, is_stamped_here: bool = False, **where: Any) -> None:
        if not records:
            return
        try:
            self._write(records, is_stamped_here=is_stamped_here, **where)
        finally:
            self._tell({record.subject_id for record in records}, **where)

    def _tell(self, subject_ids: Collection[str], **where: Any) -> None:
        """Tells those who remember answers of a write, which shows only later when it is in a transaction of the caller's."""
        tell(self, subject_ids, is_settled=not any(where.values()))

    def _write(self, records: list[ConsentRecord], *, is_stamped_here: bool, **where: Any) -> None:  # noqa: ARG002 - the same
        """Appends all records, or none.

        Args:
            records: The records; all of one person when they are stamped here.
            is_stamped_here: Whether the time was taken from this machine's clock, which may be behind: then no record
                is kept as earlier than the person's latest (`not_before`).
            where: What the registry's own `record` takes beside a record.
        """
        if is_stamped_here:
            latest = latest_of(self._read(records[0].subject_id))
            records = [not_before(record, latest) for record in records]
        self._append(records)

    def _say(
        self, status: ConsentStatus, subject_id: Any, purposes: tuple[str, ...], fields: Fields, **where: Any
    ) -> None:
        records = self._said(status, subject_id, purposes, fields)
        nearest = offered(self, ("grant", "deny", "record_many", "record"))
        if nearest in {"grant", "deny"}:
            self._keep(records, is_stamped_here=is_stamped_here(fields), **where)
            return
        # A subclass has its own way to record.
        if is_stamped_here(fields):
            latest = latest_of(self.history(subject_id))
            records = [not_before(record, latest) for record in records]
        if nearest == "record_many":
            self.record_many(records, **where)
        else:
            for record in records:
                self.record(record, **where)

    def _said(
        self, status: ConsentStatus, subject_id: Any, purposes: tuple[str, ...], fields: Fields
    ) -> list[ConsentRecord]:
        """The records of a grant or denial, checked."""
        if status is ConsentStatus.GRANTED:
            require_purposes(self, purposes)
        records = records_of(status, subject_id, purposes, fields)
        return [checked_record(record, is_strict=self._is_strict) for record in records]

    def _end_of(self, record: ConsentRecord) -> datetime | None:
        return end_of(record.purpose, record.recorded_at, record.expires_at, self._max_age)

    def _recorded(self, key: str, purpose: str, moment: datetime | None) -> Standing | None:
        """The standing by the records of a person and purpose; None where there was none yet."""
        records = [record for record in self._read(key) if record.purpose == purpose]
        return self._by_records(records, moment)

    def _by_records(self, records: Iterable[ConsentRecord], moment: datetime | None) -> Standing | None:
        said = [record for record in records if moment is None or record.recorded_at <= moment]
        if not said:
            return None
        return standing_of(said, at=moment, required_policy_version=self._required, max_age=self._max_age)

    def _unrecorded(self, key: str, purpose: str, moment: datetime | None) -> Standing:
        """The standing of somebody of whom there is no record: withdrawn, when an objection was kept."""
        for tag in self._objections.tags(self._scope, key) if self._objections else ():
            if (found := self._recorded(tag, purpose, moment)) is not None:
                return found
        return Standing.NOT_RECORDED


class StoredRegistry(RecordingRegistry):
    """A registry of the package: stamped, chained and kept for each tenant by its own store."""

    @abstractmethod
    def _write(self, records: list[ConsentRecord], *, is_stamped_here: bool, **where: Any) -> None: ...

    def add_objection_key(self, keyed: Keyed | None) -> None:
        """Has every registry of this process over the store keep objections under a key as well; for clients.

        Args:
            keyed: The keyed hash under the secret of a client's policy; None where it has none.
        """
        if keyed is not None:
            self._objections.add(keyed)

    def _append(self, records: Sequence[ConsentRecord]) -> None:
        self._write(list(records), is_stamped_here=False)

    @abstractmethod
    def _forget_all(self, key: str, tags: list[str], **where: Any) -> int: ...

    @abstractmethod
    def verify(self, subject_id: Any) -> Verification:
        """Whether the records of a person are those that were written, in their order, and all of them.

        Each record is chained to the one before by SHA-256, and the end of the chain is kept apart from the records.
        That tells a change by somebody who does not know of the chain, or cannot write both; a receipt in the hands
        of the person tells the rest.

        Returns:
            A `Verification`, true when nothing was changed.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The store failed.
        """

    @abstractmethod
    def people(self) -> Iterator[tuple[str, str]]:
        """Of whom there are records, as tenant and id: a few at a time, in whatever order the store has; for copies.

        Raises:
            RegistryError: The store failed.
        """

    def prepare(self) -> None:
        """Makes what the store needs before it can be written to; for copies."""

    def close(self) -> None:
        """Closes what the registry has opened by itself."""

    def outside_of_a_call(self) -> AbstractContextManager[object]:
        """Surrounds questions of a thread of ours, so that what they open by it is closed; for clients."""
        return nullcontext()

    def after_commit(self, act: Callable[[], object]) -> bool:
        """Has an act done once the transaction is committed in which the caller is, and never if that is taken back; for clients.

        Args:
            act: What is to be done.

        Returns:
            Whether it was put off; False where the registry is in no transaction of its caller's by itself: nothing was done.
        """
        del act  # for registries that are
        return False

    @abstractmethod
    def scoped(self: _T, name: str) -> _T:
        """The same store for one tenant: its ids never meet those of another, nor those of the store without one.

        Args:
            name: The tenant: 1 to 64 printable characters, no white space around.

        Raises:
            ConfigurationError: The name is malformed, or this is a tenant's already.
        """

    def _tenant(self, name: object) -> str:
        """The checked name of a tenant."""
        if self._scope:
            raise ConfigurationError("this registry is a tenant's already: ask the one of the whole store for another")
        problem = ""
        try:
            return str(Purpose(name))  # type: ignore[arg-type]
        except InvalidRecordError as error:
            problem = str(error).replace("purpose", "the name of a tenant", 1)
        raise ConfigurationError(problem)


def keep_objections(registry: Any, keyed: Keyed | None) -> bool:
    """Has a registry keep the objections of whom it forgets.

    Args:
        registry: Anybody's; one that is none of the package's forgets as it likes.
        keyed: The keyed hash to use; None where the application has no secret.

    Returns:
        Whether nothing is left to be said: objections are kept, or how the registry forgets is not ours to know.
    """
    inner = innermost(registry)
    if not issubclass(type(inner), RecordingRegistry):
        return True
    if issubclass(type(inner), StoredRegistry):
        inner.add_objection_key(keyed)
    return bool(inner._objections)  # noqa: SLF001 - the same file


def outside_of_a_call(registry: Any) -> AbstractContextManager[object]:
    """What surrounds questions to a registry that are asked by a thread of ours."""
    inner = innermost(registry)
    return inner.outside_of_a_call() if issubclass(type(inner), StoredRegistry) else nullcontext()


def after_commit(registry: Any, act: Callable[[], object]) -> bool:
    """As `StoredRegistry.after_commit`, of anybody's registry."""
    inner = innermost(registry)
    return issubclass(type(inner), StoredRegistry) and inner.after_commit(act)


def innermost(registry: Any) -> Any:
    """The registry over which others are caches; its class tells what it is, because a proxy may raise until its object is there."""
    inner = registry
    # Past whatever a proxy makes of the question.
    with suppress(AttributeError, TypeError):
        for _ in range(8):
            inner = object.__getattribute__(inner, "_inner")
    return inner
