"""The banner: what it asks, and what an answer to it proves (rules 12.1, 12.3 and 12.6)."""

from __future__ import annotations

import hashlib
import re

import attrs
import pytest

from consentpanel import ConsentStatus
from consentpanel.panel import Request
from consentpanel.panel._page import banner_of, page_of
from consentpanel.panel._shown import banner_shown, shown
from consentpanel.panel._view import view_of
from consentpanel.transparency import NoticeArchive

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
ELSEWHERE = Request(mount="/privacy", path="/shop/tea", host="shop.example")


def fields_of(banner):
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', banner))


@pytest.fixture
def banner(shop):
    return shop.panel.banner(ELSEWHERE, shop.visit())


# rule 12.3: what the person saw is the banner, and not the page behind it
def test_an_answer_to_a_banner_proves_the_banner(open_shop, tmp_path):
    archive = NoticeArchive(tmp_path / "notices")
    shop = open_shop(archive=archive)
    fields = fields_of(shop.panel.banner(ELSEWHERE, shop.visit()))
    assert shop.post("", fields | {"all": "yes"}).status == 303
    text = banner_shown(shop.notice("en"))
    assert text != shown(shop.notice("en"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert {(each.source, each.evidence["shown"]) for each in shop.records} == {("banner", digest)}
    (kept,) = archive
    assert (kept.digest, kept.text) == (digest, text)
    state = shop.state("done=saved")
    assert state["result"] == "saved"
    assert "(notice 4, a banner on our website)" in state["history"][0]["text"]


# rule 12.1: consent is to uses that are named
def test_a_banner_names_what_it_asks_for(banner):
    for title in ("Measuring how you use our service", "A profile of you at Mixpanel", "Trying out new features"):
        assert title in banner
    assert "Teahouse would like to send data about you to Mixpanel for:" in banner


# rule 12.1: the way to the page stays in the banner when an answer has taken its place
def test_the_way_to_the_page_is_marked_for_the_script(banner):
    assert re.search(r'<p data-consentpanel-more><a href="/privacy/">', banner)


def test_a_service_without_a_name_asks_as_we(samples):
    notice = samples.notice(service=None)
    assert "We would like to send" in banner_of(view_of(notice, samples.unanswered(), samples.URLS, now=samples.NOW))


# rule 12.1: nothing with sensitive data is granted by a yes that does not name it, neither here nor on the page
def test_a_yes_to_all_is_none_to_what_is_sensitive(shop, banner):
    assert (
        "does not cover A profile of you at Mixpanel, which includes sensitive data: answer that on the page" in banner
    )
    shop.post("", fields_of(banner) | {"all": "yes"})
    assert [shop.registry.status(shop.who, each) for each in ("analytics", "profiles")] == [GRANTED, UNKNOWN]
    page = shop.get("", "done=saved").body.decode()
    assert "Not answered yet: A profile of you at Mixpanel." in page
    assert "does not cover A profile of you at Mixpanel, which includes sensitive data: answer that by itself" in page
    # It does not come back for that alone.
    assert shop.panel.banner(ELSEWHERE, shop.visit()) == ""
    assert shop.answer(profiles="yes").status == 303
    assert shop.registry.status(shop.who, "profiles") is GRANTED


def test_an_answer_by_name_to_a_banner_is_none_to_what_is_sensitive_either(shop, banner):
    found = shop.post("", fields_of(banner) | {"answer.profiles": "yes"})
    assert found.status == 422
    assert shop.who is None
    shop.post("", fields_of(banner) | {"answer.profiles": "no"})
    assert shop.registry.status(shop.who, "profiles") is DENIED


def test_where_all_is_sensitive_nothing_is_answered_at_once(samples):
    uses = (samples.PROFILES, attrs.evolve(samples.PROFILES, purpose="health"))
    view = view_of(samples.notice(uses=uses), samples.unanswered(), samples.URLS, now=samples.NOW)
    assert "<button" not in banner_of(view)
    assert 'href="/privacy/"' in banner_of(view)
    assert "Yes to all" not in page_of(view)


@pytest.mark.parametrize("changes", [{"title": "Counting"}, {"sensitive": "This includes your faith."}])
def test_what_a_banner_showed_changes_with_what_it_says(samples, changes):
    other = attrs.evolve(samples.ANALYTICS, **changes)
    before = samples.notice(uses=(samples.ANALYTICS, samples.FLAGS))
    assert banner_shown(samples.notice(uses=(other, samples.FLAGS))) != banner_shown(before)
