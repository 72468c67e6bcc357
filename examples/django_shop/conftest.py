"""Django for pytest, without a plugin: the settings, and a database in memory that each test leaves as it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "shop_site.settings"
os.environ["SHOP_DATABASE"] = ":memory:"
os.environ["MIXPANEL_TOKEN"] = "TOKEN"
django.setup()


@pytest.fixture(scope="session", autouse=True)
def _database() -> Iterator[None]:
    # Django's modules can be imported only when it is set up.
    from django.test.utils import setup_databases, setup_test_environment, teardown_databases, teardown_test_environment

    setup_test_environment()
    created = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(created, verbosity=0)
    teardown_test_environment()
