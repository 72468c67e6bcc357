"""What stands between the gate and the vendor's server: the sealed transport and the buffer."""

from consentpanel.transport._background import BackgroundConsumer
from consentpanel.transport._buffered import BufferedConsumer

__all__ = ["BackgroundConsumer", "BufferedConsumer"]
