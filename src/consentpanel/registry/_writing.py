"""Writes to any registry: what it offers is used, what it lacks is made up for, what it raises is told by its type."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now, utc
from consentpanel._consent.standing import Standing
from consentpanel.errors import ConsentPanelError, InvalidRecordError, RegistryError
from consentpanel.registry._protocol import LacksMethodError, is_late, offered
from consentpanel.registry._records import (
    in_evidence,
    is_stamped_here,
    latest_of,
    not_before,
    records_of,
    require_purposes,
    split,
)
from consentpanel.registry._remembered import keep, kept_of, known
from consentpanel.registry._watching import tell

_NONE = object()
#: The methods by which something is recorded.
_WRITES = frozenset({"record", "record_many", "grant", "deny", "forget"})


def call(registry: object, name: str, *arguments: Any, **keywords: Any) -> Any:
    """What a method of anybody's registry answers; the registry may be a proxy that raises by itself.

    Raises:
        LacksMethodError: The registry does not offer the method.
        RegistryError: It failed, or answered later. The error tells the type of the cause, and leads to nothing else.
        InvalidRecordError: As the registries of the package raise it.
    """
    kind = type(registry).__name__
    problem: ConsentPanelError
    try:
        method = getattr(registry, name, None)
        try:
            answer = method(*arguments, **keywords) if callable(method) else _NONE
        finally:
            if name in _WRITES:
                # One of anybody's tells nobody.
                tell(registry, ())
    except Exception as error:  # noqa: BLE001 - a registry is anybody's, and the text of its errors may hold values
        if isinstance(error, ConsentPanelError) and type(error) in _OURS and _is_raised_here(error):
            problem = type(error)(str(error))
        elif isinstance(error, NotImplementedError):
            problem = LacksMethodError(f"{kind} does not offer {name}")
        else:
            problem = RegistryError(f"{kind}.{name} failed: {type(error).__name__}")
    else:
        if answer is _NONE:
            raise LacksMethodError(f"{kind} has no method {name}")
        # A generator that nobody runs has recorded nothing.
        if not is_late(answer) and (name == "history" or not inspect.isgenerator(answer)):
            return answer
        problem = RegistryError(
            f"{kind}.{name} answered with {type(answer).__name__}, which nobody runs: nothing was done"
        )
    raise problem


#: What a registry of the package raises, whose text holds no value.
_OURS = frozenset({RegistryError, InvalidRecordError, LacksMethodError})


def _is_raised_here(error: Exception) -> bool:
    """Whether the package itself has raised an error: then its text holds no value."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and str(last.tb_frame.f_globals.get("__name__")).startswith("consentpanel.")


def records_known(registry: object, subject_id: object) -> list[ConsentRecord]:
    """The history of a person; nothing where the registry keeps none.

    Raises:
        RegistryError: It failed.
        InvalidRecordError: It is no id.
    """
    try:
        return history_of(registry, subject_id)
    except LacksMethodError:
        return []


def history_of(registry: object, subject_id: object) -> list[ConsentRecord]:
    """The history of a person.

    Raises:
        LacksMethodError: The registry keeps none.
        RegistryError: It failed, or answered with something else.
        InvalidRecordError: It is no id.
    """
    answer = call(registry, "history", subject_key(subject_id))
    try:
        found = list(answer)
        if all(isinstance(each, ConsentRecord) for each in found):
            return found
    except Exception:  # noqa: BLE001, S110 - told below, without the cause, whose text may hold values
        pass
    raise RegistryError(f"{type(registry).__name__}.history must return a list of ConsentRecord")


def status_known(registry: object, subject_id: str, purpose: Purpose) -> ConsentStatus:
    """What a registry says about now, or has said in this request.

    Raises:
        RegistryError: It failed.
        InvalidRecordError: It is no id.
    """
    kept = kept_of(registry)
    if kept is not None and (remembered := known(kept, subject_id, purpose)) is not None:
        return remembered.status
    answer = call(registry, offered(registry, ("standing", "status")) or "status", subject_id, purpose)
    if kept is not None and isinstance(answer, (Standing, ConsentStatus)):
        keep(kept, subject_id, purpose, answer if isinstance(answer, Standing) else Standing.of(answer))
    found: ConsentStatus = answer.status if isinstance(answer, Standing) else answer
    return found


def record_all(registry: object, records: Sequence[ConsentRecord], **where: Any) -> None:
    """Appends all records, or none where the registry has `record_many`.

    Raises:
        RegistryError: The registry failed, or cannot record. Of one without `record_many` the text says how many records
            were appended before.
        InvalidRecordError: As the registries of the package raise it.
    """
    # One that is inherited, or that a proxy hands on, knows nothing of a `record` that is written nearer.
    if offered(registry, ("record_many", "record")) != "record":
        try:
            call(registry, "record_many", list(records), **where)
        except LacksMethodError:
            pass
        else:
            return
    problem: ConsentPanelError | None = None
    for count, record in enumerate(records):
        try:
            call(registry, "record", record, **where)
        except ConsentPanelError as error:
            problem = (
                error if not count else RegistryError(f"only {count} of {len(records)} records were appended: {error}")
            )
            break
    if problem is not None:
        raise problem


def say(
    registry: object, status: ConsentStatus, subject_id: Any, purposes: Iterable[str], fields: Mapping[str, Any]
) -> None:
    """Records a grant or a denial by the method of that name, or else by records, stamped as that would.

    Args:
        registry: The registry.
        status: What is said.
        subject_id: The person.
        purposes: The purposes; the three built-in ones when there are none.
        fields: Those of a record, as `grant` and `deny` take them; ``session=`` and ``connection=`` for a registry that takes them.

    Raises:
        TypeError: There is no such field.
        RegistryError: As `record_all`.
        InvalidRecordError: An argument is malformed.
    """
    purposes = tuple(purposes)
    if status is ConsentStatus.GRANTED:
        require_purposes(registry, purposes)
    fields, where = split(fields)
    # A registry of anybody's knows the fields of a record alone.
    fields = in_evidence(status, fields)
    records = records_of(status, subject_id, purposes, fields)
    name = "grant" if status is ConsentStatus.GRANTED else "deny"
    if offered(registry, (name, "record_many", "record")) == name and callable(getattr(registry, name, None)):
        named = tuple(record.purpose for record in records) if purposes else ()
        call(registry, name, subject_id, *named, **fields, **where)
        return
    if is_stamped_here(fields):
        try:
            latest = _latest(registry, subject_id)
        except RegistryError:
            # A denial is recorded all the same; a grant that may outlive one is not.
            if status is ConsentStatus.GRANTED:
                raise
            latest = None
        records = [not_before(record, latest) for record in records]
    record_all(registry, records, **where)


def _latest(registry: object, subject_id: object) -> datetime | None:
    return latest_of(records_known(registry, subject_id))


def not_outlived(registry: object, subject_id: object, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a withdrawal whose time is given: said no earlier than the person's latest record, or a grant would hold.

    Raises:
        InvalidRecordError: It is no id, or the time is none.
    """
    given = fields.get("recorded_at")
    if given is None:
        return dict(fields)
    moment = utc(given, "recorded_at")
    try:
        latest = _latest(registry, subject_id)
    except RegistryError:
        # It is recorded all the same, and as said now: what it may not be outlived by cannot be read.
        latest = now()
    return {**fields, "recorded_at": moment if latest is None else max(moment, latest)}


def purposes_known(registry: object, subject_id: object) -> list[Purpose]:
    """The purposes of which the registry has a record of a person."""
    return list(dict.fromkeys(record.purpose for record in records_known(registry, subject_id)))
