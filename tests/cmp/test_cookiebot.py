"""Cookiebot's cookie."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from consentpanel.cmp import Answers, Cookiebot

VALUE = (
    "{stamp:%27QUJDRA==%27%2Cnecessary:true%2Cpreferences:false%2Cstatistics:true%2Cmarketing:false"
    "%2Cmethod:%27explicit%27%2Cver:2%2Cutc:1790000000000%2Cregion:%27de%27}"
)
READ = Cookiebot({"statistics": "analytics", "marketing": "targeting"})
UNKNOWN = {"analytics": None, "targeting": None}


def changed(old, new):
    assert old in VALUE
    return f"CookieConsent={VALUE.replace(old, new)}"


def test_an_explicit_answer_is_read():
    # rule 11.6
    assert READ(f"x=1; CookieConsent={VALUE}") == Answers(
        {"analytics": True, "targeting": False},
        is_explicit=True,
        given_at=datetime(2026, 9, 21, 14, 13, 20, tzinfo=timezone.utc),
        consent_id="QUJDRA==",
    )


@pytest.mark.parametrize("plus", ["+", "%2B"])
def test_a_plus_in_the_stamp_survives(plus):
    assert READ(changed("QUJDRA==", f"QU{plus}DRA==")).consent_id == "QU+DRA=="


@pytest.mark.parametrize(
    "allowing",
    [
        "CookieConsent=-1",
        changed("QUJDRA==", "-1"),
        changed("statistics:true%2Cmarketing:false", "statistics:true%2Cmarketing:true").replace("QUJDRA==", "-1"),
        changed("explicit", "implied"),
        changed("%2Cmethod:%27explicit%27", ""),
        changed("%27explicit%27", "%27%27"),
        changed("%27explicit%27", "true"),
    ],
)
def test_what_allows_without_an_answer_is_unknown(allowing):
    # rule 11.6: "defaults written before an answer are no answer"
    assert READ(allowing) == Answers(UNKNOWN)


def test_the_old_form_of_a_refusal_is_a_no_without_proof():
    assert READ("CookieConsent=0") == Answers({"analytics": False, "targeting": False})


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "necessary",
        "1",
        "{necessary:true%2Cstatistics:true}",
        "{stamp:%27QUJDRA==%27%2Cstatistics:true%2Cmethod:%27explicit%27}",
        "{statistics:true%2Cmethod:%27explicit%27%2Cutc:1790000000000}",
        "{stamp:%27%27%2Cstatistics:true%2Cmethod:%27explicit%27%2Cutc:1790000000000}",
        "{stamp:%27QU DRA==%27%2Cstatistics:true%2Cmethod:%27explicit%27%2Cutc:1790000000000}",
        '{"stamp":"QUJDRA==","statistics":true,"method":"explicit","utc":1790000000000}',
        "{}",
    ],
)
def test_what_others_write_under_this_name_is_unknown(value):
    assert READ(f"CookieConsent={value}") == Answers(UNKNOWN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("utc:1790000000000", "utc:179000000000"),
        ("utc:1790000000000", "utc:1790000000"),
        ("utc:1790000000000", "utc:1990000000000"),
        ("utc:1790000000000", "utc:-1790000000000"),
        ("utc:1790000000000", "utc:true"),
        ("utc:1790000000000", "utc:%271790000000000%27"),
        ("utc:1790000000000", "utc:" + "9" * 3000),
        ("utc:1790000000000", "utc:179000000000\u0660"),
        ("statistics:true", "statistics:1"),
        ("statistics:true", "statistics:%27true%27"),
        ("statistics:true", "statistics:True"),
        ("statistics:true", "statistics:true%2Cstatistics:false"),
        ("statistics:true", "statistics:true%2Cstatistics:true"),
        ("%2Cver:2", "%2C%2Cver:2"),
        ("%2Cver:2", "%2Cver:2.0"),
        ("%2Cver:2", "%2Cver:{}"),
        ("%27de%27", "%27d%5C%27e%27"),
        ("}", "}}"),
        ("}", "%2C}"),
        ("{", " {"),
        ("%2C", "%252C"),
    ],
)
def test_what_the_tool_does_not_write_is_unknown(old, new):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    assert READ(changed(old, new)) == Answers(UNKNOWN)


def test_what_looks_like_a_field_within_a_text_is_none():
    read = Cookiebot({"preferences": "profiles"})
    without = VALUE.replace("%2Cpreferences:false", "")
    assert read(f"CookieConsent={without.replace('%27de%27', '%27de%2Cpreferences:true%27')}").purposes == {
        "profiles": None
    }


def test_a_category_that_is_missing_is_unknown():
    assert READ(changed("%2Cmarketing:false", "")).purposes == {"analytics": True, "targeting": None}
