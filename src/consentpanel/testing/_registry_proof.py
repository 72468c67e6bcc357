"""What the parts of `RegistryContract` share: a new registry for each test, and how a broken rule is told."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NoReturn

from consentpanel._consent.ids import BUILT_IN_PURPOSES
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel.registry import ConsentRegistry

ANALYTICS, PROFILES, FEATURE_FLAGS = BUILT_IN_PURPOSES
GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
DAY = timedelta(days=1)
#: The least by which two moments differ.
TICK = timedelta(microseconds=1)


class RegistryProof:
    """Makes the registries of a test, and closes them at its end."""

    def make_registry(self, **options: Any) -> ConsentRegistry:
        """Make a new registry in which nothing is recorded.

        Args:
            options: Nothing, or ``required_policy_version``: the oldest policy version under which a grant still
                holds. Raise `TypeError` for it when your registry does not judge policy versions.

        Returns:
            Your registry. One that keeps its records in a shared place empties that place first.
        """
        raise NotImplementedError(f"{type(self).__name__} must override make_registry")

    def teardown_method(self) -> None:
        """Close the registries of a test; pytest calls it."""
        for registry in self.__dict__.pop("_made", []):
            close = getattr(registry, "close", None)
            if callable(close):
                close()

    def _registry(self, *records: ConsentRecord, **options: Any) -> Any:
        """A new registry in which these are recorded, in this order."""
        try:
            registry = self.make_registry(**options)
        except TypeError:
            if not options:
                raise
            skip(f"make_registry takes no {', '.join(options)}: this registry does not judge policy versions")
        self.__dict__.setdefault("_made", []).append(registry)
        for record in records:
            registry.record(record)
        return registry


def days_ago(days: float) -> datetime:
    return now() - days * DAY


def record_of(status: ConsentStatus, said: float | datetime, **fields: Any) -> ConsentRecord:
    """A record that was said so many days ago or at a moment, by ``"user-1"`` about analytics when nothing is named."""
    moment = said if isinstance(said, datetime) else days_ago(said)
    subject_id = fields.pop("subject_id", "user-1")
    return ConsentRecord(subject_id, fields.pop("purpose", ANALYTICS), status, moment, **fields)


def expect(found: object, expected: object, fact: str) -> None:
    if found != expected:
        raise AssertionError(f"{fact}: expected {expected!r}, found {found!r}")


def expect_status(found: object, expected: ConsentStatus, fact: str) -> None:
    if (
        type(found) is not ConsentStatus
    ):  # "granted" == ConsentStatus.GRANTED, but the gate takes any other type for a failure
        raise AssertionError(f"{fact}: expected a ConsentStatus, found {type(found).__name__}")
    expect(found, expected, fact)


def expect_statuses(found: object, expected: dict[Any, ConsentStatus]) -> None:
    if not isinstance(found, dict):
        raise AssertionError(f"statuses must return a dict, not {type(found).__name__}")  # noqa: TRY004 - a test fails
    expect(len(found), len(expected), "the number of answers of statuses")
    for subject_id, status in expected.items():
        if subject_id not in found:
            raise AssertionError(f"statuses did not answer for an id of type {type(subject_id).__name__}")
        expect_status(found[subject_id], status, "an answer of statuses")


@contextmanager
def refused(fact: str, *errors: type[Exception]) -> Generator[None, None, None]:
    try:
        yield
    except errors:
        return
    raise AssertionError(f"{fact}: expected an error, and none came")


def skip(reason: str) -> NoReturn:
    import pytest

    pytest.skip(reason)
