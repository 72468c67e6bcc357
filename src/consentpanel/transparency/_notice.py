"""The notice to visitors, written from the live policy."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from consentpanel._checks import seconds, several
from consentpanel._consent.regime import Regime
from consentpanel._mixpanel.hosts import REGIONS
from consentpanel._mixpanel.names import EXPOSURE_EVENT
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity, plain, pseudonymous
from consentpanel.policy._names import words_of
from consentpanel.transparency._disclosures import NO_PURPOSE, Item, ip_form, items_of, not_searched
from consentpanel.transparency._page import Entry, Section, as_html, as_markdown
from consentpanel.transparency._printable import printable_json
from consentpanel.transparency._texts import Words


@attrs.frozen(kw_only=True)
class Vendor:
    """Who receives the data, and what else is done with it that no policy of fields can know.

    Attributes:
        name: The vendor's name.
        region: Where the project's data is kept: ``"US"``, ``"EU"`` or ``"IN"``.
        retention_days: How long the data is kept there, in days; None when you do not say.
        targets_behaviour: Whether what people do decides what they are shown or offered.
        uses_cookies: Whether cookies are used for it.
        allows_erasure: Whether people can have the vendor's copy deleted and get a copy of it.

    Raises:
        ConfigurationError: A value is malformed.

    Example:
        >>> Vendor(region="EU", retention_days=365).name
        'Mixpanel'
    """

    name: str = "Mixpanel"
    region: str = attrs.field(default="US")
    retention_days: int | None = None
    targets_behaviour: bool = False
    uses_cookies: bool = False
    allows_erasure: bool = True

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigurationError("vendor: name must be a non-empty str")
        if self.region not in REGIONS:
            raise ConfigurationError(f"vendor: region must be one of {', '.join(REGIONS)}")
        days = self.retention_days
        if days is not None and (type(days) is not int or days < 1):
            raise ConfigurationError("vendor: retention_days must be a whole number of days, 1 or more")


@attrs.frozen(kw_only=True)
class Notice:
    """What visitors are told. Made by `notice`, not by hand.

    Attributes:
        language: ``"en"``, ``"de"`` or ``"fr"``.
        version: A digest of the facts, equal in all languages: what `ConsentRecord.policy_version` should hold.
        facts: What is told, without words: purposes, properties, regime, identity, vendor. JSON.
        sections: What is told, in words.
    """

    language: str
    version: str
    facts: Mapping[str, Any] = attrs.field(repr=False)
    title: str
    sections: tuple[Section, ...] = attrs.field(repr=False)

    @property
    def properties(self) -> frozenset[str]:
        """The paths of all properties that are named, but for those that go with every message."""
        return frozenset(item["path"] for item in self.facts["items"])

    def to_markdown(self) -> str:
        """The notice as Markdown.

        Example:
            >>> from consentpanel import FieldPolicy
            >>> from consentpanel.transparency import notice
            >>> notice(FieldPolicy(), contact="privacy@shop.example").to_markdown().splitlines()[0]
            '# What we share with Mixpanel'
        """
        return as_markdown(self.title, self.sections)

    def to_html(self) -> str:
        """The notice as one page of HTML, which needs nothing else: no scripts, no fonts, no pictures."""
        return as_html(self.title, self.sections, language=self.language, version=self.version)

    def to_json(self) -> str:
        """The notice as JSON: its facts, its version and its words."""
        return printable_json(json.dumps(attrs.asdict(self), indent=2, ensure_ascii=False, sort_keys=True)) + "\n"


def notice(
    policy: FieldPolicy,
    *,
    contact: str,
    purposes: Mapping[str, str] | Iterable[str] = (),
    regime: Regime | Callable[[str], Regime] = Regime.OPT_IN,
    identity: Identity | None = None,
    vendor: Vendor | str | None = None,
    language: str = "en",
    strict: bool = False,
    purpose_map: Mapping[str, str | Iterable[str]] | None = None,
    texts: Mapping[str, str] | None = None,
    hold_for: float | None = None,
) -> Notice:
    """Writes, from the live policy, what is shared with the vendor, what for, and what people can do about it.

    Args:
        policy: The policy that the client uses.
        contact: Where people can say no and ask for erasure: an address or a URL.
        purposes: From purposes to why, in words that a visitor understands: ``{"analytics": "to see what is bought"}``.
        regime: What silence means, as the client has it.
        identity: How ids leave, as the client has it; when left out as a client without one has it.
        vendor: Who receives the data; Mixpanel in the United States when left out.
        language: ``"en"``, ``"de"`` or ``"fr"``. Reasons and purposes are yours, and in your language.
        strict: Whether a property without a reason, or a purpose without a why, is an error.
        purpose_map: The purposes of events and calls, where the client has a map of them.
        texts: Texts of your own in the place of `TEXTS`, by their names.
        hold_for: The most seconds that messages of somebody who was never asked are held, where the client has
            ``while_unknown="hold"``; None where it has not.

    Returns:
        The notice.

    Raises:
        ConfigurationError: An argument is malformed, the policy is `keep_all()`, or, in strict mode, something lacks
            its reason; the text names all that do.

    Example:
        >>> from consentpanel import FieldPolicy, keep
        >>> policy = FieldPolicy(events={"plan": keep(reason="to see which plans are used")})
        >>> page = notice(policy, contact="privacy@shop.example", purposes={"analytics": "to improve the shop"})
        >>> sorted(page.properties)[-1], len(page.version)
        ('plan', 19)
    """
    if not isinstance(policy, FieldPolicy):
        raise ConfigurationError(f"policy must be a FieldPolicy, not {type(policy).__name__}")
    if not isinstance(contact, str) or not contact.strip():
        raise ConfigurationError("contact must say where people can write to: an address or a URL")
    who = vendor if isinstance(vendor, Vendor) else Vendor(name=vendor) if vendor is not None else Vendor()
    if not isinstance(purposes, Mapping):
        purposes = {str(each): "" for each in several("purposes", "a mapping or several purposes", purposes)}
    whys = dict(purposes)
    items = items_of(policy, purpose_map)
    served = (purpose for item in items for purpose in (*item.purposes, item.also_needs) if purpose is not None)
    named = list(dict.fromkeys((*whys, *served)))
    if strict:
        _refuse_gaps(items, named, whys)
    facts: dict[str, Any] = {
        "purposes": [{"purpose": purpose, "why": whys.get(purpose, "")} for purpose in named],
        "items": [item.as_dict() for item in items],
        "regime": regime.value if isinstance(regime, Regime) else "by_region",
        "identity": (identity or (pseudonymous() if policy.forbids_personal_data else plain())).kind,
        "vendor": attrs.asdict(who),
        "ip_address": ip_form(items, policy),
        "not_searched": not_searched(policy, items),
        "planned_events": None if policy.planned_events is None else sorted(policy.planned_events),
        "contact": contact,
    }
    if hold_for is not None:
        facts["held_for"] = seconds("hold_for", hold_for)
    version = "n1_" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    words = Words(language, texts)
    return Notice(
        language=language,
        version=version,
        facts=facts,
        title=words("title", vendor=who.name),
        sections=tuple(_sections(facts, items, who, words, version)),
    )


def _refuse_gaps(items: Iterable[Item], named: Iterable[str], whys: Mapping[str, str]) -> None:
    lacking = [item.rule for item in items if not item.reason]
    lacking += [f"purposes[{purpose!r}]" for purpose in named if purpose != NO_PURPOSE and not whys.get(purpose)]
    if lacking:
        raise ConfigurationError(f"a notice in strict mode needs a reason for each of: {', '.join(lacking)}")


def _sections(
    facts: Mapping[str, Any], items: Iterable[Item], vendor: Vendor, words: Words, version: str
) -> Iterable[Section]:
    yield Section(heading="", paragraphs=(words("intro", vendor=vendor.name),))
    for purpose in facts["purposes"]:
        yield _purpose(purpose["purpose"], purpose["why"], facts["regime"], items, vendor, words)
    yield Section(heading=words("technical"), entries=tuple(_technical(facts, vendor, words)))
    yield Section(heading=words("who"), paragraphs=tuple(_receiver(facts, vendor, words)))
    yield Section(heading=words("choices"), paragraphs=tuple(_choices(facts, vendor, words, version)))


def _receiver(facts: Mapping[str, Any], vendor: Vendor, words: Words) -> Iterable[str]:
    days, but = vendor.retention_days, facts["not_searched"]
    yield words("who.text", vendor=vendor.name, region=words(f"region.{vendor.region}"))
    yield words("retention.unknown") if days is None else words("retention.days", days=str(days))
    yield words(f"identity.{facts['identity']}", vendor=vendor.name)
    yield words("targeting.yes" if vendor.targets_behaviour else "targeting.no")
    yield words("cookies.yes" if vendor.uses_cookies else "cookies.no")
    if facts["ip_address"] != "unknown":
        yield words(f"ip.{facts['ip_address']}")
    if but is not None:
        yield words("detectors.but", paths=", ".join(but)) if but else words("detectors")


def _choices(facts: Mapping[str, Any], vendor: Vendor, words: Words, version: str) -> Iterable[str]:
    yield words("choices.opt_out" if facts["regime"] == "opt_out" else "choices.opt_in")
    yield words("choices.no")
    if "held_for" in facts:
        yield words("choices.held", minutes=str(math.ceil(facts["held_for"] / 60)))
    if vendor.allows_erasure:
        yield words("choices.erase", vendor=vendor.name)
    yield words("choices.contact", contact=facts["contact"])
    yield words("version", version=version)


def _purpose(purpose: str, why: str, regime: str, items: Iterable[Item], vendor: Vendor, words: Words) -> Section:
    mine = [item for item in items if purpose in (*item.purposes, item.also_needs)]
    paragraphs = [words(f"basis.{'none' if purpose == NO_PURPOSE else regime}")]
    if why:
        paragraphs.insert(0, words("why", why=why))
    if not mine:
        paragraphs.append(words("nothing"))
    entries = [_entry(item, purpose, words, vendor) for item in mine if not item.is_built_in]
    if any(item.is_built_in for item in mine):
        entries.append(Entry(label=words("technical.variant"), path=EXPOSURE_EVENT))
    heading = words.purpose(purpose, vendor.name)
    return Section(heading=heading, paragraphs=tuple(paragraphs), entries=tuple(entries))


def _entry(item: Item, purpose: str, words: Words, vendor: Vendor) -> Entry:
    if item.event is not None:
        place = words("event.one", event=item.event)
    else:
        place = words("event.any" if item.scope == "events" else f"scope.{item.scope}")
    details = [words(f"form.{item.form}"), place]
    if item.not_with:
        details.append(words("event.except", events="”, “".join(item.not_with)))
    if item.exceptions:
        details.append(words("except", paths=", ".join(item.exceptions)))
    if item.also_needs is not None and item.also_needs != purpose:
        details.append(words("also_needs", purpose=words.purpose(item.also_needs, vendor.name)))
    label = ", ".join(map(words.category, item.categories)) or _label(item.path)
    return Entry(label=label, details=tuple(details), reason=item.reason, path=item.path)


def _label(path: str) -> str:
    """A path in words: ``"items[].unitPrice"`` becomes ``"items: unit price"``."""
    parts = [" ".join(words_of(part)) or part for part in path.replace("[]", "").replace("'", "").split(".")]
    return ": ".join(parts)


def _technical(facts: Mapping[str, Any], vendor: Vendor, words: Words) -> Iterable[Entry]:
    planned = facts["planned_events"]
    names = words("names_of_actions") if planned is None else words("names_of_planned", events=", ".join(planned))
    yield Entry(label=names, path="event")
    for name, path in (
        ("technical.id", "distinct_id"),
        ("technical.device", "$device_id"),
        ("technical.time", "time"),
        ("technical.number", "$insert_id"),
        ("technical.library", "mp_lib, $lib_version"),
        ("technical.token", "token"),
        ("technical.group", "$group_key, $group_id"),
    ):
        yield Entry(label=words(name, vendor=vendor.name), path=path)
