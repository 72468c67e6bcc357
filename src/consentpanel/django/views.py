"""The panel: the page on which a visitor answers, and takes back, and what belongs to it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import connections, transaction
from django.http import HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseRedirectBase
from django.middleware.csrf import get_token
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from consentpanel.django import conf
from consentpanel.django._panel import consent_of, hidden_in, request_of
from consentpanel.panel import Response, View, parts_of
from consentpanel.panel._http import RefusedError


# The token is checked inside: a form that cannot be read is answered by the panel, and not before it.
@csrf_exempt
def panel(request: Any, below: str = "") -> HttpResponse:
    """Asks for consent, tells what was answered so far, and records the answer; and all else that has a path below it.

    Args:
        request: The request.
        below: The path below that of the page.

    Raises:
        ConfigurationError: The middleware is not installed.
    """
    try:
        # Whoever looks for a token in it reads it.
        request.POST  # noqa: B018 - read once, and kept
    except (MultiPartParserError, SuspiciousOperation) as error:
        return _response_of(_unread(error).response(request_of(request, below, is_readable=False)))
    return _checked(request, below)


def _unread(error: Exception) -> RefusedError:
    if isinstance(error, RequestDataTooBig):
        return RefusedError(413, "too_large", "This is too large.")
    return RefusedError(400, "malformed", "The form cannot be read. Nothing was saved.")


@csrf_protect
def _checked(request: Any, below: str) -> HttpResponse:
    hidden = partial(hidden_in, request)
    if below.partition("/")[0] == "api":
        # Programs find their token in Django's cookie, which is set with it.
        get_token(request)

    def rendered(view: View) -> str:
        context = {"view": view, "parts": parts_of(view, hidden=hidden)}
        return str(render_to_string("consentpanel/panel.html", context, request=request))

    found = conf.panel().respond(request_of(request, below), consent_of(request), hidden, render=rendered)
    return _response_of(found)


class _SeeOther(HttpResponseRedirectBase):
    status_code = 303


def _response_of(found: Response) -> HttpResponse:
    place = found.header("Location")
    # As Django's own redirects, which its test client follows.
    response = HttpResponse(found.body, status=found.status) if place is None else _SeeOther(place)
    del response.headers["Content-Type"]
    for name, value in found.headers:
        response.headers[name] = value
    return response


for _alias in connections:
    # What the vendor is asked is known when the page is shown, and the record of it stands whatever becomes of the page.
    panel = transaction.non_atomic_requests(using=_alias)(panel)
