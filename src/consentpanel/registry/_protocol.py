"""What a consent registry is: five methods, none of which answers later."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel.errors import ConfigurationError, RegistryError

#: Every method by which a registry may be asked or told something; the first five make one.
METHODS = (
    *("status", "statuses", "record", "history", "forget"),
    *("standing", "standings", "ends_at", "record_many", "grant", "deny"),
)


@runtime_checkable
class ConsentRegistry(Protocol):
    """Keeps what people said about the use of their data, and answers for it.

    A class of anybody's that has these methods is a registry; there is nothing to inherit. Sending needs only `status`:
    without `statuses` the gate asks about one person after the other. A registry that fails, or
    that answers with something else than a `ConsentStatus`, is taken for a denial.
    `consentpanel.testing.RegistryContract` proves one.

    The latest record decides: by `recorded_at`, then by order of writing. One thing goes before: a denial counts as later
    than what was written before it and is stamped no more than a minute after it, so that a fast clock cannot make a
    grant outlive it.

    More methods are used where a registry has them:

    - ``record_many(records)`` appends all or none, so that a withdrawal of several purposes is whole. Without it they are
      recorded one by one, and a failure half-way says how many were.
    - ``ends_at(subject_id, purpose)`` is the `expires_at` of the grant that decides now, or None: `CachedRegistry` asks it
      instead of `history`.
    - ``grant`` and ``deny``, as those of `MemoryRegistry`.
    """

    def status(self, subject_id: str, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """The status of one person for one purpose.

        Args:
            subject_id: The data subject: a `str`, `int` or `UUID`; looked up by its string.
            purpose: The purpose, or its name.
            at: The moment asked about, aware; None, or a moment to come, asks about now.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
        """
        ...

    def statuses(
        self, subject_ids: Iterable[str], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """The status of several people for one purpose, by the ids as they were given; one after the other."""
        return {subject: self.status(subject, purpose, at=at) for subject in subject_ids}

    def record(self, record: ConsentRecord, /) -> None:
        """Appends a record; it is kept when this returns."""
        raise NotImplementedError(f"{type(self).__name__} does not record")

    def history(self, subject_id: str) -> list[ConsentRecord]:
        """All records of one person, oldest first."""
        raise NotImplementedError(f"{type(self).__name__} keeps no history")

    def forget(self, subject_id: str) -> object:
        """Erases all records of one person."""
        raise NotImplementedError(f"{type(self).__name__} does not forget")


def can_answer(registry: object) -> bool:
    """Whether an object can be asked for consent: sending needs `status` and nothing else."""
    try:
        return callable(getattr(registry, "status", None))
    except Exception:  # noqa: BLE001 - a proxy whose object is not there yet is asked when it is
        return True


class LacksMethodError(RegistryError, NotImplementedError):
    """A registry does not offer something, which is no failure of it."""


def refuse_coroutines(registry: object) -> None:
    """Refuses a registry that would answer later, by any of its methods.

    Raises:
        ConfigurationError: A method is a coroutine function.
    """
    for name in METHODS:
        method = None
        # Suppressed, because a proxy may raise until its object is there.
        with suppress(Exception):
            method = getattr(registry, name, None)
        if is_coroutine_function(method):
            raise ConfigurationError(
                f"registry.{name} must be a plain method: a coroutine function can be asked by AsyncMixpanel alone"
            )


def is_coroutine_function(function: object) -> bool:
    """Whether a call of it runs nothing yet: a coroutine function or an asynchronous generator, bound or not."""
    while isinstance(function, functools.partial):
        function = function.func
    return any(
        inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004 - the method itself is looked at
    )


def offered(registry: Any, names: Iterable[str]) -> str | None:
    """Which of some methods is written last: a subclass that overrides one of them means that one to be called.

    Args:
        registry: Anybody's registry.
        names: The methods, of several in one class the first; None when neither the object nor its class has one.
    """
    own = getattr(registry, "__dict__", {})
    for name in names:
        if name in own:
            return name
    for kind in type(registry).__mro__:
        there = [name for name in names if name in vars(kind)]
        if len(there) > 1:
            # What a test has put over one of them was not written in the class.
            there.sort(key=lambda name: _is_written_in(kind, vars(kind)[name]))
        if there:
            return there[0]
    return None


def _is_written_in(kind: type, method: object) -> bool:
    return str(getattr(method, "__qualname__", "")).startswith(f"{kind.__qualname__}.")


def is_late(answer: object) -> bool:
    """Whether something is only the promise of an answer; a coroutine is closed, for nobody will await it."""
    if inspect.iscoroutine(answer):
        answer.close()
        return True
    return inspect.isawaitable(answer) or inspect.isasyncgen(answer) or isinstance(answer, Future)


def in_time(answer: Any, name: str) -> Any:
    """The answer of a method.

    Raises:
        RegistryError: It is only the promise of one.
    """
    if is_late(answer):
        raise RegistryError(f"{name} answered with {type(answer).__name__}, which nobody awaits: nothing was done")
    return answer
