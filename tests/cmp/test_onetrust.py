"""OneTrust's cookies."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import permutations

import pytest

from consentpanel.cmp import Answers, OneTrust

FIELDS = (
    "isGpcEnabled=0&datestamp=Tue+Sep+22+2026+10%3A15%3A00+GMT%2B0200+(CEST)&version=202604.2.0&browserGpcFlag=0&isIABGlobal=false&hosts="
    "&consentId=00000000-0000-4000-8000-000000000001&interactionCount=1&isAnonUser=1&landingPath=NotLandingPage"
    "&groups=C0001%3A1%2CC0002%3A1%2CC0004%3A0&AwaitingReconsent=false"
)
CLOSED = "OptanonAlertBoxClosed=2026-09-22T08:15:00.000Z"
READ = OneTrust({"C0002": "analytics", "C0004": "targeting", "C0009": "profiles"})
UNKNOWN = {"analytics": None, "targeting": None, "profiles": None}


def header(*changes, closed=CLOSED):
    fields = FIELDS
    for old, new in changes:
        assert old in fields
        fields = fields.replace(old, new)
    return f"OptanonConsent={fields}; {closed}"


def test_an_answer_with_the_tools_proof_is_explicit():
    # rule 11.6: "is_explicit (only with the tool's own proof)"
    for each in (header(), f"{CLOSED}; x=1; OptanonConsent={FIELDS}"):
        assert READ(each) == Answers(
            {"analytics": True, "targeting": False, "profiles": None},
            is_explicit=True,
            given_at=datetime(2026, 9, 22, 8, 15, tzinfo=timezone.utc),
            consent_id="00000000-0000-4000-8000-000000000001",
            gpc=False,
        )


def test_the_order_of_the_fields_does_not_matter():
    few = ["interactionCount=1", "groups=C0002:1,C0004:0", "AwaitingReconsent=false", "landingPath=NotLandingPage"]
    for order in permutations(few):
        assert READ(f"OptanonConsent={'&'.join(order)}; {CLOSED}").purposes == {
            **UNKNOWN,
            "analytics": True,
            "targeting": False,
        }


@pytest.mark.parametrize(
    "before",
    [
        header(("interactionCount=1", "interactionCount=0"), closed=""),
        header(("interactionCount=1&", ""), closed=""),
        header(
            ("interactionCount=1", "interactionCount=0"), ("NotLandingPage", "https%3A%2F%2Fshop.example%2F"), closed=""
        ),
        header(("interactionCount=1", "interactionCount=0")),  # regions without a banner
        header(("interactionCount=1&", "")),
        header(("interactionCount=1", "interactionCount=-1")),
        f"OptanonConsent={FIELDS.replace('interactionCount=1', 'interactionCount=0').replace('%3A0', '%3A1')}",
    ],
)
def test_what_is_written_before_an_answer_is_no_answer(before):
    # rule 11.6: "defaults written before an answer are no answer"
    answers = READ(before)
    assert (answers.purposes, answers.is_explicit, answers.given_at) == (UNKNOWN, False, None)


@pytest.mark.parametrize(
    "without_proof",
    [
        header(closed=""),
        header(closed="OptanonAlertBoxClosed="),
        header(closed="OptanonAlertBoxClosed=true"),
        header(closed="OptanonAlertBoxClosed=2026-09-22T08:15:00.000"),
        header(closed="OptanonAlertBoxClosed=2026-09-22"),
        header(closed="OptanonAlertBoxClosed=2026-02-30T08:15:00.000Z"),
        header(closed="OptanonAlertBoxClosed=2026-11-30T08:15:00.000Z"),
        header(closed="OptanonAlertBoxClosed=1999-09-22T08:15:00.000Z"),
        header(closed="OptanonAlertBoxClosed=\u0662\u0660\u0662\u0666-09-22T08:15:00.000Z"),
        header(closed=f"{CLOSED}; OptanonAlertBoxClosed=2026-09-23T08:15:00.000Z"),
        header(("AwaitingReconsent=false", "AwaitingReconsent=true")),
        header(("&AwaitingReconsent=false", "")),
    ],
)
def test_without_proof_a_no_stays_and_a_yes_is_unknown(without_proof):
    answers = READ(without_proof)
    assert (answers.purposes, answers.is_explicit, answers.given_at) == ({**UNKNOWN, "targeting": False}, False, None)


def test_a_browsers_clock_may_be_a_day_ahead():
    assert READ(header(closed="OptanonAlertBoxClosed=2026-11-29T11:00:00.000Z")).is_explicit


@pytest.mark.parametrize(
    "change",
    [
        ("C0002%3A1", "C0002%3A2"),
        ("C0002%3A1", "C0002"),
        ("C0002%3A1", "C0002%3Atrue"),
        ("C0002%3A1", "C0002%3A1%2CC0002%3A0"),
        ("C0002%3A1", ""),
        ("%2CC0004%3A0", "%2C"),
        ("interactionCount=1", "interactionCount=one"),
        ("interactionCount=1", "interactionCount=\u0661"),
        ("interactionCount=1", "interactionCount=" + "9" * 400),
        ("interactionCount=1", "interactionCount=1&interactionCount=2"),
        ("&isAnonUser=1", "&isAnonUser"),
        ("%3A1", "%3"),
        ("00000000-", "%00"),
        ("00000000-", "0" * 300),
    ],
)
def test_what_the_tool_does_not_write_is_unknown(change):
    # rule 11.6: "anything odd, cut or contradictory is unknown"
    assert READ(header(change)) == Answers(UNKNOWN)


@pytest.mark.parametrize(
    ("enabled", "flag", "gpc"),
    [("1", "1", True), ("1", "0", True), ("0", "1", True), ("0", "0", False), ("0", "", None), ("yes", "0", None)],
)
def test_global_privacy_control_is_told(enabled, flag, gpc):
    # rule 11.6
    seen = header(("isGpcEnabled=0", f"isGpcEnabled={enabled}"), ("browserGpcFlag=0", f"browserGpcFlag={flag}"))
    assert READ(seen).gpc is gpc
    assert READ(seen.replace("interactionCount=1", "interactionCount=0")).gpc is gpc


def test_an_older_cookie_without_an_id_is_read():
    answers = READ(header(("consentId=00000000-0000-4000-8000-000000000001&", "")))
    assert (answers.is_explicit, answers.consent_id) == (True, None)


@pytest.mark.parametrize("group", ["1", "C005", "BG122", "SSPD_BG", "V2STACK42"])
def test_groups_are_named_as_the_site_names_them(group):
    read = OneTrust({group: "analytics"})
    assert read(header(("C0002", group))).purposes == {"analytics": True}
