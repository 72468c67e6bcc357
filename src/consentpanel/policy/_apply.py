"""One pass of compiled rules over the properties of a message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from consentpanel._consent.secret import Keyed
from consentpanel._messages.decision import Cause
from consentpanel._messages.message import Message
from consentpanel._messages.shapes import DefaultOf, is_in_shape, no_default
from consentpanel._messages.wire import DOUBLED_KEYS, MAX_BYTES, NotOnWireError, can_write, dumps
from consentpanel._mixpanel.names import FLAG_IDS, is_id_name
from consentpanel._mixpanel.structure import Shape
from consentpanel.policy._action_types import (
    Action,
    ActionError,
    Drop,
    Generalize,
    Keep,
    Mask,
    Refuse,
    Transform,
    Truncate,
    Url,
)
from consentpanel.policy._compile import Node
from consentpanel.policy._detect.detection import (
    HIDDEN_ID,
    STANDARD,
    Detection,
    DetectorError,
    kind_in_name,
    shown_name,
)
from consentpanel.policy._detect.ids import Ids
from consentpanel.policy._detect.matchers import REDACTED
from consentpanel.policy._detect.normalize import forms, may_be_encoded, names_in
from consentpanel.policy._keys import folded, seen
from consentpanel.policy._names import is_personal_below, is_personal_name
from consentpanel.policy._paths import written
from consentpanel.policy._rules import is_closing
from consentpanel.policy._sensitive import is_sensitive

SENSITIVE_KEYS = "(sensitive keys)"
#: Stand in a path for what is below a deep keep and no rule names.
VALUES, NAMES, IDS_BELOW = "(values)", "(keys)", "(ids)"
#: How a pair is written as a mapping, by forms and HTTP archives.
_PAIR_NAMES = ("name", "key", "field", "header")
_PAIR_VALUES = frozenset({"value", "values", "val", "content"})
_MAX_PATH = 128
#: An id in digits is looked for where it has six or more, as in texts.
_LEAST_ID = 100_000
_NO_STRUCTURE: Mapping[str, Shape] = {}


class RefusedError(Exception):
    """A rule that says `refuse()` met its property, or a detector found what refuses the message; the text is the path."""

    def __init__(self, path: str, cause: Cause = Cause.REFUSE) -> None:
        super().__init__(path)
        self.cause = cause


class Application:
    """One application of a policy to one message: judges properties, and collects what was dropped and changed.

    Args:
        message: Says how values are written, which ids no path may quote, and what was dropped before.
        keyed: The policy's keyed hash, or None.
        refused_purposes: Purposes of rules for which there is no consent.
        own: The policy's detectors, which look into the names that are told.
        is_strict: Whether nothing with a personal name may be kept.
        maps_ids: Whether a text that is one of the ids becomes a pseudonym later.
    """

    __slots__ = (
        "_ids",
        "_ids_in_texts",
        "_is_strict",
        "_keyed",
        "_mapped",
        "_own",
        "_refused_ids",
        "_refused_purposes",
        "_wire",
        "changed",
        "detected",
        "dropped",
        "maps_ids",
    )

    def __init__(
        self,
        message: Message,
        keyed: Keyed | None,
        refused_purposes: Collection[str] = (),
        *,
        own: Detection | None = None,
        is_strict: bool = False,
        maps_ids: bool = False,
    ) -> None:
        self._own = own
        self._is_strict = is_strict
        self._refused_purposes = refused_purposes
        self._wire = message.wire
        self._keyed = keyed
        self._ids = frozenset(message.persons + message.devices)
        self._refused_ids = frozenset(message.refused)
        self._mapped = self._ids if maps_ids else frozenset[str]()
        self.maps_ids = maps_ids
        self._ids_in_texts: Ids | None = None
        self.dropped: dict[str, Cause] = {self.shown(path): cause for path, cause in message.dropped.items()}
        self.changed: dict[str, Cause] = {}
        self.detected: dict[str, str] = {}

    def properties(
        self,
        properties: Mapping[str, Any],
        rules: Node,
        structure: Mapping[str, Shape] = _NO_STRUCTURE,
        *,
        inside: bool = False,
        default_of: DefaultOf = no_default,
    ) -> dict[str, Any]:
        """The properties that may be sent, in their order.

        Args:
            properties: By the names they have on the wire.
            rules: The compiled rules.
            structure: The structural names of this place, which pass in their own shape without a rule.
            inside: Whether each value stands for an item of a list (``$append``, ``$remove``).
            default_of: What the vendor's client writes where a structural property has another shape.

        Raises:
            RefusedError: A rule refuses the message.
        """
        sent: dict[str, Any] = {}
        for name, value in properties.items():
            if name in structure:
                self.structural(name, structure[name], value, sent, default_of)
                continue
            found = rules.of_key(name)
            if found is None:
                self.dropped[self.path(name)] = Cause.UNNAMED
                continue
            node = found[1]
            kind = type(value)
            if node.keeps and (
                kind is bool
                or value is None
                or (
                    (
                        (kind is str and len(value) < MAX_BYTES)
                        or (kind is int and can_write(value))
                        or (kind is float and value - value == 0.0)  # finite
                    )
                    and (node.detection is None or node.detection.is_clean(value))
                )
            ):
                sent[name] = value
                continue
            path = self.path(name)
            if isinstance(node.action, Refuse):
                raise RefusedError(path)
            if self._is_stray_id(name, node, value):
                self.dropped[path] = Cause.ID
                continue
            try:
                sent[name] = self._value(node, self.tree_of(value, path), path, inside=inside)
            except (NotOnWireError, ActionError) as error:
                self.dropped[path] = error.cause
        return sent

    def structural(self, name: str, shape: Shape, value: object, sent: dict[str, Any], default_of: DefaultOf) -> None:
        """A structural property in its own shape, or the vendor's default in its place."""
        own = None if shape.is_id else default_of(name)
        if self._takes_shape(name, shape, value, own, sent):
            return
        if self._takes_shape(name, shape, own, own, sent):
            self.changed[name] = Cause.DEFAULT
        else:
            self.dropped[name] = Cause.NOT_IN_SHAPE

    def _takes_shape(self, name: str, shape: Shape, value: object, own: object, sent: dict[str, Any]) -> bool:
        with suppress(NotOnWireError):
            tree = self._wire.tree(value)
            if is_in_shape(shape, tree, self._ids, own) and not (
                shape is Shape.INSERT_ID and self.kind_in_name(tree) is not None
            ):
                sent[name] = tree
                return True
        return False

    def kind_in_name(self, name: str) -> str | None:
        """The kind of personal data that a detector, of the policy or of the usual ones, finds in a name."""
        return kind_in_name(name, self._own)

    def shown(self, name: str) -> str:
        """A name as decisions tell it: never with an id, nor with what a detector finds."""
        return shown_name(name, self._in_texts(), self._own)

    def _in_texts(self) -> Ids:
        # Most messages ask for it never.
        ids = self._ids_in_texts
        if ids is None:
            ids = self._ids_in_texts = Ids(self._ids | self._refused_ids)
        return ids

    def path(self, key: str, above: str = "") -> str:
        """The path of a key, as rules write it: never an id, never longer than a line."""
        shown = self.shown(key)
        path = above + (shown if shown is HIDDEN_ID or shown.isidentifier() else written(shown))
        return path if len(path) <= _MAX_PATH else path[: _MAX_PATH - 1] + "…"

    def tree_of(self, value: object, path: str, *, allow_nan: bool = False) -> Any:
        """The JSON tree of a value; keys that are left out of it are reported.

        Raises:
            NotOnWireError: As `Wire.tree`.
        """
        doubled: list[str] = []
        tree = self._wire.tree(value, allow_nan=allow_nan, doubled=doubled)
        if doubled:
            self.dropped[self.path(DOUBLED_KEYS, f"{path}.")] = Cause.DUPLICATE_KEY
        return tree

    def _value(self, node: Node, value: Any, path: str, *, inside: bool) -> Any:
        if inside and node.items is not None and not isinstance(value, list):
            return self._tree(node.items, value, path)
        return self._tree(node, value, path)

    def _tree(self, node: Node, value: Any, path: str) -> Any:
        action = node.action
        if isinstance(action, Refuse):
            raise RefusedError(path)
        if self._lacks_consent(action) and not (isinstance(value, dict) and node.has_parts):
            raise ActionError(Cause.NO_CONSENT)
        if node.hides and node.items is not None and not isinstance(value, list):
            # Below a deep keep a rule for items is not escaped by one that stands alone.
            narrowing = _narrowing(node.items)
            if narrowing is not None and isinstance(value, dict) and not is_closing(narrowing.action):
                if not node.has_parts:
                    raise ActionError(Cause.NOT_OPENED)
            elif narrowing is not None:
                return self._tree(narrowing, value, path)
        if isinstance(value, dict) and (node.has_parts or node.deep or action is None or not action.whole):
            return self._dict(node, value, path)
        if isinstance(value, list) and (node.items or node.deep or action is None or not action.whole):
            return self._list(node, value, path)
        if action is None:
            raise ActionError(Cause.UNNAMED)
        if node.deep and isinstance(value, str) and (cause := self._closed_in_text(node, value)) is not None:
            raise ActionError(cause)
        return self._scalar(node, action, value, path)

    def _closed_in_text(self, node: Node, text: str) -> Cause | None:
        """Why a text of JSON may not leave: it has a name as a key that a rule closes below here, or that of an id."""
        if not (node.closing_keys or self.maps_ids) or not may_be_encoded(text):
            return None
        for name in names_in((text, *forms(text)[0])):
            found = node.closing_keys.get(folded(name))
            if found is not None:
                action = found[1].action
                return Cause(action.name) if is_closing(action) and action is not None else Cause.NOT_OPENED
        return Cause.ID if self._has_id_name(text) else None

    def _has_id_name(self, text: str) -> bool:
        """Whether a text of JSON has the name of an id as a key, whose value nobody would map."""
        return (
            self.maps_ids
            and may_be_encoded(text)
            and any(is_id_name(seen(each)) for each in names_in((text, *forms(text)[0])))
        )

    def _lacks_consent(self, action: Action | None) -> bool:
        return action is not None and action.purpose is not None and action.purpose in self._refused_purposes

    def _scalar(self, node: Node, action: Action, value: Any, path: str) -> Any:
        if value is None and not isinstance(action, (Drop, Keep)):
            return None
        detection = node.detection
        # What is left of a URL or by a rule's own function is looked into; of other actions what comes in.
        sees_output = isinstance(action, (Transform, Url, Truncate))
        seen = value
        if isinstance(action, Keep):
            kept = action.apply(value, self._keyed)
            return kept if detection is None else self._searched(kept, path, detection)
        if detection is not None and isinstance(action, (Truncate, Generalize)):
            seen = self._searched(value, path, detection)
        try:
            result = action.apply(seen, self._keyed)
        except ActionError:
            self.changed.pop(path, None)
            raise
        if result is value:
            return self._searched(result, path, detection) if detection is not None and sees_output else result
        if self._mapped and isinstance(action, (Truncate, Mask, Generalize, Url)) and self._holds_mapped(value):
            # What is cut off an id is no text that the mapping finds.
            self.changed.pop(path, None)
            raise ActionError(Cause.ID)
        result = self._wire.tree(result)
        if type(result) is str and len(result) >= MAX_BYTES:
            raise ActionError(Cause.TOO_LARGE)
        if isinstance(action, Mask) and isinstance(result, str) and self._is_found_in(result):
            result = "****"
        # 1, 1.0 and True are equal, and three texts on the wire.
        if result != value or dumps(result) != dumps(value):
            self.changed.setdefault(path, Cause(action.name))
        if not isinstance(result, (dict, list)) and (detection is None or not sees_output):
            return result
        return self._deep(result, path, path, detection, closes=False)

    def _is_found_in(self, text: str) -> bool:
        return any(each is not None and each.kind_in(text) is not None for each in (STANDARD, self._own))

    def _holds_mapped(self, value: Any) -> bool:
        if isinstance(value, str):
            return self._in_texts().are_in(value)
        # A short number is a quantity rather than somebody's id.
        return type(value) is int and abs(value) >= _LEAST_ID and str(value) in self._mapped

    def _cuts_mapped(self, text: str, detection: Detection) -> bool:
        """Whether what is redacted in a text is a part of an id, whose rest the mapping would not find."""
        ids = self._in_texts()
        places = ids.places(text)
        if not places:
            return ids.are_in(text)
        found = detection.find(text)
        at = 0
        for start, end, _ in places:
            # Both stand in their order, and apart.
            while at < len(found) and found[at].end <= start:
                at += 1
            if at < len(found) and found[at].start < end and not (found[at].start <= start and end <= found[at].end):
                return True
        return False

    def _searched(self, value: Any, path: str, detection: Detection) -> Any:
        """A scalar after the detectors have looked into it."""
        if value is None or isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return value
        if self._mapped and isinstance(value, str) and value in self._mapped:
            return value
        if self._is_strict and isinstance(value, str) and _names_personal(value):
            raise ActionError(Cause.PERSONAL)
        try:
            hit = detection.judge(value)
        except DetectorError:  # which says nothing of the text
            raise ActionError(Cause.DETECTOR_FAILED) from None
        if hit is None:
            return value
        self.detected[path] = hit.kind
        cause = Cause.detected(hit.kind)
        if hit.action == "refuse":
            raise RefusedError(path, cause)
        if hit.action == "drop":
            raise ActionError(cause)
        if hit.action == "report":
            return value
        self.changed[path] = cause
        if self._mapped and isinstance(value, str) and self._cuts_mapped(value, detection):
            return REDACTED
        return hit.text

    def _deep(self, value: Any, path: str, above: str, detection: Detection | None, *, closes: bool) -> Any:
        """What no rule names, by the keys and scalars that may leave.

        Args:
            value: The tree.
            path: The path of the rule that keeps it.
            above: The key that holds it, or the path of the rule.
            detection: What looks into it; None when nothing does.
            closes: Whether a sensitive name closes a key.
        """
        if isinstance(value, list):
            if self._is_closed_pair(value, closes=closes):
                raise ActionError(Cause.SENSITIVE)
            items = []
            for item in value:
                try:
                    items.append(self._deep(item, path, above, detection, closes=closes))
                except ActionError as error:
                    self.dropped[self.path("", f"{path}[]")] = error.cause
            return items
        if isinstance(value, dict):
            kept: dict[str, Any] = {}
            named = next((value[each] for each in _PAIR_NAMES if isinstance(value.get(each), str)), "")
            is_closed = bool(named) and self._closes(seen(named), closes=closes)
            for key, item in value.items():
                if is_closed and key in _PAIR_VALUES:
                    self.dropped[self.path(SENSITIVE_KEYS, f"{path}.")] = Cause.SENSITIVE
                else:
                    self._part(key, item, path, above, kept, detection, closes=closes)
            return kept
        if isinstance(value, str) and self._has_id_name(value):
            raise ActionError(Cause.ID)
        return value if detection is None else self._searched(value, path, detection)

    def _closes(self, name: str, *, closes: bool) -> bool:
        """Whether what stands beside a name, as the value of a pair, is closed as it would be under it."""
        return is_id_name(name) or (closes and is_sensitive(name)) or (self._is_strict and is_personal_name(name))

    def _is_closed_pair(self, value: list[Any], *, closes: bool) -> bool:
        """Whether a list is a name and a value, as headers and forms are written, and the name closes the value."""
        if len(value) != 2 or not isinstance(value[0], str) or not self._closes(seen(value[0]), closes=closes):
            return False
        # A list of names closes nothing.
        other = value[1]
        return not (isinstance(other, str) and other.isidentifier() and self._closes(seen(other), closes=closes))

    def _part(
        self,
        key: str,
        item: Any,
        path: str,
        above: str,
        kept: dict[str, Any],
        detection: Detection | None,
        *,
        closes: bool,
    ) -> None:
        """A key that no rule names, and what is below it."""
        name = seen(key)
        if is_id_name(name):
            self.dropped[self.path(name if name in FLAG_IDS else IDS_BELOW, f"{path}.")] = Cause.ID
            return
        if closes and is_sensitive(name):
            self.dropped[self.path(SENSITIVE_KEYS, f"{path}.")] = Cause.SENSITIVE
            return
        try:
            if detection is None or self._may_keep_name(key, path, above, detection):
                kept[key] = self._deep(item, path, key, detection, closes=closes)
        except ActionError as error:
            self.dropped[self.path(VALUES, f"{path}.")] = error.cause

    def _may_keep_name(self, key: str, path: str, above: str, detection: Detection) -> bool:
        """Whether a key that no rule names may leave: one in which something is found cannot be redacted, only left out."""
        if self._is_strict and is_personal_below(seen(above), seen(key)):
            self.dropped[self.path(NAMES, f"{path}.")] = Cause.PERSONAL
            return False
        if detection.is_clean(key):
            return True
        inner = self.path(NAMES, f"{path}.")
        try:
            searched = self._searched(key, inner, detection)
        except ActionError as error:
            self.dropped[inner] = error.cause
            return False
        if searched is key:
            return True
        self.dropped[inner] = self.changed.pop(inner)
        return False

    def named(self, name: Any, path: str, detection: Detection | None) -> Any:
        """The name of an event, or the id of a group, after the detectors have looked into it.

        Raises:
            RefusedError: Something was found that drops the property, which here is the message.
        """
        if detection is None:
            return name
        try:
            return self._searched(name, path, detection)
        except ActionError as error:
            raise RefusedError(path, error.cause) from None

    def _dict(self, node: Node, value: dict[str, Any], path: str) -> Any:
        if not value and node.action is not None and not isinstance(node.action, Drop):
            return value
        if not (node.has_parts or node.deep):
            raise ActionError(Cause.UNNAMED if node.action is None else Cause.NOT_OPENED)
        sent: dict[str, Any] = {}
        for key, item in value.items():
            found = node.of_key(key)
            if found is None:
                if not node.deep or self._lacks_consent(node.action):
                    told = self.path(NAMES if node.hides else key, f"{path}.")
                    self.dropped[told] = Cause.NO_CONSENT if node.deep else Cause.UNNAMED
                else:
                    self._part(key, item, path, path, sent, node.detection, closes=True)
                continue
            # Below a deep keep a key may be anything, so the rule's own spelling is told.
            inner = self.path(found[0], f"{path}.")
            if self._is_stray_id(key, found[1], item):
                self.dropped[inner] = Cause.ID
                continue
            try:
                sent[key] = self._tree(found[1], item, inner)
            except (ActionError, NotOnWireError) as error:
                self.dropped[inner] = error.cause
        if not sent and (node.action is None or isinstance(node.action, Drop)):
            raise ActionError(Cause.UNNAMED if node.action is None else Cause(node.action.name))
        return sent

    def _is_stray_id(self, name: str, node: Node, value: Any) -> bool:
        """Whether something stands under the name of an id that the message is not known to name."""
        return is_id_name(name) and not (is_closing(node.action) or self._is_named(value))

    def without_strays(self, tree: Any, path: str) -> Any:
        """A tree without what stands under the name of an id and is of nobody whom the message is known to name."""
        if isinstance(tree, list):
            return [self.without_strays(item, path) for item in tree]
        if not isinstance(tree, dict):
            return tree
        kept = {}
        for name, value in tree.items():
            if is_id_name(name) and not self._is_named(value):
                self.dropped[self.path(name if name in FLAG_IDS else IDS_BELOW, f"{path}.")] = Cause.ID
            else:
                kept[name] = self.without_strays(value, path)
        return kept

    def _is_named(self, value: Any) -> bool:
        """Whether a value is an id that the message is known to name, or a list of such."""
        if isinstance(value, list):
            return all(map(self._is_named, value))
        return type(value) in {str, int} and str(value) in self._ids

    def _list(self, node: Node, value: list[Any], path: str) -> Any:
        if node.items is None and node.deep and not node.has_parts:
            return self._deep(value, path, path, node.detection, closes=True)
        if node.items is None and node.action is None:
            raise ActionError(Cause.UNNAMED)
        inner = self.path("", f"{path}[]")
        sent = []
        for item in value:
            try:
                if node.items is not None:
                    sent.append(self._tree(node.items, item, inner))
                elif node.deep:
                    sent.append(self._tree(node, item, path))
                elif isinstance(item, (dict, list)):
                    self.dropped[inner] = Cause.NOT_OPENED
                elif node.action is not None:
                    sent.append(self._scalar(node, node.action, item, path))
            except (ActionError, NotOnWireError) as error:
                self.dropped[inner] = error.cause
        if value and not sent:
            raise ActionError(self.dropped.pop(inner, Cause.UNNAMED))
        return sent


def _names_personal(text: str) -> bool:
    """Whether a text has a personal name as a key of JSON, as it is or when it is decoded."""
    return may_be_encoded(text) and any(map(is_personal_name, names_in((text, *forms(text)[0]))))


def _narrowing(items: Node | None) -> Node | None:
    """The first node of items, and of lists in these, whose action leaves less of a value than it is; None for none."""
    while items is not None and (items.action is None or isinstance(items.action, Keep)):
        items = items.items
    return items
