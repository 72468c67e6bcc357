"""Remote feature flags: the request carries a person's context to the vendor, so it asks first."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import httpx
from asgiref.sync import sync_to_async
from mixpanel.flags import types as vendor_types

from consentpanel._log import asked_by, cause_of
from consentpanel._mixpanel import vendor
from consentpanel.client._capture import plain
from consentpanel.transport._failures import quotes

if TYPE_CHECKING:
    from consentpanel.client._guard import Guard
    from consentpanel.client._sealed import SealedTransport


class _Client(Protocol):
    """What the provider needs of its client."""

    _token: str

    @property
    def _consumer(self) -> SealedTransport: ...
    def _track_exposure(self, distinct_id: Any, event_name: str, properties: Any = None) -> object: ...


class RemoteFlags(vendor.RemoteFeatureFlagsProvider):  # type: ignore[misc]
    """The vendor's provider of remote flags behind the guard.

    Without consent for `Purpose.FEATURE_FLAGS` no request is made, and the fallback comes back marked as one
    (mixpanel 5.3 and newer have the mark). With it, the context passes the policy's ``flags`` rules first.

    Args:
        client: The client whose exposure events these are.
        guard: Its guard.
        config: The vendor's `RemoteFlagsConfig`.
        vendors: What else the vendor's provider takes.
    """

    def __init__(self, client: _Client, guard: Guard, config: Any, **vendors: Any) -> None:
        super().__init__(client._token, config, vendor.NAMES["__version__"], client._track_exposure, *vendors.values())
        self._client = client
        self._guard = guard
        #: Has something done that may take its time.
        self.in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = _in_thread

    def get_variant(self, flag_key: str, fallback_value: Any, context: Any, reportExposure: bool = True) -> Any:  # noqa: N803 - the vendor's signature
        """The variant for the context, or the fallback when the person has not consented."""
        said = self._allowed(context)
        if said is None or self._guard.names_mapped(flag_key, said):
            return _as_fallback(fallback_value)
        return super().get_variant(flag_key, fallback_value, said, reportExposure)

    async def aget_variant(self, flag_key: str, fallback_value: Any, context: Any, reportExposure: bool = True) -> Any:  # noqa: N803 - the vendor's signature
        """As `get_variant`, without blocking the event loop."""
        said = await self.in_thread(partial(self._allowed, context))
        if said is None or self._guard.names_mapped(flag_key, said):
            return _as_fallback(fallback_value)
        return await super().aget_variant(flag_key, fallback_value, said, reportExposure)

    def get_all_variants(self, context: Any) -> Any:
        """All variants for the context, or None when the person has not consented."""
        said = self._allowed(context)
        return None if said is None else super().get_all_variants(said)

    async def aget_all_variants(self, context: Any) -> Any:
        """As `get_all_variants`, without blocking the event loop."""
        said = await self.in_thread(partial(self._allowed, context))
        return None if said is None else await super().aget_all_variants(said)

    def _allowed(self, context: Any) -> _Allowed | None:
        # Read once: the caller's own may change in another thread. What cannot be read is refused as it is.
        with suppress(Exception):
            context = plain(context)
        said = self._guard.context(context, self._client._consumer)
        return None if said is None else _Allowed(context, said)

    def _prepare_query_params(self, context: Mapping[str, Any], flag_key: str | None = None) -> Any:
        # A vendor method that is not overridden above gets here with a context that nobody judged.
        judged = context if type(context) is _Allowed else self._allowed(context)
        if judged is None or self._guard.names_mapped(flag_key, judged):
            raise _NoConsentError
        # What the vendor set for one person is not sent with the question of another.
        for http in (getattr(self, "_sync_client", None), getattr(self, "_async_client", None)):
            if http is not None:
                http.cookies.clear()
        return super()._prepare_query_params(judged.said, flag_key)

    def _handle_response(self, response: httpx.Response) -> Any:
        if not response.is_success:
            # The vendor logs the exception; httpx's own text quotes the URL with the person's context.
            raise _RequestFailedError(response.status_code, _said_of_nobody(response))
        return super()._handle_response(response)

    @staticmethod
    def _describe_backend_error(exc: Exception) -> str:
        # The vendor puts an exception's text into the fallback; it may quote the context.
        return str(exc) if isinstance(exc, _RequestFailedError) else type(exc).__name__


async def _in_thread(act: Callable[[], Any]) -> Any:
    return await sync_to_async(act)()


class LocalFlags(vendor.LocalFeatureFlagsProvider):  # type: ignore[misc]
    """The vendor's provider of local flags: it evaluates here and needs no consent, with the id that the vendor knows.

    Args:
        client: The client whose exposure events these are.
        guard: Its guard.
        config: The vendor's `LocalFlagsConfig`.
        vendors: What else the vendor's provider takes.
    """

    def __init__(self, client: _Client, guard: Guard, config: Any, **vendors: Any) -> None:
        super().__init__(client._token, config, vendor.NAMES["__version__"], client._track_exposure, *vendors.values())
        self._guard = guard

    def get_variant(self, flag_key: str, fallback_value: Any, context: Any, *reporting: Any, **keywords: Any) -> Any:
        """The variant for the context, as the vendor would assign it."""
        mapped = context if type(context) is _Mapped else _Mapped(context, self._guard.with_mapped_ids(context))
        return super().get_variant(flag_key, fallback_value, mapped, *reporting, **keywords)

    def _track_exposure(self, flag_key: str, variant: Any, context: Any, *latency: Any, **keywords: Any) -> Any:
        # An exposure is judged like any event, and for that the person's own id is needed.
        given = context.given if type(context) is _Mapped else context
        return super()._track_exposure(flag_key, variant, given, *latency, **keywords)


class _Mapped(dict[str, Any]):
    """A context with mapped ids, and the one that was given."""

    def __init__(self, given: Any, mapped: dict[str, Any]) -> None:
        super().__init__(mapped)
        self.given = given


class _Allowed(dict[str, Any]):
    """A context that the guard has let through, for the exposure; and what may be said of it to the vendor."""

    def __init__(self, given: Mapping[str, Any], said: dict[str, Any]) -> None:
        super().__init__(given)
        self.said = said


class _NoConsentError(Exception):
    """No request is made: the person has not consented to feature flags."""


class _RequestFailedError(Exception):
    """The vendor answered with an error.

    Args:
        status: The HTTP status.
        said: What the answer says about it, and of nobody.
    """

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"HTTP {status}: {said}" if said else f"HTTP {status}")
        self.status = status


def _said_of_nobody(response: httpx.Response) -> str:
    """What an answer says about an error, for the fallback; nothing when it quotes any part of the context."""
    body = response.text.strip()
    try:
        context = json.loads(response.request.url.params["context"])
    except (ValueError, KeyError):
        return ""
    return "" if quotes(body, context) else body


def _as_fallback(fallback: Any) -> Any:
    reason = getattr(vendor_types, "FallbackReason", None)
    if reason is None or not hasattr(fallback, "as_fallback"):
        return fallback
    # As for somebody whom no rollout names: the default is the answer, and nothing is wrong.
    return fallback.as_fallback(reason(kind=reason.no_rollout_match().kind, message="consent"))


def quieten() -> None:
    """Keeps ids and contexts out of what the vendor's flag code and its HTTP library log."""
    vendors = [f"mixpanel.flags.{name}" for name in ("local_feature_flags", "remote_feature_flags", "utils")]
    # mixpanel 5.0 logs some of its failures at the root.
    for name in (*vendors, "httpx", *_HTTPCORE, ""):
        logger = logging.getLogger(name)
        if _without_values not in logger.filters:
            logger.addFilter(_without_values)


#: Beneath httpx: what logs the headers of an answer, of which one (where a redirect leads) may quote the context.
_HTTPCORE = ("httpcore.http11", "httpcore.http2")


def _without_values(record: logging.LogRecord) -> bool:
    if record.name == "root" and record.module != "remote_feature_flags":
        return True
    if record.name == "httpx":
        if isinstance(record.args, tuple):
            record.args = tuple(_without_context(each) for each in record.args)
        return True
    if record.name in _HTTPCORE:
        # What comes behind is the whole of a request or of an answer's headers, which may quote the context.
        record.msg, record.args = str(record.msg).partition("=")[0].partition(" ")[0], ()
        return True
    if record.exc_info and (error := record.exc_info[1]) is not None:
        cause = f"HTTP {error.status}" if isinstance(error, _RequestFailedError) else cause_of(error) + asked_by()
        record.msg = f"{record.msg} ({cause.replace('%', '%%') if record.args else cause})"
        record.exc_info = None
    text = str(record.msg)
    if "not eligible for any rollout" in text:
        record.msg, record.args = "a context is not eligible for any rollout of a flag", ()
    elif "thread: %s: %s" in text:
        record.args = tuple("(withheld)" for _ in record.args or ())
    return True


def _without_context(argument: object) -> object:
    if isinstance(argument, httpx.URL) and "context" in argument.params:
        return argument.copy_with(query=None)
    return argument
