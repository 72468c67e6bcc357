"""The statements of `registry._plans` by Django's ORM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from django.db import connections
from django.db.models import Model, Q, QuerySet

from consentpanel.django.models import ChainEnd, Record, Standing
from consentpanel.registry._plans import PRESENT, Rows, Statement
from consentpanel.registry._rows import COLUMNS

#: Gives the rows of a statement, on the database of an alias, with its values.
Ask: TypeAlias = "Callable[[str, Any], Rows]"

_END = ("length", "link", "latest_at")
_ONE = ("scope", "subject_id")


def _rows(model: type[Model], using: str) -> QuerySet[Any]:
    # Not by `objects`, in whose place an application may put a manager of its own.
    rows: QuerySet[Any] = model._base_manager.using(using)  # noqa: SLF001 - documented by Django, under "Base managers"
    return rows


def _of(model: type[Model], using: str, values: Mapping[str, Any]) -> QuerySet[Any]:
    """The rows about a person."""
    return _rows(model, using).filter(scope=values["scope_"], subject_id=values["subject_"])


def _among(model: type[Model], using: str, values: Mapping[str, Any]) -> QuerySet[Any]:
    """The rows about several people and one purpose."""
    return _rows(model, using).filter(
        scope=values["scope_"], subject_id__in=values["subjects_"], purpose=values["purpose_"]
    )


def _written(
    model: type[Model], using: str, rows: list[dict[str, Any]], key: tuple[str, ...], changed: tuple[str, ...]
) -> Rows:
    """Inserts rows, or changes those that are there."""
    # Of MySQL no key can be named: it has but one that may be met.
    has_target = connections[using].features.supports_update_conflicts_with_target
    _rows(model, using).bulk_create(
        [model(**row) for row in rows],
        update_conflicts=True,
        update_fields=list(changed),
        unique_fields=list(key) if has_target else None,
    )
    return ()


def _hold(using: str, values: Any) -> Rows:
    # Where there is a row it is written as it is, which holds it.
    return _written(ChainEnd, using, [dict(values)], _ONE, ("scope",))


def _insert(using: str, values: Any) -> Rows:
    _rows(Record, using).bulk_create([Record(**row) for row in values])
    return ()


def _extend(using: str, values: Any) -> Rows:
    end = {name: values[f"{name}_"] for name in ("length", "link")}
    _of(ChainEnd, using, values).update(**end, latest_at=values["latest_"])
    return ()


def _people(using: str, values: Any) -> Rows:
    after = Q(scope__gt=values["scope_"]) | Q(scope=values["scope_"], subject_id__gt=values["subject_"])
    return list(_rows(ChainEnd, using).filter(after).order_by(*_ONE).values_list(*_ONE)[:1000])


def _erase(model: type[Model], **which: int) -> Ask:
    def erase(using: str, values: Any) -> Rows:
        _of(model, using, values).filter(**which).delete()
        return ()

    return erase


STATEMENTS: Mapping[Statement, Ask] = {
    "standing": lambda using, values: list(
        _of(Standing, using, values).filter(purpose=values["purpose_"]).values_list(*PRESENT)
    ),
    "standings": lambda using, values: list(_among(Standing, using, values).values_list("subject_id", *PRESENT)),
    "past": lambda using, values: list(
        _among(Record, using, values)
        .filter(recorded_at__lte=values["until_"])
        .order_by("subject_id", "position")
        .values_list(*COLUMNS)
    ),
    "history": lambda using, values: list(
        _of(Record, using, values).order_by("position").values_list(*COLUMNS, "link")
    ),
    "held_history": lambda using, values: list(
        _of(Record, using, values).select_for_update().order_by("position").values_list(*COLUMNS, "link")
    ),
    "end": lambda using, values: list(_of(ChainEnd, using, values).values_list(*_END)),
    "held_end": lambda using, values: list(_of(ChainEnd, using, values).select_for_update().values_list(*_END)),
    "hold": _hold,
    "counting": lambda using, values: list(
        _of(Standing, using, values).select_for_update().values_list("purpose", "counts_from")
    ),
    "insert": _insert,
    "set_standing": lambda using, values: _written(Standing, using, values, (*_ONE, "purpose"), PRESENT),
    "extend": _extend,
    "tidy": _erase(ChainEnd, length=0),
    "erase_records": _erase(Record),
    "erase_standings": _erase(Standing),
    "erase_end": _erase(ChainEnd),
    "people": _people,
}
