"""The session of our consumers: whole requests are limited, and the form is the vendor's (contract rules 5.2 and 13.2)."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlencode

import mixpanel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel import BackgroundConsumer, BufferedConsumer
from consentpanel.transport._line import pause_after
from consentpanel.transport._session import form


@given(st.dictionaries(st.text(max_size=5), st.text() | st.integers() | st.just("\ud800"), max_size=3))
def test_a_form_is_written_in_the_bytes_of_the_standard_library(fields: dict[str, Any]) -> None:
    # rule 1.3
    assert form(fields) == urlencode(fields, errors="surrogatepass")


def test_every_character_of_ascii_is_written_so() -> None:
    text = "".join(map(chr, range(128))) * 2
    assert form({text: text}) == urlencode({text: text})


@pytest.mark.parametrize("kind", ["buffered", "background"])
def test_a_server_that_answers_a_byte_at_a_time_holds_nobody(faulty: Any, kind: str) -> None:
    # rule 5.2: a hang would last for 20 s here, and for ever in life
    faulty.faults = ["trickle"]
    faulty.open.clear()
    consumer: Any = (
        BufferedConsumer(**faulty.urls, request_timeout=0.3, retry_limit=0)
        if kind == "buffered"
        else BackgroundConsumer(**faulty.urls, request_timeout=0.3, linger=0.01)
    )
    consumer.send("events", '{"event": "E", "properties": {"$insert_id": "1"}}')
    begun = time.monotonic()
    if kind == "buffered":
        with pytest.raises(mixpanel.MixpanelException, match="is kept"):
            consumer.flush()
    consumer.flush()
    assert time.monotonic() - begun < 8
    assert faulty.ids() == {"1": 1}
    faulty.open.set()
    consumer.close()


class KeepAlive(BaseHTTPRequestHandler):
    """Answers, and lets the connection stand."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[Any]] = set()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.connections.add(self.client_address)
        self.send_response(200)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b'{"status": 1}')

    def log_message(self, *_: object) -> None: ...


def test_a_connection_is_used_again() -> None:
    # rule 13.2
    KeepAlive.connections.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), KeepAlive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/track"
        with BackgroundConsumer(events_url=url, linger=0.01, connections=1) as consumer:
            for _ in range(5):
                consumer.send("events", "{}")
                consumer.flush()
            assert consumer.dropped == 0
        server.shutdown()
    assert len(KeepAlive.connections) == 1


@pytest.mark.parametrize("failures", range(8))
def test_pauses_lie_between_two_seconds_and_a_minute(failures):
    # rule 13.2
    assert 2 <= pause_after(failures) <= 60
