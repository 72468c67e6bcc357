"""Which purposes a message serves: defaults by endpoint, and the caller's own map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from consentpanel._consent.ids import Purpose
from consentpanel._messages.message import FLAGS, Message
from consentpanel._mixpanel.calls import CALLS, CHARGE, EVENT_CALLS, UPDATES
from consentpanel._mixpanel.names import REMOVALS
from consentpanel.errors import ConfigurationError, InvalidRecordError

_ANALYTICS = (Purpose.ANALYTICS,)
_FLAGS = (Purpose.FEATURE_FLAGS,)
_PROFILES = (Purpose.PROFILES,)

_CALL_OF = {(call.scope, call.operator): name for name, call in CALLS.items() if name != CHARGE}


class PurposeMap:
    """The purposes of each message.

    An event serves `Purpose.ANALYTICS` and a profile update `Purpose.PROFILES`, unless the map names the event or
    the call: then it serves what the map says, all of it. An event's name wins over its call, a single call
    (``people_set``) over the general one (``people_update``).

    Args:
        purposes: From the name of an event or of a call to a purpose, or several.

    Raises:
        ConfigurationError: A name is a call that does not exist or that needs no consent, or a purpose is malformed.
    """

    __slots__ = ("_map",)

    def __init__(self, purposes: Mapping[str, str | Iterable[str]] | None = None) -> None:
        if purposes is not None and not isinstance(purposes, Mapping):
            raise ConfigurationError(
                f"purposes must map names of events or calls to purposes, not {type(purposes).__name__}"
            )
        self._map = {_name(name): _purposes(name, given) for name, given in (purposes or {}).items()}

    @property
    def is_default(self) -> bool:
        """Whether nothing is mapped."""
        return not self._map

    @property
    def given(self) -> Mapping[str, tuple[Purpose, ...]]:
        """The map: the purposes by the name of an event or of a call."""
        return self._map

    @property
    def named(self) -> tuple[Purpose, ...]:
        """The purposes that the map names."""
        return tuple(dict.fromkeys(purpose for purposes in self._map.values() for purpose in purposes))

    def of_event(self, name: str, call: str) -> tuple[Purpose, ...]:
        """The purposes of an event sent by a call."""
        if not self._map:
            return _ANALYTICS
        return self._map.get(name) or self._map.get(call) or _ANALYTICS

    def of(self, message: Message) -> tuple[Purpose, ...]:
        """The purposes of a message, each of which needs consent."""
        if message.event is not None:
            call = "import_data" if message.endpoint == "imports" else "track"
            return self.of_event(message.event, EVENT_CALLS.get(message.event, call))
        if message.endpoint == FLAGS:
            return _FLAGS
        if not self._map or message.is_event:
            return _ANALYTICS if message.is_event else _PROFILES
        general = self._map.get(UPDATES[message.endpoint]) or _PROFILES
        found: dict[Purpose, None] = {}
        for operator in message.operators:
            if operator in REMOVALS:
                continue
            mapped = self._map.get(_CALL_OF.get((message.endpoint, operator), ""))
            if operator == "$append" and "$transactions" in message.record[operator]:
                mapped = self._map.get(CHARGE) or mapped
            found.update(dict.fromkeys(mapped or general))
        return tuple(found) or general


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"purposes: a name must be a non-empty str, not {type(name).__name__}")
    call = CALLS.get(name)
    if call is not None and call.is_removal:
        raise ConfigurationError(f"purposes: {name} only takes data away and needs no consent")
    if call is None and name.startswith(("people_", "group_")):
        known = ", ".join(sorted(each for each in CALLS if not CALLS[each].is_removal))
        raise ConfigurationError(f"purposes: there is no call {name!r}; known calls are {known}")
    return str.__str__(name)


def _purposes(name: str, given: object) -> tuple[Purpose, ...]:
    several = (given,) if isinstance(given, str) else given
    if not isinstance(several, Iterable):
        raise ConfigurationError(f"purposes[{name!r}] must be a purpose or several, not {type(given).__name__}")
    found = []
    for each in several:
        try:
            found.append(Purpose(each))
        except InvalidRecordError as error:
            raise ConfigurationError(f"purposes[{name!r}]: {error}") from None
    if not found:
        raise ConfigurationError(f"purposes[{name!r}] must name at least one purpose")
    return tuple(dict.fromkeys(found))
