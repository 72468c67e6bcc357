"""The file or pipe that a command reads."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator
from typing import IO

from consentpanel._jobs._usage import UsageError, usable
from consentpanel.transparency._files import opened

_PIPE = frozenset({None, "-"})


@contextlib.contextmanager
def opened_input(file: str | None) -> Generator[tuple[IO[bytes], int | None]]:
    """Opens what is read.

    Args:
        file: Its name; ``"-"`` or None for standard input.

    Yields:
        The bytes, and how many there are, where that is known.

    Raises:
        UsageError: It cannot be opened, or nothing is piped.
    """
    if file in _PIPE:
        # Closed, it is None.
        if sys.stdin is None or (file is None and sys.stdin.isatty()):
            raise UsageError("name a FILE, or pipe the records to standard input")
        yield sys.stdin.buffer, None
        return
    with contextlib.ExitStack() as stack:
        with usable(file, OSError):
            stream = stack.enter_context(opened(str(file)))
        yield stream, os.fstat(stream.fileno()).st_size or None


#: What is told of an input in which there is nothing.
EMPTY = "there is no record in it: was another file meant, or did what should fill the pipe fail?"


def name_of(file: str | None) -> str:
    """What errors call it."""
    return "standard input" if file in _PIPE else str(file)
