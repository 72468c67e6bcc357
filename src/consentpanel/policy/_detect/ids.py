"""Ids of persons and devices as whole tokens in texts, in whatever form either is written. Linear in the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
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

    __slots__ = ("_by_spelling",)

    def __init__(self, ids: Iterable[str], shortest: int = 1) -> None:
        # An id of characters that nobody sees has spellings that are shorter, or empty.
        self._by_spelling = {
            spelling: each
            for each in ids
            if len(each) >= shortest
            for spelling in _spellings(each)
            if len(spelling) >= shortest
        }

    def places(self, text: str) -> list[tuple[int, int, str]]:
        """Where the ids stand in a text as it is, in any case: start, end and which; the longest of those that overlap.

        Example:
            >>> Ids(["ann-17"]).places("/u/Ann-17?next=%2Fann-17, but no ann-170")
            [(3, 9, 'ann-17'), (18, 24, 'ann-17')]
        """
        lowered = _lowered(text)
        found = [
            (start, start + len(spelling), each)
            for spelling, each in self._by_spelling.items()
            for start in _tokens(spelling, lowered)
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
        lowered = _lowered(text)
        return any(True for spelling in self._by_spelling for _ in _tokens(spelling, lowered))


def _spellings(each: str) -> Iterable[str]:
    """An id as it may stand in a text, in small letters: a UUID without its hyphens, anything else percent-encoded."""
    lowered = _lowered(each)
    if uuid := _UUID.fullmatch(lowered):
        return dict.fromkeys((lowered, "-".join(uuid.groups()), "".join(uuid.groups())))
    if _PLAIN.fullmatch(lowered):
        return (lowered,)
    written = dict.fromkeys((each, visible(each)))
    quoted = [way(text, safe="", errors="surrogatepass") for text in written for way in (quote, quote_plus)]
    return dict.fromkeys(map(_lowered, (*written, *quoted)))


def _lowered(text: str) -> str:
    lowered = text.lower()
    if len(lowered) != len(text):
        # One letter of Unicode becomes two, and places would shift.
        lowered = "".join(each if len(each.lower()) > 1 else each.lower() for each in text)
    # The small sigma depends on what stands behind it.
    return lowered if lowered.isascii() else lowered.replace("\u03c2", "\u03c3")


def _tokens(spelling: str, text: str) -> Iterator[int]:
    """Where a spelling stands in a text that has none of its letters or digits beside it."""
    is_word_first, is_word_last = _is_word(spelling[0]), _is_word(spelling[-1])
    at = text.find(spelling)
    while at >= 0:
        end = at + len(spelling)
        begins = not (is_word_first and at and _is_word(text[at - 1])) or _PERCENT.fullmatch(text, at - 3, at)
        if begins and not (is_word_last and end < len(text) and _is_word(text[end])):
            yield at
            at = text.find(spelling, end)
        else:
            at = text.find(spelling, at + 1)


def _is_word(character: str) -> bool:
    # A letter of a script that is written without spaces ends a word, as a space does.
    return character.isalnum() and (character.isascii() or UNSPACED.match(character) is None)
