"""The guarded client, and what a process configures once."""

from consentpanel._exports import name_all
from consentpanel.client._consent_calls import Withdrawal
from consentpanel.client._later import AsyncMixpanel
from consentpanel.client._process import configure, reset
from consentpanel.client.mixpanel import Mixpanel

__all__ = ["AsyncMixpanel", "Mixpanel", "Withdrawal", "configure", "reset"]

name_all(globals())
