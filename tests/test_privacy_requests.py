"""Requests to the vendor to delete or hand out data, against its documented interface on loopback (rule 7.2)."""

import copy
import io
import json
import pickle
import socket
import sys

import pytest

import consentpanel
from consentpanel import (
    ConfigurationError,
    FieldPolicy,
    InvalidRecordError,
    Mixpanel,
    PrivacyRequestError,
    PrivacyRequests,
    PrivacyTask,
    TaskStatus,
    per_subject,
    pseudonymous,
)
from consentpanel._cli import main
from consentpanel.registry import MemoryRegistry
from consentpanel.testing import FakePrivacyAPI, FakeTransport

SECRET, OLD = b"0" * 32, b"1" * 32


@pytest.fixture
def vendor():
    with FakePrivacyAPI() as api:
        yield api


@pytest.fixture
def privacy(vendor):
    return PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)


def test_a_deletion_is_followed_from_request_to_success(privacy, vendor):
    (task,) = privacy.create_deletion(["user-1", 7, "user-1"])
    assert (task.kind, task.status, task.count) == ("deletion", TaskStatus.PENDING, 2)
    assert vendor.tasks[task.task_id]["distinct_ids"] == ["user-1", "7"]
    assert vendor.tasks[task.task_id]["compliance_type"] == "GDPR"
    assert privacy.look_up_deletion(task.task_id).status is TaskStatus.PENDING
    vendor.finish(task.task_id)
    found = privacy.look_up_deletion(task.task_id)
    assert (found.status, found.status.is_final, found.count, found.requested) == (
        "SUCCESS",
        True,
        2,
        "2026-01-01T00:00:00",
    )


def test_a_deletion_can_be_taken_back_until_it_begins(privacy, vendor):
    (task,) = privacy.create_deletion("user-1")
    privacy.cancel_deletion(task.task_id)
    assert privacy.look_up_deletion(task.task_id).status is TaskStatus.REVOKED
    with pytest.raises(PrivacyRequestError, match="HTTP 400"):
        privacy.cancel_deletion(task.task_id)


def test_a_retrieval_has_a_link_that_no_repr_shows(privacy, vendor):
    (task,) = privacy.create_retrieval("user-1")
    assert privacy.look_up_retrieval(task.task_id).link is None
    vendor.finish(task.task_id)
    found = privacy.look_up_retrieval(task.task_id)
    assert found.link == f"{vendor.url}/download/{task.task_id}"
    assert "download" not in repr(found)
    assert "disclosure_type" not in vendor.tasks[task.task_id]


def test_ccpa_says_what_is_to_be_disclosed(vendor):
    privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url, compliance_type="CCPA")
    (task,) = privacy.create_retrieval("user-1", "Categories")
    assert vendor.tasks[task.task_id]["compliance_type"] == "CCPA"
    assert vendor.tasks[task.task_id]["disclosure_type"] == "Categories"
    with pytest.raises(ConfigurationError, match="disclosure_type must be"):
        privacy.create_retrieval("user-1", "All")


def test_more_ids_than_the_vendor_takes_become_several_requests(privacy, vendor):
    tasks = privacy.create_deletion([f"user-{number}" for number in range(4_001)])
    assert [task.count for task in tasks] == [2_000, 2_000, 1]
    assert sum(len(each["distinct_ids"]) for each in vendor.tasks.values()) == 4_001


def test_what_the_vendor_took_before_it_failed_is_told(privacy, vendor):
    vendor.fail(429)
    ids = [f"user-{number}" for number in range(4_001)]
    original = vendor._judged

    def judged(handler, body):
        if len(vendor.tasks) == 2:
            vendor.fail(500)
        return original(handler, body)

    vendor._judged = judged
    with pytest.raises(PrivacyRequestError, match="HTTP 500") as caught:
        privacy.create_deletion(ids)
    assert [task.count for task in caught.value.created] == [2_000, 2_000]
    assert "user-" not in str(caught.value)


def test_a_request_that_comes_too_fast_is_made_again(privacy, vendor):
    vendor.fail(429, 429, 429)
    assert privacy.create_deletion("user-1")
    assert len(vendor.tasks) == 1


def test_somebody_who_is_always_too_fast_is_told(privacy, vendor):
    vendor.fail(*[429] * 6)
    with pytest.raises(PrivacyRequestError, match="HTTP 429: requests come too fast"):
        privacy.create_deletion("user-1")
    vendor.fail(429, retry_after=3_600)
    vendor.fail(429)


def test_a_wait_of_an_hour_is_not_waited_out(privacy, vendor, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr("consentpanel.privacy_requests.time.sleep", waits.append)
    vendor.fail(429, 429, 429, 429, 429, 429, retry_after=3_600)
    with pytest.raises(PrivacyRequestError, match="HTTP 429"):
        privacy.create_deletion("user-1")
    assert sum(waits) == 60


@pytest.mark.parametrize(
    ("token", "oauth_token", "status", "message"),
    [("TOKEN", "WRONG", 401, "the OAuth token is refused"), ("OTHER", "OAUTH", 403, "must be an owner's or admin's")],
)
def test_a_wrong_token_is_told_and_not_quoted(vendor, token, oauth_token, status, message):
    privacy = PrivacyRequests(token, oauth_token, host=vendor.url)
    with pytest.raises(PrivacyRequestError, match=message) as caught:
        privacy.create_deletion("user-1")
    assert caught.value.status == status
    assert not {token, oauth_token, "user-1"}.intersection(repr(caught.value).split("'"))
    assert oauth_token not in repr(privacy) + str(vars(caught.value))


def test_without_an_answer_the_error_says_so_and_quotes_no_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(PrivacyRequestError, match="no answer from the vendor") as caught:
        PrivacyRequests("TOKEN", "OAUTH", host=host).look_up_deletion("1")
    assert (caught.value.status, caught.value.__cause__) == (None, None)
    assert "TOKEN" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [[], {"status": "ok"}, {"status": "error", "results": {}}, {"status": "ok", "results": {}}]
)
def test_an_answer_that_is_not_as_documented_is_an_error(privacy, vendor, answer):
    vendor._task = lambda *_: (201, answer)
    with pytest.raises(PrivacyRequestError, match="the vendor's answer"):
        privacy.create_deletion("user-1")


def test_a_word_that_nobody_knows_is_an_unknown_status(privacy, vendor):
    (task,) = privacy.create_deletion("user-1")
    vendor.finish(task.task_id, "SLEEPING")
    assert privacy.look_up_deletion(task.task_id).status is TaskStatus.UNKNOWN


def test_ids_are_mapped_as_the_client_maps_them_under_earlier_secrets_too(vendor):
    identity = pseudonymous(SECRET, rotate_from=[OLD])
    (task,) = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url, identity=identity).create_deletion("user-1")
    expected = [pseudonymous(secret).of("user-1", None) for secret in (SECRET, OLD)]
    assert vendor.tasks[task.task_id]["distinct_ids"] == expected
    policy = FieldPolicy(secret=SECRET)
    privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url, identity=pseudonymous(), policy=policy)
    (task,) = privacy.create_deletion("user-1")
    assert vendor.tasks[task.task_id]["distinct_ids"] == expected[:1]


@pytest.mark.parametrize("region", ["US", "EU", "IN"])
def test_each_region_has_its_host(region):
    host = {"US": "mixpanel.com", "EU": "eu.mixpanel.com", "IN": "in.mixpanel.com"}[region]
    assert repr(PrivacyRequests("TOKEN", "OAUTH", region=region)) == f"<PrivacyRequests https://{host} GDPR>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"token": ""}, "token must be"),
        ({"oauth_token": None}, "oauth_token must be"),
        ({"region": "DE"}, "region must be one of US, EU, IN"),
        ({"compliance_type": "DSGVO"}, "compliance_type must be"),
        ({"identity": "plain"}, "identity must be"),
        ({"identity": pseudonymous()}, "needs a secret"),
        ({"host": "http://mixpanel.com"}, "host must be an https:// address"),
        ({"timeout": 0}, "timeout must be"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        PrivacyRequests(**{"token": "TOKEN", "oauth_token": "OAUTH", **arguments})


@pytest.mark.parametrize("task_id", ["", "../x", "a?b", 5, None])
def test_a_number_that_is_none_is_refused(privacy, task_id):
    with pytest.raises(ConfigurationError, match="task_id must be"):
        privacy.look_up_deletion(task_id)


@pytest.mark.parametrize("ids", ["", [""], [None], [True]])
def test_a_malformed_id_asks_for_nothing(privacy, vendor, ids):
    with pytest.raises(InvalidRecordError):
        privacy.create_deletion(ids)
    assert vendor.tasks == {}


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy])
def test_the_token_stays_in_its_process(privacy, duplicate):
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        duplicate(privacy)


# A withdrawal with erasure


def client(vendor, **keywords):
    registry = MemoryRegistry()
    registry.grant("user-1")
    privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)
    given = {"registry": registry, "policy": FieldPolicy(secret=SECRET), "privacy": privacy, **keywords}
    return Mixpanel("TOKEN", FakeTransport(), **given), registry


@pytest.mark.parametrize(
    "identity", [None, pseudonymous(rotate_from=[OLD]), per_subject({})], ids=["plain", "hmac", "salt"]
)
def test_a_withdrawal_files_a_deletion_whose_number_is_kept(vendor, identity):
    mp, registry = client(vendor, identity=identity)
    mp.track("user-1", "Viewed")
    done = mp.withdraw("user-1", erase=True, source="settings-page", evidence={"ticket": "4711"})
    (task,) = done.erasure
    last = registry.history("user-1")[-1]
    assert (last.status, last.source) == ("denied", "settings-page")
    assert last.evidence == {"ticket": "4711", "deletion_requests": [task.task_id]}
    sent = mp._consumer.events[0].distinct_id if hasattr(mp._consumer, "events") else None
    ids = vendor.tasks[task.task_id]["distinct_ids"]
    assert sent is None or sent in ids
    assert ("user-1" in ids) == (identity is None)
    assert "user-1" not in repr(done)
    vendor.finish(task.task_id)
    assert mp._guard.settings().privacy.look_up_deletion(task.task_id).status.is_final


def test_a_deletion_that_the_vendor_does_not_take_leaves_the_denial(vendor):
    mp, registry = client(vendor)
    vendor.fail(500)
    with pytest.raises(PrivacyRequestError, match="HTTP 500"):
        mp.withdraw("user-1", erase=True)
    assert registry.status("user-1", "analytics") == "denied"
    assert mp.withdraw("user-1", erase=True).erasure


def test_without_privacy_requests_nothing_is_done(vendor):
    mp, registry = client(vendor, privacy=None)
    with pytest.raises(ConfigurationError, match="erase=True needs privacy="):
        mp.withdraw("user-1", erase=True)
    assert registry.status("user-1", "analytics") == "granted"


def test_privacy_requests_may_be_configured_for_the_process(vendor):
    consentpanel.reset()
    registry = MemoryRegistry()
    consentpanel.configure(registry=registry, privacy=PrivacyRequests("TOKEN", "OAUTH", host=vendor.url))
    try:
        assert Mixpanel("TOKEN", FakeTransport()).withdraw("user-1", erase=True).erasure
    finally:
        consentpanel.reset()
    with pytest.raises(ConfigurationError, match="privacy must be PrivacyRequests"):
        Mixpanel("TOKEN", privacy="OAUTH")


# the support desk's commands


@pytest.fixture
def desk(vendor, tmp_path, monkeypatch):
    (tmp_path / "desk.py").write_text(
        "from consentpanel import Mixpanel, PrivacyRequests\n"
        "from consentpanel.registry import MemoryRegistry\n"
        "from consentpanel.testing import FakeTransport\n"
        "registry = MemoryRegistry()\n"
        f"privacy = PrivacyRequests('TOKEN', 'OAUTH', host={vendor.url!r})\n"
        "mp = Mixpanel('TOKEN', FakeTransport(), registry=registry, privacy=privacy)\n"
        "bare = Mixpanel('TOKEN', FakeTransport(), registry=registry)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "desk", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "desk:mp"


def test_the_desk_is_asked_before_it_erases(desk, vendor, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda question: sys.stdout.write(question) and "n")
    assert main(["erase", "--client", desk, "user-1"]) == 1
    said = capsys.readouterr()
    assert (said.out, vendor.tasks) == ("", {})
    assert said.err.startswith("Record a denial for 1 person")
    assert said.err.endswith("nothing was done\n")
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert main(["erase", "--client", desk, "user-1", "user-2"]) == 0
    assert [each["distinct_ids"] for each in vendor.tasks.values()] == [["user-1"], ["user-2"]]
    out = capsys.readouterr().out
    assert (
        out == "00000001  deletion  PENDING  1 id of the vendor's\n00000002  deletion  PENDING  1 id of the vendor's\n"
    )


def test_the_desk_follows_a_request_up(desk, vendor, capsys):
    assert main(["erase", "--client", desk, "--yes", "user-1"]) == 0
    vendor.finish("00000001")
    assert main(["erase", "--client", desk, "--status", "00000001"]) == 0
    assert "SUCCESS" in capsys.readouterr().out
    assert main(["erase", "--client", desk, "--cancel", "00000001"]) == 1
    assert "HTTP 400" in capsys.readouterr().err
    assert main(["erase", "--client", desk, "--yes", "user-2"]) == 0
    assert main(["erase", "--client", desk, "--cancel", "00000002"]) == 0
    assert "taken back" in capsys.readouterr().out


def test_the_desk_exports_what_the_vendor_holds(desk, vendor, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("user-1\n\nuser-2\nuser-1\n"))
    assert main(["export", "--client", desk, "--yes"]) == 0
    assert vendor.tasks["00000001"]["distinct_ids"] == ["user-1", "user-2"]
    vendor.finish("00000001")
    assert main(["export", "--client", desk, "--status", "00000001"]) == 0
    assert f"{vendor.url}/download/00000001" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["erase", "--client", "desk:bare", "--yes", "user-1"], "the client has no privacy="),
        (["erase", "--client", "desk:registry", "user-1"], "must be a Mixpanel"),
        (["export", "--client", "desk:mp", "--cancel", "1"], "--cancel is for deletions"),
        (["erase", "--client", "desk:mp"], "name at least one ID"),
    ],
)
def test_wrong_usage_is_told(desk, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "ids"),
    [("\ufeffuser-1\r\nuser-2\r\n", ["user-1", "user-2"]), ("user 1\n", ["user 1"])],
)
def test_ids_are_read_line_by_line_as_editors_write_them(desk, vendor, monkeypatch, text, ids):
    monkeypatch.setattr("sys.stdin", io.StringIO(text, newline=""))
    assert main(["erase", "--client", desk, "--yes"]) == 0
    assert [each for task in vendor.tasks.values() for each in task["distinct_ids"]] == ids


@pytest.mark.parametrize("odd", [" user-1", "user-1\t", "alice\x85bob", "alice\u2028bob", "a\x0cb", "\u200buser-1"])
def test_an_id_that_could_mean_somebody_else_is_refused(desk, vendor, monkeypatch, capsys, odd):
    # rule 7.2: nobody else is erased
    monkeypatch.setattr("sys.stdin", io.StringIO(f"user-9\n{odd}\n"))
    assert main(["erase", "--client", desk, "--yes"]) == 2
    assert main(["export", "--client", desk, "--yes", odd]) == 2
    assert vendor.tasks == {}
    said = capsys.readouterr().err
    assert "1 of the ids have white space around them" in said
    assert "alice" not in said


def test_ids_from_standard_input_need_a_yes(desk, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("user-1\n"))
    assert main(["erase", "--client", desk]) == 2
    assert "need --yes" in capsys.readouterr().err


def test_the_fake_answers_as_the_vendor_documents(vendor):
    assert repr(PrivacyTask(kind="deletion", task_id="1")).startswith("PrivacyTask(kind='deletion'")
    assert json.dumps(vendor.tasks) == "{}"
