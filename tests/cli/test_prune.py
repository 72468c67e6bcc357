"""The command `prune` (contract rule 10.9): records are kept no longer than they are needed."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from consentpanel import ConsentRecord, ConsentStatus
from consentpanel._cli import main
from consentpanel.registry import SQLiteRegistry

NOW = datetime.now(timezone.utc)
VISITOR = f"visitor-{'a' * 32}"
SHOP = """
from consentpanel import Mixpanel, Regime
from consentpanel.registry import CachedRegistry, SQLiteRegistry
from consentpanel.testing import FakeTransport

registry = SQLiteRegistry("consent.db")
mp = Mixpanel("TOKEN", FakeTransport(), registry=registry)
cached = Mixpanel("TOKEN", FakeTransport(), registry=CachedRegistry(registry, ttl=60))
out = Mixpanel("TOKEN", FakeTransport(), registry=registry, regime=Regime.OPT_OUT)
asked = Mixpanel("TOKEN", FakeTransport(), registry=lambda subject_id, purpose: True)
"""
KEPT = """
from consentpanel import Mixpanel, Regime
from consentpanel.registry import SQLiteRegistry
from consentpanel.testing import FakeTransport

registry = SQLiteRegistry("consent.db", objection_key=b"k" * 32)
mp = Mixpanel("TOKEN", FakeTransport(), registry=registry, regime=Regime.OPT_OUT)
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in (("shop", SHOP), ("shop_kept", KEPT)):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    registry = SQLiteRegistry("consent.db")
    say(registry, "new", "denied", days=1)
    say(registry, "refused", "denied", days=100)
    say(registry, "agreed", "granted", days=100)
    say(registry, "took back", "granted", days=100)
    say(registry, "took back", "denied", days=99)
    say(registry, "agreed for a while", "granted", days=100, ends=50)
    say(registry, VISITOR, "granted", days=100)
    say(registry.scoped("blog"), "of another", "denied", days=100)
    yield registry
    for name in {"shop", "shop_kept"} & sys.modules.keys():
        sys.modules[name].registry.close()
    registry.close()


def say(registry: Any, who: str, status: str, *, days: int, ends: int | None = None) -> None:
    moment = NOW - timedelta(days=days)
    expires = None if ends is None else NOW - timedelta(days=ends)
    registry.record(ConsentRecord(who, "analytics", ConsentStatus(status), moment, expires_at=expires))


def known(registry: Any) -> set[str]:
    return {who for tenant, who in registry.people() if not tenant}


def test_people_of_whom_nothing_was_recorded_for_long_are_forgotten(registry, capsys):
    assert main(["prune", "--client", "shop:mp", "--days", "30", "--yes"]) == 0
    assert capsys.readouterr().out == "3 people forgotten\n"
    assert known(registry) == {"new", "agreed", VISITOR}
    assert registry.scoped("blog").history("of another")
    assert main(["prune", "--client", "shop:mp", "--days", "30", "--yes"]) == 0
    assert capsys.readouterr().out == "0 people forgotten\n"


def test_nobody_is_forgotten_by_a_dry_run_nor_without_an_answer(registry, capsys, monkeypatch):
    before = known(registry)
    assert main(["prune", "--client", "shop:mp", "--days", "30", "--dry-run"]) == 0
    assert capsys.readouterr().out == "3 people would be forgotten\n"
    monkeypatch.setattr("builtins.input", lambda _: "")
    assert main(["prune", "--client", "shop:mp", "--days", "30"]) == 1
    assert known(registry) == before


def test_who_answers_while_somebody_is_asked_is_kept(registry, capsys, monkeypatch):
    def ask(_: str) -> str:
        registry.deny("refused")
        return "y"

    monkeypatch.setattr("builtins.input", ask)
    assert main(["prune", "--client", "shop:mp", "--days", "30"]) == 0
    assert capsys.readouterr().out == "2 people forgotten\n"
    assert "refused" in known(registry)


def test_of_visitors_grants_go_too(registry, capsys):
    assert main(["prune", "--client", "shop:cached", "--days", "30", "--visitors", "--yes"]) == 0
    assert capsys.readouterr().out == "1 person forgotten\n"
    assert VISITOR not in known(registry)


def test_a_tenant_is_pruned_by_its_name(registry, capsys):
    assert main(["prune", "--client", "shop:mp", "--days", "30", "--tenant", "blog", "--yes"]) == 0
    assert capsys.readouterr().out == "1 person forgotten\n"
    assert not registry.scoped("blog").history("of another")
    assert main(["prune", "--client", "shop:mp", "--days", "30", "--tenant", " ", "--yes"]) == 2


def test_where_silence_is_consent_a_refusal_is_kept_unless_an_objection_is(registry, capsys):
    assert main(["prune", "--client", "shop:out", "--days", "30", "--yes"]) == 0
    assert {"refused", "took back"} <= known(registry)
    assert main(["prune", "--client", "shop_kept:mp", "--days", "30", "--yes"]) == 0
    kept = sys.modules["shop_kept"].registry
    assert kept.status("refused", "analytics") is ConsentStatus.DENIED
    assert kept.history("refused") == []
    capsys.readouterr()
    # What is kept of them is no person.
    assert main(["prune", "--client", "shop_kept:mp", "--days", "30", "--dry-run"]) == 0
    assert capsys.readouterr().out == "0 people would be forgotten\n"


def test_what_cannot_be_pruned_is_said(registry, capsys):
    assert main(["prune", "--client", "shop:asked", "--days", "30"]) == 2
    assert "cannot tell of whom" in capsys.readouterr().err
    assert main(["prune", "--client", "shop:mp", "--days", "0"]) == 2
    assert main(["prune", "--client", "shop:mp", "--days", "900000"]) == 2
    assert "--days" in capsys.readouterr().err
    sys.modules["shop"].registry.close()
    assert main(["prune", "--client", "shop:mp", "--days", "30", "--yes"]) == 1
