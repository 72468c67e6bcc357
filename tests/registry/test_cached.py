"""`CachedRegistry` (contract rule 2.12)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from consentpanel import ConfigurationError, ConsentRecord, ConsentStatus, FieldPolicy, Mixpanel, Reason, RegistryError
from consentpanel.registry import CachedRegistry, MemoryRegistry, SQLiteRegistry
from consentpanel.registry import cached as cached_module
from consentpanel.testing import FakeTransport, RegistryContract

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN


class TestCachedMemory(RegistryContract):
    def make_registry(self, **options: Any) -> Any:
        return CachedRegistry(MemoryRegistry(**options), ttl=60)


class TestCachedFiveMethods(RegistryContract):
    def make_registry(self, **options: Any) -> Any:
        if options:
            raise TypeError
        return CachedRegistry(FiveMethods(), ttl=60)


class TestCachedSQLite(RegistryContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Any) -> None:
        self.path = tmp_path / "consent.db"

    def make_registry(self, **options: Any) -> Any:
        return CachedRegistry(SQLiteRegistry(self.path, **options), ttl=60, max_size=3)


class Counting(MemoryRegistry):
    asked = 0

    def standing(self, *arguments: Any, **keywords: Any) -> Any:
        self.asked += 1
        return super().standing(*arguments, **keywords)


class Theirs:
    """Asks a table to which others write as well, past the package."""

    asked = 0

    def __init__(self) -> None:
        self.table = MemoryRegistry()

    def status(self, subject_id: str, purpose: str, *, at: datetime | None = None) -> ConsentStatus:
        self.asked += 1
        return self.table.status(subject_id, purpose, at=at)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cached_module, "time", clock)
    return clock


def test_an_answer_is_remembered_for_ttl_seconds_and_no_longer(clock: Clock) -> None:
    inner = Theirs()
    registry = CachedRegistry(inner, ttl=10)
    for _ in range(3):
        assert registry.status("user-1", "analytics") is UNKNOWN
    assert inner.asked == 1
    inner.table.grant("user-1")
    clock.now += 9.9
    assert registry.status("user-1", "analytics") is UNKNOWN
    clock.now += 0.1
    assert registry.status("user-1", "analytics") is GRANTED


def test_a_write_through_it_shows_at_once(clock: Clock) -> None:
    registry = CachedRegistry(MemoryRegistry(), ttl=3600)
    for write, expected in (
        (lambda: registry.grant("user-1"), GRANTED),
        (lambda: registry.deny("user-1", "analytics"), DENIED),
        (lambda: registry.record(ConsentRecord("user-1", "analytics", GRANTED)), GRANTED),
        (lambda: registry.forget("user-1"), UNKNOWN),
    ):
        write()
        assert registry.status("user-1", "analytics") is expected


def test_an_answer_asked_for_before_a_write_is_not_remembered_after_it() -> None:
    class Slow(MemoryRegistry):
        def standing(self, *arguments: Any, **keywords: Any) -> Any:
            answer = super().standing(*arguments, **keywords)
            if hook := hooks.pop() if hooks else None:
                hook()
            return answer

    registry = CachedRegistry(Slow(), ttl=3600)
    registry.grant("user-1")
    hooks = [lambda: registry.deny("user-1")]
    assert registry.status("user-1", "analytics") is GRANTED
    assert registry.status("user-1", "analytics") is DENIED


def test_failures_and_wrong_answers_are_never_remembered() -> None:
    answers: list[Any] = [OSError(), "granted", True, None]

    def ask(subject_id: str, purpose: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    mp = Mixpanel("T", FakeTransport(), registry=CachedRegistry(ask, ttl=3600), policy=FieldPolicy())
    reasons = [mp.track("user-1", "E").reason for _ in range(4)]
    assert reasons == [Reason.REGISTRY_ERROR, Reason.REGISTRY_ERROR, Reason.CONSENT_GRANTED, Reason.CONSENT_GRANTED]


def test_the_past_is_always_asked_about() -> None:
    inner = Counting()
    registry = CachedRegistry(inner, ttl=3600)
    then = datetime.now(timezone.utc) - timedelta(days=1)
    for _ in range(2):
        assert registry.status("user-1", "analytics", at=then) is UNKNOWN
    assert inner.asked == 2


def test_it_holds_no_more_than_max_size_answers() -> None:
    inner = Counting()
    registry = CachedRegistry(inner, ttl=3600, max_size=2)
    for number in (1, 2, 3):
        registry.status(f"user-{number}", "analytics")
    assert "of 2 answers" in repr(registry)
    registry.status("user-3", "analytics")
    assert inner.asked == 3
    registry.status("user-1", "analytics")
    assert inner.asked == 4


def test_the_cause_of_an_answer_is_kept() -> None:
    past = datetime.now(timezone.utc) - timedelta(days=2)
    inner = MemoryRegistry()
    inner.grant("user-1", recorded_at=past, expires_at=past + timedelta(days=1))
    mp = Mixpanel("T", FakeTransport(), registry=CachedRegistry(inner, ttl=60))
    assert [mp.track("user-1", "E").reason for _ in range(2)] == [Reason.EXPIRED] * 2


def test_what_the_other_registry_lacks_is_an_error_of_its_own() -> None:
    registry = CachedRegistry(lambda subject_id, purpose: True, ttl=1)
    with pytest.raises(RegistryError, match="pass record= to CallableRegistry"):
        registry.deny("user-1")


class FiveMethods:
    """What anybody writes: nothing that the protocol does not ask for. It counts how often its history is read."""

    def __init__(self) -> None:
        self.inner = MemoryRegistry()
        self.status, self.statuses = self.inner.status, self.inner.statuses
        self.record, self.forget = self.inner.record, self.inner.forget
        self.read = 0

    def history(self, subject_id: str) -> list[ConsentRecord]:
        self.read += 1
        return self.inner.history(subject_id)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the clock of the whole package, and no monotonic clock."""
    ahead = timedelta()

    def later() -> datetime:
        return datetime.now(timezone.utc) + ahead

    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("consentpanel") and hasattr(module, "now"):
            monkeypatch.setattr(module, "now", later)

    def move(by: timedelta) -> None:
        nonlocal ahead
        ahead += by

    return move


@pytest.mark.parametrize(
    "make",
    [
        lambda: CachedRegistry(MemoryRegistry(), ttl=3600),
        lambda: CachedRegistry(FiveMethods(), ttl=3600),
        lambda: CachedRegistry(CachedRegistry(MemoryRegistry(), ttl=3600), ttl=3600),
        lambda: CachedRegistry(CachedRegistry(FiveMethods(), ttl=3600), ttl=3600),
    ],
    ids=["memory", "five methods", "cached memory", "cached five methods"],
)
def test_a_grant_is_never_remembered_past_its_own_end(
    clock: Clock, wall: Callable[[timedelta], None], make: Any
) -> None:
    # rule 2.12
    registry = make()
    for subject_id, seconds in (("user-1", 10), ("user-2", 20), ("user-3", None)):
        end = None if seconds is None else datetime.now(timezone.utc) + timedelta(seconds=seconds)
        registry.record(ConsentRecord(subject_id, "analytics", GRANTED, expires_at=end))
    ids = ["user-1", "user-2", "user-3"]
    assert registry.statuses(ids, "analytics") == dict.fromkeys(ids, GRANTED)
    wall(timedelta(seconds=11))
    assert registry.statuses(ids, "analytics") == {"user-1": UNKNOWN, "user-2": GRANTED, "user-3": GRANTED}
    wall(timedelta(seconds=11))
    assert registry.statuses(ids, "analytics") == {"user-1": UNKNOWN, "user-2": UNKNOWN, "user-3": GRANTED}


def test_a_grant_of_a_file_is_not_remembered_past_its_own_end(tmp_path: Any) -> None:
    # rule 2.12
    with SQLiteRegistry(tmp_path / "consent.db") as inner:
        registry = CachedRegistry(inner, ttl=3600)
        end = datetime.now(timezone.utc) + timedelta(seconds=1)
        registry.grant("user-1", expires_at=end)
        mp = Mixpanel("T", FakeTransport(), registry=registry, policy=FieldPolicy())
        mp.track("user-1", "E")
        while datetime.now(timezone.utc) <= end:
            time.sleep(0.05)
        assert mp.track("user-1", "E").reason is Reason.EXPIRED


def test_the_history_is_read_once_for_a_grant_that_is_remembered_and_for_nothing_else(clock: Clock) -> None:
    inner = FiveMethods()
    registry = CachedRegistry(inner, ttl=60)
    for subject_id, status in (("user-1", GRANTED), ("user-2", DENIED), ("user-3", UNKNOWN)):
        registry.record(ConsentRecord(subject_id, "analytics", status))
    for _ in range(3):
        registry.statuses(["user-1", "user-2", "user-3", "user-4"], "analytics")
    assert inner.read == 1


@pytest.mark.parametrize("answer", [OSError("ada"), None, ["ada"]])
def test_a_grant_of_which_nobody_can_tell_the_end_is_not_remembered(answer: Any) -> None:
    # rule 2.12: failures are never cached
    asked: list[str] = []

    class Failing(FiveMethods):
        def status(self, subject_id: str, purpose: str, *, at: Any = None) -> ConsentStatus:
            asked.append(subject_id)
            return GRANTED

        def __init__(self) -> None:
            pass

        def history(self, subject_id: str) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    registry = CachedRegistry(Failing(), ttl=3600)
    assert [registry.status("user-1", "analytics") for _ in range(3)] == [GRANTED] * 3
    assert len(asked) == 3


@pytest.mark.parametrize("answer", [OSError("ada"), "2026-05-01", datetime(2999, 1, 1), 0])  # noqa: DTZ001
def test_an_end_that_is_none_is_not_trusted(answer: Any) -> None:
    class Ending(Counting):
        def ends_at(self, subject_id: Any, purpose: str) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    inner = Ending()
    inner.grant("user-1")
    registry = CachedRegistry(inner, ttl=3600)
    assert [registry.status("user-1", "analytics") for _ in range(3)] == [GRANTED] * 3
    assert inner.asked == 3


def test_ttl_counts_from_the_question_and_not_from_a_slow_answer(clock: Clock) -> None:
    class Slow(Theirs):
        def status(self, *arguments: Any, **keywords: Any) -> Any:
            answer = super().status(*arguments, **keywords)
            clock.now += 6
            return answer

    inner = Slow()
    registry = CachedRegistry(inner, ttl=10)
    registry.status("user-1", "analytics")
    inner.table.grant("user-1")
    clock.now += 4
    assert registry.status("user-1", "analytics") is GRANTED


WRITES: dict[str, Callable[[Any], Any]] = {
    "grant": lambda registry: registry.grant("user-1"),
    "deny": lambda registry: registry.deny("user-1"),
    "record": lambda registry: registry.record(ConsentRecord("user-1", "analytics", DENIED)),
    "record_many": lambda registry: registry.record_many([ConsentRecord("user-1", "analytics", DENIED)]),
    "forget": lambda registry: registry.forget("user-1"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("kind", ["the one behind", "the one behind two", "another on the same file"])
def test_what_the_process_writes_past_it_shows_at_once(tmp_path: Path, write: Callable[[Any], Any], kind: str) -> None:
    # rule 2.12: a withdrawal on the registry that is wrapped, or on another object for its file
    inner: Any = MemoryRegistry() if kind != "another on the same file" else SQLiteRegistry(tmp_path / "consent.db")
    registry = CachedRegistry(CachedRegistry(inner, ttl=60) if kind == "the one behind two" else inner, ttl=60)
    other = SQLiteRegistry(tmp_path / "consent.db") if kind == "another on the same file" else inner
    for given in (lambda: other.grant("user-1"), lambda: other.deny("user-1"), lambda: write(other)):
        given()
        assert registry.status("user-1", "analytics") is other.status("user-1", "analytics")


def test_a_file_is_the_same_through_a_link(tmp_path: Path) -> None:
    # rule 2.12
    inner = SQLiteRegistry(tmp_path / "consent.db")
    (tmp_path / "current.db").symlink_to(tmp_path / "consent.db")
    registry = CachedRegistry(inner, ttl=60)
    registry.grant("user-1")
    assert registry.status("user-1", "analytics") is GRANTED
    SQLiteRegistry(tmp_path / "current.db").deny("user-1")
    assert registry.status("user-1", "analytics") is DENIED


def test_what_is_written_to_another_store_makes_it_forget_nothing() -> None:
    inner = Counting()
    registry = CachedRegistry(inner, ttl=60)
    registry.status("user-1", "analytics")
    MemoryRegistry().deny("user-1")
    inner.deny("user-2")
    registry.status("user-1", "analytics")
    assert inner.asked == 1


def test_from_a_function_an_answer_is_remembered_for_ttl_seconds(clock: Clock) -> None:
    asked: list[str] = []
    registry = CachedRegistry(lambda subject_id, purpose: asked.append(subject_id) or True, ttl=10)
    for _ in range(3):
        assert registry.status("user-1", "analytics") is GRANTED
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["record", "record_many", "grant", "deny", "forget"])
def test_what_a_failing_write_may_have_changed_is_asked_for_again(name: str) -> None:
    class Failing(MemoryRegistry):
        def _fail(self, *arguments: Any, **keywords: Any) -> Any:
            super().record(ConsentRecord("user-1", "analytics", DENIED))
            raise OSError("ada")

    setattr(Failing, name, Failing._fail)
    inner = Failing()
    MemoryRegistry.record(inner, ConsentRecord("user-1", "analytics", GRANTED))
    registry = CachedRegistry(inner, ttl=3600)
    assert registry.status("user-1", "analytics") is GRANTED
    record = ConsentRecord("user-1", "analytics", GRANTED)
    given: dict[str, Any] = {"record": record, "record_many": [record]}
    with pytest.raises(RegistryError, match=rf"^Failing\.{name} failed: OSError$") as caught:
        getattr(registry, name)(given.get(name, "user-1"))
    assert caught.value.__context__ is None
    assert registry.status("user-1", "analytics") is DENIED


@pytest.mark.parametrize("purposes", [(), ("analytics", "targeting")])
def test_any_registry_of_five_methods_can_be_granted_and_denied_through_it(purposes: tuple[str, ...]) -> None:
    # rule 2.12
    registry = CachedRegistry(FiveMethods(), ttl=3600)
    for say, status in ((registry.grant, GRANTED), (registry.deny, DENIED), (registry.grant, GRANTED)):
        say("user-1", *purposes, source="form")
        for purpose in purposes or ("analytics", "profiles", "feature_flags"):
            assert registry.status("user-1", purpose) is status
    assert {record.source for record in registry.history("user-1")} == {"form"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"ttl": 0},
        {"ttl": -1},
        {"ttl": True},
        {"ttl": "1"},
        {"ttl": 10**6},
        {"ttl": 1, "max_size": 0},
        {"ttl": 1, "max_size": 1.5},
        {"ttl": 1, "registry": None},
        {"ttl": 1, "registry": MemoryRegistry},
    ],
)
def test_a_wrong_argument_is_a_configuration_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        CachedRegistry(**{"registry": MemoryRegistry(), **arguments})


def test_many_threads_never_see_a_grant_after_their_own_denial() -> None:
    registry = CachedRegistry(MemoryRegistry(), ttl=3600, max_size=50)
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(200):
            subject = f"user-{number}-{turn % 7}"
            registry.grant(subject, "analytics")
            registry.status(subject, "analytics")
            registry.deny(subject, "analytics")
            if registry.status(subject, "analytics") is not DENIED:
                wrong.append(subject)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
