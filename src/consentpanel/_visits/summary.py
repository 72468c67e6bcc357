"""All that is known of one person, for a page that shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

import attrs

from consentpanel._consent.age import MaxAge, end_of
from consentpanel._consent.gpc import GPC
from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel._consent.standing import in_order
from consentpanel._visits.rights import COPY, VendorRequest, requests_in
from consentpanel.registry._writing import records_known


@attrs.frozen(kw_only=True)
class ConsentSummary:
    """What one person has said, and what holds of it now.

    Attributes:
        is_known: Whether the person has an id: one without has said nothing, and nothing was sent.
        records: What was said, in the order in which it decides; nothing where the registry keeps no history.
        statuses: By purpose, as the registry answers now.
        ends: When the grants that hold end by themselves; None for never.
        ask_again: From when somebody who has refused may be asked again; None for somebody who has not.
        refused_by_signal: The purposes that nobody but the browser's Global Privacy Control denies.
        has_gpc: Whether the request says so.
        requests: What was asked of the vendor, as the records name it; oldest first.
    """

    is_known: bool
    records: tuple[ConsentRecord, ...] = attrs.field(repr=False)
    statuses: Mapping[str, ConsentStatus]
    ends: Mapping[str, datetime | None]
    ask_again: datetime | None
    refused_by_signal: frozenset[str]
    has_gpc: bool
    requests: tuple[VendorRequest, ...] = attrs.field(repr=False)


class _Asked(Protocol):
    @property
    def heeded_subject_id(self) -> str | None: ...
    @property
    def gpc(self) -> frozenset[Purpose]: ...

    has_gpc: bool

    def status(self, purpose: str) -> ConsentStatus: ...


def summary_of(visit: _Asked, registry: Any, purposes: Iterable[str]) -> ConsentSummary:
    """What is known of whoever has sent a request.

    Args:
        visit: The request's.
        registry: The registry.
        purposes: Those that are asked about.

    Raises:
        RegistryError: The registry failed.
        InvalidRecordError: A purpose is malformed.
    """
    subject = visit.heeded_subject_id
    statuses = {each: visit.status(each) for each in dict.fromkeys(map(Purpose, purposes))}
    said = [] if subject is None else in_order(records_known(registry, subject))
    last = {record.purpose: record for record in said}
    found = getattr(registry, "max_age", None)
    ages = found if isinstance(found, MaxAge) else MaxAge()
    return ConsentSummary(
        is_known=subject is not None,
        records=tuple(record for record in said if record.purpose != COPY),
        statuses={str(each): status for each, status in statuses.items()},
        ends={
            str(each): _end(last.get(each), ages)
            for each, status in statuses.items()
            if status is ConsentStatus.GRANTED
        },
        ask_again=min(
            (
                ages.end_of_refusal(each, last[each].recorded_at if each in last else now())
                for each, status in statuses.items()
                if status is ConsentStatus.DENIED and subject is not None
            ),
            default=None,
        ),
        refused_by_signal=frozenset(
            str(each)
            for each, status in statuses.items()
            if status is ConsentStatus.DENIED and visit.has_gpc and each in visit.gpc and _is_by_signal(last.get(each))
        ),
        has_gpc=visit.has_gpc,
        requests=tuple(requests_in(said)),
    )


def _end(grant: ConsentRecord | None, ages: MaxAge) -> datetime | None:
    return None if grant is None else end_of(grant.purpose, grant.recorded_at, grant.expires_at, ages)


def _is_by_signal(last: ConsentRecord | None) -> bool:
    return last is None or last.source == GPC or last.status is not ConsentStatus.DENIED
