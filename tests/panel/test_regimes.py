"""What the panel says of silence, which means to one person what it does not mean to another (rule 12.1)."""

from __future__ import annotations

import re

import pytest

from consentpanel import FieldPolicy, Regime, by_country, keep
from consentpanel.panel._regimes import EITHER
from consentpanel.panel._shown import shown
from consentpanel.panel._view import view_of
from consentpanel.transparency import notice

OPT_IN, OPT_OUT = frozenset({Regime.OPT_IN}), frozenset({Regime.OPT_OUT})
UNSENT = "Not answered yet: nothing is sent"
SENT = "Not answered: it is sent unless you object."
UNSURE = "Not answered yet. Where the law lets us, we send it unless you object; say no here to stop it."
COUNTRIES = {"american": "US", "german": "DE"}


def country_of(subject):
    if subject == "unlucky":
        raise KeyError(subject)
    return COUNTRIES.get(subject)


@pytest.fixture
def elsewhere(open_shop):
    return open_shop(client={"regime": by_country(country_of)})


def standing(shop):
    state = shop.state()
    return {(each["standing"], each["is_sent"]) for each in state["purposes"]}


# rule 12.1: what is said of a person is what is done about them
@pytest.mark.parametrize(
    ("account", "expected"),
    [("american", (SENT, True)), ("german", (UNSENT, False)), ("unlucky", (UNSURE, False)), (None, (UNSENT, False))],
)
def test_silence_is_told_as_what_it_means_to_this_person(elsewhere, account, expected):
    elsewhere.account = account
    assert standing(elsewhere) == {expected}
    if account is not None:
        sent = bool(elsewhere.visit().track("Tea bought"))
        assert sent is expected[1]


# rule 12.1: neither a heading, a basis nor a button says of one what is true of another
def test_nothing_on_the_page_contradicts_what_is_done(elsewhere):
    elsewhere.account = "american"
    page = elsewhere.get().body.decode()
    assert "only with your consent" not in page
    assert "nothing is sent<" not in page.lower()
    assert "I object: do not send my data" in page
    assert "consent" not in elsewhere.state()["purposes"][0]["basis"]
    elsewhere.account = "german"
    page = elsewhere.get().body.decode()
    assert "unless you object" not in page
    assert "I object" not in page
    for account in ("unlucky", None):
        elsewhere.account = account
        state = elsewhere.state()
        assert "only with your consent." not in state["intro"]
        assert state["purposes"][0]["needs_consent"] is None


def test_a_basis_that_names_the_regions_is_true_of_all(open_shop):
    policy = FieldPolicy(events={"plan": keep(reason="to see it")})

    def by_region(language):
        return notice(policy, contact="a@shop.example", regime=by_country(country_of), language=language)

    shop = open_shop(notice=by_region, client={"regime": by_country(country_of)}, account="american")
    assert "unless you object: United States" in shop.state()["purposes"][0]["basis"]


# rule 12.3: what is kept is what that person saw
def test_what_was_shown_is_of_the_persons_own_regime(elsewhere, samples):
    digests = {}
    for account in ("american", "german", "unlucky"):
        elsewhere.account = account
        digests[account] = elsewhere.shown()["shown"]
    assert len(set(digests.values())) == 3
    elsewhere.account = "german"
    given = elsewhere.shown() | {"answer.analytics": "yes"}
    assert elsewhere.post("", given).status == 303
    assert elsewhere.registry.history("german")[0].evidence["shown"] == given["shown"] == digests["german"]


def test_a_withdrawal_names_the_text_of_the_persons_own_regime(elsewhere):
    elsewhere.account = "american"
    elsewhere.post("withdraw", elsewhere.shown())
    assert elsewhere.registry.history("american")[-1].evidence["shown"] == elsewhere.shown()["shown"]


def test_a_banner_asks_those_who_are_to_be_asked(samples):
    for regimes, asks in ((OPT_IN, True), (OPT_OUT, False), (EITHER, True)):
        view = view_of(samples.notice(), samples.unanswered(regimes=regimes), samples.URLS, now=samples.NOW)
        assert view.asks is asks


def test_who_is_sent_about_is_not_told_that_nothing_is_sent_until_they_answer(samples):
    records = (samples.record("analytics", 30, answer=True, policy_version="3"),)
    situation = samples.unanswered(records=records, changes={"analytics": ("a new reason",)}, regimes=OPT_OUT)
    view = view_of(samples.notice(), situation, samples.URLS, now=samples.NOW)
    assert not [each.text for each in view.notes if re.search("nothing (about you )?is sent", each.text)]
    assert view.can_withdraw


def test_the_notice_is_believed_where_no_client_says_otherwise(samples):
    assert "only with your consent" in shown(samples.notice())
