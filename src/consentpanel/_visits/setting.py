"""What the configuration of a framework says of the client and of visits, by keys that are the same everywhere."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, TypeAlias, cast

import attrs

from consentpanel._consent.ids import BUILT_IN_PURPOSES, Purpose
from consentpanel._consent.regime import Regime
from consentpanel._mixpanel.hosts import API_HOSTS, host_of
from consentpanel._visits.cookie import VisitorCookie
from consentpanel._visits.person import VisitOptions
from consentpanel.client import Mixpanel
from consentpanel.cmp._answers import readers
from consentpanel.errors import ConfigurationError
from consentpanel.transport import BackgroundConsumer

#: How a framework writes a key, in errors: ``CONSENTPANEL['TOKEN']``.
Named: TypeAlias = Callable[[str], str]


@attrs.frozen(kw_only=True)
class Options:
    """What the setting says, by the names of its keys in lower case; what is a dotted path there is the object here.

    Attributes:
        token: The project's token.
        policy: A `FieldPolicy`; None sends no property that is not structural.
        registry: A registry, a function in its place, or a class of one; None for the adapter's own.
        purposes: As `Mixpanel` takes it.
        policy_version: The version of the published policy, which a grant has to be of; ``"notice"`` for that of `notice`.
        regime: As `Mixpanel` takes it, or ``"opt_in"`` or ``"opt_out"``.
        identity: As `Mixpanel` takes it.
        consumer: A consumer, or a class of one that takes `api_host`; None for a `BackgroundConsumer`.
        api_host: The vendor's host, such as ``"api-eu.mixpanel.com"``; None for the consumer's default.
        database: Where the adapter's own registry keeps records; None for its default.
        on_error, observers, privacy, while_unknown, hold_for: As `Mixpanel` takes them.
        max_age, objection_key: As the adapter's own registry takes them.
        strict_records: As the adapter's own registry takes it; None for True where there is a panel, whose answers prove what was shown.
        subject: A function that names the data subject of an account; None for the adapter's default.
        cookie: The visitors' cookie: ``{"NAME", "MAX_AGE", "PATH", "DOMAIN", "SECURE", "SAMESITE"}``; ``MAX_AGE`` in seconds.
        gpc: The purposes that ``Sec-GPC: 1`` denies; the three built-in ones when None, and none for ``()``.
        answers: Readers of the cookies of consent tools, such as ``[OneTrust({"C0002": "analytics"})]``; None for none.
        language: The language of the texts that people see, or a function that returns it; None for the adapter's default.
        notice: What the panel shows: a `Notice`, or a function that is given a language and makes one; None for a minimal one.
        panel: A `consentpanel.panel.Panel`, in the place of `notice`, where more of it is to be said.
        panel_url: The path of the panel, for frameworks that mount it by themselves: ``"/privacy"``.
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
    strict_records: bool | None = None
    objection_key: Any = None
    subject: Any = None
    cookie: Mapping[str, Any] | None = None
    gpc: Any = None
    answers: Any = None
    language: Any = None
    notice: Any = None
    panel: Any = None
    panel_url: str | None = None

    @property
    def is_strict(self) -> bool:
        """Whether the adapter's own registry takes no grant without proof."""
        if self.strict_records is not None:
            return self.strict_records
        return self.notice is not None or self.panel is not None


#: The keys of the cookie's options, and what they are here.
_COOKIE = {
    "NAME": "name",
    "MAX_AGE": "max_age",
    "PATH": "path",
    "DOMAIN": "domain",
    "SECURE": "is_secure",
    "SAMESITE": "same_site",
}
#: The fewest characters or bytes of a secret.
_SHORTEST = 16
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ATTRIBUTE = re.compile(r"[ -:<-~]+")
#: What `http.cookies` takes for an attribute.
_RESERVED = frozenset(
    {"expires", "path", "comment", "domain", "max-age", "secure", "httponly", "version", "samesite", "partitioned"}
)
_SAME_SITE = ("Lax", "Strict", "None")
#: The keys of which a text is no dotted path.
_TEXTS = frozenset(
    {"token", "policy_version", "api_host", "database", "on_error", "while_unknown", "language", "panel_url"}
)
#: The keys that are neither a text nor a dotted path to something.
_NO_PATHS = {"GPC": "several purposes, such as ('analytics',)", "COOKIE": "a mapping, such as {'NAME': 'choice'}"}
#: What the client takes as it is.
_OF_THE_CLIENT = ("policy", "purposes", "identity", "on_error", "observers", "privacy", "while_unknown", "hold_for")
#: As ``POLICY_VERSION``: whoever has agreed to another notice than that of ``NOTICE`` is asked again.
OF_THE_NOTICE = "notice"
KEYS = tuple(field.name.upper() for field in attrs.fields(Options))


def options_of(given: Mapping[str, Any], named: Named) -> Options:
    """What a configuration says; a dotted path is imported.

    Args:
        given: The values by key.
        named: How a key is written.

    Raises:
        ConfigurationError: A key is unknown, or names what cannot be imported.
    """
    check_keys(given, named)
    said = Options(**{key.lower(): _resolved(key, value, named) for key, value in given.items()})
    return said if said.policy_version != OF_THE_NOTICE else attrs.evolve(said, policy_version=_shown_in(said, named))


def _shown_in(said: Options, named: Named) -> str:
    problem = f"{named('NOTICE')} is missing"
    if said.notice is not None:
        try:
            made: Any = said.notice("en") if callable(said.notice) else said.notice
            return str(made.version)
        except Exception as error:  # noqa: BLE001 - the publisher's own function
            said_of_it = str(error) if isinstance(error, ConfigurationError) else type(error).__name__
            problem = f"{named('NOTICE')} made no notice, which is needed before the client is: {said_of_it}"
    raise ConfigurationError(f"{named('POLICY_VERSION')} is {OF_THE_NOTICE!r}, and {problem}")


def check_keys(given: Iterable[str], named: Named) -> None:
    """Refuses keys that mean nothing.

    Raises:
        ConfigurationError: A key is unknown.
    """
    if unknown := [key for key in given if key not in KEYS]:
        raise ConfigurationError(f"there is no key {named(unknown[0])}; the keys are {', '.join(KEYS)}")


def _resolved(key: str, value: object, named: Named) -> Any:
    if not isinstance(value, str) or key.lower() in _TEXTS:
        return value
    if key == "REGIME" and value in {each.value for each in Regime}:
        return Regime(value)
    module, _, attribute = value.rpartition(".")
    if (others := _NO_PATHS.get(key)) is not None:
        raise ConfigurationError(f"{named(key)} must be {others}, not a text")
    if ":" in value:
        raise ConfigurationError(f"{named(key)}: {value!r} cannot be imported: write a dot in the place of the colon")
    if not module:
        others = ", or one of " + ", ".join(repr(each.value) for each in Regime) if key == "REGIME" else ""
        raise ConfigurationError(
            f"{named(key)}: {value!r} cannot be imported: it is no dotted path, such as 'shop.analytics.NAME'{others}"
        )
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        problem = f"{named(key)}: {value!r} cannot be imported ({type(error).__name__})"
    raise ConfigurationError(problem)


def client_of(said: Options, named: Named, registry: object, consumer: object, **more: Any) -> Mixpanel:
    """A client as a configuration says.

    Args:
        said: The configuration.
        named: How a key is written.
        registry: The registry.
        consumer: The consumer.
        more: More keywords of the client, such as ``context``.

    Raises:
        ConfigurationError: It cannot work.
    """
    if not said.token:
        raise ConfigurationError(f"{named('TOKEN')} is missing: the token of the project at the vendor")
    client = unchecked_client_of(said, said.token, registry, consumer, **more)
    # A server of the application's own, as in development, is meant in its place.
    hosts = {host_of(each) for each in client._sealed.addresses}  # noqa: SLF001 - shared inside the package
    of_vendor = {each for each in hosts if each in API_HOSTS.values()}
    if said.api_host is not None and of_vendor and said.api_host not in of_vendor:
        raise ConfigurationError(
            f"{named('API_HOST')} is {said.api_host!r}, and {named('CONSUMER')} is a consumer that sends elsewhere: give that one "
            "api_host=, or name its class"
        )
    return client


def unchecked_client_of(said: Options, token: str, registry: object, consumer: object, **more: Any) -> Mixpanel:
    """As `client_of`, with another token: to try a configuration out.

    Raises:
        ConfigurationError: It cannot work.
    """
    given: dict[str, Any] = {name: getattr(said, name) for name in _OF_THE_CLIENT}
    return Mixpanel(token, consumer, registry=registry, regime=said.regime, **given, **more)  # type: ignore[arg-type]


def consumer_of(said: Options, **more: Any) -> Any:
    """The consumer that a configuration names.

    Args:
        said: The configuration.
        more: What a class of one is given beside `api_host`.
    """
    found: Any = BackgroundConsumer if said.consumer is None else said.consumer
    if not inspect.isclass(found):
        return found
    given: dict[str, Any] = {} if said.api_host is None else {"api_host": said.api_host}
    return found(**given, **more)


def language_of(said: Options) -> str | None:
    """The language of the texts that people see now, as a configuration says; None where it does not."""
    given: Any = said.language
    return cast("str | None", cast("Callable[[], Any]", given)() if callable(given) else given)


def _check_texts(cookie: VisitorCookie, name: str) -> None:
    """Refuses what cannot stand in a ``Set-Cookie`` header (RFC 6265, 4.1.1)."""
    if not isinstance(cookie.name, str) or not _TOKEN.fullmatch(cookie.name) or cookie.name.lower() in _RESERVED:
        raise ConfigurationError(f"{name}: NAME must be the name of a cookie")
    for key, value in (("PATH", cookie.path), ("DOMAIN", cookie.domain)):
        if value is not None and (not isinstance(value, str) or not _ATTRIBUTE.fullmatch(value)):
            raise ConfigurationError(f"{name}: {key} must be of ASCII, without ; and control characters")


def visit_options_of(
    said: Options, named: Named, *, keys: Iterable[str | bytes], is_secure: bool, is_of_token: bool = False
) -> VisitOptions:
    """What a configuration says of visits.

    Args:
        said: The configuration.
        named: How a key is written.
        keys: The secrets that sign the cookie: the first one signs, each is good for reading.
        is_secure: Whether the cookie is sent by HTTPS alone where the configuration does not say.
        is_of_token: Whether the secrets are made of the project's token.

    Raises:
        ConfigurationError: ``COOKIE``, ``GPC``, ``SUBJECT``, ``ANSWERS`` or ``POLICY_VERSION`` cannot work.
    """
    given = dict(said.cookie or {})
    if unknown := sorted(given.keys() - _COOKIE.keys()):
        raise ConfigurationError(f"{named('COOKIE')} has no key {unknown[0]!r}; it has {', '.join(_COOKIE)}")
    given.setdefault("SECURE", is_secure)
    cookie = VisitorCookie(
        keys=tuple(each if isinstance(each, bytes) else each.encode() for each in keys),
        is_of_token=is_of_token,
        **{_COOKIE[key]: value for key, value in given.items()},
    )
    _check_texts(cookie, named("COOKIE"))
    if not isinstance(cookie.max_age, int) or cookie.max_age <= 0:
        raise ConfigurationError(f"{named('COOKIE')}: MAX_AGE must be a number of seconds above 0")
    if cookie.same_site not in _SAME_SITE:
        raise ConfigurationError(f"{named('COOKIE')}: SAMESITE must be one of {', '.join(map(repr, _SAME_SITE))}")
    if not isinstance(cookie.is_secure, bool):
        raise ConfigurationError(f"{named('COOKIE')}: SECURE must be True or False")
    if cookie.same_site == "None" and not cookie.is_secure:
        raise ConfigurationError(f"{named('COOKIE')}: SAMESITE 'None' needs SECURE")
    if said.policy_version is not None and not (isinstance(said.policy_version, str) and said.policy_version):
        raise ConfigurationError(f"{named('POLICY_VERSION')} must be a non-empty str, such as '2026-05-01'")
    if said.subject is not None and not callable(said.subject):
        raise ConfigurationError(f"{named('SUBJECT')} must be a function that names the data subject of an account")
    if isinstance(said.gpc, str) or not isinstance(said.gpc, (Iterable, type(None))):
        raise ConfigurationError(f"{named('GPC')} must be several purposes, such as ('analytics',)")
    gpc = BUILT_IN_PURPOSES if said.gpc is None else tuple(map(Purpose, said.gpc))
    answers = () if said.answers is None else readers(named("ANSWERS"), said.answers)
    return VisitOptions(cookie=cookie, policy_version=said.policy_version, gpc=gpc, answers=answers)


def secrets_of(secret_key: str | bytes | Iterable[str | bytes] | None) -> tuple[str | bytes, ...]:
    """The secrets that sign the visitors' cookie, where they are given as an argument; nothing for None.

    Raises:
        ConfigurationError: One is too short, or none.
    """
    if secret_key is None:
        return ()
    found = (secret_key,) if isinstance(secret_key, (str, bytes)) else tuple(secret_key)
    if not found or not all(isinstance(each, (str, bytes)) and len(each) >= _SHORTEST for each in found):
        raise ConfigurationError(f"secret_key must be a str or bytes of {_SHORTEST} or more, or several")
    return found
