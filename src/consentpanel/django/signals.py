"""What other apps can hear of: consent that was granted, and consent that was withdrawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.dispatch import Signal

from consentpanel._consent.records import ConsentRecord, ConsentStatus

#: Sent by a `DjangoRegistry` when grants are recorded, and committed: with ``subject_id`` and ``records``, for each person.
consent_granted = Signal()
#: Sent by a `DjangoRegistry` when denials are recorded, and committed: with ``subject_id`` and ``records``, for each person.
consent_withdrawn = Signal()


def announce(registry: Any, records: Iterable[ConsentRecord]) -> None:
    """Tells receivers of records that are committed; what one raises Django logs."""
    for status, signal in ((ConsentStatus.GRANTED, consent_granted), (ConsentStatus.DENIED, consent_withdrawn)):
        by_person: dict[str, list[ConsentRecord]] = {}
        for record in records:
            if record.status is status:
                by_person.setdefault(record.subject_id, []).append(record)
        for subject_id, said in by_person.items():
            signal.send_robust(type(registry), subject_id=subject_id, records=said)
