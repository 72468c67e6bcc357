"""What a policy leaves of a whole message: of an event, a profile update, the context of a flag. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consentpanel._messages.decision import Cause
from consentpanel._messages.message import FLAGS, Message
from consentpanel._messages.wire import NotOnWireError, named_by_text
from consentpanel._mixpanel.names import (
    DICT_OPERATORS,
    EVENT_STRUCTURE,
    GROUP_NAMES,
    IDS,
    LIST_OPERATORS,
    PERSONAL,
    REMOVALS,
)
from consentpanel.policy._apply import Application
from consentpanel.policy._compile import Node
from consentpanel.policy._detect.detection import Detection


def left_of(message: Message, applied: Application, tree: Node, detection: Detection | None) -> dict[str, Any]:
    """The record that may be sent.

    Args:
        message: The message, taken apart.
        applied: Collects what is dropped and changed.
        tree: The compiled rules.
        detection: What looks into the name of an event and the id of a group.

    Raises:
        RefusedError: A rule or a detector refuses the message.
    """
    if message.endpoint == FLAGS:
        return applied.properties(message.properties, tree, message.structure)
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name == "event" and message.is_event:
            record[name] = applied.named(message.event or "", name, detection)
        elif name == "properties" and message.is_event:
            record[name] = applied.properties(message.properties, tree, EVENT_STRUCTURE, default_of=message.default_of)
        elif name in DICT_OPERATORS and not message.is_event and isinstance(value, dict):
            kept = applied.properties(value, tree, IDS, inside=name in LIST_OPERATORS)
            if kept or not value:
                record[name] = kept
        elif name in REMOVALS and not message.is_event:
            record[name] = _removed(name, value, applied)
        elif name in message.structure:
            applied.structural(name, value, record, message.default_of)
        elif name in PERSONAL:
            # At the top of a message, where `meta=` lands, such a name needs a rule as it does among the properties.
            record.update(applied.properties({name: value}, tree))
        else:
            applied.dropped[applied.path(name)] = Cause.UNNAMED
    for name in GROUP_NAMES & record.keys():
        record[name] = applied.named(record[name], name, detection)
    return record


def removal_left_of(message: Message, applied: Application, cause: Cause) -> dict[str, Any]:
    """Only what takes data away, rebuilt from parts that say nothing about the person.

    Args:
        message: The message, taken apart.
        applied: Collects what is dropped and changed.
        cause: Why the rest is dropped.
    """
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name in REMOVALS:
            record[name] = _removed(name, value, applied)
        elif name in message.structure:
            applied.structural(name, value, record, message.default_of)
        else:
            applied.dropped[applied.path(name)] = cause
    return record


def _removed(name: str, value: Any, applied: Application) -> Any:
    """``$delete`` says nothing, and ``$unset`` names of properties."""
    if name == "$delete":
        return ""
    names = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple, set, frozenset)) else []
    kept = [str.__str__(name) for name in names if issubclass(type(name), str)]
    if len(kept) != len(names) or (not names and value):
        applied.dropped["$unset"] = Cause.NOT_A_NAME
    return kept


def all_of(message: Message, applied: Application) -> dict[str, Any]:
    """Everything, as the vendor's client would write it, but for what cannot be written."""
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if isinstance(value, dict):
            record[name] = _trees(value, applied)
        else:
            record.update(_trees({name: value}, applied))
    return record


def _trees(properties: Mapping[Any, Any], applied: Application) -> dict[str, Any]:
    kept = {}
    for name, value in named_by_text(properties, applied.dropped).items():
        path = applied.path(name)
        try:
            kept[name] = applied.tree_of(value, path, allow_nan=True)
        except NotOnWireError as error:
            applied.dropped[path] = error.cause
    return kept
