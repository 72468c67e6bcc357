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

_STARTED = "lifespan.startup.complete"
_ENDS = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})


async def live(app: ASGIApp, scope: Scope, receive: Receive, send: Send, flush: Callable[[], Awaitable[None]]) -> None:
    """The lifespan of an application, or what is left of it where the application leaves it early.

    Args:
        app: The application.
        scope: As the server gives it.
        receive: As the server gives it.
        send: As the server gives it.
        flush: Sends what waits, as long as what the application closes at its end is still open: the registry is asked once more.
    """
    received: set[str] = set()
    sent: set[str] = set()

    async def seen() -> Message:
        message = await receive()
        received.add(message["type"])
        if message["type"] == "lifespan.shutdown":
            await flush()
        return message

    async def told(message: Message) -> None:
        if message["type"] in _ENDS:
            await _deliver()
        sent.add(message["type"])
        await send(message)

    try:
        await app(scope, seen, told)
    except Exception:
        if received:
            # The server says what it makes of that.
            if "lifespan.shutdown" in received:
                await _deliver()
            raise
        # It knows no lifespan, and raises, as the specification asks.
    if "lifespan.startup.failed" not in sent and not _ENDS & sent:
        await _rest(seen, told, received=received, sent=sent)


async def _rest(receive: Receive, send: Send, *, received: set[str], sent: set[str]) -> None:
    """Lives on where an application has gone: what the server sends is answered to its end."""
    while "lifespan.shutdown" not in received:
        if "lifespan.startup" in received and _STARTED not in sent:
            await send({"type": _STARTED})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _deliver() -> None:
    # In a thread, so that other tasks may end meanwhile.
    await asyncio.to_thread(end_all)
