"""Functions that hand their own arguments on as the name or the properties of an event."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import attrs

from consentpanel._mixpanel.calls import CALLS
from consentpanel.transparency._scan.source import Place, dotted, parameters_of
from consentpanel.transparency._scan.world import World, argument, choices


@attrs.frozen(kw_only=True)
class Wrapper:
    """One such function.

    Attributes:
        name: Its name.
        method: The client's method that it calls.
        module: The file that it stands in.
        event: The position and the name of the parameter that becomes the event's name; None for none.
        properties: The same for the properties.
        takes_keywords: Whether what else is named to it becomes properties.
        named: What does not, since it is a parameter.
        is_readable: Whether it hands its arguments on as they are; else what a call of it sends cannot be told.
    """

    name: str
    method: str
    module: str
    event: tuple[int, str] | None = None
    properties: tuple[int, str] | None = None
    takes_keywords: bool = False
    named: frozenset[str] = frozenset()
    is_readable: bool = True

    def fits(self, node: ast.Call) -> bool:
        """Whether a call of that name hands over what this hands on; another object may have such a method too."""
        needed = self.event or self.properties
        return needed is None or any(argument(node, *needed))

    def is_meant(self, node: ast.Call, place: Place) -> bool:
        """Whether a call of that name is surely one of this, since the name is of the file, or of the object itself."""
        name = dotted(node.func)
        is_here = place.module.file == self.module
        if "." in name:
            return is_here and name in {f"self.{self.name}", f"cls.{self.name}"}
        return is_here or name in place.module.imported


def wrapper_of(node: ast.Call, place: Place, method: str, world: World) -> Wrapper | None:
    """The function around a call of the client, when it hands its own parameters on."""
    function = place.function
    if function is None or method not in CALLS or CALLS[method].properties is None:
        return None
    if function.name in CALLS.keys() - {"track"}:
        return None
    parameters = _Parameters(function, world)
    call = CALLS[method]
    is_readable = True
    found: list[tuple[int, str] | None] = []
    for position, keyword in ((call.event, "event_name"), (call.properties, "properties")):
        given, is_hidden = (None, False) if position is None else argument(node, position, keyword)
        where = parameters.handed_on(given, place, is_text=keyword == "event_name")
        if where is None and position is not None and is_hidden:
            where = parameters.behind_star(node, position, keyword)
            is_readable = is_readable and where is not None
        elif where is None and keyword == "event_name":
            is_readable = is_readable and not parameters.stand_in(given)
        found.append(where)
    wrapper = Wrapper(name=function.name, method=method, module=place.module.file, is_readable=is_readable)
    if not is_readable:
        return wrapper if parameters.names or parameters.rest or parameters.keywords else None
    if found == [None, None]:
        return None
    takes_keywords = bool(parameters.keywords) and all(each.arg is not None for each in node.keywords)
    return attrs.evolve(
        wrapper,
        event=found[0],
        properties=found[1],
        takes_keywords=takes_keywords,
        named=frozenset([*parameters.names, *parameters.only_named]),
    )


class _Parameters:
    def __init__(self, function: ast.FunctionDef | ast.AsyncFunctionDef, world: World) -> None:
        self._world = world
        given = function.args
        names = [each.arg for each in (*given.posonlyargs, *given.args)]
        self.names = names[1:] if names[:1] in (["self"], ["cls"]) else names
        self.only_named = [each.arg for each in given.kwonlyargs]
        self.rest = given.vararg.arg if given.vararg else ""
        self.keywords = given.kwarg.arg if given.kwarg else ""
        self._all = {each.arg for each in parameters_of(function)} - {"self", "cls"}

    def handed_on(
        self, expression: ast.expr | None, place: Place, *, is_text: bool, depth: int = 0
    ) -> tuple[int, str] | None:
        """The parameter that an expression is; properties may be copied, merged or filtered on the way, a text may not."""
        if self._world.is_tired(depth):
            return None
        for each in _parts(expression, is_text=is_text):
            name = dotted(each)
            if name in self.names:
                return self.names.index(name), name
            if name in self.only_named:
                return len(self.names) + 99, name
            # A variable that is made of a parameter: props = properties or {}.
            for value in place.values(name) if name else ():
                found = self.handed_on(value, place, is_text=is_text, depth=depth + 1)
                if found is not None:
                    return found
        return None

    def behind_star(self, node: ast.Call, position: int, keyword: str) -> tuple[int, str] | None:
        """Where an argument stands that is among the rest of the function's own, handed on by a star."""
        for at, each in enumerate(node.args):
            if isinstance(each, ast.Starred):
                is_rest = bool(self.rest) and dotted(each.value) == self.rest
                return (len(self.names) + position - at, keyword) if is_rest else None
        return None

    def stand_in(self, expression: ast.expr | None) -> bool:
        """Whether an expression is made of any of them."""
        walked = () if expression is None else ast.walk(expression)
        return any(isinstance(each, ast.Name) and each.id in self._all for each in walked)


def _parts(expression: ast.expr | None, *, is_text: bool) -> Iterator[ast.expr]:
    """The names and attributes of which an expression is made as a whole."""
    inner: list[ast.expr] = []
    if isinstance(expression, ast.Attribute) and expression.attr == "value":  # of an enum
        yield expression.value
    elif isinstance(expression, (ast.Name, ast.Attribute)):
        yield expression
    elif isinstance(expression, (ast.IfExp, ast.BoolOp)):
        inner = choices(expression)
    elif isinstance(expression, ast.Call):
        inner = _handed_to(expression) if not is_text or dotted(expression.func) == "str" else []
    elif isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.BitOr):
        inner = [expression.left, expression.right]
    elif isinstance(expression, ast.Dict):
        inner = [value for key, value in zip(expression.keys, expression.values, strict=True) if key is None]
    for each in inner:
        yield from _parts(each, is_text=is_text)


def _handed_to(call: ast.Call) -> list[ast.expr]:
    owner = [call.func.value] if isinstance(call.func, ast.Attribute) else []
    return [*call.args, *(each.value for each in call.keywords if each.arg is None), *owner]
