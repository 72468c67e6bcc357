"""Who has sent a request: the account that is logged in, or the visitor whom a cookie names."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import attrs

from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose, subject_key
from consentpanel._consent.records import ConsentRecord, ConsentStatus, now
from consentpanel._forks import Survivors
from consentpanel._log import note_failure
from consentpanel._visits.cookie import VisitorCookie, is_visitor, new_visitor
from consentpanel._visits.sessions import is_committed
from consentpanel._visits.tool import ToolAnswers, latest_in
from consentpanel.client import Mixpanel
from consentpanel.client._consent_calls import registry_of
from consentpanel.cmp._answers import Reader
from consentpanel.errors import ConsentPanelError, RegistryError
from consentpanel.registry import carry_over
from consentpanel.registry._carry_over import APART
from consentpanel.registry._recording import after_commit
from consentpanel.registry._writing import record_all, records_known


@attrs.frozen(kw_only=True)
class VisitOptions:
    """What holds for all requests.

    Attributes:
        cookie: The visitors' cookie.
        policy_version: The version of the published policy, which answers are to.
        shown_version: Gives the version of the notice that the panel shows, where neither that nor the registry names one; None without one.
        gpc: The purposes that Global Privacy Control denies (https://www.w3.org/TR/gpc/).
        answers: Readers of the cookies of consent tools.
    """

    cookie: VisitorCookie
    policy_version: str | None = None
    shown_version: Callable[[], str | None] = lambda: None
    gpc: Collection[str] = BUILT_IN_PURPOSES
    answers: tuple[Reader, ...] = ()


def version_of(registry: Any) -> str | None:
    """The policy version that a registry asks for; None where it does not say, as a proxy that stands for nothing yet."""
    with suppress(Exception):
        found = registry.required_policy_version
        return found if isinstance(found, str) and found else None
    return None


_TOO_LATE = (
    "the response has begun, and a visitor who has no id yet cannot be given one: nothing was recorded. Answer before"
)


class _Mark:
    """Something that a transaction holds as long as it is neither committed nor taken back."""


class Person:
    """Who has sent a request, and what the response says of the visitors' cookie.

    Args:
        client: The client.
        options: What holds for all requests.
        cookies: The raw header ``Cookie``; several are joined with ``"; "``.
        account: Gives the id of the account that is logged in; None for nobody.
        told: What the browser's consent tools say.
    """

    def __init__(
        self,
        client: Mixpanel,
        options: VisitOptions,
        cookies: str,
        account: Callable[[], Any],
        told: tuple[ToolAnswers, ...],
    ) -> None:
        self._client, self._options, self._account, self._told = client, options, account, told
        cookie = options.cookie.value_in(cookies)
        #: The visitor, and since when the browser is not somebody else's, as far as the cookie tells.
        self._visitor, self._since = options.cookie.read(cookie)
        self._had_cookie = cookie is not None
        # Re-entrant, because a signal handler may answer in the middle of anything.
        self._lock = threading.RLock()
        #: Whether anybody has asked for the person.
        self.was_asked = False
        #: Whether the response has begun, so that no cookie can be set any more.
        self.has_begun = False
        #: Whether the response is the same for all: nothing that is about this person may stand in it, or come of it.
        self.is_for_all = False
        self._is_new = self._is_over = False
        #: A visitor whose answers could not be made the account's.
        self._left_behind: str | None = None
        #: Gives something as long as what was answered is not taken back; None where it cannot be any more.
        self._pending: Callable[[], object] | None = None
        #: Whether the cookie is to say anew since when the browser is not somebody else's.
        self._is_marked = False
        if cookie and (self._visitor, self._since) == (None, None):
            # Of a key that is gone, perhaps: who had it may have refused.
            self._since, self._is_marked = now(), True
        _ALIVE.add(self)

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

    def mark(self) -> str:
        """What stands in each form for the person: a form that was opened by somebody else says nothing of this one.

        Raises:
            RegistryError: It cannot be told who it is.
        """
        return self._options.cookie.mark_of(self.subject_id)

    def is_marked_by(self, mark: str) -> bool:
        """Whether a form was made for this person, or for nobody where it is a visitor, who may have answered in another tab since.

        Args:
            mark: What stands in it.

        Raises:
            RegistryError: It cannot be told who it is.
        """
        subject, cookie = self.subject_id, self._options.cookie
        is_visitor_now = subject is not None and subject == self._visitor
        return cookie.is_mark_of(mark, subject) or (is_visitor_now and cookie.is_mark_of(mark, None))

    @property
    def is_to_carry_over(self) -> bool:
        """Whether a visitor's answers are to become an account's, which `subject_id` does."""
        return self._visitor is not None and self._account_id is not None

    @property
    def client(self) -> Mixpanel:
        """The client that sends, by what the person has said."""
        return self._client

    @property
    def gpc(self) -> frozenset[Purpose]:
        """The purposes that Global Privacy Control denies."""
        return frozenset(map(Purpose, self._options.gpc))

    @property
    def policy_version(self) -> str | None:
        """The version that answers are to: what the configuration says, or the registry, or the panel's notice; None where none does."""
        return self._options.policy_version or version_of(self._registry) or self._options.shown_version()

    @property
    def cookie(self) -> VisitorCookie:
        """The visitors' cookie."""
        return self._options.cookie

    @property
    def cookie_to_set(self) -> str | None:
        """The value that the response is to give the visitors' cookie; None to leave it as it is."""
        if self.is_for_all:
            return None
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
        return self._had_cookie and self._is_over and not self.is_for_all and self.cookie_to_set is None

    def _mark(self) -> None:
        """Has the cookie say that what the tools show now is nobody else's."""
        if self._told or self._options.answers:
            self._since, self._is_marked = latest_in(self._told), True

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
            if last and not any(each.source == "login" for each in last.values()):
                # Nor does it make anybody else the one of whom something was sent.
                ended = ended or [APART]
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


def _with_a_lock_of_its_own(person: Person) -> None:
    person._lock = threading.RLock()  # noqa: SLF001 - the same file


#: In the child of a fork another thread may have held the lock.
_ALIVE: Survivors[Person] = Survivors(_with_a_lock_of_its_own)
