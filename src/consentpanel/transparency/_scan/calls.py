"""Finds the calls of the client in a code base, by its syntax alone: nothing of it is run.

What is written down is found; what is made at run time (an f-string, a name from elsewhere) is told to be, never guessed.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from consentpanel._mixpanel.calls import CALLS, UPDATES
from consentpanel._mixpanel.names import DICT_OPERATORS
from consentpanel.policy._names import category_of
from consentpanel.policy._paths import written
from consentpanel.transparency._files import read
from consentpanel.transparency._scan.methods import Methods
from consentpanel.transparency._scan.source import MAX_DEPTH, Module, Place, depth_of, dotted, files_of
from consentpanel.transparency._scan.world import Said, World, argument, said_at, together
from consentpanel.transparency._scan.wrappers import Wrapper, wrapper_of


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
        doubtful: Places where something may be sent that cannot be read: a method is called on what may be a client, or handed to
            what may call it, or a function is called that hands its arguments on in its own way: file, line, text.
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
        clients: More expressions that have the client's methods, such as a wrapper: ``"analytics"``,
            ``"self.tracker"``, ``"clients['eu']"``, ``"get_client()"``.

    Returns:
        What was found.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ConfigurationError: One of the clients is no expression.

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
    search = _Search(modules, World(modules, clients))
    search.calls.sort(key=lambda call: (call.file, call.line))
    reached = {(call.file, call.line) for call in search.calls}
    return Scan(
        calls=tuple(search.calls),
        doubtful=tuple(sorted({each for each in search.doubtful if each[:2] not in reached})),
        unread=tuple(unread),
        files=len(modules),
    )


class _Search:
    """Goes through all files: for calls of the client, then for those of functions that hand their arguments on to it."""

    def __init__(self, modules: Sequence[Module], world: World) -> None:
        self._modules = modules
        self._world = world
        self._wrappers: dict[str, Wrapper] = {}
        self._explained: set[ast.expr] = set()
        self.calls: list[FoundCall] = []
        self.doubtful: list[tuple[str, int, str]] = []
        self._find_calls(Methods(world, modules, self._is_method))
        self._find_calls_of_wrappers(Methods(world, modules, self._is_wrapper))

    def _is_method(self, node: ast.expr, place: Place) -> bool:
        return _call_of(ast.copy_location(ast.Call(node, [], []), node), place, self._world) is not None

    def _is_wrapper(self, node: ast.expr, _: Place) -> bool:
        return dotted(node).rpartition(".")[2] in self._wrappers

    def _find_calls(self, methods: Methods) -> None:
        for node, place in self._all_calls():
            self._add(node, place)
            for bound, call in methods.calls_at(node, place):
                self._explained.update(bound.via)
                self._add(call, place)
        # What was prepared, and is called where nobody sees it.
        for node, place in self._all_calls():
            for bound, call in () if node in self._explained else methods.prepared_at(node, place):
                self._explained.update(bound.via)
                self._add(call, place)
        for node, place in self._all_calls():
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in CALLS and (name.startswith(("people_", "group_")) or place.module.imports_vendor):
                self._doubt(node, place, f"{_text(node.func)}(...)")
        for module in self._modules:
            for reference, place in module.references:
                self._world.ask()
                if reference not in self._explained and self._may_be_method(reference, place):
                    self._doubt(reference, place, _text(reference))

    def _all_calls(self) -> Iterator[tuple[ast.Call, Place]]:
        for module in self._modules:
            for node, place in module.calls:
                self._world.ask()
                yield node, place

    def _add(self, node: ast.Call, place: Place) -> None:
        found = _call_of(node, place, self._world)
        if found is None:
            return
        self.calls.append(found)
        method = _method_of_client(node, place, self._world)
        wrapper = wrapper_of(node, place, method, self._world) if method else None
        if wrapper is not None:
            self._wrappers.setdefault(wrapper.name, wrapper)

    def _may_be_method(self, node: ast.expr, place: Place) -> bool:
        if not isinstance(node, ast.Call):
            return self._is_method(node, place)
        if len(node.args) < 2 or not self._world.is_client(node.args[0], place):
            return False
        names, has_others = self._world.texts(node.args[1], place)
        return has_others or not CALLS.keys().isdisjoint(names)

    def _find_calls_of_wrappers(self, methods: Methods) -> None:
        found = {(call.file, call.line) for call in self.calls}
        for node, place in self._all_calls():
            for call in (node, *(call for _, call in methods.calls_at(node, place))):
                wrapper = self._wrappers.get(dotted(call.func).rpartition(".")[2])
                if wrapper is None or (place.module.file, call.lineno) in found:
                    continue
                if not wrapper.is_readable:
                    if wrapper.is_meant(call, place):
                        self._doubt(node, place, f"{_text(call.func)}(...), which hands on to {wrapper.method}")
                elif wrapper.fits(call):
                    self.calls.append(_wrapped_call(call, wrapper, place, self._world))

    def _doubt(self, node: ast.expr, place: Place, text: str) -> None:
        self.doubtful.append((place.module.file, node.lineno, text))


def _text(node: ast.expr) -> str:
    return ast.unparse(node)[:80]


def _call_of(node: ast.Call, place: Place, world: World) -> FoundCall | None:
    """A call of the client, or of what an adapter has beside it; None for anything else."""
    adapted = _adapted_call(node, place, world)
    if adapted is not None:
        return adapted
    method = _method_of_client(node, place, world)
    return _call(node, method, place, world) if method else None


def _method_of_client(node: ast.Call, place: Place, world: World) -> str:
    """The method of the client that is called; empty for anything else."""
    function = node.func
    is_method = isinstance(function, ast.Attribute) and function.attr in CALLS
    return (
        function.attr
        if isinstance(function, ast.Attribute) and is_method and world.is_client(function.value, place)
        else ""
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
    function = node.func
    if not isinstance(function, ast.Attribute) or function.attr not in _OF_A_REQUEST:
        return None
    if not world.is_consent(function.value, place):
        return None
    events = said_at(node, (0, "event_name"), world.texts, place)
    paths = said_at(node, (1, "properties"), world.paths, place)
    return _found(node, function.attr, "events", place, events, paths)


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


def _wrapped_call(node: ast.Call, wrapper: Wrapper, place: Place, world: World) -> FoundCall:
    """A call of a wrapper; what the wrapper adds itself is told where it calls the client."""
    events = said_at(node, wrapper.event, world.texts, place)
    paths, has_others = said_at(node, wrapper.properties, world.paths, place)
    if wrapper.takes_keywords:
        paths = [*paths, *(written(name) for each in node.keywords if (name := each.arg) and name not in wrapper.named)]
    method, scope = f"{wrapper.name} ({wrapper.method})", CALLS[wrapper.method].scope
    return _found(node, method, scope, place, events, (paths, has_others))
