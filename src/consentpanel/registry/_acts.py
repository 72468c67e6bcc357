"""What judging a message needs done outside of it, as data: one core without input and output, for several drivers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Literal, TypeAlias, TypeVar

import attrs

_T = TypeVar("_T")


@attrs.frozen
class Act:
    """Something that a plan needs done.

    Attributes:
        kind: ``"ask"`` asks a registry, whose answer may be awaitable; ``"call"`` calls what may take its time, such as a
            function of the user's; ``"deliver"`` hands a message to a consumer.
        do: Does it; raises whatever it raises, which the plan is told.
    """

    kind: Literal["ask", "call", "deliver"]
    do: Callable[[], Any]


#: Yields what is to be done, gets what came of it, and returns a result.
Plan: TypeAlias = Generator[Act, Any, _T]


def at_once(plan: Plan[_T]) -> _T:
    """What comes of a plan whose acts are done one after the other, in this thread.

    Raises:
        BaseException: Whatever the plan raises.
    """
    try:
        act = next(plan)
        while True:
            try:
                answer = act.do()
            except BaseException as error:  # noqa: BLE001 - the plan says what becomes of it
                act = plan.throw(as_raised(error))
            else:
                act = plan.send(answer)
    except StopIteration as end:
        result: _T = end.value
    except Stopped as stopped:
        raise stopped.error from None
    else:
        raise AssertionError  # pragma: no cover - a plan ends by one of these
    return result


class Stopped(Exception):  # noqa: N818 - it carries what was raised
    """A `StopIteration` of somebody's, which a generator or a future cannot raise as it is.

    Args:
        error: The error.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def as_raised(error: BaseException) -> BaseException:
    """An error as a plan can be told of it."""
    return Stopped(error) if isinstance(error, (StopIteration, StopAsyncIteration)) else error
