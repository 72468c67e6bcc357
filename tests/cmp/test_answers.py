"""What readers have in common: the header that they take, what groups stand for, and what they answer."""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import datetime, timedelta, timezone

import pytest

import consentpanel.cmp
from consentpanel import ConfigurationError, Purpose
from consentpanel.cmp import (
    GPP,
    TCF,
    Answers,
    C15t,
    Civic,
    Cookiebot,
    CookieYes,
    Didomi,
    Klaro,
    OneTrust,
    TrustArc,
    VanillaCookieConsent,
)
from consentpanel.cmp._answers import readers, source_of
from consentpanel.errors import InvalidRecordError

YES, NO = "%7B%22a%22%3Atrue%2C%22b%22%3Atrue%7D", "%7B%22a%22%3Atrue%2C%22b%22%3Afalse%7D"
BY_TEXT = [C15t, Civic, CookieYes, Didomi, Klaro, OneTrust, VanillaCookieConsent]
BY_NUMBER = [TCF, TrustArc]


def read(header, groups=None):
    return Klaro(groups or {"a": "analytics"})(header).purposes


def test_the_names_are_those_of_the_contract():
    # rule 11.6
    named = {
        "OneTrust",
        "Cookiebot",
        "Didomi",
        "Klaro",
        "VanillaCookieConsent",
        "C15t",
        "TrustArc",
        "Civic",
        "CookieYes",
    }
    assert set(consentpanel.cmp.__all__) == named | {"TCF", "GPP", "Answers", "Relay"}


@pytest.mark.parametrize(
    "header", [None, "", b"", "klaro", "klaro=", "=klaro", ";;; ;", "klaro2=" + YES, "Klaro=" + YES, 3, []]
)
def test_without_the_cookie_everything_is_unknown(header):
    assert Klaro({"a": "analytics"})(header) == Answers({"analytics": None})


@pytest.mark.parametrize(
    "header", [f"klaro={YES}", f"klaro={YES}".encode(), f"x=1; klaro={YES}; y=2", f"x=1;klaro={YES} ;y"]
)
def test_the_raw_header_is_text_or_bytes(header):
    # rule 11.6: "called with the raw Cookie header"
    assert read(header) == {"analytics": True}


def test_two_cookies_that_agree_are_one():
    assert read(f"klaro={YES}; klaro={YES}") == {"analytics": True}


@pytest.mark.parametrize(
    "header", [f"klaro={YES}; klaro={NO}", f"klaro={NO}; x=1; klaro={YES}", f"klaro={YES}; klaro=", "klaro=;klaro=x"]
)
def test_two_cookies_that_disagree_are_unknown(header):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    assert read(header, {"b": "analytics"}) == {"analytics": None}


@pytest.mark.parametrize("name", ["klaro ", "kl%61ro", '"klaro"', "KLARO", "klaro\t", "xklaro"])
def test_a_name_is_exact(name):
    assert read(f"{name}={YES}") == {"analytics": None}


def test_a_value_above_4_kilobytes_is_unknown():
    # rule 11.6: "length is capped"
    padded = '{"a":true' + " " * (4096 - 10) + "}"
    assert len(padded) == 4096
    assert read(f"klaro={padded}") == {"analytics": True}
    assert read(f"klaro={padded} ".replace(":true", ": true")) == {"analytics": None}


def test_a_header_above_64_kilobytes_is_not_read():
    assert read(f"klaro={YES}; x=" + "x" * 65_000) == {"analytics": True}
    assert read(f"klaro={YES}; x=" + "x" * 65_536) == {"analytics": None}
    assert read("\u20ac" * 70_000) == {"analytics": None}


def test_a_text_of_wsgi_has_a_character_for_each_byte():
    # PEP 3333
    raw = '{"caf\u00e9":true}'.encode()
    for header in (b"klaro=" + raw, "klaro=" + raw.decode("latin-1")):
        assert read(header, {"caf\u00e9": "analytics"}) == {"analytics": True}
    assert read('klaro={"caf\u00e9":true}; x=\u20ac', {"caf\u00e9": "analytics"}) == {"analytics": True}


@pytest.mark.parametrize(
    "header",
    [
        b'klaro={"a":true,"\xff":true}',
        'klaro={"a":true,"\ud800":true}',
        "klaro=%7B%22a%22%3Atrue%2C%22%FF%22%3Atrue%7D",
    ],
)
def test_what_is_no_utf_8_is_unknown(header):
    assert read(header) == {"analytics": None}


def test_what_is_odd_in_somebody_elses_cookie_does_not_matter():
    assert read(f"x=\ud800; klaro={YES}") == {"analytics": True}
    assert read(b"x=\xff\x00; klaro=" + YES.encode()) == {"analytics": True}


def test_escapes_are_decoded_once():
    # rule 11.6: "decoding happens once"
    assert read("klaro=" + YES.replace("%", "%25")) == {"analytics": None}
    assert read("klaro=%7B%22%2561%22%3Atrue%7D") == {"analytics": None}
    assert read("klaro=%7B%22%2561%22%3Atrue%7D", {"%61": "analytics"}) == {"analytics": True}
    assert read('klaro={"%61":true}') == {"analytics": None}


@pytest.mark.parametrize(
    "value", [YES + "%", YES + "%2", YES.replace("%7D", "%7G"), "%u007B" + YES[3:], YES + "%00", YES + "%EF%BB%BF"]
)
def test_a_broken_escape_is_unknown(value):
    assert read(f"klaro={value}") == {"analytics": None}


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("true", "true", True),
        ("true", "false", False),
        ("false", "false", False),
        ("true", None, None),
        ("false", None, False),
    ],
)
def test_of_several_groups_for_a_purpose_all_must_be_allowed(first, second, together):
    # rule 11.6: a purpose is granted only if all of its groups are, and denied if any is
    said = {"a": first} if second is None else {"a": first, "b": second}
    value = "{" + ",".join(f'"{name}":{each}' for name, each in said.items()) + "}"
    assert read(f"klaro={value}", {"a": "analytics", "b": "analytics"}) == {"analytics": together}


def test_a_group_may_stand_for_several_purposes():
    groups = {"a": ["analytics", "profiles"], "b": ("profiles",), "c": Purpose.FEATURE_FLAGS}
    assert read(f"klaro={NO}", groups) == {"analytics": True, "profiles": False, "feature_flags": None}


@pytest.mark.parametrize(
    "reader",
    [each({"a": "analytics"}) for each in BY_TEXT]
    + [each({1: "analytics"}) for each in BY_NUMBER]
    + [GPP(), Cookiebot({"marketing": "ads"})],
    ids=lambda each: each.source,
)
def test_a_reader_is_a_frozen_value_with_a_source(reader):
    assert source_of(reader) == type(reader).source
    assert reader == copy.deepcopy(reader) == pickle.loads(pickle.dumps(reader))
    assert hash(reader) == hash(copy.copy(reader))
    assert type(reader).__module__ == "consentpanel.cmp"
    with pytest.raises(AttributeError):
        reader.cookie = "another"
    assert not any(reader(None).purposes.values())


def test_groups_that_are_changed_later_change_nothing():
    groups = {"a": "analytics"}
    reader = Klaro(groups)
    groups.clear()
    assert reader(f"klaro={YES}").purposes == {"analytics": True}


@pytest.mark.parametrize("tool", BY_TEXT)
@pytest.mark.parametrize(
    ("groups", "text"),
    [
        (None, "not NoneType"),
        ("analytics", "not str"),
        (["a"], "not list"),
        ({}, "at least one group"),
        ({"": "analytics"}, "non-empty printable str"),
        ({"a\n": "analytics"}, "non-empty printable str"),
        ({1: "analytics"}, "not int"),
        ({"a": None}, "not NoneType"),
        ({"a": b"analytics"}, "not bytes"),
        ({"a": {"analytics": 1}}, "not dict"),
        ({"a": []}, "at least one purpose"),
        ({"a": ""}, "1 to 64 printable"),
        ({"a": ["analytics", 3]}, "must be a str, not int"),
    ],
)
def test_groups_that_cannot_work_are_refused_when_a_reader_is_built(tool, groups, text):
    # rule 1.8: wrong configuration raises at construction
    with pytest.raises(ConfigurationError, match=text):
        tool(groups)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Cookiebot({"statistic": "analytics"}), "preferences, statistics, marketing, not for 'statistic'"),
        (lambda: Cookiebot({"necessary": "analytics"}), "not for 'necessary'"),
        (lambda: TCF({0: "analytics"}), "from 1 to 24, not 0"),
        (lambda: TCF({25: "analytics"}), "from 1 to 24, not 25"),
        (lambda: TCF({"1": "analytics"}), "not '1'"),
        (lambda: TCF({True: "analytics"}), "not True"),
        (lambda: TCF({1: "analytics"}, vendor=0), "vendor must be 1 to 65535"),
        (lambda: TCF({1: "analytics"}, vendor="10"), "vendor must be an int, not str"),
        (lambda: TCF({1: "analytics"}, cmp=True), "cmp must be an int, not bool"),
        (lambda: TrustArc({0: "analytics"}), "not 0"),
        (lambda: TrustArc({9: "analytics"}), "not 9"),
        (lambda: TrustArc({True: "analytics"}), "not True"),
        (lambda: TrustArc({"1": "analytics"}), "not '1'"),
        (lambda: VanillaCookieConsent({"a": "analytics"}, revision=-1), "revision must be at least 0"),
        (lambda: VanillaCookieConsent({"a": "analytics"}, revision=True), "revision must be an int"),
        (lambda: VanillaCookieConsent({"a": "analytics"}, service=""), "service must be a non-empty str or None"),
        (lambda: Didomi({"a": "analytics"}, vendor=3), "vendor must be a non-empty str or None"),
        (lambda: C15t({"a": "analytics"}, fingerprint=""), "fingerprint must be"),
        (lambda: Klaro({"a": "analytics"}, cookie=""), "cookie must be the name of a cookie"),
        (lambda: Klaro({"a": "analytics"}, cookie="a;b"), "cookie must be the name of a cookie"),
        (lambda: Klaro({"a": "analytics"}, cookie="caf\u00e9"), "cookie must be the name of a cookie"),
        (lambda: Klaro({"a": "analytics"}, cookie=None), "cookie must be a str, not NoneType"),
        (lambda: OneTrust({"a": "analytics"}, closed_cookie="a b"), "closed_cookie must be the name of a cookie"),
        (lambda: GPP(cookie=3), "cookie must be a str, not int"),
    ],
)
def test_what_cannot_work_is_refused_when_a_reader_is_built(build, text):
    with pytest.raises(ConfigurationError, match=text):
        build()


def test_levels_and_purposes_go_as_far_as_they_do():
    assert TrustArc({8: "analytics"})(None).purposes == TCF({24: "analytics"})(None).purposes == {"analytics": None}


def test_everything_but_the_groups_is_given_by_keyword():
    for name in consentpanel.cmp.__all__:
        first, *rest = inspect.signature(getattr(consentpanel.cmp, name)).parameters.values()
        assert all(each.kind is each.KEYWORD_ONLY for each in (rest if name != "GPP" else [first, *rest]))


def test_answers_of_ones_own_are_checked():
    moment = datetime(2026, 9, 22, 10, tzinfo=timezone(timedelta(hours=2)))
    assert Answers(consent_id="x" * 255).consent_id == "x" * 255
    answers = Answers({"analytics": True}, is_explicit=True, given_at=moment, consent_id="c-1", gpc=False)
    assert answers.given_at == datetime(2026, 9, 22, 8, tzinfo=timezone.utc)
    assert "c-1" not in repr(answers)
    assert isinstance(next(iter(answers.purposes)), Purpose)
    assert answers == pickle.loads(pickle.dumps(answers))


@pytest.mark.parametrize(
    "given",
    [
        {"purposes": [("analytics", True)]},
        {"purposes": {"analytics": 1}},
        {"purposes": {"analytics": "yes"}},
        {"purposes": {"": True}},
        {"is_explicit": 1},
        {"is_explicit": None},
        {"gpc": 0},
        {"given_at": datetime(2026, 9, 22)},  # noqa: DTZ001 - that is what is refused
        {"given_at": 1790000000000},
        {"consent_id": ""},
        {"consent_id": "x" * 256},
        {"consent_id": 7},
    ],
    ids=repr,
)
def test_malformed_answers_of_ones_own_are_refused(given):
    with pytest.raises(InvalidRecordError):
        Answers(**given)


def test_a_reader_of_ones_own_is_any_callable():
    # rule 11.6 and the manner of the house: a user's own thing is a callable
    def cookie_of_the_shop(header):
        return Answers({"analytics": header == "shop=yes"})

    assert readers("answers", [cookie_of_the_shop, Klaro({"a": "analytics"})])[0] is cookie_of_the_shop
    assert source_of(cookie_of_the_shop) == "cookie_of_the_shop"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Klaro({"a": "analytics"}), "several readers"),
        ("klaro", "not str"),
        ([Klaro], "not Klaro"),
        ([None], "not NoneType"),
        (["consentpanel.cmp.Klaro"], "not str"),
    ],
)
def test_what_is_no_reader_is_refused(given, text):
    with pytest.raises(ConfigurationError, match=text):
        readers("answers", given)
