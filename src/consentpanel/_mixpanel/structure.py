"""The structure of messages: which names the vendor's own code writes at which place, and what it writes there.

Nothing else passes without a rule, a detector or the mapping of ids. The vendor's ``mixpanel/__init__.py`` is the source,
and https://docs.mixpanel.com/docs/data-structure/property-reference for the options that ``meta=`` may set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto

from consentpanel._mixpanel.names import DEVICE_IDS, GROUP_NAMES, PERSON_ID_LISTS, PERSON_IDS, TARGETING_KEY, TIMES


class Shape(Enum):
    """What stands under a structural name."""

    ID = auto()
    IDS = auto()
    TOKEN = auto()
    MOMENT = auto()
    INSERT_ID = auto()
    LIBRARY = auto()
    VERSION = auto()
    SWITCH = auto()
    GROUP = auto()

    __hash__ = object.__hash__

    @property
    def is_id(self) -> bool:
        """Whether it says who somebody is, and is mapped."""
        return self is Shape.ID or self is Shape.IDS


def _named(shape: Shape, names: Iterable[str]) -> dict[str, Shape]:
    return dict.fromkeys(names, shape)


_IDS = {**_named(Shape.ID, PERSON_IDS | DEVICE_IDS), **_named(Shape.IDS, PERSON_ID_LISTS)}
_FRAME = {
    **_named(Shape.TOKEN, ("token", "$token")),
    **_named(Shape.MOMENT, TIMES),
    **_named(Shape.SWITCH, ("$ignore_time", "$ignore_alias")),
}
#: At the top of a message ``meta=`` lands.
_TOP = {**_FRAME, **_IDS}
_PROPERTIES = {
    **_TOP,
    "$insert_id": Shape.INSERT_ID,
    "mp_lib": Shape.LIBRARY,
    "$lib_version": Shape.VERSION,
}

#: By endpoint and place: the top of the message, and its properties, which in a profile update stand below an operator.
TOP, PROPERTIES = "top", "properties"
STRUCTURE: Mapping[str, Mapping[str, Mapping[str, Shape]]] = {
    "events": {TOP: _TOP, PROPERTIES: _PROPERTIES},
    "imports": {TOP: _TOP, PROPERTIES: _PROPERTIES},
    "people": {TOP: _TOP, PROPERTIES: _IDS},
    "groups": {TOP: {**_FRAME, **_named(Shape.GROUP, GROUP_NAMES)}, PROPERTIES: {}},
    # The context of a flag is properties and nothing else.
    "flags": {TOP: {}, PROPERTIES: {**_IDS, TARGETING_KEY: Shape.ID}},
}

#: What the vendor's libraries call themselves, each in its source.
LIBRARIES = frozenset(
    "python web node ruby php java jvm go iphone swift android react-native flutter unity unreal".split()
)
