"""OpenTelemetry: an observer that counts into the instruments of a meter (extra ``opentelemetry``)."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consentpanel.errors import ConfigurationError
from consentpanel.observers._watching import BOUNDS, LABELS, Watching, once_for

try:
    from opentelemetry.metrics import Observation
except ImportError as error:
    raise ConfigurationError(
        "consentpanel.observers.opentelemetry needs opentelemetry-api: pip install 'consentpanel[opentelemetry]'"
    ) from error

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

#: Names of attributes have a namespace of their own, as the conventions want.
_ATTRIBUTES = tuple(f"consentpanel.{label}" for label in LABELS)


def opentelemetry(meter: Meter) -> Watching:
    """An observer that counts messages, measures what waits and times look-ups, for OpenTelemetry.

    ``consentpanel.messages`` (``{message}``; attributes ``consentpanel.outcome``, ``consentpanel.reason``, ``consentpanel.endpoint``)
    counts decisions, the gauges ``consentpanel.queue.messages`` (``{message}``) and ``consentpanel.queue.age`` (``s``) tell what waits, and
    ``consentpanel.lookup.duration`` (``s``) is a histogram. All clients to which the observers of one meter are given count together.

    Args:
        meter: Makes the instruments, such as ``opentelemetry.metrics.get_meter("shop")``.

    Returns:
        The observer; the same for the same meter.

    Raises:
        ConfigurationError: opentelemetry-api is missing.

    Example:
        >>> from consentpanel import Mixpanel
        >>> from consentpanel.observers import opentelemetry
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> from opentelemetry.metrics import get_meter
        >>> observers = [opentelemetry(get_meter("shop"))]
        >>> mp = Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry(), observers=observers)
        >>> print(mp.track("user-1", "Signed up").reason)
        no_consent
    """
    return once_for(_OBSERVERS, meter, lambda: _observer(meter))


_OBSERVERS: weakref.WeakKeyDictionary[Meter, Watching] = weakref.WeakKeyDictionary()


def _observer(meter: Meter) -> Watching:
    messages = meter.create_counter(
        "consentpanel.messages", "{message}", "Decisions on messages, by what was decided and why."
    )
    lookups = meter.create_histogram(
        "consentpanel.lookup.duration", "s", "Time to look up consent.", explicit_bucket_boundaries_advisory=BOUNDS
    )

    def count(*labels: str) -> None:
        messages.add(1, dict(zip(_ATTRIBUTES, labels, strict=True)))

    observer = Watching(count, lookups.record)

    def waiting(_: Any) -> Iterable[Observation]:
        found = observer.measure()
        return [] if found is None else [Observation(found[0])]

    def age(_: Any) -> Iterable[Observation]:
        found = observer.measure()
        return [] if found is None else [Observation(found[1])]

    meter.create_observable_gauge("consentpanel.queue.messages", [waiting], "{message}", "Messages that wait.")
    meter.create_observable_gauge(
        "consentpanel.queue.age", [age], "s", "How long the oldest of the messages that wait has waited."
    )
    return observer
