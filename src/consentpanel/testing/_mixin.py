"""What the pytest plugin does, for `unittest` and Django's `TestCase`."""

from __future__ import annotations

import unittest
from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar

from consentpanel.client._process import process, redirect
from consentpanel.testing._fake import FakeTransport
from consentpanel.testing._guard_network import GUARD, Watch

if TYPE_CHECKING:
    _Base = unittest.TestCase
else:
    _Base = object


class ConsentPanelTestMixin(_Base):
    """Gives each test an outbox, and fails a test that reaches for the vendor.

    Put it before the test case class: `unittest.TestCase`, `unittest.IsolatedAsyncioTestCase`, or one of Django's.
    A `setUp` of your own calls ``super().setUp()``. What runs before `setUp` (`setUpClass`, Django's
    `setUpTestData`) is not covered.

    Attributes:
        consentpanel_outbox: The `FakeTransport` to which every client in the process writes during the test.
        consentpanel_network: Set it to True on a class whose tests may send real requests to the vendor, by
            a consumer of their own.

    Example:
        >>> import unittest
        >>> from consentpanel import FieldPolicy, Mixpanel
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import ConsentPanelTestMixin
        >>> registry = MemoryRegistry()
        >>> mp = Mixpanel("TOKEN", registry=registry, policy=FieldPolicy.keep_all())
        >>> class CheckoutTest(ConsentPanelTestMixin, unittest.TestCase):
        ...     def test_checkout_is_tracked(self):
        ...         registry.grant("user-1")
        ...         mp.track("user-1", "Checked out")
        ...         self.consentpanel_outbox.assert_tracked("Checked out", distinct_id="user-1")
        >>> CheckoutTest("test_checkout_is_tracked").run().wasSuccessful()
        True
    """

    consentpanel_network: ClassVar[bool] = False
    consentpanel_outbox: FakeTransport

    def setUp(self) -> None:
        self.addCleanup(process.restore, process.saved())
        watch = GUARD.open(is_allowed=self.consentpanel_network)
        # Clean-ups run last in, first out: this one sees what all the others did.
        self.addCleanup(self._end_watch, watch)
        self.consentpanel_outbox = FakeTransport()
        stack = ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(redirect(self.consentpanel_outbox))
        super().setUp()

    def _end_watch(self, watch: Watch) -> None:
        GUARD.close(watch)
        refusal = watch.refusal()
        if refusal is not None:
            self.fail(refusal)
