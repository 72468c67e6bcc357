"""A page that one person has opened says nothing of another (rule 12.2)."""

from __future__ import annotations

import json

import pytest

from consentpanel import ConsentStatus, PrivacyRequests
from consentpanel._visits import VisitOptions, VisitorCookie
from consentpanel.testing import FakePrivacyAPI

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN


@pytest.fixture
def two(open_shop):
    return open_shop(account="ada")


def statuses(shop, account):
    return {each: shop.registry.status(account, each) for each in ("analytics", "profiles")}


# rule 12.2: nobody else answers for a person
def test_a_yes_on_a_page_of_another_account_is_not_saved(two):
    form = two.shown()
    two.account = "bob"
    for answer in ({"all": "yes"}, {"answer.analytics": "yes"}):
        found = two.post("", form | answer)
        assert found.status == 409
        assert b"changed since you opened it" in found.body
    assert two.registry.history("bob") == two.registry.history("ada") == []


@pytest.mark.parametrize("account", ["bob", None])
def test_a_no_is_saved_for_whoever_is_there_now(two, account):
    form = two.shown()
    two.account = account
    assert two.post("", form | {"all": "no"}).status == 303
    assert set(statuses(two, two.who).values()) == {DENIED}
    assert two.who != "ada"


def test_of_both_the_no_is_saved(two):
    form = two.shown()
    two.account = "bob"
    found = two.post("", form | {"answer.analytics": "yes", "answer.profiles": "no"})
    assert found.status == 409
    assert statuses(two, "bob") == {"analytics": UNKNOWN, "profiles": DENIED}


def test_a_banner_is_of_whoever_it_was_shown_to(two):
    form = two.shown() | {"shown": two.state()["banner_shown"]}
    two.account = "bob"
    assert two.post("", form | {"all": "yes"}).status == 409
    two.account = "ada"
    assert two.post("", form | {"all": "yes"}).status == 303


# A second tab: whoever was nobody has answered since, and is a visitor.
def test_a_visitor_who_has_answered_in_another_tab_may_answer(shop):
    form = shop.shown()
    assert shop.post("", form | {"all": "no"}).status == 303
    assert shop.post("", form | {"answer.analytics": "yes"}).status == 303
    assert shop.registry.status(shop.who, "analytics") is GRANTED
    shop.account = "ada"
    assert shop.post("", form | {"answer.analytics": "yes"}).status == 409


# Whoever has logged out is nobody, and so is the next one.
def test_a_page_of_an_account_says_no_yes_of_a_visitor(two):
    form = two.shown()
    two.account = None
    assert two.post("", form | {"all": "yes"}).status == 409
    assert two.who is None


@pytest.mark.parametrize("path", ["erase", "export", "api/erase", "api/export"])
@pytest.mark.parametrize("who", ["theirs", "", None, "\u00e9"])
def test_nothing_is_asked_of_the_vendor_by_a_page_of_another(open_shop, path, who):
    with FakePrivacyAPI() as vendor:
        shop = open_shop(privacy=PrivacyRequests("TOKEN", "OAUTH", host=vendor.url, timeout=5), account="ada")
        theirs = shop.shown()["who"]
        shop.account = "bob"
        shop.registry.grant("bob", "analytics")
        fields = {} if who is None else {"who": theirs if who == "theirs" else who}
        post = shop.post_json if path.startswith("api") else shop.post
        found = post(path, {"other": "1"} | fields)
        assert found.status == 409
        assert not vendor.tasks
        assert shop.registry.status("bob", "analytics") is GRANTED
        assert post(path, {"who": shop.shown()["who"]}).status in {200, 303}
        assert len(vendor.tasks) == 1


def test_programs_send_back_for_whom_the_state_was(two):
    state = two.state()
    given = {name: state[name] for name in ("notice_version", "language", "shown")}
    without = two.post_json("api", given | {"all": True})
    assert (without.status, json.loads(without.body)["result"]) == (409, "changed")
    assert two.post_json("api", given | {"all": False}).status == 200
    assert two.post_json("api", given | {"who": state["who"], "all": True}).status == 200
    assert two.registry.status("ada", "analytics") is GRANTED


def test_a_form_tells_no_id(two):
    page = two.get().body.decode()
    assert two.visit().mark() in page
    assert "ada" not in page


# rule 11: a key that is replaced is good for reading
def test_a_form_that_was_made_by_a_key_of_before_is_taken(two):
    form = two.shown()
    two.options = VisitOptions(cookie=VisitorCookie(keys=(b"n" * 32, b"k" * 32)))
    assert two.post("", form | {"all": "yes"}).status == 303
    two.options = VisitOptions(cookie=VisitorCookie(keys=(b"n" * 32,)))
    assert two.post("", form | {"all": "yes"}).status == 409
