"""`detect` tells where personal data is, by kinds and counts, and never what it is."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from consentpanel._cli import main
from consentpanel._cli._detect.findings import Findings


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def detect(capsys: Any, content: str | bytes, *options: str) -> tuple[int, dict[str, Any]]:
    Path("records").write_bytes(content if isinstance(content, bytes) else content.encode())
    code = main(["detect", "records", "--json", *options])
    said = json.loads(capsys.readouterr().out)
    said["kinds"] = {each["path"]: each["kinds"] for each in said["paths"] if each["kinds"]}
    return code, said


RECORDS = [
    {"event": "A", "properties": {"note": "mail ada@shop.example or +49 30 1234567", "total": 9, "ok": True}},
    {"event": "B", "properties": {"note": "nothing", "items": [{"card": 4111111111111111}, {"card": None}]}},
]


@pytest.mark.parametrize("form", ["lines", "array", "gzip"])
def test_kinds_are_counted_by_the_path_of_their_values(form: str, capsys) -> None:
    lines = "".join(f"{json.dumps(each)}\n" for each in RECORDS)
    content = {"lines": lines, "array": json.dumps(RECORDS, indent=1), "gzip": gzip.compress(lines.encode())}[form]
    code, said = detect(capsys, content)
    assert code == 1
    assert said["kinds"] == {
        "properties.note": {"email": 1, "phone": 1},
        "properties.items[].card": {"payment_card": 1},
    }
    assert (said["records"], said["texts"], said["values"], said["found"]) == (2, 0, 8, 2)


def test_a_line_that_is_no_json_is_text(capsys) -> None:
    log = "[2026-05-01 10:00:00] INFO login of ada@shop.example\n[2026-05-01] from 203.0.113.7\n"
    code, said = detect(capsys, log)
    assert (code, said["texts"]) == (1, 2)
    assert said["kinds"] == {"(text)": {"email": 1, "ip_address": 1}}
    assert detect(capsys, '"ada@shop.example"\n')[1]["kinds"] == {"(text)": {"email": 1}}


def test_text_is_taken_for_text_where_that_is_said(capsys) -> None:
    code, said = detect(capsys, '["ada@shop.example",\n{"note": "bob@shop.example"}\n', "--text")
    assert (code, said["records"], said["texts"]) == (1, 2, 2)
    assert said["kinds"] == {"(text)": {"email": 2}}


def test_nothing_found_is_a_success(capsys) -> None:
    code, said = detect(capsys, '{"plan": "pro", "total": 9.5}\n')
    assert (code, said["found"], said["kinds"]) == (0, 0, {})
    assert {each["path"] for each in said["paths"]} == {"plan", "total"}


def test_no_value_is_printed_and_no_name_that_is_one(capsys) -> None:
    # rule 4.2
    record = {
        "ada@shop.example": {"note": "ada@shop.example"},
        "4711471147": "bob@shop.example",
        "d41d8cd98f00b204e9800998ecf8427e": "203.0.113.7",
        "\x1b[2J": "+49 30 1234567",
    }
    Path("records").write_text(f"{json.dumps(record)}\nfrom carol@shop.example\n")
    for options in ([], ["--json"], ["--text"]):
        assert main(["detect", "records", *options]) == 1
        captured = capsys.readouterr()
        said = captured.out + captured.err
        for personal in ("ada", "bob", "carol", "@", "203.0", "1234567", "4711", "d41d8", "\x1b"):
            assert personal not in said
    main(["detect", "records"])
    out = capsys.readouterr().out
    assert "<redacted:email>.note" in out
    assert "(keys)" in out
    assert "<number>" in out


def test_records_come_from_a_pipe(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"write to ada@shop.example\n")))
    assert main(["detect"]) == 1
    assert "email 1" in capsys.readouterr().out


def test_bytes_that_are_no_text_hide_nothing(capsys) -> None:
    assert detect(capsys, b"\xff\xfd ada@shop.example\n")[1]["kinds"] == {"(text)": {"email": 1}}


def test_what_cannot_be_read_is_told(capsys) -> None:
    Path("long").write_text("x" * 5_000_000)
    assert main(["detect", "long"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "line 1: longer than 4,194,304 bytes; skipped\n"
    assert "1 could not be read" in captured.out
    assert main(["detect", "no-such-file"]) == 2


def test_more_paths_than_can_be_counted_are_summed() -> None:
    findings = Findings(max_paths=10)
    for number in range(50):
        findings.add(json.dumps({f"name{number}x": "ada@shop.example"}))
    assert len(findings.paths) == 10
    assert findings.others.kinds == {"email": 40}
    assert findings.found == 50


def test_a_deep_value_is_read_or_is_text(capsys) -> None:
    code, said = detect(capsys, '{"a":' * 100_000 + "\n" + "[" * 400 + '"ada@shop.example"' + "]" * 400 + "\n")
    assert (code, said["records"], said["texts"]) == (1, 2, 1)
    assert any(kinds == {"email": 1} for kinds in said["kinds"].values())
