"""Each command tells programs what it told people: one object of JSON, in a form that has a number."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from consentpanel._cli import main
from consentpanel._messages.decision import Outcome
from consentpanel.testing import FakePrivacyAPI

MODULE = """
from datetime import datetime, timedelta, timezone
from consentpanel import ConsentRecord, ConsentStatus, FieldPolicy, Mixpanel, PrivacyRequests, SpoolConsumer, keep
from consentpanel.registry import SQLiteRegistry
from consentpanel.testing import FakeTransport
from consentpanel.transparency import notice

registry = SQLiteRegistry("consent.db")
POLICY = FieldPolicy(events={"plan": keep()})
privacy = PrivacyRequests("TOKEN", "OAUTH", host=HOST)
mp = Mixpanel("TOKEN", FakeTransport(), registry=registry, policy=POLICY, privacy=privacy)
spool = Mixpanel("TOKEN", SpoolConsumer("spool.db", consumer=FakeTransport()), registry=registry, policy=POLICY)
NOTICE = notice(POLICY, contact="privacy@shop.example")
long_ago = datetime.now(timezone.utc) - timedelta(days=100)
registry.record(ConsentRecord("user-1", "analytics", ConsentStatus.DENIED, long_ago, source="form"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with FakePrivacyAPI() as vendor:
        (tmp_path / "office.py").write_text(f"HOST = {vendor.url!r}\n{MODULE}")
        (tmp_path / "promises.toml").write_text("shares_personal_data_with_third_parties = false\n")
        (tmp_path / "export.ndjson").write_text('{"event": "A", "properties": {"distinct_id": "u", "plan": "pro"}}\n')
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "office", raising=False)
        yield tmp_path


def said(capsys: Any, *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found.pop("schema") == 1
    return found


@pytest.mark.parametrize(
    ("command", "code", "keys"),
    [
        ("demo", 0, {"ok", "calls"}),
        ("preview --policy office:POLICY export.ndjson", 0, {"judged", "properties"}),
        ("scan office.py", 0, {"calls", "doubtful"}),
        ("audit --client office:mp --promises promises.toml", 1, {"breaches", "not_checked"}),
        ("notice office:NOTICE --write n.json", 0, {"version", "written"}),
        ("erase --client office:mp --yes user-1", 0, {"tasks", "problem"}),
        ("export --client office:mp --yes user-1", 0, {"tasks", "problem"}),
        ("prune --client office:mp --days 30 --yes", 0, {"found", "forgotten", "problem"}),
        ("deliver --client office:spool --once", 0, {"waiting", "dead_letters", "problem"}),
        ("registry copy consent.db other.db --quiet", 0, {"people", "records", "present", "problem"}),
    ],
    ids=lambda value: value.partition(" ")[0] if isinstance(value, str) else "",
)
def test_each_command_prints_an_object_that_says_its_form(folder, capsys, command, code, keys) -> None:
    if command.startswith("registry"):
        main("prune --client office:mp --days 99999".split())  # makes the file
    capsys.readouterr()
    assert keys <= said(capsys, *command.split(), code=code).keys()


def test_what_waits_is_told_as_json(folder, capsys) -> None:
    import office  # type: ignore[import-not-found]

    assert office.spool.track("user-2", "A").outcome is Outcome.DROPPED
    assert said(capsys, "deliver", "--client", "office:spool", "--once")["waiting"] == 0
    assert said(capsys, "spool", "spool.db")["waiting"] == 0


def test_requests_of_the_desk_are_followed_up_by_their_numbers(folder, capsys) -> None:
    (task,) = said(capsys, "erase", "--client", "office:mp", "--yes", "user-1")["tasks"]
    assert (task["kind"], task["status"], task["count"], task["link"]) == ("deletion", "PENDING", 1, None)
    again = said(capsys, "erase", "--client", "office:mp", "--status", task["task_id"])
    assert again["tasks"][0]["task_id"] == task["task_id"]
    assert said(capsys, "erase", "--client", "office:mp", "--cancel", task["task_id"])["cancelled"] == task["task_id"]
    failed = said(capsys, "erase", "--client", "office:mp", "--status", "no-such", code=1)
    assert failed["tasks"] == []
    assert failed["problem"]


def test_the_question_is_no_part_of_the_object(folder, capsys, monkeypatch) -> None:
    monkeypatch.setattr("builtins.input", lambda question: sys.stdout.write(question) and "n")
    assert said(capsys, "erase", "--client", "office:mp", "user-1", code=1)["problem"] == "nothing was done"
    nobody = said(capsys, "prune", "--client", "office:mp", "--days", "30", code=1)
    assert nobody == {"found": 1, "forgotten": 0, "problem": "nothing was done"}
    assert said(capsys, "prune", "--client", "office:mp", "--days", "30", "--dry-run")["found"] == 1


def test_a_notice_that_says_something_else_is_told_with_its_changes(folder, capsys) -> None:
    said(capsys, "notice", "office:NOTICE", "--write", "n.json", "n.md")
    right = said(capsys, "notice", "office:NOTICE", "--check", "n.json", "n.md")
    assert right["checked"] == [{"file": name, "is_right": True, "changes": []} for name in ("n.json", "n.md")]
    office = Path("office.py")
    office.write_text(office.read_text().replace('"plan": keep()', '"plan": keep(), "size": keep()'))
    del sys.modules["office"]
    (wrong,) = said(capsys, "notice", "office:NOTICE", "--check", "n.json", code=1)["checked"]
    assert any(each["needs_consent"] and "size" in each["text"] for each in wrong["changes"])


def test_a_notice_as_json_has_one_way(folder, capsys) -> None:
    assert main(["notice", "office:NOTICE", "--json"]) == 2
    assert "--format json" in capsys.readouterr().err


def test_wrong_usage_prints_no_object(folder, capsys) -> None:
    assert main(["erase", "--client", "office:nobody", "--json", "user-1"]) == 2
    assert capsys.readouterr().out == ""
