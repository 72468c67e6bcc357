"""The middleware for ASGI (contract rule 11.2), over the core that all frameworks share (rule 11.4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from consentpanel import (
    AsyncMixpanel,
    BackgroundConsumer,
    BufferedConsumer,
    ConfigurationError,
    ConsentRecord,
    ConsentStatus,
    FieldPolicy,
    InvalidRecordError,
    Mixpanel,
    RegistryError,
    keep,
)
from consentpanel.asgi import ConsentMiddleware, RequestConsent, current_consent
from consentpanel.cmp import GPP, Klaro
from consentpanel.registry import MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport

POLICY = FieldPolicy(events={"plan": keep()})
GPC = {"Sec-GPC": "1"}
OLD, NEW = "an old secret of ours", "a new secret of ours"


class Counting(MemoryRegistry):
    """Counts what it is asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[tuple[str, str]] = []

    def standing(self, subject_id: Any, purpose: str, **at: Any) -> Any:
        self.asked.append((str(subject_id), str(purpose)))
        return super().standing(subject_id, purpose, **at)


class Sink:
    """A consumer that asks nobody again, as a buffer does before a message leaves."""

    def send(self, *_: Any, **__: Any) -> None:
        """Takes everything."""


class Later:
    """A registry of somebody's, whose methods are coroutines."""

    def __init__(self) -> None:
        self.inner = MemoryRegistry()
        self.asked: list[tuple[str, str]] = []

    async def status(self, subject_id: str, purpose: str, *, at: Any = None) -> ConsentStatus:
        self.asked.append((subject_id, str(purpose)))
        await asyncio.sleep(0)
        return self.inner.status(subject_id, purpose, at=at)

    async def statuses(self, subject_ids: Any, purpose: str, *, at: Any = None) -> dict[Any, ConsentStatus]:
        return self.inner.statuses(subject_ids, purpose, at=at)

    async def record(self, record: ConsentRecord) -> None:
        self.inner.record(record)

    async def history(self, subject_id: str) -> list[ConsentRecord]:
        return self.inner.history(subject_id)

    async def forget(self, subject_id: str) -> object:
        return self.inner.forget(subject_id)


async def answer(request: Request) -> Response:
    consent: RequestConsent = request.state.consent
    await consent.answer(analytics=request.path_params["said"] == "yes", source="form")
    return PlainTextResponse(await consent.subject_id() or "")


async def visit(request: Request) -> Response:
    decision = await request.state.consent.track("Visited", {"plan": "pro", "email": "ann@shop.example"})
    return PlainTextResponse(str(decision.outcome.value))


async def often(request: Request) -> Response:
    consent: RequestConsent = request.state.consent
    await consent.status("analytics")
    for _ in range(5):
        await consent.track("Visited")
    return PlainTextResponse((await consent.status("analytics")).value)


async def withdraw(request: Request) -> Response:
    consent: RequestConsent = request.state.consent
    before = await consent.track("Before")
    await consent.withdraw()
    return PlainTextResponse(f"{before.outcome.value} {(await consent.track('After')).outcome.value}")


async def withdraw_by_client(request: Request) -> Response:
    consent: RequestConsent = request.state.consent
    before = await consent.track("Before")
    client = request.app.state.client
    who = await consent.subject_id()
    if isinstance(client, AsyncMixpanel):
        await client.withdraw(who)
    else:
        client.withdraw(who)
    return PlainTextResponse(f"{before.outcome.value} {(await consent.track('After')).outcome.value}")


async def log_in(request: Request) -> Response:
    await request.state.consent.log_in(request.path_params["who"])
    return PlainTextResponse(await request.state.consent.subject_id())


async def log_out(request: Request) -> Response:
    await request.state.consent.log_out()
    return PlainTextResponse("")


async def plain(_: Request) -> Response:
    return PlainTextResponse("plain", headers={"Vary": "Accept"})


async def later(request: Request) -> Response:
    return PlainTextResponse("", background=BackgroundTask(request.state.consent.track, "Done later"))


async def streamed(request: Request) -> Response:
    async def parts() -> Any:
        try:
            await request.state.consent.answer(analytics=True)
        except RuntimeError:
            yield "too late"

    return StreamingResponse(parts())


async def inside(_: Request) -> Response:
    return PlainTextResponse((await (await current_consent()).track("Visited")).outcome.value)


async def broken(request: Request) -> Response:
    await request.state.consent.track("Broke")
    raise LookupError


async def socket(websocket: WebSocket) -> None:
    consent: RequestConsent = websocket.state.consent
    if "first" in websocket.query_params:
        await consent.answer(analytics=True)
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_text((await consent.track("Said")).outcome.value)


ROUTES = [
    Route("/answer/{said}", answer),
    Route("/visit", visit),
    Route("/often", often),
    Route("/withdraw", withdraw),
    Route("/withdraw-by-client", withdraw_by_client),
    Route("/log-in/{who}", log_in),
    Route("/log-out", log_out),
    Route("/plain", plain),
    Route("/later", later),
    Route("/streamed", streamed),
    Route("/inside", inside),
    Route("/broken", broken),
    WebSocketRoute("/socket", socket),
]


class Shop:
    """An application, what it sends, and who has consented."""

    def __init__(self, kind: str, registry: Any = None, **options: Any) -> None:
        self.vendor = FakeTransport()
        self.registry: Any = registry or (Later() if kind == "asynchronous registry" else Counting())
        make = Mixpanel if kind == "synchronous client" else AsyncMixpanel
        self.client: Any = make("TOKEN", options.pop("consumer", self.vendor), registry=self.registry, policy=POLICY)
        self.app = Starlette(
            routes=[*ROUTES, Mount("/below", routes=ROUTES)],
            middleware=[Middleware(ConsentMiddleware, client=self.client, **options)],
        )
        self.app.state.client = self.client

    def browser(self, **options: Any) -> TestClient:
        return TestClient(self.app, **options)


KINDS = ["synchronous client", "asynchronous client", "asynchronous registry"]


@pytest.fixture(params=KINDS)
def kind(request: Any) -> str:
    return str(request.param)


@pytest.fixture
def shop(kind: str) -> Shop:
    return Shop(kind)


@pytest.fixture
def browser(shop: Shop) -> Iterator[TestClient]:
    with shop.browser() as browser:
        yield browser


# rule 11.2
def test_a_visitor_is_tracked_after_a_yes_and_known_by_a_cookie(shop: Shop, browser: TestClient) -> None:
    assert browser.get("/visit").text == "dropped"
    assert "set-cookie" not in browser.get("/visit").headers
    response = browser.get("/answer/yes")
    who, cookie = response.text, response.headers["set-cookie"]
    assert who.startswith("visitor-")
    assert who not in cookie
    assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=15552000"} <= {each.strip() for each in cookie.split(";")}
    assert browser.get("/visit").text == "redacted"
    shop.vendor.assert_tracked("Visited", distinct_id=who, properties={"plan": "pro"})
    shop.vendor.assert_no_personal_data()
    assert shop.browser().get("/visit").text == "dropped"


# rule 11.2
def test_the_registry_is_asked_once_in_a_request(kind: str) -> None:
    shop = Shop(kind, consumer=BackgroundConsumer(consumer=Sink(), linger=30))
    with shop.browser() as browser:
        who = browser.get("/answer/yes").text
        shop.registry.asked.clear()
        assert browser.get("/often").text == "granted"
        assert shop.registry.asked == [(who, "analytics")]
        browser.get("/often")
        assert len(shop.registry.asked) == 2


# rule 11.2
def test_what_nobody_hears_of_is_asked_each_time_where_nobody_judges_again() -> None:
    shop = Shop("asynchronous registry", consumer=Sink())

    async def taken_back(request: Request) -> Response:
        consent: RequestConsent = request.state.consent
        before = await consent.track("Before")
        # In the application's own way, past the client.
        shop.registry.inner.deny(await consent.subject_id())
        return PlainTextResponse(f"{before.outcome.value} {(await consent.track('After')).outcome.value}")

    shop.app.router.routes.append(Route("/taken-back", taken_back))
    with shop.browser() as browser:
        browser.get("/answer/yes")
        assert browser.get("/taken-back").text == "sent dropped"


# rule 11.2
def test_what_is_written_to_the_store_of_another_registry_is_heard(tmp_path: Any) -> None:
    path = tmp_path / "consent.db"
    shop = Shop("asynchronous client", registry=SQLiteRegistry(path), consumer=Sink())
    other = SQLiteRegistry(path)

    async def taken_back(request: Request) -> Response:
        consent: RequestConsent = request.state.consent
        before = await consent.track("Before")
        other.deny(await consent.subject_id())
        return PlainTextResponse(f"{before.outcome.value} {(await consent.track('After')).outcome.value}")

    shop.app.router.routes.append(Route("/taken-back", taken_back))
    with shop.browser() as browser:
        browser.get("/answer/yes")
        assert browser.get("/taken-back").text == "sent dropped"
    shop.registry.close()
    other.close()


# rule 2.11, rule 11.2
def test_what_is_flushed_in_a_request_is_judged_anew(tmp_path: Any) -> None:
    vendor = FakeTransport()
    shop = Shop("asynchronous registry", consumer=BufferedConsumer(consumer=vendor))

    async def taken_back(request: Request) -> Response:
        consent: RequestConsent = request.state.consent
        await consent.track("Before")
        # By another process, of which nobody here hears.
        shop.registry.inner.deny(await consent.subject_id())
        await shop.client.flush()
        return PlainTextResponse("")

    shop.app.router.routes.append(Route("/taken-back", taken_back))
    with shop.browser() as browser:
        browser.get("/answer/yes")
        browser.get("/taken-back")
    vendor.assert_nothing_sent()


# rule 11.2
def test_calls_at_the_same_time_in_one_request_are_about_one_person(kind: str) -> None:
    accounts = iter([None] * 100)
    shop = Shop(kind, subject=lambda _: next(accounts))

    async def together(request: Request) -> Response:
        consent: RequestConsent = request.state.consent
        await asyncio.gather(consent.answer(profiles=True), consent.answer(analytics=False), consent.track("Visited"))
        return PlainTextResponse(await consent.subject_id() or "")

    shop.app.router.routes.append(Route("/together", together))
    with shop.browser() as browser:
        who = browser.get("/together").text
        history = getattr(shop.registry, "inner", shop.registry).history(who)
        assert {(each.purpose, each.status.value) for each in history} == {
            ("profiles", "granted"),
            ("analytics", "denied"),
        }


# rule 11.2
def test_calls_at_the_same_time_wait_for_a_visitors_refusal_to_be_carried_over(kind: str) -> None:
    async def later(scope: Any) -> str | None:
        await asyncio.sleep(0)
        return dict(scope["headers"]).get(b"x-account", b"").decode() or None

    shop = Shop(kind, subject=later)

    async def together(request: Request) -> Response:
        consent: RequestConsent = request.state.consent
        several = await asyncio.gather(*(consent.track("Visited") for _ in range(8)))
        return PlainTextResponse(" ".join({each.outcome.value for each in several}))

    shop.app.router.routes.append(Route("/together", together))
    with shop.browser() as browser:
        getattr(shop.registry, "inner", shop.registry).grant("user-1")
        browser.get("/answer/no")
        response = browser.get("/together", headers={"X-Account": "user-1"})
        assert response.text == "dropped"
        assert "user-1" not in response.headers["set-cookie"]


# rule 11.2
def test_global_privacy_control_is_heeded_for_an_account_that_is_known_later(kind: str) -> None:
    accounts: list[str] = []
    shop = Shop(kind, subject=lambda _: accounts[-1] if accounts else None)
    recording = getattr(shop.registry, "inner", shop.registry)
    recording.grant("user-1", recorded_at=datetime.now(timezone.utc) - timedelta(days=1))

    async def known(request: Request) -> Response:
        accounts.append("user-1")
        return await visit(request)

    shop.app.router.routes.append(Route("/known", known))
    with shop.browser() as browser:
        assert browser.get("/known", headers=GPC).text == "dropped"
    assert recording.history("user-1")[-1].source == "gpc"


# rule 11.2
def test_a_websocket_recovers_from_a_registry_that_was_down(kind: str) -> None:
    shop = Shop(kind)
    recording = getattr(shop.registry, "inner", shop.registry)
    with shop.browser() as browser:
        browser.get("/answer/yes", headers=GPC)
        real, recording.standing, recording.status = (recording.standing, recording.status), None, None

        def fail(*_: Any, **__: Any) -> None:
            raise OSError

        recording.standing = recording.status = fail
        with browser.websocket_connect("/socket", headers=GPC) as opened:
            opened.send_text("hello")
            assert opened.receive_text() == "dropped"
            recording.standing, recording.status = real
            opened.send_text("hello")
            assert opened.receive_text() == "sent"


# rule 11.2
async def test_a_log_out_beside_an_answer_blocks_no_loop() -> None:
    shop = Shop("asynchronous registry")

    async def page(scope: Any, receive: Any, send: Any) -> None:
        consent = scope["state"]["consent"]
        for _ in range(20):
            await asyncio.gather(consent.answer(analytics=True), consent.log_out(), consent.log_in("user-1"))

    app = ConsentMiddleware(page, client=shop.client)
    await asyncio.wait_for(app({"type": "http", "headers": []}, None, None), 8)  # type: ignore[arg-type]


# rule 11.6
def test_the_signal_that_a_consent_tool_has_seen_is_one() -> None:
    shop = Shop("asynchronous client", answers=[GPP()])
    with shop.browser() as browser:
        browser.get("/answer/yes")
        ours = browser.cookies["consentpanel"]
        header = f"OTGPPConsent=DBABL~BVQqAAAAAgA.YA; consentpanel={ours}"
        assert browser.get("/visit", headers={"Cookie": header}).text == "dropped"


# rule 8.1, rule 11.2
@pytest.mark.parametrize(
    ("app", "sent", "error"),
    [
        ("raises at once", ["startup.complete", "shutdown.complete"], None),
        ("returns at once", ["startup.complete", "shutdown.complete"], None),
        ("raises after it was asked to start", [], LookupError),
        ("returns after it has started", ["startup.complete", "shutdown.complete"], None),
        ("raises at the end", ["startup.complete"], LookupError),
        ("cannot start", ["startup.failed"], None),
    ],
)
async def test_the_lifespan_of_an_application_is_lived_to_its_end(
    monkeypatch: pytest.MonkeyPatch, app: str, sent: list[str], error: type[Exception] | None
) -> None:
    ends: list[int] = []
    monkeypatch.setattr("consentpanel.asgi._lifespan.end_all", lambda: ends.append(1))

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if app == "raises at once":
            raise LookupError
        if app == "returns at once":
            return
        await receive()
        if app == "raises after it was asked to start":
            raise LookupError
        if app == "cannot start":
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        if app == "raises at the end":
            await receive()
            raise LookupError

    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    told: list[str] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        told.append(message["type"].removeprefix("lifespan."))

    with pytest.raises(error) if error else nullcontext():
        await ConsentMiddleware(application)({"type": "lifespan"}, receive, send)
    assert told == sent
    # What has not started, or ends in the server's way, has exit handlers of its own.
    assert ends == ([] if app in {"raises after it was asked to start", "cannot start"} else [1])


# rule 11.2
@pytest.mark.parametrize("path", ["/withdraw", "/withdraw-by-client"])
def test_what_is_recorded_in_a_request_holds_in_it(shop: Shop, browser: TestClient, path: str) -> None:
    browser.get("/answer/yes")
    assert browser.get(path).text == "sent dropped"


# rule 11.2
def test_an_answer_remembered_ends_with_the_response(kind: str) -> None:
    async def go_on(request: Request) -> Response:
        await request.state.consent.track("Visited")
        return PlainTextResponse("", background=BackgroundTask(request.state.consent.track, "Visited"))

    shop = Shop(kind, consumer=BackgroundConsumer(consumer=Sink(), linger=30))
    shop.app.router.routes.append(Route("/go-on", go_on))
    with shop.browser() as browser:
        browser.get("/answer/yes")
        shop.registry.asked.clear()
        browser.get("/go-on")
        assert len(shop.registry.asked) == 2


def test_a_refusal_is_obeyed(shop: Shop, browser: TestClient) -> None:
    browser.get("/answer/no")
    assert browser.get("/visit").text == "dropped"
    shop.vendor.assert_nothing_sent()


# rule 11.2
def test_global_privacy_control_is_a_denial_once_and_not_over_a_later_grant(shop: Shop, browser: TestClient) -> None:
    assert browser.get("/visit", headers=GPC).text == "dropped"
    who = browser.get("/answer/yes").text
    assert browser.get("/visit", headers=GPC).text == "dropped"
    browser.get("/visit", headers=GPC)
    history = getattr(shop.registry, "inner", shop.registry).history(who)
    assert [each.source for each in history if each.purpose == "analytics"] == ["form", "gpc"]
    browser.get("/answer/yes", headers=GPC)
    assert browser.get("/visit", headers=GPC).text == "redacted"


@pytest.mark.parametrize("said", ["0", "", "10", "true"])
def test_what_is_no_global_privacy_control_denies_nothing(browser: TestClient, said: str) -> None:
    browser.get("/answer/yes")
    assert browser.get("/visit", headers={"Sec-GPC": said}).text == "redacted"


def test_what_asks_for_the_person_varies_with_the_cookie_and_what_does_not_asks_nobody(browser: TestClient) -> None:
    assert browser.get("/visit").headers["vary"] == "Cookie, Sec-GPC"
    assert browser.get("/plain").headers["vary"] == "Accept"


def test_a_cookie_is_read_as_a_browser_sends_it_and_a_forged_one_names_nobody(shop: Shop, browser: TestClient) -> None:
    browser.get("/answer/yes")
    value = browser.cookies["consentpanel"]
    other = shop.browser()
    for header in (f'odd={{"a": 1}}; consentpanel={value}', f"consentpanel=1; consentpanel={value};;"):
        assert other.get("/visit", headers={"Cookie": header}).text == "redacted"
    apart = [("Cookie", "a=b"), ("Cookie", f"consentpanel={value}")]
    assert other.get("/visit", headers=apart).text == "redacted"
    forged = value[:-1] + ("A" if value[-1] != "A" else "E")
    for header in (f"consentpanel={forged}", f"xconsentpanel={value}", f"consentpanel={value[:40]}"):
        assert other.get("/visit", headers={"Cookie": header}).text == "dropped"


# rule 11.2
def test_at_log_in_the_answers_become_the_accounts_and_the_cookie_ends(shop: Shop, browser: TestClient) -> None:
    browser.get("/answer/yes")
    response = browser.get("/log-in/user-1")
    assert response.text == "user-1"
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert "consentpanel" not in browser.cookies
    history = getattr(shop.registry, "inner", shop.registry).history("user-1")
    assert [(each.status, each.source) for each in history] == [(ConsentStatus.GRANTED, "login")]
    assert browser.get("/visit").text == "dropped"


@pytest.mark.parametrize("is_later", [False, True])
def test_a_function_says_whose_account_it_is(kind: str, is_later: bool) -> None:
    def of(scope: Any) -> str | None:
        return dict(scope["headers"]).get(b"x-account", b"").decode() or None

    async def of_later(scope: Any) -> str | None:
        await asyncio.sleep(0)
        return of(scope)

    shop = Shop(kind, subject=of_later if is_later else of)
    with shop.browser() as browser:
        browser.get("/answer/yes", headers={"X-Account": "user-1"})
        assert "consentpanel" not in browser.cookies
        assert browser.get("/visit", headers={"X-Account": "user-1"}).text == "redacted"
        assert browser.get("/visit", headers={"X-Account": "user-2"}).text == "dropped"
        browser.get("/answer/no")
        # What the visitor has refused goes along.
        assert browser.get("/visit", headers={"X-Account": "user-1"}).text == "dropped"
        assert "consentpanel" not in browser.cookies


@pytest.mark.parametrize("of", [lambda _: 1 / 0, lambda _: "", lambda _: b"x"])
def test_where_nobody_can_tell_the_account_nothing_is_sent_and_no_request_breaks(
    kind: str, of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(kind, subject=lambda scope: of(scope) if b"x-account" in dict(scope["headers"]) else None)
    with shop.browser() as browser:
        browser.get("/answer/yes")
        assert browser.get("/visit", headers={"X-Account": "user-1"}).text == "dropped"
        with pytest.raises(RegistryError, match="cannot be told"):
            browser.get("/answer/yes", headers={"X-Account": "user-1"})
        assert browser.get("/visit").text == "redacted"
    assert "the data subject of an account failed" in caplog.text


@pytest.mark.parametrize("said", [["1", "1"], ["1, 1"], ["0", "1"], ["1;a=b"], [" 1 "]])
def test_a_signal_that_came_twice_is_one(said: list[str]) -> None:
    shop = Shop("asynchronous client")
    with shop.browser() as browser:
        browser.get("/answer/yes")
        assert browser.get("/visit", headers=[("Sec-GPC", each) for each in said]).text == "dropped"


def test_starlettes_own_authentication_names_the_account() -> None:
    class User:
        is_authenticated = True
        identity = "user-1"

    class Known:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, "user": User()}, receive, send)

    shop = Shop("asynchronous client")
    shop.registry.grant("user-1", "analytics")
    assert TestClient(Known(shop.app)).get("/visit").text == "redacted"


def test_a_registry_that_fails_drops_and_breaks_no_request(kind: str) -> None:
    shop = Shop(kind)
    with shop.browser() as browser:
        browser.get("/answer/yes")
        recording = getattr(shop.registry, "inner", shop.registry)

        def fail(*_: Any, **__: Any) -> None:
            raise OSError("ann@shop.example")

        recording.standing = recording.status = recording.record = recording.record_many = recording.history = fail
        recording.grant = recording.deny = fail
        assert browser.get("/visit").text == "dropped"
        assert browser.get("/plain", headers=GPC).text == "plain"
        with pytest.raises(RegistryError):
            browser.get("/answer/yes")


def test_what_goes_on_after_the_response_is_tracked(shop: Shop, browser: TestClient) -> None:
    browser.get("/answer/yes")
    browser.get("/later")
    shop.vendor.assert_tracked("Done later")


def test_an_answer_after_the_response_has_begun_is_refused_and_records_nothing(shop: Shop, browser: TestClient) -> None:
    response = browser.get("/streamed")
    assert response.text == "too late"
    assert "set-cookie" not in response.headers
    browser.get("/answer/no")
    assert browser.get("/streamed").text == ""
    assert browser.get("/visit").text == "redacted"


def test_a_dependency_gives_the_consent_of_the_request_and_there_is_none_outside(browser: TestClient) -> None:
    browser.get("/answer/yes")
    assert browser.get("/inside").text == "sent"
    with pytest.raises(RuntimeError, match="there is none"):
        asyncio.run(current_consent())


def test_an_error_of_the_application_passes_and_what_it_tracked_is_sent(kind: str) -> None:
    vendor = FakeTransport()
    shop = Shop(kind, consumer=BufferedConsumer(consumer=vendor))
    with shop.browser(raise_server_exceptions=False) as browser:
        browser.get("/answer/yes")
        assert browser.get("/broken").status_code == 500
        # rule 11.2: a flush after the response
        vendor.assert_tracked("Broke")


def test_a_flush_that_fails_turns_no_answer_into_an_error(kind: str) -> None:
    class Broken:
        def send(self, *_: Any, **__: Any) -> None:
            raise OSError("ann@shop.example")

    shop = Shop(kind, consumer=BufferedConsumer(consumer=Broken()))
    with shop.browser() as browser:
        browser.get("/answer/yes")
        assert browser.get("/visit").text == "redacted"


# rule 11.2
def test_a_websocket_has_consent_and_is_asked_about_for_each_message(shop: Shop, browser: TestClient) -> None:
    with browser.websocket_connect("/socket") as opened:
        opened.send_text("hello")
        assert opened.receive_text() == "dropped"
    with browser.websocket_connect("/socket?first=1") as opened:
        assert any(name == b"set-cookie" for name, _ in opened.extra_headers or ())
        opened.send_text("hello")
        assert opened.receive_text() == "sent"
        who = shop.vendor.events[0].distinct_id
        getattr(shop.registry, "inner", shop.registry).deny(who)
        opened.send_text("hello")
        assert opened.receive_text() == "dropped"


def test_a_middleware_inside_of_another_one_leaves_the_request_to_it(kind: str) -> None:
    shop = Shop(kind)
    with TestClient(ConsentMiddleware(shop.app, client=shop.client)) as browser:
        response = browser.get("/answer/yes")
        assert len(response.headers.get_list("set-cookie")) == 1
        assert browser.get("/below/visit").text == "redacted"


def test_requests_at_the_same_time_are_kept_apart(kind: str) -> None:
    shop = Shop(kind)

    async def run() -> list[str]:
        import httpx2 as httpx

        transport = httpx.ASGITransport(app=shop.app)

        async def one(number: int) -> str:
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as browser:
                await browser.get(f"/answer/{'yes' if number % 2 else 'no'}")
                return (await browser.get("/inside")).text

        return list(await asyncio.gather(*(one(number) for number in range(40))))

    assert asyncio.run(run()) == ["dropped", "sent"] * 20


def test_the_cookie_is_for_https_alone_where_the_request_came_by_it(kind: str) -> None:
    shop = Shop(kind, cookie={"NAME": "own", "PATH": "/shop", "DOMAIN": "shop.example", "SAMESITE": "Strict"})
    said = shop.browser(base_url="https://www.shop.example").get("/answer/yes").headers["set-cookie"]
    assert said.startswith("own=")
    for each in ("Secure", "Path=/shop", "Domain=shop.example", "SameSite=Strict"):
        assert each in said
    assert "Secure" not in shop.browser().get("/answer/yes").headers["set-cookie"]


def test_answers_are_to_the_version_that_the_registry_asks_for() -> None:
    shop = Shop("asynchronous client", registry=MemoryRegistry(required_policy_version="7"))
    with shop.browser() as browser:
        who = browser.get("/answer/yes").text
        assert shop.registry.history(who)[0].policy_version == "7"
        assert browser.get("/visit").text == "redacted"


def test_a_secret_key_signs_and_an_older_one_is_still_read() -> None:
    registry = MemoryRegistry()
    old, new, none = (
        Shop("asynchronous client", registry=registry, secret_key=key) for key in (OLD, (NEW, OLD.encode()), None)
    )
    browser = old.browser()
    browser.get("/answer/yes")
    cookies = {"Cookie": f"consentpanel={browser.cookies['consentpanel']}"}
    assert new.browser().get("/visit", headers=cookies).text == "redacted"
    assert none.browser().get("/visit", headers=cookies).text == "dropped"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"secret_key": ""}, "secret_key"),
        ({"secret_key": ()}, "secret_key"),
        ({"subject": "shop.account"}, "subject"),
        ({"gpc": "analytics"}, "gpc"),
        ({"cookie": {"name": "x"}}, "cookie"),
        ({"cookie": {"SAMESITE": "None"}}, "SECURE"),
        ({"cookie": {"SAMESITE": "no"}}, "SAMESITE must be"),
        ({"cookie": {"NAME": "consent panel"}}, "NAME must be"),
        ({"cookie": {"NAME": "path"}}, "NAME must be"),
        ({"cookie": {"PATH": "/; Domain=evil"}}, "PATH must be"),
        ({"cookie": {"DOMAIN": "caf\u00e9.example"}}, "DOMAIN must be"),
        ({"cookie": {"SECURE": "yes"}}, "SECURE must be"),
        ({"secret_key": "short"}, "16 or more"),
        ({"answers": [Klaro]}, "answers must hold readers"),
        ({"client": None}, "needs client"),
        ({"client": "mp"}, "client must be"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_middleware_is_built(options: dict[str, Any], said: str) -> None:
    client = AsyncMixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry())
    with pytest.raises(ConfigurationError, match=said):
        ConsentMiddleware(lambda *_: None, **{"client": client, "policy_version": "1", **options})


def test_a_wrong_answer_is_told(browser: TestClient, shop: Shop) -> None:
    async def odd(request: Request) -> Response:
        await request.state.consent.answer(analytics="yes")
        return PlainTextResponse("")

    shop.app.router.routes.append(Route("/odd", odd))
    with pytest.raises(InvalidRecordError, match="True or False"):
        browser.get("/odd")


# rule 11.2
def test_what_waits_is_sent_before_the_application_closes_what_it_has_opened(kind: str) -> None:
    seen: list[int] = []

    class Slow:
        def send(self, *_: Any, **__: Any) -> None:
            seen.append(1)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        seen.append(0)

    shop = Shop(kind, consumer=BackgroundConsumer(consumer=Slow(), linger=30))
    shop.app.router.lifespan_context = lifespan
    with shop.browser() as browser:
        browser.get("/answer/yes")
        browser.get("/visit")
        assert seen == []
    assert seen == [1, 0]


# rule 11.6
def test_what_a_consent_tool_has_answered_is_recorded_once_and_changes_with_it(kind: str) -> None:
    shop = Shop(kind, answers=[Klaro({"mixpanel": "analytics"})])
    with shop.browser() as browser:
        for answer, outcome in (("true", "redacted"), ("true", "redacted"), ("false", "dropped")):
            ours = f"; consentpanel={browser.cookies['consentpanel']}" if browser.cookies else ""
            # With a cookie before it of which parsers make nothing.
            header = f'odd={{"a": 1}}; klaro=%7B%22mixpanel%22%3A{answer}%7D{ours}'
            assert browser.get("/visit", headers={"Cookie": header}).text == outcome
        who = shop.vendor.events[0].distinct_id
        history = getattr(shop.registry, "inner", shop.registry).history(who)
        assert [(each.status.value, each.source) for each in history] == [("granted", "klaro"), ("denied", "klaro")]
