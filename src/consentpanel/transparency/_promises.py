"""What a published privacy policy says, in a form that a program can hold the configuration to."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import attrs

from consentpanel._mixpanel.hosts import REGIONS
from consentpanel.errors import ConfigurationError
from consentpanel.transparency._files import read_text

CONSENT = ("opt_in", "opt_out")
# A century.
_MOST_DAYS = 36_525


def _consent(value: object) -> str | Mapping[str, str] | None:
    if isinstance(value, Mapping):
        if not value:
            raise ConfigurationError("consent by region names at least one region")
        return {str(region).upper(): _one_consent(each) for region, each in value.items()}
    return None if value is None else _one_consent(value)


def _one_consent(value: object) -> str:
    if not isinstance(value, str) or value not in CONSENT:
        raise ConfigurationError("consent must be 'opt_in' or 'opt_out', or one of them by region")
    return value


def _region(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in REGIONS:
        raise ConfigurationError(f"data_region must be one of {', '.join(REGIONS)}")
    return value


def _days(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 1 <= value <= _MOST_DAYS):
        raise ConfigurationError(f"retention_days must be a whole number of days, 1 to {_MOST_DAYS:,}")
    return value


def _yes_or_no(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} must be true or false, not {type(value).__name__}")


def _promise(yes: str, no: str) -> Any:
    sentence: Callable[[bool], str] = {True: yes, False: no}.__getitem__
    return attrs.field(default=None, validator=attrs.validators.optional(_yes_or_no), metadata={"sentence": sentence})


def _fact(converter: Callable[[Any], Any], sentence: Callable[[Any], str]) -> Any:
    return attrs.field(default=None, converter=converter, metadata={"sentence": sentence})


def _consent_sentence(value: str | Mapping[str, str]) -> str:
    if isinstance(value, Mapping):
        return "By region: " + "; ".join(f"{region}: {_consent_sentence(each)}" for region, each in value.items())
    if value == "opt_in":
        return "Nothing is sent before somebody has agreed to it."
    return "Nothing is sent once somebody has objected."


@attrs.frozen(kw_only=True)
class Promises:
    """What your published privacy policy says. What it does not speak of stays None, and is not held to.

    Attributes:
        shares_personal_data_with_third_parties: Whether personal data goes to others, such as the vendor.
        staff_only_access: Whether only your own staff sees personal data.
        discloses_behavioural_targeting: Whether it says that behaviour decides what people are shown.
        consent: ``"opt_in"`` or ``"opt_out"``, or a mapping from regions (``"EU"``, or ISO 3166 codes; ``"*"`` for all
            others) to these.
        discloses_cookies: Whether it says that cookies are used.
        discloses_ip_address: Whether it says that IP addresses are passed on.
        identifies_visitors: Whether the vendor may know who somebody is.
        uses_free_text: Whether what people write may be passed on.
        retention_days: For how many days data is kept, at most.
        data_region: Where the vendor keeps it: ``"US"``, ``"EU"`` or ``"IN"``.
        honours_global_privacy_control: Whether the browser's signal counts as an objection.
        allows_erasure: Whether people can have their data deleted.

    Raises:
        ConfigurationError: A value is malformed.

    Example:
        >>> promises = Promises(shares_personal_data_with_third_parties=False, consent="opt_in", data_region="EU")
        >>> promises.sentences()["consent"]
        'Nothing is sent before somebody has agreed to it.'
    """

    shares_personal_data_with_third_parties: bool | None = _promise(
        "Personal data is shared with third parties.", "No personal data is shared with third parties."
    )
    staff_only_access: bool | None = _promise(
        "Only our own staff sees personal data.", "Others than our staff may see personal data."
    )
    discloses_behavioural_targeting: bool | None = _promise(
        "Behaviour is used to choose what people are shown.", "Nothing says that behaviour is used for targeting."
    )
    consent: str | Mapping[str, str] | None = _fact(_consent, _consent_sentence)
    discloses_cookies: bool | None = _promise("Cookies are used.", "Nothing says that cookies are used.")
    discloses_ip_address: bool | None = _promise(
        "IP addresses are passed on.", "Nothing says that IP addresses are passed on."
    )
    identifies_visitors: bool | None = _promise("Visitors are identified.", "Visitors are not identified.")
    uses_free_text: bool | None = _promise("What people write may be passed on.", "What people write is not passed on.")
    retention_days: int | None = _fact(_days, "Data is kept for at most {} days.".format)
    data_region: str | None = _fact(_region, "Data is kept in this region: {}.".format)
    honours_global_privacy_control: bool | None = _promise(
        "The browser's Global Privacy Control counts as an objection.", "Global Privacy Control is not followed."
    )
    allows_erasure: bool | None = _promise("People can have their data deleted.", "Data is not deleted on request.")

    def sentences(self) -> dict[str, str]:
        """The sentence that each promise stands for, by its name; those that are not given left out."""
        return {
            field.name: field.metadata["sentence"](value)
            for field in attrs.fields(Promises)
            if (value := getattr(self, field.name)) is not None
        }

    @property
    def not_checked(self) -> tuple[str, ...]:
        """The promises that no program can check from the configuration, and somebody must."""
        return ("honours_global_privacy_control",) if self.honours_global_privacy_control else ()

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Promises:
        """Reads promises from a TOML file, at its top or in a table ``[promises]``.

        Args:
            path: The file.

        Raises:
            ConfigurationError: It is no TOML, or holds something else; or Python is older than 3.11 and the extra
                ``consentpanel[toml]`` is not installed.
            OSError: It cannot be read, is no regular file, is longer than 8 MB or not UTF-8.
        """
        said = _parsed(read_text(path))
        table = said.get("promises", said)
        if not isinstance(table, Mapping):
            raise ConfigurationError("promises must be a table")
        known = {field.name for field in attrs.fields(cls)}
        unknown = sorted(table.keys() - known)
        if unknown:
            names = ", ".join(sorted(known))
            raise ConfigurationError(f"there are no promises {', '.join(unknown)}; there are {names}")
        return cls(**table)


def _parsed(text: str) -> Mapping[str, Any]:
    # The standard library's from Python 3.11 on; before, the package that it was made from.
    try:
        toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ModuleNotFoundError:
        raise ConfigurationError("TOML needs Python 3.11, or the extra: pip install 'consentpanel[toml]'") from None
    try:
        said: Mapping[str, Any] = toml.loads(text)
    except (ValueError, RecursionError) as error:
        problem = _problem(error)
    else:
        return said
    # Raised here, so that the parser's exception, which may hold the file, stays in no context.
    raise ConfigurationError(f"not TOML: {problem}")


def _problem(error: Exception) -> str:
    """What is wrong with TOML, and where, without any text of it."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    where = re.search(r"\(at [a-z0-9, ]+\)\Z", str(error))
    return f"it cannot be read {where[0]}" if where else "a number or a date that is none"
