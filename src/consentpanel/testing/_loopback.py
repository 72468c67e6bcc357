"""A server on loopback, for those that stand in for the vendor's."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import TypedDict

HOST = "127.0.0.1"
#: How long the end of a test may wait for the server to see that it is over, in seconds.
_POLL = 0.01
#: How long a silent client may hold a thread, and a thread the end of a test, in seconds.
_PATIENCE = 10


class Urls(TypedDict):
    """The four arguments of the vendor's consumers that say where its endpoints are."""

    events_url: str
    people_url: str
    groups_url: str
    import_url: str


ENDPOINTS = {"/track": "events", "/engage": "people", "/groups": "groups", "/import": "imports"}


class LoopbackServer:
    """Listens on ``127.0.0.1``, on a port of the system's choice, from now until it is closed.

    Args:
        answer: Reads and answers a request; called in a thread for each connection.
    """

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = _PATIENCE
            wbufsize = 1 << 16  # head and body of an answer in one packet

            def do_GET(self) -> None:
                answer(self)

            do_POST = do_GET  # noqa: N815 - the standard library dictates the name
            do_DELETE = do_GET  # noqa: N815 - as above

            def log_message(self, *_: object) -> None:
                """Says nothing: the request line is the caller's business."""

        self._http = ThreadingHTTPServer((HOST, 0), Handler)
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign] # the client may have gone
        self._thread = threading.Thread(target=self._http.serve_forever, args=(_POLL,), daemon=True)
        self._thread.start()
        self.url = f"http://{HOST}:{self._http.server_address[1]}"

    @property
    def urls(self) -> Urls:
        """Where the vendor's four endpoints would be."""
        return {
            "events_url": f"{self.url}/track",
            "people_url": f"{self.url}/engage",
            "groups_url": f"{self.url}/groups",
            "import_url": f"{self.url}/import",
        }

    def close(self) -> None:
        """Stops at once."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(_PATIENCE)


def reply(
    request: BaseHTTPRequestHandler, status: int, answer: object, headers: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Answers a request with JSON; bytes are sent as they are.

    Args:
        request: The request.
        status: The HTTP status.
        answer: What is said; None for an empty body.
        headers: More headers.
    """
    content = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
    request.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content)


@contextmanager
def loopback_without_proxy() -> Generator[None]:
    """Keeps requests to this machine from a proxy that the environment names, for as long as the context lasts."""
    names = ("no_proxy", "NO_PROXY")
    before = {name: os.environ.get(name) for name in names}
    listed = next((value for value in before.values() if value), "")
    try:
        for name in names:
            os.environ[name] = f"{HOST},{listed}" if listed else HOST
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
