"""ASGI servers (uvicorn, hypercorn, daphne): what waits is delivered when the server shuts the application down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from consentpanel.transport._ends import end_all

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_ENDS = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})


class ConsentMiddleware:
    """Delivers what waits in the buffers of the process before the server ends it (ASGI 3, lifespan 2.0).

    uvicorn ends its process by the signal that it got, after which no exit handler of Python's runs. An application that
    knows no lifespan gets one of its own.

    Args:
        app: The application: Starlette, FastAPI, Django, Quart, Litestar, or any other of ASGI 3.

    Example:
        >>> async def app(scope, receive, send): ...
        >>> app = ConsentMiddleware(app)
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Hands everything on; of the lifespan it sees the end."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def sent(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"].startswith("lifespan.startup")
            if message["type"] in _ENDS:
                await _deliver()
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception:
            if has_started:
                raise
            await _lifespan(receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    """A lifespan for an application that knows none: it raises, as the specification asks."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await _deliver()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _deliver() -> None:
    # In a thread, so that other tasks may end meanwhile.
    await asyncio.to_thread(end_all)
