"""Rules by path, compiled to a tree, and the tree's walk over a value (contract rules 3.1 and 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from consentpanel._vendor import PERSON_ID_LISTS
from consentpanel._wire import MAX_BYTES, MAX_DEPTH, NotOnWireError, Wire, can_write, dumps
from consentpanel.errors import ConfigurationError
from consentpanel.policy._actions import Action, ActionError, Drop, Keep, Refuse, Scalar

UNNAMED = "unnamed"
"""The cause of a drop when no rule names the property."""
NOT_OPENED = "not_opened"
"""The cause of a drop when a rule names a dict, or a list of dicts, and neither its parts nor ``deep=True``."""

_MAX_PATH = 128


class RefusedError(Exception):
    """A rule that says `refuse()` met its property; the text is the path."""


class Node:
    """What the rules say of one path: an action, rules for the keys of a dict, a rule for the items of a list."""

    __slots__ = ("action", "deep", "items", "keeps", "keys")

    def __init__(self) -> None:
        self.action: Action | None = None
        self.keys: dict[str, Node] = {}
        self.items: Node | None = None
        self.deep = False
        self.keeps = False

    def settle(self, inherited: Keep | None = None) -> None:
        """Notes what the walk asks most often, once every rule is in the tree.

        Args:
            inherited: The ``keep(deep=True)`` of a parent: it holds for a part that has no action of its own.
        """
        self.action = self.action or inherited
        self.deep = isinstance(self.action, Keep) and self.action.deep
        # With a rule for items a scalar is not plainly kept: in `$append` it is an item.
        self.keeps = isinstance(self.action, Keep) and self.items is None
        below = self.action if isinstance(self.action, Keep) and self.action.deep else None
        if self.items is not None:
            self.items.settle(below)
        for name, node in list(self.keys.items()):
            node.settle(below)
            # A key may be written with the dots themselves ("referrer.host"): the same rule holds for it.
            for inner, named in node.keys.items():
                self.keys[f"{name}.{inner}"] = named


def compile_rules(scope: str, rules: Mapping[str, Action]) -> dict[str, Node]:
    """The tree of the rules of one scope, by top-level property name.

    Raises:
        ConfigurationError: A path or an action is malformed; the text names both.
    """
    root = Node()
    for path, action in rules.items():
        if not isinstance(action, Action):
            raise ConfigurationError(
                f"{scope}[{path!r}] must be an action such as keep() or redact(), not {_described(action)}"
            )
        node = root
        for part in _parts(scope, path):
            if part == "[]":
                node.items = node.items or Node()
                node = node.items
            else:
                node = node.keys.setdefault(part, Node())
        node.action = action
    root.settle()
    return root.keys


def structural(names: Iterable[str]) -> dict[str, Node]:
    """Nodes for the vendor's structural properties: scalars pass (contract rule 3.4)."""
    nodes = {}
    for name in names:
        node = nodes[name] = Node()
        node.action = Keep() if name in PERSON_ID_LISTS else Scalar()
        node.keeps = True
    return nodes


def _described(action: object) -> str:
    if callable(action):
        name = getattr(action, "__name__", type(action).__name__)
        return f"a callable ({name}): call it, or wrap your own in transform()"
    return type(action).__name__


def _parts(scope: str, path: object) -> list[str]:
    if not isinstance(path, str):
        raise ConfigurationError(f"{scope}: a path must be a str, not {type(path).__name__}")
    parts = []
    for step in path.split("."):
        name = step
        brackets = 0
        while name.endswith("[]"):
            name, brackets = name[:-2], brackets + 1
        if not name or name != name.strip() or "[" in name or "]" in name:
            raise ConfigurationError(
                f'{scope}: {path!r} is not a path; write "address.city" for a key in a dict '
                'and "items[].sku" for a key in each dict of a list'
            )
        parts += [name, *["[]"] * brackets]
    if len(parts) > MAX_DEPTH:
        raise ConfigurationError(f"{scope}: a path has at most {MAX_DEPTH} steps, not {len(parts)}; no value is deeper")
    return parts


class Walk:
    """One pass of compiled rules over the properties of one message; collects what was dropped and changed."""

    __slots__ = ("changed", "dropped", "secret", "wire")

    def __init__(self, wire: Wire, secret: bytes | None) -> None:
        self.wire = wire
        self.secret = secret
        self.dropped: dict[str, str] = {}
        self.changed: dict[str, str] = {}

    def properties(
        self, properties: Mapping[str, Any], names: Mapping[str, Node], *, inside: bool = False
    ) -> dict[str, Any]:
        """The properties that may be sent, in their order.

        Args:
            properties: By the names they have on the wire.
            names: The compiled rules.
            inside: Whether each value stands for an item of a list (``$append``, ``$remove``).

        Raises:
            RefusedError: A rule refuses the message.
        """
        sent = {}
        for name, value in properties.items():
            node = names.get(name)
            if node is None:
                self.dropped[_short(name)] = UNNAMED
                continue
            kind = type(value)
            if node.keeps and (
                (kind is str and len(value) < MAX_BYTES)
                or kind is bool
                or value is None
                or (kind is int and can_write(value))
                or (kind is float and value - value == 0.0)  # finite
            ):
                sent[name] = value
                continue
            if isinstance(node.action, Refuse):
                raise RefusedError(_short(name))
            try:
                tree = self.wire.tree(value)
                sent[name] = self._value(node, tree, name, inside=inside)
            except NotOnWireError as error:
                self.dropped[_short(name)] = error.cause
            except ActionError as error:
                self.dropped[_short(name)] = error.cause
        return sent

    def _value(self, node: Node, value: Any, path: str, *, inside: bool) -> Any:
        if inside and node.items is not None and not isinstance(value, list):
            return self._tree(node.items, value, path)
        return self._tree(node, value, path)

    def _tree(self, node: Node, value: Any, path: str) -> Any:
        action = node.action
        if isinstance(action, Refuse):
            raise RefusedError(_short(path))
        if isinstance(value, dict) and (node.keys or node.deep or action is None or not action.whole):
            return self._dict(node, value, path)
        if isinstance(value, list) and (node.items or node.deep or action is None or not action.whole):
            return self._list(node, value, path)
        if action is None:
            raise ActionError(UNNAMED)
        return self._scalar(action, value, path)

    def _scalar(self, action: Action, value: Any, path: str) -> Any:
        result = action.apply(value, self.secret)
        if result is value:
            return result
        result = self.wire.tree(result)
        if type(result) is str and len(result) >= MAX_BYTES:
            raise ActionError("too_large")
        # 1, 1.0 and True are equal, and three texts on the wire.
        if result != value or dumps(result) != dumps(value):
            self.changed[_short(path)] = action.name
        return result

    def _dict(self, node: Node, value: dict[str, Any], path: str) -> Any:
        if not value and node.action is not None and not isinstance(node.action, Drop):
            return value
        if not (node.keys or node.deep):
            raise ActionError(UNNAMED if node.action is None else NOT_OPENED)
        sent = {}
        for key, item in value.items():
            inner = f"{path}.{key}"
            child = node.keys.get(key)
            try:
                if child is not None:
                    sent[key] = self._tree(child, item, inner)
                elif node.deep:
                    sent[key] = item
                else:
                    self.dropped[_short(inner)] = UNNAMED
            except (ActionError, NotOnWireError) as error:
                self.dropped[_short(inner)] = error.cause
        if not sent and (node.action is None or isinstance(node.action, Drop)):
            raise ActionError(UNNAMED if node.action is None else node.action.name)
        return sent

    def _list(self, node: Node, value: list[Any], path: str) -> Any:
        if node.items is None and node.deep:
            return value
        if node.items is None and node.action is None:
            raise ActionError(UNNAMED)
        inner = f"{path}[]"
        sent = []
        for item in value:
            try:
                if node.items is not None:
                    sent.append(self._tree(node.items, item, inner))
                elif isinstance(item, (dict, list)):
                    self.dropped[_short(inner)] = NOT_OPENED
                elif node.action is not None:
                    sent.append(self._scalar(node.action, item, path))
            except (ActionError, NotOnWireError) as error:
                self.dropped[_short(inner)] = error.cause
        if value and not sent:
            raise ActionError(self.dropped.pop(_short(inner), UNNAMED))
        return sent


def _short(path: str) -> str:
    return path if len(path) <= _MAX_PATH else path[: _MAX_PATH - 1] + "…"
