"""What a person says, as it is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from consentpanel._consent.gpc import GPC
from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentStatus
from consentpanel._log import note_failure
from consentpanel._mixpanel import vendor
from consentpanel._visits.person import Person
from consentpanel._visits.rights import ask_for_copy
from consentpanel._visits.tool import shown_by
from consentpanel.client import Withdrawal
from consentpanel.client._erasure import UnnotedError
from consentpanel.privacy_requests import PrivacyRequestError, PrivacyTask
from consentpanel.registry._writing import say


class Recording(Person):
    """Writes down what a person says, with what proves it."""

    #: Whether the browser says ``Sec-GPC: 1``, or a consent tool has seen the signal there.
    has_gpc: bool
    _language: Callable[[], str | None]

    @property
    def language(self) -> str | None:
        """The language of the texts that the person sees; None where that is unknown, or what tells it fails."""
        try:
            return self._language()
        except Exception as error:  # noqa: BLE001 - the application's own function
            note_failure("the language of a request", error)
            return None

    def request_copy(self, *, source: str = "website") -> tuple[PrivacyTask, ...]:
        """Asks the vendor for all that it has about the person, and notes the numbers in the person's record.

        Args:
            source: Where it was said.

        Returns:
            The requests, usually one; `summary` tells their numbers later.

        Raises:
            ConfigurationError: The client has no `privacy=`.
            InvalidRecordError: The request is of a visitor without an id, of whom the vendor has nothing.
            PrivacyRequestError: The vendor did not take it: nothing was recorded.
            RegistryError: The registry failed; one with `created` tells the requests that the vendor has taken.
        """
        with self._lock:
            return ask_for_copy(self._client, self.subject_id, self._fields(source, None))

    def _record(
        self, said: Mapping[Purpose, bool], subject: str, fields: dict[str, Any], *, covers_held: bool = False
    ) -> None:
        if denied := [name for name, is_granted in said.items() if not is_granted]:
            self._withdraw(subject, denied, fields)
        if granted := [name for name, is_granted in said.items() if is_granted]:
            more = {"covers_held": True} if covers_held else {}
            say(self._registry, ConsentStatus.GRANTED, subject, granted, {**fields, **more})
            self._note(subject, fields)

    def _withdraw(self, subject: str, purposes: list[Purpose] | None, fields: dict[str, Any]) -> Withdrawal:
        try:
            done = self._client.withdraw(subject, purposes, **fields)
        except (vendor.MixpanelException, PrivacyRequestError, UnnotedError):
            # The denial is recorded.
            self._note(subject, fields)
            raise
        self._note(subject, fields)
        return done

    def _fields(self, source: str, evidence: Mapping[str, Any] | None) -> dict[str, Any]:
        found: dict[str, Any] = {
            "source": source,
            "policy_version": self.policy_version,
            "language": self.language,
            "evidence": {
                **(evidence or {}),
                **({GPC: True} if self.has_gpc else {}),
                **shown_by(self._told, self._options.answers),
            },
            "event_type": "explicit",
        }
        return {name: each for name, each in found.items() if each}
