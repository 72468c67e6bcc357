"""The panel's HTML: whole, escaped, and the same weight for yes and no."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import consentpanel.panel
from consentpanel import ConsentStatus, InvalidRecordError, Purpose
from consentpanel.panel._page import PARTS, banner_of, page_of, parts_of
from consentpanel.panel._situation import RESULTS, Situation
from consentpanel.panel._state import SENT
from consentpanel.panel._view import view_of
from consentpanel.privacy_requests import PrivacyTask

STATIC = Path(consentpanel.panel.__file__).with_name("static")
HIDDEN = '<input type="hidden" name="csrf" value="token">'
VOID = {"meta", "link", "input"}


class Page(HTMLParser):
    """A page as elements, each with its name, attributes, text and the names of those round it."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(attributes) == len(dict(attributes)), attributes
        element = {"tag": tag, "text": "", "round": [each["tag"] for each in self.open], **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [
            each
            for each in self.elements
            if each["tag"] == tag and all(each.get(name) == value for name, value in attributes.items())
        ]


@pytest.fixture
def see(samples):
    def seen(situation, **changes):
        return view_of(samples.notice(**changes), situation, samples.URLS, now=samples.NOW)

    return seen


@pytest.fixture
def views(samples, see):
    mixed = (samples.ANALYTICS, samples.PROFILES, samples.OBJECTION)
    situations = [samples.unanswered(), samples.answered(), samples.signalled(), samples.answered(is_available=False)]
    situations += [samples.answered(result=each) for each in RESULTS]
    situations += [samples.unanswered(result=each) for each in RESULTS]
    return [see(each, **changes) for each in situations for changes in ({}, {"uses": mixed}, {"uses": ()})]


def test_every_page_is_well_formed_and_every_id_is_one(views):
    for view in views:
        page = Page(page_of(view, hidden=HIDDEN))
        ids = [each["id"] for each in page.elements if "id" in each]
        assert len(ids) == len(set(ids))
        for each in page.elements:
            for name in ("for", "form", "aria-labelledby", "aria-describedby"):
                assert set((each.get(name) or "").split()) <= set(ids), each
            if each["tag"] == "a" and each["href"].startswith("#"):
                assert each["href"][1:] in ids


def test_every_control_has_a_name(views):  # rule 12.4
    for view in views:
        page = Page(page_of(view))
        labelled = {each["for"] for each in page.all("label") if each["text"].strip()}
        for box in page.all("input"):
            assert box["type"] == "hidden" or box["id"] in labelled
        for each in (*page.all("button"), *page.all("summary"), *page.all("a")):
            assert each["text"].strip()


def test_the_page_has_one_heading_of_the_first_level_and_its_landmarks(views):  # rule 12.4
    for view in views:
        page = Page(page_of(view))
        assert [each["text"] for each in page.all("h1")] == [view.heading]
        assert len(page.all("main")) == len(page.all("footer")) == 1
        assert page.all("html", lang="en", dir="ltr")
        assert page.all("title")[0]["text"].endswith("Privacy choices: Teahouse")


def test_nothing_runs_or_is_styled_within_the_page(views):  # rule 12.2
    for view in views:
        for html in (page_of(view), banner_of(view)):
            page = Page(html)
            assert not page.all("style")
            assert all("src" in each or each["type"] == "application/json" for each in page.all("script"))
            for each in page.elements:
                assert not any(name == "style" or name.startswith("on") for name in each)


def test_nothing_is_fetched_from_elsewhere(samples, see):  # rule 12.2
    page = Page(page_of(see(samples.answered())))
    fetched = [each.get("src") or each.get("href") for each in (*page.all("script"), *page.all("link"))]
    assert [each for each in fetched if each] == ["/privacy/panel.js", "/privacy/panel.css"]
    assert "url(" not in (STATIC / "panel.css").read_text(encoding="utf-8")
    assert "@import" not in (STATIC / "panel.css").read_text(encoding="utf-8")


def test_no_answer_is_set_beforehand(samples, see):  # rule 12.1
    page = Page(page_of(see(samples.unanswered(), uses=(samples.ANALYTICS, samples.OBJECTION))))
    assert len(page.all("input", type="radio")) == 4
    assert not any("checked" in each or "required" in each for each in page.elements)


def test_the_answer_that_holds_is_set(samples, see):
    page = Page(page_of(see(samples.answered())))
    assert [(each["name"], each["value"]) for each in page.all("input", type="radio") if "checked" in each] == [
        ("answer.analytics", "yes"),
        ("answer.profiles", "no"),
        ("answer.feature_flags", "no"),
    ]


def test_each_question_is_a_group_with_a_legend(samples, see):  # rule 12.4
    page = Page(page_of(see(samples.unanswered())))
    groups, legends = page.all("fieldset"), page.all("legend")
    assert [each["text"] for each in legends] == [use.title for use in samples.notice().uses]
    assert [each["text"] for each in page.all("h2")][:3] == [each["text"] for each in legends]
    described = [each["aria-describedby"].split() for each in groups]
    told = {each["id"]: each["text"] for each in page.all("p") if "id" in each}
    assert told[described[1][1]].startswith("This includes sensitive data")


def test_no_and_yes_to_all_differ_only_in_what_they_say(samples, see):  # rule 12.1
    for html in (page_of(see(samples.unanswered())), banner_of(see(samples.unanswered()))):
        no, yes = Page(html).all("button", name="all")
        assert (no["value"], yes["value"], no["text"], yes["text"]) == ("no", "yes", "No to all", "Yes to all")
        for each in (no, yes):
            del each["value"], each["text"]
        assert no == yes


def test_the_key_enter_in_a_question_saves_and_answers_nothing_else(samples, see):
    page = Page(page_of(see(samples.unanswered(), uses=(samples.ANALYTICS, samples.OBJECTION))))
    own = [each for each in page.all("button") if "form" not in each and "cp-choices" not in each]
    assert own[0]["text"] == "Save my choice"


def test_every_form_posts_what_was_seen_and_the_fields_of_the_framework(samples, see):  # rule 12.3
    view = see(samples.answered(), uses=(samples.ANALYTICS, samples.OBJECTION))
    page = Page(page_of(view, hidden=HIDDEN))
    forms = page.all("form")
    assert [each["action"] for each in forms] == [
        "/privacy/",
        "/privacy/",
        "/privacy/withdraw",
        "/privacy/erase",
        "/privacy/export",
    ]
    assert {each["method"] for each in forms} == {"post"}
    for name, value in (("csrf", "token"), ("version", "4"), ("language", "en"), ("shown", view.shown)):
        assert len(page.all("input", type="hidden", name=name, value=value)) == len(forms)


def test_an_objection_is_one_button(samples, see):
    page = Page(page_of(see(samples.unanswered(), uses=(samples.ANALYTICS, samples.OBJECTION))))
    (button,) = page.all("button", name="answer.operations")
    assert (button["value"], button["text"]) == ("no", "I object: do not send my data")
    assert page.all("p", **{"class": "cp-object"})[0]["text"].startswith("We do this without asking first.")
    objected = Situation(statuses={"operations": samples.statuses(analytics=False)["analytics"]})
    assert not Page(page_of(see(objected, uses=(samples.OBJECTION,)))).all("button", name="answer.operations")


def test_what_cannot_be_taken_back_easily_is_confirmed_without_a_script(samples, see):  # rule 12.1
    page = Page(page_of(see(samples.answered())))
    for action in ("/privacy/erase", "/privacy/export"):
        assert "details" in page.all("form", action=action)[0]["round"]
    assert "details" not in page.all("form", action="/privacy/withdraw")[0]["round"]


def test_what_is_not_configured_is_not_offered(samples, see):
    page = Page(page_of(see(samples.unanswered())))
    assert [each["action"] for each in page.all("form")] == ["/privacy/", "/privacy/"]


def test_the_history_has_times_for_machines_and_a_copy_to_keep(samples, see):  # rule 12.1
    page = Page(page_of(see(samples.answered())))
    assert page.all("time")[0]["datetime"] == "2026-11-08T12:00:00+00:00"
    assert page.all("time")[0]["text"] == "8 November 2026, 12:00 (universal time, UTC)"
    assert "download" in page.all("a", href="/privacy/receipt")[0]
    assert not Page(page_of(see(samples.unanswered()))).all("a", href="/privacy/receipt")


def test_a_result_takes_the_focus_and_an_error_is_an_alert(samples, see):  # rule 12.4
    done = Page(page_of(see(samples.answered(result="saved"))))
    (result,) = done.all("div", id="consentpanel-result")
    assert (result["role"], result["tabindex"], "autofocus" in result) == ("status", "-1", True)
    failed = Page(page_of(see(samples.unanswered(result="incomplete"))))
    (error,) = failed.all("div", id="consentpanel-result")
    assert error["role"] == "alert"
    assert (
        failed.all("title")[0]["text"]
        == "Nothing was saved, because no answer was chosen. Say yes or no to at least one use, then save. Privacy choices: Teahouse"
    )
    links = [each["href"] for each in failed.all("a") if each["href"].startswith("#")]
    assert links == ["#consentpanel-p0-no", "#consentpanel-p1-no", "#consentpanel-p2-no"]


def test_without_a_result_nothing_takes_the_focus(samples, see):
    for html in (page_of(see(samples.unanswered())), banner_of(see(samples.unanswered()))):
        assert not any("autofocus" in each or "tabindex" in each for each in Page(html).elements)


def test_the_parts_are_those_of_the_page(samples, see):  # rule 12.2
    view = see(samples.answered(result="saved"))
    parts, page = parts_of(view, hidden=HIDDEN), page_of(view, hidden=HIDDEN)
    for name in (*PARTS, "head", "state"):
        assert parts[name] in page
    assert parts["result"] in parts["notes"]


def test_a_banner_stands_in_nobodys_way(samples, see):  # rule 12.2
    page = Page(banner_of(see(samples.unanswered()), hidden=HIDDEN))
    assert page.elements[0]["tag"] == "section"
    assert page.elements[0]["aria-labelledby"] == page.all("h2")[0]["id"]
    assert page.all("input", name="csrf")
    assert page.all("a", href="/privacy/")
    assert not any(each.get("role") in {"dialog", "alertdialog"} or "aria-modal" in each for each in page.elements)


def test_a_banner_is_nothing_where_nothing_is_asked(samples, see):  # rules 2.15, 12.2
    assert banner_of(see(samples.answered())) == ""
    assert banner_of(see(samples.unanswered(ask_again=samples.NOW.replace(year=2027)))) == ""
    assert banner_of(see(samples.unanswered(refused_by_signal=frozenset(samples.PURPOSES), has_gpc=True))) == ""
    assert banner_of(see(samples.unanswered(is_available=False))) == ""


def test_a_language_from_right_to_left_says_so(samples, see):
    view = see(samples.unanswered(), language="ar", words=samples.MadeUpWords("ar", "rtl"))
    assert Page(page_of(view)).all("html", lang="ar", dir="rtl")
    assert Page(banner_of(view)).all("section", lang="ar", dir="rtl")


def test_the_sheet_knows_no_left_and_no_right():
    sheet = (STATIC / "panel.css").read_text(encoding="utf-8")
    for physical in ("left", "right", "padding-top", "margin-top", " width:", " height:"):
        assert physical not in sheet.partition("*/")[2].replace("(max-width:", "")


def state_in(html):
    (state,) = Page(html).all("script", id="consent-state", type="application/json")
    return json.loads(state["text"])


def test_scripts_read_the_state(samples, see):  # rule 10.8
    others = {"feature_flags": ConsentStatus.DENIED}
    view = see(samples.answered(others=others), uses=(samples.ANALYTICS, samples.OBJECTION))
    assert state_in(page_of(view)) == {"analytics": "granted", "operations": "unknown", "feature_flags": "denied"}
    assert view.state() == view.as_json()["statuses"]


def test_scripts_are_told_what_is_sent_without_an_answer(samples, see):
    uses = (samples.ANALYTICS, samples.OBJECTION)
    others = {"profiles": ConsentStatus.UNKNOWN, "feature_flags": ConsentStatus.DENIED}

    def sent(**changes):
        return see(samples.unanswered(others=others, **changes), uses=uses).state().get(" sent")

    assert sent() is None
    # What the notice says waits for a yes, waits.
    assert sent(is_opt_out=True) == ["operations", "profiles"]
    assert sent(is_opt_out=True, is_available=False) is None


def test_the_key_that_is_no_purpose_can_be_none():
    with pytest.raises(InvalidRecordError):
        Purpose(SENT)


def test_the_head_names_what_the_library_in_the_browser_serves(samples):
    situation = samples.unanswered()
    view = view_of(samples.notice(), situation, samples.URLS, now=samples.NOW, browser_purposes=("analytics",))
    (script,) = Page(page_of(view)).all("script", src="/privacy/panel.js")
    assert script["data-consentpanel-purposes"] == "analytics"


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("privacy@teahouse.example", "mailto:privacy@teahouse.example"),
        ("https://teahouse.example/?a=1&b=2", "https://teahouse.example/?a=1&b=2"),
        ("javascript:alert(1)", None),
        ("Teahouse Ltd, 1 High Street", None),
        ("a@b.example?subject=x", None),
        ("data:text/html,@", None),
    ],
)
def test_a_contact_is_a_link_where_one_can_be_followed(samples, see, contact, link):
    page = Page(page_of(see(samples.unanswered(), contact=contact)))
    links = [each["href"] for each in page.all("a") if each["href"] not in {"/privacy/", "/privacy/notice"}]
    assert links == [link] * (link is not None)
    assert f"Write to {contact}." in page.all("main")[0]["text"]


HOSTILE = st.one_of(
    st.sampled_from(
        [
            "</script><script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "<!--<script>",
            "' onfocus='alert(1)",
            "&lt;b&gt;",
            "</textarea></title></h2>",
            "\u202e\u0000\ud800",
        ]
    ),
    st.text(min_size=1),
)


def tags(html):
    return [(each["tag"], sorted(set(each) - {"text"})) for each in Page(html).elements]


@given(said=HOSTILE)
def test_what_others_write_stays_text(samples, said):
    """The page has the same elements, whatever stands in labels, reasons, versions, sources and requests."""

    def pages(word):
        entry = samples.Entry(label=word, form=word, example=word, reason=word, details=(word,), path=word)
        use = samples.Use(
            purpose=word, title=word, text=word, basis=word, sensitive=word, needs_consent=True, entries=(entry,)
        )
        changes = {
            "uses": (use,),
            "in_short": ((word, word),),
            "service": word,
            "controller": word,
            "vendor": word,
            "authority": word,
            "version": word,
            "contact": f"{word} x",
            "date": None,
        }
        situation = Situation(
            records=(samples.record("of another purpose", 2, answer=True, source=word, policy_version=word),),
            changes={"analytics": (word,)},
            requests=(PrivacyTask(kind="deletion", task_id=word, requested=word),),
            can_erase=True,
            can_export=True,
            result="incomplete",
        )
        view = view_of(samples.notice(**changes), situation, samples.URLS, now=samples.NOW)
        return page_of(view), banner_of(view)

    plain = [tags(html) for html in pages("word")]
    hostile = pages(said)
    assert [tags(html) for html in hostile] == plain
    for html in hostile:
        state = Page(html).all("script", id="consent-state")
        assert all(json.loads(each["text"]) == {said: "unknown"} for each in state)


def test_hidden_characters_are_shown(samples, see):
    page = page_of(see(samples.unanswered(), uses=(attrs.evolve(samples.FLAGS, title="a\u202eb"),)))
    assert "a\\u202eb" in page
    assert "\u202e" not in page
