"""What is known of all files together: which expressions are clients, and which texts and properties an expression can be."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from consentpanel.errors import ConfigurationError
from consentpanel.policy._paths import ITEMS, written
from consentpanel.transparency._scan.source import CLASSES, Module, Place, dotted

#: The texts or paths that are written down, and whether there may be others.
Said: TypeAlias = tuple[list[str], bool]


#: How a request holds its consent, in Django and by ASGI.
_CONSENTS = ("request.consent", ".state.consent")


class World:
    """All files together: which names are clients, and which are texts."""

    _DEEPEST = 6
    # A name that is assigned many times, each time from itself, has more values than anybody can follow.
    _MOST_STEPS = 5_000

    def __init__(self, modules: Sequence[Module], clients: Iterable[str]) -> None:
        self._steps = 0
        said = {ast.unparse(_expression(each)) for each in clients}
        self._named = frozenset(each for each in said if each.replace(".", "").isidentifier())
        self._expressions = said - self._named
        self._clients: set[str] = set()
        self._makers: set[str] = set()
        self._consent_types: set[str] = set()
        self._texts: dict[str, set[str]] = defaultdict(set)
        for module in modules:
            for name, values in module.assigned:
                texts = (value.value for value in values if isinstance(value, ast.Constant))
                self._texts[name].update(each for each in texts if isinstance(each, str))
        # A client that is made in one file is used in others by its name; twice, for those that are made of others.
        for _ in range(2):
            for module in modules:
                for name, values in module.assigned:
                    self.ask()
                    if any(self._makes(value, module.top, 0) for value in values):
                        self._clients.add(name.rpartition(".")[2])
                    if any(self._is_consent_type(value, module.top, 0) for value in values):
                        self._consent_types.add(name)
                for function, place in module.functions:
                    self.ask()
                    if self._returns_client(function, place):
                        self._makers.add(function.name)

    def ask(self) -> None:
        """Begins a question: what is found out about one call or name, in a bounded number of steps."""
        self._steps = 0

    def is_tired(self, depth: int) -> bool:
        """Whether the question takes too long, counting this step of it."""
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
            return node.value.rpartition(".")[2] in CLASSES and module.imports_vendor
        name = dotted(node)
        package, _, attribute = name.rpartition(".")
        return name in module.classes or (attribute in CLASSES and package in module.packages)

    def _makes(self, node: ast.expr, place: Place, depth: int) -> bool:
        if isinstance(node, (ast.Await, ast.NamedExpr)):
            return self._makes(node.value, place, depth)
        if isinstance(node, (ast.IfExp, ast.BoolOp)):
            return any(self._makes(value, place, depth) for value in choices(node))
        if isinstance(node, ast.Call):
            if self._expressions and ast.unparse(node) in self._expressions:
                return True
            name = dotted(node.func)
            return self._is_class(node.func, place.module) or name.rpartition(".")[2] in self._makers
        return self.is_client(node, place, depth + 1)

    def is_client(self, node: ast.expr, place: Place, depth: int = 0) -> bool:
        """Whether an expression is a client, as far as the code says."""
        if self.is_tired(depth):
            return False
        if self._expressions and ast.unparse(node) in self._expressions:
            return True
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

    def is_consent(self, node: ast.expr, place: Place, depth: int = 0) -> bool:
        """Whether an expression is the consent of a request, which an adapter gives."""
        if self.is_tired(depth):
            return False
        if isinstance(node, ast.Await):
            return self.is_consent(node.value, place, depth + 1)
        if isinstance(node, ast.Call):
            return _is_adapters(node.func, place, "current_consent")
        if isinstance(node, ast.Subscript):
            return ast.unparse(node).endswith("['state']['consent']")
        name = dotted(node)
        if not name:
            return False
        if name.endswith(_CONSENTS) or _is_adapters(node, place, "current_consent"):
            return True
        annotation = place.annotation(name)
        if annotation is not None and self._is_consent_type(annotation, place, depth + 1):
            return True
        return any(self.is_consent(value, place, depth + 1) for value in place.values(name))

    def _is_consent_type(self, node: ast.expr, place: Place, depth: int) -> bool:
        if self.is_tired(depth):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value.rpartition(".")[2] == "RequestConsent" and place.module.imports_vendor
        if isinstance(node, ast.Subscript):  # Annotated[RequestConsent, Depends(current_consent)]
            first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
            return self._is_consent_type(first, place, depth + 1)
        if _is_adapters(node, place, "RequestConsent"):
            return True
        name = dotted(node)
        values = place.values(name) if name else []
        is_from_elsewhere = not values and place.module.imported.get(name, "") in self._consent_types
        return is_from_elsewhere or any(self._is_consent_type(each, place, depth + 1) for each in values)

    def texts(self, node: ast.expr | None, place: Place, depth: int = 0) -> Said:
        """The texts that an expression can be, and whether it can be others."""
        if node is None or self.is_tired(depth):
            return [], True
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value], False
        if isinstance(node, ast.IfExp):
            return together(self.texts(each, place, depth + 1) for each in choices(node))
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
        if self.is_tired(depth):
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
            return together(self.paths(each, place, above, depth + 1) for each in choices(node))
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


def _is_adapters(node: ast.expr, place: Place, name: str) -> bool:
    return place.module.adapter_name(dotted(node)) == name


def choices(node: ast.IfExp | ast.BoolOp) -> list[ast.expr]:
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


def _expression(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise ConfigurationError(f"{text!r} is no expression of Python, such as analytics, self.tracker or clients['eu']")
