"""How long an answer is good for: when a grant ages out, and when a person may be asked again."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel.errors import ConfigurationError

#: After a refusal nobody is asked again for six months (CNIL, guidelines on cookies, 17 September 2020).
_MONTHS = 6


def _age(_: object, attribute: attrs.Attribute[timedelta | None], value: object) -> None:
    if value is not None and not (isinstance(value, timedelta) and value > timedelta(0)):
        raise ConfigurationError(f"max_age: {attribute.name} must be a timedelta above 0 or None")


def _by_purpose(value: object) -> Mapping[Purpose, MaxAge]:
    if not isinstance(value, Mapping) or not all(isinstance(each, MaxAge) for each in value.values()):
        raise ConfigurationError("max_age: purposes must map each purpose to a MaxAge")
    try:
        return {Purpose(purpose): each for purpose, each in value.items()}
    except ValueError:
        raise ConfigurationError("max_age: a purpose is no name of one") from None


@attrs.frozen(kw_only=True)
class MaxAge:
    """How long answers are good for.

    A denial never ends by itself; its age says only when the person may be asked again.

    Args:
        grants: How long a grant without an end of its own holds; None for always.
        refusals: How long nobody is asked again after a refusal; None for six months.
        purposes: For single purposes a `MaxAge` of their own.

    Raises:
        ConfigurationError: A value is malformed.

    Example:
        >>> from datetime import timedelta
        >>> from consentpanel.registry import MaxAge, MemoryRegistry
        >>> registry = MemoryRegistry(max_age=MaxAge(grants=timedelta(days=395)))
    """

    grants: timedelta | None = attrs.field(default=None, validator=_age)
    refusals: timedelta | None = attrs.field(default=None, validator=_age)
    purposes: Mapping[Purpose, MaxAge] = attrs.field(factory=dict, converter=_by_purpose, hash=False)

    def of(self, purpose: Purpose | str) -> MaxAge:
        """What holds for a purpose."""
        return self.purposes.get(Purpose(purpose), self)

    def end_of_grant(self, purpose: Purpose | str, recorded_at: datetime) -> datetime | None:
        """When a grant without an end of its own ages out; None for never."""
        age = self.of(purpose).grants
        return None if age is None else _later(recorded_at, age)

    def end_of_refusal(self, purpose: Purpose | str, recorded_at: datetime) -> datetime:
        """From when a person who has refused may be asked again."""
        age = self.of(purpose).refusals
        return _in_months(recorded_at, _MONTHS) if age is None else _later(recorded_at, age)


def max_age_of(value: object) -> MaxAge | None:
    """The checked `max_age` of a registry: a `MaxAge`, a timedelta for grants, or None.

    Raises:
        ConfigurationError: It is none of these.
    """
    if isinstance(value, timedelta):
        return MaxAge(grants=value)
    if value is not None and not isinstance(value, MaxAge):
        raise ConfigurationError(f"max_age must be a MaxAge, a timedelta or None, not {type(value).__name__}")
    return value


def end_of(
    purpose: Purpose | str, recorded_at: datetime, expires_at: datetime | None, max_age: MaxAge | None
) -> datetime | None:
    """When a grant ends: by itself, or else by its age; None for never."""
    if expires_at is not None or max_age is None:
        return expires_at
    return max_age.end_of_grant(purpose, recorded_at)


def _later(moment: datetime, age: timedelta) -> datetime:
    try:
        return moment + age
    except OverflowError:
        return datetime.max.replace(tzinfo=moment.tzinfo)


def _in_months(moment: datetime, months: int) -> datetime:
    """The same day so many months later, or the first of the month after that when it has no such day."""
    years, month = divmod(moment.month - 1 + months, 12)
    year = moment.year + years
    if year > 9999:
        return datetime.max.replace(tzinfo=moment.tzinfo)
    day = min(moment.day, monthrange(year, month + 1)[1])
    return moment.replace(year=year, month=month + 1, day=day) + timedelta(days=1 if day < moment.day else 0)
