"""The vendor's own library in headless Chromium, and the client on the server: both do what one person said (rules 10.8 and 12.1).

Needs Debian's packages chromium, chromium-driver and npm, and from PyPI selenium and Flask. The library comes from npm, into a
temporary folder. What it would send to the vendor goes to a server on this machine.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tarfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("flask")
from flask import Flask, Response, render_template_string, send_file
from jinja2 import DictLoader
from werkzeug.serving import WSGIRequestHandler, make_server

from consentpanel import FieldPolicy, Regime, keep
from consentpanel.flask import ConsentPanel, current_consent, mixpanel
from consentpanel.panel import Panel
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
from consentpanel.transparency import notice

pytestmark = [pytest.mark.service, pytest.mark.slow]

PACKAGE = "mixpanel-browser@2.83.0"
POLICY = FieldPolicy(events={"kind": keep(reason="to order tea")}, people={"plan": keep(reason="to know plans")})
#: As the how-to says it.
USUAL = {"opt_out_tracking_by_default": True, "opt_out_persistence_by_default": True, "batch_requests": False}
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Teahouse</title>{{ consent_head() }}
<script src="/library.js" defer></script><script src="/app.js" defer></script></head>
<body>{{ consent_banner() }}<main><h1>Teahouse</h1></main>{{ consent_link() }}{{ consent_state() }}</body></html>"""
#: The panel's own page, with the library in it.
OWN_PANEL = """{% extends "consentpanel/base.html" %}{% block head %}{{ super() }}
<script src="/library.js" defer></script><script src="/app.js" defer></script>{% endblock %}"""
#: The library is handed over as soon as it has begun, and before anything is sent.
AT_ONCE = """
mixpanel.init("TOKEN", CONFIG);
consentpanel.follow(mixpanel);
window.tea = () => { mixpanel.identify("user-1"); mixpanel.track("Tea"); mixpanel.people.set({plan: "gold"}); };
"""
#: The library begins with a yes.
WITH_A_YES = """
window.tea = () => {};
consentpanel.follow(() => {
  mixpanel.init("TOKEN", CONFIG);
  window.tea = () => { mixpanel.identify("user-1"); mixpanel.track("Tea"); mixpanel.people.set({plan: "gold"}); };
  return mixpanel;
});
"""
#: The library is left to be found, and sends at once.
FOUND = """
mixpanel.init("TOKEN", CONFIG);
mixpanel.track("Page");
window.tea = () => { mixpanel.identify("user-1"); mixpanel.track("Tea"); mixpanel.people.set({plan: "gold"}); };
"""
BROWSERS = {("track", "$identify"), ("track", "Tea"), ("engage", "$set")}
SERVERS = [("events", "Tea"), ("people", None)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm (Debian: apt-get install npm)")
    folder = tmp_path_factory.mktemp("library")
    options = ["--json", "--ignore-scripts", "--cache", str(folder / "cache"), "--pack-destination", str(folder)]
    command = [npm, "pack", *options, PACKAGE]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm pack failed: {type(error).__name__}")
    (packed,) = json.loads(done.stdout)
    with tarfile.open(folder / packed["filename"]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package" / "dist" / "mixpanel.umd.js"


class Vendor:
    """The vendor on this machine: what a browser has sent to it."""

    def __init__(self):
        self.got, vendor = [], self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.take(b"")

            def do_POST(self):
                self.take(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def do_OPTIONS(self):
                self.answer()

            def take(self, body):
                where = urlsplit(self.path).path.strip("/").partition("/")[0]
                vendor.got.extend((where, what) for what in named(where, body))
                self.answer()

            def answer(self):
                self.send_response(200)
                for name in ("Origin", "Headers", "Methods"):
                    self.send_header(f"Access-Control-Allow-{name}", "*")
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(b'{"status": 1, "code": 200, "flags": {}}')

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


#: What is done to a profile; the other names of a message say whose it is.
OPERATORS = {"$set", "$set_once", "$unset", "$delete"}


def named(where, body):
    """The names of events, or what is done to a profile."""
    if where not in {"track", "engage"}:
        return [""]
    said = json.loads(base64.b64decode(parse_qs(body.decode())["data"][0]))
    said = said if isinstance(said, list) else [said]
    return (
        [each["event"] for each in said]
        if where == "track"
        else [name for each in said for name in OPERATORS & set(each)]
    )


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Teahouse:
    """A small application, whose pages have the library, and one browser before it."""

    def __init__(self, browser, library, vendor, **options):
        self.browser, self.vendor, self.fake = browser, vendor, FakeTransport()
        self.registry, self.page, self.app_js, self.config = MemoryRegistry(), PAGE, AT_ONCE, dict(USUAL)
        app = self.app = Flask("teahouse")
        app.secret_key = "k" * 32
        app.jinja_loader = DictLoader({"consentpanel/panel.html": OWN_PANEL})

        def told(language):
            return notice(POLICY, contact="privacy@teahouse.example", language=language, **options.get("notice", {}))

        panel = Panel(told, **options.get("panel", {}))
        client = {"token": "TOKEN", "policy": POLICY, "registry": self.registry, "consumer": self.fake}
        ConsentPanel(app, panel=panel, **client, **options.get("client", {}))

        @app.get("/")
        def page():
            return render_template_string(self.page)

        @app.get("/library.js")
        def the_library():
            return send_file(library)

        @app.get("/app.js")
        def app_js():
            config = {"api_host": vendor.url, **self.config}
            script = self.app_js.replace("CONFIG", json.dumps(config))
            return Response(script, content_type="text/javascript", headers={"Cache-Control": "no-store"})

        @app.post("/tea")
        def tea():
            current_consent.track("Tea", {"kind": "Assam"})
            if current_consent.subject_id is not None:
                mixpanel.people_set(current_consent.subject_id, {"plan": "gold"})
            return ""

        @app.after_request
        def strict(response):
            # Nothing in the page is run or styled; the library may reach the vendor alone.
            response.headers["Content-Security-Policy"] = (
                f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {vendor.url};"
                " form-action 'self'; base-uri 'none'"
            )
            return response

    def open(self, path="/"):
        self.browser.get(self.url + path)

    def answer(self, value):
        """One button for all, of the banner or the panel, and no reload."""
        self.browser.execute_script("window.isSamePage = true")
        self.browser.find_element("css selector", f"button[name=all][value={value}]").click()
        self.wait_for("document.getElementById('consentpanel-result') !== null")
        assert self.browser.execute_script("return window.isSamePage")

    def take_back(self):
        self.browser.find_element("css selector", ".cp-withdraw button").click()
        self.wait_for("document.querySelector('.cp-withdraw') === null")

    def wait_for(self, script):
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.browser, 20).until(lambda page: page.execute_script(f"return {script}"))

    def tea(self):
        """The same happens in the browser and on the server: what the vendor gets from each."""
        del self.vendor.got[:]
        self.fake.clear()
        script = "window.tea && window.tea(); fetch('/tea', {method: 'POST'}).then(() => arguments[0]())"
        self.browser.execute_async_script(script)
        browsers = self.got()
        if ("engage", "$set") in browsers:
            # Of the referrer, by the library itself: on a page that begins with the yes.
            browsers -= {("engage", "$set_once")}
        return browsers, sorted(((each.endpoint, each.event) for each in self.fake.messages), key=str)

    def got(self):
        """What has come from the browser once nothing more comes."""
        known = -1
        while known != len(self.vendor.got):
            known = len(self.vendor.got)
            time.sleep(0.4)
        return set(self.vendor.got)

    def kept(self):
        """What the vendor's library has on the device, by name."""
        script = """
            const names = [...Object.keys(localStorage), ...Object.keys(sessionStorage)];
            names.push(...document.cookie.split('; ').map((each) => each.split('=')[0]));
            indexedDB.databases().then((all) => arguments[0]([...names, ...all.map((each) => each.name)]));
        """
        self.got()
        return sorted(each for each in self.browser.execute_async_script(script) if each)


@pytest.fixture
def open_house(browser, library):
    """Opens teahouses, each an origin of its own, for somebody who was never there."""
    opened = []

    @contextmanager
    def opens(**options):
        vendor = Vendor()
        house = Teahouse(browser, library, vendor, **options)
        server = make_server("127.0.0.1", 0, house.app, threaded=True, request_handler=Quiet)
        house.url = f"http://127.0.0.1:{server.server_port}"
        with serving(server), serving(vendor.server):
            opened.append(house)
            browser.get(house.url + "/app.js")
            browser.delete_all_cookies()
            yield house
            browser.get("about:blank")

    return opens


@pytest.fixture
def house(open_house):
    with open_house() as opened:
        yield opened


def test_before_an_answer_neither_sends(house):  # rule 12.1
    house.open()
    assert house.tea() == (set(), [])
    house.open("/privacy/")
    assert house.tea() == (set(), [])


def test_after_a_no_neither_sends(house):  # rules 12.1, 12.2
    house.open()
    house.answer("no")
    assert house.tea() == (set(), [])
    house.open()
    assert house.tea() == (set(), [])


@pytest.mark.parametrize("where", ["/", "/privacy/"])
def test_after_a_yes_both_send_and_after_it_is_taken_back_neither(house, where):  # rules 10.8, 12.1, 12.2
    house.open(where)
    house.answer("yes")
    # The yes itself is no event, since no notice says so.
    assert house.got() == set()
    assert house.tea() == (BROWSERS, SERVERS)
    house.open()
    browsers, servers = house.tea()
    assert (browsers | {("track", "$identify")}, servers) == (BROWSERS, SERVERS)
    house.open("/privacy/")
    house.take_back()
    # A no deletes nobody's profile.
    assert ("engage", "$delete") not in house.got()
    assert house.tea() == (set(), [])
    assert COOKIE not in house.kept()
    house.open()
    assert house.tea() == (set(), [])


@pytest.mark.parametrize("app_js", [AT_ONCE, WITH_A_YES])
def test_what_is_taken_back_elsewhere_holds_on_the_next_page_from_its_first_event(house, app_js):  # rule 10.8
    house.app_js = app_js
    house.open()
    house.answer("yes")
    assert house.tea() == (BROWSERS, SERVERS)
    house.app_js = app_js.replace("window.tea = ", "mixpanel.__loaded && mixpanel.track('Page'); window.tea = ")
    (subject,) = {each.distinct_id for each in house.fake.messages}
    house.registry.deny(subject)
    del house.vendor.got[:]
    house.open()
    assert house.got() == set()
    assert house.tea() == (set(), [])


def test_a_browser_that_says_no_is_heeded_by_both(house):  # rule 12.1
    house.browser.execute_cdp_cmd("Network.enable", {})
    house.open()
    house.answer("yes")
    house.browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Sec-GPC": "1"}})
    try:
        house.open()
        assert house.tea() == (set(), [])
        house.browser.delete_all_cookies()
        house.open()
        assert house.tea() == (set(), [])
        assert house.browser.find_elements("css selector", ".cp-banner") == []
    finally:
        house.browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})


def test_without_scripts_the_server_alone_follows(house):  # rule 12.2
    house.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        house.open()
        house.browser.find_element("css selector", "button[name=all][value=yes]").click()
        house.wait_for("location.search === '?done=saved'")
        assert house.got() == set()
    finally:
        house.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    house.open("/library.js")
    assert house.tea() == (set(), SERVERS)
    house.open()
    assert house.tea() == (BROWSERS, SERVERS)


def only_analytics(house):
    house.open("/privacy/")
    for at, word in enumerate(("yes", "no")):
        house.browser.find_element("id", f"consentpanel-p{at}-{word}").click()
    house.browser.find_element("css selector", ".cp-save").click()
    house.wait_for("document.getElementById('consentpanel-result') !== null")
    house.open()


def test_the_browser_waits_for_each_purpose_that_it_serves(house):  # rule 12.1
    only_analytics(house)
    assert house.tea() == (set(), [("events", "Tea")])


def test_the_one_switch_of_the_library_is_for_profiles_too(open_house):
    with open_house(panel={"browser_purposes": ("analytics",)}) as house:
        only_analytics(house)
        assert house.tea() == (BROWSERS, [("events", "Tea")])
        # The library by itself adds to the profile of whoever was identified.
        assert ("engage", "$set_once") in house.got()


def test_what_waits_in_the_browser_is_not_sent_after_a_no(house):  # rule 12.1
    house.config |= {"batch_requests": True, "batch_flush_interval_ms": 1500}
    house.open("/privacy/")
    house.answer("yes")
    house.browser.execute_script("window.tea()")
    house.take_back()
    time.sleep(2)
    assert house.got() == set()
    house.open()
    time.sleep(2)
    assert house.got() == set()


@pytest.mark.parametrize("answer", ["none", "back"])
def test_a_recording_ends_with_the_yes(house, answer):  # rule 12.1
    house.config |= {"record_sessions_percent": 100, "record_min_ms": 0}
    house.open("/privacy/")
    house.answer("yes")
    house.open("/privacy/")
    house.wait_for("Object.keys(mixpanel.get_session_recording_properties()).length > 0")
    time.sleep(1)
    house.browser.find_element("css selector", "summary").click()
    time.sleep(1)
    if answer == "back":
        house.take_back()
    else:
        house.browser.execute_script("mixpanel.stop_session_recording()")
    time.sleep(2)
    assert house.got() == (set() if answer == "back" else {("record", "")})


# What the how-to tells of the device, and what the vendor asks for in spite of an opt-out.
FLAG = "__mp_opt_in_out_TOKEN"
#: The tab has a random id, and a database for flags is made, without flags as well.
BEGUN = sorted([FLAG, "mixpanelFlagsDb", "mp_gen_new_tab_id_mixpanel_TOKEN", "mp_tab_id_mixpanel_TOKEN"])
COOKIE = "mp_TOKEN_mixpanel"


def test_what_is_on_the_device(house):
    house.open()
    assert house.kept() == BEGUN
    house.answer("no")
    assert house.kept() == BEGUN
    house.open("/privacy/")
    house.answer("yes")
    house.tea()
    assert house.kept() == sorted([*BEGUN, COOKIE])
    house.take_back()
    assert house.kept() == BEGUN


def test_without_the_second_setting_an_id_is_kept_until_the_library_follows(house):
    house.config = {"opt_out_tracking_by_default": True}
    house.app_js = FOUND + "window.cookies = document.cookie;"
    house.open()
    assert COOKIE in house.browser.execute_script("return window.cookies")
    assert house.kept() == BEGUN


def test_a_library_that_begins_with_a_yes_leaves_nothing_on_the_device_before(house):
    house.app_js = WITH_A_YES
    house.open()
    assert house.tea() == (set(), [])
    house.answer("no")
    assert house.tea() == (set(), [])
    assert house.kept() == []
    house.open("/privacy/")
    house.answer("yes")
    assert house.tea() == (BROWSERS, SERVERS)
    house.take_back()
    assert house.tea() == (set(), [])
    assert house.kept() == BEGUN


ASKING = 'fetch("/privacy/api").then((answer) => answer.json()).then((told) => consentpanel.change(told.statuses));'


def test_a_page_without_the_state_may_ask_for_it(house):
    house.page, house.app_js = PAGE.replace("{{ consent_state() }}", ""), WITH_A_YES + ASKING
    house.open()
    assert house.tea() == (set(), [])
    house.answer("yes")
    assert house.tea() == (BROWSERS, SERVERS)
    house.open()
    house.wait_for("mixpanel.__loaded === true")
    assert house.browser.execute_script("return mixpanel.get_distinct_id()") == "user-1"
    house.app_js = WITH_A_YES
    house.open()
    assert house.tea() == (set(), SERVERS)


@pytest.mark.parametrize(
    ("setting", "place"), [({"flags": True}, "flags"), ({"remote_settings_mode": "fallback"}, "settings")]
)
def test_flags_and_settings_are_fetched_in_spite_of_an_opt_out(house, setting, place):
    house.config |= setting
    house.open()
    assert house.got() == {(place, "")}
    house.app_js = WITH_A_YES
    del house.vendor.got[:]
    house.open()
    assert house.got() == set()


def test_an_opt_out_of_the_librarys_own_deletes_the_profile(house):
    house.open()
    house.answer("yes")
    house.tea()
    house.browser.execute_script("mixpanel.opt_out_tracking()")
    assert ("engage", "$delete") in house.got()


def test_a_library_that_is_not_handed_over_is_found(house):
    house.app_js = FOUND
    house.open()
    assert house.got() == set()
    house.answer("yes")
    assert house.tea() == (BROWSERS, SERVERS)
    house.open("/privacy/")
    house.take_back()
    assert house.tea() == (set(), [])


OPT_OUT = {"client": {"regime": Regime.OPT_OUT}, "notice": {"regime": Regime.OPT_OUT}}


def test_where_silence_is_no_no_the_library_is_left_alone(open_house):  # rule 12.1
    with open_house(**OPT_OUT) as house:
        house.config = {"batch_requests": False}
        house.open("/privacy/")
        assert house.tea()[0] == BROWSERS
        house.take_back()
        assert house.tea() == (set(), [])
        house.open()
        assert house.tea() == (set(), [])


def test_the_head_is_light(house):  # rule 12.2
    house.open()
    house.wait_for("document.readyState === 'complete'")
    script = "return performance.getEntriesByType('resource').map((each) => [new URL(each.name).pathname, each.decodedBodySize])"
    sizes = dict(house.browser.execute_script(script))
    assert set(sizes) == {"/privacy/panel.css", "/privacy/panel.js", "/library.js", "/app.js"}
    assert sizes["/privacy/panel.js"] < 7_000
    told = [
        each["message"] for each in house.browser.get_log("browser") if "Content Security Policy" in each["message"]
    ]
    assert told == []
