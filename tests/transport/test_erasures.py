"""An erasure that was asked for is carried out, whatever the vendor does meanwhile (contract rule 7.3)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import consentpanel
from consentpanel import (
    FieldPolicy,
    Mixpanel,
    PrivacyRequestError,
    PrivacyRequests,
    SpoolConsumer,
    TaskStatus,
    per_subject,
    pseudonymous,
)
from consentpanel._cli import main
from consentpanel.registry import MemoryRegistry, SQLiteRegistry
from consentpanel.testing import FakePrivacyAPI, FakeTransport
from consentpanel.transport import _erasures, _spool

WHO = "ada-lovelace-4711"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    consentpanel.reset()
    monkeypatch.setattr(_erasures, "_FIRST_PAUSE", 0)


@pytest.fixture
def registry() -> MemoryRegistry:
    registry = MemoryRegistry()
    registry.grant(WHO)
    return registry


@pytest.fixture
def vendor() -> Iterator[FakePrivacyAPI]:
    with FakePrivacyAPI() as vendor:
        yield vendor


@pytest.fixture
def client(tmp_path: Path, registry: MemoryRegistry, vendor: FakePrivacyAPI) -> Iterator[Callable[..., Mixpanel]]:
    made: list[SpoolConsumer] = []

    def build(**given: Any) -> Mixpanel:
        made.append(SpoolConsumer(tmp_path / "spool.db", consumer=FakeTransport(), linger=9))
        mine: dict[str, Any] = {"registry": registry, "policy": FieldPolicy.keep_all(), "privacy": requests_to(vendor)}
        return Mixpanel("TOKEN", made[-1], **{**mine, **given})

    yield build
    for each in made:
        each._spool.discard_all()
        each.close()


def requests_to(vendor: FakePrivacyAPI) -> PrivacyRequests:
    return PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)


def numbers_in(registry: Any, subject: str = WHO) -> list[Any]:
    return [
        record.evidence["deletion_requests"]
        for record in registry.history(subject)
        if "deletion_requests" in record.evidence
    ]


def waits_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_vendor_that_takes_it_at_once_is_asked_once(
    client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI, tmp_path: Path
) -> None:
    mp = client()
    done = mp.withdraw(WHO, ["analytics"], erase=True, source="settings-page", evidence={"form": 7})
    (task,) = done.erasure
    assert not done.is_erasure_kept
    assert numbers_in(registry) == [[task.task_id]]
    latest = registry.history(WHO)[-1]
    assert (latest.source, latest.evidence["form"], str(latest.purpose)) == ("settings-page", 7, "analytics")
    mp.flush()
    assert len(vendor.tasks) == 1
    assert WHO.encode() not in b"".join(each.read_bytes() for each in tmp_path.glob("spool.db*"))


@pytest.mark.parametrize("failure", [500, 429, 401])
def test_a_vendor_that_is_down_makes_withdraw_neither_fail_nor_forget(
    client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI, tmp_path: Path, failure: int
) -> None:
    mp = client()
    vendor.fail(failure)
    done = mp.withdraw(WHO, erase=True, source="settings-page")
    assert (done.erasure, done.is_erasure_kept) == ((), True)
    assert registry.status(WHO, "analytics") == "denied"
    mp.flush()
    ((number,),) = {tuple(each) for each in numbers_in(registry)}
    assert vendor.tasks[number]["distinct_ids"] == [WHO]
    assert registry.history(WHO)[-1].source == "settings-page"
    privacy = requests_to(vendor)
    assert privacy.look_up_deletion(number).status is TaskStatus.PENDING
    vendor.finish(number)
    assert privacy.look_up_deletion(number).status is TaskStatus.SUCCESS
    mp.flush()
    assert len(vendor.tasks) == 1
    assert WHO.encode() not in b"".join(each.read_bytes() for each in tmp_path.glob("spool.db*"))


def test_a_thread_tries_it_again_by_itself(client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI) -> None:
    mp = client()
    vendor.fail(503, 503)
    assert mp.withdraw(WHO, erase=True).is_erasure_kept
    waits_for(lambda: numbers_in(registry))
    assert len(vendor.tasks) == 1


def test_another_process_goes_on_with_it(tmp_path: Path, vendor: FakePrivacyAPI) -> None:
    program = f"""
import os
from consentpanel import FieldPolicy, Mixpanel, PrivacyRequests, SpoolConsumer
from consentpanel.registry import SQLiteRegistry
mp = Mixpanel("TOKEN", SpoolConsumer("spool.db"), registry=SQLiteRegistry("consent.db"), policy=FieldPolicy(),
    privacy=PrivacyRequests("TOKEN", "OAUTH", host={vendor.url!r}))
assert mp.withdraw({WHO!r}, erase=True, source="form").is_erasure_kept
os._exit(0)
"""
    vendor.fail(500)
    env = {"PYTHONPATH": str(Path(consentpanel.__file__).parents[1]), "PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, check=True)
    registry = SQLiteRegistry(tmp_path / "consent.db")
    with SpoolConsumer(tmp_path / "spool.db", consumer=FakeTransport()) as consumer:
        # Without `privacy=` nobody can ask.
        Mixpanel("TOKEN", consumer, registry=registry, policy=FieldPolicy()).flush()
        assert vendor.tasks == {}
        mp = Mixpanel("TOKEN", consumer, registry=registry, policy=FieldPolicy(), privacy=requests_to(vendor))
        # After a pause that the other process has written down.
        waits_for(lambda: [mp.flush(), *vendor.tasks][1:])
    assert len(vendor.tasks) == 1
    assert numbers_in(registry)


def test_a_registry_that_fails_after_the_vendor_took_it_gets_the_number_later(
    client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    mp = client()
    vendor.fail(500)
    mp.withdraw(WHO, erase=True)
    with monkeypatch.context() as patch:

        def fail(*_: object, **__: object) -> None:
            raise OSError("down")

        patch.setattr(MemoryRegistry, "history", fail)
        mp.flush()
        assert len(vendor.tasks) == 1
    mp.flush()
    assert len(vendor.tasks) == 1
    assert {number for numbers in numbers_in(registry) for number in numbers} == set(vendor.tasks)


@pytest.mark.parametrize("identity", [pseudonymous(b"k" * 32), per_subject({})])
def test_the_vendor_is_asked_by_its_own_ids_also_when_the_salt_is_gone(
    client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI, identity: Any
) -> None:
    mp = client(identity=identity)
    assert mp.track(WHO, "Viewed")
    expected = list(mp._guard.settings().vendor_ids(WHO))
    vendor.fail(500)
    mp.withdraw(WHO, erase=True)
    if identity.kind == "per_subject":
        identity.forget(WHO)
    mp.flush()
    (task,) = vendor.tasks.values()
    assert task["distinct_ids"] == expected


def test_somebody_who_was_forgotten_meanwhile_gets_no_new_record(
    client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI
) -> None:
    mp = client()
    vendor.fail(500)
    mp.withdraw(WHO, erase=True)
    registry.forget(WHO)
    mp.flush()
    assert len(vendor.tasks) == 1
    assert registry.history(WHO) == []


def test_who_has_agreed_again_meanwhile_is_not_denied_by_the_number(
    client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI
) -> None:
    mp = client()
    vendor.fail(500)
    mp.withdraw(WHO, ["analytics", "profiles"], erase=True)
    registry.grant(WHO, "analytics")
    mp.flush()
    assert len(vendor.tasks) == 1
    assert registry.status(WHO, "analytics") == "granted"
    (record,) = [each for each in registry.history(WHO) if "deletion_requests" in each.evidence]
    assert str(record.purpose) == "profiles"


def test_without_a_spool_the_error_says_so_as_ever(registry: MemoryRegistry, vendor: FakePrivacyAPI) -> None:
    mp = Mixpanel("TOKEN", FakeTransport(), registry=registry, policy=FieldPolicy(), privacy=requests_to(vendor))
    vendor.fail(500)
    with pytest.raises(PrivacyRequestError, match="HTTP 500"):
        mp.withdraw(WHO, erase=True)
    assert registry.status(WHO, "analytics") == "denied"


def test_a_file_that_fails_is_no_reason_not_to_ask(
    client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    mp = client()

    def fail(*_: object, **__: object) -> None:
        raise consentpanel.MixpanelException("disk full")

    monkeypatch.setattr(_erasures.Erasures, "keep", fail)
    (task,) = mp.withdraw(WHO, erase=True).erasure
    assert numbers_in(registry)[0] == [task.task_id]


def test_the_commands_say_that_one_waits(
    tmp_path: Path, vendor: FakePrivacyAPI, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "erasing_shop.py").write_text(
        "from consentpanel import FieldPolicy, Mixpanel, PrivacyRequests, SpoolConsumer\n"
        "from consentpanel.registry import MemoryRegistry\n"
        "from consentpanel.testing import FakeTransport\n"
        "consumer = SpoolConsumer('spool.db', consumer=FakeTransport())\n"
        "mp = Mixpanel('TOKEN', consumer, registry=MemoryRegistry(), policy=FieldPolicy(),\n"
        f"    privacy=PrivacyRequests('TOKEN', 'OAUTH', host={vendor.url!r}))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_erasures, "_FIRST_PAUSE", 3600)
    vendor.fail(500)
    assert main(["erase", "--client", "erasing_shop:mp", "--yes", WHO]) == 0
    assert "it is kept" in capsys.readouterr().err
    assert main(["spool", "spool.db"]) == 1
    assert "1 requests to erase a person, which the vendor has not taken yet" in capsys.readouterr().out
    assert main(["deliver", "--client", "erasing_shop:mp", "--once"]) == 1
    assert "1 requests to erase a person" in capsys.readouterr().err
    sys.modules.pop("erasing_shop").consumer.close()
    assert vendor.tasks == {}


def test_a_vendor_that_hangs_holds_nobody_up(
    client: Any, registry: MemoryRegistry, vendor: FakePrivacyAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spool, "_ERASURE", 0.1)
    open_again = threading.Event()
    real = PrivacyRequests.create_deletion_of

    def hangs(self: Any, *arguments: Any, **keywords: Any) -> Any:
        open_again.wait(20)
        return real(self, *arguments, **keywords)

    monkeypatch.setattr(PrivacyRequests, "create_deletion_of", hangs)
    mp = client()
    begun = time.monotonic()
    assert mp.withdraw(WHO, erase=True).is_erasure_kept
    mp._sealed.own_spools[0]._spool.end()
    assert time.monotonic() - begun < 5
    open_again.set()
    waits_for(lambda: numbers_in(registry))
    assert len(vendor.tasks) == 1


def test_who_asks_twice_while_the_vendor_is_down_asks_once(client: Any, vendor: FakePrivacyAPI) -> None:
    mp = client()
    vendor.fail(500, 500)
    for _ in range(2):
        assert mp.withdraw(WHO, erase=True, source="button").is_erasure_kept
    mp.flush()
    mp.flush()
    assert len(vendor.tasks) == 1


def test_under_the_outbox_of_tests_it_is_kept_as_ever(
    client: Any, vendor: FakePrivacyAPI, consentpanel_outbox: FakeTransport
) -> None:
    # rule 5.4
    vendor.fail(500)
    assert client().withdraw(WHO, erase=True).is_erasure_kept


def test_failures_name_nobody(client: Any, vendor: FakePrivacyAPI, caplog: pytest.LogCaptureFixture) -> None:
    # rule 4.2
    mp = client()
    vendor.fail(500, 500)
    mp.withdraw(WHO, erase=True)
    mp.flush()
    assert "an erasure is kept and tried again: HTTP 500" in caplog.text
    assert WHO not in caplog.text
