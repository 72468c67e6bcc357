"""Tools whose cookies are flat texts: c15t, CookieYes and TrustArc."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel.cmp import Answers, C15t, CookieYes, TrustArc

C15T = "c.necessary:1,c.measurement:1,i.t:1790000000000,i.sid:sub_x,i.mpf:0f1e2d"
COOKIEYES = "consentid:QUJDRA,consent:yes,action:yes,necessary:yes,functional:no,analytics:yes,other:yes"


# c15t


def test_c15t_denies_what_a_valid_cookie_leaves_out():
    # rule 11.6: the tool leaves a no out
    read = C15t({"measurement": "analytics", "marketing": "targeting"})
    assert read(f"c15t={C15T}") == Answers(
        {"analytics": True, "targeting": False},
        is_explicit=True,
        given_at=datetime(2026, 9, 21, 14, 13, 20, tzinfo=timezone.utc),
        consent_id="sub_x",
    )
    assert read(f"c15t={C15T.replace('measurement:1', 'measurement:0')}").purposes == {
        "analytics": False,
        "targeting": False,
    }


def test_c15t_may_be_held_to_the_policy_that_was_shown():
    groups = {"measurement": "analytics"}
    assert C15t(groups, fingerprint="0f1e2d")(f"c15t={C15T}").purposes == {"analytics": True}
    assert C15t(groups, fingerprint="ffffff")(f"c15t={C15T}") == Answers({"analytics": None})
    assert C15t(groups, fingerprint="0f1e2d")(f"c15t={C15T.replace(',i.mpf:0f1e2d', '')}") == Answers(
        {"analytics": None}
    )


@pytest.mark.parametrize(
    "value",
    [
        C15T.replace("i.sid:sub_x", "i.id:x"),
        C15T.replace("i.sid:sub_x", "i.sid:"),
        C15T.replace("i.sid:sub_x", "i.sid:x"),
        C15T.replace("i.sid:sub_x", "i.sid:sub_0"),
        C15T.replace("i.t:1790000000000,", ""),
        C15T.replace("1790000000000", "179000000000"),
        C15T.replace("1790000000000", "1990000000000"),
        C15T.replace("1790000000000", "17900000000000000"),
        C15T.replace("1790000000000", "2026-09-22T08:15:00.000Z"),
        C15T.replace("c.necessary:1,", ""),
        C15T.replace("c.necessary:1", "c.necessary:0"),
        C15T.replace("c.measurement:1", "c.measurement:true"),
        C15T.replace("c.measurement:1", "c.measurement:"),
        C15T.replace("c.measurement:1", "c.measurement"),
        C15T.replace("c.measurement:1", "c.measurement:1,c.measurement:0"),
        C15T + ",",
        C15T.replace(":", "%3A"),
        C15T.replace(",", "%2C"),
        "i.t:1790000000000,i.sid:sub_x,i.eid:user-1",  # identified, and never asked
        "true",
        "",
    ],
)
def test_c15ts_odd_cookies_are_unknown(value):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    assert C15t({"measurement": "analytics"})(f"c15t={value}") == Answers({"analytics": None})


def test_c15t_is_not_decoded_so_that_an_id_can_hold_no_answer():
    value = C15T.replace("c.measurement:1,", "") + ",i.eid:x%2Cc.measurement:1"
    assert C15t({"measurement": "analytics"})(f"c15t={value}").purposes == {"analytics": False}


@given(
    st.dictionaries(
        st.sampled_from(["measurement", "marketing", "experience", "functionality"]), st.booleans(), min_size=1
    )
)
def test_what_c15t_writes_is_what_is_read(consents):
    granted = "".join(f",c.{name}:1" for name, each in consents.items() if each)
    assert (
        C15t({name: name for name in consents})(f"c15t=c.necessary:1{granted},i.t:1790000000000,i.sid:sub_x").purposes
        == consents
    )


# CookieYes


def test_cookieyes_answers_by_category():
    # rule 11.6
    read = CookieYes({"analytics": "analytics", "functional": "profiles", "performance": "targeting"})
    assert read(f"cookieyes-consent={COOKIEYES}") == Answers(
        {"analytics": True, "profiles": False, "targeting": None}, is_explicit=True, consent_id="QUJDRA"
    )
    refused = "consentid:QUJDRA,consent:no,action:yes,analytics:no"
    assert CookieYes({"analytics": "analytics"})(f"cookieyes-consent={refused}").purposes == {"analytics": False}


@pytest.mark.parametrize(
    "value",
    [
        COOKIEYES.replace("action:yes", "action:"),
        COOKIEYES.replace("action:yes", "action:no"),
        COOKIEYES.replace("action:yes,", ""),
        COOKIEYES.replace("consent:yes,", ""),
        COOKIEYES.replace("consent:yes", "consent:no"),
        COOKIEYES.replace("consent:yes", "consent:"),
        COOKIEYES.replace("consentid:QUJDRA,", ""),
        COOKIEYES.replace("consentid:QUJDRA", "consentid:"),
        COOKIEYES.replace("consentid:QUJDRA", "consentid:%ZZ"),
        COOKIEYES.replace("consentid:QUJDRA", "consentid:caf%C3%A9"),
        COOKIEYES.replace("analytics:yes", "analytics:ye"),
        COOKIEYES.replace("analytics:yes", "analytics:Yes"),
        COOKIEYES.replace("analytics:yes", "analytics:true"),
        COOKIEYES.replace("analytics:yes", "analytics:yes,analytics:no"),
        COOKIEYES.replace("analytics:yes", "analytics"),
        COOKIEYES + ",",
        "yes",
    ],
)
def test_cookieyes_odd_cookies_are_unknown(value):
    # rule 11.6: "defaults written before an answer are no answer"
    assert CookieYes({"analytics": "analytics"})(f"cookieyes-consent={value}") == Answers({"analytics": None})


# TrustArc


def trustarc(behavior="expressed,eu", highest="2:abc", levels="0,1,2:abc", permit="permit 1,2,3", more=""):
    named = {
        "notice_behavior": behavior,
        "notice_preferences": highest,
        "notice_gdpr_prefs": levels,
        "cmapi_cookie_privacy": permit,
    }
    return "; ".join(f"{name}={each}" for name, each in named.items() if each is not None) + more


READ = TrustArc({1: "analytics", 2: "targeting"})


@pytest.mark.parametrize(
    ("header", "analytics", "targeting"),
    [
        (trustarc(), True, True),
        (trustarc(highest="2:", levels="0,1,2:"), True, True),
        (trustarc(highest="2:", levels="0|1|2:", permit="permit_1|2|3"), True, True),
        (trustarc(highest="1:", levels="0,1:", permit="permit 1,2"), True, False),
        (trustarc(highest="0:", levels="0:", permit="permit 1 required"), False, False),
        (trustarc(highest="2:", levels="0,2:", permit="permit 1,3"), False, True),
        (trustarc(levels="0%2C1%2C2:abc"), True, True),
    ],
)
def test_trustarc_answers_by_level(header, analytics, targeting):
    # rule 11.6
    assert READ(header) == Answers({"analytics": analytics, "targeting": targeting}, is_explicit=True)


@pytest.mark.parametrize(
    "header",
    [
        trustarc(behavior="implied,us"),
        trustarc(behavior="none"),
        trustarc(behavior=None),
        trustarc(behavior=""),
        trustarc(highest=None),
        trustarc(permit=None, more="; x=1"),
        trustarc(permit=None),
    ],
)
def test_trustarcs_yes_without_proof_is_unknown(header):
    # rule 11.6: "defaults written before an answer are no answer"
    assert READ(header) == Answers({"analytics": None, "targeting": None})


def test_trustarcs_no_without_proof_stays():
    refused = trustarc(behavior="implied,us", highest="1:", levels="0,1:", permit="permit 1,2")
    assert READ(refused) == Answers({"analytics": None, "targeting": False})


@pytest.mark.parametrize(
    "header",
    [
        trustarc(levels="0,1,2:abc:implied,eu"),
        trustarc(behavior="implied,eu", highest="0:", levels="0::implied,eu", permit="permit 1 required"),
        trustarc(levels=None),
        trustarc(levels="1,2:abc"),
        trustarc(levels="1,2:abc", permit="permit 2,3"),
        trustarc(levels="0,1:abc"),
        trustarc(levels="0,1,2"),
        trustarc(levels="0,1,x:abc"),
        trustarc(levels="0,1,\u0662:abc"),
        trustarc(levels="0,1,,2:abc"),
        trustarc(levels="0,1,2:a b"),
        trustarc(levels="0,1,2:abc:expressed,eu:x"),
        trustarc(highest="1:abc"),
        trustarc(highest="3:abc"),
        trustarc(highest="2"),
        trustarc(highest="2:1|3:1"),
        trustarc(permit="permit 1,2"),
        trustarc(permit="permit 1 required"),
        trustarc(permit="permit"),
        trustarc(permit="permit 0,1,2"),
        trustarc(permit="deny 1,2,3"),
        trustarc(more="; notice_gdpr_prefs=0:abc"),
        trustarc(more="; notice_behavior=implied,us"),
    ],
)
def test_trustarcs_contradictions_are_unknown(header):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    assert READ(header) == Answers({"analytics": None, "targeting": None})


def test_trustarcs_preferences_are_a_yes_only_where_no_cut_can_have_shortened_them():
    # rule 11.6: "no cut of a string grants more than the whole"; what a cut could take here is `implied`
    first = "notice_behavior=expressed,eu; notice_preferences=2:a; cmapi_cookie_privacy=permit 1,2,3"
    assert not READ(f"{first}; notice_gdpr_prefs=0,1,2:a:implied,eu").purposes["analytics"]
    assert not READ(f"{first}; notice_gdpr_prefs=0,1,2:a").purposes["analytics"]
    assert READ(f"{first}; notice_gdpr_prefs=0,1,2:a; x=1").purposes["analytics"]
    assert READ(f"{first}; notice_gdpr_prefs=0,1,2:a:expressed,eu").purposes["analytics"]


@pytest.mark.parametrize(("value", "gpc"), [("true", True), ("false", None), ("1", None), ("", None)])
def test_trustarc_tells_of_global_privacy_control(value, gpc):
    # rule 11.6
    assert READ(trustarc(more=f"; gpcishonored={value}")).gpc is gpc
    assert READ(f"gpcishonored={value}").gpc is gpc
    assert READ(f"gpcishonored={value}; notice_gdpr_prefs=odd").gpc is gpc
