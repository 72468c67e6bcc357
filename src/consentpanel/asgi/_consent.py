"""The consent of whoever has sent a request, with answers that are awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from consentpanel._consent.ids import subject_key
from consentpanel._consent.records import ConsentStatus
from consentpanel._messages.decision import Decision
from consentpanel._visits import ConsentSummary, Visit
from consentpanel.client import AsyncMixpanel, Mixpanel, Withdrawal
from consentpanel.client._later import to_its_end
from consentpanel.cmp import Relay
from consentpanel.privacy_requests import PrivacyTask
from consentpanel.registry._remembered import Memory, remembering

_T = TypeVar("_T")


class Account:
    """The account that a request is of, asked for in the event loop and told in any thread.

    Args:
        find: Gives its id, or an awaitable of it; None for nobody.
    """

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find
        self._found: tuple[str | None, Exception | None] = None, None
        #: The id that the application has named.
        self.named: Any = None

    async def ask(self) -> None:
        """Finds out whose it is now; raises nothing."""
        try:
            found = self._find() if self.named is None else self.named
            found = await found if inspect.isawaitable(found) else found
            self._found = None if found is None else subject_key(found), None
        except Exception as error:  # noqa: BLE001 - the application's own function; a `Visit` says what comes of it
            self._found = None, error

    @property
    def is_told(self) -> bool:
        """Whether somebody could tell whose it is, or that it is nobody's."""
        return self._found[1] is None

    def found(self) -> str | None:
        """The id, as it was told last.

        Raises:
            Exception: Whatever the application's own function raised.
        """
        found, failure = self._found
        if failure is not None:
            raise failure
        return found


class RequestConsent:
    """The consent of whoever has sent a request or opened a websocket, as ``request.state.consent``; its answers are awaited.

    The registry is asked once in a request about each purpose, until something is recorded, the response has ended, or 5 seconds are
    over. For a websocket, which may stay open for hours, it is asked each time.
    """

    def __init__(self, visit: Visit, client: Mixpanel | AsyncMixpanel, account: Account) -> None:
        self._visit, self._account = visit, account
        # One question after the other: each is about the account that was told for it.
        self._turn = asyncio.Lock()
        self._later: AsyncMixpanel | None = client if isinstance(client, AsyncMixpanel) else None

    @property
    def has_gpc(self) -> bool:
        """Whether the browser says ``Sec-GPC: 1``, or a consent tool has seen the signal there."""
        return self._visit.has_gpc

    async def subject_id(self) -> str | None:
        """The data subject: the account that is logged in, or the visitor who has answered; None for a visitor who has not."""
        return await self._run(lambda: self._visit.subject_id, is_quick=True)

    async def status(self, purpose: str) -> ConsentStatus:
        """What the person has said about a purpose.

        Args:
            purpose: The purpose, or its name.

        Returns:
            The `ConsentStatus`; a visitor without an id has denied what Global Privacy Control denies.

        Raises:
            RegistryError: The registry failed.
            InvalidRecordError: The purpose is malformed.
        """
        return await self._run(lambda: self._visit.status(purpose))

    async def answer(
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
            session: A session of SQLAlchemy's, of whose transaction the answer is to be a part; an `AsyncSession` for an
                `AsyncSQLAlchemyRegistry`.
            language: The language of the texts that the person saw, such as ``"de"``; when left out, what the middleware says.
            policy_version: The version that the person saw; when left out, what the middleware or the registry says.
            covers_held: Whether what is granted is also for what was held until the person was asked (``while_unknown="hold"``).
            purposes: Yes or no by purpose, such as ``analytics=True``.

        Raises:
            RegistryError: The registry failed; nothing was granted, and what was denied may be recorded.
            InvalidRecordError: There is no answer, or one is neither True nor False; nothing was recorded.
            RuntimeError: The response has begun, and the visitor has no id: nothing was recorded.
            mixpanel.MixpanelException: As `Mixpanel.withdraw`.
        """
        fields: dict[str, Any] = {"source": source, "evidence": evidence, "session": session}
        fields |= {"language": language, "policy_version": policy_version, "covers_held": covers_held, **purposes}
        await self._run(lambda: self._visit.answer(answers, **fields))

    async def withdraw(self, *, source: str = "website", **options: Any) -> Withdrawal:
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
        return await self._run(lambda: self._visit.withdraw(source=source, **options))

    async def summary(self, purposes: Iterable[str]) -> ConsentSummary:
        """All that is known of the person at once, for a page that shows it.

        Args:
            purposes: Those whose statuses are wanted.

        Raises:
            RegistryError: The registry failed.
            InvalidRecordError: A purpose is malformed.
        """
        return await self._run(lambda: self._visit.summary(purposes))

    async def request_copy(self, *, source: str = "website") -> tuple[PrivacyTask, ...]:
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
        return await self._run(lambda: self._visit.request_copy(source=source))

    async def track(
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
        visit = self._visit
        if self._later is not None:
            async with self._turn:
                await self._account.ask()
                who = visit.subject_id if self._is_plain else None
            if who is not None:
                return await self._later.track(who, event_name, properties, meta)
        return await self._run(lambda: visit.track(event_name, properties, meta))

    @property
    def _is_plain(self) -> bool:
        """Whether it takes no registry to tell whom an event is about; a `Visit` says what comes of all else."""
        visit = self._visit
        return self._account.is_told and not visit.is_to_carry_over and visit.is_heeded and visit.is_settled

    async def relay(self, reader: Relay, body: str | bytes, content_type: str | None) -> bool:
        """Heeds what a script of the page has posted of a consent tool that no server can read, as the cookies of others are heeded.

        Args:
            reader: Reads it.
            body: The body of the request.
            content_type: Its ``Content-Type``, which must be ``application/json``: no page of another site can send that unasked.

        Returns:
            Whether there was something to heed.

        Raises:
            RegistryError: The registry failed, and a no could not be recorded; this request sends nothing.
        """
        return await self._run(lambda: self._visit.relay(reader, body, content_type))

    async def log_in(self, subject_id: Any = None) -> None:
        """Makes the visitor's answers those of the account, and ends the visitor; raises nothing.

        Args:
            subject_id: The id of the account, which is the data subject of this request from now on: for applications that
                learn it in a dependency. When left out, ``subject=`` of the middleware tells it.
        """
        await self._run(self._visit.log_in, named=(subject_id,))

    async def log_out(self) -> None:
        """Ends the visitor of this request, if there is one, and an account that `log_in` was given."""
        await self._run(self._visit.log_out, named=(None,))

    async def _heed(self) -> None:
        if self._visit.says_something:
            await self._run(self._visit.heed)

    async def _run(self, work: Callable[[], _T], *, is_quick: bool = False, named: tuple[Any] | tuple[()] = ()) -> _T:
        """What comes of some work on the visit, in a thread unless it is quick; before it the account may be named."""
        async with self._turn:
            for each in named:
                self._account.named = each
            await self._account.ask()
            if is_quick and self._account.is_told and not self._visit.is_to_carry_over:
                return work()
            if self._later is not None:
                return await self._later._in_its_place(work)  # noqa: SLF001 - shared inside the package
            return await to_its_end(asyncio.to_thread(work))


_CURRENT: ContextVar[RequestConsent | None] = ContextVar("consentpanel_request", default=None)


def current() -> RequestConsent | None:
    """The consent of the request that is answered; None where there is none."""
    return _CURRENT.get()


async def current_consent() -> RequestConsent:
    """The consent of the request that is answered: a dependency for FastAPI, and for whatever runs in the request's task.

    Returns:
        The `RequestConsent`.

    Raises:
        RuntimeError: There is no request, or no `ConsentMiddleware` with a client around the application.

    Example:
        .. code-block:: python

            Consent = Annotated[RequestConsent, Depends(current_consent)]

            @app.post("/order")
            async def order(consent: Consent):
                await consent.track("Order placed")
    """
    found = _CURRENT.get()
    if found is None:
        raise RuntimeError(
            "current_consent() is that of a request, and there is none: is the application inside of ConsentMiddleware(app, client=...)?"
            " Elsewhere name the data subject to track()"
        )
    return found


@contextmanager
def serving(consent: RequestConsent, remembered: Memory | None) -> Generator[None, None, None]:
    """Has `current_consent` give a consent to what runs inside, and the registry's answers remembered."""
    token = _CURRENT.set(consent)
    try:
        with remembering(remembered):
            yield
    finally:
        _CURRENT.reset(token)
        if remembered is not None:
            # Tasks that go on have it still.
            remembered.end()
