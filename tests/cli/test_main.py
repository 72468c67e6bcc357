from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import consentpanel
from consentpanel._cli import main

COMMAND = [sys.executable, "-m", "consentpanel"]


def test_the_version_is_told(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"consentpanel {consentpanel.__version__}\n"


def test_the_script_is_the_command(monkeypatch, capsys) -> None:
    # As an installer reads it: the package may be tested where it is not installed.
    said = Path(__file__).parents[2].joinpath("pyproject.toml").read_text("utf-8")
    script = EntryPoint(
        *re.search(r'^\[project\.scripts\]\n(\w+) = "(.+)"$', said, re.MULTILINE).groups(), "console_scripts"
    )
    monkeypatch.setattr(sys, "argv", ["/usr/bin/consentpanel"])
    with pytest.raises(SystemExit):
        script.load()()
    assert script.name == "consentpanel"
    assert capsys.readouterr().err.startswith("usage: consentpanel [-h]")


@pytest.mark.parametrize("command", [[], ["demo"], ["preview"]])
def test_help_fits_the_screen_and_tells_the_exit_codes(command: list[str], capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "exit codes: 0" in out
    assert max(map(len, out.splitlines())) <= 115


@pytest.mark.parametrize("arguments", [[], ["no-such"], ["demo", "extra"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.startswith(b"usage: python -m consentpanel")


def test_names_that_the_terminal_cannot_show_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "records").write_text('{"event": "x", "properties": {"distinct_id": "a", "名前": 1}}')
    (tmp_path / "any_policy.py").write_text("from consentpanel import FieldPolicy\nPOLICY = FieldPolicy()")
    done = subprocess.run(
        [*COMMAND, "preview", "--policy", "any_policy:POLICY", "records"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert rb"\u540d\u524d" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize("command", ["demo", "demo --json", "detect --json lines"])
def test_a_pipe_that_is_read_only_in_part_ends_without_a_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "lines").write_text("".join(f'{{"name{number}x": 1}}\n' for number in range(900)))
    line = f"set -o pipefail; {sys.executable} -m consentpanel {command} | head -n 1"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 141}
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
@pytest.mark.parametrize("wish", ["", "FORCE_COLOR", "NO_COLOR"])
def test_nothing_is_coloured_whatever_reads_it(tmp_path: Path, wish: str) -> None:
    import pty

    (tmp_path / "lines").write_text("from ada@shop.example\n")
    master, slave = pty.openpty()
    environment = {**os.environ, **({wish: "1"} if wish else {})}
    code = subprocess.run(
        [*COMMAND, "detect", "lines"], cwd=tmp_path, env=environment, stdout=slave, stderr=slave, check=False
    )
    os.close(slave)
    said = os.read(master, 65_536)
    os.close(master)
    assert code.returncode == 1
    assert b"email 1" in said
    assert b"\x1b" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_an_interrupt_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "any_policy.py").write_text("from consentpanel import FieldPolicy\nPOLICY = FieldPolicy()")
    # A shell that runs the tests in the background has them ignore the signal, and a child would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen(
        [*COMMAND, "preview", "--policy", "any_policy:POLICY"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    signal.signal(signal.SIGINT, before)
    assert child.stdin
    assert child.stderr
    # The first warning shows that the command is at work.
    child.stdin.write(b"nonsense\n")
    child.stdin.flush()
    assert child.stderr.readline() == b"line 1: not JSON, at character 1 of the record\n"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    assert (child.returncode, out, err) == (130, b"", b"")
