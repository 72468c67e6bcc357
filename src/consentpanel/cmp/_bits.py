"""Bits in the alphabet of Base64 for URLs, as the IAB's strings have them: six to a character, of which the last ones may be padding."""

from __future__ import annotations

from consentpanel.cmp._values import Odd

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SIX = {letter: format(number, "06b") for number, letter in enumerate(_ALPHABET)}
#: The encoders fill up to whole bytes, and to whole characters, at most.
_PADDING = 24


class Bits:
    """Reads a text from its first bit to its last.

    Args:
        text: The text.

    Raises:
        Odd: It is empty, or holds another character.
    """

    def __init__(self, text: str) -> None:
        if not text or not set(text) <= _SIX.keys():
            raise Odd
        self._bits = "".join([_SIX[each] for each in text])
        self._at = 0

    def take(self, count: int) -> str:
        """The next bits, as zeros and ones.

        Raises:
            Odd: There are fewer.
        """
        taken = self._bits[self._at : self._at + count]
        if len(taken) != count:
            raise Odd
        self._at += count
        return taken

    def number(self, count: int) -> int:
        """The next bits as a number.

        Raises:
            Odd: There are fewer.
        """
        return int(self.take(count), 2)

    def flag(self) -> bool:
        """The next bit.

        Raises:
            Odd: There is none.
        """
        return self.take(1) == "1"

    def fibonacci(self) -> int:
        """The next number in Fibonacci's code, which ends at two ones in a row.

        Raises:
            Odd: It does not end, or is far too large.
        """
        total, here, after = 0, 1, 2
        was_one = False
        # 22 bits are beyond any id of a section.
        for _ in range(22):
            is_one = self.flag()
            if is_one and was_one:
                return total
            total += here if is_one else 0
            here, after, was_one = after, here + after, is_one
        raise Odd

    def end(self) -> None:
        """Refuses what is more than padding.

        Raises:
            Odd: It is.
        """
        rest = self._bits[self._at :]
        if len(rest) >= _PADDING or "1" in rest:
            raise Odd
