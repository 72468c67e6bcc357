"""A registry in front of another one, which remembers answers for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

from consentpanel._checks import seconds, whole_number
from consentpanel._consent.age import MaxAge, end_of
from consentpanel._consent.chain import Verification
from consentpanel._consent.ids import Purpose, purpose_key, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now, utc
from consentpanel._consent.standing import Standing, in_order
from consentpanel._forks import Survivors
from consentpanel._log import note_failure
from consentpanel.errors import ConfigurationError, ConsentPanelError
from consentpanel.registry._lookup import ask_several, question_to
from consentpanel.registry._protocol import LacksMethodError, in_time, offered
from consentpanel.registry._recording import RecordingRegistry, StoredRegistry
from consentpanel.registry._records import checked_record
from consentpanel.registry._watching import store_of, watch
from consentpanel.registry._writing import call, history_of, record_all, say
from consentpanel.registry.callable import as_registry
from consentpanel.registry.invalidation import Invalidation, digest_of

_T = TypeVar("_T")

#: Seconds for which a transaction of the caller's may be open, and an answer not be the last.
_UNSETTLED = 60.0


class CachedRegistry:
    """Remembers what another registry answers about now. Safe for many threads; bounded.

    What is written through this object shows at once, and so does what this process writes to the same store through another
    registry of the package. What is written elsewhere (in another process, or past the package) shows after at most
    `ttl` seconds, a withdrawal too: choose a `ttl` that you can answer for. Failures are never remembered, and questions
    about the past are always handed on.

    A grant is never remembered past its own `expires_at`. The registries of the package tell it at little cost
    (`ends_at`); of another one its `history` is asked once for each grant that is remembered. From one that keeps no
    history nobody knows of an end, and `ttl` bounds it.

    Any registry of five methods can be wrapped: `grant`, `deny` and `record_many` are made of its `record` when it has
    none of its own.

    Args:
        registry: The registry to ask, or a callable ``(subject_id, purpose)``.
        ttl: Seconds for which an answer is remembered, above 0.
        max_size: The most answers that are remembered; the oldest goes first.
        invalidation: A channel on which processes hear of each other's writes: `RedisInvalidation` or `PostgresInvalidation`.
            What another process records through such a cache, or through a registry of the package beside one, shows here as
            soon as the channel tells it. While the channel is broken nothing older than `ttl` is answered, and a warning says so.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel.registry import MemoryRegistry
        >>> registry = CachedRegistry(MemoryRegistry(), ttl=30)
        >>> registry.grant("user-1")
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.GRANTED: 'granted'>
    """

    def __init__(
        self, registry: Any, *, ttl: float, max_size: int = 100_000, invalidation: Invalidation | None = None
    ) -> None:
        self._ttl = seconds("ttl", ttl)
        self._max_size = whole_number("max_size", max_size, 1)
        self._inner: Any = as_registry(registry)
        #: By person and purpose: the answer, when it is to be asked for again, and when it ends by itself.
        self._answers: dict[tuple[str, str], tuple[Any, float, datetime | None]] = {}
        self._purposes: set[str] = set()
        #: Until when nothing is remembered of a person, by digest.
        self._unsettled: dict[str, float] = {}
        self._writes = 0
        # Re-entrant, because a signal handler may ask or record in the middle of anything.
        self._lock = threading.RLock()
        _ALIVE.add(self)
        watch(self, self._inner)
        if invalidation is not None and not callable(getattr(invalidation, "attach", None)):
            raise ConfigurationError(
                f"invalidation must be a RedisInvalidation or PostgresInvalidation, not {type(invalidation).__name__}"
            )
        self._invalidation = invalidation
        #: Who is remembered, by what names them on the channel.
        self._by_digest: dict[str, str] = {}
        if invalidation is not None:
            invalidation.attach(self)

    def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """The status of one person for one purpose, from memory when it is about now.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            Exception: Whatever the other registry raises.
        """
        answer = self.standing(subject_id, purpose, at=at)
        found: ConsentStatus = answer.status if isinstance(answer, Standing) else answer
        return found

    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Any:
        """As `status`, with the cause where the other registry tells it."""
        key = subject_id if type(subject_id) is str and subject_id else subject_key(subject_id)
        if at is not None or self.is_within:
            return self._ask(key, purpose, at)
        purpose = purpose_key(purpose)
        remembered = self._remembered(key, purpose)
        if remembered is not None:
            return remembered
        writes, until = self._writes, time.monotonic() + self._ttl
        answer = self._ask(key, purpose, None)
        self._remember((key, purpose), answer, writes, until)
        return answer

    def _remembered(self, key: str, purpose: str) -> Any:
        remembered = self._answers.get((key, purpose))
        if remembered is not None and time.monotonic() < remembered[1]:
            end = remembered[2]
            if end is None or now() < end:
                return remembered[0]
        return None

    def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """When the grant that decides now ends by itself, from the other registry; None for never, and for no grant.

        Raises:
            InvalidRecordError: The id is malformed, or the other registry answered with no aware datetime.
            RegistryError: The other registry failed.
        """
        key, named = subject_key(subject_id), Purpose(purpose)
        # One that is inherited knows nothing of answers that a class nearer gives by itself.
        if offered(self._inner, ("ends_at", "history", "standing", "status")) in {"ends_at", None}:
            try:
                end = call(self._inner, "ends_at", key, named)
            except LacksMethodError:
                pass
            else:
                return None if end is None else utc(end, "ends_at")
        try:
            said = [record for record in in_order(history_of(self._inner, key)) if record.purpose == named]
        except LacksMethodError:
            return None
        if not said or said[-1].status is not ConsentStatus.GRANTED:
            return None
        ages = self.max_age
        return end_of(named, said[-1].recorded_at, said[-1].expires_at, ages if isinstance(ages, MaxAge) else None)

    def statuses(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """The status of several people for one purpose, by the ids as they were given."""
        found = self.standings(subject_ids, purpose, at=at)
        return {subject: each.status if isinstance(each, Standing) else each for subject, each in found.items()}

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Any]:
        """The standing of several people for one purpose, by the ids as they were given: those that are not remembered asked at once."""
        keys = {subject: subject_key(subject) for subject in subject_ids}
        named = Purpose(purpose)
        is_asked = at is not None or self.is_within
        unknown = [key for key in dict.fromkeys(keys.values()) if is_asked or self._remembered(key, named) is None]
        writes, until = self._writes, time.monotonic() + self._ttl
        answers = (ask_several(self._inner, unknown, named, at) if len(unknown) > 1 else None) or {}
        if not is_asked:
            for key, answer in answers.items():
                self._remember((key, named), _told(answer), writes, until, is_cheap=True)
        return {
            subject: _told(answers[key]) if key in answers else self.standing(subject, purpose, at=at)
            for subject, key in keys.items()
        }

    def record(self, record: ConsentRecord, **where: Any) -> None:
        """Appends a record to the other registry; it shows here at once.

        Args:
            record: What was said.
            where: What the other registry's `record` takes beside it, such as ``session=``.
        """
        self._write([record], lambda: call(self._inner, "record", record, **where))

    def record_many(self, records: Iterable[ConsentRecord], **where: Any) -> None:
        """Appends records to the other registry, all or none where that has `record_many`; they show here at once.

        Raises:
            InvalidRecordError: One is not a `ConsentRecord`, or its `recorded_at` lies over a minute in the future.
            RegistryError: The other registry failed. Of one without `record_many` the text says how many records were
                appended before.
        """
        several = [checked_record(record) for record in records]
        self._write(several, lambda: record_all(self._inner, several, **where))

    def grant(self, subject_id: Any, *purposes: str, **fields: Any) -> None:
        """Records that a person consents, through the other registry; it shows here at once."""
        self._write([subject_id], lambda: say(self._inner, ConsentStatus.GRANTED, subject_id, purposes, fields))

    def deny(self, subject_id: Any, *purposes: str, **fields: Any) -> None:
        """Records that a person refuses or withdraws, through the other registry; it shows here at once."""
        self._write([subject_id], lambda: say(self._inner, ConsentStatus.DENIED, subject_id, purposes, fields))

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """All records of one person, oldest first, from the other registry."""
        found: list[ConsentRecord] = call(self._inner, "history", subject_id)
        return found

    @property
    def max_age(self) -> MaxAge | None:
        """How long answers of the other registry are good for; None where it does not say."""
        found: MaxAge | None = getattr(self._inner, "max_age", None)
        return found

    @property
    def required_policy_version(self) -> str | None:
        """The oldest policy version under which a grant holds for the other registry; None where it does not say."""
        found: str | None = getattr(self._inner, "required_policy_version", None)
        return found

    @property
    def strict_records(self) -> bool:
        """Whether the other registry takes strict records alone."""
        return getattr(self._inner, "strict_records", False) is True

    def verify(self, subject_id: Any) -> Verification:
        """Whether the records of a person are those that were written, by the other registry.

        Raises:
            RegistryError: It failed, or chains no records.
        """
        found: Verification = call(self._inner, "verify", subject_id)
        return found

    def scoped(self, name: str) -> CachedRegistry:
        """A cache of its own over the same store for one tenant.

        Raises:
            ConfigurationError: The name is malformed, or the other registry knows no tenants.
        """
        if not isinstance(self._inner, StoredRegistry):
            raise ConfigurationError(f"{type(self._inner).__name__} knows no tenants")
        inner = self._inner.scoped(name)
        return CachedRegistry(inner, ttl=self._ttl, max_size=self._max_size, invalidation=self._invalidation)

    def within(self, **where: Any) -> AbstractContextManager[None]:
        """As `SQLAlchemyRegistry.within`, of the other registry; nothing is remembered meanwhile.

        Args:
            where: ``session=`` or ``connection=``.

        Raises:
            ConfigurationError: The other registry is no `SQLAlchemyRegistry`, or the arguments are no transaction.
        """
        within = getattr(self._inner, "within", None)
        if within is None:
            raise ConfigurationError(f"{type(self._inner).__name__} is in no transaction of SQLAlchemy's")
        found: AbstractContextManager[None] = within(**where)
        return found

    @property
    def is_within(self) -> bool:
        """Whether the other registry answers here as a transaction sees it that is not committed yet."""
        return hasattr(type(self._inner), "is_within") and self._inner.is_within is True

    def forget(self, subject_id: Any, **where: Any) -> object:
        """Erases all records of one person, here and in the other registry."""
        return self._write([subject_id], lambda: call(self._inner, "forget", subject_id, **where))

    def __repr__(self) -> str:
        return f"<CachedRegistry of {len(self._answers)} answers over {type(self._inner).__name__}>"

    def _ask(self, key: str, purpose: str, at: datetime | None) -> Any:
        ask = question_to(self._inner)
        answer = ask(key, Purpose(purpose)) if at is None else ask(key, Purpose(purpose), at=at)
        return _told(in_time(answer, "status"))

    def _remember(
        self, key: tuple[str, str], answer: Any, writes: int, until: float, *, is_cheap: bool = False
    ) -> None:
        if not isinstance(answer, Standing):
            return
        end = None
        if answer is Standing.GRANTED:
            if is_cheap and offered(self._inner, ("ends_at", "history", "standing", "status")) not in {"ends_at", None}:
                # Whole histories, one by one, would cost more than they save.
                return
            try:
                end = self.ends_at(*key)
            except ConsentPanelError as error:
                # Nobody knows how long it may be remembered.
                note_failure("the end of a grant, which is not remembered,", error)
                return
        with self._lock:
            # An answer that was asked for before a write may be what the write has changed.
            if writes == self._writes:
                if not self._may_remember(key[0]):
                    return
                self._answers.pop(key, None)
                while len(self._answers) >= self._max_size:
                    self._answers.pop(next(iter(self._answers)), None)
                self._purposes.add(key[1])
                self._answers[key] = answer, until, end

    def _may_remember(self, key: str) -> bool:
        """Whether answers about a person may be remembered; and if so, by what the channel names them."""
        if not self._unsettled and self._invalidation is None:
            return True
        digest = digest_of(self._scope, key)
        if self._unsettled.get(digest, 0.0) > time.monotonic():
            return False
        if self._invalidation is not None:
            self._by_digest[digest] = key
            while len(self._by_digest) > self._max_size:
                self._forget_answers(self._by_digest.pop(next(iter(self._by_digest))))
        return True

    def _write(self, about: Iterable[Any], write: Callable[[], _T]) -> _T:
        """What a write answers, after which nothing is remembered of the people, or of whom the records are."""
        with self._lock:
            self._writes += 1
        try:
            return write()
        finally:
            people = [each.subject_id if isinstance(each, ConsentRecord) else each for each in about]
            if isinstance(self._inner, RecordingRegistry):
                # It has told everybody who remembers, this one too.
                self._forget_answers_of(people, is_settled=True)
            else:
                self.notice(people)

    def notice(self, subject_ids: Collection[Any], *, is_settled: bool = True) -> None:
        """Forgets what is remembered of some people, because it may have changed; for the registries of the package.

        Args:
            subject_ids: The people.
            is_settled: Whether the write is done. Of somebody who is written of in a transaction of the caller's nothing is
                remembered for a minute, because nobody tells when that is committed.
        """
        self._forget_answers_of(list(subject_ids), is_settled=is_settled)
        if self._invalidation is not None:
            keys = [key for key in map(_key_or_none, subject_ids) if key is not None]
            self._invalidation.tell([digest_of(self._scope, key) for key in keys], is_settled=is_settled)

    def hear(self, digests: Collection[str] | None, *, is_settled: bool) -> None:
        """Forgets what is remembered of whom another process has written; for an `invalidation`.

        Args:
            digests: Of whom, as `digest_of` names them; None for everybody.
            is_settled: Whether the write is done.
        """
        if digests is None:
            with self._lock:
                self._writes += 1
                self._answers.clear()
                self._by_digest.clear()
            return
        with self._lock:
            # First, so that an answer that was asked for before is not remembered after.
            self._writes += 1
            if not is_settled:
                # Whom they name may be asked about later.
                self._note_unsettled(digests)
            for digest in digests:
                key = self._by_digest.get(digest)
                if key is not None:
                    self._forget_answers(key)

    def _forget_answers_of(self, subject_ids: Collection[Any], *, is_settled: bool) -> None:
        with self._lock:
            self._writes += 1
            if not is_settled:
                keys = [key for key in map(_key_or_none, subject_ids) if key is not None]
                self._note_unsettled([digest_of(self._scope, key) for key in keys])
            for each in subject_ids:
                self._forget_answers(each)

    def _note_unsettled(self, digests: Collection[str]) -> None:
        present = time.monotonic()
        open_ones = {digest: until for digest, until in self._unsettled.items() if until > present}
        self._unsettled = {**open_ones, **dict.fromkeys(digests, present + _UNSETTLED)}

    @property
    def _scope(self) -> str:
        scope = getattr(self._inner, "_scope", "")
        return scope if isinstance(scope, str) else ""

    @property
    def _stands_before(self) -> Any:
        """The registry whose answers are remembered."""
        return self._inner

    @property
    def _store_of_consent(self) -> Hashable:
        return store_of(self._inner)

    def _forget_answers(self, subject_id: Any) -> None:
        try:
            key = subject_key(subject_id)
        except ValueError:
            self._answers.clear()
            return
        for purpose in tuple(self._purposes):
            self._answers.pop((key, purpose), None)

    def _restart_in_child(self) -> None:
        # Another thread of the parent may have held the lock.
        self._lock = threading.RLock()


def _key_or_none(subject_id: Any) -> str | None:
    try:
        return subject_key(subject_id)
    except ValueError:
        return None


def _told(answer: Any) -> Any:
    return Standing.of(answer) if type(answer) is ConsentStatus else answer


_ALIVE: Survivors[CachedRegistry] = Survivors(CachedRegistry._restart_in_child)  # noqa: SLF001 - the same file
