"""What the panel is told of a request of Django's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from django.http import HttpResponse
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.urls import reverse
from django.utils.html import format_html

from consentpanel._log import note_failure
from consentpanel._visits import Visit
from consentpanel._visits.setting import language_of
from consentpanel.django import conf
from consentpanel.errors import ConfigurationError
from consentpanel.panel import MAX_BODY, Request
from consentpanel.panel._answers import FORM
from consentpanel.panel._http import headers_of


def consent_of(request: Any) -> Visit:
    """The consent of a request.

    Raises:
        ConfigurationError: The middleware is not installed.
    """
    found = getattr(request, "consent", None)
    if isinstance(found, Visit):
        return found
    raise ConfigurationError("the panel needs 'consentpanel.django.ConsentMiddleware' in MIDDLEWARE")


def hidden_in(request: Any) -> str:
    """The field against forgery, for a form, and with the response the cookie that goes with it."""
    request.consentpanel_has_token = True
    if "CSRF_COOKIE" not in request.META:
        # Without `CsrfViewMiddleware` nobody has looked for the cookie that the browser has.
        csrf().process_request(request)
    return str(format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', get_token(request)))


def with_token(request: Any, response: Any) -> Any:
    """The response with the cookie that a form in it needs, where no `CsrfViewMiddleware` of the project's gives it."""
    if getattr(request, "consentpanel_has_token", False) and request.META.get("CSRF_COOKIE_NEEDS_UPDATE"):
        return csrf().process_response(request, response)
    return response


def csrf() -> CsrfViewMiddleware:
    """Django's own, as `csrf_protect` has it."""
    return CsrfViewMiddleware(lambda _: HttpResponse())


def request_of(request: Any, below: str | None = None, *, is_readable: bool = True) -> Request:
    """A request.

    Args:
        request: Django's.
        below: The path below that of the panel; None for a request for another page, on which something of the panel stands.
        is_readable: Whether its body can be read.
    """
    if below is None:
        mount = reverse("consentpanel:panel").rstrip("/")
    else:
        mount = quote(request.path.removesuffix(below).rstrip("/"))
    text = request.META.get("CONTENT_LENGTH") or "0"
    length = int(text) if text.isascii() and text.isdigit() else 0
    headers = headers_of(request.headers.items())
    body = b""
    if below is not None and is_readable and 0 < length <= MAX_BODY:
        if request.content_type == "multipart/form-data":
            # As Django's test client sends each form.
            body, headers["content-type"] = urlencode(list(_pairs(request.POST))).encode(), FORM
        else:
            body = request.body
    return Request(
        method=request.method,
        path=below or "",
        mount=mount,
        query=request.META.get("QUERY_STRING", ""),
        headers=headers,
        body=body,
        length=length,
        address=request.META.get("REMOTE_ADDR") or None,
        host=request.get_host(),
        scheme=request.scheme or "",
        # Of the site's own choice; without its middleware Django speaks one language to all.
        language=_language_of(request),
        is_checked=True,
    )


def _language_of(request: Any) -> str | None:
    try:
        if (said := language_of(conf.options())) is not None:
            return said
    except Exception as error:  # noqa: BLE001 - the application's own function
        note_failure("the language of a request", error)
    return getattr(request, "LANGUAGE_CODE", None)


def _pairs(form: Any) -> Iterator[tuple[str, str]]:
    for name, values in form.lists():
        for value in values:
            yield name, value
