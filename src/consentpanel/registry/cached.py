"""A registry in front of another one, which remembers answers for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from consentpanel._checks import seconds, whole_number
from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing
from consentpanel._forks import Survivors
from consentpanel.errors import ConfigurationError, RegistryError
from consentpanel.registry._protocol import can_answer
from consentpanel.registry.callable import CallableRegistry


class CachedRegistry:
    """Remembers what another registry answers about now. Safe for many threads; bounded.

    What is written through this object shows at once. What is written elsewhere (another process, another object)
    shows after at most `ttl` seconds, a withdrawal too: choose a `ttl` that you can answer for. Failures are never
    remembered, and questions about the past are always handed on.

    Args:
        registry: The registry to ask, or a callable ``(subject_id, purpose)``.
        ttl: Seconds for which an answer is remembered, above 0.
        max_size: The most answers that are remembered; the oldest goes first.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> from consentpanel.registry import MemoryRegistry
        >>> registry = CachedRegistry(MemoryRegistry(), ttl=30)
        >>> registry.grant("user-1")
        >>> registry.status("user-1", "analytics")
        <ConsentStatus.GRANTED: 'granted'>
    """

    def __init__(self, registry: Any, *, ttl: float, max_size: int = 100_000) -> None:
        self._ttl = seconds("ttl", ttl)
        self._max_size = whole_number("max_size", max_size, 1)
        if isinstance(registry, type) or not (can_answer(registry) or callable(registry)):
            raise ConfigurationError(f"registry must be a registry or a callable, not {type(registry).__name__}")
        function: Any = registry
        self._inner: Any = registry if can_answer(registry) else CallableRegistry(function)
        self._answers: dict[tuple[str, str], tuple[Any, float]] = {}
        self._purposes: set[str] = set()
        self._writes = 0
        self._lock = threading.Lock()
        _ALIVE.add(self)

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
        if at is not None:
            return self._ask(key, purpose, at)
        remembered = self._answers.get((key, purpose))
        if remembered is not None and time.monotonic() < remembered[1]:
            return remembered[0]
        writes = self._writes
        answer = self._ask(key, purpose, None)
        self._remember((key, purpose), answer, writes)
        return answer

    def statuses(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """The status of several people for one purpose, by the ids as they were given."""
        return {subject: self.status(subject, purpose, at=at) for subject in subject_ids}

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Any]:
        """The standing of several people for one purpose, by the ids as they were given."""
        return {subject: self.standing(subject, purpose, at=at) for subject in subject_ids}

    def record(self, record: ConsentRecord) -> None:
        """Appends a record to the other registry; it shows here at once."""
        self._write("record", record.subject_id if isinstance(record, ConsentRecord) else None, record)

    def grant(self, subject_id: Any, *purposes: str, **fields: Any) -> None:
        """Records that a person consents, through the other registry; it shows here at once."""
        self._write("grant", subject_id, subject_id, *purposes, **fields)

    def deny(self, subject_id: Any, *purposes: str, **fields: Any) -> None:
        """Records that a person refuses or withdraws, through the other registry; it shows here at once."""
        self._write("deny", subject_id, subject_id, *purposes, **fields)

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """All records of one person, oldest first, from the other registry."""
        found: list[ConsentRecord] = self._method("history")(subject_id)
        return found

    def forget(self, subject_id: Any) -> object:
        """Erases all records of one person, here and in the other registry."""
        return self._write("forget", subject_id, subject_id)

    def __repr__(self) -> str:
        return f"<CachedRegistry of {len(self._answers)} answers over {type(self._inner).__name__}>"

    def _ask(self, key: str, purpose: str, at: datetime | None) -> Any:
        ask = self._inner.standing if hasattr(type(self._inner), "standing") else self._inner.status
        return ask(key, Purpose(purpose)) if at is None else ask(key, Purpose(purpose), at=at)

    def _remember(self, key: tuple[str, str], answer: Any, writes: int) -> None:
        if not isinstance(answer, (Standing, ConsentStatus)):
            return
        with self._lock:
            # An answer that was asked for before a write may be what the write has changed.
            if writes == self._writes:
                self._answers.pop(key, None)
                while len(self._answers) >= self._max_size:
                    del self._answers[next(iter(self._answers))]
                self._purposes.add(key[1])
                self._answers[key] = answer, time.monotonic() + self._ttl

    def _write(self, name: str, subject_id: Any, *arguments: Any, **fields: Any) -> Any:
        method = self._method(name)
        with self._lock:
            self._writes += 1
        try:
            return method(*arguments, **fields)
        finally:
            with self._lock:
                self._writes += 1
                self._forget_answers(subject_id)

    def _forget_answers(self, subject_id: Any) -> None:
        try:
            key = subject_key(subject_id)
        except ValueError:
            self._answers.clear()
            return
        for purpose in self._purposes:
            self._answers.pop((key, purpose), None)

    def _method(self, name: str) -> Any:
        method = getattr(self._inner, name, None)
        if not callable(method):
            raise RegistryError(f"{type(self._inner).__name__} has no method {name}")
        return method

    def _restart_in_child(self) -> None:
        # Another thread of the parent may have held the lock.
        self._lock = threading.Lock()


_ALIVE: Survivors[CachedRegistry] = Survivors(CachedRegistry._restart_in_child)  # noqa: SLF001 - the same file
