"""Where a configuration breaks what a published policy promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from consentpanel._consent.regime import IN_THE_EU, Regime
from consentpanel._mixpanel.hosts import API_HOSTS, PRIVACY_HOSTS, region_of
from consentpanel._mixpanel.names import PERSONAL
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity
from consentpanel.policy._action_types import Keep
from consentpanel.policy._paths import category_of_path, keys_of
from consentpanel.transparency._configuration import Client, Configuration, configuration_of
from consentpanel.transparency._disclosures import Item, ip_form, is_ip, items_of
from consentpanel.transparency._forms import TELLS_WHO
from consentpanel.transparency._promises import Promises
from consentpanel.transparency._publisher import Vendor

Severity = Literal["error", "warning"]
_PSEUDONYMS = "Use identity=pseudonymous() or per_subject(store)."
# Last keys of a path that say that it holds what people write.
_FREE_TEXT = frozenset(
    "query search note notes comment comments message text description feedback review question answer body subject".split()
)


@attrs.frozen
class Breach:
    """A place where the configuration breaks a promise.

    Attributes:
        promise: The promise's name.
        severity: ``"error"``, or ``"warning"`` where a person must look.
        place: The rule, the property or the setting at fault.
        text: What is wrong, in a sentence.
        mend: How to mend it.
    """

    promise: str
    severity: Severity
    place: str
    text: str
    mend: str


@attrs.frozen(kw_only=True)
class _Held:
    """What is held to the promises; `given` with what the arguments say otherwise, None where nobody said."""

    given: Configuration
    items: tuple[Item, ...]
    vendor: Vendor | None

    @property
    def region(self) -> str | None:
        """Where messages go; None when that is not known, or there are several."""
        if not self.given.is_client and self.vendor is not None:
            return self.vendor.region
        return self.given.region


def audit(
    target: Client | FieldPolicy,
    promises: Promises,
    *,
    regime: Regime | Callable[[str], Regime] | None = None,
    identity: Identity | None = None,
    vendor: Vendor | None = None,
    purpose_map: Mapping[str, str | Iterable[str]] | None = None,
) -> list[Breach]:
    """Each place where the configuration breaks a promise.

    Args:
        target: The client, of which all is known; or a policy, with the rest as arguments.
        promises: What the published policy says.
        regime: What silence means; that of the client when left out.
        identity: How ids leave; that of the client when left out. For a policy alone it is not known then.
        vendor: What no program can see: retention, cookies, targeting, the region where there is no client.
        purpose_map: The purposes of events and calls, where there is a map of them.

    Returns:
        The breaches, errors first; empty when every promise that can be checked is kept.

    Raises:
        ConfigurationError: An argument has a wrong type.

    Example:
        >>> from consentpanel import FieldPolicy, keep
        >>> policy = FieldPolicy(people={"$email": keep(detect=False, personal=True)})
        >>> [breach.place for breach in audit(policy, Promises(shares_personal_data_with_third_parties=False))]
        ["people['$email']"]
    """
    if not isinstance(promises, Promises):
        raise ConfigurationError(f"promises must be Promises, not {type(promises).__name__}")
    given = configuration_of("audit() takes", target)
    items = (
        () if given.policy.keeps_all else items_of(given.policy, given.purposes if purpose_map is None else purpose_map)
    )
    held = _Held(
        given=attrs.evolve(given, regime=regime or given.regime, identity=identity or given.identity),
        items=tuple(item for item in items if given.asks_for_flags or item.scope != "flags"),
        vendor=vendor,
    )
    found = [
        Breach(name, *what)
        for name, value, check in _CHECKS
        if (promised := getattr(promises, name)) is not None and value in (None, promised)
        for what in check(held, promised)
    ]
    return sorted(found, key=lambda breach: breach.severity != "error")


#: What breaks a promise: the attributes of a `Breach` after its first.
_Found = tuple[Severity, str, str, str]


def _keeps_all(held: _Held, sends: str, mend: str = "Write a FieldPolicy.") -> Iterator[_Found]:
    if held.given.policy.keeps_all:
        yield "error", "policy", f"keep_all() sends {sends}.", mend


def _tells_who(held: _Held, item: Item) -> str | None:
    """The category of the personal data that a property discloses; None when it discloses none."""
    if item.form not in TELLS_WHO or held.given.policy.forbids_personal_data:
        return None
    named = category_of_path(item.scope, item.path)
    if named is None and keys_of(item.scope, item.path)[0] in PERSONAL:
        named = "user"
    about = (each for each in item.categories if each.startswith("user.") and not each.startswith("user.behavior"))
    return next(about, named)


def _sharing(held: _Held, _: object) -> Iterator[_Found]:
    policy, identity = held.given.policy, held.given.identity
    yield from _keeps_all(held, "whatever it is given")
    for item in held.items:
        category = _tells_who(held, item)
        action = item.action_in(policy)
        if category is not None:
            text = f"It is personal data ({category}) and is sent {item.form.replace('_', ' ')}."
            yield "error", item.rule, text, "Drop it, or send a pseudonym or a coarser form."
        elif isinstance(action, Keep) and action.detect is False and not policy.forbids_personal_data:
            text = "No detector looks into it (detect=False), so that it may hold anything."
            yield "warning", item.rule, text, "Leave detect=False out, or constrain the value."
    if identity is not None and identity.is_plain and not policy.keeps_all:
        text = "Ids leave as they are, so that the vendor's data can be joined with yours; to a visitor a processor is a third party."
        yield "warning", "identity", text, _PSEUDONYMS


def _targeting(held: _Held, _: object) -> Iterator[_Found]:
    for item in held.items:
        if item.scope == "people" or "targeting" in (*item.purposes, item.also_needs):
            text = "Profiles and targeting use what people do, and the policy does not say so."
            yield "error", item.rule, text, "Disclose it, or drop the rule."
    yield from _keeps_all(held, "profiles", "Write a FieldPolicy without people rules.")
    if held.vendor is not None and held.vendor.targets_behaviour:
        yield "error", "vendor", "targets_behaviour is set.", "Disclose it, or do without."


def _consent(held: _Held, promised: Any) -> Iterator[_Found]:
    regime = held.given.regime
    by_region: Mapping[str, str] = promised if isinstance(promised, Mapping) else {"*": promised}
    if regime is Regime.OPT_IN:
        return
    if regime is Regime.OPT_OUT:
        asked = [region for region, said in by_region.items() if said == "opt_in"]
        if asked:
            regions = f" for {', '.join(asked)}" if by_region is promised else ""
            text = f"Silence counts as consent everywhere, and opt-in was promised{regions}."
            mend = "Use Regime.OPT_IN, or by_country() with the countries where opt-out was promised."
            yield "error", "regime", text, mend
        return
    countries = getattr(regime, "opt_out", None)
    if not isinstance(countries, frozenset):
        text = "The regime is a function of your own, and nobody can see whom it lets be opt-out."
        yield "warning", "regime", text, "Use by_country(), which can be checked."
        return
    for country in sorted(countries):
        if _promised_in(country, by_region) == "opt_in":
            text = f"Silence counts as consent in {country}, where opt-in was promised."
            yield "error", f"regime: {country}", text, f"Take {country} out of by_country(opt_out=)."


def _promised_in(country: str, promised: Mapping[str, str]) -> str:
    """What was promised in a country: for itself, its country, its union, or everybody; opt-in where nothing was."""
    whole = country.partition("-")[0]
    for region in (country, whole, *(("EU",) if whole in IN_THE_EU else ()), "*"):
        if region in promised:
            return promised[region]
    return "opt_in"


def _cookies(held: _Held, _: object) -> Iterator[_Found]:
    if held.vendor is not None and held.vendor.uses_cookies:
        yield "error", "vendor", "Cookies are used.", "Disclose them, or do without."


def _retention(held: _Held, promised: Any) -> Iterator[_Found]:
    if held.vendor is None:
        return
    kept = held.vendor.retention_days
    if kept is None:
        yield "warning", "vendor", "Nobody says how long the vendor keeps the data.", "Set Vendor(retention_days=...)."
    elif kept > promised:
        text = f"The vendor keeps the data for {kept} days, and {promised} were promised."
        yield "error", "vendor", text, "Shorten it in the vendor's project settings."


def _addresses(held: _Held, _: object) -> Iterator[_Found]:
    yield from _keeps_all(held, "ip")
    for item in held.items:
        form = ip_form([item], held.given.policy)
        if form == "unknown":
            text = "Nobody looks for IP addresses in it, so they may be sent."
            yield "warning", item.rule, text, "Have detectors look into it, or drop the rule."
        elif form != "no" or is_ip(item):
            yield "error", item.rule, f"IP addresses are sent ({form}).", "Disclose it, or drop the rule."


def _region(held: _Held, promised: Any) -> Iterator[_Found]:
    if held.region is None:
        text = "The address of the consumer is not known, and so not the region."
        yield "warning", "consumer", text, "Look at the consumer, or give audit() the vendor."
    elif held.region != promised:
        place = "consumer" if held.given.is_client else "vendor"
        text = f"Data is sent to the region {held.region}, and {promised} was promised."
        yield "error", place, text, f"Use Consumer(api_host={API_HOSTS[promised]!r})."
    privacy_region = region_of(held.given.privacy_host, PRIVACY_HOSTS)
    if privacy_region not in (None, promised):
        text = f"Requests for erasure go to the region {privacy_region}."
        yield "error", "privacy", text, f"Use PrivacyRequests(..., region={promised!r})."


def _identification(held: _Held, _: object) -> Iterator[_Found]:
    identity = held.given.identity
    if identity is None or identity.is_plain:
        unless = "" if identity is not None else ", unless a client says otherwise"
        yield "error", "identity", f"Ids leave as they are{unless}.", _PSEUDONYMS
    for item in held.items:
        category = _tells_who(held, item)
        if category is not None:
            yield "error", item.rule, f"It says who somebody is ({category}).", "Drop it, or send a pseudonym."
    yield from _keeps_all(held, "whatever it is given")


def _free_text(held: _Held, _: object) -> Iterator[_Found]:
    for item in held.items:
        last = keys_of(item.scope, item.path)[-1].casefold()
        action = item.action_in(held.given.policy)
        is_open = not (isinstance(action, Keep) and action.is_constrained)
        if last in _FREE_TEXT and is_open and item.form in TELLS_WHO - {"computed"}:
            text = "Its name is one of free text, and any text passes."
            yield "error", item.rule, text, "Drop it, or constrain it: keep(one_of=...), transform(len)."
    yield from _keeps_all(held, "any text")


def _erasure(held: _Held, _: object) -> Iterator[_Found]:
    if held.given.is_client and held.given.privacy_host is None:
        text = "The client cannot ask the vendor to erase anybody."
        yield "error", "privacy", text, "Give the client privacy=PrivacyRequests(...)."
    if held.vendor is not None and held.vendor.allows_erasure is False:
        yield "error", "vendor", "allows_erasure is not set.", "Set it, and offer it."


#: Each promise that can be broken: its name, the value that can be (None for any), and what is looked for.
_CHECKS: tuple[tuple[str, bool | None, Callable[[_Held, Any], Iterator[_Found]]], ...] = (
    ("shares_personal_data_with_third_parties", False, _sharing),
    ("staff_only_access", True, _sharing),
    ("discloses_behavioural_targeting", False, _targeting),
    ("consent", None, _consent),
    ("discloses_cookies", False, _cookies),
    ("retention_days", None, _retention),
    ("discloses_ip_address", False, _addresses),
    ("data_region", None, _region),
    ("identifies_visitors", False, _identification),
    ("uses_free_text", False, _free_text),
    ("allows_erasure", True, _erasure),
)
