"""Consent of whoever has sent a request: the account's, or the visitor's whom a cookie names."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import attrs

from consentpanel._consent.age import MaxAge, end_of
from consentpanel._consent.gpc import GPC, is_in_spite
from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel._consent.standing import in_order
from consentpanel._forks import Survivors
from consentpanel._log import note_failure, warn_once
from consentpanel._messages.decision import Decision, Reason
from consentpanel._mixpanel import vendor
from consentpanel._visits.cookie import VisitorCookie, is_visitor, new_visitor
from consentpanel._visits.sessions import is_committed
from consentpanel._visits.tool import Situation, ToolAnswers, latest_in, said_in, shown_by, together
from consentpanel.client import Mixpanel, Withdrawal
from consentpanel.client._consent_calls import purposes_in_use, refuse_nobody, registry_of
from consentpanel.cmp import Relay
from consentpanel.cmp._answers import Reader
from consentpanel.errors import ConsentPanelError, InvalidRecordError, RegistryError
from consentpanel.privacy_requests import PrivacyRequestError
from consentpanel.registry import carry_over
from consentpanel.registry._protocol import LacksMethodError
from consentpanel.registry._recording import after_commit
from consentpanel.registry._writing import history_of, record_all, records_known, say, status_known


@attrs.frozen(kw_only=True)
class VisitOptions:
    """What holds for all requests.

    Attributes:
        cookie: The visitors' cookie.
        policy_version: The version of the published policy, which answers are to.
        gpc: The purposes that Global Privacy Control denies (https://www.w3.org/TR/gpc/).
        answers: Readers of the cookies of consent tools.
    """

    cookie: VisitorCookie
    policy_version: str | None = None
    gpc: Collection[str] = BUILT_IN_PURPOSES
    answers: tuple[Reader, ...] = ()


_STATUS = {True: ConsentStatus.GRANTED, False: ConsentStatus.DENIED}
_NO_CALL = "an answer was recorded to a purpose for which no call, rule or purposes= is: is its name written as there?"
_TOO_LATE = (
    "the response has begun, and a visitor who has no id yet cannot be given one: nothing was recorded. Answer before"
)


def version_of(registry: Any) -> str | None:
    """The policy version that a registry asks for; None where it does not say, as a proxy that stands for nothing yet."""
    with suppress(Exception):
        found = registry.required_policy_version
        return found if isinstance(found, str) and found else None
    return None


class _Mark:
    """Something that a transaction holds as long as it is neither committed nor taken back."""


class Visit:
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
        self._client, self._options = client, options
        self._account, self._language = account, language
        cookie = options.cookie.value_in(cookies)
        self._visitor, self._since = options.cookie.read(cookie)
        self._had_cookie = cookie is not None
        # Re-entrant, because a signal handler may answer in the middle of anything.
        self._lock = threading.RLock()
        #: Whether anybody has asked for the person.
        self.was_asked = False
        #: Whether the response has begun, so that no cookie can be set any more.
        self.has_begun = False
        self._is_new = self._is_over = False
        #: A visitor whose answers could not be made the account's.
        self._left_behind: str | None = None
        #: For whom it was heeded what the browser says; the account may be known later than the request begins.
        self._heeded: str | None = None
        #: Purposes that the browser denies, which could not be recorded.
        self._unheard: set[Purpose] = set()
        #: What the browser's consent tools say.
        said = said_in(options.answers, cookies)
        self._told, self._has_failed_reader = said.tools, said.has_failed
        self._may_begin = may_begin
        #: Whether the cookie is to say anew since when the browser is not somebody else's.
        self._is_marked = False
        if cookie and (self._visitor, self._since) == (None, None):
            # Of a key that is gone, perhaps: who had it may have refused.
            self._since, self._is_marked = now(), True
        _ALIVE.add(self)
        #: Gives something as long as what was answered is not taken back; None where it cannot be any more.
        self._pending: Callable[[], object] | None = None
        #: Whether the browser says ``Sec-GPC: 1``, or a consent tool has seen the signal there.
        self.has_gpc = has_gpc or said.sees_gpc

    @property
    def _account_id(self) -> str | None:
        # Asked each time, because another middleware may say that somebody else is meant.
        try:
            found = self._account()
            return None if found is None else subject_key(found)
        except RegistryError:
            raise
        except Exception as error:  # noqa: BLE001 - the application's own function
            note_failure("the data subject of an account", error)
        # Taken for a visitor, somebody who has refused might be one who has not.
        raise RegistryError("the data subject cannot be told: SUBJECT, or what names the account, has failed")

    @property
    def subject_id(self) -> str | None:
        """The data subject: the account that is logged in, or the visitor who has answered; None for a visitor who has not."""
        self.was_asked = True
        with self._lock:
            account = self._account_id
            if account is not None and self._visitor is not None:
                # It was not carried over at log-in, or that failed.
                self._carry_over(account)
            return account or self._visitor

    @property
    def is_settled(self) -> bool:
        """Whether all that the request says of consent is recorded, so that the registry's answer holds for it."""
        return self._left_behind is None and not self._unheard

    @property
    def is_to_carry_over(self) -> bool:
        """Whether a visitor's answers are to become an account's, which `subject_id` does."""
        return self._visitor is not None and self._account_id is not None

    @property
    def cookie(self) -> VisitorCookie:
        """The visitors' cookie."""
        return self._options.cookie

    @property
    def cookie_to_set(self) -> str | None:
        """The value that the response is to give the visitors' cookie; None to leave it as it is."""
        is_taken_back = self._pending is not None and self._pending() is None
        named = (self._visitor or self._left_behind) if self._is_new and not is_taken_back else None
        if named is not None:
            return self._options.cookie.value_for(named, self._since)
        # The tool's own cookie stays, and must not be the next person's answer.
        is_to_be_said = self._since is not None and (self._is_over or self._is_marked)
        return self._options.cookie.value_for(None, self._since) if is_to_be_said and self._visitor is None else None

    @property
    def is_cookie_over(self) -> bool:
        """Whether the response is to delete the visitors' cookie."""
        return self._had_cookie and self._is_over and self.cookie_to_set is None

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
        **purposes: bool,
    ) -> None:
        """Records what the person has answered; a visitor who has none gets an id, in the cookie.

        Args:
            answers: Yes or no by purpose, for those whose names are no Python names, or those of other arguments.
            source: Where it was said.
            evidence: What helps to prove it, as in `ConsentRecord`.
            session: A session of SQLAlchemy's, of whose transaction the answer is to be a part; a `SQLAlchemyRegistry` takes it.
            language: The language of the texts that the person saw, such as ``"de"``; when left out, what the configuration says.
            purposes: Yes or no by purpose, such as ``analytics=True``.

        Raises:
            RegistryError: The registry failed; nothing was granted, and what was denied may be recorded.
            InvalidRecordError: There is no answer, or one is neither True nor False; nothing was recorded.
            RuntimeError: The response has begun, and the visitor has no id: nothing was recorded.
            mixpanel.MixpanelException: As `Mixpanel.withdraw`.
        """
        where = {} if session is None else {"session": session}
        spoken = {} if language is None else {"language": language}
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
            self._record(said, subject, {**self._fields(source, evidence), **where, **spoken})

    def _record(self, said: Mapping[Purpose, bool], subject: str, fields: dict[str, Any]) -> None:
        if denied := [name for name, is_granted in said.items() if not is_granted]:
            self._withdraw(subject, denied, fields)
        if granted := [name for name, is_granted in said.items() if is_granted]:
            say(self._registry, ConsentStatus.GRANTED, subject, granted, fields)
            self._note(subject, fields)

    def _withdraw(self, subject: str, purposes: list[Purpose] | None, fields: dict[str, Any]) -> Withdrawal:
        try:
            done = self._client.withdraw(subject, purposes, **fields)
        except (vendor.MixpanelException, PrivacyRequestError):
            # The denial is recorded.
            self._note(subject, fields)
            raise
        self._note(subject, fields)
        return done

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
            fields = {**self._fields(source, None), **options}
            return self._withdraw(subject, fields.pop("purposes", None), fields)

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
        if not self.says_something:
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
        takes_yes = (
            not self._has_failed_reader
            and self._left_behind is None
            and getattr(self._registry, "strict_records", False) is not True
        )
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
            is_account=is_account, since=self._since, oldest=oldest, takes_yes=takes_yes, has_history=has_history
        )
        return situation, history

    def _record_tools(self, news: Mapping[Purpose, ToolAnswers], subject: str, began: datetime) -> None:
        for purpose, tool in news.items():
            answer = tool.answers.purposes[purpose] is True
            # What the page is written in says nothing of the tool's own words.
            fields = {**self._fields(tool.source, None), "language": None, "evidence": tool.evidence}
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

    def _mark(self) -> None:
        """Has the cookie say that what the tools show now is nobody else's."""
        if self._told or self._options.answers:
            self._since, self._is_marked = latest_in(self._told), True

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

    def _subject_to_answer(self, **where: Any) -> str:
        account = self._account_id
        if account is not None and self._visitor is not None:
            self._carry_over(account, **where)
        subject = self.subject_id
        if subject is None and self.has_begun:
            raise RuntimeError(_TOO_LATE)
        return subject or new_visitor()

    def _end_visitor(self) -> None:
        self._visitor, self._is_new, self._is_over = None, False, True
        self._mark()

    def _carry_over(self, account: str, **where: Any) -> None:
        visitor, registry = self._visitor, self._registry
        self._visitor = None
        try:
            carry_over(registry, visitor, account, **where)
            # A copy of the cookie, in whoever's hands, gives nobody anything.
            last = {each.purpose: each for each in records_known(registry, visitor)}
            ended = [each.purpose for each in last.values() if each.status is ConsentStatus.GRANTED]
            record_all(
                registry,
                [ConsentRecord(visitor, each, ConsentStatus.UNKNOWN, source="login") for each in ended],
                **where,
            )
        except ConsentPanelError as error:
            # The cookie stays, and the next request tries again; this one sends nothing.
            self._left_behind = visitor
            note_failure("carrying over the answers of a visitor", error)
        else:
            # In a transaction that may be taken back it is carried over once more by the next request.
            self._is_new, self._is_over = False, not where
            self._mark()

    @property
    def _registry(self) -> Any:
        return registry_of(self._client)

    def _note(self, subject_id: str, fields: Mapping[str, Any]) -> None:
        """Has a new visitor known again, unless what was answered is taken back with the caller's transaction."""
        if subject_id == self._visitor and self._account_id is None:
            # Kept for as long as from now.
            self._is_new, self._pending = True, None
            return
        if self.subject_id is not None or not is_visitor(subject_id):
            return
        self._visitor, self._is_new = subject_id, True
        if (within := fields.get("session") or fields.get("connection")) is not None:
            self._pending = is_committed(within)
            return
        mark = _Mark()
        self._pending = weakref.ref(mark)

        def keep(_: _Mark = mark) -> None:
            self._pending = None

        if not after_commit(self._registry, keep):
            self._pending = None

    def _fields(self, source: str, evidence: Mapping[str, Any] | None) -> dict[str, Any]:
        found: dict[str, Any] = {
            "source": source,
            "policy_version": self._options.policy_version or version_of(self._registry),
            "language": self._language(),
            "evidence": {
                **(evidence or {}),
                **({GPC: True} if self.has_gpc else {}),
                **shown_by(self._told, self._options.answers),
            },
            "event_type": "explicit",
        }
        return {name: each for name, each in found.items() if each}


def _with_a_lock_of_its_own(visit: Visit) -> None:
    visit._lock = threading.RLock()  # noqa: SLF001 - the same file


#: In the child of a fork another thread may have held the lock.
_ALIVE: Survivors[Visit] = Survivors(_with_a_lock_of_its_own)
