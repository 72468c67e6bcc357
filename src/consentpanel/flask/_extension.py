"""The extension: the client of an application, the consent of each request, the panel, and commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from flask.cli import AppGroup

from consentpanel._jobs import audit, notice, privacy, prune, scan, spool
from consentpanel._jobs._job import Job, started
from consentpanel._log import note_failure
from consentpanel._visits.for_all import may_be_for_all
from consentpanel._visits.set_cookie import for_one, sets_cookie
from consentpanel._visits.setting import check_keys, options_of
from consentpanel.client import Mixpanel
from consentpanel.client._consent_calls import registry_of
from consentpanel.errors import ConfigurationError
from consentpanel.flask._panel import banner, blueprint, head, link, state_in_page
from consentpanel.flask._state import (
    NAME,
    PREFIX,
    RequestConsent,
    State,
    consent_now,
    key_in_environ,
    named,
    state_now,
    state_of,
)

if TYPE_CHECKING:
    from flask import Response


class ConsentPanel:
    """Gives an application its guarded client, and each request its consent.

    The configuration ``CONSENTPANEL_*`` says what the client is; what the constructor is given goes before it. A value that is a text is
    a dotted path, but for those that are texts by nature. A wrong configuration raises here, never in a request.

    The id of a visitor who has answered stands in a signed cookie, which is set with an answer and not before, and ends at log-in and
    log-out. ``Sec-GPC: 1`` is recorded as the denial of the purposes in ``CONSENTPANEL_GPC``, once, and not over a grant
    that was given later.

    With ``CONSENTPANEL_NOTICE``, a function that is given a language and makes the notice in it, the panel stands at
    ``CONSENTPANEL_PANEL_URL``, ``"/privacy"`` when left out; ``CONSENTPANEL_PANEL`` takes a `consentpanel.panel.Panel` in its place. An
    application's own template ``consentpanel/panel.html`` may extend ``consentpanel/base.html``, whose blocks are its parts. Templates
    have ``consent_head()``, ``consent_banner()``, ``consent_link()`` and ``consent_state()``.

    Args:
        app: The application; None for a factory, which calls `init_app`.
        options: Values of the configuration, by their keys in lower case and without the prefix.

    Raises:
        ConfigurationError: The configuration cannot work.

    Example:
        >>> from flask import Flask
        >>> from consentpanel.flask import ConsentPanel, current_consent, mixpanel
        >>> from consentpanel.registry import MemoryRegistry
        >>> from consentpanel.testing import FakeTransport
        >>> vendor = FakeTransport()
        >>> app = Flask("shop")
        >>> app.secret_key = "not a secret"
        >>> panel = ConsentPanel(app, token="TOKEN", registry=MemoryRegistry(), consumer=vendor)
        >>> @app.post("/yes")
        ... def yes():
        ...     current_consent.answer(analytics=True)
        ...     return str(current_consent.track("Agreed").outcome)
        >>> app.test_client().post("/yes").text
        'sent'
    """

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self._given = {key.upper(): value for key, value in options.items()}
        check_keys(self._given, named)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set an application up; several may be.

        Args:
            app: The application, with its configuration.

        Raises:
            ConfigurationError: The configuration cannot work, or the application has one of these already.
        """
        if NAME in app.extensions:
            raise ConfigurationError("the application has a ConsentPanel already")
        configured = app.config.get_namespace(PREFIX, lowercase=False)
        state = app.extensions[NAME] = State(app, options_of({**configured, **self._given}, named))
        app.before_request(_begin)
        app.after_request(_finish)
        app.cli.add_command(_commands())
        helpers: dict[str, Any] = {"consent_state": state_in_page}
        if state.panel is not None:
            app.register_blueprint(blueprint(), url_prefix=state.mount)
            helpers |= {"consent_banner": banner, "consent_head": head, "consent_link": link}
        app.jinja_env.globals.update(helpers)
        _hear_of_log_in(app)

    def create_tables(self, app: Flask) -> None:
        """Make the tables of the registry and of an outbox, where they keep theirs in a database and these are not there yet.

        Args:
            app: An application that was set up.

        Raises:
            ConfigurationError: `init_app` was not called for it.
            RegistryError: The database of the registry failed.
            MixpanelException: That of the outbox failed.
        """
        client = state_of(app).client
        for each in (registry_of(client), *client._sealed.own_spools):  # noqa: SLF001 - shared inside the package
            create = getattr(each, "create_tables", None)
            if callable(create):
                create()


def _begin() -> None:
    consent = consent_now()
    if not may_be_for_all(request.path):
        consent.heed()


def _finish(response: Response) -> Response:
    consent: RequestConsent | None = request.environ.get(key_in_environ(state_now()))
    if consent is None:
        return response
    if may_be_for_all(request.path):
        consent.heed()
    consent.has_begun = True
    if sets_cookie(consent):
        for name, said in for_one(response.headers.items()).items():
            if said is None:
                response.headers.remove(name)
            else:
                response.headers[name] = said
    cookie = consent.cookie
    place: dict[str, Any] = {"path": cookie.path, "domain": cookie.domain, "samesite": cookie.same_site}
    if (value := consent.cookie_to_set) is not None:
        response.set_cookie(cookie.name, value, max_age=cookie.max_age, secure=cookie.is_secure, httponly=True, **place)
    elif consent.is_cookie_over:
        response.delete_cookie(cookie.name, secure=cookie.is_secure, httponly=True, **place)
    if consent.was_asked and not consent.is_for_all:
        response.vary.update(("Cookie", "Sec-GPC"))
    client = state_now().client
    if not client._sealed.sends_by_itself:  # noqa: SLF001 - shared inside the package
        response.call_on_close(lambda: _flush(client))
    return response


def _flush(client: Mixpanel) -> None:
    try:
        client.flush()
    except Exception as error:  # noqa: BLE001 - the response is on its way
        note_failure("the flush after a response", error)


def _hear_of_log_in(app: Flask) -> None:
    try:
        from flask_login import user_logged_in, user_logged_out
    except ImportError:
        return

    def logged_in(_: object, **__: object) -> None:
        consent_now().log_in()

    def logged_out(_: object, **__: object) -> None:
        consent_now().log_out()

    # Signals hold what hears of them weakly: the application keeps it.
    app.extensions[f"{NAME}_receivers"] = (logged_in, logged_out)
    user_logged_in.connect(logged_in, app)
    user_logged_out.connect(logged_out, app)


_JOBS = (privacy.ERASE, privacy.EXPORT, prune.JOB, spool.DELIVER, audit.JOB, notice.JOB, scan.JOB)


def _commands() -> AppGroup:
    group = AppGroup("consent", help="Consent, what is sent with it, and what waits.")
    for job in _JOBS:
        group.command(
            job.name, help=job.summary, context_settings={"ignore_unknown_options": True}, add_help_option=False
        )(_taking_arguments(job))
    return group


def _taking_arguments(job: Job) -> Callable[..., None]:
    import click

    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        client = state_now().client if job.is_for_client else None
        code = started(job, f"flask consent {job.name}", arguments, client)
        if code:
            sys.exit(code)

    return command
