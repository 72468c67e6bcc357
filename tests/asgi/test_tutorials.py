"""The tutorials of Flask and FastAPI are followed to the letter: their files are written, served and tested, their answers compared."""

from __future__ import annotations

import http.cookiejar
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import pytest

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs" / "tutorial"
SERVERS = {
    "flask": ["flask", "--app", "shop", "run", "--port"],
    "fastapi": ["uvicorn", "shop:app", "--log-level", "warning", "--port"],
}


class Tutorial:
    def __init__(self, name: str, folder: Path) -> None:
        text = (DOCS / f"{name}-in-ten-minutes.md").read_text("utf-8")
        files = re.findall(r"^```\{code-block\} python\n:caption: (\S+)\n\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
        assert [file for file, _ in files] == ["shop.py", "test_shop.py"]
        for file, code in files:
            (folder / file).write_text(code, "utf-8")
        self.name, self.folder = name, folder
        self.answers = [each.strip() for each in re.findall(r"^```text\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)]

    @contextmanager
    def served(self) -> Iterator[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        command = [sys.executable, "-m", *SERVERS[self.name], port]
        server = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            self.printed, _ = server.communicate(timeout=60)


@pytest.fixture(params=["flask", "fastapi"])
def tutorial(request: pytest.FixtureRequest, tmp_path: Path) -> Tutorial:
    pytest.importorskip(request.param)
    return Tutorial(request.param, tmp_path)


# rule 11.1, rule 11.2
def test_the_answers_are_those_of_the_tutorial_and_what_leaves_is_printed(tutorial: Tutorial) -> None:
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    browser.addheaders = []

    def say(url: str, answer: str) -> None:
        if tutorial.name == "flask":
            browser.open(f"{url}/consent", data=f"analytics={answer}".encode(), timeout=10).close()
        else:
            browser.open(urllib.request.Request(f"{url}/consent?analytics={answer}", method="PUT"), timeout=10).close()

    def buy(url: str) -> str:
        for _ in range(200):
            try:
                with browser.open(f"{url}/buy", timeout=10) as response:
                    text: str = response.read().decode()
                    return text
            except URLError:
                time.sleep(0.05)
        raise TimeoutError

    with tutorial.served() as url:
        answers = [buy(url)]
        for answer in ("yes", "no"):
            say(url, answer)
            answers.append(buy(url))
            # What waits leaves within half a second, and the next answer would discard it.
            time.sleep(1)
    assert answers == tutorial.answers
    (line,) = [line for line in tutorial.printed.splitlines() if line.startswith("leaves:")]
    assert '"product":"tea"' in line.replace(" ", "")
    assert "ann@" not in line


def test_its_own_tests_pass(tutorial: Tutorial) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=tutorial.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout
