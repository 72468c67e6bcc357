"""The commands that work for a client find that of an application, by the name of the application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consentpanel._cli import main

PROJECT = Path(__file__).parents[1] / "django" / "project"

SHOP = """
from datetime import datetime, timedelta, timezone
from functools import partial
from flask import Flask, current_app
from consentpanel import ConsentRecord, ConsentStatus, FieldPolicy
from consentpanel.flask import ConsentPanel, mixpanel
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

registry = MemoryRegistry()
asked_in = []


class Registry(MemoryRegistry):
    def people(self):
        asked_in.append(current_app.name)
        return super().people()


def create_app(name="shop"):
    app = Flask(name)
    app.secret_key = "not a secret"
    ConsentPanel(app, token="TOKEN", registry=Registry(), consumer=FakeTransport())
    return app


def create_for(tenant):
    return create_app(tenant)


def fails():
    raise LookupError("no configuration")


app = create_app("made")
bare = Flask("bare")
of_tea = partial(create_for, "tea")
policy = FieldPolicy()
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[..., tuple[int, str, str]]:
    pytest.importorskip("flask")
    (tmp_path / "flask_office.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "flask_office", raising=False)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


PRUNE = ["prune", "--days", "30", "--dry-run"]


@pytest.mark.parametrize(("name", "application"), [("app", "made"), ("create_app", "shop"), ("of_tea", "tea")])
def test_the_client_of_a_flask_application_is_used_in_its_context(run, name: str, application: str) -> None:
    assert run(*PRUNE, "--app", f"flask_office:{name}") == (0, "0 people would be forgotten\n", "")
    assert sys.modules["flask_office"].asked_in == [application]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "which client? Name it with --client MODULE:ATTRIBUTE"),
        (["--app", "flask_office:bare"], "is a Flask without a client: give it one with ConsentPanel(app)"),
        (["--app", "flask_office:policy"], "is a FieldPolicy without a client"),
        (["--app", "flask_office:create_for"], "needs arguments; name an application, or a function without any"),
        (["--app", "flask_office:fails"], "made no application: no configuration"),
        (["--app", "flask_office:missing"], "has no 'missing'"),
        (["--app", "flask_office"], "--app must be MODULE:ATTRIBUTE"),
        (["--app", "flask_office:app", "--client", "flask_office:mixpanel"], "--client and --app: name one of them"),
        (["--client", "flask_office:mixpanel"], "belongs to an application: name that with --app"),
    ],
)
def test_an_application_that_gives_no_client_is_told_with_what_to_do(run, arguments: list[str], words: str) -> None:
    code, out, err = run(*PRUNE, *arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_a_policy_needs_no_application(run) -> None:
    Path("promises.toml").write_text("shares_personal_data_with_third_parties = false\n")
    audit = ["audit", "--promises", "promises.toml", "--policy", "flask_office:policy"]
    assert run(*audit)[0] in {0, 1}
    assert run(*audit, "--app", "flask_office:app")[0] == 2


# rule 11.2
@pytest.mark.parametrize("app", ["added", "wrapped", "inside"])
def test_an_asgi_application_has_the_client_of_its_middleware(run, app: str) -> None:
    pytest.importorskip("starlette")
    Path("asgi_office.py").write_text(
        "from starlette.applications import Starlette\n"
        "from consentpanel import AsyncMixpanel, SpoolConsumer\n"
        "from consentpanel.registry import MemoryRegistry\n"
        "from consentpanel.testing import FakeTransport\n"
        "from consentpanel.asgi import ConsentMiddleware\n"
        "added, bare, inside = Starlette(), Starlette(), Starlette()\n"
        "spool = SpoolConsumer('asgi-spool.db', consumer=FakeTransport())\n"
        "client = AsyncMixpanel('T', spool, registry=MemoryRegistry())\n"
        "added.add_middleware(ConsentMiddleware, client=client)\n"
        "wrapped = inside.asgi_app = ConsentMiddleware(bare, client=client)\n"
    )
    sys.modules.pop("asgi_office", None)
    assert run("deliver", "--once", "--app", f"asgi_office:{app}") == (0, "all is delivered\n", "")
    assert "ConsentMiddleware(app, client=...)" in run("deliver", "--once", "--app", "asgi_office:bare")[2]


def test_the_client_of_a_django_project_is_that_of_its_settings(tmp_path: Path) -> None:
    pytest.importorskip("django")
    (tmp_path / "office.py").write_text(
        "from consentpanel.django import mixpanel\nfrom django.core.wsgi import get_wsgi_application\n"
        "from consentpanel.django.models import Record\napplication = get_wsgi_application()\n"
    )
    path = os.pathsep.join([str(PROJECT), str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "TEST_DATABASE": str(tmp_path / "shop.db")}

    def done(*arguments: str, settings: str = "settings") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            env={**env, "DJANGO_SETTINGS_MODULE": settings},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    assert done("django", "migrate", "-v0").returncode == 0
    for more in ([], ["--client", "office:mixpanel"], ["--app", "office:application"]):
        told = done("consentpanel", *PRUNE, "--json", *more)
        assert (told.returncode, told.stderr) == (0, "")
        assert json.loads(told.stdout) == {"schema": 1, "found": 0, "forgotten": 0, "problem": None}
    wrong = done("consentpanel", *PRUNE, settings="no_such_settings")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "DJANGO_SETTINGS_MODULE=no_such_settings: the project cannot be set up" in wrong.stderr


@pytest.mark.parametrize("registry", ["MemoryRegistry()", "later"])
def test_what_is_done_for_a_client_is_done_for_one_of_asyncio_too(run, registry: str) -> None:
    Path("promises.toml").write_text("shares_personal_data_with_third_parties = false\n")
    Path("later_office.py").write_text(
        "from consentpanel import AsyncMixpanel, PrivacyRequests\nfrom consentpanel.registry import MemoryRegistry\n"
        "from consentpanel.testing import FakeTransport\n"
        "async def later(subject_id, purpose):\n    return True\n"
        f"mp = AsyncMixpanel('T', FakeTransport(), registry={registry}, privacy=PrivacyRequests('T', 'OAUTH'))\n"
    )
    sys.modules.pop("later_office", None)
    client = ["--client", "later_office:mp"]
    assert run("audit", "--promises", "promises.toml", *client)[0] in {0, 1}
    code, _, said = run("prune", "--days", "30", "--yes", *client)
    assert (code, said) == (0, "") if registry == "MemoryRegistry()" else (2, said)
    assert "--cancel is for deletions" in run("export", "--cancel", "1", *client)[2]
