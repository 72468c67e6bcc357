"""How a key looks to whoever reads it: what closes a property is not escaped by another way to write the same name."""

from __future__ import annotations

import re

from consentpanel.policy._detect.normalize import visible

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def seen(key: str) -> str:
    r"""A key as a reader sees it: in form NFKC, without control and invisible characters, and without space around it.

    Example:
        >>> seen("\uff45mail\u200b ")
        'email'
    """
    if key.isascii() and key.isprintable():
        return key.strip()
    return _CONTROLS.sub("", visible(key)).strip()


def folded(key: str) -> str:
    r"""A key as closing rules match it: as a reader sees it, and without its case.

    Example:
        >>> folded("\uff25-Mail\x00"), folded(folded("STRA\u1e9eE")) == folded("strasse")
        ('e-mail', True)
    """
    # Folding can undo the form, as of a Greek letter with two marks.
    return seen(seen(key).casefold())
