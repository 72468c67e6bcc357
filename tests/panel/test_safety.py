"""Nobody else answers for a person, nobody reads another's answers, and nothing that is sent breaks the panel (rule 12.2)."""

from __future__ import annotations

import json
import logging
import re
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consentpanel import ConsentStatus
from consentpanel.errors import ConfigurationError
from consentpanel.panel import MAX_BODY, Rate, Request
from consentpanel.panel._http import HEADERS, fields_of
from consentpanel.panel._safety import Limiter

GRANTED = ConsentStatus.GRANTED
FORM = "application/x-www-form-urlencoded"
WRITES = ("", "withdraw", "erase", "export", "api", "api/withdraw", "api/erase", "api/export")


def sent(shop, path="", fields=None, **more):
    """A post with these headers and no others."""
    kind = "application/json" if path.startswith("api") else FORM
    headers = {"content-type": kind, **more.pop("headers", {})}
    body = json.dumps(fields or {}) if path.startswith("api") else urlencode(fields or {})
    return shop.request("POST", path, body=body.encode(), headers=headers, **more)


# rule 12.2: forged requests
@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "https://shop.example"},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "https://shop.example.evil.example"},
        {"origin": "https://shop.example:8443"},
        {"origin": "https://shop.example@evil.example"},
        {"origin": "shop.example"},
        {"origin": "https://evil.example", "referer": "https://shop.example/privacy/"},
        {"referer": "https://evil.example/?https://shop.example/"},
        {"referer": "https://[shop.example"},
        {"referer": "https://shop.example:port/"},
    ],
)
def test_a_post_from_elsewhere_is_refused(shop, path, headers):
    shop.answer(analytics="yes")
    before = shop.records
    found = sent(shop, path, shop.shown() | {"all": "no"}, headers=headers)
    assert found.status == 403
    assert shop.records == before


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "https://shop.example"},
        {"origin": "http://SHOP.example:80"},
        {"referer": "https://shop.example/privacy/?done=saved"},
    ],
)
def test_a_post_of_this_site_is_taken(shop, headers):
    assert sent(shop, "", shop.shown() | {"all": "no"}, headers=headers).status == 303


# Whoever can write into what is not encrypted can write a page of `http:`, and none of `https:`.
@pytest.mark.parametrize(
    ("address", "scheme", "status"),
    [
        ("http://shop.example", "https", 403),
        ("http://shop.example/privacy/", "https", 403),
        ("http://shop.example", "http", 303),
        # Behind a proxy that ends the encryption.
        ("https://shop.example", "http", 303),
        ("https://shop.example", "https", 303),
    ],
)
def test_a_page_without_encryption_says_nothing_for_a_site_with_it(shop, address, scheme, status):
    header = "origin" if address.endswith("example") else "referer"
    assert sent(shop, "", shop.shown() | {"all": "no"}, headers={header: address}, scheme=scheme).status == status


def test_a_framework_that_has_checked_its_token_is_believed_where_the_browser_is_silent(shop):
    fields = shop.shown() | {"all": "no"}
    assert sent(shop, "", fields, is_checked=True).status == 303
    # And not where it says otherwise.
    assert sent(shop, "", fields, is_checked=True, headers={"sec-fetch-site": "cross-site"}).status == 403


# A link, or a picture of another page, sends a GET.
@pytest.mark.parametrize("path", ["withdraw", "erase", "export", "api/withdraw", "api/erase", "api/export"])
def test_a_link_changes_nothing(shop, path):
    shop.answer(analytics="yes")
    before = shop.records
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post"):
        assert shop.request(method, path, query="all=no", headers={"sec-fetch-site": "none"}).status == 405
    shop.request("GET", "", query=urlencode(shop.shown() | {"all": "no", "answer.analytics": "no"}))
    assert shop.records == before


# A page of another site cannot send JSON unasked.
@pytest.mark.parametrize("path", ["api", "api/withdraw", "api/erase", "api/export"])
@pytest.mark.parametrize("kind", ["", FORM, "text/plain", "multipart/form-data; boundary=x", "application/jsonp"])
def test_the_json_interface_takes_json_alone(shop, path, kind):
    found = shop.post_json(path, {}, content_type=kind)
    assert found.status == 415
    assert json.loads(found.body)["error"] == "wrong_type"


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "multipart/form-data; boundary=x"])
def test_the_page_takes_its_form_alone(shop, kind):
    assert shop.post("", {"all": "yes"}, content_type=kind).status == 415


@pytest.mark.parametrize(
    "body",
    [
        b"answer.analytics=perhaps",
        b"answer.analytics=yes&answer.analytics=no",
        b"all=yes&all=no",
        b"all=",
        b"version=1&version=2",
        b"\xff\xfe",
        b"answer.analytics=%ff",
        b"&".join(b"a%d=1" % number for number in range(500)),
    ],
)
def test_a_malformed_form_is_refused(shop, body):
    found = shop.request("POST", "", body=body, headers={"content-type": FORM, "sec-fetch-site": "same-origin"})
    assert found.status == 400
    assert shop.who is None


def test_an_answer_to_what_is_not_asked_is_refused(shop):
    assert shop.answer(newsletter="yes").status == 400
    assert shop.post_json("api", in_json(shop) | {"answers": {"newsletter": True}}).status == 400
    assert shop.who is None


# rule 12.2: what contradicts itself is no yes
def test_a_yes_to_all_beside_a_no_is_refused(shop):
    said = {"answer.analytics": "no", "answer.profiles": "yes", "all": "yes"}
    assert shop.post("", shop.shown() | said).status == 400
    found = shop.post_json("api", in_json(shop) | {"answers": {"analytics": False}, "all": True})
    assert (found.status, json.loads(found.body)["error"]) == (400, "malformed")
    assert shop.who is None


# Also in a form of one's own in which answers of before are ticked.
def test_a_no_to_all_is_one_whatever_stands_beside_it(shop):
    assert shop.post("", shop.shown() | {"answer.analytics": "yes", "all": "no"}).status == 303
    assert shop.post_json("api", in_json(shop) | {"answers": {"analytics": True}, "all": False}).status == 200
    assert [each["answer"] for each in shop.state()["purposes"]] == [False, False, False]


# A yes to all is none to sensitive data, which is answered by name.
def test_answers_that_agree_with_that_to_all_are_taken(shop):
    assert shop.post("", shop.shown() | {"answer.profiles": "yes", "all": "yes"}).status == 303
    assert [each["answer"] for each in shop.state()["purposes"]] == [True, True, True]
    assert shop.post_json("api", in_json(shop) | {"answers": {"analytics": False}, "all": False}).status == 200
    assert [each["answer"] for each in shop.state()["purposes"]] == [False, False, False]


def in_json(shop):
    shown = shop.shown()
    return {"notice_version": shown.pop("version"), **shown}


@pytest.mark.parametrize("path", WRITES)
def test_a_body_that_is_too_large_is_refused_before_it_is_read(shop, path):
    for more in ({"body": b"a" * (MAX_BODY + 1)}, {"length": MAX_BODY + 1}):
        kind = "application/json" if path.startswith("api") else FORM
        found = shop.request("POST", path, headers={"content-type": kind, "sec-fetch-site": "none"}, **more)
        assert found.status == 413


def test_people_are_told_in_their_language_why_it_was_refused(shop):
    given = {"content-type": FORM, "sec-fetch-site": "cross-site", "accept-language": "de"}
    found = shop.request("POST", "", body=urlencode(shop.shown("de") | {"all": "yes"}).encode(), headers=given)
    assert found.status == 403
    assert '<html lang="de"' in found.body.decode()
    assert 'role="alert"' in found.body.decode()
    assert shop.who is None


# rule 12.2: rate-limited
def test_too_many_answers_are_told_to_wait(open_shop):
    shop = open_shop(rate=Rate(burst=3, per_minute=6))
    shop.answer(analytics="yes")
    assert [shop.answer(analytics="yes").status for _ in range(4)] == [303, 303, 303, 429]
    found = shop.answer(analytics="yes")
    assert 1 <= int(found.header("Retry-After")) <= 11
    assert "Too many requests" in found.body.decode()
    # Reading is not limited, and nobody else is.
    assert shop.get().status == 200
    shop.cookies, shop.address = "", "8.8.8.8"
    assert shop.answer(analytics="yes").status == 303


# rules 12.1 and 12.2: to say no is not made harder by how often it, or a yes, was said
def test_a_no_is_never_too_often_for_somebody_who_clicks(open_shop):
    shop = open_shop(rate=Rate(burst=2, per_minute=1), account="user-1")
    assert [shop.answer(analytics="yes").status for _ in range(3)] == [303, 303, 429]
    for _ in range(20):
        assert shop.answer(analytics="no").status == 303
        assert shop.post("", shop.shown() | {"all": "no"}).status == 303
        assert shop.post("withdraw").status == 303
    # Nor is it lost with the yes beside it.
    shop.registry.grant("user-1", "profiles")
    found = shop.answer(analytics="yes", profiles="no")
    assert "Your no is saved. Your yes could not be saved" in found.body.decode()
    statuses = [shop.registry.status("user-1", each) for each in ("analytics", "profiles")]
    assert statuses == [ConsentStatus.DENIED, ConsentStatus.DENIED]
    # It has an end all the same, which keeps a program from filling the registry.
    limiter = Limiter(Rate(burst=2, per_minute=1), clock=lambda: 0.0)
    waits = [limiter.take("a", None, says_no=True) for _ in range(101)]
    assert (waits[:100], waits[100] > 0) == ([0] * 100, True)


def test_visitors_without_an_id_are_counted_by_address_which_no_log_holds(open_shop, caplog):
    caplog.set_level(logging.DEBUG)
    shop = open_shop(rate=Rate(burst=2, per_minute=1))
    for status in (303, 303, 429):
        shop.cookies = ""
        assert shop.answer(analytics="yes").status == status
    assert "9.9.9.9" not in caplog.text
    assert b"9.9.9.9" not in repr(vars(shop.panel._limiter)).encode()


# Behind a proxy that tells no addresses, one stands for all visitors.
@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "::1", "fe80::1%eth0", None, "", "unix:"])
def test_an_address_that_no_visitor_has_is_shared(open_shop, address):
    shop = open_shop(rate=Rate(burst=1, per_minute=1, shared=5))
    shop.address = address
    found = []
    for _ in range(6):
        shop.cookies = ""
        found.append(shop.answer(analytics="yes").status)
    assert found == [303] * 5 + [429]


def test_an_erasure_counts_more_than_an_answer(open_shop):
    shop = open_shop(rate=Rate(burst=5, per_minute=1))
    shop.answer(analytics="yes")
    assert [shop.post("erase").status, shop.post("erase").status] == [404, 429]


def test_tokens_come_back_and_buckets_are_bounded():
    present = [0.0]
    limiter = Limiter(Rate(burst=2, per_minute=60), clock=lambda: present[0], most=3)
    assert [limiter.take("a", None) for _ in range(3)] == [0, 0, 1]
    present[0] = 1.0
    assert [limiter.take("a", None) for _ in range(2)] == [0, 1]
    # A clock that goes back gives nothing, and takes nothing.
    present[0] = 0.0
    assert limiter.take("a", None) == 1
    for number in range(10):
        limiter.take(None, f"9.9.9.{number}")
    assert len(limiter._buckets) == 3


@pytest.mark.parametrize("wrong", [{"burst": 0}, {"per_minute": 1.5}, {"shared": True}])
def test_a_rate_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="whole number"):
        Rate(**wrong)


# One person cannot read or change another's answers: all hangs on the signed cookie, or the account.
def test_nobody_sees_or_changes_anothers(shop):
    shop.answer(analytics="yes")
    mine, who = shop.cookies, shop.who
    record_id = shop.records[0].record_id
    for forged in ("", mine.replace("=", "=1"), mine[:-2], f"consentpanel={who}"):
        shop.cookies = forged
        for path in ("", "api", "receipt"):
            found = shop.get(path, f"subject={who}&distinct_id={who}")
            assert who not in found.body.decode()
            assert record_id not in found.body.decode()
    shop.cookies = ""
    shop.post("withdraw", {"subject": who, "subject_id": who, "distinct_id": who})
    assert shop.registry.status(who, "analytics") is GRANTED
    shop.cookies = mine
    assert record_id in shop.get("receipt").body.decode()


def test_what_fails_inside_leaves_no_trace_of_a_person(shop, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)

    def broken(*_, **__):
        raise ValueError("ada@shop.example has failed")

    for method, name in (("GET", "summary"), ("POST", "answer")):
        fields = shop.shown() | {"all": "yes"}
        with monkeypatch.context() as broken_now:
            broken_now.setattr("consentpanel._visits.Visit." + name, broken)
            found = shop.get() if method == "GET" else shop.post("", fields)
        assert found.status == 503
        assert b"ada@" not in found.body
    assert "ada@" not in caplog.text
    assert "Traceback" not in caplog.text


def test_a_request_shows_nothing_of_a_person(shop):
    said = repr(Request(query="q=ada", body=b"ada", headers={"referer": "ada"}, address="9.9.9.9"))
    assert "ada" not in said
    assert "9.9.9.9" not in said


# `//evil.example/privacy` would be a page of another host.
@pytest.mark.parametrize("mount", ["//evil.example/privacy", "///evil.example", "/privacy/", "/", ""])
def test_the_panel_leads_to_no_other_host(mount):
    assert re.fullmatch(r"(/[^/]+)*", Request(mount=mount).mount)


TEXTS = st.one_of(
    st.text(max_size=40), st.sampled_from(["yes", "no", "en", "de", "4", "analytics", "é", "\x00", "<script>alert(1)"])
)
NAMES = st.one_of(st.sampled_from(["version", "language", "shown", "all", "answer.analytics", "answer."]), TEXTS)
CHECKED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CHECKED
@given(
    path=st.one_of(st.sampled_from([*WRITES, "receipt", "notice", "panel.css", "panel.js", "openapi.json"]), TEXTS),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT"]),
    query=st.one_of(st.lists(st.tuples(NAMES, TEXTS), max_size=4).map(urlencode), TEXTS),
    headers=st.dictionaries(st.sampled_from(HEADERS), st.one_of(TEXTS, st.just("same-origin")), max_size=6),
    body=st.one_of(
        st.binary(max_size=200),
        st.lists(st.tuples(NAMES, TEXTS), max_size=6).map(lambda each: urlencode(each).encode()),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.floats(), TEXTS),
            lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMES, inner)),
            max_leaves=6,
        ).map(lambda each: json.dumps(each).encode()),
    ),
    kind=st.sampled_from([FORM, "application/json", "application/json; charset=utf-8", ""]),
)
def test_whatever_is_sent_is_answered_and_grants_nothing(shop, path, method, query, headers, body, kind):
    sent_headers = {**headers, "content-type": kind, "sec-fetch-site": headers.get("sec-fetch-site", "same-origin")}
    found = shop.request(method, path, query, body, sent_headers)
    assert found.status in {200, 303, 304, 400, 403, 404, 405, 409, 413, 415, 422, 429}
    for name, value in found.headers:
        assert "\r" not in value
        assert "\n" not in value
        name.encode("latin-1")
        value.encode("latin-1")
    assert b"<script>alert(1)" not in found.body
    if shop.who is not None:
        assert all(each.status is ConsentStatus.DENIED for each in shop.records)


@CHECKED
@given(text=st.text())
def test_any_query_is_fields_or_none(text):
    found = fields_of(text)
    assert found is None or all(len(each) == 2 for each in found)
    assert fields_of("a=" + quote(text)) == [("a", text)]
