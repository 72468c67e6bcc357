"""The panel as an application of WSGI, mounted or by itself (rule 12.3)."""

from __future__ import annotations

import re
import threading
from html import unescape
from http.client import HTTPConnection
from urllib.parse import urlencode
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest

pytest.importorskip("werkzeug")
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from consentpanel import BufferedConsumer, ConsentStatus, Mixpanel
from consentpanel.errors import ConfigurationError
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
from consentpanel.wsgi import PanelApp

OWN = {"Sec-Fetch-Site": "same-origin"}
GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED


@pytest.fixture
def registry():
    return MemoryRegistry(strict_records=True)


@pytest.fixture
def client(registry):
    return Mixpanel("TOKEN", FakeTransport(), registry=registry)


def form_of(page):
    pairs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in pairs}


def elsewhere(environ, start_response):
    start_response("404 Not Found", [])
    return [b""]


def test_it_is_mounted_beside_an_application(shop, client, registry):
    app = DispatcherMiddleware(elsewhere, {"/privacy": PanelApp(client, shop.panel)})
    browser = Client(app)
    page = browser.get("/privacy/", headers={"Accept-Language": "de"})
    assert '<html lang="de"' in page.text
    assert "Set-Cookie" not in page.headers
    fields = form_of(page.text) | {"all": "yes"}
    assert browser.post("/privacy/", data=fields).status_code == 403
    found = browser.post("/privacy/", data=fields, headers=OWN)
    assert (found.status_code, found.headers["Location"]) == (303, "/privacy/?done=saved")
    assert "HttpOnly" in found.headers["Set-Cookie"]
    assert [each["answer"] for each in browser.get("/privacy/api").json["purposes"]] == [True, None, True]
    assert browser.post("/privacy/withdraw", headers=OWN).status_code == 303
    assert [each["answer"] for each in browser.get("/privacy/api").json["purposes"]] == [False] * 3
    for path, status in (("notice", 200), ("receipt", 200), ("panel.css", 200), ("nowhere", 404)):
        assert browser.get(f"/privacy/{path}").status_code == status


# rule 11: the account, GPC, and the cookie's own attributes are as everywhere
def test_the_account_and_the_signal_are_heeded(shop, client, registry):
    app = PanelApp(
        client, shop.panel, subject=lambda environ: environ.get("HTTP_X_USER"), gpc=("analytics",), language="de"
    )
    browser = Client(app)
    user = {"X-User": "user-1"}
    state = browser.get("/api", headers={**user, "Sec-GPC": "1"}).json
    assert (state["language"], state["has_gpc"]) == ("de", True)
    assert registry.status("user-1", "analytics") is DENIED
    given = {name: state[name] for name in ("notice_version", "language", "shown", "who")} | {"all": True}
    assert browser.post("/api", json=given, headers={**user, **OWN}).status_code == 200
    assert registry.status("user-1", "analytics") is GRANTED
    assert browser.get("/api", headers={"X-User": "user-2"}).json["history"] == []


@pytest.mark.parametrize("length", ["-1", "abc", "9" * 30, "65537"])
def test_a_length_that_cannot_be_read_is_refused(shop, client, length):
    browser = Client(PanelApp(client, shop.panel))
    environ = {"CONTENT_LENGTH": length, "HTTP_SEC_FETCH_SITE": "none"}
    assert browser.post("/", environ_overrides=environ).status_code == 413


def test_what_is_buffered_is_sent_after_a_response(shop, registry):
    vendor = FakeTransport()
    client = Mixpanel("TOKEN", BufferedConsumer(consumer=vendor), registry=registry)
    registry.grant("user-1", "analytics", language="en", policy_version="1", source="form")
    client.track("user-1", "Viewed")
    Client(PanelApp(client, shop.panel)).get("/")
    vendor.assert_tracked("Viewed")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [((3,), "client must be"), ((None,), "client must be")],
)
def test_arguments_that_cannot_work_are_refused(client, arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        PanelApp(*arguments)
    with pytest.raises(ConfigurationError, match="must be a Panel"):
        PanelApp(client, "panel")
    with pytest.raises(ConfigurationError, match="secret_key"):
        PanelApp(client, secret_key="short")


# rule 12.2: whoever knows the token must not become another visitor without anybody being told
@pytest.mark.parametrize(("secret", "warned"), [(None, 1), ("k" * 32, 0)])
def test_a_panel_without_a_secret_of_its_own_is_warned_of(shop, client, caplog, secret, warned):
    browser = Client(PanelApp(client, shop.panel, secret_key=secret))
    for _ in range(2):
        browser.get("/")
    assert caplog.text.count("mounted without secret_key=") == warned


class Silent(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def test_it_stands_alone_under_a_real_server_that_checks_the_protocol(shop, client, registry):
    server = make_server("127.0.0.1", 0, validator(PanelApp(client, shop.panel)), handler_class=Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        host = f"127.0.0.1:{server.server_port}"
        connection = HTTPConnection(host, timeout=10)
        connection.request("GET", "/")
        page = connection.getresponse().read().decode()
        body = urlencode(form_of(page) | {"all": "yes"})
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{host}"}
        connection.request("POST", "/", body, headers)
        found = connection.getresponse()
        found.read()
        assert (found.status, found.headers["Location"]) == (303, "/?done=saved")
        connection.request("HEAD", "/")
        assert connection.getresponse().read() == b""
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
