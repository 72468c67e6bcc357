"""Real-shaped events through the whole path: client, gate, the vendor's HTTP consumer, a server on loopback."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from consentpanel import Consumer, FieldPolicy, Mixpanel
from consentpanel.registry import SQLiteRegistry
from consentpanel.testing._ingestion_api import IngestionServer
from consentpanel.testing._loopback import loopback_without_proxy

SAMPLES = Path(__file__).parents[2] / "docs" / "how-to" / "samples"
EVENTS: list[dict[str, Any]] = [
    json.loads(line) for line in (SAMPLES / "code_events.ndjson").read_text("utf-8").splitlines()
]
PERSONAL = ("@", "avatar", "login", "harbour", "Mira", "Jonas", "message", "sha")


def documented_policy() -> FieldPolicy:
    spec = importlib.util.spec_from_file_location("code_events_policy", SAMPLES / "code_events_policy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    policy: FieldPolicy = module.POLICY
    return policy


@pytest.fixture
def replayed(tmp_path: Path) -> tuple[list[Any], list[dict[str, Any]], set[int]]:
    actors = sorted({event["actor"]["id"] for event in EVENTS})
    willing = set(actors[::2])
    with (
        SQLiteRegistry(tmp_path / "consent.db") as registry,
        loopback_without_proxy(),
        IngestionServer() as server,
    ):
        for actor in willing:
            registry.grant(actor, source="settings-page")
        mp = Mixpanel("TOKEN", Consumer(**server.urls), registry=registry, policy=documented_policy())
        decisions = [mp.track(event["actor"]["id"], event["type"], event["payload"]) for event in EVENTS]
        return decisions, [message.payload for message in server.messages], willing


def test_only_the_events_of_those_who_consented_arrive(replayed: Any) -> None:
    # rules 2.5 and 4.1
    decisions, arrived, willing = replayed
    assert 0 < len(arrived) < len(EVENTS)
    assert [bool(decision) for decision in decisions] == [event["actor"]["id"] in willing for event in EVENTS]
    assert {record["properties"]["distinct_id"] for record in arrived} <= willing


def test_nothing_that_names_anybody_arrives(replayed: Any) -> None:
    # rule 3.1
    _, arrived, _ = replayed
    text = json.dumps([{**record["properties"], "distinct_id": None} for record in arrived])
    assert [word for word in PERSONAL if word in text] == []
    assert "main" in text or "other" in text


def test_the_caller_s_events_are_as_they_were(replayed: Any) -> None:
    # rule 1.5
    assert replayed
    assert [json.loads(line) for line in (SAMPLES / "code_events.ndjson").read_text("utf-8").splitlines()] == EVENTS
