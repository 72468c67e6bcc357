"""The questions of the panel as a form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from consentpanel.panel._answers import COVERS_HELD
from consentpanel.panel._html import element, joined, text, void
from consentpanel.panel._standing import PurposeView
from consentpanel.panel._view import View
from consentpanel.transparency._page import Entry

#: The form of the buttons that say all at once. It is apart from that of the questions, whose first button is what the key
#: Enter presses in a radio button (https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#implicit-submission).
_AT_ONCE = "consentpanel-at-once"


#: Fields that go into each form, as HTML, or what makes them once there is a form: a token may take a cookie.
Hidden: TypeAlias = "str | Callable[[], str]"


def fields_in(hidden: Hidden) -> str:
    """The fields, made where they are wanted."""
    return hidden() if callable(hidden) else hidden


def hidden_of(view: View, hidden: str, shown: str | None = None) -> str:
    """What goes with every form: the framework's own fields, and what the person saw, which is the page if nothing is named."""
    said = {"version": view.notice_version, "language": view.language, "shown": shown or view.shown, "who": view.who}
    return hidden + "".join(void("input", type="hidden", name=name, value=value) for name, value in said.items())


def choices(view: View, hidden: str) -> str:
    """The questions, each with its answer; no answer is set beforehand."""
    questions = (_purpose(view, each, f"consentpanel-p{at}") for at, each in enumerate(view.purposes))
    apart = element("p", text(view.not_all), class_="cp-quiet") if view.not_all else ""
    buttons = element("div", both(view, form=_AT_ONCE) + apart + _held(view) + _save(view), class_="cp-buttons")
    return joined(
        [
            _form(view, hidden, joined(["", *questions, buttons]), id="consentpanel-choices", class_="cp-choices"),
            _form(view, hidden, "", id=_AT_ONCE),
        ]
    )


def _form(view: View, hidden: str, content: str, **more: str) -> str:
    where = {"method": "post", "action": view.urls.page, "data_consentpanel": "page"}
    return element("form", hidden_of(view, hidden) + content, **where, **more)


def both(view: View, *, form: str | None = None) -> str:
    """No to all and yes to all, which differ in nothing but their words and what they say; neither where no yes is for all."""
    if not any(each.sensitive is None for each in view.purposes):
        return ""
    buttons = (
        element(
            "button",
            text(view.words[f"button.{name}"]),
            type="submit",
            form=form,
            name="all",
            value=value,
            class_="cp-button",
        )
        for name, value in (("reject_all", "no"), ("accept_all", "yes"))
    )
    return element("div", "".join(buttons), class_="cp-both")


def _held(view: View) -> str:
    """The box for what waits, which goes with the answers that are saved: no yes to all ticks it."""
    if view.held_box is None:
        return ""
    box = void("input", type="checkbox", name=COVERS_HELD, value="yes", id="consentpanel-held", autocomplete="off")
    said = element("span", text(view.held_box))
    return element("label", box + said, class_="cp-radio cp-held-box", for_="consentpanel-held")


def _save(view: View) -> str:
    return element("button", text(view.words["button.save"]), type="submit", class_="cp-button cp-save")


def _may_object(purpose: PurposeView) -> bool:
    # Also where it may be sent, as far as anybody can tell.
    return not purpose.needs_consent and purpose.answer is not False


def _purpose(view: View, purpose: PurposeView, name: str) -> str:
    described = " ".join(
        f"{name}-{each}" for each in ("text", *(["sensitive"] if purpose.sensitive else []), "standing")
    )
    content = joined(
        [
            element("legend", element("h2", text(purpose.title)), class_="cp-title"),
            element("p", text(purpose.text), id=f"{name}-text"),
            element("p", text(purpose.sensitive), id=f"{name}-sensitive", class_="cp-sensitive")
            if purpose.sensitive
            else "",
            element("p", text(view.words["object.text"]), class_="cp-object") if purpose.needs_consent is False else "",
            _object_button(view, purpose),
            element("p", text(purpose.standing), id=f"{name}-standing", class_=_standing_class(purpose)),
            element("div", _radios(view, purpose, name), class_="cp-answer"),
            _sent(view, purpose, name),
        ]
    )
    return element("fieldset", content, class_="cp-purpose", aria_describedby=described)


def _standing_class(purpose: PurposeView) -> str:
    return "cp-standing cp-is-sent" if purpose.is_sent else "cp-standing"


def _radios(view: View, purpose: PurposeView, name: str) -> str:
    return "".join(_radio(view, purpose, name, said, answer) for said, answer in (("no", False), ("yes", True)))


def _radio(view: View, purpose: PurposeView, name: str, said: str, answer: bool) -> str:
    box = void(
        "input",
        type="radio",
        name=f"answer.{purpose.purpose}",
        value=said,
        id=f"{name}-{said}",
        checked=purpose.answer is answer,
        autocomplete="off",
    )
    word = view.words["switch.on" if answer else "switch.off"]
    return element("label", f"{box}{element('span', text(word))}", class_="cp-radio", for_=f"{name}-{said}")


def _object_button(view: View, purpose: PurposeView) -> str:
    if not _may_object(purpose):
        return ""
    button = element(
        "button",
        text(view.words["object.button"]),
        type="submit",
        form=_AT_ONCE,
        name=f"answer.{purpose.purpose}",
        value="no",
        class_="cp-button",
    )
    return element("p", button)


def _sent(view: View, purpose: PurposeView, name: str) -> str:
    words = view.words
    # With the title, so that a list of controls tells one summary from the next.
    more = element("span", text(f"{words['colon']} {purpose.title}"), class_="cp-unseen")
    summary = element("summary", text(words["details"]) + more)
    told = element("p", text(purpose.basis), class_="cp-quiet")
    table = _table(view, purpose) if purpose.sent else element("p", text(words["nothing"]))
    return element("details", joined([summary, told, table]), class_="cp-details", id=f"{name}-sent")


def _table(view: View, purpose: PurposeView) -> str:
    # The roles are said because a narrow screen shows the cells as blocks, and a table of blocks is none to some browsers.
    heads = (view.words[f"table.{each}"] for each in ("what", "form", "example"))
    row = "".join(element("th", text(each), scope="col", role="columnheader") for each in heads)
    head = element("thead", element("tr", row, role="row"), role="rowgroup")
    body = element("tbody", joined(_row(view, each) for each in purpose.sent), role="rowgroup")
    return element("table", joined([head, body]), class_="cp-sent", role="table", aria_label=purpose.title)


def _row(view: View, sent: Entry) -> str:
    label = element("span", text(sent.label), class_="cp-label")
    path = element("code", text(sent.path)) if sent.path else ""
    notes = "".join(element("span", text(each), class_="cp-note") for each in (sent.reason, *sent.details) if each)
    example = element("span", text(sent.example), class_="cp-example") if sent.example is not None else ""
    cells = [
        element("th", " ".join(each for each in (label, path, notes) if each), scope="row", role="rowheader"),
        element("td", text(sent.form), role="cell", data_name=view.words["table.form"]),
        element("td", example, role="cell", data_name=view.words["table.example"] if example else None),
    ]
    return element("tr", "".join(cells), role="row")
