from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import requests

from consentpanel import FieldPolicy, keep
from consentpanel._cli import demo as demo_module
from consentpanel._cli import main
from consentpanel._cli._demo import shop as _shop
from consentpanel.testing._ingestion_api import IngestionServer
from consentpanel.testing._loopback import loopback_without_proxy


@pytest.fixture(scope="module")
def visit() -> dict[str, Any]:
    """The demo as a program on its own, behind a proxy that does not answer."""
    environment = {
        **os.environ,
        **dict.fromkeys(["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"], "http://127.0.0.1:9"),
    }
    for name in ("no_proxy", "NO_PROXY"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "consentpanel", "demo", "--json"],
        env=environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    # mixpanel 5.0 says at every import that one of its arguments is deprecated.
    assert [line for line in done.stderr.splitlines() if b"removed from mixpanel-python" not in line] == []
    assert done.returncode == 0
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def row(visit: dict[str, Any], call: str, consent: str) -> dict[str, Any]:
    (found,) = (row for row in visit["calls"] if (row["call"], row["consent"]) == (call, consent))
    return found


def test_the_demo_finds_everything_right(visit) -> None:
    assert (visit["ok"], visit["problems"]) == (True, [])


@pytest.mark.parametrize(
    ("consent", "reason"),
    [
        ("denied", "withdrawn"),
        ("never asked", "no_consent"),
        ("expired", "expired"),
        ("old policy", "outdated_policy"),
    ],
)
def test_without_consent_no_event_arrives(visit, consent: str, reason: str) -> None:
    # rules 2.4 and 2.5
    order = row(visit, "track 'Order placed'", consent)
    assert (order["received"], order["reason"], order["arrived"]) == ("dropped", reason, {})


def test_with_consent_only_named_properties_arrive(visit) -> None:
    # rule 3.1
    order = row(visit, "track 'Order placed'", "granted")
    assert order["received"] == "redacted"
    assert order["arrived"] == {"total": 42.5, "plan": "pro", "items": [{"sku": "T-1"}, {"sku": "C-2"}]}
    assert set(order["left_out"]) == {"email", "items[].engraving"}


def test_a_removal_for_somebody_who_said_no_arrives(visit) -> None:
    # rule 2.9
    removal = row(visit, "people_unset", "denied")
    assert (removal["received"], removal["arrived"]) == ("sent", {"$unset": ["$name", "plan"]})


def test_what_waited_for_somebody_who_withdrew_does_not_arrive(visit) -> None:
    # rule 2.11
    assert row(visit, "track 'Wish noted'", "withdrawn later")["received"] == "dropped"
    assert row(visit, "track 'Wish noted'", "granted")["received"] == "sent"


def test_a_past_event_needs_consent_at_its_own_time(visit) -> None:
    # rule 2.8
    assert row(visit, "import_data 'Old order'", "granted")["received"] == "sent"
    assert row(visit, "import_data 'Older order'", "granted")["received"] == "dropped"


@pytest.mark.parametrize("call", ["alias to user-1002", "merge with user-1002"])
def test_a_call_that_names_somebody_who_said_no_does_not_arrive(visit, call: str) -> None:
    # rule 2.7
    assert row(visit, call, "granted")["received"] == "dropped"


def test_the_table_fits_100_columns(capsys) -> None:
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert _shop.SECRET_MARK not in out
    for word in ("sent", "redacted", "dropped", "no_consent", "left out: email"):
        assert word in out


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (FieldPolicy.keep_all(), "may not be disclosed is in the bytes received"),
        (FieldPolicy(), "other properties arrived than may"),
        (FieldPolicy(events={"page": keep(), "email": keep()}), "may not be disclosed is in the bytes received"),
    ],
    ids=["keeps all", "keeps nothing", "keeps the address"],
)
def test_the_demo_fails_when_something_else_arrives(policy: FieldPolicy, problem: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(demo_module, "POLICY", policy)
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert problem in captured.err
    assert "Checked" not in captured.out


def test_the_demo_fails_when_the_wrong_person_is_let_through(monkeypatch, capsys) -> None:
    def ask_nobody(shop: _shop.Shop) -> None:
        shop.registry.grant(_shop.DAN.subject_id, policy_version=_shop.POLICY_VERSION)

    monkeypatch.setattr(_shop.Shop, "ask_everybody", ask_nobody)
    assert main(["demo"]) == 1
    assert "an id of somebody who said no is in the bytes received" in capsys.readouterr().err


def test_the_demo_fails_when_a_withdrawal_is_not_obeyed(monkeypatch, capsys) -> None:
    monkeypatch.setattr(_shop.Shop, "eva_withdraws", lambda shop: shop.buffer.flush())
    assert main(["demo"]) == 1
    assert "1 messages arrived instead of 0" in capsys.readouterr().err


def test_the_environment_is_as_it_was_after_the_demo(monkeypatch, capsys) -> None:
    monkeypatch.setenv("no_proxy", "intranet.example")
    monkeypatch.delenv("NO_PROXY", raising=False)
    main(["demo"])
    capsys.readouterr()
    assert os.environ["no_proxy"] == "intranet.example"
    assert "NO_PROXY" not in os.environ


FORM = {"data": '{"event": "x", "properties": {"token": "T"}}', "verbose": 1, "ip": 0}


def answer(path: str, form: dict[str, Any] | bytes) -> dict[str, Any]:
    with loopback_without_proxy(), IngestionServer() as server, requests.Session() as session:
        root = server.urls["events_url"].removesuffix("/track")
        answered: dict[str, Any] = session.post(root + path, data=form, timeout=10).json()
        assert len(server.messages) == answered["status"]
    return answered


def test_the_server_accepts_what_the_vendor_accepts() -> None:
    assert answer("/track", FORM) == {"status": 1}
    assert answer("/import", FORM) == {"status": 1}
    assert answer("/engage", {**FORM, "data": '[{"$token": "T"}]'}) == {"status": 1}
    assert answer("/groups", {**FORM, "data": '{"$token": "T"}'}) == {"status": 1}


@pytest.mark.parametrize(
    ("path", "form", "error"),
    [
        ("/elsewhere", FORM, "no such endpoint"),
        ("/track", b"", "data is missing"),
        ("/track", b"\xff", "data is missing"),
        ("/track", {**FORM, "data": "{"}, "not JSON"),
        ("/track", {**FORM, "data": "[3]"}, "not an object"),
        ("/track", {**FORM, "data": "{}"}, "token is missing"),
        ("/track", {**FORM, "data": '{"properties": {"token": "T"}}'}, "event is missing"),
        ("/engage", FORM, "$token is missing"),
        ("/track", {**FORM, "ip": 1}, "ip=0"),
    ],
)
def test_the_server_refuses_what_the_vendor_refuses(path: str, form: Any, error: str) -> None:
    answered = answer(path, form)
    assert answered["status"] == 0
    assert error in answered["error"]
