"""`withdraw`, `opt_out` and `opt_in` (contract rule 7.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consentpanel import (
    BackgroundConsumer,
    BufferedConsumer,
    ConsentStatus,
    Mixpanel,
    Reason,
    RegistryError,
    Withdrawal,
)
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

PURPOSES = ("analytics", "profiles", "feature_flags")


@pytest.fixture(params=[BufferedConsumer, BackgroundConsumer])
def buffered(
    request: pytest.FixtureRequest, client: Callable[..., Mixpanel], registry: MemoryRegistry, vendor: FakeTransport
) -> Mixpanel:
    registry.grant("user-1")
    registry.grant("user-2")
    mp = client()
    mp._consumer = request.param(consumer=vendor)
    return mp


def test_withdraw_records_denials_and_discards_what_waits(
    buffered: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    buffered.track("user-1", "A")
    buffered.people_set("user-1", {"plan": "pro"})
    buffered.track("user-2", "A")
    done = buffered.withdraw("user-1", source="settings-page")
    assert done == Withdrawal(purposes=PURPOSES, discarded=2, profile=())  # type: ignore[arg-type]
    assert [registry.status("user-1", purpose) for purpose in PURPOSES] == [ConsentStatus.DENIED] * 3
    assert registry.history("user-1")[-1].source == "settings-page"
    buffered.flush()
    vendor.assert_nothing_sent("user-1")
    assert len(vendor.events) == 1
    assert buffered.stats()["dropped"]["withdrawn"] == 2


def test_withdraw_of_one_purpose_leaves_the_others(
    buffered: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    buffered.track("user-1", "A")
    buffered.people_set("user-1", {"plan": "pro"})
    assert buffered.withdraw("user-1", ["profiles"]).purposes == ("profiles",)
    buffered.flush()
    assert (len(vendor.events), len(vendor.people)) == (1, 0)
    assert registry.status("user-1", "analytics") is ConsentStatus.GRANTED


def test_a_removal_that_waits_is_not_discarded(buffered: Mixpanel, vendor: FakeTransport) -> None:
    # rule 2.9
    buffered.people_unset("user-1", ["plan"])
    assert buffered.withdraw("user-1").discarded == 0
    buffered.flush()
    assert vendor.people[0].properties == {"$unset": ["plan"]}


def test_opt_out_deletes_the_profile_as_the_client_side_libraries_do(buffered: Mixpanel, vendor: FakeTransport) -> None:
    buffered.people_set("user-1", {"plan": "pro"})
    done = buffered.opt_out("user-1")
    buffered.flush()
    assert (done.discarded, [bool(decision) for decision in done.profile]) == (1, [True, True])
    assert [message.properties for message in vendor.people] == [{"$unset": ["$transactions"]}, {"$delete": ""}]
    assert buffered.track("user-1", "B").reason is Reason.WITHDRAWN


def test_opt_out_can_leave_the_profile(buffered: Mixpanel, vendor: FakeTransport) -> None:
    assert buffered.opt_out("user-1", delete_profile=False).profile == ()
    buffered.flush()
    assert vendor.people == []


def test_opt_in_records_grants_and_tracks_the_vendor_s_event(
    mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    decision = mp.opt_in("user-1", source="cookie-banner", properties={"plan": "pro", "email": "a@b.example"})
    assert decision
    assert [registry.status("user-1", purpose) for purpose in PURPOSES] == [ConsentStatus.GRANTED] * 3
    vendor.assert_tracked("$opt_in", distinct_id="user-1", properties={"plan": "pro"})
    assert "email" not in vendor.events[0].properties


def test_opt_in_to_some_purposes_grants_those(mp: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport) -> None:
    assert mp.opt_in("user-1", "profiles").reason is Reason.NO_CONSENT
    assert registry.status("user-1", "profiles") is ConsentStatus.GRANTED


def test_a_registry_with_record_alone_is_enough(client: Callable[..., Mixpanel]) -> None:
    written: list[Any] = []

    class Recording:
        def status(self, subject_id: str, purpose: str, *, at: Any = None) -> ConsentStatus:
            return ConsentStatus.UNKNOWN

        def record(self, record: Any) -> None:
            written.append(record)

    client(registry=Recording()).withdraw("user-1", jurisdiction="DE")
    assert [(record.purpose, record.status, record.jurisdiction) for record in written] == [
        (purpose, ConsentStatus.DENIED, "DE") for purpose in PURPOSES
    ]


@pytest.mark.parametrize("registry_given", [None, lambda subject_id, purpose: True])
def test_a_withdrawal_that_cannot_be_recorded_raises(vendor: FakeTransport, registry_given: Any) -> None:
    mp = Mixpanel("T", vendor, registry=registry_given)
    with pytest.raises(RegistryError):
        mp.withdraw("user-1")
    with pytest.raises(RegistryError):
        mp.opt_in("user-1")
    assert vendor.messages == []
