"""What is known about the person who asks for the panel, and where its pages are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.regime import Regime
from consentpanel.privacy_requests import PrivacyTask


@attrs.frozen(kw_only=True)
class Situation:
    """What is known about the person in this request.

    Attributes:
        records: What the person has said, oldest first, about these purposes and others.
        statuses: Of each purpose of the notice, as the registry answers now.
        others: Statuses of purposes that calls may be for and that the notice does not ask about.
        is_opt_out: Whether the client sends for everybody who has not answered.
        refused_by_signal: The purposes that Global Privacy Control denies in this request.
        has_gpc: Whether the request says ``Sec-GPC: 1``.
        ask_again: After a refusal: from when the person may be asked again.
        ends: When the grants that hold end; None for one without an end.
        changes: By purpose what has changed since the notice that was last answered by yes for it, in words.
        requests: What the person has asked of the vendor.
        can_erase: Whether a deletion can be asked for here.
        can_export: Whether a copy can be asked for here.
        keeps_erasures: Whether an erasure that the vendor does not take is kept, and tried again.
        held_minutes: For how many minutes messages wait for a first answer; None where none do.
        is_available: Whether the registry answers. When not, a yes of before may still be known elsewhere, such as in a cache.
        result: What has just been done: one of `RESULTS`.
        regimes: What silence means for the person: one regime, both where that cannot be told, none where the notice says it.
        who: Stands in each form for the person, so that what somebody else's page says is not taken for theirs.
        is_nobody: Whether the person has no id, so that nothing is sent about them.
    """

    records: tuple[ConsentRecord, ...] = attrs.field(default=(), repr=False)
    statuses: Mapping[str, ConsentStatus] = attrs.field(factory=dict)
    others: Mapping[str, ConsentStatus] = attrs.field(factory=dict)
    is_opt_out: bool = False
    refused_by_signal: frozenset[str] = frozenset()
    has_gpc: bool = False
    ask_again: datetime | None = None
    ends: Mapping[str, datetime | None] = attrs.field(factory=dict)
    changes: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    requests: tuple[PrivacyTask, ...] = attrs.field(default=(), repr=False)
    can_erase: bool = False
    can_export: bool = False
    keeps_erasures: bool = False
    held_minutes: int | None = None
    is_available: bool = True
    result: str | None = None
    regimes: frozenset[Regime] = frozenset()
    who: str = ""
    is_nobody: bool = False


#: What a `Situation.result` may be.
RESULTS = (
    "saved",
    "withdrawn",
    "erased",
    "exported",
    "failed",
    "erase_kept",
    "erase_failed",
    "export_failed",
    "changed",
    "no_saved",
    "yes_failed",
    "part_saved",
    "incomplete",
    "too_many",
    "refused",
)


@attrs.frozen(kw_only=True)
class Urls:
    """Where the pages of the panel are: absolute paths."""

    page: str
    withdraw: str
    erase: str
    export: str
    receipt: str
    notice: str
    style: str
    script: str
    api: str
