"""Of whom and for what consent is asked: the ids of data subjects, and purposes."""

from __future__ import annotations

import re
import uuid
from typing import ClassVar, cast

from typing_extensions import Self

from consentpanel.errors import InvalidRecordError

#: Longest id in characters; the vendor cuts strings there, which would merge two people into one.
MAX_ID_LENGTH = 255


class Purpose(str):
    """What personal data is used for: a string, so that users add their own.

    Args:
        name: The name, such as ``"targeting"``: 1 to 64 printable characters, no white space around.

    Raises:
        InvalidRecordError: The name is not such a string.

    Example:
        >>> Purpose.ANALYTICS == "analytics"
        True
        >>> Purpose("targeting")
        Purpose('targeting')
    """

    __slots__ = ()

    #: Events: what a person did.
    ANALYTICS: ClassVar[Purpose]
    #: People analytics: who a person is.
    PROFILES: ClassVar[Purpose]
    #: Remote feature flags: which variant a person sees, decided by the vendor.
    FEATURE_FLAGS: ClassVar[Purpose]

    def __new__(cls, name: str) -> Self:
        if type(name) is cls:
            return name
        if not isinstance(name, str):
            raise InvalidRecordError(f"purpose must be a str, not {type(name).__name__}")
        # An Enum of texts would answer with its class and member.
        name = str.__str__(name)
        if not name or name != name.strip() or len(name) > 64 or not name.isprintable():
            raise InvalidRecordError("purpose must be 1 to 64 printable characters without white space around")
        return super().__new__(cls, name)

    def __repr__(self) -> str:
        return f"Purpose({str(self)!r})"

    def __getnewargs__(self) -> tuple[str]:
        return (str(self),)


Purpose.ANALYTICS = Purpose("analytics")
Purpose.PROFILES = Purpose("profiles")
Purpose.FEATURE_FLAGS = Purpose("feature_flags")

#: The purposes that `grant` and `deny` record when none is named.
BUILT_IN_PURPOSES = (Purpose.ANALYTICS, Purpose.PROFILES, Purpose.FEATURE_FLAGS)


def joined(text: str) -> str:
    r"""The text with each two halves of a surrogate pair as the one character that they are in JSON.

    Example:
        >>> joined("\ud83d\ude00") == "\U0001f600"
        True
    """
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


_SURROGATE = re.compile("[\ud800-\udfff]")


def purpose_key(purpose: str) -> str:
    """The string by which consent is looked up for a purpose, whatever a subclass of `str` says of itself."""
    return purpose if type(purpose) in _PLAIN_PURPOSES else Purpose(purpose)


_PLAIN_PURPOSES = frozenset({str, Purpose})


def subject_key(subject_id: object) -> str:
    """The string by which consent is looked up for an id.

    Args:
        subject_id: A `str`, an `int` (not a `bool`) or a `UUID`.

    Returns:
        The id as a plain string of 1 to 255 characters.

    Raises:
        InvalidRecordError: The id is missing, blank, too long, or of another type.

    Example:
        >>> subject_key(42)
        '42'
    """
    kind = type(subject_id)  # not isinstance: a lazy proxy claims a class whose text it is not
    if issubclass(kind, str):
        key = joined(str.__str__(cast("str", subject_id)))
    elif issubclass(kind, uuid.UUID):
        key = uuid.UUID.__str__(cast("uuid.UUID", subject_id))
    elif issubclass(kind, int) and not issubclass(kind, bool):
        key = _digits(cast("int", subject_id))
    else:
        raise InvalidRecordError(f"id must be a str, an int or a UUID, not {type(subject_id).__name__}")
    if len(key) > MAX_ID_LENGTH:
        raise InvalidRecordError(f"id must be at most {MAX_ID_LENGTH} characters, not {len(key)}")
    if not key or key.isspace():
        raise InvalidRecordError("id must not be empty")
    return key


def _digits(number: int) -> str:
    # A longer number would exceed the limit anyway, and int-to-text is quadratic.
    return int.__repr__(number) if number.bit_length() < 1024 else "9" * (MAX_ID_LENGTH + 1)
