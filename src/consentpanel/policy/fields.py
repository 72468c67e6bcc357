"""The field policy: which property of which message may be sent, and in which form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NoReturn

import attrs

from consentpanel._checks import several
from consentpanel._consent.secret import SECRET_BYTES, Keyed, Secret, fingerprint, keyed_by
from consentpanel._messages.decision import Reason
from consentpanel._messages.message import FLAGS, Captured, Message, take_apart
from consentpanel._messages.wire import Wire
from consentpanel._mixpanel.names import EXPOSURE_EVENT
from consentpanel.errors import ConfigurationError
from consentpanel.policy._action_types import Action, Keep, Pseudonymize, Redact
from consentpanel.policy._apply import Application, RefusedError
from consentpanel.policy._compile import Compiled, compiled
from consentpanel.policy._detect.detection import DETECTOR_FAILED, HIDDEN_ID, Detection, OnDetect, shown_name
from consentpanel.policy._detect.ids import Ids
from consentpanel.policy._detect.matchers import KINDS
from consentpanel.policy._left import all_of, left_of, open_ids
from consentpanel.policy._paths import category_of_path
from consentpanel.policy._rules import (
    SCOPES,
    VENDOR_EVENTS,
    Detectors,
    Rules,
    checked,
    detections_by_scope,
    planned,
    vendors_category,
    with_exposure,
    without_personal,
)
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


@attrs.frozen(kw_only=True, unsafe_hash=False, repr=False)
class _Spec:
    """What a policy was given, checked."""

    rules: Mapping[str, Rules]
    keyed: Keyed | None = attrs.field(eq=fingerprint)
    drops_unplanned: bool
    planned: frozenset[str]
    detections: Mapping[str, Detection | None]
    by_event: Mapping[str, Rules] = attrs.field(factory=dict)
    keeps_all: bool = False
    forbids_personal_data: bool = False

    def __attrs_post_init__(self) -> None:
        """Raises ConfigurationError for rules that cannot work, also for those that `without_personal` takes away."""
        places = *self.rules.items(), *(("events", rules) for rules in self.by_event.values())
        actions = [(scope, action) for scope, rules in places for action in rules.by_path.values()]
        if self.keyed is None and any(isinstance(action, Pseudonymize) for _, action in actions):
            raise ConfigurationError("pseudonymize() needs secret=, 32 random bytes or more")
        for scope, action in actions:
            if (detection := self.detections[scope]) is not None and not self.forbids_personal_data:
                detection.changed(action.detect, action.on_detect)
            _refuse_telling(scope, action, detection)
        if any(action.purpose is not None for action in self.rules["groups"].by_path.values()):
            raise ConfigurationError("groups: a rule cannot need consent for a purpose: a group names no person")

    def without_personal(self) -> _Spec:
        """The same without the rules that let a personal property pass."""
        rules = {scope: without_personal(each) for scope, each in self.rules.items()}
        return attrs.evolve(self, rules=rules, forbids_personal_data=True)

    def compiled(self) -> Iterator[tuple[tuple[str, str | None], Compiled]]:
        """What holds for each scope, and for each event that has rules of its own."""
        is_strict = self.forbids_personal_data
        for scope, rules in self.rules.items():
            yield (scope, None), compiled(scope, self.detections[scope], rules, is_strict=is_strict)
        events = self.rules["events"]
        for name, own in {EXPOSURE_EVENT: None, **self.by_event}.items():
            below = with_exposure(events) if name == EXPOSURE_EVENT else events
            yield ("events", name), compiled("events", self.detections["events"], below, own, is_strict=is_strict)


def _refuse_telling(scope: str, action: Action, detection: Detection | None) -> None:
    """Refuses a fixed text or a prefix in which a detector would find something: what is left never detects again."""
    if isinstance(action, Redact):
        name, text = "text", action.text
    elif isinstance(action, Pseudonymize):
        name, text = "prefix", action.prefix + "0a" * SECRET_BYTES
    else:
        return
    kind = None if detection is None else detection.kind_in(text)
    # Detectors of the user's may look for anything, and fail.
    if kind in KINDS or (kind not in {None, DETECTOR_FAILED} and isinstance(action, Redact)):
        raise ConfigurationError(f"{scope}: {name} of {action.name}() is taken for personal data ({kind})")


def _specified(
    rules: Iterable[Mapping[str, Action] | None] = (None,) * len(SCOPES),
    secret: Secret | None = None,
    unplanned_events: str = "keep",
    planned_events: Iterable[str] = (),
    detectors: Detectors | Mapping[str, Detectors] | None = None,
    on_detect: OnDetect | Mapping[str, OnDetect] = "redact",
    detect_allow: Iterable[str] = (),
) -> _Spec:
    keyed = None if secret is None else keyed_by(secret)
    by_scope = {scope: checked(scope, scope, each or {}) for scope, each in zip(SCOPES, rules, strict=True)}
    if unplanned_events not in ("keep", "drop"):
        raise ConfigurationError("unplanned_events must be 'keep' or 'drop'")
    names = planned(planned_events)
    if names and unplanned_events == "keep":
        raise ConfigurationError("planned_events has no effect without unplanned_events='drop'")
    return _Spec(
        rules=by_scope,
        keyed=keyed,
        drops_unplanned=unplanned_events == "drop",
        planned=names,
        detections=detections_by_scope(detectors, on_detect, detect_allow),
    )


class FieldPolicy:
    """An allow-list of properties: one that no rule names is dropped.

    A path names a property (``"plan"``), a key in a dict (``"address.city"``), or a key in each dict of a list
    (``"items[].sku"``). A key with a dot in it stands in quotes (``"'address.city'"``). The most specific path wins.
    Rules that let something out match keys exactly; `drop`, `redact` and `refuse` ignore their case.
    The vendor's structural properties (ids, ``time``, ``$insert_id``, ...) pass in their own shape.
    A policy never changes; `for_event` returns another one. Two of equal arguments are equal; functions in them only when
    they are the same object.

    Args:
        events: Rules for the properties of events, by path.
        people: Rules for the properties of people profiles.
        groups: Rules for the properties of group profiles.
        flags: Rules for the context of remote feature flags.
        secret: The key of every keyed hash, at least 32 bytes, or a function that returns them (`from_environment`).
            Take random ones (`secrets.token_bytes(32)`) and keep them where you keep passwords: who has them can try
            out guesses.
        unplanned_events: ``"drop"`` drops every event that neither `for_event` nor `planned_events` names, exactly, so
            that a name such as ``f"Order by {name}"`` cannot leave. ``"keep"`` sends them.
        planned_events: Names of events that may be sent beside those of `for_event` and the vendor's own.
        detectors: What looks for personal data in values that rules let pass, and in names: kinds
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
        rules = events, people, groups, flags
        self._compile(_specified(rules, secret, unplanned_events, planned_events, detectors, on_detect, detect_allow))

    @classmethod
    def _of(cls, spec: _Spec) -> FieldPolicy:
        policy: FieldPolicy = cls.__new__(cls)
        policy._compile(spec)
        return policy

    def _compile(self, spec: _Spec) -> None:
        self._spec = spec
        self.keeps_all = spec.keeps_all
        """Whether this is `keep_all()`."""
        self.forbids_personal_data = spec.forbids_personal_data
        """Whether this is `no_personal_data()`, which requires pseudonymous ids."""
        self.keyed = spec.keyed
        """The keyed hash under the policy's secret; None without one."""
        self._compiled = dict(spec.compiled())
        self.bound_purposes = tuple(dict.fromkeys(each for rules in self._compiled.values() for each in rules.bound))
        """The purposes to which rules are bound."""
        self.binds_purposes = bool(self.bound_purposes)
        """Whether any rule is bound to a purpose."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._spec == other._spec

    def __hash__(self) -> int:
        return hash((type(self), *self._spec.rules.values(), frozenset(self._spec.by_event)))

    @classmethod
    def keep_all(cls) -> FieldPolicy:
        """A policy that sends every property as it is: for migration and tests.

        Consent is still asked for. What the vendor would refuse (255 properties, 1 MB) and what cannot be written
        (a cycle, more than 32 levels) is still dropped and reported.

        Example:
            >>> FieldPolicy.keep_all().apply_event("Signed up", {"email": "a@b.example"}).properties
            {'email': 'a@b.example'}
        """
        return cls._of(attrs.evolve(_specified(), keeps_all=True, detections=dict.fromkeys(SCOPES)))

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
        """A policy under which nothing leaves that says who somebody is.

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
        spec = _specified((rules, people, groups, flags), secret, unplanned_events, planned_events, on_detect="drop")
        return cls._of(spec.without_personal())

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
        own = self._spec.by_event.get(name)
        both = {**({} if own is None else own.by_path), **dict(rules)} if isinstance(rules, Mapping) else rules
        more = checked("events", f"for_event({name!r})", both)
        if self.forbids_personal_data:
            more = without_personal(more)
        return self._of(attrs.evolve(self._spec, by_event={**self._spec.by_event, name: more}))

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
        found = {f"{scope}[{{!r}}]": rules for scope, rules in self._spec.rules.items()}
        found |= {f"for_event({name!r})[{{!r}}]": rules for name, rules in self._spec.by_event.items()}
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
        return tuple(self._spec.by_event)

    @property
    def planned_events(self) -> frozenset[str] | None:
        """The events that may be sent; None when any may."""
        return self._spec.planned | self._spec.by_event.keys() | VENDOR_EVENTS if self._spec.drops_unplanned else None

    def own_rules(self, event: str) -> Mapping[str, Action]:
        """The rules that `for_event` gave for one event, by path, without those of its scope."""
        own = self._spec.by_event.get(event)
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
        if scope not in self._spec.rules:
            raise ConfigurationError(f"scope must be one of {', '.join(SCOPES)}")
        more = self._spec.by_event.get(event) if scope == "events" and event is not None else None
        return {**self._spec.rules[scope].by_path, **({} if more is None else more.by_path)}

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

    def applied_to(
        self, message: Message, refused_purposes: Collection[str] = (), *, maps_ids: bool = False
    ) -> Application:
        """An application of this policy to one message; rules of refused purposes drop."""
        own = self.compiled(message.scope, message.event).detection
        is_strict = self.forbids_personal_data
        keyed = None if self.keeps_all else self.keyed
        return Application(message, keyed, refused_purposes, own=own, is_strict=is_strict, maps_ids=maps_ids)

    def shown_event(self, message: Message) -> str | None:
        """The name of an event as decisions tell it: without an id, and without what a detector finds in it."""
        if message.event is None:
            return None
        if message.names_too_many:
            return HIDDEN_ID
        return shown_name(
            message.event,
            Ids((*message.subjects, *message.refused)),
            self.compiled(message.scope, message.event).detection,
        )

    def open_ids(self, message: Message) -> None:
        """Has a message name those whose ids stand below a property where a rule for exactly that path opens one."""
        paths = () if message.fault is not None else self.compiled(message.scope, message.event).id_paths
        if paths:
            open_ids(message, paths)

    def plans(self, event: str) -> bool:
        """Whether an event may be sent by its name."""
        spec = self._spec
        return not spec.drops_unplanned or event in spec.planned or event in spec.by_event or event in VENDOR_EVENTS

    def compiled(self, scope: str, event: str | None = None) -> Compiled:
        """The rules that hold for the messages of a scope, or for one event in it, ready to be applied."""
        return self._compiled.get((scope, event)) or self._compiled[scope, None]

    def _apply(self, endpoint: str, record: Mapping[str, Any], event: str | None = None) -> PolicyResult:
        """What the gate would leave of a message, whoever it is about."""
        message = take_apart(Captured(endpoint, record, Wire()))
        self.open_ids(message)
        if message.fault is Reason.INVALID_MESSAGE:
            return PolicyResult(properties={}, dropped={}, changed={}, refused=True)
        applied = self.applied_to(message)
        try:
            if self.keeps_all:
                left = all_of(message, applied)
            else:
                # The name of an event and the id of a group are not asked about.
                left = left_of(message, applied, self.compiled(message.scope, event).tree, None)
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
        counts = ", ".join(f"{scope}={len(rules.by_path)}" for scope, rules in self._spec.rules.items())
        return f"<FieldPolicy rules: {counts}>"
