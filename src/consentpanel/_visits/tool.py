"""What a browser's consent tool says in a request, and what of it is news."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from typing import Any

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.standing import in_order
from consentpanel._log import note_failure
from consentpanel.cmp import Answers
from consentpanel.cmp._answers import Reader, source_of

_GIVEN_AT = "given_at"
_DAY = timedelta(days=1)


@attrs.frozen
class Told:
    """What one tool says.

    Attributes:
        answers: The answers.
        source: The tool, as records name it.
    """

    answers: Answers
    source: str

    @property
    def evidence(self) -> dict[str, Any]:
        """What records keep of it: a browser has said so, and scripts may write what it says."""
        found = self.answers
        given_at = None if found.given_at is None else found.given_at.isoformat()
        kept = {"asserted_by": "browser", "consent_id": found.consent_id, _GIVEN_AT: given_at, "gpc": found.gpc}
        return {name: each for name, each in kept.items() if each is not None}

    def news(
        self,
        open_ones: Iterable[Purpose],
        history: Sequence[ConsentRecord],
        *,
        is_account: bool,
        since: datetime | None,
    ) -> dict[Purpose, bool]:
        """What is to be recorded of it: each answer once, and none that is older than what was said after it.

        Args:
            open_ones: The purposes to look at.
            history: The records of the person.
            is_account: Whether the person is known by an account, whose refusal no browser takes back.
            since: A yes that was given before is somebody else's; None where nobody else is known to have used the browser.
        """
        said = [(purpose, self.answers.purposes[purpose]) for purpose in open_ones]
        ordered = in_order(history)
        return {
            purpose: answer
            for purpose, answer in said
            if answer is not None
            and self._is_news(answer, [each for each in ordered if each.purpose == purpose], is_account, since)
        }

    def _is_news(self, answer: bool, said: list[ConsentRecord], is_account: bool, since: datetime | None) -> bool:
        given_at, last = self.answers.given_at, said[-1] if said else None
        if answer and not (self.answers.is_explicit and (since is None or (given_at is not None and given_at > since))):
            return False
        if last is None or (last.status is ConsentStatus.UNKNOWN and not answer):
            return True
        if answer and is_account and last.status is ConsentStatus.DENIED:
            return False
        status = ConsentStatus.GRANTED if answer else ConsentStatus.DENIED
        if last.source == self.source:
            before = _given_at(last)
            if given_at is None or before is None:
                return last.status is not status
            # Some tools tell the day alone.
            return given_at >= before if last.status is not status else given_at > before
        of_tool = [each for each in said if each.source == self.source]
        if of_tool and of_tool[-1].status is status and _given_at(of_tool[-1]) == given_at:
            # It was recorded, and something else was said after it.
            return False
        if given_at is None:
            return not answer
        # A no of that day, at whatever time, is taken for the later word; a yes is not.
        is_day = not answer and given_at.time() == time()
        return (given_at + _DAY if is_day else given_at) > last.recorded_at


def told_in(readers: Iterable[Reader], header: str | bytes | None) -> tuple[tuple[Told, ...], bool]:
    """What the consent tools of a browser say, and whether one has seen Global Privacy Control there.

    One of which nothing is known is left out, and a reader that fails says nothing.

    Args:
        readers: Those of the configuration.
        header: The raw header ``Cookie``.
    """
    found: list[Told] = []
    sees_gpc = False
    for reader in readers:
        try:
            answers = reader(header)
            if not isinstance(answers, Answers):
                raise TypeError(f"a reader must return Answers, not {type(answers).__name__}")  # noqa: TRY301 - told below
        except Exception as error:  # noqa: BLE001 - a reader is anybody's
            note_failure("a reader of a consent tool", error)
            continue
        sees_gpc = sees_gpc or answers.gpc is True
        if any(each is not None for each in answers.purposes.values()):
            found.append(Told(answers, source_of(reader)))
    return tuple(found), sees_gpc


def _given_at(record: ConsentRecord) -> datetime | None:
    said = record.evidence.get(_GIVEN_AT)
    try:
        return datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
