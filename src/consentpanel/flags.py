"""The vendor's submodule ``mixpanel.flags``, so that ``from consentpanel.flags.types import ...`` works."""

from __future__ import annotations

import sys

for _name, _module in list(sys.modules.items()):
    if _name.startswith("mixpanel.flags"):
        # The same module objects: a second copy would have classes of its own.
        sys.modules["consentpanel" + _name.removeprefix("mixpanel")] = _module
