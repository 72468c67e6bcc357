from __future__ import annotations

import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel._cli._input.framing import UnreadableInputError, frames

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._content = io.BytesIO(content)
        self._sizes = sizes

    def read(self, size: int = -1) -> bytes:
        step = self._sizes.pop(0) if self._sizes else 5
        return self._content.read(step if size < 0 else min(step, size))


def decoded(content: bytes, sizes: list[int]) -> list[object]:
    found = list(frames(Trickle(content, list(sizes))))
    assert [frame.problem for frame in found if frame.problem] == []
    return [json.loads(frame.text) for frame in found]


@given(st.lists(json_values, max_size=6), st.lists(st.integers(1, 40), max_size=30), st.sampled_from([None, 1]))
def test_each_element_of_an_array_is_found_wherever_the_stream_is_cut(values, sizes, indent) -> None:
    for content in (json.dumps(values, indent=indent), json.dumps(values, ensure_ascii=False)):
        assert decoded(content.encode("utf-8", "surrogatepass"), sizes) == values


@given(
    st.lists(st.dictionaries(st.text(), json_values, max_size=3), max_size=6),
    st.lists(st.integers(1, 40), max_size=30),
    st.sampled_from(["\n", "\r\n", "\n\n", " \r\n\t\n"]),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.booleans(),
)
def test_each_line_is_found_wherever_the_stream_is_cut(values, sizes, newline, mark, is_compressed) -> None:
    content = mark + newline.join(map(json.dumps, values)).encode()
    assert decoded(gzip.compress(content) if is_compressed else content, sizes) == values


def test_a_line_separator_inside_a_string_ends_no_line() -> None:
    content = '{"a": "x\u2028y\x85z"}\n{}'.encode()
    assert [frame.text.decode() for frame in frames(io.BytesIO(content))] == ['{"a": "x\u2028y\x85z"}', "{}"]


def test_lines_are_numbered_as_an_editor_numbers_them() -> None:
    assert [frame.line for frame in frames(io.BytesIO(b"\n\r\n{}\n\n{}\r\n{}"))] == [3, 5, 6]


def test_elements_are_numbered_by_the_line_on_which_they_start() -> None:
    assert [frame.line for frame in frames(io.BytesIO(b'\n[\n{"a":\n1},\n\n{},{}\n]\n'))] == [3, 6, 6]


@pytest.mark.parametrize("content", [b'{"a": "%s"}\n{"b": 1}', b'[{"a": "%s"},\n{"b": 1}]'])
def test_a_record_that_is_too_long_is_skipped_without_being_held(content: bytes) -> None:
    class Endless(io.RawIOBase):
        """A hundred times the limit, made as it is read."""

        def __init__(self) -> None:
            head, tail = content.split(b"%s")
            self._parts = [head, *[b"x" * 1000] * 100, tail]

        def read(self, size: int = -1) -> bytes:
            return self._parts.pop(0) if self._parts else b""

    long, short = frames(Endless(), limit=1000)
    assert (long.line, long.text, long.problem) == (1, None, "longer than 1,000 bytes; skipped")
    assert (short.line, short.text) == (2, b'{"b": 1}')


def test_a_record_of_exactly_the_limit_is_read() -> None:
    at, over = frames(io.BytesIO(b'{"a":12}\n{"a":123}'), limit=8)
    assert at.text == b'{"a":12}'
    assert over.text is None


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"", []),
        (b"  \n ", []),
        (b"[]", []),
        (b"[1", ["the JSON array is not closed; the input may be cut short"]),
        (b"[", ["the JSON array is not closed; the input may be cut short"]),
        (b"[1,]", ["nothing between two commas"]),
        (b"[,1]", ["nothing between two commas"]),
        (b"[1] 2", ["something follows the end of the JSON array"]),
        (b"[1][2]", ["something follows the end of the JSON array"]),
    ],
)
def test_what_is_wrong_with_an_array_itself_is_said(content: bytes, problems: list[str]) -> None:
    assert [frame.problem for frame in frames(io.BytesIO(content)) if frame.problem] == problems


def test_a_broken_element_does_not_hide_the_next_one() -> None:
    content = b'[{"a": 1}, {"b" 2]}, {"c": "\\"],[{"}]'
    assert [frame.text for frame in frames(io.BytesIO(content))] == [b'{"a": 1}', b'{"b" 2]}', b'{"c": "\\"],[{"}']


@pytest.mark.parametrize("damage", [lambda data: data[:-12], lambda data: data[:20] + b"\0\0\0\0" + data[24:]])
def test_damaged_compression_is_said_once_and_ends_the_input(damage) -> None:
    data = damage(gzip.compress(b"".join(b'{"a": "%d"}\n' % number for number in range(9))))
    problems = [frame.problem for frame in frames(io.BytesIO(data)) if frame.problem]
    assert problems == ["the gzip data is damaged or ends too early"]


def test_several_compressed_parts_are_read_as_one() -> None:
    data = gzip.compress(b'{"a": 1}\n{"b"') + gzip.compress(b": 2}\n")
    assert [frame.text for frame in frames(io.BytesIO(data))] == [b'{"a": 1}', b'{"b": 2}']


def test_a_disk_that_fails_in_the_middle_is_said() -> None:
    class Failing(io.RawIOBase):
        parts = (b'{"a": 1}\n{"b"',)

        def __init__(self) -> None:
            self._left = list(self.parts)

        def read(self, size: int = -1) -> bytes:
            if self._left:
                return self._left.pop(0)
            raise OSError(5, "Input/output error")

    whole, part, failure = frames(Failing())
    assert (whole.text, part.text) == (b'{"a": 1}', b'{"b"')
    assert failure.problem == "reading failed: Input/output error"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_other_encodings_are_refused_with_what_to_do(encoding: str) -> None:
    content = '\ufeff{"a": 1}'.encode(encoding) if encoding == "utf-16-be" else '{"a": 1}'.encode(encoding)
    with pytest.raises(UnreadableInputError, match="save it as UTF-8"):
        list(frames(io.BytesIO(content)))


def test_every_byte_that_was_read_is_told() -> None:
    told: list[int] = []
    list(frames(io.BytesIO(gzip.compress(b"{}\n" * 100_000)), on_bytes=told.append))
    assert sum(told) == len(gzip.compress(b"{}\n" * 100_000))


@given(st.binary(max_size=200) | st.text('[]{}",:\\1a \n', max_size=60).map(str.encode), st.integers(1, 30))
def test_no_input_crashes_the_reader(content: bytes, limit: int) -> None:
    try:
        found = list(frames(io.BytesIO(content), limit=limit))
    except UnreadableInputError:
        return
    assert all((frame.text is None) == (frame.problem is not None) for frame in found)
    assert all(len(frame.text) <= limit for frame in found if frame.text is not None)
    assert [frame.line for frame in found] == sorted(frame.line for frame in found)
