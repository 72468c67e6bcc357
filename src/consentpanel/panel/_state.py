"""What scripts are told of the answers: one shape in the panel's page, on other pages, in the event and in the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.regime import Regime
from consentpanel._log import note_failure
from consentpanel._visits import Visit
from consentpanel.client._consent_calls import purposes_in_use, settings_of
from consentpanel.errors import ConsentPanelError
from consentpanel.panel._html import element, json_in_page

#: The id of the element.
ELEMENT = "consent-state"
#: The key of the purposes for which data is sent though there is no answer, as they may be under an opt-out regime. No purpose can have
#: this name: a `Purpose` has no white space around it.
SENT = " sent"


def state_of(statuses: Mapping[str, ConsentStatus], sent: Iterable[str]) -> dict[str, Any]:
    """What scripts are told.

    Args:
        statuses: By purpose.
        sent: The purposes for which data is sent unless somebody objects.

    Returns:
        ``"granted"``, ``"denied"`` or ``"unknown"`` by purpose; and `SENT` where one that is unknown is sent all the same.
    """
    silent = set(sent)
    open_ones = [each for each, status in statuses.items() if status is ConsentStatus.UNKNOWN and each in silent]
    said: dict[str, Any] = {each: status.value for each, status in statuses.items()}
    return said | ({SENT: open_ones} if open_ones else {})


def state_now(visit: Visit, needs_consent: Mapping[str, bool]) -> dict[str, Any]:
    """What scripts of any page are told; raises nothing: where nobody can tell it is unknown, and nothing is sent.

    Args:
        visit: The consent of whoever has sent the request.
        needs_consent: Whether each purpose that people are asked about waits for a yes.
    """
    purposes = [*needs_consent, *others_of(visit, needs_consent)]
    statuses = statuses_of(visit, purposes)
    if statuses is None:
        return state_of(dict.fromkeys(purposes, ConsentStatus.UNKNOWN), ())
    is_opt_out = is_opt_out_of(visit)
    return state_of(statuses, [each for each in purposes if is_opt_out and not needs_consent.get(each, False)])


def statuses_of(visit: Visit, purposes: Iterable[str]) -> dict[str, ConsentStatus] | None:
    """What is known of each purpose; None where the registry failed: a page is shown all the same, as to somebody who has not agreed."""
    try:
        return {each: visit.status(each) for each in purposes}
    except ConsentPanelError as error:
        note_failure("what scripts are told", error)
        return None


def others_of(visit: Visit, asked: Iterable[str]) -> list[str]:
    """The purposes that calls may be for, and that nobody is asked about."""
    return sorted(map(str, purposes_in_use(visit.client) - {Purpose(each) for each in asked}))


def is_opt_out_of(visit: Visit) -> bool:
    """Whether the client sends for everybody who has not answered. Where that depends on the country, scripts wait for a yes."""
    return settings_of(visit.client).regime is Regime.OPT_OUT


def element_of(state: Mapping[str, Any], element_id: str = ELEMENT) -> str:
    """The state as JSON in an element that nothing runs."""
    return element("script", json_in_page(state), id=element_id, type="application/json")
