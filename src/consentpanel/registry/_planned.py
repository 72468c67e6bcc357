"""A registry that answers by the plans of `_plans`, whatever carries them out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from typing_extensions import Self

from consentpanel._consent.chain import Verification
from consentpanel._consent.ids import purpose_key, subject_key
from consentpanel._consent.records import ConsentRecord
from consentpanel._consent.standing import Standing
from consentpanel.registry._plans import Plan, Plans
from consentpanel.registry._recording import StoredRegistry
from consentpanel.registry._records import asked_moment

_T = TypeVar("_T")


class PlannedRegistry(StoredRegistry):
    """Keeps records in the tables of a database."""

    _plans: Plans

    @abstractmethod
    def _ask(self, keys: Iterable[str], plan: Callable[[], Plan[_T]]) -> _T:
        """The answer to a question.

        Args:
            keys: Whom it is about.
            plan: Gives the plan; called again where it is carried out again.

        Raises:
            RegistryError: The database failed.
        """

    @abstractmethod
    def _do(self, keys: Iterable[str], plan: Callable[[], Plan[_T]], **where: Any) -> _T:
        """What comes of a plan that writes, all of it or nothing.

        Args:
            keys: Whom it is about.
            plan: As for `_ask`.
            where: What the registry's own `record` takes beside a record.

        Raises:
            RegistryError: The database failed.
        """

    def standings(self, subject_ids: Iterable[Any], purpose: str, *, at: datetime | None = None) -> dict[Any, Standing]:
        """The standing of several people for one purpose, by the ids as they were given: in one statement.

        Raises:
            InvalidRecordError: `at` is naive, or an id is malformed.
            RegistryError: The database failed.
        """
        named, moment = purpose_key(purpose), asked_moment(at)
        keys = {subject: subject_key(subject) for subject in subject_ids}
        if not keys:
            return {}
        found = self._ask(keys.values(), lambda: self._plans.standings(self._scope, keys.values(), named, moment))
        unknown = [key for key in dict.fromkeys(keys.values()) if key not in found]
        if self._objections and unknown:
            tags = {tag: key for key in unknown for tag in self._objections.tags(self._scope, key)}
            said = self._ask(tags, lambda: self._plans.standings(self._scope, tags, named, moment))
            found |= {tags[tag]: standing for tag, standing in said.items()}
        return {subject: found.get(key, Standing.NOT_RECORDED) for subject, key in keys.items()}

    def ends_at(self, subject_id: Any, purpose: str) -> datetime | None:
        """When the grant that decides now ends, by itself or by its age; None for never, and for no grant.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The database failed.
        """
        key, named = subject_key(subject_id), purpose_key(purpose)
        return self._ask([key], lambda: self._plans.ends_at(self._scope, key, named))

    def verify(self, subject_id: Any) -> Verification:
        """As `MemoryRegistry.verify`: whether the records of a person are those that were written.

        Raises:
            InvalidRecordError: The id is malformed.
            RegistryError: The database failed.
        """
        key = subject_key(subject_id)
        return self._ask([key], lambda: self._plans.verify(self._scope, key))

    def people(self) -> Iterator[tuple[str, str]]:
        """Of whom there are records, as tenant and id, in the order of both.

        Raises:
            RegistryError: The database failed.
        """
        last = ("", "")
        while some := self._ask((), partial(self._plans.people, *last)):
            yield from some
            last = some[-1]

    def scoped(self, name: str) -> Self:
        """The same tables for one tenant: its ids never meet those of another, nor those of the tables without one.

        Args:
            name: The tenant: 1 to 64 printable characters, no white space around.

        Raises:
            ConfigurationError: The name is malformed, or this is a tenant's already.
        """
        tenant = copy(self)
        tenant._scope = self._tenant(name)  # noqa: SLF001 - its own class
        return tenant

    def _read(self, subject_id: str) -> list[ConsentRecord]:
        return self._ask([subject_id], lambda: self._plans.history(self._scope, subject_id))

    def _write(self, records: list[ConsentRecord], *, is_stamped_here: bool, **where: Any) -> None:
        def plan() -> Plan[None]:
            return self._plans.append(self._scope, records, is_stamped_here=is_stamped_here)

        self._do({record.subject_id for record in records}, plan, **where)

    def _recorded(self, key: str, purpose: str, moment: datetime | None) -> Standing | None:
        if moment is None:
            return self._ask([key], lambda: self._plans.standing(self._scope, key, purpose))
        return self._ask([key], lambda: self._plans.standings(self._scope, [key], purpose, moment)).get(key)

    def _forget_all(self, key: str, tags: list[str], **where: Any) -> int:
        return self._do([key, *tags], lambda: self._plans.forget(self._scope, key, tags), **where)
