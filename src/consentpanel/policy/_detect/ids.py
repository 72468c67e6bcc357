"""Ids of persons and devices as whole tokens in texts, in whatever form either is written. Linear in the text."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, quote_plus

from consentpanel.policy._detect.normalize import UNSPACED, forms, visible

_PLAIN = re.compile(r"[a-z0-9_.~-]+")
_UUID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
_PERCENT = re.compile("%[0-9a-f]{2}")


class Ids:
    """Some ids, to be found in texts.

    Args:
        ids: The ids.
        shortest: The least characters of one that is looked for inside a text.
    """

    __slots__ = ("_by_spelling", "_sorted")

    def __init__(self, ids: Iterable[str], shortest: int = 1) -> None:
        # An id of characters that nobody sees has spellings that are shorter, or empty.
        self._by_spelling = {
            spelling: each
            for each in ids
            if len(each) >= shortest
            for spelling in _spellings(each)
            if len(spelling) >= shortest
        }
        self._sorted = _Sorted(self._by_spelling) if len(self._by_spelling) > _MOST_ONE_BY_ONE else None

    def places(self, text: str) -> list[tuple[int, int, str]]:
        """Where the ids stand in a text as it is, in any case: start, end and which; the longest of those that overlap.

        Example:
            >>> Ids(["ann-17"]).places("/u/Ann-17?next=%2Fann-17, but no ann-170")
            [(3, 9, 'ann-17'), (18, 24, 'ann-17')]
        """
        small, at = _folded(text)
        found = [
            (at[start], at[start + len(spelling)], self._by_spelling[spelling])
            for start, spelling in self._found(small)
        ]
        if len(found) < 2:
            return found
        found.sort(key=lambda place: (place[0], -place[1]))
        apart: list[tuple[int, int, str]] = []
        for place in found:
            if not apart or place[0] >= apart[-1][1]:
                apart.append(place)
        return apart

    def are_in(self, text: str) -> bool:
        r"""Whether one of them stands in a text, or in what is left of it when it is decoded.

        Example:
            >>> ids = Ids(["ann|17"])
            >>> [ids.are_in(text) for text in ("for Ann|17!", "%7Cann%257c17", "ann\\u007c17", "ann|170")]
            [True, True, True, False]
        """
        return self._is_in(text) or self.are_hidden_in(text)

    def are_hidden_in(self, text: str) -> bool:
        """Whether one of them is seen only when the text is decoded, or whether decoding does not come to rest."""
        if not self._by_spelling:
            return False
        texts, is_at_rest = forms(text)
        return not is_at_rest or any(self._is_in(each) for each in texts)

    def _is_in(self, text: str) -> bool:
        return any(True for _ in self._found(_folded(text)[0]))

    def _found(self, small: str) -> Iterator[tuple[int, str]]:
        """Where a spelling stands as a whole token in a text in small letters, and which."""
        if self._sorted is not None:
            yield from self._sorted.found(small)
            return
        for spelling in self._by_spelling:
            for start in _tokens(spelling, small):
                yield start, spelling


#: With more spellings than this a text is gone through once for all of them, and not once for each.
_MOST_ONE_BY_ONE = 8


class _Sorted:
    """Many spellings that are looked for together, in one pass over a text."""

    __slots__ = ("_before", "_first", "_longest", "_spellings")

    def __init__(self, spellings: Iterable[str]) -> None:
        self._spellings = sorted(spellings)
        self._longest = max(map(len, self._spellings))
        self._first = frozenset(each[0] for each in self._spellings)
        #: For each of them the place of the longest other one that it begins with.
        self._before: list[int] = []
        above: list[int] = []
        for at, spelling in enumerate(self._spellings):
            while above and not spelling.startswith(self._spellings[above[-1]]):
                above.pop()
            self._before.append(above[-1] if above else -1)
            above.append(at)

    def found(self, small: str) -> Iterator[tuple[int, str]]:
        for start, character in enumerate(small):
            if character not in self._first or not _may_begin(small, start):
                continue
            ahead = small[start : start + self._longest]
            at = bisect_right(self._spellings, ahead) - 1
            # All that begin here are the beginnings of the last one that is not behind it.
            while at >= 0:
                spelling = self._spellings[at]
                if ahead.startswith(spelling) and _may_end(small, start + len(spelling)):
                    yield start, spelling
                    break
                at = self._before[at]


def _spellings(each: str) -> Iterable[str]:
    """An id as it may stand in a text, in small letters: a UUID without its hyphens, anything else percent-encoded."""
    small = _folded(each)[0]
    if uuid := _UUID.fullmatch(small):
        return dict.fromkeys((small, "-".join(uuid.groups()), "".join(uuid.groups())))
    if _PLAIN.fullmatch(small):
        return (small,)
    written = dict.fromkeys((each, visible(each)))
    quoted = [way(text, safe="", errors="surrogatepass") for text in written for way in (quote, quote_plus)]
    return dict.fromkeys(_folded(text)[0] for text in (*written, *quoted))


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """A text without its case, and where each of its characters stands in the text, and its end."""
    if text.isascii():
        return text.lower(), range(len(text) + 1)
    parts = list(map(str.casefold, text))
    small = "".join(parts)
    if len(small) == len(text):
        return small, range(len(text) + 1)
    # One letter becomes two, as the sharp s does.
    return small, [*(at for at, part in enumerate(parts) for _ in part), len(text)]


def _tokens(spelling: str, text: str) -> Iterator[int]:
    """Where a spelling stands in a text that has none of its letters or digits beside it."""
    at = text.find(spelling)
    while at >= 0:
        end = at + len(spelling)
        if _may_begin(text, at) and _may_end(text, end):
            yield at
            at = text.find(spelling, end)
        else:
            at = text.find(spelling, at + 1)


def _may_begin(text: str, at: int) -> bool:
    if not at or not _is_word(text[at]) or not _is_word(text[at - 1]):
        return True
    return _PERCENT.fullmatch(text, at - 3, at) is not None


def _may_end(text: str, end: int) -> bool:
    return end == len(text) or not _is_word(text[end]) or not _is_word(text[end - 1])


def _is_word(character: str) -> bool:
    # A letter of a script that is written without spaces ends a word, as a space does.
    return character.isalnum() and (character.isascii() or UNSPACED.match(character) is None)
