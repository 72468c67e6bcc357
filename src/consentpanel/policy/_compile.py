"""Compiles the rules that hold for a message into one tree, so that each property finds its rule by its key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel.policy._action_types import Action, Keep
from consentpanel.policy._detect.detection import Detection
from consentpanel.policy._paths import ITEMS, parts_of
from consentpanel.policy._rules import STRUCTURE, Rules, Trie, is_closing

DetectionOf = Callable[[Action], "Detection | None"]


class Node:
    """What the rules say of one path: an action, rules for the keys of a dict, a rule for the items of a list."""

    __slots__ = ("action", "closing_keys", "deep", "detection", "items", "keeps", "keys")

    def __init__(self) -> None:
        self.action: Action | None = None
        self.keys: dict[str, Node] = {}
        """By the exact key."""
        self.closing_keys: dict[str, tuple[str, Node]] = {}
        """By the folded key, for keys that differ from a closing rule's by case: the rule's own key and its node."""
        self.items: Node | None = None
        self.deep = False
        self.keeps = False
        self.detection: Detection | None = None
        """What looks into the values that the action lets pass; None when nothing does."""

    def of_key(self, key: str) -> tuple[str, Node] | None:
        """The key as a rule names it, and its node; None when no rule names it."""
        node = self.keys.get(key)
        if node is not None:
            return key, node
        return self.closing_keys.get(key.casefold()) if self.closing_keys else None

    @property
    def has_parts(self) -> bool:
        """Whether rules name keys of a dict here."""
        return bool(self.keys or self.closing_keys)


@attrs.frozen(eq=False)
class Compiled:
    """The rules that hold for the messages of a scope, or for one event in it.

    Attributes:
        tree: A node whose keys are the properties.
        detection: What looks for personal data; None for nothing.
        plain: The properties whose scalars are sent as they are if `detection` finds nothing; none of them structural.
        bound: The folded top-level names of the rules that are bound to a purpose.
    """

    tree: Node
    detection: Detection | None
    plain: frozenset[str]
    bound: dict[Purpose, set[str]]

    def bound_purposes(self, names: Iterable[str]) -> tuple[Purpose, ...]:
        """The purposes that rules for these properties are bound to."""
        there = {name.casefold() for name in names} if self.bound else ()
        return tuple(purpose for purpose, tops in self.bound.items() if not tops.isdisjoint(there))


def compiled(
    scope: str, detection: Detection | None, rules: Rules, event: Rules | None = None, *, is_strict: bool = False
) -> Compiled:
    """The rules of a scope, with those of one event, as a message needs them.

    The most specific path wins; for one path those of the event, then the stricter. What an event's rules close stays
    closed to the scope's rules, whole.

    Args:
        scope: The scope.
        detection: Its detectors.
        rules: Its rules.
        event: More rules, for one event.
        is_strict: Whether a rule cannot exempt its field from the detectors.
    """

    def detection_of(action: Action) -> Detection | None:
        return detection if detection is None or is_strict else detection.changed(action.detect, action.on_detect)

    own = Layers() if event is None else Layers(event.opening, event.closing)
    tree = _merged(own._replace(scope_opens=rules.opening, scope_closes=rules.closing), None, detection_of)
    bound: dict[Purpose, set[str]] = {}
    for origin in (rules,) if event is None else (rules, event):
        for path, action in origin.by_path.items():
            if action.purpose is not None:
                bound.setdefault(action.purpose, set()).add(parts_of(origin.origin, path)[0].casefold())
    plain = frozenset(
        name
        for name, node in tree.keys.items()
        if node.keeps and name not in STRUCTURE[scope] and node.detection in {None, detection}
    )
    return Compiled(tree, detection, plain, bound)


class Layers(NamedTuple):
    """The rules for one path: those of the event before those of the scope, what opens beside what closes."""

    event_opens: Trie | None = None
    event_closes: Trie | None = None
    scope_opens: Trie | None = None
    scope_closes: Trie | None = None

    def step(self, key: str, folded: str) -> Layers:
        """The rules one step further: what opens matches a key exactly, what closes ignores its case."""
        return Layers(
            _child(self.event_opens, key),
            _child(self.event_closes, folded),
            _child(self.scope_opens, key),
            _child(self.scope_closes, folded),
        )

    @property
    def name_items(self) -> bool:
        """Whether a rule says something of the items of a list."""
        return any(layer is not None and ITEMS in layer.steps for layer in self)


def _child(layer: Trie | None, step: str) -> Trie | None:
    return None if layer is None else layer.steps.get(step)


def _merged(layers: Layers, inherited: Keep | None, detection_of: DetectionOf) -> Node:
    node = Node()
    ours = _stricter(layers.event_opens, layers.event_closes)
    theirs = _stricter(layers.scope_opens, layers.scope_closes)
    if ours is not None and is_closing(ours):
        layers = layers._replace(scope_opens=None, scope_closes=None)
    node.action = ours or theirs or inherited
    node.detection = None if node.action is None else detection_of(node.action)
    below = node.action if isinstance(node.action, Keep) and node.action.deep else None
    node.deep = below is not None
    node.items = _merged(layers.step(ITEMS, ITEMS), below, detection_of) if layers.name_items else None
    # With a rule for items a scalar is not plainly kept: in `$append` it is an item.
    node.keeps = isinstance(node.action, Keep) and node.items is None and node.action.is_unconditional
    for step in _steps(layers.event_opens, layers.scope_opens):
        node.keys[step] = _merged(layers.step(step, step.casefold()), below, detection_of)
    closing = layers._replace(event_opens=None, scope_opens=None)
    for step in _steps(layers.event_closes, layers.scope_closes):
        node.closing_keys[step] = step, _merged(closing.step(step, step), below, detection_of)
    return node


def _steps(*layers: Trie | None) -> Iterable[str]:
    steps = dict.fromkeys(step for layer in layers if layer is not None for step in layer.steps)
    return (step for step in steps if step != ITEMS)


def _stricter(opening: Trie | None, closing: Trie | None) -> Action | None:
    if closing is not None and closing.action is not None:
        return closing.action
    return None if opening is None else opening.action
