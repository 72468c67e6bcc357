"""What a person asks of the vendor: a copy of the data, and how far that and an erasure are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel.client import Mixpanel
from consentpanel.client._consent_calls import registry_of, settings_of
from consentpanel.client._erasure import NUMBERS, note_numbers, vendor_ids_of
from consentpanel.errors import ConfigurationError, InvalidRecordError
from consentpanel.privacy_requests import PrivacyTask
from consentpanel.registry._carry_over import APART
from consentpanel.registry._writing import record_all

#: The purpose of the record of a request for a copy: no call is for it, and its status says nothing.
COPY = APART
#: Stands in its evidence for the vendor's numbers of the requests, as `NUMBERS` in that of a denial.
COPY_NUMBERS = "retrieval_requests"
_KINDS = {NUMBERS: "deletion", COPY_NUMBERS: "retrieval"}


@attrs.frozen
class VendorRequest:
    """A request to the vendor, as the person's own records name it.

    Attributes:
        kind: ``"deletion"`` or ``"retrieval"``.
        number: The vendor's number.
        recorded_at: When it was recorded.
    """

    kind: str
    number: str
    recorded_at: datetime


def requests_in(records: Iterable[ConsentRecord]) -> list[VendorRequest]:
    """The requests that records name, each once, in their order."""
    found: dict[tuple[str, str], VendorRequest] = {}
    for record in records:
        for key, kind in _KINDS.items():
            numbers = record.evidence.get(key)
            for number in numbers if isinstance(numbers, list) else ():
                if isinstance(number, str) and number:
                    found.setdefault((kind, number), VendorRequest(kind, number, record.recorded_at))
    return list(found.values())


def ask_for_copy(client: Mixpanel, subject: str | None, fields: Mapping[str, Any]) -> tuple[PrivacyTask, ...]:
    """Asks the vendor for all that it has about a person, and notes the numbers in the person's record.

    Args:
        client: The client.
        subject: The person; None for a visitor without an id.
        fields: Of the record.

    Raises:
        ConfigurationError: The client has no `privacy=`.
        InvalidRecordError: There is no person.
        PrivacyRequestError: The vendor did not take it.
        RegistryError: The registry failed; its `created` tells the requests that the vendor has taken.
    """
    settings = settings_of(client)
    if settings.privacy is None:
        raise ConfigurationError("a copy of the data needs privacy=PrivacyRequests(...) in the client or configure()")
    if subject is None:
        raise InvalidRecordError("the vendor has nothing about a visitor who has no id: there is nothing to ask for")
    tasks = settings.privacy.create_retrieval_of(vendor_ids_of(settings, subject), waits=False)
    evidence = {**fields.get("evidence", {}), COPY_NUMBERS: [task.task_id for task in tasks]}
    said: dict[str, Any] = {**fields, "evidence": evidence}
    record = ConsentRecord(subject, COPY, ConsentStatus.UNKNOWN, **said)
    note_numbers(tasks, lambda: record_all(registry_of(client), [record]))
    return tasks
