"""The strings of the tests are of September 2026; the clock is held at November."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

import consentpanel.cmp._values


@pytest.fixture(autouse=True, scope="module")
def at_the_end_of_2026():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consentpanel.cmp._values, "now", lambda: datetime(2026, 11, 28, 12, tzinfo=timezone.utc))
        yield
