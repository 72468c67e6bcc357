"""Finds the calls of the client in a code base, by its syntax alone: nothing of it is run (contract rule 6.1).

What is written down is found; what is made at run time (an f-string, a name from elsewhere) is told to be, never guessed.
"""

from __future__ import annotations

import ast
import os
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from consentpanel._public import public
from consentpanel.policy._names import category_of
from consentpanel.policy._paths import ITEMS, written

_PACKAGES = frozenset({"mixpanel", "consentpanel"})
_CLASS = "Mixpanel"
_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist", "venv"})
# Where each method has its event's name and its properties: by position, and by keyword.
_EVENT_CALLS = {"track": (1, 2), "import_data": (2, 4)}
_PROFILE_CALLS = {
    **dict.fromkeys(
        ("people_set", "people_set_once", "people_increment", "people_append", "people_union", "people_remove"),
        ("people", 1),
    ),
    "people_track_charge": ("people", 2),
    **dict.fromkeys(("group_set", "group_set_once", "group_union", "group_remove"), ("groups", 2)),
}
_UPDATE_CALLS = {"people_update": "people", "group_update": "groups"}
_NO_PROPERTIES = frozenset({"alias", "merge", "people_unset", "people_delete", "people_clear_charges", "group_unset"})
_KNOWN = {*_EVENT_CALLS, *_PROFILE_CALLS, *_UPDATE_CALLS, *_NO_PROPERTIES, "group_delete"}
_OPERATORS = frozenset({"$set", "$set_once", "$add", "$append", "$union", "$remove"})


@public("consentpanel.transparency")
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


@public("consentpanel.transparency")
@attrs.frozen(kw_only=True)
class Scan:
    """What was found in a code base.

    Attributes:
        calls: Each call of the client.
        doubtful: Places where a method of the client's is called on something that may be one: file, line, text.
        unread: Files that are no Python of this version, with the problem.
        files: How many files were read.
    """

    calls: tuple[FoundCall, ...]
    doubtful: tuple[tuple[str, int, str], ...]
    unread: tuple[tuple[str, str], ...]
    files: int


@public("consentpanel.transparency")
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
    modules: list[_Module] = []
    unread: list[tuple[str, str]] = []
    for file in _files(root):
        try:
            with tokenize.open(file) as stream:
                tree = ast.parse(stream.read())
        except (SyntaxError, ValueError, UnicodeDecodeError, RecursionError, OSError) as error:
            unread.append((str(file), type(error).__name__))
        else:
            modules.append(_Module(str(file), tree))
    world = _World(modules, clients)
    calls: list[FoundCall] = []
    doubtful: list[tuple[str, int, str]] = []
    wrappers: dict[str, _Wrapper] = {}
    for module in modules:
        for node, place in module.calls:
            if not isinstance(node.func, ast.Attribute) or node.func.attr not in _KNOWN:
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
            name = _dotted(node.func).rpartition(".")[2]
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


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(each for each in folders if each not in _SKIPPED and not each.startswith("."))
        yield from (Path(directory, name) for name in sorted(names) if name.endswith(".py"))


class _Scope:
    """What one function, class or file assigns to which name."""

    def __init__(self, parameters: Iterable[str] = ()) -> None:
        self.parameters = frozenset(parameters)
        self.assigned: dict[str, list[ast.expr]] = defaultdict(list)
        self.added: dict[str, list[ast.expr]] = defaultdict(list)
        self.annotated: dict[str, ast.expr] = {}


@attrs.frozen(eq=False)
class _Place:
    """A file, and the scopes that are open at a place of it, the innermost last."""

    module: _Module
    scopes: tuple[_Scope, ...]
    function: ast.FunctionDef | ast.AsyncFunctionDef | None = None

    def _home(self, name: str) -> _Scope | None:
        if "." in name:
            return self.module.objects
        for scope in reversed(self.scopes):
            if name in scope.assigned or name in scope.parameters:
                return scope
        return None

    def values(self, name: str) -> list[ast.expr]:
        """What is assigned to a name that is seen from here."""
        home = self._home(name)
        return [] if home is None else home.assigned.get(name, [])

    def is_parameter(self, name: str) -> bool:
        """Whether a name is (also) whatever the caller hands over."""
        home = self._home(name)
        return home is not None and name in home.parameters

    def added(self, name: str) -> list[ast.expr]:
        """What is put into a mapping of that name."""
        home = self._home(name)
        return [] if home is None else home.added.get(name, [])

    def annotation(self, name: str) -> ast.expr | None:
        """The type that a name is declared with."""
        home = self._home(name)
        return None if home is None else home.annotated.get(name)


class _Module(ast.NodeVisitor):
    """One file: its imports, its scopes, and the places of its calls."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.file = file
        self.packages: set[str] = set()
        self.classes: set[str] = set()
        self.imported: dict[str, str] = {}
        self.objects = _Scope()
        """Names with a dot, such as ``self.client``: one for the file."""
        self.top = _Place(self, (_Scope(),))
        self.functions: list[tuple[ast.FunctionDef | ast.AsyncFunctionDef, _Place]] = []
        self.calls: list[tuple[ast.Call, _Place]] = []
        self._here = self.top
        self._class = ""
        self.visit(tree)

    @property
    def imports_vendor(self) -> bool:
        """Whether the file imports the client's package at all."""
        return bool(self.packages or self.classes)

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            if name.name.partition(".")[0] in _PACKAGES:
                self.packages.add(name.asname or name.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for name in node.names:
            self.imported[name.asname or name.name] = name.name
            if (node.module or "").partition(".")[0] in _PACKAGES and name.name == _CLASS:
                self.classes.add(name.asname or name.name)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for each in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(each)
        arguments = _parameters(node)
        scope = _Scope(each.arg for each in arguments)
        scope.annotated.update({each.arg: each.annotation for each in arguments if each.annotation is not None})
        before = self._here
        self._here = _Place(self, (*before.scopes, scope), node)
        self.functions.append((node, self._here))
        for statement in node.body:
            self.visit(statement)
        self._here = before

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        before, self._class = self._class, node.name
        self.generic_visit(node)
        self._class = before

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        name = _dotted(node.target)
        if name:
            self._scope(name).annotated[name] = node.annotation
        if node.value is not None:
            self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        name = _dotted(node.target)
        if isinstance(node.op, ast.BitOr) and name:
            self._scope(name).added[name].append(node.value)
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._assign(node.optional_vars, node.context_expr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.calls.append((node, self._here))
        name = _dotted(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
            added = self._scope(name).added[name]
            added += node.args
            if node.keywords:
                added.append(ast.Call(ast.Name("dict"), [], node.keywords))
        self.generic_visit(node)

    def _scope(self, name: str) -> _Scope:
        if "." in name:
            return self.objects
        return self._here.scopes[-1]

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Subscript):
            name, key = _dotted(target.value), target.slice
            # A key that is made at run time is told by a name that nobody assigns.
            self._scope(name).added[name].append(ast.Dict([key], [value]))
            return
        name = _dotted(target)
        if not name:
            return
        self._scope(name).assigned[name].append(value)
        if self._class and "." not in name and self._here.function is None:
            self.objects.assigned[f"{self._class}.{name}"].append(value)


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    given = node.args
    more = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *more]


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` for a name or attributes of one; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


class _World:
    """All files together: which names are clients, and which are texts."""

    _DEEPEST = 6

    def __init__(self, modules: Sequence[_Module], clients: Iterable[str]) -> None:
        self._named = frozenset(clients)
        self._clients: set[str] = set()
        self._makers: set[str] = set()
        self._texts: dict[str, set[str]] = defaultdict(set)
        for module in modules:
            for scope in (module.objects, module.top.scopes[0]):
                for name, values in scope.assigned.items():
                    said = (value.value for value in values if isinstance(value, ast.Constant))
                    self._texts[name].update(each for each in said if isinstance(each, str))
        # A client that is made in one file is used in others by its name; twice, for those that are made of others.
        for _ in range(2):
            for module in modules:
                for scope in (module.objects, module.top.scopes[0]):
                    for name, values in scope.assigned.items():
                        if any(self._makes(value, module.top, 0) for value in values):
                            self._clients.add(name.rpartition(".")[2])
                for function, place in module.functions:
                    if self._returns_client(function, place):
                        self._makers.add(function.name)

    def _returns_client(self, function: ast.FunctionDef | ast.AsyncFunctionDef, place: _Place) -> bool:
        if function.returns is not None and self._is_class(function.returns, place.module):
            return True
        returned = (
            node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None
        )
        return any(self._makes(value, place, 0) for value in returned)

    def _is_class(self, node: ast.expr, module: _Module) -> bool:
        if isinstance(node, ast.BinOp):  # Mixpanel | None
            return self._is_class(node.left, module) or self._is_class(node.right, module)
        if isinstance(node, ast.Subscript):  # Optional[Mixpanel]
            return self._is_class(node.slice, module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value.rpartition(".")[2] == _CLASS and module.imports_vendor
        name = _dotted(node)
        package, _, attribute = name.rpartition(".")
        return name in module.classes or (attribute == _CLASS and package in module.packages)

    def _makes(self, node: ast.expr, place: _Place, depth: int) -> bool:
        if isinstance(node, (ast.Await, ast.NamedExpr)):
            return self._makes(node.value, place, depth)
        if isinstance(node, ast.IfExp):
            return self._makes(node.body, place, depth) or self._makes(node.orelse, place, depth)
        if isinstance(node, ast.BoolOp):
            return any(self._makes(value, place, depth) for value in node.values)
        if isinstance(node, ast.Call):
            name = _dotted(node.func)
            return self._is_class(node.func, place.module) or name.rpartition(".")[2] in self._makers
        return self.is_client(node, place, depth + 1)

    def is_client(self, node: ast.expr, place: _Place, depth: int = 0) -> bool:
        """Whether an expression is a client, as far as the code says."""
        if depth > self._DEEPEST:
            return False
        if isinstance(node, (ast.Call, ast.Await, ast.IfExp, ast.BoolOp, ast.NamedExpr)):
            return self._makes(node, place, depth)
        name = _dotted(node)
        if not name:
            return False
        last = name.rpartition(".")[2]
        if name in self._named or last in self._named:
            return True
        annotation = place.annotation(name)
        if annotation is not None and self._is_class(annotation, place.module):
            return True
        values = place.values(name)
        if any(self._makes(value, place, depth + 1) for value in values):
            return True
        # Made in another file, and imported or reached through an object.
        is_from_elsewhere = name in place.module.imported or ("." in name and not values)
        return is_from_elsewhere and place.module.imported.get(name, last) in self._clients

    def texts(self, node: ast.expr | None, place: _Place, depth: int = 0) -> tuple[list[str], bool]:
        """The texts that an expression can be, and whether it can be others."""
        if node is None or depth > self._DEEPEST:
            return [], True
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value], False
        if isinstance(node, ast.IfExp):
            one, other = self.texts(node.body, place, depth + 1), self.texts(node.orelse, place, depth + 1)
            return [*one[0], *other[0]], one[1] or other[1]
        name = _dotted(node).removesuffix(".value")
        values = place.values(name)
        if values and not place.is_parameter(name):
            found = [self.texts(value, place, depth + 1) for value in values]
            return [text for texts, _ in found for text in texts], any(others for _, others in found)
        source = place.module.imported.get(name, name)
        known = self._texts.get(source, set()) if name else set()
        # A name that stands for one text in the whole code base is taken for that.
        return (
            (list(known), False) if len(known) == 1 and (name in place.module.imported or "." in name) else ([], True)
        )

    def paths(self, node: ast.expr | None, place: _Place, above: str = "", depth: int = 0) -> tuple[list[str], bool]:
        """The paths of the properties that an expression holds, and whether it can hold others."""
        if node is None or (isinstance(node, ast.Constant) and node.value is None):
            return [], False
        if depth > self._DEEPEST:
            return [], True
        if isinstance(node, ast.Dict):
            return self._of_dict(node, place, above, depth)
        if isinstance(node, ast.Call) and _dotted(node.func) == "dict":
            pairs = [(each.arg, each.value) for each in node.keywords]
            parts = [self.paths(each, place, above, depth + 1) for each in node.args]
            parts += [self._of_value(name, value, place, above, depth) for name, value in pairs]
            return _together(parts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return _together(self.paths(each, place, above, depth + 1) for each in (node.left, node.right))
        if isinstance(node, ast.IfExp):
            return _together(self.paths(each, place, above, depth + 1) for each in (node.body, node.orelse))
        if isinstance(node, ast.BoolOp):
            return _together(self.paths(each, place, above, depth + 1) for each in node.values)
        name = _dotted(node)
        known = [*place.values(name), *place.added(name)] if name else []
        paths, has_others = _together(self.paths(each, place, above, depth + 1) for each in known)
        return paths, has_others or not known or not place.values(name) or place.is_parameter(name)

    def _of_dict(self, node: ast.Dict, place: _Place, above: str, depth: int) -> tuple[list[str], bool]:
        parts = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # **more
                parts.append(self.paths(value, place, above, depth + 1))
                continue
            names, has_others = self.texts(key, place)
            parts += [self._of_value(name, value, place, above, depth) for name in names]
            parts.append(([], has_others))
        return _together(parts)

    def _of_value(
        self, name: str | None, value: ast.expr, place: _Place, above: str, depth: int
    ) -> tuple[list[str], bool]:
        if name is None:
            return self.paths(value, place, above, depth + 1)
        path = above + written(name)
        if isinstance(value, ast.Dict) and value.keys:
            return self._of_dict(value, place, f"{path}.", depth + 1)
        if isinstance(value, (ast.List, ast.Tuple)) and value.elts and all(isinstance(e, ast.Dict) for e in value.elts):
            return _together(self.paths(each, place, f"{path}{ITEMS}.", depth + 1) for each in value.elts)
        return [path], False


def _together(parts: Iterable[tuple[list[str], bool]]) -> tuple[list[str], bool]:
    found: dict[str, None] = {}
    has_others = False
    for paths, others in parts:
        found.update(dict.fromkeys(paths))
        has_others = has_others or others
    return list(found), has_others


def _argument(node: ast.Call, position: int, keyword: str) -> tuple[ast.expr | None, bool]:
    """An argument, and whether it may hide behind a star."""
    for each in node.keywords:
        if each.arg == keyword:
            return each.value, False
    if any(isinstance(each, ast.Starred) for each in node.args[: position + 1]):
        return None, True
    if len(node.args) > position:
        return node.args[position], False
    return None, any(each.arg is None for each in node.keywords)


_Read: TypeAlias = Callable[["ast.expr | None", _Place], tuple[list[str], bool]]


def _said(node: ast.Call, where: tuple[int, str] | None, read: _Read, place: _Place) -> tuple[list[str], bool]:
    """What an argument says by one of the readers, and whether it says more than is written down."""
    if where is None:
        return [], False
    given, is_hidden = _argument(node, *where)
    found, has_others = read(given, place)
    return found, has_others or is_hidden


def _call(node: ast.Call, method: str, place: _Place, world: _World) -> FoundCall:
    if method in _EVENT_CALLS:
        name_at, properties_at = _EVENT_CALLS[method]
        events, has_other_events = _said(node, (name_at, "event_name"), world.texts, place)
        paths, has_others = _said(node, (properties_at, "properties"), world.paths, place)
        return FoundCall(
            file=place.module.file,
            line=node.lineno,
            method=method,
            scope="events",
            events=tuple(dict.fromkeys(events)),
            has_other_events=has_other_events,
            properties=tuple(paths),
            has_other_properties=has_others,
            id_category=_id_category(node, method),
        )
    scope = "groups" if method.startswith("group_") else "people"
    paths, has_others = [], False
    if method in _PROFILE_CALLS:
        paths, has_others = _said(node, (_PROFILE_CALLS[method][1], "properties"), world.paths, place)
    elif method in _UPDATE_CALLS:
        paths, has_others = _said(node, (0, "message"), lambda given, at: _of_update(given, at, world), place)
    return FoundCall(
        file=place.module.file,
        line=node.lineno,
        method=method,
        scope=scope,
        properties=tuple(paths),
        has_other_properties=has_others,
        id_category=_id_category(node, method),
    )


def _id_category(node: ast.Call, method: str) -> str | None:
    """What the name of the variable or attribute says that holds a person's id."""
    if method.startswith("group_") or method in _UPDATE_CALLS:
        return None
    given, _ = _argument(node, 1 if method == "import_data" else 0, "distinct_id")
    last = _dotted(given).rpartition(".")[2] if given is not None else ""
    category = category_of(last) if last else None
    # An id may be called an id.
    return None if category in {"user.unique_id", "user.device.cookie_id"} else category


def _of_update(message: ast.expr | None, place: _Place, world: _World) -> tuple[list[str], bool]:
    """The properties under the operators of an update that is written down."""
    if not isinstance(message, ast.Dict):
        return [], True
    parts: list[tuple[list[str], bool]] = []
    for key, value in zip(message.keys, message.values, strict=True):
        names, has_others = ([], True) if key is None else world.texts(key, place)
        parts.append(([], has_others))
        if names and names[0] in _OPERATORS:
            parts.append(world.paths(value, place))
    return _together(parts)


@attrs.frozen(kw_only=True)
class _Wrapper:
    """A function that hands its own arguments on as the name or the properties of an event."""

    name: str
    method: str
    scope: str
    event: tuple[int, str] | None
    properties: tuple[int, str] | None
    takes_keywords: bool


def _wrapper_of(node: ast.Call, method: str, place: _Place) -> _Wrapper | None:
    """The function around a call, when it hands its own parameters on."""
    function = place.function
    if (
        function is None
        or function.name in _KNOWN - {"track"}
        or (method not in _EVENT_CALLS and method not in _PROFILE_CALLS)
    ):
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
        name = "" if expression is None else _dotted(expression)
        for value in place.values(name) if name else ():
            if value is not expression and (found := handed_on(value)) is not None:
                return found
        return None

    event: tuple[int, str] | None = None
    if method in _EVENT_CALLS:
        event = handed_on(_argument(node, _EVENT_CALLS[method][0], "event_name")[0])
        properties = handed_on(_argument(node, _EVENT_CALLS[method][1], "properties")[0])
        scope = "events"
    else:
        scope, position = _PROFILE_CALLS[method]
        properties = handed_on(_argument(node, position, "properties")[0])
    if event is None and properties is None:
        return None
    takes_keywords = function.args.kwarg is not None
    return _Wrapper(
        name=function.name,
        method=method,
        scope=scope,
        event=event,
        properties=properties,
        takes_keywords=takes_keywords,
    )


def _fits(node: ast.Call, wrapper: _Wrapper) -> bool:
    """Whether a call of that name hands over what the wrapper hands on; another object may have such a method too."""
    needed = wrapper.event or wrapper.properties
    return needed is None or any(_argument(node, *needed))


def _wrapped_call(node: ast.Call, wrapper: _Wrapper, place: _Place, world: _World) -> FoundCall:
    """A call of a wrapper; what the wrapper adds itself is told where it calls the client."""
    events, has_other_events = _said(node, wrapper.event, world.texts, place)
    paths, has_others = _said(node, wrapper.properties, world.paths, place)
    if wrapper.takes_keywords:
        taken = {wrapper.event[1] if wrapper.event else "", wrapper.properties[1] if wrapper.properties else ""}
        paths += [written(each.arg) for each in node.keywords if each.arg is not None and each.arg not in taken]
    return FoundCall(
        file=place.module.file,
        line=node.lineno,
        method=f"{wrapper.name} ({wrapper.method})",
        scope=wrapper.scope,
        events=tuple(dict.fromkeys(events)),
        has_other_events=has_other_events,
        properties=tuple(dict.fromkeys(paths)),
        has_other_properties=has_others,
    )
