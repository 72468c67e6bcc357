"""Process-wide settings: `configure`, `reset`, and what a client makes of them and its own."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, cast

import attrs

from consentpanel._consent.ids import subject_key
from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.regime import Regime, RegimeRule
from consentpanel._messages.decision import Decision
from consentpanel._messages.purposes import PurposeMap
from consentpanel._public import public
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity, plain, pseudonymous
from consentpanel.registry import CallableRegistry, ConsentRegistry
from consentpanel.registry._lookup import forget_warnings
from consentpanel.registry._protocol import can_answer

if TYPE_CHECKING:
    from consentpanel.privacy_requests import PrivacyRequests

LOGGER = logging.getLogger("consentpanel")

OnError: TypeAlias = Literal["drop", "raise"]
Observer: TypeAlias = Callable[[Decision], object]
RegistryFunction: TypeAlias = Callable[..., Union[ConsentStatus, bool, None]]
RegistryLike: TypeAlias = Union[ConsentRegistry, RegistryFunction]
"""A registry, or a plain callable ``(subject_id, purpose) -> ConsentStatus | bool | None`` (contract rule 2.3)."""


@attrs.frozen
class Settings:
    """What one client works with."""

    registry: ConsentRegistry | None
    policy: FieldPolicy
    regime: RegimeRule
    purposes: PurposeMap
    identity: Identity
    on_error: OnError
    observers: tuple[Observer, ...]
    has_policy: bool
    privacy: PrivacyRequests | None

    def vendor_ids(self, subject_id: Any) -> tuple[str, ...]:
        """Every id by which the vendor may know a person (contract rule 7.2)."""
        return self.identity.all_of(subject_key(subject_id), self.policy.keyed)


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `configure` or of a client, each checked and made ready; those that are None left out.

    Raises:
        ConfigurationError: One cannot work.
    """
    ready = {}
    for name, value in given.items():
        if value is not None:
            ready[name] = _CHECKS[name](value)
    policy, identity = ready.get("policy"), ready.get("identity")
    if policy is not None and identity is not None and _lacks_secret(policy, identity):
        raise ConfigurationError("identity=pseudonymous() needs a secret: its own, or secret= of the policy")
    if policy is not None and policy.forbids_personal_data and identity is not None and identity.is_plain:
        raise ConfigurationError(f"identity=plain() sends ids as they are: {_NEEDS_PSEUDONYMS}")
    for warning in () if policy is None else policy.warnings:
        process.warn_once(warning)
    return ready


_NEEDS_PSEUDONYMS = "FieldPolicy.no_personal_data() requires pseudonymous() or per_subject() ids"


def _lacks_secret(policy: FieldPolicy, identity: Identity) -> bool:
    return identity.needs_secret and policy.keyed is None


def _registry(value: Any) -> ConsentRegistry:
    if isinstance(value, type):
        raise ConfigurationError(f"registry must be a registry, not the class {value.__name__}: call it")
    if can_answer(value):
        if any(inspect.iscoroutinefunction(getattr(value, name, None)) for name in ("status", "statuses")):
            raise ConfigurationError(
                "registry.status must be a plain method: a coroutine function cannot be asked here"
            )
        return value  # type: ignore[no-any-return]
    if callable(value) and not hasattr(value, "status"):
        return CallableRegistry(cast("RegistryFunction", value))
    raise ConfigurationError(
        f"registry must have the methods of ConsentRegistry or be a callable (subject_id, purpose); "
        f"{type(value).__name__} has no method status"
    )


def _policy(value: Any) -> FieldPolicy:
    if not isinstance(value, FieldPolicy):
        raise ConfigurationError(f"policy must be a FieldPolicy, not {type(value).__name__}")
    return value


def _identity(value: Any) -> Identity:
    if not isinstance(value, Identity):
        raise ConfigurationError(
            f"identity must be plain(), pseudonymous() or per_subject(store), not {type(value).__name__}"
        )
    return value


def _privacy(value: Any) -> PrivacyRequests:
    from consentpanel.privacy_requests import PrivacyRequests

    if not isinstance(value, PrivacyRequests):
        raise ConfigurationError(f"privacy must be PrivacyRequests, not {type(value).__name__}")
    return value


def _regime(value: Any) -> RegimeRule:
    if isinstance(value, Regime) or (callable(value) and not isinstance(value, type)):
        return cast("RegimeRule", value)
    raise ConfigurationError(
        f"regime must be Regime.OPT_IN, Regime.OPT_OUT or a callable (subject_id) -> Regime, not {type(value).__name__}"
    )


def _on_error(value: Any) -> OnError:
    if value not in ("drop", "raise"):
        raise ConfigurationError("on_error must be 'drop' or 'raise'")
    return value  # type: ignore[no-any-return]


def _observers(value: Any) -> tuple[Observer, ...]:
    if callable(value) or isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"observers must be several callables, such as [observer], not {type(value).__name__}")
    observers = tuple(value)
    for observer in observers:
        if not callable(observer):
            raise ConfigurationError(f"observers must hold callables (Decision) -> None, not {type(observer).__name__}")
    return observers


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "registry": _registry,
    "policy": _policy,
    "identity": _identity,
    "privacy": _privacy,
    "regime": _regime,
    "purposes": PurposeMap,
    "on_error": _on_error,
    "observers": _observers,
}


class _Process:
    """What `configure` set for the process, behind one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: dict[str, Any] = {}
        self._configured = False
        self._used = False
        self._said: set[str] = set()
        self.generation = 0
        """Grows with each change, so that a client knows when to look again."""
        self.outbox: Any = None
        """The consumer that every client of the process writes to; None outside of tests."""

    def configure(self, ready: dict[str, Any]) -> None:
        with self._lock:
            if self._configured:
                raise ConfigurationError("configure() was called before; call it once, at start-up, or reset() first")
            if self._used:
                raise ConfigurationError("configure() came after the first message: call it at start-up, before any")
            self._configured = True
            self._shared = ready
            self.generation += 1

    def reset(self) -> None:
        with self._lock:
            self._configured = self._used = False
            self._shared = {}
            self._said.clear()
            self.generation += 1
        forget_warnings()

    def settings(self, own: Mapping[str, Any]) -> Settings:
        with self._lock:
            self._used = True
            both = {**self._shared, **own}
        policy: FieldPolicy = both.get("policy") or FieldPolicy()
        identity = both.get("identity")
        if identity is None:
            identity = pseudonymous() if policy.forbids_personal_data else plain()
        registry = both.get("registry")
        if policy.forbids_personal_data and identity.is_plain:
            # The one was given to the client and the other to configure(), as below.
            self.warn_once(f"nothing is sent: {_NEEDS_PSEUDONYMS}")
            registry = None
        if _lacks_secret(policy, identity):
            # The one was given to the client and the other to configure(): nobody could see this before.
            self.warn_once("identity=pseudonymous() has no secret: nothing is sent; give one to it or to the policy")
            registry = None
        return Settings(
            registry=registry,
            policy=policy,
            identity=identity,
            regime=both.get("regime", Regime.OPT_IN),
            purposes=both.get("purposes") or PurposeMap(),
            on_error=both.get("on_error", "drop"),
            observers=both.get("observers", ()),
            has_policy="policy" in both,
            privacy=both.get("privacy"),
        )

    def warn_once(self, text: str) -> None:
        """Logs a warning the first time in this process, or since `reset`."""
        with self._lock:
            if text in self._said:
                return
            self._said.add(text)
        LOGGER.warning(text)


process = _Process()


@public("consentpanel")
def configure(
    *,
    registry: RegistryLike | None = None,
    policy: FieldPolicy | None = None,
    identity: Identity | None = None,
    regime: RegimeRule | None = None,
    purposes: Mapping[str, str | Iterable[str]] | None = None,
    on_error: OnError | None = None,
    observers: Iterable[Observer] | None = None,
    privacy: PrivacyRequests | None = None,
) -> None:
    """Sets, once at start-up, what every client of the process uses unless its constructor says otherwise.

    Contract rule 1.2. The keywords are those of `Mixpanel`.

    Args:
        registry: Who has consented: a `ConsentRegistry`, or a callable ``(subject_id, purpose)``.
        policy: Which properties may be sent.
        identity: How ids leave: `plain`, `pseudonymous` or `per_subject`; as they are when left out.
        regime: What silence means; `Regime.OPT_IN` when left out.
        purposes: The purposes of events and calls by name, where the defaults do not fit.
        on_error: ``"drop"`` (the default) or ``"raise"``.
        observers: Callables that get each `Decision`.
        privacy: Asks the vendor to erase people, for ``withdraw(erase=True)``.

    Raises:
        ConfigurationError: An argument cannot work, the process is configured already, or a message came before.

    Example:
        >>> import consentpanel
        >>> from consentpanel.registry import MemoryRegistry
        >>> consentpanel.configure(registry=MemoryRegistry(), policy=consentpanel.FieldPolicy())
        >>> consentpanel.reset()
    """
    process.configure(
        checked(
            {
                "registry": registry,
                "policy": policy,
                "identity": identity,
                "regime": regime,
                "purposes": purposes,
                "on_error": on_error,
                "observers": observers,
                "privacy": privacy,
            }
        )
    )


@public("consentpanel")
def reset() -> None:
    """Forgets what `configure` set: for tests.

    Example:
        >>> import consentpanel
        >>> consentpanel.reset()
    """
    process.reset()


@contextmanager
def redirect(consumer: Any) -> Generator[None, None, None]:
    """While active, every client of the process sends to `consumer` and not to its own: for tests.

    Args:
        consumer: Has the vendor's ``send`` and ``observe(decision)``.
    """
    before, process.outbox = process.outbox, consumer
    try:
        yield
    finally:
        process.outbox = before
