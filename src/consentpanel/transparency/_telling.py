"""What a notice tells, and the telling of it in words."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import Any, Literal

import attrs

from consentpanel._checks import whole_number
from consentpanel._consent.ids import Purpose
from consentpanel._consent.regime import Regime
from consentpanel._mixpanel.names import EXPOSURE_EVENT
from consentpanel.errors import ConfigurationError, InvalidRecordError
from consentpanel.policy import FieldPolicy
from consentpanel.policy._action_types import ActionError, Text, own_text
from consentpanel.policy._names import words_of
from consentpanel.policy._paths import keys_of
from consentpanel.transparency._disclosures import NO_PURPOSE, Item, ip_form, not_searched
from consentpanel.transparency._forms import example_of, in_words
from consentpanel.transparency._kinds import is_sensitive
from consentpanel.transparency._page import Entry, Section, Use
from consentpanel.transparency._publisher import Controller, Vendor
from consentpanel.transparency._texts import Words
from consentpanel.transparency._versions import short

#: The purpose whose heading says where properties of a scope stand.
_HEADINGS: Mapping[str, str] = {
    "people": Purpose.PROFILES,
    "flags": Purpose.FEATURE_FLAGS,
    "groups": NO_PURPOSE,
}


@attrs.frozen(kw_only=True)
class Telling:
    """What there is to tell, checked: see `notice` for what each is.

    Attributes:
        named: The purposes that are served or explained.
        identity: How ids leave: ``"plain"``, ``"pseudonymous"`` or ``"per_subject"``.
        held_for: The most seconds that messages wait for a first answer; None where none do.
        shows_names: Whether the names of properties are told as the vendor knows them.
    """

    policy: FieldPolicy
    items: tuple[Item, ...]
    regime: Any
    identity: str
    vendor: Vendor
    whys: Mapping[str, Text]
    named: tuple[str, ...]
    legal_bases: Mapping[str, Text]
    contact: str
    controller: Controller | None
    service: Text | None
    authority: Text | None
    date: dt.date | None
    choices_url: str | None
    is_required: Text | Literal[False] | None
    works_without_consent: bool | None
    automated_decisions: Text | Literal[False] | None
    sells_or_shares: Text | Literal[False] | None
    data_source: Text | None
    records_kept: int | None
    held_for: float | None
    shows_names: bool

    @property
    def regime_name(self) -> str:
        """``"opt_in"``, ``"opt_out"``, or ``"by_region"`` where it depends on the person."""
        return self.regime.value if isinstance(self.regime, Regime) else "by_region"

    @property
    def opt_out_countries(self) -> list[str] | None:
        """The codes of the countries where silence is no no; None where nobody can tell which."""
        found = getattr(self.regime, "opt_out", None)
        return sorted(found) if isinstance(found, frozenset) else None

    @property
    def asked(self) -> tuple[str, ...]:
        """The purposes that people answer to."""
        return tuple(purpose for purpose in self.named if purpose != NO_PURPOSE)

    def check(self) -> None:
        """Refuses what cannot be told.

        Raises:
            ConfigurationError: An argument is malformed.
        """
        for purpose in (*self.asked, *self.legal_bases):
            try:
                Purpose(purpose)
            except InvalidRecordError as error:
                problem = f"purposes: {error}"
                raise ConfigurationError(problem) from None
        if self.controller is not None and not isinstance(self.controller, Controller):
            raise ConfigurationError(f"controller must be a Controller, not {type(self.controller).__name__}")
        if self.date is not None and (not isinstance(self.date, dt.date) or isinstance(self.date, dt.datetime)):
            raise ConfigurationError(f"date must be a datetime.date, not {type(self.date).__name__}")
        if self.choices_url is not None and (not isinstance(self.choices_url, str) or not self.choices_url.strip()):
            raise ConfigurationError("choices_url must be a URL, or None")
        if self.records_kept is not None:
            whole_number("records_kept", self.records_kept, least=1)
        if self.works_without_consent is not None and not isinstance(self.works_without_consent, bool):
            raise ConfigurationError("works_without_consent must be True, False, or None where nothing is said of it")
        for name in ("is_required", "automated_decisions", "sells_or_shares"):
            value = getattr(self, name)
            if value is True:
                raise ConfigurationError(
                    f"{name} must say in words what, or be False, or None where nothing is said of it"
                )
            if value is not None and value is not False:
                own_text(name, value)
        for item in self.items:
            self._check_example(item)

    def _check_example(self, item: Item) -> None:
        action = item.action_in(self.policy)
        if action is None or action.example is None:
            return
        try:
            example_of(action, item.kinds)
        except ActionError:
            pass
        else:
            return
        raise ConfigurationError(f"{item.rule}: the example does not pass its own rule")

    def sections(self, words: Words, version: str) -> Iterator[Section]:
        """The notice in words.

        Args:
            words: Of the language.
            version: Of the notice.
        """
        vendor = self.vendor.name
        yield Section(heading="", paragraphs=(words("intro", vendor=vendor),))
        if self.regime is not Regime.OPT_IN:
            # Clearly, and apart from all else (GDPR, article 21(4)).
            where = words("choices.opt_out", objection=self.choices_url or self.contact)
            yield Section(heading=words("objection.heading"), paragraphs=(where,))
        for purpose in self.named:
            yield self._purpose(purpose, words)
        yield Section(heading=words("technical"), entries=tuple(self._technical(words)))
        yield Section(heading=words("who"), paragraphs=tuple(self._receiver(words)))
        yield Section(heading=words("choices"), paragraphs=tuple(self._choices(words)))
        if self.sells_or_shares is not None:
            yield Section(heading=words("california.heading"), paragraphs=tuple(self._california(words)))
        # The whole one for whoever compares, and the beginning of it as the panel tells it.
        both = f"{short(version)} ({version})"
        said = words("version.plain", version=both)
        if self.date is not None:
            said = words("version", version=both, date=words.date(self.date))
        yield Section(heading=words("publisher"), paragraphs=(*self._publisher(words), said))

    def uses(self, words: Words) -> Iterator[Use]:
        """The purposes that people answer to, in words."""
        for purpose in self.asked:
            section = self._purpose(purpose, words)
            sensitive = self._sensitive(purpose, words)
            yield Use(
                purpose=purpose,
                title=self._of_the_panel(purpose, "title", words),
                text=self._what_and_why(purpose, words),
                basis=self._basis(purpose, words),
                needs_consent=self.regime is not Regime.OPT_OUT,
                sensitive=sensitive,
                entries=section.entries,
            )

    def _what_and_why(self, purpose: str, words: Words) -> str:
        service = words("panel.service") if self.service is None else words.own(self.service)
        if purpose not in self.whys:
            return self._of_the_panel(purpose, "text.plain", words, service=service)
        # Its own sentence has a full stop.
        why = words.own(self.whys[purpose]).strip().rstrip(".")
        return self._of_the_panel(purpose, "text", words, service=service, why=why)

    def _of_the_panel(self, purpose: str, part: str, words: Words, **values: str) -> str:
        for name in (f"panel.purpose.{purpose}.{part}", f"panel.purpose.{purpose}.{part.removesuffix('.plain')}"):
            if words.has(name) and ("why" in values or "{why}" not in words(name)):
                return words(name, vendor=self.vendor.name, **values)
        if part == "title" and words.has(f"purpose.{purpose}"):
            return words(f"purpose.{purpose}", vendor=self.vendor.name)
        return words(f"panel.purpose.other.{part}", purpose=purpose, vendor=self.vendor.name, **values)

    def in_short(self, words: Words) -> Iterator[tuple[str, str]]:
        """Who receives it, where it is kept, for how long: what is said of each."""
        vendor = self.vendor
        who = vendor.name
        if vendor.role is not None:
            who = words(f"in_short.who.{vendor.role.removesuffix('_controller')}", vendor=who)
        yield words("in_short.who"), who
        if vendor.region is not None:
            where = words(f"region.{vendor.region}")
            if countries := self._reached_from(words):
                where = words("in_short.reached", region=where, countries=countries)
            yield words("in_short.where"), where
        kept = []
        if vendor.retention_days is not None:
            kept.append(words("in_short.events", period=words.period(vendor.retention_days)))
        if vendor.profiles_kept_until is not None:
            kept.append(words("in_short.profiles", criterion=words.own(vendor.profiles_kept_until)))
        if kept:
            yield words("in_short.long"), reduce(lambda form, more: words("form.and", form=form, more=more), kept)

    def _items_of(self, purpose: str) -> list[Item]:
        return [item for item in self.items if purpose in (*item.purposes, item.also_needs)]

    def _purpose(self, purpose: str, words: Words) -> Section:
        vendor, mine = self.vendor.name, self._items_of(purpose)
        paragraphs = [self._basis(purpose, words)]
        if purpose in self.whys:
            paragraphs.insert(0, words("why", why=words.own(self.whys[purpose])))
        if (sensitive := self._sensitive(purpose, words)) is not None:
            paragraphs.append(sensitive)
        if not mine:
            paragraphs.append(words("nothing", technical=words("technical")))
        entries = [self._entry(item, purpose, words) for item in mine if not item.is_built_in]
        if any(item.is_built_in for item in mine):
            path = EXPOSURE_EVENT if self.shows_names else None
            entries.append(Entry(label=words("technical.variant"), path=path))
        return Section(heading=words.purpose(purpose, vendor), paragraphs=tuple(paragraphs), entries=tuple(entries))

    def _basis(self, purpose: str, words: Words) -> str:
        if purpose == NO_PURPOSE:
            return words("basis.none")
        legal = words.own(self.legal_bases[purpose]) if purpose in self.legal_bases else ""
        said = {"legal_basis": legal, "objection": self.choices_url or self.contact}
        if self.regime_name != "by_region":
            return words(f"basis.{self.regime_name}", **said)
        if self.opt_out_countries is None:
            return words("basis.by_rule", **said)
        countries = words.listed(words.country(code) for code in self.opt_out_countries)
        return words("basis.by_region", opt_out_regions=countries, **said)

    def _sensitive(self, purpose: str, words: Words) -> str | None:
        labels = dict.fromkeys(self.label(item, words) for item in self._items_of(purpose) if is_sensitive(item))
        if not labels:
            return None
        name = "sensitive.asked" if self.regime is Regime.OPT_IN else "sensitive"
        return words(name, categories=words.listed(labels))

    def _entry(self, item: Item, purpose: str, words: Words) -> Entry:
        action = item.action_in(self.policy)
        vendor = self.vendor.name
        details = list(self._place(item, purpose, words))
        if item.not_with:
            events = self._events(item.not_with, words)
            details.append(words("event.except", events=events))
        if item.exceptions:
            labels = words.listed(self._name(item.scope, path, words) for path in item.exceptions)
            details.append(words("except", paths=labels))
        if item.also_needs is not None and item.also_needs != purpose:
            details.append(words("also_needs", purpose=words.purpose(item.also_needs, vendor)))
        return Entry(
            label=self.label(item, words),
            form="" if action is None else in_words(action, item.kinds, words, vendor),
            example=None if action is None else example_of(action, item.kinds),
            details=tuple(details),
            reason=None if item.reason is None else words.own(item.reason),
            path=item.path if self.shows_names else None,
        )

    @staticmethod
    def _place(item: Item, purpose: str, words: Words) -> Iterable[str]:
        """When it is sent, where the heading does not say it."""
        if item.event is not None:
            yield words("event.one", event=Telling._event(item.event, words))
        elif item.scope != "events" and _HEADINGS[item.scope] != purpose:
            yield words(f"scope.{item.scope}")

    @staticmethod
    def _events(names: Iterable[str], words: Words) -> str:
        return words.listed(words("quoted", text=Telling._event(name, words)) for name in names)

    @staticmethod
    def _event(event: str, words: Words) -> str:
        return words.label(event) or event

    def label(self, item: Item, words: Words) -> str:
        """What a property is, in words: the publisher's, or else ours, or else its kinds, or else its own name."""
        if item.label is not None:
            return words.own(item.label)
        return self._name(item.scope, item.path, words, item.categories)

    @staticmethod
    def _name(scope: str, path: str, words: Words, categories: Iterable[str] = ()) -> str:
        keys = keys_of(scope, path)
        known = words.label(keys[-1], scope)
        if known is not None:
            return known
        return ", ".join(map(words.category, categories)) or _plain(path)

    def _technical(self, words: Words) -> Iterable[Entry]:
        for label in self._names_of_actions(words):
            yield Entry(label=label, path="event" if self.shows_names else None)
        for name, path in (
            ("technical.id", "distinct_id"),
            ("technical.device", "$device_id"),
            ("technical.time", "time"),
            ("technical.number", "$insert_id"),
            ("technical.library", "mp_lib, $lib_version"),
            ("technical.token", "token"),
            ("technical.group", "$group_key, $group_id"),
        ):
            if name == "technical.group" and not any(item.scope == "groups" for item in self.items):
                continue
            yield Entry(label=words(name, vendor=self.vendor.name), path=path if self.shows_names else None)

    def _names_of_actions(self, words: Words) -> Iterable[str]:
        if self.policy.planned_events is None:
            return [words("names_of_actions")]
        has_flags = any(item.is_built_in for item in self.items)
        planned = sorted(each for each in self.policy.planned_events if has_flags or each != EXPOSURE_EVENT)
        own = [event for event in planned if words.label(event) is None]
        # The vendor's own events say what they are.
        labels = dict.fromkeys(label for event in planned if (label := words.label(event)) is not None)
        return [*([words("names_of_planned", events=self._events(own, words))] if own else []), *labels]

    def _receiver(self, words: Words) -> Iterable[str]:
        vendor = self.vendor
        role = "" if vendor.role is None else words(f"role.{vendor.role.removesuffix('_controller')}")
        yield words("who.text", vendor=vendor.name, role=role)
        if vendor.region is not None:
            yield words("who.region", region=words(f"region.{vendor.region}"))
        if vendor.transfer:
            said = {"safeguard": words.own(vendor.transfer.safeguard), "link": vendor.transfer.link}
            if countries := self._reached_from(words):
                yield words("transfer", countries=countries, **said)
            else:
                yield words("transfer.kept", **said)
        elif vendor.transfer is False:
            yield words("transfer.none")
        if vendor.retention_days is not None:
            yield words("retention.days", vendor=vendor.name, period=words.period(vendor.retention_days))
        if vendor.profiles_kept_until is not None:
            yield words("retention.profiles", criterion=words.own(vendor.profiles_kept_until))
        yield words(f"identity.{self.identity}", vendor=vendor.name)
        yield from self._claims(words)

    def _reached_from(self, words: Words) -> str:
        """The countries of the transfer in words, but for the one where the data is kept; empty for none."""
        transfer, region = self.vendor.transfer, self.vendor.region
        countries = [each for each in transfer.countries if each.upper() != region] if transfer else []
        return words.listed(map(words.country, countries)) if countries else ""

    def _claims(self, words: Words) -> Iterable[str]:
        vendor = self.vendor
        if vendor.targets_behaviour is not None:
            yield words("targeting.yes" if vendor.targets_behaviour else "targeting.no")
        if vendor.uses_cookies is False:
            yield words("cookies.no")
        elif vendor.uses_cookies is True:
            yield words("cookies.some")
        for name, days in vendor.cookies.items():
            yield words("cookies.yes", name=name, period=words.period(days))
        form, but = ip_form(self.items, self.policy), not_searched(self.policy, self.items)
        if vendor.in_browser:
            yield words("browser", vendor=vendor.name)
        elif form != "unknown":
            yield words(f"ip.{form}")
        if but is not None:
            of_path = {item.path: self.label(item, words) for item in self.items}
            labels = words.listed(dict.fromkeys(of_path[path] for path in but))
            yield words("detectors.but", paths=labels) if but else words("detectors")
        if self.automated_decisions is False:
            yield words("automated.no")
        elif self.automated_decisions is not None:
            yield words("automated.yes", what=words.own(self.automated_decisions))

    def _california(self, words: Words) -> Iterable[str]:
        if self.sells_or_shares is False:
            yield words("california.sold.no")
        elif self.sells_or_shares is not None:
            where = self.choices_url or self.contact
            yield words("california.sold.yes", what=words.own(self.sells_or_shares), objection=where)
        yield words("california.rights")

    def _choices(self, words: Words) -> Iterable[str]:
        if self.regime is not Regime.OPT_OUT:
            yield words("choices.opt_in", choice_url=self.choices_url or self.contact)
        yield words("choices.no", vendor=self.vendor.name)
        if self.held_for is not None:
            yield words("choices.held", minutes=str(math.ceil(self.held_for / 60)))
        if self.records_kept is not None:
            yield words("choices.kept", period=words.period(self.records_kept))
        if self.is_required is False:
            yield words("required.no")
        elif self.is_required is not None:
            yield words("required.yes", why=words.own(self.is_required))
        if self.data_source is not None:
            yield words("source_of_data", source=words.own(self.data_source))
        if self.vendor.allows_erasure:
            yield words("choices.erase", vendor=self.vendor.name)
        yield words("rights")
        if self.authority is not None:
            yield words("complaint", authority=words.own(self.authority))

    def _publisher(self, words: Words) -> Iterable[str]:
        who = self.controller
        if who is not None:
            yield words("controller", controller=who.name, address=who.address)
            if who.representative is not None:
                yield words("representative", representative=who.representative)
            if who.person_in_charge is not None:
                yield words("dpo.quebec", person=who.person_in_charge)
            if who.data_protection_officer is not None:
                yield words("dpo", dpo=who.data_protection_officer)
        yield words("choices.contact", contact=self.contact)


def _plain(path: str) -> str:
    """A path in words: ``"items[].unitPrice"`` becomes ``"items: unit price"``."""
    parts = [" ".join(words_of(part)) or part for part in path.replace("[]", "").replace("'", "").split(".")]
    return ": ".join(parts)
