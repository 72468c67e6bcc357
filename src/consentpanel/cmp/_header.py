"""The header ``Cookie`` as browsers send it (RFC 6265, section 4.2.1), for cookies that frameworks' parsers lose or cut."""

from __future__ import annotations

from collections.abc import Collection

from consentpanel.cmp._values import Odd

#: Longest header that is read, in bytes; servers take 8 to 64 KB.
MAX_HEADER = 65_536
#: Longest value that is read, in bytes: browsers keep no longer cookie (RFC 6265, section 6.1).
MAX_VALUE = 4096


class Cookies:
    """The values of some cookies.

    Args:
        header: The raw header; a text is one of WSGI, in which each character is a byte (PEP 3333), or whatever somebody has decoded.
        names: Those that are wanted.
    """

    def __init__(self, header: object, names: Collection[str]) -> None:
        self._found: dict[str, list[bytes]] = {}
        self._last = ""
        raw = _as_bytes(header)
        if len(raw) > MAX_HEADER:
            return
        wanted = {name.encode("ascii"): name for name in names}
        for pair in raw.split(b";"):
            written, is_pair, value = pair.strip(b" \t").partition(b"=")
            self._last = wanted.get(written, "")
            if is_pair and self._last:
                self._found.setdefault(self._last, []).append(value)

    def get(self, name: str) -> str | None:
        """The value of a cookie, undecoded; None where it is missing.

        Raises:
            Odd: It is there twice and disagrees, is too long, or is no UTF-8.
        """
        values = self._found.get(name)
        if not values:
            return None
        if len(values) > 1 and any(each != values[0] for each in values):
            raise Odd
        if len(values[0]) > MAX_VALUE:
            raise Odd
        return values[0].decode()

    def is_last(self, name: str) -> bool:
        """Whether nothing follows this cookie, so that a cut could have shortened it."""
        return self._last == name


def _as_bytes(header: object) -> bytes:
    if isinstance(header, (bytes, bytearray)):
        return bytes(header)
    if not isinstance(header, str):
        return b""
    if len(header) > MAX_HEADER:
        return b" " * (MAX_HEADER + 1)
    try:
        return str.encode(header, "latin-1")
    except UnicodeEncodeError:
        # A half of a surrogate pair becomes bytes that are no UTF-8, which only its own cookie is odd for.
        return str.encode(header, "utf-8", "surrogatepass")
