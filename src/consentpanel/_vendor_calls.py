"""The vendor's calls that need no code of ours, with the types that the vendor leaves out (contract rule 1.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import mixpanel

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from consentpanel._decision import Decision

    _Properties = Mapping[str, Any]
    _Meta = Mapping[str, Any] | None


class VendorCalls(mixpanel.Mixpanel):  # type: ignore[misc]
    """Each returns the decision of `people_update` or `group_update`, which the vendor's code hands on."""

    if TYPE_CHECKING:

        def people_set(self, distinct_id: Any, properties: _Properties, meta: _Meta = None) -> Decision: ...

        def people_set_once(self, distinct_id: Any, properties: _Properties, meta: _Meta = None) -> Decision: ...

        def people_increment(self, distinct_id: Any, properties: _Properties, meta: _Meta = None) -> Decision: ...

        def people_append(self, distinct_id: Any, properties: _Properties, meta: _Meta = None) -> Decision: ...

        def people_union(self, distinct_id: Any, properties: _Properties, meta: _Meta = None) -> Decision: ...

        def people_unset(self, distinct_id: Any, properties: Sequence[str], meta: _Meta = None) -> Decision: ...

        def people_remove(self, distinct_id: Any, properties: _Properties, meta: _Meta = None) -> Decision: ...

        def people_delete(self, distinct_id: Any, meta: _Meta = None) -> Decision: ...

        def people_clear_charges(self, distinct_id: Any, meta: _Meta = None) -> Decision: ...

        def group_set(self, group_key: str, group_id: Any, properties: _Properties, meta: _Meta = None) -> Decision: ...

        def group_set_once(
            self, group_key: str, group_id: Any, properties: _Properties, meta: _Meta = None
        ) -> Decision: ...

        def group_union(
            self, group_key: str, group_id: Any, properties: _Properties, meta: _Meta = None
        ) -> Decision: ...

        def group_unset(
            self, group_key: str, group_id: Any, properties: Sequence[str], meta: _Meta = None
        ) -> Decision: ...

        def group_remove(
            self, group_key: str, group_id: Any, properties: _Properties, meta: _Meta = None
        ) -> Decision: ...

        def group_delete(self, group_key: str, group_id: Any, meta: _Meta = None) -> Decision: ...

        def __enter__(self) -> Self: ...

        def __exit__(
            self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
        ) -> None: ...

        async def __aenter__(self) -> Self: ...

        async def __aexit__(
            self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
        ) -> None: ...
