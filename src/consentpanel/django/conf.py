"""The setting ``CONSENTPANEL``: read, checked, and made into a client."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from http.cookies import CookieError
from typing import Any, cast

import attrs
from django.conf import settings as django_settings
from django.core.signals import setting_changed
from django.http import HttpResponse
from django.utils.module_loading import import_string

from consentpanel._checks import host
from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose
from consentpanel._consent.regime import Regime
from consentpanel._visits import VisitOptions, VisitorCookie
from consentpanel.client import Mixpanel
from consentpanel.errors import ConfigurationError
from consentpanel.transport import BackgroundConsumer, BufferedConsumer

NAME = "CONSENTPANEL"


@attrs.frozen(kw_only=True)
class Options:
    """What the setting says, by the names of its keys in lower case; what is a dotted path there is the object here.

    Attributes:
        token: The project's token.
        policy: A `FieldPolicy`; None sends no property that is not structural.
        registry: A registry, a function in its place, or a class of one; None for `DjangoRegistry`.
        purposes: As `Mixpanel` takes it.
        policy_version: The version of the published policy, which a grant has to be of.
        regime: As `Mixpanel` takes it, or ``"opt_in"`` or ``"opt_out"``.
        identity: As `Mixpanel` takes it.
        consumer: A consumer, or a class of one that takes `api_host` (`DjangoOutbox` is given `database` too); None for a
            `BackgroundConsumer`.
        api_host: The vendor's host, such as ``"api-eu.mixpanel.com"``; None for the consumer's default.
        database: The alias of the database; None for the routers' choice.
        on_error, observers, privacy, while_unknown, hold_for: As `Mixpanel` takes them.
        max_age, strict_records, objection_key: As `DjangoRegistry` takes them.
        subject: A function ``(user) -> id`` that names the data subject of an account; its primary key when None.
        cookie: The visitors' cookie: ``{"NAME", "MAX_AGE", "PATH", "DOMAIN", "SECURE", "SAMESITE"}``; ``MAX_AGE`` in seconds.
        gpc: The purposes that ``Sec-GPC: 1`` denies; the three built-in ones when None, and none for ``()``.
    """

    token: str | None = None
    policy: Any = None
    registry: Any = None
    purposes: Mapping[str, Any] | None = None
    policy_version: str | None = None
    regime: Any = None
    identity: Any = None
    consumer: Any = None
    api_host: str | None = None
    database: str | None = None
    on_error: Any = None
    observers: Any = None
    privacy: Any = None
    while_unknown: Any = None
    hold_for: float | None = None
    max_age: Any = None
    strict_records: bool = False
    objection_key: Any = None
    subject: Any = None
    cookie: Mapping[str, Any] | None = None
    gpc: Any = None


#: The keys of the cookie's options, and what they are here.
_COOKIE = {
    "NAME": "name",
    "MAX_AGE": "max_age",
    "PATH": "path",
    "DOMAIN": "domain",
    "SECURE": "is_secure",
    "SAMESITE": "same_site",
}
#: The keys of which a text is no dotted path.
_TEXTS = frozenset({"token", "policy_version", "api_host", "database", "on_error", "while_unknown"})
#: What the client takes as it is.
_OF_THE_CLIENT = ("policy", "purposes", "identity", "on_error", "observers", "privacy", "while_unknown", "hold_for")
KEYS = tuple(field.name.upper() for field in attrs.fields(Options))


@cache
def options() -> Options:
    """What the setting says now: read once, because every request asks, and again when a test has changed a setting.

    Raises:
        ConfigurationError: It is no mapping, has an unknown key, or names what cannot be imported.
    """
    given = getattr(django_settings, NAME, {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{NAME} must be a dict, not {type(given).__name__}")
    if unknown := [key for key in given if key not in KEYS]:
        raise ConfigurationError(f"{NAME} has no key {unknown[0]!r}; it has {', '.join(KEYS)}")
    return Options(**{key.lower(): _resolved(key, value) for key, value in given.items()})


def _resolved(key: str, value: object) -> Any:
    if not isinstance(value, str) or key.lower() in _TEXTS:
        return value
    if key == "REGIME" and value in {each.value for each in Regime}:
        return Regime(value)
    try:
        return import_string(value)
    except ImportError as error:
        problem = f"{NAME}[{key!r}]: {value!r} cannot be imported ({type(error).__name__})"
    raise ConfigurationError(problem)


def build() -> Mixpanel:
    """A client as the setting says.

    Raises:
        ConfigurationError: It cannot work.
    """
    said = options()
    if not said.token:
        raise ConfigurationError(f"{NAME}['TOKEN'] is missing: the token of the project at the vendor")
    given = {name: getattr(said, name) for name in _OF_THE_CLIENT}
    return Mixpanel(said.token, consumer_of(said), registry=registry_of(said), regime=said.regime, **given)


@cache
def visits() -> VisitOptions:
    """What holds for all requests: made once, as `options`.

    Raises:
        ConfigurationError: ``COOKIE``, ``GPC`` or ``SUBJECT`` cannot work.
    """
    said = options()
    given = dict(said.cookie or {})
    if unknown := sorted(given.keys() - _COOKIE.keys()):
        raise ConfigurationError(f"{NAME}['COOKIE'] has no key {unknown[0]!r}; it has {', '.join(_COOKIE)}")
    given.setdefault("SECURE", django_settings.SESSION_COOKIE_SECURE)
    keys = (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)
    cookie = VisitorCookie(
        keys=tuple(each if isinstance(each, bytes) else each.encode() for each in keys),
        **{_COOKIE[key]: value for key, value in given.items()},
    )
    _check_cookie(cookie)
    if said.subject is not None and not callable(said.subject):
        raise ConfigurationError(f"{NAME}['SUBJECT'] must be a function (user) -> id")
    if isinstance(said.gpc, str) or not isinstance(said.gpc, (Iterable, type(None))):
        raise ConfigurationError(f"{NAME}['GPC'] must be several purposes, such as ('analytics',)")
    gpc = BUILT_IN_PURPOSES if said.gpc is None else tuple(map(Purpose, said.gpc))
    return VisitOptions(cookie=cookie, policy_version=said.policy_version, gpc=gpc)


def _check_cookie(cookie: VisitorCookie) -> None:
    """Lets Django write the cookie into a response that nobody gets."""
    problem = ""
    if cookie.name in {django_settings.SESSION_COOKIE_NAME, django_settings.CSRF_COOKIE_NAME}:
        problem = "NAME is that of another cookie of Django's"
    if not isinstance(cookie.max_age, int) or cookie.max_age <= 0:
        problem = "MAX_AGE must be a number of seconds above 0"
    if cookie.same_site == "None" and not cookie.is_secure:
        problem = "SAMESITE 'None' needs SECURE"
    try:
        HttpResponse().set_cookie(
            cookie.name, "", path=cookie.path, domain=cookie.domain, samesite=cast("Any", cookie.same_site), max_age=60
        )
    except (CookieError, TypeError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise ConfigurationError(f"{NAME}['COOKIE']: {problem}")


def try_out() -> None:
    """Builds a client that goes nowhere, as the setting says.

    Raises:
        ConfigurationError: It cannot work.
    """
    said = options()
    consumer = BackgroundConsumer if said.consumer is None else said.consumer
    if not callable(getattr(consumer, "send", None)):
        raise ConfigurationError(f"{NAME}['CONSUMER'] must have a method send, and {type(consumer).__name__} has none")
    if said.api_host is not None:
        host(said.api_host)
    given = {name: getattr(said, name) for name in _OF_THE_CLIENT}
    # What is held, a buffer keeps.
    Mixpanel("TOKEN", BufferedConsumer(consumer=_Nowhere()), registry=registry_of(said), regime=said.regime, **given)


class _Nowhere:
    def send(self, *_: Any) -> None:
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
        strict_records=said.strict_records,
        objection_key=said.objection_key,
    )


def consumer_of(said: Options) -> Any:
    """The consumer that the setting names."""
    found: Any = BackgroundConsumer if said.consumer is None else said.consumer
    if not inspect.isclass(found):
        return found
    from consentpanel.django.outbox import DjangoOutbox

    given: dict[str, Any] = {} if said.api_host is None else {"api_host": said.api_host}
    if issubclass(found, DjangoOutbox):
        given["using"] = said.database
    return found(**given)


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
    if setting == NAME:
        current.reset()
