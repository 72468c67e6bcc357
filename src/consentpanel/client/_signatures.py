"""The vendor's calls that need little code of ours, with the types that the vendor leaves out, and the refusal of unknown ones."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from consentpanel._messages.decision import Reason
from consentpanel._mixpanel import vendor
from consentpanel._mixpanel.calls import CALLS
from consentpanel.client._capture import plain, problem_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from consentpanel._messages.decision import Decision

    _Props = Mapping[str, Any]
    _Meta = Mapping[str, Any] | None


class VendorCalls(vendor.Mixpanel):  # type: ignore[misc]
    """Each returns the decision of `people_update` or `group_update`, which the vendor's code hands on."""

    if TYPE_CHECKING:

        def track(
            self, distinct_id: Any, event_name: str, properties: _Props | None = None, meta: _Meta = None
        ) -> Decision: ...

        def people_set(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def people_set_once(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def people_increment(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def people_append(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def people_union(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def people_unset(self, distinct_id: Any, properties: Sequence[str], meta: _Meta = None) -> Decision: ...

        def people_remove(self, distinct_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def people_delete(self, distinct_id: Any, meta: _Meta = None) -> Decision: ...

        def people_clear_charges(self, distinct_id: Any, meta: _Meta = None) -> Decision: ...

        def group_set(self, group_key: str, group_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def group_set_once(self, group_key: str, group_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def group_union(self, group_key: str, group_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def group_unset(
            self, group_key: str, group_id: Any, properties: Sequence[str], meta: _Meta = None
        ) -> Decision: ...

        def group_remove(self, group_key: str, group_id: Any, properties: _Props, meta: _Meta = None) -> Decision: ...

        def group_delete(self, group_key: str, group_id: Any, meta: _Meta = None) -> Decision: ...

        def __enter__(self) -> Self: ...

        async def __aenter__(self) -> Self: ...


def _with_readable_meta(name: str) -> Callable[..., Decision]:
    """A call of the vendor's that asks ``meta`` for its truth: one that is no mapping, or cannot be read, is refused."""
    vendors = getattr(vendor.Mixpanel, name)
    position = [*inspect.signature(vendors).parameters].index("meta") - 1

    @functools.wraps(vendors)
    def call(self: Any, *arguments: Any, **keywords: Any) -> Decision:
        meta = arguments[position] if len(arguments) > position else keywords.get("meta")
        if meta is not None and type(meta) is not dict:
            readable = None
            with suppress(Exception):  # the class is the user's; its exception may hold values
                readable = plain(meta)
            if readable is None:
                problem = problem_of("meta", meta)
                refused: Decision = self._guard.refuse(
                    CALLS[name].scope, Reason.INVALID_MESSAGE, self._consumer, problem
                )
                return refused
            if "meta" in keywords:
                keywords["meta"] = readable
            else:
                arguments = (*arguments[:position], readable, *arguments[position + 1 :])
        # Looked up anew: a test may have put something over the vendor's.
        decision: Decision = getattr(super(VendorCalls, self), name)(*arguments, **keywords)
        return decision

    return call


for _name, _call in CALLS.items():
    if _call.operator is not None:
        setattr(VendorCalls, _name, _with_readable_meta(_name))

_KNOWN = CALLS.keys() | {"local_flags", "remote_flags"}


def refuse_unknown_calls(client: type[Any]) -> None:
    """Overrides each public method of the vendor's client that this release does not know: it refuses.

    Args:
        client: The class that guards; its ``_guard`` and ``_consumer`` are used.
    """
    for name in dir(vendor.Mixpanel):
        vendors = getattr(vendor.Mixpanel, name)
        if not name.startswith("_") and name not in _KNOWN and callable(vendors):
            setattr(client, name, _refusing(name, is_async=inspect.iscoroutinefunction(vendors)))


def _refusing(name: str, *, is_async: bool) -> Callable[..., Any]:
    def refuse(self: Any, *_: object, **__: object) -> Decision:
        decision: Decision = self._guard.refuse_call(name, self._consumer)
        return decision

    async def refuse_later(self: Any, *_: object, **__: object) -> Decision:
        return refuse(self)

    return refuse_later if is_async else refuse
