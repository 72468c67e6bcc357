"""What the command line prints and writes: a name in it drives no terminal, and a link leads it to no other file."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

from consentpanel.transparency._printable import printable

#: The form of what ``--json`` prints. Keys may be added to it; it counts up where one goes or means something else.
SCHEMA = 1


def say(*lines: str) -> None:
    """Prints lines, with an escape in the place of whatever is not printable in them."""
    for line in lines:
        print(printable(line))


def say_json(said: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Prints an object of ours as JSON, which says in what form it is."""
    print_json({"schema": SCHEMA, **said}, indent=indent)


def print_json(said: object, *, indent: int | None = 2) -> None:
    """Prints JSON in ASCII, in a form of somebody else's."""
    print(json.dumps(said, indent=indent).replace("\x7f", "\\u007f"))


def agreed(question: str, *, is_sure: bool) -> bool:
    """Whether somebody agrees at the terminal.

    Args:
        question: What is asked.
        is_sure: Whether that was said before, so that nobody is asked.
    """
    if is_sure:
        return True
    try:
        with redirect_stdout(sys.stderr):  # what goes to a file or a pipe is the result
            answer = input(f"{question} [y/N] ")
    except (EOFError, RuntimeError):  # standard input is closed
        answer = ""
    if answer.strip().lower() in {"y", "yes"}:
        return True
    complain("nothing was done")
    return False


def complain(line: str) -> None:
    """Prints a line on standard error, as `say`."""
    print(printable(line), file=sys.stderr)


def create(path: Path, text: str) -> bool:
    """Writes a new file, whole or not at all.

    Returns:
        Whether it was written: what is there already stays, be it a link that leads nowhere.

    Raises:
        OSError: It cannot be written.
    """
    try:
        # Takes the name, if nothing has it.
        os.close(os.open(path, _NEW, 0o666))
    except FileExistsError:
        return False
    try:
        write(path, text)
    except BaseException:
        path.unlink()
        raise
    return True


def write(path: Path, text: str) -> None:
    """Writes a file, whole or not at all, in the place of a regular one or of none.

    Raises:
        OSError: It cannot be written, or something else stands there, such as a link.
    """
    mode = path.lstat().st_mode if os.path.lexists(path) else None
    if mode is not None and not stat.S_ISREG(mode):
        what = "a symbolic link, which is not followed" if stat.S_ISLNK(mode) else "not a regular file"
        raise OSError(errno.EINVAL, what, str(path))
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    number = os.open(beside, _NEW, 0o666)
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(text.encode())
        if mode is not None:
            beside.chmod(stat.S_IMODE(mode))
        beside.replace(path)
    except BaseException:
        beside.unlink()
        raise


_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
