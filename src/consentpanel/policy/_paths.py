"""Rules by path: how a path is read, and the tree into which the rules of one message are compiled (rule 3.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from consentpanel._messages.wire import MAX_DEPTH
from consentpanel.errors import ConfigurationError
from consentpanel.policy._action_types import Action, Drop, Keep, Redact, Refuse
from consentpanel.policy._detect.detection import Detection
from consentpanel.policy._names import category_of

_STEP = re.compile(r"(?:'((?:[^']|'')+)'|([^.\[\]']{1,512}[^.\[\]]{0,512}))((?:\[\])*)(\.|$)", re.DOTALL)
ITEMS = "[]"


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


class _Trie:
    """Rules of one origin, by step; those that close with folded keys, since they ignore case."""

    __slots__ = ("action", "path", "steps")

    def __init__(self) -> None:
        self.action: Action | None = None
        self.path = ""
        self.steps: dict[str, _Trie] = {}


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
        self.opening, self.closing = _Trie(), _Trie()
        for path, action in self.by_path.items():
            self._add(path, action)
        _refuse_shadowed(origin, self.opening, self.closing)

    def _add(self, path: object, action: object) -> None:
        if not isinstance(action, Action):
            raise ConfigurationError(
                f"{self.origin}[{path!r}] must be an action such as keep() or redact(), not {_described(action)}"
            )
        closes = is_closing(action)
        trie = self.closing if closes else self.opening
        for step in parts_of(self.origin, path):
            trie = trie.steps.setdefault(step.casefold() if closes else step, _Trie())
        if trie.action is not None:
            raise ConfigurationError(f"{self.origin}: {trie.path!r} and {path!r} are one path; only one can apply")
        trie.action, trie.path = action, str(path)

    def top_names(self) -> Iterable[str]:
        """The properties that the rules name."""
        return (parts_of(self.origin, path)[0] for path in self.by_path)


def is_closing(action: Action) -> bool:
    """Whether an action keeps the value from leaving: it then ignores the case of keys."""
    return isinstance(action, (Drop, Redact, Refuse))


def _refuse_shadowed(origin: str, opening: _Trie, closing: _Trie, refusing: str | None = None) -> None:
    """Raises for a rule that can never apply: one that a stricter rule for the same path, or a `refuse()` above, covers."""
    for own, other in ((opening, closing), (closing, opening)):
        covering = refusing or (other.path if own is opening and other.action is not None else None)
        if own.action is not None and covering is not None and covering != own.path:
            raise ConfigurationError(f"{origin}[{own.path!r}] can never apply: the rule for {covering!r} closes it")
    if isinstance(closing.action, Refuse):
        refusing = closing.path
    folded: set[str] = set()
    for step, child in opening.steps.items():
        folded.add(step.casefold())
        _refuse_shadowed(origin, child, closing.steps.get(step.casefold(), _Trie()), refusing)
    for step, child in closing.steps.items():
        if step not in folded:
            _refuse_shadowed(origin, _Trie(), child, refusing)


_Layers = tuple["_Trie | None", "_Trie | None", "_Trie | None", "_Trie | None"]


DetectionOf = Callable[[Action], "Detection | None"]


def compiled(detection_of: DetectionOf, scope: Rules, event: Rules | None = None) -> Node:
    """The tree of the rules that hold for a message (contract rule 3.3).

    The most specific path wins; for one path those of the event, then the stricter. What an event's rules close stays
    closed to the scope's rules, whole.

    Args:
        detection_of: Gives the detectors for an action.
        scope: The rules of the scope.
        event: More rules, for one event.

    Returns:
        A node whose keys are the properties.
    """
    if event is None:
        return _merged((None, None, scope.opening, scope.closing), None, detection_of)
    return _merged((event.opening, event.closing, scope.opening, scope.closing), None, detection_of)


def _merged(layers: _Layers, inherited: Keep | None, detection_of: DetectionOf) -> Node:
    node = Node()
    ours, theirs = _stricter(layers[0], layers[1]), _stricter(layers[2], layers[3])
    if ours is not None and is_closing(ours):
        layers = (layers[0], layers[1], None, None)
    node.action = ours or theirs or inherited
    node.detection = None if node.action is None else detection_of(node.action)
    below = node.action if isinstance(node.action, Keep) and node.action.deep else None
    node.deep = below is not None
    node.items = _merged_step(layers, ITEMS, ITEMS, below, detection_of) if _names_items(layers) else None
    # With a rule for items a scalar is not plainly kept: in `$append` it is an item.
    node.keeps = isinstance(node.action, Keep) and node.items is None and node.action.is_unconditional
    for opening in (layers[0], layers[2]):
        for step in () if opening is None else opening.steps:
            if step != ITEMS and step not in node.keys:
                node.keys[step] = _merged_step(layers, step, step.casefold(), below, detection_of)
    for closing in (layers[1], layers[3]):
        for step in () if closing is None else closing.steps:
            if step != ITEMS and step not in node.closing_keys:
                closing_layers = (None, layers[1], None, layers[3])
                node.closing_keys[step] = step, _merged_step(closing_layers, step, step, below, detection_of)
    return node


def _names_items(layers: _Layers) -> bool:
    return any(layer is not None and ITEMS in layer.steps for layer in layers)


def _merged_step(layers: _Layers, exact: str, folded: str, inherited: Keep | None, detection_of: DetectionOf) -> Node:
    steps = tuple(
        None if layer is None else layer.steps.get(folded if number % 2 else exact)
        for number, layer in enumerate(layers)
    )
    return _merged((steps[0], steps[1], steps[2], steps[3]), inherited, detection_of)


def _stricter(opening: _Trie | None, closing: _Trie | None) -> Action | None:
    if closing is not None and closing.action is not None:
        return closing.action
    return None if opening is None else opening.action


def _described(action: object) -> str:
    if callable(action):
        name = getattr(action, "__name__", type(action).__name__)
        return f"a callable ({name}): call it, or wrap your own in transform()"
    return type(action).__name__


def parts_of(origin: str, path: object) -> list[str]:
    """The steps of a path: keys, and ``"[]"`` for the items of a list.

    A key that holds a dot or a bracket stands in single quotes, with ``''`` for a quote inside.

    Raises:
        ConfigurationError: It is no path.
    """
    if not isinstance(path, str):
        raise ConfigurationError(f"{origin}: a path must be a str, not {type(path).__name__}")
    parts: list[str] = []
    at = 0
    while True:
        found = _STEP.match(path, at)
        key = "" if found is None else found[1].replace("''", "'") if found[1] else found[2]
        if found is None or (not found[1] and key != key.strip()) or key == ITEMS:
            raise ConfigurationError(
                f'{origin}: {path!r} is not a path; write "address.city" for a key in a dict, "items[].sku" for a key '
                "in each dict of a list, and \"'address.city'\" for a key with a dot in it"
            )
        parts += [key, *[ITEMS] * (len(found[3]) // 2)]
        at = found.end()
        if not found[4]:
            break
    if len(parts) > MAX_DEPTH:
        raise ConfigurationError(
            f"{origin}: a path has at most {MAX_DEPTH} steps, not {len(parts)}; no value is deeper"
        )
    return parts


def keys_of(origin: str, path: str) -> list[str]:
    """The keys that a path names, without its steps into lists."""
    return [step for step in parts_of(origin, path) if step != ITEMS]


def category_of_path(origin: str, path: str) -> str | None:
    """The kind of personal data that a path names, by its last key or by all of them together; None for none."""
    keys = keys_of(origin, path)
    return category_of(keys[-1]) or category_of(" ".join(keys))


def written(key: str) -> str:
    """A key as it stands in a path."""
    return "'" + key.replace("'", "''") + "'" if _TO_QUOTE.search(key) else key


_TO_QUOTE = re.compile(r"[.\[\]]|^'")
