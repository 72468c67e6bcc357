"""The vendor's hosts, by the region in which a project's data is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Region = Literal["US", "EU", "IN"]

#: Every host of the vendor's is this one, or one below it.
DOMAIN = "mixpanel.com"
# https://docs.mixpanel.com/docs/privacy/eu-residency and https://developer.mixpanel.com/reference/gdpr-api
API_HOSTS: Mapping[str, str] = {"US": "api.mixpanel.com", "EU": "api-eu.mixpanel.com", "IN": "api-in.mixpanel.com"}
PRIVACY_HOSTS: Mapping[str, str] = {"US": "mixpanel.com", "EU": "eu.mixpanel.com", "IN": "in.mixpanel.com"}
REGIONS = tuple(API_HOSTS)


def host_of(address: str) -> str:
    """The host of an ``https://`` address."""
    return address.partition("://")[2].partition("/")[0]


def is_odd(address: str) -> bool:
    """Whether an address cannot be one: without a host, with two schemes, or with white space in it.

    Example:
        >>> is_odd("https://api.mixpanel.com/track"), is_odd("https:///track"), is_odd("https://a b/track")
        (False, True, True)
    """
    _, scheme, rest = address.partition("://")
    host, _, path = rest.partition("/")
    has_no_host = bool(scheme) and host in {"", "None"}
    return has_no_host or "://" in rest or path.startswith("/") or any(map(str.isspace, address))


def region_of(host: str | None, hosts: Mapping[str, str]) -> str | None:
    """The region to which one of these hosts belongs; None for another host."""
    return next((region for region, each in hosts.items() if each == host), None)
