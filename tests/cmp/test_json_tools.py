"""Tools whose cookies are JSON: Didomi, Klaro, vanilla-cookieconsent and Civic."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentpanel.cmp import Answers, Civic, Didomi, Klaro, VanillaCookieConsent

MOMENT = datetime(2026, 9, 22, 8, 15, tzinfo=timezone.utc)
FIRST, LAST = "2026-09-22T08:15:00.000Z", "2026-09-22T08:15:04.000Z"
DIDOMI = {
    "user_id": "00000000-0000-4000-8000-000000000002",
    "created": FIRST,
    "updated": LAST,
    "vendors": {"enabled": ["c:mixpanel", 10], "disabled": []},
    "purposes": {"enabled": ["measure"], "disabled": ["analytics"]},
    "vendors_li": {"enabled": ["google"]},
    "version": 2,
}
VANILLA = {
    "categories": ["necessary", "analytics"],
    "revision": 2,
    "data": None,
    "consentTimestamp": FIRST,
    "consentId": "00000000-0000-4000-8000-000000000003",
    "services": {"necessary": [], "analytics": ["mixpanel"]},
    "languageCode": "de",
    "lastConsentTimestamp": LAST,
    "expirationTime": 1805767200000,
}
VANILLA_2 = {
    "categories": ["necessary", "analytics"],
    "level": ["necessary", "analytics"],
    "revision": 2,
    "data": None,
    "rfc_cookie": False,
    "consent_date": FIRST,
    "consent_uuid": "00000000-0000-4000-8000-000000000004",
    "last_consent_update": LAST,
}
CIVIC = {
    "necessaryCookies": [],
    "optionalCookies": {"analytics": "accepted", "ads": "revoked", "social": "legitimate interest"},
    "statement": {"shown": True, "updated": "22/09/2026"},
    "consentDate": 1790000000000,
    "consentExpiry": 90,
    "interactedWith": True,
    "user": "00000000-0000-4000-8000-000000000005",
}


def raw(fields):
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def didomi(**changes):
    return "didomi_token=" + base64.b64encode(raw({**DIDOMI, **changes}).encode()).decode()


def vanilla(made=VANILLA, **changes):
    return "cc_cookie=" + quote(raw({**made, **changes}), safe="!'()*-._~")


def civic(**changes):
    return "CookieControl=" + raw({**CIVIC, **changes})


def without(fields, *names):
    return {name: each for name, each in fields.items() if name not in names}


# Didomi


def test_didomi_grants_what_is_listed_as_enabled():
    # rule 11.6
    read = Didomi({"measure": "analytics", "analytics": "profiles", "ads": "targeting"})
    assert read(didomi()) == Answers(
        {"analytics": True, "profiles": False, "targeting": None},
        is_explicit=True,
        given_at=datetime(2026, 9, 22, 8, 15, 4, tzinfo=timezone.utc),
        consent_id="00000000-0000-4000-8000-000000000002",
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda each: each.rstrip("="),
        lambda each: quote(each, safe="=_"),
        lambda each: each.replace("=", "%3D").replace("%3D", "=", 1),
    ],
)
def test_didomi_may_be_escaped_or_without_padding(change):
    assert Didomi({"measure": "analytics"})(change(didomi())).purposes == {"analytics": True}


@pytest.mark.parametrize(
    "purposes", [{"enabled": []}, {"disabled": []}, {}, {"enabled": ["other"]}, {"disabled": ["other"]}]
)
def test_didomi_grants_nothing_that_is_only_not_disabled(purposes):
    # "granted only if listed": real tokens leave `disabled` out
    assert Didomi({"measure": "analytics"})(didomi(purposes=purposes)).purposes == {"analytics": None}


def test_didomi_without_any_answer_is_not_explicit():
    never = didomi(purposes={"enabled": [], "disabled": []})
    assert not Didomi({"measure": "analytics"})(never).is_explicit
    token = "didomi_token=" + base64.b64encode(raw(without(DIDOMI, "purposes", "vendors")).encode()).decode()
    assert not Didomi({"measure": "analytics"})(token).is_explicit


@pytest.mark.parametrize(
    ("vendors", "answer"),
    [
        ({"enabled": ["c:mixpanel"]}, True),
        ({"disabled": ["c:mixpanel"]}, False),
        ({"enabled": ["c:mixpanel"], "disabled": ["c:mixpanel"]}, None),
        ({"enabled": []}, None),
        ({}, None),
    ],
)
def test_didomis_vendor_is_asked_as_well(vendors, answer):
    read = Didomi({"measure": "analytics"}, vendor="c:mixpanel")
    assert read(didomi(vendors=vendors)).purposes == {"analytics": answer}
    assert read(didomi(vendors=vendors, purposes={"disabled": ["measure"]})).purposes == {"analytics": False}


def test_didomis_purpose_in_both_lists_is_unknown():
    both = didomi(purposes={"enabled": ["measure"], "disabled": ["measure"]})
    assert Didomi({"measure": "analytics"})(both).purposes == {"analytics": None}
    assert Didomi({"measure": "analytics"}, vendor="c:mixpanel")(both).purposes == {"analytics": None}


def test_didomis_padding_is_whole_or_left_out():
    padded = next(each for each in (didomi(user_id="u" * length) for length in range(1, 4)) if each.endswith("=="))
    read = Didomi({"measure": "analytics"})
    assert [read(each).is_explicit for each in (padded, padded[:-2])] == [True, True]
    assert [read(each).is_explicit for each in (padded[:-1], padded + "=", padded[:-2] + "A")] == [False, False, False]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 1},
        {"version": "2"},
        {"version": 2.0},
        {"version": True},
        {"updated": None},
        {"updated": 1790000000000},
        {"updated": "2026-09-22T08:14:59.000Z"},
        {"updated": "2026-12-22T08:15:00.000Z"},
        {"created": "2026-09-22"},
        {"user_id": ""},
        {"user_id": None},
        {"user_id": "a\u0000"},
        {"purposes": ["measure"]},
        {"purposes": {"enabled": "measure"}},
        {"purposes": {"enabled": {"measure": True}}},
    ],
    ids=repr,
)
def test_didomis_odd_tokens_are_unknown(changes):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    assert Didomi({"measure": "analytics"})(didomi(**changes)) == Answers({"analytics": None})


@pytest.mark.parametrize("value", ["1", "true", "e30", "====", "e30===", "e30=e30", "bnVsbA", "W10", "_w", "e30\u00e9"])
def test_didomis_cookie_of_another_form_is_unknown(value):
    assert Didomi({"measure": "analytics"})(f"didomi_token={value}") == Answers({"analytics": None})


# Klaro


def test_klaro_answers_for_each_service():
    # rule 11.6
    read = Klaro({"mixpanel": "analytics", "matomo": "targeting", "new": "profiles"})
    value = "%7B%22mixpanel%22%3Atrue%2C%22matomo%22%3Afalse%7D"
    assert read(f"klaro={value}") == Answers(
        {"analytics": True, "targeting": False, "profiles": None}, is_explicit=True
    )
    assert Klaro({"mixpanel": "analytics"}, cookie="consent")(f"consent={value}").purposes == {"analytics": True}


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "true",
        '"mixpanel"',
        '["mixpanel"]',
        '{"mixpanel":1}',
        '{"mixpanel":"true"}',
        '{"mixpanel":null}',
        '{"mixpanel":[true]}',
        '{"mixpanel":true,"matomo":1}',
        '{"mixpanel":true,"mixpanel":true}',
        '{"mixpanel":true,"mixpanel":false}',
        '{"mixpanel":true,"m\\u0069xpanel":false}',
        '{"mixpanel":true,"a":NaN}',
        '{"mixpanel":true,"a":Infinity}',
        '{"mixpanel":true,"\\ud800":true}',
        '{"mixpanel":true}}',
        '{"mixpanel":true,}',
        '{"mixpanel":True}',
        "{'mixpanel':true}",
        '\ufeff{"mixpanel":true}',
        '{"mixpanel":true}\x00',
        '{"mixpanel":true,"a\n":true}',
    ],
)
def test_klaros_odd_json_is_unknown(text):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    for value in (quote(text), text):
        assert Klaro({"mixpanel": "analytics"})(f"klaro={value}".encode()) == Answers({"analytics": None})


# vanilla-cookieconsent


@pytest.mark.parametrize(
    ("header", "named"),
    [
        (vanilla(), VANILLA["consentId"]),
        ("cc_cookie=" + raw(VANILLA_2), VANILLA_2["consent_uuid"]),
        (vanilla(VANILLA_2, rfc_cookie=True), VANILLA_2["consent_uuid"]),
        ("cc_cookie=" + raw(without(VANILLA_2, "categories")), VANILLA_2["consent_uuid"]),
    ],
)
def test_vanilla_denies_what_a_valid_cookie_does_not_list(header, named):
    # rule 11.6: version 3, and 2
    assert VanillaCookieConsent({"analytics": "analytics", "ads": "targeting"}, revision=2)(header) == Answers(
        {"analytics": True, "targeting": False},
        is_explicit=True,
        given_at=datetime(2026, 9, 22, 8, 15, 4, tzinfo=timezone.utc),
        consent_id=named,
        language="de" if named == VANILLA["consentId"] else None,
    )


@pytest.mark.parametrize("revision", [0, 1, 3, True, "2", 2.0, None])
def test_vanillas_answer_to_another_revision_is_unknown(revision):
    header = vanilla(revision=revision)
    assert VanillaCookieConsent({"analytics": "analytics"}, revision=2)(header) == Answers({"analytics": None})


@pytest.mark.parametrize(
    ("services", "answer"),
    [
        ({"analytics": ["mixpanel"]}, True),
        ({"analytics": []}, False),
        ({"analytics": ["matomo"]}, False),
        ({}, None),
        ([], None),
        ({"analytics": "mixpanel"}, None),
    ],
)
def test_vanillas_service_is_asked_as_well(services, answer):
    read = VanillaCookieConsent({"analytics": "analytics"}, revision=2, service="mixpanel")
    assert read(vanilla(services=services)).purposes == {"analytics": answer}
    assert read(vanilla(services=services, categories=["necessary"])).purposes == {"analytics": False}


@pytest.mark.parametrize(
    "header",
    [
        *(
            vanilla(without(VANILLA, name))
            for name in ("categories", "consentId", "consentTimestamp", "lastConsentTimestamp", "revision")
        ),
        *(
            vanilla(without(VANILLA_2, name))
            for name in ("level", "consent_uuid", "consent_date", "last_consent_update", "revision")
        ),
        vanilla(categories="analytics"),
        vanilla(categories={"analytics": True}),
        vanilla(consentId=""),
        vanilla(consentId=7),
        vanilla(consentTimestamp=LAST, lastConsentTimestamp=FIRST),
        vanilla(lastConsentTimestamp="2027-09-22T08:15:00.000Z"),
        vanilla(expirationTime=1790000000000),
        vanilla(expirationTime=True),
        vanilla(expirationTime="never"),
        vanilla(VANILLA_2, level=["necessary"]),
        vanilla(VANILLA_2, consentId="c-1"),
    ],
)
def test_vanillas_cookie_that_the_tool_would_not_take_is_unknown(header):
    assert VanillaCookieConsent({"analytics": "analytics"}, revision=2)(header) == Answers({"analytics": None})


# Civic


def test_civics_raw_json_is_read():
    # rule 11.6
    read = Civic({"analytics": "analytics", "ads": "targeting", "social": "profiles", "new": "billing"})
    expected = Answers(
        {"analytics": True, "targeting": False, "profiles": None, "billing": None},
        is_explicit=True,
        given_at=datetime(2026, 9, 21, 14, 13, 20, tzinfo=timezone.utc),
        consent_id="00000000-0000-4000-8000-000000000005",
    )
    assert read(civic()) == expected
    assert read("CookieControl=" + quote(raw(CIVIC))) == expected


@pytest.mark.parametrize("interacted", [False, None, 1, "true"])
def test_civic_without_an_interaction_is_unknown(interacted):
    # rule 11.6: "defaults written before an answer are no answer"
    assert Civic({"analytics": "analytics"})(civic(interactedWith=interacted)) == Answers({"analytics": None})
    never = "CookieControl=" + raw(without(CIVIC, "interactedWith"))
    assert Civic({"analytics": "analytics"})(never) == Answers({"analytics": None})


@pytest.mark.parametrize(
    "changes",
    [
        {"optionalCookies": ["analytics"]},
        {"optionalCookies": None},
        {"optionalCookies": {"analytics": True}},
        {"optionalCookies": {"analytics": "accepted", "ads": "maybe"}},
        {"consentDate": None},
        {"consentDate": True},
        {"consentDate": "1790000000000"},
        {"consentDate": 1790000000000.0},
        {"consentDate": 10**15},
        {"user": ["x"]},
        {"user": " x"},
    ],
    ids=repr,
)
def test_civics_odd_cookies_are_unknown(changes):
    assert Civic({"analytics": "analytics"})(civic(**changes)) == Answers({"analytics": None})


# All of them


@pytest.mark.parametrize("depth", [20, 1000, 2000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_that_is_nested_deep_is_unknown(depth, opening):
    closing = "]" if opening == "[" else "}"
    deep = f'{{"a":true,"b":{(opening * depth)[:1500]}1{closing * depth}}}'
    assert Klaro({"a": "analytics"})(f"klaro={deep}") == Answers({"analytics": None})


@pytest.mark.parametrize("number", ["1" * 400, "1" * 4000, "1e999", "-1e999", "1" * 16])
def test_json_with_a_huge_number_is_unknown(number):
    assert Civic({"analytics": "analytics"})(civic().replace("90", number)) == Answers({"analytics": None})


NAMES = st.text(min_size=1, max_size=12).filter(lambda each: each.isprintable())


@given(st.dictionaries(NAMES, st.booleans(), min_size=1, max_size=8))
def test_what_klaro_writes_is_what_is_read(consents):
    written = quote(json.dumps(consents, ensure_ascii=False), safe="!'()*-._~")
    purposes = {name: f"p{number}" for number, name in enumerate(consents)}
    assert Klaro(purposes)(f"klaro={written}").purposes == {purposes[name]: each for name, each in consents.items()}


@given(st.sets(NAMES, max_size=6), st.sets(NAMES, min_size=1, max_size=6))
def test_what_didomi_writes_is_what_is_read(enabled, disabled):
    written = didomi(purposes={"enabled": sorted(enabled - disabled), "disabled": sorted(disabled)})
    purposes = {name: f"p{number}" for number, name in enumerate(enabled | disabled)}
    expected = {purposes[name]: name not in disabled for name in purposes}
    assert Didomi(purposes)(written).purposes == expected


@given(st.sets(NAMES, max_size=6), NAMES)
def test_what_vanilla_writes_is_what_is_read(categories, other):
    written = vanilla(categories=sorted(categories))
    purposes = {name: f"p{number}" for number, name in enumerate(categories | {other})}
    expected = {purposes[name]: name in categories for name in purposes}
    assert VanillaCookieConsent(purposes, revision=2)(written).purposes == expected
