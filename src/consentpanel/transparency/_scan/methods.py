"""Calls of a method by way of something else: a variable, a dict, `getattr`, `partial`, or whatever calls it for somebody."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

import attrs

from consentpanel.transparency._scan.source import Module, Place, dotted
from consentpanel.transparency._scan.world import World, choices

#: Give a function that has its first arguments already, or runs elsewhere.
_PARTIALS = frozenset({"partial", "sync_to_async", "async_to_sync", "database_sync_to_async"})
#: Call a function with the arguments behind it: asyncio, concurrent.futures, anyio, Starlette, gevent, RQ, atexit.
_CALLERS = frozenset(
    {
        *("to_thread", "submit", "run_in_executor", "run_in_threadpool", "run_sync", "add_task", "call_soon"),
        *("call_soon_threadsafe", "call_later", "call_at", "start_soon", "spawn", "enqueue", "register"),
    }
)
#: Call a function with the arguments in their own ``args`` and ``kwargs``, or in a tuple behind it.
_STARTERS = frozenset({"Thread", "Process", "Timer", "apply", "apply_async", "add_job", "start_new_thread"})


@attrs.frozen(eq=False)
class Bound:
    """A method, and the arguments that it has already.

    Attributes:
        method: The method.
        args: Its first arguments.
        keywords: Those that are named.
        via: Where it is named, and the calls that gave it arguments: what is explained when a call of it is found.
    """

    method: ast.expr
    args: Sequence[ast.expr] = ()
    keywords: Sequence[ast.keyword] = ()
    via: Sequence[ast.expr] = ()

    def called(self, node: ast.Call, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> ast.Call:
        """The call that is made at a node, as if the method were called there."""
        return ast.copy_location(ast.Call(self.method, [*self.args, *args], [*self.keywords, *keywords]), node)


class Methods:
    """Finds the methods that expressions are.

    Args:
        world: Answers what else is known.
        modules: All files.
        is_method: Whether an expression names a method that is looked for.
    """

    def __init__(self, world: World, modules: Sequence[Module], is_method: Callable[[ast.expr, Place], bool]) -> None:
        self._world = world
        self._is_method = is_method
        # A method that is named in one file is used in others by that name.
        self._shared: dict[str, list[Bound]] = {}
        for module in modules:
            for name, values in module.assigned:
                world.ask()
                found = [each for value in values for each in self.of(value, module.top)]
                if found:
                    self._shared.setdefault(name.rpartition(".")[2], found)

    def calls_at(self, node: ast.Call, place: Place) -> Iterator[tuple[Bound, ast.Call]]:
        """The calls of methods that a call makes by way of something else, as if they were made at once."""
        for bound in () if self._is_method(node.func, place) else self.of(node.func, place):
            yield bound, bound.called(node, node.args, node.keywords)
        name = _imported(dotted(node.func), place)
        if name not in _CALLERS | _STARTERS:
            return
        given = [*node.args, *(each.value for each in node.keywords if each.arg in {"target", "func", "function"})]
        for position, each in enumerate(given):
            for bound in self.of(each, place):
                behind = node.args[position + 1 :]
                if name in _STARTERS:
                    yield bound, bound.called(node, *_started(behind, node.keywords))
                else:
                    yield bound, bound.called(node, behind, node.keywords)

    def prepared_at(self, node: ast.Call, place: Place) -> Iterator[tuple[Bound, ast.Call]]:
        """The calls that a `partial` prepares, with as many arguments as it has."""
        if _imported(dotted(node.func), place) in _PARTIALS:
            for bound in self.of(node, place):
                yield bound, bound.called(node, [], [])

    def of(self, node: ast.expr, place: Place, depth: int = 0) -> list[Bound]:
        """The methods that an expression can be, as far as the code says."""
        if self._world.is_tired(depth):
            return []
        if isinstance(node, (ast.IfExp, ast.BoolOp)):
            return [bound for each in choices(node) for bound in self.of(each, place, depth + 1)]
        if isinstance(node, ast.Call):
            return self._given_by(node, place, depth)
        if isinstance(node, ast.Subscript):
            return self._in_mapping(node.value, node.slice, place, depth)
        name = dotted(node)
        if not name:
            return []
        if self._is_method(node, place):
            return [Bound(node, via=[node])]
        values = place.values(name)
        found = [bound for each in values for bound in self.of(each, place, depth + 1)]
        # An attribute of whatever object is another's as a rule, unlike with clients: names of methods are too usual.
        is_from_elsewhere = not values and name.partition(".")[0] in place.module.imported
        return found or (self._shared.get(_imported(name, place), []) if is_from_elsewhere else [])

    def _given_by(self, node: ast.Call, place: Place, depth: int) -> list[Bound]:
        name = _imported(dotted(node.func), place)
        if name == "getattr" and len(node.args) > 1:
            texts, _ = self._world.texts(node.args[1], place)
            named = [ast.copy_location(ast.Attribute(node.args[0], text, ast.Load()), node) for text in texts]
            return [Bound(each, via=[node]) for each in named if self._is_method(each, place)]
        if name in _PARTIALS and node.args:
            return [
                attrs.evolve(
                    each,
                    args=[*each.args, *node.args[1:]],
                    keywords=[*each.keywords, *node.keywords],
                    via=[*each.via, node],
                )
                for each in self.of(node.args[0], place, depth + 1)
            ]
        if name == "get" and isinstance(node.func, ast.Attribute) and node.args:
            return self._in_mapping(node.func.value, node.args[0], place, depth)
        return []

    def _in_mapping(self, mapping: ast.expr, key: ast.expr, place: Place, depth: int) -> list[Bound]:
        """What stands in a dict under a key; all of its methods, where the key is made at run time."""
        name = dotted(mapping)
        dicts = (
            [mapping] if isinstance(mapping, ast.Dict) else [*place.values(name), *place.added(name)] if name else []
        )
        wanted, has_others = self._world.texts(key, place)
        found = []
        for each in dicts:
            for known, value in zip(each.keys, each.values, strict=True) if isinstance(each, ast.Dict) else ():
                texts, is_unknown = self._world.texts(known, place)
                if has_others or is_unknown or set(texts) & set(wanted):
                    found += self.of(value, place, depth + 1)
        return found


def _imported(name: str, place: Place) -> str:
    """The last part of a name, as the module calls it that it comes from."""
    last = name.rpartition(".")[2]
    return place.module.imported.get(name, last)


def _started(behind: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> tuple[list[ast.expr], list[ast.keyword]]:
    """The arguments that a thread or a job gets; behind a star where they are made at run time."""
    by_name = {each.arg: each.value for each in keywords}
    args = by_name.get("args", behind[0] if behind else None)
    kwargs = by_name.get("kwargs", by_name.get("kwds", behind[1] if len(behind) > 1 else None))
    given: list[ast.expr] = []
    if isinstance(args, (ast.Tuple, ast.List)):
        given = list(args.elts)
    elif args is not None:
        given = [ast.Starred(args, ast.Load())]
    if not isinstance(kwargs, ast.Dict):
        return given, [] if kwargs is None else [ast.keyword(None, kwargs)]
    named = zip(kwargs.keys, kwargs.values, strict=True)
    return given, [
        ast.keyword(key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None, value)
        for key, value in named
    ]
