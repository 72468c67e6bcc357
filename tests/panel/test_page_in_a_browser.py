"""The panel in headless Chromium: accessible, by keyboard alone, with and without scripts (contract rule 12.4).

Needs Debian's packages chromium and chromium-driver, and from PyPI selenium and axe-core-python.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest

import consentpanel.panel
from consentpanel.panel._page import banner_of, page_of
from consentpanel.panel._situation import Situation
from consentpanel.panel._view import view_of

pytestmark = [pytest.mark.service, pytest.mark.slow]

STATIC = Path(consentpanel.panel.__file__).with_name("static")
TYPES = {".css": "text/css", ".js": "text/javascript"}
# What a careful site sends: nothing within the page is run or styled, and nothing is fetched from elsewhere.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'"
)
LOOKS = ("light", "dark", "forced", "large")
STATES = (
    "open",
    "answered",
    "signal",
    "saved",
    "incomplete",
    "failed",
    "objection",
    "unavailable",
    "rtl",
    "german",
    "french",
    "banner",
)


def states(samples):
    """The pages of the made-up site by name."""

    def seen(situation, **changes):
        return view_of(samples.notice(**changes), situation, samples.URLS, now=samples.NOW)

    arabic = {"language": "ar", "words": samples.MadeUpWords("ar", "rtl")}
    opening = seen(samples.unanswered())
    pages = {
        "open": opening,
        "answered": seen(samples.answered(changes={"analytics": ("a new reason",)})),
        "signal": seen(samples.signalled()),
        "saved": seen(samples.answered(result="saved")),
        "incomplete": seen(samples.unanswered(result="incomplete")),
        "failed": seen(samples.unanswered(result="failed")),
        "objection": seen(samples.unanswered(), uses=(samples.ANALYTICS, samples.OBJECTION)),
        "unavailable": seen(samples.answered(is_available=False)),
        "german": view_of(samples.written("de"), samples.signalled(), samples.URLS, now=samples.NOW),
        "french": view_of(samples.written("fr"), samples.answered(), samples.URLS, now=samples.NOW),
        "rtl": seen(samples.answered(result="saved"), **arabic),
        # For scripts alone.
        "granted": seen(samples.granted()),
        "silent": seen(
            samples.unanswered(is_opt_out=True), uses=(samples.ANALYTICS_OBJECTION, samples.PROFILES_OBJECTION)
        ),
        "one": view_of(
            samples.notice(), samples.answered(), samples.URLS, now=samples.NOW, browser_purposes=("analytics",)
        ),
    }
    around = (
        '<!doctype html><html lang="en"><head><title>Teahouse</title><meta name="viewport" content="width=device-width">'
        '<link rel="stylesheet" href="/privacy/panel.css"><script src="/privacy/panel.js" defer></script></head>'
        "<body><main><h1>Teahouse</h1><p>Tea of the season.</p>{}</main></body></html>"
    )
    return {**{name: page_of(view) for name, view in pages.items()}, "banner": around.format(banner_of(opening))}


def answer_to(samples, path, fields):
    """What a server would say to a form."""
    changes = {"result": "saved"}
    said = {
        name.removeprefix("answer."): value == "yes" for name, value in fields.items() if name.startswith("answer.")
    }
    if "all" in fields:
        said = dict.fromkeys(samples.PURPOSES, fields["all"] == "yes")
    if path.endswith("withdraw"):
        said, changes = dict.fromkeys(samples.PURPOSES, False), {"result": "withdrawn"}
    elif path.endswith("erase"):
        said, changes = dict.fromkeys(samples.PURPOSES, False), {"result": "erased", "can_erase": True}
    elif not said:
        changes = {"result": "incomplete"}
    situation = Situation(statuses=samples.statuses(**said), **changes)
    return page_of(view_of(samples.notice(), situation, samples.URLS, now=samples.NOW))


@pytest.fixture(scope="module")
def site(samples):
    """A small site, which notes what is posted to it."""
    pages = states(samples)
    here = SimpleNamespace(posted=[], fetched=[], is_broken=False, leads_to=None)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            here.fetched.append(self.path)
            file = STATIC / Path(self.path).name
            if file.suffix in TYPES and file.exists():
                self.give(200, TYPES[file.suffix], file.read_text(encoding="utf-8"))
            else:
                name = self.path.strip("/")
                self.give(200 if name in pages else 404, "text/html; charset=utf-8", pages.get(name, ""))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            fields = dict(parse_qsl(body, keep_blank_values=True))
            is_fetch = self.headers["Sec-Fetch-Mode"] != "navigate"
            here.posted.append((self.path, {k: v for k, v in fields.items() if k == "all" or "." in k}, is_fetch))
            if here.leads_to is not None:
                self.send_response(303)
                self.send_header("Location", here.leads_to)
                self.end_headers()
            elif here.is_broken and is_fetch:
                self.give(500, "application/json", "{}")
            else:
                self.give(200, "text/html; charset=utf-8", answer_to(samples, self.path, fields))

        def give(self, status, kind, text):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here.url = f"http://127.0.0.1:{server.server_port}"
        yield here
        server.shutdown()


@contextmanager
def scripts(browser, *, are_on):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not are_on})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.fixture
def visit(browser, site):
    """Opens a page of the site on a screen that looks as it is told."""

    def opened(name, width=1280, look="light", *, with_scripts=True):
        site.posted.clear()
        site.fetched.clear()
        site.is_broken, site.leads_to = False, None
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = {"prefers-color-scheme": "dark" if look == "dark" else "light"}
        features["forced-colors"] = "active" if look == "forced" else "none"
        told = [{"name": feature, "value": value} for feature, value in features.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})
        with scripts(browser, are_on=with_scripts):
            browser.get(f"{site.url}/{name}")
        if look == "large":
            browser.execute_script("document.documentElement.style.fontSize = '200%'")
        return browser

    yield opened
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def violations(browser):
    axe = pytest.importorskip("axe_core_python", reason="needs axe-core-python")
    browser.execute_script((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    # All that it knows, with best practices.
    results = browser.execute_async_script("axe.run().then(...[0, 1].map(() => arguments[arguments.length - 1]))")
    assert len(results["passes"]) > 10
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in results["violations"]]


def overflow(browser):
    return browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")


def open_all(browser):
    browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")


def focused(browser):
    return browser.execute_script(
        "const e = document.activeElement; return e.id || (e === document.body ? 'body' : e.textContent.trim())"
    )


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def wait_for(browser, script):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda page: page.execute_script(f"return {script}"))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("state", STATES)
def test_axe_reports_nothing_and_nothing_is_wider_than_the_screen(visit, state, width, look):
    page = visit(state, width, look)
    assert page.execute_script("return window.innerWidth") == width
    assert overflow(page) == 0
    assert violations(page) == []
    open_all(page)
    assert overflow(page) == 0
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("state", STATES)
def test_axe_reports_nothing_without_scripts(visit, state, width):
    page = visit(state, width, with_scripts=False)
    assert violations(page) == []


def test_the_page_asks_for_its_sheet_and_its_script_only(visit, site):  # rule 12.2
    page = visit("saved")
    asked = page.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert sorted(asked) == [f"{site.url}/privacy/panel.css", f"{site.url}/privacy/panel.js"]
    assert [each for each in page.get_log("browser") if "Content Security Policy" in each["message"]] == []


LOOK_OF_BUTTONS = """
return [...document.querySelectorAll('button[name=all]')].map((button) => {
  const box = button.getBoundingClientRect(), style = getComputedStyle(button);
  const names = [...style].filter((name) => !name.includes('origin') && !/^inset|^(left|right|top|bottom)$/.test(name));
  return [box.width, box.height, box.top, ...names.map((name) => `${name}: ${style.getPropertyValue(name)}`)];
});
"""


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("state", ["open", "answered", "banner", "rtl"])
def test_no_to_all_and_yes_to_all_look_the_same(visit, state, width, look):  # rule 12.1
    no, yes = visit(state, width, look).execute_script(LOOK_OF_BUTTONS)
    if (width, look) == (320, "large"):
        # Below each other, because two do not fit side by side.
        assert no.pop(2) < yes.pop(2)
    assert no == yes
    assert no[1] >= 44


def test_every_control_is_large_enough(visit):  # rule 12.4; WCAG 2.2, 2.5.8
    page = visit("answered", 320)
    open_all(page)
    sizes = page.execute_script(
        "return [...document.querySelectorAll('button, summary, .cp-radio, a')].map((each) => "
        "[each.textContent, Math.round(each.getBoundingClientRect().height), getComputedStyle(each).display])"
    )
    # A link within a sentence may be as small as the sentence.
    assert [each for each in sizes if each[1] < 24 and each[2] != "inline"] == []
    assert len(sizes) > 12


def test_the_keyboard_reaches_everything_in_the_order_in_which_it_is_read(visit):  # rule 12.4
    from selenium.webdriver.common.keys import Keys

    page = visit("open")
    reached = []
    for _ in range(14):
        press(page, Keys.TAB)
        reached.append(focused(page))
    summary = "See what is sent: "
    assert reached[:10] == [
        "consentpanel-p0-no",
        f"{summary}Measuring how you use our service",
        "consentpanel-p1-no",
        f"{summary}A profile of you at Mixpanel",
        "consentpanel-p2-no",
        f"{summary}Trying out new features",
        "No to all",
        "Yes to all",
        "Save my choice",
        "privacy@teahouse.example",
    ]
    # Out of the page and in again: nothing holds the focus.
    assert reached[11] in {"body", "consentpanel-p0-no"}


def test_every_focus_is_seen(visit):  # rule 12.4; WCAG 2.2, 2.4.7 and 2.4.13
    from selenium.webdriver.common.keys import Keys

    for look in ("light", "dark", "forced"):
        page = visit("answered", 320, look)
        for _ in range(16):
            press(page, Keys.TAB)
            width = page.execute_script(
                "const e = document.activeElement; const at = e.closest('.cp-radio') || e;"
                "return e === document.body ? 3 : parseFloat(getComputedStyle(at).outlineWidth)"
            )
            assert width >= 2, (look, focused(page))


@pytest.mark.parametrize("are_on", [True, False])
def test_a_choice_is_made_by_keyboard_alone(visit, site, browser, are_on):  # rule 12.4
    from selenium.webdriver.common.keys import Keys

    page = visit("open", with_scripts=are_on)
    with scripts(browser, are_on=are_on):
        # To the first question, and with the arrow from no to yes; then no to the second.
        press(page, Keys.TAB, Keys.SPACE, Keys.ARROW_RIGHT, Keys.TAB, Keys.TAB, Keys.SPACE)
        press(page, Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB, Keys.TAB)
        assert focused(page) == "Save my choice"
        press(page, Keys.ENTER)
        wait_for(page, "document.getElementById('consentpanel-result') !== null")
    assert site.posted == [("/privacy/", {"answer.analytics": "yes", "answer.profiles": "no"}, are_on)]
    assert (
        "Yes to: Measuring how you use our service. No to: A profile"
        in page.find_element("id", "consentpanel-result").text
    )


def test_the_key_enter_in_a_question_saves_what_is_chosen(visit, site):
    from selenium.webdriver.common.keys import Keys

    page = visit("open", with_scripts=True)
    press(page, Keys.TAB, Keys.SPACE, Keys.ARROW_RIGHT, Keys.ENTER)
    wait_for(page, "document.getElementById('consentpanel-result') !== null")
    assert site.posted == [("/privacy/", {"answer.analytics": "yes"}, True)]


@pytest.mark.parametrize("are_on", [True, False])
@pytest.mark.parametrize(("word", "value"), [("No to all", "no"), ("Yes to all", "yes")])
def test_all_is_answered_by_one_button(visit, site, browser, word, value, are_on):  # rule 12.1
    page = visit("open", with_scripts=are_on)
    with scripts(browser, are_on=are_on):
        page.find_element("css selector", f"button[name=all][value={value}]").click()
        wait_for(page, "document.getElementById('consentpanel-result') !== null")
    assert site.posted == [("/privacy/", {"all": value}, are_on)]
    checked = page.execute_script("return [...document.querySelectorAll(':checked')].map((each) => each.value)")
    assert checked == [value] * 3


@pytest.mark.parametrize("are_on", [True, False])
def test_the_result_has_the_focus_and_is_seen(visit, browser, are_on):  # rule 12.4
    from selenium.webdriver.common.keys import Keys

    page = visit("open", 320, with_scripts=are_on)
    with scripts(browser, are_on=are_on):
        page.find_element("css selector", ".cp-save").click()
        wait_for(page, "document.activeElement.id === 'consentpanel-result'")
    result = page.execute_script(
        "const box = document.activeElement.getBoundingClientRect(); return [box.top >= 0, box.bottom <= innerHeight]"
    )
    assert result == [True, True]
    assert (
        page.title
        == "Nothing was saved, because no answer was chosen. Say yes or no to at least one use, then save. Privacy choices: Teahouse"
    )
    # From the error to the question that it names.
    press(page, Keys.TAB, Keys.ENTER)
    assert focused(page) == "consentpanel-p0-no"


def test_scripts_spare_the_reload(visit):  # rule 12.2
    page = visit("open")
    page.execute_script(
        "window.isSamePage = true; window.told = [];"
        "document.addEventListener('consentpanel:change', (event) => window.told.push(event.detail))"
    )
    page.find_element("css selector", "button[name=all][value=yes]").click()
    (told,) = wait_for(page, "window.told.length && window.told")
    assert page.execute_script("return window.isSamePage")
    assert told == {"analytics": "granted", "profiles": "granted", "feature_flags": "granted"}
    assert page.execute_script("return document.querySelectorAll('main').length") == 1
    # What has come into the page is sent in the same way.
    page.find_element("css selector", ".cp-withdraw button").click()
    wait_for(page, "window.told.length === 2")
    assert "Stopped on 28 November 2026" in page.find_element("id", "consentpanel-result").text
    assert page.execute_script("return window.isSamePage")


def test_a_script_that_fails_sends_the_form_as_any_form(visit, site):  # rule 12.2
    page = visit("open")
    site.is_broken = True
    page.execute_script("window.isSamePage = true")
    page.find_element("css selector", "button[name=all][value=no]").click()
    wait_for(page, "document.getElementById('consentpanel-result') !== null")
    assert site.posted == [("/privacy/", {"all": "no"}, True), ("/privacy/", {"all": "no"}, False)]
    assert not page.execute_script("return window.isSamePage")


def test_what_the_server_has_taken_is_not_sent_twice(visit, site):
    page = visit("open")
    site.leads_to = "/banner"
    page.find_element("css selector", "button[name=all][value=no]").click()
    wait_for(page, "location.pathname === '/banner' && document.readyState === 'complete'")
    assert site.posted == [("/privacy/", {"all": "no"}, True)]


# rule 7.3: the page tells what the vendor was asked for
@pytest.mark.parametrize("action", ["erase", "export"])
def test_a_script_that_fails_asks_the_vendor_for_nothing_twice(visit, site, action):
    page = visit("answered")
    site.is_broken = True
    page.execute_script(f"window.isSamePage = true; document.querySelector('form[action$={action}]').requestSubmit()")
    wait_for(page, "window.isSamePage === undefined && document.readyState === 'complete'")
    # This site has no such page.
    assert site.fetched[-1] == "/privacy/"
    assert site.posted == [(f"/privacy/{action}", {}, True)]


@pytest.mark.parametrize("are_on", [True, False])
def test_an_erasure_is_asked_for_twice_by_keyboard(visit, site, browser, are_on):  # rules 12.1, 12.4
    from selenium.webdriver.common.keys import Keys

    page = visit("answered", with_scripts=are_on)
    with scripts(browser, are_on=are_on):
        page.execute_script(
            "document.querySelector('form[action$=erase]').closest('details').firstElementChild.focus()"
        )
        assert focused(page) == "Delete my data at Mixpanel"
        press(page, Keys.ENTER)
        assert site.posted == []
        press(page, Keys.TAB)
        assert focused(page) == "Yes, delete my data at Mixpanel"
        press(page, Keys.ENTER)
        wait_for(page, "document.getElementById('consentpanel-result') !== null")
    assert site.posted == [("/privacy/erase", {}, are_on)]


def test_an_objection_says_nothing_about_other_uses(visit, site):
    page = visit("objection")
    page.find_element("id", "consentpanel-p0-yes").click()
    page.find_element("css selector", "button[name='answer.operations']").click()
    wait_for(page, "document.getElementById('consentpanel-result') !== null")
    assert site.posted == [("/privacy/", {"answer.operations": "no"}, True)]


def test_a_banner_takes_no_focus_and_covers_nothing(visit):  # rule 12.2
    page = visit("banner")
    assert focused(page) == "body"
    position = page.execute_script("return getComputedStyle(document.querySelector('.cp-banner')).position")
    assert position == "static"


def test_a_banner_becomes_its_result(visit):  # rule 12.2
    page = visit("banner")
    page.execute_script("window.isSamePage = true")
    page.find_element("css selector", "button[name=all][value=no]").click()
    wait_for(page, "document.activeElement.id === 'consentpanel-result'")
    assert page.execute_script("return window.isSamePage")
    assert "Your no is saved." in page.find_element("css selector", ".cp-banner").text
    assert page.find_elements("css selector", ".cp-banner button") == []
    # rule 12.1: "here" is one click away
    assert page.find_element("css selector", ".cp-banner a").get_dom_attribute("href") == "/privacy/"
    assert violations(page) == []


LIBRARY = """
window.calls = [];
window.libraryOf = (calls) => ({
  opt_in_tracking: () => calls.push('in'),
  opt_out_tracking: (options) => calls.push(['out', options]),
  has_opted_in_tracking: () => %s,
});
"""
IS_THERE = "window.mixpanel = libraryOf(window.calls);"
OUT = ["out", {"delete_user": False}]


@pytest.fixture
def with_library(browser):
    """Opens a page in which the library is there before anything else."""
    added = []

    @contextmanager
    def opened(*, opted_in, more=IS_THERE):
        source = {"source": LIBRARY % str(opted_in).lower() + more}
        added.append(browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source))
        try:
            yield
        finally:
            browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added.pop())

    return opened


@pytest.mark.parametrize(
    ("state", "opted_in", "call"),
    [
        ("granted", False, "in"),
        ("granted", True, None),
        # The library would send profiles as well, to which the answer was no.
        ("answered", True, OUT),
        ("one", False, "in"),
        ("open", False, OUT),
        ("open", True, OUT),
        ("unavailable", True, OUT),
        # Sent unless somebody objects: whoever has opted out by other means stays out.
        ("silent", False, None),
        ("silent", True, None),
        # A page that says nothing.
        ("banner", True, OUT),
    ],
)
def test_the_vendors_library_follows_when_the_page_is_loaded(visit, with_library, state, opted_in, call):
    with with_library(opted_in=opted_in):
        page = visit(state)
        wait_for(page, "document.readyState === 'complete'")
        calls = page.execute_script("return window.calls")
        assert [each for at, each in enumerate(calls) if each not in calls[:at]] == ([] if call is None else [call])


def test_the_vendors_library_follows_before_other_scripts_that_wait_for_the_page(visit, with_library):
    more = "document.addEventListener('DOMContentLoaded', () => { window.before = [...window.calls]; });"
    with with_library(opted_in=True, more=IS_THERE + more):
        assert visit("open").execute_script("return window.before") == [OUT]


@pytest.mark.parametrize(("value", "call"), [("yes", "in"), ("no", OUT)])
@pytest.mark.parametrize("state", ["open", "banner"])
def test_the_vendors_library_follows_an_answer(visit, state, value, call):
    page = visit(state)
    page.execute_script(LIBRARY % "false" + IS_THERE)
    page.find_element("css selector", f"button[name=all][value={value}]").click()
    wait_for(page, "document.activeElement.id === 'consentpanel-result'")
    assert wait_for(page, "window.calls.length && window.calls") == [call]


def test_a_library_that_is_handed_over_follows(visit):
    page = visit("answered")
    page.execute_script(LIBRARY % "false" + "consentpanel.follow(libraryOf(window.calls)); consentpanel.follow(null)")
    assert page.execute_script("return window.calls") == [OUT]
    page.execute_script("consentpanel.change({analytics: 'granted', profiles: 'granted'})")
    assert page.execute_script("return window.calls") == [OUT, "in"]


def test_a_library_may_begin_with_a_yes_and_not_before(visit):
    page = visit("open")
    page.execute_script(
        LIBRARY % "false"
        + "window.begun = 0; consentpanel.follow(() => { window.begun += 1; return libraryOf(window.calls); });"
    )
    assert page.execute_script("return [window.begun, window.calls]") == [0, []]
    page.find_element("css selector", "button[name=all][value=no]").click()
    wait_for(page, "document.getElementById('consentpanel-result') !== null")
    assert page.execute_script("return [window.begun, window.calls]") == [0, []]
    page.find_element("css selector", "button[name=all][value=yes]").click()
    assert wait_for(page, "window.begun && [window.begun, window.calls]") == [1, ["in"]]
    page.find_element("css selector", ".cp-withdraw button").click()
    assert wait_for(page, "window.calls.length > 1 && [window.begun, window.calls]") == [1, ["in", OUT]]


def test_what_fails_to_begin_is_told_and_harms_nothing(visit, site):
    page = visit("open")
    page.execute_script(
        "window.told = []; window.addEventListener('error', () => window.told.push('an error'));"
        "consentpanel.follow(() => { throw new Error('broken'); });"
    )
    page.find_element("css selector", "button[name=all][value=yes]").click()
    assert wait_for(page, "window.told.length && window.told") == ["an error"]
    assert site.posted == [("/privacy/", {"all": "yes"}, True)]


def test_light_and_dark_differ_and_a_variable_overrides_both(visit):  # rule 12.2
    ground = "return getComputedStyle(document.querySelector('.consentpanel')).backgroundColor"
    assert [visit("open", look=look).execute_script(ground) for look in ("light", "dark")] == [
        "rgb(255, 255, 255)",
        "rgb(20, 22, 26)",
    ]
    page = visit("open")
    page.execute_script("document.documentElement.style.setProperty('--consentpanel-ground', 'rgb(1, 2, 3)')")
    assert page.execute_script(ground) == "rgb(1, 2, 3)"


def test_print_shows_what_is_sent_and_no_buttons(visit, browser):
    page = visit("answered")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not any(each.is_displayed() for each in page.find_elements("tag name", "button"))
        assert page.execute_script(
            "return document.querySelector('.cp-sent').checkVisibility({contentVisibilityAuto: true})"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_nothing_moves_for_those_who_want_no_motion(visit, browser):
    page = visit("open")
    told = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})
    assert (
        page.execute_script("return getComputedStyle(document.querySelector('.cp-button')).transitionDuration") == "0s"
    )
