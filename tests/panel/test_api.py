"""The panel for programs: JSON, as its OpenAPI file says (rule 12.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openapi_spec_validator")
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

import consentpanel.panel
from consentpanel import ConsentStatus, PrivacyRequests
from consentpanel.testing import FakePrivacyAPI

FILE = Path(consentpanel.panel.__file__).with_name("openapi.json")
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def follows(path, method, found):
    """What was answered, which is as the file says."""
    said = DOCUMENT["paths"][path][method]["responses"][str(found.status)]
    schema = said["content"]["application/json"]["schema"]
    body = json.loads(found.body)
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}, format_checker=FormatChecker()).validate(
        body
    )
    assert found.header("Content-Type") == "application/json; charset=utf-8"
    return body


def shown(state):
    return {name: state[name] for name in ("notice_version", "language", "shown", "who")}


def test_the_file_is_openapi_and_is_served():
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_the_file_names_each_field_of_a_state(shop):
    state = shop.state()
    for schema, said in (
        ("State", state),
        ("Purpose", state["purposes"][0]),
        ("Sent", state["purposes"][0]["sent"][0]),
    ):
        assert set(DOCUMENT["components"]["schemas"][schema]["properties"]) == set(said)


def test_the_file_is_served_with_the_panel(shop):
    assert json.loads(shop.get("openapi.json").body) == DOCUMENT


def test_a_state_is_read_and_an_answer_saved(shop):
    state = follows("/api", "get", shop.get("api"))
    assert [each["answer"] for each in state["purposes"]] == [None, None, None]
    answers = {"analytics": True, "profiles": False}
    saved = follows("/api", "post", shop.post_json("api", shown(state) | {"answers": answers}))
    assert saved["result"] == "saved"
    assert [each["answer"] for each in saved["purposes"]] == [True, False, None]
    assert {record.evidence["shown"] for record in shop.records} == {state["shown"]}
    saved = follows("/api", "post", shop.post_json("api", shown(state) | {"all": False}))
    assert [each["answer"] for each in saved["purposes"]] == [False, False, False]
    taken_back = follows("/api/withdraw", "post", shop.post_json("api/withdraw"))
    assert taken_back["result"] == "withdrawn"


def test_an_answer_to_another_text_and_none_at_all_are_told(shop):
    state = shop.state()
    changed = follows("/api", "post", shop.post_json("api", {**shown(state), "notice_version": "3", "all": True}))
    assert changed["result"] == "changed"
    assert follows("/api", "post", shop.post_json("api", shown(state)))["result"] == "incomplete"
    assert shop.who is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"all": true, "all": false}',
        b'{"answers": {"analytics": true, "analytics": false}}',
        b'{"answers": {"analytics": 1}}',
        b'{"answers": {"analytics": "yes"}}',
        b'{"answers": []}',
        b'{"all": "yes"}',
        b'{"notice_version": 4}',
        b'{"subject_id": "user-1"}',
        b"[" * 30_000,
    ],
)
def test_a_malformed_body_is_refused(shop, body):
    headers = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
    found = shop.request("POST", "api", body=body, headers=headers)
    if body == b"":
        # Nothing was said, and so to no text.
        assert found.status == 409
    else:
        assert follows("/api", "post", found)["error"] == "malformed"
    assert shop.who is None


def test_every_refusal_is_as_the_file_says(shop):
    for path in ("/api", "/api/withdraw", "/api/erase", "/api/export"):
        name = path[1:]
        assert follows(path, "post", shop.post_json(name, sec_fetch_site="cross-site"))["error"] == "other_site"
        assert follows(path, "post", shop.post_json(name, content_type="text/plain"))["error"] == "wrong_type"
        large = shop.request("POST", name, length=10**6, headers={"content-type": "application/json"})
        assert follows(path, "post", large)["error"] == "too_large"


def test_an_erasure_and_a_copy_are_asked_for(open_shop):
    with FakePrivacyAPI() as vendor:
        shop = open_shop(privacy=PrivacyRequests("TOKEN", "OAUTH", host=vendor.url))
        assert follows("/api/erase", "post", shop.post_json("api/erase"))["error"] == "nobody"
        state = shop.state()
        shop.post_json("api", shown(state) | {"all": True})
        copied = follows("/api/export", "post", shop.post_json("api/export"))
        assert [each["kind"] for each in copied["requests"]] == ["retrieval"]
        erased = follows("/api/erase", "post", shop.post_json("api/erase"))
        assert [each["kind"] for each in erased["requests"]] == ["retrieval", "deletion"]
        assert shop.registry.status(shop.who, "analytics") is ConsentStatus.DENIED
        shop.post_json("api", shown(state) | {"all": True})
        vendor.fail(500)
        assert follows("/api/erase", "post", shop.post_json("api/erase"))["result"] == "erase_failed"


def test_what_is_saved_is_told_though_the_page_cannot_be_shown_any_more(shop, monkeypatch):
    state = shop.state()

    def broken(*_, **__):
        raise ValueError

    monkeypatch.setattr("consentpanel.panel._panel.view_of", broken)
    found = shop.post_json("api", shown(state) | {"all": True})
    assert (found.status, json.loads(found.body)) == (200, {"result": "saved"})
    assert shop.registry.status(shop.who, "analytics") is ConsentStatus.GRANTED


def test_a_receipt_is_as_the_file_says(shop):
    shop.answer(analytics="yes")
    body = follows("/receipt", "get", shop.get("receipt"))
    assert len(body["receipts"]) == 1
