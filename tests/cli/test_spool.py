"""The commands `spool` and `deliver` (contract rule 8.2)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from consentpanel import FieldPolicy, Mixpanel, SpoolConsumer
from consentpanel._cli import main
from consentpanel.registry import MemoryRegistry

WHO = "ada-lovelace-4711"
SHOP = """
import os
from consentpanel import FieldPolicy, Mixpanel, SpoolConsumer
from consentpanel.testing._loopback import LoopbackServer

class Vendor:
    def send(self, endpoint, json_message):
        if os.environ.get("DOWN"):
            raise OSError("no")
        with open("arrived", "a") as file:
            file.write(json_message + "\\n")

mp = Mixpanel("T", SpoolConsumer("spool.db", consumer=Vendor()), registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())
plain = Mixpanel("T", Vendor(), registry=lambda subject, purpose: True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    consumer = SpoolConsumer(tmp_path / "spool.db", consumer=Refusing(), linger=9, exit_timeout=0.01)
    mp = Mixpanel("T", consumer, registry=lambda subject, purpose: True, policy=FieldPolicy.keep_all())
    for number in range(3):
        mp.track(WHO, "Signed up", {"n": number})
    consumer._spool.discard_all()
    return tmp_path


class Refusing:
    def send(self, endpoint: str, json_message: str) -> None:
        raise OSError("down")


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consentpanel", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **more}, capture_output=True, text=True, check=False)


def test_spool_tells_numbers_and_nothing_of_the_messages(folder: Path, capsys: Any) -> None:
    assert main(["spool", "spool.db"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 messages wait (")
    assert "0 dead letters" in said
    for hidden in (WHO, "Signed up"):
        assert hidden not in said
    assert main(["spool", "spool.db", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["waiting"], told["dead_letters"], told["last_failure"]) == (3, 0, None)
    assert (told["held"], told["erasures"]) == (0, 0)
    assert told["bytes"] > 300
    assert told["oldest_seconds"] >= 0


def test_spool_tells_how_many_messages_are_held(folder: Path, capsys: Any) -> None:
    # rule 8.10
    consumer = SpoolConsumer(folder / "held.db", consumer=Refusing(), linger=9)
    mp = Mixpanel("T", consumer, registry=MemoryRegistry(), policy=FieldPolicy(), while_unknown="hold")
    assert mp.track(WHO, "Signed up").outcome == "held"
    consumer._spool.discard_all()
    assert main(["spool", "held.db"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("0 messages wait (0 bytes)")
    assert "1 messages are held for people who were never asked" in said


@pytest.mark.parametrize("name", ["nothing.db", ".", "shop.py", "empty.db"])
def test_what_is_no_spool_is_told_and_left_alone(folder: Path, capsys: Any, name: str) -> None:
    if name == "empty.db":
        (folder / name).touch()
    before = sorted(folder.iterdir())
    assert main(["spool", name]) == 2
    assert name in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_deliver_once_delivers_and_says_what_is_left(folder: Path) -> None:
    done = run(folder, "deliver", "--client", "shop:mp", "--once", "--timeout", "1", DOWN="1")
    assert done.returncode == 1
    assert done.stderr.startswith("3 messages are not delivered yet, and are kept")
    done = run(folder, "deliver", "--client", "shop:mp", "--once")
    assert (done.returncode, done.stdout) == (0, "all is delivered\n")
    assert len((folder / "arrived").read_text().splitlines()) == 1
    assert main(["spool", "spool.db"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--client", "shop:plain"], "has no SpoolConsumer"),
        (["--client", "shop:nothing"], "has no 'nothing'"),
        (["--client", "shop"], "must be MODULE:ATTRIBUTE"),
        ([], "which client?"),
    ],
)
def test_deliver_without_a_spool_is_wrong_usage(folder: Path, arguments: list[str], said: str) -> None:
    done = (
        run(folder, "deliver", *arguments, "--once") if arguments else run(folder, "deliver", DJANGO_SETTINGS_MODULE="")
    )
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_deliver_goes_on_until_it_is_told_to_end(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "consentpanel", "deliver", "--client", "shop:mp"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not (folder / "arrived").exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (0, "delivering\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_deliver_tells_programs_in_lines_as_it_goes(folder: Path) -> None:
    command = [sys.executable, "-m", "consentpanel", "deliver", "--client", "shop:mp", "--json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        # A pipe gets it at once.
        assert json.loads(process.stdout.readline()) == {"schema": 1, "state": "delivering", "problem": None}
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
