"""Records cut out of a byte stream of any size, in constant memory: lines of NDJSON, or elements of a JSON array."""

from __future__ import annotations

import gzip
import io
import itertools
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import attrs

#: Longest record in bytes that is read; the vendor takes less than 1 MB an event.
MAX_RECORD = 4 * 1024 * 1024

#: How an array begins; and one of anything but numbers and words, since a line of a log may begin with a date in brackets.
ANY_ARRAY = re.compile(rb"\[")
ARRAY_NOT_LOG = re.compile(rb'\[[ \t\r\n]*(?:["\[\]{]|\Z)')

_CHUNK = 64 * 1024
# JSON's own white space, RFC 8259, section 2.
_WHITE = b" \t\r\n"
# How gzip data begins: RFC 1952, section 2.3.1.
_GZIP = b"\x1f\x8b"
# How other archives and compressed files begin, and what opens them.
_PACKED = {
    b"PK\x03\x04": ("a ZIP archive", "unzip -p"),
    b"PK\x05\x06": ("a ZIP archive, and an empty one", "unzip -l"),
    b"BZh": ("compressed by bzip2", "bzip2 -dc"),
    b"\xfd7zXZ\x00": ("compressed by xz", "xz -dc"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "zstd -dc"),
    _GZIP: ("compressed by gzip twice", "gzip -dc"),
}
_LONGEST_MARK = max(map(len, _PACKED))
# Byte-order marks: of UTF-8; of UTF-16 in both orders, which is that of little-endian UTF-32 too; of UTF-32.
_UTF8_MARK = b"\xef\xbb\xbf"
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
# All that can begin a string, or begin, part or end the values of an array or object.
_OUTSIDE_STRING = re.compile(rb'["\[\]{},]')
# A backslash with what it escapes, which the next chunk may hold; or the end of the string.
_INSIDE_STRING = re.compile(rb'\\(?:.|\Z)|"', re.DOTALL)


class UnreadableInputError(Exception):
    """The input is of a kind that holds no records that can be read."""


@attrs.frozen
class Frame:
    """The bytes of one record, or why there are none.

    Attributes:
        line: The number of the line on which the record starts, from 1.
        text: The bytes; None if there is a problem.
        problem: What is wrong, in words without any value of the input; None if nothing is.
    """

    line: int
    text: bytes | None = attrs.field(default=None, repr=False)
    problem: str | None = None


def frames(
    stream: IO[bytes],
    *,
    limit: int = MAX_RECORD,
    on_bytes: Callable[[int], object] | None = None,
    array: re.Pattern[bytes] | None = ANY_ARRAY,
) -> Iterator[Frame]:
    r"""Cut a stream into records, whatever its form.

    Args:
        stream: Plain or gzip-compressed UTF-8, with or without a byte-order mark: a JSON array, else NDJSON.
        limit: Longest record in bytes; a longer one is reported and skipped without being held.
        on_bytes: Called with the number of bytes, each time that some were read from `stream`.
        array: How what is an array begins; anything else is lines, and everything is where this is None.

    Yields:
        A `Frame` for each record and for each thing that is wrong with the stream itself.

    Raises:
        UnreadableInputError: The input is UTF-16 or UTF-32, or compressed otherwise than by gzip.

    Example:
        >>> import io
        >>> [(frame.line, frame.text) for frame in frames(io.BytesIO(b'{"a": 1}\n\n{"a": 2}'))]
        [(1, b'{"a": 1}'), (3, b'{"a": 2}')]
    """
    source = _Source(stream, on_bytes)
    chunks = iter(source)
    line = last = 1
    for chunk in chunks:
        text = chunk.lstrip(_WHITE)
        line += chunk[: len(chunk) - len(text)].count(b"\n")
        if text:
            is_array = array is not None and array.match(text) is not None
            rest = itertools.chain([text[1:] if is_array else text], chunks)
            for frame in (_elements if is_array else _lines)(rest, line, limit):
                last = frame.line
                yield frame
    if source.damage:
        yield Frame(last, problem=source.damage)


class _Source:
    """The chunks of a stream, decompressed, without a byte-order mark; damage ends it and is remembered."""

    def __init__(self, stream: IO[bytes], on_bytes: Callable[[int], object] | None) -> None:
        self._stream = stream
        self._on_bytes = on_bytes
        self.damage: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        head, rest = _long_head(self._raw())
        if head.startswith(_GZIP):
            head, rest = _long_head(self._decompressed(itertools.chain([head], rest)))
        for mark, (what, command) in _PACKED.items():
            if head.startswith(mark):
                raise UnreadableInputError(f"the input is {what}; unpack it and pipe it in: {command} FILE | ...")
        if head.startswith(_WIDE_MARKS):
            raise UnreadableInputError("the input is UTF-16 or UTF-32; save it as UTF-8")
        return itertools.chain([head.removeprefix(_UTF8_MARK)], rest)

    def _raw(self) -> Iterator[bytes]:
        while chunk := self._read():
            if self._on_bytes:
                self._on_bytes(len(chunk))
            yield chunk

    def _read(self) -> bytes:
        # One system call a chunk: a slow pipe shows its records as they come.
        read: Callable[[int], bytes] = getattr(self._stream, "read1", self._stream.read)
        try:
            return read(_CHUNK)
        except OSError as error:
            self.damage = f"reading failed: {error.strerror or type(error).__name__}"
            return b""

    def _decompressed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        with gzip.GzipFile(fileobj=io.BufferedReader(_Chunks(chunks))) as file:
            try:
                while chunk := file.read1(_CHUNK):
                    yield chunk
            except (EOFError, OSError, zlib.error):
                self.damage = self.damage or "the gzip data is damaged or ends too early"


class _Chunks(io.RawIOBase):
    """An iterator of chunks as a file, for `gzip`."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        chunk = self._rest or next(self._chunks, b"")
        size = min(len(chunk), len(buffer))
        buffer[:size] = chunk[:size]
        self._rest = chunk[size:]
        return size


def _long_head(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """A first chunk that is as long as the longest mark, unless all is shorter, and the chunks after it."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _LONGEST_MARK:
            break
    return head, chunks


class _Record:
    """The bytes of one record so far, forgotten as soon as they pass the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self._is_too_long = False

    def add(self, part: bytes) -> None:
        if self._is_too_long or len(self._bytes) + len(part) > self._limit:
            self._is_too_long = True
            self._bytes.clear()
        else:
            self._bytes += part

    def frame(self, line: int) -> Frame | None:
        """The finished record, None if there is only white space; the next one starts empty."""
        text = bytes(self._bytes).strip(_WHITE)
        is_too_long = self._is_too_long
        self._bytes.clear()
        self._is_too_long = False
        if is_too_long:
            return Frame(line, problem=f"longer than {self._limit:,} bytes; skipped")
        return Frame(line, text) if text else None

    @property
    def is_blank(self) -> bool:
        return not self._bytes and not self._is_too_long


def _lines(chunks: Iterable[bytes], line: int, limit: int) -> Iterator[Frame]:
    record = _Record(limit)
    for chunk in chunks:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            record.add(chunk[start:end])
            if frame := record.frame(line):
                yield frame
            line += 1
            start = end + 1
        record.add(chunk[start:])
    if frame := record.frame(line):
        yield frame


def _elements(chunks: Iterable[bytes], line: int, limit: int) -> Iterator[Frame]:
    # The end of an element is found by its brackets, not by parsing it, so that a broken one can be skipped.
    element = _Element(line, limit)
    separators = _Separators()
    is_first = True
    for chunk in chunks:
        start = 0
        for separator in separators.positions(chunk):
            element.add(chunk[start:separator])
            yield from element.finished(may_be_blank=is_first and separators.is_closed)
            is_first = False
            start = separator + 1
        element.add(chunk[start:])
    frame = element.frame()
    if frame and separators.is_closed:
        yield Frame(frame.line, problem="something follows the end of the JSON array")
    elif frame:
        yield frame
    if not separators.is_closed:
        yield Frame(element.line, problem="the JSON array is not closed; the input may be cut short")


class _Separators:
    """Finds the commas between the elements of an array, and the bracket that closes it, chunk after chunk."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self.is_closed = False

    def positions(self, chunk: bytes) -> Iterator[int]:
        position = int(self._is_escaped)
        self._is_escaped = False
        while not self.is_closed:
            found = (_INSIDE_STRING if self._in_string else _OUTSIDE_STRING).search(chunk, position)
            if found is None:
                return
            position, mark = found.end(), found[0]
            if self._in_string:
                self._in_string = mark != b'"'
                self._is_escaped = mark == b"\\"
            elif mark == b'"':
                self._in_string = True
            elif mark in b"[{":
                self._depth += 1
            elif self._depth:
                self._depth -= mark in b"]}"
            elif mark in b",]":
                self.is_closed = mark == b"]"
                yield found.start()


class _Element:
    """An element of an array as it comes, and the lines it spans."""

    def __init__(self, line: int, limit: int) -> None:
        self._record = _Record(limit)
        self._first_line = line
        self.line = line

    def add(self, part: bytes) -> None:
        if self._record.is_blank:
            text = part.lstrip(_WHITE)
            self._first_line = self.line + part[: len(part) - len(text)].count(b"\n")
        else:
            text = part
        self.line += part.count(b"\n")
        self._record.add(text)

    def frame(self) -> Frame | None:
        return self._record.frame(self._first_line)

    def finished(self, *, may_be_blank: bool) -> Iterator[Frame]:
        frame = self.frame()
        if frame:
            yield frame
        elif not may_be_blank:
            yield Frame(self.line, problem="nothing between two commas")
