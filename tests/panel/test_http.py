"""What the panel answers to requests, without any framework."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from functools import partial
from urllib.parse import urlencode

import pytest
from mixpanel import MixpanelException

from consentpanel import BufferedConsumer, ConsentStatus, FieldPolicy, Mixpanel, PrivacyRequests, keep
from consentpanel.errors import ConfigurationError, RegistryError
from consentpanel.panel import Panel, Request
from consentpanel.panel._notices import Notices
from consentpanel.panel._page import shown
from consentpanel.registry import CachedRegistry, CallableRegistry, MaxAge, MemoryRegistry
from consentpanel.testing import FakePrivacyAPI, FakeTransport
from consentpanel.transparency import NoticeArchive, Vendor, notice

GRANTED, DENIED, UNKNOWN = ConsentStatus.GRANTED, ConsentStatus.DENIED, ConsentStatus.UNKNOWN


def statuses(shop):
    return {name: shop.registry.status(shop.who, name) for name in ("analytics", "profiles", "feature_flags")}


# rule 12.1: nothing is set beforehand, and whoever only looks gets no id
def test_the_page_is_shown_to_somebody_who_has_not_answered(shop):
    found = shop.get()
    assert found.status == 200
    assert found.header("Content-Type") == "text/html; charset=utf-8"
    assert " checked" not in found.body.decode()
    assert shop.cookies == ""


# rule 12.3: every answer is a record with what the person saw as evidence
def test_an_answer_is_recorded_with_what_was_shown(shop):
    found = shop.answer(analytics="yes", profiles="no")
    assert (found.status, found.header("Location")) == (303, "/privacy/?done=saved")
    assert statuses(shop) == {"analytics": GRANTED, "profiles": DENIED, "feature_flags": UNKNOWN}
    digest = hashlib.sha256(shown(shop.notice("en")).encode()).hexdigest()
    for record in shop.records:
        assert (record.policy_version, record.language, record.source) == ("4", "en", "panel")
        assert record.event_type == "explicit"
        assert record.evidence == {"shown": digest, "notice": "4"}


# rule 12.6: what the panel writes is what strict records ask for
def test_an_answer_is_taken_by_a_registry_that_takes_strict_records_alone(open_shop):
    shop = open_shop(MemoryRegistry(strict_records=True, required_policy_version="2026-05-01"))
    assert shop.answer(analytics="yes").status == 303
    (record,) = shop.records
    # A grant to another version than the one that is asked for would not hold.
    assert (record.policy_version, record.evidence["notice"]) == ("2026-05-01", "4")
    assert shop.registry.status(shop.who, "analytics") is GRANTED


# rule 12.1: one button each for all of them; what is sensitive takes a yes of its own (GDPR, article 9)
@pytest.mark.parametrize(("said", "status", "sensitive"), [("yes", GRANTED, UNKNOWN), ("no", DENIED, DENIED)])
def test_all_are_answered_by_one_button(shop, said, status, sensitive):
    assert shop.post("", shop.shown() | {"all": said, "answer.analytics": "yes"}).status == 303
    assert statuses(shop) == {"analytics": status, "profiles": sensitive, "feature_flags": status}


# rule 12.2: the result is told on the next page, and by the records alone
def test_a_link_cannot_claim_what_was_not_done(shop):
    for claim in ("saved", "withdrawn", "erased", "exported", "erase_failed", "failed", "anything"):
        assert shop.state(f"done={claim}")["result"] is None
    shop.answer(analytics="yes")
    assert shop.state("done=saved")["result"] == "saved"
    assert {shop.state(f"done={claim}")["result"] for claim in ("withdrawn", "erased", "exported", "failed")} == {None}


# rule 12.3: an answer is to what the person saw, or it is none
@pytest.mark.parametrize(
    "changed", [{"version": "3"}, {"shown": "0" * 64}, {"shown": ""}, {"language": "de"}, {"language": "xx"}]
)
def test_an_answer_to_another_text_is_not_saved(shop, changed):
    found = shop.post("", {**shop.shown(), "all": "yes", **changed})
    assert found.status == 409
    assert "has changed since you opened it" in found.body.decode()
    assert shop.who is None


# rule 12.3: a no is taken whatever it is said to, and proves no more than what it names
@pytest.mark.parametrize(
    ("changed", "said_to"),
    [
        ({"version": "3"}, {"notice": "3", "language": "en"}),
        ({"shown": "0" * 64, "language": "xx"}, {"notice": "4", "language": "xx", "shown": "0" * 64}),
        ({"version": "<b>" * 9_000, "language": "de\n", "shown": ""}, {}),
    ],
)
def test_a_no_to_another_text_is_saved(shop, changed, said_to):
    fields = {**shop.shown(), "answer.analytics": "no", "answer.raffle": "no", **changed}
    if "shown" not in changed:
        said_to = said_to | {"shown": fields["shown"]}
    assert shop.post("", fields).status == 303
    (record,) = shop.records
    assert (record.purpose, record.status, record.evidence) == ("analytics", DENIED, {"said_to": said_to})
    assert shop.state("done=saved")["result"] == "saved"
    assert shop.post("", {**shop.shown(), "all": "no", **changed}).status == 303
    assert set(statuses(shop).values()) == {DENIED}


def test_a_yes_beside_it_is_not(shop):
    given = shop.shown() | {"version": "3", "answer.analytics": "yes", "answer.profiles": "no"}
    found = shop.post("", given)
    assert found.status == 409
    assert "Your no is saved. This page has changed since you opened it; your yes was not saved" in found.body.decode()
    assert statuses(shop) == {"analytics": UNKNOWN, "profiles": DENIED, "feature_flags": UNKNOWN}
    said = shop.post_json("api", {"answers": {"analytics": True, "profiles": False}})
    assert (said.status, json.loads(said.body)["result"]) == (409, "no_saved")


# rule 12.1: neither a notice that cannot be made nor one that has dropped the purpose stands in the way of a no
def test_a_no_needs_no_notice(open_shop):
    def notice(language):
        raise KeyError(language)

    shop = open_shop(notice=notice, account="user-1")
    shop.registry.grant("user-1", "analytics", "profiles")
    assert shop.post("", {"answer.analytics": "no"}).status == 303
    assert shop.registry.status("user-1", "analytics") is DENIED
    found = shop.post("", {"answer.profiles": "no", "answer.feature_flags": "yes"})
    assert (found.status, "Your no is saved." in found.body.decode()) == (503, True)
    assert shop.post("", {"all": "no"}).status == 303
    assert set(statuses(shop).values()) == {DENIED}


def test_nothing_chosen_is_told_and_changes_nothing(shop):
    found = shop.post("", shop.shown())
    assert found.status == 422
    assert shop.who is None


# rule 12.1: a no to all is one to everything that is or could be sent, on the page or not
@pytest.mark.parametrize("is_stale", [False, True])
def test_a_no_to_all_is_a_no_to_what_is_not_on_the_page(open_shop, is_stale):
    shop = open_shop(account="user-1", client={"purposes": {"Ad seen": "marketing"}})
    shop.registry.grant("user-1", "analytics", "marketing", "newsletter")
    stale = {"version": "3"} if is_stale else {}
    assert shop.post("", {**shop.shown(), "all": "no", **stale}).status == 303
    for purpose in ("analytics", "profiles", "feature_flags", "marketing", "newsletter"):
        assert shop.registry.status("user-1", purpose) is DENIED
    assert shop.client.track("user-1", "Ad seen").outcome.value == "dropped"
    assert shop.state("done=saved")["result"] == "saved"


# rule 12.1: take back everything
def test_everything_is_taken_back(shop):
    shop.post("", shop.shown() | {"all": "yes"})
    shop.registry.grant(shop.who, "newsletter")
    found = shop.post("withdraw", shop.shown())
    assert found.header("Location") == "/privacy/?done=withdrawn"
    assert set(statuses(shop).values()) == {DENIED}
    assert shop.registry.status(shop.who, "newsletter") is DENIED
    last = shop.records[-1]
    assert (last.source, last.language, last.policy_version) == ("panel", "en", "4")
    assert last.evidence["notice"] == "4"
    assert shop.state("done=withdrawn")["result"] == "withdrawn"


# rule 12.6: what a form does not show is claimed by no record
@pytest.mark.parametrize("path", ["withdraw", "erase"])
@pytest.mark.parametrize(
    ("given", "said_to"),
    [
        ({}, None),
        ({"version": "3", "language": "de", "shown": "0" * 64}, {"notice": "3", "language": "de", "shown": "0" * 64}),
        ({"version": "\n", "all": "perhaps"}, None),
    ],
)
def test_a_withdrawal_claims_no_other_text_than_its_forms(open_shop, path, given, said_to):
    with FakePrivacyAPI() as vendor:
        shop = open_shop(privacy=PrivacyRequests("TOKEN", "OAUTH", host=vendor.url))
        shop.answer(analytics="yes")
        assert shop.post(path, given | {"who": shop.shown()["who"]}).status == 303
        assert len(vendor.tasks) == (path == "erase")
    last = shop.records[-1]
    assert (last.policy_version, last.language) == (("3", "de") if said_to else (None, None))
    assert (last.evidence.get("said_to") or None) == said_to
    assert not {"shown", "notice"} & last.evidence.keys()


# rule 12.2: by Accept-Language, unless a language is asked for by name
@pytest.mark.parametrize(
    ("accepted", "query", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "", "de"),
        ("fr, *;q=0.1", "", "en"),
        ("en;q=0.1, DE", "", "de"),
        ("de;q=0", "", "en"),
        ("de;q=nan, en;q=2", "", "en"),
        ("en", "language=de", "de"),
        ("de", "language=xx", "de"),
        ("", "", "en"),
    ],
)
def test_the_language_is_the_readers(shop, accepted, query, language):
    page = shop.get("", query, accept_language=accepted).body.decode()
    assert f'<html lang="{language}"' in page


def test_a_language_that_was_asked_for_by_name_stays(shop):
    page = shop.get("", "language=DE").body.decode()
    assert {'action="/privacy/?language=de"', 'href="/privacy/notice?language=de"'} <= set(
        re.findall(r'(?:action|href)="[^"]*"', page)
    )
    headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
    body = urlencode(shop.shown("de") | {"all": "no"}).encode()
    found = shop.request("POST", "", "language=de", body, headers)
    assert found.header("Location") == "/privacy/?done=saved&language=de"
    assert {record.language for record in shop.records} == {"de"}


def test_a_notice_is_made_once_for_each_language(shop):
    for language in ("en", "de", "en", "de"):
        shop.get("", f"language={language}")
    assert shop.made == ["en", "de"]


def test_a_language_that_cannot_be_made_is_shown_in_the_first(open_shop, shop, caplog):
    def notice(language):
        if language == "de":
            raise KeyError("ada@shop.example")
        return shop.notice(language)

    broken = open_shop(notice=notice)
    assert '<html lang="en"' in broken.get("", "language=de").body.decode()
    assert "KeyError" in caplog.text
    assert "ada@" not in caplog.text


def test_without_any_notice_nothing_is_shown_or_saved(open_shop):
    def notice(language):
        raise KeyError(language)

    shop = open_shop(notice=notice)
    assert (shop.get().status, shop.post("", {"all": "yes"}).status) == (503, 503)
    assert shop.who is None
    # And what was given before can be taken back all the same.
    shop.account = "user-1"
    shop.registry.grant("user-1", "analytics")
    assert shop.post("withdraw").header("Location") == "/privacy/?done=withdrawn"
    assert shop.registry.status("user-1", "analytics") is DENIED
    assert json.loads(shop.post_json("api/withdraw").body) == {"result": "withdrawn"}


# rule 12.2: no request to others, and nothing in a line
def test_every_answer_has_the_headers_that_keep_it_safe(shop):
    for found in (shop.get(), shop.get("api"), shop.get("receipt"), shop.get("nowhere"), shop.post("withdraw")):
        assert found.header("Content-Security-Policy") == (
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self';"
            " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        assert found.header("X-Content-Type-Options") == "nosniff"
        assert found.header("Referrer-Policy") == "same-origin"
        assert found.header("Cache-Control") == "no-store"
        assert found.header("Vary") == "Cookie, Accept-Language, Sec-GPC"


def test_its_files_are_kept_by_browsers_until_they_are_others(shop):
    (style,) = re.findall(r'href="(/privacy/panel\.css\?v=[0-9a-f]{16})"', shop.get().body.decode())
    name, _, query = style.removeprefix("/privacy/").partition("?")
    found = shop.get(name, query)
    assert found.header("Cache-Control") == "public, max-age=31536000, immutable"
    assert shop.get(name, "v=other").header("Cache-Control") == "no-cache"
    tag = found.header("ETag")
    again = shop.get(name, if_none_match=f'"x", W/{tag}')
    assert (again.status, again.body) == (304, b"")
    assert shop.get("panel.js").header("Content-Type") == "text/javascript; charset=utf-8"


# rule 12.5: the whole notice, which is the same for all
def test_the_notice_is_published_and_may_be_kept(shop):
    found = shop.get("notice", "language=de")
    assert '<html lang="de">' in found.body.decode()
    assert found.header("Cache-Control") == "public, max-age=300"
    assert found.header("Vary") == "Accept-Language"
    # Its style stands in it.
    assert re.search(r"style-src 'self' 'sha256-[\w+/]{43}=';", found.header("Content-Security-Policy") or "")


# rule 12.2: nobody is given the notice in another's language by something that has kept it
def test_a_notice_in_the_language_of_a_site_is_kept_by_the_browser_alone(shop):
    found = shop.request("GET", "notice", language="de")
    assert '<html lang="de">' in found.body.decode()
    assert found.header("Cache-Control") == "private, max-age=300"
    assert found.header("Vary") == "Accept-Language, Cookie"
    # By name it is the same for all.
    named = shop.request("GET", "notice", "language=en", language="de")
    assert '<html lang="en">' in named.body.decode()
    assert named.header("Cache-Control") == "public, max-age=300"


def test_what_is_not_there_is_not_found_and_other_methods_are_told(shop):
    assert shop.get("nowhere").status == 404
    assert shop.get("../api").status == 404
    found = shop.get("withdraw")
    assert (found.status, found.header("Allow")) == (405, "POST")
    assert shop.request("DELETE").header("Allow") == "GET, POST, HEAD"
    head, whole = shop.request("HEAD"), shop.get()
    assert (head.status, head.body, head.header("Content-Length")) == (200, b"", str(len(whole.body)))


# rules 12.1 and 12.6: a receipt to keep, with the record ids
def test_a_receipt_tells_each_record(shop):
    shop.answer(analytics="yes", profiles="no")
    found = shop.get("receipt")
    assert found.header("Content-Disposition") == 'attachment; filename="privacy-answers.json"'
    said = json.loads(found.body)
    assert [each["record_id"] for each in said["receipts"]] == [each.record_id for each in shop.records]
    assert said["receipts"] == [each.receipt() for each in shop.records]
    assert said["notice_now"] == {"version": "4", "language": "en"}


# rule 12.6: what was shown is kept before the first answer to it
def test_what_was_shown_is_kept_in_an_archive(open_shop, tmp_path):
    archive = NoticeArchive(tmp_path / "notices")
    shop = open_shop(archive=archive)
    shop.get()
    assert list(archive) == []
    shop.answer("de", analytics="yes")
    (kept,) = archive
    assert (kept.version, kept.language, kept.digest) == ("4", "de", shop.records[0].evidence["shown"])
    assert kept.text == shown(shop.notice("de"))


# A yes to a text that nobody could show proves nothing (rule 12.6); a no needs no proof.
def test_without_its_archive_a_yes_is_not_taken_and_a_no_is(open_shop, tmp_path):
    class Broken(NoticeArchive):
        def keep_text(self, *_):
            raise OSError

    shop = open_shop(archive=Broken(tmp_path))
    assert shop.answer(analytics="yes").status == 503
    assert shop.who is None
    found = shop.answer(analytics="yes", profiles="no")
    assert found.status == 503
    assert "Your no is saved. Your yes could not be saved" in found.body.decode()
    assert statuses(shop) == {"analytics": UNKNOWN, "profiles": DENIED, "feature_flags": UNKNOWN}
    assert shop.answer(feature_flags="no").status == 303


# rule 12.1: a yes that is cached is heeded while the registry fails, and no page says otherwise
def test_nothing_is_claimed_of_what_is_sent_while_a_registry_fails(open_shop, failing_registry):
    shop = open_shop(CachedRegistry(failing_registry, ttl=60), account="user-1")
    failing_registry.grant("user-1", "analytics")
    assert shop.visit().track("Tea bought")
    failing_registry.is_down = True
    assert shop.visit().track("Tea bought")
    assert "nothing is sent" not in shop.get().body.decode()


# rule 12.1, fail closed: an answer that could not be saved is told
def test_a_registry_that_fails_is_told(open_shop, failing_registry):
    shop = open_shop(failing_registry)
    shop.answer(analytics="yes")
    fields = shop.shown()
    shop.registry.is_down = True
    found = shop.get()
    assert found.status == 503
    assert "cannot look up your answer" in found.body.decode()
    for path, given in (("", fields | {"all": "no"}), ("withdraw", {})):
        found = shop.post(path, given)
        assert found.status == 503
        assert "could not be saved" in found.body.decode()
    assert shop.get("receipt").status == 503
    shop.registry.is_down = False
    assert shop.registry.status(shop.who, "analytics") is GRANTED


def test_a_function_that_cannot_record_is_told(open_shop):
    shop = open_shop(CallableRegistry(lambda subject, purpose: True))
    assert shop.answer(analytics="yes").status == 503


# rule 12.1: GPC shown as what it did
def test_global_privacy_control_is_shown(shop):
    shop.has_gpc = True
    page = shop.get().body.decode()
    assert "the signal is called “Global Privacy Control”" in page
    shop.answer(analytics="yes")
    assert "gpc" in shop.records[0].evidence
    assert (
        "you said yes here all the same to: Measuring how you use our service. We follow your yes."
        in shop.get().body.decode()
    )


# rule 12.1: the person's own state: until when, and from when they are asked again
def test_ends_and_the_time_of_the_next_question_are_told(open_shop):
    shop = open_shop(MemoryRegistry(max_age=MaxAge(grants=timedelta(days=100))))
    shop.answer(analytics="yes", profiles="no")
    found = shop.visit().summary(("analytics", "profiles"))
    granted, denied = (
        next(each for each in shop.records if each.purpose == name) for name in ("analytics", "profiles")
    )
    assert found.ends == {"analytics": granted.recorded_at + timedelta(days=100)}
    assert found.ask_again is not None
    assert timedelta(days=180) < found.ask_again - denied.recorded_at < timedelta(days=186)


# rule 12.1: what has changed since (`compare`)
def test_who_answered_an_older_notice_is_told_what_has_changed(open_shop):
    paid = keep(label={"en": "what you paid", "de": "was Sie bezahlt haben"})
    older = notice(FieldPolicy(), contact="privacy@teahouse.example")
    newer = partial(notice, FieldPolicy(events={"total": paid}), contact="privacy@teahouse.example")
    shop = open_shop(notice=lambda language: newer(language=language), earlier=[older.to_json()])
    shop.registry.grant("user-1", "analytics", policy_version="3", evidence={"notice": older.version})
    shop.account = "user-1"
    assert "now also sent: what you paid" in shop.get().body.decode()
    assert "jetzt auch gesendet: was Sie bezahlt haben" in shop.get(query="language=de").body.decode()
    shop.answer(analytics="yes")
    assert "now also sent" not in shop.get().body.decode()
    with pytest.raises(ConfigurationError, match="earlier"):
        Panel(earlier=["no notice"])


# rule 12.1: a yes stays one to its own notice, also where another use was answered since, and where a no was
def test_each_yes_is_held_against_its_own_notice(open_shop):
    older = notice(FieldPolicy(), contact="privacy@teahouse.example")
    paid = FieldPolicy(events={"total": keep(label="what you paid")}, people={"plan": keep(label="your plan")})
    newer = partial(notice, paid, contact="privacy@teahouse.example")
    shop = open_shop(notice=lambda language: newer(language=language), earlier=[older.to_json()], account="user-1")
    shop.registry.grant("user-1", "analytics", evidence={"notice": older.version})
    shop.answer(profiles="yes", feature_flags="no")
    page = shop.get().body.decode()
    assert "now also sent: what you paid" in page
    assert "What has changed since your answer to: Measuring how you use our service" in page
    assert "to an older notice" in page


# rule 12.2: a banner on any page, and a link at its foot
def test_a_banner_asks_until_there_is_an_answer(shop):
    elsewhere = Request(mount="/privacy", path="/shop/tea", host="shop.example")
    banner = shop.panel.banner(elsewhere, shop.visit(), "<hidden>")
    assert 'action="/privacy/"' in banner
    assert "<hidden>" in banner
    shop.post("", shop.shown() | {"all": "no"})
    assert shop.panel.banner(elsewhere, shop.visit()) == ""
    assert shop.panel.link(elsewhere, shop.visit()) == '<a href="/privacy/">Privacy choices</a>'


def test_a_banner_and_a_link_break_no_page(open_shop):
    def notice(language):
        raise KeyError(language)

    shop = open_shop(notice=notice)
    assert shop.panel.banner(Request(mount="/privacy"), shop.visit()) == ""
    assert shop.panel.link(Request(mount="/privacy"), shop.visit()) == '<a href="/privacy/">Privacy</a>'


# Without a function of the publisher's the notice is made of the client, and people are sent to the panel itself.
def test_a_minimal_notice_is_made_of_the_client(open_shop, monkeypatch):
    from consentpanel.panel import _notices

    shop, asked = open_shop(), []

    def notice(client, *, contact, language):
        asked.append((client, contact, language))
        return shop.notice(language)

    monkeypatch.setattr(_notices, "notice", notice)
    for contact, known in (None, "/privacy/"), ("privacy@shop.example", "privacy@shop.example"):
        shop.panel = Panel(contact=contact)
        assert shop.get().status == 200
        assert asked.pop() == (shop.client, known, "en")


# rule 12.5: nobody is told to write to where nobody reads
def test_a_minimal_notice_without_a_contact_tells_nobody_to_write(open_shop):
    shop = open_shop()
    shop.panel = Panel()
    state = shop.state()
    assert state["contact"] == ""
    assert state["rights"].endswith("and take it elsewhere.")
    for path in ("", "notice"):
        page = shop.get(path).body.decode()
        assert "Write to" not in page
        assert "Questions, or to use your rights" not in page
    shop.panel = Panel(contact="privacy@shop.example")
    assert "Write to privacy@shop.example." in shop.state()["rights"]
    assert "privacy@shop.example" in shop.get("notice").body.decode()


def test_an_older_notice_that_cannot_be_compared_breaks_no_page(open_shop):
    shop = open_shop(earlier=['{"version": "3"}'], account="user-1")
    shop.registry.grant("user-1", "analytics", policy_version="3", evidence={"notice": "3"})
    assert shop.get().status == 200


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"notice": 3}, "notice must be"),
        ({"notice": lambda language: None, "contact": "a@b"}, "contact="),
        ({"archive": "folder"}, "archive must be"),
        ({"languages": "en"}, "languages must be"),
        ({"languages": ()}, "languages must be"),
        ({"rate": 3}, "rate must be"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        Panel(**arguments)


def test_a_function_that_makes_no_notice_is_told(caplog):
    with pytest.raises(ConfigurationError, match="cannot be made"):
        Notices(lambda language: "text").of("en", Mixpanel("T", FakeTransport()), "/privacy/")


class Five:
    """Records one purpose after the other, as many as it is told to."""

    def __init__(self):
        self.rows, self.left = [], 100

    def status(self, subject_id, purpose, *, at=None):
        mine = [each.status for each in self.history(subject_id) if each.purpose == purpose]
        return mine[-1] if mine else UNKNOWN

    def statuses(self, subject_ids, purpose, *, at=None):
        return {each: self.status(each, purpose) for each in subject_ids}

    def record(self, record):
        if not self.left:
            raise RegistryError("the database is down")
        self.left -= 1
        self.rows.append(record)

    def history(self, subject_id):
        return [each for each in self.rows if each.subject_id == subject_id]


# rule 12.1: after a failure it is told what the records show
@pytest.mark.parametrize(
    ("answers", "left", "result"),
    [
        ({"analytics": "yes", "profiles": "yes"}, 0, "failed"),
        ({"analytics": "yes", "profiles": "yes"}, 1, "part_saved"),
        ({"analytics": "no", "profiles": "yes"}, 1, "yes_failed"),
        ({"analytics": "no", "profiles": "no"}, 1, "part_saved"),
    ],
)
def test_a_part_that_was_saved_is_told(open_shop, answers, left, result):
    shop = open_shop(Five(), account="user-1")
    shop.registry.left = left
    shown = shop.shown()
    said = {"notice_version": "4", "language": "en", "shown": shown["shown"], "who": shown["who"]}
    found = shop.post_json("api", said | {"answers": {name: each == "yes" for name, each in answers.items()}})
    assert (found.status, json.loads(found.body)["result"]) == (503, result)


# rule 12.1: a no is told as saved where nothing but the discarding of what waits has failed
def test_a_buffer_that_fails_hides_no_no(open_shop):
    class Broken(FakeTransport):
        def purge(self, *_, **__):
            raise MixpanelException("down")

    with FakePrivacyAPI() as vendor:
        privacy = PrivacyRequests("TOKEN", "OAUTH", host=vendor.url)
        shop = open_shop(consumer=Broken(), account="user-1", privacy=privacy)
        for path, fields, done in (
            ("", shop.shown() | {"all": "no"}, "saved"),
            ("", {"answer.analytics": "no"}, "saved"),
            ("withdraw", {}, "withdrawn"),
            ("erase", {}, "erase_failed"),
        ):
            shop.registry.grant("user-1")
            assert shop.post(path, fields).header("Location") == f"/privacy/?done={done}"
            assert shop.registry.status("user-1", "analytics") is DENIED


# rule 12.1: a source is told by its name, also one that is called as a text of ours
@pytest.mark.parametrize("source", ["other", "none"])
def test_a_source_is_named_as_it_was_recorded(shop, source):
    shop.account = "ada"
    shop.registry.grant("ada", "analytics", source=source)
    (told,) = shop.state()["history"]
    assert source in told["text"]
    assert "{source}" not in told["text"]


# rule 12.2: paths that somebody makes up fill no memory
def test_minimal_notices_are_kept_for_so_many_paths_alone(shop):
    panel = Panel(languages=("en",))
    for number in range(300):
        found = panel.respond(Request(mount=f"/{number}"), shop.visit())
        assert f"/{number}/".encode() in found.body
    assert len(panel._notices._made) == 256


# rule 12.5: what the notice says is held against what the client does
def test_a_notice_of_another_region_is_warned_of(open_shop, caplog):
    page = partial(notice, FieldPolicy(), contact="privacy@teahouse.example", vendor=Vendor(region="EU"))
    shop = open_shop(notice=lambda language: page(language=language))
    shop.client = Mixpanel("TOKEN", BufferedConsumer(), registry=shop.registry)
    assert shop.get().status == 200
    assert "kept in the region EU, and the client sends to US" in caplog.text


def test_what_a_notice_lacks_stands_in_the_log(open_shop, caplog):
    shop = open_shop(notice=lambda language: notice(FieldPolicy(), contact="x", publish=True))
    assert shop.get().status == 503
    assert "controller=" in caplog.text
