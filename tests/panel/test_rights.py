"""Erasure and a copy of the data, asked for on the panel, with the vendor's numbers and states (rules 7.3 and 12.1)."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone

import pytest

from consentpanel import ConsentRecord, ConsentStatus, Mixpanel, PrivacyRequests, SpoolConsumer
from consentpanel._visits.rights import requests_in
from consentpanel.errors import RegistryError
from consentpanel.panel import Panel
from consentpanel.registry import RecordingRegistry
from consentpanel.testing import FakePrivacyAPI, FakeTransport
from consentpanel.transport import _erasures

GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED


@pytest.fixture
def vendor():
    with FakePrivacyAPI() as vendor:
        yield vendor


@pytest.fixture
def asking(open_shop, vendor):
    """A shop whose visitors may have the vendor asked."""
    return open_shop(privacy=PrivacyRequests("TOKEN", "OAUTH", host=vendor.url, timeout=5))


# rules 7.3 and 12.1: erasure with its number and state
def test_an_erasure_is_asked_for_and_followed(asking, vendor):
    asking.answer(analytics="yes")
    assert asking.state()["can_erase"] is True
    found = asking.post("erase")
    assert found.header("Location") == "/privacy/?done=erased"
    (number,) = vendor.tasks
    assert vendor.tasks[number]["distinct_ids"] == [asking.who]
    assert asking.registry.status(asking.who, "analytics") is DENIED
    assert asking.records[-1].evidence["deletion_requests"] == [number]
    state = asking.state("done=erased")
    assert state["result"] == "erased"
    assert [(each["kind"], each["number"], each["status"]) for each in state["requests"]] == [
        ("deletion", number, "PENDING")
    ]


# rule 12.1: a copy with its number and state, found again by the person alone
def test_a_copy_is_asked_for_and_its_link_is_shown_to_that_person_alone(asking, vendor, open_shop):
    asking.answer(analytics="yes")
    found = asking.post("export")
    assert found.header("Location") == "/privacy/?done=exported"
    (number,) = vendor.tasks
    vendor.tasks[number] |= {"status": "SUCCESS", "results": "https://storage.example/copy?key=1"}
    (request,) = asking.state("done=exported")["requests"]
    assert (request["kind"], request["number"], request["link"]) == (
        "retrieval",
        number,
        "https://storage.example/copy?key=1",
    )
    assert asking.state("done=exported")["result"] == "exported"
    # It says nothing of consent, and stands in no history of it.
    assert asking.registry.status(asking.who, "analytics") is GRANTED
    assert len(asking.state()["history"]) == 1
    assert len(json.loads(asking.get("receipt").body)["receipts"]) == 1
    mine, asking.cookies = asking.cookies, ""
    assert asking.state()["requests"] == []
    asking.answer(analytics="yes")
    assert asking.state()["requests"] == []
    assert b"storage.example" not in asking.get().body
    asking.cookies = mine
    assert b"storage.example" in asking.get().body


# rule 7.3: a vendor that is down never makes a withdrawal fail
def test_a_vendor_that_is_down_breaks_nothing(asking, vendor, caplog):
    asking.answer(analytics="yes")
    vendor.fail(500)
    found = asking.post("erase")
    assert found.header("Location") == "/privacy/?done=erase_failed"
    assert asking.registry.status(asking.who, "analytics") is DENIED
    assert asking.records[-1].evidence["erasure"] == "asked"
    assert asking.state("done=erase_failed")["result"] == "erase_failed"
    vendor.fail(500)
    found = asking.post("export")
    assert found.status == 502
    assert "The request did not get through." in found.body.decode()
    asking.post("erase")
    vendor.fail(500)
    # Its answer is unknown; and it is not asked again at once.
    assert [each["status"] for each in asking.state()["requests"]] == ["UNKNOWN"]
    assert [each["status"] for each in asking.state()["requests"]] == ["UNKNOWN"]
    assert asking.who not in caplog.text


# rule 7.3: with a spool the request is kept there, and tried again
def test_with_a_spool_an_erasure_is_kept_and_tried_again(open_shop, vendor, tmp_path, monkeypatch):
    monkeypatch.setattr(_erasures, "_FIRST_PAUSE", 0)
    spool = SpoolConsumer(tmp_path / "spool.db", consumer=FakeTransport())
    shop = open_shop(privacy=PrivacyRequests("TOKEN", "OAUTH", host=vendor.url, timeout=5), consumer=spool)
    shop.answer(analytics="yes")
    vendor.fail(500)
    found = shop.post("erase")
    assert found.header("Location") == "/privacy/?done=erase_kept"
    state = shop.state("done=erase_kept")
    assert (state["result"], shop.state("done=erase_failed")["result"]) == ("erase_kept", "erase_kept")
    assert "we will try again" in state["notes"][0]["text"]
    (request,) = state["requests"]
    assert (request["kind"], request["number"], request["status"]) == ("deletion", "", "")
    assert request["text"].endswith(": not taken yet; we will try again.")
    shop.client.flush()
    spool.close()
    (number,) = vendor.tasks
    assert shop.records[-1].evidence["deletion_requests"] == [number]
    assert [each["number"] for each in shop.state()["requests"]] == [number]
    # The record with the number is no other no (rule 12.1).
    assert [each["is_withdrawal"] for each in shop.state()["history"] if each["purpose"] == "analytics"] == [
        True,
        False,
    ]


# rule 12.1: what was asked for stays in sight until it is done, or asked for again
def test_an_erasure_that_was_not_taken_is_listed(asking, vendor):
    asking.answer(analytics="yes")
    vendor.fail(500)
    asking.post("erase")
    assert asking.state("done=erase_kept")["result"] == "erase_failed"
    (request,) = asking.state()["requests"]
    assert request["text"].endswith(": not taken; please ask again or write to privacy@teahouse.example.")
    assert "please ask again" in asking.get().body.decode()
    asking.post("erase")
    assert [each["number"] for each in asking.state()["requests"]] == list(vendor.tasks)
    # Who says yes to all of it again wants no erasure of what comes.
    asking.registry.grant(asking.who, *{each.purpose for each in asking.records})
    assert "" not in [each["number"] for each in asking.state()["requests"]]


# rule 12.1: one no is told once, and since when it was said
def test_an_erasure_is_one_no(asking, vendor):
    asking.answer(analytics="yes")
    asking.post("erase")
    denials = [each for each in asking.records if each.purpose == "analytics" and each.status is DENIED]
    assert len(denials) == 2
    state = asking.state()
    assert [each["status"] for each in state["history"] if each["purpose"] == "analytics"] == ["denied", "granted"]
    assert state["purposes"][0]["since"] == denials[0].recorded_at.isoformat()


def test_nothing_is_asked_for_somebody_of_whom_nothing_was_sent(asking, vendor):
    assert asking.state()["can_erase"] is False
    assert (asking.post("erase").status, asking.post("export").status) == (409, 409)
    assert asking.who is None
    assert vendor.tasks == {}


def test_what_is_not_offered_cannot_be_asked_for(shop, open_shop, vendor):
    shop.answer(analytics="yes")
    assert (shop.post("erase").status, shop.post("export").status) == (404, 404)
    privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)
    closed = open_shop(privacy=privacy, offers_erasure=False, offers_export=False)
    closed.answer(analytics="yes")
    assert (closed.post("erase").status, closed.post("export").status) == (404, 404)
    assert closed.registry.status(closed.who, "analytics") is GRANTED


# The numbers that are looked up are those of the person's own records.
def test_the_vendor_is_asked_seldom_and_not_for_long(asking, vendor, monkeypatch):
    asking.answer(analytics="yes")
    for _ in range(2):
        asking.post("export")
    asked = []
    found = PrivacyRequests.look_up_retrieval
    monkeypatch.setattr(
        PrivacyRequests,
        "look_up_retrieval",
        lambda self, number, *, within=None: asked.append((number, within)) or found(self, number, within=within),
    )
    for _ in range(3):
        asking.get()
    assert asked == [(number, 3.0) for number in vendor.tasks]


# rule 7.3: neither the vendor nor the registry makes a request fail unseen
def test_an_erasure_while_the_registry_fails_is_told(open_shop, vendor, failing_registry):
    shop = open_shop(failing_registry, privacy=PrivacyRequests("TOKEN", "OAUTH", host=vendor.url), account="user-1")
    shop.registry.is_down = True
    assert (shop.post("erase").status, shop.post("export").status) == (503, 503)
    assert vendor.tasks == {}


# rule 7.3: the last erasure is told, whatever became of the one before
def test_what_is_told_is_of_the_last_erasure(asking, vendor):
    asking.answer(analytics="yes")
    asking.post("erase")
    asking.answer(analytics="yes")
    vendor.fail(500)
    assert asking.post("erase").header("Location") == "/privacy/?done=erase_failed"
    assert asking.state("done=erase_failed")["result"] == "erase_failed"
    assert asking.state("done=erased")["result"] == "erase_failed"
    asking.post("erase")
    assert asking.state("done=erase_failed")["result"] == "erased"


class Forgetful(RecordingRegistry):
    """Fails at the writes of these numbers."""

    def __init__(self, *fails_at):
        super().__init__()
        self.rows, self.fails_at, self.writes = [], fails_at, 0

    def _append(self, records):
        self.writes += 1
        if self.writes in self.fails_at:
            raise RegistryError("the database is down")
        self.rows.extend(records)

    def _read(self, subject_id):
        return [each for each in self.rows if each.subject_id == subject_id]


# rule 7.3: a number that the vendor has given is recorded, or told and recorded later
def test_a_number_is_recorded_at_the_second_try(open_shop, vendor):
    privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)
    shop = open_shop(Forgetful(3), privacy=privacy, account="user-1")
    shop.registry.grant("user-1")
    assert shop.post("erase").header("Location") == "/privacy/?done=erased"
    assert shop.records[-1].evidence["deletion_requests"] == [*vendor.tasks]


@pytest.mark.parametrize(
    ("path", "kind", "fails_at"), [("erase", "deletion", (3, 4, 5)), ("export", "retrieval", (2, 3, 4))]
)
def test_a_number_that_cannot_be_recorded_is_told_and_recorded_later(open_shop, vendor, caplog, path, kind, fails_at):
    privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)
    shop = open_shop(Forgetful(*fails_at), privacy=privacy, account="ada@shop.example")
    shop.registry.grant("ada@shop.example")
    found = shop.post(path)
    (number,) = vendor.tasks
    # By this process, which knows it, and not by the next page.
    assert found.status == 200
    assert f"number {number}" in found.body.decode()
    assert number in caplog.text
    assert "ada@" not in caplog.text
    assert requests_in(shop.records) == []
    assert [(each["kind"], each["number"]) for each in shop.state()["requests"]] == [(kind, number)]
    assert [(each.kind, each.number) for each in requests_in(shop.records)] == [(kind, number)]
    assert len(shop.state()["requests"]) == len(vendor.tasks) == 1


def test_a_program_is_told_the_requests_that_were_taken(vendor):
    privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)
    client = Mixpanel("TOKEN", FakeTransport(), registry=Forgetful(2, 3), privacy=privacy)
    with pytest.raises(RegistryError, match="has taken the request") as failed:
        client.withdraw("user-1", erase=True)
    assert [each.task_id for each in failed.value.created] == [*vendor.tasks]


# rule 7.3: who asks twice asks for the same
@pytest.mark.parametrize(("path", "result"), [("erase", "erased"), ("export", "exported")])
def test_who_asks_twice_is_told_the_first_number(asking, vendor, path, result):
    asking.answer(analytics="yes")
    for _ in range(3):
        assert asking.post(path).header("Location") == f"/privacy/?done={result}"
        assert asking.state(f"done={result}")["result"] == result
    (number,) = vendor.tasks
    assert [each["number"] for each in asking.state()["requests"]] == [number]


@pytest.mark.parametrize("path", ["erase", "export"])
def test_who_asks_twice_at_once_asks_once(asking, vendor, path):
    asking.answer(analytics="yes")
    threads = [threading.Thread(target=asking.post, args=(path,)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(vendor.tasks) == 1


# rule 7.3: later it is the same for as long as the vendor is at it
@pytest.mark.parametrize(("path", "key"), [("erase", "deletion_requests"), ("export", "retrieval_requests")])
def test_what_is_under_way_is_not_asked_for_again(asking, vendor, path, key):
    asking.account, kind = "user-1", "deletion" if path == "erase" else "retrieval"
    vendor.tasks["before"] = {"kind": kind, "status": "PENDING", "distinct_ids": ["user-1"]}
    before = datetime.now(timezone.utc) - timedelta(days=2)
    purpose = "analytics" if path == "erase" else "data-copy"
    asking.registry.record(
        ConsentRecord("user-1", purpose, DENIED, recorded_at=before, source="panel", evidence={key: ["before"]})
    )
    asking.post(path)
    assert [*vendor.tasks] == ["before"]
    assert asking.state("done=erased" if path == "erase" else "done=exported")["result"] is not None
    vendor.finish("before")
    asking.panel = Panel(asking.notice)
    asking.post(path)
    assert len(vendor.tasks) == 2


def test_what_was_sent_since_is_erased_by_another_request(asking, vendor):
    asking.answer(analytics="yes")
    asking.post("erase")
    asking.answer(analytics="yes")
    asking.post("erase")
    assert len(vendor.tasks) == 2


def test_no_more_than_one_waits_for_the_first(asking, vendor):
    asking.answer(analytics="yes")
    keys = [(kind, asking.who) for kind in ("deletion", "retrieval")]
    with asking.panel._turns.of(keys[0]), asking.panel._turns.of(keys[1]):
        for key in keys:
            asking.panel._turns._turns[key].there += 1
        assert asking.post("erase").header("Location") == "/privacy/?done=erased"
        assert json.loads(asking.post_json("api/erase").body)["result"] == "withdrawn"
        assert asking.post("export").status == 502
    assert asking.registry.status(asking.who, "analytics") is DENIED
    assert vendor.tasks == {}


# rule 7.3: what was sent about the visitor before the log-in is the person's too
@pytest.mark.parametrize("had_answered", [False, True])
def test_what_was_sent_before_the_log_in_is_erased_and_copied_too(asking, vendor, had_answered):
    if had_answered:
        asking.registry.deny("user-1", "analytics", "profiles", "feature_flags")
    asking.answer(analytics="yes")
    visitor, asking.account = asking.who, "user-1"
    visit = asking.visit()
    visit.log_in()
    history = len(asking.state()["history"])
    assert history == (3 if had_answered else 1)
    asking.post("export")
    asking.post("erase")
    assert [each["distinct_ids"] for each in vendor.tasks.values()] == [["user-1", visitor]] * 2


# A copy of the cookie gives nobody what was sent about somebody else.
@pytest.mark.parametrize("answers", [{"analytics": "yes"}, {"analytics": "no"}])
def test_whoever_logs_in_later_with_that_cookie_gets_nothing_of_it(asking, vendor, answers):
    asking.answer(analytics="yes")
    asking.answer(**answers)
    for asking.account in ("ada", "grace"):
        asking.visit().log_in()
        asking.post("export")
    first, second = (each["distinct_ids"] for each in vendor.tasks.values())
    assert first[0] == "ada"
    assert len(first) == 2
    assert second == ["grace"]


def test_an_erasure_that_cannot_know_them_is_told(asking, vendor, monkeypatch):
    asking.account = "user-1"
    asking.registry.grant("user-1")

    def broken(*_):
        raise RegistryError("the database is down")

    visit = asking.visit()
    monkeypatch.setattr("consentpanel.client._erasure.records_known", broken)
    with pytest.raises(RegistryError, match="down"):
        visit.withdraw(erase=True)
    assert vendor.tasks == {}
    assert asking.registry.status("user-1", "analytics") is DENIED
