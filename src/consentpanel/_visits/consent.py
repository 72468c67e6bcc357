"""Consent of whoever has sent a request: the account's, or the visitor's whom a cookie names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

import attrs

from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus
from consentpanel._log import note_failure
from consentpanel._messages.decision import Decision
from consentpanel._visits.cookie import VisitorCookie, new_visitor
from consentpanel.client import Mixpanel, Withdrawal
from consentpanel.client._consent_calls import refuse_nobody, registry_of
from consentpanel.errors import ConsentPanelError, InvalidRecordError
from consentpanel.registry import carry_over
from consentpanel.registry._writing import call, records_known, say

_GPC = "gpc"


@attrs.frozen(kw_only=True)
class VisitOptions:
    """What holds for all requests.

    Attributes:
        cookie: The visitors' cookie.
        policy_version: The version of the published policy, which answers are to.
        gpc: The purposes that Global Privacy Control denies (https://www.w3.org/TR/gpc/).
    """

    cookie: VisitorCookie
    policy_version: str | None = None
    gpc: Collection[str] = BUILT_IN_PURPOSES


class Visit:
    """The consent of whoever has sent a request.

    Args:
        client: The client.
        options: What holds for all requests.
        cookie: The value of the visitors' cookie; None for none.
        account: Gives the id of the account that is logged in; None for nobody.
        has_gpc: Whether the request says ``Sec-GPC: 1``.
        language: Gives the language of the texts that the person sees; None where that is unknown.
    """

    def __init__(
        self,
        client: Mixpanel,
        options: VisitOptions,
        *,
        cookie: str | None,
        account: Callable[[], Any],
        has_gpc: bool,
        language: Callable[[], str | None],
    ) -> None:
        self._client, self._options = client, options
        self._account, self._language = account, language
        self._visitor = options.cookie.visitor_in(cookie)
        self._had_cookie = cookie is not None
        #: Whether anybody has asked for the person.
        self.was_asked = False
        self._is_new = self._is_over = False
        #: Whether the browser says ``Sec-GPC: 1``.
        self.has_gpc = has_gpc

    @cached_property
    def _account_id(self) -> str | None:
        found = self._account()
        return None if found is None else subject_key(found)

    @property
    def subject_id(self) -> str | None:
        """The data subject: the account that is logged in, or the visitor who has answered; None for a visitor who has not."""
        self.was_asked = True
        return self._account_id or self._visitor

    @property
    def cookie(self) -> VisitorCookie:
        """The visitors' cookie."""
        return self._options.cookie

    @property
    def cookie_to_set(self) -> str | None:
        """The value that the response is to give the visitors' cookie; None to leave it as it is."""
        return self._options.cookie.value_for(self._visitor) if self._is_new and self._visitor else None

    @property
    def is_cookie_over(self) -> bool:
        """Whether the response is to delete the visitors' cookie."""
        return self._had_cookie and self._is_over and not self._is_new

    def status(self, purpose: str) -> ConsentStatus:
        """What the person has said about a purpose.

        Args:
            purpose: The purpose, or its name.

        Returns:
            The `ConsentStatus`; a visitor without an id has denied what Global Privacy Control denies.

        Raises:
            RegistryError: The registry failed.
            InvalidRecordError: The purpose is malformed.
        """
        named = Purpose(purpose)
        if self.subject_id is None:
            return ConsentStatus.DENIED if self.has_gpc and named in self._options.gpc else ConsentStatus.UNKNOWN
        found: ConsentStatus = call(self._registry, "status", self.subject_id, named)
        return found

    def answer(
        self,
        answers: Mapping[str, bool] | None = None,
        /,
        *,
        source: str = "website",
        evidence: Mapping[str, Any] | None = None,
        **purposes: bool,
    ) -> None:
        """Records what the person has answered; a visitor who has none gets an id, in the cookie.

        Args:
            answers: Yes or no by purpose, for those whose names are no Python names, or ``source`` or ``evidence``.
            source: Where it was said.
            evidence: What helps to prove it, as in `ConsentRecord`.
            purposes: Yes or no by purpose, such as ``analytics=True``.

        Raises:
            RegistryError: The registry failed; nothing was granted, and what was denied may be recorded.
            InvalidRecordError: There is no answer, or one is neither True nor False; nothing was recorded.
            mixpanel.MixpanelException: As `Mixpanel.withdraw`.
        """
        said = {Purpose(name): each for name, each in {**(answers or {}), **purposes}.items()}
        if not said:
            raise InvalidRecordError("answer() needs a purpose, such as analytics=True")
        for each in said.values():
            if not isinstance(each, bool):
                raise InvalidRecordError(f"an answer must be True or False, not {type(each).__name__}")
        subject = self._named()
        fields = self._fields(source, evidence)
        if denied := [name for name, is_granted in said.items() if not is_granted]:
            self._client.withdraw(subject, denied, **fields)
        if granted := [name for name, is_granted in said.items() if is_granted]:
            say(self._registry, ConsentStatus.GRANTED, subject, granted, fields)

    def withdraw(self, *, source: str = "website", **options: Any) -> Withdrawal | None:
        """Takes back everything that the person has ever granted.

        Args:
            source: Where it was said.
            options: As for `Mixpanel.withdraw`, such as ``delete_profile=True``.

        Returns:
            What was done; None for a visitor who has no id, and so has granted nothing.

        Raises:
            ConsentPanelError: As `Mixpanel.withdraw`.
            mixpanel.MixpanelException: As `Mixpanel.withdraw`.
        """
        if self.subject_id is None:
            return None
        given = {**self._fields(source, None), **options}
        return self._client.withdraw(self.subject_id, **given)

    def track(
        self, event_name: str, properties: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> Decision:
        """As `Mixpanel.track`, about whoever has sent the request; a visitor who has not answered is not tracked.

        Args:
            event_name: What happened.
            properties: Its properties.
            meta: As for `Mixpanel.track`.

        Returns:
            The `Decision`.

        Raises:
            mixpanel.MixpanelException: As the consumer raises it.
        """
        if self.subject_id is None:
            return refuse_nobody(self._client)
        return self._client.track(self.subject_id, event_name, properties, meta)

    def heed_gpc(self) -> None:
        """Records what Global Privacy Control denies, once, and not over a grant that was given in spite of it; raises nothing."""
        if not self.has_gpc:
            return
        try:
            if (subject := self.subject_id) is None:
                return
            open_ones = [Purpose(each) for each in self._options.gpc if self.status(each) is not ConsentStatus.DENIED]
            said = records_known(self._registry, subject) if open_ones else []
            denied = [each for each in open_ones if not _is_in_spite(said, each)]
            if denied:
                fields = self._fields(_GPC, None)
                fields["event_type"] = "signal"
                self._client.withdraw(subject, denied, **fields)
        except Exception as error:  # noqa: BLE001 - a signal is no request of the person's that could fail
            note_failure("Global Privacy Control", error)

    def log_in(self, account: Any) -> None:
        """Makes the visitor's answers the account's, and ends the visitor: the next person here inherits nothing; raises nothing."""
        visitor, self._visitor = self._visitor, None
        self._is_new, self._is_over = False, True
        self.__dict__["_account_id"] = subject_key(account)
        if visitor is None or self._registry is None:
            return
        try:
            carry_over(self._registry, visitor, account)
        except ConsentPanelError as error:
            note_failure("carrying over the answers of a visitor", error)

    def log_out(self) -> None:
        """Ends the visitor and the account of this request."""
        self._visitor, self._is_new, self._is_over = None, False, True
        self.__dict__["_account_id"] = None

    @property
    def _registry(self) -> Any:
        return registry_of(self._client)

    def _named(self) -> str:
        if (subject := self.subject_id) is not None:
            return subject
        self._visitor, self._is_new = new_visitor(), True
        return self._visitor

    def _fields(self, source: str, evidence: Mapping[str, Any] | None) -> dict[str, Any]:
        found: dict[str, Any] = {
            "source": source,
            "policy_version": self._options.policy_version,
            "language": self._language(),
            "evidence": {**(evidence or {}), **({_GPC: True} if self.has_gpc else {})},
            "event_type": "explicit",
        }
        return {name: each for name, each in found.items() if each}


def _is_in_spite(said: list[ConsentRecord], purpose: Purpose) -> bool:
    """Whether the last word on a purpose is a grant that was given while, or after, the signal was there."""
    about = [each for each in said if each.purpose == purpose]
    if not about or about[-1].status is not ConsentStatus.GRANTED:
        return False
    return about[-1].evidence.get(_GPC) is True or any(each.source == _GPC for each in about)
