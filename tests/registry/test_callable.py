"""A registry over a function of the application's own (contract rule 2.3)."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from consentpanel import (
    ConfigurationError,
    ConsentRecord,
    ConsentStatus,
    FieldPolicy,
    InvalidRecordError,
    Mixpanel,
    Purpose,
    RegistryError,
)
from consentpanel.registry import CallableRegistry, ConsentRegistry
from consentpanel.testing import FakeTransport

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN
YESTERDAY = datetime.now(timezone.utc) - timedelta(days=1)


@pytest.mark.parametrize(
    ("answer", "status"),
    [(True, GRANTED), (False, DENIED), (None, UNKNOWN), (GRANTED, GRANTED), (DENIED, DENIED), (UNKNOWN, UNKNOWN)],
)
def test_what_a_function_may_answer(answer, status):
    registry = CallableRegistry(lambda subject_id, purpose: answer)
    assert registry.status("user-1", "analytics") is status
    assert registry.statuses(["user-1", 2], "analytics") == {"user-1": status, 2: status}


@pytest.mark.parametrize("answer", ["granted", "GRANTED", 1, 0, 1.0, [], {"granted": True}, object(), ConsentStatus])
def test_any_other_answer_is_an_error_that_tells_only_its_type(answer):
    # rule 2.6
    registry = CallableRegistry(lambda subject_id, purpose: answer)
    with pytest.raises(RegistryError, match=f"not {type(answer).__name__}$"):
        registry.status("user-1", "analytics")
    with pytest.raises(RegistryError):
        registry.statuses(["user-1"], "analytics")


def test_the_function_gets_the_text_of_the_id_and_a_purpose():
    asked = []
    registry = CallableRegistry(lambda subject_id, purpose: asked.append((subject_id, purpose)))
    registry.statuses(["user-1", 42, UUID(int=1)], "targeting")
    assert asked == [(each, Purpose("targeting")) for each in ("user-1", "42", str(UUID(int=1)))]
    assert {(type(subject_id), type(purpose)) for subject_id, purpose in asked} == {(str, Purpose)}


def test_a_malformed_id_is_refused_before_the_function_is_asked():
    # rule 2.7
    asked = []
    registry = CallableRegistry(lambda subject_id, purpose: asked.append(subject_id) or True)
    for malformed in ("", " ", True, 1.5, b"user-1", None, ["user-1"], "a" * 256):
        with pytest.raises(InvalidRecordError):
            registry.status(malformed, "analytics")
    assert asked == []


def test_what_the_function_raises_passes():
    # rule 2.6: the gate, not the registry, makes a denial of it
    def fail(subject_id, purpose):
        raise ConnectionError("the table is away")

    registry = CallableRegistry(fail)
    for ask in (registry.status, lambda each, purpose: registry.statuses([each], purpose)):
        with pytest.raises(ConnectionError, match="the table is away"):
            ask("user-1", "analytics")


# rules 2.4 and 2.8: the moment asked about


@pytest.mark.parametrize(
    "function",
    [
        lambda subject_id, purpose: True,
        lambda *arguments: True,
        functools.partial(lambda table, subject_id, purpose: True, {}),
    ],
)
def test_a_function_without_at_knows_nothing_of_the_past(function):
    registry = CallableRegistry(function)
    assert registry.status("user-1", "analytics") is GRANTED
    assert registry.status("user-1", "analytics", at=YESTERDAY) is UNKNOWN
    assert registry.statuses(["user-1"], "analytics", at=YESTERDAY) == {"user-1": UNKNOWN}


def test_a_function_with_at_is_asked_about_the_moment_in_utc():
    asked = []

    def answer(subject_id, purpose, at):
        asked.append(at)
        return True

    registry = CallableRegistry(answer)
    tokyo = YESTERDAY.astimezone(timezone(timedelta(hours=9)))
    for at in (None, tokyo, datetime.now(timezone.utc) + timedelta(days=1)):
        assert registry.status("user-1", "analytics", at=at) is GRANTED
    assert asked == [None, YESTERDAY, None]  # a moment to come counts as now
    assert asked[1].tzinfo is timezone.utc


@pytest.mark.parametrize("at", [datetime(2026, 1, 1), "2026-01-01", 0])  # noqa: DTZ001 - it is refused
def test_a_moment_that_is_naive_or_none_at_all_is_an_error(at):
    registry = CallableRegistry(lambda subject_id, purpose: True)
    with pytest.raises(InvalidRecordError, match=r"^at must"):
        registry.status("user-1", "analytics", at=at)


def test_a_function_whose_signature_cannot_be_read_is_asked_about_now():
    class Opaque:
        __signature__ = "not a signature"

        def __call__(self, subject_id, purpose):
            return True

    registry = CallableRegistry(Opaque())
    assert registry.status("user-1", "analytics") is GRANTED
    assert registry.status("user-1", "analytics", at=YESTERDAY) is UNKNOWN


# What it is built of


async def asynchronous(*arguments):
    return True


class AsynchronousObject:
    async def __call__(self, *arguments):
        return True


@pytest.mark.parametrize("function", [asynchronous, functools.partial(asynchronous), AsynchronousObject()])
@pytest.mark.parametrize("name", ["function", "record", "history", "forget"])
def test_a_coroutine_function_is_refused_at_construction(function, name):
    functions = {"function": lambda subject_id, purpose: True, name: function}
    with pytest.raises(ConfigurationError, match=f"^{name} must be a plain function"):
        CallableRegistry(functions.pop("function"), **functions)


@pytest.mark.parametrize("name", ["function", "record", "history", "forget"])
def test_what_is_not_callable_is_refused_at_construction(name):
    functions = {"function": lambda subject_id, purpose: True, name: "consent"}
    with pytest.raises(ConfigurationError, match=f"^{name} must be callable, not str"):
        CallableRegistry(functions.pop("function"), **functions)


def test_the_function_itself_cannot_be_left_out():
    with pytest.raises(ConfigurationError, match="function must be callable, not NoneType"):
        CallableRegistry(None)


def test_without_functions_of_your_own_nothing_is_recorded_listed_or_erased():
    registry = CallableRegistry(lambda subject_id, purpose: True)
    for name, use in (
        ("record", lambda: registry.record(ConsentRecord("user-1", "analytics", GRANTED))),
        ("history", lambda: registry.history("user-1")),
        ("forget", lambda: registry.forget("user-1")),
    ):
        with pytest.raises(RegistryError, match=f"pass {name}= to CallableRegistry"):
            use()


def test_functions_of_your_own_are_handed_what_was_asked():
    calls = []
    record = ConsentRecord("42", "analytics", GRANTED)
    registry = CallableRegistry(
        lambda subject_id, purpose: None,
        record=calls.append,
        history=lambda subject_id: (calls.append(("history", subject_id)), record)[1:],
        forget=lambda subject_id: calls.append(("forget", subject_id)),
    )
    registry.record(record)
    assert registry.history(42) == [record]
    registry.forget(42)
    assert calls == [record, ("history", "42"), ("forget", "42")]


@pytest.mark.parametrize("thing", [None, {"subject_id": "user-1"}, "user-1"])
def test_what_is_not_a_record_never_reaches_your_function(thing):
    calls = []
    registry = CallableRegistry(lambda subject_id, purpose: None, record=calls.append)
    with pytest.raises(InvalidRecordError, match=f"not {type(thing).__name__}$"):
        registry.record(thing)
    assert calls == []


def test_it_is_a_registry_and_its_repr_names_the_function():
    def consent_of(subject_id, purpose):
        return True

    registry = CallableRegistry(consent_of)
    assert isinstance(registry, ConsentRegistry)
    assert repr(registry) == "<CallableRegistry of consent_of>"
    assert repr(CallableRegistry(functools.partial(consent_of))) == "<CallableRegistry of partial>"


def test_a_plain_callable_is_taken_wherever_a_registry_is():
    vendor = FakeTransport()
    table = {"user-1": True, "user-2": False}
    mp = Mixpanel("TOKEN", vendor, registry=lambda key, purpose: table.get(key), policy=FieldPolicy.keep_all())
    for subject_id in ("user-1", "user-2", "user-3"):
        mp.track(subject_id, "Asked")
    assert [message.distinct_id for message in vendor.messages] == ["user-1"]


def test_a_function_that_takes_any_keyword_is_asked_about_the_past():
    # rule 2.3
    asked = []
    registry = CallableRegistry(lambda subject_id, purpose, **more: asked.append(more) or True)
    assert registry.status("user-1", "analytics", at=YESTERDAY) is GRANTED
    assert asked == [{"at": YESTERDAY}]
