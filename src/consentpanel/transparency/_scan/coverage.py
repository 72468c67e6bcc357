"""What a scan found, held against a policy; and a first policy drafted from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pprint import pformat

import attrs

from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy
from consentpanel.policy._compile import Node
from consentpanel.policy._paths import ITEMS, category_of_path, parts_of
from consentpanel.transparency._scan.calls import Scan

#: The action on a property that no rule names: it is dropped.
UNNAMED = "unnamed"


@attrs.frozen(kw_only=True)
class Used:
    """A property that calls use.

    Attributes:
        scope: Its scope.
        event: The event; None for a profile, or where the event's name is made at run time.
        path: Its path.
        places: ``file:line`` of each call.
        category: The kind of personal data that its name names; None for none.
        action: What the policy does with it; None without a policy.
    """

    scope: str
    event: str | None
    path: str
    places: tuple[str, ...]
    category: str | None = None
    action: str | None = None

    @property
    def is_dropped(self) -> bool:
        """Whether the policy drops it."""
        return self.action in {UNNAMED, "drop", "personal"}


def used_in(found: Scan, policy: FieldPolicy | None = None) -> list[Used]:
    """Each property that the calls use, by scope, event and path."""
    places: dict[tuple[str, str | None, str], list[str]] = {}
    for call in found.calls:
        for event in call.events if call.scope == "events" and call.events else (None,):
            for path in call.properties:
                places.setdefault((call.scope, event, path), []).append(f"{call.file}:{call.line}")
    return [
        Used(
            scope=scope,
            event=event,
            path=path,
            places=tuple(where),
            category=_category_of(scope, path),
            action=None if policy is None else action_on(policy, scope, event, path),
        )
        for (scope, event, path), where in sorted(
            places.items(), key=lambda pair: (pair[0][0], pair[0][1] or "", pair[0][2])
        )
    ]


def _category_of(scope: str, path: str) -> str | None:
    with suppress(ConfigurationError):  # of a name that nobody can write as a path, and that no rule keeps
        return category_of_path(scope, path)
    return None


def action_on(policy: FieldPolicy, scope: str, event: str | None, path: str) -> str:
    """The word for what a policy does with a property."""
    if policy.keeps_all:
        return "keep"
    node: Node | None = policy.compiled(scope, event).tree
    is_deep = False
    try:
        steps = parts_of(scope, path)
    except ConfigurationError:
        return UNNAMED
    for step in steps:
        found = None
        if node is not None:
            found = node.items if step == ITEMS else (node.of_key(step) or (None, None))[1]
            # A rule for a list holds for its items.
            found = node if step == ITEMS and found is None else found
        if found is None and not is_deep:
            return UNNAMED
        node = found
        is_deep = is_deep if node is None else node.deep
    if node is None or node.action is None:
        return "keep" if is_deep else UNNAMED
    return node.action.name


def unused_rules(found: Scan, policy: FieldPolicy) -> list[str]:
    """The rules whose property no call uses, as far as names are written down."""
    used = {(each.scope, each.event, each.path) for each in used_in(found)}
    unused = []
    for scope in ("events", "people", "groups"):
        paths = {path for each, _, path in used if each == scope}
        unused += [f"{scope}[{path!r}]" for path in policy.rules(scope) if not _covers(path, paths)]
    for event in policy.event_names:
        paths = {path for each, name, path in used if each == "events" and name in (event, None)}
        unused += [f"for_event({event!r})[{path!r}]" for path in policy.own_rules(event) if not _covers(path, paths)]
    return unused


def _covers(rule: str, paths: Iterable[str]) -> bool:
    return any(
        path == rule or path.startswith((f"{rule}.", f"{rule}[]")) or rule.startswith(f"{path}.") for path in paths
    )


def drafted(found: Scan) -> str:
    """Python code of a first policy: what is written down and not personal by its name is kept, the rest is not."""
    used = used_in(found)
    lines = [
        '"""A first policy, drafted from the calls in the code. Read each line: what is kept is shared."""',
        "",
        "from consentpanel import FieldPolicy, drop, keep",
        "",
        "POLICY = FieldPolicy(",
    ]
    for scope in ("events", "people", "groups"):
        properties = [each for each in used if each.scope == scope and each.event is None]
        if properties:
            lines += [f"    {scope}={{", *_rules(properties, 8), "    },"]
    events = sorted({event for call in found.calls for event in call.events})
    if events and not any(call.has_other_events for call in found.calls):
        lines += ['    unplanned_events="drop",', *_listed("    planned_events", events)]
    lines.append(")")
    for event in sorted({each.event for each in used if each.event is not None}):
        properties = [each for each in used if each.event == event]
        lines += ["POLICY = POLICY.for_event(", f"    {event!r},", "    {", *_rules(properties, 8), "    },", ")"]
    return "\n".join(lines) + "\n"


def _listed(name: str, values: list[str]) -> list[str]:
    return f"{name}={pformat(values, width=110)},".splitlines()


def _rules(properties: Iterable[Used], indent: int) -> list[str]:
    lines = []
    for each in properties:
        action = "keep(),"
        if each.category is not None:
            action = f"drop(),  # {each.category}: keep(categories=[...], reason=...) if meant"
        lines.append(f"{' ' * indent}{each.path!r}: {action}")
    return lines


def as_json(found: Scan, policy: FieldPolicy | None) -> Mapping[str, object]:
    """All that was found, as JSON."""
    return {
        "files": found.files,
        "calls": [attrs.asdict(call) for call in found.calls],
        "properties": [attrs.asdict(each) for each in used_in(found, policy)],
        "unused_rules": [] if policy is None else unused_rules(found, policy),
        "doubtful": [{"file": file, "line": line, "text": text} for file, line, text in found.doubtful],
        "unread": [{"file": file, "problem": problem} for file, problem in found.unread],
    }
