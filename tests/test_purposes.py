"""Rule 2.1: each message serves a purpose, and `purposes=` says which when the defaults do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consentpanel import ConfigurationError, FieldPolicy, Mixpanel, Purpose, Reason, configure, keep, reset
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

PURPOSES = ["analytics", "profiles", "feature_flags", "targeting", "billing"]


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry()


@pytest.fixture
def vendor() -> FakeTransport:
    return FakeTransport()


@pytest.fixture
def client(registry: MemoryRegistry, vendor: FakeTransport) -> Callable[..., Mixpanel]:
    def build(purposes: Any = None) -> Mixpanel:
        policy = FieldPolicy(
            events={"plan": keep()}, people={"plan": keep(), "$transactions": keep(deep=True)}, groups={"plan": keep()}
        )
        return Mixpanel("TOKEN", vendor, registry=registry, policy=policy, purposes=purposes)

    return build


SAID = {"plan": "pro"}
CALLS: dict[str, Callable[[Mixpanel], Any]] = {
    "track": lambda mp: mp.track("ann", "Signed up", SAID),
    "import_data": lambda mp: mp.import_data(None, "ann", "Signed up", 0, SAID),
    "alias": lambda mp: mp.alias("ann", "ann"),
    "merge": lambda mp: mp.merge(None, "ann", "ann"),
    "people_update": lambda mp: mp.people_update({"$distinct_id": "ann", "$set": SAID}),
    "people_set": lambda mp: mp.people_set("ann", SAID),
    "people_set_once": lambda mp: mp.people_set_once("ann", SAID),
    "people_increment": lambda mp: mp.people_increment("ann", {"plan": 1}),
    "people_append": lambda mp: mp.people_append("ann", SAID),
    "people_union": lambda mp: mp.people_union("ann", {"plan": ["pro"]}),
    "people_remove": lambda mp: mp.people_remove("ann", SAID),
    "people_track_charge": lambda mp: mp.people_track_charge("ann", 12),
}
EVENT_CALLS = {"track", "import_data", "alias", "merge"}


@pytest.fixture
def granted_at_all_times(registry: MemoryRegistry) -> Callable[..., None]:
    from datetime import datetime, timezone

    def grant(*purposes: str) -> None:
        registry.grant("ann", *purposes, recorded_at=datetime(1960, 1, 1, tzinfo=timezone.utc))

    return grant


@pytest.mark.parametrize("call", CALLS)
def test_by_default_events_serve_analytics_and_profile_updates_profiles(client, granted_at_all_times, call):
    # rule 2.1
    needed = Purpose.ANALYTICS if call in EVENT_CALLS else Purpose.PROFILES
    mp = client()
    granted_at_all_times(*(each for each in PURPOSES if each != needed))
    dropped = CALLS[call](mp)
    assert (dropped.reason, dropped.purpose) == (Reason.NO_CONSENT, needed)
    granted_at_all_times(needed)
    sent = CALLS[call](mp)
    assert (bool(sent), sent.purpose) == (True, needed)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_can_be_given_a_purpose_of_the_users_own(client, granted_at_all_times, vendor, call):
    # rule 2.1
    mp = client({call: "targeting"})
    granted_at_all_times(*(each for each in PURPOSES if each != "targeting"))
    dropped = CALLS[call](mp)
    assert (dropped.reason, dropped.purpose) == (Reason.NO_CONSENT, "targeting")
    assert vendor.messages == []
    granted_at_all_times("targeting")
    assert CALLS[call](mp)
    assert len(vendor.messages) == 1


@pytest.mark.parametrize("call", [call for call in CALLS if call.startswith("people_")])
def test_a_profile_call_without_a_purpose_of_its_own_has_that_of_people_update(client, registry, call):
    mp = client({"people_update": "targeting"})
    registry.grant("ann", Purpose.PROFILES)
    assert not CALLS[call](mp)
    registry.grant("ann", "targeting")
    assert CALLS[call](mp)


def test_a_single_call_wins_over_the_general_one(client, registry):
    mp = client({"people_update": "targeting", "people_set": "profiles"})
    registry.grant("ann", Purpose.PROFILES)
    assert mp.people_set("ann", SAID)
    assert not mp.people_append("ann", SAID)


def test_an_update_of_several_operators_serves_the_purposes_of_all(client, registry):
    mp = client({"people_set": "targeting", "people_append": "billing"})
    both = {"$distinct_id": "ann", "$set": SAID, "$append": SAID}
    registry.grant("ann", "targeting")
    assert not mp.people_update(both)
    registry.grant("ann", "billing")
    assert mp.people_update(both)


def test_a_charge_is_an_append_unless_it_is_mapped_itself(client, registry):
    registry.grant("ann", "billing")
    assert client({"people_track_charge": "billing"}).people_track_charge("ann", 12)
    assert client({"people_append": "billing"}).people_track_charge("ann", 12)
    assert not client({"people_track_charge": "targeting", "people_append": "billing"}).people_track_charge("ann", 12)
    assert not client({"people_track_charge": "billing"}).people_append("ann", SAID)


def test_an_append_of_charges_by_hand_has_the_purpose_of_a_charge(client, registry):
    registry.grant("ann", Purpose.PROFILES)
    mp = client({"people_track_charge": "billing"})
    assert not mp.people_append("ann", {"$transactions": {"$amount": 12}})


def test_an_event_can_be_given_a_purpose_by_name(client, registry, vendor):
    # rule 2.1
    mp = client({"Ad clicked": "targeting"})
    registry.grant("ann", Purpose.ANALYTICS)
    assert not mp.track("ann", "Ad clicked")
    assert mp.track("ann", "Signed up")
    registry.grant("ann", "targeting")
    assert mp.track("ann", "Ad clicked").purpose == "targeting"
    assert [event.event for event in vendor.events] == ["Signed up", "Ad clicked"]


def test_the_name_of_an_event_wins_over_its_call(client, registry):
    mp = client({"Ad clicked": "targeting", "track": "billing"})
    registry.grant("ann", "targeting")
    assert mp.track("ann", "Ad clicked")
    assert not mp.track("ann", "Signed up")


def test_a_name_that_meta_gives_the_event_is_the_one_that_counts(client, registry):
    # rules 2.1 and 3.5: the event that is sent is the one whose purpose is asked
    registry.grant("ann", Purpose.ANALYTICS)
    mp = client({"Ad clicked": "targeting"})
    assert not mp.track("ann", "Signed up", meta={"event": "Ad clicked"})


def test_an_event_named_as_the_vendor_names_an_alias_or_a_merge_has_their_purpose(client, registry):
    registry.grant("ann", Purpose.ANALYTICS)
    mp = client({"alias": "targeting", "merge": "targeting"})
    assert not mp.track("ann", "$create_alias", {"alias": "ann"})
    assert not mp.track("ann", "$merge", {"$distinct_ids": ["ann", "ann"]})
    assert not client({"$create_alias": "targeting"}).alias("ann", "ann")
    assert not client({"$merge": "targeting"}).merge(None, "ann", "ann")


@pytest.mark.parametrize(
    "several", [["analytics", "targeting"], ("targeting", "analytics"), {"targeting", "analytics"}]
)
def test_of_several_purposes_all_are_needed(client, registry, several):
    # rule 2.1
    mp = client({"Ad clicked": several})
    for one in ("analytics", "targeting"):
        registry.deny("ann")
        registry.deny("ann", "targeting")
        registry.grant("ann", one)
        assert not mp.track("ann", "Ad clicked")
    registry.grant("ann", "analytics", "targeting")
    assert mp.track("ann", "Ad clicked")


def test_every_person_needs_every_purpose(client, registry):
    # rules 2.1 and 2.7
    mp = client({"merge": ["analytics", "targeting"]})
    registry.grant("ann", "analytics", "targeting")
    registry.grant("bob", "analytics")
    assert not mp.merge(None, "ann", "bob")
    registry.grant("bob", "targeting")
    assert mp.merge(None, "ann", "bob")


def test_groups_need_no_consent_whatever_is_mapped(client):
    # rule 2.10
    assert client({"group_set": "targeting"}).group_set("company", "acme", SAID)


def test_a_removal_needs_no_consent_whatever_is_mapped(client):
    # rule 2.9
    mp = client({"people_update": "targeting"})
    assert mp.people_delete("ann")
    assert mp.people_unset("ann", ["plan"])


def test_a_callable_registry_is_asked_by_the_purposes_name():
    asked: list[tuple[str, str]] = []

    def ask(subject_id: str, purpose: str) -> bool:
        asked.append((subject_id, str(purpose)))
        return True

    vendor = FakeTransport(asks_again=False)
    Mixpanel("TOKEN", vendor, registry=ask, purposes={"Ad clicked": "targeting"}).track("ann", "Ad clicked")
    assert asked == [("ann", "targeting")]


@pytest.mark.parametrize(
    ("purposes", "text"),
    [
        ({"people_sett": "targeting"}, "people_sett"),
        ({"group_updaet": "targeting"}, "group_updaet"),
        ({"people_delete": "targeting"}, "people_delete only takes data away"),
        ({"people_unset": "targeting"}, "people_unset only takes data away"),
        ({"people_clear_charges": "targeting"}, "needs no consent"),
        ({"group_delete": "targeting"}, "needs no consent"),
        ({"": "targeting"}, "non-empty str"),
        ({3: "targeting"}, "not int"),
        ({"track": ""}, "track"),
        ({"track": None}, "NoneType"),
        ({"track": 3}, "int"),
        ({"track": []}, "at least one"),
        ({"track": ["analytics", 3]}, "track"),
        ({"track": [""]}, "track"),
        (["track"], "list"),
        ("track", "str"),
    ],
    ids=repr,
)
def test_a_map_that_cannot_work_is_refused_when_it_is_given(client, purposes, text):
    # rules 1.8 and 2.1
    with pytest.raises(ConfigurationError, match=text):
        client(purposes)
    with pytest.raises(ConfigurationError, match=text):
        configure(purposes=purposes)
    reset()


def test_a_map_that_is_changed_later_changes_nothing(client, registry):
    purposes = {"Ad clicked": "targeting"}
    mp = client(purposes)
    purposes.clear()
    registry.grant("ann")
    assert not mp.track("ann", "Ad clicked")
