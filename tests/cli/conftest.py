"""What a module that a test has written has opened is closed with the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from consentpanel import Mixpanel, SpoolConsumer


@pytest.fixture(autouse=True)
def _modules_of_a_test(tmp_path: Path) -> Iterator[None]:
    yield
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            for each in list(vars(module).values()):
                # Their threads wait for what another process may write.
                if isinstance(each, (Mixpanel, SpoolConsumer)) and type(each) is not type:
                    each.close()
            del sys.modules[name]
