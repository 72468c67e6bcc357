"""The samples of the panel's tests."""

from __future__ import annotations

import importlib.util
import json
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest

from consentpanel import Mixpanel
from consentpanel._visits import Visit, VisitOptions, VisitorCookie
from consentpanel.errors import RegistryError
from consentpanel.panel import Panel, Request
from consentpanel.registry import MemoryRegistry, RecordingRegistry
from consentpanel.testing import FakeTransport


@pytest.fixture(scope="session")
def samples():
    """The module `samples.py`, which stands beside this file."""
    name = "consentpanel_panel_samples"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("samples.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


class Shop:
    """A panel without a framework, and one browser before it."""

    def __init__(
        self, samples, registry=None, privacy=None, consumer=None, notice=None, account=None, client=None, **options
    ):
        self.samples = samples
        self.registry = MemoryRegistry() if registry is None else registry
        self.vendor = FakeTransport()
        more = {**(client or {}), **({} if privacy is None else {"privacy": privacy})}
        self.client = Mixpanel("TOKEN", consumer or self.vendor, registry=self.registry, **more)
        self.made = []
        self.panel = Panel(notice or self.notice, **{"languages": ("en", "de"), **options})
        self.options = VisitOptions(cookie=VisitorCookie(keys=(b"k" * 32,)))
        self.cookies, self.account, self.has_gpc, self.address = "", account, False, "9.9.9.9"

    def notice(self, language):
        self.made.append(language)
        words = self.samples.MadeUpWords(
            language, turn=lambda text: text if language == "en" else f"[{language}] {text}"
        )
        return Published(
            language=language, uses=self.samples.notice().uses, in_short=self.samples.IN_SHORT, version="4", words=words
        )

    def visit(self):
        return Visit(
            self.client,
            self.options,
            cookies=self.cookies,
            account=lambda: self.account,
            has_gpc=self.has_gpc,
            language=lambda: None,
        )

    def request(self, method, path="", query="", body=b"", headers=None, visit=None, **more):
        asked = Request(
            method=method,
            path=path,
            mount="/privacy",
            query=query,
            body=body,
            headers=headers or {},
            host="shop.example",
            address=self.address,
            **more,
        )
        visit = visit or self.visit()
        visit.heed()
        found = self.panel.respond(asked, visit, '<input type="hidden" name="token" value="t">')
        if visit.cookie_to_set is not None:
            self.cookies = f"{visit.cookie.name}={visit.cookie_to_set}"
        return found

    def get(self, path="", query="", **headers):
        return self.request(
            "GET", path, query, headers={name.replace("_", "-"): each for name, each in headers.items()}
        )

    def shown(self, language="en"):
        """What a form of this page carries."""
        state = self.state(f"language={language}")
        return {
            "version": state["notice_version"],
            "language": language,
            "shown": state["shown"],
            "who": state["who"],
        }

    def mine(self, path):
        """What the smallest forms carry beside."""
        return {"who": self.visit().mark()} if path.endswith(("erase", "export")) else {}

    def state(self, query=""):
        return json.loads(self.get("api", query).body)

    def post(self, path="", fields=None, **headers):
        given = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
        given |= {name.replace("_", "-"): each for name, each in headers.items()}
        return self.request("POST", path, body=urlencode(fields or self.mine(path)).encode(), headers=given)

    def answer(self, language="en", **answers):
        return self.post("", self.shown(language) | {f"answer.{name}": each for name, each in answers.items()})

    def post_json(self, path="api", said=None, **headers):
        given = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
        given |= {name.replace("_", "-"): each for name, each in headers.items()}
        return self.request("POST", path, body=json.dumps(said or self.mine(path)).encode(), headers=given)

    @property
    def who(self):
        return self.visit().subject_id

    @property
    def records(self):
        return self.registry.history(self.who)


@attrs.frozen(kw_only=True)
class Published:
    """What the panel needs of a notice."""

    language: str
    version: str
    uses: tuple[Any, ...]
    sections: tuple[Any, ...] = ()
    in_short: tuple[Any, ...]
    works_without_consent: bool | None = None
    words: Any
    title: str = "What we send"
    service: str | None = "Teahouse"
    controller: str | None = "Teahouse Ltd"
    vendor: str = "Mixpanel"
    contact: str = "privacy@teahouse.example"
    authority: str | None = None
    date: Any = date(2026, 11, 1)

    def to_html(self):
        return f'<!doctype html><html lang="{self.language}"><style>p {{ margin: 0 }}</style><p>{self.title}</p></html>'


@pytest.fixture
def open_shop(samples):
    """Opens a shop."""
    return partial(Shop, samples)


@pytest.fixture
def shop(open_shop):
    return open_shop()


class Failing(RecordingRegistry):
    """Fails as long as it is told to."""

    def __init__(self):
        super().__init__()
        self.rows, self.is_down = [], False

    def _append(self, records):
        self._refuse()
        self.rows.extend(records)

    def _read(self, subject_id):
        self._refuse()
        return [each for each in self.rows if each.subject_id == subject_id]

    def _refuse(self):
        if self.is_down:
            raise RegistryError("the database is down")


@pytest.fixture
def failing_registry():
    return Failing()
