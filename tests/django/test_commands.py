"""The commands of `manage.py` (contract rule 10.9): jobs of the command line for the client of the setting."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")
from django.apps import apps
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.test import override_settings

from consentpanel import ConsentRecord, ConsentStatus, FieldPolicy, PrivacyRequests, keep
from consentpanel.django import DjangoOutbox, DjangoRegistry
from consentpanel.testing import FakePrivacyAPI, FakeTransport

POLICY = FieldPolicy(events={"plan": keep()})
NAMES = ["export", "erase", "prune", "deliver", "audit", "notice", "scan"]


@pytest.fixture
def run(on_sqlite: str) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs a command for a client as the setting says: its exit code, and what it wrote."""

    for model in apps.get_app_config("consentpanel").get_models():
        model._base_manager.using(on_sqlite).all().delete()
    said: dict[str, Any] = {"TOKEN": "TOKEN", "POLICY": POLICY, "CONSUMER": FakeTransport()}

    def run(name: str, *arguments: str, **setting: Any) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with override_settings(CONSENTPANEL={**said, **setting}):
            try:
                call_command(f"consent_{name}", *arguments, stdout=out, stderr=err)
            except SystemExit as end:
                return int(str(end.code)), out.getvalue(), err.getvalue()
        return 0, out.getvalue(), err.getvalue()

    return run


# rule 10.9
@pytest.mark.parametrize("name", NAMES)
def test_each_has_help_also_where_the_setting_is_not_finished(name: str, capsys: Any) -> None:
    assert get_commands()[f"consent_{name}"] == "consentpanel.django"
    command = load_command_class("consentpanel.django", f"consent_{name}")
    with override_settings(CONSENTPANEL={"NONSENSE": 1}):
        command.create_parser("manage.py", f"consent_{name}").print_help()
    out = capsys.readouterr().out
    assert "--settings" in out
    assert ("--client" in out) is (name == "scan")


@pytest.mark.parametrize("name", ["export", "erase", "deliver", "prune"])
def test_a_setting_that_describes_no_client_is_wrong_usage(run: Any, name: str) -> None:
    arguments = ["--days", "3"] if name == "prune" else []
    with pytest.raises(CommandError, match="TOKEN") as caught:
        run(name, *arguments, TOKEN="")
    assert caught.value.returncode == 2


def test_erase_and_export_ask_the_vendor(run: Any) -> None:
    with FakePrivacyAPI() as vendor:
        privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)
        code, out, _ = run("erase", "user-1", "--yes", PRIVACY=privacy)
        assert (code, out) == (0, "00000001  deletion  PENDING  1 id of the vendor's\n")
        assert {each.status.value for each in DjangoRegistry().history("user-1")} == {"denied"}
        code, out, _ = run("export", "user-1", "--yes", PRIVACY=privacy)
        assert (code, "retrieval" in out) == (0, True)
        code, _, err = run("erase", "--cancel", "nothing", PRIVACY=privacy)
        assert (code, "HTTP" in err) == (1, True)
    with pytest.raises(CommandError, match="no privacy="):
        run("erase", "user-1", "--yes")


def test_prune_forgets_whom_nobody_needs(run: Any) -> None:
    registry = DjangoRegistry()
    long_ago = datetime.now(timezone.utc) - timedelta(days=40)
    registry.record(ConsentRecord("old", "analytics", ConsentStatus.DENIED, long_ago))
    registry.deny("new")
    assert run("prune", "--days", "30", "--yes") == (0, "1 person forgotten\n", "")
    assert "new" in {who for _, who in registry.people()}
    assert registry.history("old") == []


def test_deliver_delivers_what_waits_in_the_database(run: Any) -> None:
    vendor = FakeTransport()
    DjangoRegistry().grant("user-1")
    outbox = DjangoOutbox(consumer=vendor, connections=0, linger=3)
    with override_settings(CONSENTPANEL={"TOKEN": "TOKEN", "POLICY": POLICY, "CONSUMER": outbox}):
        from consentpanel.django import mixpanel

        mixpanel.track("user-1", "Signed up")
    assert run("deliver", "--once", CONSUMER=outbox) == (0, "all is delivered\n", "")
    assert [each.event for each in vendor.events] == ["Signed up"]
    with pytest.raises(CommandError, match="nothing waits"):
        run("deliver", "--once")


def test_audit_holds_the_setting_to_the_promises(run: Any, tmp_path: Path) -> None:
    promises = tmp_path / "promises.toml"
    promises.write_text("uses_free_text = false\nidentifies_visitors = false\n")
    code, out, _ = run("audit", "--promises", str(promises))
    assert code == 1
    assert "broken, of 2 promises" in out
    with pytest.raises(CommandError, match="promises"):
        run("audit", "--promises", str(tmp_path / "nowhere.toml"))


def test_notice_writes_and_checks(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.py").write_text(
        "from consentpanel import FieldPolicy, keep\n"
        "from consentpanel.transparency import notice\n"
        "def privacy(language='en'):\n"
        "    return notice(FieldPolicy(events={'plan': keep()}), contact='privacy@shop.example', language=language)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    file = str(tmp_path / "notice.md")
    assert run("notice", "words:privacy", "--write", file)[0] == 0
    assert run("notice", "words:privacy", "--check", file)[0] == 0
    assert run("notice", "words:privacy", "--language", "de", "--check", file)[0] == 1
    assert run("notice", "words:privacy")[1] == Path(file).read_text("utf-8")


def test_scan_reads_the_project_and_holds_it_against_the_settings_policy(run: Any, tmp_path: Path) -> None:
    (tmp_path / "views.py").write_text(
        "from consentpanel.django import mixpanel\nmixpanel.track('user-1', 'Bought', {'plan': 'pro', 'total': 3})\n"
    )
    with override_settings(BASE_DIR=tmp_path):
        code, out, _ = run("scan")
    assert code == 0
    assert "events: Bought" in out
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert "keep" in lines["plan"]
    assert "dropped" in lines["total"]
