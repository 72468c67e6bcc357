"""Where a configuration breaks what a published policy promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol

import attrs

from consentpanel._consent.regime import OPT_IN_COUNTRIES, Regime
from consentpanel._mixpanel.hosts import API_HOSTS, PRIVACY_HOSTS, region_of
from consentpanel._mixpanel.names import PERSONAL
from consentpanel.errors import ConfigurationError
from consentpanel.policy import FieldPolicy, Identity
from consentpanel.policy._action_types import Keep
from consentpanel.policy._paths import category_of_path, keys_of
from consentpanel.transparency._disclosures import Item, ip_form, is_ip, items_of
from consentpanel.transparency._notice import Vendor
from consentpanel.transparency._promises import Promises

Severity = Literal["error", "warning"]
_PLAIN = "Ids leave as they are."
#: Forms in which a personal property is still personal data that can be read.
_TELLS_WHO = frozenset({"as_is", "deep", "computed", "shortened", "masked", "parts"})
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
class Configuration:
    """What a client works with, as far as it is held to promises.

    Attributes:
        policy: The field policy.
        regime: What silence means.
        identity: How ids leave; None where nobody said.
        hosts: Where messages go; empty when that is not known.
        privacy_host: Where requests for erasure go; None without them.
        asks_for_flags: Whether the context of remote feature flags is sent.
        is_client: Whether this is of a client, not of a policy alone.
    """

    policy: FieldPolicy
    regime: Any = Regime.OPT_IN
    identity: Identity | None = None
    hosts: frozenset[str] = frozenset()
    privacy_host: str | None = None
    asks_for_flags: bool = True
    is_client: bool = False


class Client(Protocol):
    """What `audit` needs of a client."""

    @property
    def _configuration(self) -> Configuration: ...


@attrs.frozen(kw_only=True)
class _Held:
    """What is held to the promises; None where nobody said."""

    policy: FieldPolicy
    items: tuple[Item, ...]
    regime: Any
    identity: Identity | None
    vendor: Vendor | None
    region: str | None
    privacy_region: str | None
    is_client: bool
    has_privacy: bool


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
    held = _held(target, regime, identity, vendor, purpose_map)
    found = [breach for check in _CHECKS for breach in check(held, promises)]
    return sorted(found, key=lambda breach: breach.severity != "error")


def _held(
    target: object,
    regime: Regime | Callable[[str], Regime] | None,
    identity: Identity | None,
    vendor: Vendor | None,
    purpose_map: Mapping[str, str | Iterable[str]] | None,
) -> _Held:
    given = Configuration(policy=target) if isinstance(target, FieldPolicy) else getattr(target, "_configuration", None)
    if not isinstance(given, Configuration):
        raise ConfigurationError(f"audit() takes a Mixpanel client or a FieldPolicy, not {type(target).__name__}")
    items = () if given.policy.keeps_all else items_of(given.policy, purpose_map)
    regions = {region_of(host, API_HOSTS) for host in given.hosts}
    region = regions.pop() if len(regions) == 1 else None
    if not given.is_client and vendor is not None:
        region = vendor.region
    return _Held(
        policy=given.policy,
        items=tuple(item for item in items if given.asks_for_flags or item.scope != "flags"),
        regime=regime or given.regime,
        identity=identity or given.identity,
        vendor=vendor,
        region=region,
        privacy_region=region_of(given.privacy_host, PRIVACY_HOSTS),
        is_client=given.is_client,
        has_privacy=given.privacy_host is not None,
    )


def _personal(item: Item) -> str | None:
    """Why a property is personal data: its category, or None."""
    named = category_of_path(item.scope, item.path)
    if named is None and keys_of(item.scope, item.path)[0] in PERSONAL:
        named = "user"
    return next((each for each in item.categories if each.startswith("user.") and not _is_use(each)), named)


def _is_use(category: str) -> bool:
    return category.startswith("user.behavior")


def _sharing(held: _Held, promises: Promises) -> Iterator[Breach]:
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
        if held.policy.keeps_all:
            yield Breach(name, "error", "policy", "keep_all() sends whatever it is given.", "Write a FieldPolicy.")
            continue
        if not held.policy.forbids_personal_data:
            for item in held.items:
                yield from _shared(held, item, name)
        if held.identity is not None and held.identity.is_plain:
            text = "Ids leave as they are, so that the vendor's data can be joined with yours."
            yield Breach(name, "warning", "identity", text, "Use identity=pseudonymous() or per_subject(store).")


def _shared(held: _Held, item: Item, promise: str) -> Iterator[Breach]:
    category = _personal(item)
    if category is not None and item.form in _TELLS_WHO:
        text = f"It is personal data ({category}) and is sent {item.form.replace('_', ' ')}."
        yield Breach(promise, "error", item.rule, text, "Drop it, or send a pseudonym or a coarser form.")
        return
    action = item.action_in(held.policy)
    if isinstance(action, Keep) and action.detect is False:
        text = "No detector looks into it (detect=False), so that it may hold anything."
        yield Breach(promise, "warning", item.rule, text, "Leave detect=False out, or constrain the value.")


def _targeting(held: _Held, promises: Promises) -> Iterator[Breach]:
    if promises.discloses_behavioural_targeting is not False:
        return
    name = "discloses_behavioural_targeting"
    for item in held.items:
        if item.scope == "people" or "targeting" in (*item.purposes, item.also_needs):
            text = "Profiles and targeting use what people do, and the policy does not say so."
            yield Breach(name, "error", item.rule, text, "Disclose it, or drop the rule.")
    if held.policy.keeps_all:
        yield Breach(name, "error", "policy", "keep_all() sends profiles.", "Write a FieldPolicy without people rules.")
    if held.vendor is not None and held.vendor.targets_behaviour:
        yield Breach(name, "error", "vendor", "targets_behaviour is set.", "Disclose it, or do without.")


def _consent(held: _Held, promises: Promises) -> Iterator[Breach]:
    promise, regime = promises.consent, held.regime
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


def _vendor_facts(held: _Held, promises: Promises) -> Iterator[Breach]:
    vendor = held.vendor
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


def _addresses(held: _Held, promises: Promises) -> Iterator[Breach]:
    if promises.discloses_ip_address is False:
        if held.policy.keeps_all:
            yield Breach("discloses_ip_address", "error", "policy", "keep_all() sends ip.", "Write a FieldPolicy.")
        for item in held.items:
            if is_ip(item):
                text = f"IP addresses are sent ({ip_form([item])})."
                yield Breach("discloses_ip_address", "error", item.rule, text, "Disclose it, or drop the rule.")
    promised = promises.data_region
    if promised is None:
        return
    if held.region is not None and held.region != promised:
        place = "consumer" if held.is_client else "vendor"
        host = API_HOSTS[promised]
        text = f"Data is sent to the region {held.region}, and {promised} was promised."
        yield Breach("data_region", "error", place, text, f"Use Consumer(api_host={host!r}).")
    elif held.region is None:
        text = "The address of the consumer is not known, and so not the region."
        yield Breach("data_region", "warning", "consumer", text, "Look at the consumer, or give audit() the vendor.")
    if held.privacy_region is not None and held.privacy_region != promised:
        text = f"Requests for erasure go to the region {held.privacy_region}."
        yield Breach("data_region", "error", "privacy", text, f"Use PrivacyRequests(..., region={promised!r}).")


def _identification(held: _Held, promises: Promises) -> Iterator[Breach]:
    if promises.identifies_visitors is not False:
        return
    name = "identifies_visitors"
    if held.identity is None or held.identity.is_plain:
        text = "Ids leave as they are, unless a client says otherwise." if held.identity is None else _PLAIN
        yield Breach(name, "error", "identity", text, "Use identity=pseudonymous() or per_subject(store).")
    for item in held.items:
        category = _personal(item)
        if category is not None and item.form in _TELLS_WHO and not held.policy.forbids_personal_data:
            text = f"It says who somebody is ({category})."
            yield Breach(name, "error", item.rule, text, "Drop it, or send a pseudonym.")
    if held.policy.keeps_all:
        yield Breach(name, "error", "policy", "keep_all() sends whatever it is given.", "Write a FieldPolicy.")


def _free_text(held: _Held, promises: Promises) -> Iterator[Breach]:
    if promises.uses_free_text is not False:
        return
    for item in held.items:
        last = keys_of(item.scope, item.path)[-1].casefold()
        action = item.action_in(held.policy)
        is_open = not (isinstance(action, Keep) and action.is_constrained)
        if last in _FREE_TEXT and is_open and item.form in _TELLS_WHO - {"computed"}:
            text = "Its name is one of free text, and any text passes."
            mend = "Drop it, or constrain it: keep(one_of=...), transform(len)."
            yield Breach("uses_free_text", "error", item.rule, text, mend)
    if held.policy.keeps_all:
        yield Breach("uses_free_text", "error", "policy", "keep_all() sends any text.", "Write a FieldPolicy.")


def _erasure(held: _Held, promises: Promises) -> Iterator[Breach]:
    if promises.allows_erasure is True and held.is_client and not held.has_privacy:
        text = "The client cannot ask the vendor to erase anybody."
        yield Breach("allows_erasure", "error", "privacy", text, "Give the client privacy=PrivacyRequests(...).")
    if promises.allows_erasure is True and held.vendor is not None and not held.vendor.allows_erasure:
        yield Breach("allows_erasure", "error", "vendor", "allows_erasure is not set.", "Set it, and offer it.")


_CHECKS: tuple[Callable[[_Held, Promises], Iterable[Breach]], ...] = (
    _sharing,
    _targeting,
    _consent,
    _vendor_facts,
    _addresses,
    _identification,
    _free_text,
    _erasure,
)
