"""The field policy: which property of which message may be sent, and in which form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NoReturn

import attrs

from consentpanel._checks import several
from consentpanel._consent.ids import Purpose
from consentpanel._messages.message import FLAGS, Captured, Message, take_apart
from consentpanel._messages.wire import Wire
from consentpanel._mixpanel.names import EXPOSURE, EXPOSURE_EVENT
from consentpanel.errors import ConfigurationError
from consentpanel.policy._action_types import Action, Keep, Pseudonymize
from consentpanel.policy._apply import Application, RefusedError
from consentpanel.policy._detect.detection import Detection, OnDetect
from consentpanel.policy._left import all_of, left_of
from consentpanel.policy._paths import (
    DetectionOf,
    Node,
    Rules,
    category_of_path,
    compiled,
)
from consentpanel.policy._scopes import (
    SCOPES,
    STRUCTURE,
    VENDOR_EVENTS,
    Detectors,
    both_bound,
    bound_by,
    checked,
    detections_by_scope,
    planned,
    vendors_category,
    without_personal,
)
from consentpanel.policy._secret import Keyed, Secret, keyed_by
from consentpanel.policy.actions import keep as keep_it

_NAMES_OR_RULES = "several names or a mapping"


@attrs.frozen(kw_only=True, repr=False)
class PolicyResult:
    """What a policy leaves of some properties.

    Attributes:
        properties: What may be sent.
        dropped: Path of each property that was left out, with the word of its `Cause`.
        changed: Path of each property that was changed, with the word of its `Cause`.
        refused: Whether a rule or a detector refuses the whole message; `properties` is empty then.
        detected: Path of each place where a detector found something, with the kind.
    """

    properties: dict[str, Any]
    dropped: dict[str, str]
    changed: dict[str, str]
    refused: bool = False
    detected: dict[str, str] = attrs.Factory(dict)

    def __repr__(self) -> str:
        return f"PolicyResult(dropped={self.dropped!r}, changed={self.changed!r}, refused={self.refused!r})"


class FieldPolicy:
    """An allow-list of properties: one that no rule names is dropped (contract rules 3.1 to 3.6).

    A path names a property (``"plan"``), a key in a dict (``"address.city"``), or a key in each dict of a list
    (``"items[].sku"``). A key with a dot in it stands in quotes (``"'address.city'"``). The most specific path wins.
    Rules that let something out match keys exactly; `drop`, `redact` and `refuse` ignore their case.
    The vendor's structural properties (ids, ``time``, ``$insert_id``, ...) pass in their own shape.
    A policy never changes; `for_event` returns another one.

    Args:
        events: Rules for the properties of events, by path.
        people: Rules for the properties of people profiles.
        groups: Rules for the properties of group profiles.
        flags: Rules for the context of remote feature flags.
        secret: The key of every keyed hash, at least 32 bytes, or a function that returns them (`from_environment`).
            Take random ones (`secrets.token_bytes(32)`) and keep them where you keep passwords: who has them can try
            out guesses.
        unplanned_events: ``"drop"`` drops every event that neither `for_event` nor `planned_events` names, exactly, so
            that a name such as ``f"Order by {name}"`` cannot leave (contract rule 3.13). ``"keep"`` sends them.
        planned_events: Names of events that may be sent beside those of `for_event` and the vendor's own.
        detectors: What looks for personal data in values that rules let pass, and in names (contract rule 3.7): kinds
            to look for, kinds to leave out (``"-phone"``), and a `Detector` for each kind of your own; all of `KINDS`
            when it names none. A mapping from scopes to such lists sets them scope by scope.
        on_detect: ``"redact"`` the place, ``"drop"`` the property, ``"refuse"`` the message, or ``"report"`` it in the
            `Decision` alone; or a mapping from kinds to these.
        detect_allow: Texts that are exempt, exactly, such as your own support address; ``"*@shop.example"`` exempts
            the addresses of a domain.

    Raises:
        ConfigurationError: A path or an action is malformed, a rule can never apply or would change a structural
            property, the secret is shorter than 32 bytes, or `pseudonymize()` is used without one.

    Example:
        >>> from consentpanel import FieldPolicy, keep, redact
        >>> policy = FieldPolicy(events={"plan": keep(), "coupon": redact()})
        >>> result = policy.apply_event("Signed up", {"plan": "pro", "coupon": "ADA-10", "email": "a@b.example"})
        >>> result.properties, result.dropped, result.changed
        ({'plan': 'pro', 'coupon': '[redacted]'}, {'email': 'unnamed'}, {'coupon': 'redact'})
    """

    def __init__(
        self,
        *,
        events: Mapping[str, Action] | None = None,
        people: Mapping[str, Action] | None = None,
        groups: Mapping[str, Action] | None = None,
        flags: Mapping[str, Action] | None = None,
        secret: Secret | None = None,
        unplanned_events: str = "keep",
        planned_events: Iterable[str] = (),
        detectors: Detectors | Mapping[str, Detectors] | None = None,
        on_detect: OnDetect | Mapping[str, OnDetect] = "redact",
        detect_allow: Iterable[str] = (),
    ) -> None:
        given = dict(zip(SCOPES, (events, people, groups, flags), strict=True))
        self._keyed = None if secret is None else keyed_by(secret)
        self._rules = {scope: checked(scope, scope, rules or {}) for scope, rules in given.items()}
        self._rules_by_event: dict[str, Rules] = {}
        self.keeps_all = False
        """Whether this is `keep_all()`."""
        self.forbids_personal_data = False
        """Whether this is `no_personal_data()`, which requires pseudonymous ids."""
        if unplanned_events not in ("keep", "drop"):
            raise ConfigurationError("unplanned_events must be 'keep' or 'drop'")
        self._drops_unplanned = unplanned_events == "drop"
        self._planned = planned(planned_events)
        if self._planned and not self._drops_unplanned:
            raise ConfigurationError("planned_events has no effect without unplanned_events='drop'")
        self._detections: dict[str, Detection | None] = detections_by_scope(detectors, on_detect, detect_allow)
        self._compile()

    def _compile(self) -> None:
        if self.forbids_personal_data:
            self._rules = {scope: without_personal(rules) for scope, rules in self._rules.items()}
            self._rules_by_event = {name: without_personal(rules) for name, rules in self._rules_by_event.items()}
        everything = [
            action
            for rules in (*self._rules.values(), *self._rules_by_event.values())
            for action in rules.by_path.values()
        ]
        if self._keyed is None and any(isinstance(action, Pseudonymize) for action in everything):
            raise ConfigurationError("pseudonymize() needs secret=, 32 random bytes or more")
        self._trees = {scope: compiled(self._detection_of(scope), rules) for scope, rules in self._rules.items()}
        # A rule of the user's for one of these names takes the place of the built-in one.
        named = {name.casefold() for name in self._rules["events"].top_names()}
        built_in = {f"'{name}'": _BUILT_IN for name in EXPOSURE if name.casefold() not in named}
        exposures = Rules("events", {**built_in, **self._rules["events"].by_path})
        self._trees_by_event = {
            name: compiled(
                self._detection_of("events"), exposures if name == EXPOSURE_EVENT else self._rules["events"], rules
            )
            for name, rules in {EXPOSURE_EVENT: None, **self._rules_by_event}.items()
        }
        for action in self._rules["groups"].by_path.values():
            if action.purpose is not None:
                raise ConfigurationError("groups: a rule cannot need consent for a purpose: a group names no person")
        self._bound = {scope: bound_by(rules) for scope, rules in self._rules.items()}
        self._bound_by_event = {
            name: both_bound(self._bound["events"], bound_by(rules)) for name, rules in self._rules_by_event.items()
        }
        self.binds_purposes = any((*self._bound.values(), *self._bound_by_event.values()))
        """Whether any rule is bound to a purpose."""
        self._plain = {scope: self._plainly_kept(scope, tree) for scope, tree in self._trees.items()}
        self._plain_by_event = {name: self._plainly_kept("events", tree) for name, tree in self._trees_by_event.items()}

    def _detection_of(self, scope: str) -> DetectionOf:
        detection = self._detections[scope]
        is_strict = self.forbids_personal_data

        def of(action: Action) -> Detection | None:
            # Under `no_personal_data` a rule cannot exempt its field.
            return detection if detection is None or is_strict else detection.changed(action.detect, action.on_detect)

        return of

    def _plainly_kept(self, scope: str, tree: Node) -> frozenset[str]:
        own = self._detections[scope]
        return frozenset(
            name
            for name, node in tree.keys.items()
            if node.keeps and name not in STRUCTURE[scope] and node.detection in {None, own}
        )

    @classmethod
    def keep_all(cls) -> FieldPolicy:
        """A policy that sends every property as it is: for migration and tests (contract rule 3.10).

        Consent is still asked for. What the vendor would refuse (255 properties, 1 MB) and what cannot be written
        (a cycle, more than 32 levels) is still dropped and reported.

        Example:
            >>> FieldPolicy.keep_all().apply_event("Signed up", {"email": "a@b.example"}).properties
            {'email': 'a@b.example'}
        """
        policy = cls()
        policy.keeps_all = True
        policy._detections = dict.fromkeys(SCOPES)
        return policy

    @classmethod
    def no_personal_data(
        cls,
        keep: Iterable[str] | Mapping[str, Action] = (),
        *,
        people: Mapping[str, Action] | None = None,
        groups: Mapping[str, Action] | None = None,
        flags: Mapping[str, Action] | None = None,
        secret: Secret | None = None,
        unplanned_events: str = "keep",
        planned_events: Iterable[str] = (),
    ) -> FieldPolicy:
        """A policy under which nothing leaves that says who somebody is (contract rule 3.10).

        For terms that forbid personal data, such as those of Google Analytics. A property with a personal name
        (`PERSONAL_NAMES`, and the vendor's own such as ``$email``, ``ip``) is dropped whatever a rule says; a value in
        which a detector finds something is dropped, also under ``keep(detect=False)``; ids must be pseudonymous. A
        client that would send them as they are sends nothing.

        A detector cannot know the name of a person in free text: keep no free text.

        Args:
            keep: Properties of events to keep, or rules for them by path.
            people: Rules for people profiles.
            groups: Rules for group profiles.
            flags: Rules for the context of remote feature flags.
            secret: The key of keyed hashes; with it ids are pseudonymous unless `identity=` says how else.
            unplanned_events: As in `FieldPolicy`.
            planned_events: As in `FieldPolicy`.

        Raises:
            ConfigurationError: As `FieldPolicy`.

        Example:
            >>> policy = FieldPolicy.no_personal_data(["plan", "email", "query"], secret=b"0" * 32)
            >>> properties = {"plan": "pro", "email": "a@b.example", "query": "order of a@b.example"}
            >>> result = policy.apply_event("Searched", properties)
            >>> result.properties, result.dropped
            ({'plan': 'pro'}, {'email': 'personal', 'query': 'detected:email'})
        """
        rules = keep if isinstance(keep, Mapping) else dict.fromkeys(several("keep", _NAMES_OR_RULES, keep), keep_it())
        policy = cls(
            events=rules,
            people=people,
            groups=groups,
            flags=flags,
            secret=secret,
            unplanned_events=unplanned_events,
            planned_events=planned_events,
            on_detect="drop",
        )
        policy.forbids_personal_data = True
        policy._compile()
        return policy

    def for_event(self, name: str, rules: Mapping[str, Action]) -> FieldPolicy:
        """Another policy, with more rules for one event; a rule here wins over the one in ``events`` for its path.

        Args:
            name: The event's name.
            rules: Rules by path.

        Returns:
            The new policy; this one stays as it is.

        Raises:
            ConfigurationError: A rule is malformed, or the policy is `keep_all()`.

        Example:
            >>> from consentpanel import keep
            >>> policy = FieldPolicy(events={"plan": keep()}).for_event("Searched", {"results": keep()})
            >>> policy.apply_event("Searched", {"results": 3}).properties
            {'results': 3}
            >>> policy.apply_event("Signed up", {"results": 3}).properties
            {}
        """
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"for_event() takes the event's name, a non-empty str, not {type(name).__name__}")
        if self.keeps_all:
            raise ConfigurationError("keep_all() keeps everything: rules would have no effect")
        policy: FieldPolicy = object.__new__(type(self))
        policy._keyed = self._keyed
        policy._rules = self._rules
        policy._drops_unplanned, policy._planned = self._drops_unplanned, self._planned
        policy._detections = self._detections
        before = self._rules_by_event.get(name)
        both = {**({} if before is None else before.by_path), **dict(rules)} if isinstance(rules, Mapping) else rules
        policy._rules_by_event = {**self._rules_by_event, name: checked("events", f"for_event({name!r})", both)}
        policy.keeps_all = False
        policy.forbids_personal_data = self.forbids_personal_data
        policy._compile()
        return policy

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed and most likely not meant, in a line each; a client logs them once.

        A rule that keeps a property with a personal name (`PERSONAL_NAMES`) says so with `categories=` or
        ``personal=True``, or is warned of.

        Example:
            >>> from consentpanel import keep
            >>> FieldPolicy(events={"email": keep()}).warnings[0][:44]
            "events['email'] keeps a personal property (u"
        """
        if self.keeps_all or self.forbids_personal_data:
            return ()
        found = {f"{scope}[{{!r}}]": rules for scope, rules in self._rules.items()}
        found |= {f"for_event({name!r})[{{!r}}]": rules for name, rules in self._rules_by_event.items()}
        return tuple(
            f"{place.format(path)} keeps a personal property ({category}) and does not say so: give it categories=, or "
            "personal=True; its values are redacted where a detector finds something, unless it says detect=False"
            for place, rules in found.items()
            for path, action in rules.by_path.items()
            if isinstance(action, Keep) and not (action.categories or action.personal)
            if (category := category_of_path(rules.origin, path) or vendors_category(rules.origin, path)) is not None
        )

    @property
    def event_names(self) -> tuple[str, ...]:
        """The events that `for_event` has rules for."""
        return tuple(self._rules_by_event)

    @property
    def planned_events(self) -> frozenset[str] | None:
        """The events that may be sent; None when any may (contract rule 3.13)."""
        return self._planned | self._rules_by_event.keys() | VENDOR_EVENTS if self._drops_unplanned else None

    def own_rules(self, event: str) -> Mapping[str, Action]:
        """The rules that `for_event` gave for one event, by path, without those of its scope."""
        own = self._rules_by_event.get(event)
        return {} if own is None else dict(own.by_path)

    def rules(self, scope: str, event: str | None = None) -> Mapping[str, Action]:
        """The rules of a scope, by path; for ``"events"`` with those of one event when it is named.

        Raises:
            ConfigurationError: There is no such scope.

        Example:
            >>> from consentpanel import keep
            >>> list(FieldPolicy(people={"plan": keep()}).rules("people"))
            ['plan']
        """
        if scope not in self._rules:
            raise ConfigurationError(f"scope must be one of {', '.join(SCOPES)}")
        more = self._rules_by_event.get(event) if scope == "events" and event is not None else None
        return {**self._rules[scope].by_path, **({} if more is None else more.by_path)}

    def apply_event(self, name: str | None, properties: Mapping[str, Any]) -> PolicyResult:
        """What may be sent of the properties of an event; pure, nothing is sent.

        Args:
            name: The event's name.
            properties: The properties, structural ones among them or not.

        Example:
            >>> FieldPolicy().apply_event("Signed up", {"email": "a@b.example"}).dropped
            {'email': 'unnamed'}
        """
        # Without a name the rules of the scope hold; the gate takes no event that has none.
        return self._apply("events", {"event": name or "(any)", "properties": properties}, name)

    def apply_people(self, operators: Mapping[str, Mapping[str, Any]]) -> PolicyResult:
        """What may be sent of a people update such as ``{"$set": {"$name": "Ada"}}``; pure, nothing is sent.

        Example:
            >>> FieldPolicy().apply_people({"$set": {"$name": "Ada"}}).dropped
            {'$name': 'unnamed'}
        """
        return self._apply("people", operators)

    def apply_group(self, operators: Mapping[str, Mapping[str, Any]]) -> PolicyResult:
        """What may be sent of a group update such as ``{"$set": {"industry": "mining"}}``; pure, nothing is sent.

        Example:
            >>> from consentpanel import keep
            >>> FieldPolicy(groups={"industry": keep()}).apply_group({"$set": {"industry": "mining"}}).properties
            {'$set': {'industry': 'mining'}}
        """
        return self._apply("groups", operators)

    def apply_flags(self, context: Mapping[str, Any]) -> PolicyResult:
        """What may be sent of the context of a remote feature flag; pure, nothing is sent.

        Example:
            >>> from consentpanel import keep
            >>> policy = FieldPolicy(flags={"plan": keep()})
            >>> policy.apply_flags({"distinct_id": "user-1", "plan": "pro", "email": "a@b.example"}).properties
            {'distinct_id': 'user-1', 'plan': 'pro'}
        """
        return self._apply(FLAGS, context)

    def applied_to(self, message: Message, closed: Collection[str] = (), *, maps_ids: bool = False) -> Application:
        """An application of this policy to one message; rules of closed purposes drop."""
        keyed = None if self.keeps_all else self._keyed
        return Application(message, keyed, closed, is_strict=self.forbids_personal_data, maps_ids=maps_ids)

    def plans(self, event: str) -> bool:
        """Whether an event may be sent by its name (contract rule 3.13)."""
        return (
            not self._drops_unplanned
            or event in self._planned
            or event in self._rules_by_event
            or event in VENDOR_EVENTS
        )

    def bound_purposes(self, scope: str, event: str | None, names: Iterable[str]) -> tuple[Purpose, ...]:
        """The purposes that rules for these properties are bound to (contract rule 3.14).

        Args:
            scope: The scope of the message.
            event: The event's name; None for a profile.
            names: The properties that the message has.
        """
        by_event = self._bound_by_event if scope == "events" and event is not None else {}
        bound = by_event.get(event or "", self._bound[scope])
        if not bound:
            return ()
        there = {name.casefold() for name in names}
        return tuple(purpose for purpose, tops in bound.items() if not tops.isdisjoint(there))

    @property
    def keyed(self) -> Keyed | None:
        """The keyed hash under the policy's secret; None without one."""
        return self._keyed

    def tree(self, scope: str, event: str | None = None) -> Node:
        """The compiled rules that hold for a message."""
        if event is not None and scope == "events" and event in self._trees_by_event:
            return self._trees_by_event[event]
        return self._trees[scope]

    def detection(self, scope: str) -> Detection | None:
        """What looks for personal data in the messages of a scope; None for `keep_all()`."""
        return self._detections.get(scope)

    def plain(self, scope: str, event: str | None = None) -> frozenset[str]:
        """The properties whose scalars are sent as they are if `detection` finds nothing; none of them structural."""
        if event is not None and scope == "events" and event in self._plain_by_event:
            return self._plain_by_event[event]
        return self._plain[scope]

    def _apply(self, endpoint: str, record: Mapping[str, Any], event: str | None = None) -> PolicyResult:
        """What the gate would leave of a message, whoever it is about."""
        message = take_apart(Captured(endpoint, record, Wire()))
        applied = self.applied_to(message)
        try:
            if self.keeps_all:
                left = all_of(message, applied)
            else:
                # The name of an event and the id of a group are not asked about.
                left = left_of(message, applied, self.tree(message.scope, event), None)
        except RefusedError as refused:
            return PolicyResult(properties={}, dropped={str(refused): str(refused.cause)}, changed={}, refused=True)
        return PolicyResult(
            properties=left.get("properties", {}) if message.is_event else left,
            dropped={path: str(cause) for path, cause in applied.dropped.items()},
            changed={path: str(cause) for path, cause in applied.changed.items()},
            detected=applied.detected,
            refused=message.is_malformed,
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FieldPolicy cannot be pickled or copied: it holds a secret. Build it in the worker")

    def __repr__(self) -> str:
        if self.keeps_all:
            return "FieldPolicy.keep_all()"
        counts = ", ".join(f"{scope}={len(rules.by_path)}" for scope, rules in self._rules.items())
        return f"<FieldPolicy rules: {counts}>"


_BUILT_IN = keep_it(reason="which variant of a feature was shown")
