from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
TEXT = (HOW_TO / "write-a-policy-from-real-events.md").read_text(encoding="utf-8")
SESSIONS = [
    (command, output)
    for command, output in re.findall(
        r"^```console\n\$ (python -m consentpanel .*)\n((?:.*\n)*?)```$", TEXT, re.MULTILINE
    )
]


def test_the_how_to_has_its_two_sessions() -> None:
    assert len(SESSIONS) == 2


@pytest.mark.parametrize(("command", "expected"), SESSIONS, ids=["everything", "policy"])
def test_the_how_to_shows_what_the_command_prints(command: str, expected: str) -> None:
    arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-B", *arguments[1:]], cwd=HOW_TO / "samples", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    checker = doctest.OutputChecker()
    assert checker.check_output(expected, done.stdout, doctest.ELLIPSIS), done.stdout


def test_the_policy_of_the_how_to_lets_nobody_be_named() -> None:
    # rule 3.1
    import importlib.util
    import json

    spec = importlib.util.spec_from_file_location("code_events_policy", HOW_TO / "samples" / "code_events_policy.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sent = []
    for line in (HOW_TO / "samples" / "code_events.ndjson").read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        sent.append(module.POLICY.apply_event(event["type"], event["payload"]).properties)
    written = json.dumps(sent).lower()
    for personal in ("mira", "holm", "jonas", "reyes", "okafor", "chidi", "ines", "@", "avatar", "353", "5f0c", "http"):
        assert personal not in written
    assert '"private"' in written
