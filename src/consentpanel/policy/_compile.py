"""Compiles the rules that hold for a message into one tree, so that each property finds its rule by its key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import attrs

from consentpanel._consent.ids import Purpose
from consentpanel._mixpanel.names import is_id_name
from consentpanel.policy._action_types import Action, Keep
from consentpanel.policy._detect.detection import Detection
from consentpanel.policy._keys import folded, seen
from consentpanel.policy._names import is_personal_below
from consentpanel.policy._paths import ITEMS, parts_of
from consentpanel.policy._rules import NO_RULES, STRUCTURAL, Rules, Trie, is_closing
from consentpanel.policy._sensitive import is_sensitive

DetectionOf = Callable[[Action], "Detection | None"]


@attrs.frozen(eq=False, repr=False)
class Node:
    """What the rules say of one path.

    Attributes:
        action: The action; None when only parts of the path are named.
        detection: What looks into the values that the action lets pass; None when nothing does.
        deep: Whether what no rule names below is kept too.
        hides: Whether a key that no rule names may be anything: below a deep keep, that of another rule too.
        keeps: Whether every scalar is kept, whoever it is about and whatever it is.
        items: What they say of the items of a list.
        keys: What they say of the keys of a dict, by the exact key.
        closing_keys: By the folded key, for keys that a closing rule names in another spelling: the rule's own key and
            its node.
    """

    action: Action | None
    detection: Detection | None
    deep: bool
    hides: bool
    keeps: bool
    items: Node | None
    keys: Mapping[str, Node]
    closing_keys: Mapping[str, tuple[str, Node]]

    def of_key(self, key: str) -> tuple[str, Node] | None:
        """The key as a rule names it, and its node; None when no rule names it."""
        node = self.keys.get(key)
        if node is not None:
            return key, node
        if not self.closing_keys:
            return None
        return self.closing_keys.get(key) or self.closing_keys.get(folded(key))

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
        plain: The properties whose scalars are sent as they are if `detection` finds nothing; none of them structural or
            an id.
        bound: The folded top-level names of the rules that are bound to a purpose.
        id_paths: Where rules open an id that is not structural, by its steps.
    """

    tree: Node
    detection: Detection | None
    plain: frozenset[str]
    bound: dict[Purpose, set[str]]
    id_paths: tuple[tuple[str, ...], ...]

    def bound_purposes(self, names: Iterable[str]) -> tuple[Purpose, ...]:
        """The purposes that rules for these properties are bound to."""
        there = {folded(name) for name in names} if self.bound else ()
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

    own = (NO_RULES, NO_RULES) if event is None else (event.opening, event.closing)
    tree = _merged(Layers(*own, rules.opening, rules.closing), None, detection_of, is_strict=is_strict)
    bound: dict[Purpose, set[str]] = {}
    for origin in (rules,) if event is None else (rules, event):
        for path, action in origin.by_path.items():
            if action.purpose is not None:
                bound.setdefault(action.purpose, set()).add(folded(parts_of(origin.origin, path)[0]))
    plain = frozenset(
        name
        for name, node in tree.keys.items()
        if node.keeps and name not in STRUCTURAL[scope] and node.detection in {None, detection}
    )
    id_paths = tuple(path for path in _id_paths(tree, ()) if path[0] not in STRUCTURAL[scope] or len(path) > 1)
    return Compiled(tree, detection, plain, bound, id_paths)


def _id_paths(node: Node, at: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for step, child in (*node.keys.items(), *(((ITEMS, node.items),) if node.items else ())):
        if is_id_name(step):
            yield (*at, step)
        yield from _id_paths(child, (*at, step))


class Layers(NamedTuple):
    """The rules for one path: those of the event before those of the scope, what opens beside what closes."""

    event_opens: Trie
    event_closes: Trie
    scope_opens: Trie
    scope_closes: Trie

    def at(self, key: str) -> Layers:
        """The rules one step further: what opens matches a key exactly, what closes as `folded`."""
        closing = folded(key)
        return Layers(
            self.event_opens.at(key),
            self.event_closes.at(closing),
            self.scope_opens.at(key),
            self.scope_closes.at(closing),
        )


def _merged(
    layers: Layers,
    inherited: Keep | None,
    detection_of: DetectionOf,
    *,
    is_id: bool = False,
    hides: bool = False,
    is_strict: bool = False,
    above: str = "",
) -> Node:
    """The node of a path, where `inherited` is the deep keep above it."""
    ours = layers.event_closes.action or layers.event_opens.action
    theirs = layers.scope_closes.action or layers.scope_opens.action
    if ours is not None and is_closing(ours):
        layers = layers._replace(scope_opens=NO_RULES)
    action = ours or theirs or inherited
    below = action if isinstance(action, Keep) and action.deep else None
    depth = max(len(_shapes_of(layer)) for layer in layers)
    layers = layers._replace(
        event_closes=_seen_through_lists(layers.event_closes, depth),
        scope_closes=_seen_through_lists(layers.scope_closes, depth),
    )
    if below is not None:
        layers = layers._replace(
            event_opens=_seen_through_lists(layers.event_opens, depth, opens=True),
            scope_opens=_seen_through_lists(layers.scope_opens, depth, opens=True),
        )

    def merged(at: Layers, key: str = "") -> Node:
        # A deep keep opens no id and no sensitive name: only a rule for exactly that path does, not one for a part of it.
        is_id = is_id_name(key)
        is_closed = is_id or is_sensitive(seen(key)) or (is_strict and is_personal_below(seen(above), seen(key)))
        return _merged(
            at,
            None if is_closed else below,
            detection_of,
            is_id=is_id,
            hides=hides or below is not None,
            is_strict=is_strict,
            above=key or above,
        )

    closing = layers._replace(event_opens=NO_RULES, scope_opens=NO_RULES)
    keys = {key: merged(layers.at(key), key) for key in _keys(layers.event_opens, layers.scope_opens)}
    closing_keys = {key: (key, merged(closing.at(key), key)) for key in _keys(layers.event_closes, layers.scope_closes)}
    if below is not None:
        # Below a deep keep a rule that takes something away is not escaped by another spelling of its key.
        for key, node in keys.items():
            if node.action is not None and not (isinstance(node.action, Keep) and node.action.is_unconditional):
                closing_keys.setdefault(folded(key), (key, _SHUT))
    names_items = any(ITEMS in layer.steps for layer in layers)
    return Node(
        action=action,
        detection=None if action is None else detection_of(action),
        deep=below is not None,
        hides=hides or below is not None,
        # With a rule for items a scalar is not plainly kept: in `$append` it is an item. An id is looked at first.
        keeps=isinstance(action, Keep) and not (names_items or is_id) and action.is_unconditional,
        items=merged(layers.at(ITEMS)) if names_items else None,
        keys=keys,
        closing_keys=closing_keys,
    )


_SHUT = Node(None, None, deep=False, hides=True, keeps=False, items=None, keys={}, closing_keys={})


def _shapes_of(rules: Trie) -> list[Trie]:
    """The rules for a value that is a dict, for the dicts of a list, for those of lists in it, ..."""
    shapes = [rules]
    while (items := shapes[-1].steps.get(ITEMS)) is not None:
        shapes.append(items)
    return shapes


def _seen_through_lists(rules: Trie, depth: int, *, opens: bool = False) -> Trie:
    """Rules that are not escaped by a list where a dict is expected, or the other way round.

    An id is opened by a rule for exactly its path alone.

    Args:
        rules: The rules of one path and below.
        depth: How many shapes the rules of any origin tell apart here.
        opens: Whether they open what they name.
    """
    shapes = _shapes_of(rules)
    if depth == 1 or (len(shapes) == 1 and not rules.steps):
        return rules
    shapes += [Trie() for _ in range(depth - len(shapes))]
    through: Trie | None = None
    for shape in reversed(shapes):
        steps: dict[str, Trie] = {}
        for other in (shape, *(each for each in shapes if each is not shape)):
            for step, child in other.steps.items():
                if step != ITEMS and (other is shape or not (opens and is_id_name(step))):
                    more = child if other is shape or not opens else _without_ids(child)
                    steps[step] = _united(steps[step], more) if step in steps else more
        if through is not None:
            steps[ITEMS] = through
        through = Trie(shape.action, shape.path, steps)
    return rules if through is None else through


def _united(rules: Trie, more: Trie) -> Trie:
    steps = dict(rules.steps)
    for step, child in more.steps.items():
        steps[step] = _united(steps[step], child) if step in steps else child
    return Trie(rules.action or more.action, rules.path or more.path, steps)


def _without_ids(rules: Trie) -> Trie:
    steps = {step: _without_ids(child) for step, child in rules.steps.items() if not is_id_name(step)}
    return Trie(rules.action, rules.path, steps)


def _keys(ours: Trie, theirs: Trie) -> Iterable[str]:
    return (step for step in {**ours.steps, **theirs.steps} if step != ITEMS)
