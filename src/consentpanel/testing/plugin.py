"""The pytest plugin: an outbox for every client in the process, and no test reaches the vendor."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from consentpanel.testing._guard_network import GUARD, Watch, watching

if TYPE_CHECKING:
    from consentpanel.testing._fake import FakeTransport

MARKER = "consentpanel_network"

#: How the process was configured before the tests that run.
_BEFORE: list[tuple[Any, ...]] = []
#: The same before a fixture of several tests that configures the process.
_BEFORE_FIXTURE: dict[int, tuple[Any, ...]] = {}
_WATCH = pytest.StashKey[Watch]()
_BETWEEN_TESTS = pytest.StashKey[list[str]]()


@pytest.fixture
def consentpanel_outbox() -> Iterator[FakeTransport]:
    """A `FakeTransport` to which every client in the process writes during the test.

    A client built before the test writes there too, whatever consumer it has.

    Example:
        .. code-block:: python

            def test_checkout_is_tracked(client, consentpanel_outbox):
                client.post("/checkout/")
                consentpanel_outbox.assert_tracked("Checked out", properties={"plan": "pro"})
    """
    from consentpanel.client._process import redirect
    from consentpanel.testing._fake import FakeTransport

    outbox = FakeTransport()
    with redirect(outbox):
        yield outbox


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and begin to guard."""
    config.addinivalue_line("markers", f"{MARKER}: this test may send real requests to the analytics vendor")
    GUARD.stay()


def pytest_runtestloop() -> None:
    """Load the package whole, so that no test that puts something over `sys.modules` for a while loads a second one."""
    for name in ("client", "policy", "registry", "transport"):
        import_module(f"consentpanel.{name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch each test from its set-up to its teardown; what it configures is of that test alone."""
    from consentpanel.client._process import process

    _BEFORE.append(process.saved())
    try:
        with watching(is_allowed=item.get_closest_marker(MARKER) is not None) as watch:
            item.stash[_WATCH] = watch
            return (yield)
    finally:
        before = _BEFORE.pop()
        # Examples of one document share what the first of them configures.
        if isinstance(item, pytest.Function):
            process.restore(before)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    """Keep what a fixture of several tests configures."""
    from consentpanel.client._process import process

    before = process.saved()
    result = yield
    if fixturedef.scope != "function" and _BEFORE and process.saved() != before:
        _BEFORE_FIXTURE[id(fixturedef)] = _BEFORE[-1]
        _BEFORE[-1] = process.saved()
    return result


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any]) -> None:
    """After such a fixture the process is configured as before it."""
    before = _BEFORE_FIXTURE.pop(id(fixturedef), None)
    if before is not None and _BEFORE:
        _BEFORE[-1] = before


@pytest.hookimpl(wrapper=True, tryfirst=True)
def _checked(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail what reached for the vendor, also when the application swallowed the error."""
    watch = item.stash.get(_WATCH, None)
    if watch is None:
        return (yield)
    try:
        result = yield
    except pytest.skip.Exception:
        _fail_if_stopped(watch)
        raise
    except BaseException:
        # It fails already, and its own failure tells more.
        watch.take()
        raise
    _fail_if_stopped(watch)
    return result


def _fail_if_stopped(watch: Watch) -> None:
    refusal = watch.refusal()
    if refusal is not None:
        pytest.fail(refusal, pytrace=False)


pytest_runtest_setup = pytest_runtest_call = pytest_runtest_teardown = _checked


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when something reached for the vendor outside every test."""
    # What a test has left in a buffer would be sent, or told as lost, when the process ends.
    if ends := sys.modules.get("consentpanel.transport._ends"):
        ends.forget_all()
    hosts = GUARD.between_tests.take()
    if hosts:
        session.config.stash[_BETWEEN_TESTS] = hosts
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what `pytest_sessionfinish` found."""
    hosts = config.stash.get(_BETWEEN_TESTS, [])
    if hosts:
        terminalreporter.section("consentpanel", red=True)
        terminalreporter.line(f"outside every test, real requests were stopped to {', '.join(hosts)}")
