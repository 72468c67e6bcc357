"""Reads the source of a code base, by its syntax alone: which names are clients, and which texts an expression can be."""

from __future__ import annotations

import ast
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from consentpanel.policy._paths import ITEMS, written

_PACKAGES = frozenset({"mixpanel", "consentpanel"})
_CLASS = "Mixpanel"
#: The texts or paths that are written down, and whether there may be others.
Said: TypeAlias = tuple[list[str], bool]
_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist", "venv"})


#: How deeply code may be nested that is read; what walks through it walks by itself.
MAX_DEPTH = 200


def depth_of(tree: ast.AST) -> int:
    """How many nodes stand in one another at most."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def files_of(root: Path, on_error: Callable[[OSError], object]) -> Iterator[Path]:
    """The files of Python below a folder, or the one file; `on_error` is told of each folder that cannot be read."""
    if not root.is_dir():
        yield root
        return
    for directory, folders, names in os.walk(root, onerror=on_error):
        folders[:] = sorted(each for each in folders if each not in _SKIPPED and not each.startswith("."))
        yield from (Path(directory, name) for name in sorted(names) if name.endswith(".py"))


class Scope:
    """What one function, class or file assigns to which name."""

    def __init__(self, parameters: Iterable[str] = ()) -> None:
        self.parameters = frozenset(parameters)
        self.assigned: dict[str, list[ast.expr]] = defaultdict(list)
        self.added: dict[str, list[ast.expr]] = defaultdict(list)
        self.annotated: dict[str, ast.expr] = {}


_NOWHERE = Scope()


@attrs.frozen(eq=False)
class Place:
    """A file, and the scopes that are open at a place of it, the innermost last."""

    module: Module
    scopes: tuple[Scope, ...]
    function: ast.FunctionDef | ast.AsyncFunctionDef | None = None

    def _home(self, name: str) -> Scope:
        if "." in name:
            return self.module.objects
        homes = (scope for scope in reversed(self.scopes) if name in scope.assigned or name in scope.parameters)
        return next(homes, _NOWHERE)

    def values(self, name: str) -> list[ast.expr]:
        """What is assigned to a name that is seen from here."""
        return self._home(name).assigned.get(name, [])

    def is_parameter(self, name: str) -> bool:
        """Whether a name is (also) whatever the caller hands over."""
        return name in self._home(name).parameters

    def added(self, name: str) -> list[ast.expr]:
        """What is put into a mapping of that name."""
        return self._home(name).added.get(name, [])

    def annotation(self, name: str) -> ast.expr | None:
        """The type that a name is declared with."""
        return self._home(name).annotated.get(name)


class Module(ast.NodeVisitor):
    """One file: its imports, its scopes, and the places of its calls."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self.file = file
        self.packages: set[str] = set()
        self.classes: set[str] = set()
        self.imported: dict[str, str] = {}
        self.adapted: dict[str, str] = {}
        """What comes from an adapter to a framework, such as its client, by the name that it has here."""
        self.objects = Scope()
        """Names with a dot, such as ``self.client``: one for the file."""
        self.top = Place(self, (Scope(),))
        self.functions: list[tuple[ast.FunctionDef | ast.AsyncFunctionDef, Place]] = []
        self.calls: list[tuple[ast.Call, Place]] = []
        self._here = self.top
        self._class = ""
        self.visit(tree)

    @property
    def imports_vendor(self) -> bool:
        """Whether the file imports the client's package at all."""
        return bool(self.packages or self.classes or self.adapted)

    @property
    def assigned(self) -> Iterable[tuple[str, list[ast.expr]]]:
        """What the file assigns to names of its own, and to names with a dot."""
        return itertools.chain(self.objects.assigned.items(), self.top.scopes[0].assigned.items())

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            if name.name.partition(".")[0] in _PACKAGES:
                self.packages.add(name.asname or name.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for name in node.names:
            self.imported[name.asname or name.name] = name.name
            if (node.module or "").partition(".")[0] in _PACKAGES and name.name == _CLASS:
                self.classes.add(name.asname or name.name)
            if (node.module or "").startswith("consentpanel."):
                self.adapted[name.asname or name.name] = name.name

    def adapter_name(self, name: str) -> str:
        """What an adapter calls something that is named here; empty for what comes from none."""
        package, _, attribute = name.rpartition(".")
        return attribute if package.partition(".")[0] in self.packages else self.adapted.get(name, "")

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for each in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(each)
        arguments = parameters_of(node)
        scope = Scope(each.arg for each in arguments)
        scope.annotated.update({each.arg: each.annotation for each in arguments if each.annotation is not None})
        before = self._here
        self._here = Place(self, (*before.scopes, scope), node)
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
        name = dotted(node.target)
        if name:
            self._scope(name).annotated[name] = node.annotation
        if node.value is not None:
            self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        name = dotted(node.target)
        if isinstance(node.op, ast.BitOr) and name:
            self._scope(name).added[name].append(node.value)
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._assign(node.optional_vars, node.context_expr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.calls.append((node, self._here))
        name = dotted(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
            added = self._scope(name).added[name]
            added += node.args
            if node.keywords:
                added.append(ast.Call(ast.Name("dict"), [], node.keywords))
        self.generic_visit(node)

    def _scope(self, name: str) -> Scope:
        return self.objects if "." in name else self._here.scopes[-1]

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Subscript):
            name, key = dotted(target.value), target.slice
            # A key that is made at run time is told by a name that nobody assigns.
            self._scope(name).added[name].append(ast.Dict([key], [value]))
            return
        name = dotted(target)
        if not name:
            return
        self._scope(name).assigned[name].append(value)
        if self._class and "." not in name and self._here.function is None:
            self.objects.assigned[f"{self._class}.{name}"].append(value)


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    given = node.args
    more = [each for each in (given.vararg, given.kwarg) if each is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *more]


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for a name or attributes of one; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


class World:
    """All files together: which names are clients, and which are texts."""

    _DEEPEST = 6
    # A name that is assigned many times, each time from itself, has more values than anybody can follow.
    _MOST_STEPS = 5_000

    def __init__(self, modules: Sequence[Module], clients: Iterable[str]) -> None:
        self._steps = 0
        self._named = frozenset(clients)
        self._clients: set[str] = set()
        self._makers: set[str] = set()
        self._texts: dict[str, set[str]] = defaultdict(set)
        for module in modules:
            for name, values in module.assigned:
                said = (value.value for value in values if isinstance(value, ast.Constant))
                self._texts[name].update(each for each in said if isinstance(each, str))
        # A client that is made in one file is used in others by its name; twice, for those that are made of others.
        for _ in range(2):
            for module in modules:
                for name, values in module.assigned:
                    self.ask()
                    if any(self._makes(value, module.top, 0) for value in values):
                        self._clients.add(name.rpartition(".")[2])
                for function, place in module.functions:
                    self.ask()
                    if self._returns_client(function, place):
                        self._makers.add(function.name)

    def ask(self) -> None:
        """Begins a question: what is found out about one call or name, in a bounded number of steps."""
        self._steps = 0

    def _is_tired(self, depth: int) -> bool:
        self._steps += 1
        return depth > self._DEEPEST or self._steps > self._MOST_STEPS

    def _returns_client(self, function: ast.FunctionDef | ast.AsyncFunctionDef, place: Place) -> bool:
        if function.returns is not None and self._is_class(function.returns, place.module):
            return True
        returned = (
            node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None
        )
        return any(self._makes(value, place, 0) for value in returned)

    def _is_class(self, node: ast.expr, module: Module) -> bool:
        if isinstance(node, ast.BinOp):  # Mixpanel | None
            return self._is_class(node.left, module) or self._is_class(node.right, module)
        if isinstance(node, ast.Subscript):  # Optional[Mixpanel]
            return self._is_class(node.slice, module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value.rpartition(".")[2] == _CLASS and module.imports_vendor
        name = dotted(node)
        package, _, attribute = name.rpartition(".")
        return name in module.classes or (attribute == _CLASS and package in module.packages)

    def _makes(self, node: ast.expr, place: Place, depth: int) -> bool:
        if isinstance(node, (ast.Await, ast.NamedExpr)):
            return self._makes(node.value, place, depth)
        if isinstance(node, (ast.IfExp, ast.BoolOp)):
            return any(self._makes(value, place, depth) for value in _choices(node))
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            return self._is_class(node.func, place.module) or name.rpartition(".")[2] in self._makers
        return self.is_client(node, place, depth + 1)

    def is_client(self, node: ast.expr, place: Place, depth: int = 0) -> bool:
        """Whether an expression is a client, as far as the code says."""
        if self._is_tired(depth):
            return False
        if isinstance(node, (ast.Call, ast.Await, ast.IfExp, ast.BoolOp, ast.NamedExpr)):
            return self._makes(node, place, depth)
        name = dotted(node)
        if not name:
            return False
        last = name.rpartition(".")[2]
        if name in self._named or last in self._named or place.module.adapter_name(name) == "mixpanel":
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

    def texts(self, node: ast.expr | None, place: Place, depth: int = 0) -> Said:
        """The texts that an expression can be, and whether it can be others."""
        if node is None or self._is_tired(depth):
            return [], True
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value], False
        if isinstance(node, ast.IfExp):
            return together(self.texts(each, place, depth + 1) for each in _choices(node))
        name = dotted(node).removesuffix(".value")
        values = place.values(name)
        if values and not place.is_parameter(name):
            return together(self.texts(value, place, depth + 1) for value in values)
        known = self._texts.get(place.module.imported.get(name, name), set()) if name else set()
        # A name that stands for one text in the whole code base is taken for that.
        is_one = len(known) == 1 and (name in place.module.imported or "." in name)
        return (list(known), False) if is_one else ([], True)

    def paths(self, node: ast.expr | None, place: Place, above: str = "", depth: int = 0) -> Said:
        """The paths of the properties that an expression holds, and whether it can hold others."""
        if node is None or (isinstance(node, ast.Constant) and node.value is None):
            return [], False
        if self._is_tired(depth):
            return [], True
        if isinstance(node, ast.Dict):
            return self._of_dict(node, place, above, depth)
        if isinstance(node, ast.Call) and dotted(node.func) == "dict":
            parts = [self.paths(each, place, above, depth + 1) for each in node.args]
            parts += [self._of_value(each.arg, each.value, place, above, depth) for each in node.keywords]
            return together(parts)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return together(self.paths(each, place, above, depth + 1) for each in (node.left, node.right))
        if isinstance(node, (ast.IfExp, ast.BoolOp)):
            return together(self.paths(each, place, above, depth + 1) for each in _choices(node))
        name = dotted(node)
        known = [*place.values(name), *place.added(name)] if name else []
        paths, has_others = together(self.paths(each, place, above, depth + 1) for each in known)
        return paths, has_others or not known or not place.values(name) or place.is_parameter(name)

    def _of_dict(self, node: ast.Dict, place: Place, above: str, depth: int) -> Said:
        parts = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # **more
                parts.append(self.paths(value, place, above, depth + 1))
                continue
            names, has_others = self.texts(key, place)
            parts += [self._of_value(name, value, place, above, depth) for name in names]
            parts.append(([], has_others))
        return together(parts)

    def _of_value(self, name: str | None, value: ast.expr, place: Place, above: str, depth: int) -> Said:
        if name is None:
            return self.paths(value, place, above, depth + 1)
        path = above + written(name)
        if isinstance(value, ast.Dict) and value.keys:
            return self._of_dict(value, place, f"{path}.", depth + 1)
        if isinstance(value, (ast.List, ast.Tuple)) and value.elts and all(isinstance(e, ast.Dict) for e in value.elts):
            return together(self.paths(each, place, f"{path}{ITEMS}.", depth + 1) for each in value.elts)
        return [path], False


def _choices(node: ast.IfExp | ast.BoolOp) -> list[ast.expr]:
    """The expressions of which one is the value of a conditional expression, or of ``and`` and ``or``."""
    return [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values


def together(parts: Iterable[Said]) -> Said:
    found: dict[str, None] = {}
    has_others = False
    for paths, others in parts:
        found.update(dict.fromkeys(paths))
        has_others = has_others or others
    return list(found), has_others


def argument(node: ast.Call, position: int, keyword: str) -> tuple[ast.expr | None, bool]:
    """An argument, and whether it may hide behind a star."""
    for each in node.keywords:
        if each.arg == keyword:
            return each.value, False
    if any(isinstance(each, ast.Starred) for each in node.args[: position + 1]):
        return None, True
    if len(node.args) > position:
        return node.args[position], False
    return None, any(each.arg is None for each in node.keywords)


Read: TypeAlias = Callable[["ast.expr | None", Place], Said]


def said_at(node: ast.Call, where: tuple[int, str] | None, read: Read, place: Place) -> Said:
    """What an argument says by one of the readers, and whether it says more than is written down."""
    if where is None:
        return [], False
    given, is_hidden = argument(node, *where)
    found, has_others = read(given, place)
    return found, has_others or is_hidden
