"""The vendor's submodule ``mixpanel.flags``, so that ``from consentpanel.flags.types import ...`` works."""

from __future__ import annotations

import sys

from consentpanel._mixpanel import vendor  # noqa: F401  # pyright: ignore[reportUnusedImport] - loads them

for _name, _module in list(sys.modules.items()):
    if _name.startswith("mixpanel.flags"):
        # The same module objects, also where this file is found as `mixpanel.flags` in an in-place swap: a second copy
        # would have classes of its own.
        sys.modules["consentpanel" + _name.removeprefix("mixpanel")] = _module
