"""Where a configuration breaks what a published policy promises (contract rule 6.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from consentpanel._public import public
from consentpanel._regime import OPT_IN_COUNTRIES, Regime
from consentpanel._vendor import PERSONAL
from consentpanel.client import Mixpanel
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity
from consentpanel.policy._actions import Keep
from consentpanel.policy._paths import category_of_path, keys_of
from consentpanel.transparency._facts import Item, ip_form, is_ip, items_of
from consentpanel.transparency._notice import Vendor
from consentpanel.transparency._promises import Promises

Severity = Literal["error", "warning"]
_HOSTS = {"api.mixpanel.com": "US", "api-eu.mixpanel.com": "EU", "api-in.mixpanel.com": "IN"}
_PRIVACY_HOSTS = {"mixpanel.com": "US", "eu.mixpanel.com": "EU", "in.mixpanel.com": "IN"}
_PLAIN = "Ids leave as they are."
_TELLS_WHO = frozenset({"as_is", "deep", "computed", "shortened", "masked", "parts"})
"""Forms in which a personal property is still personal data that can be read."""
_FREE_TEXT = frozenset(
    "query search note notes comment comments message text description feedback review question answer body subject".split()
)


@public("consentpanel.transparency")
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
class _Configuration:
    """What is held to the promises; None where nobody said."""

    policy: FieldPolicy
    items: tuple[Item, ...]
    regime: Any
    identity: Identity | None
    vendor: Vendor | None
    region: str | None = None
    privacy_region: str | None = None
    is_client: bool = False
    has_privacy: bool = False


@public("consentpanel.transparency")
def audit(
    target: Mixpanel | FieldPolicy,
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
    configuration = _configuration(target, regime, identity, vendor, purpose_map)
    found = [breach for check in _CHECKS for breach in check(configuration, promises)]
    return sorted(found, key=lambda breach: breach.severity != "error")


def _configuration(
    target: object,
    regime: Regime | Callable[[str], Regime] | None,
    identity: Identity | None,
    vendor: Vendor | None,
    purpose_map: Mapping[str, str | Iterable[str]] | None,
) -> _Configuration:
    if isinstance(target, FieldPolicy):
        items = () if target.keeps_all else items_of(target, purpose_map)
        return _Configuration(
            policy=target,
            items=items,
            regime=regime or Regime.OPT_IN,
            identity=identity,
            vendor=vendor,
            region=None if vendor is None else vendor.region,
        )
    if not isinstance(target, Mixpanel):
        raise ConfigurationError(f"audit() takes a Mixpanel client or a FieldPolicy, not {type(target).__name__}")
    settings = target._guard.settings()  # noqa: SLF001 - what the client works with
    policy = settings.policy
    items = () if policy.keeps_all else items_of(policy, purpose_map)
    if getattr(target, "_remote_flags_provider", None) is None:
        items = tuple(item for item in items if item.scope != "flags")
    privacy = settings.privacy
    return _Configuration(
        policy=policy,
        items=items,
        regime=regime or settings.regime,
        identity=identity or settings.identity,
        vendor=vendor,
        region=_region_of(target),
        privacy_region=None if privacy is None else _PRIVACY_HOSTS.get(privacy.host.partition("://")[2]),
        is_client=True,
        has_privacy=privacy is not None,
    )


def _region_of(client: Mixpanel) -> str | None:
    """The region whose host the client sends to; None when its consumer has no address that is known."""
    hosts = {address.partition("://")[2].partition("/")[0] for address in client._sealed.addresses}  # noqa: SLF001
    regions = {_HOSTS.get(host) for host in hosts}
    return regions.pop() if len(regions) == 1 else None


def _personal(item: Item) -> str | None:
    """Why a property is personal data: its category, or None."""
    named = category_of_path(item.scope, item.path)
    if named is None and keys_of(item.scope, item.path)[0] in PERSONAL:
        named = "user"
    return next((each for each in item.categories if each.startswith("user.") and not _is_use(each)), named)


def _is_use(category: str) -> bool:
    return category.startswith("user.behavior")


def _sharing(configuration: _Configuration, promises: Promises) -> Iterator[Breach]:
    broken = [
        name
        for name, is_broken in (
            ("shares_personal_data_with_third_parties", promises.shares_personal_data_with_third_parties is False),
            ("staff_only_access", promises.staff_only_access is True),
        )
        if is_broken
    ]
    if not broken:
        return
    for name in broken:
        if configuration.policy.keeps_all:
            yield Breach(name, "error", "policy", "keep_all() sends whatever it is given.", "Write a FieldPolicy.")
            continue
        if not configuration.policy.forbids_personal_data:
            for item in configuration.items:
                yield from _shared(configuration, item, name)
        if configuration.identity is not None and configuration.identity.is_plain:
            text = "Ids leave as they are, so that the vendor's data can be joined with yours."
            yield Breach(name, "warning", "identity", text, "Use identity=pseudonymous() or per_subject(store).")


def _shared(configuration: _Configuration, item: Item, promise: str) -> Iterator[Breach]:
    category = _personal(item)
    if category is not None and item.form in _TELLS_WHO:
        text = f"It is personal data ({category}) and is sent {item.form.replace('_', ' ')}."
        yield Breach(promise, "error", item.rule, text, "Drop it, or send a pseudonym or a coarser form.")
        return
    action = item.action_in(configuration.policy)
    if isinstance(action, Keep) and action.detect is False:
        text = "No detector looks into it (detect=False), so that it may hold anything."
        yield Breach(promise, "warning", item.rule, text, "Leave detect=False out, or constrain the value.")


def _targeting(configuration: _Configuration, promises: Promises) -> Iterator[Breach]:
    if promises.discloses_behavioural_targeting is not False:
        return
    name = "discloses_behavioural_targeting"
    for item in configuration.items:
        if item.scope == "people" or "targeting" in (*item.purposes, item.also_needs):
            text = "Profiles and targeting use what people do, and the policy does not say so."
            yield Breach(name, "error", item.rule, text, "Disclose it, or drop the rule.")
    if configuration.policy.keeps_all:
        yield Breach(name, "error", "policy", "keep_all() sends profiles.", "Write a FieldPolicy without people rules.")
    if configuration.vendor is not None and configuration.vendor.targets_behaviour:
        yield Breach(name, "error", "vendor", "targets_behaviour is set.", "Disclose it, or do without.")


def _consent(configuration: _Configuration, promises: Promises) -> Iterator[Breach]:
    promise, regime = promises.consent, configuration.regime
    if promise is None or regime is Regime.OPT_IN:
        return
    mend = "Use Regime.OPT_IN, or by_country() with the countries where opt-out was promised."
    if regime is Regime.OPT_OUT:
        if promise != "opt_out":
            regions = "" if promise == "opt_in" else f" for {', '.join(_opt_in_regions(promise))}"
            text = f"Silence counts as consent everywhere, and opt-in was promised{regions}."
            if promise == "opt_in" or _opt_in_regions(promise):
                yield Breach("consent", "error", "regime", text, mend)
        return
    countries = getattr(regime, "opt_out", None)
    if not isinstance(countries, frozenset):
        text = "The regime is a function of your own, and nobody can see whom it lets be opt-out."
        yield Breach("consent", "warning", "regime", text, "Use by_country(), which can be checked.")
        return
    for country in sorted(countries):
        promised = promise if isinstance(promise, str) else _promised_in(country, promise)
        if promised == "opt_in":
            text = f"Silence counts as consent in {country}, where opt-in was promised."
            yield Breach("consent", "error", f"regime: {country}", text, f"Take {country} out of by_country(opt_out=).")


def _opt_in_regions(promise: object) -> list[str]:
    return [region for region, said in promise.items() if said == "opt_in"] if isinstance(promise, Mapping) else []


def _promised_in(country: str, promise: Mapping[str, str]) -> str:
    """What was promised in a country: for itself, its country, its union, or everybody; opt-in where nothing was."""
    whole = country.partition("-")[0]
    for region in (country, whole, *(("EU",) if whole in OPT_IN_COUNTRIES else ()), "*"):
        if region in promise:
            return promise[region]
    return "opt_in"


def _vendor_facts(configuration: _Configuration, promises: Promises) -> Iterator[Breach]:
    vendor = configuration.vendor
    if promises.discloses_cookies is False and vendor is not None and vendor.uses_cookies:
        yield Breach("discloses_cookies", "error", "vendor", "Cookies are used.", "Disclose them, or do without.")
    promised = promises.retention_days
    if promised is not None and vendor is not None:
        kept = vendor.retention_days
        if kept is None:
            text = "Nobody says how long the vendor keeps the data."
            yield Breach("retention_days", "warning", "vendor", text, "Set Vendor(retention_days=...).")
        elif kept > promised:
            text = f"The vendor keeps the data for {kept} days, and {promised} were promised."
            yield Breach("retention_days", "error", "vendor", text, "Shorten it in the vendor's project settings.")


def _addresses(configuration: _Configuration, promises: Promises) -> Iterator[Breach]:
    if promises.discloses_ip_address is False:
        if configuration.policy.keeps_all:
            yield Breach("discloses_ip_address", "error", "policy", "keep_all() sends ip.", "Write a FieldPolicy.")
        for item in configuration.items:
            if is_ip(item):
                text = f"IP addresses are sent ({ip_form([item])})."
                yield Breach("discloses_ip_address", "error", item.rule, text, "Disclose it, or drop the rule.")
    promised = promises.data_region
    if promised is None:
        return
    if configuration.region is not None and configuration.region != promised:
        place = "consumer" if configuration.is_client else "vendor"
        host = next(host for host, region in _HOSTS.items() if region == promised)
        text = f"Data is sent to the region {configuration.region}, and {promised} was promised."
        yield Breach("data_region", "error", place, text, f"Use Consumer(api_host={host!r}).")
    elif configuration.region is None:
        text = "The address of the consumer is not known, and so not the region."
        yield Breach("data_region", "warning", "consumer", text, "Look at the consumer, or give audit() the vendor.")
    if configuration.privacy_region is not None and configuration.privacy_region != promised:
        text = f"Requests for erasure go to the region {configuration.privacy_region}."
        yield Breach("data_region", "error", "privacy", text, f"Use PrivacyRequests(..., region={promised!r}).")


def _identification(configuration: _Configuration, promises: Promises) -> Iterator[Breach]:
    if promises.identifies_visitors is not False:
        return
    name = "identifies_visitors"
    if configuration.identity is None or configuration.identity.is_plain:
        text = "Ids leave as they are, unless a client says otherwise." if configuration.identity is None else _PLAIN
        yield Breach(name, "error", "identity", text, "Use identity=pseudonymous() or per_subject(store).")
    for item in configuration.items:
        category = _personal(item)
        if category is not None and item.form in _TELLS_WHO and not configuration.policy.forbids_personal_data:
            text = f"It says who somebody is ({category})."
            yield Breach(name, "error", item.rule, text, "Drop it, or send a pseudonym.")
    if configuration.policy.keeps_all:
        yield Breach(name, "error", "policy", "keep_all() sends whatever it is given.", "Write a FieldPolicy.")


def _free_text(configuration: _Configuration, promises: Promises) -> Iterator[Breach]:
    if promises.uses_free_text is not False:
        return
    for item in configuration.items:
        last = keys_of(item.scope, item.path)[-1].casefold()
        action = item.action_in(configuration.policy)
        is_open = not (isinstance(action, Keep) and action.is_constrained)
        if last in _FREE_TEXT and is_open and item.form in _TELLS_WHO - {"computed"}:
            text = "Its name is one of free text, and any text passes."
            mend = "Drop it, or constrain it: keep(one_of=...), transform(len)."
            yield Breach("uses_free_text", "error", item.rule, text, mend)
    if configuration.policy.keeps_all:
        yield Breach("uses_free_text", "error", "policy", "keep_all() sends any text.", "Write a FieldPolicy.")


def _erasure(configuration: _Configuration, promises: Promises) -> Iterator[Breach]:
    if promises.allows_erasure is True and configuration.is_client and not configuration.has_privacy:
        text = "The client cannot ask the vendor to erase anybody."
        yield Breach("allows_erasure", "error", "privacy", text, "Give the client privacy=PrivacyRequests(...).")
    if promises.allows_erasure is True and configuration.vendor is not None and not configuration.vendor.allows_erasure:
        yield Breach("allows_erasure", "error", "vendor", "allows_erasure is not set.", "Set it, and offer it.")


_CHECKS: tuple[Callable[[_Configuration, Promises], Iterable[Breach]], ...] = (
    _sharing,
    _targeting,
    _consent,
    _vendor_facts,
    _addresses,
    _identification,
    _free_text,
    _erasure,
)
