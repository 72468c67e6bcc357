"""The words of a policy: keep, drop, redact, mask, pseudonymize, truncate, generalize, transform, url, refuse."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict, Unpack

from consentpanel._checks import several, whole_number
from consentpanel.errors import ConfigurationError
from consentpanel.policy._action_types import (
    TYPES,
    Action,
    Drop,
    Generalize,
    Keep,
    Mask,
    Pseudonymize,
    Redact,
    Refuse,
    Text,
    Transform,
    Truncate,
    Url,
)
from consentpanel.policy._detect.detection import OnDetect
from consentpanel.policy._generalize import WAYS
from consentpanel.policy._url import UTM


class _Said(TypedDict, total=False):
    """What a rule says to visitors."""

    #: Kinds of personal data, for the notice to visitors.
    categories: Iterable[str]
    #: What the property is in the words of a visitor, such as ``"what you paid"``; by language if wanted: ``{"en": ..., "de": ...}``.
    label: Text | None
    #: Why it is sent, for the notice to visitors; by language if wanted.
    reason: Text | None
    #: A value as the application has it, of nobody real: the notice shows what becomes of it.
    example: Any


class _Bound(_Said, total=False):
    """What a rule takes whose result no detector needs to look into."""

    #: A purpose whose consent the property needs too; without it the property is dropped as ``no_consent``.
    purpose: str | None


class Options(_Bound, total=False):
    """What every rule takes that lets a value, or a part of one, pass.

    Of a wrong type each is a `ConfigurationError`, and a keyword that a rule does not take a `TypeError`.
    """

    #: False exempts the field from the detectors; or the kinds to look for; True, the default, looks for all.
    detect: bool | Iterable[str]
    #: What becomes of what they find: ``"redact"``, ``"drop"``, ``"refuse"`` or ``"report"``, or a mapping from kinds
    #: to these; what the policy says when left out.
    on_detect: OnDetect | Mapping[str, OnDetect] | None


def _only(rule: str, known: Any, options: _Said) -> dict[str, Any]:
    """The options, when the rule takes all of them."""
    more = options.keys() - known.__optional_keys__
    if more:
        raise TypeError(f"{rule}() got an unexpected keyword argument {min(more)!r}")
    return dict(options)


def keep(
    *,
    deep: bool = False,
    type: type[str | float | bool] | None = None,  # noqa: A002 - the word for it in every schema language
    one_of: Iterable[str | float | bool | None] | None = None,
    match: str | re.Pattern[str] | None = None,
    max_length: int | None = None,
    personal: bool = False,
    **options: Unpack[Options],
) -> Action:
    """Sends the value as it is.

    A string, a number, a boolean, None, or a list of these is kept. A dict, or a list that holds dicts or lists,
    is opened only by rules for what is inside, or by ``deep=True``. A value outside the constraints
    (`type` to `max_length`) drops its property as ``schema``.

    Args:
        deep: Whether everything inside a dict or list is kept as well, but for keys with a sensitive name
            (`SENSITIVE_NAMES`).
        type: `str`, `int`, `float` (which takes ints too) or `bool`; a bool is no int.
        one_of: The values that are kept, compared by type and value: True is not 1.
        match: A regular expression that the whole of a string must match.
        max_length: The most characters of the value's text.
        personal: Says that the property is personal and kept knowingly, where its name would be warned of and
            `categories` are not given.
        options: What every rule takes: see `Options`.

    Raises:
        ConfigurationError: An argument has a wrong type, or `deep` stands beside a constraint; constraints exclude each
            other, or an argument has no effect.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> policy = FieldPolicy(events={"plan": keep(one_of=["free", "pro"]), "total": keep(type=float)})
        >>> result = policy.apply_event("Signed up", {"plan": "for ada@shop.example", "total": 9, "name": "Ada"})
        >>> result.properties, result.dropped
        ({'total': 9}, {'plan': 'schema', 'name': 'unnamed'})
    """
    if not isinstance(deep, bool):
        raise ConfigurationError(f"deep must be a bool, not {deep.__class__.__name__}")
    if type is not None and type not in TYPES:
        raise ConfigurationError("type must be str, int, float or bool")
    if max_length is not None:
        whole_number("max_length", max_length, least=0)
    action = Keep(
        deep=deep,
        kinds=() if type is None else TYPES[type],
        one_of=_values(one_of),
        match=_pattern(match),
        max_length=max_length,
        personal=personal,
        **_only("keep", Options, options),
    )
    if deep and action.is_constrained:
        raise ConfigurationError(
            "deep=True keeps dicts and lists whole: a constraint needs a rule for the scalar itself"
        )
    if action.is_impossible:
        raise ConfigurationError("keep() can never apply: its constraints exclude each other")
    if action.detect is False and action.on_detect is not None:
        raise ConfigurationError("on_detect has no effect beside detect=False")
    return action


def _values(given: object) -> tuple[Any, ...] | None:
    if given is None:
        return None
    values = several("one_of", "several values", given)
    if not values or not all(each is None or isinstance(each, (str, int, float, bool)) for each in values):
        raise ConfigurationError("one_of must hold at least one str, number, bool or None, and nothing else")
    return values


def _pattern(given: object) -> re.Pattern[str] | None:
    if given is None:
        return None
    try:
        pattern = re.compile(given)  # type: ignore[call-overload]
    except (re.error, TypeError, RecursionError) as error:
        raise ConfigurationError(f"match must be a regular expression: {type(error).__name__}") from None
    if not isinstance(pattern.pattern, str):
        raise ConfigurationError("match must be a regular expression for str, not bytes")
    found: re.Pattern[str] = pattern
    return found


def drop(**options: Unpack[_Said]) -> Action:
    """Leaves the property out, and says so in the `Decision`.

    What no rule names is dropped too; use this to except a part of something kept deep, or to write the decision down.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> policy = FieldPolicy(events={"cart": keep(deep=True), "cart.note": drop()})
        >>> policy.apply_event("Ordered", {"cart": {"total": 9, "note": "for Ada"}}).properties
        {'cart': {'total': 9}}
    """
    return Drop(**_only("drop", _Said, options))


def refuse(**options: Unpack[_Said]) -> Action:
    """Drops the whole message when the property is there.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> FieldPolicy(events={"diagnosis": refuse()}).apply_event("Visit", {"diagnosis": "..."}).refused
        True
    """
    return Refuse(**_only("refuse", _Said, options))


def redact(text: str = "[redacted]", **options: Unpack[_Bound]) -> Action:
    """Sends a fixed text in the place of the value. None stays None.

    Args:
        text: What to send.
        options: `purpose`, `categories` and `reason`: see `Options`.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> FieldPolicy(people={"$name": redact()}).apply_people({"$set": {"$name": "Ada"}}).properties
        {'$set': {'$name': '[redacted]'}}
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"text must be a str, not {type(text).__name__}")
    return Redact(text=text, **_only("redact", _Bound, options))


def mask(last: int = 4, **options: Unpack[_Bound]) -> Action:
    """Hides all but the last characters of a value, or all but the domain of an e-mail address.

    Four stars stand for what is hidden, however long it is. At most a quarter of a value is shown, and nothing of one
    with fewer than 8 characters.

    Args:
        last: How many characters at the end are shown, at most; 0 shows none.
        options: `purpose`, `categories` and `reason`: see `Options`.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> policy = FieldPolicy(events={"card": mask(), "email": mask()})
        >>> policy.apply_event("Paid", {"card": "4242424242424242", "email": "ada@mail.example"}).properties
        {'card': '****4242', 'email': '****@mail.example'}
    """
    return Mask(last=whole_number("last", last, least=0), **_only("mask", _Bound, options))


def pseudonymize(prefix: str = "psn_", **options: Unpack[_Bound]) -> Action:
    """Sends a stable pseudonym: the prefix and the HMAC-SHA-256 of the value under the policy's secret.

    The same value has the same pseudonym wherever it stands, so that reports can count and join; nobody without
    the secret can go back, or try out guesses (RFC 2104). None stays None.

    Args:
        prefix: What a pseudonym starts with, so that a reader tells it from a raw value.
        options: `purpose`, `categories` and `reason`: see `Options`.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> policy = FieldPolicy(events={"email": pseudonymize()}, secret=b"kept in a vault, never in the code")
        >>> policy.apply_event("Signed up", {"email": "a@b.example"}).properties["email"][:12]
        'psn_aa3a1e91'
    """
    if not isinstance(prefix, str) or not prefix or len(prefix) > 32:
        raise ConfigurationError("prefix must be a str of 1 to 32 characters")
    return Pseudonymize(prefix=prefix, **_only("pseudonymize", _Bound, options))


def truncate(
    n: int,
    **options: Unpack[Options],
) -> Action:
    """Sends the first `n` characters.

    Args:
        n: How many characters, 1 or more. A number whose text is longer is sent as the start of its text.
        options: What every rule takes: see `Options`.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> FieldPolicy(events={"postcode": truncate(2)}).apply_event("Moved", {"postcode": "10117"}).properties
        {'postcode': '10'}
    """
    return Truncate(
        length=whole_number("n", n, least=1),
        **_only("truncate", Options, options),
    )


def transform(
    function: Callable[[Any], Any],
    **options: Unpack[Options],
) -> Action:
    """Sends what your own function makes of the value.

    Args:
        function: Takes the value as it would stand on the wire, returns what to send. When it raises, the
            property is dropped.
        options: What every rule takes: see `Options`.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> FieldPolicy(events={"query": transform(len)}).apply_event("Searched", {"query": "flu"}).properties
        {'query': 3}
    """
    if not callable(function):
        raise ConfigurationError(f"function must be a callable, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise ConfigurationError("function must return the value; a coroutine function does not")
    return Transform(
        function=function,
        **_only("transform", Options, options),
    )


def generalize(
    *,
    bucket: float | None = None,
    time: str | None = None,
    ip: bool | tuple[int, int] | None = None,
    decimals: int | None = None,
    bands: Sequence[float] | None = None,
    **options: Unpack[Options],
) -> Action:
    """Sends a coarser value; exactly one of the five ways is named.

    A value that the way cannot read is dropped, and the `Decision` says so. None stays None.

    Args:
        bucket: Width of a bucket; a number becomes the lower end of its bucket.
        time: ``"day"``, ``"month"`` or ``"year"``; an ISO 8601 text, or seconds or milliseconds since 1970, becomes
            its UTC date cut there.
        ip: True, or the bits to keep of an IPv4 and an IPv6 address; the rest becomes zero. True means (24, 48).
        decimals: Decimals to keep of a coordinate or another number, 0 to 12.
        bands: Rising lower ends of bands, such as ``(18, 25, 35)`` for ages: 30 becomes ``"25-34"``.
        options: What every rule takes: see `Options`.

    Raises:
        ConfigurationError: None or several of the ways are named, or an argument has a wrong type or value.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> policy = FieldPolicy(events={
        ...     "price": generalize(bucket=10), "born": generalize(time="year"), "ip": generalize(ip=True),
        ...     "lat": generalize(decimals=1), "age": generalize(bands=(18, 25, 35)),
        ... })
        >>> policy.apply_event("Bought", {
        ...     "price": 42, "born": "1990-05-17", "ip": "192.0.2.77", "lat": 52.5163, "age": 30,
        ... }).properties
        {'price': 40, 'born': '1990', 'ip': '192.0.2.0', 'lat': 52.5, 'age': '25-34'}
    """
    ways = {"bucket": bucket, "time": time, "ip": ip, "decimals": decimals, "bands": bands}
    named = [way for way, value in ways.items() if value is not None]
    if len(named) != 1:
        raise ConfigurationError(f"generalize() takes exactly one of {', '.join(ways)}, not {len(named)}")
    how = named[0]
    coarsen = WAYS[how](ways[how])
    detail = tuple(bands) if bands is not None else ways[how]
    if how == "ip" and options.get("detect", True) is True:
        # An address is what this is for; anything else in its place is none, and does not pass.
        options["detect"] = ("-ip_address",)
    return Generalize(
        how=how,
        coarsen=coarsen,
        detail=detail,
        **_only("generalize", Options, options),
    )


def url(
    *,
    params: Iterable[str] = UTM,
    path: str = "keep",
    fragment: bool = False,
    **options: Unpack[Options],
) -> Action:
    """Sends a URL without the parts that may say who follows it.

    Scheme, host, port, path and the named parameters leave. A user, a password and what follows a semicolon in the
    path never do. Where there is nothing to remove, the value leaves byte for byte. What is no URL with a host and no path is
    dropped, and so is what may hold another URL with a user, or is escaped more than three times.

    Args:
        params: Names of the parameters that are kept, exactly; the five ``utm_`` ones when left out.
        path: ``"keep"``, or ``"ids"``: a segment that is a number or a UUID, or holds an ``@``, becomes ``*``.
        fragment: Whether what follows ``#`` is kept.
        options: What every rule takes: see `Options`.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy
        >>> policy = FieldPolicy(events={"page": url(path="ids")})
        >>> page = "https://ada:pw@shop.example/orders/4711?utm_source=mail&email=ada@shop.example#top"
        >>> policy.apply_event("Viewed", {"page": page}).properties
        {'page': 'https://shop.example/orders/*?utm_source=mail'}
    """
    if isinstance(params, str) or not all(isinstance(each, str) and each for each in params):
        raise ConfigurationError("params must be several names, such as ('utm_source',)")
    if path not in ("keep", "ids"):
        raise ConfigurationError("path must be 'keep' or 'ids'")
    if not isinstance(fragment, bool):
        raise ConfigurationError(f"fragment must be a bool, not {type(fragment).__name__}")
    return Url(
        parameters=frozenset(params),
        hides_ids=path == "ids",
        keeps_fragment=fragment,
        **_only("url", Options, options),
    )
