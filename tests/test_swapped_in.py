"""Rules 1.1 and 1.4: existing code and its tests, with this client swapped in by the import or in place."""

from __future__ import annotations

import copy
import functools
import json
import logging
import pickle
import queue
import subprocess
import sys
import threading
import types
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import mixpanel
import pytest
import requests
import responses

import consentpanel
from consentpanel import FieldPolicy, Mixpanel, Reason, keep, pseudonymous
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

# Fresh interpreters: who is there first, and what stands in whose place meanwhile.

KIT = """
import sys
from unittest import mock

PUBLIC = "Mixpanel Consumer BufferedConsumer MixpanelException DatetimeSerializer json_dumps LocalFlagsConfig".split()
METHODS = "track import_data merge people_update group_update people_set _now _make_insert_id".split()

class Kept(list):
    def send(self, endpoint, text, *_):
        self.append(text)

def everybody(subject, purpose, at=None):
    return True

def works(Mixpanel):
    from consentpanel import FieldPolicy
    sent = Kept()
    mp = Mixpanel("TOKEN", sent, registry=everybody, policy=FieldPolicy.keep_all())
    decisions = [
        mp.track("u", "E", {"plan": "pro"}),
        mp.track("u", "E", {"plan": "pro"}, {"$a": 1}),
        mp.import_data(None, "u", "E", 1_600_000_000, {"plan": "pro"}),
        mp.people_set("u", {"plan": "pro"}),
        mp.people_update({"$distinct_id": "u", "$set": {"plan": "pro"}}, {"$a": 1}),
        mp.group_set("company", "acme", {"plan": "pro"}),
        mp.alias("u", "v"),
        mp.merge(None, "u", "v"),
    ]
    assert [str(each) for each in decisions if each.outcome != "sent"] == []
    assert len(sent) == len(decisions), sent
    assert '"$lib_version":"5.' in sent[0], sent[0]

def is_whole(consentpanel):
    # rule 1.1: nothing that was met while patched is kept
    from consentpanel._mixpanel.vendor import NAMES
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "consentpanel":
            kept = [each for each, value in vars(module).items() if issubclass(type(value), mock.NonCallableMock)]
            assert not kept, (name, kept)
    for name in PUBLIC:
        assert not issubclass(type(getattr(consentpanel, name)), mock.NonCallableMock), name
        assert name in ("Mixpanel", "BufferedConsumer") or getattr(consentpanel, name) is NAMES[name]
    works(consentpanel.Mixpanel)
    consentpanel.BufferedConsumer().flush()
"""

ORDERS = {
    "names in place, before first use": """
        import mixpanel, consentpanel
        mixpanel.Mixpanel = consentpanel.Mixpanel
        mixpanel.Consumer = consentpanel.Consumer
        mixpanel.BufferedConsumer = consentpanel.BufferedConsumer
        works(mixpanel.Mixpanel)
        from mixpanel import Mixpanel
        assert Mixpanel is consentpanel.Mixpanel
    """,
    "names in place, the other way round": """
        import mixpanel, consentpanel
        mixpanel.BufferedConsumer = consentpanel.BufferedConsumer
        mixpanel.BufferedConsumer().flush()
        mixpanel.Consumer = consentpanel.Consumer
        mixpanel.Mixpanel = consentpanel.Mixpanel
        works(mixpanel.Mixpanel)
    """,
    "names in place, after first use": """
        import consentpanel
        works(consentpanel.Mixpanel)
        import mixpanel
        mixpanel.Mixpanel, mixpanel.Consumer = consentpanel.Mixpanel, consentpanel.Consumer
        mixpanel.BufferedConsumer = consentpanel.BufferedConsumer
        works(mixpanel.Mixpanel)
    """,
    "a name in place, and back": """
        import mixpanel, consentpanel
        with mock.patch("mixpanel.Mixpanel", consentpanel.Mixpanel):
            works(mixpanel.Mixpanel)
        assert mixpanel.Mixpanel is not consentpanel.Mixpanel
        assert issubclass(consentpanel.Mixpanel, mixpanel.Mixpanel)
    """,
    "the module, before the vendor is loaded": """
        import consentpanel
        sys.modules["mixpanel"] = consentpanel
        import mixpanel
        from mixpanel import BufferedConsumer, Consumer, Mixpanel, MixpanelException
        assert mixpanel.Mixpanel is Mixpanel is consentpanel.Mixpanel
        assert sys.modules["mixpanel"] is consentpanel
        works(mixpanel.Mixpanel)
        assert issubclass(MixpanelException, Exception) and Consumer.__module__ == "mixpanel"
    """,
    "the module, after the vendor is loaded": """
        import mixpanel as theirs
        import consentpanel
        sys.modules["mixpanel"] = consentpanel
        import mixpanel
        works(mixpanel.Mixpanel)
        assert issubclass(mixpanel.Mixpanel, theirs.Mixpanel) and mixpanel.Consumer is theirs.Consumer
    """,
    "the module, when nobody else holds the vendor's any more": """
        import mixpanel, consentpanel
        Theirs = mixpanel.Mixpanel
        del mixpanel
        sys.modules["mixpanel"] = consentpanel
        works(consentpanel.Mixpanel)
        assert issubclass(consentpanel.Mixpanel, Theirs)
    """,
    "the module, after first use": """
        import consentpanel
        works(consentpanel.Mixpanel)
        sys.modules["mixpanel"] = consentpanel
        import mixpanel
        works(mixpanel.Mixpanel)
    """,
    "the module, then its submodule first": """
        import consentpanel
        sys.modules["mixpanel"] = consentpanel
        from mixpanel.flags.types import SelectedVariant
        import mixpanel.flags
        from consentpanel.flags.types import SelectedVariant as Ours
        assert SelectedVariant is Ours is mixpanel.flags.types.SelectedVariant
        works(mixpanel.Mixpanel)
    """,
    "the submodule under our name, before anything else": """
        from consentpanel.flags.types import SelectedVariant
        import consentpanel, mixpanel.flags.types
        assert SelectedVariant is mixpanel.flags.types.SelectedVariant
    """,
    "a stub for the module, for good": """
        import types
        stub = sys.modules["mixpanel"] = types.ModuleType("mixpanel")
        stub.Mixpanel = mock.MagicMock()
        import consentpanel
        works(consentpanel.Mixpanel)
        assert sys.modules["mixpanel"] is stub
    """,
    "a mock for the module, for a while, the vendor loaded": """
        import mixpanel, consentpanel
        with mock.patch.dict(sys.modules, {"mixpanel": mock.MagicMock()}):
            works(consentpanel.Mixpanel)
        assert issubclass(consentpanel.Mixpanel, mixpanel.Mixpanel)
    """,
    "mocks over every name, before our import": """
        import mixpanel
        from contextlib import ExitStack
        with ExitStack() as stack:
            for name in PUBLIC + ["__version__"]:
                stack.enter_context(mock.patch(f"mixpanel.{name}"))
            import consentpanel
            consentpanel.Mixpanel, consentpanel.BufferedConsumer, consentpanel.Consumer, consentpanel.json_dumps
            import consentpanel.testing, consentpanel.client._flags
            consentpanel.testing.FakeTransport
    """,
    "mocks over every method, before our import": """
        import mixpanel
        from contextlib import ExitStack
        with ExitStack() as stack:
            for name in METHODS:
                stack.enter_context(mock.patch(f"mixpanel.Mixpanel.{name}", autospec=True))
            import consentpanel
            consentpanel.Mixpanel, consentpanel.BufferedConsumer, consentpanel.Consumer
    """,
    "mocks over our own names, around their first access": """
        import consentpanel, consentpanel.client, consentpanel.transport
        with mock.patch("consentpanel.client.Mixpanel"), mock.patch("consentpanel.transport.BufferedConsumer"):
            consentpanel.Mixpanel, consentpanel.BufferedConsumer
        with mock.patch("consentpanel.transport._buffered.BufferedConsumer"):
            consentpanel.transport.BufferedConsumer
        with mock.patch("consentpanel.Mixpanel") as there, mock.patch("consentpanel.Consumer"):
            assert consentpanel.Mixpanel is there
        with mock.patch.object(consentpanel.Mixpanel, "track"), mock.patch("consentpanel.FieldPolicy"):
            pass
    """,
}


def test_a_class_of_the_vendors_that_is_gone_for_good_is_an_error_that_says_what_to_do():
    # rule 1.1
    _run(
        """
import gc, mixpanel
mixpanel.Consumer = object
gc.collect()
import consentpanel
try:
    consentpanel.Mixpanel
except ImportError as error:
    assert "mixpanel.Consumer was replaced" in str(error) and "import consentpanel before" in str(error)
else:
    raise SystemExit("no error")
"""
    )


def test_the_submodule_of_credentials_is_there_where_the_vendor_has_it():
    # rule 1.1
    has_it = hasattr(mixpanel, "ServiceAccountCredentials")
    for swapped in ("", "sys.modules['mixpanel'] = consentpanel"):
        for package in ("consentpanel", "mixpanel"):
            _run(
                f"""
import sys, consentpanel
{swapped}
try:
    from {package}.credentials import ServiceAccountCredentials
except ModuleNotFoundError as error:
    assert not {has_it}, error
else:
    assert ServiceAccountCredentials is consentpanel.ServiceAccountCredentials
"""
            )


def _run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def _indented(code: str) -> str:
    lines = code.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[margin:] for line in lines)


@pytest.mark.parametrize("order", ORDERS)
def test_in_place_works_in_any_order(order):
    # rule 1.1
    _run(f"{KIT}\n{_indented(ORDERS[order])}\nimport consentpanel\nis_whole(consentpanel)")


NAMES = "Mixpanel Consumer BufferedConsumer MixpanelException DatetimeSerializer json_dumps __version__".split()


@pytest.mark.parametrize("name", [*NAMES, "Mixpanel.track", "Mixpanel.people_update", "Consumer.send"])
def test_a_mock_over_a_name_of_the_vendors_lasts_as_long_as_its_block(name):
    # rule 1.1: around the import, around the first use of a name, and after
    _run(
        f"""{KIT}
import mixpanel
with mock.patch("mixpanel.{name}"):
    import consentpanel
with mock.patch("mixpanel.{name}"):
    consentpanel.Mixpanel, consentpanel.BufferedConsumer, consentpanel.Consumer, consentpanel.MixpanelException
is_whole(consentpanel)
with mock.patch("mixpanel.{name}"):
    consentpanel.Mixpanel, consentpanel.BufferedConsumer, consentpanel.Consumer, consentpanel.MixpanelException
is_whole(consentpanel)
"""
    )


def test_our_client_judges_while_the_vendors_class_is_a_mock():
    # rule 1.1
    sent = Sent()
    with mock.patch("mixpanel.Mixpanel"), mock.patch("mixpanel.MixpanelException"), mock.patch("mixpanel.Consumer"):
        mp = consentpanel.Mixpanel("TOKEN", sent, registry=lambda *_: True, policy=FieldPolicy.keep_all())
        assert mp.track("user-1", "Signed up", {"plan": "pro"})
        assert mp.track("user-1", "Signed up", {"plan": "pro"}, {"$a": 1})
        assert mp.people_set("user-1", {"plan": "pro"})
    assert len(sent.messages) == 3


@pytest.mark.parametrize("place", ["mixpanel", "consentpanel", "swapped"])
def test_a_mock_of_the_consumer_is_what_a_client_and_a_buffer_without_one_send_to(place, monkeypatch):
    # rule 1.1
    if place == "swapped":
        monkeypatch.setitem(sys.modules, "mixpanel", consentpanel)
        place = "mixpanel"
    with mock.patch(f"{place}.Consumer") as consumer:
        clients = [
            Mixpanel("TOKEN", each, registry=lambda *_: True, policy=FieldPolicy.keep_all())
            for each in (None, consentpanel.BufferedConsumer())
        ]
    for mp in clients:
        consumer.reset_mock()
        mp.track("user-1", "Signed up")
        mp.flush()
        consumer.return_value.send.assert_called_once()
    assert consentpanel.Consumer is mixpanel.Consumer
    assert isinstance(consentpanel.BufferedConsumer()._consumer, mixpanel.Consumer)


# What public code does with the vendor's client, its buffers and its private attributes.


class Sent:
    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.flushed = False

    def send(self, endpoint: str, json_message: str) -> None:
        self.messages.append((endpoint, json.loads(json_message)))

    def flush(self) -> None:
        self.flushed = True

    @property
    def events(self) -> list[str]:
        return [message["event"] for endpoint, message in self.messages if endpoint == "events"]


@pytest.fixture(autouse=True)
def _configured() -> Iterator[None]:
    consentpanel.reset()
    registry = MemoryRegistry()
    registry.grant("ann")
    policy = FieldPolicy(events={"plan": keep()}, people={"plan": keep()})
    consentpanel.configure(registry=registry, policy=policy)
    yield
    consentpanel.reset()


def test_a_lazy_singleton_that_is_built_at_first_use():
    # rule 1.1
    module = types.ModuleType("analytics")
    code = """
mp = None
def get_client():
    global mp
    if mp is None:
        mp = mixpanel.Mixpanel("TOKEN", consumer)
    return mp
def track(user, name, **properties):
    return get_client().track(user, name, properties)
"""
    sent = Sent()
    vars(module).update(mixpanel=consentpanel, consumer=sent)
    exec(code, vars(module))
    assert module.track("ann", "Paid", plan="pro")
    assert not module.track("bob", "Paid", plan="pro")
    assert sent.events == ["Paid"]
    with mock.patch.object(module, "mp", None), mock.patch.object(consentpanel, "Mixpanel") as built:
        module.track("ann", "Paid")
    built.return_value.track.assert_called_once_with("ann", "Paid", {})
    assert module.track("ann", "Paid again")
    assert sent.events == ["Paid", "Paid again"]


class Tracker(consentpanel.Mixpanel):
    """A subclass with a `track` of its own, hooks and a constructor of its own."""

    def __init__(self, *, consumer: Any, version: str) -> None:
        super().__init__("TOKEN", consumer=consumer)
        self.version = version

    def track(self, distinct_id: Any, event_name: str, properties: Any = None, meta: Any = None) -> Any:
        return super().track(distinct_id, f"[{self.version}] {event_name}", {**(properties or {}), "plan": "pro"}, meta)

    def _now(self) -> float:
        return 1_700_000_000

    def _make_insert_id(self) -> str:
        return "inserted"


def test_a_subclass_that_overrides_track_hooks_and_constructor():
    # rules 1.1 and 1.3
    sent = Sent()
    mp = Tracker(consumer=sent, version="2")
    assert not mp.track("bob", "Paid")
    assert mp.track("ann", "Paid")
    assert mp.track("ann", "Paid", {"plan": "free"}, {"$a": 1})
    first = sent.messages[0][1]
    assert (first["event"], first["properties"]["time"], first["properties"]["$insert_id"], len(sent.messages)) == (
        "[2] Paid",
        1_700_000_000,
        "inserted",
        2,
    )


class Polite(consentpanel.BufferedConsumer):
    """A buffer that logs what the vendor's raises."""

    def __init__(self, *arguments: Any, use_log: bool = True, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.use_log = use_log

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        super().send(endpoint, json_message, api_key, api_secret)

    def flush(self, *arguments: Any, **keywords: Any) -> None:
        try:
            super().flush(*arguments, **keywords)
        except mixpanel.MixpanelException:
            logging.getLogger("polite").warning("the vendor is down")


def test_a_buffer_that_is_subclassed_with_its_own_flush_and_send(caplog):
    # rule 1.1
    mp = Mixpanel("TOKEN", Polite(retry_limit=0))
    with responses.RequestsMock() as vendor:
        vendor.post("https://api.mixpanel.com/track", status=503)
        assert mp.track("ann", "Paid")
        mp._consumer.flush()
        assert "the vendor is down" in caplog.text
    with responses.RequestsMock() as vendor:
        vendor.post("https://api.mixpanel.com/track", json={"status": 1, "error": None})
        mp._consumer.flush()
    with mock.patch("consentpanel.BufferedConsumer.flush") as flush:
        mp.flush()
    flush.assert_called_once_with()


class InThreads(consentpanel.BufferedConsumer):
    """A buffer that puts texts where the vendor's has them, and flushes in a thread, as a well-known package does."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._max_size = 2
        self.threads: list[threading.Thread] = []

    def send(self, endpoint: str, json_message: str, api_key: Any = None, api_secret: Any = None) -> None:
        self._buffers[endpoint].append(json_message)
        if len(self._buffers[endpoint]) >= self._max_size:
            self._flush_endpoint(endpoint)

    def _flush_endpoint(self, endpoint: str) -> None:
        self.threads.append(threading.Thread(target=super()._flush_endpoint, args=(endpoint,)))
        self.threads[-1].start()

    def flush(self) -> None:
        for endpoint in self._buffers:
            self._flush_endpoint(endpoint)
        for thread in self.threads:
            thread.join(30)


def test_a_buffer_that_is_subclassed_with_its_own_queue_and_threads():
    # rule 1.1
    sent = Sent()
    mp = Mixpanel("TOKEN", InThreads(consumer=Batches(sent)))
    for number in range(5):
        mp.track("ann", f"Event {number}", {"plan": "pro"})
        mp.track("bob", f"Event {number}")
    mp._consumer.flush()
    assert sorted(sent.events) == [f"Event {number}" for number in range(5)]
    assert mp.stats()["sent"] == {"consent_granted": 5}
    mp.track("ann", "Too late")
    assert mp.withdraw("ann").discarded == 1
    mp._consumer.flush()
    assert len(sent.events) == 5


class Batches:
    def __init__(self, sent: Sent) -> None:
        self.sent = sent

    def send(self, endpoint: str, json_message: str, api_key: Any = None) -> None:
        for record in json.loads(json_message):
            self.sent.send(endpoint, json.dumps(record))


def test_a_session_that_is_replaced():
    # rule 1.4: on the consumer itself, and through the client
    consumer = consentpanel.Consumer()
    consumer._session = requests.Session()
    mp = Mixpanel("TOKEN", consumer)
    with responses.RequestsMock() as vendor:
        vendor.post("https://api.mixpanel.com/track", json={"status": 1, "error": None})
        assert mp.track("ann", "Paid")
        session = mock.Mock(spec=requests.Session)
        session.post.return_value.json.return_value = {"status": 1}
        mp._consumer._session = session
        assert mp.track("ann", "Paid")
    session.post.assert_called_once()


def test_a_timeout_that_is_set_on_what_a_buffer_sends_with():
    # rule 1.4
    buffer = consentpanel.BufferedConsumer()
    mp = Mixpanel("TOKEN", buffer)
    mp._consumer._consumer._request_timeout = 10
    assert (mp._consumer._consumer._request_timeout, buffer._consumer._request_timeout) == (10, 10)
    mp._consumer.flush()


def test_a_client_for_each_request_and_a_wrapper_of_partials():
    # rule 1.1
    sent = Sent()

    class Request:
        def __init__(self, user: str) -> None:
            self.analytics = functools.partial(consentpanel.Mixpanel("TOKEN", sent).track, user)

    for user in ("ann", "bob", "ann"):
        Request(user).analytics("Viewed", {"plan": "pro"})
    assert sent.events == ["Viewed", "Viewed"]


def test_threads_and_a_queue_share_one_client():
    # rule 1.1
    sent, jobs = Sent(), queue.Queue[Any]()
    mp = Mixpanel("TOKEN", sent)

    def work() -> None:
        while (job := jobs.get()) is not None:
            mp.track(*job)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(100):
        jobs.put(("ann" if number % 2 else "bob", f"Event {number}", {"plan": "pro"}))
    for _ in threads:
        jobs.put(None)
    for thread in threads:
        thread.join(30)
    assert len(sent.events) == 50


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_of_a_client_or_of_its_consumer_is_refused_and_says_what_to_do(copied):
    # rule 1.9
    mp = Mixpanel("TOKEN", Sent())
    with pytest.raises(TypeError, match="build it in the worker"):
        copied(mp)
    with pytest.raises(TypeError, match="build both in the worker"):
        copied(mp._consumer)


@pytest.mark.parametrize("build", [mock.Mock, mock.MagicMock, mock.create_autospec(mixpanel.Consumer)])
def test_mocks_with_and_without_a_spec(build):
    # rule 1.4
    mp = Mixpanel("TOKEN", build())
    mp.track("bob", "Paid", {"plan": "pro"})
    mp._consumer.send.assert_not_called()
    mp.track("ann", "Paid", {"plan": "pro", "email": "ann@shop.example"})
    mp._consumer.send.assert_called_once_with("events", mock.ANY)
    assert json.loads(mp._consumer.send.call_args.args[1])["properties"]["plan"] == "pro"
    assert "ann@shop.example" not in str(mp._consumer.mock_calls)
    assert mp._consumer.method_calls == [mock.call.send("events", mock.ANY)]
    # The vendor's constructor asks a consumer whether it is true.
    assert [each for each in mp._consumer.mock_calls if each != mock.call.__bool__()] == mp._consumer.method_calls
    assert mp._consumer.send.mock_calls == mp._consumer.send.call_args_list == [mock.call("events", mock.ANY)]
    assert mp.stats()["redacted"] == {"consent_granted": 1}
    mp._consumer.reset_mock()
    assert (mp._consumer.send.called, mp._consumer.send.call_count) == (False, 0)


def test_a_mock_over_a_method_of_our_client():
    # rule 1.1
    sent = Sent()
    mp = Mixpanel("TOKEN", sent)
    with (
        mock.patch.object(Mixpanel, "track") as track,
        mock.patch.object(Mixpanel, "people_set", autospec=True) as set_,
    ):
        mp.track("ann", "Paid")
        mp.people_set("ann", {"plan": "pro"})
    track.assert_called_once_with("ann", "Paid")
    set_.assert_called_once_with(mp, "ann", {"plan": "pro"})
    with mock.patch.object(mp, "track", side_effect=Exception("down")), pytest.raises(Exception, match="down"):
        mp.track("ann", "Paid")
    assert mp.track("ann", "Paid")
    assert sent.events == ["Paid"]


def test_a_mock_over_the_vendors_constructor():
    # rule 1.1
    with mock.patch("mixpanel.Mixpanel.__init__", return_value=None) as built:
        Mixpanel("TOKEN")
        assert isinstance(Mixpanel("TOKEN", Sent())._consumer, Sent)
    assert built.call_count == 2
    assert Mixpanel("TOKEN", Sent()).track("ann", "Paid")


def test_hooks_that_are_mocked_on_the_vendors_class():
    # rules 1.1 and 1.3
    sent = Sent()
    hooks = {"_now": mock.Mock(return_value=7), "_make_insert_id": mock.Mock(return_value="inserted")}
    with mock.patch.multiple("mixpanel.Mixpanel", **hooks), mock.patch("mixpanel.Mixpanel.people_set") as people_set:
        mp = Mixpanel("TOKEN", sent)
        mp.people_set("ann", {"plan": "pro"})
        mp.people_update({"$distinct_id": "ann", "$set": {"plan": "pro"}})
        mp.track("ann", "Paid")
        mp.track("ann", "Paid", {"plan": "pro"}, {"$a": 1})
    people_set.assert_called_once()
    assert sent.messages[0][1]["$time"] == 7
    for _, message in sent.messages[1:]:
        assert (message["properties"]["time"], message["properties"]["$insert_id"]) == (7, "inserted")
    assert len(sent.messages) == 3


def test_a_test_that_looks_at_the_class_of_the_consumer():
    # rule 1.4
    for consumer in (Sent(), consentpanel.Consumer(), consentpanel.BufferedConsumer(), mixpanel.BufferedConsumer()):
        mp = Mixpanel("TOKEN", consumer)
        assert isinstance(mp._consumer, type(consumer))
        assert mp._consumer.__class__ is type(consumer)
        assert not isinstance(mp._consumer, Tracker)
    assert isinstance(Mixpanel("TOKEN", mock.Mock(spec=mixpanel.Consumer))._consumer, mixpanel.Consumer)
    mp = Mixpanel("TOKEN", Sent())
    mp.track("ann", "Paid")
    mp._consumer.flush()
    assert (len(mp._consumer.messages), mp._consumer.flushed) == (1, True)


class Logged:
    """A consumer of an application's own that hands on to the one that the client had."""

    def __init__(self, inner: Any, change: Callable[[str], str] = lambda text: text) -> None:
        self.inner, self.change = inner, change

    def send(self, endpoint: str, json_message: str, *credentials: Any) -> None:
        self.inner.send(endpoint, self.change(json_message), *credentials)


def test_a_consumer_that_wraps_the_one_before_gets_each_message_judged_once():
    # rule 1.4: under pseudonyms a second judgement would find nobody who consented
    sent = Sent()
    mp = Mixpanel("TOKEN", sent, identity=pseudonymous(secret=b"k" * 32))
    mp._consumer = Logged(mp._consumer)
    assert mp.track("ann", "Paid")
    assert not mp.track("bob", "Paid")
    assert sent.events == ["Paid"]
    assert mp.stats() == {"sent": {"consent_granted": 1}, "dropped": {"no_consent": 1}}


def test_a_message_that_a_wrapping_consumer_changes_is_judged_again():
    # rule 1.4
    sent = Sent()
    mp = Mixpanel("TOKEN", sent)
    mp._consumer = Logged(mp._consumer, lambda text: text.replace('"ann"', '"bob"'))
    mp.track("ann", "Paid")
    assert sent.messages == []


def test_a_message_that_a_wrapping_consumer_kept_is_not_sent_after_a_withdrawal():
    # rule 1.4
    kept: list[tuple[str, str]] = []

    class Later:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def send(self, endpoint: str, json_message: str) -> None:
            kept.append((endpoint, json_message))

        def retry(self) -> None:
            while kept:
                self.inner.send(*kept.pop())

    sent = Sent()
    mp = Mixpanel("TOKEN", sent)
    later = Later(mp._consumer)
    mp._consumer = later
    mp.track("ann", "First")
    later.retry()
    mp.track("ann", "Second")
    mp.withdraw("ann")
    later.retry()
    assert sent.events == ["First"]
    assert mp.stats()["dropped"] == {Reason.WITHDRAWN: 1}


@pytest.mark.parametrize("name", ["uuid.uuid4", "mixpanel.uuid.uuid4"])
def test_what_a_test_puts_over_uuid4_makes_the_insert_id(name: str) -> None:
    # rules 1.1 and 1.3
    transport = FakeTransport()
    mp = consentpanel.Mixpanel(
        "T", transport, registry=lambda subject, purpose: True, policy=consentpanel.FieldPolicy.keep_all()
    )
    with mock.patch(name, return_value=uuid.UUID(int=1)):
        mp.track("user-1", "E")
    mp.track("user-1", "E")
    assert [message.payload["properties"]["$insert_id"] == uuid.UUID(int=1).hex for message in transport.events] == [
        True,
        False,
    ]
