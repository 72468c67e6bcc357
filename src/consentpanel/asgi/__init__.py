"""ASGI (Starlette, FastAPI, Quart, Litestar, Django; uvicorn, hypercorn, daphne): consent of a request, and the end of a server."""

from __future__ import annotations

from consentpanel._exports import name_all
from consentpanel.asgi._consent import RequestConsent, current_consent
from consentpanel.asgi._middleware import ConsentMiddleware
from consentpanel.asgi._panel import PanelApp

__all__ = ["ConsentMiddleware", "PanelApp", "RequestConsent", "current_consent"]

name_all(globals())
