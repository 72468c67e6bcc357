"""The forms in which personal data may hide in a text: other digits, invisible characters, escapes, structures.

Each takes time linear in the text.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from consentpanel._consent.ids import joined

#: How often a text is decoded.
ROUNDS = 3
#: How many texts of JSON inside a text of JSON are opened.
_DEEPEST = 3
#: How many times its own length a text may hold when all that is inside is decoded.
_MOST_INSIDE = 16

# Default_Ignorable_Code_Point of Unicode: what a reader does not see.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
# Marks are put in their order by insertion, so that many in a row take the square of their number. No language has more
# than 30 (UAX 15, section 13); the two letters are marks to NFKC.
_MOST_MARKS = 30
_MARKS = re.compile(rf"(?:[^\w\x00-\x7f]|[\uff9e\uff9f]){{{_MOST_MARKS + 1},}}")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
#: The full stop that a resolver takes for a dot (RFC 3490, section 3.1) and that NFKC leaves as it is.
_DOT = "\u3002"

#: Letters of scripts that are written without spaces: South-East Asian, Tibetan, Hangul, kana, bopomofo, Han, Yi, Tangut.
UNSPACED = re.compile(
    "[\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u1aaf\u1b00-\u1b7f\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035"
    "\u3038-\u303c\u3041-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\ua980-\ua9ff"
    "\uaa60-\uaadf\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00016fe0-\U00018d8f\U0001aff0-\U0001b2ff\U00020000-\U0003fffd]"
)


def in_ascii_digits(text: str) -> str:
    """The text with every decimal digit of Unicode written in ASCII; as long as before."""
    if text.isascii():
        return text
    return _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)


def visible(text: str) -> str:
    """The text in Unicode's form NFKC, without characters that nobody sees."""
    if text.isascii():
        return text
    shown = _MARKS.sub(_fewer_marks, _INVISIBLE.sub("", joined(text)))
    return in_ascii_digits(unicodedata.normalize("NFKC", shown)).replace(_DOT, ".")


def _fewer_marks(found: re.Match[str]) -> str:
    kept: list[str] = []
    count = 0
    for character in found[0]:
        count = count + 1 if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) else 0
        if count <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def places_of(text: str) -> list[int] | None:
    r"""Where each character of `visible(text)` stands in the text itself, and its end; None when that cannot be told.

    Example:
        >>> places_of("to \uff41\u200bda")
        [0, 1, 2, 3, 5, 6, 7]
    """
    places: list[int] = []
    parts: list[str] = []
    known: dict[str, str] = {}
    at = 0
    while at < len(text):
        until = at + 1
        # A mark may become one with the character before it.
        while until < len(text) and unicodedata.combining(text[until]):
            until += 1
        cluster = text[at:until]
        part = known.get(cluster)
        if part is None:
            part = known[cluster] = visible(cluster)
        parts.append(part)
        places += [at] * len(part)
        at = until
    return [*places, len(text)] if "".join(parts) == visible(text) else None


_PERCENT = re.compile("%[0-9A-Fa-f]{2}")
_QUERY = re.compile("[?=]")
_JSON = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|([bfnrt"\\/]))')
_BY_LETTER = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HTML = re.compile(r"&(?:#0*([0-9]{1,7});?|#[xX]0*([0-9A-Fa-f]{1,6});?|([A-Za-z][A-Za-z0-9]{1,31};))")


def _has_percent(text: str) -> bool:
    return "%" in text and _PERCENT.search(text) is not None


def _has_plus(text: str) -> bool:
    # In what has the shape of a query, where a plus that is meant is percent-encoded.
    begun = _QUERY.search(text) if "+" in text else None
    return begun is not None and text.find("+", begun.end()) >= 0


def _has_json(text: str) -> bool:
    return "\\" in text and _JSON.search(text) is not None


def _has_html(text: str) -> bool:
    return "&" in text and (";" in text or "&#" in text) and _HTML.search(text) is not None


def is_percent_encoded(text: str) -> bool:
    """Whether percent-decoding changes the text."""
    return "%" in text and _PERCENT.search(text) is not None


def _without_percent(text: str) -> str:
    return unquote(text) if _has_percent(text) else text


def _without_plus(text: str) -> str:
    return text.replace("+", " ") if _has_plus(text) else text


def _without_json(text: str) -> str:
    if not _has_json(text):
        return text
    text = _JSON.sub(lambda found: chr(int(found[1], 16)) if found[1] else _BY_LETTER.get(found[2], found[2]), text)
    # Two escapes may be the halves of one character.
    return joined(text)


def _without_html(text: str) -> str:
    return _HTML.sub(_character, text) if _has_html(text) else text


def _character(found: re.Match[str]) -> str:
    decimal, hexadecimal, name = found.groups()
    if name:
        from html.entities import html5  # seldom needed, and large

        return html5.get(name, found[0])
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if code <= sys.maxunicode else found[0]


_ALONE = ((_has_percent, _without_percent), (_has_json, _without_json), (_has_html, _without_html))
# A round of all takes off what wraps a URL in a page or in a structure, and then one layer of the URL.
_TOGETHER = (_without_json, _without_html, _without_percent)
_UNWRAPPED = (_without_json, _without_html, _without_json)
_AS_FORM = (_without_json, _without_html, _without_plus, _without_percent)


def may_be_encoded(text: str) -> bool:
    """Whether decoding changes a text, or it holds a structure or a key of one."""
    # Most texts have none of these signs.
    return (
        ("%" in text and _has_percent(text))
        or ("+" in text and _has_plus(text))
        or ("&" in text and _has_html(text))
        or ("\\" in text and _has_json(text))
        or ('"' in text and _KEY.search(text) is not None)
        or (("[" in text or "{" in text) and _OPENS.search(text) is not None)
    )


def forms(text: str, shown: str | None = None) -> tuple[list[str], bool]:
    """What else a text may be read as: as a reader sees it, and both decoded; and whether decoding came to rest.

    Args:
        text: The text.
        shown: What `visible` says of it, where that is known.
    """
    if text.isascii() and not may_be_encoded(text):
        return [], True
    shown = visible(text) if shown is None else shown
    texts: dict[str, None] = {shown: None}
    rests = True
    for form in dict.fromkeys((text, shown)):
        more, is_at_rest = decoded(form)
        texts.update(dict.fromkeys(more))
        rests = rests and is_at_rest
    texts.pop(text, None)
    return list(texts), rests


def decoded(text: str) -> tuple[list[str], bool]:
    """The text after each round of decoding in each way; and whether decoding came to rest."""
    texts: dict[str, None] = {}
    alone = [_decode((step,), text, texts) if acts(text) else text for acts, step in _ALONE]
    is_at_rest = all(step(rest) == rest for (_, step), rest in zip(_ALONE, alone, strict=True))
    rests = alone[:1]
    forms = "\n".join((text, *texts))
    # One way alone leads to what all together do.
    if sum(acts(forms) for acts, _ in _ALONE) > 1:
        rests.append(_decode(_TOGETHER, text, texts))
        forms = "\n".join((text, *texts))
    # What a form says may hold a plus that is meant.
    for rounds in range(ROUNDS - 1, -1, -1) if _has_plus(forms) else ():
        text = _decode(_AS_FORM, text, texts, 1)
        rests.append(_decode(_TOGETHER, text, texts, rounds))
    texts[_without_plus(text)] = None
    # What a page or a structure wraps may stand below the last layer of a URL.
    unwrapped = [_decode(_UNWRAPPED, rest, texts, 1) for rest in dict.fromkeys(rests)]
    is_at_rest = is_at_rest and not any(map(_has_percent, (*rests, *unwrapped)))
    # Of what only percent-decoding has gone through more is left than of what all ways have.
    return list(texts), is_at_rest and all(step(rest) == rest for rest in unwrapped[1:] for _, step in _ALONE)


def _decode(way: Iterable[Callable[[str], str]], text: str, texts: dict[str, None], rounds: int = ROUNDS) -> str:
    """What is left of a text after some rounds; what it was after each is added to the texts."""
    for _ in range(rounds):
        before = text
        for step in way:
            text = step(text)
        if text == before:
            break
        texts[in_ascii_digits(text)] = None
        text = visible(text)
        texts[text] = None
    return text


# How an object or a list begins: a line of white space is looked at once, whatever begins in the next one.
_OPENS = re.compile(r'^[^\S\n]*(?:\{\s*["}]|\[\s*["{\[\]\-0-9tfnNI])', re.MULTILINE)
# Behind a brace or a comma: prose sets words in quotes before a colon, too.
_KEY = re.compile(r'[{,]\s*"([^"\\]+)"\s*:')


def keys_in(text: str) -> list[str]:
    """What stands in a text as a key of JSON, be it whole, cut off or inside another text."""
    return _KEY.findall(text) if '"' in text and ":" in text else []


def names_in(texts: Iterable[str]) -> set[str]:
    """What stands in some texts as a key of JSON, as a reader sees it."""
    return {visible(key) for text in texts for key in keys_in(text)}


def strings_in(text: str) -> tuple[list[str], bool]:
    """The strings, keys and numbers of a text that is a JSON object or list, or has one in a line; and whether that is all.

    Those of such texts inside are among them, also where one has to be decoded first.
    """
    found: dict[str, None] = {}
    pending = [(text, 0)] if "{" in text or "[" in text else []
    left = _MOST_INSIDE * len(text)
    while pending:
        inner, depth = pending.pop()
        try:
            strings = [each for each in _opened(inner) if each not in found]
        except RecursionError:
            return list(found), False
        if depth == _DEEPEST:
            if strings:
                return list(found), False
            continue
        strings = [form for each in dict.fromkeys(strings) for form in (each, *_decoded_inside(each))]
        pending += [(each, depth + 1) for each in strings if "{" in each or "[" in each]
        left -= sum(map(len, strings))
        if left < 0:
            return list(found), False
        found.update(dict.fromkeys(strings))
    return list(found), True


def _decoded_inside(text: str) -> list[str]:
    return decoded(text)[0] if may_be_encoded(text) else []


def _opened(text: str) -> Iterator[str]:
    if not _OPENS.search(text):
        return
    tree = _tree(text)
    if tree is None and "\n" in text:
        tree = [_tree(line) for line in text.split("\n")]
    pending: list[Any] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, (list, tuple)):
            pending.extend(node)
        elif isinstance(node, str):
            yield node
        elif isinstance(node, float):
            yield repr(node)


def _tree(text: str) -> Any:
    # Objects as pairs, because a name may come twice; integers as text, because Python reads no long ones.
    try:
        return json.loads(text, object_pairs_hook=list, parse_int=str) if _OPENS.match(text.lstrip()) else None
    except ValueError:
        return None
