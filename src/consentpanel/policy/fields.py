"""The field policy: which property of which message may be sent, and in which form."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NoReturn

import attrs

from consentpanel._message import UNNAMED_KEYS
from consentpanel._vendor import (
    DICT_OPERATORS,
    EVENT_STRUCTURE,
    GROUP_NAMES,
    IDS,
    LIST_OPERATORS,
    PERSONAL,
    PROFILE_STRUCTURE,
    REMOVALS,
    TIMES,
)
from consentpanel._wire import KEY_NOT_TEXT, Wire, with_text_keys
from consentpanel.errors import ConfigurationError
from consentpanel.policy._actions import Action, Keep, Pseudonymize
from consentpanel.policy._paths import UNNAMED, Node, RefusedError, Walk, compile_rules, structural

_LOGGER = logging.getLogger("consentpanel")
_SECRET_BYTES = 32
_PASSING = PROFILE_STRUCTURE | GROUP_NAMES | REMOVALS
SCOPES = ("events", "people", "groups", "flags")


@attrs.frozen(kw_only=True, repr=False)
class PolicyResult:
    """What a policy leaves of some properties.

    Attributes:
        properties: What may be sent.
        dropped: Path of each property that was left out, with the action or cause.
        changed: Path of each property that was changed, with the action.
        refused: Whether a rule refuses the whole message; `properties` is empty then.
    """

    properties: dict[str, Any]
    dropped: dict[str, str]
    changed: dict[str, str]
    refused: bool = False

    def __repr__(self) -> str:
        return f"PolicyResult(dropped={self.dropped!r}, changed={self.changed!r}, refused={self.refused!r})"


class FieldPolicy:
    """An allow-list of properties: one that no rule names is dropped (contract rules 3.1 to 3.6).

    A path names a property (``"plan"``), a key in a dict (``"address.city"``), or a key in each dict of a list
    (``"items[].sku"``). The vendor's structural properties (ids, ``time``, ``$insert_id``, ...) always pass.
    A policy never changes; `for_event` returns another one.

    Args:
        events: Rules for the properties of events, by path.
        people: Rules for the properties of people profiles.
        groups: Rules for the properties of group profiles.
        flags: Rules for the context of remote feature flags.
        secret: The key of every keyed hash. Take 32 random bytes or more (`secrets.token_bytes(32)`) and keep them
            where you keep passwords: who has them can try out guesses.

    Raises:
        ConfigurationError: A path or an action is malformed, a rule would change a structural property, the secret
            is not bytes, or `pseudonymize()` is used without one.

    Example:
        >>> from consentpanel import FieldPolicy, keep, redact
        >>> policy = FieldPolicy(events={"plan": keep(), "coupon": redact()})
        >>> result = policy.apply_event("Signed up", {"plan": "pro", "coupon": "ADA-10", "email": "a@b.example"})
        >>> result.properties, result.dropped, result.changed
        ({'plan': 'pro', 'coupon': '[redacted]'}, {'email': 'unnamed'}, {'coupon': 'redact'})
    """

    __slots__ = (
        "_by_event",
        "_names",
        "_plain",
        "_plain_by_event",
        "_rules",
        "_rules_by_event",
        "_secret",
        "keeps_all",
    )

    def __init__(
        self,
        *,
        events: Mapping[str, Action] | None = None,
        people: Mapping[str, Action] | None = None,
        groups: Mapping[str, Action] | None = None,
        flags: Mapping[str, Action] | None = None,
        secret: bytes | None = None,
    ) -> None:
        given = dict(zip(SCOPES, (events, people, groups, flags), strict=True))
        if secret is not None and (not isinstance(secret, bytes) or not secret):
            raise ConfigurationError(f"secret must be non-empty bytes, not {type(secret).__name__}")
        self._secret = secret
        self._rules = {scope: _checked(scope, rules) for scope, rules in given.items()}
        self._rules_by_event: dict[str, dict[str, Action]] = {}
        self.keeps_all = False
        """Whether this is `keep_all()`."""
        self._compile()
        if secret is not None and len(secret) < _SECRET_BYTES:
            _LOGGER.warning("the policy's secret is shorter than %d bytes: guesses are cheap", _SECRET_BYTES)

    def _compile(self) -> None:
        everything = [
            action for rules in (*self._rules.values(), *self._rules_by_event.values()) for action in rules.values()
        ]
        if self._secret is None and any(isinstance(action, Pseudonymize) for action in everything):
            raise ConfigurationError("pseudonymize() needs secret=, 32 random bytes or more")
        self._names = {scope: _compiled(scope, rules) for scope, rules in self._rules.items()}
        self._by_event = {
            name: _compiled("events", {**self._rules["events"], **rules})
            for name, rules in self._rules_by_event.items()
        }
        self._plain = {scope: _plain(names) for scope, names in self._names.items()}
        self._plain_by_event = {name: _plain(names) for name, names in self._by_event.items()}

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
        policy._secret = self._secret
        policy._rules = self._rules
        mine = {**self._rules_by_event.get(name, {}), **_checked(f"for_event({name!r})", rules)}
        policy._rules_by_event = {**self._rules_by_event, name: mine}
        policy.keeps_all = False
        policy._compile()
        return policy

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
        more = self._rules_by_event.get(event, {}) if scope == "events" and event is not None else {}
        return {**self._rules[scope], **more}

    def apply_event(self, name: str | None, properties: Mapping[str, Any]) -> PolicyResult:
        """What may be sent of the properties of an event; pure, nothing is sent.

        Args:
            name: The event's name.
            properties: The properties, structural ones among them or not.

        Example:
            >>> FieldPolicy().apply_event("Signed up", {"email": "a@b.example"}).dropped
            {'email': 'unnamed'}
        """
        return self._apply(properties, "events", name)

    def apply_people(self, operators: Mapping[str, Mapping[str, Any]]) -> PolicyResult:
        """What may be sent of a people update such as ``{"$set": {"$name": "Ada"}}``; pure, nothing is sent.

        Example:
            >>> FieldPolicy().apply_people({"$set": {"$name": "Ada"}}).dropped
            {'$name': 'unnamed'}
        """
        return self._apply_operators(operators, "people")

    def apply_group(self, operators: Mapping[str, Mapping[str, Any]]) -> PolicyResult:
        """What may be sent of a group update such as ``{"$set": {"industry": "mining"}}``; pure, nothing is sent.

        Example:
            >>> from consentpanel import keep
            >>> FieldPolicy(groups={"industry": keep()}).apply_group({"$set": {"industry": "mining"}}).properties
            {'$set': {'industry': 'mining'}}
        """
        return self._apply_operators(operators, "groups")

    def apply_flags(self, context: Mapping[str, Any]) -> PolicyResult:
        """What may be sent of the context of a remote feature flag; pure, nothing is sent.

        Example:
            >>> from consentpanel import keep
            >>> policy = FieldPolicy(flags={"plan": keep()})
            >>> policy.apply_flags({"distinct_id": "user-1", "plan": "pro", "email": "a@b.example"}).properties
            {'distinct_id': 'user-1', 'plan': 'pro'}
        """
        return self._apply(context, "flags", None)

    def walk(self, wire: Wire) -> Walk:
        """A pass of this policy over one message."""
        return Walk(wire, self._secret)

    def names(self, scope: str, event: str | None = None) -> Mapping[str, Node]:
        """The compiled rules that hold for a message."""
        if event is not None and scope == "events" and event in self._by_event:
            return self._by_event[event]
        return self._names[scope]

    def plain(self, scope: str, event: str | None = None) -> frozenset[str]:
        """The top-level properties whose scalars are sent as they are, but for other ids than the event's own."""
        if event is not None and scope == "events" and event in self._plain_by_event:
            return self._plain_by_event[event]
        return self._plain[scope]

    def _apply(self, properties: Mapping[str, Any], scope: str, event: str | None) -> PolicyResult:
        if self.keeps_all:
            return PolicyResult(properties=dict(properties), dropped={}, changed={})
        walk = self.walk(Wire())
        try:
            sent = walk.properties(_named(properties, walk, UNNAMED_KEYS), self.names(scope, event))
        except RefusedError as refused:
            return PolicyResult(properties={}, dropped={str(refused): "refuse"}, changed={}, refused=True)
        return PolicyResult(properties=sent, dropped=walk.dropped, changed=walk.changed)

    def _apply_operators(self, operators: Mapping[str, Any], scope: str) -> PolicyResult:
        if self.keeps_all:
            return PolicyResult(properties=dict(operators), dropped={}, changed={})
        sent: dict[str, Any] = {}
        names = self.names(scope)
        walk = self.walk(Wire())
        try:
            for operator, value in _named(operators, walk, UNNAMED_KEYS).items():
                if operator in _PASSING:
                    sent[operator] = value
                elif operator in PERSONAL:
                    sent.update(walk.properties({operator: value}, names))
                elif operator in DICT_OPERATORS and isinstance(value, Mapping):
                    said = _named(value, walk, f"{operator}.{UNNAMED_KEYS}")
                    kept = walk.properties(said, names, inside=operator in LIST_OPERATORS)
                    if kept or not said:
                        sent[operator] = kept
                else:
                    walk.dropped[operator[:128]] = UNNAMED
        except RefusedError as refused:
            return PolicyResult(properties={}, dropped={str(refused): "refuse"}, changed={}, refused=True)
        return PolicyResult(properties=sent, dropped=walk.dropped, changed=walk.changed)

    def __copy__(self) -> FieldPolicy:
        return self

    def __deepcopy__(self, memo: object) -> FieldPolicy:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FieldPolicy holds a secret, so it cannot be pickled; build it anew where it is needed")

    def __repr__(self) -> str:
        if self.keeps_all:
            return "FieldPolicy.keep_all()"
        counts = ", ".join(f"{scope}={len(rules)}" for scope, rules in self._rules.items())
        return f"<FieldPolicy rules: {counts}>"


def _checked(scope: str, rules: object) -> dict[str, Action]:
    if rules is None:
        return {}
    if not isinstance(rules, Mapping):
        raise ConfigurationError(f"{scope} must be a mapping from paths to actions, not {type(rules).__name__}")
    found = dict(rules)
    compile_rules(scope, found)
    for path in found.keys() & (IDS if scope in {"people", "groups", "flags"} else EVENT_STRUCTURE):
        if not isinstance(found[path], Keep):
            raise ConfigurationError(
                f"{scope}[{path!r}]: the vendor's structural properties always pass; a rule cannot change one"
            )
    return found


def _named(properties: Mapping[Any, Any], walk: Walk, path: str) -> dict[str, Any]:
    """The properties by the names they have on the wire; one that has none is reported as dropped."""
    named, left_out = with_text_keys(properties)
    if left_out:
        walk.dropped[path] = KEY_NOT_TEXT
    return named


def _compiled(scope: str, rules: Mapping[str, Action]) -> dict[str, Node]:
    structure = EVENT_STRUCTURE if scope == "events" else IDS
    return {**compile_rules(scope, rules), **structural(structure)}


def _plain(names: Mapping[str, Node]) -> frozenset[str]:
    odd = (IDS | TIMES) - {"distinct_id", "time"} if "time" in names else IDS
    return frozenset(name for name, node in names.items() if node.keeps) - odd
