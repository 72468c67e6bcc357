"""What Django tells: somebody logs in or out, a user is deleted, a request is over."""

from __future__ import annotations

from typing import Any

from django.core.signals import request_finished
from django.db.models.signals import post_delete

from consentpanel._log import note_failure
from consentpanel._visits import Visit
from consentpanel.client._consent_calls import registry_of
from consentpanel.django import conf


def connect() -> None:
    """Has all of it heard of."""
    from django.apps import apps

    if apps.is_installed("django.contrib.auth"):
        from django.contrib.auth.signals import user_logged_in, user_logged_out

        user_logged_in.connect(_log_in, dispatch_uid="consentpanel")
        user_logged_out.connect(_log_out, dispatch_uid="consentpanel")
        # Of all models, because a proxy is a sender of its own.
        post_delete.connect(_forget, dispatch_uid="consentpanel")
    request_finished.connect(_flush, dispatch_uid="consentpanel")


def _log_in(request: Any, **_: Any) -> None:
    consent = getattr(request, "consent", None)
    if isinstance(consent, Visit):
        consent.log_in()


def _log_out(request: Any, **_: Any) -> None:
    consent = getattr(request, "consent", None)
    if isinstance(consent, Visit):
        consent.log_out()


def _forget(instance: Any, **_: Any) -> None:
    from django.contrib.auth import get_user_model

    from consentpanel.django.client import mixpanel

    if not isinstance(instance, get_user_model()):
        return
    try:
        registry_of(mixpanel).forget(conf.subject_of(instance))
    except Exception as error:  # noqa: BLE001 - the deletion goes on
        note_failure("forgetting a user who was deleted", error)


def _flush(**_: Any) -> None:
    client = conf.current.built
    if client is None or client._sealed.sends_by_itself:  # noqa: SLF001 - shared inside the package
        return
    try:
        client.flush()
    except Exception as error:  # noqa: BLE001 - the response is on its way
        note_failure("the flush after a response", error)
