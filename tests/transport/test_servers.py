"""What was answered with "sent" arrives, however a server ends its processes (contract rule 8.1)."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.service]

WSGI = """
from shop import *

def app(environ, start_response):
    number = environ["PATH_INFO"].strip("/")
    if number:
        visit(number)
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""
ASGI = """
from shop import *
from consentpanel.asgi import ConsentMiddleware

async def plain(scope, receive, send):
    assert scope["type"] == "http"
    number = scope["path"].strip("/")
    if number:
        visit(number)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})

app = ConsentMiddleware(plain)
"""
STARLETTE = """
from shop import *
from consentpanel.asgi import ConsentMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

async def page(request):
    number = request.url.path.strip("/")
    if number:
        visit(number)
    return Response()

app = Starlette(routes=[Route("/{path:path}", page)], middleware=[Middleware(ConsentMiddleware)])
"""
FASTAPI = """
from contextlib import asynccontextmanager
from typing import Annotated
from consentpanel import AsyncMixpanel
from consentpanel.asgi import ConsentMiddleware, RequestConsent, current_consent
from consentpanel.registry import AsyncSQLAlchemyRegistry
from fastapi import Depends, FastAPI
from shop import CONSUMERS, FieldPolicy, os
from sqlalchemy.ext.asyncio import create_async_engine

registry = AsyncSQLAlchemyRegistry(create_async_engine("sqlite+aiosqlite:///consent.db"))
mp = AsyncMixpanel("T", CONSUMERS[os.environ["CONSUMER"]](), registry=registry, policy=FieldPolicy.keep_all())

@asynccontextmanager
async def lifespan(app):
    async with registry:
        await registry.create_tables()
        yield

app = FastAPI(lifespan=lifespan)
app.add_middleware(ConsentMiddleware, client=mp)
Consent = Annotated[RequestConsent, Depends(current_consent)]

@app.get("/")
async def start():
    pass

@app.get("/{number}")
async def page(number: str, consent: Consent):
    await consent.answer(analytics=int(number) % 4 != 0)
    decision = await consent.track("Visited", {"$insert_id": f"visit-{number}"})
    assert bool(decision) is (int(number) % 4 != 0)
"""
FLASK = """
from consentpanel.flask import ConsentPanel, current_consent
from flask import Flask
from shop import CONSUMERS, FieldPolicy, os

app = Flask("shop")
app.secret_key = "a secret of the shop"
consumer = CONSUMERS[os.environ["CONSUMER"]]()
panel = ConsentPanel(app, token="T", consumer=consumer, policy=FieldPolicy.keep_all(), database="sqlite:///consent.db")
panel.create_tables(app)

@app.get("/")
def start():
    return ""

@app.get("/<int:number>")
def page(number):
    current_consent.answer(analytics=number % 4 != 0)
    assert bool(current_consent.track("Visited", {"$insert_id": f"visit-{number}"})) is (number % 4 != 0)
    return ""
"""
ALL = {f"visit-{number}" for number in range(1, 21)}
ALLOWED = {f"visit-{number}" for number in range(1, 21) if number % 4}


@contextmanager
def serving(shop: Any, app: str, command: list[str]) -> Iterator[Any]:
    """A server that runs an application; gives the process, and a function that visits it."""
    shop.write("shop_app", app)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", *(part.format(port=port) for part in command)],
        cwd=shop.folder,
        env=shop.env,
        stderr=subprocess.PIPE,
    )

    def visit(number: object = "") -> None:
        for _ in range(300):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", f"/{number}")
                assert connection.getresponse().status == 200
            except OSError:
                assert server.poll() is None, server.stderr and server.stderr.read()
                time.sleep(0.05)
            else:
                return
            finally:
                connection.close()
        raise TimeoutError

    try:
        visit()
        yield server, visit
    finally:
        if server.poll() is None:
            server.terminate()
        try:
            server.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()
            raise


GUNICORN = ["gunicorn", "-b", "127.0.0.1:{port}", "--log-level", "error", "--graceful-timeout", "20"]
UNDER_GUNICORN = {
    "sync": [],
    "sync, two workers, preloaded": ["-w", "2", "--preload"],
    "gthread": ["-k", "gthread", "--threads", "4"],
    "gevent": ["-k", "gevent"],
    "recycled": ["--max-requests", "3"],
}


@pytest.mark.parametrize(
    ("consumer", "options"),
    [
        *(pytest.param("background", options, id=name) for name, options in UNDER_GUNICORN.items()),
        pytest.param("buffered", UNDER_GUNICORN["recycled"], id="buffered, recycled"),
    ],
)
def test_under_gunicorn(shop: Any, faulty: Any, needs: Any, consumer: str, options: list[str]) -> None:
    needs("gunicorn", *(["gevent"] if "gevent" in options else []))
    with serving(shop, WSGI, [*GUNICORN, *options, "shop_app:app"]) as (server, visit):
        for each in range(1, 21):
            visit(each)
        # What Ctrl-C does ends one of them at once.
        server.send_signal(signal.SIGINT if not options else signal.SIGTERM)
        server.wait(60)
    assert faulty.ids() == dict.fromkeys(ALL, 1)


UVICORN = ["uvicorn", "--port", "{port}", "--log-level", "error"]


WITHOUT, WITH, ALONE, TWO = ASGI, STARLETTE, (), ("--workers", "2")


@pytest.mark.parametrize(
    ("consumer", "options", "app", "number"),
    [
        pytest.param("background", ALONE, WITHOUT, signal.SIGTERM, id="alone"),
        pytest.param("background", ALONE, WITH, signal.SIGTERM, id="Starlette"),
        pytest.param("background", TWO, WITHOUT, signal.SIGTERM, id="two workers"),
        pytest.param("background", TWO, WITH, signal.SIGINT, id="two workers, Ctrl-C"),
        pytest.param("buffered", TWO, WITH, signal.SIGTERM, id="buffered, two workers"),
        pytest.param("buffered", ALONE, WITHOUT, signal.SIGINT, id="buffered, Ctrl-C"),
    ],
)
def test_under_uvicorn(
    shop: Any, faulty: Any, needs: Any, consumer: str, options: tuple[str, ...], app: str, number: signal.Signals
) -> None:
    needs("uvicorn", "starlette")
    with serving(shop, app, [*UVICORN, *options, "shop_app:app"]) as (server, visit):
        for each in range(1, 21):
            visit(each)
        server.send_signal(number)
        server.wait(60)
    assert faulty.ids() == dict.fromkeys(ALL, 1)


@pytest.mark.parametrize("consumer", ["background", "buffered"])
def test_uvicorn_that_is_handed_the_application_needs_no_word(
    shop: Any, faulty: Any, needs: Any, consumer: str
) -> None:
    needs("uvicorn")
    shop.write(
        "serve",
        "import sys\nimport uvicorn\nfrom shop_app import plain\nuvicorn.run(plain, port=int(sys.argv[1]), log_level='error')\n",
    )
    with serving(shop, ASGI, ["serve", "{port}"]) as (server, visit):
        for each in range(1, 21):
            visit(each)
        server.terminate()
        server.wait(60)
    assert faulty.ids() == dict.fromkeys(ALL, 1)


# rule 11.1, rule 8.1
@pytest.mark.parametrize("consumer", ["background", "spool"])
def test_a_flask_shop_under_gunicorn(shop: Any, faulty: Any, needs: Any, consumer: str) -> None:
    needs("gunicorn", "flask", "sqlalchemy")
    with serving(shop, FLASK, [*GUNICORN, "-w", "2", "--preload", "shop_app:app"]) as (server, visit):
        for each in range(1, 21):
            visit(each)
        server.terminate()
        server.wait(60)
    assert faulty.ids() == dict.fromkeys(ALLOWED, 1)


# rule 11.2, rule 8.1
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("consumer", ["background"])
def test_a_fastapi_shop_under_uvicorn(
    shop: Any, faulty: Any, needs: Any, consumer: str, number: signal.Signals
) -> None:
    needs("uvicorn", "fastapi", "aiosqlite")
    with serving(shop, FASTAPI, [*UVICORN, *TWO, "shop_app:app"]) as (server, visit):
        for each in range(1, 21):
            visit(each)
        server.send_signal(number)
        server.wait(60)
    # What a registry could not be asked for again would not have left.
    assert faulty.ids() == dict.fromkeys(ALLOWED, 1)
