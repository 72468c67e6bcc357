from __future__ import annotations

import asyncio
import contextlib
import socket
import unittest

import pytest

from consentpanel import FieldPolicy, Mixpanel
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import ConsentPanelTestMixin, FakeTransport

# rule 5.4: "The same for unittest and Django's TestCase as a mixin."

registry = MemoryRegistry()
registry.grant("user-1")
own = FakeTransport()
mp = Mixpanel("TOKEN", own, registry=registry, policy=FieldPolicy.keep_all())


@pytest.fixture(autouse=True)
def _empty():
    own.clear()


def run(case, method="test"):
    result = unittest.TestResult()
    case(method).run(result)
    return result


def reach_for_the_vendor():
    with contextlib.suppress(Exception):
        socket.getaddrinfo("api.mixpanel.com", 443)


def test_a_test_case_has_an_outbox_of_its_own_for_each_test():
    class Case(ConsentPanelTestMixin, unittest.TestCase):
        def test(self):
            self.consentpanel_outbox.assert_nothing_sent()
            mp.track("user-1", "Viewed")
            self.consentpanel_outbox.assert_tracked("Viewed", distinct_id="user-1")

    assert run(Case).wasSuccessful()
    assert run(Case).wasSuccessful()
    assert own.messages == []


def test_the_outbox_ends_with_the_test_also_when_it_fails():
    class Case(ConsentPanelTestMixin, unittest.TestCase):
        def test(self):
            raise RuntimeError

    assert len(run(Case).errors) == 1
    mp.track("user-1", "After")
    own.assert_tracked("After")


def test_the_outbox_is_there_for_other_set_ups_tear_downs_and_clean_ups():
    seen = []

    class Tracking(unittest.TestCase):
        def setUp(self):
            mp.track("user-1", "Set up")
            super().setUp()

    class Case(ConsentPanelTestMixin, Tracking):
        def setUp(self):
            super().setUp()
            self.addCleanup(lambda: seen.extend(message.event for message in self.consentpanel_outbox.messages))
            self.addCleanup(mp.track, "user-1", "Clean-up")

        def test(self):
            pass

        def tearDown(self):
            mp.track("user-1", "Tear-down")

    assert run(Case).wasSuccessful()
    assert seen == ["Set up", "Tear-down", "Clean-up"]
    assert own.messages == []


def test_a_set_up_that_fails_leaves_nothing_behind():
    class Failing(unittest.TestCase):
        def setUp(self):
            raise RuntimeError

    class Case(ConsentPanelTestMixin, Failing):
        def test(self):
            pass

    assert len(run(Case).errors) == 1
    mp.track("user-1", "After")
    own.assert_tracked("After")


def test_a_test_case_that_reaches_for_the_vendor_fails_also_when_the_error_is_swallowed():
    class Case(ConsentPanelTestMixin, unittest.TestCase):
        def test(self):
            reach_for_the_vendor()

        def test_in_a_clean_up(self):
            self.addCleanup(reach_for_the_vendor)

    for method in ("test", "test_in_a_clean_up"):
        ((_, text),) = run(Case, method).failures
        assert "real request to api.mixpanel.com, which was stopped" in text


def test_a_test_case_may_be_let_through():
    class Case(ConsentPanelTestMixin, unittest.TestCase):
        consentpanel_network = True

        def test(self):
            with contextlib.suppress(OSError):
                socket.getaddrinfo("nowhere.invalid.mixpanel.com", 443)

    assert run(Case).wasSuccessful()


def test_an_async_test_case_has_it_all():
    class Case(ConsentPanelTestMixin, unittest.IsolatedAsyncioTestCase):
        async def test(self):
            mp.track("user-1", "In a test")
            await asyncio.to_thread(mp.track, "user-1", "In a thread")
            assert len(self.consentpanel_outbox.events) == 2

        async def test_reaching(self):
            with contextlib.suppress(Exception):
                await asyncio.get_running_loop().getaddrinfo("api.mixpanel.com", 443)

    assert run(Case).wasSuccessful()
    assert len(run(Case, "test_reaching").failures) == 1


def test_a_test_case_of_django_has_it_all():
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
        django.setup()
    from django.test import SimpleTestCase

    class Case(ConsentPanelTestMixin, SimpleTestCase):
        def test(self):
            mp.track("user-1", "Viewed")
            self.consentpanel_outbox.assert_tracked("Viewed")

        def test_reaching(self):
            reach_for_the_vendor()

    assert run(Case).wasSuccessful()
    assert len(run(Case, "test_reaching").failures) == 1
