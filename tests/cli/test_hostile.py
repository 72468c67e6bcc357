"""The command line treats what it reads as hostile, whatever file it is pointed at (contract chapter 6)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consentpanel import ConfigurationError
from consentpanel._cli import main
from consentpanel.transparency import Promises, scan

CANARY = "canary-4711"
#: What drives a terminal, or makes a line look like another.
DRIVING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
RAW = "\x1b]0;x\x07\u202e\r\n\x9b31m\u2028"

MODULE = f"""
from consentpanel import FieldPolicy, Mixpanel, drop, keep
from consentpanel.testing import FakeTransport
from consentpanel.transparency import Vendor, notice
from consentpanel.registry import MemoryRegistry

RAW = {RAW!r}
POLICY = FieldPolicy(events={{"'" + RAW + "'": keep(detect=False, reason=RAW), "plan": keep()}}).for_event(
    RAW, {{"email": keep(reason=RAW)}}
)
CLIENT = Mixpanel("T", FakeTransport(), registry=MemoryRegistry(), policy=POLICY)
NOTICE = notice(POLICY, contact=RAW + "a", vendor=Vendor(name=RAW + "a"))


def fails():
    raise OverflowError(RAW)
"""

HOSTILE = {
    "empty": b"",
    "nul": b"\x00",
    "not_utf8": f"x = '{CANARY}' # ".encode() + b"\xff\xfe\x80",
    "minus": b"-" * 20_000 + b"1",
    "brackets": b"[" * 20_000,
    "braces": b'{"a":' * 20_000,
    "open_array": b"[[[[" + CANARY.encode(),
    "deep_toml": b"consent = " + b"[" * 5_000 + b"]" * 5_000,
    "dotted_toml": b".".join([b"a"] * 5_000) + b" = 1",
    "huge_int": b"retention_days = " + b"9" * 6_000,
    "huge_hex": b"retention_days = 0x" + b"f" * 20_000,
    "huge_list": b"retention_days = [0x" + b"f" * 20_000 + b"]",
    "date": b"retention_days = 2026-99-99",
    "toml_key": f'[promises]\n"{CANARY} \\u001b[31m\\u202e" = true'.encode(),
    "toml_value": f'consent = "{CANARY}"'.encode(),
    "toml_list": f'data_region = ["{CANARY}"]'.encode(),
    "toml_table": f'promises = "{CANARY}"'.encode(),
    "toml_bool": f'staff_only_access = "{CANARY}"'.encode(),
    "toml_nested": b'[consent.EU]\nx = {y = "z"}',
    "cut_toml": f'consent = "{CANARY}'.encode(),
    "cookie": b"# coding: no-such\nx = 1",
    "other_cookie": b"# coding: utf-16\nx = 1",
    "utf16": "x = 1".encode("utf-16"),
    "syntax": f"def {CANARY} \x1b[31m(:".encode(),
    "python_int": b"x = " + b"9" * 6_000,
    "sum": b"x = " + b"+".join([b"1"] * 5_000),
    "warning": b"x = '\\d\x1b[31m'",
    "calls": b"from mixpanel import Mixpanel\nx = Mixpanel('T')" + b".track()" * 300,
    "record": json.dumps({"event": RAW, "properties": {"distinct_id": "a", RAW: CANARY, "plan": {RAW: [1]}}}).encode(),
    "number": b'{"event": "a", "properties": {"distinct_id": "a", "n": ' + b"9" * 6_000 + b"}}",
    "odd_records": b'null\n7\n"x"\n{}\n{"event": {}}\n{"event": "a", "properties": []}\n[]\n{"event": "\\ud800"}\nNaN',
    "gzip": b"\x1f\x8b\x08\x00\x00",
    "notice": json.dumps({"facts": {"purposes": RAW}}).encode(),
}


@pytest.fixture
def shop(tmp_path, monkeypatch):
    (tmp_path / "hostile_shop.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hostile_shop", raising=False)
    return tmp_path


def commands(name: str) -> list[list[str]]:
    """Each command that reads a file, pointed at one."""
    policy = ["--policy", "hostile_shop:POLICY"]
    return [
        ["scan", name],
        ["scan", name, "--json"],
        ["scan", name, *policy],
        ["preview", *policy, name],
        ["preview", *policy, name, "--json"],
        ["preview", *policy, name, "--scope", "people", "--by-event", "--show-values"],
        ["audit", *policy, "--promises", name],
        ["audit", *policy, "--promises", name, "--sarif"],
    ]


def told(capsys) -> str:
    said = capsys.readouterr()
    text: str = said.out + said.err
    assert DRIVING.search(text) is None
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_no_content_ends_a_command_otherwise_than_it_says(shop, capsys, content):
    # rule 6.1, rule 6.2
    (shop / "hostile.py").write_bytes(content)
    for command in commands("hostile.py"):
        assert main(command) in {0, 1, 2}
        text = told(capsys)
        assert CANARY not in text or "--show-values" in command or ("--promises" in command and b"\\u001b" in content)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))))
def test_any_bytes_are_read_by_every_command(shop, capsys, content):
    # rule 6.1, rule 6.2
    (shop / "hostile.py").write_bytes(content)
    for command in commands("hostile.py"):
        assert main(command) in {0, 1, 2}
        told(capsys)


def test_one_bad_file_never_ends_a_scan(shop, capsys):
    # rule 6.1
    (shop / "good.py").write_text("from mixpanel import Mixpanel\nMixpanel('T').track(1, 'Paid', {'total': 9})")
    for name, content in HOSTILE.items():
        (shop / f"bad_{name}.py").write_bytes(content)
    assert main(["scan", "."]) == 1
    text = told(capsys)
    assert "events: Paid" in text
    for line in (
        "bad_minus.py: nested too deeply",
        "bad_sum.py: nested too deeply",
        "bad_syntax.py: SyntaxError",
    ):
        assert line in text
    assert [call.events for call in scan(shop).calls] == [("Paid",)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "link to a fifo", "link to itself", "folder"])
def test_only_regular_files_are_opened(shop, capsys, kind):
    # rule 6.1, rule 6.2
    odd = shop / "odd.py"
    with contextlib.ExitStack() as stack:
        if kind == "fifo":
            os.mkfifo(odd)
        elif kind == "socket":
            stack.enter_context(socket.socket(socket.AF_UNIX)).bind("odd.py")
        elif kind == "device":
            odd.symlink_to("/dev/zero")
        elif kind == "link to a fifo":
            os.mkfifo(shop / "fifo")
            odd.symlink_to("fifo")
        elif kind == "link to itself":
            odd.symlink_to("odd.py")
        else:
            odd.mkdir()
        for command in commands("odd.py"):
            code = main(command)
            assert (
                code == 2
                or (command[0] == "scan" and code == (0 if kind == "folder" else 1))
                or kind == "link to itself"
            )
            text = told(capsys)
            assert "odd.py" in text or kind == "folder"
        assert main(["scan", "."]) == (0 if kind == "folder" else 1)


def test_a_file_that_is_too_long_is_not_read_whole(shop, capsys):
    # rule 6.1
    with (shop / "long.py").open("wb") as file:
        file.truncate(1 << 40)
    assert main(["scan", "."]) == 1
    assert "long.py: longer than 8,388,608 bytes" in told(capsys)
    assert main(["audit", "--policy", "hostile_shop:POLICY", "--promises", "long.py"]) == 2
    assert "longer than" in told(capsys)


def test_a_folder_that_cannot_be_read_is_told(shop, monkeypatch, capsys):
    # rule 6.1
    (shop / "closed").mkdir()
    listed = os.scandir

    def scandir(path):
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert main(["scan", "."]) == 1
    assert "closed: Permission denied" in told(capsys)


@pytest.mark.parametrize(
    "assigned",
    [
        "".join("p = {**p, 'a': 1}\n" for _ in range(80)),
        "".join(f"p{at} = p{at - 1} or p{at - 1}\n" * 40 for at in range(1, 9)) + "p = p8\n",
        "p = " + "(1 if x else " * 60 + "2" + ")" * 60 + "\n",
    ],
)
def test_a_name_that_is_assigned_from_itself_hangs_no_scan(shop, assigned):
    # rule 6.1
    (shop / "app.py").write_text(
        f"from mixpanel import Mixpanel\nmp = Mixpanel('T')\np = {{}}\n{assigned}mp.track(p, p, p)\np.track(1, p)"
    )
    calls = scan(shop / "app.py").calls
    assert [call.has_other_properties for call in calls] == [True]


def test_names_are_printed_without_control_characters(shop, capsys):
    # rule 6.1, rule 6.2
    (shop / "app.py").write_text(
        f"from mixpanel import Mixpanel\nmp = Mixpanel('T')\nmp.track(user.email, {RAW!r}, {{{RAW!r}: {{{RAW!r}: 1}}}})"
    )
    (shop / "promises.toml").write_text("staff_only_access = true\nidentifies_visitors = false")
    odd = shop / "odd\x1b[31m\u202e"
    odd.mkdir()
    (odd / "bad.py").write_text("def (")
    policy = ["--policy", "hostile_shop:POLICY"]
    for command in (
        ["scan", ".", *policy],
        ["scan", ".", "--json"],
        ["scan", RAW],
        ["scan", "a" * 5_000],
        ["scan", ".", "--write-policy", "a" * 250],
        ["preview", *policy, "a" * 5_000],
        ["notice", "hostile_shop:NOTICE", "--write", "a" * 250 + ".md"],
        ["scan", ".", "--write-policy", f"no{RAW}/such"],
        ["audit", *policy, "--promises", "promises.toml"],
        ["audit", *policy, "--promises", "promises.toml", "--json"],
        ["audit", *policy, "--promises", "promises.toml", "--sarif"],
        ["audit", "--policy", f"hostile_shop:{RAW}", "--promises", "promises.toml"],
        ["audit", *policy, "--promises", RAW],
        ["notice", "hostile_shop:NOTICE"],
        ["notice", "hostile_shop:NOTICE", "--format", "html"],
        ["notice", "hostile_shop:NOTICE", "--format", "json"],
        ["notice", "hostile_shop:fails"],
        ["notice", "hostile_shop:NOTICE", "--check", f"{RAW}.md"],
        ["preview", *policy, RAW],
        ["erase", "--client", f"{RAW}:x", "a"],
        ["demo"],
    ):
        assert main(command) in {0, 1, 2}
        assert told(capsys)
    for command in (["scan", RAW, RAW], [RAW], ["preview", f"--{RAW}"]):
        with pytest.raises(SystemExit):
            main(command)
        assert told(capsys)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_no_link_is_followed_for_writing(shop, capsys):
    # rule 6.1
    (shop / "kept").write_text("kept")
    for name, target in (("n.md", "kept"), ("p.py", "kept"), ("gone.md", "nowhere"), ("gone.py", "nowhere")):
        (shop / name).symlink_to(target)
    assert main(["notice", "hostile_shop:NOTICE", "--write", "n.md"]) == 2
    assert "n.md: a symbolic link, which is not followed" in told(capsys)
    assert main(["notice", "hostile_shop:NOTICE", "--write", "gone.md"]) == 2
    assert main(["scan", ".", "--write-policy", "p.py"]) == 1
    assert main(["scan", ".", "--write-policy", "gone.py"]) == 1
    assert (shop / "kept").read_text() == "kept"
    assert not (shop / "nowhere").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_is_written_whole_or_not_at_all(shop, monkeypatch, capsys):
    # rule 6.1
    file = shop / "n.md"
    file.write_text("old")
    file.chmod(0o640)
    before = set(shop.iterdir())
    with monkeypatch.context() as full:
        full.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        assert main(["notice", "hostile_shop:NOTICE", "--write", "n.md"]) == 2
        assert main(["scan", ".", "--write-policy", "p.py"]) == 2
    assert "No space left" in told(capsys)
    assert file.read_text() == "old"
    assert set(shop.iterdir()) - {shop / "__pycache__"} == before - {shop / "__pycache__"}
    assert main(["notice", "hostile_shop:NOTICE", "--write", "n.md"]) == 0
    assert file.read_text() != "old"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_an_error_of_promises_holds_nothing_of_the_file(tmp_path):
    # rule 6.2
    file = tmp_path / "promises.toml"
    for content in (
        f'consent = "{CANARY}',
        f'consent = "{CANARY}"',
        f'data_region = "{CANARY}"',
        f'staff_only_access = "{CANARY}"',
    ):
        file.write_text(content)
        with pytest.raises(ConfigurationError) as raised:
            Promises.from_toml(file)
        assert CANARY not in str(raised.value)
        assert raised.value.__cause__ is None
        assert CANARY not in repr(raised.value.__context__)


def test_ids_on_standard_input_that_are_no_text_are_told(shop, monkeypatch, capsys):
    # rule 6.1
    import io

    (shop / "asking_shop.py").write_text(
        "from consentpanel import Mixpanel, PrivacyRequests\nfrom consentpanel.registry import MemoryRegistry\n"
        "MP = Mixpanel('T', registry=MemoryRegistry(), privacy=PrivacyRequests('T', 'oauth'))\n"
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    assert main(["erase", "--client", "asking_shop:MP", "--yes"]) == 2
    assert "standard input is not UTF-8" in told(capsys)


def test_a_consumer_that_fails_ends_no_erasure_with_a_traceback(shop, capsys):
    # rules 4.2 and 7.1
    (shop / "failing_shop.py").write_text(
        "from consentpanel import Mixpanel, PrivacyRequests\nfrom consentpanel.registry import MemoryRegistry\n"
        "class Theirs:\n"
        "    def send(self, endpoint, json_message): ...\n"
        "    def purge(self, subject_id): raise RuntimeError(subject_id)\n"
        "MP = Mixpanel('T', Theirs(), registry=MemoryRegistry(), privacy=PrivacyRequests('T', 'oauth'))\n"
    )
    assert main(["erase", "--client", "failing_shop:MP", "--yes", "ada-17", "bob-18"]) == 1
    said = told(capsys)
    assert "RuntimeError" in said
    assert "2 of 2 were not asked for" in said
    assert "ada-17" not in said


def test_a_module_that_ends_the_process_is_no_success(tmp_path, monkeypatch, capsys):
    # rule 6.2
    (tmp_path / "ends_it.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "promises.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["audit", "--policy", "ends_it:POLICY", "--promises", "promises.toml"]) == 2
    assert "cannot be imported" in capsys.readouterr().err


def test_names_that_no_path_can_hold_do_not_end_a_scan(tmp_path, capsys):
    # rule 6
    code = 'import mixpanel\nmp = mixpanel.Mixpanel("T")\nmp.track("u", "E", {"k\\n": 1, "": 2, "[]": 3, " ": 4, "ok": 5})\n'
    (tmp_path / "shop.py").write_text(code)
    assert main(["scan", str(tmp_path)]) == 0
    assert "ok" in capsys.readouterr().out


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">/dev/full"])
@pytest.mark.parametrize("command", ["scan .", "preview --policy x:y x.ndjson", "notice x:y"])
def test_a_closed_or_full_output_is_no_traceback(tmp_path, command, redirection):
    # rule 6
    if redirection == ">/dev/full" and not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("no such device here")
    (tmp_path / "shop.py").write_text('mp.track("u", "E", {"a": 1})\nimport mixpanel\n')
    (tmp_path / "x.py").write_text("y = 1\n")
    (tmp_path / "x.ndjson").write_text("{}\n")
    line = f"{sys.executable} -m consentpanel {command} {redirection}"
    done = subprocess.run(["bash", "-c", line], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 2}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize("command", ["preview --policy shop:policy -", "preview --policy shop:policy"])
def test_a_standard_input_that_is_closed_ends_no_command_with_a_traceback(tmp_path: Path, command: str) -> None:
    (tmp_path / "shop.py").write_text("from consentpanel import FieldPolicy\npolicy = FieldPolicy()\n")
    done = subprocess.run(
        f"{sys.executable} -m consentpanel {command} <&-",
        check=False,
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
