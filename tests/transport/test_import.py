"""Events by the vendor's ``/import``, which checks each record and names what it refuses (contract rules 13.1 and 8.2)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mixpanel
import pytest

import consentpanel
from consentpanel import (
    BackgroundConsumer,
    BufferedConsumer,
    ConfigurationError,
    Decision,
    FieldPolicy,
    Mixpanel,
    SpoolConsumer,
)
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport
from consentpanel.transport import _message_store

pytestmark = pytest.mark.usefixtures("_no_pause")
DAY = 86_400
needs_accounts = pytest.mark.skipif(
    not hasattr(mixpanel, "ServiceAccountCredentials"), reason="mixpanel 5.2 brought service accounts"
)


@pytest.fixture(params=["buffered", "background", "spool"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    made = []
    kinds: dict[str, Callable[..., Any]] = {
        "buffered": BufferedConsumer,
        "background": BackgroundConsumer,
        "spool": lambda **given: SpoolConsumer(tmp_path / "spool.db", **given),
    }

    def build(**given: Any) -> Any:
        made.append(kinds[request.param](**given))
        return made[-1]

    yield build
    for each in made:
        each.close()


def client(consumer: Any, *, told: list[Decision] | None = None, token: str = "TOKEN") -> Mixpanel:
    registry = MemoryRegistry()
    registry.grant("user-1")
    registry.grant(7)
    observers = [] if told is None else [told.append]
    return Mixpanel(token, consumer, registry=registry, policy=FieldPolicy.keep_all(), observers=observers)


def authorization(request: tuple[str, int, dict[str, str]]) -> str:
    kind, _, text = request[2]["Authorization"].partition(" ")
    assert kind == "Basic"
    return base64.b64decode(text).decode()


def test_events_go_to_import_as_compressed_json_with_the_project_s_token(make: Any, faulty: Any) -> None:
    mp = client(make(endpoint="import", **faulty.urls))
    mp.track("user-1", "Signed up", {"plan": "pro"})
    mp.people_set("user-1", {"plan": "pro"})
    mp.flush()
    by_endpoint = {request[0]: request for request in faulty.requests}
    assert set(by_endpoint) == {"imports", "people"}
    assert by_endpoint["imports"][2]["Content-Encoding"] == "gzip"
    assert by_endpoint["imports"][2]["Content-Type"] == "application/json"
    assert authorization(by_endpoint["imports"]) == "TOKEN:"
    assert mp.stats() == {"sent": {"consent_granted": 2}}


def test_what_is_imported_has_whole_times_and_ids_of_text(make: Any, faulty: Any) -> None:
    mp = client(make(endpoint="import", **faulty.urls))
    mp._now = lambda: 1_700_000_000.25  # type: ignore[method-assign]
    mp.track(7, "Signed up", {"plan": "pro"})
    mp.flush()
    (record,) = faulty.records
    assert (record["properties"]["distinct_id"], record["properties"]["time"]) == ("7", 1_700_000_000_250)
    assert record["properties"]["plan"] == "pro"


@needs_accounts
def test_a_service_account_signs_events_that_are_imported(make: Any, faulty: Any) -> None:
    credentials = mixpanel.ServiceAccountCredentials("account", "secret", "project")
    mp = client(make(endpoint="import", credentials=credentials, **faulty.urls))
    mp.track("user-1", "Signed up")
    mp.flush()
    assert authorization(faulty.requests[0]) == "account:secret"


def test_a_project_secret_signs_events_and_imports(make: Any, faulty: Any) -> None:
    consumer = make(endpoint="import", project_secret="hush", **faulty.urls)
    mp = client(consumer)
    mp.track("user-1", "Signed up")
    mp.flush()
    consumer.send("events", json.dumps({"event": "E", "properties": {"token": "OTHER", "$insert_id": "2"}}))
    consumer.flush()
    assert [authorization(request) for request in faulty.requests] == ["hush:", "hush:"]


def test_what_the_vendor_refuses_by_name_is_a_decision_of_that_message_and_the_others_arrive(
    make: Any, faulty: Any
) -> None:
    told: list[Decision] = []
    mp = client(make(endpoint="import", **faulty.urls), told=told)
    faulty.refuses = lambda record: record["event"] == "Bad"
    for name in ("Good", "Bad", "Better"):
        mp.track("user-1", name)
    try:
        mp.flush()
    except mixpanel.MixpanelException as error:
        assert "HTTP 400" in str(error)  # noqa: PT017 - one of the three raises, as the vendor's does
    assert [record["event"] for record in faulty.records] == ["Good", "Better"]
    assert len(faulty.requests) == 1
    assert [(each.event, each.endpoint, str(each.reason)) for each in told if not each] == [
        ("Bad", "events", "rejected_by_vendor")
    ]
    assert mp.stats() == {"sent": {"consent_granted": 2}, "dropped": {"rejected_by_vendor": 1}}


def test_a_token_that_is_refused_is_told_once_as_an_error_and_what_waits_is_kept(
    faulty: Any, caplog: pytest.LogCaptureFixture
) -> None:
    consentpanel.reset()
    consumer = BackgroundConsumer(endpoint="import", linger=0.01, **faulty.urls)
    mp = client(consumer)
    faulty.faults = [401, 401]
    mp.track("user-1", "Signed up")
    faulty.wait_for(lambda: faulty.records)
    consumer.close()
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "HTTP 401" in errors[0]
    assert mp.stats() == {"sent": {"consent_granted": 1}}


def test_events_of_two_projects_go_each_with_its_own_token(tmp_path: Path, faulty: Any) -> None:
    consumer = BackgroundConsumer(endpoint="import", linger=0.2, **faulty.urls)
    one, other = client(consumer), client(consumer, token="OTHER")
    for number in range(4):
        (one, other)[number % 2].track("user-1", f"E{number}")
    consumer.flush()
    assert sorted((authorization(request), request[1]) for request in faulty.requests) == [("OTHER:", 2), ("TOKEN:", 2)]
    consumer.close()


def test_a_consumer_that_is_given_gets_events_as_imports(make: Any) -> None:
    vendor = FakeTransport()
    mp = client(make(endpoint="import", consumer=vendor))
    mp.track("user-1", "Signed up")
    mp.flush()
    assert [message.event for message in vendor.imports] == ["Signed up"]
    assert vendor.events == []


def test_track_stays_the_default(make: Any, faulty: Any) -> None:
    mp = client(make(**faulty.urls))
    mp.track("user-1", "Signed up")
    mp.flush()
    assert [request[0] for request in faulty.requests] == ["events"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"endpoint": "imports"},
        {"endpoint": None},
        {"endpoint": []},
        {"project_secret": ""},
        {"project_secret": b"hush"},
        {"project_secret": "hush", "consumer": FakeTransport()},
    ],
)
def test_a_wrong_argument_is_a_configuration_error(make: Any, arguments: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        make(**arguments)


# rule 8.2


def test_an_event_that_track_would_no_longer_take_is_imported(
    tmp_path: Path, faulty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = SpoolConsumer(tmp_path / "spool.db", keep_for=30 * DAY, linger=9, **faulty.urls)
    mp = client(consumer)
    with monkeypatch.context() as patch:
        patch.setattr(_message_store, "present", lambda: int(time.time() - 6 * DAY) * 1000)
        mp.track("user-1", "Old")
    mp.track("user-1", "New")
    mp.flush()
    assert {request[0]: request[1] for request in faulty.requests} == {"events": 1, "imports": 1}
    (old,) = (request for request in faulty.requests if request[0] == "imports")
    assert authorization(old) == "TOKEN:"
    assert {record["event"] for record in faulty.records} == {"Old", "New"}
    consumer.close()


def test_import_beside_an_address_for_events_needs_an_address_for_imports(make: Any) -> None:
    # Events would leave for another host than anybody has named.
    with pytest.raises(ConfigurationError, match="import_url"):
        make(endpoint="import", events_url="https://api-eu.mixpanel.com/track")


def test_old_events_of_a_spool_go_to_no_host_that_nobody_has_named(
    tmp_path: Path, faulty: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = {name: url for name, url in faulty.urls.items() if name != "import_url"}
    consumer = SpoolConsumer(tmp_path / "spool.db", keep_for=30 * DAY, linger=9, **urls)
    mp = client(consumer)
    with monkeypatch.context() as patch:
        patch.setattr(_message_store, "present", lambda: int(time.time() - 6 * DAY) * 1000)
        mp.track("user-1", "Old")
    mp.flush()
    assert [request[0] for request in faulty.requests] == ["events"]
    consumer.close()


def test_what_joins_ids_goes_to_track(make: Any, faulty: Any) -> None:
    # rule 1.6; it has neither a time nor an $insert_id, which /import asks for
    mp = client(make(endpoint="import", **faulty.urls))
    mp.alias("user-1", 7)
    mp.track("user-1", "Viewed")
    mp.flush()
    by_endpoint = {request[0]: request[1] for request in faulty.requests}
    assert by_endpoint == {"events": 1, "imports": 1}


@pytest.mark.parametrize("kind", ["background", "spool"])
def test_a_token_that_is_refused_lets_those_of_other_projects_pass(tmp_path: Path, faulty: Any, kind: str) -> None:
    given = {"max_size": 3, "endpoint": "import", "linger": 0.02, **faulty.urls}
    with (
        BackgroundConsumer(**given)
        if kind == "background"
        else SpoolConsumer(tmp_path / "spool.db", **given) as consumer
    ):
        faulty.refuses_credentials = lambda text: text == "AAA-BAD:"
        bad, good = client(consumer, token="AAA-BAD"), client(consumer, token="GOOD")
        for number in range(9):
            bad.track("user-1", f"Bad {number}")
        for number in range(3):
            good.track("user-1", f"Good {number}")
        faulty.wait_for(lambda: good.stats() == {"sent": {"consent_granted": 3}})
        assert bad.stats() == {"queued": {"consent_granted": 9}}
        faulty.refuses_credentials = None
        faulty.wait_for(lambda: len(faulty.records) == 12)


@pytest.mark.parametrize(
    "answer",
    [
        {"failed_records": []},
        {"failed_records": [{"index": 17}]},
        {"failed_records": [{"index": -1}]},
        {"failed_records": [{"index": 0}], "num_records_imported": 0},
    ],
)
def test_names_that_do_not_fit_the_batch_tell_nothing(faulty: Any, answer: Any) -> None:
    # rule 13.1: no refusal is taken for an arrival
    faulty.poison = lambda record: True
    faulty.refusal = (400, {"code": 400, **answer})
    told: list[Decision] = []
    with BackgroundConsumer(endpoint="import", linger=9, **faulty.urls) as consumer:
        mp = client(consumer, told=told)
        for name in ("One", "Two", "Three"):
            mp.track("user-1", name)
        mp.flush()
    # A record that is refused alone is named by that.
    assert mp.stats() == {"dropped": {"rejected_by_vendor": 3}}


def test_a_refusal_with_status_200_is_one_for_imports_too(faulty: Any) -> None:
    faulty.poison = lambda record: True
    faulty.refusal = (200, {"status": 0, "error": "no"})
    with BackgroundConsumer(endpoint="import", linger=9, **faulty.urls) as consumer:
        mp = client(consumer)
        mp.track("user-1", "One")
        mp.flush()
    assert mp.stats() == {"dropped": {"rejected_by_vendor": 1}}


def test_an_event_is_imported_into_the_project_that_its_token_names(make: Any, faulty: Any) -> None:
    # As `/track` would count it.
    mp = client(make(endpoint="import", **faulty.urls))
    mp.track("user-1", "Viewed", {"token": "OTHER"})
    mp.flush()
    (record,) = faulty.records
    assert authorization(faulty.requests[0]) == f"{record['properties']['token']}:"
