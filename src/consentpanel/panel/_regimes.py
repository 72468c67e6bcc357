"""What silence means for one person: the client's regime, which a notice for everybody may not know."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import attrs

from consentpanel._consent.regime import Regime
from consentpanel._log import note_failure
from consentpanel._visits import Visit
from consentpanel.client._consent_calls import settings_of
from consentpanel.errors import ConsentPanelError
from consentpanel.registry._lookup import regimes_known
from consentpanel.transparency._notice import Notice
from consentpanel.transparency._page import Use

#: Where it cannot be told which of them holds.
EITHER: frozenset[Regime] = frozenset(Regime)
_BASIS = {True: "basis.opt_in", False: "basis.opt_out.plain", None: "basis.by_rule"}


def regimes_of(visit: Visit) -> frozenset[Regime]:
    """The regimes that may hold for whoever has sent a request: one, or both where that cannot be told."""
    regime = settings_of(visit.client).regime
    if isinstance(regime, Regime):
        return frozenset({regime})
    try:
        subject = visit.subject_id
    except ConsentPanelError as error:
        note_failure("a request's data subject", error)
        subject = None
    found = None if subject is None else regimes_known(regime, (subject,))[subject]
    return EITHER if found is None else frozenset({found})


def under(notice: Notice, regimes: Collection[Regime]) -> Notice:
    """A notice as it holds for somebody.

    Args:
        notice: For everybody.
        regimes: Those that may hold for the person; none where the notice itself is to be believed.
    """
    if not regimes:
        return notice
    needs = None if len(set(regimes)) > 1 else Regime.OPT_IN in regimes
    uses = tuple(_use(notice, use, needs) for use in notice.uses)
    return notice if uses == notice.uses else attrs.evolve(notice, uses=uses)


def _use(notice: Notice, use: Use, needs: bool | None) -> Use:
    if use.needs_consent is needs:
        return use
    facts: Any = getattr(notice, "facts", {})
    # What names the regions is true of each of them.
    is_true = use.needs_consent is None or facts.get("regime") == "by_region"
    basis = use.basis if is_true else notice.words(_BASIS[needs], legal_basis="")
    return attrs.evolve(use, needs_consent=needs, basis=basis)
