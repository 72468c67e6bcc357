"""`python -m consentpanel panel`: the panel for whoever has to approve it."""

from __future__ import annotations

import json
import re
import sys
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest

pytest.importorskip("werkzeug")
from werkzeug.test import Client

from consentpanel import ConfigurationError, FieldPolicy
from consentpanel._cli import main
from consentpanel._cli import panel as command
from consentpanel.testing import FakePrivacyAPI


@pytest.fixture
def browser(shop):
    with FakePrivacyAPI(command._TOKEN) as vendor:
        yield Client(command.application(FieldPolicy(), shop.notice, vendor.url))


def answers(browser, person):
    return [each["answer"] for each in browser.get(f"/{person}/api").json["purposes"]]


def test_four_people_see_what_is_theirs(browser):
    links = re.findall(r'href="(\w+)/"', browser.get("/").text)
    assert links == ["nobody", "yes", "no", "gpc"]
    assert answers(browser, "nobody") == [None, None, None]
    assert answers(browser, "yes") == [True, True, True]
    assert answers(browser, "no") == [False, False, False]
    assert answers(browser, "gpc") == [False, False, False]
    assert browser.get("/gpc/api").json["has_gpc"] is True
    assert 'action="/yes/"' in browser.get("/yes/").text


# rule 12.2: a page of another site reads and answers nothing, whatever name it makes lead to this machine
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example:8000", 400),
        ("evil.example", 400),
        ("127.0.0.1.evil.example:8000", 400),
        ("192.168.0.2:8000", 400),
        ("", 400),
        ("[::1", 400),
        ("evil.example@localhost", 400),
    ],
)
@pytest.mark.parametrize("path", ["/", "/yes/", "/yes/api"])
def test_it_answers_by_the_names_of_this_machine_alone(browser, host, status, path):
    found = browser.get(path, environ_overrides={"HTTP_HOST": host})
    assert found.status_code == status
    if status == 400:
        found = browser.post(
            "/yes/withdraw", headers={"Sec-Fetch-Site": "same-origin"}, environ_overrides={"HTTP_HOST": host}
        )
        assert found.status_code == 400
        assert answers(browser, "yes") == [True, True, True]


def test_they_may_answer_and_ask_the_vendor(browser):
    own = {"Sec-Fetch-Site": "same-origin"}
    assert browser.post("/yes/withdraw", headers=own).headers["Location"] == "/yes/?done=withdrawn"
    assert answers(browser, "yes") == [False, False, False]
    assert (
        browser.post("/no/erase", data={"who": browser.get("/no/api").json["who"]}, headers=own).headers["Location"]
        == "/no/?done=erased"
    )
    assert [each["status"] for each in browser.get("/no/api").json["requests"]] == ["PENDING"]


def test_a_notice_that_cannot_be_made_is_told_at_the_start():
    def notice(language):
        raise KeyError(language)

    with pytest.raises(ConfigurationError, match="cannot be made"):
        command.application(FieldPolicy(), notice, "http://127.0.0.1:9")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shop):
    (tmp_path / "panel_shop.py").write_text(
        "from consentpanel import FieldPolicy\nPOLICY = FieldPolicy()\nNOTICE = None\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "panel_shop", raising=False)
    import panel_shop

    panel_shop.NOTICE = shop.notice
    yield
    sys.modules.pop("panel_shop", None)


@pytest.mark.usefixtures("folder")
def test_the_command_serves_until_it_is_stopped(monkeypatch, capsys):
    seen = []

    def serve(server):
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urlopen(f"http://127.0.0.1:{server.server_port}/no/api", timeout=10) as answer:
            seen.append(json.load(answer))
        thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(command._Server, "serve_forever", serve)
    assert main(["panel", "--policy", "panel_shop:POLICY", "--notice", "panel_shop:NOTICE", "--port", "0"]) == 0
    assert re.search(r"http://127\.0\.0\.1:\d+/ until you press Ctrl-C", capsys.readouterr().out)
    assert seen[0]["notice_version"] == "4"
    assert (
        main(["panel", "--policy", "panel_shop:POLICY", "--notice", "panel_shop:NOTICE", "--port", "0", "--json"]) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said.keys() == {"schema", "url"}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--policy", "panel_shop:NOTICE"],
        ["--policy", "panel_shop:POLICY", "--notice", "panel_shop:POLICY"],
        ["--policy", "panel_shop:POLICY", "--notice", "panel_shop:NOTICE", "--port", "70000"],
    ],
)
def test_what_cannot_be_used_is_told(arguments):
    assert main(["panel", *arguments]) == 2
