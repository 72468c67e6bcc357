"""What stands between the gate and the vendor's server: the sealed transport and the buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentpanel._exports import at_first_use

if TYPE_CHECKING:
    from consentpanel.transport._background import BackgroundConsumer
    from consentpanel.transport._buffered import BufferedConsumer
    from consentpanel.transport._outbox import SQLAlchemyOutbox
    from consentpanel.transport._spooling import SpoolConsumer

__all__ = ["BackgroundConsumer", "BufferedConsumer", "SQLAlchemyOutbox", "SpoolConsumer"]

# At first use: a client that sends at once need not load what threads and processes need.
__getattr__, __dir__ = at_first_use(
    globals(),
    {
        "BackgroundConsumer": "_background",
        "BufferedConsumer": "_buffered",
        "SQLAlchemyOutbox": "_outbox",
        "SpoolConsumer": "_spooling",
    },
)
