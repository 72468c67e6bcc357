"""Finds personal data in texts, in whatever form it is written, and says what a policy does about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple, cast

import attrs

from consentpanel._checks import several, several_texts
from consentpanel.errors import ConfigurationError
from consentpanel.policy._detect.ids import Ids
from consentpanel.policy._detect.matchers import ENCODED, KINDS, REDACTED, Place, merged, places_in, text_of, without
from consentpanel.policy._detect.normalize import (
    decoded,
    forms,
    in_ascii_digits,
    may_be_encoded,
    names_in,
    places_of,
    strings_in,
    visible,
)
from consentpanel.policy._sensitive import is_sensitive

OnDetect = Literal["redact", "drop", "refuse", "report"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_VALUES = "several values"


@attrs.frozen
class Finding:
    """A place in a text that holds personal data. It never holds the text.

    Attributes:
        kind: One of `KINDS`, ``"encoded"``, or the name of a `Detector`.
        start: Where it starts, in characters.
        end: Where it ends, in characters; the place is ``text[start:end]``.
    """

    kind: str
    start: int
    end: int


def _find(value: object) -> Callable[[str], Iterable[tuple[int, int]]]:
    if isinstance(value, re.Pattern):
        pattern: re.Pattern[str] = value
        if not isinstance(pattern.pattern, str):
            raise ConfigurationError("find must be a pattern for str, not bytes")
        return lambda text: (found.span() for found in pattern.finditer(text) if found.end() > found.start())
    if not callable(value):
        raise ConfigurationError(f"find must be a compiled pattern or a callable, not {type(value).__name__}")
    return cast("Callable[[str], Iterable[tuple[int, int]]]", value)


def _named(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value == ENCODED:
        raise ConfigurationError("a detector's name must be a word such as 'member_number', in lower case")
    return value


@attrs.frozen
class Detector:
    """Looks for one more kind of personal data. With the name of a built-in kind it replaces that.

    Args:
        name: The kind, in lower case: ``"member_number"``.
        find: A compiled pattern, each of whose matches is a place; or a callable that takes a text and returns
            the (start, end) of each place. One that raises, or answers a place outside the text, drops the property.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> import re
        >>> from consentpanel import FieldPolicy, keep
        >>> from consentpanel.policy import Detector
        >>> member = Detector("member_number", re.compile(r"M-[0-9]{6}"))
        >>> policy = FieldPolicy(events={"note": keep()}, detectors=[member])
        >>> policy.apply_event("Noted", {"note": "for M-123456"}).properties
        {'note': 'for [redacted]'}
    """

    name: str = attrs.field(converter=_named)
    find: Callable[[str], Iterable[tuple[int, int]]] = attrs.field(converter=_find, repr=False)


class DetectorError(Exception):
    """A user's detector raised, or answered a place outside the text; it says nothing of the text."""


#: Stands for the kind of what a detector would have found that failed.
DETECTOR_FAILED = "detector_failed"


class Hit(NamedTuple):
    """What was found in a text, and what becomes of it."""

    action: OnDetect
    kind: str
    #: The text to send in its place, when it is redacted.
    text: str

    def __repr__(self) -> str:
        return f"Hit({self.action!r}, {self.kind!r})"


class Detection:
    """The detectors of a policy or of one rule, and what they do. Immutable.

    Args:
        detectors: Kinds to look for, kinds to leave out (``"-phone"``) and a `Detector` for each further kind; all
            of `KINDS` when it names none to look for.
        on_detect: What to do, for all kinds or by kind.
        allow: Exact texts that are none, and ``*@domain`` for the addresses of a domain.

    Raises:
        ConfigurationError: An argument has a wrong type, or names no kind or action.
    """

    __slots__ = ("_actions", "_allowed", "_allowed_domains", "_finders", "_kinds")

    def __init__(
        self,
        detectors: Iterable[str | Detector] | None = None,
        on_detect: OnDetect | Mapping[str, OnDetect] = "redact",
        allow: Iterable[str] = (),
    ) -> None:
        given = () if detectors is None else several("detectors", _VALUES, detectors)
        self._finders = {each.name: each.find for each in given if isinstance(each, Detector)}
        names = [each for each in given if not isinstance(each, Detector)]
        self._kinds = _chosen(names, KINDS) if given or detectors is None else frozenset()
        self._kinds -= self._finders.keys()
        self._actions: dict[str, OnDetect] = dict.fromkeys(self._all_kinds(), _DEFAULT)
        self._actions.update(_actions(on_detect, self._all_kinds()))
        texts = several_texts("detect_allow", _VALUES, allow)
        self._allowed = frozenset(text for text in texts if not text.startswith("*@"))
        self._allowed_domains = frozenset(text[1:].casefold() for text in texts if text.startswith("*@"))

    def _key(self) -> tuple[Any, ...]:
        return self._finders, self._kinds, self._actions, self._allowed, self._allowed_domains

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Detection) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((frozenset(self._kinds), self._allowed, self._allowed_domains))

    def _all_kinds(self) -> frozenset[str]:
        return frozenset((*KINDS, *self._finders, ENCODED))

    @property
    def is_custom(self) -> bool:
        """Whether a user's own code takes part."""
        return bool(self._finders)

    @property
    def removes_everything(self) -> bool:
        """Whether all built-in kinds are looked for, and what is found does not leave, whatever it is."""
        is_strict = all(self._strictness(kind) >= _REDACTS for kind in self._actions)
        return is_strict and all(map(self.removes, KINDS)) and not (self._allowed or self._allowed_domains)

    def removes(self, kind: str) -> bool:
        """Whether a kind is looked for, and what is found does not leave."""
        return kind in {*self._kinds, *self._finders} and self._strictness(kind) >= _REDACTS

    def changed(
        self, detect: bool | Iterable[str] = True, on_detect: OnDetect | Mapping[str, OnDetect] | None = None
    ) -> Detection | None:
        """This with the wishes of one rule; None when it wants no detectors.

        Args:
            detect: False for none; or the kinds to look for, or to leave out.
            on_detect: What to do, for all kinds or by kind.
        """
        if detect is False:
            return None
        if detect is True and on_detect is None:
            return self
        other: Detection = object.__new__(Detection)
        other._allowed, other._allowed_domains = self._allowed, self._allowed_domains
        other._kinds, other._finders = self._kinds, self._finders
        if detect is not True:
            kinds = _chosen(several("detect", _VALUES, detect), {*KINDS, *self._finders})
            other._kinds = self._kinds & kinds
            other._finders = {name: find for name, find in self._finders.items() if name in kinds}
            is_wanted = kinds < {*KINDS, *self._finders} and not all(each.startswith("-") for each in detect)
            if is_wanted and not other._kinds and not other._finders:
                raise ConfigurationError(
                    "detect= looks for nothing: none of its kinds is among the policy's detectors. To have nothing looked for,"
                    " say detect=False"
                )
        more = {} if on_detect is None else _actions(on_detect, self._all_kinds())
        other._actions = {**self._actions, **more}
        return other

    def is_clean(self, value: str | float) -> bool:
        """Whether there is surely nothing in a value; what there is otherwise only `judge` can tell."""
        text = value if isinstance(value, str) else text_of(value)
        if not text.isascii() or self._finders or may_be_encoded(text):
            return False
        return not places_in(text)

    def are_clean(self, values: Collection[Any]) -> bool:
        """Whether there is surely nothing in any of some scalars, looked at together."""
        texts: list[str] = []
        for value in values:
            kind = type(value)
            if kind is str:
                texts.append(value)
            elif (kind is int or kind is float) and not -_SHORT < value < _SHORT:
                texts.append(text_of(value))
        # No pattern goes beyond the end of a line, so that one text answers for all.
        text = "\n".join(texts)
        if not text.isascii() or self._finders or may_be_encoded(text):
            return False
        return not places_in(text)

    def find(self, text: str) -> list[Finding]:
        """What there is in a text, by place; overlapping places are one, of the longest one's kind.

        Raises:
            DetectorError: A user's detector failed.
        """
        if len(text) < _LONG_TEXT and self.is_clean(text):
            return []
        raw, hidden = self._everywhere(text)
        return [Finding(kind, start, end) for kind, start, end in merged([*raw, *hidden])]

    def judge(self, value: str | float) -> Hit | None:
        """What becomes of a scalar; None when nothing was found.

        Raises:
            DetectorError: A user's detector failed.
        """
        text = value if isinstance(value, str) else text_of(value)
        if len(text) < _LONG_TEXT and self.is_clean(value):
            return None
        raw, hidden = self._everywhere(text)
        if not raw and not hidden:
            return None
        # Of the kinds found the one with the strictest action is told, and of these the first.
        kind = max((kind for kind, _, _ in (*merged([*raw, *hidden]), *raw, *hidden)), key=self._strictness)
        action: OnDetect = self._actions[kind]
        if action != "redact":
            return Hit(action, kind, text)
        if not isinstance(value, str):
            return Hit(action, kind, REDACTED)
        spans = [place for place in raw if self._strictness(place[0]) >= _REDACTS]
        left = REDACTED if any(self._strictness(place[0]) >= _REDACTS for place in hidden) else without(text, spans)
        if any(self._strictness(place[0]) >= _REDACTS for places in self._everywhere(left) for place in places):
            left = REDACTED
        return Hit(action, kind, left)

    def kind_in(self, text: str) -> str | None:
        """The kind of what is found in a text, that of a failing detector too; None for nothing."""
        try:
            found = self.find(text)
        except DetectorError:
            return DETECTOR_FAILED
        return found[0].kind if found else None

    def _strictness(self, kind: str) -> int:
        return _STRICTNESS[self._actions[kind]]

    def _everywhere(self, text: str) -> tuple[list[Place], list[Place]]:
        """The places in the text itself, and those that are seen only when it is written otherwise."""
        plain = in_ascii_digits(text)
        raw = self._hits(plain)
        shown = visible(plain)
        if shown == plain and not may_be_encoded(plain):
            return raw, []
        covered = self._covered(plain, raw)
        hidden: list[Place] = []
        kinds: dict[str, None] = {}
        if shown != plain:
            uncovered = _uncovered(shown, self._hits(shown), covered)
            places = places_of(text) if uncovered and not raw else None
            if places is None:
                kinds.update((kind, None) for kind, _, _ in uncovered)
            else:
                hidden = [(kind, places[start], places[end]) for kind, start, end in uncovered]
        texts, is_at_rest = forms(plain, shown)
        if not is_at_rest:
            kinds[ENCODED] = None
        for each in texts:
            if each != shown:
                kinds.update((kind, None) for kind, _, _ in _uncovered(each, self._hits(each), covered))
        texts.append(plain)
        if _STRUCTURAL.search("\n".join(texts)):
            kinds.update((kind, None) for kind in self._kinds_in(texts, covered))
        return raw, hidden + [(kind, 0, len(text)) for kind in kinds]

    def _kinds_in(self, texts: Collection[str], covered: Collection[str]) -> Iterator[str]:
        """The kinds of what is in those forms of a text that are structures, and `secret` for a sensitive name in one."""
        for each in texts:
            found, is_all = strings_in(each)
            if not is_all:
                yield ENCODED
            strings = [visible(string) for string in found]
            if not strings:
                continue
            # In one text, since a structure may hold very many.
            text = "\n".join(strings)
            yield from (kind for kind, _, _ in _uncovered(text, self._hits(text, strings), covered))
        if "secret" in self._kinds and any(map(is_sensitive, names_in(texts))):
            yield "secret"

    def _covered(self, text: str, places: Iterable[Place]) -> Collection[str]:
        """What is redacted in its place, as every form says it: it is not found once more in another form."""
        redacted = merged(place for place in places if self._strictness(place[0]) >= _REDACTS)
        spans = "\n".join(text[start:end] for _, start, end in redacted)
        covered: set[str] = set()
        # Behind a question mark, as the whole text would be read.
        for form in dict.fromkeys((spans, visible(spans), *decoded(f"?\n{spans}")[0])) if spans else ():
            covered.update(form.split("\n"))
            covered.update(form[start:end] for _, start, end in merged(self._hits(form)))
        return covered

    def _hits(self, text: str, parts: Iterable[str] = ()) -> list[Place]:
        """What the detectors say of one form of a text, but for what is allowed; a user's look at each of its parts alone."""
        places = [place for place in places_in(text) if place[0] in self._kinds]
        at = 0
        for part in (parts or (text,)) if self._finders else ():
            for name, find in self._finders.items():
                places += [(name, at + start, at + end) for start, end in _checked(find, part)]
            at += len(part) + 1
        return [place for place in places if not self._is_allowed(place[0], text[place[1] : place[2]])]

    def _is_allowed(self, kind: str, text: str) -> bool:
        if text in self._allowed:
            return True
        return kind == "email" and f"@{text.rpartition('@')[2]}".casefold() in self._allowed_domains


def _uncovered(text: str, places: list[Place], covered: Collection[str]) -> list[Place]:
    """The places in one form of a text, but for those that are redacted already, and those inside of these."""
    if not covered:
        return places
    places = sorted(places, key=lambda place: place[1])
    groups = iter(merged(places))
    left: list[Place] = []
    until, is_covered = 0, False
    for place in places:
        if place[1] >= until:
            _, start, until = next(groups)
            is_covered = text[start:until] in covered
        if not is_covered and text[place[1] : place[2]] not in covered:
            left.append(place)
    return left


def detect(text: str) -> list[Finding]:
    """Finds personal data in a text.

    The text is searched as it is; then in Unicode's form NFKC without characters that nobody sees; then after up to
    three rounds of decoding what is percent-encoded, a form, or escaped as in JSON and HTML; then, if it is a JSON
    object or list or has one in a line, string by string. What is seen only after decoding is told with the whole text
    as its place; so is a sensitive name (``"password":``) as a key of JSON, as ``secret``.

    Args:
        text: Any text.

    Returns:
        The places, in their order; overlapping ones are one.

    Raises:
        TypeError: It is no `str`.

    Example:
        >>> from consentpanel.policy import detect
        >>> detect("write to ada@shop.example")
        [Finding(kind='email', start=9, end=25)]
        >>> detect("https://shop.example/?q=ada%40shop.example")
        [Finding(kind='email', start=0, end=42)]
        >>> detect("std::cout, 2026-05-01T10:00:00, 102.0.4051.143")
        []
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    return STANDARD.find(text)


def kind_in_name(name: str, own: Detection | None = None) -> str | None:
    """The kind of personal data that a name of a property, event or group holds, so that nothing quotes it.

    Args:
        name: The name.
        own: The detectors of a policy, which look into it as well.
    """
    if own is not None and own.is_custom and (kind := own.kind_in(name)) is not None:
        return kind
    if name in _CLEAN_NAMES or STANDARD.is_clean(name):
        if len(name) <= _LONGEST_NAME and len(_CLEAN_NAMES) < _MOST_NAMES:
            _CLEAN_NAMES.add(name)
        return None
    found = STANDARD.find(name)
    return found[0].kind if found else None


#: Stands for a name in which the id of a person stands.
HIDDEN_ID = "<id>"
#: The vendor cuts a text there (https://docs.mixpanel.com/docs/data-structure/property-reference).
_LONGEST_SHOWN = 255


def shown_name(name: str, ids: Ids | None = None, own: Detection | None = None) -> str:
    """The name of a property, event or group as it is told, cut to 255 characters.

    Args:
        name: The name.
        ids: The ids that the message names, none of which is told.
        own: The detectors of a policy, beside those that always look into it.
    """
    if ids is not None and ids.are_in(name):
        return HIDDEN_ID
    kind = kind_in_name(name, own)
    # A detector that fails finds nothing: its policy's own names would be told no more.
    if kind == DETECTOR_FAILED:
        kind = kind_in_name(name)
    if kind is not None:
        return f"<redacted:{kind}>"
    return name if len(name) <= _LONGEST_SHOWN else f"{name[: _LONGEST_SHOWN - 1]}…"


def _checked(find: Callable[[str], Iterable[tuple[int, int]]], text: str) -> list[tuple[int, int]]:
    with suppress(Exception):  # the user's function; its exception may hold the text
        spans = [(start, end) for start, end in find(text)]
        if all(type(start) is int and type(end) is int and 0 <= start < end <= len(text) for start, end in spans):
            return spans
    raise DetectorError


def _chosen(names: Iterable[object], known: Collection[str]) -> frozenset[str]:
    wanted: set[str] = set()
    unwanted: set[str] = set()
    for name in names:
        if not isinstance(name, str) or name.removeprefix("-") not in known:
            raise ConfigurationError(
                f"detectors are named by their kinds ({', '.join(sorted(known))}), with a minus to leave one out; "
                f"not {name!r}"
            )
        (unwanted if name.startswith("-") else wanted).add(name.removeprefix("-"))
    return frozenset(wanted or known) - unwanted


def _actions(given: OnDetect | Mapping[str, OnDetect], kinds: Collection[str]) -> dict[str, OnDetect]:
    by_kind: dict[str, OnDetect] = {}
    by_kind.update(given if isinstance(given, Mapping) else dict.fromkeys(kinds, given))
    for kind, action in by_kind.items():
        if kind not in kinds:
            raise ConfigurationError(f"on_detect names no kind {kind!r}; there are {', '.join(sorted(kinds))}")
        if action not in _STRICTNESS:
            raise ConfigurationError(f"on_detect must be {', '.join(map(repr, _STRICTNESS))}, or one of them by kind")
    return by_kind


_STRUCTURAL = re.compile(r'["{\[]')
_DEFAULT: OnDetect = "redact"
_STRICTNESS = {"report": 0, "redact": 1, "drop": 2, "refuse": 3}
_REDACTS = _STRICTNESS["redact"]
#: A number below has too few digits to be a card's, and JSON writes no separators.
_SHORT = 10**11
#: A text from here on is not looked at twice.
_LONG_TEXT = 4096
#: Names in which nothing was found: there are few of them in a process, and each comes again and again.
_CLEAN_NAMES: set[str] = set()
_LONGEST_NAME, _MOST_NAMES = 128, 4096
STANDARD = Detection()
