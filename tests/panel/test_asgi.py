"""The panel mounted in applications of ASGI (rules 12.2 and 12.3)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
pytest.importorskip("litestar")
pytest.importorskip("quart")
import quart
from fastapi import FastAPI
from hypercorn.middleware import DispatcherMiddleware
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send
from starlette.applications import Starlette
from starlette.testclient import TestClient

from consentpanel import AsyncMixpanel, ConsentStatus, Mixpanel
from consentpanel.asgi import ConsentMiddleware, PanelApp
from consentpanel.errors import ConfigurationError
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

OWN = {"Sec-Fetch-Site": "same-origin"}
GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED


@pytest.fixture
def panel(shop):
    return PanelApp(shop.panel)


@pytest.fixture
def registry():
    return MemoryRegistry(strict_records=True)


@pytest.fixture
def client(registry):
    return AsyncMixpanel("TOKEN", FakeTransport(), registry=registry)


def in_starlette(panel):
    app = Starlette()
    app.mount("/privacy", panel)
    return app


def in_fastapi(panel):
    app = FastAPI()
    app.mount("/privacy", panel)
    return app


def in_litestar(panel):
    @asgi("/privacy", is_mount=True, copy_scope=True)
    async def privacy(scope: Scope, receive: Receive, send: Send) -> None:
        await panel(scope, receive, send)

    return Litestar([privacy])


def beside_quart(panel):
    return DispatcherMiddleware({"/privacy": panel, "/": quart.Quart("shop")})


def form_of(page: str) -> dict[str, str]:
    """The hidden fields of the form that asks."""
    return {
        name: unescape(value) for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    }


@pytest.mark.parametrize("framework", [in_starlette, in_fastapi, in_litestar, beside_quart])
def test_it_is_mounted_and_answers(framework, panel, client, registry):
    browser = TestClient(ConsentMiddleware(framework(panel), client=client), follow_redirects=False)
    page = browser.get("/privacy/", headers={"Accept-Language": "de"})
    assert page.status_code == 200
    assert '<html lang="de"' in page.text
    assert page.headers["vary"] == "Cookie, Accept-Language, Sec-GPC"
    (style,) = re.findall(r'href="(/privacy/panel\.css[^"]*)"', page.text)
    assert browser.get(style).headers["content-type"] == "text/css; charset=utf-8"
    for path in ("notice", "receipt", "api", "panel.js"):
        assert browser.get(f"/privacy/{path}").status_code == 200
    assert "set-cookie" not in page.headers
    fields = form_of(page.text)
    assert browser.post("/privacy/", data=fields | {"all": "yes"}).status_code == 403
    found = browser.post("/privacy/", data=fields | {"all": "yes"}, headers=OWN)
    assert (found.status_code, found.headers["location"]) == (303, "/privacy/?done=saved")
    assert "consentpanel" in browser.cookies
    state = browser.get("/privacy/api?done=saved").json()
    assert (state["result"], [each["answer"] for each in state["purposes"]]) == ("saved", [True, None, True])
    assert browser.post("/privacy/withdraw", headers={**OWN, "Content-Type": "text/plain"}).status_code == 303
    assert [each["answer"] for each in browser.get("/privacy/api").json()["purposes"]] == [False, False, False]
    assert browser.get("/privacy/nowhere").status_code == 404


# rule 12.3: the form's language is the one that is recorded
def test_what_was_shown_is_recorded(panel, registry):
    mp = Mixpanel("TOKEN", FakeTransport(), registry=registry)
    app = ConsentMiddleware(in_starlette(panel), client=mp, subject=lambda scope: "user-1")
    browser = TestClient(app)
    state = browser.get("/privacy/api?language=de").json()
    given = {name: state[name] for name in ("notice_version", "language", "shown", "who")} | {
        "answers": {"analytics": True}
    }
    browser.post("/privacy/api", json=given, headers=OWN)
    (record,) = registry.history("user-1")
    assert (record.language, record.policy_version, record.source) == ("de", "4", "panel")


# rule 11.2: a registry that is awaited
def test_an_asynchronous_registry_is_asked_in_its_loop(panel, tmp_path):
    pytest.importorskip("aiosqlite")
    from sqlalchemy.ext.asyncio import create_async_engine

    from consentpanel.registry import AsyncSQLAlchemyRegistry, MaxAge

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/consent.db")
    registry = AsyncSQLAlchemyRegistry(
        engine,
        required_policy_version="7",
        strict_records=True,
        max_age=MaxAge(grants=timedelta(days=100)),
    )

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with registry:
            await registry.create_tables()
            yield
        await engine.dispose()

    app = Starlette(lifespan=lifespan)
    app.mount("/privacy", panel)
    mp = AsyncMixpanel("TOKEN", FakeTransport(), registry=registry)
    app.add_middleware(ConsentMiddleware, client=mp)
    with TestClient(app, follow_redirects=False) as browser:
        fields = form_of(browser.get("/privacy/").text)
        assert browser.post("/privacy/", data=fields | {"all": "yes"}, headers=OWN).status_code == 303
        state = browser.get("/privacy/api").json()
        assert {each["version"] for each in state["history"]} == {"7"}
        assert all(each["until"] for each in state["purposes"] if each["answer"])
        assert len(browser.get("/privacy/receipt").json()["receipts"]) == 2


def test_it_stands_below_the_path_of_a_proxy(panel, client):
    browser = TestClient(ConsentMiddleware(in_starlette(panel), client=client), root_path="/app")
    assert 'action="/app/privacy/"' in browser.get("/app/privacy/").text
    # Of a server that knows no part of the path.
    scope = {"type": "http", "method": "GET", "path": "/", "root_path": "/shop/privacy", "headers": []}
    assert b'action="/shop/privacy/"' in asyncio.run(answered(ConsentMiddleware(panel, client=client), scope))


async def answered(app: Any, scope: dict[str, Any], *messages: dict[str, Any]) -> bytes:
    waiting = list(messages) or [{"type": "http.request"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return b"".join(each.get("body", b"") for each in sent) or str(sent).encode()


def test_without_the_middleware_it_says_what_is_missing(panel):
    with pytest.raises(RuntimeError, match=r"ConsentMiddleware\(app, client=\.\.\.\)"):
        TestClient(in_starlette(panel)).get("/privacy/")


def test_a_body_without_end_is_not_read_to_it(panel, client):
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"sec-fetch-site", b"none")]}
    read = []

    async def receive() -> Any:
        read.append(1)
        return {"type": "http.request", "body": b"a" * 10_000, "more_body": True}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(ConsentMiddleware(panel, client=client)(scope, receive, send))
    assert sent[0]["status"] == 413
    assert len(read) == 7


def test_a_browser_that_has_gone_is_answered_nothing(panel, client):
    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    app = ConsentMiddleware(panel, client=client)
    assert asyncio.run(answered(app, scope, {"type": "http.disconnect"})) == b"[]"


def test_it_lives_and_ends_with_a_server_and_closes_websockets(panel):
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said = asyncio.run(answered(panel, {"type": "lifespan"}, *events))
    assert b"lifespan.startup.complete" in said
    assert b"lifespan.shutdown.complete" in said
    said = asyncio.run(answered(panel, {"type": "websocket"}, {"type": "websocket.connect"}))
    assert b"1003" in said


async def test_a_summary_and_a_copy_are_awaited(registry):
    mp = AsyncMixpanel("TOKEN", FakeTransport(), registry=registry)
    found = []

    async def app(scope, receive, send):
        consent = scope["state"]["consent"]
        await consent.answer(analytics=True, language="en", policy_version="7")
        found.append(await consent.summary(["analytics"]))
        with pytest.raises(ConfigurationError, match="privacy="):
            await consent.request_copy()

    await ConsentMiddleware(app, client=mp)({"type": "http", "headers": []}, None, None)
    assert found[0].statuses == {"analytics": GRANTED}
    assert [each.policy_version for each in found[0].records] == ["7"]
    assert "visitor-" not in repr(found[0])


def test_only_a_panel_is_taken():
    with pytest.raises(ConfigurationError, match="must be a Panel"):
        PanelApp(lambda language: None)


# rule 12.2: nobody holds a connection of the panel's open by a body that no page has
def test_of_a_get_no_body_is_waited_for(client, panel):
    async def never():
        raise AssertionError("the body was asked for")

    started = []

    async def send(message):
        started.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"shop.example")]}
    asyncio.run(ConsentMiddleware(panel, client=client)(scope, never, send))
    assert started[0]["status"] == 200


# rule 12.2: what fails inside is not told, and stops nobody
def test_a_language_that_cannot_be_told_is_that_of_the_browser(client, panel, registry):
    def broken(scope):
        raise KeyError("ada@shop.example")

    app = ConsentMiddleware(in_starlette(panel), client=client, language=broken)
    with TestClient(app) as browser:
        page = browser.get("/privacy/", headers={"Accept-Language": "de"})
        assert (page.status_code, '<html lang="de"' in page.text) == (200, True)
        fields = form_of(page.text) | {"answer.analytics": "yes"}
        assert browser.post("/privacy/", data=fields, headers=OWN, follow_redirects=False).status_code == 303


# rule 12.2: whoever knows the token must not become another visitor without anybody being told
@pytest.mark.parametrize(("secret", "warned"), [(None, 1), ("k" * 32, 0)])
def test_a_panel_without_a_secret_of_its_own_is_warned_of(client, panel, caplog, secret, warned):
    with TestClient(ConsentMiddleware(in_starlette(panel), client=client, secret_key=secret)) as browser:
        browser.get("/privacy/")
    assert caplog.text.count("mounted without secret_key=") == warned


# rule 12.2: what one request says of the path is told to nobody else as the place to write to
def test_the_contact_is_not_of_another_request(client):
    async def asked(raw):
        sent = []

        async def send(message):
            sent.append(message.get("body", b""))

        scope = {"type": "http", "method": "GET", "path": "/", "raw_path": raw, "headers": [(b"host", b"shop.example")]}
        await app(scope, None, send)
        return b"".join(sent)

    app = ConsentMiddleware(PanelApp(), client=client)
    assert b"please-write-to" in asyncio.run(asked(b"/evil.example/please-write-to/"))
    assert b"please-write-to" not in asyncio.run(asked(b"/"))
