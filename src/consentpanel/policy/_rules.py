"""The rules that a `FieldPolicy` is built from, checked: those of each scope and event, planned events, detectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, Union

import attrs

from consentpanel._checks import several_texts
from consentpanel._mixpanel.names import EXPOSURE, EXPOSURE_EVENT, OPERATORS, PERSONAL, is_id_name
from consentpanel._mixpanel.structure import PROPERTIES, STRUCTURE
from consentpanel.errors import ConfigurationError
from consentpanel.policy._action_types import Action, Drop, Keep, Personal, Redact, Refuse
from consentpanel.policy._detect.detection import Detection, Detector, OnDetect
from consentpanel.policy._keys import folded, seen
from consentpanel.policy._names import is_personal_below
from consentpanel.policy._paths import keys_of, parts_of


@attrs.define(eq=False, repr=False)
class Trie:
    """Rules of one origin, by step; those that close with folded keys, since they ignore how one is written."""

    action: Action | None = None
    path: str = ""
    steps: dict[str, Trie] = attrs.Factory(dict)

    def at(self, step: str) -> Trie:
        """The rules one step further."""
        return self.steps.get(step, NO_RULES)


NO_RULES = Trie()


class Rules:
    """The checked rules of one scope, or of one event in it.

    Args:
        origin: Where the rules were given, for errors: ``"events"`` or ``"for_event('Paid')"``.
        rules: Actions by path.

    Raises:
        ConfigurationError: A path or an action is malformed, or a rule can never apply.
    """

    __slots__ = ("by_path", "closing", "opening", "origin")

    def __init__(self, origin: str, rules: object) -> None:
        if not isinstance(rules, Mapping):
            raise ConfigurationError(f"{origin} must be a mapping from paths to actions, not {type(rules).__name__}")
        self.origin = origin
        self.by_path: dict[str, Action] = dict(rules)
        self.opening, self.closing = Trie(), Trie()
        for path, action in self.by_path.items():
            self._add(path, action)
        _refuse_shadowed(origin, self.opening, self.closing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules) and (self.origin, self.by_path) == (other.origin, other.by_path)

    def __hash__(self) -> int:
        return hash((self.origin, frozenset(self.by_path)))

    def _add(self, path: object, action: object) -> None:
        if not isinstance(action, Action):
            raise ConfigurationError(
                f"{self.origin}[{path!r}] must be an action such as keep() or redact(), not {_described(action)}"
            )
        closes = is_closing(action)
        trie = self.closing if closes else self.opening
        for step in parts_of(self.origin, path):
            trie = trie.steps.setdefault(folded(step) if closes else step, Trie())
        if trie.action is not None:
            raise ConfigurationError(f"{self.origin}: {trie.path!r} and {path!r} are one path; only one can apply")
        trie.action, trie.path = action, str(path)

    def top_names(self) -> Iterable[str]:
        """The properties that the rules name."""
        return (parts_of(self.origin, path)[0] for path in self.by_path)


def is_closing(action: Action | None) -> bool:
    """Whether an action keeps the value from leaving: it then matches keys however they are written."""
    return isinstance(action, (Drop, Redact, Refuse))


def _refuse_shadowed(origin: str, opening: Trie, closing: Trie, refusing: str | None = None) -> None:
    """Raises for a rule that can never apply: one that a stricter rule for the same path, or a `refuse()` above, covers."""
    for own, other in ((opening, closing), (closing, opening)):
        covering = refusing or (other.path if own is opening and other.action is not None else None)
        if own.action is not None and covering is not None and covering != own.path:
            raise ConfigurationError(f"{origin}[{own.path!r}] can never apply: the rule for {covering!r} closes it")
    if isinstance(closing.action, Refuse):
        refusing = closing.path
    opened: set[str] = set()
    for step, child in opening.steps.items():
        opened.add(folded(step))
        _refuse_shadowed(origin, child, closing.at(folded(step)), refusing)
    for step, child in closing.steps.items():
        if step not in opened:
            _refuse_shadowed(origin, NO_RULES, child, refusing)


def _described(action: object) -> str:
    if callable(action):
        name = getattr(action, "__name__", type(action).__name__)
        return f"a callable ({name}): call it, or wrap your own in transform()"
    return type(action).__name__


SCOPES = ("events", "people", "groups", "flags")
#: The properties of each scope that pass without a rule, in their own shape.
STRUCTURAL = {scope: frozenset(STRUCTURE[scope][PROPERTIES]) for scope in SCOPES}


def checked(scope: str, origin: str, given: object) -> Rules:
    """The rules of a scope, or of one event in it, which `origin` names in errors.

    Raises:
        ConfigurationError: A rule is malformed, can never apply, or would change a structural property.
    """
    rules = Rules(origin, given)
    structure = STRUCTURAL[scope]
    for path in rules.by_path.keys() & structure:
        if not isinstance(rules.by_path[path], Keep):
            raise ConfigurationError(
                f"{origin}[{path!r}]: the vendor's structural properties always pass; a rule cannot change one"
            )
    never = structure | (OPERATORS if scope in {"people", "groups"} else frozenset())
    for path, action in rules.by_path.items():
        if scope == "groups" and not is_closing(action) and any(map(is_id_name, keys_of(origin, path))):
            raise ConfigurationError(
                f"{origin}[{path!r}] can never apply: a group is no person, and ids of persons and devices never leave in one"
            )
        top = parts_of(origin, path)[0]
        if top in never and path not in structure:
            raise ConfigurationError(f"{origin}[{path!r}] can never apply: {top} is no property with parts of its own")
    return rules


def without_personal(rules: Rules) -> Rules:
    """The rules with none that lets a personal property pass."""
    left: dict[str, Action] = {}
    closed: set[tuple[str, ...]] = set()
    for path, action in rules.by_path.items():
        if is_closing(action) or not _is_personal(keys_of(rules.origin, path)):
            left[path] = action
            continue
        # Two that open keys of one folded name close it once.
        steps = tuple(map(folded, parts_of(rules.origin, path)))
        if steps not in closed:
            closed.add(steps)
            left[path] = Personal()
    return Rules(rules.origin, left)


def _is_personal(keys: list[str]) -> bool:
    shown = [seen(key) for key in keys]
    return any(is_personal_below(" ".join(shown[:at]), key) for at, key in enumerate(shown))


def with_exposure(rules: Rules) -> Rules:
    """The rules for events, and for what the vendor's flag code writes, unless a rule of the user's names it."""
    named = {folded(name) for name in rules.top_names()}
    built_in = {f"'{name}'": _EXPOSURE for name in EXPOSURE if folded(name) not in named}
    return Rules(rules.origin, {**built_in, **rules.by_path})


_EXPOSURE = Keep(reason="which variant of a feature was shown")


def vendors_category(origin: str, path: str) -> str | None:
    """The kind of personal data of the vendor's own names for persons; None for every other name."""
    return "user" if keys_of(origin, path)[-1] in PERSONAL else None


def planned(names: object) -> frozenset[str]:
    """The events that may be sent.

    Raises:
        ConfigurationError: They are not several non-empty names.
    """
    return frozenset(several_texts("planned_events", "several names", names))


#: The vendor's own events, which are always planned.
VENDOR_EVENTS = frozenset({EXPOSURE_EVENT, "$create_alias", "$merge", "$identify", "$opt_in"})
#: Kinds to look for or to leave out, and detectors of one's own.
Detectors: TypeAlias = Iterable[Union[str, Detector]]


def detections_by_scope(
    detectors: Detectors | Mapping[str, Detectors] | None,
    on_detect: OnDetect | Mapping[str, OnDetect],
    allow: Iterable[str],
) -> dict[str, Detection | None]:
    """What looks for personal data in each scope.

    Raises:
        ConfigurationError: There is no such scope, kind or action.
    """
    if not isinstance(detectors, Mapping):
        same = Detection(detectors, on_detect, allow)
        return dict.fromkeys(SCOPES, same)
    if not detectors.keys() <= set(SCOPES):
        raise ConfigurationError(f"detectors by scope are named by {', '.join(SCOPES)}")
    exempt = allow if isinstance(allow, str) else tuple(allow)
    return {scope: Detection(detectors.get(scope), on_detect, exempt) for scope in SCOPES}
