"""Consent of whoever has sent a request: what they say themselves, and what their browser says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from consentpanel._consent.age import MaxAge, end_of
from consentpanel._consent.gpc import GPC, is_in_spite
from consentpanel._consent.ids import Purpose
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel._consent.standing import in_order
from consentpanel._log import note_failure, warn_once
from consentpanel._messages.decision import Decision, Reason
from consentpanel._visits.cookie import new_visitor
from consentpanel._visits.person import VisitOptions
from consentpanel._visits.recording import Recording
from consentpanel._visits.summary import ConsentSummary, summary_of
from consentpanel._visits.tool import Situation, ToolAnswers, said_in, together
from consentpanel.client import Mixpanel, Withdrawal
from consentpanel.client._consent_calls import purposes_in_use, refuse_nobody
from consentpanel.cmp import Relay
from consentpanel.errors import InvalidRecordError, RegistryError
from consentpanel.registry._protocol import LacksMethodError
from consentpanel.registry._writing import history_of, records_known, status_known

_STATUS = {True: ConsentStatus.GRANTED, False: ConsentStatus.DENIED}
_NO_CALL = "an answer was recorded to a purpose for which no call, rule or purposes= is: is its name written as there?"


class Visit(Recording):
    """The consent of whoever has sent a request.

    Args:
        client: The client.
        options: What holds for all requests.
        cookies: The raw header ``Cookie``; several are joined with ``"; "``.
        account: Gives the id of the account that is logged in; None for nobody.
        has_gpc: Whether the request says ``Sec-GPC: 1``.
        language: Gives the language of the texts that the person sees; None where that is unknown.
        may_begin: Whether a consent tool's answer may make a new visitor: not where the request comes from a page of another site
            (``Sec-Fetch-Site``), when cookies may be left out, nor where several come at once.
    """

    def __init__(
        self,
        client: Mixpanel,
        options: VisitOptions,
        *,
        cookies: str,
        account: Callable[[], Any],
        has_gpc: bool,
        language: Callable[[], str | None],
        may_begin: bool = True,
    ) -> None:
        said = said_in(options.answers, cookies)
        super().__init__(client, options, cookies, account, said.tools)
        self._language, self._may_begin, self._has_failed_reader = language, may_begin, said.has_failed
        #: For whom it was heeded what the browser says; the account may be known later than the request begins.
        self._heeded: str | None = None
        #: Purposes that the browser denies, which could not be recorded.
        self._unheard: set[Purpose] = set()
        #: Whether the browser says ``Sec-GPC: 1``, or a consent tool has seen the signal there.
        self.has_gpc = has_gpc or said.sees_gpc

    @property
    def is_settled(self) -> bool:
        """Whether all that the request says of consent is recorded, so that the registry's answer holds for it."""
        return self._left_behind is None and not self._unheard

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
        with self._lock:
            return self._status(named, self.heeded_subject_id)

    @property
    def is_heeded(self) -> bool:
        """Whether it was heeded what the browser says, for whom the request is of now."""
        return not self.says_something or self.subject_id == self._heeded

    @property
    def heeded_subject_id(self) -> str | None:
        """As `subject_id`, for whom it is heeded first what the browser says."""
        if not self.is_heeded:
            self.heed()
        return self.subject_id

    def _status(self, named: Purpose, subject: str | None) -> ConsentStatus:
        if subject is None:
            return ConsentStatus.DENIED if self.has_gpc and named in self._options.gpc else ConsentStatus.UNKNOWN
        if named in self._unheard:
            return ConsentStatus.DENIED
        found = status_known(self._registry, subject, named)
        if self._left_behind is not None and found is not ConsentStatus.DENIED:
            # A refusal goes along with the person, whether or not it can be written down now.
            visitors = status_known(self._registry, self._left_behind, named)
            return visitors if visitors is ConsentStatus.DENIED else found
        return found

    def answer(
        self,
        answers: Mapping[str, bool] | None = None,
        /,
        *,
        source: str = "website",
        evidence: Mapping[str, Any] | None = None,
        session: Any = None,
        language: str | None = None,
        policy_version: str | None = None,
        covers_held: bool = False,
        **purposes: bool,
    ) -> None:
        """Records what the person has answered; a visitor who has none gets an id, in the cookie.

        Args:
            answers: Yes or no by purpose, for those whose names are no Python names, or those of other arguments.
            source: Where it was said.
            evidence: What helps to prove it, as in `ConsentRecord`.
            session: A session of SQLAlchemy's, of whose transaction the answer is to be a part; a `SQLAlchemyRegistry` takes it.
            language: The language of the texts that the person saw, such as ``"de"``; when left out, what the configuration says.
            policy_version: The version that the person saw; when left out, what the configuration or the registry says.
            covers_held: Whether what is granted is also for what was held until the person was asked (``while_unknown="hold"``).
            purposes: Yes or no by purpose, such as ``analytics=True``.

        Raises:
            RegistryError: The registry failed; nothing was granted, and what was denied may be recorded.
            InvalidRecordError: There is no answer, or one is neither True nor False; nothing was recorded.
            RuntimeError: The response has begun, and the visitor has no id: nothing was recorded.
            mixpanel.MixpanelException: As `Mixpanel.withdraw`.
        """
        where = {} if session is None else {"session": session}
        given = {"language": language, "policy_version": policy_version}
        spoken = {name: each for name, each in given.items() if each is not None}
        said = {Purpose(name): each for name, each in {**(answers or {}), **purposes}.items()}
        if not said:
            raise InvalidRecordError("answer() needs a purpose, such as analytics=True")
        for each in said.values():
            if not isinstance(each, bool):
                raise InvalidRecordError(f"an answer must be True or False, not {type(each).__name__}")
        if not said.keys() <= purposes_in_use(self._client):
            warn_once(_NO_CALL)
        with self._lock:
            subject = self._subject_to_answer(**where)
            self._record(said, subject, {**self._fields(source, evidence), **where, **spoken}, covers_held=covers_held)

    def withdraw(self, *, source: str = "website", **options: Any) -> Withdrawal:
        """Takes back everything that the person has ever granted; a visitor without an id gets one, which has refused.

        Args:
            source: Where it was said.
            options: As for `Mixpanel.withdraw`, such as ``delete_profile=True``.

        Returns:
            What was done.

        Raises:
            RuntimeError: The response has begun, and the visitor has no id: nothing was recorded.
            ConsentPanelError: As `Mixpanel.withdraw`.
            mixpanel.MixpanelException: As `Mixpanel.withdraw`.
        """
        where = {name: options[name] for name in ("session", "connection") if options.get(name) is not None}
        with self._lock:
            subject = self._subject_to_answer(**where)
            fields = {**self._fields(source, options.pop("evidence", None)), **options}
            return self._withdraw(subject, fields.pop("purposes", None), fields)

    def summary(self, purposes: Iterable[str]) -> ConsentSummary:
        """All that is known of the person at once, for a page that shows it.

        Args:
            purposes: Those whose statuses are wanted.

        Raises:
            RegistryError: The registry failed.
            InvalidRecordError: A purpose is malformed.
        """
        with self._lock:
            return summary_of(self, self._registry, purposes)

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
        try:
            with self._lock:
                subject, is_settled = self.heeded_subject_id, self.is_settled
        except RegistryError as error:
            note_failure("a request's data subject", error)
            return refuse_nobody(self._client, Reason.REGISTRY_ERROR)
        if subject is None:
            return refuse_nobody(self._client)
        if not is_settled:
            return refuse_nobody(self._client, Reason.REGISTRY_ERROR)
        return self._client.track(subject, event_name, properties, meta)

    @property
    def says_something(self) -> bool:
        """Whether there is something for `heed`."""
        return self.has_gpc or bool(self._told)

    def heed(self) -> None:
        """Heeds what the browser says by itself: a consent tool's answers, and then Global Privacy Control; raises nothing."""
        if not self.says_something or self.is_for_all:
            return
        with self._lock:
            self._unheard.clear()
            self._heed_tools(self._told)
            with suppress(RegistryError):
                self._mark_for_account()
            self._heed_gpc()
            with suppress(RegistryError):
                self._heeded = self.subject_id if self.is_settled else None

    def _heed_tools(self, tools: Collection[ToolAnswers]) -> None:
        said = together(tools)
        try:
            # Before the history is read: what is said meanwhile is later.
            began = now()
            subject = self.subject_id
            statuses = {purpose: self._status(purpose, subject) for purpose in said}
            open_ones = [
                (purpose, tool)
                for purpose, several in said.items()
                for tool in several
                if tool.answers.given_at is None
                or statuses[purpose] is not _STATUS[tool.answers.purposes[purpose] is True]
            ]
            if not open_ones:
                return
            situation, history = self._situation(subject)
            news = {
                purpose: tool
                for purpose, tool in reversed(open_ones)
                if situation.news(tool, purpose, statuses[purpose], history)
            }
            if subject is None and not (self._may_begin and any(tool.answers.is_explicit for tool in news.values())):
                # Of somebody who has no id nothing is sent; one whose cookie was left out has an id.
                return
            self._record_tools(news, subject or new_visitor(), began)
        except Exception as error:  # noqa: BLE001 - the browser says so, and no request of the person's could fail
            self._unheard.update(purpose for purpose, (tool, *_) in said.items() if not tool.answers.purposes[purpose])
            note_failure("the answers of a consent tool", error)

    def _situation(self, subject: str | None) -> tuple[Situation, list[ConsentRecord]]:
        is_strict = getattr(self._registry, "strict_records", False) is True
        has_version = "policy_version" in self._fields("tool", None)
        takes_yes = not self._has_failed_reader and self._left_behind is None and (has_version or not is_strict)
        history: list[ConsentRecord] = []
        has_history = True
        try:
            history = [] if subject is None else in_order(history_of(self._registry, subject))
        except LacksMethodError:
            # Nobody could tell whether it was recorded before, or taken back.
            takes_yes = has_history = False
        oldest = timedelta(seconds=self._options.cookie.max_age)
        is_account = self._account_id is not None
        situation = Situation(
            is_account=is_account,
            since=self._since,
            oldest=oldest,
            takes_yes=takes_yes,
            has_history=has_history,
            is_strict=is_strict,
        )
        return situation, history

    def _record_tools(self, news: Mapping[Purpose, ToolAnswers], subject: str, began: datetime) -> None:
        for purpose, tool in news.items():
            answer = tool.answers.purposes[purpose] is True
            # What the page is written in says nothing of the tool's own words.
            language = tool.answers.language
            fields = {**self._fields(tool.source, None), "language": language, "evidence": tool.evidence}
            if not tool.answers.is_explicit:
                fields["event_type"] = "signal"
            if answer:
                fields["recorded_at"] = began
            if answer and tool.answers.given_at is not None:
                ages = getattr(self._registry, "max_age", None)
                ages = ages if isinstance(ages, MaxAge) else None
                fields["expires_at"] = end_of(purpose, tool.answers.given_at, None, ages)
            self._record({purpose: answer}, subject, {name: each for name, each in fields.items() if each is not None})

    def _mark_for_account(self) -> None:
        """Has the cookie say that what the tools show is an account's, also where nothing was to be recorded of it."""
        if self._account_id is None:
            return
        moments = [tool.answers.given_at for tool in self._told if tool.answers.is_explicit]
        if moments and (self._since is None or any(each is not None and each > self._since for each in moments)):
            self._mark()

    def _heed_gpc(self) -> None:
        """Records what Global Privacy Control denies, once, and not over a grant that was given in spite of it; raises nothing."""
        if not self.has_gpc:
            return
        try:
            if (subject := self.subject_id) is None:
                return
            wanted = map(Purpose, self._options.gpc)
            open_ones = [each for each in wanted if self._status(each, subject) is not ConsentStatus.DENIED]
            said = records_known(self._registry, subject) if open_ones else []
            denied = [each for each in open_ones if not is_in_spite(said, each)]
            if denied:
                fields = self._fields(GPC, None)
                fields["event_type"] = "signal"
                self._client.withdraw(subject, denied, **fields)
        except Exception as error:  # noqa: BLE001 - a signal is no request of the person's that could fail
            self._unheard.update(map(Purpose, self._options.gpc))
            note_failure("Global Privacy Control", error)

    def relay(self, reader: Relay, body: str | bytes, content_type: str | None) -> bool:
        """Heeds what a script of the page has posted of a consent tool that no server can read, as the cookies of others are heeded.

        Args:
            reader: Reads it.
            body: The body of the request.
            content_type: Its ``Content-Type``, which must be ``application/json``: no page of another site can send that unasked
                (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).

        Returns:
            Whether there was something to heed.

        Raises:
            RegistryError: The registry failed, and a no could not be recorded; this request sends nothing.
        """
        if (content_type or "").partition(";")[0].strip().lower() != "application/json":
            return False
        told = said_in((reader,), body).tools
        with self._lock:
            if not told or (self.has_begun and self.subject_id is None):
                return False
            # With what the cookies say, and again where somebody else is meant later.
            self._told = (*self._told, *told)
            self.heed()
            if not self._unheard.isdisjoint(together(told)):
                raise RegistryError("what a consent tool has relayed could not be recorded: send it again")
        return True

    def log_in(self) -> None:
        """Makes the visitor's answers those of the account that has just logged in, and ends the visitor; raises nothing.

        The next person on this device inherits nothing. What cannot be carried over now is carried over later.
        """
        with self._lock:
            try:
                account = self._account_id
                if account is None or self._visitor is None:
                    # Nobody can tell whose answers they become.
                    self._end_visitor()
                else:
                    self._carry_over(account)
            except RegistryError as error:
                note_failure("a log-in", error)
            self.heed()

    def log_out(self) -> None:
        """Ends the visitor of this request, if there is one."""
        with self._lock:
            self._end_visitor()
