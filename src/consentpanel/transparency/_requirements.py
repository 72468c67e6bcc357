"""What a notice needs that is to be strict, or to be published as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from consentpanel._consent.ids import BUILT_IN_PURPOSES
from consentpanel._consent.regime import Regime
from consentpanel._log import warn_once
from consentpanel.errors import ConfigurationError
from consentpanel.policy._paths import keys_of
from consentpanel.transparency._disclosures import Item
from consentpanel.transparency._forms import TELLS_WHO
from consentpanel.transparency._kinds import is_sensitive
from consentpanel.transparency._labels import is_ambiguous
from consentpanel.transparency._telling import Telling
from consentpanel.transparency._texts import Words

_CREDENTIALS = "user.authorization.credentials"


def refuse_gaps(telling: Telling) -> None:
    """Refuses what is sent without a word why.

    Raises:
        ConfigurationError: A property has no reason, or a purpose no why; the text names all of them.
    """
    lacking = [item.rule for item in telling.items if not item.reason]
    lacking += [f"purposes[{purpose!r}]" for purpose in telling.asked if purpose not in telling.whys]
    if lacking:
        raise ConfigurationError(f"a notice in strict mode needs a reason for each of: {', '.join(lacking)}")


def require_all(telling: Telling, texts: Iterable[str]) -> None:
    """Refuses a notice for publication that lacks what the law asks for and no program can know.

    Raises:
        ConfigurationError: Something is missing, or must not be sent so; the text names all of it.
    """
    if missing := list(_missing(telling, frozenset(texts))):
        raise ConfigurationError(f"a notice that is published needs {', '.join(missing)}")
    for item in telling.items:
        if _CREDENTIALS in item.kinds and item.form in TELLS_WHO:
            raise ConfigurationError(
                f"{item.rule} sends what logs people in, which no notice makes right: drop it, or refuse the message"
            )
        if is_sensitive(item) and telling.regime is not Regime.OPT_IN:
            raise ConfigurationError(
                f"{item.rule} is sensitive (GDPR, article 9), which needs consent wherever people live: the regime must be opt-in"
            )


def _missing(telling: Telling, texts: Collection[str]) -> Iterator[str]:
    vendor = telling.vendor
    given: Mapping[str, Any] = {
        "controller=Controller(name=..., address=...)": telling.controller,
        "authority=": telling.authority,
        "date=": telling.date,
        "choices_url=": telling.choices_url,
        "is_required=": telling.is_required,
        "records_kept=": telling.records_kept,
        "automated_decisions=": telling.automated_decisions,
        "Vendor(region=)": vendor.region,
        "Vendor(role=)": vendor.role,
        # Within the Union it may be none (GDPR, articles 44 to 49).
        "Vendor(transfer=Transfer(...))": vendor.transfer if vendor.region == "EU" else vendor.transfer or None,
        "Vendor(retention_days=)": vendor.retention_days,
        "Vendor(targets_behaviour=)": vendor.targets_behaviour,
        "Vendor(in_browser=)": vendor.in_browser,
        "Vendor(uses_cookies=)": None if vendor.uses_cookies is True else vendor.uses_cookies,
    }
    yield from (name for name, value in given.items() if value is None)
    if vendor.profiles_kept_until is None and any(item.scope == "people" for item in telling.items):
        yield "Vendor(profiles_kept_until=)"
    if telling.sells_or_shares is None and _concerns_california(telling):
        yield "sells_or_shares="
    for purpose in telling.asked:
        if purpose not in telling.whys:
            yield f"purposes[{purpose!r}]"
        if purpose not in telling.legal_bases:
            yield f"legal_bases[{purpose!r}]"
        if purpose not in BUILT_IN_PURPOSES and f"purpose.{purpose}" not in texts:
            yield f"texts[{f'purpose.{purpose}'!r}]"


def _concerns_california(telling: Telling) -> bool:
    """Whether people in California may be sent of before they have said anything (11 CCR 7011 to 7013)."""
    countries = telling.opt_out_countries
    if telling.regime is Regime.OPT_IN:
        return False
    return countries is None or bool({"US", "US-CA"}.intersection(countries))


def warn_of_words(telling: Telling, language: str, written_in: str) -> None:
    """Warns, once each, of words that visitors read in another language than the page, or as the program names things.

    Args:
        telling: What is told.
        language: Of the page.
        written_in: The language of words that are a plain `str`.
    """
    words = Words(language)
    if foreign := [name for name, text in _own_words(telling) if not _is_in(text, language, written_in)]:
        warn_once(f"the notice has no {language!r} of: {', '.join(foreign)}")
    if unnamed := [item.rule for item in telling.items if not item.is_built_in and _needs_label(item, words)]:
        warn_once(
            f"the notice calls by their own names, which visitors may not understand: {', '.join(unnamed)}: give label="
        )


def _own_words(telling: Telling) -> Iterable[tuple[str, Any]]:
    for item in telling.items:
        if item.is_built_in:
            continue
        yield f"label of {item.rule}", item.label
        yield f"reason of {item.rule}", item.reason
    for name, mapping in (("purposes", telling.whys), ("legal_bases", telling.legal_bases)):
        yield from ((f"{name}[{key!r}]", text) for key, text in mapping.items())
    transfer = telling.vendor.transfer
    yield "Vendor(profiles_kept_until=)", telling.vendor.profiles_kept_until
    yield "Transfer(safeguard=)", transfer.safeguard if transfer else None
    for name in ("is_required", "automated_decisions", "sells_or_shares", "data_source"):
        yield name, getattr(telling, name) or None


def _is_in(text: Any, language: str, written_in: str) -> bool:
    return text is None or (language in text if isinstance(text, Mapping) else language == written_in)


def _needs_label(item: Item, words: Words) -> bool:
    name = keys_of(item.scope, item.path)[-1]
    is_known = words.label(name, item.scope) is not None or bool(item.categories)
    return item.label is None and (is_ambiguous(name) or not is_known)
