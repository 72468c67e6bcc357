"""A line on standard error that says how far a long job is."""

from __future__ import annotations

import time
from typing import TextIO

_EVERY = 0.5
_WIDTH = 78


class Progress:
    """How many records and bytes were read, told at most twice a second.

    On a terminal one line is written over and over; elsewhere each is a line of its own.

    Args:
        stream: Where it is told.
        is_shown: Whether it is told at all.
        size: The size of the input in bytes, for a percentage; None when it is not known, as with a pipe.
    """

    def __init__(self, stream: TextIO, *, is_shown: bool, size: int | None = None) -> None:
        self._stream = stream
        self._is_shown = is_shown
        self._overwrites = stream.isatty()
        self._size = size
        self._next = time.monotonic() + _EVERY
        self._bytes = 0
        self.records = 0

    def read(self, count: int) -> None:
        """Note that so many bytes were read."""
        self._bytes += count
        if self._is_shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            self._tell(is_last=False)

    def interrupt(self) -> None:
        """Clear the line, before something else is written to the terminal."""
        if self._is_shown and self._overwrites:
            self._stream.write(f"\r{'':<{_WIDTH}}\r")

    def done(self) -> None:
        """Tell the total."""
        if self._is_shown:
            self._tell(is_last=True)

    def _tell(self, *, is_last: bool) -> None:
        share = f" ({min(100, 100 * self._bytes // self._size)} %)" if self._size else ""
        line = f"read {self.records:,} records, {self._bytes / 1e6:,.1f} MB{share}"
        if self._overwrites:
            line = f"\r{line:<{_WIDTH}}"
        self._stream.write(f"{line}\n" if is_last or not self._overwrites else line)
        self._stream.flush()
