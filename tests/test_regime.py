"""What a status means where a person lives (contract rule 2.5)."""

from __future__ import annotations

import pytest

import consentpanel
from consentpanel import ConfigurationError, FieldPolicy, Mixpanel, Reason, Regime, by_country
from consentpanel._consent.standing import Standing
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

OPT_IN, OPT_OUT = Regime.OPT_IN, Regime.OPT_OUT

EUROPEAN_UNION = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()
OPT_IN_BY_LAW = [*EUROPEAN_UNION, "IS", "LI", "NO", "GB", "UK", "CH", "CA", "CA-QC", "QC", "EL"]


@pytest.fixture
def registry():
    registry = MemoryRegistry()
    registry.grant("yes")
    registry.deny("no")
    return registry


@pytest.fixture
def sent(registry):
    def sent(**options) -> list[str]:
        vendor = FakeTransport()
        mp = Mixpanel("TOKEN", vendor, registry=registry, policy=FieldPolicy.keep_all(), **options)
        for subject_id in ("yes", "no", "silent"):
            mp.track(subject_id, "Asked")
        return [message.distinct_id for message in vendor.messages]

    return sent


@pytest.mark.parametrize("standing", Standing)
def test_opt_in_sends_only_on_a_grant(standing):
    assert OPT_IN.allows(standing) is (standing is Standing.GRANTED)


@pytest.mark.parametrize("standing", Standing)
def test_opt_out_sends_unless_denied(standing):
    assert OPT_OUT.allows(standing) is (standing.status.name != "DENIED")


def test_a_registry_that_fails_is_a_denial_in_every_regime():
    # rule 2.6
    assert [regime.allows(Standing.UNAVAILABLE) for regime in Regime] == [False, False]


def test_opt_in_is_the_default(sent):
    assert sent() == sent(regime=OPT_IN) == ["yes"]


def test_opt_out_sends_for_those_who_are_silent(sent):
    assert sent(regime=OPT_OUT) == ["yes", "silent"]


def test_a_regime_may_depend_on_the_person(sent, registry):
    registry.forget("yes")
    assert sent(regime=lambda subject_id: OPT_OUT if subject_id == "silent" else OPT_IN) == ["silent"]


@pytest.mark.parametrize("answer", [None, "opt_out", True, object(), Regime])
def test_an_answer_that_is_no_regime_is_never_opt_out(sent, answer):
    assert "silent" not in sent(regime=lambda subject_id: answer)


def test_a_regime_that_fails_is_never_opt_out(sent):
    def fail(subject_id):
        raise LookupError("no table")

    assert "silent" not in sent(regime=fail)


@pytest.mark.parametrize("regime", ["opt_out", True, 5, "US"])
def test_what_is_no_regime_is_refused_at_construction(regime):
    with pytest.raises(ConfigurationError, match="regime"):
        Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry(), policy=FieldPolicy.keep_all(), regime=regime)


# by_country


@pytest.mark.parametrize("code", OPT_IN_BY_LAW)
def test_the_eu_the_uk_and_canada_are_opt_in_unless_the_user_says_otherwise(code, caplog):
    # rule 2.5
    for spelling in (code, code.lower(), f" {code} ", f"{code}-XX"):
        assert by_country(lambda subject_id, code=spelling: code)("user-1") is OPT_IN
        consentpanel.reset()
        caplog.clear()
        assert by_country(lambda subject_id, code=spelling: code, opt_out=("US", spelling))("user-1") is OPT_OUT
        assert spelling.strip().upper() in caplog.text


@pytest.mark.parametrize(
    ("code", "opt_out", "expected"),
    [
        ("US", ("US",), OPT_OUT),
        ("us", ("US",), OPT_OUT),
        (" US\n", ("us ",), OPT_OUT),
        ("US-CA", ("US",), OPT_OUT),
        ("US-CA", ("US-CA",), OPT_OUT),
        ("US", ("US-CA",), OPT_IN),
        ("US-NY", ("US-CA",), OPT_IN),
        ("BR", ("US",), OPT_IN),
        ("BR", ("US", "BR"), OPT_OUT),
        ("US", (), OPT_IN),
        ("USA", ("US",), OPT_IN),
        ("", ("US",), OPT_IN),
        (None, ("US",), OPT_IN),
        (b"US", ("US",), OPT_IN),
        (["US"], ("US",), OPT_IN),
    ],
)
def test_a_country_is_opt_out_only_when_it_is_listed(code, opt_out, expected):
    assert by_country(lambda subject_id: code, opt_out=opt_out)("user-1") is expected


def test_an_unknown_country_is_opt_in():
    assert by_country({}.get)("user-1") is OPT_IN


def test_the_country_is_asked_for_by_the_subject_id(sent):
    assert sent(regime=by_country({"yes": "DE", "no": "US", "silent": "US"}.get)) == ["yes", "silent"]
    assert sent(regime=by_country({"silent": "FR"}.get)) == ["yes"]


def test_a_country_that_cannot_be_found_is_opt_in(registry):
    def fail(subject_id):
        raise LookupError("no table")

    vendor = FakeTransport()
    policy = FieldPolicy.keep_all()
    mp = Mixpanel("TOKEN", vendor, registry=registry, policy=policy, regime=by_country(fail))
    assert mp.track("silent", "Asked").reason is Reason.NO_CONSENT
    assert vendor.messages == []


@pytest.mark.parametrize("opt_out", ["US", ("",), (" ",), (None,), (1,)])
def test_opt_out_is_a_list_of_country_codes(opt_out):
    with pytest.raises(ConfigurationError, match="opt_out must"):
        by_country(lambda subject_id: "US", opt_out=opt_out)


@pytest.mark.parametrize("country_of", ["US", None, {"user-1": "US"}])
def test_country_of_is_callable(country_of):
    with pytest.raises(ConfigurationError, match=f"country_of must be a callable.*not {type(country_of).__name__}"):
        by_country(country_of)


async def later(subject_id):
    return OPT_OUT


def test_a_regime_that_would_answer_later_is_a_configuration_error():
    # rule 2.3 for registries; nobody would await this either
    with pytest.raises(ConfigurationError, match="coroutine"):
        Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry(), policy=FieldPolicy(), regime=later)
    with pytest.raises(ConfigurationError, match="coroutine"):
        Mixpanel("TOKEN", FakeTransport(), registry=MemoryRegistry(), policy=FieldPolicy(), observers=[later])


def test_a_regime_that_answers_something_else_is_told(registry, caplog):
    mp = Mixpanel("TOKEN", FakeTransport(), registry=registry, policy=FieldPolicy(), regime=lambda subject: "opt_out")
    assert not mp.track("silent", "Asked")
    assert "regime failed: an answer of type str" in caplog.text
