"""The vendor's GDPR and CCPA interface on loopback, for tests.

Its answers are those of https://developer.mixpanel.com/reference/gdpr-api.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from typing_extensions import Self

from consentpanel.testing._loopback import LoopbackServer, reply

_MAX_IDS = 2_000
_LAWS = ("GDPR", "CCPA")
_Answer = tuple[int, Mapping[str, Any] | None, Mapping[str, str]]


class FakePrivacyAPI:
    """Answers on loopback as the vendor's interface for deletions and retrievals is documented to.

    Args:
        token: The project token that it takes.
        oauth_token: The OAuth token that it takes.

    Attributes:
        tasks: What was asked for, by number: ``kind``, ``status``, ``distinct_ids`` and more.

    Example:
        >>> from consentpanel import PrivacyRequests
        >>> with FakePrivacyAPI() as vendor:
        ...     (task,) = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url).create_retrieval("user-1")
        ...     vendor.tasks[task.task_id]["distinct_ids"]
        ['user-1']
    """

    def __init__(self, token: str = "TOKEN", oauth_token: str = "OAUTH") -> None:  # noqa: S107 - a test's, no secrets
        self.tasks: dict[str, dict[str, Any]] = {}
        self._token, self._oauth_token = token, oauth_token
        self._failures: list[tuple[int, Mapping[str, str]]] = []
        self._server: LoopbackServer | None = None

    @property
    def url(self) -> str:
        """Where it listens: the ``host=`` of `PrivacyRequests`."""
        assert self._server is not None, "enter it: with FakePrivacyAPI() as vendor"  # noqa: S101 - a test's mistake
        return self._server.url

    def finish(self, task_id: str, status: str = "SUCCESS") -> None:
        """Brings a request to its end; a retrieval then has a link.

        Args:
            task_id: Its number.
            status: The vendor's word for how it ended.
        """
        self.tasks[task_id]["status"] = status
        if self.tasks[task_id]["kind"] == "retrieval" and status == "SUCCESS":
            self.tasks[task_id]["results"] = f"{self.url}/download/{task_id}"

    def fail(self, *statuses: int, retry_after: float = 0) -> None:
        """Lets the next requests fail.

        Args:
            statuses: The HTTP status of each.
            retry_after: Seconds that each asks to wait.
        """
        self._failures += [(status, {"Retry-After": str(retry_after)}) for status in statuses]

    def __enter__(self) -> Self:
        self._server = LoopbackServer(self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        reply(request, *self._judged(request, body))

    def _judged(self, request: BaseHTTPRequestHandler, body: bytes) -> _Answer:
        if self._failures:
            status, headers = self._failures.pop(0)
            return _refused(status, "failed on demand", headers)
        url = urlsplit(request.path)
        if request.headers.get("Authorization") != f"Bearer {self._oauth_token}":
            return _refused(401, "invalid token")
        if parse_qs(url.query).get("token") != [self._token]:
            return _refused(403, "no permission")
        for kind in ("deletion", "retrieval"):
            prefix = f"/api/app/data-{kind}s/v3.0/"
            if url.path.startswith(prefix):
                return self._task(request.command, kind, url.path[len(prefix) :].rstrip("/"), body)
        return _refused(404, "not found")

    def _task(self, method: str, kind: str, task_id: str, body: bytes) -> _Answer:
        if method == "POST" and not task_id:
            asked = json.loads(body)
            ids = asked.get("distinct_ids")
            if not isinstance(ids, list) or not 0 < len(ids) <= _MAX_IDS or asked.get("compliance_type") not in _LAWS:
                return _refused(400, "malformed")
            number = f"{len(self.tasks) + 1:08x}"
            self.tasks[number] = {
                "tracking_id": number,
                "kind": kind,
                "status": "PENDING",
                "results": "",
                "date_requested": "2026-01-01T00:00:00",
                **asked,
            }
            return 201, {"status": "ok", "results": {"task_id": number}}, {}
        task = self.tasks.get(task_id)
        if task is None or task["kind"] != kind:
            return _refused(404, "not found")
        if method == "DELETE":
            if kind != "deletion" or task["status"] != "PENDING":
                return _refused(400, "too late")
            task["status"] = "REVOKED"
            return 204, None, {}
        return 200, {"status": "ok", "results": {name: value for name, value in task.items() if name != "kind"}}, {}


def _refused(status: int, text: str, headers: Mapping[str, str] = MappingProxyType({})) -> _Answer:
    return status, {"status": "error", "error": text}, headers
