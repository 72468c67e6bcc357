"""The middleware: ``request.consent``, the visitors' cookie, and Global Privacy Control."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.apps import apps
from django.core.exceptions import SynchronousOnlyOperation
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_language

from consentpanel._consent.gpc import is_said
from consentpanel._consent.records import ConsentStatus
from consentpanel._messages.decision import Decision
from consentpanel._visits import Visit
from consentpanel._visits.cookie import cookies_in
from consentpanel._visits.for_all import may_be_for_all
from consentpanel._visits.set_cookie import for_one, sets_cookie
from consentpanel._visits.setting import language_of
from consentpanel.client import Withdrawal
from consentpanel.cmp import Relay
from consentpanel.django import conf
from consentpanel.django._connections import IN_A_COROUTINE
from consentpanel.django._panel import with_token
from consentpanel.errors import ConfigurationError, RegistryError

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase


class RequestConsent(Visit):
    """The consent of whoever has sent a request, as ``request.consent``; in coroutines await the methods with an ``a``."""

    def track_on_commit(
        self,
        event_name: str,
        properties: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
        *,
        using: str | None = None,
    ) -> None:
        """As `track`, once the atomic block is committed in which this is called; never if that is taken back."""
        from consentpanel.django.client import track_on_commit

        subject: str | None = None
        with suppress(RegistryError):
            subject = self.heeded_subject_id
        if subject is None or not self.is_settled:
            self.track(event_name, properties, meta)
        else:
            track_on_commit(subject, event_name, properties, meta, using=using)

    async def asubject_id(self) -> str | None:
        """As `subject_id`, in a coroutine."""
        return await sync_to_async(lambda: self.subject_id)()

    async def atrack_on_commit(
        self, event_name: str, properties: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        """As `track_on_commit`, in a coroutine, which is in no atomic block: at once."""
        await sync_to_async(self.track_on_commit)(event_name, properties, meta)

    async def astatus(self, purpose: str) -> ConsentStatus:
        """As `status`, in a coroutine."""
        return await sync_to_async(self.status)(purpose)

    async def aanswer(self, answers: Mapping[str, bool] | None = None, /, **options: Any) -> None:
        """As `answer`, in a coroutine."""
        await sync_to_async(self.answer)(answers, **options)

    async def arelay(self, reader: Relay, body: str | bytes, content_type: str | None) -> bool:
        """As `relay`, in a coroutine."""
        return await sync_to_async(self.relay)(reader, body, content_type)

    async def awithdraw(self, **options: Any) -> Withdrawal:
        """As `withdraw`, in a coroutine."""
        return await sync_to_async(self.withdraw)(**options)

    async def atrack(
        self, event_name: str, properties: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> Decision:
        """As `track`, in a coroutine."""
        return await sync_to_async(self.track)(event_name, properties, meta)


class ConsentMiddleware:
    """Gives each request its ``consent``: a `RequestConsent`. Put it after the middlewares of sessions and log-in.

    The id of a visitor who has answered stands in a signed cookie, which is set with an answer and not before, and ends at log-in
    and log-out. ``Sec-GPC: 1`` is recorded as the denial of the purposes in ``CONSENTPANEL["GPC"]``, once, and not over a grant
    that was given later.

    Args:
        get_response: The rest of the stack, synchronous or not.

    Raises:
        ConfigurationError: The setting ``CONSENTPANEL`` cannot work.
    """

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        if not apps.is_installed("consentpanel.django"):
            raise ConfigurationError("the middleware of consentpanel needs 'consentpanel.django' in INSTALLED_APPS")
        conf.visits()
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answers a request."""
        if self._is_async:
            return self._answered_later(request)
        consent = _begin(request)
        if not (is_open := may_be_for_all(request.path)):
            consent.heed()
        response = self._get_response(request)
        if is_open:
            consent.heed()
        return _finish(consent, with_token(request, response))

    async def _answered_later(self, request: HttpRequest) -> HttpResponseBase:
        consent = _begin(request)
        is_open = may_be_for_all(request.path)
        if consent.says_something and not is_open:
            await sync_to_async(consent.heed)()
        response = await self._get_response(request)
        if consent.says_something and is_open:
            await sync_to_async(consent.heed)()
        if getattr(request, "consentpanel_has_token", False):
            # It may be kept in the session.
            response = await sync_to_async(with_token)(request, response)
        return _finish(consent, response)


def _begin(request: Any) -> RequestConsent:
    from consentpanel.django.client import mixpanel

    options = conf.visits()
    scope = getattr(request, "scope", None)
    # Of several headers, as HTTP/2 may have them, Django makes one by commas.
    cookies = request.META.get("HTTP_COOKIE", "") if scope is None else cookies_in(scope["headers"])
    consent = request.consent = RequestConsent(
        mixpanel,
        options,
        account=lambda: _account(request),
        has_gpc=is_said([request.headers.get("Sec-GPC", "")]),
        language=_language,
        may_begin=request.headers.get("Sec-Fetch-Site") != "cross-site",
        cookies=cookies,
    )
    return consent


def _language() -> str | None:
    return language_of(conf.options()) or get_language()


def _account(request: Any) -> Any:
    try:
        return conf.subject_of(getattr(request, "user", None))
    except SynchronousOnlyOperation:
        pass
    raise RegistryError(IN_A_COROUTINE)


def _finish(consent: Visit, response: Any) -> HttpResponseBase:
    consent.has_begun = True
    if sets_cookie(consent):
        for name, said in for_one(response.headers.items()).items():
            if said is None:
                del response.headers[name]
            else:
                response.headers[name] = said
    cookie = consent.cookie
    if (value := consent.cookie_to_set) is not None:
        response.set_cookie(
            cookie.name,
            value,
            max_age=cookie.max_age,
            path=cookie.path,
            domain=cookie.domain,
            secure=cookie.is_secure,
            httponly=True,
            samesite=cookie.same_site,
        )
    elif consent.is_cookie_over:
        response.delete_cookie(cookie.name, path=cookie.path, domain=cookie.domain, samesite=cookie.same_site)
    if consent.was_asked and not consent.is_for_all:
        patch_vary_headers(response, ("Cookie", "Sec-GPC"))
    return response
