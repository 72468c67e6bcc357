"""The panel's pages in an application of Flask's, and what of it stands on others."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Blueprint, current_app, g, make_response, render_template, request, url_for
from markupsafe import Markup

from consentpanel import panel as panel_package
from consentpanel.errors import ConfigurationError
from consentpanel.flask._state import NAME, consent_now, named, state_now
from consentpanel.panel import MAX_BODY, Panel, Request, View, parts_of
from consentpanel.panel._answers import FORM
from consentpanel.panel._http import headers_of
from consentpanel.panel._state import ELEMENT, element_of
from consentpanel.panel._state import state_now as scripts_told

if TYPE_CHECKING:
    from flask import Response

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def blueprint() -> Blueprint:
    """The pages of the panel."""
    found = Blueprint(NAME, __name__, template_folder=str(Path(panel_package.__file__).parent / "templates"))
    rule: dict[str, Any] = {"methods": _METHODS, "provide_automatic_options": False}
    found.add_url_rule("/", "panel", _panel_page, **rule)
    found.add_url_rule("/<path:below>", "below", _panel_page, **rule)
    return found


def _panel_page(below: str = "") -> Response:
    found = _panel().respond(_request(below), consent_now(), _hidden, render=_rendered)
    response = make_response(found.body, found.status)
    response.headers.clear()
    response.headers.extend(found.headers)
    return response


def _panel() -> Panel:
    found = state_now().panel
    if found is None:
        raise ConfigurationError(f"the application has no panel: give {named('NOTICE')}")
    return found


def _request(below: str | None = None) -> Request:
    # On any other page the body is that page's.
    length = request.content_length or 0
    return Request(
        method=request.method,
        path=below or "",
        mount=url_for(f"{NAME}.panel").rstrip("/"),
        query=request.query_string.decode("latin-1"),
        headers=headers_of(request.headers.items()) | ({"content-type": FORM} if _is_in_parts() else {}),
        body=_body() if below is not None and 0 < length <= MAX_BODY else b"",
        length=length,
        address=request.remote_addr,
        host=request.host,
        scheme=request.scheme,
        language=consent_now().language,
        is_checked=_is_checked(),
    )


def _body() -> bytes:
    if _is_in_parts() or (request.mimetype == FORM and "form" in vars(request)):
        # Whoever has looked for a token in it has read it.
        return urlencode(list(request.form.items(multi=True))).encode()
    return request.get_data()


def _is_in_parts() -> bool:
    """Whether it is a form as the test clients of Flask and Django send it."""
    return request.mimetype == "multipart/form-data"


def _is_checked() -> bool:
    """Whether Flask-WTF has checked its token, which it does not for a view that is exempt."""
    said = current_app.config
    is_on = all(said.get(key, True) for key in ("WTF_CSRF_ENABLED", "WTF_CSRF_CHECK_DEFAULT"))
    return "csrf" in current_app.extensions and is_on and g.get("csrf_valid") is True


def _hidden() -> str:
    if "csrf" not in current_app.extensions:
        return ""
    from flask_wtf.csrf import generate_csrf

    name = escape(current_app.config.get("WTF_CSRF_FIELD_NAME", "csrf_token"))
    return f'<input type="hidden" name="{name}" value="{escape(generate_csrf())}">'


def _rendered(view: View) -> str:
    parts = {name: Markup(part) for name, part in parts_of(view, hidden=_hidden).items()}  # noqa: S704 - it is HTML
    return render_template("consentpanel/panel.html", view=view, parts=parts)


def banner() -> Markup:
    """``{{ consent_banner() }}``: asks whoever has not answered yet, with two buttons of equal weight; nothing for all others."""
    return Markup(_panel().banner(_request(), consent_now(), _hidden))  # noqa: S704 - it is HTML


def link() -> Markup:
    """``{{ consent_link() }}``: a link to the panel, for the foot of each page."""
    return Markup(_panel().link(_request(), consent_now()))  # noqa: S704 - it is HTML


def head(nonce: str | None = None) -> Markup:
    """``{{ consent_head() }}``: the panel's sheet and script, for the head of each page that has a banner or the vendor's library."""
    return Markup(_panel().head(_request(), nonce=nonce))  # noqa: S704 - it is HTML


def state_in_page(element_id: str = ELEMENT) -> Markup:
    """``{{ consent_state() }}``: the answers as JSON in a script element that runs nothing, for the browser's own libraries."""
    panel, consent = state_now().panel, consent_now()
    said = scripts_told(consent, {}) if panel is None else panel.state(_request(), consent)
    return Markup(element_of(said, element_id))  # noqa: S704 - it is HTML
