"""`withdraw`, `opt_out` and `opt_in` (contract rule 7.1)."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from consentpanel import (
    BackgroundConsumer,
    BufferedConsumer,
    ConsentRecord,
    ConsentStatus,
    FieldPolicy,
    InvalidRecordError,
    Mixpanel,
    Reason,
    RegistryError,
    Withdrawal,
    keep,
    pseudonymous,
)
from consentpanel.registry import CachedRegistry, CallableRegistry, MemoryRegistry, SQLiteRegistry
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


# rule 2.13: what a person takes back is everything


class FiveMethods:
    """What anybody writes: nothing that the protocol does not ask for. It can be told to fail."""

    def __init__(self) -> None:
        self.inner = MemoryRegistry()
        self.status, self.statuses, self.forget = self.inner.status, self.inner.statuses, self.inner.forget
        self.left = 10**6
        self.fails_history = False

    def record(self, record: ConsentRecord) -> None:
        if self.left == 0:
            raise OSError("ada@shop.example")
        self.left -= 1
        self.inner.record(record)

    def history(self, subject_id: str) -> list[ConsentRecord]:
        if self.fails_history:
            raise OSError("ada@shop.example")
        return self.inner.history(subject_id)


def _functions() -> Any:
    inner = MemoryRegistry()
    return CallableRegistry(inner.status, record=inner.record, history=inner.history, record_many=inner.record_many)


REGISTRIES: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: MemoryRegistry(),
    "SQLite": SQLiteRegistry,
    "five methods": lambda path: FiveMethods(),
    "functions": lambda path: _functions(),
    "cached memory": lambda path: CachedRegistry(MemoryRegistry(), ttl=60),
    "cached SQLite": lambda path: CachedRegistry(SQLiteRegistry(path), ttl=60),
    "cached five methods": lambda path: CachedRegistry(FiveMethods(), ttl=60),
    "cached functions": lambda path: CachedRegistry(_functions(), ttl=60),
}


@pytest.fixture(params=REGISTRIES)
def any_registry(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return REGISTRIES[request.param](tmp_path / "consent.db")


@pytest.mark.parametrize("take_back", ["withdraw", "opt_out"])
def test_everything_is_taken_back(any_registry: Any, vendor: FakeTransport, take_back: str) -> None:
    # rule 2.13
    policy = FieldPolicy(
        events={"plan": keep(), "segment": keep(purpose="segments")}, people={"score": keep(purpose="scores")}
    )
    policy = policy.for_event("Paid", {"sum": keep(purpose="sums")})
    mapped = {"Ad clicked": "targeting", "people_set": ["crm", "profiles"]}
    mp = Mixpanel("T", vendor, registry=any_registry, policy=policy, purposes=mapped)
    known = (*PURPOSES, "targeting", "crm", "segments", "scores", "sums", "newsletter")
    for purpose in (*known, "denied before"):
        status = ConsentStatus.DENIED if purpose == "denied before" else ConsentStatus.GRANTED
        any_registry.record(ConsentRecord("user-1", purpose, status))
    assert mp.track("user-1", "Ad clicked")
    done = getattr(mp, take_back)("user-1")
    assert set(done.purposes) == {*known, "denied before"}
    assert {any_registry.status("user-1", purpose) for purpose in known} == {ConsentStatus.DENIED}
    assert mp.track("user-1", "Ad clicked").reason is Reason.WITHDRAWN
    assert mp.track("user-1", "A").reason is Reason.WITHDRAWN


def test_opt_in_grants_the_built_in_purposes_unless_others_are_named(any_registry: Any, vendor: FakeTransport) -> None:
    mp = Mixpanel("T", vendor, registry=any_registry, policy=FieldPolicy(), purposes={"Ad clicked": "targeting"})
    any_registry.record(ConsentRecord("user-1", "newsletter", ConsentStatus.DENIED))
    mp.opt_in("user-1")
    assert {any_registry.status("user-1", purpose) for purpose in PURPOSES} == {ConsentStatus.GRANTED}
    assert any_registry.status("user-1", "newsletter") is ConsentStatus.DENIED
    assert any_registry.status("user-1", "targeting") is ConsentStatus.UNKNOWN


def test_a_withdrawal_takes_effect_over_a_grant_of_a_fast_clock(any_registry: Any, vendor: FakeTransport) -> None:
    # rule 2.4
    ahead = datetime.now(timezone.utc) + timedelta(seconds=59)
    any_registry.record(ConsentRecord("user-1", "analytics", ConsentStatus.GRANTED, ahead))
    mp = Mixpanel("T", vendor, registry=any_registry, policy=FieldPolicy())
    assert mp.track("user-1", "A")
    mp.withdraw("user-1", ["analytics"])
    assert mp.track("user-1", "A").reason is Reason.WITHDRAWN
    assert [each.recorded_at >= ahead for each in any_registry.history("user-1")] == [True, True]


def test_where_a_registry_keeps_no_history_what_is_known_is_withdrawn(vendor: FakeTransport) -> None:
    written: list[ConsentRecord] = []
    for registry in (
        CallableRegistry(lambda subject_id, purpose: None, record=written.append),
        CachedRegistry(CallableRegistry(lambda subject_id, purpose: None, record=written.append), ttl=9),
    ):
        Mixpanel("T", vendor, registry=registry, purposes={"Ad clicked": "targeting"}).withdraw("user-1")
        assert [record.purpose for record in written] == [*PURPOSES, "targeting"]
        written.clear()


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("take_back", ["withdraw", "opt_out", "opt_in"])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_registry_that_fails_says_how_much_was_recorded_and_nothing_else(
    vendor: FakeTransport, cached: bool, take_back: str, left: int
) -> None:
    # rules 2.13 and 7.1
    inner = FiveMethods()
    registry: Any = CachedRegistry(inner, ttl=9) if cached else inner
    mp = Mixpanel("T", vendor, registry=registry, policy=FieldPolicy())
    inner.left = left
    with pytest.raises(RegistryError) as caught:
        getattr(mp, take_back)("user-1")
    text = "FiveMethods.record failed: OSError"
    assert str(caught.value) == (f"only {left} of 3 records were appended: {text}" if left else text)
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert "ada@" not in "".join(traceback.format_exception(caught.value))
    assert len(inner.history("user-1")) == left
    assert vendor.messages == []


@pytest.mark.parametrize("cached", [False, True])
def test_a_history_that_fails_is_no_withdrawal(vendor: FakeTransport, cached: bool) -> None:
    # rule 2.13: nobody can tell what else was granted
    inner = FiveMethods()
    inner.fails_history = True
    registry: Any = CachedRegistry(inner, ttl=9) if cached else inner
    mp = Mixpanel("T", vendor, registry=registry, policy=FieldPolicy())
    with pytest.raises(RegistryError, match=r"FiveMethods\.history failed: OSError") as caught:
        mp.withdraw("user-1")
    assert caught.value.__context__ is None


def test_a_withdrawal_at_a_given_time_is_recorded_though_the_history_fails(vendor: FakeTransport) -> None:
    # rule 7.1
    inner = FiveMethods()
    mp = Mixpanel("T", vendor, registry=inner, policy=FieldPolicy())
    mp.opt_in("user-1", "analytics")
    inner.fails_history = True
    mp.withdraw("user-1", "analytics", recorded_at=datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert mp.track("user-1", "Paid").reason is Reason.WITHDRAWN


@pytest.mark.parametrize("answer", [None, 5, ["ada@shop.example"], {"a": 1}])
def test_a_history_of_something_else_is_no_withdrawal(vendor: FakeTransport, answer: Any) -> None:
    # rule 2.6
    registry = FiveMethods()
    registry.history = lambda subject_id: answer  # type: ignore[method-assign]
    with pytest.raises(RegistryError, match=r"FiveMethods\.history must return a list of ConsentRecord") as caught:
        Mixpanel("T", vendor, registry=registry, policy=FieldPolicy()).withdraw("user-1")
    assert caught.value.__context__ is None


class TellsTooMuch(MemoryRegistry):
    def deny(self, subject_id: Any, *purposes: str, **fields: Any) -> None:
        raise RegistryError(f"cannot deny {subject_id}") from OSError(subject_id)


def test_an_error_of_somebody_else_s_registry_is_told_by_its_type_also_when_it_is_one_of_ours(
    vendor: FakeTransport,
) -> None:
    # rule 7.1
    with pytest.raises(RegistryError, match=r"^TellsTooMuch\.deny failed: RegistryError$") as caught:
        Mixpanel("T", vendor, registry=TellsTooMuch()).withdraw("user-1")
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)


def test_an_error_of_our_registry_tells_what_is_wrong(vendor: FakeTransport, tmp_path: Path) -> None:
    with SQLiteRegistry(tmp_path / "consent.db") as registry:
        mp = Mixpanel("T", vendor, registry=registry)
    with pytest.raises(RegistryError, match="closed"):
        mp.withdraw("user-1")


@pytest.mark.parametrize("purposes", [None, ["analytics"], "analytics"])
def test_what_waits_is_discarded_also_when_the_registry_fails(
    buffered: Mixpanel, registry: MemoryRegistry, vendor: FakeTransport, monkeypatch: pytest.MonkeyPatch, purposes: Any
) -> None:
    # rule 7.1: a withdrawal fails closed
    def fail(*_: Any, **__: Any) -> None:
        raise OSError

    buffered.track("user-1", "A")
    buffered.track("user-2", "A")
    monkeypatch.setattr(registry, "deny", fail)
    with pytest.raises(RegistryError, match="failed: OSError"):
        buffered.withdraw("user-1", purposes)
    buffered.flush()
    assert [message.distinct_id for message in vendor.messages] == ["user-2"]


@pytest.mark.parametrize("purposes", [["analytics"], "analytics", ("analytics", "profiles"), {"profiles": 1}])
def test_what_waits_on_the_named_purposes_is_discarded_at_once(
    buffered: Mixpanel, vendor: FakeTransport, purposes: Any
) -> None:
    # rule 7.1: purges buffers whatever purposes are named
    buffered.track("user-1", "A")
    buffered.people_set("user-1", {"plan": "pro"})
    buffered.people_unset("user-1", ["plan"])
    done = buffered.withdraw("user-1", purposes)
    assert done.discarded == len(done.purposes)
    assert buffered.stats()["dropped"]["withdrawn"] == len(done.purposes)
    buffered.flush()
    assert len(vendor.messages) == 3 - len(done.purposes)


def test_a_property_that_is_bound_to_a_purpose_waits_on_it(
    client: Callable[..., Mixpanel], registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    # rules 3.14 and 7.1
    policy = FieldPolicy(events={"plan": keep(), "segment": keep(purpose="targeting")})
    registry.grant("user-1", "analytics", "targeting")
    mp = client(policy=policy)
    mp._consumer = BufferedConsumer(consumer=vendor)
    mp.track("user-1", "A", {"plan": "pro", "segment": "x"})
    mp.track("user-1", "B", {"plan": "pro"})
    assert mp.withdraw("user-1", ["targeting"]).discarded == 1
    mp.flush()
    assert [message.event for message in vendor.events] == ["B"]


@pytest.mark.parametrize("purposes", [None, ["profiles"]])
def test_a_buffer_of_somebody_else_s_discards_all_that_waits_for_the_person(
    client: Callable[..., Mixpanel], purposes: Any
) -> None:
    # rule 7.1: it knows no purposes, so nothing less is sure

    class Theirs:
        purged: Any = None

        def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None: ...

        def purge(self, subject_id: Any) -> int:
            self.purged = subject_id
            return 7

    mp = client()
    theirs = mp._consumer = Theirs()
    assert mp.withdraw("user-1", purposes).discarded == 7
    assert theirs.purged == "user-1"


@pytest.mark.parametrize("purposes", [[], (), {}])
def test_no_purposes_are_an_error_and_not_everything(mp: Mixpanel, registry: MemoryRegistry, purposes: Any) -> None:
    with pytest.raises(InvalidRecordError, match="purposes must name at least one"):
        mp.withdraw("user-1", purposes)
    assert registry.history("user-1") == []


def test_a_field_that_no_record_has_is_a_type_error(client: Callable[..., Mixpanel]) -> None:
    for registry in (MemoryRegistry(), FiveMethods(), CachedRegistry(FiveMethods(), ttl=9)):
        with pytest.raises(TypeError, match=r"deny\(\) got an unexpected keyword argument 'sourc'"):
            client(registry=registry).withdraw("user-1", sourc="form")


MIXED = {"$distinct_id": "user-1", "$set": {"plan": "pro"}, "$unset": ["old"]}


@pytest.mark.parametrize("how", ["purged", "denied before the flush", "on its way"])
@pytest.mark.parametrize("keeps_all", [False, True])
def test_what_takes_data_away_outlives_a_withdrawal(
    client: Callable[..., Mixpanel],
    registry: MemoryRegistry,
    vendor: FakeTransport,
    how: str,
    keeps_all: bool,
) -> None:
    # rules 2.9 and 2.11: a mixed update from someone without consent keeps its removing part
    registry.grant("user-1")
    told: list[Any] = []
    policy = {"policy": FieldPolicy.keep_all()} if keeps_all else {}
    mp = client(observers=[told.append], **policy)
    consumer = mp._consumer = BufferedConsumer(consumer=vendor)
    assert mp.people_update(MIXED).outcome == "sent"
    if how == "purged":
        assert mp.withdraw("user-1").discarded == 1
    elif how == "denied before the flush":
        registry.deny("user-1")
    else:
        vendor.fail(times=1)
        sending = vendor.send

        def withdrawn_meanwhile(*arguments: Any) -> None:
            consumer.purge("user-1")
            sending(*arguments)

        vendor.send = withdrawn_meanwhile  # type: ignore[method-assign]
        with pytest.raises(Exception, match="is kept"):
            mp.flush()
        vendor.send = sending  # type: ignore[method-assign]
    mp.flush()
    mp.flush()
    assert [message.properties for message in vendor.people] == [{"$unset": ["old"]}]
    assert "pro" not in vendor.people[0].raw
    assert (told[-1].outcome, told[-1].reason, dict(told[-1].dropped)) == ("redacted", "removal", {"$set": "withdrawn"})
    assert mp.stats() == {"redacted": {"removal": 1}}


def test_a_mixed_update_that_may_go_goes_whole(
    client: Callable[..., Mixpanel], registry: MemoryRegistry, vendor: FakeTransport
) -> None:
    # rule 2.9
    registry.grant("user-1")
    mp = client()
    mp._consumer = BufferedConsumer(consumer=vendor)
    mp.people_update(MIXED)
    mp.flush()
    assert vendor.people[0].properties == {"$set": {"plan": "pro"}, "$unset": ["old"]}
    assert mp.stats() == {"sent": {"consent_granted": 1}}


class Changing:
    """Somebody's consumer that changes a text before it hands it on."""

    def __init__(self, behind: Any, change: Callable[[str], str]) -> None:
        self.behind, self.change = behind, change

    def send(self, endpoint: str, json_message: str, api_key: Any = None) -> None:
        self.behind.send(endpoint, self.change(json_message), api_key)

    def flush(self) -> None:
        self.behind.flush()


@pytest.mark.parametrize("how", ["behind", "in a list", "a subclass"])
@pytest.mark.parametrize("changes", [False, True])
def test_a_withdrawal_reaches_the_buffer_behind_a_consumer_of_ones_own(
    client: Callable[..., Mixpanel],
    registry: MemoryRegistry,
    vendor: FakeTransport,
    changes: bool,
    how: str,
) -> None:
    # rules 2.11 and 7.1
    registry.grant("user-1")
    mp = client(identity=pseudonymous(b"0" * 32))

    def change(text: str) -> str:
        return text + " " if changes else text

    if how == "behind":
        mp._consumer = Changing(BufferedConsumer(consumer=vendor), change)
    elif how == "in a list":
        mp._consumer = Spreading([BufferedConsumer(consumer=vendor)], change)
    else:
        mp._consumer = Overriding(vendor, change)
    mp.track("user-1", "A")
    mp.track("user-1", "B")
    if how != "in a list":
        assert mp.withdraw("user-1").discarded == 2
        mp.track("user-1", "C")
    registry.deny("user-1")
    mp.flush()
    assert not vendor.messages


class Spreading(Changing):
    def send(self, endpoint: str, json_message: str, api_key: Any = None) -> None:
        for each in self.behind:
            each.send(endpoint, self.change(json_message), api_key)

    def flush(self) -> None:
        for each in self.behind:
            each.flush()


class Overriding(BufferedConsumer):
    """A subclass that changes a text before it is kept, as existing code does."""

    def __init__(self, behind: Any, change: Callable[[str], str]) -> None:
        super().__init__(consumer=behind)
        self.change = change

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        super().send(endpoint, self.change(json_message), api_key, api_secret)
