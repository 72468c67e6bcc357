"""Languages by their tags (BCP 47): which is read from right to left, and which a browser asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

#: The languages that come with the library.
LANGUAGES: tuple[str, ...] = ("en", "de", "fr")

_RIGHT_TO_LEFT = frozenset("ar arc ckb dv fa he iw ji ks lrc mzn nqo pnb ps sd syr ug ur yi".split())
_RIGHT_TO_LEFT_SCRIPTS = frozenset("adlm arab aran hebr mand mend nkoo rohg samr syrc thaa".split())
_SCRIPT = re.compile("[a-z]{4}")

# RFC 9110, 12.5.4 and 12.4.2.
_RANGE = re.compile(
    r"(\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*)(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?",
    re.IGNORECASE | re.ASCII,
)
# Browsers send less than a hundred; whoever sends more is answered from the beginning of it.
_LONGEST_HEADER = 1_000


def direction_of(language: str) -> Literal["ltr", "rtl"]:
    """In which direction a language is written.

    Example:
        >>> direction_of("pt-BR"), direction_of("ar-EG"), direction_of("az-Arab"), direction_of("ur-Latn")
        ('ltr', 'rtl', 'rtl', 'ltr')
    """
    first, *more = language.casefold().split("-")
    script = next((each for each in more[:2] if _SCRIPT.fullmatch(each)), None)
    is_rtl = first in _RIGHT_TO_LEFT if script is None else script in _RIGHT_TO_LEFT_SCRIPTS
    return "rtl" if is_rtl else "ltr"


def wider(language: str) -> Iterator[str]:
    """A tag and the wider ones that its lookup tries (RFC 4647, 3.4).

    Example:
        >>> list(wider("zh-Hant-x-old"))
        ['zh-Hant-x-old', 'zh-Hant', 'zh']
    """
    parts = language.split("-")
    while parts:
        yield "-".join(parts)
        del parts[-1]
        if parts and len(parts[-1]) == 1:
            del parts[-1]


def choose(accept_language: str | None, available: Sequence[str]) -> str:
    """The first of `available`, or the one that the header prefers."""
    by_key = {each.casefold(): each for each in reversed(available)}
    weights = _weights(accept_language or "")
    refused = frozenset(each for each, weight in weights.items() if not weight)
    wanted = [each for each, weight in sorted(weights.items(), key=lambda pair: -pair[1]) if weight and each != "*"]
    keys = [key for key in (each.casefold() for each in available) if not _is_refused(key, refused)]
    for each in wanted:
        found = next((key for key in wider(each) if key in keys), None)
        if found is not None:
            return by_key[found]
    # Better Portuguese of another country than none.
    near = (key for each in wanted for key in keys if key.startswith(each + "-"))
    rest = available[0].casefold()
    return by_key[next(near, rest if rest in keys else next(iter(keys), rest))]


def _is_refused(key: str, refused: frozenset[str]) -> bool:
    return any(each in refused for each in wider(key))


def _weights(header: str) -> Mapping[str, float]:
    """The ranges of the header and how much each is wanted; what is no range counts for nothing."""
    if len(header) > _LONGEST_HEADER:
        header = header[:_LONGEST_HEADER].rpartition(",")[0]
    found: dict[str, float] = {}
    for part in header.split(","):
        matched = _RANGE.fullmatch(part.strip(" \t"))
        if matched:
            found.setdefault(matched[1].casefold(), float(matched[2] or 1))
    return MappingProxyType(found)
