"""Template tags: what a page shows by consent, and what the browser is told of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import template
from django.urls import NoReverseMatch
from django.utils.safestring import SafeString, mark_safe

from consentpanel._consent.ids import BUILT_IN_PURPOSES
from consentpanel._consent.records import ConsentStatus
from consentpanel._log import note_failure
from consentpanel._visits import Visit
from consentpanel.django import conf
from consentpanel.django._panel import consent_of, hidden_in, request_of
from consentpanel.django.forms import ConsentForm
from consentpanel.errors import ConsentPanelError
from consentpanel.panel import parts_of
from consentpanel.panel._state import ELEMENT, element_of, state_now

register = template.Library()


class _IfConsent(template.Node):
    def __init__(self, purpose: template.base.FilterExpression, then: Any, otherwise: Any) -> None:
        self._purpose, self._then, self._otherwise = purpose, then, otherwise

    def render(self, context: Any) -> str:
        """The first part where consent is granted, the other one everywhere else."""
        granted = _status(context, self._purpose.resolve(context)) is ConsentStatus.GRANTED
        return str((self._then if granted else self._otherwise).render(context))


@register.tag
def if_consent(parser: Any, token: Any) -> template.Node:
    """``{% if_consent "analytics" %} ... {% else %} ... {% endif_consent %}``: the first part where the person has agreed."""
    parts = token.split_contents()
    if len(parts) != 2:
        raise template.TemplateSyntaxError("if_consent takes one purpose, such as {% if_consent 'analytics' %}")
    then = parser.parse(("else", "endif_consent"))
    otherwise = template.NodeList()
    if parser.next_token().contents == "else":
        otherwise = parser.parse(("endif_consent",))
        parser.delete_first_token()
    return _IfConsent(parser.compile_filter(parts[1]), then, otherwise)


@register.inclusion_tag("consentpanel/form.html", takes_context=True)
def consent_panel(context: Any, form: ConsentForm | None = None) -> dict[str, Any]:
    """``{% consent_panel %}``: the questions of the panel, and a button that takes back everything.

    With a form of the application's own, ``{% consent_panel form %}``, that one is shown, and is sent to the page on which it stands.
    It needs ``path("privacy/", include("consentpanel.django.urls"))``.
    """
    if form is None:
        request = context["request"]
        view = conf.panel().view(request_of(request), consent_of(request))
        return {"view": view, "parts": parts_of(view, hidden=hidden_in(request))}
    said = {name: _status(context, name) for name in form.fields}
    answered = {name: status.value for name, status in said.items() if status is not ConsentStatus.UNKNOWN}
    return {"form": form, "said": answered, "csrf_token": context.get("csrf_token")}


@register.inclusion_tag("consentpanel/banner.html", takes_context=True)
def consent_banner(context: Any) -> dict[str, Any]:
    """``{% consent_banner %}``: asks whoever has not answered yet, with two buttons of equal weight; nothing for all others."""
    request = context["request"]
    return {"banner": conf.panel().banner(request_of(request), consent_of(request), partial(hidden_in, request))}


@register.simple_tag(takes_context=True)
def consent_link(context: Any) -> SafeString:
    """``{% consent_link %}``: a link to the panel, for the foot of each page."""
    request = context["request"]
    return mark_safe(conf.panel().link(request_of(request), consent_of(request)))  # noqa: S308 - it is HTML


@register.simple_tag(takes_context=True)
def consent_head(context: Any, nonce: str | None = None) -> SafeString:
    """``{% consent_head %}``: the panel's sheet and script, for the head of each page that has a banner or the vendor's library.

    Where the site allows scripts by a nonce alone, it is given: ``{% consent_head nonce=csp_nonce %}``.
    """
    told = conf.panel().head(request_of(context["request"]), nonce=None if nonce is None else str(nonce))
    return mark_safe(told)  # noqa: S308 - it is HTML


@register.simple_tag(takes_context=True)
def consent_state(context: Any, element_id: str = ELEMENT) -> SafeString:
    """``{% consent_state %}``: the answers as JSON in a script element that runs nothing, for the browser's own libraries.

    The element holds ``{"analytics": "granted", ...}`` by purpose, so that these follow the same answer.
    """
    return mark_safe(element_of(_told(context), element_id))  # noqa: S308 - it is HTML


def _told(context: Any) -> dict[str, Any]:
    request = context.get("request")
    consent = getattr(request, "consent", None)
    if not isinstance(consent, Visit):
        return dict.fromkeys(map(str, BUILT_IN_PURPOSES), ConsentStatus.UNKNOWN.value)
    try:
        return conf.panel().state(request_of(request), consent)
    except NoReverseMatch:
        # The project has no panel.
        return state_now(consent, {})


def _status(context: Any, purpose: str) -> ConsentStatus:
    consent = getattr(context.get("request"), "consent", None)
    if not isinstance(consent, Visit):
        return ConsentStatus.UNKNOWN
    try:
        return consent.status(purpose)
    except ConsentPanelError as error:
        # A page is shown all the same, as to somebody who has not agreed.
        note_failure("a question of a template", error)
        return ConsentStatus.UNKNOWN
