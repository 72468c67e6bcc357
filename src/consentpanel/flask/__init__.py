"""At home in Flask: an extension, the consent of a request, the panel, and commands (extra ``flask``)."""

from __future__ import annotations

from consentpanel._exports import name_all
from consentpanel.errors import ConfigurationError

try:
    import flask as _flask
except ImportError as error:
    raise ConfigurationError(
        f"consentpanel.flask needs Flask: pip install 'consentpanel[flask]' ({error.name} cannot be imported)"
    ) from None

from consentpanel.flask._extension import ConsentPanel
from consentpanel.flask._state import RequestConsent, current_consent, mixpanel

del _flask

__all__ = ["ConsentPanel", "RequestConsent", "current_consent", "mixpanel"]

name_all(globals())
