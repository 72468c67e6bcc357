"""The tutorial is followed to the letter: its files are written, its commands run, its answers compared; the guide shows the shop."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import consentpanel

pytest.importorskip("django")

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "django-in-ten-minutes.md"
VISIT = """
import os
import re

os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
import django
from django.conf import settings
from django.test import Client

django.setup()
settings.ALLOWED_HOSTS = ["*"]
browser = Client(enforce_csrf_checks=True)

def post(address, **fields):
    page = browser.get("/privacy/").content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="(\\w+)" value="([^"]*)"', page))
    assert browser.post(address, {**hidden, **fields}).status_code == 303

def buy():
    print(browser.get("/buy/").content.decode())

buy()
post("/privacy/", **{"answer.analytics": "yes"})
buy()
from consentpanel.django import mixpanel

mixpanel.flush()
post("/privacy/withdraw")
buy()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    text = TUTORIAL.read_text("utf-8")
    run(tmp_path, "django", "startproject", "mysite")
    folder = tmp_path / "mysite"
    run(folder, "manage.py", "startapp", "shop")
    blocks = re.findall(r"^```\{code-block\} python\n:caption: (\S+)\n\n(.+?)^```$", text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == [
        "mysite/settings.py",
        "shop/analytics.py",
        "shop/views.py",
        "mysite/urls.py",
        "shop/tests.py",
    ]
    for name, code in blocks:
        file = folder / name
        before = file.read_text("utf-8") if name.startswith("mysite/") else ""
        file.write_text(f"{before}\n{code}", "utf-8")
    return folder


def run(folder: Path, program: str, *arguments: str) -> str:
    command = [sys.executable, *(["-m", program] if program == "django" else [program]), *arguments]
    env = {**os.environ, "PYTHONPATH": str(Path(consentpanel.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_answers_as_it_says(site: Path) -> None:
    run(site, "manage.py", "migrate")
    assert "no issues" in run(site, "manage.py", "check")
    assert "No changes" in run(site, "manage.py", "makemigrations", "--check", "consentpanel")
    (site / "visit.py").write_text(VISIT)
    said = run(site, "visit.py").splitlines()
    promised = re.findall(r"^```text\n(.+)\n```$", TUTORIAL.read_text("utf-8"), re.MULTILINE)
    assert [line for line in said if line.startswith("Thank you")] == promised
    (leaves,) = (line for line in said if line.startswith("leaves: events "))
    (event,) = json.loads(leaves.removeprefix("leaves: events "))
    assert event["properties"].items() >= {"product": "tea", "total": 4.5, "token": "PROJECT_TOKEN"}.items()
    assert "ann@shop.example" not in "".join(said)


def test_its_tests_pass(site: Path) -> None:
    assert "Ran 3 tests" in run(site, "manage.py", "test")


def test_its_calls_are_found_and_judged(site: Path) -> None:
    said = run(site, "manage.py", "consent_scan")
    assert "events: Bought" in said
    assert re.search(r"email\s+dropped", said)


def test_the_guide_shows_the_example_shop_as_it_is() -> None:
    root = TUTORIAL.parents[2]
    text = (root / "docs" / "how-to" / "set-up-django.md").read_text("utf-8")
    shown = re.findall(r"^<!-- (\S+\.py) -->\n```python\n(.+?)\n```$", text, re.MULTILINE | re.DOTALL)
    assert len(shown) == 7
    for name, code in shown:
        assert f"{code}\n" in (root / "examples" / "django_shop" / name).read_text("utf-8"), name
