"""What waits for a first answer, on the panel (rules 8.10 and 12.1)."""

from __future__ import annotations

import pytest


@pytest.fixture
def holding(open_shop):
    return open_shop(client={"while_unknown": "hold", "hold_for": 1800}, account="user-1")


def sent(shop):
    shop.client.flush()
    return [each.event for each in shop.vendor.events]


# rules 8.10, 12.1: what the page says becomes of what waits is what becomes of it
def test_what_waits_leaves_by_a_yes_with_the_box(holding):
    assert str(holding.visit().track("Tea bought").outcome) == "held"
    page = holding.get().body.decode()
    assert "only if you say yes and tick the box for it" in page
    assert '<input type="checkbox" name="covers_held" value="yes"' in page
    assert "Also send what I did in the last 30 minutes" in page
    assert " checked" not in page
    holding.post("", holding.shown() | {"answer.analytics": "yes", "covers_held": "yes"})
    assert sent(holding) == ["Tea bought"]
    assert holding.registry.history("user-1")[0].evidence["held"] is True


@pytest.mark.parametrize("given", [{"answer.analytics": "yes"}, {"all": "yes"}])
def test_it_stays_without_the_box(holding, given):
    holding.visit().track("Tea bought")
    holding.post("", holding.shown() | given)
    assert sent(holding) == []
    assert "held" not in holding.registry.history("user-1")[0].evidence


# rule 12.3: nobody has ticked a box that was not there
def test_a_box_that_was_not_shown_is_not_ticked(holding, open_shop):
    page = holding.shown()
    holding.registry.grant("user-1", "profiles")
    for purpose in ("analytics", "feature_flags"):
        holding.registry.deny("user-1", purpose)
    assert "covers_held" not in holding.get().body.decode()
    holding.post("", holding.shown() | {"answer.analytics": "yes", "covers_held": "yes"})
    assert "held" not in holding.registry.history("user-1")[-1].evidence
    other = open_shop(account="user-1")
    other.post("", other.shown() | {"answer.analytics": "yes", "covers_held": "yes"})
    assert "held" not in other.registry.history("user-1")[-1].evidence
    assert page["shown"] != other.shown()["shown"]


def test_a_program_may_tick_it(holding):
    state = holding.state()
    assert state["held_box"] == "Also send what I did in the last 30 minutes"
    given = {name: state[name] for name in ("notice_version", "language", "shown", "who")}
    assert holding.post_json("api", given | {"answers": {"analytics": True}, "covers_held": "yes"}).status == 400
    assert holding.post_json("api", given | {"answers": {"analytics": True}, "covers_held": True}).status == 200
    assert holding.registry.history("user-1")[0].evidence["held"] is True


def test_a_no_beside_it_covers_nothing(holding):
    fields = holding.shown() | {"answer.analytics": "yes", "answer.profiles": "no", "covers_held": "yes"}
    assert holding.post("", fields).status == 303
    assert {each.purpose: each.evidence.get("held") for each in holding.registry.history("user-1")} == {
        "analytics": True,
        "profiles": None,
    }
