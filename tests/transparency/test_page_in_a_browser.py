"""The page of the notice in headless Chromium: readable on a telephone, and accessible (contract rule 6.1).

Needs Debian's packages chromium and chromium-driver, and from PyPI selenium and axe-core-python.
"""

from pathlib import Path

import pytest

from consentpanel import FieldPolicy, keep
from consentpanel.transparency import LANGUAGES, Vendor, notice

pytestmark = [pytest.mark.service, pytest.mark.slow]

LONG = "a_property_with_a_name_that_is_longer_than_any_line_on_a_small_telephone_and_has_no_place_to_break"
POLICY = FieldPolicy(
    events={LONG: keep(reason="to see that it wraps"), "plan": keep(reason="to see which plans are used")},
    people={"city": keep(reason="to count by city")},
).for_event("Order placed", {"total": keep(reason="to add up")})


def page(language):
    return notice(
        POLICY,
        contact="https://shop.example/privacy/contact/with/a/rather/long/address/that/has/to/wrap/somewhere/or/else",
        purposes={"analytics": "to improve the shop", "profiles": "to know our customers"},
        vendor=Vendor(region="EU", retention_days=365),
        language=language,
    )


def opened(browser, tmp_path, language, width, scheme="light"):
    file = tmp_path / "notice.html"
    file.write_text(page(language).to_html(), encoding="utf-8")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(file.as_uri())


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_wider_than_the_screen(browser, tmp_path, language, width):
    opened(browser, tmp_path, language, width)
    assert browser.execute_script("return window.innerWidth") == width
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) == 0
    # A line that is much longer than eighty characters is hard to follow.
    assert browser.execute_script("return document.querySelector('main').clientWidth") <= 42 * 16


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("language", LANGUAGES)
def test_axe_reports_nothing(browser, tmp_path, language, width, scheme):
    axe = pytest.importorskip("axe_core_python", reason="needs axe-core-python")
    opened(browser, tmp_path, language, width, scheme)
    browser.execute_script((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    results = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in results["violations"]] == []
    assert len(results["passes"]) > 10


def test_the_page_asks_for_nothing_else(browser, tmp_path):
    opened(browser, tmp_path, "en", 1280)
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.scripts.length") == 0


def test_light_and_dark_differ(browser, tmp_path):
    grounds = []
    for scheme in ("light", "dark"):
        opened(browser, tmp_path, "en", 1280, scheme)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(22, 24, 26)"]
