"""The demo's shop: its customers, what it may disclose, the calls it makes, and what must come of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from consentpanel._consent.records import now
from consentpanel._messages.decision import Decision, Outcome, Reason
from consentpanel._mixpanel import calls
from consentpanel.policy import FieldPolicy, keep, redact

if TYPE_CHECKING:
    from consentpanel.client import Mixpanel
    from consentpanel.registry import SQLiteRegistry
    from consentpanel.transport import BufferedConsumer

#: Stands in each value that must not leave the shop.
SECRET_MARK = "k7q2private"  # noqa: S105 (a mark to look for, not a secret)

POLICY_VERSION = "2026-05-01"

POLICY = FieldPolicy(
    events={"page": keep(), "plan": keep(), "total": keep(), "items[].sku": keep()},
    people={"$name": redact(), "plan": keep()},
    groups={"plan": keep()},
)


def _private(name: str) -> str:
    return f"{SECRET_MARK}-{name}"


@attrs.frozen
class Person:
    """A customer: the id in the shop's database, and what the registry knows."""

    subject_id: str
    consent: str


ANA = Person("user-1001", "granted")
BEN = Person("user-1002", "denied")
CLEO = Person("user-1003", "never asked")
DAN = Person("user-1004", "expired")
EVA = Person("user-1005", "withdrawn later")
FAY = Person("user-1006", "old policy")
ACME = Person("acme", "a company")

#: Whose ids must not be in any byte received.
NEVER_NAMED = (DAN, EVA, FAY)


@attrs.frozen
class Shop:
    """What the calls are made with."""

    mp: Mixpanel
    buffered: Mixpanel
    buffer: BufferedConsumer
    registry: SQLiteRegistry
    opened_at: datetime = attrs.field(factory=now)

    def ask_everybody(self) -> None:
        """Record what each customer said, and when."""
        day = timedelta(days=1)
        old, recent = self.opened_at - 400 * day, self.opened_at - 30 * day
        grant = partial(self.registry.grant, source="signup-form")
        grant(ANA.subject_id, recorded_at=recent, policy_version=POLICY_VERSION)
        grant(EVA.subject_id, recorded_at=recent, policy_version=POLICY_VERSION)
        grant(DAN.subject_id, recorded_at=old, expires_at=recent, policy_version=POLICY_VERSION)
        grant(FAY.subject_id, recorded_at=recent, policy_version="2024-01-01")
        self.registry.deny(BEN.subject_id, recorded_at=recent, policy_version=POLICY_VERSION, source="signup-form")

    def days_ago(self, days: int) -> int:
        """A moment as the vendor writes it: seconds since 1970."""
        return int((self.opened_at - timedelta(days=days)).timestamp())

    def eva_withdraws(self) -> None:
        """Say no, and then send what is buffered."""
        self.registry.deny(EVA.subject_id, source="account-page", policy_version=POLICY_VERSION)
        self.buffer.flush()


@attrs.frozen
class Call:
    """One call of the shop, and what must come of it, written down by hand and not worked out by the package.

    Attributes:
        title: The call as the table shows it.
        person: Whom it is about.
        make: Makes the call.
        says: What the shop says in it: the properties of an event, the operators of a profile.
        arrives: What of that must arrive; None if nothing may.
        reason: Why.
        rule: The rule of the contract that decides.
        event: The event's name; None for a profile.
        is_buffered: Whether it goes through the buffer, and so arrives with the flush.
    """

    title: str
    person: Person
    make: Callable[[Shop], Decision]
    says: Mapping[str, Any]
    arrives: Mapping[str, Any] | None
    reason: Reason
    rule: str
    event: str | None = None
    is_buffered: bool = False

    @property
    def outcome(self) -> Outcome:
        """What must become of the call."""
        return outcome_of(self.says, self.arrives)


def outcome_of(says: Mapping[str, Any], arrived: Mapping[str, Any] | None) -> Outcome:
    """What became of a call, by what was said and what of it arrived."""
    if arrived is None:
        return Outcome.DROPPED
    return Outcome.SENT if arrived == says else Outcome.REDACTED


def _track(
    event: str,
    person: Person,
    says: dict[str, Any],
    reason: Reason,
    arrives: dict[str, Any] | None = None,
    *,
    rule: str = "2.5",
    days_ago: int | None = None,
    meta: dict[str, Any] | None = None,
    is_buffered: bool = False,
) -> Call:
    def make(shop: Shop) -> Decision:
        if days_ago is not None:
            return shop.mp.import_data(None, person.subject_id, event, shop.days_ago(days_ago), says, meta)
        return (shop.buffered if is_buffered else shop.mp).track(person.subject_id, event, says, meta)

    method = "track" if days_ago is None else "import_data"
    said = {**says, **(meta or {})}
    return Call(f"{method} {event!r}", person, make, said, arrives, reason, rule, event, is_buffered)


def _profile(
    method: str,
    person: Person,
    given: object,
    reason: Reason,
    arrives: object = None,
    *,
    rule: str = "2.5",
    group_key: str | None = None,
) -> Call:
    operator = str(calls.CALLS[method].operator)
    whose = (person.subject_id,) if group_key is None else (group_key, person.subject_id)

    def make(shop: Shop) -> Decision:
        decision: Decision = getattr(shop.mp, method)(*whose, given)
        return decision

    said = None if arrives is None else {operator: arrives}
    return Call(method, person, make, {operator: given}, said, reason, rule)


def _other(
    title: str,
    person: Person,
    says: dict[str, Any],
    reason: Reason,
    arrives: dict[str, Any] | None = None,
    *,
    rule: str,
    make: Callable[[Mixpanel, str], Decision],
) -> Call:
    return Call(title, person, lambda shop: make(shop.mp, person.subject_id), says, arrives, reason, rule)


def _page() -> dict[str, Any]:
    return {"page": "/tea"}


def _order() -> dict[str, Any]:
    return {
        "total": 42.5,
        "plan": "pro",
        "email": _private("email"),
        "items": [{"sku": "T-1", "engraving": _private("engraving")}, {"sku": "C-2"}],
    }


def _kept_of_order() -> dict[str, Any]:
    return {"total": 42.5, "plan": "pro", "items": [{"sku": "T-1"}, {"sku": "C-2"}]}


def _identity() -> dict[str, Any]:
    return {"$name": _private("name"), "$phone": _private("phone"), "plan": "pro"}


CALLS: tuple[Call, ...] = (
    _track("Page viewed", ANA, _page(), Reason.CONSENT_GRANTED, _page()),
    _track("Order placed", ANA, _order(), Reason.CONSENT_GRANTED, _kept_of_order(), rule="3.1"),
    _track("Page shared", ANA, _page(), Reason.CONSENT_GRANTED, _page(), rule="3.5", meta={"$ip": _private("address")}),
    _track("Order placed", BEN, _order(), Reason.WITHDRAWN),
    _track("Order placed", CLEO, _order(), Reason.NO_CONSENT),
    _track("Order placed", DAN, _order(), Reason.EXPIRED, rule="2.4"),
    _track("Order placed", FAY, _order(), Reason.OUTDATED_POLICY, rule="2.4"),
    _profile(
        "people_set", ANA, _identity(), Reason.CONSENT_GRANTED, {"$name": "[redacted]", "plan": "pro"}, rule="3.2"
    ),
    _profile("people_set", BEN, _identity(), Reason.WITHDRAWN),
    _profile("people_unset", BEN, ["$name", "plan"], Reason.REMOVAL, ["$name", "plan"], rule="2.9"),
    _other(
        "people_update, mixed",
        CLEO,
        {"$set": _identity(), "$unset": ["plan"]},
        Reason.REMOVAL,
        {"$unset": ["plan"]},
        rule="2.9",
        make=lambda mp, subject_id: mp.people_update(
            {"$distinct_id": subject_id, "$set": _identity(), "$unset": ["plan"]}
        ),
    ),
    _track("Old order", ANA, {"total": 9}, Reason.CONSENT_GRANTED, {"total": 9}, rule="2.8", days_ago=10),
    _track("Older order", ANA, {"total": 8}, Reason.NO_CONSENT_THEN, rule="2.8", days_ago=60),
    _other(
        "alias to user-1002",
        ANA,
        {"alias": BEN.subject_id},
        Reason.WITHDRAWN,
        rule="2.7",
        make=lambda mp, subject_id: mp.alias(BEN.subject_id, subject_id),
    ),
    _other(
        "merge with user-1002",
        ANA,
        {"$distinct_ids": [ANA.subject_id, BEN.subject_id]},
        Reason.WITHDRAWN,
        rule="2.7",
        make=lambda mp, subject_id: mp.merge(None, subject_id, BEN.subject_id),
    ),
    _profile(
        "group_set",
        ACME,
        {"plan": "team", "contact": _private("contact")},
        Reason.NO_PERSON_NAMED,
        {"plan": "team"},
        rule="2.10",
        group_key="company",
    ),
    _track("Wish noted", ANA, _page(), Reason.CONSENT_GRANTED, _page(), rule="2.11", is_buffered=True),
    _track("Wish noted", EVA, _page(), Reason.WITHDRAWN, rule="2.11", is_buffered=True),
)
