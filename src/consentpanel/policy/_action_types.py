"""What a rule does to a value: the actions behind `keep`, `drop`, `redact`, ... Each is pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeAlias, Union

import attrs

from consentpanel._checks import several, several_texts
from consentpanel._consent.ids import Purpose
from consentpanel._consent.secret import Keyed
from consentpanel._messages.decision import Cause
from consentpanel.errors import ConfigurationError, InvalidRecordError
from consentpanel.policy._detect.detection import OnDetect
from consentpanel.policy._url import without_personal_parts


class ActionError(Exception):
    """A value that the action cannot treat; the property is dropped. `cause` says why."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


def _categories(value: object) -> tuple[str, ...]:
    return several_texts("categories", "several str, such as ('contact',)", value)


def _detect(value: object) -> bool | tuple[str, ...]:
    return value if isinstance(value, bool) else several("detect", "a bool or several kinds", value)


#: Words of the publisher's own: in one language, or from languages such as ``"de"`` to the same in each; the first is the source.
Text: TypeAlias = Union[str, Mapping[str, str]]


def _is_text(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(each, str) and each for pair in value.items() for each in pair)
    return isinstance(value, str) and bool(value)


def own_text(name: str, value: Any) -> Text:
    """The publisher's own words, checked and copied.

    Raises:
        ConfigurationError: They are neither a text nor a mapping from languages to texts, or one is empty.
    """
    if not _is_text(value):
        raise ConfigurationError(
            f"{name} must be a non-empty str, or a mapping from languages to these, not {type(value).__name__}"
        )
    return dict(value) if isinstance(value, Mapping) else str(value)


def _label(value: object) -> Text | None:
    return None if value is None else own_text("label", value)


def _reason(value: object) -> Text | None:
    return None if value is None else own_text("reason", value)


def _purpose(value: object) -> Purpose | None:
    if value is None:
        return None
    try:
        return Purpose(value)  # type: ignore[arg-type]
    except InvalidRecordError as error:
        raise ConfigurationError(str(error)) from None


@attrs.frozen(kw_only=True)
class Action:
    """What one rule of a `FieldPolicy` does with the value it names.

    Made by the functions of this module, not by hand.

    Attributes:
        categories: What kinds of personal data the property is, for the notice to visitors.
        label: What the property is, in the words of a visitor.
        reason: Why it is sent, for the notice to visitors.
        example: A value as the application has it, for the notice to show what becomes of it.
        purpose: The purpose whose consent the property needs beside the message's own.
        detect: Whether detectors look into the value, or for which kinds.
        on_detect: What becomes of what they find, where it is not what the policy says.
    """

    #: The word that a `Decision` uses for it.
    name: ClassVar[str]
    #: Whether the action takes a list or dict as one value; if not, it takes each scalar of a list.
    whole: ClassVar[bool] = True
    categories: tuple[str, ...] = attrs.field(default=(), converter=_categories)
    label: Text | None = attrs.field(default=None, converter=_label)
    reason: Text | None = attrs.field(default=None, converter=_reason)
    example: Any = attrs.field(default=None, eq=False, repr=False)
    purpose: Purpose | None = attrs.field(default=None, converter=_purpose)
    detect: bool | tuple[str, ...] = attrs.field(default=True, converter=_detect)
    on_detect: OnDetect | Mapping[str, OnDetect] | None = None

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        """The value to send in the place of `value`, a JSON tree.

        Raises:
            ActionError: There is none: the property is dropped.
        """
        raise NotImplementedError


TYPES = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}


def _typed(values: tuple[Any, ...] | None) -> tuple[tuple[type, Any], ...] | None:
    """For comparison: True is not 1."""
    return None if values is None else tuple((type(each), each) for each in values)


@attrs.frozen(kw_only=True)
class Keep(Action):
    name: ClassVar[str] = "keep"
    whole: ClassVar[bool] = False
    deep: bool = False
    kinds: tuple[type, ...] = ()
    one_of: tuple[Any, ...] | None = attrs.field(default=None, eq=_typed)
    match: re.Pattern[str] | None = None
    max_length: int | None = None
    personal: bool = False

    @property
    def is_constrained(self) -> bool:
        """Whether not every scalar is kept."""
        return bool(self.kinds) or any(each is not None for each in (self.one_of, self.match, self.max_length))

    @property
    def is_unconditional(self) -> bool:
        """Whether every scalar is kept, whoever it is about."""
        return self.purpose is None and not self.is_constrained

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        if self.is_constrained and not self._accepts(value):
            raise ActionError(Cause.SCHEMA)
        return value

    def _accepts(self, value: Any) -> bool:
        if self.one_of is not None and not any(type(each) is type(value) and each == value for each in self.one_of):
            return False
        return self._has_shape(value)

    def _has_shape(self, value: Any) -> bool:
        if self.kinds and type(value) not in self.kinds:
            return False
        if self.match is not None and (not isinstance(value, str) or self.match.fullmatch(value) is None):
            return False
        return self.max_length is None or value is None or len(_text(value)) <= self.max_length

    @property
    def is_impossible(self) -> bool:
        """Whether no value is within the constraints."""
        if self.one_of is not None:
            return not any(map(self._has_shape, self.one_of))
        return self.match is not None and bool(self.kinds) and str not in self.kinds


@attrs.frozen(kw_only=True)
class Drop(Action):
    name: ClassVar[str] = "drop"

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        raise ActionError(Cause(self.name))


@attrs.frozen(kw_only=True)
class Personal(Drop):
    """Takes the place of a rule for a personal property in `FieldPolicy.no_personal_data`."""

    name: ClassVar[str] = "personal"


@attrs.frozen(kw_only=True)
class Refuse(Action):
    name: ClassVar[str] = "refuse"


@attrs.frozen(kw_only=True)
class Redact(Action):
    name: ClassVar[str] = "redact"
    text: str

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        return self.text


#: Of a shorter value a mask shows nothing: a few characters would be most of it.
_SHORTEST_SHOWN = 8


@attrs.frozen(kw_only=True)
class Mask(Action):
    name: ClassVar[str] = "mask"
    whole: ClassVar[bool] = False
    last: int

    # Labels have at most 63 characters (RFC 1035, 2.3.4); the number of labels is bounded so that matching stays linear.
    _DOMAIN: ClassVar[re.Pattern[str]] = re.compile(r"[^@\s]+@((?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63})", re.ASCII)

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        text = _text(value)
        # 64 characters before the @ and 255 behind it are the most of an address (RFC 5321, 4.5.3.1).
        address = self._DOMAIN.fullmatch(text) if len(text) <= 320 else None
        if address is not None:
            return f"****@{address[1]}"
        shown = min(self.last, len(text) // 4) if len(text) >= _SHORTEST_SHOWN else 0
        return "****" + (text[-shown:] if shown else "")


@attrs.frozen(kw_only=True)
class Pseudonymize(Action):
    name: ClassVar[str] = "pseudonymize"
    whole: ClassVar[bool] = False
    prefix: str

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        if keyed is None:
            raise ActionError(Cause.NO_SECRET)
        return self.prefix + keyed(_text(value))


@attrs.frozen(kw_only=True)
class Truncate(Action):
    name: ClassVar[str] = "truncate"
    whole: ClassVar[bool] = False
    length: int

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        text = _text(value)
        return value if len(text) <= self.length else text[: self.length]


@attrs.frozen(kw_only=True)
class Transform(Action):
    name: ClassVar[str] = "transform"
    function: Callable[[Any], Any] = attrs.field(repr=False)

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        with suppress(Exception):  # the user's function; its exception may hold the value
            # A copy, so that a function which changes a list or dict in place is seen to have changed it.
            return self.function(copy.deepcopy(value))
        raise ActionError(Cause.TRANSFORM_FAILED)


@attrs.frozen(kw_only=True)
class Generalize(Action):
    name: ClassVar[str] = "generalize"
    whole: ClassVar[bool] = False
    how: str
    coarsen: Callable[[Any], Any] = attrs.field(repr=False, eq=False)
    detail: Any = None

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        with suppress(ValueError, TypeError, ArithmeticError, OSError):
            return self.coarsen(value)
        raise ActionError(Cause.GENERALIZE_FAILED)


@attrs.frozen(kw_only=True)
class Url(Action):
    name: ClassVar[str] = "url"
    whole: ClassVar[bool] = False
    parameters: frozenset[str]
    hides_ids: bool
    keeps_fragment: bool

    def apply(self, value: Any, keyed: Keyed | None) -> Any:
        if isinstance(value, str):
            hides, keeps = self.hides_ids, self.keeps_fragment
            with suppress(ValueError):
                return without_personal_parts(value, self.parameters, hides_ids=hides, keeps_fragment=keeps)
        raise ActionError(Cause.NOT_A_URL)


def _text(value: Any) -> str:
    """The text of a scalar but null, as JSON writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
