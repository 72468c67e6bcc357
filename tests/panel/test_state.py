"""What scripts are told: one shape, and the same in the panel's page and on any other (contract rules 10.8 and 12.2)."""

from __future__ import annotations

import json
import re

import pytest

from consentpanel import ConfigurationError, FieldPolicy, Mixpanel, Regime, keep
from consentpanel.panel import Panel, Request

REQUEST = Request(mount="/privacy")
POLICY = FieldPolicy(events={"kind": keep(reason="to order tea")})


def on_the_page(shop):
    page = shop.get().body.decode()
    (text,) = re.findall(r'<script id="consent-state" type="application/json">([^<]*)</script>', page)
    return json.loads(text)


def told(shop):
    """What scripts are told on the panel's page, which is what they are told everywhere."""
    state = on_the_page(shop)
    visit = shop.visit()
    visit.heed()
    assert shop.panel.state(REQUEST, visit) == state
    assert shop.state()["statuses"] == state
    return state


@pytest.fixture
def opt_out(open_shop):
    """Opens a shop whose client sends unless somebody objects."""

    def opened(**options):
        shop = open_shop(**options)
        shop.client = Mixpanel("TOKEN", shop.vendor, registry=shop.registry, policy=POLICY, regime=Regime.OPT_OUT)
        return shop

    return opened


def test_it_is_a_word_by_purpose(shop):
    assert told(shop) == {"analytics": "unknown", "feature_flags": "unknown", "profiles": "unknown"}
    shop.answer(analytics="yes", profiles="no")
    assert told(shop) == {"analytics": "granted", "feature_flags": "unknown", "profiles": "denied"}
    shop.post("withdraw")
    assert set(told(shop).values()) == {"denied"}


def test_it_is_no_where_the_browser_says_so(shop):
    shop.has_gpc = True
    assert told(shop) == {"analytics": "denied", "feature_flags": "denied", "profiles": "denied"}


def test_it_names_what_nobody_is_asked_about(open_shop):
    shop = open_shop()
    shop.client = Mixpanel("TOKEN", shop.vendor, registry=shop.registry, policy=POLICY)
    shop.panel = Panel(contact="privacy@shop.example")
    assert [each["purpose"] for each in shop.state()["purposes"]] == ["analytics"]
    assert told(shop) == {"analytics": "unknown", "feature_flags": "unknown", "profiles": "unknown"}


def test_it_tells_what_is_sent_without_an_answer(opt_out):
    shop = opt_out()
    shop.panel = Panel(contact="privacy@shop.example")
    assert told(shop)[" sent"] == ["analytics", "feature_flags", "profiles"]
    shop.answer(analytics="no")
    assert told(shop)["analytics"] == "denied"
    assert told(shop)[" sent"] == ["feature_flags", "profiles"]


def test_what_silence_means_is_the_clients_word_and_not_the_notices(opt_out):
    assert told(opt_out())[" sent"] == ["analytics", "profiles", "feature_flags"]


@pytest.mark.parametrize("make", ["open_shop", "opt_out"])
def test_it_is_unknown_where_the_registry_fails(request, make, failing_registry):
    shop = request.getfixturevalue(make)(registry=failing_registry, account="user-1")
    shop.panel = Panel(contact="privacy@shop.example")
    failing_registry.is_down = True
    assert told(shop) == {"analytics": "unknown", "feature_flags": "unknown", "profiles": "unknown"}


def test_it_is_told_though_there_is_no_notice(open_shop):
    def fails(language):
        raise ValueError(language)

    shop = open_shop(notice=fails)
    assert shop.panel.state(REQUEST, shop.visit())["analytics"] == "unknown"


def test_any_page_takes_the_sheet_and_the_script(shop):  # rule 12.2
    head = shop.panel.head(REQUEST)
    places = re.findall(r'(?:href|src)="([^"]*)"', head)
    assert head in shop.get().body.decode()
    assert head.count("<") == 3
    assert 'data-consentpanel-purposes="analytics profiles"' in head
    for each in places:
        path, _, query = each.removeprefix("/privacy/").partition("?")
        assert shop.get(path, query).header("Cache-Control") == "public, max-age=31536000, immutable"
    assert shop.panel.head(REQUEST, nonce='r"nd').count('nonce="r&quot;nd"') == 2


def test_the_head_says_what_the_library_in_the_browser_serves(open_shop):
    shop = open_shop(browser_purposes=["analytics", "targeting"])
    assert 'data-consentpanel-purposes="analytics targeting"' in shop.panel.head(REQUEST)
    assert shop.state()["browser_purposes"] == ["analytics", "targeting"]


@pytest.mark.parametrize("purposes", [(), "analytics", ("two words",), ("",), (3,), 3, None])
def test_no_purpose_at_all_is_refused(purposes):
    with pytest.raises(ConfigurationError, match="browser_purposes"):
        Panel(browser_purposes=purposes)
