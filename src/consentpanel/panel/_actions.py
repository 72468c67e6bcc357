"""What a person does on the panel: recorded, or told that it was not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from consentpanel._consent.records import ConsentStatus, now
from consentpanel._log import note_failure
from consentpanel._mixpanel import patience, vendor
from consentpanel._visits import ConsentSummary, VendorRequest, Visit
from consentpanel.client._consent_calls import purposes_in_use, settings_of
from consentpanel.client._erasure import NUMBERS, UnnotedError
from consentpanel.errors import ConsentPanelError
from consentpanel.panel._answers import Given
from consentpanel.panel._notices import BANNER, PANEL, Kept, Shown
from consentpanel.panel._owed import Owed
from consentpanel.panel._phrases import sensitive_in
from consentpanel.panel._said import ERASURE
from consentpanel.privacy_requests import PrivacyRequestError, PrivacyTask, TaskStatus

#: What becomes of a request, as a status code for programs and for a page that is shown at once.
STATUS = {
    **dict.fromkeys(("saved", "withdrawn", "erased", "exported"), 200),
    "erase_kept": 202,
    **dict.fromkeys(("changed", "no_saved"), 409),
    "incomplete": 422,
    "erase_failed": 502,
    "export_failed": 502,
    **dict.fromkeys(("failed", "yes_failed", "part_saved"), 503),
}
#: What people are told whose request was refused, by its code.
REFUSALS = {"other_site": "refused", "too_often": "too_many"}
#: What is told on the page after the one that did it.
TOLD_LATER = frozenset({"saved", "withdrawn", "erased", "exported", "erase_kept", "erase_failed"})
#: An erasure that is asked for by another request, or once the transaction around this one is committed: no result yet.
LATER = "later"
#: For so long it is told.
_JUST = timedelta(minutes=10)
#: For so long whoever asks for a copy again may be told of the one that was asked for.
_MONTH = timedelta(days=31)
_UNDER_WAY = frozenset({TaskStatus.PENDING, TaskStatus.STAGING, TaskStatus.STARTED})
#: Seconds that somebody who asks for something of the vendor waits for it.
_WITHIN = 5.0
#: Of these requests few are on their way at a time: others are told so, and lose no thread of the site's.
_REQUESTS = patience.Slots()


def seen_in(given: Given, found: Shown, held: int | None) -> Shown | None:
    """What an answer is to, if that is what is shown now: to whoever it is, who may have logged in meanwhile."""
    present = found.notice
    if (given.version, given.language) != (present.version, present.language):
        return None
    return next((each for each in found.variants(held) if each.digest == given.shown), None)


def is_theirs(visit: Visit, who: str) -> bool:
    """Whether a form was opened by whoever sends it: somebody else may have logged in meanwhile."""
    try:
        return visit.is_marked_by(who)
    except ConsentPanelError as error:
        note_failure("a request's data subject", error)
        # Nothing can be recorded of it then, which is told as that.
        return True


def minutes_held(visit: Visit) -> int | None:
    """For how many minutes the client has messages wait for a first answer; None where none do."""
    settings = settings_of(visit.client)
    return math.ceil(settings.hold_for / 60) if settings.holds else None


def save(visit: Visit, given: Given, present: Shown | None, kept: Kept) -> str:
    """Records an answer; a no whatever it is to, and a yes only to what is shown now.

    Args:
        visit: Whose it is.
        given: The answer.
        present: What is shown now; None where nothing can be.
        kept: Keeps what was shown.

    Returns:
        What became of it.

    Raises:
        RefusedError: It is malformed.
    """
    found = None if present is None or not is_theirs(visit, given.who) else seen_in(given, present, minutes_held(visit))
    if found is None:
        return _save_noes(visit, given, present)
    apart = sensitive_in(found.notice)
    answers = given.to(found.purposes, apart)
    if found.source == BANNER:
        # It shows nothing of what is sensitive.
        answers = {each: said for each, said in answers.items() if not (said and each in apart)}
    if not answers:
        return "incomplete"
    proof = proof_of(visit, found)

    def record() -> str:
        said, result = answers, "saved"
        try:
            kept.keep(proof["policy_version"], found)
        except Exception as error:  # noqa: BLE001 - an archive is anybody's
            note_failure("the archive of notices", error)
            if any(answers.values()):
                # A yes to a text that nobody could show later proves nothing; a no needs no proof.
                said = {each: answer for each, answer in answers.items() if not answer}
                result = "yes_failed"
        if not said:
            return "failed"
        if given.all is False:
            # Also what is not on the page: an older yes, or what is sent unless somebody objects.
            visit.withdraw(source=found.source, **proof)
        else:
            visit.answer(said, source=found.source, covers_held=given.covers_held and found.has_box, **proof)
        return result

    began = now()
    return _done("recording an answer", record, lambda: _recorded(visit, answers, began))


def _recorded(visit: Visit, said: Mapping[str, bool], began: datetime) -> str:
    """What the records show of an answer after a failure."""
    known = visit.summary(said)
    last = {str(each.purpose): each for each in known.records if each.recorded_at >= began}
    wanted = {True: ConsentStatus.GRANTED, False: ConsentStatus.DENIED}
    saved = {each for each, answer in said.items() if each in last and last[each].status is wanted[answer]}
    if len(saved) == len(said):
        return "saved"
    if not saved:
        return "failed"
    return "yes_failed" if saved == {each for each, answer in said.items() if not answer} else "part_saved"


def _save_noes(visit: Visit, given: Given, present: Shown | None) -> str:
    """Records what is no of an answer to a text that is not shown now, with the text that it names."""
    known = purposes_in_use(visit.client)
    noes = given.noes(known if present is None else present.purposes, known)
    if not noes:
        return "failed" if present is None else "changed"
    spoken = _claim_of(given)

    def record() -> str:
        if given.all is False:
            visit.withdraw(source=PANEL, **spoken)
        else:
            visit.answer(dict.fromkeys(noes, False), source=PANEL, **spoken)
        if not given.has_yes:
            return "saved"
        return "yes_failed" if present is None else "no_saved"

    def found() -> str:
        result = _recorded(visit, dict.fromkeys(map(str, noes), False), began)
        return "no_saved" if result == "saved" and given.has_yes else result

    began = now()
    return _done("recording an answer", record, found)


def withdraw(visit: Visit, proof: Mapping[str, Any]) -> str:
    """Takes everything back; what became of it."""

    def record() -> str:
        try:
            visit.withdraw(source=PANEL, **proof)
        except vendor.MixpanelException as error:
            # The denial is recorded.
            note_failure("discarding what waits", error)
        return "withdrawn"

    return _done("recording a withdrawal", record)


def is_asked(known: ConsentSummary, kind: str, look_up: Callable[[VendorRequest], PrivacyTask]) -> VendorRequest | None:
    """The request that is the same as one that is made now; None where there is none.

    Args:
        known: What is known of the person.
        kind: ``"deletion"`` or ``"retrieval"``.
        look_up: Tells how far one is.
    """
    last = next((each for each in reversed(known.requests) if each.kind == kind), None)
    if last is None or (kind == "deletion" and _has_agreed_since(known, last.recorded_at)):
        # What was sent since is in no deletion of before.
        return None
    is_same = now() - last.recorded_at < _JUST or look_up(last).status in _UNDER_WAY
    return last if is_same else None


def _has_agreed_since(known: ConsentSummary, moment: datetime) -> bool:
    return any(each.status is ConsentStatus.GRANTED and each.recorded_at > moment for each in known.records)


def erase(visit: Visit, proof: Mapping[str, Any], owed: Owed, asked: VendorRequest | None) -> str:
    """Takes everything back, and asks the vendor to delete what it has, unless it was asked; what became of it."""

    def record() -> str:
        # The request itself stands in the record, also where the vendor does not take it.
        evidence = {**proof.get("evidence", {}), ERASURE: "asked"}
        if asked is not None:
            evidence[NUMBERS] = [asked.number]
            result = withdraw(visit, {**proof, "evidence": evidence})
            return "erased" if result == "withdrawn" else result
        try:
            with patience.having(patience.for_seconds(_REQUESTS, _WITHIN)):
                done = visit.withdraw(source=PANEL, erase=True, **{**proof, "evidence": evidence})
        except (PrivacyRequestError, vendor.MixpanelException) as error:
            # The denial is recorded, whatever else failed.
            note_failure("a request to the vendor", error)
            return "erase_failed"
        except UnnotedError as error:
            owed.keep(visit.subject_id, error)
            return "erased"
        if done.awaits_commit:
            return LATER
        if done.is_erasure_kept:
            return "erase_kept"
        return "erased" if done.erasure else "erase_failed"

    return _done("recording an erasure", record)


def export(visit: Visit, owed: Owed) -> str:
    """Asks the vendor for all that it has; what became of it."""

    def record() -> str:
        try:
            with patience.having(patience.for_seconds(_REQUESTS, _WITHIN)):
                visit.request_copy(source=PANEL)
        except PrivacyRequestError as error:
            note_failure("a request to the vendor", error)
            return "export_failed"
        except UnnotedError as error:
            owed.keep(visit.subject_id, error)
        return "exported"

    return _done("a request for a copy", record)


def pass_by(kind: str, visit: Visit, proof: Mapping[str, Any]) -> str:
    """What becomes of a request while the same person makes the same one twice already."""
    if kind == "retrieval":
        return "export_failed"
    result = withdraw(visit, proof)
    # The records tell on the next page what became of it.
    return LATER if result == "withdrawn" else result


def _done(what: str, record: Callable[[], str], shown: Callable[[], str] | None = None) -> str:
    try:
        return record()
    except (ConsentPanelError, vendor.MixpanelException) as error:
        note_failure(what, error)
    try:
        return "failed" if shown is None else shown()
    except ConsentPanelError as error:
        note_failure("looking up what was recorded", error)
    return "failed"


def proof_of_form(visit: Visit, named: Given | None, present: Shown | None) -> dict[str, Any]:
    """What proves a withdrawal or a request: what is shown now, where the form names that; else what it names, as its claim."""
    found = None if named is None or present is None else seen_in(named, present, minutes_held(visit))
    return _claim_of(named) if found is None else proof_of(visit, found)


def _claim_of(given: Given | None) -> dict[str, Any]:
    named = {} if given is None else given.said_to()
    evidence = {} if given is None else {"said_to": named}
    return {"policy_version": named.get("notice"), "language": named.get("language"), "evidence": evidence}


def proof_of(visit: Visit, found: Shown) -> dict[str, Any]:
    """What proves an answer: to which version it is, in which language, and what was shown.

    The version is the one that the registry asks for, which is the only one that it takes a grant to; where it asks for none, the
    notice's. The notice's own stands in the evidence in any case.
    """
    return {
        "policy_version": visit.policy_version or found.notice.version,
        "language": found.notice.language,
        "evidence": {"shown": found.digest, "notice": found.notice.version},
    }


def told(result: str | None, known: ConsentSummary, *, keeps: bool = False) -> str | None:
    """What a page may say was done just now, by its address, which anybody may write: nothing but what the records show."""
    if result not in TOLD_LATER:
        return None
    recently = now() - _JUST
    mine = [each for each in known.records if recently < each.recorded_at and each.source in {PANEL, BANNER}]
    is_refused = bool(mine) and all(status is not ConsentStatus.GRANTED for status in known.statuses.values())
    if result in {"erased", "erase_kept", "erase_failed"}:
        # Of the last one: an earlier one that went through says nothing of it, nor one that failed.
        asked = [each.evidence for each in mine if not each.evidence.keys().isdisjoint({ERASURE, NUMBERS})]
        went = "erased" if asked and NUMBERS in asked[-1] else "erase_kept" if keeps else "erase_failed"
        return went if asked and is_refused else None
    holds = {
        "saved": any(each.purpose in known.statuses for each in mine),
        "withdrawn": is_refused,
        "exported": any(each.kind == "retrieval" and now() - each.recorded_at < _MONTH for each in known.requests),
    }
    return result if holds[result] else None
