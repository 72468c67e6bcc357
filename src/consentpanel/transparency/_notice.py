"""The notice to visitors, written from the live policy."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import attrs

from consentpanel._checks import seconds, several
from consentpanel._consent.regime import Regime
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity, plain, pseudonymous
from consentpanel.policy._action_types import Text, own_text
from consentpanel.transparency._configuration import Client, Configuration, configuration_of
from consentpanel.transparency._disclosures import Item, ip_form, items_of, not_searched, source_of
from consentpanel.transparency._page import Section, Use, as_html, as_markdown
from consentpanel.transparency._printable import printable_json
from consentpanel.transparency._publisher import Controller, Vendor
from consentpanel.transparency._requirements import refuse_gaps, require_all, warn_of_words
from consentpanel.transparency._telling import Telling
from consentpanel.transparency._texts import Words

#: Facts that say where to write and when, and nothing of what is sent and to whom: another one is no other version.
_OF_THE_FRAME = frozenset({"contact", "controller", "authority", "date", "choices_url", "service"})


@attrs.frozen(kw_only=True)
class Notice:
    """What visitors are told. Made by `notice`, not by hand.

    Attributes:
        language: The language of its words, such as ``"en"``.
        version: A digest of the facts, equal in all languages: what `ConsentRecord.policy_version` should hold.
        facts: What is told, without words: purposes, properties, regime, identity, vendor. JSON.
        title: Its heading.
        sections: What is told, in words.
        uses: The purposes that people can answer to, in words.
        in_short: Who receives it, where it is kept and for how long: what each is, and what is said of it.
        service: The service that people use, as they call it; None where nobody said.
        controller: Who is responsible; None where nobody said.
        vendor: Who receives the data.
        contact: Where people can write to.
        authority: To whom they can complain; None where nobody said.
        date: From when it is valid; None where nobody said.
        works_without_consent: Whether people can use all of the service whichever answer they give; None where nobody said.
        words: The texts of the language, the publisher's own among them.
        labels: What each property is called, by the rule that lets it pass, such as ``"events['plan']"``.
    """

    language: str
    version: str
    facts: Mapping[str, Any] = attrs.field(repr=False)
    title: str
    sections: tuple[Section, ...] = attrs.field(repr=False)
    uses: tuple[Use, ...] = attrs.field(default=(), repr=False)
    in_short: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    service: str | None = None
    controller: str | None = None
    vendor: str = "Mixpanel"
    contact: str = ""
    authority: str | None = None
    date: dt.date | None = None
    works_without_consent: bool | None = None
    words: Words = attrs.field(eq=False, repr=False)
    labels: Mapping[str, str] = attrs.field(factory=dict, eq=False, repr=False)

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
            '# What we send to Mixpanel'
        """
        return as_markdown(self.title, self.sections)

    def to_html(self) -> str:
        """The notice as one page of HTML, which needs nothing else: no scripts, no fonts, no pictures."""
        return as_html(
            self.title,
            self.sections,
            language=self.language,
            direction=self.words.direction,
            version=self.version,
        )

    def to_json(self) -> str:
        """The notice as JSON: its facts, its version and its words."""
        told: dict[str, Any] = {
            "facts": self.facts,
            "language": self.language,
            "version": self.version,
            "title": self.title,
        }
        told["sections"] = [attrs.asdict(section) for section in self.sections]
        return printable_json(json.dumps(told, indent=2, ensure_ascii=False, sort_keys=True)) + "\n"


def notice(
    target: FieldPolicy | Client,
    *,
    contact: str,
    purposes: Mapping[str, Text] | Iterable[str] = (),
    regime: Regime | Callable[[str], Regime] | None = None,
    identity: Identity | None = None,
    vendor: Vendor | str | None = None,
    language: str = "en",
    strict: bool = False,
    purpose_map: Mapping[str, str | Iterable[str]] | None = None,
    texts: Mapping[str, Text] | None = None,
    hold_for: float | None = None,
    publish: bool = False,
    uses_flags: bool | None = None,
    names: bool = False,
    written_in: str = "en",
    service: Text | None = None,
    controller: Controller | None = None,
    legal_bases: Mapping[str, Text] | None = None,
    authority: Text | None = None,
    date: dt.date | None = None,
    choices_url: str | None = None,
    is_required: Text | Literal[False] | None = None,
    automated_decisions: Text | Literal[False] | None = None,
    sells_or_shares: Text | Literal[False] | None = None,
    data_source: Text | None = None,
    works_without_consent: bool | None = None,
    records_kept: int | None = None,
) -> Notice:
    """Writes, from the live policy, what is sent to the vendor, what for, and what people can do about it.

    Words of your own (reasons, labels, whys and all others of the type `Text`) are a `str`, or a mapping from languages to these:
    ``{"en": "to see what is bought", "de": "um zu sehen, was gekauft wird"}``. The version goes by those in the language `written_in`, so
    that a translation more changes no version: that it says the same is yours to see to.

    Args:
        target: The client, of which policy, regime, identity, purposes, region and `hold_for` are known; or a policy, with the rest as
            arguments.
        contact: Where people can say no and ask for erasure: an address or a URL.
        purposes: From purposes to why, in words that a visitor understands: ``{"analytics": "to see what is bought"}``.
        regime: What silence means; as the client has it when left out, and opt-in for a policy.
        identity: How ids leave; as the client has it when left out.
        vendor: Who receives the data: a `Vendor`, or a name; Mixpanel when left out.
        language: ``"en"``, ``"de"``, ``"fr"``, or one of a catalogue that was added.
        strict: Whether a property without a reason, or a purpose without a why, is an error, and words without a translation and names
            without a label are warned of.
        purpose_map: The purposes of events and calls, where the client has a map of them.
        texts: Texts of your own in the place of `TEXTS`, by their names.
        hold_for: The most seconds that messages of somebody who was never asked are held, where the client has
            ``while_unknown="hold"``; None where it has not.
        publish: Whether the notice is to be published as it is: then everything that the law asks for and no program can know is
            required, and the error names all that is missing.
        uses_flags: Whether features are flagged by the vendor; as the client has it when left out, and True for a policy, which cannot tell.
        names: Whether the names of properties are told as the vendor knows them.
        written_in: The language of your own words that are a plain `str`, and of those by which the version goes; the first one where
            there is none in it.
        service: The service that people use, as they call it, such as ``"Teahouse"``.
        controller: Who is responsible (GDPR, article 13(1)(a)).
        legal_bases: The legal basis of each purpose, such as ``{"analytics": "Legal basis: your consent, Article 6(1)(a) GDPR."}``; with
            the legitimate interest where it is one (article 13(1)(c) and (d)).
        authority: To whom people can complain (article 13(2)(d)).
        date: From when the notice is valid.
        choices_url: The page on which people answer: the panel.
        is_required: False when people need not give this data, or in words why they must, and what happens otherwise (article 13(2)(e)).
        automated_decisions: False when nothing is decided by it without a person, or in words what is (articles 13(2)(f) and 22).
        sells_or_shares: False when no personal information is sold or shared in the sense of California's Civil Code, 1798.140, or in
            words what is.
        works_without_consent: True when people can use all of the service whichever answer they give (GDPR, article 7(4)), which the panel then
            says; of anything else it says nothing.
        records_kept: For how many days you keep what people have answered, as proof (article 13(2)(a)).
        data_source: From whom else the data comes, where it is not all from the person (article 14(2)(f)).

    Returns:
        The notice.

    Raises:
        ConfigurationError: An argument is malformed, the policy is `keep_all()`, something lacks its reason in strict mode, or
            something is missing that a notice needs which is published; the text names all that is missing.

    Example:
        >>> from consentpanel import FieldPolicy, keep
        >>> policy = FieldPolicy(events={"plan": keep(reason="to see which plans are used")})
        >>> page = notice(policy, contact="privacy@shop.example", purposes={"analytics": "to improve the shop"})
        >>> sorted(page.properties)[-1], len(page.version)
        ('plan', 19)
    """
    given = configuration_of("notice() takes", target)
    if not isinstance(contact, str) or not contact.strip():
        raise ConfigurationError("contact must say where people can write to: an address or a URL")
    words = Words(language, texts)
    receiver = vendor if isinstance(vendor, Vendor) else Vendor(name=vendor) if vendor is not None else Vendor()
    if receiver.region is None and given.region is not None:
        receiver = attrs.evolve(receiver, region=given.region)
    if not isinstance(purposes, Mapping):
        purposes = {str(each): "" for each in several("purposes", "a mapping or several purposes", purposes)}
    policy = given.policy
    items = tuple(
        item
        for item in items_of(policy, given.purposes if purpose_map is None else purpose_map)
        if _is_told(item, given, given.uses_flags if uses_flags is None else uses_flags)
    )
    telling = Telling(
        policy=policy,
        items=items,
        regime=given.regime if regime is None else regime,
        identity=_identity_of(policy, identity or given.identity),
        vendor=receiver,
        whys={purpose: own_text(f"purposes[{purpose!r}]", why) for purpose, why in purposes.items() if why},
        named=tuple(dict.fromkeys((*purposes, *_served(items)))),
        legal_bases={
            purpose: own_text(f"legal_bases[{purpose!r}]", each) for purpose, each in (legal_bases or {}).items()
        },
        contact=contact,
        controller=controller,
        service=None if service is None else own_text("service", service),
        authority=None if authority is None else own_text("authority", authority),
        date=date,
        choices_url=choices_url,
        is_required=is_required,
        works_without_consent=works_without_consent,
        records_kept=records_kept,
        automated_decisions=automated_decisions,
        sells_or_shares=sells_or_shares,
        data_source=None if data_source is None else own_text("data_source", data_source),
        held_for=given.hold_for if hold_for is None else seconds("hold_for", hold_for),
        shows_names=names,
    )
    telling.check()
    if strict:
        refuse_gaps(telling)
    if publish:
        require_all(telling, texts or ())
    if strict or publish:
        warn_of_words(telling, language, written_in)
    facts = _facts(telling, texts or {}, written_in)
    version = _version(facts)
    return Notice(
        language=language,
        version=version,
        facts=facts,
        title=words("title", vendor=receiver.name),
        sections=tuple(telling.sections(words, version)),
        uses=tuple(telling.uses(words)),
        in_short=tuple(telling.in_short(words)),
        service=None if telling.service is None else words.own(telling.service),
        controller=None if controller is None else controller.name,
        vendor=receiver.name,
        contact=contact,
        authority=None if telling.authority is None else words.own(telling.authority),
        date=date,
        works_without_consent=works_without_consent,
        words=words,
        labels={item.rule: telling.label(item, words) for item in telling.items},
    )


def _is_told(item: Item, given: Configuration, uses_flags: bool) -> bool:
    if item.scope == "flags":
        return uses_flags and given.asks_for_flags
    return uses_flags or not item.is_built_in


def _served(items: Iterable[Item]) -> list[str]:
    return [purpose for item in items for purpose in (*item.purposes, item.also_needs) if purpose is not None]


def _identity_of(policy: FieldPolicy, said: Identity | None) -> str:
    return (said or (pseudonymous() if policy.forbids_personal_data else plain())).kind


def _version(facts: Mapping[str, Any]) -> str:
    counted = {name: value for name, value in facts.items() if name not in _OF_THE_FRAME}
    return "n2_" + hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:16]


def _facts(telling: Telling, texts: Mapping[str, Text], written_in: str) -> dict[str, Any]:
    policy, receiver = telling.policy, telling.vendor

    def said(text: Text | Literal[False] | None) -> str | Literal[False] | None:
        return False if text is False else source_of(text, written_in)

    found: dict[str, Any] = {
        "format": 2,
        "purposes": [
            {
                "purpose": purpose,
                "why": said(telling.whys.get(purpose)) or "",
                "legal_basis": said(telling.legal_bases.get(purpose)),
            }
            # The order in which code names them means nothing.
            for purpose in sorted(telling.named)
        ],
        "items": sorted((item.as_dict(written_in) for item in telling.items), key=_place_of),
        "regime": telling.regime_name,
        "opt_out_countries": telling.opt_out_countries,
        "identity": telling.identity,
        "vendor": {
            **attrs.asdict(receiver),
            "profiles_kept_until": said(receiver.profiles_kept_until),
            "transfer": _transfer(receiver, written_in),
            "uses_cookies": dict(receiver.cookies) or receiver.uses_cookies,
        },
        "ip_address": ip_form(telling.items, policy),
        "not_searched": not_searched(policy, telling.items),
        "planned_events": None if policy.planned_events is None else sorted(policy.planned_events),
        **{name: said(getattr(telling, name)) for name in ("is_required", "automated_decisions", "sells_or_shares")},
        "data_source": said(telling.data_source),
        "works_without_consent": telling.works_without_consent,
        "records_kept": telling.records_kept,
        "texts": {name: said(text) for name, text in texts.items()},
        "contact": telling.contact,
        "controller": None if telling.controller is None else attrs.asdict(telling.controller),
        "controller_name": None if telling.controller is None else telling.controller.name,
        "authority": said(telling.authority),
        "date": None if telling.date is None else telling.date.isoformat(),
        "choices_url": telling.choices_url,
        "service": said(telling.service),
    }
    if telling.held_for is not None:
        found["held_for"] = telling.held_for
    return found


def _place_of(item: Mapping[str, Any]) -> tuple[str, str, str]:
    return item["scope"], item.get("event", ""), item["path"]


def _transfer(vendor: Vendor, written_in: str) -> Any:
    if not vendor.transfer:
        return vendor.transfer
    return {"countries": list(vendor.transfer.countries), "safeguard": source_of(vendor.transfer.safeguard, written_in)}
