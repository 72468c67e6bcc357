"""The methods of the vendor's client that send something (mixpanel 5.0 to 5.4): what each writes, and where.

`mixpanel.Mixpanel` in the vendor's ``mixpanel/__init__.py`` is the source of names, positions and operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from consentpanel._mixpanel.names import REMOVALS


class Call(NamedTuple):
    """One method of the vendor's client."""

    #: Which properties it sends: ``"events"``, ``"people"`` or ``"groups"``.
    scope: str
    #: The position of the argument ``properties``, counted after ``self``; None where there is none.
    properties: int | None = None
    #: The position of the argument ``event_name``; None where there is none.
    event: int | None = None
    #: The operator of a profile update that it writes; None where it writes an event, or whatever it is given.
    operator: str | None = None

    @property
    def is_removal(self) -> bool:
        """Whether it only takes data away."""
        return self.operator in REMOVALS


CALLS: Mapping[str, Call] = {
    "track": Call("events", 2, event=1),
    "import_data": Call("events", 4, event=2),
    "alias": Call("events"),
    "merge": Call("events"),
    "people_set": Call("people", 1, operator="$set"),
    "people_set_once": Call("people", 1, operator="$set_once"),
    "people_increment": Call("people", 1, operator="$add"),
    "people_append": Call("people", 1, operator="$append"),
    "people_union": Call("people", 1, operator="$union"),
    "people_remove": Call("people", 1, operator="$remove"),
    "people_unset": Call("people", operator="$unset"),
    "people_delete": Call("people", operator="$delete"),
    "people_clear_charges": Call("people", operator="$unset"),
    "people_track_charge": Call("people", 2, operator="$append"),
    "people_update": Call("people"),
    "group_set": Call("groups", 2, operator="$set"),
    "group_set_once": Call("groups", 2, operator="$set_once"),
    "group_union": Call("groups", 2, operator="$union"),
    "group_remove": Call("groups", 2, operator="$remove"),
    "group_unset": Call("groups", operator="$unset"),
    "group_delete": Call("groups", operator="$delete"),
    "group_update": Call("groups"),
}
#: The methods that take a whole profile update, through which all others of their scope go.
UPDATES: Mapping[str, str] = {"people": "people_update", "groups": "group_update"}
#: Appends to ``$transactions``; every other call has its operator for itself.
CHARGE = "people_track_charge"
#: The methods that send an event of the vendor's own, by its name.
EVENT_CALLS: Mapping[str, str] = {"$create_alias": "alias", "$merge": "merge"}
