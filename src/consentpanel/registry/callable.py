"""A registry over a function: for those who keep consent in tables of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, cast

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.standing import Standing
from consentpanel.errors import ConfigurationError, RegistryError
from consentpanel.registry._protocol import (
    ConsentRegistry,
    LacksMethodError,
    can_answer,
    in_time,
    is_coroutine_function,
    is_late,
    refuse_coroutines,
)
from consentpanel.registry._records import asked_moment, checked_record


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
        record_many: Your own function that appends all records of a list, or none; without it `record` does, one by one.
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
        record_many: Callable[[list[ConsentRecord]], object] | None = None,
        history: Callable[[str], list[ConsentRecord]] | None = None,
        forget: Callable[[str], object] | None = None,
    ) -> None:
        own: dict[str, Callable[..., object] | None] = {
            "record": record,
            "record_many": record_many,
            "history": history,
            "forget": forget,
        }
        given = {"function": function, **own}
        for name, each in given.items():
            if each is None and name != "function":
                continue
            if not callable(each):
                raise ConfigurationError(f"{name} must be callable, not {type(each).__name__}")
            if is_coroutine_function(each):
                raise ConfigurationError(f"{name} must be a plain function: a coroutine function cannot be asked here")
        self._function = function
        self._takes_at = takes_at(function)
        self._own = own

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
        return standing_said(answer)

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
            InvalidRecordError: It is not a `ConsentRecord`, or its `recorded_at` lies over a minute in the future.
            RegistryError: There is none: consent is kept in the application's own tables. Or it answered later.
        """
        self._delegate("record", checked_record(record))

    def record_many(self, records: Iterable[ConsentRecord]) -> None:
        """Hands the records to your own function, which appends all or none.

        Raises:
            InvalidRecordError: One is not a `ConsentRecord`, or its `recorded_at` lies over a minute in the future.
            RegistryError: There is none. Or it answered later.
        """
        self._delegate("record_many", [checked_record(record) for record in records])

    def history(self, subject_id: Any) -> list[ConsentRecord]:
        """What your own function returns.

        Raises:
            RegistryError: There is none: consent is kept in the application's own tables.
        """
        return list(self._delegate("history", subject_key(subject_id)))

    def forget(self, subject_id: Any) -> None:
        """Hands the subject id to your own function.

        Raises:
            RegistryError: There is none: consent is kept in the application's own tables.
        """
        self._delegate("forget", subject_key(subject_id))

    def _delegate(self, name: str, given: object) -> Any:
        function = self._own[name]
        if function is None:
            raise LacksMethodError(f"consent is kept in the application's own tables: pass {name}= to CallableRegistry")
        return in_time(function(given), name)

    def __repr__(self) -> str:
        return f"<CallableRegistry of {getattr(self._function, '__name__', type(self._function).__name__)}>"


def as_registry(value: Any) -> ConsentRegistry:
    """The registry, also when a plain callable is given for one.

    Raises:
        ConfigurationError: It is none, or a method of it is a coroutine function.
    """
    if isinstance(value, type):
        raise ConfigurationError(f"registry must be a registry, not the class {value.__name__}: call it")
    if can_answer(value):
        refuse_coroutines(value)
        return cast("ConsentRegistry", value)
    if callable(value) and not hasattr(value, "status"):
        return CallableRegistry(cast("Callable[..., Any]", value))
    raise ConfigurationError(
        f"registry must have the methods of ConsentRegistry or be a callable (subject_id, purpose); "
        f"{type(value).__name__} has no method status"
    )


def standing_said(answer: object) -> Standing:
    """The standing that an answer of a function says.

    Raises:
        RegistryError: It says none.
    """
    if answer is None:
        return Standing.NOT_RECORDED
    if isinstance(answer, ConsentStatus):
        return Standing.of(answer)
    if answer is True or answer is False:
        return Standing.GRANTED if answer else Standing.ANSWERED_FALSE
    is_late(answer)  # closes a coroutine
    raise RegistryError(f"the function must return a ConsentStatus, bool or None, not {type(answer).__name__}")


def takes_at(function: Callable[..., object]) -> bool:
    """Whether a function may be asked about the past."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return True
    parameter = parameters.get("at")
    return parameter is not None and parameter.kind in {parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD}
