"""Versions of notices, as people are told them."""

from __future__ import annotations

import re

# A digest by which no reader tells one version from another; the whole one stands in the notice and in the receipts.
_DIGEST = re.compile(r"n[0-9]+_([0-9a-f]{6})[0-9a-f]{10}")


def short(version: str) -> str:
    """A version as people are told it: the beginning of one that is a digest.

    Example:
        >>> short("n2_a094dee5506de42d"), short("2026-11-01")
        ('a094de', '2026-11-01')
    """
    found = _DIGEST.fullmatch(version)
    return version if found is None else found[1]
