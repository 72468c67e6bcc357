"""What the panel says to one person, in words."""

from __future__ import annotations

import json
from datetime import timedelta

import attrs
import pytest

from consentpanel import ConsentStatus, transparency
from consentpanel.panel._shown import digest_of, shown
from consentpanel.panel._situation import RESULTS, Situation
from consentpanel.panel._view import view_of
from consentpanel.privacy_requests import PrivacyTask, TaskStatus


@pytest.fixture
def see(samples):
    def seen(situation, **changes):
        return view_of(samples.notice(**changes), situation, samples.URLS, now=samples.NOW)

    return seen


def told(view, kind):
    return [note.text for note in view.notes if note.kind == kind]


def standings(view):
    return {each.purpose: each.standing for each in view.purposes}


def answers(view):
    return {each.purpose: each.answer for each in view.purposes}


def test_nothing_is_set_beforehand_for_somebody_who_has_not_answered(see, samples):  # rule 12.1
    view = see(samples.unanswered())
    assert answers(view) == {"analytics": None, "profiles": None, "feature_flags": None}
    assert set(standings(view).values()) == {"Not answered yet: nothing is sent"}
    assert view.asks
    assert not view.can_withdraw


def test_a_status_that_is_not_told_is_no_answer(see):
    assert set(answers(see(Situation())).values()) == {None}


def test_the_page_says_who_asks_and_who_receives(see, samples):  # rule 12.1
    view = see(samples.unanswered())
    assert view.heading == "Your choice: may we measure how you use Teahouse?"
    assert view.intro.startswith("Teahouse Ltd would like to send data about how you use Teahouse to Mixpanel")
    assert view.facts == samples.IN_SHORT
    assert view.equal == "You can use all of Teahouse, whichever answer you give."


@pytest.mark.parametrize(
    ("controller", "service", "begins"),
    [
        ("Teahouse Ltd", None, "Teahouse Ltd would like to send data about how you use our service"),
        (None, "Teahouse", "Teahouse would like to send data about how you use Teahouse"),
        (None, None, "We would like to send data about how you use our service"),
    ],
)
def test_what_the_notice_does_not_name_has_other_words(see, samples, controller, service, begins):
    view = see(samples.unanswered(), controller=controller, service=service)
    assert view.intro.startswith(begins)


def test_an_answer_says_since_when_to_which_version_and_until_when(see, samples):  # rule 12.1
    view = see(samples.answered())
    assert answers(view) == {"analytics": True, "profiles": False, "feature_flags": False}
    assert standings(view)["analytics"] == ("Yes since 3 November 2026 (notice 4). It holds until 3 November 2027.")
    assert standings(view)["profiles"] == "No since 8 November 2026 (notice 4)."
    first = view.purposes[0]
    assert (first.since, first.version, first.until) == (
        samples.NOW - timedelta(days=25),
        "4",
        samples.NOW + timedelta(days=340),
    )


def test_an_answer_without_a_version_or_a_record_claims_neither(see, samples):
    records = (samples.record("analytics", 3, answer=True, policy_version=None),)
    view = see(Situation(records=records, statuses=samples.statuses(analytics=True, profiles=False)))
    assert standings(view)["analytics"] == "Yes since 25 November 2026."
    assert standings(view)["profiles"] == "No."
    assert view.purposes[1].since is None


def test_a_record_that_says_otherwise_than_the_registry_is_not_the_answer(see, samples):
    records = (samples.record("analytics", 3, answer=True),)
    view = see(Situation(records=records, statuses=samples.statuses(analytics=False)))
    assert standings(view)["analytics"] == "No."


def test_a_signal_is_shown_as_what_it_did(see, samples):  # rule 12.1
    view = see(samples.signalled())
    assert answers(view)["profiles"] is False
    assert standings(view)["profiles"] == "No, because your browser sends a privacy signal."
    assert "no to: A profile of you at Mixpanel." in told(view, "gpc")[0]
    assert "on 29 October 2026 you said yes here" in told(view, "conflict")[0]


def test_a_signal_overrides_a_yes_that_is_recorded(see, samples):
    situation = samples.signalled(statuses=samples.statuses(profiles=True))
    profiles = see(situation).purposes[1]
    assert (profiles.answer, profiles.is_sent, profiles.by_signal) == (False, False, True)


def test_a_signal_without_an_older_yes_is_no_conflict(see, samples):
    view = see(samples.signalled(records=()))
    assert told(view, "gpc")
    assert not told(view, "conflict")


def test_a_no_of_the_person_after_a_yes_is_no_conflict(see, samples):
    records = (samples.record("profiles", 9, answer=True), samples.record("profiles", 5, answer=False))
    assert not told(see(samples.signalled(records=records)), "conflict")


# rule 12.1: a yes in spite of the signal is told as what is followed
def test_a_signal_in_spite_of_which_the_person_said_yes_is_told_with_that_yes(see, samples):
    said = {"refused_by_signal": frozenset(), "statuses": samples.statuses(analytics=True, profiles=True)}
    yes = samples.record("profiles", 1, answer=True, evidence={"gpc": True})
    records = (*samples.signalled().records, yes, samples.record("analytics", 1, answer=True))
    (text,) = told(see(samples.signalled(records=records, **said)), "gpc")
    assert text.startswith(
        "Your browser sends Global Privacy Control. On 27 November 2026 you said yes here all the same"
    )
    assert text.endswith("to: A profile of you at Mixpanel. We follow your yes.")
    assert not told(see(samples.signalled(records=records, has_gpc=False, **said)), "gpc")


# rule 12.1: a signal of the past is told as one
def test_a_signal_that_is_not_sent_any_more_is_one_of_the_past(see, samples):
    view = see(samples.signalled(has_gpc=False, refused_by_signal=frozenset()))
    assert standings(view)["profiles"] == "No, because your browser sent a privacy signal on 26 November 2026."
    assert view.purposes[1].by_signal
    # Everything that a script or a program follows stays as it is.
    assert (answers(view)["profiles"], told(view, "gpc")) == (False, [])


def test_a_signal_is_heeded_also_when_the_registry_fails(see, samples):
    view = see(samples.signalled(is_available=False))
    assert answers(view)["profiles"] is False


def test_without_a_registry_nothing_is_known_or_claimed(see, samples):
    view = see(samples.answered(is_available=False), uses=(samples.ANALYTICS, samples.OBJECTION))
    assert answers(view) == {"analytics": None, "operations": None}
    assert not any(each.is_sent for each in view.purposes)
    # A yes may be in a cache, so that nothing is claimed of what is sent (rule 12.1).
    words = "We cannot look up your answer at the moment. A no that you have given still holds. You can say no here."
    assert told(view, "unavailable") == [words]
    assert set(standings(view).values()) == {words}
    assert not view.asks
    assert view.can_withdraw


def test_what_is_done_unless_somebody_objects_says_so(see, samples):
    view = see(samples.unanswered(), uses=(samples.OBJECTION,))
    (only,) = view.purposes
    assert only.answer is None
    assert only.is_sent
    assert only.standing == "Not answered: it is sent unless you object."
    assert "unless you object" in view.intro
    assert view.heading == "Your choice: whether we measure how you use Teahouse"
    assert view.can_withdraw
    assert not view.asks
    assert not told(view, "held")


def test_some_uses_with_consent_and_some_without_are_told_apart(see, samples):
    view = see(samples.unanswered(), uses=(samples.ANALYTICS, samples.OBJECTION))
    assert "whether we need your consent" in view.intro
    assert view.banner.startswith(
        "This is about data about you that Mixpanel receives from us for: Measuring how you use our service and"
    )
    # Something of the person is sent already.
    assert not told(view, "held")


def test_each_thing_that_is_sent_has_form_example_and_reason(see, samples):  # rule 12.1
    first = see(samples.unanswered()).purposes[0].sent[0]
    assert attrs.astuple(first) == (
        "what you bought",
        "exactly as it is",
        "Darjeeling, 100 g",
        "to order enough of it",
        ("when you do this: “Order placed”",),
        None,
    )


def test_the_history_is_newest_first_and_tells_what_was_taken_back(see, samples):  # rule 12.1
    history = see(samples.answered()).history
    assert [each.text for each in history] == [
        "8 November 2026, 12:00 (universal time, UTC): no to “Trying out new features” (our website)",
        "8 November 2026, 12:00 (universal time, UTC): you took back your yes to “A profile of you at Mixpanel”",
        "3 November 2026, 12:00 (universal time, UTC): yes to “Measuring how you use our service” (notice 4, this page)",
        "29 October 2026, 12:00 (universal time, UTC): yes to “A profile of you at Mixpanel” (notice 4, this page)",
    ]
    assert [each.is_withdrawal for each in history] == [False, True, False, False]


def test_the_history_tells_what_the_signal_said(see, samples):
    latest = see(samples.signalled()).history[0]
    assert latest.text.endswith(
        "no to “A profile of you at Mixpanel”, because your browser sent a privacy signal (GPC)"
    )
    assert (latest.by_signal, latest.is_withdrawal) == (True, False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"answer": True, "source": "cookiebot"}, "yes to “Measuring how you use our service” (notice 4, cookiebot)"),
        (
            {"answer": True, "source": None},
            "yes to “Measuring how you use our service” (notice 4, where is not recorded)",
        ),
        ({"answer": True, "policy_version": None}, "yes to “Measuring how you use our service” (this page)"),
        ({"answer": None}, "your answer to “Measuring how you use our service” no longer counts (this page)"),
    ],
)
def test_the_history_claims_only_what_is_recorded(see, samples, fields, words):
    records = (samples.record("analytics", 3, **fields),)
    assert (
        see(samples.unanswered(records=records)).history[0].text
        == f"25 November 2026, 12:00 (universal time, UTC): {words}"
    )


def test_a_purpose_of_the_past_is_in_the_history(see, samples):
    records = (samples.record("profiles", 3, answer=True), samples.record("raffle", 2, answer=True))
    view = see(samples.unanswered(records=records), uses=(samples.ANALYTICS,))
    assert [each.title for each in view.history] == ["raffle", "A profile of you at Mixpanel"]


def test_a_yes_to_a_purpose_that_is_no_more_asked_can_be_taken_back(see, samples):
    records = (samples.record("raffle", 2, answer=True),)
    assert see(samples.unanswered(records=records)).can_withdraw
    records = (*records, samples.record("raffle", 1, answer=False))
    assert not see(samples.unanswered(records=records)).can_withdraw


def test_requests_have_number_and_status(see, samples):  # rule 12.1
    view = see(samples.answered())
    assert [(each.kind, each.text) for each in view.requests] == [
        ("deletion", "Request for deletion at Mixpanel of 20 November 2026, number 1842: under way"),
        ("retrieval", "Request for a copy from Mixpanel, number 1843: done"),
    ]
    assert view.requests[1].link == "https://storage.example/copy?key=1"
    assert "key=1" not in repr(view)


@pytest.mark.parametrize("status", TaskStatus)
def test_each_status_of_a_request_has_words(see, samples, status):
    tasks = (PrivacyTask(kind="deletion", task_id="1", status=status),)
    assert (
        see(samples.answered(requests=tasks))
        .requests[0]
        .text.startswith("Request for deletion at Mixpanel, number 1: ")
    )


def test_a_copy_is_fetched_by_https_only(see, samples):
    tasks = (PrivacyTask(kind="retrieval", task_id="1", link="javascript:alert(1)"),)
    assert see(samples.answered(requests=tasks)).requests[0].link is None


def test_why_somebody_is_asked_again(see, samples):  # rule 12.1
    changed = samples.unanswered(
        records=(samples.record("analytics", 30, answer=True, policy_version="3"),),
        changes={"analytics": ("new: your plan", "why")},
    )
    assert told(see(changed), "again") == [
        "We ask again because this has changed: new: your plan and why. As long as your answer to a use is missing, nothing is sent for it."
    ]
    unnamed = attrs.evolve(changed, changes={})
    assert "our notice has changed since your answer of 29 October 2026" in told(see(unnamed), "again")[0]
    ended = (samples.record("analytics", 30, answer=True, expires_at=samples.NOW - timedelta(days=1)),)
    assert told(see(samples.unanswered(records=ended)), "again") == [
        "We ask again because your answer of 29 October 2026 has run out."
    ]


def test_changes_are_told_also_where_the_answer_still_holds(see, samples):
    view = see(samples.answered(changes=dict.fromkeys(samples.PURPOSES, ("a new reason",))))
    (note,) = [each for each in view.notes if each.kind == "changed"]
    assert (note.text, note.items) == ("What has changed since your answer", ("a new reason",))
    assert not told(view, "again")


# rule 12.1: what has changed since this very answer
def test_changes_are_those_since_the_answer_to_each_use(see, samples):
    view = see(samples.answered(changes={"analytics": ("a new reason",), "profiles": ("your plan",)}))
    assert [(each.text, each.items) for each in view.notes if each.kind == "changed"] == [
        ("What has changed since your answer to: Measuring how you use our service", ("a new reason",)),
        ("What has changed since your answer to: A profile of you at Mixpanel", ("your plan",)),
    ]


def test_a_yes_to_an_older_notice_says_so(see, samples):  # rule 12.1
    records = (
        samples.record("analytics", 3, answer=True, policy_version="2026-05-01", evidence={"notice": "3"}),
        samples.record("profiles", 3, answer=True, policy_version="2026-05-01", evidence={"notice": "4"}),
    )
    view = see(Situation(records=records, statuses=samples.statuses(analytics=True, profiles=True)))
    assert standings(view)["analytics"] == "You said yes on 25 November 2026, to an older notice (3)."
    assert standings(view)["profiles"] == "Yes since 25 November 2026 (notice 2026-05-01)."


def test_messages_that_wait_for_an_answer_are_told(see, samples):
    assert told(see(samples.unanswered()), "held")[0].startswith(
        "As long as your answer to a use is missing, nothing about you is sent"
    )
    assert "at most 30 minutes" in told(see(samples.unanswered(held_minutes=30)), "held")[0]
    assert not told(see(samples.answered()), "held")
    # Of somebody without an id nothing waits.
    assert "nothing is collected" in told(see(samples.unanswered(held_minutes=30, is_nobody=True)), "held")[0]


@pytest.mark.parametrize(
    ("said", "ask_again", "words"),
    [
        ({"analytics": True, "profiles": True, "feature_flags": True}, False, "Your yes is saved. From now on"),
        (
            {"analytics": False, "profiles": False, "feature_flags": False},
            True,
            "will not ask again before 7 May 2027.",
        ),
        ({"analytics": False, "profiles": False, "feature_flags": False}, False, "nothing about you for these uses."),
        (
            {"analytics": True, "profiles": False},
            False,
            "Yes to: Measuring how you use our service. No to: A profile of you at Mixpanel.",
        ),
        (
            {"analytics": True},
            False,
            "Your answers are saved. Yes to: Measuring how you use our service. Not answered yet: A profile of you at Mixpanel and",
        ),
        (
            {"analytics": False},
            False,
            "Your answers are saved. No to: Measuring how you use our service. Not answered yet: A profile of you at Mixpanel and",
        ),
    ],
)
def test_what_was_saved_is_told_as_it_stands_now(see, samples, said, ask_again, words):
    moment = samples.NOW + timedelta(days=160) if ask_again else None
    situation = Situation(statuses=samples.statuses(**said), ask_again=moment, result="saved")
    assert words in told(see(situation), "result")[0]


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("can_erase", [True, False])
def test_each_result_has_words_and_stands_first(see, samples, result, can_erase):
    view = see(samples.signalled(result=result, can_erase=can_erase))
    assert view.notes[0].kind in {"result", "error"}
    assert view.notes[0].text


def test_a_withdrawal_asks_for_more_only_where_more_can_be_done(see, samples):
    assert (
        "what was already sent to be deleted"
        in told(see(samples.unanswered(result="withdrawn", can_erase=True)), "result")[0]
    )
    assert told(see(samples.unanswered(result="withdrawn")), "result") == [
        "Stopped on 28 November 2026. Nothing more is sent."
    ]


def test_an_erasure_tells_its_number(see, samples):
    tasks = samples.answered().requests
    assert told(see(samples.answered(result="erased", requests=tasks)), "result")[0] == (
        "Your request of 28 November 2026 to delete your data has reached us; its number is 1842. Status: under way."
    )
    assert told(see(samples.answered(result="exported", requests=tasks)), "result")[0] == (
        "Your request of 28 November 2026 for a copy of your data has reached us; its number is 1843. Status: done."
    )
    assert told(see(samples.answered(result="erased", requests=())), "result") == [
        "Stopped on 28 November 2026. Nothing more is sent."
    ]


def test_what_went_wrong_is_an_error_and_names_what_lacks_an_answer(see, samples):
    (note,) = [each for each in see(samples.unanswered(result="incomplete")).notes if each.kind == "error"]
    assert note.purposes == samples.PURPOSES
    for result in ("failed", "erase_failed", "export_failed", "changed", "too_many", "refused"):
        assert see(samples.unanswered(result=result)).notes[0].kind == "error"


def test_what_was_not_saved_is_not_said_to_be_stopped(see, samples):
    for situation in (samples.unanswered(result="failed"), samples.answered(result="failed")):
        assert told(see(situation), "error") == ["Your answer could not be saved. Please try again."]
    objection = see(samples.unanswered(result="failed"), uses=(samples.OBJECTION,))
    assert told(objection, "error") == ["Your answer could not be saved. Please try again."]


def test_an_objection_is_told_as_one(see, samples):
    records = (samples.record("operations", 3, answer=False),)
    situation = Situation(records=records, statuses={"operations": ConsentStatus.DENIED})
    view = see(situation, uses=(samples.OBJECTION,))
    assert standings(view)["operations"] == "You objected on 25 November 2026. Nothing is sent."


def test_nobody_is_asked_again_before_the_time(see, samples):
    soon = samples.NOW + timedelta(days=1)
    past = samples.NOW - timedelta(days=1)
    assert not see(samples.unanswered(ask_again=soon)).asks
    assert see(samples.unanswered(ask_again=past)).asks
    assert not see(samples.answered()).asks


def test_a_signal_that_answers_all_leaves_nothing_to_ask(see, samples):
    view = see(samples.unanswered(refused_by_signal=frozenset(samples.PURPOSES), has_gpc=True))
    assert not view.asks


def test_the_json_drops_no_words(see, samples):  # rule 12.2
    view = see(samples.answered(result="saved"))
    said = json.loads(json.dumps(view.as_json()))
    assert list(said) == [field.name for field in attrs.fields(type(view))]
    assert said["date"] == "2026-11-01"
    assert said["facts"][0] == {
        "name": "Who receives it",
        "text": "Mixpanel, Inc., only on our instructions (as our “processor”)",
    }
    assert said["purposes"][0]["since"] == "2026-11-03T12:00:00+00:00"
    assert said["purposes"][0]["answer"] is True
    assert said["history"][0]["recorded_at"] == "2026-11-08T12:00:00+00:00"
    assert said["words"]["button.reject_all"] == "No to all"
    assert said["urls"]["withdraw"] == "/privacy/withdraw"


def test_what_was_shown_is_the_same_for_all(see, samples):  # rule 12.3
    views = [see(each) for each in (samples.unanswered(), samples.answered(result="saved"), samples.signalled())]
    assert {view.shown for view in views} == {digest_of(samples.notice())}


def changed_entry(samples, **changes):
    first = attrs.evolve(samples.ANALYTICS.entries[0], **changes)
    return {"entries": (first, *samples.ANALYTICS.entries[1:])}


@pytest.mark.parametrize(
    "changes",
    [
        lambda samples: {"title": "Counting"},
        lambda samples: {"text": "Another reason."},
        lambda samples: {"basis": "Another basis."},
        lambda samples: {"sensitive": "This includes sensitive data."},
        lambda samples: {"needs_consent": False},
        lambda samples: changed_entry(samples, label="what you sold"),
        lambda samples: changed_entry(samples, form="only roughly"),
        lambda samples: changed_entry(samples, reason="to sell more"),
        lambda samples: changed_entry(samples, details=()),
        lambda samples: changed_entry(samples, label="what you bought | exactly", form=""),
    ],
)
def test_what_was_shown_changes_with_every_question(samples, changes):  # rule 12.3
    other = attrs.evolve(samples.ANALYTICS, **changes(samples))
    assert digest_of(samples.notice(uses=(other,))) != digest_of(samples.notice(uses=(samples.ANALYTICS,)))


def test_what_was_shown_can_be_read(samples):
    assert "## Measuring how you use our service | analytics\n" in shown(samples.notice())
    assert shown(samples.notice()) == shown(samples.notice())


@pytest.mark.parametrize("language", transparency.LANGUAGES)
def test_a_notice_of_a_policy_is_asked_in_each_language(samples, language):  # rule 12.2
    for situation in (samples.unanswered(), samples.answered(result="saved"), samples.signalled(held_minutes=5)):
        view = view_of(samples.written(language), situation, samples.URLS, now=samples.NOW)
        assert view.language == language
        assert [each.purpose for each in view.purposes] == ["analytics", "profiles", "feature_flags"]
        # Nothing is left to be filled in.
        told = [
            view.heading,
            view.intro,
            view.banner,
            view.equal or "",
            view.rights,
            view.version,
            *view.words.values(),
        ]
        told += [each.text for each in (*view.notes, *view.history, *view.requests)]
        told += [each.standing for each in view.purposes]
        assert not [each for each in told if "{" in each]
        space = "\u00a0" if language == "fr" else ""
        assert view.words["colon"] == f"{space}:"


def test_the_title_has_the_spaces_of_its_language(samples):
    named = {"language": "fr", "words": transparency.Words("fr")}
    view = view_of(samples.notice(**named), samples.unanswered(), samples.URLS, now=samples.NOW)
    assert view.title == "Vos choix de confidentialit\u00e9\u00a0: Teahouse"


def test_an_unknown_status_of_the_registry_is_no_yes(see, samples):
    assert answers(see(Situation(statuses={"analytics": ConsentStatus.UNKNOWN})))["analytics"] is None
