"""Who may change something: a page of this very site, and not without end."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import attrs

from consentpanel._forks import Survivors
from consentpanel.errors import ConfigurationError
from consentpanel.panel._http import MAX_BODY, RefusedError, Request

_OWN = frozenset({"same-origin", "none"})
#: So many times as often as a yes may be said what says no, which is to be as easy (GDPR, article 7(3)) and never too late.
_TIMES_OF_NO = 50
_PORTS = {"http": 80, "https": 443}


def check_origin(request: Request) -> None:
    """Refuses what a page of another site has sent.

    A browser says where a request comes from by ``Sec-Fetch-Site``, or else by ``Origin``, or else by ``Referer``; one that says
    nothing is believed where the framework has checked a token.

    Raises:
        RefusedError: It comes from elsewhere, or nobody knows.
    """
    if site := request.header("sec-fetch-site").strip().lower():
        is_own = site in _OWN
    elif origin := request.header("origin") or request.header("referer"):
        is_own = _is_of(origin, request.host, request.scheme)
    else:
        is_own = request.is_checked
    if not is_own:
        raise RefusedError(403, "other_site", "This was not sent by a page of this site, and was not saved.")


def _is_of(address: str, host: str, scheme: str) -> bool:
    with suppress(KeyError, ValueError):
        found, own = urlsplit(address.strip()), urlsplit(f"//{host.strip()}")
        usual = _PORTS[found.scheme]
        if (found.scheme, scheme) == ("http", "https"):
            # Anybody on the way may have written that page.
            return False
        return found.hostname is not None and (found.hostname, found.port or usual) == (own.hostname, own.port or usual)
    return False


def check_size(request: Request) -> None:
    """Refuses a body that is too large to be a form of ours.

    Raises:
        RefusedError: It is.
    """
    if max(len(request.body), request.length) > MAX_BODY:
        raise RefusedError(413, "too_large", "This is too large.")


def _positive(_: object, attribute: attrs.Attribute[int], value: object) -> None:
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"rate: {attribute.name} must be a whole number, 1 or more")


@attrs.frozen(kw_only=True)
class Rate:
    """How often somebody may answer.

    A person with an id is counted by that, anybody else by address. Behind a proxy that hides the addresses of visitors, the
    addresses that no visitor has (loopback and private ones) stand for many people.

    Attributes:
        burst: So many answers at once; an erasure and an export count as five. Of what says no alone, and of withdrawals, there are
            fifty times as many, counted by themselves: nobody who clicks meets their end.
        per_minute: So many a minute after that.
        shared: So many times as many from an address that no visitor has.

    Raises:
        ConfigurationError: A value is no whole number above 0.
    """

    burst: int = attrs.field(default=30, validator=_positive)
    per_minute: int = attrs.field(default=10, validator=_positive)
    shared: int = attrs.field(default=100, validator=_positive)


class Limiter:
    """Token buckets in this process, a bounded number of them.

    Args:
        rate: How often.
        clock: Tells seconds.
        most: So many buckets at most; the one that was used the longest ago goes.
    """

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic, most: int = 10_000) -> None:
        self._rate, self._clock, self._most = rate, clock, most
        # Nobody who reads the memory of the process finds an address or an id there.
        self._key = secrets.token_bytes(16)
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()
        _ALIVE.add(self)

    def take(self, subject: str | None, address: str | None, cost: int = 1, *, says_no: bool = False) -> int:
        """Counts an answer.

        Args:
            subject: The person; None for nobody.
            address: Where it comes from; None where that is unknown.
            cost: As how many it counts.
            says_no: Whether nothing but a no is said.

        Returns:
            0, or after how many seconds it may be tried again; then it was not counted.
        """
        name = f"{'n' if says_no else 'y'}{f's{subject}' if subject is not None else f'a{address}'}"
        times = self._rate.shared if subject is None and not _is_a_visitors(address) else 1
        times *= _TIMES_OF_NO if says_no else 1
        burst, per_second = self._rate.burst * times, self._rate.per_minute * times / 60
        key = hmac.new(self._key, name.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        with self._lock:
            present = self._clock()
            left, since = self._buckets.pop(key, (float(burst), present))
            left = min(burst, left + max(0.0, present - since) * per_second)
            wait = 0 if left >= cost else math.ceil((cost - left) / per_second)
            self._buckets[key] = (left if wait else left - cost, present)
            while len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        return wait

    def check(self, subject: str | None, address: str | None, cost: int = 1, *, says_no: bool = False) -> None:
        """As `take`.

        Raises:
            RefusedError: It is too often.
        """
        if wait := self.take(subject, address, cost, says_no=says_no):
            text = "Too many answers in a short time; this one was not saved. Please try again later."
            raise RefusedError(429, "too_often", text, ("Retry-After", str(wait)))

    def restart_in_child(self) -> None:
        """Takes another lock: a thread of the parent may have held this one."""
        self._lock = threading.Lock()


def _is_a_visitors(address: str | None) -> bool:
    try:
        return ipaddress.ip_address((address or "").partition("%")[0]).is_global
    except ValueError:
        return False


_ALIVE: Survivors[Limiter] = Survivors(Limiter.restart_in_child)
