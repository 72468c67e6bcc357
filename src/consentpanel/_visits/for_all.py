"""What is the same for all: by it nobody is known, and nothing of what a browser says by itself is heeded."""

from __future__ import annotations

#: The last parts of the paths of the panel's own files, and of its notice.
NAMES = frozenset({"panel.css", "panel.js", "openapi.json", "notice"})


def may_be_for_all(path: str) -> bool:
    """Whether a response may be the same for all, by the path: what the browser says is heeded only once it is known not to be.

    Args:
        path: The path of the request, wherever the panel is mounted.
    """
    return path.rstrip("/").rpartition("/")[2] in NAMES
