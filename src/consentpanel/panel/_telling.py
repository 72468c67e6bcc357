"""What the panel tells a person before it asks: results, signals, and why it asks again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

import attrs

from consentpanel._consent.gpc import GPC, is_in_spite
from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel.panel._phrases import in_contact, titles_of
from consentpanel.panel._said import status_of
from consentpanel.panel._situation import Situation
from consentpanel.panel._standing import answer_to, latest_of
from consentpanel.transparency._notice import Notice
from consentpanel.transparency._page import Use

#: What is told of a failure, by what a `Situation.result` may be; of the others there is more to say.
_FAILURES = {
    "failed": "panel.after.error",
    "erase_failed": "panel.erase.failed",
    "export_failed": "panel.export.failed",
    "changed": "panel.error.changed",
    "no_saved": "panel.error.changed.no_saved",
    "yes_failed": "panel.error.yes_failed",
    "part_saved": "panel.error.part_saved",
    "incomplete": "panel.error.incomplete",
    "too_many": "panel.error.too_many",
    "refused": "panel.error.refused",
}


#: Until then whoever asks for an erasure is to hear of it (GDPR, article 12(3)).
_WITHIN = timedelta(days=30)


@attrs.frozen(kw_only=True)
class Note:
    """Something that the person is told above the questions.

    Attributes:
        kind: ``"result"``, ``"error"``, ``"unavailable"``, ``"gpc"``, ``"conflict"``, ``"again"``, ``"changed"`` or
            ``"held"``.
        text: What is told.
        items: What is told of one by one: what has changed.
        purposes: The purposes that lack an answer, where that is what went wrong.
    """

    kind: str
    text: str
    items: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()


def notes_of(notice: Notice, situation: Situation, now: datetime) -> Iterator[Note]:
    """What the person is told, the result first."""
    if situation.result is not None:
        yield _result(notice, situation, situation.result, now)
    words = notice.words
    if not situation.is_available:
        yield Note(kind="unavailable", text=words("panel.status.unavailable"))
    refused = [use.purpose for use in notice.uses if use.purpose in situation.refused_by_signal]
    if situation.has_gpc and refused:
        yield Note(kind="gpc", text=words("panel.gpc.honoured", purposes=titles_of(notice, refused)))
        if conflict := max((at for each in refused if (at := _yes_before(situation.records, each))), default=None):
            yield Note(kind="conflict", text=words("panel.gpc.conflict", date=words.date(conflict)))
    if situation.has_gpc:
        yield from _in_spite(notice, situation)
    if situation.is_available:
        yield from _again(notice, situation)
        yield from _held(notice, situation)


def _in_spite(notice: Notice, situation: Situation) -> Iterator[Note]:
    """The uses to which the person has said yes while, or after, the signal was there; by the day of it."""
    given: dict[str, list[str]] = {}
    for use in notice.uses:
        if answer_to(use.purpose, situation) and is_in_spite(situation.records, Purpose(use.purpose)):
            grant = latest_of(situation.records, use.purpose, answer=True)
            if grant is not None:
                given.setdefault(notice.words.date(grant.recorded_at), []).append(use.purpose)
    for day, purposes in given.items():
        text = notice.words("panel.gpc.in_spite", date=day, purposes=titles_of(notice, purposes))
        yield Note(kind="gpc", text=text)


def _yes_before(records: tuple[ConsentRecord, ...], purpose: str) -> datetime | None:
    """When the person said yes, where the signal's no came after it."""
    said = [each for each in records if each.purpose == purpose and each.source != GPC]
    if not said or said[-1].status is not ConsentStatus.GRANTED:
        return None
    return said[-1].recorded_at


def _again(notice: Notice, situation: Situation) -> Iterator[Note]:
    words = notice.words
    outdated = [
        record
        for use in notice.uses
        if answer_to(use.purpose, situation) is None
        and (record := latest_of(situation.records, use.purpose)) is not None
        and record.status is not ConsentStatus.UNKNOWN
    ]
    changes = words.listed(dict.fromkeys(each for one in outdated for each in situation.changes.get(one.purpose, ())))
    yield from _changed(notice, situation, {one.purpose for one in outdated})
    if not outdated:
        return
    if changes:
        waits = all(use.needs_consent for use in notice.uses if answer_to(use.purpose, situation) is None)
        name = "panel.again.changed" if waits else "panel.again.changed.plain"
        yield Note(kind="again", text=words(name, changes=changes))
    else:
        latest = max(outdated, key=lambda record: record.recorded_at)
        is_other = latest.policy_version not in {None, notice.version} and latest.expires_at is None
        name = "panel.again.notice" if is_other else "panel.again.expired"
        yield Note(kind="again", text=words(name, date=words.date(latest.recorded_at)))


def _held(notice: Notice, situation: Situation) -> Iterator[Note]:
    if not any(_may_wait(use) and answer_to(use.purpose, situation) is None for use in notice.uses):
        return
    if (minutes := held_box(notice, situation)) is not None:
        yield Note(kind="held", text=notice.words("panel.held.waiting", minutes=str(minutes)))
    elif situation.is_nobody or all(use.needs_consent for use in notice.uses):
        # Not where something is sent unless somebody objects.
        yield Note(kind="held", text=notice.words("panel.held.nothing"))


def _result(notice: Notice, situation: Situation, result: str, now: datetime) -> Note:
    words = notice.words
    if result in _FAILURES:
        lacking = tuple(use.purpose for use in notice.uses if answer_to(use.purpose, situation) is None)
        name = _FAILURES[result]
        text = in_contact(notice, name) if words.has(f"{name}.plain") else words(name, contact=notice.contact)
        return Note(kind="error", text=text, purposes=lacking if result == "incomplete" else ())
    if result == "erased":
        return Note(kind="result", text=_asked(notice, situation, "deletion", now) or _stopped(notice, now))
    if result == "erase_kept":
        by = words.date(now + _WITHIN)
        return Note(kind="result", text=in_contact(notice, "panel.erase.waits", date=by))
    if result == "exported":
        text = _asked(notice, situation, "retrieval", now) or words("panel.export.text", vendor=notice.vendor)
        return Note(kind="result", text=text)
    if result == "withdrawn":
        more = words("panel.withdraw.done", date=words.date(now)) if situation.can_erase else _stopped(notice, now)
        return Note(kind="result", text=more)
    return Note(kind="result", text=_saved(notice, situation))


def _stopped(notice: Notice, now: datetime) -> str:
    return notice.words("panel.withdraw.done.plain", date=notice.words.date(now))


def _asked(notice: Notice, situation: Situation, kind: str, now: datetime) -> str | None:
    tasks = [task for task in situation.requests if task.kind == kind]
    if not tasks:
        return None
    name = "panel.erase.done" if kind == "deletion" else "panel.export.done"
    values = {"task": tasks[-1].task_id, "status": status_of(notice, tasks[-1])}
    return notice.words(name, date=notice.words.date(now), **values)


def _saved(notice: Notice, situation: Situation) -> str:
    words = notice.words
    answers = {use.purpose: answer_to(use.purpose, situation) for use in notice.uses}
    granted = [purpose for purpose, answer in answers.items() if answer]
    denied = [purpose for purpose, answer in answers.items() if answer is False]
    if granted and len(granted) == len(answers):
        return words("panel.after.accept", vendor=notice.vendor)
    if denied and len(denied) == len(answers):
        if situation.ask_again is None:
            return words("panel.after.reject.plain")
        return words("panel.after.reject", ask_again=words.date(situation.ask_again))
    said = [words("panel.after.save")]
    if granted:
        said.append(words("panel.after.yes", granted=titles_of(notice, granted)))
    if denied:
        said.append(words("panel.after.no", denied=titles_of(notice, denied)))
    if left := [purpose for purpose, answer in answers.items() if answer is None]:
        said.append(words("panel.after.open", purposes=titles_of(notice, left)))
    return " ".join(said)


def _changed(notice: Notice, situation: Situation, asked_again: Collection[str]) -> Iterator[Note]:
    """What has changed for the uses whose yes still holds: one note for those for which it is the same."""
    by_changes: dict[tuple[str, ...], list[str]] = {}
    for use in notice.uses:
        if use.purpose not in asked_again and (changes := situation.changes.get(use.purpose)):
            by_changes.setdefault(changes, []).append(use.purpose)
    for changes, purposes in by_changes.items():
        name = "panel.changes.heading" if len(purposes) == len(notice.uses) else "panel.changes.heading.of"
        text = notice.words(name, purposes=titles_of(notice, purposes))
        yield Note(kind="changed", text=text, items=changes)


def _may_wait(use: Use) -> bool:
    """Whether a use waits for a yes, as far as anybody can tell."""
    return use.needs_consent is not False


def held_box(notice: Notice, situation: Situation) -> int | None:
    """For how many minutes messages of the person may wait for a first answer; None where none do."""
    if situation.is_nobody or not situation.is_available:
        return None
    asked = {record.purpose for record in situation.records}
    waits = any(
        _may_wait(use) and answer_to(use.purpose, situation) is None and use.purpose not in asked for use in notice.uses
    )
    return situation.held_minutes if waits else None


def is_to_be_asked(notice: Notice, situation: Situation, now: datetime) -> bool:
    """Whether a banner is to ask: something that needs consent has no answer, and no refusal forbids to ask again."""
    if not situation.is_available or (situation.ask_again is not None and situation.ask_again > now):
        return False
    # What is sensitive is answered on the page, so that a banner that asks for that alone would stand there for ever.
    uses = [use for use in notice.uses if use.sensitive is None] or notice.uses
    return any(_may_wait(use) and answer_to(use.purpose, situation) is None for use in uses)


def may_withdraw(notice: Notice, situation: Situation) -> bool:
    """Whether there is something to take back: also when nobody can tell, and also of purposes that are no more asked."""
    if not situation.is_available:
        return True
    for use in notice.uses:
        answer = answer_to(use.purpose, situation)
        if answer or (answer is None and not use.needs_consent):
            return True
    latest = {record.purpose: record.status for record in situation.records}
    return any(
        status is ConsentStatus.GRANTED and purpose not in situation.statuses for purpose, status in latest.items()
    )
