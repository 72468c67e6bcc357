"""What a consent status means where a person lives: `Regime` and the preset `by_country`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TypeAlias, Union

import attrs

from consentpanel._consent.standing import Standing
from consentpanel._log import warn_once
from consentpanel.errors import ConfigurationError


class Regime(str, Enum):
    """Whether silence means no or yes.

    Example:
        >>> Regime.OPT_IN.allows(Standing.NOT_RECORDED), Regime.OPT_OUT.allows(Standing.NOT_RECORDED)
        (False, True)
    """

    #: Sends only on `ConsentStatus.GRANTED`.
    OPT_IN = "opt_in"
    #: Sends unless `ConsentStatus.DENIED`.
    OPT_OUT = "opt_out"

    def allows(self, standing: Standing) -> bool:
        """Whether a message may be sent for somebody of this standing."""
        if self is Regime.OPT_OUT:
            return standing not in _DENIALS
        return standing is Standing.GRANTED


_DENIALS = frozenset({Standing.WITHDRAWN, Standing.ANSWERED_FALSE, Standing.UNAVAILABLE, Standing.NOT_CONFIGURED})

#: One regime for everybody, or a callable that answers for a subject id.
RegimeRule: TypeAlias = Union[Regime, Callable[[str], Regime]]

#: Codes (ISO 3166-1 and common synonyms) of the European Union with its outermost regions and Åland (TFEU, article 355), and of the
#: European Economic Area, where the GDPR holds too.
IN_THE_EU = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK EL EU GP MQ GF RE YT MF AX IS LI NO SJ".split()
)
#: Codes that `by_country` does not let be opt-out without a word of yours: it warns of them when they are listed.
OPT_IN_COUNTRIES = IN_THE_EU | frozenset(
    # The United Kingdom with its neighbours, Switzerland, Canada with Quebec, and what of France lies outside of the Union.
    "GB UK GI GG JE IM CH CA CA-QC QC NC PF PM BL WF TF "
    # Consent is the rule, or may be: Korea, China, Turkey, Vietnam, India; Brazil, Chile, Colombia, Thailand, Indonesia, Saudi Arabia,
    # Serbia, Ukraine, Argentina, Israel, Monaco, Andorra.
    "KR CN TR VN IN BR CL CO TH ID SA RS UA AR IL MC AD".split()
)


def by_country(country_of: Callable[[str], str | None], *, opt_out: Iterable[str] = ("US",)) -> Callable[[str], Regime]:
    """A regime by jurisdiction: opt-in everywhere, but for the countries that are listed.

    The preset says nothing of the law: a list is your own word. One that names a country where others ask first, or where there is
    doubt, is warned of, once: those of the European Union and the European Economic Area, the United Kingdom, Switzerland, Canada,
    Korea, Brazil and some more. A country that is unknown, or a `country_of` that fails, is opt-in. What is sensitive, or about
    children, needs consent wherever they live.

    Args:
        country_of: Takes the subject id, returns an ISO 3166 code such as ``"DE"`` or ``"US-CA"``, or None.
        opt_out: The codes of the countries, or parts of one, where the opt-out regime holds.

    Returns:
        A callable for ``regime=``.

    Raises:
        ConfigurationError: `country_of` is not callable, or `opt_out` holds something else than codes.

    Example:
        >>> regime = by_country({"user-1": "US", "user-2": "FR"}.get)
        >>> regime("user-1"), regime("user-2"), regime("user-3")
        (<Regime.OPT_OUT: 'opt_out'>, <Regime.OPT_IN: 'opt_in'>, <Regime.OPT_IN: 'opt_in'>)
    """
    if not callable(country_of):
        raise ConfigurationError(f"country_of must be a callable (subject_id) -> str, not {type(country_of).__name__}")
    if isinstance(opt_out, str):
        raise ConfigurationError("opt_out must be several country codes, such as ('US',), not one str")
    listed = set()
    for code in opt_out:
        if not isinstance(code, str) or not code.strip():
            raise ConfigurationError("opt_out must hold ISO 3166 codes such as 'US' or 'US-CA'")
        listed.add(code.strip().upper())
    if odd := sorted(code for code in listed if _country(code) in OPT_IN_COUNTRIES):
        warn_once(
            f"by_country(opt_out=) lists {', '.join(odd)}, which this library does not let be opt-out without a word of yours: others"
            " ask first there, or the law is in doubt"
        )

    return _ByCountry(country_of, frozenset(listed))


@attrs.frozen
class _ByCountry:
    """The regime of a person by country; `opt_out` so that an audit can see whom it lets be opt-out."""

    _country_of: Callable[[str], str | None] = attrs.field(repr=False)
    opt_out: frozenset[str]

    def __call__(self, subject_id: str) -> Regime:
        code = self._country_of(subject_id)
        if not isinstance(code, str):
            return Regime.OPT_IN
        code = code.strip().upper()
        return Regime.OPT_OUT if code in self.opt_out or _country(code) in self.opt_out else Regime.OPT_IN


def _country(code: str) -> str:
    return code.strip().upper().partition("-")[0]
