"""Whether a changed notice asks for consent anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from consentpanel.errors import ConfigurationError
from consentpanel.transparency._disclosures import IP_FORMS, rule_name
from consentpanel.transparency._forms import STRENGTH, is_same, tells_more
from consentpanel.transparency._kinds import is_worse
from consentpanel.transparency._notice import Notice


@attrs.frozen
class Change:
    """One thing that is told otherwise.

    Attributes:
        text: What, in a line.
        needs_consent: Whether those who agreed to the old notice did not agree to this.
        kind: What kind of change it is, as a text of `TEXTS` has it: ``"item.new"`` for ``change.item.new``.
        about: The purpose or the rule that has changed; None for the rest.
    """

    text: str
    needs_consent: bool
    kind: str = "other"
    about: str | None = None


@attrs.frozen
class Comparison:
    """What differs between two notices.

    Attributes:
        changes: Each change, those that need consent first.
    """

    changes: tuple[Change, ...]

    @property
    def needs_consent(self) -> bool:
        """Whether consent to the old notice does not cover the new one."""
        return any(change.needs_consent for change in self.changes)

    def in_words(self, new: Notice) -> tuple[str, ...]:
        """What needs consent anew, as a visitor is told it.

        Args:
            new: The new notice, in whose language it is said.
        """
        kinds = dict.fromkeys((change.kind, change.about) for change in self.changes if change.needs_consent)
        # What has no words of its own is said once, at the end.
        told = sorted(kinds, key=lambda pair: pair[0] == "other")
        return tuple(dict.fromkeys(_in_words(kind, about, new) for kind, about in told))


def _in_words(kind: str, about: str | None, new: Notice) -> str:
    words, vendor = new.words, new.facts["vendor"]
    values: dict[str, str] = {"vendor": new.vendor}
    if kind.startswith("purpose."):
        values["purpose"] = words.purpose(about or "", new.vendor)
    elif kind.startswith("item."):
        values["what"] = new.labels.get(about or "") or words("change.other")
    elif kind == "region":
        values["region"] = words(f"region.{vendor['region']}") if vendor["region"] else words("change.other")
    elif kind == "retention":
        values["period"] = (
            words.period(vendor["retention_days"]) if vendor["retention_days"] else words("change.unsaid")
        )
    return words(f"change.{kind}", **values)


def compare(old: Notice | Mapping[str, Any] | str, new: Notice | Mapping[str, Any] | str) -> Comparison:
    """What differs between two notices, and whether people must be asked anew.

    More data, a new purpose, a form that tells more, another receiver, a longer time or a weaker regime need consent
    anew, and so does another reason; less of any of them does not. The judgement is about facts; it is no legal advice.

    Args:
        old: The notice that people agreed to: a `Notice`, or its `to_json()`, as text or read.
        new: The notice that is to be published.

    Returns:
        The comparison.

    Raises:
        ConfigurationError: One of them is no notice.

    Example:
        >>> from consentpanel import FieldPolicy, keep
        >>> from consentpanel.transparency import compare, notice
        >>> before = notice(FieldPolicy(events={"plan": keep()}), contact="x")
        >>> after = notice(FieldPolicy(events={"plan": keep(), "coupon": keep()}), contact="x")
        >>> [change.text for change in compare(before, after).changes if change.needs_consent]
        ["analytics: events['coupon'] is sent now"]
    """
    before, after = _facts(old), _facts(new)
    if "format" not in before:
        # Published before notices told more.
        after = _of_first_format(after)
    try:
        changes = [*_of_purposes(before, after), *_of_items(before, after), *_of_the_rest(before, after)]
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ConfigurationError("compare() takes notices, or the JSON that Notice.to_json() wrote") from None
    return Comparison(tuple(sorted(changes, key=lambda change: not change.needs_consent)))


def _facts(notice: Notice | Mapping[str, Any] | str) -> Mapping[str, Any]:
    said: Any = notice
    if isinstance(notice, Notice):
        return notice.facts
    if isinstance(notice, str):
        try:
            said = json.loads(notice)
        except (ValueError, RecursionError):
            said = None
    facts = said.get("facts") if isinstance(said, Mapping) else None
    if not isinstance(facts, Mapping):
        raise ConfigurationError("compare() takes notices, or the JSON that Notice.to_json() wrote")
    return facts


#: The facts that notices of the first format had not.
_SINCE_SECOND = (
    "opt_out_countries",
    "is_required",
    "automated_decisions",
    "sells_or_shares",
    "data_source",
    "works_without_consent",
    "records_kept",
    "texts",
    "controller_name",
)
_OF_ITEMS_SINCE_SECOND = ("detail", "label")
_OF_VENDOR_SINCE_SECOND = ("role", "transfer", "profiles_kept_until", "in_browser")


def _of_first_format(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _without(facts, (*_SINCE_SECOND, "format"))
    found["purposes"] = [_without(each, ("legal_basis",)) for each in facts["purposes"]]
    found["items"] = [_without(each, _OF_ITEMS_SINCE_SECOND) for each in facts["items"]]
    found["vendor"] = _without(facts["vendor"], _OF_VENDOR_SINCE_SECOND)
    return found


def _without(facts: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in names}


def _of_purposes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    old = {each["purpose"]: each for each in before["purposes"]}
    new = {each["purpose"]: each for each in after["purposes"]}
    for purpose, said in new.items():
        if purpose not in old:
            yield Change(f"{purpose}: the purpose is new", needs_consent=True, kind="purpose.new", about=purpose)
            continue
        if said["why"] != old[purpose]["why"]:
            yield Change(f"{purpose}: another reason is given", needs_consent=True, kind="purpose.why", about=purpose)
        if (was := old[purpose].get("legal_basis")) != said.get("legal_basis"):
            text = f"{purpose}: another legal basis is given"
            yield Change(text, needs_consent=was is not None, kind="purpose.why", about=purpose)
    for purpose in old.keys() - new.keys():
        yield Change(f"{purpose}: the purpose is gone", needs_consent=False, kind="purpose.gone", about=purpose)


def _of_items(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    old, new = _by_purpose(before), _by_purpose(after)
    for key, item in new.items():
        name, rule = _named(key), _rule(key)
        was = old.get(key) or _by_purpose_of_scope(old, key)
        if was is None:
            yield Change(f"{name} is sent now", needs_consent=True, kind="item.new", about=rule)
            continue
        more = STRENGTH.index(item["form"]) - STRENGTH.index(was["form"])
        if more:
            text = f"{name} is sent in another form: {was['form']} became {item['form']}"
            yield Change(text, needs_consent=more > 0, kind="item.form", about=rule)
        elif not is_same(was.get("detail", {}), item.get("detail", {})):
            more_passes = tells_more(was.get("detail", {}), item.get("detail", {}))
            how = "more" if more_passes else "less"
            text = f"{name} is sent in the same form, and {how} of it passes"
            yield Change(text, needs_consent=more_passes, kind="item.form", about=rule)
        for what in ("exceptions", "not_with"):
            left_out, leaves_out = set(was.get(what, ())), set(item.get(what, ()))
            for gone in sorted(left_out - leaves_out):
                yield Change(f"{name}: {gone} is no longer left out", needs_consent=True, kind="item.form", about=rule)
            for added in sorted(leaves_out - left_out):
                yield Change(f"{name}: {added} is left out now", needs_consent=False)
        if was.get("also_needs") != item.get("also_needs"):
            yield Change(f"{name} needs consent for other purposes", needs_consent=was.get("also_needs") is not None)
        if was.get("reason") != item.get("reason"):
            is_other = was.get("reason") is not None
            yield Change(f"{name} is sent for another reason", needs_consent=is_other, kind="item.reason", about=rule)
        if was.get("label") != item.get("label") or was.get("categories") != item.get("categories"):
            is_other = was.get("label") is not None or is_worse(was.get("categories", ()), item.get("categories", ()))
            yield Change(f"{name} is called otherwise", needs_consent=is_other, kind="item.reason", about=rule)
    for key in old.keys() - new.keys():
        yield Change(f"{_named(key)} is no longer sent", needs_consent=False, kind="item.gone", about=_rule(key))


_Key = tuple[str, str, "str | None", str]


def _by_purpose(facts: Mapping[str, Any]) -> dict[_Key, Mapping[str, Any]]:
    return {
        (purpose, item["scope"], item.get("event"), item["path"]): item
        for item in facts["items"]
        for purpose in item["purposes"]
    }


def _by_purpose_of_scope(old: Mapping[_Key, Mapping[str, Any]], key: _Key) -> Mapping[str, Any] | None:
    """The rule for all events that already covered a rule for one."""
    purpose, scope, event, path = key
    found = None if event is None else old.get((purpose, scope, None, path))
    return None if found is None or event in found.get("not_with", ()) else found


def _named(key: _Key) -> str:
    return f"{key[0]}: {_rule(key)}"


def _rule(key: _Key) -> str:
    _, scope, event, path = key
    return rule_name(scope, event, path)


# Each from what tells least to what tells most.
_ORDERS: Mapping[str, tuple[str, ...]] = {
    "identity": ("per_subject", "pseudonymous", "plain"),
    "regime": ("opt_in", "by_region", "opt_out"),
    "ip_address": IP_FORMS,
}


#: The kinds of change that have words of their own.
_KINDS: Mapping[str, str] = {
    "identity": "identity",
    "name": "recipient",
    "role": "recipient",
    "region": "region",
    "retention_days": "retention",
}


def _of_the_rest(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name, order in _ORDERS.items():
        was, now = before[name], after[name]
        if was != now:
            is_more, kind = order.index(now) > order.index(was), _KINDS.get(name, "other")
            kind = "regime.opt_out" if (name, now) == ("regime", "opt_out") else kind
            yield Change(f"{name}: {was} became {now}", needs_consent=is_more, kind=kind)
    yield from _of_countries(before.get("opt_out_countries"), after.get("opt_out_countries"))
    for name, text, asks in _OF_THE_VENDOR:
        was, now = before["vendor"].get(name), after["vendor"].get(name)
        if was != now:
            said, kind = text.format(name=name, was=was, now=now), _KINDS.get(name, "other")
            yield Change(f"vendor: {said}", needs_consent=asks(was, now), kind=kind)
    for name, text in (
        ("not_searched", "what detectors take out of values is another"),
        ("planned_events", "the names of actions that may be sent are others"),
    ):
        was, now = before[name], after[name]
        if was != now:
            yield Change(text, needs_consent=was is not None and (now is None or not set(now) <= set(was)))
    was, now = before.get("held_for"), after.get("held_for")
    if was != now:
        text = "what people do before they have answered is kept for another time, or no longer"
        yield Change(text, needs_consent=now is not None and (was is None or now > was))
    for name, said, asks in _OF_THE_PUBLISHER:
        was, now = before.get(name), after.get(name)
        if was != now:
            yield Change(said, needs_consent=asks(was, now))
    if before["contact"] != after["contact"]:
        yield Change("the contact is another", needs_consent=False)


def _of_countries(was: list[str] | None, now: list[str] | None) -> Iterator[Change]:
    old, new = set(was or ()), set(now or ())
    for country in sorted(new - old):
        yield Change(f"regime: silence is no no in {country} now", needs_consent=True)
    for country in sorted(old - new):
        yield Change(f"regime: {country} is asked before now", needs_consent=False)


def _was_said(was: Any, _: Any) -> bool:
    return was is not None


def _is_news(was: Any, now: Any) -> bool:
    return was is not None or now not in (None, False)


#: What the publisher has said: how a change of each is told, and whether it needs consent.
_OF_THE_PUBLISHER: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("controller_name", "who is responsible is another", _was_said),
    ("automated_decisions", "what is decided without a person is another", _is_news),
    ("sells_or_shares", "whether personal information is sold or shared is answered otherwise", _is_news),
    ("is_required", "whether the data must be given is answered otherwise", _is_news),
    (
        "works_without_consent",
        "whether the service works without consent is answered otherwise",
        lambda was, _: was is True,
    ),
    ("records_kept", "answers are kept for another time", lambda was, now: was is not None and _lasts_longer(was, now)),
    ("data_source", "from whom else the data comes is another", _is_news),
    ("texts", "texts of the publisher's own are others", _is_news),
)


def _lasts_longer(was: int | None, now: int | None) -> bool:
    return now is None or (was is not None and now > was)


def _stores_more(was: Any, now: Any) -> bool:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        return any(days > was.get(name, -1) for name, days in now.items())
    # Named are cookies that were only said to be there.
    return bool(now) and was is not True


#: The facts about the vendor: how a change of each is told, and whether it needs consent.
_OF_THE_VENDOR: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("name", "the {name} {was} became {now}", lambda *_: True),
    ("region", "the {name} {was} became {now}", _was_said),
    ("role", "the {name} {was} became {now}", _was_said),
    ("transfer", "who can reach the data from abroad, or what protects it there, is another", _was_said),
    ("profiles_kept_until", "profiles are kept until something else", _was_said),
    ("targets_behaviour", "{name} became {now}", lambda _, now: bool(now)),
    ("uses_cookies", "{name} became {now}", _stores_more),
    ("in_browser", "{name} became {now}", lambda _, now: bool(now)),
    ("allows_erasure", "{name} became {now}", lambda _, now: now is False),
    ("retention_days", "{was} days became {now}", _lasts_longer),
)
