"""The middleware: a consent for each request and websocket, the visitors' cookie, and Global Privacy Control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from consentpanel._consent.gpc import is_said
from consentpanel._log import note_failure, warn_once
from consentpanel._visits import Visit
from consentpanel._visits.cookie import cookies_in, key_of
from consentpanel._visits.for_all import may_be_for_all
from consentpanel._visits.setting import Options, secrets_of, visit_options_of
from consentpanel.asgi._consent import Account, RequestConsent, serving
from consentpanel.asgi._headers import with_cookie
from consentpanel.asgi._lifespan import ASGIApp, Message, Receive, Scope, Send, live
from consentpanel.client import AsyncMixpanel, Mixpanel
from consentpanel.client._consent_calls import registry_of
from consentpanel.cmp import Answers
from consentpanel.errors import ConfigurationError
from consentpanel.registry import _remembered

#: The messages that carry headers, and with them a cookie.
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
#: Those with which it is too late for one.
_BEGINS = _STARTS | {"websocket.close"}
#: Those that end a response, unless more is to come.
_ENDS = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
#: The key of a scope that tells a middleware inside of another one.
_OURS = "consentpanel"


class ConsentMiddleware:
    """Gives each request and websocket its consent, and delivers what waits before the server ends the process (ASGI 3, lifespan 2.0).

    The consent is a `RequestConsent`: ``request.state.consent``, which is ``scope["state"]["consent"]``, or `current_consent`. The id of a
    visitor who has answered stands in a signed cookie, which is set with an answer and not before, and ends at log-in and log-out.
    ``Sec-GPC: 1`` is recorded as the denial of the purposes in `gpc`, once, and not over a grant that was given later.

    Put it inside of the middlewares of sessions and log-in where these tell the account: in Starlette and FastAPI, add it before them.
    An application that knows no lifespan gets one of its own: uvicorn ends its process by the signal that it got, after which no
    exit handler of Python's runs.

    Args:
        app: The application: Starlette, FastAPI, Django, Quart, Litestar, or any other of ASGI 3.
        client: The client, an `AsyncMixpanel` or a `Mixpanel`; without one a server's end is all that is seen to.
        secret_key: The secret that signs the visitors' cookie, or several of which the first signs and each is good for reading. When left
            out it is made of the project's token, which is no secret: whoever knows that, and the id of a visitor, can sign that visitor's
            cookie, and reads and answers on a panel as that visitor. Where there is a panel, give one; a warning is logged without it.
        policy_version: The version of the published policy, which answers are to; when left out, the one that the registry asks for.
        subject: A function, or a coroutine function, that is given the scope and returns the id of the account, or None, such as
            ``lambda scope: scope["session"].get("user")``. When left out, ``scope["user"].identity`` of whoever is authenticated, as Starlette's
            ``AuthenticationMiddleware`` has it. It is called for each question.
        cookie: ``NAME``, ``MAX_AGE`` (seconds), ``PATH``, ``DOMAIN``, ``SECURE`` and ``SAMESITE`` of the visitors' cookie. Without ``SECURE``
            a request by HTTPS gets one that is for HTTPS alone.
        gpc: The purposes that ``Sec-GPC: 1`` denies; the three built-in ones when None, and none for ``()``.
        language: The language of the texts that people see, such as ``"de"``, or a function that is given the scope and returns it: for the
            records, which a registry with ``strict_records=True`` takes only with one.
        answers: Readers of the cookies of consent tools, such as ``[OneTrust({"C0002": "analytics"})]`` of `consentpanel.cmp`; None for none.

    Raises:
        ConfigurationError: An argument cannot work.

    Example:
        >>> import asyncio
        >>> from consentpanel import AsyncMixpanel
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> async def shop(scope, receive, send):
        ...     consent = scope["state"]["consent"]
        ...     await consent.answer(analytics=True)
        ...     print((await consent.track("Agreed")).outcome)
        >>> app = ConsentMiddleware(shop, client=AsyncMixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry()))
        >>> asyncio.run(app({"type": "http", "headers": []}, None, None))
        sent
    """

    def __init__(
        self,
        app: ASGIApp,
        client: Mixpanel | AsyncMixpanel | None = None,
        *,
        secret_key: str | bytes | Iterable[str | bytes] | None = None,
        policy_version: str | None = None,
        subject: Callable[[Scope], Any] | None = None,
        cookie: Mapping[str, Any] | None = None,
        gpc: Iterable[str] | None = None,
        language: str | Callable[[Scope], str | None] | None = None,
        answers: Iterable[Callable[[str | bytes | None], Answers]] | None = None,
    ) -> None:
        self._app = app
        #: The client.
        self.client = client
        self._later: AsyncMixpanel | None = client if isinstance(client, AsyncMixpanel) else None
        if client is None:
            given = {
                "secret_key": secret_key,
                "policy_version": policy_version,
                "subject": subject,
                "cookie": cookie,
                "gpc": gpc,
                "answers": answers,
                "language": language,
            }
            if said := [name for name, value in given.items() if value is not None]:
                raise ConfigurationError(f"{said[0]}= needs client=, an AsyncMixpanel or a Mixpanel")
            return
        if not isinstance(client, (Mixpanel, AsyncMixpanel)):
            raise ConfigurationError(f"client must be an AsyncMixpanel or a Mixpanel, not {type(client).__name__}")
        self._sync: Mixpanel = self._later._client if self._later is not None else cast("Mixpanel", client)  # noqa: SLF001 - shared inside the package
        said_of_it = Options(policy_version=policy_version, subject=subject, cookie=cookie, gpc=gpc, answers=answers)
        keys = secrets_of(secret_key) or (key_of(self._sync._token),)  # noqa: SLF001 - shared inside the package
        self._visits = visit_options_of(
            said_of_it, str.lower, keys=keys, is_secure=False, is_of_token=secret_key is None
        )
        self._subject = subject or _authenticated
        self._language: Callable[[Scope], str | None] = language if callable(language) else lambda _: language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request; of the lifespan it sees the end."""
        if scope["type"] == "lifespan":
            await live(self._app, scope, receive, send, self._flush)
        elif self.client is None or scope["type"] not in {"http", "websocket"} or self._is_inside_another(scope):
            await self._app(scope, receive, send)
        else:
            await self._answered(scope, receive, send)

    def _is_inside_another(self, scope: Scope) -> bool:
        outer = scope.get(_OURS)
        if outer is None or outer.client is not self.client:
            return False
        if outer is not self:
            warn_once(
                "a ConsentMiddleware is inside of another one of the same client, which alone says whose request it is"
            )
        return True

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit, consent = self._consent_of(scope)
        scope[_OURS] = self
        scope["state"] = state = scope.get("state") or {}
        state["consent"] = consent
        is_http, is_secure = scope["type"] == "http", scope.get("scheme") in {"https", "wss"}
        is_open = is_http and may_be_for_all(scope.get("path", ""))

        async def sent(message: Message) -> None:
            if is_open and message["type"] in _BEGINS:
                await consent._heed()  # noqa: SLF001 - ours
            if message["type"] in _BEGINS:
                visit.has_begun = True
            if message["type"] in _STARTS:
                said = with_cookie(message.get("headers") or (), visit, is_secure=is_secure, is_varying=is_http)
                message = {**message, "headers": said}
            await send(message)
            if remembered is not None and message["type"] in _ENDS and not message.get("more_body"):
                remembered.end()

        remembered: _remembered.Memory | None = None
        if is_http:
            is_judged_again = self._sync._sealed.keeps  # noqa: SLF001 - shared inside the package
            remembered = _remembered.Memory(registry_of(self._sync), is_judged_again=is_judged_again)
        with serving(consent, remembered):
            try:
                if not is_open:
                    await consent._heed()  # noqa: SLF001 - ours
                await self._app(scope, receive, sent)
            finally:
                if not self._sync._sealed.sends_by_itself:  # noqa: SLF001 - shared inside the package
                    await self._flush()

    def _consent_of(self, scope: Scope) -> tuple[Visit, RequestConsent]:
        headers: list[tuple[bytes, bytes]] = list(scope.get("headers") or ())
        account = Account(lambda: self._subject(scope))
        visit = Visit(
            self._sync,
            self._visits,
            cookies=cookies_in(headers),
            account=account.found,
            has_gpc=is_said(value.decode("latin-1") for name, value in headers if name.lower() == b"sec-gpc"),
            language=lambda: self._language(scope),
            may_begin=scope["type"] == "http" and (b"sec-fetch-site", b"cross-site") not in headers,
        )
        return visit, RequestConsent(visit, cast("Mixpanel | AsyncMixpanel", self.client), account)

    async def _flush(self) -> None:
        try:
            if self._later is not None:
                await self._later.flush()
            elif self.client is not None:
                await asyncio.to_thread(self._sync.flush)
        except Exception as error:  # noqa: BLE001 - the response is on its way, or the server ends
            note_failure("a flush", error)


def _authenticated(scope: Scope) -> Any:
    user: Any = scope.get("user")
    return user.identity if getattr(user, "is_authenticated", False) is True else None
