"""Asks a registry the gate's questions; whatever goes wrong is an answer that denies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.regime import Regime
from consentpanel._consent.standing import Question, Standing
from consentpanel._log import note_failure, warn_rarely
from consentpanel.registry._acts import Act, Plan, at_once
from consentpanel.registry._protocol import in_time, is_late, offered
from consentpanel.registry._remembered import keep, kept_of, known


def standings_of(registry: Any, questions: Iterable[Question]) -> dict[Question, Standing]:
    """The answer to each question; never raises.

    Args:
        registry: The registry, or None when none is configured.
        questions: Subject, purpose and moment of each.
    """
    return at_once(asking(registry, questions))


def asking(registry: Any, questions: Iterable[Question]) -> Plan[dict[Question, Standing]]:
    """As `standings_of`, as a plan: whoever asks may await the answers."""
    asked = list(questions)
    if registry is None:
        return dict.fromkeys(asked, Standing.NOT_CONFIGURED)
    if len(asked) == 1:
        question = asked[0]
        return {question: (yield from _asking_one(registry, *question))}
    together: dict[tuple[Purpose, datetime | None], list[str]] = {}
    for subject, purpose, moment in asked:
        together.setdefault((purpose, moment), []).append(subject)
    answers: dict[Question, Standing] = {}
    for (purpose, moment), subjects in together.items():
        found = yield from _asking_several(registry, subjects, purpose, moment)
        for subject in subjects:
            answers[subject, purpose, moment] = as_standing(found.get(subject))
    return answers


def _asking_one(registry: Any, subject: str, purpose: Purpose, moment: datetime | None) -> Plan[Standing]:
    kept = kept_of(registry) if moment is None else None
    if kept is not None and (remembered := known(kept, subject, purpose)) is not None:
        return remembered
    try:
        answer = yield Act("ask", partial(_ask_one, registry, subject, purpose, moment))
    except Exception as error:  # noqa: BLE001 - a registry is anybody's; whatever it raises means denied
        note_failure("registry", error)
        return Standing.UNAVAILABLE
    standing = answer if type(answer) is Standing else as_standing(answer)
    if kept is not None:
        keep(kept, subject, purpose, standing)
    return standing


def _ask_one(registry: Any, subject: str, purpose: Purpose, moment: datetime | None) -> Any:
    ask = question_to(registry)
    return ask(subject, purpose) if moment is None else ask(subject, purpose, at=moment)


def standing_of_one(registry: Any, subject: str, purpose: Purpose, moment: datetime | None = None) -> Standing:
    """The standing of one subject; never raises."""
    kept = kept_of(registry) if moment is None else None
    if kept is not None and (remembered := known(kept, subject, purpose)) is not None:
        return remembered
    try:
        ask = question_to(registry)
        answer = ask(subject, purpose) if moment is None else ask(subject, purpose, at=moment)
        standing = answer if type(answer) is Standing else as_standing(answer)
    except Exception as error:  # noqa: BLE001 - a registry is anybody's; whatever it raises means denied
        note_failure("registry", error)
        return Standing.UNAVAILABLE
    if kept is not None:
        keep(kept, subject, purpose, standing)
    return standing


def question_to(registry: Any) -> Callable[..., Any]:
    """The method by which a registry is asked about one subject: `standing` tells more than `status`.

    Looked up for each question, since a registry may be a proxy, and a test may put another method over one.
    """
    ask: Callable[..., Any] = getattr(registry, offered(registry, _ABOUT_ONE) or "status")
    return ask


_ABOUT_ONE = ("standing", "status")
_ABOUT_SEVERAL = ("standings", "statuses", *_ABOUT_ONE)


def _asking_several(
    registry: Any, subjects: list[str], purpose: Purpose, moment: datetime | None
) -> Plan[Mapping[str, object]]:
    try:
        # One that is asked about one person alone has no answer about several.
        found = yield Act("ask", partial(_ask_several, registry, subjects, purpose, moment))
        if found is not None:
            found = in_time(found, "statuses")
            return {subject: found[subject] for subject in subjects if subject in found}
    except Exception as error:  # noqa: BLE001 - a registry is anybody's; whatever it raises means denied
        note_failure("registry", error)
        # One person may be the cause. If two of them cannot be told alone, the registry is down.
        tried: dict[str, object] = {}
        for subject in (subjects[0], subjects[-1]):
            tried[subject] = yield from _asking_one(registry, subject, purpose, moment)
        if set(tried.values()) == {Standing.UNAVAILABLE}:
            return dict.fromkeys(subjects, Standing.UNAVAILABLE)
    else:
        tried = {}
    for subject in subjects:
        if subject not in tried:
            tried[subject] = yield from _asking_one(registry, subject, purpose, moment)
    return tried


def _ask_several(registry: Any, subjects: Sequence[str], purpose: Purpose, moment: datetime | None) -> Any:
    """What a registry answers about several people at once; None from one that is asked about one alone."""
    name = offered(registry, _ABOUT_SEVERAL)
    if name in _ABOUT_ONE or (name is None and not callable(getattr(registry, "statuses", None))):
        return None
    ask = getattr(registry, name or "statuses")
    return ask(subjects, purpose) if moment is None else ask(subjects, purpose, at=moment)


def ask_several(
    registry: Any, subjects: Sequence[str], purpose: Purpose, moment: datetime | None
) -> Mapping[str, object] | None:
    """What a registry answers about several people at once; None from one that is asked about one alone.

    Raises:
        Exception: Whatever the registry raises.
    """
    answer = _ask_several(registry, subjects, purpose, moment)
    if answer is None:
        return None
    found = in_time(answer, "statuses")
    return {subject: found[subject] for subject in subjects if subject in found}


def as_standing(answer: object) -> Standing:
    """The standing that an answer of a registry says; an answer of a wrong type denies."""
    kind = type(answer)
    if kind is Standing:
        return answer  # type: ignore[return-value]
    if kind is ConsentStatus:
        return Standing.of(answer)  # type: ignore[arg-type]
    is_late(answer)  # closes a coroutine
    warn_rarely("registry failed: an answer of type %s, which is treated as a denial", kind.__name__)
    return Standing.UNAVAILABLE


def regimes_of(regime: Regime | Callable[[str], Regime], subjects: Iterable[str]) -> Regime | Callable[[str], Regime]:
    """The regime of each subject, asked now; one that cannot be told is opt-in."""
    if isinstance(regime, Regime):
        return regime
    found = regimes_known(regime, subjects)
    return lambda subject: found.get(subject) or Regime.OPT_IN


def regimes_known(regime: Regime | Callable[[str], Regime], subjects: Iterable[str]) -> dict[str, Regime | None]:
    """The regime of each subject, asked now; None for one that cannot be told."""
    if isinstance(regime, Regime):
        return dict.fromkeys(subjects, regime)
    found: dict[str, Regime | None] = {}
    for subject in subjects:
        answer: object = None
        try:
            answer = regime(subject)
        except Exception as error:  # noqa: BLE001 - the user's function
            note_failure("regime", error)
        if answer is not None and not isinstance(answer, Regime):
            is_late(answer)  # closes a coroutine
            warn_rarely("regime failed: an answer of type %s, which is treated as opt-in", type(answer).__name__)
        found[subject] = answer if isinstance(answer, Regime) else None
    return found
