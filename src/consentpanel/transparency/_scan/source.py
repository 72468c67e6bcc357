"""Reads the source of a code base, by its syntax alone: what is assigned where, and what is called."""

from __future__ import annotations

import ast
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from consentpanel._mixpanel.calls import CALLS

_PACKAGES = frozenset({"mixpanel", "consentpanel"})
#: The name of the client's class.
CLASSES = frozenset({"Mixpanel", "AsyncMixpanel"})
#: The methods of the client and those of a request's consent, as they are called.
METHODS = frozenset(f"{before}{name}{after}" for name in CALLS for before in ("", "a") for after in ("", "_on_commit"))
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
        self.references: list[tuple[ast.expr, Place]] = []
        """Methods that are named and not called there, and what `getattr` gives."""
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
            if (node.module or "").partition(".")[0] in _PACKAGES and name.name in CLASSES:
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

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in METHODS and isinstance(node.ctx, ast.Load):
            self.references.append((node, self._here))
        self._visit_owner(node)

    def _visit_owner(self, node: ast.Attribute) -> None:
        owner = node.value
        # An attribute of a method, such as a mock's, hands it to nobody.
        is_method = isinstance(owner, ast.Attribute) and owner.attr in METHODS
        self.visit(owner.value if isinstance(owner, ast.Attribute) and is_method else owner)

    def visit_Call(self, node: ast.Call) -> None:
        self.calls.append((node, self._here))
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            self.references.append((node, self._here))
        name = dotted(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name and isinstance(node.func, ast.Attribute) and node.func.attr == "update":
            added = self._scope(name).added[name]
            added += node.args
            if node.keywords:
                added.append(ast.Call(ast.Name("dict"), [], node.keywords))
        if isinstance(node.func, ast.Attribute):
            self._visit_owner(node.func)
        else:
            self.visit(node.func)
        for each in (*node.args, *node.keywords):
            self.visit(each)

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
