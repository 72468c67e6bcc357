"""What a cache on the way keeps is of nobody in particular (rule 12.2)."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

pytest.importorskip("werkzeug")
pytest.importorskip("starlette")
pytest.importorskip("flask")
pytest.importorskip("httpx2")
from flask import Flask, Response
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from werkzeug.test import Client

from consentpanel import AsyncMixpanel, Mixpanel
from consentpanel._visits.set_cookie import for_one
from consentpanel.asgi import ConsentMiddleware
from consentpanel.asgi import PanelApp as ASGIPanelApp
from consentpanel.cmp import Klaro
from consentpanel.flask import ConsentPanel
from consentpanel.panel._files import NAMES as FILES
from consentpanel.panel._files import address_of
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
from consentpanel.wsgi import PanelApp

#: A browser with a yes of a consent tool, which makes a visitor of whoever has none.
COOKIE = {"Cookie": "klaro=" + quote(json.dumps({"mixpanel": True}))}
READERS = [Klaro({"mixpanel": "analytics"})]
FOR_ALL = ("notice", *sorted(FILES), address_of("", "panel.css").lstrip("/"))
KEPT = "public, max-age=600"


def by_wsgi(shop, registry):
    app = PanelApp(Mixpanel("TOKEN", FakeTransport(), registry=registry), shop.panel, answers=READERS)
    return lambda path: Client(app, use_cookies=False).get(path, headers=COOKIE)


def by_asgi(shop, registry):
    def notice(_):
        return PlainTextResponse("mine", headers={"Cache-Control": KEPT})

    app = Starlette(routes=[Mount("/privacy", ASGIPanelApp(shop.panel)), Route("/shop/notice", notice)])
    app.add_middleware(
        ConsentMiddleware, client=AsyncMixpanel("TOKEN", FakeTransport(), registry=registry), answers=READERS
    )
    return lambda path: TestClient(app).get("/privacy" + path if "shop" not in path else path, headers=COOKIE)


def by_flask(shop, registry):
    app = Flask("shop")
    app.secret_key = "k" * 32
    app.add_url_rule("/shop/notice", "notice", lambda: Response("mine", headers={"Cache-Control": KEPT}))
    ConsentPanel(app, token="T", registry=registry, consumer=FakeTransport(), panel=shop.panel, answers=READERS)
    return lambda path: app.test_client(use_cookies=False).get(
        "/privacy" + path if "shop" not in path else path, headers=COOKIE
    )


@pytest.fixture
def registry():
    return MemoryRegistry()


EVERYWHERE = pytest.mark.parametrize("mounted", [by_wsgi, by_asgi, by_flask])


@EVERYWHERE
@pytest.mark.parametrize("path", FOR_ALL)
# rule 12.2: one person's cookie reaches nobody else by a cache, and nobody becomes a visitor by a file.
def test_what_is_the_same_for_all_sets_no_cookie_and_makes_no_visitor(shop, registry, mounted, path):
    found = mounted(shop, registry)(f"/{path}")
    assert found.status_code == 200
    assert "Set-Cookie" not in found.headers
    assert "Cookie" not in found.headers.get("Vary", "")
    assert not registry._records


@EVERYWHERE
def test_the_page_itself_is_kept_by_no_cache(shop, registry, mounted):
    found = mounted(shop, registry)("/")
    assert found.headers["Set-Cookie"].startswith("consentpanel=1.")
    assert found.headers["Cache-Control"] == "no-store"
    assert "Cookie" in found.headers["Vary"]


# rule 12.2: a path of the application's own that is called as one of ours is heeded as any other
@pytest.mark.parametrize("mounted", [by_asgi, by_flask])
def test_a_response_that_sets_the_cookie_is_for_one_person(shop, registry, mounted):
    found = mounted(shop, registry)("/shop/notice")
    assert found.headers["Set-Cookie"].startswith("consentpanel=1.")
    assert found.headers["Cache-Control"] == "private, max-age=600"
    assert "Cookie" in found.headers["Vary"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], {"Cache-Control": "private"}),
        ([("cache-control", "public, max-age=60, immutable")], {"Cache-Control": "private, max-age=60"}),
        ([("Cache-Control", "s-maxage=60,no-cache")], {"Cache-Control": "private, no-cache"}),
        ([("Cache-Control", "no-store")], {}),
        ([("Cache-Control", "private, max-age=60")], {}),
        # With names behind it `private` is about these headers alone (RFC 9111, 5.2.2.7).
        (
            [("Cache-Control", 'private="x-a, x-b", max-age=60')],
            {"Cache-Control": "private, max-age=60"},
        ),
        # RFC 9213: these go before it.
        (
            [("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=60"), ("Surrogate-Control", "max-age=60")],
            {"CDN-Cache-Control": None, "Surrogate-Control": None},
        ),
        (
            [("Cache-Control", "no-store"), ("Cloudflare-CDN-Cache-Control", "public")],
            {"Cloudflare-CDN-Cache-Control": None},
        ),
    ],
)
def test_a_cache_is_told_that_it_is_for_one_person(said, expected):
    assert for_one(said) == expected


# rule 12.2: a cache does not give the language that one person has chosen to the next
def test_a_notice_in_a_language_that_the_site_has_chosen_is_kept_by_the_browser_alone(shop):
    def kept(query="", **more):
        return shop.request("GET", "notice", query, **more).header("cache-control")

    assert kept() == "public, max-age=300"
    assert kept(language="de") == "private, max-age=300"
    assert kept("language=de", language="en") == "public, max-age=300"
    assert kept("language=xx", language="en") == "private, max-age=300"
