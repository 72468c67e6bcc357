"""The vendor's calls that need no code of ours, with the types that the vendor leaves out, and the refusal of unknown ones."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from consentpanel._mixpanel import vendor
from consentpanel._mixpanel.calls import CALLS

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
