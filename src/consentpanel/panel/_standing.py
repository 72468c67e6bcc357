"""How each purpose stands with a person, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import attrs

from consentpanel._consent.gpc import GPC
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel.client._erasure import NUMBERS
from consentpanel.panel._situation import Situation
from consentpanel.transparency._notice import Notice
from consentpanel.transparency._page import Entry, Use
from consentpanel.transparency._versions import short


@attrs.frozen(kw_only=True)
class PurposeView:
    """One question, and how it stands.

    Attributes:
        purpose: The purpose, as it is recorded.
        title: What it is called.
        text: What is done and why.
        basis: Whether it is done only with consent.
        needs_consent: Whether it waits for a yes; False where the person may object, None where it cannot be told which.
        sensitive: A sentence that names sensitive data; None where there is none.
        sent: What is sent.
        answer: True for yes, False for no, None where there is no answer that holds.
        is_sent: Whether data is sent for it now, as far as that is known.
        by_signal: Whether the browser's signal is the answer.
        standing: How it stands, in words.
        since: When the answer was given.
        version: The version of the notice that was answered.
        until: When a yes ends.
    """

    purpose: str
    title: str
    text: str
    basis: str
    needs_consent: bool | None
    sensitive: str | None = None
    sent: tuple[Entry, ...] = ()
    answer: bool | None = None
    is_sent: bool = False
    by_signal: bool = False
    standing: str
    since: datetime | None = None
    version: str | None = None
    until: datetime | None = None


def purposes_of(notice: Notice, situation: Situation) -> Iterator[PurposeView]:
    """The questions, in the order of the notice."""
    for use in notice.uses:
        yield _purpose_of(notice, use, situation)


def _purpose_of(notice: Notice, use: Use, situation: Situation) -> PurposeView:
    answer = answer_to(use.purpose, situation)
    record = None if answer is None else latest_of(situation.records, use.purpose, answer)
    by_signal = is_by_signal(use.purpose, situation)
    until = situation.ends.get(use.purpose) if answer else None
    return PurposeView(
        purpose=use.purpose,
        title=use.title,
        text=use.text,
        basis=use.basis,
        needs_consent=use.needs_consent,
        sensitive=use.sensitive,
        sent=use.entries,
        answer=answer,
        is_sent=situation.is_available and (use.needs_consent is False if answer is None else answer),
        by_signal=by_signal,
        standing=_standing(notice, use, situation, answer, record, until),
        since=record.recorded_at if record else None,
        version=record.policy_version if record else None,
        until=until,
    )


def answer_to(purpose: str, situation: Situation) -> bool | None:
    """The answer that holds: a signal's no over what is recorded; None where nobody knows, and nothing is set beforehand."""
    if purpose in situation.refused_by_signal:
        return False
    if not situation.is_available:
        return None
    status = situation.statuses.get(purpose, ConsentStatus.UNKNOWN)
    return {ConsentStatus.GRANTED: True, ConsentStatus.DENIED: False}.get(status)


def spoken(records: Iterable[ConsentRecord]) -> Iterator[ConsentRecord]:
    """What the person has said: without records that repeat a no to note the vendor's numbers of an erasure."""
    before: dict[str, ConsentStatus] = {}
    for record in records:
        is_no = record.status is ConsentStatus.DENIED
        if not (is_no and NUMBERS in record.evidence and before.get(record.purpose) is ConsentStatus.DENIED):
            yield record
        before[record.purpose] = record.status


def version_seen(record: ConsentRecord | None) -> str | None:
    """The version of the notice that an answer of the panel's was to; None where that is not recorded."""
    found = None if record is None else record.evidence.get("notice")
    return found if isinstance(found, str) and found else None


def latest_of(records: tuple[ConsentRecord, ...], purpose: str, answer: bool | None = None) -> ConsentRecord | None:
    """The last word on a purpose; where an answer is named, only if it is that one."""
    found = next((each for each in reversed([*spoken(records)]) if each.purpose == purpose), None)
    if found is None or answer is None:
        return found
    wanted = ConsentStatus.GRANTED if answer else ConsentStatus.DENIED
    return found if found.status is wanted else None


def is_by_signal(purpose: str, situation: Situation) -> bool:
    """Whether the answer that holds is that of Global Privacy Control."""
    if purpose in situation.refused_by_signal:
        return True
    if answer_to(purpose, situation) is not False:
        return False
    record = latest_of(situation.records, purpose)
    return record is not None and record.source == GPC


def _standing(
    notice: Notice,
    use: Use,
    situation: Situation,
    answer: bool | None,
    record: ConsentRecord | None,
    until: datetime | None,
) -> str:
    words = notice.words
    if answer is None:
        if not situation.is_available:
            return words("panel.status.unavailable")
        return words(_unanswered(use, situation))
    if is_by_signal(use.purpose, situation):
        if use.purpose in situation.refused_by_signal or record is None:
            return words("panel.standing.no_signal")
        # The browser may say no such thing any more.
        return words("panel.standing.no_signal.past", date=words.date(record.recorded_at))
    if record is None:
        return f"{words('panel.switch.on' if answer else 'panel.switch.off')}."
    date, version = words.date(record.recorded_at), record.policy_version
    if not answer and use.needs_consent is False:
        return words("panel.standing.objected", date=date)
    name, seen = f"panel.standing.{'yes' if answer else 'no'}", version_seen(record)
    if answer and seen is not None and seen != notice.version:
        told = words("panel.standing.yes.older", date=date, version=short(seen))
    else:
        told = words(name, date=date) if version is None else words(f"{name}.notice", date=date, version=short(version))
    if until is None:
        return told
    return f"{told} {words('panel.standing.until', date=words.date(until))}"


def _unanswered(use: Use, situation: Situation) -> str:
    if use.needs_consent or (use.needs_consent is None and situation.is_nobody):
        return "panel.switch.unanswered"
    return "panel.standing.opt_out" if use.needs_consent is False else "panel.standing.either"
