"""The setting ``CONSENTPANEL``: read, checked, and made into a client."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from http.cookies import CookieError
from typing import Any, cast

import attrs
from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.http import HttpResponse
from django.urls import NoReverseMatch, reverse

from consentpanel._checks import host
from consentpanel._visits import VisitOptions, VisitorCookie
from consentpanel._visits import setting as read
from consentpanel._visits.setting import Options
from consentpanel.client import Mixpanel
from consentpanel.django._connections import is_testing
from consentpanel.errors import ConfigurationError
from consentpanel.panel import Panel
from consentpanel.panel._configured import panel_of
from consentpanel.transport import BackgroundConsumer, BufferedConsumer

NAME = "CONSENTPANEL"


def named(key: str) -> str:
    """A key, as it is written."""
    return f"{NAME}[{key!r}]"


@cache
def options() -> Options:
    """What the setting says now: read once, because every request asks, and again when a test has changed a setting.

    Raises:
        ConfigurationError: It is no mapping, has an unknown key, or names what cannot be imported.
    """
    given = getattr(django_settings, NAME, {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{NAME} must be a dict, not {type(given).__name__}")
    return read.options_of(given, named)


def build() -> Mixpanel:
    """A client as the setting says.

    Raises:
        ConfigurationError: It cannot work.
    """
    said = options()
    return read.client_of(said, named, registry_of(said), consumer_of(said))


@cache
def visits() -> VisitOptions:
    """What holds for all requests: made once, as `options`.

    Raises:
        ConfigurationError: ``COOKIE``, ``GPC`` or ``SUBJECT`` cannot work.
    """
    keys = (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)
    found = read.visit_options_of(options(), named, keys=keys, is_secure=django_settings.SESSION_COOKIE_SECURE)
    _check_cookie(found.cookie)
    has_notice = options().notice is not None or options().panel is not None
    return attrs.evolve(found, shown_version=_shown_version) if has_notice else found


def _shown_version() -> str | None:
    mount = ""
    with suppress(NoReverseMatch):
        mount = reverse("consentpanel:panel").rstrip("/")
    return panel().version(current(), mount)


@cache
def panel() -> Panel:
    """The panel: made once, as `options`.

    Raises:
        ConfigurationError: ``NOTICE`` or ``PANEL`` cannot work.
    """
    return panel_of(options(), named)


def _check_cookie(cookie: VisitorCookie) -> None:
    """Lets Django write the cookie into a response that nobody gets."""
    problem = ""
    if cookie.name in {django_settings.SESSION_COOKIE_NAME, django_settings.CSRF_COOKIE_NAME}:
        problem = "NAME is that of another cookie of Django's"
    try:
        HttpResponse().set_cookie(
            cookie.name, "", path=cookie.path, domain=cookie.domain, samesite=cast("Any", cookie.same_site), max_age=60
        )
    except (CookieError, TypeError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise ConfigurationError(f"{named('COOKIE')}: {problem}")


def try_out() -> None:
    """Builds a client that goes nowhere, as the setting says.

    Raises:
        ConfigurationError: It cannot work.
    """
    said = options()
    consumer = BackgroundConsumer if said.consumer is None else said.consumer
    if not callable(getattr(consumer, "send", None)):
        raise ConfigurationError(f"{named('CONSUMER')} must have a method send, and {type(consumer).__name__} has none")
    if said.api_host is not None:
        host(said.api_host)
    # What is held, a buffer keeps.
    read.unchecked_client_of(said, "TOKEN", registry_of(said), BufferedConsumer(consumer=_Nowhere()))


class _Nowhere:
    def send(self, endpoint: str, json_message: str) -> None:
        """Sends nothing."""


def subject_of(user: Any) -> Any:
    """The data subject of an account; None for somebody who is not logged in."""
    if not getattr(user, "is_authenticated", False):
        return None
    name = options().subject
    return user.pk if name is None else name(user)


def registry_of(said: Options) -> Any:
    """The registry that the setting names."""
    from consentpanel.django.registry import DjangoRegistry

    found = DjangoRegistry if said.registry is None else said.registry
    if not inspect.isclass(found):
        return found
    if not issubclass(found, DjangoRegistry):
        return found()
    return found(
        said.database,
        required_policy_version=said.policy_version,
        max_age=said.max_age,
        strict_records=said.is_strict,
        objection_key=said.objection_key,
    )


def consumer_of(said: Options) -> Any:
    """The consumer that the setting names."""
    from consentpanel.django.outbox import DjangoOutbox

    is_outbox = inspect.isclass(said.consumer) and issubclass(said.consumer, DjangoOutbox)
    more: dict[str, Any] = {"using": said.database} if is_outbox else {}
    if is_testing() and (is_outbox or said.consumer is None or said.consumer is BackgroundConsumer):
        # A test without the mixin or the fixture must not reach the vendor. An object that the setting names is used as it is.
        more |= {"connections": 0} if is_outbox else {}
        return read.consumer_of(attrs.evolve(said, api_host=None), consumer=_Nowhere(), **more)
    return read.consumer_of(said, **more)


class _Current:
    """The client of the process, built at its first use and again after the settings have changed."""

    def __init__(self, make: Callable[[], Mixpanel]) -> None:
        self._make = make
        # Re-entrant, because a signal handler may track in the middle of anything.
        self._lock = threading.RLock()
        self._client: Mixpanel | None = None

    def __call__(self) -> Mixpanel:
        client = self._client
        if client is None:
            with self._lock:
                client = self._client = self._client or self._make()
        return client

    @property
    def built(self) -> Mixpanel | None:
        """The client; None where nobody has used it."""
        return self._client

    def reset(self) -> None:
        """Forgets the client; what it has buffered is delivered by its own threads."""
        self._client = None

    def restart_in_child(self) -> None:
        """Takes another lock: a thread of the parent may have held this one."""
        self._lock = threading.RLock()


current = _Current(build)


def connect() -> None:
    """Has a setting that a test overrides heard of."""
    setting_changed.connect(_reset, dispatch_uid="consentpanel")


def _reset(setting: str, **_: Any) -> None:
    # Others are read too: the keys that sign the cookie, and the names of Django's own cookies.
    options.cache_clear()
    visits.cache_clear()
    panel.cache_clear()
    if setting == NAME:
        current.reset()
