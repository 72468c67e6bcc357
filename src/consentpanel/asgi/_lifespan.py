"""The end of a server: what waits is delivered before it ends the process (ASGI 3, lifespan 2.0)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from consentpanel.transport._ends import end_all

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_ENDS = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})


async def live(app: ASGIApp, scope: Scope, receive: Receive, send: Send, flush: Callable[[], Awaitable[None]]) -> None:
    """The lifespan of an application, or one of ours for an application that knows none.

    Args:
        app: The application.
        scope: As the server gives it.
        receive: As the server gives it.
        send: As the server gives it.
        flush: Sends what waits, as long as what the application closes at its end is still open: the registry is asked once more.
    """
    has_started = False

    async def received() -> Message:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await flush()
        return message

    async def sent(message: Message) -> None:
        nonlocal has_started
        has_started = has_started or message["type"].startswith("lifespan.startup")
        if message["type"] in _ENDS:
            await _deliver()
        await send(message)

    try:
        await app(scope, received, sent)
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
