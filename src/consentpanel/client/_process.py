"""What holds for the whole process: `configure`, `reset`, and where tests send everything."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from consentpanel._consent.regime import Regime, RegimeRule
from consentpanel._forks import Survivors
from consentpanel._log import forget_warnings, warn_once
from consentpanel.client._settings import (
    NEEDS_PSEUDONYMS,
    Context,
    Observer,
    OnError,
    RegistryLike,
    Settings,
    WhileUnknown,
    checked,
    lacks_secret,
)
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity, plain, pseudonymous
from consentpanel.registry._recording import keep_objections

if TYPE_CHECKING:
    from consentpanel.privacy_requests import PrivacyRequests


_FORGETS_OBJECTIONS = (
    "the regime is not opt-in everywhere, and the registry forgets a denial together with the person, who is then tracked "
    "again: give the registry objection_key=, or the policy secret="
)


class _Process:
    """What `configure` set for the process, behind one lock."""

    def __init__(self) -> None:
        # Re-entrant, because a signal handler may track in the middle of anything.
        self._lock = threading.RLock()
        self._given: dict[str, Any] = {}
        self._shared: dict[str, Any] = {}
        self._configured = False
        self._used = False
        self.generation = 0
        """Grows with each change, so that a client knows when to look again."""
        self.outbox: Any = None
        """The consumer that every client of the process writes to; None outside of tests."""

    def restart_in_child(self) -> None:
        """Takes another lock: a thread of the parent may have held this one."""
        self._lock = threading.RLock()

    def configure(self, given: dict[str, Any], ready: dict[str, Any]) -> None:
        with self._lock:
            if self._configured:
                if _are_equal(self._given, given):
                    return  # an application factory that runs twice
                raise ConfigurationError(
                    "configure() was called before with other arguments; call it once, at start-up, or reset() first"
                )
            if self._used:
                raise ConfigurationError("configure() came after the first message: call it at start-up, before any")
            self._configured = True
            self._given, self._shared = given, ready
            self.generation += 1

    def saved(self) -> tuple[Any, ...]:
        """What `restore` takes: how the process is configured now."""
        with self._lock:
            return self._configured, self._used, self._given, self._shared

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Configures the process as it was: for tests."""
        with self._lock:
            if self.saved() != saved:
                self._configured, self._used, self._given, self._shared = saved
                self.generation += 1

    def reset(self) -> None:
        with self._lock:
            self._configured = self._used = False
            self._given = self._shared = {}
            self.generation += 1
        forget_warnings()

    def settings(self, own: Mapping[str, Any], *, is_use: bool = True) -> Settings:
        """What a client works with.

        Args:
            own: What its constructor was given.
            is_use: Whether it is used by this, after which `configure` comes too late.
        """
        with self._lock:
            self._used = self._used or is_use
            both = {**self._shared, **own}
            generation = self.generation
        policy: FieldPolicy = both.get("policy") or FieldPolicy()
        identity = both.get("identity")
        if identity is None:
            identity = pseudonymous() if policy.forbids_personal_data else plain()
        registry = both.get("registry")
        if policy.forbids_personal_data and identity.is_plain:
            # The one was given to the client and the other to configure(), as below.
            warn_once(f"nothing is sent: {NEEDS_PSEUDONYMS}")
            registry = None
        if lacks_secret(policy, identity):
            # The one was given to the client and the other to configure(): nobody could see this before.
            warn_once("identity=pseudonymous() has no secret: nothing is sent; give one to it or to the policy")
            registry = None
        if both.get("regime", Regime.OPT_IN) is not Regime.OPT_IN and not keep_objections(registry, policy.keyed):
            warn_once(_FORGETS_OBJECTIONS)
        found: dict[str, Any] = {**both, "registry": registry, "policy": policy, "identity": identity}
        return Settings(**found, has_policy="policy" in both, generation=generation)


def _are_equal(given: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    # Suppressed, because a registry is anybody's, and may refuse to be compared.
    with suppress(Exception):
        return bool(given == others)
    return False


process = _Process()
_ALIVE: Survivors[_Process] = Survivors(_Process.restart_in_child)
_ALIVE.add(process)


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
    context: Context | None = None,
    while_unknown: WhileUnknown | None = None,
    hold_for: float | None = None,
) -> None:
    """Sets, once at start-up, what every client of the process uses unless its constructor says otherwise.

    The keywords are those of `Mixpanel`. A second call with equal arguments changes nothing, as of an application factory that
    runs twice. Policies, identities and `SQLiteRegistry` built anew of equal arguments are equal; of a function, or of a
    registry in memory, only the same object is.

    Args:
        registry: Who has consented: a `ConsentRegistry`, or a callable ``(subject_id, purpose)``.
        policy: Which properties may be sent.
        identity: How ids leave: `plain`, `pseudonymous` or `per_subject`; as they are when left out.
        regime: What silence means; `Regime.OPT_IN` when left out.
        purposes: The purposes of events and calls by name, where the defaults do not fit.
        on_error: ``"drop"`` (the default) or ``"raise"``.
        observers: Callables that get each `Decision`.
        privacy: Asks the vendor to erase people, for ``withdraw(erase=True)``.
        context: Gives what surrounds the questions that are asked outside of a call, such as Flask's ``app.app_context``.
        while_unknown: ``"drop"`` (the default) or ``"hold"``: what becomes of the messages of somebody who was never asked.
        hold_for: The most seconds that these are held; half an hour when left out.

    Raises:
        ConfigurationError: An argument cannot work, the process is configured otherwise, or a message came before.

    Example:
        >>> import consentpanel
        >>> from consentpanel.registry import MemoryRegistry
        >>> consentpanel.configure(registry=MemoryRegistry(), policy=consentpanel.FieldPolicy())
        >>> consentpanel.reset()
    """
    # Nothing else is local here: the keywords are those of `KEYWORDS`.
    given = locals()
    # A copy, because the caller's own may change.
    kept = {name: dict(value) if isinstance(value, dict) else value for name, value in given.items()}
    process.configure(kept, checked(given))


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
