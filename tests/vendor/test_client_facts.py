"""What the vendor's own tests say of its client and consumers, in our words, of the vendor's client and of ours.

Each fact is one of the vendor's, and holds for both (contract rule 1.3); `alias` is the one deliberate difference:
ours goes through the configured consumer (contract rule 1.6).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import mixpanel
import pytest
import responses

import consentpanel
from consentpanel import FieldPolicy

TOKEN = "12345"
NOW = 1000.1
BUILT = {"token": TOKEN, "mp_lib": "python", "$lib_version": mixpanel.__version__}
PROFILE = {"$time": NOW, "$token": TOKEN}
ACCEPTED = {"status": 1, "error": None}


class Log:
    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []

    def send(self, endpoint: str, event: str, api_key: Any = None) -> None:
        self.log.append((endpoint, json.loads(event), api_key) if api_key else (endpoint, json.loads(event)))


def _theirs(consumer: Any = None) -> Any:
    return mixpanel.Mixpanel(TOKEN, consumer)


def _ours(consumer: Any = None) -> Any:
    def everybody(subject_id: str, purpose: str, at: datetime | None = None) -> bool:
        return True

    return consentpanel.Mixpanel(TOKEN, consumer, registry=everybody, policy=FieldPolicy.keep_all())


@pytest.fixture(params=[_theirs, _ours, None], ids=["vendor", "consentpanel", "in place"])
def build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    if request.param is None:
        # rule 1.1: the vendor's names mean ours while the facts are held to
        for name in ("Mixpanel", "Consumer", "BufferedConsumer"):
            monkeypatch.setattr(mixpanel, name, getattr(consentpanel, name))

    def fixed(consumer: Any = None) -> Any:
        mp = (request.param or _ours)(consumer)
        mp._now = lambda: NOW
        return mp

    return fixed


def sent(build: Callable[..., Any], call: str, *arguments: Any, **keywords: Any) -> list[tuple[Any, ...]]:
    consumer = Log()
    getattr(build(consumer), call)(*arguments, **keywords)
    return consumer.log


SAID = {"birth month": "october", "favorite color": "purple"}
ALBUM = {"Albums": "Diamond Dogs"}
SINGLES = ["Albums", "Singles"]

PEOPLE = {
    "people_set": ((SAID,), {"$set": SAID}),
    "people_set_once": ((SAID,), {"$set_once": SAID}),
    "people_increment": (({"Albums Released": 1},), {"$add": {"Albums Released": 1}}),
    "people_append": ((SAID,), {"$append": SAID}),
    "people_union": (({"Albums": ["Diamond Dogs"]},), {"$union": {"Albums": ["Diamond Dogs"]}}),
    "people_unset": ((SINGLES,), {"$unset": SINGLES}),
    "people_remove": ((ALBUM,), {"$remove": ALBUM}),
    "people_delete": ((), {"$delete": ""}),
    "people_track_charge": ((12.65,), {"$append": {"$transactions": {"$amount": 12.65}}}),
    "people_clear_charges": ((), {"$unset": ["$transactions"]}),
}
GROUPS = {
    "group_set": ((SAID,), {"$set": SAID}),
    "group_set_once": ((SAID,), {"$set_once": SAID}),
    "group_union": (({"Albums": ["Diamond Dogs"]},), {"$union": {"Albums": ["Diamond Dogs"]}}),
    "group_unset": ((SINGLES,), {"$unset": SINGLES}),
    "group_remove": ((ALBUM,), {"$remove": ALBUM}),
    "group_delete": ((), {"$delete": ""}),
}


def test_every_people_and_group_call_of_the_installed_vendor_is_among_these_facts():
    calls = {name for name in vars(mixpanel.Mixpanel) if name.startswith(("people_", "group_"))}
    assert calls == {*PEOPLE, *GROUPS, "people_update", "group_update"}


@pytest.mark.parametrize("call", PEOPLE)
def test_a_people_call_writes_one_update(build, call):
    arguments, operator = PEOPLE[call]
    assert sent(build, call, "amq", *arguments) == [("people", {**PROFILE, "$distinct_id": "amq", **operator})]


@pytest.mark.parametrize("call", GROUPS)
def test_a_group_call_writes_one_update(build, call):
    arguments, operator = GROUPS[call]
    expected = {**PROFILE, "$group_key": "company", "$group_id": "amq", **operator}
    assert sent(build, call, "company", "amq", *arguments) == [("groups", expected)]


def test_a_generic_update_is_written_as_given(build):
    message = {"$distinct_id": "amq", "$set": SAID, "$unset": SINGLES}
    assert sent(build, "people_update", message) == [("people", {**PROFILE, **message})]


def test_a_charge_keeps_its_own_time(build):
    log = sent(build, "people_track_charge", "amq", 12.65, {"$time": "2013-04-01T09:02:00"})
    assert log[0][1]["$append"] == {"$transactions": {"$time": "2013-04-01T09:02:00", "$amount": 12.65}}


@pytest.mark.parametrize("created", ["2014-02-14T01:02:03", datetime(2014, 2, 14, 1, 2, 3)])  # noqa: DTZ001 - naive, as the vendor's
def test_a_date_is_written_as_text_without_a_zone(build, created):
    log = sent(build, "people_set", "amq", {"$created": created, "favorite color": "purple"})
    assert log[0][1]["$set"] == {"$created": "2014-02-14T01:02:03", "favorite color": "purple"}


def test_meta_of_a_profile_lands_beside_the_operator(build):
    log = sent(build, "people_set", "amq", SAID, meta={"$ip": 0, "$ignore_time": True})
    assert log == [("people", {**PROFILE, "$distinct_id": "amq", "$set": SAID, "$ip": 0, "$ignore_time": True})]


EVENT = {"size": "big", "color": "blue", "$insert_id": "abc123"}


def test_track_writes_one_event(build):
    expected = {"event": "button press", "properties": {**BUILT, **EVENT, "distinct_id": "ID", "time": NOW}}
    assert sent(build, "track", "ID", "button press", EVENT) == [("events", expected)]


def test_track_makes_up_an_insert_id_of_32_digits(build):
    made = sent(build, "track", "ID", "button press")[0][1]["properties"]["$insert_id"]
    assert len(made) == 32
    assert int(made, 16) > 0


def test_empty_properties_are_as_none(build):
    names = {*BUILT, "distinct_id", "time", "$insert_id"}
    assert sent(build, "track", "ID", "button press", {})[0][1]["properties"].keys() == names


def test_meta_of_an_event_lands_beside_its_properties(build):
    log = sent(build, "track", "ID", "button press", EVENT, meta={"ip": 0})
    assert log[0][1]["ip"] == 0
    assert log[0][1]["properties"]["size"] == "big"


def test_an_import_has_its_own_time_and_hands_over_key_and_secret(build):
    log = sent(build, "import_data", "KEY", "ID", "button press", 1_600_000_000.5, EVENT, api_secret="SECRET")
    properties = {**BUILT, **EVENT, "distinct_id": "ID", "time": 1_600_000_000.5}
    assert log == [("imports", {"event": "button press", "properties": properties}, ("KEY", "SECRET"))]


def test_a_merge_names_both_ids(build):
    said = {"event": "$merge", "properties": {"$distinct_ids": ["d1", "d2"], "token": TOKEN}}
    assert sent(build, "merge", "KEY", "d1", "d2") == [("imports", said, ("KEY", None))]


def test_a_serializer_put_in_later_writes_what_the_first_one_refused(build):
    class Plain(mixpanel.DatetimeSerializer):
        def default(self, obj: Any) -> Any:
            return obj.to_eng_string() if isinstance(obj, Decimal) else super().default(obj)

    consumer = Log()
    mp = build(consumer)
    mp._serializer = Plain
    mp.track("ID", "button press", {"size": Decimal("1E+4")})
    assert consumer.log[0][1]["properties"]["size"] == "10E+3"


def test_alias_is_posted_at_once(build):
    # rule 1.6: with the default consumer, both post the same to the same place
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json=ACCEPTED)
        build().alias("ALIAS", "ORIGINAL ID")
        (call,) = network.calls
        form = parse_qs(str(call.request.body))
    assert json.loads(form["data"][0]) == {
        "event": "$create_alias",
        "properties": {"alias": "ALIAS", "token": TOKEN, "distinct_id": "ORIGINAL ID"},
    }
    assert (form["ip"], form["verbose"]) == (["0"], ["1"])


@pytest.mark.parametrize(
    ("call", "arguments", "path"),
    [
        ("track", ("player1", "button_press", {"size": "big", "$insert_id": "xyz"}), "track"),
        ("people_set", ("amq", SAID), "engage"),
        ("group_set", ("company", "amq", SAID), "groups"),
        ("import_data", ("KEY", "player1", "button_press", 1_600_000_000, {"$insert_id": "xyz"}), "import"),
    ],
)
def test_a_call_is_one_form_posted_to_the_vendor(build, call, arguments, path):
    with responses.RequestsMock() as network:
        network.post(f"https://api.mixpanel.com/{path}", json=ACCEPTED)
        mp = build()
        getattr(mp, call)(*arguments)
        assert len(network.calls) == 1
        form = parse_qs(str(network.calls[0].request.body))
    assert TOKEN in form["data"][0]
    assert form["verbose"] == ["1"]


def test_an_error_of_the_vendor_is_the_vendors_exception(build):
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json={"status": 0, "error": "arbitrary error"})
        with pytest.raises(consentpanel.MixpanelException, match="arbitrary error"):
            build().track("player1", "button_press")


@pytest.fixture(params=[mixpanel, consentpanel], ids=["vendor", "consentpanel"])
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(("endpoint", "path"), [("events", "track"), ("people", "engage"), ("groups", "groups")])
@pytest.mark.parametrize("host", ["api.mixpanel.com", "api-eu.mixpanel.com"])
def test_a_consumer_posts_a_form_to_its_host(library, endpoint, path, host):
    with responses.RequestsMock() as network:
        network.post(f"https://{host}/{path}", json=ACCEPTED)
        library.Consumer(api_host=host).send(endpoint, '{"foo":"bar"}')
        form = parse_qs(str(network.calls[0].request.body))
    assert form["data"] == ['{"foo":"bar"}']


@pytest.mark.parametrize("name", ["Consumer", "BufferedConsumer"])
def test_an_unknown_endpoint_is_refused_at_once(library, name):
    with pytest.raises(library.MixpanelException):
        getattr(library, name)().send("unknown", "1")


def test_a_buffer_holds_until_it_is_flushed(library):
    consumer = library.BufferedConsumer(10)
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json=ACCEPTED)
        consumer.send("events", '"Event"')
        assert len(network.calls) == 0
        consumer.flush()
        assert parse_qs(str(network.calls[0].request.body))["data"] == ['["Event"]']
        consumer.flush()
        assert len(network.calls) == 1


def test_a_full_buffer_is_sent_in_order(library):
    consumer = library.BufferedConsumer(3)
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json=ACCEPTED)
        for name in ("One", "Two", "Three"):
            consumer.send("events", json.dumps(name))
        (call,) = network.calls
    assert json.loads(parse_qs(str(call.request.body))["data"][0]) == ["One", "Two", "Three"]


def test_a_buffer_hands_its_key_on(library):
    consumer = library.BufferedConsumer(10)
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/import", json=ACCEPTED)
        consumer.send("imports", '"Event"', ("KEY", "SECRET"))
        consumer.flush()
        request = network.calls[0].request
    assert "KEY" in str(request.body)
    assert request.headers["Authorization"].startswith("Basic ")


def test_a_failed_flush_names_its_endpoint(library):
    consumer = library.BufferedConsumer(2)
    with responses.RequestsMock() as network:
        network.post("https://api.mixpanel.com/track", json={"status": 0, "error": "arbitrary error"})
        consumer.send("events", '"Event"')
        with pytest.raises(library.MixpanelException) as raised:
            consumer.flush()
    assert raised.value.endpoint == "events"
