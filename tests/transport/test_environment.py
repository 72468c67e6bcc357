"""What the environment says of proxies holds for each request, also when it changes (contract rule 5.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consentpanel import BufferedConsumer
from consentpanel.testing._loopback import LoopbackServer, reply

EVENT = json.dumps({"event": "Viewed", "properties": {"token": "T", "distinct_id": "user-1"}})


def test_a_proxy_that_is_set_or_taken_away_later_is_heeded(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: Any) -> None:
        asked.append(request.path)
        request.rfile.read(int(request.headers["Content-Length"]))
        reply(request, 200, {"status": 1, "error": None})

    proxy = LoopbackServer(answer)
    for name in ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    consumer = BufferedConsumer(max_size=1, **faulty.urls)
    for _ in range(2):
        consumer.send("events", EVENT)
    assert (len(faulty.records), asked) == (2, [])
    monkeypatch.setenv("http_proxy", proxy.url)
    for _ in range(2):
        consumer.send("events", EVENT)
    assert (len(faulty.records), asked) == (2, [faulty.urls["events_url"]] * 2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    consumer.send("events", EVENT)
    assert (len(faulty.records), len(asked)) == (3, 2)
    monkeypatch.delenv("no_proxy")
    consumer.send("events", EVENT)
    assert (len(faulty.records), len(asked)) == (3, 3)
    proxy.close()
