"""The tools themselves in headless Chromium: what they write is what is read (contract rule 11.6).

Needs Debian's packages chromium, chromium-driver and npm, and from PyPI selenium. The tools come from npm, into a temporary folder.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import threading
from datetime import datetime, timedelta, timezone
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from consentpanel.cmp import Answers, C15t, Klaro, VanillaCookieConsent

pytestmark = [pytest.mark.service, pytest.mark.slow]

#: What c15t 2.2.1 asks for is listed too: `npm pack` takes no dependencies along.
PACKAGES = (
    "vanilla-cookieconsent@3.1.0",
    "klaro@0.7.22",
    "c15t@2.2.1",
    "@c15t/schema@2.2.0",
    "@c15t/translations@2.2.1",
    "zustand@5.0.14",
    "valibot@1.4.2",
)
KLARO = """
<script>
window.klaroConfig = {
    version: 1, lang: "en", translations: {en: {privacyPolicyUrl: "/"}},
    services: [
        {name: "mixpanel", title: "Mixpanel", purposes: ["analytics"]},
        {name: "caf\u00e9 & ads", title: "Ads", purposes: ["ads"], default: true},
    ],
};
</script>
<script src="/klaro/package/dist/klaro.js" data-config="klaroConfig"></script>
"""
VANILLA = """
<script src="/vanilla-cookieconsent/package/dist/cookieconsent.umd.js"></script>
<script>
CookieConsent.run({
    mode: new URLSearchParams(location.search).get("mode") || "opt-in", revision: 3, hideFromBots: false,
    categories: {
        necessary: {enabled: true, readOnly: true},
        analytics: {services: {mixpanel: {label: "Mixpanel"}, "caf\u00e9; & more": {label: "Caf\u00e9"}}},
        ads: {enabled: true},
    },
    language: {default: "en", translations: {en: {
        consentModal: {title: "Cookies", acceptAllBtn: "Accept", acceptNecessaryBtn: "Reject"},
        preferencesModal: {sections: []},
    }}},
});
</script>
"""
C15T = """
<script type="importmap">
{"imports": {
    "c15t": "/c15t/package/dist/index.js", "@c15t/schema/types": "/c15t-schema/package/dist/types.js",
    "@c15t/translations": "/c15t-translations/package/dist/index.js", "zustand/vanilla": "/zustand/package/esm/vanilla.mjs",
    "valibot": "/valibot/package/dist/index.mjs"
}}
</script>
<script type="module">
import {getOrCreateConsentRuntime} from "c15t";
window.store = getOrCreateConsentRuntime({mode: "offline", consentCategories: ["necessary", "measurement", "marketing"]}).consentStore;
</script>
"""
PAGES = {"/klaro.html": KLARO, "/vanilla.html": VANILLA, "/c15t.html": C15T}


class Site(SimpleHTTPRequestHandler):
    """The pages, the tools' files, and at ``/seen`` the raw header ``Cookie`` of the request."""

    extensions_map = {".js": "text/javascript", ".mjs": "text/javascript", "": "application/octet-stream"}  # noqa: RUF012

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/seen":
            # The header as it came: nothing has parsed it.
            self.answer("text/plain", self.headers.get("Cookie", "").encode("latin-1"))
        elif path in PAGES:
            self.answer(
                "text/html", f'<!doctype html><meta charset="utf-8"><title>shop</title><body>{PAGES[path]}'.encode()
            )
        else:
            super().do_GET()

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm (Debian: apt-get install npm)")
    folder = tmp_path_factory.mktemp("tools")
    command = [
        npm,
        "pack",
        "--json",
        "--ignore-scripts",
        "--cache",
        str(folder / "cache"),
        "--pack-destination",
        str(folder),
        *PACKAGES,
    ]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm pack failed: {type(error).__name__}")
    for packed in json.loads(done.stdout):
        name = packed["name"].removeprefix("@").replace("/", "-")
        with tarfile.open(folder / f"{name}-{packed['version']}.tgz") as archive:
            archive.extractall(folder / name, filter="data")
    return folder


@pytest.fixture(scope="module")
def site(tools):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(tools)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def opened(browser, site):
    """Opens a page as a visitor who was never here."""

    def open_page(path, ready):
        browser.get(f"{site}/seen")
        browser.delete_all_cookies()
        browser.execute_script("localStorage.clear()")
        browser.get(f"{site}{path}")
        wait(browser, ready)

    return open_page


@pytest.fixture
def seen(browser):
    """The raw header that the browser sends now."""
    return lambda: browser.execute_async_script("fetch('/seen').then(each => each.text()).then(arguments[0])")


def wait(browser, script):
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(browser, 20).until(lambda _: browser.execute_script(f"return !!({script})"))


def press(browser, button):
    browser.execute_script(f"document.querySelector({json.dumps(button)}).click()")


def just_now(answers):
    return timedelta() <= datetime.now(timezone.utc) - answers.given_at < timedelta(minutes=5)


@pytest.fixture(autouse=True, scope="module")
def at_the_end_of_2026():
    """Here the clock is the real one."""


KLARO_READ = Klaro({"mixpanel": "analytics", "caf\u00e9 & ads": "ads"})
YES, NO = "button.cm-btn-success", "button.cn-decline"


def test_klaro_writes_nothing_before_an_answer_and_then_what_was_answered(browser, opened, seen):
    # rule 11.6
    opened("/klaro.html", f"document.querySelector('{YES}')")
    assert KLARO_READ(seen()) == Answers({"analytics": None, "ads": None})
    press(browser, NO)
    assert KLARO_READ(seen()) == Answers({"analytics": False, "ads": False}, is_explicit=True)
    opened("/klaro.html", f"document.querySelector('{YES}')")
    press(browser, YES)
    # Klaro's first button takes what is on by default.
    assert KLARO_READ(seen()) == Answers({"analytics": False, "ads": True}, is_explicit=True)
    browser.execute_script(
        "const manager = klaro.getManager(); manager.changeAll(true); manager.saveAndApplyConsents()"
    )
    assert KLARO_READ(seen()) == Answers({"analytics": True, "ads": True}, is_explicit=True)


VANILLA_READ = VanillaCookieConsent({"analytics": "analytics", "ads": "ads"}, revision=3)


@pytest.mark.parametrize("mode", ["opt-in", "opt-out"])
def test_vanilla_writes_nothing_before_an_answer_and_then_what_was_answered(browser, opened, seen, mode):
    # rule 11.6
    opened(f"/vanilla.html?mode={mode}", "document.querySelector('[data-role=all]')")
    assert VANILLA_READ(seen()) == Answers({"analytics": None, "ads": None})
    press(browser, "[data-role=necessary]")
    refused = VANILLA_READ(seen())
    assert (refused.purposes, refused.is_explicit) == ({"analytics": False, "ads": False}, True)
    assert just_now(refused)
    browser.execute_script("CookieConsent.acceptCategory(['analytics'])")
    granted = VANILLA_READ(seen())
    assert (granted.purposes, granted.consent_id) == ({"analytics": True, "ads": False}, refused.consent_id)
    assert VanillaCookieConsent({"analytics": "analytics"}, revision=4)(seen()) == Answers({"analytics": None})


def test_vanilla_tells_services_apart(browser, opened, seen):
    opened("/vanilla.html", "document.querySelector('[data-role=all]')")
    press(browser, "[data-role=all]")
    read = {
        name: VanillaCookieConsent({"analytics": "analytics"}, revision=3, service=name)
        for name in ("mixpanel", "caf\u00e9; & more")
    }
    assert {name: each(seen()).purposes["analytics"] for name, each in read.items()} == dict.fromkeys(read, True)
    browser.execute_script("CookieConsent.acceptService(['caf\u00e9; & more'], 'analytics')")
    assert {name: each(seen()).purposes["analytics"] for name, each in read.items()} == {
        "mixpanel": False,
        "caf\u00e9; & more": True,
    }


C15T_READ = C15t({"measurement": "analytics", "marketing": "ads"})


def save(browser, kind):
    script = "store.getState().saveConsents(arguments[0], {uiSource: 'banner'}).then(() => arguments[1](null), each => arguments[1](String(each)))"
    assert browser.execute_async_script(script, kind) is None


def test_c15t_writes_nothing_before_an_answer_and_then_what_was_answered(browser, opened, seen):
    # rule 11.6
    opened("/c15t.html", "window.store && store.getState().model !== undefined")
    assert C15T_READ(seen()) == Answers({"analytics": None, "ads": None})
    save(browser, "necessary")
    refused = C15T_READ(seen())
    assert (refused.purposes, refused.is_explicit) == ({"analytics": False, "ads": False}, True)
    assert just_now(refused)
    browser.execute_script("store.getState().setSelectedConsent('measurement', true)")
    save(browser, "custom")
    chosen = C15T_READ(seen())
    assert (chosen.purposes, chosen.consent_id) == ({"analytics": True, "ads": False}, refused.consent_id)
    save(browser, "all")
    assert C15T_READ(seen()).purposes == {"analytics": True, "ads": True}
    fingerprint = seen().partition("i.mpf:")[2].partition(",")[0].partition(";")[0]
    assert C15t({"measurement": "analytics"}, fingerprint=fingerprint)(seen()).purposes == {"analytics": True}
    assert C15t({"measurement": "analytics"}, fingerprint="another")(seen()).purposes == {"analytics": None}
