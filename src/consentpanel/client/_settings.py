"""What a client works with: the keywords of its constructor and of `configure`, checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Union, cast

import attrs

from consentpanel._checks import seconds
from consentpanel._consent.ids import subject_key
from consentpanel._consent.records import ConsentStatus
from consentpanel._consent.regime import Regime, RegimeRule
from consentpanel._consent.standing import Standing
from consentpanel._log import note_failure, warn_once
from consentpanel._messages.decision import Decision
from consentpanel._messages.purposes import PurposeMap
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity
from consentpanel.registry import ConsentRegistry
from consentpanel.registry._protocol import is_coroutine_function
from consentpanel.registry._recording import keep_objections, outside_of_a_call
from consentpanel.registry.callable import as_registry

if TYPE_CHECKING:
    from consentpanel.privacy_requests import PrivacyRequests

_T = TypeVar("_T")

OnError: TypeAlias = Literal["drop", "raise"]
WhileUnknown: TypeAlias = Literal["drop", "hold"]
Observer: TypeAlias = Callable[[Decision], object]
#: A function that returns a context manager, such as Flask's ``app.app_context``.
Context: TypeAlias = Callable[[], AbstractContextManager[object]]
RegistryFunction: TypeAlias = Callable[..., Union[ConsentStatus, bool, None]]
#: A registry, or a plain callable ``(subject_id, purpose) -> ConsentStatus | bool | None``.
RegistryLike: TypeAlias = Union[ConsentRegistry, RegistryFunction]


@attrs.frozen(kw_only=True)
class Settings:
    """What one client works with."""

    registry: ConsentRegistry | None
    policy: FieldPolicy
    regime: RegimeRule = Regime.OPT_IN
    purposes: PurposeMap = attrs.field(factory=PurposeMap)
    identity: Identity
    on_error: OnError = "drop"
    observers: tuple[Observer, ...] = ()
    has_policy: bool
    privacy: PrivacyRequests | None = None
    #: Gives what surrounds the questions that are asked outside of a call.
    context: Context = nullcontext
    #: What becomes of the messages of somebody who was never asked, and how many seconds they are held.
    while_unknown: WhileUnknown = "drop"
    hold_for: float = 1800.0
    #: Of which configuration of the process this is.
    generation: int
    #: Whether the present standing of one person answers whether a message may be sent.
    asks_one: bool = attrs.field(init=False)
    #: The standings that let a message pass, when the regime is one for everybody.
    allowing: frozenset[Standing] = attrs.field(init=False)
    #: Whether messages may be sent without taking them apart.
    may_take_fast_path: bool = attrs.field(init=False)
    #: What observers are told of how long look-ups take.
    timers: tuple[Callable[[float], object], ...] = attrs.field(init=False, eq=False, repr=False)
    #: What the fast path knows of events, by name.
    event_plans: dict[str, Any] = attrs.field(init=False, factory=dict, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        regime = self.regime if isinstance(self.regime, Regime) else None
        asks_one = self.registry is not None and regime is not None
        allowing = frozenset(each for each in Standing if regime is not None and regime.allows(each))
        own = [self.policy.compiled(scope).detection for scope in ("events", "people")]
        has_own_detectors = any(each is not None and each.is_custom for each in own)
        is_usual = not self.policy.keeps_all and self.identity.is_plain and not has_own_detectors
        # By the class, because a mock has every attribute.
        timers = tuple(cast("Any", each).looked_up for each in self.observers if hasattr(type(each), "looked_up"))
        found = {"asks_one": asks_one, "allowing": allowing, "may_take_fast_path": is_usual, "timers": timers}
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def lookup(self) -> AbstractContextManager[object]:
        """Surrounds a look-up, so that observers are told how long it took."""
        return _Timed(self.timers) if self.timers else _UNTIMED

    @contextmanager
    def outside_of_a_call(self) -> Generator[None, None, None]:
        """Surrounds the questions that are asked by threads of ours, without the caller's request, context or connection."""
        with self.context(), outside_of_a_call(self.registry):
            yield

    @property
    def holds(self) -> bool:
        """Whether the messages of somebody who was never asked are held."""
        return self.while_unknown == "hold"

    def vendor_ids(self, subject_id: Any) -> tuple[str, ...]:
        """Every id by which the vendor may know a person."""
        return self.identity.all_of(subject_key(subject_id), self.policy.keyed)


class _Timed:
    """Tells observers how long something takes."""

    __slots__ = ("_began", "_timers")

    def __init__(self, timers: tuple[Callable[[float], object], ...]) -> None:
        self._timers = timers

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        took = time.perf_counter() - self._began
        for tell in self._timers:
            try:
                tell(took)
            except Exception as error:  # noqa: BLE001 - an observer of the user's that raises is logged and ignored
                note_failure("observer", error)


_UNTIMED = nullcontext()


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
    if policy is not None and identity is not None and lacks_secret(policy, identity):
        raise ConfigurationError("identity=pseudonymous() needs a secret: its own, or secret= of the policy")
    if policy is not None and policy.forbids_personal_data and identity is not None and identity.is_plain:
        raise ConfigurationError(f"identity=plain() sends ids as they are: {NEEDS_PSEUDONYMS}")
    if ready.get("registry") is not None and ready.get("regime", Regime.OPT_IN) is not Regime.OPT_IN:
        # At once: somebody may be forgotten before the first call.
        keep_objections(ready["registry"], None if policy is None else policy.keyed)
    for warning in () if policy is None else policy.warnings:
        warn_once(warning)
    return ready


NEEDS_PSEUDONYMS = "FieldPolicy.no_personal_data() requires pseudonymous() or per_subject() ids"


def lacks_secret(policy: FieldPolicy, identity: Identity) -> bool:
    return identity.needs_secret and policy.keyed is None


def _policy(value: Any) -> FieldPolicy:
    return _instance("policy", value, FieldPolicy, "a FieldPolicy")


def _identity(value: Any) -> Identity:
    return _instance("identity", value, Identity, "plain(), pseudonymous() or per_subject(store)")


def _privacy(value: Any) -> PrivacyRequests:
    from consentpanel.privacy_requests import PrivacyRequests

    return _instance("privacy", value, PrivacyRequests, "PrivacyRequests")


def _instance(name: str, value: object, kind: type[_T], expected: str) -> _T:
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be {expected}, not {type(value).__name__}")
    return value


def _regime(value: Any) -> RegimeRule:
    if is_coroutine_function(value):
        raise ConfigurationError("regime must be a plain function: a coroutine function cannot be asked here")
    if isinstance(value, Regime) or (callable(value) and not isinstance(value, type)):
        return cast("RegimeRule", value)
    raise ConfigurationError(
        f"regime must be Regime.OPT_IN, Regime.OPT_OUT or a callable (subject_id) -> Regime, not {type(value).__name__}"
    )


def _on_error(value: Any) -> OnError:
    if value not in ("drop", "raise"):
        raise ConfigurationError("on_error must be 'drop' or 'raise'")
    return value  # type: ignore[no-any-return]


def _while_unknown(value: Any) -> WhileUnknown:
    if value not in ("drop", "hold"):
        raise ConfigurationError("while_unknown must be 'drop' or 'hold'")
    return value  # type: ignore[no-any-return]


def _observers(value: Any) -> tuple[Observer, ...]:
    if callable(value) or isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigurationError(f"observers must be several callables, such as [observer], not {type(value).__name__}")
    observers = tuple(value)
    for observer in observers:
        if is_coroutine_function(observer):
            raise ConfigurationError("observers must hold plain functions: nobody would await a coroutine function")
        if not callable(observer):
            raise ConfigurationError(f"observers must hold callables (Decision) -> None, not {type(observer).__name__}")
    return observers


def _context(value: Any) -> Context:
    if not callable(value):
        raise ConfigurationError(
            f"context must be a callable that returns a context manager, such as app.app_context, not {type(value).__name__}"
        )
    return cast("Context", value)


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "registry": as_registry,
    "policy": _policy,
    "identity": _identity,
    "privacy": _privacy,
    "regime": _regime,
    "purposes": PurposeMap,
    "on_error": _on_error,
    "observers": _observers,
    "context": _context,
    "while_unknown": _while_unknown,
    "hold_for": partial(seconds, "hold_for"),
}
#: The keywords that a client and `configure` have in common.
KEYWORDS = frozenset(_CHECKS)
