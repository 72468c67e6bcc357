"""What a policy leaves of a whole message: of an event, a profile update, the context of a flag. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from consentpanel._messages.convert import converted, items_of, key_of
from consentpanel._messages.decision import Cause
from consentpanel._messages.message import FLAGS, Message, Subjects
from consentpanel._messages.times import moment_of
from consentpanel._messages.wire import DOUBLED_KEYS, NotOnWireError, named_by_text
from consentpanel._mixpanel.names import (
    DICT_OPERATORS,
    GROUP_NAMES,
    LIST_OPERATORS,
    PERSONAL,
    PROFILE_ID,
    REMOVALS,
    TIMES,
    is_id_name,
)
from consentpanel._mixpanel.structure import PROPERTIES, TOP, Shape
from consentpanel.policy._apply import Application
from consentpanel.policy._compile import Node
from consentpanel.policy._detect.detection import DETECTOR_FAILED, Detection
from consentpanel.policy._paths import ITEMS


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
    top, inside = message.places[TOP], message.places[PROPERTIES]
    if message.endpoint == FLAGS:
        return applied.properties(message.properties, tree, inside)
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name == "event" and message.is_event:
            record[name] = applied.named(message.event or "", name, detection)
        elif name == "properties" and message.is_event:
            record[name] = applied.properties(message.properties, tree, inside, default_of=message.default_of)
        elif name in DICT_OPERATORS and not message.is_event and isinstance(value, dict):
            kept = applied.properties(value, tree, inside, inside=name in LIST_OPERATORS)
            if kept or not value:
                record[name] = kept
        elif name in REMOVALS and not message.is_event:
            _remove(name, value, applied, record)
        elif name in top:
            applied.structural(name, top[name], value, record, message.default_of)
        elif name in PERSONAL:
            # At the top of a message, where `meta=` lands, such a name needs a rule as it does among the properties.
            record.update(applied.properties({name: value}, tree))
        else:
            applied.dropped[applied.path(name)] = Cause.UNNAMED
    _name_group(record, applied, detection)
    return record


def removal_left_of(
    message: Message, applied: Application, cause: Cause, detection: Detection | None
) -> dict[str, Any]:
    """Only what takes data away, rebuilt from parts that say nothing about the person.

    Args:
        message: The message, taken apart.
        applied: Collects what is dropped and changed.
        cause: Why the rest is dropped.
        detection: What looks into the id of a group.

    Raises:
        RefusedError: A detector refuses the id of a group.
    """
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name in REMOVALS:
            _remove(name, value, applied, record)
        elif name in message.places[TOP] and _is_of_profile(name, message.places[TOP][name]):
            said = message.default_of(name) if name in TIMES else None
            if said is not None and not _is_same_minute(value, said):
                applied.changed[name] = Cause.DEFAULT
            # A time of the caller's choice could say something.
            applied.structural(
                name, message.places[TOP][name], value if said is None else said, record, message.default_of
            )
        else:
            applied.dropped[applied.path(name)] = Cause.ID if is_id_name(name) else cause
    _name_group(record, applied, detection)
    return record


def _is_same_minute(value: Any, present: Any) -> bool:
    moment, other = moment_of(value), moment_of(present)
    return moment is not None and other is not None and abs(moment - other) < _MINUTE


_MINUTE = timedelta(minutes=1)


def _is_of_profile(name: str, shape: Shape) -> bool:
    """Whether a structural name says no more than which profile it is: another id would tie two people together."""
    return not shape.is_id or name == PROFILE_ID


def _name_group(record: dict[str, Any], applied: Application, detection: Detection | None) -> None:
    for name in GROUP_NAMES & record.keys():
        record[name] = applied.named(record[name], name, detection)


def _remove(name: str, value: Any, applied: Application, record: dict[str, Any]) -> None:
    """``$delete`` says nothing, and ``$unset`` names of properties in which no detector finds anything."""
    if name == "$delete":
        if type(value) is not str or value:
            applied.changed[name] = Cause.DEFAULT
        record[name] = ""
        return
    names = _names_of(value)
    texts = [text for each in names or () if (text := key_of(each)) is not None]
    if names is None or len(texts) != len(names):
        applied.dropped[name] = Cause.NOT_A_NAME
    kept = []
    for each in texts:
        kind = applied.kind_in_name(each)
        if kind is None:
            kept.append(each)
        else:
            applied.dropped[name] = Cause.DETECTOR_FAILED if kind == DETECTOR_FAILED else Cause.detected(kind)
    if kept or names == []:
        record[name] = kept


def _names_of(value: Any) -> list[Any] | None:
    """What ``$unset`` lists, also as a single name, a generator or a view; None when it cannot be told."""
    if key_of(value) is not None:
        return [value]
    # Suppressed, because the class is the user's and its exception may hold values.
    with suppress(Exception):
        items = items_of(value)
        return items_of(converted(value)) if items is None else items
    return None


def open_ids(message: Message, paths: Iterable[tuple[str, ...]]) -> None:
    """Has a message name those whose ids stand where rules open one below a property.

    Args:
        message: The message; each property on the way becomes its JSON tree, which is judged and sent.
        paths: The steps to each such place.
    """
    subjects = Subjects(message.persons, message.devices)
    holders = [message.properties, *(message.record[name] for name in message.operators if name in DICT_OPERATORS)]
    for holder in holders:
        for top in {path[0] for path in paths} & holder.keys():
            doubled: list[str] = []
            # What has no tree is dropped when the rules are applied.
            with suppress(NotOnWireError):
                holder[top] = message.wire.tree(holder[top], doubled=doubled)
            if doubled:
                message.dropped[f"{top}.{DOUBLED_KEYS}"] = Cause.DUPLICATE_KEY
        for path in paths:
            _open(holder, path, subjects)
    message.persons, message.devices = tuple(subjects.persons), tuple(subjects.devices)


def _open(tree: Any, path: tuple[str, ...], subjects: Subjects) -> None:
    step, *below = path
    if step == ITEMS:
        # What `$append` is given stands for an item of the list.
        for item in tree if isinstance(tree, list) else (tree,):
            _open(item, tuple(below), subjects)
    elif isinstance(tree, dict) and step in tree:
        if below:
            _open(tree[step], tuple(below), subjects)
        else:
            subjects.problem = ""
            opened = subjects.named(step, tree[step])
            # What is no id is dropped when the rules are applied.
            tree[step] = tree[step] if subjects.problem else opened


def all_of(message: Message, applied: Application) -> dict[str, Any]:
    """Everything, as the vendor's client would write it, but for what cannot be written."""
    record: dict[str, Any] = {}
    for name, value in message.record.items():
        if name == "$delete" and not message.is_event:
            _remove(name, value, applied, record)
        elif isinstance(value, dict):
            record[name] = _trees(value, applied)
        else:
            record.update(_trees({name: value}, applied))
    if applied.maps_ids:
        # Their names open no id that nobody was asked about, and that the mapping does not know.
        return {
            name: applied.without_strays(value, name) if name not in message.places[TOP] else value
            for name, value in record.items()
        }
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
