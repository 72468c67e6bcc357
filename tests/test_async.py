"""The client for asyncio: what is its own (contract rule 8.8). The gate's behaviour is tested with both drivers in tests/contract."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import threading
import time
from contextlib import suppress

import mixpanel
import pytest

import consentpanel
from consentpanel import (
    AsyncMixpanel,
    BackgroundConsumer,
    BufferedConsumer,
    ConfigurationError,
    ConsentRecord,
    ConsentStatus,
    Decision,
    FieldPolicy,
    MessageError,
    Mixpanel,
    Regime,
    RegistryError,
    keep,
)
from consentpanel._log import forget_warnings
from consentpanel.registry import AsyncConsentRegistry, MemoryRegistry
from consentpanel.testing import FakeTransport

POLICY = FieldPolicy(events={"plan": keep()}, people={"plan": keep()})
GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED


class Later:
    """A registry of five coroutine methods."""

    def __init__(self, wait: float = 0.0) -> None:
        self.inner, self.wait, self.asked = MemoryRegistry(), wait, 0

    async def status(self, subject_id, purpose, *, at=None):
        self.asked += 1
        await asyncio.sleep(self.wait)
        return self.inner.status(subject_id, purpose, at=at)

    async def statuses(self, subject_ids, purpose, *, at=None):
        await asyncio.sleep(self.wait)
        return self.inner.statuses(subject_ids, purpose, at=at)

    async def record(self, record):
        await asyncio.sleep(self.wait)
        self.inner.record(record)

    async def history(self, subject_id):
        await asyncio.sleep(self.wait)
        return self.inner.history(subject_id)

    async def forget(self, subject_id):
        await asyncio.sleep(self.wait)
        return self.inner.forget(subject_id)


@pytest.fixture
def vendor():
    return FakeTransport()


def test_it_has_every_call_of_the_client_as_a_coroutine():
    calls = {
        name
        for name in dir(mixpanel.Mixpanel)
        if not name.startswith("_") and name not in {"local_flags", "remote_flags"}
    }
    for name in {*calls, "withdraw", "opt_in", "opt_out", "flush", "close"}:
        assert inspect.iscoroutinefunction(getattr(AsyncMixpanel, name)), name
    assert isinstance(Later(), AsyncConsentRegistry)


async def test_an_asynchronous_registry_is_awaited_and_written_to(vendor):
    registry = Later()
    async with AsyncMixpanel("TOKEN", vendor, registry=registry, policy=POLICY) as mp:
        assert (await mp.track("user-1", "Signed up")).reason.value == "no_consent"
        await mp.opt_in("user-1")
        decision = await mp.track("user-1", "Signed up", {"plan": "pro", "email": "a@b.example"})
        assert isinstance(decision, Decision)
        assert dict(decision.dropped) == {"email": "unnamed"}
        assert await mp.people_set("user-1", {"plan": "pro"})
        found = await mp.withdraw("user-1", source="settings")
        assert len(found.purposes) == 3
        assert not await mp.track("user-1", "Signed up")
        assert [record.source for record in registry.inner.history("user-1")][-1] == "settings"
        assert mp.stats()["dropped"]["withdrawn"] == 1


async def test_many_questions_wait_at_the_same_time(vendor):
    registry = Later(0.1)
    registry.inner.grant("user-1")
    mp = AsyncMixpanel("TOKEN", vendor, registry=registry, policy=POLICY)
    before = time.monotonic()
    decisions = await asyncio.gather(*(mp.track("user-1", "Viewed") for _ in range(200)))
    assert all(decisions)
    assert registry.asked >= 200
    assert time.monotonic() - before < 10  # one after the other it would be 20 s


async def test_a_coroutine_function_is_a_registry(vendor):
    async def consent_of(subject_id, purpose, *, at=None):
        return at is None or subject_id == "user-1"

    mp = AsyncMixpanel("TOKEN", vendor, registry=consent_of, policy=POLICY)
    assert await mp.track("user-2", "Viewed")
    past = {"time": time.time() - 3600}
    assert [bool(await mp.track(who, "Viewed", past)) for who in ("user-1", "user-2")] == [True, False]

    async def wrong(subject_id, purpose):
        return "yes"

    mp = AsyncMixpanel("TOKEN", vendor, registry=wrong, policy=POLICY)
    assert (await mp.track("user-1", "Viewed")).reason.value == "registry_error"


async def test_a_registry_that_raises_denies(vendor, caplog):
    async def failing(subject_id, purpose):
        raise RuntimeError(f"no {subject_id}")

    mp = AsyncMixpanel("TOKEN", vendor, registry=failing, policy=POLICY)
    assert (await mp.track("user-4711", "Viewed")).reason.value == "registry_error"
    assert "4711" not in caplog.text
    with pytest.raises(RegistryError):
        await mp.withdraw("user-4711")


async def test_a_registry_that_answers_at_once_is_asked_in_a_thread(vendor):
    asked = []

    def consent_of(subject_id, purpose):
        asked.append(threading.current_thread())
        return True

    def regime_of(subject_id):
        asked.append(threading.current_thread())
        return Regime.OPT_IN

    mp = AsyncMixpanel("TOKEN", vendor, registry=consent_of, policy=POLICY, regime=regime_of)
    assert await mp.track("user-1", "Viewed")
    assert len(asked) >= 2
    assert threading.main_thread() not in asked


def test_a_registry_of_two_minds_is_refused(vendor):
    class Both(Later):
        def history(self, subject_id):
            return []

    with pytest.raises(ConfigurationError, match=r"registry\.history"):
        AsyncMixpanel("TOKEN", vendor, registry=Both())
    with pytest.raises(ConfigurationError):
        Mixpanel("TOKEN", vendor, registry=Later())
    with pytest.raises(ConfigurationError, match="token"):
        AsyncMixpanel("", vendor)


async def test_a_buffer_asks_an_asynchronous_registry_again(vendor):
    registry = Later()
    registry.inner.grant("user-1")
    registry.inner.grant("user-2")
    consumer = BackgroundConsumer(consumer=vendor, linger=60)
    async with AsyncMixpanel("TOKEN", consumer, registry=registry, policy=POLICY) as mp:
        await asyncio.gather(*(mp.track(f"user-{number}", "Viewed") for number in (1, 2)))
        registry.inner.deny("user-2")
        await mp.flush()
        assert [message.distinct_id for message in vendor.events] == ["user-1"]
        await mp.track("user-1", "Viewed")
        assert (await mp.withdraw("user-1")).discarded == 1
    consumer.close()


async def test_what_raises_is_raised_and_told_as_by_the_client(vendor):
    async def failing(subject_id, purpose):
        raise OSError

    mp = AsyncMixpanel("TOKEN", vendor, registry=failing, policy=POLICY, on_error="raise")
    with pytest.raises(MessageError):
        await mp.track("user-1", "Viewed")
    mp = AsyncMixpanel("TOKEN", vendor, registry=lambda *_: True, policy=POLICY)
    vendor.fail(times=1)
    with pytest.raises(mixpanel.MixpanelException):
        await mp.track("user-1", "Viewed")
    assert await mp.track("user-1", "Viewed")


async def test_an_alias_is_sent_at_once(vendor):
    consumer = BufferedConsumer(consumer=vendor)
    mp = AsyncMixpanel("TOKEN", consumer, registry=lambda *_: True, policy=POLICY)
    assert await mp.alias("user-1", "visitor-1")
    assert [message.event for message in vendor.events] == ["$create_alias"]


async def test_what_is_held_leaves_after_a_grant(vendor):
    registry = Later()
    consumer = BufferedConsumer(consumer=vendor)
    mp = AsyncMixpanel("TOKEN", consumer, registry=registry, policy=POLICY, while_unknown="hold", hold_for=60)
    assert (await mp.track("user-1", "Signed up")).outcome.value == "held"
    await mp.opt_in("user-1", covers_held=True)
    await mp.flush()
    assert sorted(message.event for message in vendor.events) == ["$opt_in", "Signed up"]


async def test_without_a_consumer_it_sends_in_the_background():
    mp = AsyncMixpanel("TOKEN", registry=lambda *_: False)
    assert isinstance(mp._client._consumer, BackgroundConsumer)
    await mp.close()


async def test_a_client_is_neither_copied_nor_pickled(vendor):
    with pytest.raises(TypeError, match="build it in the worker"):
        copy.copy(AsyncMixpanel("TOKEN", vendor))
    assert repr(AsyncMixpanel("TOKEN", vendor)) == "<AsyncMixpanel>"


async def test_a_call_that_is_cancelled_sends_nothing(vendor):
    mp = AsyncMixpanel("TOKEN", vendor, registry=Later(30), policy=POLICY)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(mp.track("user-1", "Viewed"), 0.05)
    assert vendor.messages == []


class Turns:
    """Measures the longest turn of the running loop."""

    async def __aenter__(self):
        self.worst = 0.0
        self.task = asyncio.create_task(self.watch())
        await asyncio.sleep(0.01)
        return self

    async def watch(self):
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            present = time.perf_counter()
            self.worst = max(self.worst, present - last)
            last = present

    async def __aexit__(self, *_):
        self.task.cancel()


async def test_nothing_that_is_slow_is_done_in_the_loop(vendor):
    """A slow registry, a vendor that hangs and a full queue: each is entered outside of the loop's thread, or not waited for."""
    release = threading.Event()
    entered: list[threading.Thread] = []

    class Hanging:
        def send(self, endpoint, json_message, api_key=None, api_secret=None):
            entered.append(threading.current_thread())
            release.wait(30)

    def slow(subject_id, purpose):
        entered.append(threading.current_thread())
        time.sleep(0.3)
        return True

    consumer = BackgroundConsumer(
        max_size=1, max_queued=1, timeout=0.2, consumer=Hanging(), linger=0.01, exit_timeout=0.1
    )
    mp = AsyncMixpanel("TOKEN", consumer, registry=slow, policy=POLICY)
    async with Turns() as turns:
        await asyncio.gather(*(mp.track("user-1", "Viewed") for _ in range(30)))
    release.set()
    assert entered
    assert threading.main_thread() not in entered
    assert turns.worst < 0.29  # no turn waited for any of them
    with pytest.raises(mixpanel.MixpanelException):
        await asyncio.to_thread(lambda: consumer.close(0.01) or _raise())


def _raise():
    raise mixpanel.MixpanelException


async def test_flags_do_not_ask_in_the_loop_and_report_exposures(vendor):
    registry = Later()
    registry.inner.grant("user-1")
    mp = AsyncMixpanel(
        "TOKEN", vendor, registry=registry, policy=POLICY, remote_flags_config=consentpanel.RemoteFlagsConfig()
    )
    mp._note_loop()
    mp._client._track_exposure("user-1", "$experiment_started", {"Experiment name": "a"})
    for _ in range(200):
        if vendor.events:
            break
        await asyncio.sleep(0.01)
    assert [message.event for message in vendor.events] == ["$experiment_started"]
    assert mp.remote_flags is not None


async def test_what_is_delivered_though_its_call_was_cancelled_is_told(vendor):
    told = []

    class Slow:
        def send(self, endpoint, json_message, api_key=None, api_secret=None):
            time.sleep(0.2)
            vendor.send(endpoint, json_message)

    mp = AsyncMixpanel("TOKEN", Slow(), registry=lambda *_: True, policy=POLICY, observers=[told.append])
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(mp.track("user-1", "Viewed"), 0.1)
    await mp.flush()
    assert len(vendor.messages) == len(told) == 1
    assert mp.stats()["sent"]["consent_granted"] == 1


async def test_exposures_are_there_when_the_client_is_left(vendor):
    registry = Later(0.1)
    registry.inner.grant("user-1")
    async with AsyncMixpanel(
        "TOKEN", vendor, registry=registry, policy=POLICY, remote_flags_config=consentpanel.RemoteFlagsConfig()
    ) as mp:
        mp._client._track_exposure("user-1", "$experiment_started", {"Experiment name": "a"})
        thread = threading.Thread(target=mp._client._track_exposure, args=("user-1", "$experiment_started"))
        thread.start()
        thread.join()
    assert len(vendor.events) == 2


def test_an_exposure_outside_of_any_loop_is_judged_at_once(vendor):
    mp = AsyncMixpanel("TOKEN", vendor, registry=lambda *_: True, policy=POLICY)
    mp._client._track_exposure("user-1", "$experiment_started")
    assert len(vendor.events) == 1


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration, asyncio.CancelledError])
async def test_what_no_future_can_carry_is_a_failure_like_any_other(vendor, error):
    def raising(*_):
        raise error

    async def later(*_):
        raise error

    for registry in (raising, later):
        mp = AsyncMixpanel("TOKEN", vendor, registry=registry, policy=POLICY)
        if error is asyncio.CancelledError and registry is raising:
            continue
        found = await asyncio.wait_for(mp.track("user-1", "Viewed"), 10)
        assert found.reason.value == "registry_error"


def test_a_consumer_that_raises_stop_iteration_raises_it():
    class Exhausted:
        def send(self, endpoint, json_message, api_key=None, api_secret=None):
            raise StopIteration

    mp = Mixpanel("TOKEN", Exhausted(), registry=lambda *_: True, policy=POLICY)
    for call in (lambda: mp.track("user-1", "Viewed"), lambda: mp.track("user-1", "Viewed", {}, {"a": 1})):
        with pytest.raises(StopIteration):
            call()


async def test_a_vendor_that_hangs_keeps_nobody_from_withdrawing(vendor):
    release = threading.Event()

    class Hanging:
        def send(self, endpoint, json_message, api_key=None, api_secret=None):
            release.wait(30)

    hanging = AsyncMixpanel("TOKEN", Hanging(), registry=lambda *_: True, policy=POLICY)
    tasks = [asyncio.ensure_future(hanging.track("user-1", "Viewed")) for _ in range(40)]
    await asyncio.sleep(0.1)
    other = AsyncMixpanel("OTHER", vendor, registry=MemoryRegistry(), policy=POLICY)
    await asyncio.wait_for(other.withdraw("user-1"), 10)
    release.set()
    await asyncio.gather(*tasks)


async def test_both_drivers_send_the_same_bytes():
    sent = []
    for kind in (Mixpanel, AsyncMixpanel):
        vendor = FakeTransport()
        mp = kind("TOKEN", vendor, registry=lambda *_, **__: True, policy=FieldPolicy.keep_all())
        client = getattr(mp, "_client", mp)
        client._now, client._make_insert_id = (lambda: 1_700_000_000), (lambda: "id")
        for name, arguments in (
            ("track", ("user-1", "Viewed", {"plan": "pro"}, {"extra": 1})),
            ("people_set", ("user-1", {"plan": "pro"})),
            ("people_track_charge", ("user-1", 12, {"$time": "2026-01-01T00:00:00"})),
            ("group_set", ("company", "acme", {"plan": "pro"})),
            ("import_data", ("key", "user-1", "Viewed", 1_600_000_000, {"plan": "pro"})),
            ("merge", ("key", "user-1", "user-2")),
            ("alias", ("user-1", "user-2")),
        ):
            answer = getattr(mp, name)(*arguments)
            decision = await answer if inspect.isawaitable(answer) else answer
            assert decision, name
        sent.append([(message.endpoint, json.loads(message.raw)) for message in vendor.messages])
    assert sent[0] == sent[1]


async def test_records_of_a_registry_later_are_its_own(vendor):
    registry = Later()
    await registry.record(ConsentRecord("user-1", "analytics", GRANTED))
    assert await registry.status("user-1", "analytics") is GRANTED


async def test_the_fixture_works_with_a_registry_that_answers_later(consentpanel_outbox):
    registry = Later()
    registry.inner.grant("user-1")
    mp = AsyncMixpanel("TOKEN", registry=registry, policy=POLICY)
    assert await asyncio.wait_for(mp.track("user-1", "Viewed", {"plan": "pro"}), 5)
    consentpanel_outbox.assert_tracked("Viewed", distinct_id="user-1", properties={"plan": "pro"})
    await mp.close()


def test_a_loop_that_has_ended_is_named_as_what_helps(vendor, caplog):  # rules 8.3 and 8.8
    forget_warnings()

    async def consent_of(subject_id, purpose):
        return True

    buffer = BufferedConsumer(consumer=vendor)
    mp = AsyncMixpanel("T", buffer, registry=consent_of, policy=FieldPolicy.keep_all())
    asyncio.run(mp.track("user-1", "Signed up"))
    with suppress(Exception):
        buffer.flush()
    assert vendor.messages == []
    assert "Close the AsyncMixpanel" in caplog.text
    buffer.discard_all()


def test_the_fixture_gets_what_an_outbox_commits_in_a_loop_with_a_registry_that_answers_later(
    tmp_path, consentpanel_outbox
):
    pytest.importorskip("aiosqlite")
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    from consentpanel import SQLAlchemyOutbox

    async def consent_of(subject_id, purpose):
        return subject_id == "user-1"

    async def main():
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
        outbox = SQLAlchemyOutbox(engine, connections=0)
        mp = AsyncMixpanel("T", outbox, registry=consent_of)
        async with AsyncSession(engine) as session:
            await session.execute(text("SELECT 1"))
            for who in ("user-1", "user-2"):
                await mp.track(who, "Paid")
            await session.commit()
        await engine.dispose()

    asyncio.run(asyncio.wait_for(main(), 5))
    assert [message.distinct_id for message in consentpanel_outbox.events] == ["user-1"]
