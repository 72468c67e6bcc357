"""The vendor's submodule ``mixpanel.credentials`` (mixpanel 5.2 and newer), as `consentpanel.flags` is its ``flags``."""

from __future__ import annotations

import sys

from consentpanel._mixpanel import vendor  # noqa: F401  # pyright: ignore[reportUnusedImport] - loads it

if "mixpanel.credentials" not in sys.modules:
    raise ModuleNotFoundError(f"No module named {__name__!r}: mixpanel 5.2 brought it", name=__name__)
sys.modules[__name__] = sys.modules["mixpanel.credentials"]
