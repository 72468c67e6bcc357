"""A vendor that is slow keeps nobody's page waiting (rules 7.3 and 12.2)."""

from __future__ import annotations

import threading

import pytest

from consentpanel import ConsentStatus, PrivacyRequests, SpoolConsumer
from consentpanel._mixpanel import patience
from consentpanel.panel import _actions, _lookups
from consentpanel.testing import FakePrivacyAPI, FakeTransport
from consentpanel.transport import _erasures

DENIED = ConsentStatus.DENIED


class Hanging(FakePrivacyAPI):
    """Answers once it is let go."""

    def __init__(self):
        super().__init__()
        self.go, self.asked, self.came = threading.Event(), [], threading.Semaphore(0)

    def _judged(self, request, body):
        self.asked.append((request.command, request.path))
        self.came.release()
        assert self.go.wait(60)
        return super()._judged(request, body)


@pytest.fixture
def vendor():
    with Hanging() as vendor:
        yield vendor
        vendor.go.set()


@pytest.fixture(autouse=True)
def slots(monkeypatch):
    """No slot is held by another test's thread."""
    monkeypatch.setattr(_actions, "_REQUESTS", patience.Slots())
    monkeypatch.setattr(_lookups, "_ASKING", patience.Slots())


@pytest.fixture
def open_asking(open_shop, vendor):
    def open_(account="user-1", **more):
        shop = open_shop(privacy=PrivacyRequests("TOKEN", "OAUTH", host=vendor.url), account=account, **more)
        shop.registry.grant(account)
        return shop

    return open_


# rule 7.3: a vendor that hangs holds no request, and never makes a withdrawal fail
def test_a_vendor_that_hangs_is_not_waited_for(open_asking, monkeypatch):
    monkeypatch.setattr(_actions, "_WITHIN", 0.1)
    shop = open_asking()
    assert shop.post("erase").header("Location") == "/privacy/?done=erase_failed"
    assert shop.registry.status("user-1", "analytics") is DENIED
    assert shop.post("export").status == 502


def test_a_vendor_that_asks_to_come_later_is_not_waited_for(open_asking, vendor, monkeypatch):
    pauses = []
    monkeypatch.setattr("consentpanel.privacy_requests.time.sleep", pauses.append)
    vendor.go.set()
    shop = open_asking()
    vendor.fail(429, retry_after=60)
    assert shop.post("erase").header("Location") == "/privacy/?done=erase_failed"
    assert pauses == []


# rule 7.3: few threads of the process wait for the vendor at a time, whoever asks for how much
def test_few_wait_for_the_vendor_at_a_time(open_asking, vendor, monkeypatch):
    monkeypatch.setattr(_actions, "_WITHIN", 60.0)
    shops = [open_asking(f"user-{number}") for number in range(patience.AT_ONCE + 2)]
    found = []
    *first, busy, other = shops
    threads = [threading.Thread(target=lambda shop=shop: found.append(shop.post("erase"))) for shop in first]
    for each in threads:
        each.start()
        assert vendor.came.acquire(timeout=60)
    # They are told at once, and the no is recorded.
    assert busy.post("erase").header("Location") == "/privacy/?done=erase_failed"
    assert busy.registry.status(busy.who, "analytics") is DENIED
    assert other.post("export").status == 502
    vendor.go.set()
    for each in threads:
        each.join(60)
    assert [each.header("Location") for each in found] == ["/privacy/?done=erased"] * patience.AT_ONCE
    assert len(vendor.asked) == patience.AT_ONCE
    assert busy.post("erase").header("Location") == "/privacy/?done=erased"


# rule 7.3: with a spool it is kept where the vendor is busy, and tried again
def test_with_a_spool_it_is_kept_where_others_wait(open_asking, vendor, tmp_path, monkeypatch):
    monkeypatch.setattr(_erasures, "_FIRST_PAUSE", 0)
    for _ in range(patience.AT_ONCE):
        _actions._REQUESTS.take()
    spool = SpoolConsumer(tmp_path / "spool.db", consumer=FakeTransport())
    shop = open_asking(consumer=spool)
    assert shop.post("erase").header("Location") == "/privacy/?done=erase_kept"
    assert vendor.asked == []
    vendor.go.set()
    shop.client.flush()
    spool.close()
    assert [each["distinct_ids"] for each in vendor.tasks.values()] == [["user-1"]]


# rule 12.2: one time for all that a page looks up
def test_all_look_ups_of_a_page_have_one_time(open_asking, vendor, monkeypatch):
    monkeypatch.setattr(_lookups, "_WITHIN", 0.1)
    shop = open_asking()
    for number in range(4):
        shop.registry.deny(shop.who, evidence={"deletion_requests": [f"d{number}"]})
    assert [each["status"] for each in shop.state()["requests"]] == ["UNKNOWN"] * 4
    assert len(vendor.asked) == 1


def test_the_same_number_is_looked_up_once_at_a_time(open_asking, vendor, monkeypatch):
    monkeypatch.setattr(_lookups, "_WITHIN", 60.0)
    shop = open_asking()
    shop.registry.deny(shop.who, evidence={"deletion_requests": ["00000001"]})
    vendor.tasks["00000001"] = {"kind": "deletion", "status": "SUCCESS", "distinct_ids": ["user-1"]}
    states = []
    first = threading.Thread(target=lambda: states.append(shop.state()))
    first.start()
    assert vendor.came.acquire(timeout=60)
    (request,) = shop.state()["requests"]
    assert request["status"] == "UNKNOWN"
    vendor.go.set()
    first.join(60)
    assert [each["status"] for each in states[0]["requests"]] == ["SUCCESS"]
    assert len(vendor.asked) == 1
