"""What comes out of a call when a consumer fails: its exception, and nothing that leads to a message."""

from __future__ import annotations

import json
import logging
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import mixpanel
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

import consentpanel
from consentpanel import FieldPolicy, MessageError, Mixpanel, keep, per_subject
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakeTransport

CANARY = "canary@example.org"
NOWHERE = {f"{name}_url": "http://127.0.0.1:1/x" for name in ("events", "people", "groups", "import")}
OVER_HTTP: dict[str, Callable[[], Any]] = {
    "default": lambda: None,
    "Consumer": mixpanel.Consumer,
    "the vendor's BufferedConsumer": lambda: mixpanel.BufferedConsumer(max_size=1),
    "BufferedConsumer": lambda: consentpanel.BufferedConsumer(max_size=1),
}


@pytest.fixture(autouse=True)
def _unconfigured() -> Iterator[None]:
    consentpanel.reset()
    yield
    consentpanel.reset()


def client(consumer: Any, **keywords: Any) -> Mixpanel:
    registry = MemoryRegistry()
    registry.grant("user-4711")
    given = {"registry": registry, "policy": FieldPolicy.keep_all(), **keywords}
    return Mixpanel("TOKEN", consumer, **given)


def track(consumer: Any) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is for the test to say
        client(consumer).track("user-4711", "Signed up", {"email": CANARY, "age": 42})
    return raised.value


def texts(root: object) -> Iterator[str]:
    """Every text that an exception leads to, other than by a frame."""
    seen, left = set(), [root]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, (type, int, float)) or each is None:
            continue
        seen.add(id(each))
        if isinstance(each, (str, bytes)):
            yield str(each)
        elif isinstance(each, (list, tuple, set, frozenset)):
            left += each
        elif isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, BaseException):
            yield f"{each} {each!r}"
            kind = type(each)
            names = {name for name in dir(kind) if type(getattr(kind, name)).__name__.endswith("_descriptor")}
            left += [getattr(each, name, None) for name in names - {"__traceback__"}]
        left += list(getattr(each, "__dict__", {}).values())


def leads_to_a_message(error: BaseException) -> bool:
    return any(trace in text for text in texts(error) for trace in ("canary", "user-4711"))


@pytest.fixture
def _refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object, request: requests.PreparedRequest, **__: object) -> None:
        raise requests.ConnectionError("Connection refused", request=request)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", refuse)


@pytest.mark.usefixtures("_refused")
@pytest.mark.parametrize("name", OVER_HTTP)
def test_a_refused_connection_leads_to_no_message(name):
    # rule 1.8
    error = track(OVER_HTTP[name]())
    assert type(error) is mixpanel.MixpanelException
    assert error.__context__ is error.__cause__ is None
    assert not hasattr(error, "message")
    assert not leads_to_a_message(error)
    frames = []
    at = error.__traceback__
    while at is not None:
        frames.append(at.tb_frame.f_code.co_filename)
        at = at.tb_next
    assert not [file for file in frames if "/mixpanel/__init__" in file or "/requests/" in file]


@pytest.mark.usefixtures("_refused")
@pytest.mark.parametrize("name", ["default", "Consumer", "the vendor's BufferedConsumer"])
def test_the_vendors_exception_keeps_its_text(name):
    # rule 1.8: "pass through as the vendor raises them"
    assert str(track(OVER_HTTP[name]())) == "Connection refused"


def test_a_real_refused_connection_keeps_its_text_too():
    # rule 1.8
    error = track(mixpanel.Consumer(**NOWHERE, retry_limit=0))
    assert "Max retries exceeded with url: /x" in str(error)
    assert not leads_to_a_message(error)


@pytest.mark.usefixtures("_refused")
@pytest.mark.parametrize("call", ["flush", "close", "alias", "__exit__", "_consumer.flush"])
def test_a_flush_of_the_vendors_buffer_leads_to_no_message(call):
    # rule 1.8
    mp = client(mixpanel.BufferedConsumer())
    mp.track("user-4711", "Signed up", {"email": CANARY})
    arguments = {"alias": ("user-4711", "user-4711"), "__exit__": (None, None, None)}.get(call, ())
    with pytest.raises(mixpanel.MixpanelException, match="Connection refused") as raised:
        attrgetter(call)(mp)(*arguments)
    assert raised.value.endpoint == "events"
    assert not hasattr(raised.value, "message")
    assert not leads_to_a_message(raised.value)


class Failing:
    def __init__(self, error: Callable[[str], BaseException]) -> None:
        self.error = error

    def send(self, endpoint: str, json_message: str) -> None:
        raise self.error(json_message)


class FailingBuffer(Failing):
    """Somebody's buffer: what it says may be of any message."""

    def flush(self) -> None:
        self.send("events", f"{CANARY} of user-4711")

    def purge(self, _: object) -> None:
        self.flush()


class WantsMoreError(Exception):
    def __init__(self, text: str, message: str) -> None:
        super().__init__(text)
        self.sent = message
        self.code = 7


class TellsAllError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__()
        self.sent = message

    def __str__(self) -> str:
        return f"could not send {self.sent}"


class SlottedError(Exception):
    __slots__ = ("sent",)

    def __init__(self, message: str) -> None:
        super().__init__("down")
        self.sent = message


class VendorsOwnError(mixpanel.MixpanelException):
    def __init__(self, message: str) -> None:
        super().__init__("down")
        self.batch = [message]
        self.code = 7


def chained(message: str) -> Exception:
    error = ValueError("down")
    error.__context__ = KeyError(message)
    return error


def caused(message: str) -> Exception:
    error = mixpanel.MixpanelException("down")
    error.__cause__ = KeyError(message)
    return error


def of_an_attribute(message: str) -> Exception:
    try:
        json.loads(message).nothing  # noqa: B018 - reading it is the point
    except AttributeError as error:
        return error
    raise AssertionError


#: What a consumer raises, and what comes out: its type and text; None for the types, file and line.
ERRORS: dict[str, tuple[Callable[[str], Exception], type, str | None]] = {
    "a text": (lambda _: ValueError("down"), ValueError, "down"),
    "a text that quotes": (lambda message: ValueError(f"bad: {message}"), ValueError, None),
    "a text that quotes one value": (lambda _: ValueError(f"{CANARY.upper()} is no address"), ValueError, None),
    "a text that quotes an id": (lambda _: KeyError("user-4711"), KeyError, None),
    "a text that quotes a number": (lambda _: ValueError("42 is too young"), ValueError, None),
    "a text that holds a number": (lambda _: ValueError("line 142"), ValueError, "line 142"),
    "a text that escapes": (lambda _: ValueError("bad: canary%40example.org"), ValueError, None),
    "the vendor's text": (lambda _: mixpanel.MixpanelException("down"), mixpanel.MixpanelException, "down"),
    "the vendor's text that quotes": (
        lambda message: mixpanel.MixpanelException(f"Cannot interpret Mixpanel server response: {message}"),
        mixpanel.MixpanelException,
        None,
    ),
    "a request": (
        lambda message: requests.ConnectionError("down", request=requests.Request("POST", "https://x", data=message)),
        requests.ConnectionError,
        "down",
    ),
    "an error in the vendor's": (
        lambda message: mixpanel.MixpanelException(WantsMoreError("down", message)),
        mixpanel.MixpanelException,
        "down",
    ),
    "an error in the vendor's that quotes": (
        lambda message: mixpanel.MixpanelException(TellsAllError(message)),
        mixpanel.MixpanelException,
        None,
    ),
    "attributes": (lambda message: WantsMoreError("down", message), WantsMoreError, "down"),
    "attributes of the vendor's": (VendorsOwnError, VendorsOwnError, "down"),
    "a text of attributes": (TellsAllError, mixpanel.MixpanelException, None),
    "slots": (SlottedError, SlottedError, "down"),
    "a context": (chained, ValueError, "down"),
    "a cause": (caused, mixpanel.MixpanelException, "down"),
    "an object that is no text": (lambda message: UnicodeEncodeError("utf-8", message, 0, 1, "no"), Exception, None),
    "an object without an attribute": (of_an_attribute, AttributeError, "'dict' object has no attribute 'nothing'"),
    "an operating system's error": (lambda message: OSError(2, "No such file", message), OSError, "No such file"),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("on_error", ["drop", "raise"])
def test_what_any_consumer_raises_leads_to_no_message(name, on_error):
    # rules 1.8 and 4.2
    build, kind, text = ERRORS[name]
    mp = client(Failing(build), on_error=on_error)
    with pytest.raises(kind) as raised:
        mp.track("user-4711", "Signed up", {"email": CANARY, "age": 42})
    assert not leads_to_a_message(raised.value)
    said = str(raised.value)
    if text is None:
        assert re.search(r"Error|Exception", said)
        assert "test_failures.py:" in said
    else:
        assert text in said
    if hasattr(build("{}"), "code"):
        assert raised.value.code == 7


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("call", ["flush", "withdraw"])
def test_what_somebodys_buffer_raises_tells_types_and_places_alone(name, call):
    # rules 1.8 and 4.2: nobody knows whose messages it would quote
    mp = client(FailingBuffer(ERRORS[name][0] if name != "an object without an attribute" else ValueError))
    with pytest.raises(Exception, match=r"(Error|Exception).* at .*:\d+") as raised:
        mp.flush() if call == "flush" else mp.withdraw("user-4711")
    assert not leads_to_a_message(raised.value)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_passes_through(interruption):
    with pytest.raises(interruption):
        client(Failing(lambda _: interruption())).track("user-4711", "Signed up")


def test_the_vendors_exception_stays_the_same_object():
    # rule 1.8
    error = mixpanel.MixpanelException("down")
    assert track(Failing(lambda _: error)) is error


@given(st.text(min_size=1, max_size=40), st.sampled_from(["{}", "cannot send {}!", "{0}{0}"]))
def test_no_text_quotes_a_value_that_was_sent(value, frame):
    # rule 4.2: as a word, or anywhere where it has four characters and more
    # Without detectors: what one redacts is not sent.
    policy = FieldPolicy(events={"note": keep()}, detectors=[])
    mp = client(Failing(lambda _: mixpanel.MixpanelException(frame.format(value))), policy=policy)
    with pytest.raises(mixpanel.MixpanelException) as raised:
        mp.track("user-4711", "Signed up", {"note": value})
    said = str(raised.value)
    assert "test_failures.py:" in said or (len(value) < 4 and not re.search(rf"(?<!\w){re.escape(value)}(?!\w)", said))


# rule 1.8: every failure tells the type, the file and line and the thread, never its text


def fails(*_: object, **__: object) -> bool:
    raise OSError(CANARY)


class NoSalts(dict[str, str]):
    get = setdefault = __getitem__ = __contains__ = fails  # type: ignore[assignment]


def line_of(function: Callable[..., Any]) -> int:
    return function.__code__.co_firstlineno + 1


@pytest.mark.parametrize(
    ("reason", "what", "keywords"),
    [
        ("registry_error", "registry", {"registry": fails}),
        ("registry_error", "registry", {"registry": fails, "regime": fails, "observers": [fails]}),
        ("invalid_message", "judging a message", {"identity": per_subject(NoSalts())}),
    ],
)
def test_what_raises_tells_type_file_line_and_thread(reason, what, keywords, caplog):
    # rule 1.8
    caplog.set_level(logging.DEBUG)
    mp, raised = client(FakeTransport(), on_error="raise", **keywords), []

    def call() -> None:
        try:
            mp.track("user-4711", "Signed up")
        except MessageError as error:
            raised.append(error)

    thread = threading.Thread(target=call, name="worker-7")
    thread.start()
    thread.join()
    (error,) = raised
    place = f"OSError at {__file__}:{line_of(fails)} (asked by thread worker-7)"
    assert str(error) == f"message not sent: {reason}: {what} failed: {place}"
    assert error.cause == f"{what} failed: {place}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert f"{what} failed: {place}" in caplog.text
    assert CANARY not in caplog.text
    assert not leads_to_a_message(error)


def test_a_later_fault_is_not_told_with_the_cause_of_an_earlier_one():
    # rule 1.8
    mp = client(FakeTransport(), on_error="raise", registry=fails)
    with pytest.raises(MessageError, match="OSError"):
        mp.track("user-4711", "Signed up")
    with pytest.raises(MessageError) as raised:
        mp.track("", "Signed up")
    assert str(raised.value) == "message not sent: invalid_id: distinct_id must not be empty"


def test_a_failure_in_other_peoples_code_is_placed_where_it_arose(caplog):
    # rule 1.8: the innermost frame outside of this package
    mp = client(FakeTransport(), registry=lambda *_: json.loads("{"))
    mp.track("user-4711", "Signed up")
    assert re.search(
        r"registry failed: JSONDecodeError at \S+decoder\.py:\d+ \(asked by thread MainThread\)", caplog.text
    )


def test_the_same_failure_in_many_threads_is_logged_once(caplog):
    # rule 2.6
    mp = client(FakeTransport(), registry=fails)
    threads = [threading.Thread(target=mp.track, args=("user-4711", "Signed up")) for _ in range(5)]
    for thread in threads:
        thread.start()
        thread.join()
    assert len([record for record in caplog.records if "registry failed" in record.getMessage()]) == 1


def test_a_consumer_that_fails_is_logged_without_its_text(caplog):
    # rule 1.8: its frames are cut off, because they hold the message
    caplog.set_level(logging.DEBUG)
    track(Failing(ValueError))
    place = f"{__file__}:{line_of(Failing.send)}"
    assert f"consumer failed: ValueError at {place} (asked by thread MainThread)" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.usefixtures("_refused")
@pytest.mark.parametrize("name", OVER_HTTP)
def test_a_failing_request_logs_nothing_of_a_message_at_any_level(name, caplog):
    # rule 4.2
    caplog.set_level(logging.DEBUG)
    track(OVER_HTTP[name]())
    logged = "".join(f"{record.getMessage()} {record.args} {record.exc_info}" for record in caplog.records)
    assert "canary" not in logged
    assert "user-4711" not in logged
