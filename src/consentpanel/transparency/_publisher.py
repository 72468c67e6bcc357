"""Who publishes a notice, and what no policy of fields can know: receivers, times, transfers, cookies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from consentpanel._checks import several, whole_number
from consentpanel._mixpanel.hosts import REGIONS
from consentpanel.errors import ConfigurationError
from consentpanel.policy._action_types import Text, own_text

Role: TypeAlias = Literal["processor", "controller", "joint_controller"]
ROLES: tuple[Role, ...] = ("processor", "controller", "joint_controller")


def _line(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{attribute.name} must be a non-empty str, not {type(value).__name__}")


def _yes_or_no(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, bool):
        raise ConfigurationError(
            f"{type(instance).__name__.lower()}: {attribute.name} must be True, False, or None where nothing is said of it"
        )


def _words(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        own_text(f"{type(instance).__name__.lower()}: {attribute.name}", value)


def _codes(given: object) -> tuple[str, ...]:
    return several("countries", "several codes, such as ('US',)", given)


@attrs.frozen(kw_only=True)
class Controller:
    """Who is responsible for what is sent (GDPR, article 13(1)(a) and (b)).

    Attributes:
        name: The controller's name.
        address: The postal address, in one line.
        representative: Of a controller outside of the European Union or the United Kingdom: who stands for it there, with an address.
        data_protection_officer: How the data protection officer is reached; None where there is none.
        person_in_charge: In Quebec: who is in charge of the protection of personal information (P-39.1, section 3.1), with title and how they
            are reached.

    Raises:
        ConfigurationError: A value is malformed.

    Example:
        >>> Controller(name="Teahouse Ltd", address="1 Leaf Street, Dublin 2, Ireland").name
        'Teahouse Ltd'
    """

    name: str = attrs.field(validator=_line)
    address: str = attrs.field(validator=_line)
    representative: str | None = attrs.field(default=None, validator=attrs.validators.optional(_line))
    data_protection_officer: str | None = attrs.field(default=None, validator=attrs.validators.optional(_line))
    person_in_charge: str | None = attrs.field(default=None, validator=attrs.validators.optional(_line))


@attrs.frozen(kw_only=True)
class Transfer:
    """Who else can reach the data from abroad, and what protects it there (GDPR, articles 13(1)(f) and 44 to 49).

    Attributes:
        countries: From where: codes of ISO 3166, such as ``("US",)``.
        safeguard: What protects it, such as ``"the standard contractual clauses of the European Commission"``; by language if wanted.
        link: Where that can be read.

    Raises:
        ConfigurationError: A value is malformed.
    """

    countries: tuple[str, ...] = attrs.field(converter=_codes)
    safeguard: Text = attrs.field(validator=_words)
    link: str = attrs.field(validator=_line)

    def __attrs_post_init__(self) -> None:
        if not self.countries or not all(isinstance(each, str) and each.strip() for each in self.countries):
            raise ConfigurationError("transfer: countries must hold codes of ISO 3166, such as ('US',)")


@attrs.frozen(kw_only=True)
class Vendor:
    """Who receives the data, and what else is done with it that no policy of fields can know. Of what is None nothing is said.

    Attributes:
        name: The vendor's name.
        region: Where the project's data is kept: ``"US"``, ``"EU"`` or ``"IN"``.
        role: ``"processor"`` when it may use the data on your instructions alone (GDPR, article 28), ``"controller"`` or
            ``"joint_controller"``.
        transfer: The `Transfer` to other countries; False where there is none.
        retention_days: How long events are kept there, in days. The vendor keeps them for two years, or for five in projects from
            before September 2025, unless the project says otherwise.
        profiles_kept_until: Until when profiles are kept, as the end of a sentence, such as ``"you close your account"``; by
            language if wanted. The vendor deletes none by its age.
        targets_behaviour: Whether what people do decides what they are shown or offered.
        uses_cookies: The cookies that are set for it, by name with the days that each is kept: ``{"consentpanel": 180}``; False for none
            and nothing else that is stored or read on people's devices; True where they are not named.
        in_browser: Whether the vendor's library runs in people's browsers too, which then send by themselves, and show their whole IP address.
        allows_erasure: Whether people can have the vendor's copy deleted and get a copy of it.

    Raises:
        ConfigurationError: A value is malformed.

    Example:
        >>> Vendor(region="EU", role="processor", retention_days=730).name
        'Mixpanel'
    """

    name: str = "Mixpanel"
    region: str | None = None
    role: Role | None = None
    transfer: Transfer | Literal[False] | None = None
    retention_days: int | None = None
    profiles_kept_until: Text | None = attrs.field(default=None, validator=_words)
    targets_behaviour: bool | None = attrs.field(default=None, validator=_yes_or_no)
    uses_cookies: bool | Mapping[str, int] | None = None
    in_browser: bool | None = attrs.field(default=None, validator=_yes_or_no)
    allows_erasure: bool | None = attrs.field(default=None, validator=_yes_or_no)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigurationError("vendor: name must be a non-empty str")
        if self.region is not None and self.region not in REGIONS:
            raise ConfigurationError(f"vendor: region must be one of {', '.join(REGIONS)}")
        if self.role is not None and self.role not in ROLES:
            raise ConfigurationError(f"vendor: role must be one of {', '.join(ROLES)}")
        if self.transfer not in (None, False) and not isinstance(self.transfer, Transfer):
            raise ConfigurationError("vendor: transfer must be a Transfer, or False where there is none")
        days = self.retention_days
        if days is not None and (type(days) is not int or days < 1):
            raise ConfigurationError("vendor: retention_days must be a whole number of days, 1 or more")
        self._check_cookies()

    def _check_cookies(self) -> None:
        cookies = self.uses_cookies
        if isinstance(cookies, Mapping):
            if not cookies or not all(isinstance(name, str) and name for name in cookies):
                raise ConfigurationError("vendor: uses_cookies must name each cookie; False says that there is none")
            for days in cookies.values():
                whole_number("vendor: uses_cookies", days, least=0)
        elif cookies is not None and not isinstance(cookies, bool):
            raise ConfigurationError("vendor: uses_cookies must map names of cookies to days, or be True or False")

    @property
    def cookies(self) -> Mapping[str, int]:
        """The cookies that are named, with the days that each is kept."""
        return self.uses_cookies if isinstance(self.uses_cookies, Mapping) else {}
