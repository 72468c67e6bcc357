"""What a reader says, and what a reader is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from consentpanel._checks import several
from consentpanel._consent.ids import MAX_ID_LENGTH, Purpose
from consentpanel._consent.records import utc
from consentpanel.errors import ConfigurationError, InvalidRecordError


def _by_purpose(value: object) -> Mapping[Purpose, bool | None]:
    if not isinstance(value, Mapping):
        raise InvalidRecordError(f"purposes must be a mapping, not {type(value).__name__}")
    for each in value.values():
        if each is not None and not isinstance(each, bool):
            raise InvalidRecordError(f"an answer must be True, False or None, not {type(each).__name__}")
    return {Purpose(name): each for name, each in value.items()}


def _given_at(value: object) -> datetime | None:
    return None if value is None else utc(value, "given_at")


def _truth(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool) and not (value is None and attribute.default is None):
        raise InvalidRecordError(f"{attribute.name} must be a bool, not {type(value).__name__}")


def _short_text(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH):
        raise InvalidRecordError(f"{attribute.name} must be a str of 1 to {MAX_ID_LENGTH} characters, or None")


@attrs.frozen
class Answers:
    """What a browser's consent tool has written down about one person.

    Args:
        purposes: By purpose: True for a yes, False for a no, None where it is unknown.
        is_explicit: Whether the tool itself proves that the person has answered. `consentpanel`'s readers say True of no purpose without
            that; a no may come without it, and is to be heeded all the same.
        given_at: When the person answered, with a time zone; None where the tool does not say.
        consent_id: Under which id the tool has it; None where there is none.
        gpc: Whether the tool saw Global Privacy Control in the browser; None where it does not say.
        language: The language of the texts that the tool has shown, such as ``"de"``; None where nobody says.

    Raises:
        InvalidRecordError: A value is malformed.

    Example:
        >>> Answers({"analytics": True}, is_explicit=True).purposes
        {Purpose('analytics'): True}
    """

    purposes: Mapping[Purpose, bool | None] = attrs.field(factory=dict, converter=_by_purpose, hash=False)
    is_explicit: bool = attrs.field(default=False, kw_only=True, validator=_truth)
    given_at: datetime | None = attrs.field(default=None, kw_only=True, converter=_given_at)
    consent_id: str | None = attrs.field(default=None, kw_only=True, validator=_short_text, repr=False)
    gpc: bool | None = attrs.field(default=None, kw_only=True, validator=_truth)
    language: str | None = attrs.field(default=None, kw_only=True, validator=_short_text)


#: Reads the raw header ``Cookie``; one that comes in several pieces is joined with ``"; "`` before.
Reader = Callable[[str | bytes | None], Answers]


def readers(name: str, given: object) -> tuple[Reader, ...]:
    """The readers of a configuration.

    Args:
        name: The argument's name, for the error.
        given: Several callables.

    Raises:
        ConfigurationError: There are none, or one cannot be called.
    """
    found = several(name, "several readers, such as [OneTrust({'C0002': 'analytics'})]", given)
    for each in found:
        if isinstance(each, type) or not callable(each):
            kind = each.__name__ if isinstance(each, type) else type(each).__name__
            raise ConfigurationError(
                f"{name} must hold readers, such as OneTrust({{'C0002': 'analytics'}}), not {kind}"
            )
    return found


def source_of(reader: Reader) -> str:
    """What records name as the source of a reader's answers: its ``source``, or else its name.

    Example:
        >>> def cookie_of_the_shop(header):
        ...     return Answers()
        >>> source_of(cookie_of_the_shop)
        'cookie_of_the_shop'
    """
    for found in (getattr(reader, "source", None), getattr(reader, "__name__", None)):
        if isinstance(found, str) and found:
            return found
    return type(reader).__name__
