"""What a client works with, as far as it is told to visitors and held to promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import attrs

from consentpanel._consent.regime import Regime
from consentpanel._mixpanel.hosts import API_HOSTS, region_of
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity


@attrs.frozen(kw_only=True)
class Configuration:
    """What a client works with.

    Attributes:
        policy: The field policy.
        regime: What silence means.
        identity: How ids leave; None where nobody said.
        purposes: The purposes of events and calls, as the client has them.
        hold_for: The most seconds that messages of somebody who was never asked are held; None where they are not.
        hosts: Where messages go; empty when that is not known.
        privacy_host: Where requests for erasure go; None without them.
        asks_for_flags: Whether the context of remote feature flags is sent.
        uses_flags: Whether features are flagged at all, there or here.
        is_client: Whether this is of a client, not of a policy alone.
    """

    policy: FieldPolicy
    regime: Any = Regime.OPT_IN
    identity: Identity | None = None
    purposes: Mapping[str, str | Iterable[str]] | None = None
    hold_for: float | None = None
    hosts: frozenset[str] = frozenset()
    privacy_host: str | None = None
    asks_for_flags: bool = True
    uses_flags: bool = True
    is_client: bool = False

    @property
    def region(self) -> str | None:
        """Where messages go; None when that is not known, or there are several."""
        regions = {region_of(host, API_HOSTS) for host in self.hosts}
        return regions.pop() if len(regions) == 1 else None


class Client(Protocol):
    """What is needed of a client."""

    @property
    def _configuration(self) -> Configuration: ...


def configuration_of(name: str, target: object) -> Configuration:
    """That of a client, or of a policy alone.

    Args:
        name: Of the argument or function, for errors.
        target: The client or the policy.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(target, FieldPolicy):
        return Configuration(policy=target)
    found = getattr(target, "_configuration", None)
    if not isinstance(found, Configuration):
        raise ConfigurationError(f"{name} a Mixpanel client or a FieldPolicy, not {type(target).__name__}")
    return found
