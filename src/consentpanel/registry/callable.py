"""A registry over a function: for those who keep consent in tables of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus, refuse_future
from consentpanel._consent.standing import Standing
from consentpanel.errors import ConfigurationError, InvalidRecordError, RegistryError
from consentpanel.registry._recording import asked_moment


class CallableRegistry:
    """Asks a function of yours. A plain callable given as ``registry=`` becomes one of these.

    False means that the person has not agreed. For a second id of somebody (a device id) it means only that the function
    knows no such id: return `ConsentStatus.DENIED` to block one.

    A function that takes no ``at`` knows the present alone. Asked about the past, the registry then answers
    `ConsentStatus.UNKNOWN`: nobody can tell that consent held, so events of the past are not sent.

    Args:
        function: Takes the subject id and the `Purpose`, and by keyword ``at`` (an aware datetime or None) when it
            has such a parameter. Returns a `ConsentStatus`, True (granted), False (denied) or None (unknown).
        record: Your own function that appends a `ConsentRecord`; without it `record` raises.
        history: Your own function that returns the records of a subject id, oldest first.
        forget: Your own function that erases the records of a subject id.

    Raises:
        ConfigurationError: A function is not callable, or is a coroutine function.

    Example:
        >>> newsletter_readers = {"user-1": True, "user-2": False}
        >>> registry = CallableRegistry(lambda subject_id, purpose: newsletter_readers.get(subject_id))
        >>> [registry.status(f"user-{n}", "analytics").name for n in (1, 2, 3)]
        ['GRANTED', 'DENIED', 'UNKNOWN']
    """

    def __init__(
        self,
        function: Callable[..., ConsentStatus | bool | None],
        *,
        record: Callable[[ConsentRecord], object] | None = None,
        history: Callable[[str], list[ConsentRecord]] | None = None,
        forget: Callable[[str], object] | None = None,
    ) -> None:
        given = {"function": function, "record": record, "history": history, "forget": forget}
        for name, each in given.items():
            if each is None and name != "function":
                continue
            if not callable(each):
                raise ConfigurationError(f"{name} must be callable, not {type(each).__name__}")
            if inspect.iscoroutinefunction(each) or inspect.iscoroutinefunction(getattr(each, "__call__", None)):  # noqa: B004 - the method itself is looked at
                raise ConfigurationError(f"{name} must be a plain function: a coroutine function cannot be asked here")
        self._function = function
        self._takes_at = _takes_at(function)
        self._record = record
        self._history = history
        self._forget = forget

    def status(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        """The status that the function answers.

        Raises:
            InvalidRecordError: `at` is naive, or the id is malformed.
            RegistryError: The function answered with something else than it may.
            Exception: Whatever the function raises; the gate takes it for a denial.
        """
        return self.standing(subject_id, purpose, at=at).status

    def standing(self, subject_id: Any, purpose: str, *, at: datetime | None = None) -> Standing:
        """As `status`, with the cause: a plain False is told from a denial that is recorded."""
        key = subject_key(subject_id)
        moment = asked_moment(at)
        if self._takes_at:
            answer: object = self._function(key, Purpose(purpose), at=moment)
        elif moment is not None:
            return Standing.NOT_RECORDED
        else:
            answer = self._function(key, Purpose(purpose))
        if answer is None:
            return Standing.NOT_RECORDED
        if isinstance(answer, ConsentStatus):
            return Standing.of(answer)
        if answer is True or answer is False:
            return Standing.GRANTED if answer else Standing.ANSWERED_FALSE
        if inspect.iscoroutine(answer):
            answer.close()
        raise RegistryError(f"the function must return a ConsentStatus, bool or None, not {type(answer).__name__}")

    def statuses(
        self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None
    ) -> dict[Any, ConsentStatus]:
        """The status of several people for one purpose, by the ids as they were given."""
        return {subject: self.status(subject, purpose, at=at) for subject in subject_ids}

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Standing]:
        """The standing of several people for one purpose, by the ids as they were given."""
        return {subject: self.standing(subject, purpose, at=at) for subject in subject_ids}

    def record(self, record: ConsentRecord) -> None:
        """Hands the record to your own function.

        Raises:
            InvalidRecordError: It is not a `ConsentRecord`.
            RegistryError: There is none: consent is kept in the application's own tables.
        """
        if not isinstance(record, ConsentRecord):
            raise InvalidRecordError(f"record must be a ConsentRecord, not {type(record).__name__}")
        refuse_future(record.recorded_at)
        _delegate(self._record, "record")(record)

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """What your own function returns.

        Raises:
            RegistryError: There is none: consent is kept in the application's own tables.
        """
        return list(_delegate(self._history, "history")(subject_key(subject_id)))

    def forget(self, subject_id: Any) -> None:
        """Hands the subject id to your own function.

        Raises:
            RegistryError: There is none: consent is kept in the application's own tables.
        """
        _delegate(self._forget, "forget")(subject_key(subject_id))

    def __repr__(self) -> str:
        return f"<CallableRegistry of {getattr(self._function, '__name__', type(self._function).__name__)}>"


def _delegate(function: Callable[..., Any] | None, name: str) -> Callable[..., Any]:
    if function is None:
        raise RegistryError(f"consent is kept in the application's own tables: pass {name}= to CallableRegistry")
    return function


def _takes_at(function: Callable[..., object]) -> bool:
    try:
        parameter = inspect.signature(function).parameters.get("at")
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.kind in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD}
