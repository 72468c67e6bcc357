"""Every Python example in the README, the docs and the docstrings is a test."""

from __future__ import annotations

import doctest
import importlib.util
import os
import sys
import tempfile
import unittest
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import responses
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser

import consentpanel
from consentpanel.client._process import redirect
from consentpanel.testing import FakeTransport
from consentpanel.transparency import _catalogues

#: The Django project of the tests.
PROJECT = Path(__file__).parent / "tests" / "django" / "project"
VENDOR_PATHS = ("track", "engage", "groups", "import")


@cache
def set_up_django() -> None:
    """Set up the tests' Django project, for examples of a document; nothing where Django is not installed."""
    if importlib.util.find_spec("django") is None:
        return
    sys.path.insert(0, str(PROJECT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def close_django() -> None:
    """Close what examples have opened of its database."""
    if "django.db" in sys.modules:
        sys.modules["django.db"].connections.close_all()


def start(namespace: dict[str, Any]) -> None:
    """Give a document an empty directory, and a vendor that accepts everything without a network."""
    stack = namespace["_stack"] = ExitStack()
    stack.callback(os.chdir, os.getcwd())  # noqa: PTH109 (Path would resolve links)
    os.chdir(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    consentpanel.reset()
    stack.callback(consentpanel.reset)
    stack.callback(setattr, _catalogues, "_added", _catalogues._added)  # noqa: SLF001 (a process has one)
    set_up_django()
    stack.callback(close_django)
    vendor = stack.enter_context(responses.RequestsMock(assert_all_requests_are_fired=False))
    vendor.add_passthru("http://127.0.0.1:")  # stand-ins of the examples' own
    for path in VENDOR_PATHS:
        vendor.post(f"https://api.mixpanel.com/{path}", json={"status": 1, "error": None})


def end(namespace: dict[str, Any]) -> None:
    """Run the tests that a document defines as examples, then take back what `start` set up."""
    with namespace.pop("_stack"):
        for name, example in list(namespace.items()):
            if name.startswith("test_") and callable(example):
                outbox = FakeTransport()
                with redirect(outbox):
                    example(outbox)
            elif isinstance(example, type) and issubclass(example, unittest.TestCase):
                result = unittest.TestResult()
                unittest.defaultTestLoader.loadTestsFromTestCase(example).run(result)
                if not result.wasSuccessful():
                    raise AssertionError(result.errors + result.failures)


documents = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS), SkipParser()],
    patterns=["README.md", "CONTRIBUTING.md", "docs/**/*.md", "docs/*.md"],
    setup=start,
    teardown=end,
)
docstrings = Sybil(
    parsers=[DocTestParser(optionflags=doctest.ELLIPSIS)],
    patterns=["src/consentpanel/*.py", "src/consentpanel/**/*.py"],
    setup=start,
    teardown=end,
)

pytest_collect_file = (documents + docstrings).pytest()
