"""The panel as an application of ASGI, to be mounted in any other one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from consentpanel.asgi._consent import RequestConsent, current
from consentpanel.asgi._lifespan import Receive, Scope, Send
from consentpanel.errors import ConfigurationError
from consentpanel.panel import MAX_BODY, Panel, Request
from consentpanel.panel._http import headers_of

_NO_MIDDLEWARE = (
    "the panel has no consent to show: put the application that it is mounted in into ConsentMiddleware(app, client=...), as by"
    " app.add_middleware(ConsentMiddleware, client=...)"
)


class PanelApp:
    """The panel, to be mounted inside of `ConsentMiddleware`: ``app.mount("/privacy", PanelApp(Panel(notice)))``.

    Where there is no ``mount`` it is called as ``await panel(scope, receive, send)``, as in a handler of Litestar's with
    ``@asgi("/privacy", is_mount=True, copy_scope=True)``.

    Args:
        panel: The panel; one with a minimal notice of the client when left out.

    Raises:
        ConfigurationError: `panel` is none.

    Example:
        >>> from starlette.applications import Starlette
        >>> from consentpanel import Mixpanel
        >>> from consentpanel.asgi import ConsentMiddleware, PanelApp
        >>> from consentpanel.panel import Panel
        >>> from consentpanel.registry import MemoryRegistry
        >>> app = Starlette()
        >>> app.mount("/privacy", PanelApp(Panel(contact="privacy@shop.example")))
        >>> app.add_middleware(ConsentMiddleware, client=Mixpanel("TOKEN", registry=MemoryRegistry()))
    """

    def __init__(self, panel: Panel | None = None) -> None:
        if panel is not None and not isinstance(panel, Panel):
            raise ConfigurationError(f"panel must be a Panel, not {type(panel).__name__}")
        #: The panel.
        self.panel = panel or Panel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request.

        Raises:
            RuntimeError: There is no `ConsentMiddleware` with a client around it.
        """
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003})
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        consent = current()
        if consent is None:
            raise RuntimeError(_NO_MIDDLEWARE)
        # Of no other method a body is looked at, nor waited for.
        body = await _body(receive) if scope.get("method") == "POST" else b""
        if body is None:
            return
        request = request_of(scope, body, consent)
        visit = consent._visit  # noqa: SLF001 - ours
        found = await consent._run(lambda: self.panel.respond(request, visit))  # noqa: SLF001 - the same
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in found.headers]
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})


def request_of(scope: Scope, body: bytes, consent: RequestConsent) -> Request:
    """A request, of what the server says of it.

    Args:
        scope: The scope.
        body: The body.
        consent: The request's.
    """
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope.get("headers") or ()]
    mount, below = _places(scope)
    address: Any = scope.get("client")
    return Request(
        method=scope.get("method", "GET"),
        path=below,
        mount=quote(mount),
        query=(scope.get("query_string") or b"").decode("latin-1"),
        headers=headers_of(pairs),
        body=body,
        address=address[0] if address else None,
        host=next((value for name, value in pairs if name.lower() == "host"), ""),
        scheme=scope.get("scheme", ""),
        language=consent._visit.language,  # noqa: SLF001 - ours
    )


def _places(scope: Scope) -> tuple[str, str]:
    """The path under which the panel is mounted, and the one below it.

    By the specification ``path`` begins with ``root_path``; who has mounted it may have taken that away, and then ``raw_path``
    tells (https://asgi.readthedocs.io/en/latest/specs/www.html#http-connection-scope).
    """
    path: str = scope["path"]
    root: str = (scope.get("root_path") or "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        return root, path[len(root) :]
    raw = unquote((scope.get("raw_path") or b"").decode("latin-1").partition("?")[0]).rstrip("/")
    below = path.strip("/")
    mount = raw if not below else raw.removesuffix(f"/{below}") if raw.endswith(f"/{below}") else ""
    return (mount if mount.startswith(root) else root + mount), path


async def _body(receive: Receive) -> bytes | None:
    """The body, or its beginning where it is too large; None where the browser has gone."""
    body = b""
    while len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body[: MAX_BODY + 1]


async def _live(receive: Receive, send: Send) -> None:
    """Says yes to a server that begins or ends."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
