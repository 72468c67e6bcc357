"""Finds the calls of the client in a code base, by its syntax alone: nothing of it is run.

What is written down is found; what is made at run time (an f-string, a name from elsewhere) is told to be, never guessed.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import attrs

from consentpanel._mixpanel.calls import CALLS, UPDATES
from consentpanel._mixpanel.names import DICT_OPERATORS
from consentpanel.policy._names import category_of
from consentpanel.policy._paths import written
from consentpanel.transparency._files import read
from consentpanel.transparency._scan.source import (
    MAX_DEPTH,
    Module,
    Place,
    Said,
    World,
    argument,
    depth_of,
    dotted,
    files_of,
    said_at,
    together,
)


@attrs.frozen(kw_only=True)
class FoundCall:
    """One call of the client.

    Attributes:
        file: The file, as it was named.
        line: The line, from 1.
        method: The client's method.
        scope: ``"events"``, ``"people"`` or ``"groups"``.
        events: The names of the event that are written down; several where one is chosen.
        has_other_events: Whether a name is made at run time.
        properties: The paths of the properties that are written down.
        has_other_properties: Whether properties come from elsewhere.
        id_category: The kind of personal data that the id is by its name, such as ``user.email``; None for none.
    """

    file: str
    line: int
    method: str
    scope: str
    events: tuple[str, ...] = ()
    has_other_events: bool = False
    properties: tuple[str, ...] = ()
    has_other_properties: bool = False
    id_category: str | None = None


@attrs.frozen(kw_only=True)
class Scan:
    """What was found in a code base.

    Attributes:
        calls: Each call of the client.
        doubtful: Places where a method of the client's is called on something that may be one: file, line, text.
        unread: Files and folders that cannot be read, or are no Python of this version, with the problem.
        files: How many files were read.
    """

    calls: tuple[FoundCall, ...]
    doubtful: tuple[tuple[str, int, str], ...]
    unread: tuple[tuple[str, str], ...]
    files: int


def scan(path: str | os.PathLike[str], clients: Iterable[str] = ()) -> Scan:
    r"""Finds every call of the client below a folder.

    Args:
        path: A folder, or one file.
        clients: Names of more objects that have the client's methods, such as a wrapper: ``"analytics"``,
            ``"self.tracker"``.

    Returns:
        What was found.

    Raises:
        FileNotFoundError: There is no such file or folder.

    Example:
        >>> from pathlib import Path
        >>> from consentpanel.transparency import scan
        >>> _ = Path("shop.py").write_text("from mixpanel import Mixpanel\nMixpanel('T').track(1, 'Paid', {'total': 9})")
        >>> [(call.line, call.events, call.properties) for call in scan("shop.py").calls]
        [(2, ('Paid',), ('total',))]
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"there is no {root}")
    modules: list[Module] = []
    unread: list[tuple[str, str]] = []
    for file in files_of(root, lambda error: unread.append((str(error.filename), _problem(error)))):
        try:
            modules.append(_module(file))
        except _BAD_FILE as error:
            unread.append((str(file), _problem(error)))
    world = World(modules, clients)
    calls: list[FoundCall] = []
    doubtful: list[tuple[str, int, str]] = []
    wrappers: dict[str, _Wrapper] = {}
    for module in modules:
        for node, place in module.calls:
            world.ask()
            if (adapted := _adapted_call(node, place, world)) is not None:
                calls.append(adapted)
                continue
            if not isinstance(node.func, ast.Attribute) or node.func.attr not in CALLS:
                continue
            if world.is_client(node.func.value, place):
                wrapper = _wrapper_of(node, node.func.attr, place)
                if wrapper is not None:
                    wrappers.setdefault(wrapper.name, wrapper)
                calls.append(_call(node, node.func.attr, place, world))
            elif node.func.attr.startswith(("people_", "group_")) or module.imports_vendor:
                doubtful.append((module.file, node.lineno, f"{ast.unparse(node.func)[:80]}(...)"))
    found = {(call.file, call.line) for call in calls}
    for module in modules:
        for node, place in module.calls:
            world.ask()
            name = dotted(node.func).rpartition(".")[2]
            if name in wrappers and (module.file, node.lineno) not in found and _fits(node, wrappers[name]):
                calls.append(_wrapped_call(node, wrappers[name], place, world))
    reached = {(call.file, call.line) for call in calls}
    calls.sort(key=lambda call: (call.file, call.line))
    return Scan(
        calls=tuple(calls),
        doubtful=tuple(sorted(each for each in doubtful if each[:2] not in reached)),
        unread=tuple(unread),
        files=len(modules),
    )


# Of the parser: MemoryError and RecursionError are what it says of code that is nested too deeply.
_BAD_FILE = (SyntaxError, ValueError, RecursionError, MemoryError, OSError)


def _module(file: Path) -> Module:
    data = read(file)
    with warnings.catch_warnings():
        # They are about the code, and quote it.
        warnings.simplefilter("ignore")
        tree = ast.parse(data)
    if depth_of(tree) > MAX_DEPTH:
        raise RecursionError
    return Module(str(file), tree)


def _problem(error: Exception) -> str:
    """What is wrong with a file, in words without any text of it."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, (RecursionError, MemoryError)):
        return "nested too deeply"
    # A NUL is a ValueError before Python 3.12.
    return SyntaxError.__name__


def _call(node: ast.Call, method: str, place: Place, world: World) -> FoundCall:
    call = CALLS[method]
    events = said_at(node, _at(call.event, "event_name"), world.texts, place)
    if method in UPDATES.values():
        paths = said_at(node, (0, "message"), lambda given, at: _of_update(given, at, world), place)
    else:
        paths = said_at(node, _at(call.properties, "properties"), world.paths, place)
    return attrs.evolve(_found(node, method, call.scope, place, events, paths), id_category=_id_category(node, method))


#: What the consent of a request has, which knows whom it is about.
_OF_A_REQUEST = frozenset({"track", "atrack", "track_on_commit", "atrack_on_commit"})


def _adapted_call(node: ast.Call, place: Place, world: World) -> FoundCall | None:
    """A call of what an adapter to a framework has beside its client; None for anything else."""
    name = dotted(node.func)
    method = place.module.adapter_name(name).removesuffix("_on_commit")
    if method in CALLS and not name.endswith(f".{method}") and name != method:
        return attrs.evolve(_call(node, method, place, world), method=f"{method}_on_commit")
    owner, _, method = name.rpartition(".")
    is_request = owner == "request.consent" or owner.endswith(".request.consent")
    if method not in _OF_A_REQUEST or not (is_request or place.module.adapter_name(owner) == "current_consent"):
        return None
    events = said_at(node, (0, "event_name"), world.texts, place)
    paths = said_at(node, (1, "properties"), world.paths, place)
    return _found(node, method, "events", place, events, paths)


def _found(node: ast.Call, method: str, scope: str, place: Place, events: Said, paths: Said) -> FoundCall:
    return FoundCall(
        file=place.module.file,
        line=node.lineno,
        method=method,
        scope=scope,
        events=tuple(dict.fromkeys(events[0])),
        has_other_events=events[1],
        properties=tuple(dict.fromkeys(paths[0])),
        has_other_properties=paths[1],
    )


def _at(position: int | None, keyword: str) -> tuple[int, str] | None:
    return None if position is None else (position, keyword)


def _id_category(node: ast.Call, method: str) -> str | None:
    """What the name of the variable or attribute says that holds a person's id."""
    if CALLS[method].scope == "groups" or method in UPDATES.values():
        return None
    given, _ = argument(node, 1 if method == "import_data" else 0, "distinct_id")
    last = dotted(given).rpartition(".")[2] if given is not None else ""
    category = category_of(last) if last else None
    # An id may be called an id.
    return None if category in {"user.unique_id", "user.device.cookie_id"} else category


def _of_update(message: ast.expr | None, place: Place, world: World) -> Said:
    """The properties under the operators of an update that is written down."""
    if not isinstance(message, ast.Dict):
        return [], True
    parts: list[Said] = []
    for key, value in zip(message.keys, message.values, strict=True):
        names, has_others = ([], True) if key is None else world.texts(key, place)
        parts.append(([], has_others))
        if names and names[0] in DICT_OPERATORS:
            parts.append(world.paths(value, place))
    return together(parts)


@attrs.frozen
class _Wrapper:
    """A function that hands its own arguments on as the name or the properties of an event."""

    name: str
    method: str
    scope: str
    event: tuple[int, str] | None
    properties: tuple[int, str] | None
    takes_keywords: bool


def _wrapper_of(node: ast.Call, method: str, place: Place) -> _Wrapper | None:
    """The function around a call, when it hands its own parameters on."""
    function = place.function
    if function is None or function.name in CALLS.keys() - {"track"} or CALLS[method].properties is None:
        return None
    given = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    is_method = bool(given) and given[0] in {"self", "cls"}
    names = given[1:] if is_method else given
    keyword_only = [each.arg for each in function.args.kwonlyargs]

    def handed_on(expression: ast.expr | None) -> tuple[int, str] | None:
        for each in ast.walk(expression) if expression is not None else ():
            if isinstance(each, ast.Name) and each.id in (*names, *keyword_only):
                return (names.index(each.id) if each.id in names else len(names) + 99), each.id
        # A variable that is made of a parameter: props = properties or {}.
        name = "" if expression is None else dotted(expression)
        for value in place.values(name) if name else ():
            if value is not expression and (found := handed_on(value)) is not None:
                return found
        return None

    call = CALLS[method]
    event = None if call.event is None else handed_on(argument(node, call.event, "event_name")[0])
    properties = None if call.properties is None else handed_on(argument(node, call.properties, "properties")[0])
    if event is None and properties is None:
        return None
    takes_keywords = function.args.kwarg is not None
    return _Wrapper(function.name, method, call.scope, event, properties, takes_keywords)


def _fits(node: ast.Call, wrapper: _Wrapper) -> bool:
    """Whether a call of that name hands over what the wrapper hands on; another object may have such a method too."""
    needed = wrapper.event or wrapper.properties
    return needed is None or any(argument(node, *needed))


def _wrapped_call(node: ast.Call, wrapper: _Wrapper, place: Place, world: World) -> FoundCall:
    """A call of a wrapper; what the wrapper adds itself is told where it calls the client."""
    events = said_at(node, wrapper.event, world.texts, place)
    paths, has_others = said_at(node, wrapper.properties, world.paths, place)
    if wrapper.takes_keywords:
        taken = {where[1] for where in (wrapper.event, wrapper.properties) if where is not None}
        paths += [written(each.arg) for each in node.keywords if each.arg is not None and each.arg not in taken]
    return _found(node, f"{wrapper.name} ({wrapper.method})", wrapper.scope, place, events, (paths, has_others))
