"""What may be told of an exception that a consumer raised: nothing that leads to a message."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from consentpanel._log import cause_of
from consentpanel._mixpanel import vendor

#: Characters of what is looked for anywhere in a text; something shorter only as a word.
_LONG = 4
#: Characters by which a value, or a word of one, is known.
_BEGINNING = 6
_WORDS = re.compile(r"[^\W_]+")
#: As JSON, a URL and HTML write them, and base64.
_ESCAPES = re.compile(r"[\\%&]")
#: What may be base64, in either alphabet (RFC 4648).
_BASE64 = re.compile("[A-Za-z0-9+/_-]{12,}")


def stripped(error: Exception, said: str | None) -> Exception:
    """A consumer's exception as it may travel on: of its type, with its text and plain attributes, without a chain.

    Its text, and each attribute, is kept only where it quotes no value of a message. The vendor's own stays the
    same object; of any other type a new one is built, because it may hold more than can be seen.

    Args:
        error: What the consumer raised.
        said: The JSON of what it may quote; None when nobody knows. The batch that the vendor's buffer attaches tells
            it too. Without either, the text tells types, file and line alone.

    Returns:
        The exception to raise; a `vendor.MixpanelException` where its type cannot be built without a message.
    """
    held = dict(vars(error))
    trees = [_parsed(text) for text in (said, held.get("message")) if isinstance(text, str)]

    def is_plain(value: object) -> bool:
        return value is None or (isinstance(value, (str, int, float)) and not quotes(str(value), trees))

    arguments, cause = error.args, cause_of(error)
    if not trees or None in trees:
        arguments, held = (cause,), {}
    elif not all(map(is_plain, arguments)):
        text = _text_of(error)
        arguments = (text if text and is_plain(text) else cause,)
    try:
        # Not the `__init__`, which may want what is not told here.
        kept = type(error) is vendor.MixpanelException
        new: Exception = error if kept else type(error).__new__(type(error), *arguments)
        new.args = arguments
        vars(new).clear()
        vars(new).update({name: value for name, value in held.items() if is_plain(value)})
        # One that answers for attributes from what it held would raise in whoever looks at it.
        hasattr(new, "__notes__")
        # Handlers ask for these of an error of requests or httpx.
        vars(new).update({name: None for name in ("request", "response") if name in held})
    except Exception:  # noqa: BLE001 - the type is anybody's
        new = vendor.MixpanelException(cause)
    text = _text_of(new)
    is_sayable = text is not None and (text == cause or is_plain(text)) and (text or not arguments)
    if not is_sayable:
        new = vendor.MixpanelException(cause)
    new.__cause__ = new.__context__ = None
    return new.with_traceback(None)


def quotes(text: str, said: object) -> bool:
    """Whether a text quotes a word of what was said, the beginning of one, or may do so in an escape where none is found.

    Args:
        text: The text.
        said: What was said, decoded from JSON.
    """
    if _ESCAPES.search(text):
        return True
    shown = "\n".join(map(_as_seen, (text, *_decoded(text))))
    return any(_is_in(shown, part) for value in _leaves(said) for part in _parts(_as_seen(str(value))))


def _decoded(text: str) -> Iterator[str]:
    """What runs of characters say as base64, wherever in them it begins."""
    for run in _BASE64.findall(text):
        written = run.translate(_ALPHABET)
        for begin in range(4):
            part = written[begin:]
            yield base64.b64decode(part[: len(part) // 4 * 4]).decode("latin-1")


_ALPHABET = str.maketrans("-_", "+/")


def _parts(value: str) -> Iterator[str]:
    # A server may cut short what it quotes.
    yield value[:_BEGINNING]
    yield from (word[:_BEGINNING] for word in _WORDS.findall(value) if len(word) >= _LONG)


def _is_in(text: str, part: str) -> bool:
    if len(part) >= _LONG:
        return part in text
    return bool(part) and re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None


def _as_seen(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, (dict, list)):
        for each in tree.values() if isinstance(tree, dict) else tree:
            yield from _leaves(each)
    elif tree is not None:
        yield tree


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text_of(error: Exception) -> str | None:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the type is anybody's
        return None
