"""The tutorial of the panel is followed to the letter: its file is written and served, its forms are sent, its answers compared."""

from __future__ import annotations

import http.cookiejar
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode

import pytest

pytest.importorskip("flask")
pytestmark = pytest.mark.slow

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "consent-page-in-ten-minutes.md"
TEXT = TUTORIAL.read_text("utf-8")
#: What the tutorial says that /buy answers, and what it quotes of the page.
ANSWERS = re.findall(r"^```text\n(.+?)\n```$", TEXT, re.MULTILINE)
QUOTED = re.findall(r"^> (.+)$", TEXT, re.MULTILINE)


class Browser:
    """Does what the reader is told to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def open(self, path: str, fields: dict[str, str] | None = None) -> str:
        request = urllib.request.Request(self.url + path, headers={"Accept-Language": "en"})
        if fields is not None:
            request.data = urlencode(fields).encode()
            request.add_header("Origin", self.url)
        with self._opener.open(request, timeout=10) as response:
            text: str = response.read().decode()
            return text

    def press(self, page: str, action: str, **said: str) -> str:
        """Send the first form of a page that goes to an address."""
        form = re.search(rf'<form method="post" action="{action}".*?</form>', page, re.DOTALL)
        assert form is not None, action
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form[0]))
        return self.open(action, {**hidden, **said})


@pytest.fixture
def printed() -> list[str]:
    return []


@pytest.fixture
def browser(tmp_path: Path, printed: list[str]) -> Iterator[Browser]:
    ((name, code),) = re.findall(
        r"^```\{code-block\} python\n:caption: (\S+)\n\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL
    )
    (tmp_path / name).write_text(code, "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "flask", "--app", "shop", "run", "--port", port]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = Browser(f"http://127.0.0.1:{port}")
    try:
        for _ in range(200):
            try:
                found.open("/")
                break
            except URLError:
                time.sleep(0.05)
        yield found
    finally:
        server.terminate()
        said, _ = server.communicate(timeout=60)
        printed.extend(said.splitlines())
    (line,) = [line for line in printed if line.startswith("leaves:")]
    (event,) = json.loads(line.removeprefix("leaves: events "))
    assert event["properties"].items() >= {"product": "Darjeeling", "total": 4.5, "token": "PROJECT_TOKEN"}.items()
    assert "ann@" not in "".join(printed)


# rule 12.1, rule 12.3
def test_the_page_the_answers_the_event_and_the_receipt_are_those_of_the_tutorial(browser: Browser) -> None:
    before, after_yes, after_no = ANSWERS
    question, saved, stopped = QUOTED

    assert browser.open("/buy") == before
    link = re.search(r'<a href="([^"]+)">Privacy choices</a>', browser.open("/"))
    assert link is not None
    assert link[1] == "/privacy/"
    page = browser.open("/privacy/")
    assert question in page
    assert "checked" not in page
    for words in ("No to all", "Yes to all", "Save my choice", "See what is sent"):
        assert f">{words}" in page
    for words in ("what you bought", "to order enough of every tea", "what you paid", "to add up sales"):
        assert words in page
    assert not list(browser.cookies)

    page = browser.press(page, "/privacy/", **{"answer.analytics": "yes"})
    assert saved in unescape(page)
    assert [each.name for each in browser.cookies] == ["consentpanel"]
    assert browser.open("/buy") == after_yes
    # What waits leaves within half a second, and a no would discard it.
    time.sleep(1)

    page = browser.open("/privacy/")
    assert "Your answers so far" in page
    assert re.search(r'<a href="/privacy/receipt" download[^>]*>Download my answers</a>', page)
    (receipt,) = json.loads(browser.open("/privacy/receipt"))["receipts"]
    assert receipt["event"]["event_state"] == "consent_given"
    assert receipt["privacy_notice"] == receipt["evidence"]["notice"]
    assert len(receipt["evidence"]["shown"]) == 64

    assert ">Stop sending my data</button>" in page
    assert stopped in browser.press(page, "/privacy/withdraw")
    assert browser.open("/buy") == after_no
