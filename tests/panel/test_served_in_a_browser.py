"""The panel under a real server in headless Chromium: answered with and without scripts, and held by its own headers (rule 12.2)."""

from __future__ import annotations

import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from consentpanel import ConsentStatus
from consentpanel.wsgi import PanelApp

pytestmark = [pytest.mark.service, pytest.mark.slow]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


class Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@pytest.fixture
def address(shop):
    app = PanelApp(shop.client, shop.panel, subject=lambda environ: "user-1")
    with make_server("127.0.0.1", 0, app, Threaded, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def waits_for(browser, words):
    """Waits until the result is told in these words; the page may become another one meanwhile."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    changing = [NoSuchElementException, StaleElementReferenceException]
    WebDriverWait(browser, 20, ignored_exceptions=changing).until(
        lambda _: words in browser.find_element("id", "consentpanel-result").text
    )


@pytest.mark.parametrize("with_scripts", [True, False])
def test_an_answer_is_given_and_taken_back(browser, address, shop, with_scripts):
    def said(words):
        waits_for(browser, words)

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not with_scripts})
    try:
        browser.get(address)
        browser.find_element("css selector", 'button[name="all"][value="yes"]').click()
        said("Your answers are saved. Yes to: Measuring how you use our service and Trying out new features.")
        # Without scripts the browser is led on, so that a reload sends nothing twice.
        assert browser.current_url == address + ("" if with_scripts else "?done=saved")
        assert shop.registry.status("user-1", "analytics") is ConsentStatus.GRANTED
        browser.find_element("css selector", 'form[action="/withdraw"] button').click()
        said("Nothing more is sent.")
        assert shop.registry.status("user-1", "analytics") is ConsentStatus.DENIED
        told = [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]
        # Browsers ask for it by themselves, and it is the site's.
        assert [each for each in told if "favicon.ico" not in each] == []
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# The page is read to its end before somebody else's answer, or a new notice, changes it.
def test_a_page_that_has_changed_meanwhile_saves_nothing(browser, address, shop):
    browser.get(address)
    shop.panel._notices._made.clear()
    shop.samples, before = _other(shop.samples), shop.samples
    try:
        browser.find_element("css selector", 'button[name="all"][value="yes"]').click()
        waits_for(browser, "has changed since")
    finally:
        shop.samples = before
    assert shop.registry.history("user-1") == []


def _other(samples):
    class Other:
        IN_SHORT = ()
        MadeUpWords = samples.MadeUpWords
        notice = staticmethod(samples.notice)

    return Other
