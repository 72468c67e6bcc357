"""What a rule makes of a value: in facts, in words, and by an example. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from consentpanel.policy import Action
from consentpanel.policy._action_types import ActionError, Generalize, Keep, Mask, Pseudonymize, Redact, Truncate, Url
from consentpanel.transparency._texts import Words

#: In which form each action lets a value pass.
FORMS: Mapping[str, str] = {
    "keep": "as_is",
    "url": "parts",
    "transform": "computed",
    "generalize": "generalized",
    "truncate": "shortened",
    "mask": "masked",
    "pseudonymize": "pseudonymous",
    "redact": "replaced",
}
#: Forms from the one that tells least to the one that tells most.
STRENGTH = ("replaced", "pseudonymous", "masked", "generalized", "shortened", "parts", "computed", "as_is", "deep")
#: Forms in which a personal property is still personal data that can be read.
TELLS_WHO = frozenset({"as_is", "deep", "computed", "shortened", "masked", "parts"})

_EMAIL = "user.contact.email"
_POSITION = "user.location.precise"


def form_of(action: Action) -> str:
    """The form in which an action lets a value pass: one of `STRENGTH`."""
    return "deep" if isinstance(action, Keep) and action.deep else FORMS[action.name]


def detail_of(action: Action) -> dict[str, Any]:
    """How exactly, as JSON: what a notice's version and comparisons go by beside the form."""
    found: dict[str, Any] = {}
    if isinstance(action, Keep):
        found = {
            "type": action.kinds[-1].__name__ if action.kinds else None,
            "one_of": None if action.one_of is None else list(action.one_of),
            "match": None if action.match is None else action.match.pattern,
            "max_length": action.max_length,
        }
    elif isinstance(action, Mask):
        found = {"last": action.last}
    elif isinstance(action, Truncate):
        found = {"length": action.length}
    elif isinstance(action, Redact):
        found = {"text": action.text}
    elif isinstance(action, Generalize):
        exact = (24, 48) if action.detail is True else action.detail
        found = {action.how: list(exact) if isinstance(exact, tuple) else exact}
    elif isinstance(action, Url):
        found = {"params": sorted(action.parameters), "ids": not action.hides_ids, "fragment": action.keeps_fragment}
    return {name: value for name, value in found.items() if value is not None}


def tells_more(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a rule of one form lets more pass than it did, or may: what cannot be told counts as more.

    Args:
        was: The `detail_of` the rule that people agreed to.
        now: That of the rule in its place.
    """
    return any(_tells_more(name, was.get(name), now.get(name)) for name in {*was, *now})


def is_same(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two rules of one form do exactly the same; True is not 1."""
    return json.dumps(was, sort_keys=True) == json.dumps(now, sort_keys=True)


def _tells_more(name: str, was: Any, now: Any) -> bool:
    if name == "text" or is_same({name: was}, {name: now}):
        return False
    if was is None or now is None:
        # A constraint that comes leaves out more, and one that goes less.
        return now is None
    with suppress(TypeError, ValueError, KeyError):
        return _MORE[name](was, now)
    return True


_PARTS = ("year", "month", "day")
_MORE: Mapping[str, Callable[[Any, Any], bool]] = {
    "one_of": lambda was, now: not _are_among(now, was),
    "max_length": lambda was, now: now > was,
    "last": lambda was, now: now > was,
    "length": lambda was, now: now > was,
    "bucket": lambda was, now: now < was,
    "decimals": lambda was, now: now > was,
    "time": lambda was, now: _PARTS.index(now) > _PARTS.index(was),
    "ip": lambda was, now: any(more > less for less, more in zip(was, now, strict=True)),
    "bands": lambda was, now: not _are_among(now, was),
    "params": lambda was, now: not _are_among(now, was),
    "ids": lambda _, now: bool(now),
    "fragment": lambda _, now: bool(now),
}


def _are_among(some: Any, all_of_them: Any) -> bool:
    known = {json.dumps(each) for each in all_of_them}
    return all(json.dumps(each) in known for each in some)


def in_words(action: Action, categories: tuple[str, ...], words: Words, vendor: str) -> str:
    """What an action does with a value, as a visitor would say it.

    Args:
        action: The action of a rule that lets something pass.
        categories: The kinds of personal data that the property is.
        words: Of the language.
        vendor: The vendor's name.
    """
    is_pseudonym = isinstance(action, Pseudonymize)
    said = [
        words("form.pseudonymize", vendor=vendor) if is_pseudonym else _IN_WORDS[action.name](action, categories, words)
    ]
    if isinstance(action, Url) and action.keeps_fragment:
        said.append(words("form.url.fragment"))
    if action.detect is False:
        said.append(words("detect.off"))
    whole, *more = said
    for each in more:
        whole = words("form.and", form=whole, more=each)
    return whole


def _keep(action: Any, _: tuple[str, ...], words: Words) -> str:
    if action.deep:
        return words("form.keep.deep")
    if action.one_of is not None:
        return words("form.keep.one_of", values=words.listed(map(_written, action.one_of)))
    if action.kinds and action.kinds[-1] is not str:
        return words(f"form.keep.type.{action.kinds[-1].__name__}")
    return words("form.keep")


def _mask(action: Any, categories: tuple[str, ...], words: Words) -> str:
    if _EMAIL in categories:
        return words("form.mask.email")
    if action.last == 1:
        return words("form.mask.one")
    return words("form.mask", n=str(action.last)) if action.last else words("form.mask.none")


def _truncate(action: Any, _: tuple[str, ...], words: Words) -> str:
    return words("form.truncate.one") if action.length == 1 else words("form.truncate", n=str(action.length))


#: How far a rounded coordinate is off at most, by its decimals: half of a step of 111 km, divided by ten each time.
_DISTANCES = ("60 km", "6 km", "600 m", "60 m", "6 m", "1 m")


def _generalize(action: Any, categories: tuple[str, ...], words: Words) -> str:
    how, detail = action.how, action.detail
    if how == "time":
        return words(f"form.generalize.time.{detail}")
    if how == "bucket":
        return words("form.generalize.bucket", width=_written(detail))
    if how == "ip":
        return words("form.generalize.ip")
    if how == "bands":
        name = "form.generalize.bands.age" if "user.demographic" in categories else "form.generalize.bands"
        return words(name, example=_written(action.coarsen(detail[len(detail) // 2])))
    if _POSITION in categories:
        return words("form.generalize.decimals.coordinate", distance=_DISTANCES[min(detail, len(_DISTANCES) - 1)])
    if detail == 1:
        return words("form.generalize.decimals.one")
    return words("form.generalize.decimals.number", n=str(detail)) if detail else words("form.generalize.decimals.none")


def _url(action: Any, _: tuple[str, ...], words: Words) -> str:
    names = [words.label(name) or name for name in sorted(action.parameters)]
    name = "form.url.ids" if action.hides_ids else "form.url"
    return words(name, params=words.listed(names)) if names else words(f"{name}.none")


_IN_WORDS: Mapping[str, Callable[[Any, tuple[str, ...], Words], str]] = {
    "keep": _keep,
    "mask": _mask,
    "truncate": _truncate,
    "generalize": _generalize,
    "url": _url,
    "redact": lambda action, _, words: words("form.redact", text=action.text),
    "transform": lambda _, __, words: words("form.computed"),
}


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


#: What an example is made of where the publisher gives none: of nobody real.
_SAMPLES: Mapping[str, Any] = {
    "time": "2026-11-03T09:12:00Z",
    "ip": "203.0.113.77",
    "url": "https://shop.example/orders/4711?utm_source=newsletter&id=7",
    "email": "ada@mail.example",
    "number": "4000123412344242",
}


def example_of(action: Action, categories: tuple[str, ...]) -> str | None:
    """A value as it leaves, made of the publisher's example or one of ours; None where there is none.

    Args:
        action: The action of a rule that lets something pass.
        categories: The kinds of personal data that the property is.

    Raises:
        ActionError: The publisher's example does not pass its own rule.
    """
    if isinstance(action, Pseudonymize):
        # What the secret makes of a known text is no example to publish.
        return f"{action.prefix}4f9c…"
    if isinstance(action, Redact):
        return action.text
    if action.example is not None:
        return _written(action.apply(action.example, None))
    if isinstance(action, Keep) and action.one_of is not None:
        return _written(action.one_of[0])
    sample = _sample_for(action, categories)
    with suppress(ActionError):
        return None if sample is None else _written(action.apply(sample, None))
    return None


def _sample_for(action: Action, categories: tuple[str, ...]) -> Any:
    if isinstance(action, Url):
        return _SAMPLES["url"]
    if isinstance(action, Mask):
        return _SAMPLES["email" if _EMAIL in categories else "number"]
    if not isinstance(action, Generalize):
        return None
    if action.how == "bucket":
        return action.detail * 3.5
    return {"decimals": 52.516275, **_SAMPLES}.get(action.how)
