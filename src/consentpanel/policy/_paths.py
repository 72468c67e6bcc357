"""Paths of properties: how one is read and written."""

from __future__ import annotations

import re

from consentpanel._messages.wire import MAX_DEPTH
from consentpanel.errors import ConfigurationError
from consentpanel.policy._keys import seen
from consentpanel.policy._names import category_of

# A key in quotes, or one without dots and brackets; then how many lists; then a dot, or the end.
_STEP = re.compile(r"(?:'((?:[^']|'')+)'|([^.\[\]']{1,512}[^.\[\]]{0,512}))((?:\[\])*)(\.|$)", re.DOTALL)
ITEMS = "[]"


def parts_of(origin: str, path: object) -> list[str]:
    """The steps of a path: keys, and ``"[]"`` for the items of a list.

    A key that holds a dot or a bracket stands in single quotes, with ``''`` for a quote inside.

    Raises:
        ConfigurationError: It is no path.
    """
    if not isinstance(path, str):
        raise ConfigurationError(f"{origin}: a path must be a str, not {type(path).__name__}")
    parts: list[str] = []
    at = 0
    while True:
        found = _STEP.match(path, at)
        key = "" if found is None else found[1].replace("''", "'") if found[1] else found[2]
        if found is None or (not found[1] and key != key.strip()) or key == ITEMS:
            raise ConfigurationError(
                f'{origin}: {path!r} is not a path; write "address.city" for a key in a dict, "items[].sku" for a key '
                "in each dict of a list, and \"'address.city'\" for a key with a dot in it"
            )
        parts += [key, *[ITEMS] * (len(found[3]) // 2)]
        at = found.end()
        if not found[4]:
            break
    if len(parts) > MAX_DEPTH:
        raise ConfigurationError(
            f"{origin}: a path has at most {MAX_DEPTH} steps, not {len(parts)}; no value is deeper"
        )
    return parts


def keys_of(origin: str, path: str) -> list[str]:
    """The keys that a path names, without its steps into lists."""
    return [step for step in parts_of(origin, path) if step != ITEMS]


def category_of_path(origin: str, path: str) -> str | None:
    """The kind of personal data that a path names, by its last key or by all of them together; None for none."""
    keys = [seen(key) for key in keys_of(origin, path)]
    return category_of(keys[-1]) or category_of(" ".join(keys))


def written(key: str) -> str:
    """A key as it stands in a path."""
    return "'" + key.replace("'", "''") + "'" if _TO_QUOTE.search(key) else key


_TO_QUOTE = re.compile(r"[.\[\]]|^'")
