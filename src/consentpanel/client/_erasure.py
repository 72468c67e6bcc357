"""What is asked of the vendor when all data of a person is to be erased, and noted in the person's record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from consentpanel._consent.ids import Purpose, subject_key
from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.standing import in_order
from consentpanel._log import LOGGER
from consentpanel.errors import ConfigurationError, InvalidRecordError, RegistryError
from consentpanel.registry._carry_over import carried_from
from consentpanel.registry._protocol import LacksMethodError
from consentpanel.registry._writing import history_of, records_known, say

if TYPE_CHECKING:
    from consentpanel.client._settings import Settings
    from consentpanel.privacy_requests import PrivacyTask

#: Stands in the evidence of a denial for the vendor's numbers of the requests.
NUMBERS = "deletion_requests"


class UnnotedError(RegistryError):
    """The vendor has taken requests, and their numbers could not be written into the person's record.

    Attributes:
        created: The requests.
        note: Tries to write them again.
    """

    def __init__(self, created: tuple[PrivacyTask, ...], note: Callable[[], None]) -> None:
        super().__init__("the vendor has taken the request, and its number could not be recorded")
        self.created, self.note = created, note


def note_numbers(created: tuple[PrivacyTask, ...], note: Callable[[], None]) -> None:
    """Has numbers written into the person's record, at the second try where the first fails.

    Raises:
        UnnotedError: Both failed.
    """
    for is_last in (False, True):
        try:
            return note()
        except RegistryError:
            if is_last:
                break
    # They name nobody, and are all that is left to follow the requests up.
    LOGGER.error(
        "the vendor's numbers of requests could not be recorded: %s", ", ".join(each.task_id for each in created)
    )
    raise UnnotedError(created, note)


def vendor_ids_of(settings: Settings, subject_id: Any) -> tuple[str, ...]:
    """Every id by which the vendor may know a person: those of the visitors too whose answers have become the person's.

    Raises:
        RegistryError: The registry failed, so that nobody knows what these are.
        InvalidRecordError: It is no id.
    """
    people = [subject_key(subject_id)]
    for each in people:
        # It grows as it is gone through.
        people += [other for other in carried_from(records_known(settings.registry, each)) if other not in people]
    return tuple(dict.fromkeys(found for each in people for found in settings.vendor_ids(each)))


#: The fields of a denial that are kept with the request.
_KEPT = ("policy_version", "source", "jurisdiction", "evidence")


@attrs.frozen(repr=False)
class Erasure:
    """A request to erase a person.

    Attributes:
        subject: The person's look-up key.
        vendor_ids: By which the vendor knows the person. Kept, because a salt may be gone when the request is made again.
        purposes: Of the denial that it came with.
        fields: Of that denial, for the one that names the vendor's numbers.
    """

    subject: str
    vendor_ids: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    fields: Mapping[str, Any]

    def as_json(self) -> str:
        """This as JSON."""
        fields = {name: self.fields[name] for name in _KEPT if self.fields.get(name) is not None}
        return json.dumps([self.subject, self.vendor_ids, self.purposes, fields])

    @classmethod
    def of_json(cls, text: str) -> Erasure:
        """What was written by `as_json`."""
        subject, vendor_ids, purposes, fields = json.loads(text)
        return cls(subject, tuple(vendor_ids), tuple(map(Purpose, purposes)), fields)

    def ask(self, settings: Settings, *, waits: bool = True) -> tuple[PrivacyTask, ...]:
        """Asks the vendor.

        Args:
            settings: Of the client.
            waits: Whether a vendor that is too busy is waited for.

        Raises:
            PrivacyRequestError: The vendor did not take it.
            ConfigurationError: The client has no `privacy=`.
        """
        if settings.privacy is None:
            raise ConfigurationError("an erasure needs privacy=PrivacyRequests(...) in the client or configure()")
        return settings.privacy.create_deletion_of(self.vendor_ids, waits=waits)

    def note(self, settings: Settings, numbers: Sequence[str]) -> None:
        """Writes the vendor's numbers into the person's record.

        Raises:
            RegistryError: The registry failed.
        """
        evidence = {**(self.fields.get("evidence") or {}), NUMBERS: list(numbers)}
        try:
            self._deny(settings, evidence)
        except InvalidRecordError:
            # There is no room for both, and the numbers are needed to follow the requests up.
            self._deny(settings, {NUMBERS: list(numbers)})

    def _deny(self, settings: Settings, evidence: Mapping[str, Any]) -> None:
        fields = {**self.fields, "evidence": evidence}
        say(settings.registry, ConsentStatus.DENIED, self.subject, self.purposes, fields)


def carry_out(settings: Settings, asked: str, numbers: Sequence[str] | None, taken: Callable[[list[str]], None]) -> Any:
    """Does what is left of an erasure that was kept.

    Args:
        settings: Of the client.
        asked: What `Erasure.as_json` wrote.
        numbers: The vendor's numbers, when it has taken the request before and only the record is missing.
        taken: Is told these numbers as soon as they are known.

    Returns:
        The `PrivacyTask` of each request that was made now.

    Raises:
        PrivacyRequestError: The vendor did not take it.
        RegistryError: The registry failed.
    """
    erasure = Erasure.of_json(asked)
    tasks: tuple[PrivacyTask, ...] = ()
    if numbers is None:
        tasks = erasure.ask(settings, waits=False)
        numbers = [task.task_id for task in tasks]
        taken([*numbers])
    with settings.context():
        denied = _still_denied(settings.registry, erasure)
        if denied:
            attrs.evolve(erasure, purposes=denied).note(settings, numbers)
        else:
            # Who was forgotten meanwhile gets no new record, and who has agreed again is not denied by it.
            LOGGER.info(
                "the vendor has taken requests to erase somebody of whom no denial is left: %s", ", ".join(numbers)
            )
    return tasks


def _still_denied(registry: Any, erasure: Erasure) -> tuple[Purpose, ...]:
    """The purposes of an erasure of which the person's last word is still no, as far as the registry can tell."""
    try:
        last = {record.purpose: record.status for record in in_order(history_of(registry, erasure.subject))}
    except LacksMethodError:
        return erasure.purposes
    return tuple(purpose for purpose in erasure.purposes if last.get(purpose) is ConsentStatus.DENIED)
