"""A small server on loopback that speaks the vendor's ingestion protocol and keeps what it received."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
from typing_extensions import Self

from consentpanel.testing._loopback import ENDPOINTS, LoopbackServer, reply

# Of a request to /import, the largest that the vendor takes: https://developer.mixpanel.com/reference/import-events
_MAX_BODY = 10 * 1024 * 1024


@attrs.frozen
class Received:
    """One message that the server accepted.

    Attributes:
        endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
        payload: The decoded record.
    """

    endpoint: str
    payload: dict[str, Any] = attrs.field(repr=False)


class IngestionServer:
    """The vendor's ingestion endpoints on ``127.0.0.1``, on a port of the system's choice.

    Example:
        >>> with IngestionServer() as server:
        ...     server.urls["events_url"].startswith("http://127.0.0.1:")
        True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[Received] = []
        self._requests: list[bytes] = []

    def __enter__(self) -> Self:
        self._server = LoopbackServer(self._answer)
        self.urls = self._server.urls
        """The four URL arguments of the vendor's consumers."""
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @property
    def messages(self) -> list[Received]:
        """What was accepted so far, in order."""
        with self._lock:
            return list(self._messages)

    @property
    def raw_requests(self) -> list[bytes]:
        """Every byte of every request so far, accepted or not: request line, headers and body."""
        with self._lock:
            return list(self._requests)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        messages: list[Received] = []
        raw = None
        try:
            body = _body(request)
            raw = b"\n".join([request.requestline.encode("latin-1", "replace"), bytes(request.headers), body])
            messages = _messages(urlsplit(request.path).path, body)
        except _Refusal as refusal:
            status, said = refusal.code, {"status": 0, "error": refusal.error}
        else:
            status, said = 200, {"status": 1}
        with self._lock:
            self._requests += [] if raw is None else [raw]
            self._messages += messages
        # What was not read of a request would be taken for the next one.
        request.close_connection = request.close_connection or raw is None
        reply(request, status, said)


class _Refusal(Exception):  # noqa: N818 (an answer, not a failure)
    def __init__(self, error: str, code: int = 200) -> None:
        super().__init__(error)
        self.error = error
        self.code = code


def _body(request: BaseHTTPRequestHandler) -> bytes:
    length = request.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdecimal()):
        raise _Refusal("Content-Length is missing", 411)
    if len(length) > len(str(_MAX_BODY)) or int(length) > _MAX_BODY:
        raise _Refusal("request is too large", 413)
    return request.rfile.read(int(length))


def _messages(path: str, body: bytes) -> list[Received]:
    endpoint = ENDPOINTS.get(path)
    if endpoint is None:
        raise _Refusal("no such endpoint", 404)
    try:
        form = parse_qs(body.decode(), strict_parsing=True)
        decoded = json.loads(form["data"][0])
    except (KeyError, RecursionError, ValueError):
        raise _Refusal("data is missing or is not JSON") from None
    if (form.get("verbose"), form.get("ip")) != (["1"], ["0"]):
        raise _Refusal("verbose=1 and ip=0 are missing")
    records = decoded if isinstance(decoded, list) else [decoded]
    for record in records:
        _check(endpoint, record)
    return [Received(endpoint, record) for record in records]


def _check(endpoint: str, record: object) -> None:
    if not isinstance(record, dict):
        raise _Refusal("data is not an object or a list of objects")
    if endpoint in {"people", "groups"}:
        if not record.get("$token"):
            raise _Refusal("$token is missing")
        return
    properties = record.get("properties")
    if not isinstance(properties, dict) or not properties.get("token"):
        raise _Refusal("token is missing")
    if not isinstance(record.get("event"), str) or not record["event"]:
        raise _Refusal("event is missing")
