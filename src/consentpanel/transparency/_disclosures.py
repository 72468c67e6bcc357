"""What a policy can send, as plain facts: the base of a notice, of its version and of comparisons. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._messages.purposes import PurposeMap
from consentpanel._mixpanel.names import EXPOSURE, EXPOSURE_EVENT
from consentpanel.errors import ConfigurationError
from consentpanel.policy import Action, FieldPolicy
from consentpanel.policy._action_types import Generalize, Keep, Text
from consentpanel.policy._keys import folded
from consentpanel.policy._names import category_of
from consentpanel.policy._paths import category_of_path, keys_of, parts_of
from consentpanel.policy._rules import SCOPES, is_closing
from consentpanel.transparency._forms import FORMS, TELLS_WHO, detail_of, form_of

#: Stands for what names no person and needs no consent: profiles of groups.
NO_PURPOSE = "none"
_SENDS_FIXED_TEXT = "redact"


@attrs.frozen(kw_only=True)
class Item:
    """One property that may be sent.

    Attributes:
        scope: ``"events"``, ``"people"``, ``"groups"`` or ``"flags"``.
        event: The event that the rule is for; None for all of the scope.
        path: The property's path, as in the policy.
        form: In which form it leaves: one of `STRENGTH`.
        detail: How exactly, as `detail_of` has it.
        purposes: Any of these must be consented to.
        also_needs: A purpose that must be consented to as well; None for none.
        categories: The categories of its rule.
        label: What its rule calls it.
        reason: The reason of its rule.
        exceptions: Paths below it that are not sent.
        not_with: Events with which it is not sent.
        is_built_in: Whether it is about a feature that was shown, and no rule of the user's.
    """

    scope: str
    event: str | None
    path: str
    form: str
    purposes: tuple[str, ...]
    detail: Mapping[str, Any] = attrs.field(factory=dict)
    also_needs: str | None = None
    categories: tuple[str, ...] = ()
    label: Text | None = None
    reason: Text | None = None
    exceptions: tuple[str, ...] = ()
    not_with: tuple[str, ...] = ()
    is_built_in: bool = False

    @property
    def rule(self) -> str:
        """The rule, as errors and audits name it."""
        return rule_name(self.scope, self.event, self.path)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of personal data that it is, by its rule or else by its name."""
        named = category_of_path(self.scope, self.path)
        return self.categories or (() if named is None else (named,))

    def action_in(self, policy: FieldPolicy) -> Action | None:
        """The action of its rule; None for what is built in."""
        rules = policy.rules(self.scope) if self.event is None else policy.own_rules(self.event)
        return rules.get(self.path)

    def as_dict(self, written_in: str = "en") -> dict[str, Any]:
        """The item as JSON, without what is empty."""
        found = attrs.asdict(self, recurse=False)
        found |= {name: source_of(getattr(self, name), written_in) for name in ("label", "reason")}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
            if value not in (None, (), False, {})
        }


def rule_name(scope: str, event: str | None, path: str) -> str:
    """A rule, as errors, audits and comparisons name it."""
    return f"{scope if event is None else f'for_event({event!r})'}[{path!r}]"


def source_of(text: Text | None, written_in: str) -> str | None:
    """The publisher's own words in the language that they were written in: a translation more changes no version."""
    if isinstance(text, Mapping):
        return text[written_in] if written_in in text else next(iter(text.values()))
    return text


def items_of(policy: FieldPolicy, purpose_map: Mapping[str, str | Iterable[str]] | None = None) -> tuple[Item, ...]:
    """Every property that a policy lets pass, and what for.

    Args:
        policy: The policy.
        purpose_map: The purposes of events and calls, as `Mixpanel` takes them.

    Raises:
        ConfigurationError: The policy is `keep_all()`, which sends whatever it is given.
    """
    if policy.keeps_all:
        raise ConfigurationError("keep_all() sends whatever it is given, so nobody can say what that is")
    purposes = _Purposes(purpose_map)
    found: list[Item] = []
    events = policy.event_names
    found += _items("events", None, policy.rules("events"), purposes.of_scope("events", policy), _closed_with(policy))
    for event in events:
        found += _items("events", event, policy.own_rules(event), purposes.of_event(event), {})
    ruled = {_folded(path) for path in (*policy.rules("events"), *policy.own_rules(EXPOSURE_EVENT))}
    found += [
        Item(
            scope="events",
            event=EXPOSURE_EVENT,
            path=name,
            form="as_is",
            purposes=purposes.of_event(EXPOSURE_EVENT),
            reason="which variant of a feature was shown",
            is_built_in=True,
        )
        for name in EXPOSURE
        if (folded(name),) not in ruled
    ]
    for scope in ("people", "groups", "flags"):
        found += _items(scope, None, policy.rules(scope), purposes.of_scope(scope, policy), {})
    return tuple(found)


def _folded(path: str) -> tuple[str, ...]:
    return tuple(map(folded, parts_of("events", path)))


def _closed_with(policy: FieldPolicy) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The events with which each path of the scope is not sent, or is sent as a rule for the event says."""
    closed: dict[tuple[str, ...], list[str]] = {}
    for event in policy.event_names:
        for path, action in policy.own_rules(event).items():
            if is_closing(action) and action.name != _SENDS_FIXED_TEXT:
                closed.setdefault(_folded(path), []).append(event)
    return {path: tuple(events) for path, events in closed.items()}


def _items(
    scope: str,
    event: str | None,
    rules: Mapping[str, Action],
    purposes: tuple[str, ...],
    not_with: Mapping[tuple[str, ...], tuple[str, ...]],
) -> list[Item]:
    # What is left out below a path closes it however its steps are written.
    steps = {path: _folded(path) for path in rules}
    found = []
    for path, action in rules.items():
        if action.name not in FORMS:
            continue
        depth = len(steps[path])
        below = tuple(
            other
            for other, longer in steps.items()
            if len(longer) > depth and longer[:depth] == steps[path] and rules[other].name not in FORMS
        )
        found.append(
            Item(
                scope=scope,
                event=event,
                path=path,
                form=form_of(action),
                detail=detail_of(action),
                purposes=purposes,
                also_needs=None if action.purpose is None or str(action.purpose) in purposes else str(action.purpose),
                categories=action.categories,
                label=action.label,
                reason=action.reason,
                exceptions=below,
                not_with=not_with.get(_folded(path), ()),
            )
        )
    return found


def is_ip(item: Item) -> bool:
    """Whether a property is an IP address by its name."""
    keys = keys_of(item.scope, item.path)
    return keys[0] in {"ip", "$ip"} or category_of(keys[-1]) == "user.device.ip_address"


#: How an IP address may leave, from what tells least to what tells most; of ``"unknown"`` the policy cannot say.
IP_FORMS = ("no", "coarse", "unknown", "yes")


def ip_form(items: Iterable[Item], policy: FieldPolicy) -> str:
    """How the IP address leaves: the one of `IP_FORMS` that tells most."""
    return max((_ip_form(item, policy) for item in items), key=IP_FORMS.index, default="no")


def _ip_form(item: Item, policy: FieldPolicy) -> str:
    action = item.action_in(policy)
    if isinstance(action, Generalize) and action.how == "ip":
        return "coarse"
    if is_ip(item):
        return (
            "yes"
            if item.form in TELLS_WHO
            else {"generalized": "coarse", "pseudonymous": "unknown"}.get(item.form, "no")
        )
    is_telling = item.form in TELLS_WHO and not (isinstance(action, Keep) and _takes_no_text(action))
    is_something_else = category_of(keys_of(item.scope, item.path)[-1]) is not None
    if action is None or not is_telling or is_something_else or policy.forbids_personal_data:
        return "no"
    detection = policy.compiled(item.scope).detection
    own = None if detection is None else detection.changed(action.detect, action.on_detect)
    if own is not None and own.removes("ip_address"):
        return "no"
    # Whoever leaves this kind out wants addresses to pass.
    return "yes" if not isinstance(action.detect, bool) and "-ip_address" in action.detect else "unknown"


def _takes_no_text(action: Keep) -> bool:
    return action.one_of is not None or bool(action.kinds and str not in action.kinds)


def not_searched(policy: FieldPolicy, items: Iterable[Item]) -> list[str] | None:
    """The paths of properties out of which detectors do not take everything that they know; None when none are on."""
    detections = [policy.compiled(scope).detection for scope in SCOPES]
    if not all(detection is not None and detection.removes_everything for detection in detections):
        return None
    found = []
    for item in items:
        action = item.action_in(policy)
        if action is None or item.is_built_in or policy.forbids_personal_data:
            continue
        is_address = isinstance(action, Generalize) and action.how == "ip" and action.on_detect is None
        if not is_address and (action.detect is not True or action.on_detect is not None):
            found.append(item.path)
    return list(dict.fromkeys(found))


class _Purposes:
    """The purposes that each event and scope serves, by name."""

    def __init__(self, given: Mapping[str, str | Iterable[str]] | None) -> None:
        self._map = PurposeMap(given)
        self._given = dict(given or {})

    def of_event(self, event: str) -> tuple[str, ...]:
        return tuple(map(str, self._map.of_event(event, "track")))

    def of_scope(self, scope: str, policy: FieldPolicy) -> tuple[str, ...]:
        if scope == "groups":
            return (NO_PURPOSE,)
        if scope == "flags":
            return (str(Purpose.FEATURE_FLAGS),)
        if scope == "events":
            named = [*self._events(), *policy.event_names]
            default = () if policy.planned_events is not None and policy.planned_events <= set(named) else ("",)
            found = [purpose for event in (*default, *named) for purpose in self.of_event(event)]
            found += self._of_call("import_data")
            return tuple(dict.fromkeys(found)) or (str(Purpose.ANALYTICS),)
        calls = [name for name in self._given if name.startswith("people_")]
        found = [str(Purpose.PROFILES), *(purpose for call in calls for purpose in self._of_call(call))]
        return tuple(dict.fromkeys(found))

    def _events(self) -> list[str]:
        return [name for name in self._given if not name.startswith(("people_", "group_")) and name not in _CALLS]

    def _of_call(self, call: str) -> tuple[str, ...]:
        given = self._given.get(call, ())
        return (str(given),) if isinstance(given, str) else tuple(map(str, given))


_CALLS = frozenset({"track", "import_data", "alias", "merge"})
