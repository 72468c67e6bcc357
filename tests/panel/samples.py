"""A made-up notice, words and situations for the panel's tests."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import attrs

from consentpanel import ConsentRecord, ConsentStatus, FieldPolicy, generalize, keep, pseudonymize, transparency
from consentpanel.panel._situation import Situation, Urls
from consentpanel.privacy_requests import PrivacyTask, TaskStatus
from consentpanel.transparency._page import Entry, Use
from consentpanel.transparency._texts import Words

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=timezone.utc)
URLS = Urls(
    page="/privacy/",
    withdraw="/privacy/withdraw",
    erase="/privacy/erase",
    export="/privacy/export",
    receipt="/privacy/receipt",
    notice="/privacy/notice",
    style="/privacy/panel.css",
    script="/privacy/panel.js",
    api="/privacy/api",
)


class MadeUpWords(Words):
    """English as if it were another language."""

    language = direction = ""

    def __init__(self, language="en", direction="ltr", turn=lambda text: text):
        super().__init__("en")
        self.language, self.direction, self._turn = language, direction, turn

    def __call__(self, name, /, **values):
        return self._turn(super().__call__(name, **values))


@attrs.frozen(kw_only=True)
class Notice:
    """What the panel takes of a notice."""

    language: str = "en"
    version: str = "4"
    title: str = "What we send to Mixpanel"
    uses: tuple[Use, ...] = ()
    in_short: tuple[tuple[str, str], ...] = ()
    service: str | None = "Teahouse"
    controller: str | None = "Teahouse Ltd"
    vendor: str = "Mixpanel"
    contact: str = "privacy@teahouse.example"
    authority: str | None = "the data protection authority"
    date: Any = date(2026, 11, 1)
    works_without_consent: bool | None = None
    words: Any = attrs.field(factory=lambda: Words("en"))


ANALYTICS = Use(
    purpose="analytics",
    title="Measuring how you use our service",
    text="We send what you do in Teahouse, with an ID by which you are recognised. Why: to see what is bought, and to order enough of it.",
    basis="We send this only with your consent.",
    needs_consent=True,
    entries=(
        Entry(
            label="what you bought",
            form="exactly as it is",
            example="Darjeeling, 100 g",
            reason="to order enough of it",
            details=("when you do this: “Order placed”",),
        ),
        Entry(label="what you paid", form="only roughly, in steps of 10", example="30", reason="to add up sales"),
        Entry(
            label="where you came from",
            form="only the page address, without what follows the question mark",
            example="https://newsletter.example/a-rather-long-address-of-a-page/that-has-to-wrap-somewhere",
        ),
        Entry(
            label="the ID we know you by",
            form="as a code in its place, always the same one for the same value; we can find out what it stands for",
            example="p_4f9c01b2",
        ),
    ),
)
PROFILES = Use(
    purpose="profiles",
    title="A profile of you at Mixpanel",
    text="We collect facts about you in one place. Why: to know which plan is used by whom.",
    basis="We send this only with your consent.",
    needs_consent=True,
    sensitive="This includes sensitive data: your health. We send it only if you expressly say yes to it.",
    entries=(Entry(label="your plan", form="exactly as it is", example="Gold", path="plan"),),
)
FLAGS = Use(
    purpose="feature_flags",
    title="Trying out new features",
    text="We send data about you to Mixpanel, which uses it to choose the version of a feature that you see. If you say no, you see the standard version.",
    basis="We send this only with your consent.",
    needs_consent=True,
)
OBJECTION = Use(
    purpose="operations",
    title="Keeping the service running",
    text="We send what fails in Teahouse: to mend it.",
    basis="We send this unless you object.",
    needs_consent=False,
    entries=(Entry(label="what failed", form="exactly as it is", example="checkout"),),
)
ANALYTICS_OBJECTION = attrs.evolve(ANALYTICS, needs_consent=False)
PROFILES_OBJECTION = attrs.evolve(PROFILES, needs_consent=False)
IN_SHORT = (
    ("Who receives it", "Mixpanel, Inc., only on our instructions (as our “processor”)"),
    ("Where it is kept", "the European Union"),
    ("For how long", "events 2 years, your profile until you delete it"),
)
PURPOSES = ("analytics", "profiles", "feature_flags")


def notice(**changes):
    return Notice(
        **{"uses": (ANALYTICS, PROFILES, FLAGS), "in_short": IN_SHORT, "works_without_consent": True, **changes}
    )


def written(language):
    """A notice that is made from a policy, with long words."""
    long = "a_property_with_a_name_that_is_longer_than_any_line_on_a_small_telephone_and_has_no_place_to_break"
    policy = FieldPolicy(
        events={long: keep(reason="to see that it wraps"), "total": generalize(bucket=10), "email": pseudonymize()},
        people={"city": keep(reason="to count by city"), "blood_type": keep(categories=["user.health_and_medical"])},
        flags={"plan": keep()},
        secret=b"a secret of thirty-two bytes, or more",
    )
    return transparency.notice(
        policy,
        contact="https://shop.example/privacy/contact/with/a/rather/long/address/that/has/to/wrap/somewhere/or/else",
        purposes={"analytics": "to improve the shop", "profiles": "to know our customers", "feature_flags": "to try"},
        vendor=transparency.Vendor(region="EU"),
        language=language,
        names=True,
    )


def record(purpose, days_ago, *, answer, **fields):
    status = {True: ConsentStatus.GRANTED, False: ConsentStatus.DENIED, None: ConsentStatus.UNKNOWN}[answer]
    told = {"source": "panel", "policy_version": "4", "event_type": "explicit", **fields}
    return ConsentRecord("user-1", purpose, status, NOW - timedelta(days=days_ago), **told)


def statuses(**said):
    named = {True: ConsentStatus.GRANTED, False: ConsentStatus.DENIED, None: ConsentStatus.UNKNOWN}
    return {purpose: named[said.get(purpose)] for purpose in PURPOSES}


def unanswered(**changes):
    return Situation(**{"statuses": statuses(), **changes})


def answered(**changes):
    """Yes to analytics, no to profiles, and a deletion that is on its way."""
    said = {
        "records": (
            record("profiles", 30, answer=True),
            record("analytics", 25, answer=True),
            record("profiles", 20, answer=False),
            record("feature_flags", 20, answer=False, source="website"),
        ),
        "statuses": statuses(analytics=True, profiles=False, feature_flags=False),
        "ends": {"analytics": NOW + timedelta(days=340)},
        "ask_again": NOW + timedelta(days=160),
        "can_erase": True,
        "can_export": True,
        "requests": (
            PrivacyTask(kind="deletion", task_id="1842", status=TaskStatus.STARTED, requested="2026-11-20T10:00:00"),
            PrivacyTask(
                kind="retrieval", task_id="1843", status=TaskStatus.SUCCESS, link="https://storage.example/copy?key=1"
            ),
        ),
    }
    return Situation(**{**said, **changes})


def granted(**changes):
    """Yes to everything."""
    return Situation(**{"statuses": statuses(**dict.fromkeys(PURPOSES, True)), **changes})


def signalled(**changes):
    """Global Privacy Control says no to profiles, in spite of an older yes."""
    said = {
        "records": (
            record("profiles", 30, answer=True),
            record("profiles", 2, answer=False, source="gpc", event_type="signal"),
        ),
        "statuses": statuses(profiles=False),
        "refused_by_signal": frozenset({"profiles"}),
        "has_gpc": True,
    }
    return Situation(**{**said, **changes})
