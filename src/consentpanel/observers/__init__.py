"""Observers for those who watch a service by metrics: what became of messages, what waits, how long consent takes to look up.

They are given to the client, `Mixpanel(observers=[prometheus(REGISTRY)])`. No id, no name of an event and no name of a property
stands in a metric. An observer is any callable that takes a `Decision`, and nothing has to be inherited; one whose class has more
methods is told more:

- ``looked_up(seconds)``: the client has asked its registry, and that took so long; the answers of a cache count.
- ``watch(queue)``: where the messages of the client wait, once for each. ``queue.measure()`` gives their number and the seconds that
  the oldest has waited, ``queue.is_in_memory`` whether that asks no file and no database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentpanel._exports import at_first_use

if TYPE_CHECKING:
    from consentpanel.observers._opentelemetry import opentelemetry
    from consentpanel.observers._prometheus import prometheus

__all__ = ["opentelemetry", "prometheus"]

# At first use, because each needs an extra of its own.
__getattr__, __dir__ = at_first_use(globals(), {"opentelemetry": "_opentelemetry", "prometheus": "_prometheus"})
