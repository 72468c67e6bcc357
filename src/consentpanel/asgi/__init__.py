"""ASGI (Starlette, FastAPI, Quart, Litestar, Django; uvicorn, hypercorn, daphne): consent of a request, and the end of a server."""

from __future__ import annotations

from consentpanel._exports import name_all
from consentpanel.asgi._consent import RequestConsent, current_consent
from consentpanel.asgi._middleware import ConsentMiddleware

__all__ = ["ConsentMiddleware", "RequestConsent", "current_consent"]

name_all(globals())
