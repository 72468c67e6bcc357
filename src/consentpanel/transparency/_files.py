"""Reads files that anybody may have put there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

#: The longest file in bytes that is read whole.
MAX_BYTES = 8 * 1024 * 1024


def opened(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a regular file for reading, and nothing that could wait for somebody.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    try:
        _refuse_other(path, Path(path).stat().st_mode)
        # It may be another file by now: a FIFO without a writer is then opened at once, and refused.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:  # a NUL in the name
        raise OSError(errno.EINVAL, "no name of a file") from None
    stream = os.fdopen(number, "rb")
    try:
        _refuse_other(path, os.fstat(number).st_mode)
    except OSError:
        stream.close()
        raise
    return stream


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: It cannot be read, is no regular file, or is longer than `MAX_BYTES`.
    """
    with opened(path) as stream:
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(errno.EFBIG, f"longer than {MAX_BYTES:,} bytes", str(Path(path)))
    return data


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a regular file in UTF-8.

    Raises:
        OSError: As `read`, or it is not UTF-8.
    """
    try:
        return read(path).decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        pass
    # Raised here, so that the decoder's exception, which holds the file, stays in no context.
    raise OSError(errno.EILSEQ, "not UTF-8", str(Path(path)))


def _refuse_other(path: str | os.PathLike[str], mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
