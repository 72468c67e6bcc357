from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from consentpanel._cli import main

POLICY_SOURCE = """
from consentpanel import FieldPolicy, generalize, keep, mask, redact, refuse

POLICY = FieldPolicy(
    events={
        "plan": keep(), "email": mask(), "age": generalize(bucket=10), "items[].sku": keep(), "tags": keep(),
        "diagnosis": refuse(),
    },
    people={"$name": redact(), "plan": keep()},
    groups={"plan": keep()},
)

class Shelf:
    policy = FieldPolicy.keep_all()

text = "no policy"
"""


def export(event: str = "Signed up", distinct_id: Any = "user-1", **properties: Any) -> dict[str, Any]:
    return {"event": event, "properties": {"distinct_id": distinct_id, **properties}}


def ndjson(*records: Any) -> str:
    return "".join(record if isinstance(record, str) else f"{json.dumps(record)}\n" for record in records)


@pytest.fixture(autouse=True)
def _policy_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "preview_policy.py").write_text(POLICY_SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "preview_policy", raising=False)


def preview(content: str | bytes, *options: str, policy: str = "preview_policy:POLICY") -> int:
    Path("records").write_bytes(content if isinstance(content, bytes) else content.encode())
    return main(["preview", "--policy", policy, *options, "records"])


def counts(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    report = json.loads(capsys.readouterr().out)
    return {
        row["path"]: {name: row[name] for name in ("kept", "changed", "dropped") if row[name]}
        for row in report["properties"]
        if row["path"] != "distinct_id"
    }


def test_each_property_is_counted_as_kept_changed_or_dropped(capsys) -> None:
    # rules 3.1 to 3.3
    assert (
        preview(
            ndjson(
                export(plan="pro", email="ann@mail.example", note="call me"),
                export(plan="free", age=34, items=[{"sku": "T", "gift": "for Bob"}, {"sku": "C"}], tags=["a", "b"]),
                export(age=30, email=None),
            ),
            "--json",
        )
        == 0
    )
    assert counts(capsys) == {
        "plan": {"kept": 2},
        "email": {"kept": 1, "changed": {"mask": 1}},
        "note": {"dropped": {"unnamed": 1}},
        "age": {"kept": 1, "changed": {"generalize": 1}},
        "items[].sku": {"kept": 1},
        "items[].gift": {"dropped": {"unnamed": 1}},
        "tags": {"kept": 1},
    }


def test_of_a_refused_record_only_the_refusing_property_is_counted(capsys) -> None:
    assert preview(ndjson(export(plan="pro", diagnosis="flu"), export(plan="pro")), "--json") == 0
    out = capsys.readouterr().out
    report = json.loads(out)
    assert (report["judged"], report["refused"]) == (2, 1)
    rows = {row["path"]: row for row in report["properties"]}
    assert rows["diagnosis"]["dropped"] == {"refuse": 1}
    assert rows["plan"]["kept"] == 1


def test_values_are_not_printed(capsys) -> None:
    canary = "canary7q2"
    records = ndjson(
        export(canary, canary, plan=canary, email=f"{canary}@mail.example", note={"deep": [canary]}),
        f'{{"event": "{canary}", broken\n',
        export(distinct_id=[canary]),
        export(""),
        f'"{canary}"\n',
    )
    for options in ([], ["--json"], ["--progress"]):
        assert preview(records, *options) == 1
        captured = capsys.readouterr()
        assert canary not in captured.out + captured.err


def test_at_most_three_values_of_a_property_are_shown_on_demand(capsys) -> None:
    records = ndjson(*(export(email=f"user{number}@mail.example", note=f"note {number}") for number in range(5)))
    assert preview(records, "--show-values", "--json") == 0
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)["properties"]}
    assert rows["email"]["samples"] == [
        {"before": f'"user{number}@mail.example"', "after": '"****@mail.example"'} for number in range(3)
    ]
    assert [sample["after"] for sample in rows["note"]["samples"]] == [None] * 3


def test_a_shown_value_is_short_and_on_one_line(capsys) -> None:
    preview(ndjson(export(note="x" * 500), export(note="a\nb\x1b[31m")), "--show-values")
    lines = [line for line in capsys.readouterr().out.splitlines() if "(dropped)" in line]
    assert len(lines) == 2
    assert all(len(line) <= 100 and line.isprintable() for line in lines)


def test_records_of_any_shape_are_read_by_paths(capsys) -> None:
    records = json.dumps([{"type": "Push", "actor": {"id": 7}, "body": {"data": {"plan": "pro"}}}])
    assert preview(records, "--event", "type", "--distinct-id", "actor.id", "--properties", "body.data", "--json") == 0
    assert counts(capsys) == {"plan": {"kept": 1}}


def test_a_single_dot_names_the_whole_record(capsys) -> None:
    records = ndjson({"type": "Push", "user": 7, "plan": "pro"})
    assert preview(records, "--event", "type", "--distinct-id", "user", "--properties", ".", "--json") == 0
    assert counts(capsys) == {
        "type": {"dropped": {"unnamed": 1}},
        "user": {"dropped": {"unnamed": 1}},
        "plan": {"kept": 1},
    }


def test_a_key_that_has_dots_itself_is_found(capsys) -> None:
    records = ndjson({"user.id": 7, "event": "x", "properties": {"plan": "pro"}})
    assert preview(records, "--distinct-id", "user.id", "--json") == 0
    assert counts(capsys) == {"plan": {"kept": 1}}


@pytest.mark.parametrize(
    "record",
    [
        {"$distinct_id": "user-1", "$properties": {"$name": "Ann", "plan": "pro", "$email": "ann@mail.example"}},
        {"$distinct_id": "user-1", "$set": {"$name": "Ann", "plan": "pro", "$email": "ann@mail.example"}},
    ],
    ids=["export", "update"],
)
def test_profiles_are_judged_by_the_people_scope(capsys, record) -> None:
    assert preview(ndjson(record), "--scope", "people", "--json") == 0
    assert counts(capsys) == {
        "$name": {"changed": {"redact": 1}},
        "plan": {"kept": 1},
        "$email": {"dropped": {"unnamed": 1}},
    }


def test_groups_need_no_person(capsys) -> None:
    # rule 2.10
    assert preview(ndjson({"$group_id": "acme", "$properties": {"plan": "pro"}}), "--scope", "groups", "--json") == 0
    assert counts(capsys) == {"plan": {"kept": 1}}


def test_an_event_in_whose_name_the_id_of_its_person_stands_is_not_named(capsys) -> None:
    # rule 4.2
    record = {"event": "For visitor-4711", "properties": {"distinct_id": "visitor-4711", "plan": "pro"}}
    assert preview(ndjson(record), "--by-event") == 0
    said = capsys.readouterr().out
    assert "visitor-4711" not in said
    assert "<id>: 1 record" in said


def test_events_are_counted_apart_on_demand(capsys) -> None:
    records = ndjson(export("A", plan="pro"), export("B", plan="pro"), export("B", note="x"))
    assert preview(records, "--by-event") == 0
    out = capsys.readouterr().out
    assert out.index("B: 2 records") < out.index("A: 1 record\n")
    assert preview(records, "--by-event", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["events"] == {"A": 1, "B": 2}
    assert {(row["event"], row["path"]) for row in report["properties"]} >= {
        ("A", "plan"),
        ("B", "plan"),
        ("B", "note"),
    }


BROKEN = ndjson(
    export(plan="pro"),
    "not JSON\n",
    "\n",
    "[1]\n",
    '{"event": 3, "properties": {"distinct_id": "a"}}\n',
    '{"event": "x", "properties": []}\n',
    export(distinct_id=""),
    export(distinct_id=None),
    export(distinct_id=True),
    '{"a": ' * 100_000 + "\n",
    f'{{"event": {"9" * 10_000}}}\n',
    export(plan="pro"),
)


def test_each_broken_line_is_reported_with_its_number_and_stops_nothing(capsys) -> None:
    assert preview(BROKEN, "--json") == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["judged"] == 2
    assert report["unjudged"] == 9
    assert [problem["line"] for problem in report["problems"]] == [2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert captured.err.splitlines() == [f"line {each['line']}: {each['problem']}" for each in report["problems"]]
    preview(BROKEN)
    captured = capsys.readouterr()
    assert "line 9: no usable id at 'properties.distinct_id': true or false\n" in captured.err
    # Once, where both go to one terminal.
    assert "line 9" not in captured.out
    assert "9 records could not be judged." in captured.out


def test_a_record_over_several_lines_is_told_what_to_do(capsys) -> None:
    assert preview(json.dumps(export(plan="pro"), indent=2)) == 1
    assert "line 1: the JSON ends too early; outside an array, a record stands on one line" in capsys.readouterr().err
    assert preview(json.dumps([export(plan="pro")], indent=2)) == 0


def test_endless_broken_lines_are_listed_only_at_first(capsys) -> None:
    assert preview("nonsense\n" * 1000) == 1
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 21
    assert "1,000 records could not be judged" in captured.out


@pytest.mark.parametrize("options", [[], ["--by-event", "--show-values"]], ids=["plain", "values"])
def test_several_processes_report_what_one_does_in_the_same_order(capsys, options: list[str]) -> None:
    lines = [
        ndjson(export(f"E{n % 5}", f"user-{n}", plan="pro", email=f"ada{n}@mail.example", n=n)) for n in range(2_500)
    ]
    lines[700:700] = lines[1_900:1_900] = ["nonsense\n"] * 15
    reports = []
    for jobs in ("1", "2"):
        assert preview("".join(lines), "--jobs", jobs, "--json", *options) == 1
        reports.append(capsys.readouterr())
    assert reports[0] == reports[1]
    assert json.loads(reports[1].out)["judged"] == 2_500


@pytest.mark.parametrize("jobs", ["0", "-1", "x", "1000", "\u0662"])
def test_a_number_of_processes_is_a_number(capsys, jobs: str) -> None:
    with pytest.raises(SystemExit) as ended:
        preview("", "--jobs", jobs)
    assert ended.value.code == 2
    assert "is not a number from 1 to 256" in capsys.readouterr().err


def test_a_policy_that_another_process_cannot_import_is_told(capsys, monkeypatch) -> None:
    Path("only_here.py").write_text(
        "import multiprocessing\n"
        "assert multiprocessing.parent_process() is None, 'a child'\n"
        "from consentpanel import FieldPolicy\nPOLICY = FieldPolicy()\n"
    )
    assert preview(ndjson(export()), "--jobs", "2", policy="only_here:POLICY") == 2
    assert "module 'only_here' cannot be imported: AssertionError: a child" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b" \n\n", b"[]", gzip.compress(b"")], ids=["empty", "white", "array", "gzip"])
def test_an_empty_input_is_no_success(capsys, content: bytes) -> None:
    for command in (["preview", "--policy", "preview_policy:POLICY"], ["detect"]):
        Path("records").write_bytes(content)
        assert main([*command, "records"]) == 1
        captured = capsys.readouterr()
        assert captured.err == (
            "records: there is no record in it: was another file meant, or did what should fill the pipe fail?\n"
        )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + bytes(range(256)) * 99, "a ZIP archive; unpack it and pipe it in: unzip -p FILE"),
        (bz2.compress(b"{}"), "compressed by bzip2; unpack it and pipe it in: bzip2 -dc FILE"),
        (lzma.compress(b"{}"), "compressed by xz; unpack it and pipe it in: xz -dc FILE"),
        (b"\x28\xb5\x2f\xfd\x20\x00", "compressed by zstd; unpack it and pipe it in: zstd -dc FILE"),
        (gzip.compress(gzip.compress(b"{}")), "compressed by gzip twice; unpack it and pipe it in: gzip -dc FILE"),
    ],
    ids=["zip", "bzip2", "xz", "zstd", "gzip"],
)
def test_a_packed_input_is_named_once_with_what_to_do(capsys, content: bytes, words: str) -> None:
    assert preview(content) == 2
    assert main(["detect", "records"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [words in line for line in captured.err.splitlines()] == [True, True]


@pytest.mark.parametrize("file", [["-"], []], ids=["dash", "absent"])
def test_records_come_from_a_pipe(file: list[str]) -> None:
    content = gzip.compress(ndjson(export(plan="pro")).encode())
    done = subprocess.run(
        [sys.executable, "-m", "consentpanel", "preview", "--policy", "preview_policy:POLICY", "--progress", *file],
        input=content,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert b"plan " in done.stdout
    assert b"read 1 records" in done.stderr


def test_no_progress_is_told_where_nobody_watches(capsys) -> None:
    preview(ndjson(export(plan="pro")))
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_of_progress(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    preview(ndjson("nonsense\n", export(plan="pro")))
    text = terminal.getvalue()
    assert text.count("\n") == 2
    assert "line 1: not JSON" in text
    assert "(100 %)" in text


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("preview_policy", "MODULE:ATTRIBUTE"),
        ("preview_policy:", "MODULE:ATTRIBUTE"),
        (":POLICY", "MODULE:ATTRIBUTE"),
        ("no_such_module:POLICY", "there is no module 'no_such_module'"),
        ("preview_policy.inner:POLICY", "cannot be imported|there is no module"),
        ("needs_missing:POLICY", "needs 'not_installed_here', which is not installed"),
        ("raises:POLICY", "cannot be imported: ZeroDivisionError"),
        ("..raises:POLICY", "cannot be imported"),
        ("preview_policy:MISSING", "has no 'MISSING'"),
        ("preview_policy:text", "must be a FieldPolicy, not str"),
    ],
)
def test_a_policy_that_cannot_be_used_is_explained(capsys, policy: str, words: str) -> None:
    Path("needs_missing.py").write_text("import not_installed_here")
    Path("raises.py").write_text("1 / 0")
    assert preview("", policy=policy) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert any(each in captured.err for each in words.split("|"))


def test_a_policy_may_be_an_attribute_of_an_attribute(capsys) -> None:
    assert preview(ndjson(export(note="x")), "--json", policy="preview_policy:Shelf.policy") == 0
    assert counts(capsys) == {"note": {"kept": 1}}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--policy", "preview_policy:POLICY", "no-such-file"],
        ["--policy", "preview_policy:POLICY", "."],
        ["--policy", "preview_policy:POLICY", "utf16"],
    ],
)
def test_a_file_that_cannot_be_read_is_explained(capsys, arguments: list[str]) -> None:
    Path("utf16").write_text("{}", encoding="utf-16")
    assert main(["preview", *arguments]) == 2
    assert arguments[-1] in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--scope", "flags"], ["--event", "a..b"], ["--no-such"], ["--pol", "x:y"], []])
def test_wrong_arguments_end_with_2(arguments: list[str], capsys) -> None:
    policy = [] if not arguments else ["--policy", "preview_policy:POLICY"]
    with pytest.raises(SystemExit) as ended:
        main(["preview", *policy, *arguments])
    assert ended.value.code == 2


def test_a_terminal_is_not_waited_for(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert main(["preview", "--policy", "preview_policy:POLICY"]) == 2
    assert "pipe the records" in capsys.readouterr().err


def test_a_key_that_is_personal_is_not_printed(capsys) -> None:
    personal = {
        "ann.lee@mail.example": 1,
        "+491711234567": 1,
        "8d4c7a52-1111-4222-8333-123456789abc": 1,
        "d41d8cd98f00b204e9800998ecf8427e": 1,
    }
    records = ndjson(export(members=personal), export("ann.lee@mail.example", **personal))
    for policy in ("preview_policy:POLICY", "preview_policy:Shelf.policy"):
        assert preview(records, "--by-event", policy=policy) == 0
        out = capsys.readouterr().out
        for name in ("ann", "lee@", "mail.example", "491711234567", "8d4c7a52", "d41d8cd9"):
            assert name not in out
    assert "members.<e-mail>" in out
    assert "members.<number>" in out
    assert "<uuid>" in out
    assert "<hash>" in out


def test_a_name_cannot_drive_the_terminal(capsys) -> None:
    preview(ndjson(export(**{"\x1b[2J\r\n\ud800": 1})))
    out = capsys.readouterr().out
    assert "\\x1b[2J\\r\\n\\ud800" in out
    assert all(line.isprintable() for line in out.splitlines())


def test_a_report_is_at_most_100_columns_wide(capsys) -> None:
    records = ndjson(
        *(export(**{"a-long-name" * 6: 1, "email": "a@b.example", "age": number}) for number in range(20)),
        export(age="old", email=1234567, diagnosis="x"),
        export(age=float("inf")),
    )
    preview(records)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.skipif(sys.platform == "win32", reason="limits of memory are a Unix thing")
@pytest.mark.parametrize("form", ["lines", "array"])
def test_a_long_input_takes_no_more_memory_than_a_short_one(form: str) -> None:
    # Enough for the interpreter and the package, and far less than the 200 MB that are piped in.
    program = textwrap.dedent(
        """
        import resource, sys
        from consentpanel._cli import main
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        before = peak()
        code = main(["preview", "--policy", "preview_policy:POLICY", "-"])
        print(code, peak() - before, resource.getpagesize(), file=sys.stderr)
        """
    )
    first, last = ("[", "]") if form == "array" else ("", "")
    newline = ",\n" if form == "array" else "\n"
    record = json.dumps(export(plan="pro", note="x" * 1_000_000))
    long = '{"event": "' + "x" * 1_000_000
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin
    child.stdin.write(first.encode())
    for _ in range(100):
        child.stdin.write((record + newline).encode())
    child.stdin.write(long.encode())
    for _ in range(100):
        child.stdin.write(b"x" * 1_000_000)
    child.stdin.write(f'"}}{newline}{record}{last}'.encode())
    out, err = child.communicate()
    code, grown, _ = map(int, err.decode().splitlines()[-1].split())
    kilobytes = grown // 1024 if sys.platform == "darwin" else grown
    assert code == 1
    assert b"101 records judged" in out
    assert kilobytes < 60_000


def test_a_reader_that_goes_away_is_no_error() -> None:
    Path("records").write_text(ndjson(*(export(**{f"name{number}x": 1}) for number in range(900))))
    command = [sys.executable, "-m", "consentpanel", "preview", "--policy", "preview_policy:POLICY", "records"]
    reader, writer = os.pipe()
    os.close(reader)
    # argparse hides the error when nothing is buffered.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for arguments in (command, [*command[:3], "--help"]):
        done = subprocess.run(arguments, stdout=writer, stderr=subprocess.PIPE, env=environment, check=False)
        assert (done.returncode, done.stderr) == (141, b"")
    os.close(writer)
