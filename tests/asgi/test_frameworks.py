"""The middleware around real frameworks, as each of them is used (contract rule 11.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import pytest

pytest.importorskip("aiosqlite")
pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
pytest.importorskip("itsdangerous")
pytest.importorskip("litestar")
pytest.importorskip("quart")
import anyio.from_thread
import quart
from fastapi import BackgroundTasks, Depends, FastAPI, Header
from litestar import Litestar, Request, get, post
from litestar.testing import TestClient as LitestarClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from consentpanel import AsyncMixpanel, ConsentStatus, FieldPolicy, keep
from consentpanel.asgi import ConsentMiddleware, RequestConsent, current_consent
from consentpanel.registry import AsyncSQLAlchemyRegistry, MemoryRegistry
from consentpanel.testing import FakeTransport

Consent = Annotated[RequestConsent, Depends(current_consent)]
POLICY = FieldPolicy(events={"plan": keep()})


@pytest.fixture
def vendor() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def mp(vendor: FakeTransport) -> AsyncMixpanel:
    return AsyncMixpanel("TOKEN", vendor, registry=MemoryRegistry(), policy=POLICY)


# rule 11.2
def test_in_fastapi_with_sessions_of_sqlalchemy(vendor: FakeTransport, tmp_path: Path) -> None:

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    registry = AsyncSQLAlchemyRegistry(engine)
    mp = AsyncMixpanel("TOKEN", vendor, registry=registry, policy=POLICY)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with registry:
            await registry.create_tables()
            yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(ConsentMiddleware, client=mp, subject=lambda scope: scope.get("session", {}).get("user"))

    @app.post("/consent")
    async def answer(consent: Consent, analytics: bool, *, is_kept: bool = True) -> str | None:
        async with AsyncSession(engine) as session:
            await session.execute(text("CREATE TABLE IF NOT EXISTS account (id text)"))
            await session.execute(text("INSERT INTO account VALUES ('1')"))
            await consent.answer(analytics=analytics, session=session)
            await (session.commit() if is_kept else session.rollback())
        return await consent.subject_id()

    @app.get("/visit")
    async def visit(consent: Consent) -> str:
        return (await consent.track("Visited", {"plan": "pro", "email": "ann@shop.example"})).outcome.value

    @app.get("/in-a-thread")
    def in_a_thread(consent: Consent) -> str:
        return str(anyio.from_thread.run(consent.track, "Visited").outcome.value)

    @app.get("/later")
    async def later(consent: Consent, tasks: BackgroundTasks) -> None:
        tasks.add_task(consent.track, "Done later")

    with TestClient(app) as browser:
        assert browser.get("/visit").json() == "dropped"
        browser.post("/consent?analytics=true&is_kept=false")
        assert browser.get("/visit").json() == "dropped"
        who = browser.post("/consent?analytics=true").json()
        assert [browser.get(path).json() for path in ("/visit", "/in-a-thread", "/later")] == ["redacted", "sent", None]
        browser.post("/consent?analytics=false")
        assert browser.get("/visit").json() == "dropped"
    vendor.assert_tracked("Visited", distinct_id=who, properties={"plan": "pro"})
    vendor.assert_tracked("Done later", distinct_id=who)
    vendor.assert_no_personal_data()
    # The dependency is none of the interface that is published.
    assert not app.openapi()["paths"]["/visit"]["get"].get("parameters")


async def bearer(consent: Consent, authorization: Annotated[str, Header()]) -> str:
    name = authorization.removeprefix("Bearer ")
    await consent.log_in(name)
    return name


# rule 11.2
def test_in_fastapi_a_dependency_says_whose_request_it_is(mp: AsyncMixpanel, vendor: FakeTransport) -> None:
    app = FastAPI()
    app.add_middleware(ConsentMiddleware, client=mp)

    @app.post("/consent")
    async def answer(consent: Consent) -> None:
        await consent.answer(analytics=True)

    @app.get("/visit")
    async def visit(consent: Consent, name: Annotated[str, Depends(bearer)]) -> str:
        return f"{name} {(await consent.track('Visited')).outcome.value}"

    browser = TestClient(app)
    browser.post("/consent")
    assert browser.get("/visit", headers={"Authorization": "Bearer user-1"}).json() == "user-1 sent"
    assert "consentpanel" not in browser.cookies
    assert browser.get("/visit", headers={"Authorization": "Bearer user-2"}).json() == "user-2 dropped"
    vendor.assert_tracked("Visited", distinct_id="user-1")


# rule 11.2
def test_in_starlette_inside_of_the_middleware_of_sessions(mp: AsyncMixpanel) -> None:

    async def log_in(request: Any) -> Any:
        request.session["user"] = "user-1"
        await request.state.consent.log_in()
        return PlainTextResponse(await request.state.consent.subject_id())

    async def answer(request: Any) -> Any:
        await request.state.consent.answer(analytics=True)
        return PlainTextResponse((await request.state.consent.track("Visited")).outcome.value)

    async def around(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        # What is set inside is seen outside, and the consent is.
        response.headers["X-Seen"] = type(request.state.consent).__name__
        return response

    app = Starlette(routes=[Route("/log-in", log_in), Route("/answer", answer)])
    app.add_middleware(ConsentMiddleware, client=mp, subject=lambda scope: scope["session"].get("user"))
    app.add_middleware(SessionMiddleware, secret_key="s")
    app.add_middleware(BaseHTTPMiddleware, dispatch=around)
    browser = TestClient(app)
    response = browser.get("/answer")
    assert (response.text, response.headers["X-Seen"]) == ("sent", "RequestConsent")
    assert browser.get("/log-in", headers={"Sec-GPC": "1"}).text == "user-1"
    assert "consentpanel" not in browser.cookies


# rule 11.2
async def test_in_quart(mp: AsyncMixpanel, vendor: FakeTransport) -> None:
    app = quart.Quart("shop")
    app.asgi_app = ConsentMiddleware(app.asgi_app, client=mp)

    @app.post("/consent")
    async def answer() -> str:
        await quart.request.scope["state"]["consent"].answer(analytics=True)
        return ""

    @app.get("/visit")
    async def visit() -> str:
        return str((await (await current_consent()).track("Visited")).outcome.value)

    browser = app.test_client()
    assert await (await browser.get("/visit")).get_data(as_text=True) == "dropped"
    await browser.post("/consent")
    assert await (await browser.get("/visit")).get_data(as_text=True) == "sent"
    assert vendor.events[0].distinct_id.startswith("visitor-")


# rule 11.2
def test_in_litestar(mp: AsyncMixpanel, vendor: FakeTransport) -> None:

    @post("/consent")
    async def answer(request: Request[Any, Any, Any]) -> str:
        await request.state.consent.answer(analytics=True)
        return ""

    @get("/visit")
    async def visit() -> str:
        return str((await (await current_consent()).track("Visited")).outcome.value)

    app = Litestar(
        [answer, visit],
        middleware=[lambda app: ConsentMiddleware(app, client=mp)],
    )
    with LitestarClient(app) as browser:
        assert browser.get("/visit").text == "dropped"
        browser.post("/consent")
        assert browser.get("/visit").text == "sent"
    assert vendor.events[0].distinct_id.startswith("visitor-")


def test_a_registry_of_one_loop_and_a_request_of_another_say_so_in_the_decision(vendor: FakeTransport) -> None:
    async def consent_of(subject_id: str, purpose: str) -> ConsentStatus:
        raise RuntimeError("attached to a different loop")

    mp = AsyncMixpanel("TOKEN", vendor, registry=consent_of)
    decision = asyncio.run(mp.track("user-1", "Visited"))
    assert decision.reason.value == "registry_error"


# rule 11.2
@pytest.mark.parametrize("is_committed", [True, False])
async def test_what_a_transaction_has_recorded_is_not_remembered_wrongly(
    vendor: FakeTransport, tmp_path: Path, is_committed: bool
) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    said: list[str] = []
    async with AsyncSQLAlchemyRegistry(engine) as registry:
        await registry.create_tables()
        mp = AsyncMixpanel("TOKEN", vendor, registry=registry)
        await registry.grant("user-1", "analytics")

        async def page(scope: Any, receive: Any, send: Any) -> None:
            consent = scope["state"]["consent"]
            await consent.track("Before")
            async with AsyncSession(engine) as session:
                await session.execute(text("CREATE TABLE account (id text)"))
                await consent.answer(analytics=False, session=session)
                # Answered by a connection that does not see it yet.
                await consent.track("Inside")
                await (session.commit() if is_committed else session.rollback())
            said.append((await consent.track("After")).outcome.value)
            said.append((await consent.status("analytics")).value)

        app = ConsentMiddleware(page, client=mp, subject=lambda _: "user-1")
        await app({"type": "http", "headers": []}, None, None)  # type: ignore[arg-type]
    await engine.dispose()
    assert said == (["dropped", "denied"] if is_committed else ["sent", "granted"])


# rule 11.2
async def test_a_sign_up_in_one_transaction_takes_the_visitors_answers_along(
    vendor: FakeTransport, tmp_path: Path
) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db", connect_args={"timeout": 0.05})
    accounts: list[str] = []
    cookies: list[bytes] = []
    async with AsyncSQLAlchemyRegistry(engine) as registry:
        await registry.create_tables()
        mp = AsyncMixpanel("TOKEN", vendor, registry=registry)

        async def page(scope: Any, receive: Any, send: Any) -> None:
            consent = scope["state"]["consent"]
            if scope["path"] == "/no":
                await consent.answer(profiles=False)
            elif scope["path"] == "/sign-up":
                async with AsyncSession(engine) as session:
                    await session.execute(text("CREATE TABLE account (id text)"))
                    accounts.append("user-1")
                    await consent.answer(analytics=True, session=session)
                    await session.commit()
                await consent.track("Signed up")
            else:
                await consent.track("Visited")
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def send(message: Any) -> None:
            cookies.extend(value for name, value in message["headers"] if name == b"set-cookie")

        app = ConsentMiddleware(page, client=mp, subject=lambda _: accounts[-1] if accounts else None)
        for path in ("/no", "/sign-up", "/later"):
            sent = [(b"cookie", cookies[-1].partition(b";")[0])] if cookies else []
            await app({"type": "http", "path": path, "headers": sent}, None, send)  # type: ignore[arg-type]
        history = await registry.history("user-1")
    await engine.dispose()
    assert {(each.purpose, each.status.value) for each in history} == {("profiles", "denied"), ("analytics", "granted")}
    assert [message.event for message in vendor.events] == ["Signed up", "Visited"]
    # Once it is committed, and not before.
    assert [b"Max-Age=0" in each for each in cookies] == [False, True]


async def test_questions_that_are_cancelled_give_their_connections_back(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db", pool_size=2, max_overflow=0)
    async with AsyncSQLAlchemyRegistry(engine) as registry:
        await registry.create_tables()
        for number in range(60):
            asked = asyncio.ensure_future(registry.status(f"user-{number}", "analytics"))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            asked.cancel()
            with suppress(asyncio.CancelledError):
                await asked
        assert await registry.status("user-1", "analytics") is ConsentStatus.UNKNOWN
    await engine.dispose()
