"""What outlives the erasure of a person: that they said no, as a keyed hash."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias, Union

from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._consent.secret import Keyed, Secret, fingerprint, keyed_by
from consentpanel._consent.standing import in_order

#: A secret, or several after a change: under each an objection is kept and looked for.
ObjectionKey: TypeAlias = Union[Secret, Sequence[Secret]]

#: Of the records that are kept of somebody who is forgotten.
SOURCE = "objection"


class Objections:
    """The keys under which a store keeps who has said no; one object for all registries of this process over the store.

    Args:
        keys: What the application gave for them; None for nothing.

    Raises:
        ConfigurationError: A key is no secret of at least 32 bytes.
    """

    def __init__(self, keys: ObjectionKey | None = None) -> None:
        self._keys: dict[str | None, Keyed] = {}
        several = keys if isinstance(keys, (list, tuple)) else () if keys is None else (keys,)
        for key in several:
            self.add(keyed_by(key))

    def add(self, *keyed: Keyed) -> None:
        """Keeps objections under these as well."""
        self._keys = {**self._keys, **{fingerprint(each): each for each in keyed}}

    def shared_with(self, store: Hashable) -> Objections:
        """The one object for a store, which then knows these keys too."""
        shared = _BY_STORE.setdefault(store, self)
        shared.add(*self._keys.values())
        return shared

    @property
    def fingerprints(self) -> frozenset[str | None]:
        """Tell keys apart, and say nothing of them."""
        return frozenset(self._keys)

    def tags(self, scope: str, subject_id: str) -> list[str]:
        """What stands in the place of the id, under each key.

        Args:
            scope: The tenant; empty for none.
            subject_id: The person.
        """
        place = f"{SOURCE}\x1f{scope}\x1f{subject_id}"
        return [f"{SOURCE}:{keyed(place)}" for keyed in self._keys.values()]

    def __bool__(self) -> bool:
        return bool(self._keys)


_BY_STORE: weakref.WeakValueDictionary[Hashable, Objections] = weakref.WeakValueDictionary()


def outliving(tag: str, said: Iterable[ConsentRecord], kept: Iterable[ConsentRecord]) -> list[ConsentRecord]:
    """What is kept of a person who is forgotten: for each purpose the last no, unless a yes came after it.

    Args:
        tag: What stands in the place of the id.
        said: The person's records, in the order of writing.
        kept: What was kept of the person before.
    """
    denied: dict[Purpose, ConsentRecord] = {record.purpose: record for record in in_order(kept)}
    for record in in_order(said):
        if record.status is ConsentStatus.GRANTED:
            denied.pop(record.purpose, None)
        elif record.status is ConsentStatus.DENIED:
            denied[record.purpose] = ConsentRecord(
                tag, record.purpose, ConsentStatus.DENIED, record.recorded_at, source=SOURCE
            )
    return list(denied.values())
