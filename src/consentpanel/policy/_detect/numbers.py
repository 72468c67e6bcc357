"""Numbers that are about a person: telephone, payment card, IBAN, US social security number.

Digits are ASCII here; `normalize` writes every other decimal digit so. Patterns are bounded, start where a word does, and take
digits in a row as one group, so that there is one way to match and each search takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

Span = tuple[int, int]

#: What may stand between the digits of a number: space, dot, hyphens, slash, spaces that do not break, dashes, minus. Cells of a
#: table are parted by a tab: that parts only what a plus or a check tells for one number.
_GAP = r"[ .\-/\u00a0\u2010-\u2015\u202f\u2212]"
_START = r"(?<![^\W_])"
_END = r"(?![^\W_])"

_IN = r"[ .\-/()\u00a0\u2010-\u2015\u202f\u2212]"
_WIDE = r"[ .\-/()\t_\u00a0\u2010-\u2015\u202f\u2212]"
#: Where eight digits with a plus or a gap begin, and no ISO 8601 date. A plus may follow a word (`tel+49...`), but for a
#: date after it, which is a build's or a campaign's.
_BEGINS = re.compile(
    r"[+(0-9](?<![^\W_][(0-9])(?<![0-9]\+)"
    r"(?:(?<=\+)(?!(?<=[^\W\d_]\+)(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01]))"
    rf"|(?=[0-9]{{1,5}}{_IN})|(?<=[0178])(?={_IN}{{1,2}}[0-9]{{2}}))"
    rf"(?=(?:{_IN}{{0,3}}[0-9]){{7}}|(?<=\+)(?:{_WIDE}{{0,3}}[0-9]){{7}})(?!(?<=[0-9])[0-9]{{3}}-[0-9]{{2}}-[0-9]{{2}}(?![0-9]))"
)


@cache
def _phone_pattern() -> re.Pattern[str]:
    # Compiled at the first candidate, because that takes milliseconds.
    return re.compile(
        "|".join(
            pattern.format(GAP=_GAP, IN=_IN, WIDE=_WIDE, MORE=r"(?:[ ,;]{0,2}(?:x|ext\.?|#)[ ]?\d{1,6})?" + _END)
            for pattern in (
                r"\+(?P<international>{WIDE}{{0,2}}\d(?:{WIDE}{{0,3}}\d){{6,16}})(?!\d){MORE}",
                r"(?<![^\W_][.\-+])00(?P<zeros>[1-9]\d{{0,2}}{IN}{{1,3}}\d(?:{IN}{{0,3}}\d){{5,13}})(?!\d){MORE}",
                # Three, three and four digits: North America, Italy, Turkey.
                r"(?<![^\W_][.\-+])(?P<area>(?:1{GAP})?(?:\(\d{{3}}\){GAP}?|\d{{3}}{GAP})\d{{3}}{GAP}\d{{4}}){MORE}(?![.\-/]\d)",
                # A trunk prefix of 0; an X ends an ISBN.
                r"(?<![^\W_][.\-+])(?<!\d[ /])(?<!\)[ ])(?P<trunk>(?:\(0\d{{0,5}}\)|0(?:\d{{2,5}}(?!\d)\)?|\d?(?!\d)))(?:{GAP}{{0,2}}\(?\d{{2,20}}(?!\d)\)?){{1,6}}){MORE}(?![.\-/][\dX])",
                # An area code in brackets.
                r"(?P<brackets>\([1-9]\d{{1,4}}\){GAP}?(?:\d{{4,20}}(?!\d)|\d{{2,3}}(?={GAP}\d\d))(?:{GAP}\d{{2,16}}(?!\d)){{0,4}}){MORE}(?![.\-/]\d)",
                # Shapes of single countries, which must stand alone.
                (
                    r"(?<!\d[ .,\-/+])(?P<local>\d{{2}}[ \-]\d{{4,5}}[ \-]\d{{4}}|[1-9]\d{{2}} \d{{3}} \d{{3}}"
                    r"|[1-9]\d \d{{3}} \d{{2}} \d{{2}}|[2-9]\d(?: \d{{2}}){{3}}|[1-9]\d{{2}} \d{{4}} \d{{4}}"
                    r"|1[3-9]\d-\d{{4}}-\d{{4}}|[6-9]\d{{4}} \d{{5}}|(?:[1-9]\d? )?[1-9]\d{{2}} \d{{3}} \d{{2}} \d{{2}}"
                    r"|[2-9]\d{{2}} \d{{2}} \d{{3}}|[1-9]\d/\d{{3}}[ \-]\d{{4}}|(?:2[1-8]|69)\d{{2}} \d{{3}} ?\d{{3}}"
                    r"|[78][ \-]\(?\d{{3}}\)?[ \-]\d{{3}}[ \-]\d{{2}}[ \-]\d{{2}}){MORE}(?![ .,\-/:]{{1,2}}\d)"
                ),
            )
        )
    )


_DIGITS = re.compile(r"\d+")
_GAPS = re.compile(_GAP)
_FEWEST = 8
#: Saint Helena, Niue and Tokelau have numbers of four digits behind theirs.
_SMALLEST = frozenset({"290", "683", "690"})
#: How many candidates of one text the library is asked about, which takes its time; the rest are judged without it.
_MOST_ASKED = 256


def phones(text: str) -> Iterator[Span]:
    """Telephone numbers with a ``+`` or with separators (ITU-T E.123); digits alone are none."""
    end = 0
    for count, begun in enumerate(_BEGINS.finditer(text)):
        if begun.start() >= end:
            found = _phone_pattern().match(text, begun.start())
            stop = None if found is None else _end_of_phone(found.lastgroup or "", found, asks=count < _MOST_ASKED)
            if found is not None and stop is not None:
                end = stop
                number = text[found.start() : end]
                if number.endswith(")") and number.count(")") > number.count("("):
                    end -= 1
                yield found.start(), end


def _end_of_phone(kind: str, found: re.Match[str], *, asks: bool) -> int | None:
    """Where a number ends that has been found; None when it is none."""
    number = found[kind]
    if number.count("(") > 2:
        return None  # nobody writes one so
    groups = _DIGITS.findall(number)
    if kind == "trunk":
        return found.end() if _is_national(number, groups) else None
    if kind in {"international", "zeros"}:
        if kind == "zeros" and _is_national(found[0], ["00" + groups[0], *groups[1:]]):
            return found.end()
        if _is_international("".join(groups), asks=asks):
            return found.end()
        # Another number may follow it: a count, a cell of a table.
        ends = [found.start(kind) + each.end() for each in _DIGITS.finditer(number)]
        shorter = range(len(groups) - 1, 0, -1)
        return next((ends[most - 1] for most in shorter if _is_international("".join(groups[:most]), asks=asks)), None)
    return found.end() if kind != "brackets" or _FEWEST <= sum(map(len, groups)) <= 12 else None


def _is_international(digits: str, *, asks: bool) -> bool:
    is_known = digits[:1] in _CODES or digits[:2] in _CODES or digits[:3] in _CODES
    fewest = _FEWEST - (digits[:3] in _SMALLEST)
    return is_known and len(digits) >= fewest and (not asks or _may_exist(digits))


def _is_national(number: str, groups: list[str]) -> bool:
    lengths = [*map(len, groups)]
    count = sum(lengths)
    if not _FEWEST <= count <= 13:
        return False
    gaps = set(_GAPS.findall(number))
    # With dots it could be an IP address or a version as well.
    is_dotted = "." in gaps
    if is_dotted and (gaps != {"."} or len(groups) not in {3, 5} or len(groups[0]) < 2):
        return False
    is_date = lengths[:3] == [2, 2, 4] and int(groups[1]) <= 31
    is_short = lengths == [2, 2, 2, 2] and gaps == {"-", " "}  # Stockholm
    return (count > _FEWEST or is_short) and not is_date and lengths != [3, 2, 4]


#: Country codes (ITU-T E.164).
_CODES = frozenset(
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86"
    " 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237"
    " 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266"
    " 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 379"
    " 380 381 382 383 385 386 387 388 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595"
    " 596 597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850"
    " 852 853 855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976"
    " 977 979 992 993 994 995 996 998".split()
)

_library: Any = None


def _may_exist(digits: str) -> bool:
    """What the library `phonenumbers` says, where the extra ``phone`` is installed; True without it."""
    global _library  # noqa: PLW0603 - looked for once, and only when there is a number to ask about
    if _library is None:
        try:
            import phonenumbers

            _library = phonenumbers
        except ImportError:
            _library = False
    if _library is False:
        return True
    try:
        possible = _library.is_possible_number(_library.parse(f"+{digits}"))
    except _library.NumberParseException:
        return False
    # "(0)" in the middle is the trunk prefix, which nobody dials from abroad; an extension may follow.
    return bool(possible) or "0" in digits[1:5] or len(digits) > 13


# 12 to 19 digits (ISO/IEC 7812-1) in one piece, in fours, in two halves, or in 4-6-4 and 4-6-5 as on cards of 14 and 15 digits,
# with up to three signs where there is a gap, and with a gap forgotten; behind what begins the track of a stripe (ISO/IEC 7813); not the digits behind a decimal point, nor an amount with two
# decimals.
_CARD_GAP = r"[ .\-/_\t\u00a0\u2010-\u2015\u202f\u2212]"
_CARD = re.compile(
    rf"(?:{_START}(?<!\d\.)|(?<=%B))(?:\d{{12,19}}"
    rf"|\d{{4}}{_CARD_GAP}{{0,3}}\d{{4}}{_CARD_GAP}{{0,3}}\d{{4}}{_CARD_GAP}{{0,3}}\d{{1,7}}(?:{_CARD_GAP}\d{{1,3}})?"
    rf"|\d{{4}}{_CARD_GAP}{{0,3}}\d{{6}}{_CARD_GAP}{{0,3}}\d{{4,5}}|\d{{6}}{_CARD_GAP}{{1,3}}\d{{6}}{_CARD_GAP}{{0,3}}\d{{1,7}}"
    rf"|\d{{6}}{_CARD_GAP}\d{{10,13}}){_END}(?!\.\d{{2}}|\.[1-9])"
)
_CARD_GAPS = re.compile(_CARD_GAP)
_SIXTEEN = re.compile(rf"(?:\d{_CARD_GAP}*){{15}}\d")
# The first digits that each network has been given (ISO/IEC 7812-1), with the lengths that it issues.
_ISSUERS = tuple(
    (int(first.ljust(6, "0")), int(last.ljust(6, "9")), frozenset(lengths))
    for first, last, lengths in (
        ("4", "4", (13, 16, 19)),  # Visa
        ("51", "55", (16,)),  # Mastercard
        ("2221", "2720", (16,)),
        ("34", "34", (15,)),  # American Express
        ("37", "37", (15,)),
        ("300", "305", (14,)),  # Diners Club
        ("309", "309", (14,)),
        ("36", "36", (14,)),
        ("38", "39", (14,)),
        ("6011", "6011", (16, 19)),  # Discover
        ("644", "659", (16, 19)),
        ("3500", "3599", (16,)),  # JCB
        ("2131", "2131", (15,)),
        ("1800", "1800", (15,)),
        ("62", "62", (16, 17, 18, 19)),  # UnionPay
        ("5018", "5020", (12, 13, 14, 15, 16, 18, 19)),  # Maestro
        ("5038", "5038", (12, 13, 14, 15, 16, 18, 19)),
        ("5893", "5893", (12, 13, 14, 15, 16, 18, 19)),
        ("56", "58", (12, 13)),
        ("6304", "6304", (12, 13, 14, 15, 16, 18, 19)),
        ("6390", "6390", (12, 13, 14, 15, 16)),
        ("6759", "6763", (12, 13, 14, 15, 16, 18, 19)),
        ("0604", "0604", (12, 13, 14, 15, 16)),
        ("2200", "2204", (16,)),  # Mir
        ("9792", "9792", (16,)),  # Troy
        ("6060", "6099", (16,)),  # RuPay
        ("508", "508", (16,)),
    )
)
_LENGTHS_BY_PREFIX = {
    f"{prefix:02}": [each for each in _ISSUERS if each[0] // 10_000 <= prefix <= each[1] // 10_000]
    for prefix in range(100)
}
# Luhn: each second digit from the right counts twice, and of two digits their sum.
_TWICE = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))
_ONCE = bytes.maketrans(b"0123456789", bytes(range(10)))


def payment_cards(text: str) -> Iterator[Span]:
    """Numbers of a known issuer with its length that pass the Luhn check (ISO/IEC 7812-1)."""
    at = 0
    while (found := _CARD.search(text, at)) is not None:
        digits = _CARD_GAPS.sub("", found[0])
        if is_card(digits):
            yield found.span()
            at = found.end()
        elif len(digits) > 16 and len(found[0]) > len(digits) and is_card(digits[:16]):
            yield found.start(), found.start() + _SIXTEEN.match(found[0]).end()  # type: ignore[union-attr]
            at = found.end()
        else:
            at = found.start() + 1


def is_card(digits: str) -> bool:
    """Whether digits are the number of a payment card.

    Example:
        >>> is_card("4111111111111111"), is_card("1764000000000"), is_card("490154203237518")
        (True, False, False)
    """
    count = len(digits)
    if count < 12:
        return False
    prefix = int(digits[:6])
    for low, high, lengths in _LENGTHS_BY_PREFIX[digits[:2]]:
        if low <= prefix <= high and count in lengths:
            break
    else:
        return False
    raw = digits.encode()
    return (sum(raw[-1::-2].translate(_ONCE)) + sum(raw[-2::-2].translate(_TWICE))) % 10 == 0


# A country and two check digits, followed by more of the number; a letter before would make it a word.
_IBAN = re.compile(r"([A-Za-z](?<![^\W_].)[A-Za-z])[0-9]{2}(?=[ .\-/_\t\u00a0]?[A-Za-z0-9]{3})")
#: By country (ISO 13616 registry).
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR HN IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_IBAN_GAPS = str.maketrans("", "", " .-/_\t\u00a0")
# The check reads letters as the numbers from 10 on (ISO 13616, ISO 7064 MOD 97-10).
_BASE_36 = {ord(letter): str(value) for value, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)}


def ibans(text: str) -> Iterator[Span]:
    """Account numbers with their country's length that pass the check of ISO 13616 (mod 97)."""
    for found in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(found[1].upper())
        if length is None:
            continue
        start = found.start()
        end = start + length
        compact = text[start:end].translate(_IBAN_GAPS)
        while len(compact) < length and end < len(text) and end - start < length + 12:
            more = text[end : end + length - len(compact)]
            compact += more.translate(_IBAN_GAPS)
            end += len(more)
        if (
            len(compact) == length
            and compact.isascii()
            and compact.isalnum()
            and not text[end : end + 1].isalnum()
            and int((compact[4:] + compact[:4]).upper().translate(_BASE_36)) % 97 == 1
        ):
            yield start, end


# No area 000, 666 or 9xx, no group 00, no serial 0000: the Social Security Administration has never issued one.
_SSN = re.compile(
    rf"{_START}(?<!\d[.\-/])(?!000|666|9)\d{{3}}([ .\-/_\t\u2010-\u2015\u2212])(?!00)\d{{2}}\1(?!0000)\d{{4}}{_END}(?![.\-/]\d)"
)


def us_ssns(text: str) -> Iterator[Span]:
    """Three groups with one separator, none all zero, not 000, 666 or 9xx first (SSA, since 2011)."""
    return (found.span() for found in _SSN.finditer(text))
