"""Hypothesis profiles, and the rule that continuous integration skips nothing."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from consentpanel._log import forget_warnings

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile(
    "ci", deadline=None, max_examples=200, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("few", deadline=None, max_examples=15)
settings.load_profile("dev")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Keep what thousands of tests have left out of each collection of garbage, which some tests ask for often."""
    result = yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test of a service when CONSENTPANEL_REQUIRE_SERVICES is 1."""
    report = yield
    required = os.environ.get("CONSENTPANEL_REQUIRE_SERVICES") == "1"
    if required and report.skipped and item.get_closest_marker("service") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


@pytest.fixture(autouse=True)
def _warnings_of_other_tests() -> None:
    """Has every warning said again: some are said once in a process, or a minute."""
    forget_warnings()


@pytest.fixture(scope="session")
def services() -> Any:
    """The module that starts servers, `scripts/services.py`."""
    return _module_at(Path(__file__).parents[1] / "scripts" / "services.py", "consentpanel_services")


@pytest.fixture(scope="session")
def notice_in() -> Any:
    """A function that is given a language and makes the notice of the panel's samples."""
    home = Path(__file__).with_name("panel")
    samples, shop = (_module_at(home / f"{name}.py", f"consentpanel_panel_{name}") for name in ("samples", "conftest"))
    return shop.Shop(samples).notice


def _module_at(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def postgresql(services):
    try:
        with services.postgresql() as server:
            yield server
    except services.MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def mariadb(services):
    try:
        with services.mariadb() as server:
            yield server
    except services.MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs chromium and chromium-driver (Debian: apt-get install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as started:
        yield started


@pytest.fixture
def needs() -> Any:
    """Skips a test unless some modules are installed."""

    def skip_without(*modules: str) -> None:
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} is not installed")

    return skip_without
