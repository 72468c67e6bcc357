"""What a person does on the panel: recorded, or told that it was not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from consentpanel._consent.records import ConsentStatus, now
from consentpanel._log import note_failure
from consentpanel._mixpanel import vendor
from consentpanel._visits import ConsentSummary, Visit
from consentpanel.errors import ConfigurationError, ConsentPanelError, InvalidRecordError
from consentpanel.panel._answers import Given
from consentpanel.panel._notices import Kept, Shown
from consentpanel.privacy_requests import PrivacyRequestError

#: What records name as the place where it was said.
SOURCE = "panel"
#: What becomes of a request, as a status code for programs and for a page that is shown at once.
STATUS = {
    **dict.fromkeys(("saved", "withdrawn", "erased", "exported"), 200),
    "changed": 409,
    "incomplete": 422,
    "erase_failed": 502,
    "export_failed": 502,
    "failed": 503,
}
#: What people are told whose request was refused, by its code.
REFUSALS = {"other_site": "refused", "too_often": "too_many"}
#: What is told on the page after the one that did it.
TOLD_LATER = frozenset({"saved", "withdrawn", "erased", "exported", "erase_failed"})
#: For so long it is told.
_JUST = timedelta(minutes=10)


def is_of(given: Given, found: Shown) -> bool:
    """Whether an answer is to what is shown now."""
    present = found.notice
    return (given.version, given.language, given.shown) == (present.version, present.language, found.digest)


def save(visit: Visit, given: Given, found: Shown, kept: Kept) -> str:
    """Records an answer.

    Args:
        visit: Whose it is.
        given: The answer.
        found: What was shown.
        kept: Keeps what was shown.

    Returns:
        What became of it.

    Raises:
        RefusedError: It is malformed.
    """
    answers = given.to(found.purposes)
    if not answers:
        return "incomplete"
    proof = proof_of(visit, found)

    def record() -> str:
        try:
            kept.keep(proof["policy_version"], found)
        except OSError as error:
            note_failure("the archive of notices", error)
            if any(answers.values()):
                # A yes to a text that nobody could show later proves nothing; a no needs no proof.
                return "failed"
        visit.answer(answers, source=SOURCE, **proof)
        return "saved"

    return _done("recording an answer", record)


def withdraw(visit: Visit, found: Shown | None) -> str:
    """Takes everything back; what became of it."""

    def record() -> str:
        visit.withdraw(source=SOURCE, **proof_of(visit, found))
        return "withdrawn"

    return _done("recording a withdrawal", record)


def erase(visit: Visit, found: Shown | None) -> str:
    """Takes everything back, and asks the vendor to delete what it has; what became of it."""
    proof = proof_of(visit, found)

    def record() -> str:
        # The request itself stands in the record, also where the vendor does not take it.
        evidence = {**proof.get("evidence", {}), "erasure": "asked"}
        try:
            done = visit.withdraw(source=SOURCE, erase=True, **{**proof, "evidence": evidence})
        except PrivacyRequestError as error:
            note_failure("a request to the vendor", error)
            return "erase_failed"
        if done.awaits_commit:
            return "withdrawn"
        return "erased" if done.erasure and not done.is_erasure_kept else "erase_failed"

    return _done("recording an erasure", record)


def export(visit: Visit) -> str:
    """Asks the vendor for all that it has; what became of it."""

    def record() -> str:
        try:
            visit.request_copy(source=SOURCE)
        except PrivacyRequestError as error:
            note_failure("a request to the vendor", error)
            return "export_failed"
        return "exported"

    return _done("a request for a copy", record)


def _done(what: str, record: Callable[[], str]) -> str:
    try:
        return record()
    except (InvalidRecordError, ConfigurationError) as error:
        note_failure(what, error)
    except (ConsentPanelError, vendor.MixpanelException) as error:
        note_failure(what, error)
    return "failed"


def proof_of(visit: Visit, found: Shown | None) -> dict[str, Any]:
    """What proves an answer: to which version it is, in which language, and what was shown.

    The version is the one that the registry asks for, which is the only one that it takes a grant to; where it asks for none, the
    notice's. The notice's own stands in the evidence in any case. Where nothing could be shown, nothing is claimed.
    """
    if found is None:
        return {}
    return {
        "policy_version": visit.policy_version or found.notice.version,
        "language": found.notice.language,
        "evidence": {"shown": found.digest, "notice": found.notice.version},
    }


def told(result: str | None, known: ConsentSummary) -> str | None:
    """What a page may say was done just now, by its address, which anybody may write: nothing but what the records show."""
    if result not in TOLD_LATER:
        return None
    recently = now() - _JUST
    mine = [each for each in known.records if recently < each.recorded_at and each.source == SOURCE]
    kinds = {each.kind for each in known.requests if recently < each.recorded_at}
    is_refused = bool(mine) and all(status is not ConsentStatus.GRANTED for status in known.statuses.values())
    holds = {
        "saved": any(each.purpose in known.statuses for each in mine),
        "withdrawn": is_refused,
        "erased": is_refused and "deletion" in kinds,
        "exported": "retrieval" in kinds,
        "erase_failed": is_refused and "deletion" not in kinds and any("erasure" in each.evidence for each in mine),
    }
    return result if holds[result] else None
