"""Prometheus: an observer that counts into a registry of its client library (extra ``prometheus``)."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING

from consentpanel.errors import ConfigurationError
from consentpanel.observers._watching import BOUNDS, LABELS, Watching, once_for

try:
    from prometheus_client import Counter, Gauge, Histogram, values
except ImportError as error:
    raise ConfigurationError(
        "consentpanel.observers.prometheus needs prometheus-client: pip install 'consentpanel[prometheus]'"
    ) from error

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Seconds between two measures of what waits, in the multi-process mode.
_PAUSE = 1.0


def prometheus(registry: CollectorRegistry) -> Watching:
    """An observer that counts messages, measures what waits and times look-ups, for Prometheus.

    ``consentpanel_messages_total`` (labels ``outcome``, ``reason``, ``endpoint``) counts decisions, ``consentpanel_queue_messages`` and
    ``consentpanel_queue_age_seconds`` tell what waits, and ``consentpanel_lookup_seconds`` is a histogram. All clients to which the
    observers of one registry are given count together.

    In the multi-process mode of the client library (``PROMETHEUS_MULTIPROC_DIR``) the two gauges are those of the process in which
    most waits, or longest, as of its last message or look-up, and a `SpoolConsumer` or an outbox does not stand in them.

    Args:
        registry: Where the metrics are registered, such as `prometheus_client.REGISTRY`.

    Returns:
        The observer; the same for the same registry.

    Raises:
        ConfigurationError: prometheus-client is missing, or `registry` has a metric of somebody else's by one of these names.

    Example:
        >>> from consentpanel import Mixpanel
        >>> from consentpanel.observers import prometheus
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> from prometheus_client import CollectorRegistry
        >>> metrics = CollectorRegistry()
        >>> mp = Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry(), observers=[prometheus(metrics)])
        >>> _ = mp.track("user-1", "Signed up")
        >>> labels = {"outcome": "dropped", "reason": "no_consent", "endpoint": "events"}
        >>> metrics.get_sample_value("consentpanel_messages_total", labels)
        1.0
    """
    return once_for(_OBSERVERS, registry, lambda: _observer(registry))


_OBSERVERS: weakref.WeakKeyDictionary[CollectorRegistry, Watching] = weakref.WeakKeyDictionary()


def _observer(registry: CollectorRegistry) -> Watching:
    messages = Counter(
        "consentpanel_messages", "Decisions on messages, by what was decided and why.", LABELS, registry=None
    )
    lookups = Histogram("consentpanel_lookup_seconds", "Time to look up consent.", buckets=BOUNDS, registry=None)
    # Of several processes the worst: a file or a database that all share is not to be counted many times.
    waiting = Gauge("consentpanel_queue_messages", "Messages that wait.", registry=None, multiprocess_mode="livemax")
    age = Gauge(
        "consentpanel_queue_age_seconds",
        "How long the oldest of the messages that wait has waited.",
        registry=None,
        multiprocess_mode="livemax",
    )
    _register(registry, messages, lookups, waiting, age)

    def count(*labels: str) -> None:
        messages.labels(*labels).inc()

    if not values.ValueClass._multiprocess:  # noqa: SLF001 - as the library itself asks
        observer = Watching(count, lookups.observe)
        waiting.set_function(lambda: (observer.measure() or _UNKNOWN)[0])
        age.set_function(lambda: (observer.measure() or _UNKNOWN)[1])
        return observer

    measured_at = 0.0

    def measure() -> None:
        # Nobody asks this process: another one reads what it has written.
        nonlocal measured_at
        if time.monotonic() - measured_at >= _PAUSE and (found := observer.measure(in_memory=True)) is not None:
            measured_at = time.monotonic()
            waiting.set(found[0])
            age.set(found[1])

    observer = Watching(count, lookups.observe, measure)
    return observer


def _register(registry: CollectorRegistry, *metrics: Counter | Gauge | Histogram) -> None:
    """Registers all metrics, or none."""
    for count, metric in enumerate(metrics):
        try:
            registry.register(metric)
        except ValueError as error:
            for each in metrics[:count]:
                registry.unregister(each)
            raise ConfigurationError(f"registry has a metric of that name already: {error}") from None


_UNKNOWN = (float("nan"), float("nan"))
