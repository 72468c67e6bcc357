"""What browsers' consent tools say in a request, and what of it is news. Pure: nothing here asks or records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel._log import note_failure, warn_once
from consentpanel.cmp import Answers
from consentpanel.cmp._answers import Reader, source_of

_NO_LANGUAGE = (
    "a consent tool's yes is not taken, because the registry has strict_records=True and nobody knows in which language it was asked for: give"
    " the reader language="
)
#: Keys of the evidence of a record.
_GIVEN_AT, _SHOWN = "given_at", "tools"
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_GRANTED, _DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED


@attrs.frozen
class ToolAnswers:
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


@attrs.frozen
class Situation:
    """What else decides whether an answer of a tool is news.

    Attributes:
        is_account: Whether the person is known by an account, which several browsers have, and whose refusal none of them takes back.
        since: A yes that was given before is somebody else's; None where nobody else is known to have used the browser.
        oldest: A yes that is older is not taken.
        takes_yes: Whether a yes can be taken at all.
        is_strict: Whether the registry takes no yes of which nobody knows in which language it was asked for.
        has_history: Whether the registry tells what was said.
    """

    is_account: bool
    since: datetime | None
    oldest: timedelta
    takes_yes: bool
    has_history: bool
    is_strict: bool = False

    def news(
        self, tool: ToolAnswers, purpose: Purpose, status: ConsentStatus, history: Sequence[ConsentRecord]
    ) -> bool:
        """Whether a tool's answer is to be recorded: each once, and none that is older than what was said after it.

        Args:
            tool: The tool.
            purpose: The purpose.
            status: What holds now.
            history: The records of the person, in the order in which they decide.
        """
        said = [each for each in history if each.purpose == purpose]
        of_tool = [each for each in said if each.source == tool.source]
        if tool.answers.purposes[purpose]:
            return self._may_be_yes(tool, status, of_tool) and self._is_newer_yes(tool, said, of_tool)
        if not self.has_history:
            return status is not _DENIED
        if self.is_account:
            return _is_later_no(tool, said, of_tool)
        return _is_newer_no(tool, said, of_tool)

    def _may_be_yes(self, tool: ToolAnswers, status: ConsentStatus, of_tool: list[ConsentRecord]) -> bool:
        given_at = tool.answers.given_at
        if not (tool.answers.is_explicit and self.takes_yes) or (self.is_account and status is _DENIED):
            return False
        if self.is_strict and tool.answers.language is None:
            warn_once(_NO_LANGUAGE)
            return False
        if given_at is None:
            # Of a change that was seen since then it is known that it came since then.
            has_changed = bool(of_tool) and of_tool[-1].status is _DENIED
            return self.since is None or (has_changed and of_tool[-1].recorded_at > self.since)
        is_spent = self.since is not None and given_at <= self.since
        return not is_spent and now() - self.oldest < given_at < now() + _MINUTE

    def _is_newer_yes(self, tool: ToolAnswers, said: list[ConsentRecord], of_tool: list[ConsentRecord]) -> bool:
        given_at, last = tool.answers.given_at, said[-1] if said else None
        if last is None:
            return True
        if last.source == tool.source:
            before = _given_at(last)
            if given_at is None or before is None:
                return last.status is not _GRANTED
            # Some tools tell the day alone.
            return given_at > before if last.status is _GRANTED else given_at >= before
        if given_at is None:
            # Remembered, so that a later no of the tool's is seen to be a change.
            return last.status is _GRANTED and bool(of_tool) and of_tool[-1].status is _DENIED
        if of_tool and of_tool[-1].status is _GRANTED and _given_at(of_tool[-1]) == given_at:
            return False
        is_shown, shown = _shown(last, tool.source)
        if is_shown and not self.is_account:
            return shown is None or given_at > shown
        return given_at > last.recorded_at


def _is_newer_no(tool: ToolAnswers, said: list[ConsentRecord], of_tool: list[ConsentRecord]) -> bool:
    given_at, last = tool.answers.given_at, said[-1] if said else None
    if last is None or last.status is ConsentStatus.UNKNOWN:
        return True
    if of_tool and of_tool[-1].status is not _DENIED:
        # It has changed, whatever the browser's clock says.
        return last.status is not _DENIED or given_at is None
    if last.status is _DENIED:
        return False
    if of_tool:
        # It was recorded, and something else was said after it.
        return given_at is not None and given_at != _given_at(of_tool[-1])
    if given_at is None:
        return True
    is_shown, shown = _shown(last, tool.source)
    return given_at != shown if is_shown else _is_after(given_at, last)


def _is_later_no(tool: ToolAnswers, said: list[ConsentRecord], of_tool: list[ConsentRecord]) -> bool:
    """As `_is_newer_no`, of one of several browsers, each of which has an answer and a clock of its own."""
    given_at, last = tool.answers.given_at, said[-1] if said else None
    if last is None or last.status is ConsentStatus.UNKNOWN:
        return True
    if last.status is _DENIED:
        return False
    if given_at is None:
        return not of_tool or last.source == tool.source
    return _is_after(given_at, last)


def _is_after(given_at: datetime, last: ConsentRecord) -> bool:
    # A no of that day, at whatever time, is taken for the later word.
    return (given_at + _DAY if given_at.time() == time() else given_at) > last.recorded_at


@attrs.frozen
class Said:
    """What the consent tools of a browser say.

    Attributes:
        tools: Those of which something is known.
        sees_gpc: Whether one has seen Global Privacy Control there.
        has_failed: Whether one could not be read, so that nobody knows of a no.
    """

    tools: tuple[ToolAnswers, ...] = ()
    sees_gpc: bool = False
    has_failed: bool = False


def said_in(readers: Iterable[Reader], header: str | bytes | None) -> Said:
    """What the consent tools of a browser say.

    Args:
        readers: Those of the configuration.
        header: The raw header ``Cookie``.
    """
    found: list[ToolAnswers] = []
    sees_gpc = has_failed = False
    for reader in readers:
        try:
            answers = reader(header)
            if not isinstance(answers, Answers):
                raise TypeError(f"a reader must return Answers, not {type(answers).__name__}")  # noqa: TRY301 - told below
        except Exception as error:  # noqa: BLE001 - a reader is anybody's
            has_failed = True
            note_failure("a reader of a consent tool", error)
            continue
        sees_gpc = sees_gpc or answers.gpc is True
        if any(each is not None for each in answers.purposes.values()):
            found.append(ToolAnswers(answers, source_of(reader)))
    return Said(tuple(found), sees_gpc, has_failed)


def together(tools: Iterable[ToolAnswers]) -> dict[Purpose, list[ToolAnswers]]:
    """By purpose the tools that decide: those that say no, or else those that say yes."""
    found: dict[Purpose, dict[bool, list[ToolAnswers]]] = {}
    for tool in tools:
        for purpose, answer in tool.answers.purposes.items():
            if answer is not None:
                found.setdefault(purpose, {}).setdefault(answer, []).append(tool)
    return {purpose: by_answer.get(False) or by_answer[True] for purpose, by_answer in found.items()}


def shown_by(tools: Iterable[ToolAnswers], readers: Iterable[Reader]) -> dict[str, Any]:
    """What the evidence of an answer keeps: when the answers were given that the tools showed at that time, by their own clock."""
    said: dict[str, str | None] = {source_of(reader): None for reader in readers}
    for tool in tools:
        given_at = tool.answers.given_at
        said[tool.source] = "" if given_at is None else given_at.isoformat()
    return {_SHOWN: said} if said else {}


def latest_in(tools: Iterable[ToolAnswers]) -> datetime:
    """Now, or when the latest of the answers was given, by a clock that is fast."""
    moments = (tool.answers.given_at for tool in tools if tool.answers.given_at is not None)
    return min(max([now(), *moments]), now() + _DAY)


def _given_at(record: ConsentRecord) -> datetime | None:
    return _moment(record.evidence.get(_GIVEN_AT))


def _shown(record: ConsentRecord, source: str) -> tuple[bool, datetime | None]:
    """Whether it is known what a tool showed when something was said, and when that was given; None where it was silent."""
    said = record.evidence.get(_SHOWN)
    if not isinstance(said, Mapping) or source not in said:
        return False, None
    shown = said[source]
    return (True, None) if shown is None else ((found := _moment(shown)) is not None, found)


def _moment(said: object) -> datetime | None:
    try:
        return datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
