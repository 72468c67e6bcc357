"""The client of a project, built at its first use, and its calls that wait for a commit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import TracebackType
from typing import Any, NoReturn, cast

from django.db import router

from consentpanel._forks import Survivors
from consentpanel.client import Mixpanel
from consentpanel.django import conf
from consentpanel.django._connections import at_the_end


class _LazyMixpanel:
    """Stands for the client of the setting ``CONSENTPANEL``, which it is at the first use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(conf.current(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(conf.current(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(conf.current(), name)

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        # For `isinstance`, which builds nothing; `type()` tells the truth.
        return Mixpanel

    def __enter__(self) -> Mixpanel:
        return conf.current().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        conf.current().__exit__(kind, error, traceback)

    def __reduce__(self) -> NoReturn:
        raise TypeError("the client cannot be pickled or copied: import it in the worker")

    def __repr__(self) -> str:
        return "<consentpanel.django.mixpanel>"


#: The client that the setting ``CONSENTPANEL`` describes: built at its first use, and again when a test overrides the setting.
mixpanel = cast("Mixpanel", _LazyMixpanel())
_ALIVE: Survivors[Any] = Survivors(lambda current: current.restart_in_child())
_ALIVE.add(conf.current)


def _on_commit(name: str) -> Callable[..., None]:
    """A call of the client that waits for the commit of the atomic block."""
    method = getattr(Mixpanel, name)

    @wraps(method, assigned=())
    def call(*arguments: Any, using: str | None = None, **keywords: Any) -> None:
        # As it is now: what happens to it until the commit was not said.
        given, named = _copied(arguments), _copied(keywords)

        at_the_end(using or _alias(), lambda: getattr(mixpanel, name)(*given, **named))

    call.__name__ = call.__qualname__ = f"{name}_on_commit"
    call.__module__ = "consentpanel.django"
    signature = inspect.signature(method)
    taken = list(signature.parameters.values())[1:]
    using_ = inspect.Parameter("using", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None")
    shown = signature.replace(parameters=[*taken, using_], return_annotation="None")
    call.__signature__ = shown  # type: ignore[attr-defined]
    call.__doc__ = (
        f"As `consentpanel.Mixpanel.{name}`, once the atomic block is committed in which this is called; never if that is taken back.\n\n"
        "Outside of any block it is sent at once. Consent is asked for at the commit. What fails is logged, and raises nothing; what\n"
        "becomes of the message the client's observers and `stats` tell.\n\n"
        f"Args:\n    arguments: Those of `consentpanel.Mixpanel.{name}`.\n"
        "    using: The alias of the database whose commit is waited for; when left out, that of the setting.\n"
    )
    return call


def _alias() -> str:
    from consentpanel.django.models import Record

    return conf.options().database or router.db_for_write(Record)


def _copied(value: Any) -> Any:
    """Containers anew, and what they hold as it is."""
    if isinstance(value, Mapping):
        return {key: _copied(each) for key, each in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(map(_copied, value))
    return value


track_on_commit = _on_commit("track")
alias_on_commit = _on_commit("alias")
people_set_on_commit = _on_commit("people_set")
people_set_once_on_commit = _on_commit("people_set_once")
people_increment_on_commit = _on_commit("people_increment")
people_append_on_commit = _on_commit("people_append")
people_union_on_commit = _on_commit("people_union")
people_remove_on_commit = _on_commit("people_remove")
people_unset_on_commit = _on_commit("people_unset")
people_track_charge_on_commit = _on_commit("people_track_charge")
people_clear_charges_on_commit = _on_commit("people_clear_charges")
people_delete_on_commit = _on_commit("people_delete")
people_update_on_commit = _on_commit("people_update")
group_set_on_commit = _on_commit("group_set")
group_set_once_on_commit = _on_commit("group_set_once")
group_union_on_commit = _on_commit("group_union")
group_remove_on_commit = _on_commit("group_remove")
group_unset_on_commit = _on_commit("group_unset")
group_delete_on_commit = _on_commit("group_delete")
group_update_on_commit = _on_commit("group_update")
