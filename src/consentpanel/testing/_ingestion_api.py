"""A small server on loopback that speaks the vendor's ingestion protocol and keeps what it received."""

from __future__ import annotations

import http.server
import json
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import parse_qs, urlsplit

import attrs
from typing_extensions import Self

if TYPE_CHECKING:
    from collections.abc import Generator

_HOST = "127.0.0.1"
_ENDPOINTS = {"/track": "events", "/engage": "people", "/groups": "groups", "/import": "imports"}
_MAX_BODY = 10 * 1024 * 1024
_PATIENCE = 10


@attrs.frozen
class Received:
    """One message that the server accepted.

    Attributes:
        endpoint: ``"events"``, ``"people"``, ``"groups"`` or ``"imports"``.
        payload: The decoded record.
    """

    endpoint: str
    payload: dict[str, Any] = attrs.field(repr=False)


class _Urls(TypedDict):
    events_url: str
    people_url: str
    groups_url: str
    import_url: str


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
        self._http = _Server((_HOST, 0), _Handler)
        self._http.ingestion = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(_PATIENCE)

    @property
    def urls(self) -> _Urls:
        """The four URL arguments of the vendor's consumers."""
        root = f"http://{_HOST}:{self._http.server_address[1]}"
        return {
            "events_url": f"{root}/track",
            "people_url": f"{root}/engage",
            "groups_url": f"{root}/groups",
            "import_url": f"{root}/import",
        }

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

    def keep(self, raw: bytes, messages: list[Received]) -> None:
        """Note a request, and the messages that were accepted of it."""
        with self._lock:
            self._requests.append(raw)
            self._messages.extend(messages)


class _Refusal(Exception):  # noqa: N818 (an answer, not a failure)
    def __init__(self, error: str, code: int = 200) -> None:
        super().__init__(error)
        self.error = error
        self.code = code


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    ingestion: IngestionServer


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE
    server_version = "ingestion"

    def do_POST(self) -> None:
        try:
            body = self._body()
        except _Refusal as refusal:
            self.close_connection = True
            self._answer(refusal)
            return
        raw = b"\n".join([self.requestline.encode("latin-1", "replace"), bytes(self.headers), body])
        try:
            messages = _messages(urlsplit(self.path).path, body)
        except _Refusal as refusal:
            self._ingestion.keep(raw, [])
            self._answer(refusal)
            return
        self._ingestion.keep(raw, messages)
        self._answer(None)

    @property
    def _ingestion(self) -> IngestionServer:
        return cast("_Server", self.server).ingestion

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            raise _Refusal("Content-Length is missing", 411)
        if len(length) > len(str(_MAX_BODY)) or int(length) > _MAX_BODY:
            raise _Refusal("request is too large", 413)
        return self.rfile.read(int(length))

    def _answer(self, refusal: _Refusal | None) -> None:
        content = json.dumps({"status": 0, "error": refusal.error} if refusal else {"status": 1}).encode()
        self.send_response(refusal.code if refusal else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the request line is the caller's business."""


def _messages(path: str, body: bytes) -> list[Received]:
    endpoint = _ENDPOINTS.get(path)
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


@contextmanager
def loopback_without_proxy() -> Generator[None]:
    """Keep requests to this machine from a proxy that the environment names, for as long as the context lasts."""
    names = ("no_proxy", "NO_PROXY")
    before = {name: os.environ.get(name) for name in names}
    listed = next((value for value in before.values() if value), "")
    try:
        for name in names:
            os.environ[name] = f"{_HOST},{listed}" if listed else _HOST
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
