"""The panel as HTML that works without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from consentpanel.panel._choices import Hidden, both, choices, fields_in, hidden_of
from consentpanel.panel._html import element, joined, linked, text, void
from consentpanel.panel._said import HistoryItem, RequestView
from consentpanel.panel._shown import shown
from consentpanel.panel._situation import Urls
from consentpanel.panel._state import element_of
from consentpanel.panel._telling import Note
from consentpanel.panel._view import View

#: The parts of the page, in the order in which they stand in it.
PARTS = ("result", "intro", "facts", "tidings", "choices", "withdraw", "history", "requests", "rights", "footer")
_RESULTS = ("result", "error")


def parts_of(view: View, *, hidden: Hidden = "") -> Mapping[str, str]:
    """Fragments of HTML, for a page of one's own.

    Args:
        view: What is shown.
        hidden: Fields that go into each form, as HTML, such as a framework's token against forged requests; or a function that makes
            them, which is called only where there is a form.

    Returns:
        By name: ``head`` for the head of the document; ``intro``, ``notes`` (or ``result``, which comes best before the
        heading, and ``tidings``, which are the other notes), ``facts``, ``choices``, ``withdraw``, ``history``,
        ``requests``, ``rights`` and ``footer`` for an element with the class ``consentpanel``; and ``state``, which a
        script of the page may read. Those of which there is nothing to show are empty.
    """
    hidden = fields_in(hidden)
    result = joined(_note(view, each) for each in view.notes if each.kind in _RESULTS)
    tidings = joined(_note(view, each) for each in view.notes if each.kind not in _RESULTS)
    return {
        "head": _head(view),
        "result": result,
        "intro": _intro(view),
        "tidings": tidings,
        "notes": joined([result, tidings]),
        "facts": _facts(view),
        "choices": choices(view, hidden),
        "withdraw": _withdraw(view, hidden),
        "history": _history(view),
        "requests": _requests(view, hidden),
        "rights": _rights(view),
        "footer": _footer(view),
        "state": element_of(view.state()),
    }


def page_of(view: View, *, hidden: Hidden = "") -> str:
    """The whole document.

    Args:
        view: What is shown.
        hidden: As for `parts_of`.
    """
    parts = parts_of(view, hidden=hidden)
    main = element(
        "main", "\n" + joined(parts[name] for name in PARTS) + "\n", class_="consentpanel", data_consentpanel="main"
    )
    body = element("body", joined(["", main, parts["state"], ""]), class_="consentpanel-page")
    page = element(
        "html", joined(["", element("head", f"\n{parts['head']}\n"), body, ""]), lang=view.language, dir=view.direction
    )
    return f"<!doctype html>\n{page}\n"


def banner_of(view: View, *, hidden: Hidden = "") -> str:
    """A fragment that asks on any page, without standing in its way; empty when nothing is to be asked.

    Args:
        view: What is shown.
        hidden: As for `parts_of`.
    """
    if not view.asks:
        return ""
    name = "consentpanel-banner-heading"
    buttons = both(view)
    form = ""
    if buttons:
        fields = hidden_of(view, fields_in(hidden), view.banner_shown)
        where = {"method": "post", "action": view.urls.page, "data_consentpanel": "banner"}
        form = element("form", fields + buttons, **where)
    content = joined(
        [
            "",
            element("h2", text(view.words["footer.link"]), id=name),
            element("p", text(view.banner)),
            element("p", text(view.banner_not_all)) if view.banner_not_all else "",
            form,
            element(
                "p", element("a", text(view.words["banner.more"]), href=view.urls.page), data_consentpanel_more=True
            ),
            "",
        ]
    )
    said = {"lang": view.language, "dir": view.direction, "aria_labelledby": name}
    return element("section", content, class_="consentpanel cp-banner", **said)


def assets_of(urls: Urls, browser_purposes: Sequence[str], *, nonce: str | None = None) -> str:
    """The sheet and the script, for the head of any page.

    Args:
        urls: Where they are.
        browser_purposes: The purposes that the vendor's library in the browser serves.
        nonce: That of the page's policy for contents, where it has one.
    """
    purposes = " ".join(browser_purposes)
    return joined(
        [
            void("link", rel="stylesheet", href=urls.style, nonce=nonce),
            element("script", "", src=urls.script, defer=True, nonce=nonce, data_consentpanel_purposes=purposes),
        ]
    )


def _head(view: View) -> str:
    errors = [each.text for each in view.notes if each.kind == "error"]
    return joined(
        [
            void("meta", charset="utf-8"),
            void("meta", name="viewport", content="width=device-width, initial-scale=1"),
            void("meta", name="color-scheme", content="light dark"),
            void("meta", name="robots", content="noindex"),
            element("title", text(" ".join([*errors, view.title]))),
            assets_of(view.urls, view.browser_purposes),
        ]
    )


def _intro(view: View) -> str:
    return joined(
        [
            element("h1", text(view.heading)),
            element("p", text(view.intro)),
            element("p", text(view.equal), class_="cp-quiet") if view.equal else "",
        ]
    )


def _facts(view: View) -> str:
    pairs = (element("dt", text(name)) + element("dd", text(said)) for name, said in view.facts)
    inner = joined(pairs)
    return element("dl", inner, class_="cp-facts") if inner else ""


def _note(view: View, note: Note) -> str:
    if note.kind not in _RESULTS:
        items = element("ul", joined(element("li", text(each)) for each in note.items)) if note.items else ""
        return element("div", element("p", text(note.text)) + items, class_=f"cp-note-box cp-{note.kind}")
    content = element("p", text(note.text))
    if note.purposes:
        content += element("ul", joined(_to_question(view, each) for each in note.purposes))
    # It takes the focus when the page has loaded, because what stands in a page from its beginning is not announced.
    return element(
        "div",
        content,
        role="alert" if note.kind == "error" else "status",
        class_=f"cp-note-box cp-{note.kind}",
        id="consentpanel-result",
        tabindex="-1",
        autofocus=True,
    )


def _to_question(view: View, purpose: str) -> str:
    at = next(at for at, each in enumerate(view.purposes) if each.purpose == purpose)
    return element("li", element("a", text(view.purposes[at].title), href=f"#consentpanel-p{at}-no"))


def _section(name: str, heading: str, content: str) -> str:
    title = element("h2", text(heading), id=f"consentpanel-{name}")
    return element("section", joined([title, content]), aria_labelledby=f"consentpanel-{name}", class_="cp-section")


def _form(view: View, where: str, hidden: str, button: str, *, kind: str) -> str:
    fields = hidden_of(view, hidden) + element("button", text(button), type="submit", class_="cp-button")
    return element("form", fields, method="post", action=where, data_consentpanel="page", class_=f"cp-{kind}")


def _withdraw(view: View, hidden: str) -> str:
    if not view.can_withdraw:
        return ""
    told = element("p", text(view.words["withdraw.text" if view.can_erase else "withdraw.text.plain"]))
    form = _form(view, view.urls.withdraw, hidden, view.words["withdraw.button"], kind="withdraw")
    return _section("withdraw", view.words["withdraw.heading"], told + form)


def _history(view: View) -> str:
    if not view.history:
        return _section("history", view.words["history.heading"], element("p", text(view.words["history.empty"])))
    told = element("ol", joined(map(_item, view.history)), class_="cp-history")
    what = element("p", text(view.words["receipt.text"]), class_="cp-quiet")
    copy = element("a", text(view.words["receipt"]), href=view.urls.receipt, download=True, class_="cp-button")
    return _section("history", view.words["history.heading"], joined([told, what, element("p", copy)]))


def _item(item: HistoryItem) -> str:
    before, found, after = item.text.partition(item.when)
    moment = element("time", text(found), datetime=item.recorded_at.isoformat()) if found else ""
    return element("li", f"{text(before)}{moment}{text(after)}")


def _requests(view: View, hidden: str) -> str:
    words = view.words
    erase, export = "", ""
    if view.can_erase:
        kept = element("p", text(words["erase.kept.plain"]))
        form = kept + _form(view, view.urls.erase, hidden, words["erase.confirm"], kind="erase")
        erase = _confirmed(words["erase.button"], form)
    if view.can_export:
        form = _form(view, view.urls.export, hidden, words["export.confirm"], kind="export")
        export = _confirmed(words["export.button"], form)
    return joined(
        [
            _request(view, "erase", "deletion", erase),
            _request(view, "export", "retrieval", export),
        ]
    )


def _request(view: View, name: str, kind: str, form: str) -> str:
    asked = [each for each in view.requests if each.kind == kind]
    if not form and not asked:
        return ""
    told = element("p", text(view.words[f"{name}.text"]))
    known = element("ul", joined(_asked(view, each) for each in asked), class_="cp-requests") if asked else ""
    return _section(name, view.words[f"{name}.heading"], joined([told, known, form]))


def _asked(view: View, request: RequestView) -> str:
    link = ""
    if request.link:
        link = " " + element("a", text(view.words["export.link"]), href=request.link, rel="noreferrer")
    return element("li", text(request.text) + link)


def _confirmed(button: str, form: str) -> str:
    """A form that is opened first, so that nothing happens by one slip; it needs no script."""
    summary = element("summary", text(button), class_="cp-button")
    return element("details", joined([summary, element("div", form, class_="cp-confirm")]), class_="cp-ask")


def _rights(view: View) -> str:
    told = element("p", linked(view.rights, view.contact))
    complaint = element("p", text(view.complaint)) if view.complaint else ""
    return element("div", joined([told, complaint]), class_="cp-more cp-quiet")


def _footer(view: View) -> str:
    link = element("a", text(view.words["notice.link"]), href=view.urls.notice)
    return element(
        "footer", joined([element("p", text(view.version)), element("p", link)]), class_="cp-footer cp-quiet"
    )


__all__ = ["PARTS", "assets_of", "banner_of", "page_of", "parts_of", "shown"]
