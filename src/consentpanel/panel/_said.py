"""What a person has said and asked for so far, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime

import attrs

from consentpanel._consent.gpc import GPC
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel.client._erasure import NUMBERS
from consentpanel.panel._phrases import in_contact, title_of
from consentpanel.panel._situation import Situation
from consentpanel.panel._standing import spoken
from consentpanel.privacy_requests import PrivacyTask
from consentpanel.transparency._notice import Notice
from consentpanel.transparency._versions import short

#: Stands in the evidence of a denial with which an erasure was asked for on the panel.
ERASURE = "erasure"


@attrs.frozen(kw_only=True)
class HistoryItem:
    """One thing that a person said.

    Attributes:
        text: It, in a sentence in which `when` stands.
        when: Its date and time, in words.
        recorded_at: Its date and time.
        purpose: The purpose.
        title: What the purpose is called.
        status: ``"granted"``, ``"denied"`` or ``"unknown"``.
        version: The version of the notice.
        source: Where it was said, as it was recorded.
        is_withdrawal: Whether it took back a yes.
        by_signal: Whether the browser's signal said it.
        record_id: The id of the record.
    """

    text: str
    when: str
    recorded_at: datetime
    purpose: str
    title: str
    status: str
    version: str | None = None
    source: str | None = None
    is_withdrawal: bool = False
    by_signal: bool = False
    record_id: str


@attrs.frozen(kw_only=True)
class RequestView:
    """One request to the vendor.

    Attributes:
        kind: ``"deletion"`` or ``"retrieval"``.
        number: The vendor's number; empty as long as the vendor has not taken it.
        status: How far it is, in the vendor's word; empty like the number.
        text: Its date, number and status, in words.
        link: Where the copy can be fetched; whoever has the link has the data, so that no `repr` shows it.
    """

    kind: str
    number: str
    status: str
    text: str
    link: str | None = attrs.field(default=None, repr=False)


def history_of(notice: Notice, situation: Situation) -> Iterator[HistoryItem]:
    """What the person has said, newest first."""
    before: dict[str, ConsentStatus] = {}
    items: list[HistoryItem] = []
    for record in spoken(situation.records):
        is_yes_before = before.get(record.purpose) is ConsentStatus.GRANTED
        items.append(_item(notice, record, is_withdrawal=is_yes_before and record.status is ConsentStatus.DENIED))
        before[record.purpose] = record.status
    return reversed(items)


def _item(notice: Notice, record: ConsentRecord, *, is_withdrawal: bool) -> HistoryItem:
    words = notice.words
    title, when = title_of(notice, record.purpose), words.time(record.recorded_at)
    by_signal = record.source == GPC
    values = {"date": when, "purpose": title, "source": _source(notice, record.source)}
    if record.policy_version is not None:
        values["version"] = short(record.policy_version)
    return HistoryItem(
        text=words(f"panel.history.{_kind(record, is_withdrawal=is_withdrawal)}", **values),
        when=when,
        recorded_at=record.recorded_at,
        purpose=str(record.purpose),
        title=title,
        status=record.status.value,
        version=record.policy_version,
        source=record.source,
        is_withdrawal=is_withdrawal and not by_signal,
        by_signal=by_signal,
        record_id=record.record_id,
    )


def _kind(record: ConsentRecord, *, is_withdrawal: bool) -> str:
    if record.status is ConsentStatus.GRANTED:
        return "granted" if record.policy_version is not None else "granted.plain"
    if record.status is ConsentStatus.UNKNOWN:
        return "unknown"
    if record.source == GPC:
        return "gpc"
    return "withdrawn" if is_withdrawal else "denied"


def _source(notice: Notice, source: str | None) -> str:
    if source is None:
        return notice.words("panel.source.none")
    name = f"panel.source.{source}"
    # What these two say is about other sources.
    is_named = source not in {"none", "other"} and notice.words.has(name)
    return notice.words(name) if is_named else notice.words("panel.source.other", source=source)


def requests_of(notice: Notice, situation: Situation) -> Iterator[RequestView]:
    """What the person has asked of the vendor, as it was asked."""
    for task in situation.requests:
        text = request_in_words(notice, task, asked_on(task))
        # No other address is followed: it stands in a page.
        link = task.link if task.link and task.link.startswith("https://") else None
        yield RequestView(kind=task.kind, number=task.task_id, status=task.status.value, text=text, link=link)
    if (asked := unanswered_erasure(situation.records)) is not None:
        values = {"vendor": notice.vendor, "date": notice.words.date(asked)}
        if situation.keeps_erasures:
            text = notice.words("panel.request.deletion.kept", **values)
        else:
            text = in_contact(notice, "panel.request.deletion.failed", **values)
        yield RequestView(kind="deletion", number="", status="", text=text)


def unanswered_erasure(records: Sequence[ConsentRecord]) -> datetime | None:
    """When an erasure was asked for of which no number is known; None where there is none that still stands."""
    last = {record.purpose: record for record in records}
    asked: datetime | None = None
    for record in records:
        if NUMBERS in record.evidence:
            asked = None
        elif ERASURE in record.evidence and last[record.purpose].status is ConsentStatus.DENIED:
            asked = record.recorded_at
    return asked


def request_in_words(notice: Notice, task: PrivacyTask, asked: date | None) -> str:
    """When a request was made, its number, and how far it is."""
    words, name = notice.words, f"panel.request.{task.kind}"
    values = {"vendor": notice.vendor, "task": task.task_id, "status": status_of(notice, task)}
    if asked is None:
        return words(f"{name}.plain", **values)
    return words(name, date=words.date(asked), **values)


def status_of(notice: Notice, task: PrivacyTask) -> str:
    """How far a request is, in words."""
    return notice.words(f"panel.task.{task.status.value.lower()}")


def asked_on(task: PrivacyTask) -> date | None:
    """When the vendor says that a request was made; None where it does not say so as a date."""
    with suppress(ValueError):
        return date.fromisoformat((task.requested or "")[:10])
    return None
