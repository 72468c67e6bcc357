"""``consent`` in every template."""

from __future__ import annotations

from typing import Any


def consent(request: Any) -> dict[str, Any]:
    """The request's consent, as ``{{ consent }}``; nothing without the middleware."""
    found = getattr(request, "consent", None)
    return {} if found is None else {"consent": found}
