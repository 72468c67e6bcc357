"""The English sentences of the page on which a person answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: By names; all begin with `panel.`.
PANEL_SENTENCES: Mapping[str, str] = MappingProxyType(
    {
        "panel.heading": "Your choice: may we measure how you use {service}?",
        "panel.heading.opt_out": "Your choice: whether we measure how you use {service}",
        "panel.service": "our service",
        "panel.intro": (
            "{controller} would like to send data about how you use {service} to {vendor}, a company that analyses "
            "it for us. We do this only with your consent. Say yes or no below to each use of the data; you can "
            "withdraw your consent here at any time."
        ),
        "panel.intro.we": (
            "We would like to send data about how you use {service} to {vendor}, a company that analyses it for us. "
            "We do this only with your consent. Say yes or no below to each use of the data; you can withdraw your "
            "consent here at any time."
        ),
        "panel.intro.mixed": (
            "We work with {vendor}, a company that analyses for us how {service} is used. Under each use you read "
            "whether we need your consent for it, or send data unless you object. Say yes or no to each use; you can "
            "change your answer here at any time."
        ),
        "panel.intro.opt_out": (
            "We send data about how you use {service} to {vendor}, a company that analyses it for us, unless you "
            "object. You can say no to each use here at any time."
        ),
        "panel.equal": "You can use all of {service}, whichever answer you give.",
        "panel.transfer": "Where {vendor} keeps the data: {region}. {transfer}",
        "panel.details": "See what is sent",
        "panel.details.link": "See exactly what is sent, for how long it is kept, and your rights",
        "panel.table.what": "What",
        "panel.table.form": "In which form",
        "panel.table.example": "For example",
        "panel.skip": "Go to your choices",
        "panel.choices.heading": "Your choices",
        "panel.language": "Language",
        "panel.purpose.analytics.title": "Measuring how you use our service",
        "panel.purpose.analytics.text": (
            "We send what you do in {service}, with an ID by which you are recognised. Why: {why}."
        ),
        "panel.purpose.analytics.text.plain": (
            "We send what you do in {service}, with an ID by which you are recognised."
        ),
        "panel.purpose.profiles.title": "A profile of you at {vendor}",
        "panel.purpose.profiles.text": "We collect facts about you in one place. Why: {why}.",
        "panel.purpose.profiles.text.plain": "We collect facts about you in one place.",
        "panel.purpose.feature_flags.title": "Trying out new features",
        "panel.purpose.feature_flags.text": (
            "We send data about you to {vendor}, which uses it to choose the version of a feature that you see. If "
            "you say no, you see the standard version."
        ),
        "panel.purpose.other.title": "{purpose}",
        "panel.purpose.other.text": "We send data about you for this use. Why: {why}.",
        "panel.purpose.other.text.plain": "We send data about you for this use.",
        "panel.answer": "Your answer to “{purpose}”",
        "panel.switch.on": "Yes",
        "panel.switch.off": "No",
        "panel.switch.unanswered": "Not answered yet: nothing is sent",
        "panel.standing.yes": "Yes since {date}.",
        "panel.standing.until": "It holds until {date}.",
        "panel.standing.yes.notice": "Yes since {date} (notice {version}).",
        "panel.standing.yes.older": "You said yes on {date}, to an older notice ({version}).",
        "panel.standing.no": "No since {date}.",
        "panel.standing.no.notice": "No since {date} (notice {version}).",
        "panel.standing.no_signal": "No, because your browser sends a privacy signal.",
        "panel.standing.no_signal.past": "No, because your browser sent a privacy signal on {date}.",
        "panel.standing.objected": "You objected on {date}. Nothing is sent.",
        "panel.standing.opt_out": "Not answered: it is sent unless you object.",
        "panel.standing.either": (
            "Not answered yet. Where the law lets us, we send it unless you object; say no here to stop it."
        ),
        "panel.button.reject_all": "No to all",
        "panel.button.accept_all": "Yes to all",
        "panel.button.save": "Save my choice",
        "panel.after.accept": (
            "Your yes is saved. From now on we send the data described below to {vendor}. You can say no here at any "
            "time."
        ),
        "panel.after.reject": (
            "Your no is saved. We send nothing about you for these uses, and will not ask again before {ask_again}."
        ),
        "panel.after.reject.plain": "Your no is saved. We send nothing about you for these uses.",
        "panel.after.save": "Your answers are saved.",
        "panel.after.yes": "Yes to: {granted}.",
        "panel.after.no": "No to: {denied}.",
        "panel.after.open": "Not answered yet: {purposes}.",
        "panel.after.error": "Your answer could not be saved. Please try again.",
        "panel.error.incomplete": (
            "Nothing was saved, because no answer was chosen. Say yes or no to at least one use, then save."
        ),
        "panel.error.changed": (
            "This page has changed since you opened it. Nothing was saved: please look and answer again."
        ),
        "panel.error.changed.no_saved": (
            "Your no is saved. This page has changed since you opened it; your yes was not saved: please look and answer "
            "again."
        ),
        "panel.error.yes_failed": "Your no is saved. Your yes could not be saved: please try again.",
        "panel.error.part_saved": (
            "Only a part of your answer could be saved. What holds now is shown here: please look and answer again."
        ),
        "panel.error.too_many": (
            "Too many requests arrived in a short time. This last one was not carried out: please wait a little and "
            "try again."
        ),
        "panel.error.refused": (
            "This request did not come from this page, so we did not carry it out. Please open the page again and "
            "answer here."
        ),
        "panel.expiry": "Your yes holds until {date}. Then we ask again.",
        "panel.again.changed": (
            "We ask again because this has changed: {changes}. As long as your answer to a use is missing, nothing "
            "is sent for it."
        ),
        "panel.again.changed.plain": "We ask again because this has changed: {changes}.",
        "panel.again.expired": "We ask again because your answer of {date} has run out.",
        "panel.again.notice": "We ask again because our notice has changed since your answer of {date}.",
        "panel.changes.heading": "What has changed since your answer",
        "panel.changes.heading.of": "What has changed since your answer to: {purposes}",
        "panel.withdraw.heading": "If you change your mind",
        "panel.withdraw.text": (
            "Say no to a use and save: that is all. For this use we then stop sending at once and discard what has "
            "not left yet. What we did until then remains lawful; what {vendor} already has stays there until it is "
            "deleted (see below)."
        ),
        "panel.withdraw.text.plain": (
            "Say no to a use and save: that is all. For this use we then stop sending at once and discard what has "
            "not left yet. What we did until then remains lawful; what {vendor} already has stays there until it is "
            "deleted."
        ),
        "panel.withdraw.button": "Stop sending my data",
        "panel.withdraw.done": (
            "Stopped on {date}. Nothing more is sent. If you also want what was already sent to be deleted, you can "
            "ask for that further down this page."
        ),
        "panel.withdraw.done.plain": "Stopped on {date}. Nothing more is sent.",
        "panel.object.text": (
            "We do this without asking first. You have the right to object at any time, without giving a reason."
        ),
        "panel.object.button": "I object: do not send my data",
        "panel.history.heading": "Your answers so far",
        "panel.history.granted": "{date}: yes to “{purpose}” (notice {version}, {source})",
        "panel.history.granted.plain": "{date}: yes to “{purpose}” ({source})",
        "panel.history.denied": "{date}: no to “{purpose}” ({source})",
        "panel.history.withdrawn": "{date}: you took back your yes to “{purpose}”",
        "panel.history.gpc": "{date}: no to “{purpose}”, because your browser sent a privacy signal (GPC)",
        "panel.history.unknown": "{date}: your answer to “{purpose}” no longer counts ({source})",
        "panel.history.empty": "You have not answered yet.",
        "panel.history.copy": "Download my answers",
        "panel.receipt": "Download my answers",
        "panel.receipt.text": (
            "A file for you to keep: your answers, when you gave them and to which notice. It is written for "
            "computers (JSON). To have something to read, print this page."
        ),
        "panel.source.panel": "this page",
        "panel.source.gpc": "your browser’s privacy signal",
        "panel.source.login": "taken over when you signed in",
        "panel.source.website": "our website",
        "panel.source.banner": "a banner on our website",
        "panel.source.none": "where is not recorded",
        "panel.source.other": "{source}",
        "panel.gpc.honoured": (
            "Opt-out request honored. Your browser is set to say no for you (the signal is called “Global Privacy "
            "Control”). We treat it as your no to: {purposes}."
        ),
        "panel.gpc.in_spite": (
            "Your browser sends Global Privacy Control. On {date} you said yes here all the same to: {purposes}. We follow "
            "your yes."
        ),
        "panel.gpc.conflict": (
            "Your browser’s signal says no, but on {date} you said yes here. We follow the no until you say yes again."
        ),
        "panel.held.nothing": (
            "As long as your answer to a use is missing, nothing about you is sent for it, and nothing is collected "
            "for sending later."
        ),
        "panel.held.waiting": (
            "What you do now waits on our server for at most {minutes} minutes. It is sent only if you say yes and "
            "tick the box for it; otherwise it is deleted."
        ),
        "panel.held.box": "Also send what I did in the last {minutes} minutes",
        "panel.status.unavailable": (
            "We cannot look up your answer at the moment. A no that you have given still holds. You can say no here."
        ),
        "panel.erase.heading": "Delete what {vendor} has about you",
        "panel.erase.text": (
            "We ask {vendor} to delete your data. That can take several weeks; we answer you within one month. We "
            "also stop sending your data, so that nothing new is added there."
        ),
        "panel.erase.button": "Delete my data at {vendor}",
        "panel.erase.confirm": "Yes, delete my data at {vendor}",
        "panel.erase.kept": "We keep the record of your answers until {date}, so that we can prove them.",
        "panel.erase.kept.plain": "We keep the record of your answers, so that we can prove them.",
        "panel.erase.done": (
            "Your request of {date} to delete your data has reached us; its number is {task}. Status: {status}."
        ),
        "panel.erase.waits": (
            "The request did not get through. Your no is saved; we will try again. If you hear nothing by {date}, "
            "write to {contact}."
        ),
        "panel.erase.waits.plain": "The request did not get through. Your no is saved; we will try again.",
        "panel.erase.failed.plain": "The request did not get through. Your no is saved. Please ask again.",
        "panel.erase.failed": "The request did not get through. Your no is saved. Please write to {contact}.",
        "panel.export.heading": "Get a copy of your data",
        "panel.export.text": (
            "We get what {vendor} has about you and give you a copy, free of charge, within one month. When it is "
            "ready, you can open it on this page."
        ),
        "panel.export.button": "Ask for a copy",
        "panel.export.confirm": "Yes, ask for a copy",
        "panel.export.link": "Open your copy",
        "panel.export.done": (
            "Your request of {date} for a copy of your data has reached us; its number is {task}. Status: {status}."
        ),
        "panel.export.failed": "The request did not get through. Please try again later, or write to {contact}.",
        "panel.export.failed.plain": "The request did not get through. Please try again later.",
        "panel.requests.heading": "Your requests",
        "panel.request.deletion": "Request for deletion at {vendor} of {date}, number {task}: {status}",
        "panel.request.deletion.plain": "Request for deletion at {vendor}, number {task}: {status}",
        "panel.request.deletion.kept": "Request for deletion at {vendor} of {date}: not taken yet; we will try again.",
        "panel.request.deletion.failed": (
            "Request for deletion at {vendor} of {date}: not taken; please ask again or write to {contact}."
        ),
        "panel.request.deletion.failed.plain": (
            "Request for deletion at {vendor} of {date}: not taken; please ask again."
        ),
        "panel.request.retrieval": "Request for a copy from {vendor} of {date}, number {task}: {status}",
        "panel.request.retrieval.plain": "Request for a copy from {vendor}, number {task}: {status}",
        "panel.task.pending": "received, not begun yet",
        "panel.task.staging": "being prepared",
        "panel.task.started": "under way",
        "panel.task.success": "done",
        "panel.task.failure": "failed; write to us",
        "panel.task.revoked": "called off",
        "panel.task.not_found": "not found; write to us",
        "panel.task.unknown": "not known at the moment",
        "panel.rights": (
            "You may also have your data corrected or deleted, what we hold ourselves included, have its use "
            "restricted, object to its use, and take it elsewhere. Write to {contact}."
        ),
        "panel.rights.plain": (
            "You may also have your data corrected or deleted, what we hold ourselves included, have its use "
            "restricted, object to its use, and take it elsewhere."
        ),
        "panel.complaint": "If you are not satisfied, you can complain to {authority}.",
        "panel.banner.text": (
            "{service} would like to send data about you to {vendor} for: {purposes}. We do this only with your consent; "
            "you can withdraw it at any time."
        ),
        "panel.banner.text.we": (
            "We would like to send data about you to {vendor} for: {purposes}. We do this only with your consent; you can "
            "withdraw it at any time."
        ),
        "panel.banner.text.mixed": (
            "This is about data about you that {vendor} receives from us for: {purposes}. Where the law lets us, we send "
            "it unless you object. Say yes or no; you can change your answer at any time."
        ),
        "panel.banner.not_all": (
            "“Yes to all” does not cover {titles}, which includes sensitive data: answer that on the page."
        ),
        "panel.choices.not_all": (
            "“Yes to all” does not cover {titles}, which includes sensitive data: answer that by itself."
        ),
        "panel.banner.more": "See what is sent, and choose use by use",
        "panel.notice.link": "Read the whole privacy notice",
        "panel.footer.link": "Privacy choices",
        "panel.version": "Privacy notice {version} of {date}",
        "panel.version.plain": "Privacy notice {version}",
    }
)
